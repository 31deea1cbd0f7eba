/*
 * Signed delivery paths: /v/{video}/{token}/{prefix}/{path}.
 *
 *   token = kid (2 hex) expiry (8 hex, Unix seconds) mac (32 hex)
 *   mac   = first 16 bytes of HMAC-SHA256(key, "avp1:" video ":" expiry-hex)
 *
 * Expiry is rounded up to a window, so that all viewers of a window share one
 * URL and a CDN one copy; a token is good for between one and two windows.
 * Checking is CPU only and constant in time.
 */

#ifndef AVP_DELIVERY_TOKEN_H
#define AVP_DELIVERY_TOKEN_H

#include "lib/str.h"

#include <stdint.h>

#define AVP_DELIVERY_TOKEN_LEN 42
#define AVP_DELIVERY_WINDOW 21600 /* seconds: 6 h */

typedef struct {
    uint8_t  kid;      /* 1..255 */
    uint8_t  key[64];
    size_t   key_len;  /* 32 or more */
} avp_delivery_key_t;

typedef enum {
    AVP_DELIVERY_OK = 0,
    AVP_DELIVERY_INVALID,
    AVP_DELIVERY_EXPIRED
} avp_delivery_result_t;

/* The expiry that tokens made at `now` carry. */
uint32_t avp_delivery_expiry(int64_t now, uint32_t window);

/* Writes 42 characters and a NUL.  `video` is a canonical UUID.  0 or -1. */
int avp_delivery_sign(char dst[AVP_DELIVERY_TOKEN_LEN + 1],
                      const avp_delivery_key_t *key, const char *video,
                      uint32_t expiry);

avp_delivery_result_t avp_delivery_check(const avp_delivery_key_t *keys,
                                         size_t nkeys, avp_str_t video,
                                         avp_str_t token, int64_t now);

#endif
