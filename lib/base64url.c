#include "lib/base64url.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of one character, or -1. */
static int
value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

size_t
avp_base64url_encode(char *dst, const uint8_t *src, size_t n)
{
    char    *d = dst;
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8) | src[i];
        have += 8;
        while (have >= 6) {
            have -= 6;
            *d++ = alphabet[(bits >> have) & 63];
        }
    }

    if (have > 0) {
        *d++ = alphabet[(bits << (6 - have)) & 63];
    }

    return (size_t)(d - dst);
}

long
avp_base64url_decode(uint8_t *dst, size_t size, avp_str_t src)
{
    size_t   n = 0;
    uint32_t bits = 0;
    unsigned have = 0;

    if (src.len % 4 == 1) {
        return -1;
    }

    for (size_t i = 0; i < src.len; i++) {
        int v = value_of(src.data[i]);

        if (v < 0) {
            return -1;
        }

        bits = (bits << 6) | (uint32_t)v;
        have += 6;

        if (have >= 8) {
            have -= 8;
            if (n == size) {
                return -1;
            }
            dst[n++] = (uint8_t)(bits >> have);
        }
    }

    /* canonical: what is left over of the last character is zero */
    if (bits & ((1u << have) - 1)) {
        return -1;
    }

    return (long)n;
}
