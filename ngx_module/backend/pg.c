/*
 * Operations on PostgreSQL (pg.h): the queue, deadlines, backoff, and how an
 * operation ends.  One structure per worker process.
 */

#include "ngx_module/backend/pg_private.h"
#include "ngx_module/backend/drain.h"
#include "ngx_module/zone.h"


#define AVP_PG_BACKOFF_MIN  100
#define AVP_PG_BACKOFF_MAX  2000
#define AVP_PG_LOG_EVERY    30      /* failed connects, about a minute */


struct avp_pg_s {
    avp_pg_conninfo_t   info;
    avp_pg_conn_t      *conns;
    ngx_uint_t          nconns;
    ngx_msec_t          timeout;

    ngx_queue_t         waiting;
    ngx_uint_t          nwaiting;

    ngx_uint_t          failures;   /* connects in a row */
    ngx_msec_t          next_try;
    ngx_event_t         retry;
    time_t              timeout_logged;

    unsigned            cut:1;      /* no operation may begin any more */
    unsigned            dispatching:1;
    unsigned            again:1;
};


static avp_pg_t  avp_pg;


static void avp_pg_dispatch(void);


/* The end of an operation */

static void
avp_pg_call_end(avp_pg_call_t *call, avp_pg_status_e status, PGresult *result)
{
    ngx_pool_t  *pool;

    if (call->queued) {
        ngx_queue_remove(&call->queue);
        call->queued = 0;
        avp_pg.nwaiting--;
    }

    if (call->timer.timer_set) {
        ngx_del_timer(&call->timer);
    }

    if (call->timer.posted) {
        ngx_delete_posted_event(&call->timer);
    }

    if (status != AVP_PG_OK) {
        avp_zone_count(AVP_M_pg_errors, 1);
    }

    call->result = result;
    call->op.status = status;
    call->op.rows = result && status == AVP_PG_OK ? PQntuples(result) : 0;

    pool = call->op.pool;

    call->op.done(&call->op);

    if (result) {
        PQclear(result);
    }

    ngx_destroy_pool(pool);
}


/* Ends it from the event loop: `done` is never called from within submit. */
static void
avp_pg_call_fail(avp_pg_call_t *call)
{
    call->ending = 1;
    call->conn = NULL;

    if (!call->timer.timer_set) {
        ngx_add_timer(&call->timer, avp_pg.timeout);
    }

    ngx_post_event(&call->timer, &ngx_posted_events);
}


/* The deadline, or the posted end. */
void
avp_pg_call_event(ngx_event_t *ev)
{
    avp_pg_call_t *call = ev->data;

    avp_pg_conn_t  *conn;

    if (!call->ending && avp_pg.timeout_logged != ngx_time()) {
        /* once a second: all of them fail when the database is down */
        avp_pg.timeout_logged = ngx_time();
        ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                      "avp: \"%s\" timed out %s", call->op.stmt->name,
                      call->conn ? "in the database"
                                 : "waiting for a database connection");
    }

    conn = call->conn;

    if (conn) {
        /* an answer may still come: this connection is of no more use */
        avp_pg_conn_close(conn);
    }

    avp_pg_call_end(call, call->failed ? AVP_PG_ERROR : AVP_PG_UNAVAILABLE,
                    NULL);

    avp_pg_dispatch();
}


/* Whether trying again may help (class 08 connection, 53 resources, 57P0x
 * shutdown, 57014 cancelled by statement_timeout, 40 rollback, 55P03 lock). */
static avp_pg_status_e
avp_pg_error_status(PGresult *result)
{
    const char  *state;

    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (state == NULL
        || ngx_strncmp(state, "08", 2) == 0
        || ngx_strncmp(state, "53", 2) == 0
        || ngx_strncmp(state, "57", 2) == 0
        || ngx_strncmp(state, "40", 2) == 0
        || ngx_strcmp(state, "25006") == 0         /* read-only: a failover */
        || ngx_strcmp(state, "55P03") == 0)
    {
        return AVP_PG_UNAVAILABLE;
    }

    return AVP_PG_ERROR;
}


/* Whether the same statement may do well at once: a deadlock's victim, a
 * connection that was told to end. */
static ngx_uint_t
avp_pg_is_passing(const char *state)
{
    return state && (ngx_strncmp(state, "40", 2) == 0
                     || ngx_strncmp(state, "57P0", 4) == 0);
}


/* All connections of the pool may have died without our knowing; what kills
 * the server each time must not do so for ever. */
static ngx_uint_t
avp_pg_may_repeat(avp_pg_call_t *call)
{
    return call->tries < avp_pg.nconns + 2 && !avp_pg.cut;
}


