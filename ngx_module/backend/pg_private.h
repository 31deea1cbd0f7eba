/*
 * Between pg.c (queue, deadlines, backoff), pg_op.c (an operation's values),
 * pg_connect.c and pg_conn.c (one connection), pg_conninfo.c (the address).
 *
 *   DOWN -> RESOLVING -> CONNECTING -> SETUP -> IDLE <-> BUSY
 *      ^________|____________|___________|_______|________|
 *
 * A connection is NGINX's only while it waits: libpq may close and open
 * sockets within PQconnectPoll, with the same number, so the ngx_connection_t
 * is given back before each poll and taken again after.
 */

#ifndef AVP_PG_PRIVATE_H
#define AVP_PG_PRIVATE_H

#include "ngx_module/backend/pg.h"

#include <libpq-fe.h>


#define AVP_PG_QUEUE        1024
#define AVP_PG_STMTS        64      /* distinct statements of a connection */
#define AVP_PG_HOSTS        8
#define AVP_PG_ADDRESSES    512     /* bytes of what one host resolves to */


typedef struct avp_pg_conn_s  avp_pg_conn_t;


typedef struct {
    avp_pg_op_t           op;       /* first: what others see */

    ngx_queue_t           queue;    /* in avp_pg.waiting */
    ngx_event_t           timer;    /* deadline, or posted to end it */
    avp_pg_conn_t        *conn;     /* that runs it, or NULL */
    PGresult             *result;

    const char           *values[AVP_PG_PARAMS];
    ngx_uint_t            nvalues;

    ngx_uint_t            tries;
    unsigned              queued:1;
    unsigned              prepared_again:1;
    unsigned              failed:1;     /* could not be built */
    unsigned              ending:1;     /* posted: to be answered */
} avp_pg_call_t;


typedef enum {
    AVP_PG_DOWN = 0,
    AVP_PG_RESOLVING,
    AVP_PG_CONNECTING,
    AVP_PG_SETUP,
    AVP_PG_IDLE,
    AVP_PG_PREPARING,       /* BUSY, in two phases */
    AVP_PG_RUNNING
} avp_pg_state_e;


typedef struct {
    const avp_pg_stmt_t  *stmt;
    ngx_uint_t            generation;   /* 0: must be prepared */
} avp_pg_prepared_t;


/* The parsed avp_database, once per process (pg_conninfo.c). */
typedef struct {
    PQconninfoOption     *options;
    ngx_uint_t            nhosts;
    ngx_str_t             hosts[AVP_PG_HOSTS];
    ngx_str_t             ports[AVP_PG_HOSTS];
    ngx_uint_t            nports;
    unsigned              resolve:1;    /* a host is a name */
} avp_pg_conninfo_t;


struct avp_pg_conn_s {
    avp_pg_state_e        state;
    avp_pg_conninfo_t    *info;
    ngx_msec_t            timeout;      /* of statements, ms */
    PGconn               *pg;
    ngx_connection_t     *c;
    ngx_event_t           timer;        /* connecting and setting up */
    avp_pg_call_t        *call;
    PGresult             *result;       /* of the present phase */

    avp_pg_prepared_t     prepared[AVP_PG_STMTS];
    ngx_uint_t            nprepared;
    ngx_uint_t            generation;

    ngx_uint_t            host;         /* being resolved */
    ngx_str_t             addresses[AVP_PG_HOSTS];
    u_char                text[AVP_PG_HOSTS][AVP_PG_ADDRESSES];
};


/* pg_conninfo.c */
ngx_int_t avp_pg_conninfo_parse(avp_pg_conninfo_t *info, const char *text);
void avp_pg_conninfo_free(avp_pg_conninfo_t *info);
ngx_uint_t avp_pg_host_is_name(const ngx_str_t *host);

/* PQconnectStartParams with host addresses put in; `addresses` has, for each
 * host, what it resolved to ("" : as it is).  NULL: no memory. */
PGconn *avp_pg_conninfo_connect(avp_pg_conninfo_t *info,
    const ngx_str_t *addresses);


/* pg_connect.c; may end in avp_pg_conn_lost() before it returns */
void avp_pg_conn_open(avp_pg_conn_t *conn, avp_pg_conninfo_t *info,
    ngx_msec_t timeout);
void avp_pg_connect_poll(avp_pg_conn_t *conn);

/* pg_conn.c; the same */
void avp_pg_conn_run(avp_pg_conn_t *conn, avp_pg_call_t *call);
ngx_int_t avp_pg_conn_watch(avp_pg_conn_t *conn, ngx_int_t event);
void avp_pg_conn_unwatch(avp_pg_conn_t *conn);
ngx_int_t avp_pg_conn_flush(avp_pg_conn_t *conn);
void avp_pg_conn_close(avp_pg_conn_t *conn);        /* now, whatever it does */

/* pg.c: the handler of call->timer, at its deadline or posted */
void avp_pg_call_event(ngx_event_t *ev);

/* pg.c, called by pg_conn.c and pg_connect.c */
void avp_pg_conn_ready(avp_pg_conn_t *conn);        /* it is IDLE */
void avp_pg_conn_lost(avp_pg_conn_t *conn, const char *why); /* closes it */
void avp_pg_cut(void);      /* worker_shutdown_timeout: nothing may go on */
/* The connection is IDLE again; takes the result. */
void avp_pg_conn_answer(avp_pg_conn_t *conn, PGresult *result);

#endif
