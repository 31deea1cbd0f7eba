/*
 * PostgreSQL on the event loop: a small pool of libpq connections per NGINX
 * worker process, made lazily, each running one prepared statement at a time.
 *
 * An operation (avp_pg_op_t) owns its pool and its parameters and may outlive
 * the request that asked: a request that goes away detaches it, and it runs
 * to its end (writes always do).  There is a bounded wait queue; deadlines
 * cover waiting, connecting and running.  A connection that fails is closed
 * and comes back with exponential backoff; host names are resolved in a
 * thread task.  Connections prepare each statement once and again when the
 * server says it changed (0A000, 26000, 42883).  While an operation is in
 * flight a non-cancelable timer keeps an exiting worker alive.
 *
 * Only backend/pg*.c knows libpq.
 */

#ifndef AVP_PG_H
#define AVP_PG_H

#include "ngx_module/avp.h"

typedef struct {
    const char  *name;       /* of the prepared statement */
    const char  *sql;        /* "SELECT * FROM video_status($1, $2, $3)" */
    ngx_uint_t   nparams;    /* at most AVP_PG_PARAMS */
} avp_pg_stmt_t;

#define AVP_PG_PARAMS  16

typedef enum {
    AVP_PG_OK = 0,           /* rows are there */
    AVP_PG_UNAVAILABLE,      /* down, queue full or past the deadline: 503 */
    AVP_PG_ERROR             /* the database refused the statement: 500 */
} avp_pg_status_e;

typedef struct avp_pg_op_s  avp_pg_op_t;
typedef void (*avp_pg_done_pt)(avp_pg_op_t *op);

struct avp_pg_op_s {
    ngx_pool_t           *pool;      /* its own; gone after `done` returns */
    ngx_log_t            *log;       /* the cycle's */
    const avp_pg_stmt_t  *stmt;
    avp_pg_done_pt        done;      /* called once, also when detached */
    void                 *data;      /* the owner's, NULL once detached */
    void                 *own;       /* of op->pool: stays when detached */
    avp_pg_status_e       status;
    ngx_uint_t            sent;      /* a server has it: when UNAVAILABLE, it
                                        may have taken effect all the same */
    ngx_uint_t            rows;
    unsigned              repeatable:1; /* a read: may run again when the
                                           connection is lost under it */
    /* private members follow in pg.c's own structure */
};

/* NULL when there is no memory. */
avp_pg_op_t *avp_pg_op(const avp_pg_stmt_t *stmt, avp_pg_done_pt done,
    void *data);

/* Parameters in order, copied; NULL data or avp_pg_null() is SQL NULL. */
ngx_int_t avp_pg_text(avp_pg_op_t *op, const u_char *data, size_t len);
ngx_int_t avp_pg_str(avp_pg_op_t *op, const ngx_str_t *value);
ngx_int_t avp_pg_cstr(avp_pg_op_t *op, const char *value);
ngx_int_t avp_pg_int(avp_pg_op_t *op, int64_t value);
ngx_int_t avp_pg_bool(avp_pg_op_t *op, ngx_uint_t value);
ngx_int_t avp_pg_null(avp_pg_op_t *op);

/* Hands the operation over; `done` is always called, never from inside. */
void avp_pg_submit(avp_pg_op_t *op);

/* Within `done`: a value, valid until it returns; data NULL for SQL NULL. */
ngx_str_t avp_pg_value(avp_pg_op_t *op, ngx_uint_t row, const char *column);

/* nginx -t: NGX_OK, or NGX_ERROR and what is wrong, without secrets. */
#define AVP_PG_CONNINFO_ERROR  160
ngx_int_t avp_pg_conninfo_check(const char *conninfo,
    char err[AVP_PG_CONNINFO_ERROR]);

/* init_process and exit_process. */
ngx_int_t avp_pg_init(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf);
void avp_pg_shutdown(void);      /* quit began: close idle connections */
void avp_pg_exit(void);

#endif
