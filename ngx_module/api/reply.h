/*
 * Answers: JSON documents with their holes filled (lib/doc.h), problem
 * details (RFC 9457), and the headers that every answer has (X-Request-Id,
 * CORS, nosniff, no-store).
 */

#ifndef AVP_REPLY_H
#define AVP_REPLY_H

#include "ngx_module/avp.h"

/* Sends `status` with the document filled; `etag` may be NULL.  The text is
 * copied.  Returns what the content handler should return. */
ngx_int_t avp_reply_doc(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *doc, const ngx_str_t *etag);

/* JSON that has no holes. */
ngx_int_t avp_reply_json(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *json);

ngx_int_t avp_reply_empty(ngx_http_request_t *r, ngx_uint_t status);

/* A problem.  `detail` NULL: the list's sentence.  Adds WWW-Authenticate,
 * Allow, Retry-After where the error wants one. */
ngx_int_t avp_reply_error(ngx_http_request_t *r, avp_error_t e,
    const char *detail);

/* The same, and the connection is closed after it: the body was not read. */
ngx_int_t avp_reply_error_close(ngx_http_request_t *r, avp_error_t e,
    const char *detail);

/* The answer to OPTIONS of a known path: 204 with Allow, and what a browser
 * asks before a cross-origin request (CORS preflight). */
ngx_int_t avp_reply_options(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);

/* X-Request-Id, CORS and nosniff, once per request; they survive an internal
 * redirect. */
ngx_int_t avp_reply_headers(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);

/* Appends a response header; `name` is a literal, the value is not copied. */
ngx_table_elt_t *avp_reply_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value);

/* The body of a problem, in r->pool, and the headers that belong to it
 * (WWW-Authenticate, Allow, Retry-After). */
ngx_int_t avp_reply_problem(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx,
    avp_error_t e, const char *detail, ngx_str_t *body);

/* Turns errors that NGINX's core raises under avp_api into problems: header
 * and body filters, or an error_page of our own (installed by conf.c). */
ngx_int_t avp_reply_init(ngx_conf_t *cf);

/* The delivery base that $-holes of a video get: for download redirects. */
ngx_int_t avp_reply_delivery_token(ngx_http_request_t *r, const char *video,
    char token[AVP_DELIVERY_TOKEN_LEN + 1]);

#endif
