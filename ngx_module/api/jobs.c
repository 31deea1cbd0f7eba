/*
 * Jobs: GET /jobs/{id}, POST /jobs/{id}/retry.
 */

#include "ngx_module/api/api.h"
#include "ngx_module/api/changes.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/backend/redis.h"
#include "ngx_module/request.h"


static void avp_api_job_retry_done(avp_pg_op_t *op);


static const avp_pg_stmt_t  avp_stmt_job_status = {
    "job_status", "SELECT * FROM job_status($1, $2, $3)", 3
};

static const avp_pg_stmt_t  avp_stmt_job_retry = {
    "job_retry", "SELECT * FROM job_retry($1, $2, $3, $4, $5)", 5
};


ngx_int_t
avp_api_job_get(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_pg_op_t  *op;

    op = avp_request_op(r, &avp_stmt_job_status, 0, avp_request_doc_done);

    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) avp_pg_cstr(op, ctx->ids[0]);

    return avp_request_wait(r, op);
}


ngx_int_t
avp_api_job_retry(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_pg_op_t  *op;
    ngx_str_t    *job;

    op = avp_request_op(r, &avp_stmt_job_retry, 1, avp_api_job_retry_done);

    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) avp_pg_cstr(op, ctx->ids[0]);

    /* the wake-up must go out even if the client does not wait */

    job = ngx_palloc(op->pool, sizeof(ngx_str_t) + AVP_UUID_LEN);

    if (job != NULL) {
        job->data = (u_char *) job + sizeof(ngx_str_t);
        job->len = AVP_UUID_LEN;
        ngx_memcpy(job->data, ctx->ids[0], AVP_UUID_LEN);
    }

    op->own = job;

    return avp_request_wait(r, op);
}


static void
avp_api_job_retry_done(avp_pg_op_t *op)
{
    if (avp_change_publish(op) && op->own) {
        avp_redis_wake(op->own);
    }

    avp_request_doc_done(op);
}
