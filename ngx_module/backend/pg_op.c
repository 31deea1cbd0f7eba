/*
 * Operations as their owners see them (pg.h): made, given parameters, asked
 * for values.
 */

#include "ngx_module/backend/pg_private.h"


avp_pg_op_t *
avp_pg_op(const avp_pg_stmt_t *stmt, avp_pg_done_pt done, void *data)
{
    ngx_pool_t     *pool;
    avp_pg_call_t  *call;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    call = ngx_pcalloc(pool, sizeof(avp_pg_call_t));
    if (call == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    call->op.pool = pool;
    call->op.log = ngx_cycle->log;
    call->op.stmt = stmt;
    call->op.done = done;
    call->op.data = data;

    call->timer.handler = avp_pg_call_event;
    call->timer.data = call;
    call->timer.log = ngx_cycle->log;

    return &call->op;
}


ngx_int_t
avp_pg_text(avp_pg_op_t *op, const u_char *data, size_t len)
{
    avp_pg_call_t *call = (avp_pg_call_t *) op;

    u_char  *p;

    if (call->nvalues == AVP_PG_PARAMS || call->nvalues == op->stmt->nparams) {
        call->failed = 1;
        return NGX_ERROR;
    }

    p = NULL;

    if (data) {
        p = ngx_pnalloc(op->pool, len + 1);
        if (p == NULL) {
            call->failed = 1;
            return NGX_ERROR;
        }
        ngx_memcpy(p, data, len);
        p[len] = '\0';
    }

    call->values[call->nvalues++] = (char *) p;

    return NGX_OK;
}


ngx_int_t
avp_pg_str(avp_pg_op_t *op, const ngx_str_t *value)
{
    return avp_pg_text(op, value->data, value->len);
}


ngx_int_t
avp_pg_cstr(avp_pg_op_t *op, const char *value)
{
    return avp_pg_text(op, (const u_char *) value,
                       value ? ngx_strlen(value) : 0);
}


ngx_int_t
avp_pg_int(avp_pg_op_t *op, int64_t value)
{
    u_char  text[NGX_INT64_LEN];

    return avp_pg_text(op, text,
                       ngx_sprintf(text, "%L", (int64_t) value) - text);
}


ngx_int_t
avp_pg_bool(avp_pg_op_t *op, ngx_uint_t value)
{
    return avp_pg_text(op, (u_char *) (value ? "t" : "f"), 1);
}


ngx_int_t
avp_pg_null(avp_pg_op_t *op)
{
    return avp_pg_text(op, NULL, 0);
}


ngx_str_t
avp_pg_value(avp_pg_op_t *op, ngx_uint_t row, const char *column)
{
    avp_pg_call_t *call = (avp_pg_call_t *) op;

    int        n;
    ngx_str_t  value;

    ngx_str_null(&value);

    if (call->result == NULL || row >= op->rows) {
        return value;
    }

    n = PQfnumber(call->result, column);

    if (n < 0) {
        ngx_log_error(NGX_LOG_ERR, op->log, 0,
                      "avp: statement \"%s\" has no column \"%s\"",
                      op->stmt->name, column);
        return value;
    }

    if (!PQgetisnull(call->result, (int) row, n)) {
        value.data = (u_char *) PQgetvalue(call->result, (int) row, n);
        value.len = PQgetlength(call->result, (int) row, n);
    }

    return value;
}