void
avp_pg_conn_answer(avp_pg_conn_t *conn, PGresult *result)
{
    const char      *state, *message, *severity;
    avp_pg_call_t   *call;
    ExecStatusType   st;
    avp_pg_status_e  status;

    call = conn->call;
    conn->call = NULL;
    call->conn = NULL;

    st = PQresultStatus(result);

    if (st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK) {
        avp_pg_call_end(call, AVP_PG_OK, result);

    } else {
        status = avp_pg_error_status(result);
        state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

        if (severity && ngx_strcmp(severity, "ERROR") == 0) {
            /* the server is well and says that nothing took effect */
            call->op.sent = 0;
        }

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "avp: \"%s\" failed in the database: %s %s",
                      call->op.stmt->name, state ? state : "-",
                      message ? message : PQresStatus(st));

        if ((call->op.repeatable || !call->op.sent)
            && avp_pg_is_passing(state) && avp_pg_may_repeat(call))
        {
            PQclear(result);
            ngx_queue_insert_head(&avp_pg.waiting, &call->queue);
            call->queued = 1;
            avp_pg.nwaiting++;

        } else {
            avp_pg_call_end(call, status, result);
        }
    }

    /* `done` may have used the connection, or closed it */
    if (conn->state == AVP_PG_IDLE) {
        avp_pg_conn_ready(conn);
    }
}


/* Connections */

void
avp_pg_conn_ready(avp_pg_conn_t *conn)
{
    avp_pg.failures = 0;
    avp_pg.next_try = 0;

    avp_pg_dispatch();

    if (conn->state == AVP_PG_IDLE && ngx_exiting) {
        avp_pg_conn_close(conn);
    }
}


static void
avp_pg_backoff(void)
{
    ngx_msec_t  wait;

    wait = AVP_PG_BACKOFF_MIN << ngx_min(avp_pg.failures, 10);
    wait = ngx_min(wait, AVP_PG_BACKOFF_MAX);

    /* half fixed, half jitter: workers do not knock together */
    wait = wait / 2 + (ngx_msec_t) ngx_random() % (wait / 2 + 1);

    avp_pg.failures++;
    avp_pg.next_try = ngx_current_msec + wait;
}


void
avp_pg_conn_lost(avp_pg_conn_t *conn, const char *why)
{
    ngx_uint_t      connecting, level;
    avp_pg_call_t  *call;

    connecting = conn->state < AVP_PG_IDLE;
    call = conn->call;

    /* while it stays down, once in a while is enough */

    if (!connecting) {
        level = NGX_LOG_WARN;

    } else if (avp_pg.failures % AVP_PG_LOG_EVERY == 0) {
        level = NGX_LOG_ERR;

    } else {
        level = NGX_LOG_INFO;
    }

    ngx_log_error(level, ngx_cycle->log, 0,
                  "avp: database connection %s: %*s",
                  connecting ? "failed" : "lost", strcspn(why, "\n"), why);

    avp_pg_conn_close(conn);

    if (connecting) {
        avp_pg_backoff();
    }

    if (call) {
        call->conn = NULL;

        if ((call->op.repeatable || !call->op.sent)
            && avp_pg_may_repeat(call))
        {
            call->op.sent = 0;
            ngx_queue_insert_head(&avp_pg.waiting, &call->queue);
            call->queued = 1;
            avp_pg.nwaiting++;

        } else {
            avp_pg_call_fail(call);
        }
    }

    avp_pg_dispatch();
}


void
avp_pg_cut(void)
{
    ngx_uint_t      i;
    ngx_queue_t    *q;
    avp_pg_call_t  *call;

    avp_pg.cut = 1;

    for (i = 0; i < avp_pg.nconns; i++) {
        if (avp_pg.conns[i].c) {
            avp_pg_conn_lost(&avp_pg.conns[i],
                             "the worker process shuts down");
        }
    }

    while (!ngx_queue_empty(&avp_pg.waiting)) {
        q = ngx_queue_head(&avp_pg.waiting);
        call = ngx_queue_data(q, avp_pg_call_t, queue);
        ngx_queue_remove(q);
        call->queued = 0;
        avp_pg.nwaiting--;

        avp_pg_call_fail(call);
    }
}


static void
avp_pg_retry_event(ngx_event_t *ev)
{
    avp_pg_dispatch();
}


/* A connection for the next operation: one that is idle, else one more is
 * opened; after a failure only one at a time, and not before its time. */
