#include "ngx_module/backend/redis_conn.h"
#include "ngx_module/backend/task.h"

#define AVP_REDIS_BEAT         10000   /* ms of silence before a heartbeat */
#define AVP_REDIS_DELAY        100     /* ms, doubled for each failure */
#define AVP_REDIS_DELAY_MAX    30000


static void avp_redis_resolved(void *data, ngx_str_t *addresses);
static void avp_redis_connect(avp_redis_conn_t *rc, const char *ip);
static ngx_int_t avp_redis_attach(avp_redis_conn_t *rc);
static void avp_redis_failed(avp_redis_conn_t *rc, const char *why);
static void avp_redis_timer(ngx_event_t *ev);
static void avp_redis_on_connect(const redisAsyncContext *ac, int status);
static void avp_redis_on_disconnect(const redisAsyncContext *ac, int status);
static void avp_redis_on_hello(redisAsyncContext *ac, void *reply, void *data);
static void avp_redis_read(ngx_event_t *ev);
static void avp_redis_write(ngx_event_t *ev);
static void avp_redis_add_read(void *data);
static void avp_redis_del_read(void *data);
static void avp_redis_add_write(void *data);
static void avp_redis_del_write(void *data);
static void avp_redis_detach(void *data);


void
avp_redis_conn_init(avp_redis_conn_t *rc)
{
    rc->state = AVP_REDIS_IDLE;

    rc->dummy.fd = (ngx_socket_t) -1;
    rc->timer.data = &rc->dummy;
    rc->dummy.data = rc;
    rc->timer.handler = avp_redis_timer;
    rc->timer.log = rc->log;
    rc->timer.cancelable = 1;
}


void
avp_redis_conn_need(avp_redis_conn_t *rc)
{
    u_char            buf[NGX_INET6_ADDRSTRLEN + 1];
    struct in_addr    in4;
    struct in6_addr   in6;

    if (rc->state != AVP_REDIS_IDLE) {
        return;
    }

    if (rc->address->path.len) {
        avp_redis_connect(rc, NULL);
        return;
    }

    if (rc->address->host.len < sizeof(buf)) {
        ngx_cpystrn(buf, rc->address->host.data, rc->address->host.len + 1);

        if (inet_pton(AF_INET, (char *) buf, &in4) == 1
            || inet_pton(AF_INET6, (char *) buf, &in6) == 1)
        {
            avp_redis_connect(rc, (char *) buf);
            return;
        }
    }

    rc->state = AVP_REDIS_RESOLVING;
    avp_redis_conn_watch(rc);

    if (avp_task_resolve(&rc->address->host, avp_redis_resolved, rc)
        != NGX_OK)
    {
        avp_redis_failed(rc, "no thread to resolve its name");
    }
}


static void
avp_redis_resolved(void *data, ngx_str_t *addresses)
{
    avp_redis_conn_t  *rc = data;

    u_char  *comma, ip[NGX_INET6_ADDRSTRLEN + 1];
    size_t   len;

    /* another state: the deadline or the exit was faster */

    if (rc->state != AVP_REDIS_RESOLVING) {
        return;
    }

    len = addresses->len;
    comma = ngx_strlchr(addresses->data, addresses->data + len, ',');
    if (comma) {
        len = comma - addresses->data;
    }

    if (len == 0 || len >= sizeof(ip)) {
        avp_redis_failed(rc, "its name does not resolve");
        return;
    }

    ngx_cpystrn(ip, addresses->data, len + 1);
    avp_redis_connect(rc, (char *) ip);
}


static void
avp_redis_connect(avp_redis_conn_t *rc, const char *ip)
{
    char  db[NGX_INT_T_LEN + 1];

    rc->state = AVP_REDIS_CONNECTING;

    rc->ac = ip ? redisAsyncConnect(ip, rc->address->port)
                : redisAsyncConnectUnix((char *) rc->address->path.data);

    if (rc->ac == NULL) {
        avp_redis_failed(rc, "no memory");
        return;
    }

    if (rc->ac->err) {
        avp_redis_failed(rc, rc->ac->errstr);
        return;
    }

    rc->ac->data = rc;

    if (avp_redis_attach(rc) != NGX_OK) {
        avp_redis_failed(rc, "no connection is free");
        return;
    }

    redisAsyncSetConnectCallback(rc->ac, avp_redis_on_connect);
    redisAsyncSetDisconnectCallback(rc->ac, avp_redis_on_disconnect);

    /* pipelined before anything else */

    if (rc->address->password.len) {
        if (rc->address->user.len) {
            redisAsyncCommand(rc->ac, avp_redis_on_hello, rc, "AUTH %b %b",
                              rc->address->user.data, rc->address->user.len,
                              rc->address->password.data,
                              rc->address->password.len);
        } else {
            redisAsyncCommand(rc->ac, avp_redis_on_hello, rc, "AUTH %b",
                              rc->address->password.data,
                              rc->address->password.len);
        }
    }

    if (rc->address->db) {
        ngx_sprintf((u_char *) db, "%ui%Z", rc->address->db);
        redisAsyncCommand(rc->ac, avp_redis_on_hello, rc, "SELECT %s", db);
    }

    avp_redis_conn_watch(rc);
}


