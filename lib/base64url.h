/*
 * base64url without padding (RFC 4648 section 5), strict: no '=', no
 * white space, no '+' or '/', and no non-canonical trailing bits.
 */

#ifndef AVP_BASE64URL_H
#define AVP_BASE64URL_H

#include "lib/str.h"

#include <stdint.h>

/* Bytes that n bytes take when encoded, without a NUL. */
#define AVP_BASE64URL_LEN(n) (((n) * 4 + 2) / 3)

/* Writes AVP_BASE64URL_LEN(n) characters to dst, no NUL; returns the count. */
size_t avp_base64url_encode(char *dst, const uint8_t *src, size_t n);

/*
 * Decodes into dst of `size` bytes.  Returns the number of bytes written, or
 * -1 for anything non-canonical or too long for dst.
 */
long avp_base64url_decode(uint8_t *dst, size_t size, avp_str_t src);

#endif
