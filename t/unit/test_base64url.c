#include "lib/base64url.h"
#include "t/unit/unit.h"

START_TEST(round_trips)
{
    uint8_t raw[64], back[64];
    char    text[100];

    for (size_t n = 0; n <= sizeof(raw); n++) {
        size_t len;

        for (size_t i = 0; i < n; i++) {
            raw[i] = (uint8_t)(i * 37 + n);
        }
        len = avp_base64url_encode(text, raw, n);
        ck_assert_uint_eq(len, AVP_BASE64URL_LEN(n));
        ck_assert_int_eq(avp_base64url_decode(back, sizeof(back),
                                              (avp_str_t){ text, len }),
                         (long)n);
        ck_assert_mem_eq(raw, back, n);

        if (n > 0) { /* no room */
            ck_assert_int_eq(avp_base64url_decode(back, n - 1,
                                                  (avp_str_t){ text, len }),
                             -1);
        }
    }
}
END_TEST

START_TEST(known_values) /* RFC 4648 section 10, without padding */
{
    char    text[16];
    uint8_t raw[3] = { 0xfb, 0xff, 0xfe };

    ck_assert_uint_eq(avp_base64url_encode(text, (const uint8_t *)"foobar", 5),
                      7);
    ck_assert_mem_eq(text, "Zm9vYmE", 7);
    avp_base64url_encode(text, raw, 3);
    ck_assert_mem_eq(text, "-__-", 4);
}
END_TEST

START_TEST(refuses)
{
    static const char *const bad[] = {
        "A", "AAAAA", "Zg==", "Zm8=", "Zm+v", "Zm/v", "Zm9 v", "Zm9v\n",
        " Zm9v", "Zm9\xc3", "Zh", "Zm9", "AB", "AAB", "Z.9v",
    };
    uint8_t raw[16];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(avp_base64url_decode(raw, sizeof(raw),
                                           avp_str_c(bad[i])) == -1,
                      "accepted \"%s\"", bad[i]);
    }
    ck_assert_int_eq(avp_base64url_decode(raw, sizeof(raw),
                                          (avp_str_t){ "AA\0A", 4 }), -1);
}
END_TEST

UNIT_SUITE(base64url, round_trips, known_values, refuses)
