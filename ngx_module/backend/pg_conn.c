/*
 * One connection to PostgreSQL (pg_private.h has its states).  libpq reads
 * and writes the socket; NGINX only says when, level-triggered, because one
 * PQconsumeInput() need not drain it.
 */

#include "ngx_module/backend/pg_private.h"


#define AVP_PG_NAME             64      /* NAMEDATALEN */


static void avp_pg_read_event(ngx_event_t *ev);
static void avp_pg_write_event(ngx_event_t *ev);


/* The socket's place in NGINX */

ngx_int_t
avp_pg_conn_watch(avp_pg_conn_t *conn, ngx_int_t event)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(PQsocket(conn->pg), ngx_cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = conn;
    c->read->handler = avp_pg_read_event;
    c->read->log = ngx_cycle->log;
    c->write->handler = avp_pg_write_event;
    c->write->log = ngx_cycle->log;

    conn->c = c;

    return ngx_add_event(event == NGX_READ_EVENT ? c->read : c->write, event,
                         NGX_LEVEL_EVENT);
}


/* libpq goes on using the socket, or closes it, or has closed it already: on
 * errors it does so by itself, and epoll must not be asked about it then. */
void
avp_pg_conn_unwatch(avp_pg_conn_t *conn)
{
    ngx_uint_t         flags;
    ngx_connection_t  *c;

    c = conn->c;
    if (c == NULL) {
        return;
    }

    conn->c = NULL;

    flags = PQsocket(conn->pg) == c->fd ? 0 : NGX_CLOSE_EVENT;

    if (ngx_del_conn) {
        ngx_del_conn(c, flags);

    } else {
        if (c->read->active || c->read->disabled) {
            ngx_del_event(c->read, NGX_READ_EVENT, flags);
        }
        if (c->write->active || c->write->disabled) {
            ngx_del_event(c->write, NGX_WRITE_EVENT, flags);
        }
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }
    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


void
avp_pg_conn_close(avp_pg_conn_t *conn)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    avp_pg_conn_unwatch(conn);

    if (conn->result) {
        PQclear(conn->result);
        conn->result = NULL;
    }

    if (conn->pg) {
        PQfinish(conn->pg);
        conn->pg = NULL;
    }

    conn->state = AVP_PG_DOWN;
    conn->call = NULL;
    conn->nprepared = 0;
    conn->generation = 0;
}


/* Sending */

