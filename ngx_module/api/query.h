/*
 * Parameters of a query string: decoded, bounded, the first of a name counts,
 * unknown names are nobody's business.
 */

#ifndef AVP_QUERY_H
#define AVP_QUERY_H

#include "ngx_module/avp.h"

/* NGX_OK with *value decoded (NUL never within), NGX_DECLINED when there is
 * no such parameter, NGX_ERROR when it cannot be a word: too long, or with
 * bytes outside of printable ASCII. */
#define AVP_QUERY_WORD_MAX  64
ngx_int_t avp_query_word(ngx_http_request_t *r, const char *name,
    u_char buf[AVP_QUERY_WORD_MAX], ngx_str_t *value);

/* NGX_OK with *n in [min, max] (`n` keeps its value when there is no such
 * parameter), else NGX_ERROR: 422. */
ngx_int_t avp_query_int(ngx_http_request_t *r, const char *name,
    ngx_int_t min, ngx_int_t max, ngx_int_t *n);

#endif