static ngx_int_t
avp_redis_attach(avp_redis_conn_t *rc)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(rc->ac->c.fd, rc->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = rc;
    c->log = rc->log;
    c->read->log = rc->log;
    c->write->log = rc->log;
    c->read->handler = avp_redis_read;
    c->write->handler = avp_redis_write;

    rc->c = c;

    rc->ac->ev.data = rc;
    rc->ac->ev.addRead = avp_redis_add_read;
    rc->ac->ev.delRead = avp_redis_del_read;
    rc->ac->ev.addWrite = avp_redis_add_write;
    rc->ac->ev.delWrite = avp_redis_del_write;
    rc->ac->ev.cleanup = avp_redis_detach;

    return NGX_OK;
}


/*
 * From any state: give the context back, tell the owner, wait.  hiredis calls
 * the callbacks of pending commands with a NULL reply while it frees.
 */

static void
avp_redis_failed(avp_redis_conn_t *rc, const char *why)
{
    ngx_msec_t          delay;
    ngx_uint_t          level;
    redisAsyncContext  *ac;

    if (rc->state == AVP_REDIS_CLOSED || rc->state == AVP_REDIS_BACKOFF) {
        return;
    }

    /* once as an error, then quietly until it was up again */
    level = rc->quiet ? NGX_LOG_INFO : NGX_LOG_ERR;
    rc->quiet = 1;

    ngx_log_error(level, rc->log, 0, "redis (%s): %s", rc->name, why);

    rc->state = AVP_REDIS_BACKOFF;

    ac = rc->ac;
    rc->ac = NULL;

    if (ac) {
        redisAsyncFree(ac);
    }

    rc->down(rc);

    if (rc->timer.timer_set) {
        ngx_del_timer(&rc->timer);
    }

    if (ngx_exiting) {
        return;
    }

    delay = AVP_REDIS_DELAY << ngx_min(rc->failures, 9);
    delay = ngx_min(delay, AVP_REDIS_DELAY_MAX);
    rc->failures++;

    rc->timer.cancelable = 1;
    ngx_add_timer(&rc->timer, delay / 2 + ngx_random() % (delay / 2 + 1));
}


void
avp_redis_conn_watch(avp_redis_conn_t *rc)
{
    ngx_msec_t      at;
    ngx_msec_int_t  wait;

    if (rc->state == AVP_REDIS_BACKOFF || rc->state == AVP_REDIS_CLOSED) {
        return;
    }

    at = rc->deadline(rc);

    if (at) {
        wait = (ngx_msec_int_t) (at - ngx_current_msec);
        wait = ngx_max(wait, 1);

    } else if (rc->state == AVP_REDIS_READY) {
        wait = AVP_REDIS_BEAT;

    } else {
        wait = rc->timeout;
    }

    if (rc->timer.timer_set) {
        ngx_del_timer(&rc->timer);
    }

    /* an exiting worker waits for answers, not for heartbeats */
    rc->timer.cancelable = at ? 0 : 1;

    ngx_add_timer(&rc->timer, (ngx_msec_t) wait);
}


static void
avp_redis_timer(ngx_event_t *ev)
{
    ngx_msec_t         at;
    ngx_connection_t  *dummy = ev->data;
    avp_redis_conn_t  *rc = dummy->data;

    switch (rc->state) {

    case AVP_REDIS_BACKOFF:
        rc->state = AVP_REDIS_IDLE;

        if (!ngx_exiting) {
            avp_redis_conn_need(rc);
        }

        break;

    case AVP_REDIS_RESOLVING:
    case AVP_REDIS_CONNECTING:
        avp_redis_failed(rc, "did not connect in time");
        break;

    case AVP_REDIS_READY:
        at = rc->deadline(rc);

        if (at && (ngx_msec_int_t) (at - ngx_current_msec) <= 0) {
            avp_redis_failed(rc, "did not answer in time");
            break;
        }

        if (at == 0 && !ngx_exiting) {
            rc->beat(rc);
        }

        avp_redis_conn_watch(rc);
        break;

    default:
        break;
    }
}


