#include "lib/delivery_token.h"
#include "t/unit/unit.h"

#include <stdlib.h>

#define VIDEO "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"
#define OTHER "1f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"
#define NOW 1767225600 /* 2026-01-01T00:00:00Z */

static avp_delivery_key_t
make_key(uint8_t kid, char fill)
{
    avp_delivery_key_t k = { .kid = kid, .key_len = 32 };

    memset(k.key, fill, sizeof(k.key));
    return k;
}

static avp_delivery_result_t
check(const avp_delivery_key_t *k, const char *video, const char *token,
      int64_t now)
{
    return avp_delivery_check(k, 1, avp_str_c(video), avp_str_c(token), now);
}

START_TEST(known_value) /* by Python's hmac module */
{
    avp_delivery_key_t k = make_key(1, 'k');
    char               token[AVP_DELIVERY_TOKEN_LEN + 1];

    ck_assert_int_eq(avp_delivery_sign(token, &k, VIDEO, 0x6955bb80), 0);
    ck_assert_str_eq(token, "016955bb80"
                            "39ab948094c4415b0af6e35a0547857b");
}
END_TEST

START_TEST(signs_and_checks)
{
    avp_delivery_key_t k = make_key(255, 'a');
    char               token[AVP_DELIVERY_TOKEN_LEN + 1];
    uint32_t           expiry = avp_delivery_expiry(NOW, AVP_DELIVERY_WINDOW);

    ck_assert_int_eq(avp_delivery_sign(token, &k, VIDEO, expiry), 0);
    ck_assert_uint_eq(strlen(token), AVP_DELIVERY_TOKEN_LEN);
    ck_assert_int_eq(check(&k, VIDEO, token, NOW), AVP_DELIVERY_OK);
    ck_assert_int_eq(check(&k, VIDEO, token, expiry - 1), AVP_DELIVERY_OK);
    ck_assert_int_eq(check(&k, VIDEO, token, expiry), AVP_DELIVERY_EXPIRED);
    ck_assert_int_eq(check(&k, VIDEO, token, INT64_MAX), AVP_DELIVERY_EXPIRED);
    ck_assert_int_eq(check(&k, OTHER, token, NOW), AVP_DELIVERY_INVALID);
    ck_assert_int_eq(check(&k, "0F9B2C3D-4e5f-6a7b-8c9d-abcdef012345", token,
                           NOW), AVP_DELIVERY_INVALID);
}
END_TEST

START_TEST(every_bit_counts)
{
    avp_delivery_key_t k = make_key(7, 'b');
    char               token[AVP_DELIVERY_TOKEN_LEN + 1];

    avp_delivery_sign(token, &k, VIDEO,
                      avp_delivery_expiry(NOW, AVP_DELIVERY_WINDOW));

    for (size_t i = 0; i < AVP_DELIVERY_TOKEN_LEN; i++) {
        for (int bit = 0; bit < 8; bit++) {
            token[i] ^= (char)(1 << bit);
            ck_assert_int_eq(avp_delivery_check(&k, 1, avp_str(VIDEO),
                (avp_str_t){ token, AVP_DELIVERY_TOKEN_LEN }, NOW),
                AVP_DELIVERY_INVALID);
            token[i] ^= (char)(1 << bit);
        }
    }
    ck_assert_int_eq(check(&k, VIDEO, token, NOW), AVP_DELIVERY_OK);
}
END_TEST

START_TEST(lengths)
{
    avp_delivery_key_t k = make_key(7, 'b');
    char               token[AVP_DELIVERY_TOKEN_LEN + 2];

    avp_delivery_sign(token, &k, VIDEO,
                      avp_delivery_expiry(NOW, AVP_DELIVERY_WINDOW));
    token[AVP_DELIVERY_TOKEN_LEN] = '0';

    for (size_t n = 0; n <= AVP_DELIVERY_TOKEN_LEN + 1; n++) {
        char *copy = malloc(n + 1); /* so that ASan sees a read behind it */

        memcpy(copy, token, n);
        ck_assert_int_eq(avp_delivery_check(&k, 1, avp_str(VIDEO),
                                            (avp_str_t){ copy, n }, NOW),
                         n == AVP_DELIVERY_TOKEN_LEN ? AVP_DELIVERY_OK
                                                     : AVP_DELIVERY_INVALID);
        free(copy);
    }
    for (size_t n = 0; n < strlen(VIDEO); n++) {
        ck_assert_int_eq(avp_delivery_check(&k, 1, (avp_str_t){ VIDEO, n },
            (avp_str_t){ token, AVP_DELIVERY_TOKEN_LEN }, NOW),
            AVP_DELIVERY_INVALID);
    }
}
END_TEST

START_TEST(keys_rotate)
{
    avp_delivery_key_t keys[] = { make_key(1, 'a'), make_key(2, 'b'),
                                  make_key(2, 'c') };
    char               token[AVP_DELIVERY_TOKEN_LEN + 1];
    uint32_t           expiry = avp_delivery_expiry(NOW, 60);

    for (size_t i = 0; i < 3; i++) {
        avp_delivery_sign(token, &keys[i], VIDEO, expiry);
        ck_assert_int_eq(avp_delivery_check(keys, 3, avp_str(VIDEO),
                                            avp_str_c(token), NOW),
                         AVP_DELIVERY_OK);
    }
    ck_assert_int_eq(avp_delivery_check(keys, 2, avp_str(VIDEO),
                                        avp_str_c(token), NOW),
                     AVP_DELIVERY_INVALID);
    ck_assert_int_eq(avp_delivery_check(keys, 0, avp_str(VIDEO),
                                        avp_str_c(token), NOW),
                     AVP_DELIVERY_INVALID);
}
END_TEST

START_TEST(will_not_sign)
{
    avp_delivery_key_t k = make_key(1, 'a');
    char               token[AVP_DELIVERY_TOKEN_LEN + 1];

    ck_assert_int_eq(avp_delivery_sign(token, &k, "nothing", 1), -1);
    ck_assert_int_eq(avp_delivery_sign(token, &k,
        "0F9B2C3D-4e5f-6a7b-8c9d-abcdef012345", 1), -1);
    k.key_len = 31;
    ck_assert_int_eq(avp_delivery_sign(token, &k, VIDEO, 1), -1);
    k.key_len = 65;
    ck_assert_int_eq(avp_delivery_sign(token, &k, VIDEO, 1), -1);
    k = make_key(0, 'a');
    ck_assert_int_eq(avp_delivery_sign(token, &k, VIDEO, 1), -1);
}
END_TEST

START_TEST(windows)
{
    for (int64_t now = NOW; now < NOW + 3 * 600; now++) {
        uint32_t expiry = avp_delivery_expiry(now, 600);

        ck_assert_uint_eq(expiry % 600, 0);
        ck_assert_int_gt((int64_t)expiry, now + 600);
        ck_assert_int_le((int64_t)expiry, now + 1200);
    }
    ck_assert_uint_eq(avp_delivery_expiry(NOW, 0),
                      avp_delivery_expiry(NOW, AVP_DELIVERY_WINDOW));
    ck_assert_uint_eq(avp_delivery_expiry(-5, 600), 1200);
    ck_assert_uint_eq(avp_delivery_expiry(INT64_C(1) << 40, 600), UINT32_MAX);
}
END_TEST

UNIT_SUITE(delivery_token, known_value, signs_and_checks, every_bit_counts,
           lengths, keys_rotate, will_not_sign, windows)
