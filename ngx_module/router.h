/*
 * The route table: method, path, who may, what body, which handler.  Paths
 * are relative to the prefix of the avp_api location; `{id}` stands for a
 * UUID.  CPU only, no allocation.
 */

#ifndef AVP_ROUTER_H
#define AVP_ROUTER_H

#include "ngx_module/avp.h"

/*
 * Finds the route of method and path.  NGX_OK with ctx->route and the raw ids
 * in `ids`; NGX_DECLINED when no route has this path; NGX_HTTP_NOT_ALLOWED
 * when one has, but not this method.  HEAD is GET's.
 */
ngx_int_t avp_router_match(ngx_uint_t method, const ngx_str_t *path,
    const avp_route_t **route, ngx_str_t ids[AVP_ROUTE_IDS],
    ngx_uint_t *nids);

/* "GET, HEAD, OPTIONS" for a path, in a buffer of AVP_ROUTER_ALLOW bytes;
 * empty when there is no such path. */
#define AVP_ROUTER_ALLOW  64
ngx_str_t avp_router_allow(const ngx_str_t *path,
    u_char buf[AVP_ROUTER_ALLOW]);

/* What follows the prefix of the avp_api location that the URI lies in:
 * NGX_OK with a path that begins with '/', else NGX_DECLINED. */
ngx_int_t avp_router_path(ngx_http_request_t *r, ngx_str_t *path);

#endif