static void
avp_redis_on_connect(const redisAsyncContext *ac, int status)
{
    avp_redis_conn_t  *rc = ac->data;

    if (rc->ac != ac) {
        return;
    }

    if (status != REDIS_OK) {
        /* hiredis frees the context itself after this callback */
        rc->ac = NULL;
        avp_redis_failed(rc, ac->errstr && ac->errstr[0] ? ac->errstr
                                                         : "cannot connect");
        return;
    }

    if (rc->quiet) {
        ngx_log_error(NGX_LOG_NOTICE, rc->log, 0, "redis (%s): connected",
                      rc->name);
    }

    rc->quiet = 0;
    rc->failures = 0;
    rc->state = AVP_REDIS_READY;

    rc->up(rc);
    avp_redis_conn_watch(rc);
}


static void
avp_redis_on_disconnect(const redisAsyncContext *ac, int status)
{
    avp_redis_conn_t  *rc = ac->data;

    if (rc->ac != ac) {
        return;             /* our own doing */
    }

    rc->ac = NULL;
    avp_redis_failed(rc, status == REDIS_OK || ac->errstr == NULL
                             || ac->errstr[0] == '\0'
                         ? "connection closed" : ac->errstr);
}


static void
avp_redis_on_hello(redisAsyncContext *ac, void *reply, void *data)
{
    avp_redis_conn_t  *rc = data;
    redisReply        *answer = reply;

    if (answer == NULL || answer->type != REDIS_REPLY_ERROR) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, rc->log, 0, "redis (%s): AUTH or SELECT: %s",
                  rc->name, answer->str);

    if (rc->ac == ac) {
        avp_redis_failed(rc, "refused");
    }
}


void
avp_redis_conn_close(avp_redis_conn_t *rc)
{
    redisAsyncContext  *ac;

    if (rc->state == AVP_REDIS_CLOSED) {
        return;
    }

    rc->state = AVP_REDIS_CLOSED;

    ac = rc->ac;
    rc->ac = NULL;

    if (ac) {
        redisAsyncFree(ac);
    }

    if (rc->timer.timer_set) {
        ngx_del_timer(&rc->timer);
    }

    rc->down(rc);
}


/*
 * Events.  Level-triggered: hiredis reads one buffer a call and would starve
 * on edges.  After redisAsyncHandle*() the context, and the ngx_connection_t
 * with it, may be gone.
 */

static void
avp_redis_read(ngx_event_t *ev)
{
    ngx_connection_t  *c = ev->data;
    avp_redis_conn_t  *rc = c->data;

    if (rc->ac) {
        redisAsyncHandleRead(rc->ac);
    }
}


static void
avp_redis_write(ngx_event_t *ev)
{
    ngx_connection_t  *c = ev->data;
    avp_redis_conn_t  *rc = c->data;

    if (rc->ac) {
        redisAsyncHandleWrite(rc->ac);
    }
}


static void
avp_redis_add_read(void *data)
{
    avp_redis_conn_t  *rc = data;

    if (rc->c && !rc->c->read->active
        && ngx_add_event(rc->c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, rc->log, 0,
                      "redis (%s): cannot watch for reading", rc->name);
    }
}


static void
avp_redis_del_read(void *data)
{
    avp_redis_conn_t  *rc = data;

    if (rc->c && rc->c->read->active) {
        (void) ngx_del_event(rc->c->read, NGX_READ_EVENT, 0);
    }
}


static void
avp_redis_add_write(void *data)
{
    avp_redis_conn_t  *rc = data;

    if (rc->c && !rc->c->write->active
        && ngx_add_event(rc->c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, rc->log, 0,
                      "redis (%s): cannot watch for writing", rc->name);
    }
}


static void
avp_redis_del_write(void *data)
{
    avp_redis_conn_t  *rc = data;

    if (rc->c && rc->c->write->active) {
        (void) ngx_del_event(rc->c->write, NGX_WRITE_EVENT, 0);
    }
}


/* hiredis calls it before it closes the socket. */

static void
avp_redis_detach(void *data)
{
    avp_redis_conn_t  *rc = data;
    ngx_connection_t  *c;

    c = rc->c;

    if (c == NULL) {
        return;
    }

    rc->c = NULL;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
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
