#include "ngx_module/api/query.h"


ngx_int_t
avp_query_word(ngx_http_request_t *r, const char *name,
    u_char buf[AVP_QUERY_WORD_MAX], ngx_str_t *value)
{
    u_char     *src, *dst;
    size_t      i;
    ngx_str_t   raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    /* what is longer than this when encoded is longer than any of our words */

    if (raw.len > AVP_QUERY_WORD_MAX) {
        return NGX_ERROR;
    }

    src = raw.data;
    dst = buf;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->data = buf;
    value->len = dst - buf;

    for (i = 0; i < value->len; i++) {
        if (buf[i] <= 0x20 || buf[i] >= 0x7f) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
avp_query_int(ngx_http_request_t *r, const char *name, ngx_int_t min,
    ngx_int_t max, ngx_int_t *n)
{
    u_char     buf[AVP_QUERY_WORD_MAX];
    ngx_int_t  rc, value;
    ngx_str_t  word;

    rc = avp_query_word(r, name, buf, &word);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    /* digits only: no sign, no overflow */

    value = ngx_atoi(word.data, word.len);

    if (value == NGX_ERROR || value < min || value > max) {
        return NGX_ERROR;
    }

    *n = value;

    return NGX_OK;
}
