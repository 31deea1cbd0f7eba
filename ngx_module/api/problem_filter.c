/*
 * Errors that NGINX's core raises (limit_req, sizes, parse errors, a handler
 * that returned a status) become problem documents: the header filter gives
 * the answer its type and length, the body filter puts the document in place
 * of the core's page.  The filters are the first of their chains, so all
 * others (add_header, gzip, logs) see the final answer.
 *
 * It concerns locations with avp_api or avp_delivery and, in a server that
 * has an avp_api location, requests that were refused before a location was
 * looked for.  408, 444 and 499 never get here: they have no answer.
 */

#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"


enum { AVP_SWAP_NONE = 0, AVP_SWAP_WAITS, AVP_SWAP_DONE };


static ngx_http_output_header_filter_pt  avp_next_header_filter;
static ngx_http_output_body_filter_pt    avp_next_body_filter;


/* Refused before the phases began, so before a location was looked for (the
 * core itself asks so in ngx_http_terminate_request()). */
static ngx_uint_t
avp_problem_early(ngx_http_request_t *r)
{
    return r->write_event_handler == NULL;
}


/* Whether errors of this request are ours to word. */
static ngx_uint_t
avp_problem_ours(ngx_http_request_t *r)
{
    ngx_http_avp_loc_conf_t  *alcf;
    ngx_http_avp_srv_conf_t  *ascf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    if (alcf->api || alcf->delivery) {
        return 1;
    }

    if (!avp_problem_early(r)) {
        return 0;
    }

    ascf = ngx_http_get_module_srv_conf(r, ngx_http_avp_module);

    return ascf->api_prefixes.nelts != 0;
}


static avp_error_t
avp_problem_error(ngx_http_request_t *r)
{
    ngx_uint_t  status;

    status = r->headers_out.status;

    /* The core has made 400 of 494 by now.  Of the 400s before a location is
     * known, only 494 is answered with lingering close. */

    if (status == NGX_HTTP_BAD_REQUEST && avp_problem_early(r)
        && r->lingering_close)
    {
        status = NGX_HTTP_REQUEST_HEADER_TOO_LARGE;
    }

    return avp_error_by_status((int) status);
}


static ngx_int_t
avp_problem_header_filter(ngx_http_request_t *r)
{
    avp_error_t          e;
    ngx_http_avp_ctx_t  *ctx;

    if (r->headers_out.status < NGX_HTTP_BAD_REQUEST || r != r->main
        || !avp_problem_ours(r))
    {
        return avp_next_header_filter(r);
    }

    ctx = avp_request_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->replied && !r->filter_finalize) {
        return avp_next_header_filter(r);
    }

    if (r->filter_finalize) {
        ctx->headers = 0;        /* ngx_http_clean_header() took them */
    }

    e = avp_problem_error(r);

    if (e == AVP_ERR_COUNT) {
        return avp_next_header_filter(r);
    }

    if (avp_reply_headers(r, ctx) != NGX_OK
        || avp_reply_problem(r, ctx, e, NULL, &ctx->problem) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    /* what an origin behind proxy_pass said of the body that goes */

    ngx_http_clear_content_length(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_etag(r);

    if (r->headers_out.content_encoding) {
        r->headers_out.content_encoding->hash = 0;
        r->headers_out.content_encoding = NULL;
    }

    r->headers_out.content_length_n = ctx->problem.len;

    ctx->swap = AVP_SWAP_WAITS;

    return avp_next_header_filter(r);
}


static ngx_int_t
avp_problem_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t           *b;
    ngx_chain_t          out, *cl;
    ngx_http_avp_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_avp_module);

    if (ctx == NULL || ctx->swap == AVP_SWAP_NONE || in == NULL
        || r != r->main)
    {
        return avp_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    if (ctx->swap == AVP_SWAP_DONE) {
        return avp_next_body_filter(r, NULL);
    }

    ctx->swap = AVP_SWAP_DONE;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ctx->problem.data;
    b->last = ctx->problem.data + ctx->problem.len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return avp_next_body_filter(r, &out);
}


ngx_int_t
avp_reply_init(ngx_conf_t *cf)
{
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

    if (amcf->api_place.line == 0 && amcf->delivery_place.line == 0) {
        return NGX_OK;
    }

    avp_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = avp_problem_header_filter;

    avp_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = avp_problem_body_filter;

    return NGX_OK;
}
