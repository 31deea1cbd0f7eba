/*
 * One hiredis connection on NGINX's events: address, connect, AUTH, backoff,
 * heartbeat.  redis.c owns two of them and knows what is sent.
 *
 *   IDLE --need--> RESOLVING --> CONNECTING --> READY
 *                      ^              |           |
 *                      +--- BACKOFF <-+-----------+   (error, deadline)
 *
 * hiredis closes the socket itself: the ngx_connection_t only carries its
 * events and is given back first (never ngx_close_connection).
 */

#ifndef AVP_REDIS_CONN_H
#define AVP_REDIS_CONN_H

#include "ngx_module/backend/redis.h"

#include <hiredis/hiredis.h>
#include <hiredis/async.h>

typedef enum {
    AVP_REDIS_IDLE = 0,
    AVP_REDIS_RESOLVING,
    AVP_REDIS_CONNECTING,
    AVP_REDIS_READY,
    AVP_REDIS_BACKOFF,
    AVP_REDIS_CLOSED        /* the process exits */
} avp_redis_state_e;

typedef struct avp_redis_conn_s  avp_redis_conn_t;

struct avp_redis_conn_s {
    const char            *name;        /* for the log */
    avp_redis_address_t   *address;
    ngx_msec_t             timeout;
    ngx_log_t             *log;

    /* the owner's */
    void                 (*up)(avp_redis_conn_t *c);
    void                 (*down)(avp_redis_conn_t *c);
    void                 (*beat)(avp_redis_conn_t *c);  /* idle for a while */
    ngx_msec_t           (*deadline)(avp_redis_conn_t *c); /* 0: nothing due */

    /* private */
    avp_redis_state_e      state;
    redisAsyncContext     *ac;
    ngx_connection_t      *c;
    ngx_event_t            timer;
    ngx_connection_t       dummy;       /* the timer's data */
    ngx_uint_t             failures;
    unsigned               quiet:1;     /* the failure was logged already */
};

void avp_redis_conn_init(avp_redis_conn_t *rc);

/* Begins to connect when it is idle. */
void avp_redis_conn_need(avp_redis_conn_t *rc);

/* After a command was queued or answered: sets the timer anew. */
void avp_redis_conn_watch(avp_redis_conn_t *rc);

/* For good: frees the connection, calls `down`. */
void avp_redis_conn_close(avp_redis_conn_t *rc);

#endif
