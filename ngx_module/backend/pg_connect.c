/*
 * How a connection comes to be: names are resolved in threads, libpq is
 * polled whenever its socket is ready, then the session is set up.
 */

#include "ngx_module/backend/pg_private.h"
#include "ngx_module/backend/task.h"


#define AVP_PG_CONNECT_TIMEOUT  3000


static void avp_pg_resolve_next(avp_pg_conn_t *conn);


static void
avp_pg_timer_event(ngx_event_t *ev)
{
    avp_pg_conn_lost(ev->data, "connecting takes too long");
}


static void
avp_pg_notice(void *data, const char *message)
{
    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0, "avp: database: %*s",
                  strcspn(message, "\n"), message);
}


static void
avp_pg_connect(avp_pg_conn_t *conn)
{
    conn->state = AVP_PG_CONNECTING;

    conn->pg = avp_pg_conninfo_connect(conn->info, conn->addresses);
    if (conn->pg == NULL) {
        avp_pg_conn_lost(conn, "no memory");
        return;
    }

    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
        return;
    }

    PQsetNoticeProcessor(conn->pg, avp_pg_notice, NULL);

    conn->timer.handler = avp_pg_timer_event;
    conn->timer.data = conn;
    conn->timer.log = ngx_cycle->log;
    conn->timer.cancelable = 1;      /* operations have timers of their own */

    ngx_add_timer(&conn->timer, ngx_min(conn->timeout,
                                        AVP_PG_CONNECT_TIMEOUT));

    if (avp_pg_conn_watch(conn, NGX_WRITE_EVENT) != NGX_OK) {
        avp_pg_conn_lost(conn, "cannot watch the socket");
    }
}


static void
avp_pg_resolved(void *data, ngx_str_t *addresses)
{
    avp_pg_conn_t *conn = data;

    size_t      len;
    ngx_str_t  *a;

    a = &conn->addresses[conn->host];
    a->data = conn->text[conn->host];

    len = ngx_min(addresses->len, AVP_PG_ADDRESSES);
    if (len < addresses->len) {
        while (len && addresses->data[len] != ',') {
            len--;
        }
    }

    ngx_memcpy(a->data, addresses->data, len);
    a->len = len;

    conn->host++;
    avp_pg_resolve_next(conn);
}


static void
avp_pg_resolve_next(avp_pg_conn_t *conn)
{
    ngx_str_t          *host;
    ngx_uint_t          i;
    avp_pg_conninfo_t  *info;

    info = conn->info;

    for ( /* void */ ; conn->host < info->nhosts; conn->host++) {

        host = &info->hosts[conn->host];
        ngx_str_null(&conn->addresses[conn->host]);

        if (!avp_pg_host_is_name(host)) {
            continue;
        }

        if (avp_task_resolve(host, avp_pg_resolved, conn) != NGX_OK) {
            avp_pg_conn_lost(conn, "cannot start a name lookup");
        }
        return;
    }

    for (i = 0; i < info->nhosts; i++) {
        if (conn->addresses[i].len || !avp_pg_host_is_name(&info->hosts[i])) {
            avp_pg_connect(conn);
            return;
        }
    }

    avp_pg_conn_lost(conn, "the host name does not resolve");
}


void
avp_pg_conn_open(avp_pg_conn_t *conn, avp_pg_conninfo_t *info,
    ngx_msec_t timeout)
{
    conn->info = info;
    conn->timeout = timeout;

    if (!info->resolve) {
        avp_pg_connect(conn);
        return;
    }

    /* left only by avp_pg_resolved(): the thread holds this connection */
    conn->state = AVP_PG_RESOLVING;
    conn->host = 0;
    avp_pg_resolve_next(conn);
}


/* The limits of this session.  Not as `options` of the connection: a
 * PgBouncer in between refuses those. */
static void
avp_pg_setup(avp_pg_conn_t *conn)
{
    u_char       ms[NGX_INT_T_LEN + 1];
    const char  *values[1];

    conn->state = AVP_PG_SETUP;

    ngx_sprintf(ms, "%M%Z", conn->timeout);
    values[0] = (char *) ms;

    if (PQsetnonblocking(conn->pg, 1) != 0
        || !PQsendQueryParams(conn->pg,
              "SELECT set_config('statement_timeout', $1, false),"
              " set_config('idle_in_transaction_session_timeout', '10000',"
              " false)",
              1, NULL, values, NULL, NULL, 0)
        || avp_pg_conn_flush(conn) != NGX_OK)
    {
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
    }
}


void
avp_pg_connect_poll(avp_pg_conn_t *conn)
{
    ngx_int_t                  rc;
    PostgresPollingStatusType  st;

    avp_pg_conn_unwatch(conn);

    st = PQconnectPoll(conn->pg);

    switch (st) {

    case PGRES_POLLING_READING:
    case PGRES_POLLING_OK:
        rc = avp_pg_conn_watch(conn, NGX_READ_EVENT);
        break;

    case PGRES_POLLING_WRITING:
        rc = avp_pg_conn_watch(conn, NGX_WRITE_EVENT);
        break;

    default:
        avp_pg_conn_lost(conn, PQerrorMessage(conn->pg));
        return;
    }

    if (rc != NGX_OK) {
        avp_pg_conn_lost(conn, "cannot watch the socket");
        return;
    }

    if (st == PGRES_POLLING_OK) {
        avp_pg_setup(conn);
    }
}