static avp_pg_conn_t *
avp_pg_conn_find(void)
{
    ngx_uint_t      i, connecting;
    ngx_msec_int_t  wait;
    avp_pg_conn_t  *conn, *down;

    connecting = 0;
    down = NULL;

    for (i = 0; i < avp_pg.nconns; i++) {
        conn = &avp_pg.conns[i];

        if (conn->state == AVP_PG_IDLE) {
            return conn;
        }

        if (conn->state == AVP_PG_DOWN) {
            if (down == NULL) {
                down = conn;
            }

        } else if (conn->state == AVP_PG_RESOLVING) {
            /* a name server that is down must not take the threads that
             * uploads need */
            return NULL;

        } else if (conn->state < AVP_PG_IDLE) {
            connecting++;
        }
    }

    if (down == NULL || connecting >= avp_pg.nwaiting
        || (avp_pg.failures && connecting))
    {
        return NULL;
    }

    wait = avp_pg.failures
           ? (ngx_msec_int_t) (avp_pg.next_try - ngx_current_msec) : 0;

    if (wait > 0) {
        if (!avp_pg.retry.timer_set) {
            ngx_add_timer(&avp_pg.retry, (ngx_msec_t) wait);
        }
        return NULL;
    }

    return down;
}


/* Hands out waiting operations.  What it calls may fail at once and come
 * back here: then it goes round once more instead of deeper. */
static void
avp_pg_dispatch(void)
{
    ngx_queue_t    *q;
    avp_pg_call_t  *call;
    avp_pg_conn_t  *conn;

    if (avp_pg.dispatching) {
        avp_pg.again = 1;
        return;
    }

    avp_pg.dispatching = 1;

    do {
        avp_pg.again = 0;

        while (!avp_pg.cut && !ngx_queue_empty(&avp_pg.waiting)) {

            conn = avp_pg_conn_find();
            if (conn == NULL) {
                break;
            }

            if (conn->state == AVP_PG_DOWN) {
                avp_pg_conn_open(conn, &avp_pg.info, avp_pg.timeout);
                continue;
            }

            q = ngx_queue_head(&avp_pg.waiting);
            call = ngx_queue_data(q, avp_pg_call_t, queue);
            ngx_queue_remove(q);
            call->queued = 0;
            avp_pg.nwaiting--;

            avp_pg_conn_run(conn, call);
        }

    } while (avp_pg.again);

    avp_pg.dispatching = 0;
}


void
avp_pg_submit(avp_pg_op_t *op)
{
    avp_pg_call_t *call = (avp_pg_call_t *) op;

    if (call->nvalues != op->stmt->nparams) {
        call->failed = 1;
    }

    if (call->failed || avp_pg.nwaiting >= AVP_PG_QUEUE
        || avp_pg.nconns == 0 || avp_pg.cut)
    {
        avp_pg_call_fail(call);
        return;
    }

    /* not cancelable: it keeps an exiting worker alive until the answer */
    ngx_add_timer(&call->timer, avp_pg.timeout);

    ngx_queue_insert_tail(&avp_pg.waiting, &call->queue);
    call->queued = 1;
    avp_pg.nwaiting++;

    avp_pg_dispatch();
}


/* Life of the process */

static void
avp_pg_quit(void *data)
{
    avp_pg_shutdown();
}


ngx_int_t
avp_pg_init(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf)
{
    ngx_memzero(&avp_pg, sizeof(avp_pg));
    ngx_queue_init(&avp_pg.waiting);

    if (amcf->database.len == 0) {
        return NGX_OK;
    }

    if (avp_pg_conninfo_parse(&avp_pg.info, (char *) amcf->database.data)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    avp_pg.conns = ngx_pcalloc(cycle->pool, amcf->database_connections
                                            * sizeof(avp_pg_conn_t));
    if (avp_pg.conns == NULL) {
        return NGX_ERROR;
    }

    avp_pg.nconns = amcf->database_connections;
    avp_pg.timeout = amcf->database_timeout;

    avp_pg.retry.handler = avp_pg_retry_event;
    avp_pg.retry.data = &avp_pg;
    avp_pg.retry.log = cycle->log;
    avp_pg.retry.cancelable = 1;

    return avp_drain_on_quit(avp_pg_quit, NULL);
}


/* Idle ones are closed by NGINX itself; half-made ones only when nobody
 * waits for them. */
void
avp_pg_shutdown(void)
{
    ngx_uint_t      i;
    avp_pg_conn_t  *conn;

    for (i = 0; i < avp_pg.nconns; i++) {
        conn = &avp_pg.conns[i];

        if (conn->state == AVP_PG_IDLE
            || (avp_pg.nwaiting == 0
                && (conn->state == AVP_PG_CONNECTING
                    || conn->state == AVP_PG_SETUP)))
        {
            avp_pg_conn_close(conn);
        }
    }
}


void
avp_pg_exit(void)
{
    ngx_uint_t  i;

    for (i = 0; i < avp_pg.nconns; i++) {
        avp_pg_conn_close(&avp_pg.conns[i]);
    }

    avp_pg.nconns = 0;
    avp_pg_conninfo_free(&avp_pg.info);
}
