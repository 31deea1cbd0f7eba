/*
 * The header side of lib/multipart.c: parameters of Content-Type and of
 * Content-Disposition, and a part's header as a whole.  Only lib/multipart.c
 * calls it; whole headers in memory, no state of its own.
 */

#ifndef AVP_MULTIPART_HEADER_H
#define AVP_MULTIPART_HEADER_H

#include "lib/multipart.h"

/*
 * The boundary of a request's Content-Type, unquoted into mp->values.  0, or
 * -1 with *why (NULL: it is not multipart/form-data at all).
 */
int avp_mp_boundary(avp_multipart_t *mp, avp_str_t content_type,
                    avp_str_t *boundary, const char **why);

/*
 * Reads mp->header (header_len bytes of lines that end with CRLF, the empty
 * one included) and sets name, filename, has_filename and content_type, which
 * point into mp->values and mp->header.  0, or -1 with *why.
 */
int avp_mp_header_parse(avp_multipart_t *mp, const char **why);

#endif
