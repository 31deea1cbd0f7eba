/*
 * The address of Redis, as avp_redis names it (redis.h).
 */

#include "ngx_module/backend/redis.h"


const char *
avp_redis_address(ngx_pool_t *pool, ngx_str_t *url, avp_redis_address_t *a)
{
    u_char     *p, *last, *at, *colon, *slash;
    ngx_int_t   n;

    ngx_memzero(a, sizeof(avp_redis_address_t));
    a->port = 6379;

    p = url->data;
    last = url->data + url->len;

    if (url->len > 5 && ngx_strncmp(p, "unix:", 5) == 0) {
        p += 5;

        if (last - p > 2 && p[0] == '/' && p[1] == '/') {
            p += 2;
        }

        if (*p != '/' || (size_t) (last - p) >= 108) {
            return "a unix socket wants an absolute path, "
                   "as in unix:/run/redis.sock";
        }

        a->path.data = ngx_pnalloc(pool, last - p + 1);
        if (a->path.data == NULL) {
            return "no memory";
        }

        a->path.len = last - p;
        ngx_cpystrn(a->path.data, p, a->path.len + 1);

        return NULL;
    }

    if (url->len > 9 && ngx_strncmp(p, "rediss://", 9) == 0) {
        return "TLS is not supported by this hiredis; use redis://";
    }

    if (url->len <= 8 || ngx_strncmp(p, "redis://", 8) != 0) {
        return "must begin with redis:// or unix:";
    }

    p += 8;

    slash = ngx_strlchr(p, last, '/');
    if (slash) {
        if (slash + 1 < last) {
            n = ngx_atoi(slash + 1, last - slash - 1);
            if (n == NGX_ERROR || n > 1000000) {
                return "has a bad database number";
            }

            a->db = n;
        }

        last = slash;
    }

    for (at = last - 1; at >= p && *at != '@'; at--) { /* void */ }

    if (at >= p) {
        colon = ngx_strlchr(p, at, ':');
        if (colon == NULL) {
            return "has a user and no password";
        }

        a->user.data = p;
        a->user.len = colon - p;
        a->password.data = colon + 1;
        a->password.len = at - colon - 1;
        p = at + 1;
    }

    if (p < last && *p == '[') {
        colon = ngx_strlchr(p, last, ']');
        if (colon == NULL) {
            return "has a bad address";
        }

        a->host.data = p + 1;
        a->host.len = colon - p - 1;
        p = colon + 1;

    } else {
        colon = ngx_strlchr(p, last, ':');
        a->host.data = p;
        a->host.len = (colon ? colon : last) - p;
        p += a->host.len;
    }

    if (a->host.len == 0 || a->host.len > 255) {
        return "has no host";
    }

    if (p < last) {
        n = (*p == ':') ? ngx_atoi(p + 1, last - p - 1) : NGX_ERROR;

        if (n < 1 || n > 65535) {
            return "has a bad port";
        }

        a->port = (in_port_t) n;
    }

    return NULL;
}
