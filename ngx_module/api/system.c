/*
 * The system: GET /stats, GET /health.
 *
 * Health asks the three services at once and answers when all have, or after
 * AVP_HEALTH_DEADLINE: who has not answered by then is down.  The asking may
 * outlive the request: the check has a pool of its own, which goes when the
 * last answer is in.
 *
 * An administrator gets the workers beside it: one more question, under the
 * same deadline, that has no say in the status.  Whoever else asks, with
 * whatever header, gets the open answer: a probe is never refused.
 */

#include "ngx_module/api/api.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/auth/bearer.h"
#include "ngx_module/backend/redis.h"
#include "ngx_module/request.h"
#include "ngx_module/upload/store.h"
#include "lib/units.h"


#define AVP_HEALTH_DEADLINE  2000   /* ms */
#define AVP_HEALTH_LEN       256    /* of an answer without its workers */


typedef struct {
    ngx_pool_t          *pool;
    ngx_http_request_t  *request;     /* NULL: answered or gone */
    ngx_http_cleanup_t  *cleanup;
    ngx_event_t          deadline;
    ngx_uint_t           pending;     /* answers still to come */
    unsigned             database:1;  /* 1: it answered, and well */
    unsigned             redis:1;
    unsigned             storage:1;
    unsigned             details:1;   /* an administrator asks */
    ngx_str_t            workers;     /* JSON; "null": not known */
} avp_health_t;


static avp_health_t *avp_health_create(ngx_http_request_t *r);
static void avp_health_details(avp_health_t *h, ngx_http_avp_ctx_t *ctx);
static void avp_health_database(avp_pg_op_t *op);
static void avp_health_workers(avp_pg_op_t *op);
static void avp_health_redis(void *data, ngx_uint_t ok, ngx_str_t *reply);
static void avp_health_storage(void *data, ngx_int_t rc);
static void avp_health_deadline(ngx_event_t *ev);
static void avp_health_abort(void *data);
static void avp_health_answered(avp_health_t *h);
static void avp_health_reply(avp_health_t *h);


static const avp_pg_stmt_t  avp_stmt_stats = {
    "system_stats", "SELECT * FROM system_stats($1, $2)", 2
};

static const avp_pg_stmt_t  avp_stmt_health = {
    "health_ping", "SELECT * FROM health_ping()", 0
};

static const avp_pg_stmt_t  avp_stmt_workers = {
    "worker_list", "SELECT * FROM worker_list($1, $2)", 2
};


ngx_int_t
avp_api_stats(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_pg_op_t  *op;

    op = avp_request_op(r, &avp_stmt_stats, 0, avp_request_doc_done);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return avp_request_wait(r, op);
}


