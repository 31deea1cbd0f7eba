#include "ngx_module/delivery/gate.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"
#include "ngx_module/zone.h"
#include "lib/storage_key.h"


#define AVP_GATE_ALLOW  "GET, HEAD, OPTIONS"


typedef struct {
    char                 video[AVP_UUID_LEN + 1];
    avp_str_t            path;          /* {prefix}/{path} of the URI */
    avp_str_t            ending;
} avp_gate_object_t;


typedef struct {
    ngx_str_t            cache;         /* Cache-Control of a good answer */
    ngx_table_elt_t     *header;
} avp_gate_ctx_t;


typedef struct {
    const char          *ending;
    ngx_str_t            type;
} avp_gate_type_t;


static ngx_int_t avp_gate_handler(ngx_http_request_t *r);
static ngx_int_t avp_gate_preflight(ngx_http_request_t *r);
static ngx_int_t avp_gate_refuse(ngx_http_request_t *r, avp_error_t e);
static avp_error_t avp_gate_check(ngx_http_request_t *r,
    avp_gate_object_t *object);
static ngx_int_t avp_gate_map(ngx_http_request_t *r,
    avp_gate_object_t *object);
static ngx_int_t avp_gate_headers(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);
static ngx_int_t avp_gate_header(ngx_http_request_t *r, const char *name,
    const char *value);
static ngx_int_t avp_gate_header_filter(ngx_http_request_t *r);
static ngx_int_t avp_gate_object_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_uint_t avp_gate_live(avp_gate_object_t *object);


/* HLS: RFC 8216 3 and 4; the others by IANA. */

static const avp_gate_type_t  avp_gate_types[] = {
    { "m4s", ngx_string("video/iso.segment") },
    { "m3u8", ngx_string("application/vnd.apple.mpegurl") },
    { "mp4", ngx_string("video/mp4") },
    { "webm", ngx_string("video/webm") },
    { "mpd", ngx_string("application/dash+xml") },
    { "vtt", ngx_string("text/vtt") },
    { "jpg", ngx_string("image/jpeg") },
    { "webp", ngx_string("image/webp") }
};


static const ngx_str_t  avp_gate_immutable =
    ngx_string("public, max-age=31536000, immutable");
static const ngx_str_t  avp_gate_short = ngx_string("public, max-age=1");


static ngx_str_t  avp_gate_object_name = ngx_string("avp_object");

static ngx_http_output_header_filter_pt  avp_gate_next_header_filter;


ngx_int_t
avp_delivery_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    var = ngx_http_add_variable(cf, &avp_gate_object_name,
                                NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = avp_gate_object_variable;

    return NGX_OK;
}


ngx_int_t
avp_delivery_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = avp_gate_handler;

    avp_gate_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = avp_gate_header_filter;

    return NGX_OK;
}


