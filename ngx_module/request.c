/*
 * The life of a request under avp_api (request.h).
 */

#include "ngx_module/request.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/auth/bearer.h"
#include "ngx_module/router.h"
#include "ngx_module/zone.h"

#include <openssl/rand.h>


#define AVP_REQUEST_ID_MIN  8
#define AVP_REQUEST_ID_MAX  64

/* Requests that arrive before the zone has been filled for the first time, as
 * after a start or a binary upgrade, wait for it. */
#define AVP_FRESH_STEP      10       /* ms */
#define AVP_FRESH_WAIT      2000     /* ms */


typedef struct {
    ngx_event_t           event;
    ngx_http_request_t   *request;
    ngx_http_cleanup_t   *cleanup;
    ngx_msec_t            until;
} avp_fresh_t;


static ngx_int_t avp_request_route(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);
static ngx_int_t avp_request_enter(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);
static ngx_int_t avp_request_await_fresh(ngx_http_request_t *r);


/* The context */

static void
avp_request_ctx_cleanup(void *data)
{
    /* marks the context in the list of cleanups, nothing else */
}


static ngx_uint_t
avp_request_id_valid(const ngx_str_t *id)
{
    u_char  c;
    size_t  i;

    if (id->len < AVP_REQUEST_ID_MIN || id->len > AVP_REQUEST_ID_MAX) {
        return 0;
    }

    for (i = 0; i < id->len; i++) {
        c = id->data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
              || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
avp_request_origin_allowed(ngx_http_request_t *r, const ngx_str_t *value)
{
    ngx_str_t                 *origin;
    ngx_uint_t                 i;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);
    origin = amcf->cors_origins.elts;

    for (i = 0; i < amcf->cors_origins.nelts; i++) {
        if (origin[i].len == value->len
            && ngx_strncasecmp(origin[i].data, value->data, value->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* The core lets through what no host name has; addresses in documents begin
 * with it when avp_public_url is not set. */
static ngx_uint_t
avp_request_host_valid(ngx_http_request_t *r)
{
    size_t      i;
    u_char      c;
    ngx_str_t  *host;

    if (r->headers_in.host == NULL) {
        return 1;
    }

    host = &r->headers_in.host->value;

    for (i = 0; i < host->len; i++) {
        c = host->data[i];
        if (c <= ' ' || c >= 0x7f || ngx_strchr("\"\\<>^`{|}", c)) {
            return 0;
        }
    }

    return 1;
}


/* One walk over the headers for the two that the core does not keep. */
static void
avp_request_scan(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }
            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("X-Request-Id") - 1
            && ngx_strncmp(h[i].lowcase_key, "x-request-id", h[i].key.len)
               == 0)
        {
            if (avp_request_id_valid(&h[i].value)) {
                ctx->request_id = h[i].value;
            }

        } else if (h[i].key.len == sizeof("Origin") - 1
                   && ngx_strncmp(h[i].lowcase_key, "origin", h[i].key.len)
                      == 0)
        {
            if (avp_request_origin_allowed(r, &h[i].value)) {
                ctx->origin = h[i].value;
            }
        }
    }
}


/* The context outlives what zeroes r->ctx: an internal redirect (download)
 * and ngx_http_filter_finalize_request(), as in ngx_http_realip_module.c. */
static ngx_http_avp_ctx_t *
avp_request_ctx_recover(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;
    ngx_http_avp_ctx_t  *ctx;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler != avp_request_ctx_cleanup) {
            continue;
        }

        ctx = cln->data;

        if (ctx->request == r) {     /* subrequests share the pool */
            ngx_http_set_ctx(r, ctx, ngx_http_avp_module);
            return ctx;
        }
    }

    return NULL;
}


ngx_http_avp_ctx_t *
avp_request_ctx(ngx_http_request_t *r)
{
    u_char               random[16];
    ngx_pool_cleanup_t  *cln;
    ngx_http_avp_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_avp_module);
    if (ctx) {
        return ctx;
    }

    if (r->internal || r->filter_finalize) {
        ctx = avp_request_ctx_recover(r);
        if (ctx) {
            return ctx;
        }
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_avp_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_avp_ctx_t));
    cln->handler = avp_request_ctx_cleanup;

    ctx->request = r;
    avp_request_scan(r, ctx);

    if (ctx->request_id.len == 0) {
        ctx->request_id.data = ngx_pnalloc(r->pool, 2 * sizeof(random));
        if (ctx->request_id.data == NULL
            || RAND_bytes(random, sizeof(random)) != 1)
        {
            return NULL;
        }
        ngx_hex_dump(ctx->request_id.data, random, sizeof(random));
        ctx->request_id.len = 2 * sizeof(random);
    }

    ngx_http_set_ctx(r, ctx, ngx_http_avp_module);

    return ctx;
}


/* From the first byte to the handler */