ngx_int_t
avp_api_health(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_pg_op_t       *op;
    avp_health_t      *h;
    static ngx_str_t   ping = ngx_string("PING");

    h = avp_health_create(r);
    if (h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    avp_request_hold(r);

    h->pending = 1;          /* this function */

    op = avp_pg_op(&avp_stmt_health, avp_health_database, h);

    if (op != NULL) {
        h->pending++;
        avp_pg_submit(op);
    }

    avp_health_details(h, ctx);

    h->pending++;
    avp_redis_command(1, &ping, avp_health_redis, h);

    h->pending++;

    if (avp_store_probe(avp_health_storage, h) != NGX_OK) {
        h->pending--;
    }

    ngx_add_timer(&h->deadline, AVP_HEALTH_DEADLINE);

    avp_health_answered(h);

    return NGX_DONE;
}


static avp_health_t *
avp_health_create(ngx_http_request_t *r)
{
    ngx_pool_t          *pool;
    avp_health_t        *h;
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    h = ngx_pcalloc(pool, sizeof(avp_health_t));
    if (h == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    h->pool = pool;
    h->request = r;
    ngx_str_set(&h->workers, "null");
    h->deadline.handler = avp_health_deadline;
    h->deadline.data = h;
    h->deadline.log = ngx_cycle->log;

    cln->handler = avp_health_abort;
    cln->data = h;
    h->cleanup = cln;

    return h;
}


static void
avp_health_details(avp_health_t *h, ngx_http_avp_ctx_t *ctx)
{
    avp_pg_op_t  *op;

    /* NGX_BUSY too: who may see them is not known just now */

    if (avp_bearer_authenticate(h->request, ctx) != NGX_OK
        || !ctx->identity.admin)
    {
        return;
    }

    h->details = 1;

    op = avp_request_op(h->request, &avp_stmt_workers, 0, avp_health_workers);

    if (op != NULL) {
        op->data = h;
        h->pending++;
        avp_pg_submit(op);
    }
}


static void
avp_health_database(avp_pg_op_t *op)
{
    avp_health_t  *h = op->data;

    h->database = op->status == AVP_PG_OK && op->rows == 1;
    avp_health_answered(h);
}


static void
avp_health_workers(avp_pg_op_t *op)
{
    avp_health_t  *h = op->data;

    u_char     *p;
    ngx_str_t   result, doc;

    if (op->status == AVP_PG_OK && op->rows == 1 && h->request) {

        result = avp_pg_value(op, 0, "result");

        if (result.len == 2 && ngx_strncmp(result.data, "ok", 2) == 0) {
            doc = avp_pg_value(op, 0, "doc");
            p = ngx_pnalloc(h->pool, doc.len);

            if (p) {
                ngx_memcpy(p, doc.data, doc.len);
                h->workers.data = p;
                h->workers.len = doc.len;
            }

        } else {
            h->details = 0;      /* the token is good, its user is not */
        }
    }

    avp_health_answered(h);
}


static void
avp_health_redis(void *data, ngx_uint_t ok, ngx_str_t *reply)
{
    avp_health_t  *h = data;

    h->redis = ok;
    avp_health_answered(h);
}


static void
avp_health_storage(void *data, ngx_int_t rc)
{
    avp_health_t  *h = data;

    h->storage = rc == NGX_OK;
    avp_health_answered(h);
}


static void
avp_health_deadline(ngx_event_t *ev)
{
    avp_health_reply(ev->data);
}


static void
avp_health_abort(void *data)
{
    avp_health_t  *h = data;

    h->request = NULL;

    if (h->deadline.timer_set) {
        ngx_del_timer(&h->deadline);
    }
}


static void
avp_health_answered(avp_health_t *h)
{
    if (--h->pending) {
        return;
    }

    avp_health_reply(h);

    ngx_destroy_pool(h->pool);
}


static void
avp_health_reply(avp_health_t *h)
{
    char                 time[AVP_ISO8601_LEN + 1];
    u_char              *p, *last;
    ngx_str_t            json;
    ngx_time_t          *now;
    ngx_uint_t           status;
    const char          *word;
    ngx_http_request_t  *r;

    r = h->request;

    if (r == NULL) {
        return;
    }

    h->request = NULL;
    h->cleanup->handler = NULL;

    if (h->deadline.timer_set) {
        ngx_del_timer(&h->deadline);
    }

    json.data = ngx_pnalloc(h->pool, AVP_HEALTH_LEN + h->workers.len);
    if (json.data == NULL) {
        avp_request_finish(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (!h->database || !h->storage) {
        word = "unhealthy";
        status = NGX_HTTP_SERVICE_UNAVAILABLE;

    } else {
        word = h->redis ? "healthy" : "degraded";
        status = NGX_HTTP_OK;
    }

    now = ngx_timeofday();
    avp_iso8601(time, (int64_t) now->sec * 1000 + now->msec);

    last = json.data + AVP_HEALTH_LEN + h->workers.len;

    p = ngx_slprintf(json.data, last, "{\"status\":\"%s\","
                     "\"timestamp\":\"%s\",\"services\":{"
                     "\"database\":\"%s\",\"redis\":\"%s\","
                     "\"storage\":\"%s\"}", word, time,
                     h->database ? "ok" : "down",
                     h->redis ? "ok" : "down",
                     h->storage ? "ok" : "down");

    if (h->details) {
        p = ngx_slprintf(p, last, ",\"details\":{\"workers\":%V}",
                         &h->workers);
    }

    json.len = ngx_slprintf(p, last, "}") - json.data;

    avp_request_finish(r, avp_reply_json(r, status, &json));
}