static ngx_int_t
avp_gate_handler(ngx_http_request_t *r)
{
    avp_error_t               e;
    avp_gate_ctx_t           *gate;
    avp_gate_object_t         object;
    ngx_http_avp_ctx_t       *ctx;
    ngx_http_avp_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    if (!alcf->delivery) {
        return NGX_DECLINED;
    }

    ctx = avp_request_ctx(r);
    gate = ngx_pcalloc(r->pool, sizeof(avp_gate_ctx_t));

    if (ctx == NULL || gate == NULL || avp_gate_headers(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->data = gate;

    if (r->method == NGX_HTTP_OPTIONS) {
        return avp_gate_preflight(r);
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        if (avp_gate_header(r, "Allow", AVP_GATE_ALLOW) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return avp_gate_refuse(r, AVP_ERR_METHOD_NOT_ALLOWED);
    }

    e = avp_gate_check(r, &object);

    if (e != AVP_ERR_COUNT) {
        return avp_gate_refuse(r, e);
    }

    if (avp_gate_map(r, &object) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    gate->cache = avp_gate_live(&object) ? avp_gate_short
                                         : avp_gate_immutable;

    /* the location's own content handler serves */

    return NGX_DECLINED;
}


static ngx_int_t
avp_gate_preflight(ngx_http_request_t *r)
{
    if (avp_gate_header(r, "Access-Control-Allow-Methods", AVP_GATE_ALLOW)
            != NGX_OK
        || avp_gate_header(r, "Access-Control-Allow-Headers",
                           "Range, If-Range, If-None-Match, "
                           "If-Modified-Since") != NGX_OK
        || avp_gate_header(r, "Access-Control-Max-Age", "86400") != NGX_OK
        || ngx_http_discard_request_body(r) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    ngx_http_finalize_request(r, ngx_http_send_header(r));

    return NGX_DONE;
}


static ngx_int_t
avp_gate_refuse(ngx_http_request_t *r, avp_error_t e)
{
    avp_zone_count(AVP_M_delivery_denied, 1);

    ngx_http_finalize_request(r, avp_reply_error(r, e, NULL));

    return NGX_DONE;
}


/*
 * /v/{video}/{token}/{prefix}/{path}: AVP_ERR_COUNT when it may be served.
 * What is not well formed is 404 whoever asks; then the token, then whether
 * the video is still there.
 */

static avp_error_t
avp_gate_check(ngx_http_request_t *r, avp_gate_object_t *object)
{
    const char                *p;
    avp_str_t                  video, token;
    ngx_http_avp_main_conf_t  *amcf;

    /* "/v/" uuid "/" token "/" */

    if (r->uri.len <= 3 + AVP_UUID_LEN + 1 + AVP_DELIVERY_TOKEN_LEN + 1
        || ngx_strncmp(r->uri.data, "/v/", 3) != 0)
    {
        return AVP_ERR_NOT_FOUND;
    }

    p = (const char *) r->uri.data + 3;

    video.data = p;
    video.len = AVP_UUID_LEN;
    p += AVP_UUID_LEN;

    token.data = p + 1;
    token.len = AVP_DELIVERY_TOKEN_LEN;

    if (p[0] != '/' || token.data[AVP_DELIVERY_TOKEN_LEN] != '/'
        || memchr(token.data, '/', token.len) != NULL
        || avp_uuid_parse(object->video, video) != 0
        || ngx_memcmp(object->video, video.data, AVP_UUID_LEN) != 0)
    {
        return AVP_ERR_NOT_FOUND;
    }

    object->path.data = token.data + AVP_DELIVERY_TOKEN_LEN + 1;
    object->path.len = (const char *) r->uri.data + r->uri.len
                       - object->path.data;

    if (avp_object_path_check(object->path) != 0) {
        return AVP_ERR_NOT_FOUND;
    }

    p = memchr(object->path.data, '.', object->path.len);
    object->ending.data = p + 1;
    object->ending.len = object->path.data + object->path.len - (p + 1);

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    if (avp_delivery_check(amcf->delivery_keys.elts,
                           amcf->delivery_keys.nelts, video, token,
                           ngx_time())
        != AVP_DELIVERY_OK)
    {
        return AVP_ERR_INVALID_DELIVERY;
    }

    if (avp_zone_video_denied(object->video)) {
        return AVP_ERR_NOT_FOUND;
    }

    return AVP_ERR_COUNT;
}


/* The URI becomes the storage key's, the type is ours. */

static ngx_int_t
avp_gate_map(ngx_http_request_t *r, avp_gate_object_t *object)
{
    u_char      *p;
    ngx_str_t    uri;
    ngx_uint_t   i;

    uri.len = sizeof("/outputs/") - 1 + AVP_UUID_LEN + 1 + object->path.len;

    uri.data = ngx_pnalloc(r->pool, uri.len);
    if (uri.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(uri.data, "/outputs/", sizeof("/outputs/") - 1);
    p = ngx_cpymem(p, object->video, AVP_UUID_LEN);
    *p++ = '/';
    ngx_memcpy(p, object->path.data, object->path.len);

    for (i = 0; i < sizeof(avp_gate_types) / sizeof(avp_gate_types[0]); i++) {

        if (avp_str_eq(object->ending, avp_str_c(avp_gate_types[i].ending))) {
            r->headers_out.content_type = avp_gate_types[i].type;
            r->headers_out.content_type_len = avp_gate_types[i].type.len;
            r->headers_out.content_type_lowcase = NULL;
            break;
        }
    }

    r->uri = uri;
    r->valid_unparsed_uri = 0;

    return NGX_OK;
}


/* The playlists of a running encode grow; everything else is written once
 * under a prefix of its own. */

static ngx_uint_t
avp_gate_live(avp_gate_object_t *object)
{
    size_t       n;
    const char  *p;

    if (!avp_str_eq(object->ending, avp_str("m3u8"))) {
        return 0;
    }

    for (n = object->path.len; object->path.data[n - 1] != '/'; n--) {
        /* void */
    }

    p = object->path.data + n;
    n = object->path.len - n;

    return n > 4 && ngx_strncmp(p, "live", 4) == 0;
}


/* Players of any origin may read; the token is the secret, not a cookie.
 * These stand in place of the API's headers, whose CORS knows origins and
 * which vary by them: a cache keeps one copy for all. */

static ngx_int_t
avp_gate_headers(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    ctx->headers = 1;

    if (avp_reply_header(r, "X-Request-Id", &ctx->request_id) == NULL) {
        return NGX_ERROR;
    }

    if (avp_gate_header(r, "Access-Control-Allow-Origin", "*") != NGX_OK
        || avp_gate_header(r, "Access-Control-Expose-Headers",
                           "Content-Length, Content-Range, ETag, "
                           "X-Request-Id") != NGX_OK
        || avp_gate_header(r, "Cross-Origin-Resource-Policy", "cross-origin")
            != NGX_OK
        || avp_gate_header(r, "X-Content-Type-Options", "nosniff") != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
avp_gate_header(ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_str_t  text;

    text.data = (u_char *) value;
    text.len = ngx_strlen(value);

    return avp_reply_header(r, name, &text) ? NGX_OK : NGX_ERROR;
}


/*
 * Only now it is known whether the file was there.  The filter runs again
 * for the error page when the range filter refused (416).
 */

static ngx_int_t
avp_gate_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                 cache;
    avp_gate_ctx_t           *gate;
    ngx_http_avp_ctx_t       *ctx;
    ngx_http_avp_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);
    ctx = ngx_http_get_module_ctx(r, ngx_http_avp_module);

    if (!alcf->delivery || ctx == NULL || ctx->data == NULL || ctx->replied) {
        return avp_gate_next_header_filter(r);
    }

    gate = ctx->data;

    if (r->headers_out.status >= NGX_HTTP_SPECIAL_RESPONSE
        && r->headers_out.status != NGX_HTTP_NOT_MODIFIED)
    {
        ngx_str_set(&cache, "no-store");

    } else {
        cache = gate->cache;
    }

    if (cache.len) {

        if (gate->header == NULL) {
            gate->header = avp_reply_header(r, "Cache-Control", &cache);
            if (gate->header == NULL) {
                return NGX_ERROR;
            }
        }

        gate->header->value = cache;
    }

    return avp_gate_next_header_filter(r);
}


static ngx_int_t
avp_gate_object_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char                   *p;
    avp_gate_object_t         object;
    ngx_http_avp_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    v->not_found = 1;

    if (!alcf->delivery) {
        return NGX_OK;
    }

    /* mapped already, or to be looked at now */

    if (r->uri.len > 9 && ngx_strncmp(r->uri.data, "/outputs/", 9) == 0) {
        v->data = r->uri.data + 1;
        v->len = r->uri.len - 1;

    } else {

        if (avp_gate_check(r, &object) != AVP_ERR_COUNT) {
            return NGX_OK;
        }

        v->len = sizeof("outputs/") - 1 + AVP_UUID_LEN + 1 + object.path.len;

        p = ngx_pnalloc(r->pool, v->len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        v->data = p;

        (void) ngx_sprintf(p, "outputs/%s/%*s", object.video,
                           object.path.len, object.path.data);
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
