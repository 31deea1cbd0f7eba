/*
 * Requests and their database operations (request.h): how a request waits,
 * what happens to the operation when the client goes, how it ends.
 */

#include "ngx_module/request.h"
#include "ngx_module/api/reply.h"


#define AVP_AGENT_MAX  512


typedef struct {
    ngx_http_request_t   *request;
    avp_pg_op_t          *op;
    ngx_http_cleanup_t   *cleanup;
} avp_wait_t;


void
avp_request_hold(ngx_http_request_t *r)
{
    ngx_http_avp_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_avp_module);

    if (!ctx->held) {
        ctx->held = 1;
        r->main->count++;
    }

    if (!r->discard_body) {
        r->read_event_handler = ngx_http_test_reading;
    }
}


/* The client is gone: the operation goes on without the request. */
static void
avp_request_detach(void *data)
{
    avp_wait_t *w = data;

    w->op->data = NULL;
}


ngx_int_t
avp_request_wait(ngx_http_request_t *r, avp_pg_op_t *op)
{
    avp_wait_t  *w;

    w = ngx_palloc(r->pool, sizeof(avp_wait_t));
    if (w == NULL) {
        goto failed;
    }

    w->cleanup = ngx_http_cleanup_add(r, 0);
    if (w->cleanup == NULL) {
        goto failed;
    }

    w->cleanup->handler = avp_request_detach;
    w->cleanup->data = w;
    w->request = r;
    w->op = op;

    op->data = w;

    avp_request_hold(r);
    avp_pg_submit(op);

    return NGX_DONE;

failed:

    ngx_destroy_pool(op->pool);
    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


ngx_http_request_t *
avp_request_resume(avp_pg_op_t *op)
{
    avp_wait_t *w = op->data;

    if (w == NULL) {
        return NULL;
    }

    op->data = NULL;
    w->cleanup->handler = NULL;

    ngx_http_set_log_request(w->request->connection->log, w->request);

    return w->request;
}


void
avp_request_finish(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_avp_ctx_t  *ctx;

    c = r->connection;

    /* an internal redirect has zeroed it */
    ctx = ngx_http_get_module_ctx(r, ngx_http_avp_module);
    if (ctx) {
        ctx->held = 0;
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


/* For the audit row: a header may hold any bytes, a column only UTF-8. */
static ngx_int_t
avp_request_agent(ngx_http_request_t *r, avp_pg_op_t *op)
{
    size_t      i, len;
    u_char      agent[AVP_AGENT_MAX];
    ngx_str_t  *value;

    if (r->headers_in.user_agent == NULL) {
        return avp_pg_null(op);
    }

    value = &r->headers_in.user_agent->value;
    len = ngx_min(value->len, AVP_AGENT_MAX);

    for (i = 0; i < len; i++) {
        agent[i] = value->data[i] >= ' ' && value->data[i] < 0x7f
                   ? value->data[i] : '?';
    }

    return avp_pg_text(op, agent, len);
}


avp_pg_op_t *
avp_request_op(ngx_http_request_t *r, const avp_pg_stmt_t *stmt,
    ngx_uint_t audited, avp_pg_done_pt done)
{
    avp_pg_op_t         *op;
    ngx_http_avp_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_avp_module);

    op = avp_pg_op(stmt, done, NULL);
    if (op == NULL) {
        return NULL;
    }

    /* what writes no audit row changes nothing: it may run twice */
    op->repeatable = !audited;

    if (avp_pg_text(op, (u_char *) ctx->identity.user, AVP_UUID_LEN) != NGX_OK
        || avp_pg_bool(op, ctx->identity.admin) != NGX_OK)
    {
        goto failed;
    }

    if (audited && (avp_pg_str(op, &r->connection->addr_text) != NGX_OK
                    || avp_request_agent(r, op) != NGX_OK))
    {
        goto failed;
    }

    return op;

failed:

    ngx_destroy_pool(op->pool);
    return NULL;
}


/* ok | not_found | forbidden | conflict:CODE | invalid:CODE */
static avp_error_t
avp_request_error(avp_pg_op_t *op, const ngx_str_t *result)
{
    avp_str_t    code;
    avp_error_t  e;

    if (result->len == 9 && ngx_strncmp(result->data, "not_found", 9) == 0) {
        return AVP_ERR_NOT_FOUND;
    }

    if (result->len == 9 && ngx_strncmp(result->data, "forbidden", 9) == 0) {
        /* the token was good, its user is not: unknown, disabled, deleted */
        return AVP_ERR_INVALID_TOKEN;
    }

    code.data = NULL;
    code.len = 0;

    if (result->len > 9 && ngx_strncmp(result->data, "conflict:", 9) == 0) {
        code.data = (char *) result->data + 9;
        code.len = result->len - 9;

    } else if (result->len > 8 && ngx_strncmp(result->data, "invalid:", 8) == 0)
    {
        code.data = (char *) result->data + 8;
        code.len = result->len - 8;
    }

    e = code.len ? avp_error_by_code(code) : AVP_ERR_COUNT;

    if (e == AVP_ERR_COUNT) {
        ngx_log_error(NGX_LOG_ERR, op->log, 0,
                      "avp: \"%s\" returned \"%V\", which is not understood",
                      op->stmt->name, result);
        return AVP_ERR_INTERNAL;
    }

    return e;
}


ngx_int_t
avp_request_result(ngx_http_request_t *r, avp_pg_op_t *op)
{
    ngx_str_t    result;
    avp_error_t  e;

    if (op->status == AVP_PG_UNAVAILABLE) {
        e = AVP_ERR_UNAVAILABLE;

    } else if (op->status != AVP_PG_OK) {
        e = AVP_ERR_INTERNAL;

    } else {
        result = avp_pg_value(op, 0, "result");

        if (result.len == 2 && ngx_strncmp(result.data, "ok", 2) == 0) {
            return NGX_OK;
        }

        e = avp_request_error(op, &result);
    }

    avp_request_finish(r, avp_reply_error(r, e, NULL));

    return NGX_DONE;
}


void
avp_request_doc_done(avp_pg_op_t *op)
{
    ngx_str_t            doc;
    ngx_http_request_t  *r;

    r = avp_request_resume(op);

    if (r == NULL || avp_request_result(r, op) != NGX_OK) {
        return;
    }

    doc = avp_pg_value(op, 0, "doc");

    avp_request_finish(r, avp_reply_doc(r, NGX_HTTP_OK, &doc, NULL));
}
