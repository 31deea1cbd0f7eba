/*
 * The life of a request under avp_api: route, identity, body, operation,
 * answer.  A handler that starts an operation returns NGX_DONE after
 * avp_request_wait(); the operation's `done` finds out by data == NULL that
 * the request went away, and otherwise answers with avp_reply_*() and
 * avp_request_finish().
 */

#ifndef AVP_REQUEST_H
#define AVP_REQUEST_H

#include "ngx_module/avp.h"
#include "ngx_module/backend/pg.h"

/* Content handler of avp_api locations. */
ngx_int_t ngx_http_avp_api_handler(ngx_http_request_t *r);

/* The context, made on first use with its request id (the client's
 * X-Request-Id when it is 8..64 of [A-Za-z0-9_-], else 32 hex digits). */
ngx_http_avp_ctx_t *avp_request_ctx(ngx_http_request_t *r);

/*
 * Keeps the request after its handler has returned NGX_DONE, until
 * avp_request_finish().  avp_request_wait() does it; a handler that waits for
 * something else calls it itself.  Does nothing when the request is held
 * already: whoever reads the body with ngx_http_read_client_request_body(),
 * which counts by itself, sets ctx->held.
 */
void avp_request_hold(ngx_http_request_t *r);

/*
 * Submits `op` for this request: the request waits, client aborts are
 * noticed, and detach the operation.  `done` gets the request back by
 * avp_request_resume(op), NULL when it is gone.  Returns NGX_DONE for the
 * handler to return.
 */
ngx_int_t avp_request_wait(ngx_http_request_t *r, avp_pg_op_t *op);
ngx_http_request_t *avp_request_resume(avp_pg_op_t *op);

/* Ends the request with what a handler would have returned, and runs posted
 * requests. */
void avp_request_finish(ngx_http_request_t *r, ngx_int_t rc);

/*
 * The usual handler: caller (user, admin) are parameters 1 and 2, then (for
 * `audited` statements) address and user agent, then what the caller adds.
 * NULL: no memory.
 */
avp_pg_op_t *avp_request_op(ngx_http_request_t *r, const avp_pg_stmt_t *stmt,
    ngx_uint_t audited, avp_pg_done_pt done);

/*
 * The usual end: maps op->status and column `result` to an error answer.
 * Returns NGX_OK when result is "ok" (the caller goes on with `doc`), else
 * the request has been answered and *r finished: NGX_DONE.
 */
ngx_int_t avp_request_result(ngx_http_request_t *r, avp_pg_op_t *op);

/* The whole `done` of an operation whose answer is its `doc`, with 200. */
void avp_request_doc_done(avp_pg_op_t *op);

#endif