ngx_int_t
avp_pg_conn_flush(avp_pg_conn_t *conn)
{
    ngx_event_t  *wev;

    wev = conn->c->write;

    switch (PQflush(conn->pg)) {

    case 0:
        if (wev->active) {
            return ngx_del_event(wev, NGX_WRITE_EVENT, 0);
        }
        return NGX_OK;

    case 1:
        if (!wev->active) {
            return ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
        }
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static avp_pg_prepared_t *
avp_pg_prepared(avp_pg_conn_t *conn, const avp_pg_stmt_t *stmt)
{
    ngx_uint_t          i;
    avp_pg_prepared_t  *p;

    for (i = 0; i < conn->nprepared; i++) {
        if (conn->prepared[i].stmt == stmt) {
            return &conn->prepared[i];
        }
    }

    /* a table that is full loses its last: it is prepared again when asked */
    if (conn->nprepared < AVP_PG_STMTS) {
        conn->nprepared++;
    }

    p = &conn->prepared[conn->nprepared - 1];
    p->stmt = stmt;
    p->generation = 0;

    return p;
}


static void
avp_pg_statement_name(u_char name[AVP_PG_NAME], avp_pg_prepared_t *p)
{
    ngx_snprintf(name, AVP_PG_NAME, "%s_%ui%Z", p->stmt->name,
                 p->generation);
    name[AVP_PG_NAME - 1] = '\0';
}


/* Prepares the statement unless it is, else runs it. */
static void
avp_pg_send(avp_pg_conn_t *conn)
{
    int                 sent;
    u_char              name[AVP_PG_NAME];
    avp_pg_call_t      *call;
    avp_pg_prepared_t  *p;

    call = conn->call;
    p = avp_pg_prepared(conn, call->op.stmt);

    if (p->generation == 0) {
        /* a name is used once: the server may still have the old one */
        p->generation = ++conn->generation;
        avp_pg_statement_name(name, p);
        conn->state = AVP_PG_PREPARING;
        sent = PQsendPrepare(conn->pg, (char *) name, call->op.stmt->sql,
                             (int) call->op.stmt->nparams, NULL);

    } else {
        avp_pg_statement_name(name, p);
        conn->state = AVP_PG_RUNNING;
        sent = PQsendQueryPrepared(conn->pg, (char *) name,
                                   (int) call->nvalues, call->values, NULL,
                                   NULL, 0);
        if (sent) {
            call->op.sent = 1;
        }
    }

    if (!sent || avp_pg_conn_flush(conn) != NGX_OK) {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
    }
}


void
avp_pg_conn_run(avp_pg_conn_t *conn, avp_pg_call_t *call)
{
    conn->call = call;
    call->conn = conn;
    call->tries++;

    conn->c->idle = 0;

    avp_pg_send(conn);
}


/* Receiving */

/* The server changed under a prepared statement: other result columns, the
 * statement or its function gone. */
static ngx_uint_t
avp_pg_is_stale(PGresult *result)
{
    const char  *state;

    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state
           && (ngx_strcmp(state, "0A000") == 0
               || ngx_strcmp(state, "26000") == 0
               || ngx_strcmp(state, "42883") == 0);
}


static void
avp_pg_phase_done(avp_pg_conn_t *conn)
{
    PGresult           *result;
    avp_pg_call_t      *call;
    ExecStatusType      st;
    avp_pg_prepared_t  *p;

    result = conn->result;
    conn->result = NULL;

    call = conn->call;
    st = PQresultStatus(result);

    if (conn->state == AVP_PG_SETUP) {
        PQclear(result);
        if (st != PGRES_TUPLES_OK) {
            avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
            return;
        }
        ngx_del_timer(&conn->timer);
        conn->state = AVP_PG_IDLE;
        conn->c->idle = 1;
        avp_pg_conn_ready(conn);
        return;
    }

    p = avp_pg_prepared(conn, call->op.stmt);

    if (conn->state == AVP_PG_PREPARING && st == PGRES_COMMAND_OK) {
        PQclear(result);
        avp_pg_send(conn);
        return;
    }

    if (conn->state == AVP_PG_PREPARING) {
        p->generation = 0;

    } else if (st == PGRES_FATAL_ERROR && !call->prepared_again
               && avp_pg_is_stale(result))
    {
        PQclear(result);
        p->generation = 0;
        call->prepared_again = 1;
        avp_pg_send(conn);
        return;
    }

    conn->state = AVP_PG_IDLE;
    conn->c->idle = 1;
    avp_pg_conn_answer(conn, result);
}


static void
avp_pg_receive(avp_pg_conn_t *conn)
{
    PGresult  *result;

    if (!PQconsumeInput(conn->pg)) {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
        return;
    }

    if (conn->c->write->active && avp_pg_conn_flush(conn) != NGX_OK) {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
        return;
    }

    while (!PQisBusy(conn->pg)) {

        result = PQgetResult(conn->pg);

        if (result == NULL) {
            if (conn->result == NULL || PQstatus(conn->pg) == CONNECTION_BAD) {
                avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
                return;
            }
            avp_pg_phase_done(conn);
            return;
        }

        /* the first result counts, but an error after it more */
        if (conn->result && PQresultStatus(result) != PGRES_FATAL_ERROR) {
            PQclear(result);
            continue;
        }

        if (conn->result) {
            PQclear(conn->result);
        }
        conn->result = result;
    }
}


/* Readable while idle: a notice, or the server went away. */
static void
avp_pg_idle(avp_pg_conn_t *conn)
{
    PGnotify  *notify;

    if (!PQconsumeInput(conn->pg) || PQstatus(conn->pg) == CONNECTION_BAD) {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
        return;
    }

    while ((notify = PQnotifies(conn->pg)) != NULL) {
        PQfreemem(notify);
    }
}


static void
avp_pg_read_event(ngx_event_t *ev)
{
    avp_pg_conn_t     *conn;
    ngx_connection_t  *c;

    c = ev->data;
    conn = c->data;

    if (c->close) {
        /* shutdown: at its start if idle, or because it took too long */
        if (conn->state != AVP_PG_IDLE) {
            avp_pg_cut();
        } else {
            avp_pg_conn_close(conn);
        }
        return;
    }

    switch (conn->state) {

    case AVP_PG_CONNECTING:
        avp_pg_connect_poll(conn);
        break;

    case AVP_PG_IDLE:
        avp_pg_idle(conn);
        break;

    default:
        avp_pg_receive(conn);
        break;
    }
}


static void
avp_pg_write_event(ngx_event_t *ev)
{
    avp_pg_conn_t     *conn;
    ngx_connection_t  *c;

    c = ev->data;
    conn = c->data;

    if (conn->state == AVP_PG_CONNECTING) {
        avp_pg_connect_poll(conn);
        return;
    }

    if (avp_pg_conn_flush(conn) != NGX_OK) {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
    }
}
