#include "lib/delivery_token.h"
#include "lib/uuid.h"

#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define KID_LEN 2
#define EXPIRY_LEN 8
#define MAC_LEN 32 /* hex digits: 16 bytes */

static const char hex[] = "0123456789abcdef";

uint32_t
avp_delivery_expiry(int64_t now, uint32_t window)
{
    int64_t expiry;

    if (window == 0) {
        window = AVP_DELIVERY_WINDOW;
    }
    if (now < 0) {
        now = 0;
    }

    expiry = (now / window + 2) * window;
    return expiry > UINT32_MAX ? UINT32_MAX : (uint32_t)expiry;
}

/* The MAC as hex digits: of "avp1:" video ":" expiry. */
static int
mac(char dst[MAC_LEN], const avp_delivery_key_t *key, const char *video,
    const char *expiry)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned char text[5 + AVP_UUID_LEN + 1 + EXPIRY_LEN];
    unsigned      n = 0;

    if (key->key_len < 32 || key->key_len > sizeof(key->key)) {
        return -1;
    }

    memcpy(text, "avp1:", 5);
    memcpy(text + 5, video, AVP_UUID_LEN);
    text[5 + AVP_UUID_LEN] = ':';
    memcpy(text + 5 + AVP_UUID_LEN + 1, expiry, EXPIRY_LEN);

    if (HMAC(EVP_sha256(), key->key, (int)key->key_len, text, sizeof(text),
             sum, &n) == NULL
        || n != 32)
    {
        return -1;
    }

    for (size_t i = 0; i < MAC_LEN / 2; i++) {
        dst[i * 2] = hex[sum[i] >> 4];
        dst[i * 2 + 1] = hex[sum[i] & 15];
    }
    return 0;
}

/* Text must be the lower-case canonical form itself: one video, one URL. */
static int
canonical(avp_str_t video)
{
    char id[AVP_UUID_LEN + 1];

    return avp_uuid_parse(id, video) == 0
           && memcmp(id, video.data, AVP_UUID_LEN) == 0;
}

int
avp_delivery_sign(char dst[AVP_DELIVERY_TOKEN_LEN + 1],
                  const avp_delivery_key_t *key, const char *video,
                  uint32_t expiry)
{
    char head[KID_LEN + EXPIRY_LEN + 1];

    if (key->kid == 0 || !canonical(avp_str_c(video))) {
        return -1;
    }

    snprintf(head, sizeof(head), "%02x%08x", (unsigned)key->kid,
             (unsigned)expiry);
    memcpy(dst, head, KID_LEN + EXPIRY_LEN);
    if (mac(dst + KID_LEN + EXPIRY_LEN, key, video, head + KID_LEN) != 0) {
        return -1;
    }
    dst[AVP_DELIVERY_TOKEN_LEN] = '\0';
    return 0;
}

/* Lower-case hex digits only; 0 or -1. */
static int
from_hex(avp_str_t s, uint32_t *v)
{
    *v = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];

        if (c >= '0' && c <= '9') {
            *v = *v << 4 | (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            *v = *v << 4 | (uint32_t)(c - 'a' + 10);
        } else {
            return -1;
        }
    }
    return 0;
}

avp_delivery_result_t
avp_delivery_check(const avp_delivery_key_t *keys, size_t nkeys,
                   avp_str_t video, avp_str_t token, int64_t now)
{
    uint32_t kid, expiry;
    char     want[MAC_LEN];

    if (token.len != AVP_DELIVERY_TOKEN_LEN || !canonical(video)
        || from_hex((avp_str_t){ token.data, KID_LEN }, &kid) != 0
        || from_hex((avp_str_t){ token.data + KID_LEN, EXPIRY_LEN }, &expiry)
               != 0)
    {
        return AVP_DELIVERY_INVALID;
    }

    for (size_t i = 0; i < nkeys; i++) {
        if (keys[i].kid != kid
            || mac(want, &keys[i], video.data, token.data + KID_LEN) != 0
            || CRYPTO_memcmp(want, token.data + KID_LEN + EXPIRY_LEN, MAC_LEN)
                   != 0)
        {
            continue;
        }
        return now >= (int64_t)expiry ? AVP_DELIVERY_EXPIRED : AVP_DELIVERY_OK;
    }

    return AVP_DELIVERY_INVALID;
}
