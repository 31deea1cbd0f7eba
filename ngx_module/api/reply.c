/*
 * Answers (reply.h).
 */

#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"
#include "ngx_module/router.h"
#include "lib/doc.h"
#include "lib/text.h"


/* A body that was not read and is longer is not worth waiting for: the
 * connection is closed after the answer. */
#define AVP_DISCARD_MAX  (64 * 1024)


static const ngx_str_t  avp_json_type = ngx_string("application/json");
static const ngx_str_t  avp_problem_type =
    ngx_string("application/problem+json");

static const ngx_str_t  avp_no_store = ngx_string("no-store");
static const ngx_str_t  avp_revalidate = ngx_string("private, no-cache");


ngx_table_elt_t *
avp_reply_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return h;
}


static ngx_int_t
avp_reply_literal(ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_str_t  v;

    v.data = (u_char *) value;
    v.len = ngx_strlen(value);

    return avp_reply_header(r, name, &v) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
avp_reply_headers(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    ngx_http_avp_main_conf_t  *amcf;

    if (ctx->headers) {
        return NGX_OK;
    }

    ctx->headers = 1;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    if (avp_reply_header(r, "X-Request-Id", &ctx->request_id) == NULL
        || avp_reply_literal(r, "X-Content-Type-Options", "nosniff") != NGX_OK
        || avp_reply_literal(r, "Content-Security-Policy",
                             "default-src 'none'; frame-ancestors 'none'")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (amcf->cors_origins.nelts
        && avp_reply_literal(r, "Vary", "Origin") != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->origin.len == 0) {
        return NGX_OK;
    }

    if (avp_reply_header(r, "Access-Control-Allow-Origin", &ctx->origin)
        == NULL
        || avp_reply_literal(r, "Access-Control-Expose-Headers",
                             "Location, ETag, Retry-After, X-Request-Id, "
                             "Content-Disposition, Content-Range, "
                             "Accept-Ranges")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* What became of the request's body before the answer goes out. */
static void
avp_reply_body(ngx_http_request_t *r, ngx_uint_t close)
{
    r->expect_tested = 1;            /* no 100 Continue from here on */

    if (r->request_body || r->discard_body) {
        /* read, or being read: the core closes if it was not to its end */
        if (close) {
            r->keepalive = 0;
        }
        return;
    }

    /* whoever asked for 100 Continue may or may not send the body now */

    if (r->headers_in.expect) {
        close = 1;
    }

    if (!close && !r->headers_in.chunked
        && r->headers_in.content_length_n <= AVP_DISCARD_MAX)
    {
        if (ngx_http_discard_request_body(r) == NGX_OK) {
            return;
        }
    }

#if (NGX_HTTP_V2)
    if (r->stream) {
        (void) ngx_http_discard_request_body(r);
        return;
    }
#endif

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked || close) {
        r->keepalive = 0;
        r->lingering_close = 1;      /* let the client read the answer */
    }
}


static ngx_int_t
avp_reply_send(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, const ngx_str_t *cache, const ngx_str_t *body)
{
    ngx_buf_t           *b;
    ngx_int_t            rc;
    ngx_chain_t          out;
    ngx_table_elt_t     *h;
    ngx_http_avp_ctx_t  *ctx;

    ctx = avp_request_ctx(r);
    if (ctx == NULL || avp_reply_headers(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->replied = 1;

    /* The core compares conditions with the answer, after the deed: only
     * documents with an ETag have something to compare, and none has a date
     * (RFC 9110, 13.1.4: then it is ignored). */

    if (r->headers_out.etag == NULL) {
        r->disable_not_modified = 1;
    }

    r->headers_in.if_unmodified_since = NULL;

    h = avp_reply_header(r, "Cache-Control", cache);
    b = ngx_calloc_buf(r->pool);

    if (h == NULL || b == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    if (body->len) {
        r->headers_out.content_type = *type;
        r->headers_out.content_type_len = type->len;
        r->headers_out.content_type_lowcase = NULL;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = body->len ? 1 : 0;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* Documents */

/* What absolute URLs begin with: as configured, else as this request came. */
static ngx_int_t
avp_reply_base(ngx_http_request_t *r, ngx_str_t *base)
{
    ngx_str_t                  *scheme, http, https, *host;
    ngx_http_avp_main_conf_t   *amcf;
    ngx_http_core_srv_conf_t   *cscf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    if (amcf->public_url.len) {
        *base = amcf->public_url;
        return NGX_OK;
    }

    ngx_str_set(&http, "http");
    ngx_str_set(&https, "https");
    scheme = &http;

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        scheme = &https;
    }
#endif

    /* with its port, and checked by the core */
    host = r->headers_in.host ? &r->headers_in.host->value : NULL;

    if (host == NULL) {
        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
        host = r->headers_in.server.len ? &r->headers_in.server
                                        : &cscf->server_name;
    }

    base->data = ngx_pnalloc(r->pool, scheme->len + 3 + host->len);
    if (base->data == NULL) {
        return NGX_ERROR;
    }

    base->len = ngx_sprintf(base->data, "%V://%V", scheme, host) - base->data;

    return NGX_OK;
}


static ngx_int_t
avp_reply_fill(ngx_http_request_t *r, const ngx_str_t *doc, ngx_str_t *body)
{
    long                       n;
    size_t                     size;
    avp_str_t                  text;
    ngx_str_t                  base, api;
    avp_doc_fill_t             fill;
    ngx_http_avp_loc_conf_t   *alcf;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);
    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    if (avp_reply_base(r, &base) != NGX_OK) {
        return NGX_ERROR;
    }

    api.data = ngx_pnalloc(r->pool, base.len + alcf->api_prefix.len);
    if (api.data == NULL) {
        return NGX_ERROR;
    }
    api.len = ngx_sprintf(api.data, "%V%V", &base, &alcf->api_prefix)
              - api.data;

    fill.api_base.data = (char *) api.data;
    fill.api_base.len = api.len;

    if (amcf->cdn_url.len) {
        base = amcf->cdn_url;
    }

    fill.cdn_base.data = (char *) base.data;
    fill.cdn_base.len = base.len;
    fill.key = amcf->delivery_keys.elts;
    fill.expiry = avp_delivery_expiry(ngx_time(), AVP_DELIVERY_WINDOW);

    text.data = (char *) doc->data;
    text.len = doc->len;

    size = avp_doc_size(text, &fill);

    body->data = ngx_pnalloc(r->pool, size);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    n = avp_doc_write((char *) body->data, size, text, &fill);
    if (n < 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "avp: a document of the database is malformed");
        return NGX_ERROR;
    }

    body->len = n;

    return NGX_OK;
}


ngx_int_t
avp_reply_doc(ngx_http_request_t *r, ngx_uint_t status, const ngx_str_t *doc,
    const ngx_str_t *etag)
{
    ngx_str_t         body, value;
    ngx_table_elt_t  *h;

    if (doc->len == 0 || avp_reply_fill(r, doc, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (etag) {
        value.len = etag->len;
        value.data = ngx_pnalloc(r->pool, etag->len);
        if (value.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        ngx_memcpy(value.data, etag->data, etag->len);

        h = avp_reply_header(r, "ETag", &value);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        r->headers_out.etag = h;     /* the core compares: 304 */
    }

    avp_reply_body(r, 0);

    return avp_reply_send(r, status, &avp_json_type,
                          etag ? &avp_revalidate : &avp_no_store, &body);
}


ngx_int_t
avp_reply_json(ngx_http_request_t *r, ngx_uint_t status, const ngx_str_t *json)
{
    ngx_str_t  body;

    body.len = json->len;
    body.data = ngx_pnalloc(r->pool, json->len);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_memcpy(body.data, json->data, json->len);

    avp_reply_body(r, 0);

    return avp_reply_send(r, status, &avp_json_type, &avp_no_store, &body);
}


ngx_int_t
avp_reply_empty(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_str_t  body = ngx_null_string;

    avp_reply_body(r, 0);

    return avp_reply_send(r, status, NULL, &avp_no_store, &body);
}


ngx_int_t
avp_reply_options(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    u_char      buf[AVP_ROUTER_ALLOW];
    ngx_str_t   path, allow, copy;

    if (avp_router_path(r, &path) != NGX_OK) {
        return avp_reply_error(r, AVP_ERR_NOT_FOUND, NULL);
    }

    allow = avp_router_allow(&path, buf);

    copy.len = allow.len;
    copy.data = ngx_pstrdup(r->pool, &allow);

    if (copy.data == NULL || avp_reply_header(r, "Allow", &copy) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->origin.len
        && (avp_reply_header(r, "Access-Control-Allow-Methods", &copy) == NULL
            || avp_reply_literal(r, "Access-Control-Allow-Headers",
                                 "Authorization, Content-Type, "
                                 "Idempotency-Key, If-None-Match, Range, "
                                 "X-Request-Id")
               != NGX_OK
            || avp_reply_literal(r, "Access-Control-Max-Age", "86400")
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return avp_reply_empty(r, NGX_HTTP_NO_CONTENT);
}


/* Problems */

static ngx_int_t
avp_reply_problem_headers(ngx_http_request_t *r, int status)
{
    u_char            buf[AVP_ROUTER_ALLOW];
    ngx_str_t         path, allow, copy;
    ngx_table_elt_t  *h;

    static ngx_str_t  challenge =
        ngx_string("Bearer realm=\"avp\", error=\"invalid_token\"");

    switch (status) {

    case NGX_HTTP_UNAUTHORIZED:
        h = avp_reply_header(r, "WWW-Authenticate", &challenge);
        r->headers_out.www_authenticate = h;
        return h ? NGX_OK : NGX_ERROR;

    case NGX_HTTP_NOT_ALLOWED:
        if (avp_router_path(r, &path) != NGX_OK) {
            return NGX_OK;
        }
        allow = avp_router_allow(&path, buf);
        copy.len = allow.len;
        copy.data = ngx_pstrdup(r->pool, &allow);
        return copy.data && avp_reply_header(r, "Allow", &copy) ? NGX_OK
                                                                : NGX_ERROR;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        return avp_reply_literal(r, "Retry-After", "1");

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return avp_reply_literal(r, "Retry-After", "2");

    default:
        return NGX_OK;
    }
}


ngx_int_t
avp_reply_problem(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx,
    avp_error_t e, const char *detail, ngx_str_t *body)
{
    long                     n;
    char                     text[1024];
    size_t                   size;
    const avp_error_info_t  *info;

    info = avp_error_info(e);

    if (detail == NULL) {
        detail = info->detail;
    }

    n = avp_json_escape(text, sizeof(text), avp_str_c(detail));
    if (n < 0) {
        n = avp_json_escape(text, sizeof(text), avp_str_c(info->detail));
    }

    if (n < 0 || avp_reply_problem_headers(r, info->status) != NGX_OK) {
        return NGX_ERROR;
    }

    size = sizeof("{\"type\":\"urn:avp:problem:\",\"title\":\"\","
                  "\"status\":000,\"detail\":,\"code\":\"\","
                  "\"requestId\":\"\"}")
           + 2 * ngx_strlen(info->code) + ngx_strlen(info->title) + n
           + ctx->request_id.len;

    body->data = ngx_pnalloc(r->pool, size);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    body->len = ngx_snprintf(body->data, size,
                             "{\"type\":\"urn:avp:problem:%s\","
                             "\"title\":\"%s\",\"status\":%d,"
                             "\"detail\":%*s,\"code\":\"%s\","
                             "\"requestId\":\"%V\"}",
                             info->code, info->title, info->status,
                             (size_t) n, text, info->code, &ctx->request_id)
                - body->data;

    return NGX_OK;
}


static ngx_int_t
avp_reply_error_body(ngx_http_request_t *r, avp_error_t e,
    const char *detail, ngx_uint_t close)
{
    ngx_str_t            body;
    ngx_http_avp_ctx_t  *ctx;

    ctx = avp_request_ctx(r);

    if (ctx == NULL || avp_reply_problem(r, ctx, e, detail, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    avp_reply_body(r, close);

    return avp_reply_send(r, avp_error_info(e)->status, &avp_problem_type,
                          &avp_no_store, &body);
}


ngx_int_t
avp_reply_error(ngx_http_request_t *r, avp_error_t e, const char *detail)
{
    return avp_reply_error_body(r, e, detail, 0);
}


ngx_int_t
avp_reply_error_close(ngx_http_request_t *r, avp_error_t e,
    const char *detail)
{
    return avp_reply_error_body(r, e, detail, 1);
}


ngx_int_t
avp_reply_delivery_token(ngx_http_request_t *r, const char *video,
    char token[AVP_DELIVERY_TOKEN_LEN + 1])
{
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    return avp_delivery_sign(token, amcf->delivery_keys.elts, video,
                             avp_delivery_expiry(ngx_time(),
                                                 AVP_DELIVERY_WINDOW))
           == 0 ? NGX_OK : NGX_ERROR;
}
