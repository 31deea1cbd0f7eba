/*
 * The API's routes (router.h).  Of several rows that a path fits, those of the
 * first path that fits count: literal paths stand above those with `{id}`.
 */

#include "ngx_module/router.h"
#include "ngx_module/api/api.h"


static const avp_route_t  avp_routes[] = {

    /* method, path, open, admin, body, handler */

    { NGX_HTTP_GET, "/health", 1, 0, AVP_BODY_NONE, avp_api_health },
    { NGX_HTTP_GET, "/stats", 0, 0, AVP_BODY_NONE, avp_api_stats },

    { NGX_HTTP_GET, "/videos", 0, 0, AVP_BODY_NONE, avp_api_video_list },
    { NGX_HTTP_POST, "/videos/upload", 0, 0, AVP_BODY_STREAM,
      avp_upload_form },
    { NGX_HTTP_GET, "/videos/{id}", 0, 0, AVP_BODY_NONE, avp_api_video_get },
    { NGX_HTTP_DELETE, "/videos/{id}", 0, 0, AVP_BODY_NONE,
      avp_api_video_delete },
    { NGX_HTTP_GET, "/videos/{id}/status", 0, 0, AVP_BODY_NONE,
      avp_api_video_status },
    { NGX_HTTP_GET, "/videos/{id}/metadata", 0, 0, AVP_BODY_NONE,
      avp_api_video_metadata },
    { NGX_HTTP_GET, "/videos/{id}/download", 0, 0, AVP_BODY_NONE,
      avp_api_video_download },

    { NGX_HTTP_GET, "/jobs/{id}", 0, 0, AVP_BODY_NONE, avp_api_job_get },
    { NGX_HTTP_POST, "/jobs/{id}/retry", 0, 0, AVP_BODY_NONE,
      avp_api_job_retry },
};

#define AVP_ROUTES  (sizeof(avp_routes) / sizeof(avp_routes[0]))


static const struct {
    ngx_uint_t   method;
    const char  *name;
} avp_methods[] = {
    { NGX_HTTP_GET, "GET, HEAD" },
    { NGX_HTTP_POST, "POST" },
    { NGX_HTTP_PATCH, "PATCH" },
    { NGX_HTTP_PUT, "PUT" },
    { NGX_HTTP_DELETE, "DELETE" }
};

#define AVP_METHODS  (sizeof(avp_methods) / sizeof(avp_methods[0]))


/* Whether `path` has the form of `pattern`; ids may be NULL. */
static ngx_uint_t
avp_router_fits(const char *pattern, const ngx_str_t *path, ngx_str_t *ids,
    ngx_uint_t *nids)
{
    u_char      *p, *last, *start;
    ngx_uint_t   n;

    p = path->data;
    last = p + path->len;
    n = 0;

    while (*pattern) {

        if (*pattern != '{') {
            if (p == last || *p != (u_char) *pattern) {
                return 0;
            }
            p++;
            pattern++;
            continue;
        }

        for (start = p; p < last && *p != '/'; p++) { /* void */ }

        if (p == start || n == AVP_ROUTE_IDS) {
            return 0;
        }

        if (ids) {
            ids[n].data = start;
            ids[n].len = p - start;
        }
        n++;

        pattern = strchr(pattern, '}') + 1;
    }

    if (p != last) {
        return 0;
    }

    if (nids) {
        *nids = n;
    }

    return 1;
}


ngx_int_t
avp_router_match(ngx_uint_t method, const ngx_str_t *path,
    const avp_route_t **route, ngx_str_t ids[AVP_ROUTE_IDS],
    ngx_uint_t *nids)
{
    ngx_uint_t    i;
    const char   *fits;

    fits = NULL;

    if (method == NGX_HTTP_HEAD) {
        method = NGX_HTTP_GET;
    }

    for (i = 0; i < AVP_ROUTES; i++) {

        if (fits == NULL) {
            if (!avp_router_fits(avp_routes[i].path, path, ids, nids)) {
                continue;
            }
            fits = avp_routes[i].path;

        } else if (ngx_strcmp(fits, avp_routes[i].path) != 0) {
            continue;
        }

        if (avp_routes[i].method == method) {
            *route = &avp_routes[i];
            return NGX_OK;
        }
    }

    return fits ? NGX_HTTP_NOT_ALLOWED : NGX_DECLINED;
}


ngx_str_t
avp_router_allow(const ngx_str_t *path, u_char buf[AVP_ROUTER_ALLOW])
{
    u_char      *p;
    ngx_str_t    allow;
    ngx_uint_t   i, methods;
    const char  *fits;

    fits = NULL;
    methods = 0;
    p = buf;

    for (i = 0; i < AVP_ROUTES; i++) {
        if (fits ? ngx_strcmp(fits, avp_routes[i].path) == 0
                 : avp_router_fits(avp_routes[i].path, path, NULL, NULL))
        {
            fits = avp_routes[i].path;
            methods |= avp_routes[i].method;
        }
    }

    for (i = 0; fits && i < AVP_METHODS; i++) {
        if (methods & avp_methods[i].method) {
            p = ngx_slprintf(p, buf + AVP_ROUTER_ALLOW, "%s, ",
                             avp_methods[i].name);
        }
    }

    if (fits) {
        p = ngx_slprintf(p, buf + AVP_ROUTER_ALLOW, "OPTIONS");
    }

    allow.data = buf;
    allow.len = p - buf;

    return allow;
}


static ngx_int_t
avp_router_below(const ngx_str_t *uri, const ngx_str_t *prefix,
    ngx_str_t *path)
{
    if (uri->len <= prefix->len || uri->data[prefix->len] != '/'
        || ngx_memcmp(uri->data, prefix->data, prefix->len) != 0)
    {
        return NGX_DECLINED;
    }

    path->data = uri->data + prefix->len;
    path->len = uri->len - prefix->len;

    return NGX_OK;
}


ngx_int_t
avp_router_path(ngx_http_request_t *r, ngx_str_t *path)
{
    ngx_str_t                *prefix;
    ngx_uint_t                i;
    ngx_http_avp_loc_conf_t  *alcf;
    ngx_http_avp_srv_conf_t  *ascf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    if (alcf->api) {
        return avp_router_below(&r->uri, &alcf->api_prefix, path);
    }

    /* refused by the core before it looked for a location */

    ascf = ngx_http_get_module_srv_conf(r, ngx_http_avp_module);
    prefix = ascf->api_prefixes.elts;

    for (i = 0; i < ascf->api_prefixes.nelts; i++) {
        if (avp_router_below(&r->uri, &prefix[i], path) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}