ngx_int_t
ngx_http_avp_api_handler(ngx_http_request_t *r)
{
    ngx_table_elt_t     *expect;
    ngx_http_avp_ctx_t  *ctx;

    if (r->http_version < NGX_HTTP_VERSION_10) {
        /* HTTP/0.9 has no status line to say anything with */
        return NGX_HTTP_CLOSE;
    }

    ctx = avp_request_ctx(r);
    if (ctx == NULL || avp_reply_headers(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    avp_zone_count(AVP_M_requests, 1);

    if (!avp_request_host_valid(r)) {
        return avp_reply_error(r, AVP_ERR_BAD_REQUEST, NULL);
    }

    expect = r->headers_in.expect;

    if (expect && (expect->value.len != sizeof("100-continue") - 1
                   || ngx_strncasecmp(expect->value.data,
                                      (u_char *) "100-continue",
                                      sizeof("100-continue") - 1) != 0))
    {
        return avp_reply_error(r, AVP_ERR_EXPECTATION, NULL);
    }

    return avp_request_route(r, ctx);
}


static ngx_int_t
avp_request_route(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_str_t   path, ids[AVP_ROUTE_IDS];
    ngx_uint_t  i;
    avp_str_t   id;

    if (avp_router_path(r, &path) != NGX_OK) {
        return avp_reply_error(r, AVP_ERR_NOT_FOUND, NULL);
    }

    rc = avp_router_match(r->method, &path, &ctx->route, ids, &ctx->nids);

    if (rc == NGX_DECLINED) {
        return avp_reply_error(r, AVP_ERR_NOT_FOUND, NULL);
    }

    if (rc == NGX_HTTP_NOT_ALLOWED) {
        return r->method == NGX_HTTP_OPTIONS
               ? avp_reply_options(r, ctx)
               : avp_reply_error(r, AVP_ERR_METHOD_NOT_ALLOWED, NULL);
    }

    for (i = 0; i < ctx->nids; i++) {
        id.data = (char *) ids[i].data;
        id.len = ids[i].len;

        if (avp_uuid_parse(ctx->ids[i], id) != 0) {
            ctx->ids[i][0] = '\0';          /* said after authentication */
        }
    }

    return avp_request_enter(r, ctx);
}


/* Who asks, then whether the ids are any, then the body: a request without a
 * good token is refused before a byte of its body is asked for or read. */
static ngx_int_t
avp_request_enter(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    if (!ctx->route->open) {

        rc = avp_bearer_authenticate(r, ctx);

        if (rc == NGX_BUSY) {
            return avp_request_await_fresh(r);
        }

        if (rc != NGX_OK) {
            avp_zone_count(AVP_M_unauthorized, 1);
            return avp_reply_error(r, AVP_ERR_INVALID_TOKEN, NULL);
        }

        if (ctx->route->admin && !ctx->identity.admin) {
            return avp_reply_error(r, AVP_ERR_FORBIDDEN, NULL);
        }
    }

    for (i = 0; i < ctx->nids; i++) {
        if (ctx->ids[i][0] == '\0') {
            return avp_reply_error(r, AVP_ERR_INVALID_ID, NULL);
        }
    }

    if (ctx->route->body == AVP_BODY_NONE) {
        r->expect_tested = 1;

        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ctx->route->handler(r, ctx);
}


/* Waiting for the zone */

static void
avp_fresh_cleanup(void *data)
{
    avp_fresh_t *f = data;

    if (f->event.timer_set) {
        ngx_del_timer(&f->event);
    }
}


static void
avp_fresh_event(ngx_event_t *ev)
{
    avp_fresh_t *f = ev->data;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_avp_ctx_t  *ctx;
    ngx_http_request_t  *r;

    r = f->request;

    if (!avp_zone_fresh()
        && (ngx_msec_int_t) (f->until - ngx_current_msec) > 0)
    {
        ngx_add_timer(ev, AVP_FRESH_STEP);
        return;
    }

    f->cleanup->handler = NULL;

    c = r->connection;
    ngx_http_set_log_request(c->log, r);

    /* the count that this wait holds falls with ngx_http_finalize_request(),
     * also on NGX_DONE; what the handler waits for holds one of its own */

    ctx = avp_request_ctx(r);
    ctx->held = 0;

    rc = avp_zone_fresh() ? avp_request_enter(r, ctx)
                          : avp_reply_error(r, AVP_ERR_UNAVAILABLE, NULL);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
avp_request_await_fresh(ngx_http_request_t *r)
{
    avp_fresh_t  *f;

    f = ngx_pcalloc(r->pool, sizeof(avp_fresh_t));
    if (f == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    f->cleanup = ngx_http_cleanup_add(r, 0);
    if (f->cleanup == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    f->cleanup->handler = avp_fresh_cleanup;
    f->cleanup->data = f;

    f->request = r;
    f->until = ngx_current_msec + AVP_FRESH_WAIT;
    f->event.handler = avp_fresh_event;
    f->event.data = f;
    f->event.log = ngx_cycle->log;

    ngx_add_timer(&f->event, AVP_FRESH_STEP);

    avp_request_hold(r);

    return NGX_DONE;
}
