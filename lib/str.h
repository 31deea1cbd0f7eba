/*
 * Slices: bytes that somebody else owns.  Not NUL-terminated unless said.
 */

#ifndef AVP_STR_H
#define AVP_STR_H

#include <stddef.h>
#include <string.h>

typedef struct {
    const char *data;
    size_t      len;
} avp_str_t;

#define avp_str(literal) ((avp_str_t){ (literal), sizeof(literal) - 1 })

static inline avp_str_t
avp_str_c(const char *s)
{
    return (avp_str_t){ s, s ? strlen(s) : 0 };
}

static inline int
avp_str_eq(avp_str_t a, avp_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
