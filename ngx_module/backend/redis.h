/*
 * Redis on the event loop: one hiredis connection for commands and one for
 * subscriptions per NGINX worker process, connected lazily, reconnected with
 * backoff, watched by a heartbeat and by the deadline of the oldest command.
 * Redis never decides a request: commands are fire and forget, or time out.
 *
 * Only backend/redis*.c knows hiredis.
 */

#ifndef AVP_REDIS_H
#define AVP_REDIS_H

#include "ngx_module/avp.h"

/* Where Redis is: redis://[[user]:password@]host[:port][/db] or
 * unix:/path[?db=N]. */
typedef struct {
    ngx_str_t    host;        /* name or address; "" with a socket */
    in_port_t    port;
    ngx_str_t    path;        /* of a unix socket, NUL-terminated */
    ngx_str_t    user;
    ngx_str_t    password;
    ngx_uint_t   db;
} avp_redis_address_t;

/* NULL, or what is wrong with `url`, for `nginx -t`. */
const char *avp_redis_address(ngx_pool_t *pool, ngx_str_t *url,
    avp_redis_address_t *a);

/* Called once, never from inside avp_redis_command(): ok = 1 with the reply
 * as text (strings, integers, status; "" for nil), or ok = 0 when Redis is
 * away, late or answered an error. */
typedef void (*avp_redis_done_pt)(void *data, ngx_uint_t ok, ngx_str_t *reply);

/* argc strings; `done` may be NULL.  Never blocks; when the connection is
 * down or the bounded queue is full `done` is called with ok = 0. */
void avp_redis_command(ngx_uint_t argc, const ngx_str_t *argv,
    avp_redis_done_pt done, void *data);

/* What every change does once committed: the event on its two channels, the
 * invalidation on avp:inv.  `event` is the database's text (architecture 2);
 * an empty one is ignored. */
void avp_redis_publish_event(const ngx_str_t *event);

/* RPUSH avp:jobs {job}. */
void avp_redis_wake(const ngx_str_t *job);

/* Messages of a channel, until unsubscribed; `up` tells (1) each time the
 * subscription stands (again) and (0) that it fell. */
typedef void (*avp_redis_message_pt)(void *data, const ngx_str_t *channel,
    const ngx_str_t *message);
ngx_int_t avp_redis_subscribe(const ngx_str_t *channel,
    avp_redis_message_pt message, void (*up)(void *data, ngx_uint_t up),
    void *data);
void avp_redis_unsubscribe(const ngx_str_t *channel);

ngx_int_t avp_redis_init(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf);
void avp_redis_shutdown(void);
void avp_redis_exit(void);

#endif
