#include "ngx_module/backend/task.h"

#include <netdb.h>

/* nginx's own figure for thread operations (ngx_http_copy_filter_module.c) */
#define AVP_TASK_LONG  60000


static void avp_task_thread(void *data, ngx_log_t *log);
static void avp_task_event(ngx_event_t *ev);
static void avp_task_abort(void *data);
static void avp_task_resolve_thread(void *data, ngx_log_t *log);
static void avp_task_resolve_done(void *data);


typedef struct {
    char             host[256];
    char             addresses[512];
    avp_resolve_pt   done;
    void            *data;
} avp_task_resolve_t;


static ngx_uint_t  avp_task_count;


avp_task_t *
avp_task_create(ngx_http_request_t *r)
{
    avp_task_t          *t;
    ngx_http_cleanup_t  *cln;

    t = ngx_pcalloc(r->pool, sizeof(avp_task_t));
    if (t == NULL) {
        return NULL;
    }

    t->thread = ngx_thread_task_alloc(r->pool, 0);
    if (t->thread == NULL) {
        return NULL;
    }

    /* runs at once when the request is terminated, before its pool goes */

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = avp_task_abort;
    cln->data = t;

    t->request = r;

    return t;
}


avp_task_t *
avp_task_detached(size_t data_size)
{
    avp_task_t  *t;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    t = ngx_pcalloc(pool, sizeof(avp_task_t));
    if (t == NULL) {
        goto failed;
    }

    t->pool = pool;

    t->thread = ngx_thread_task_alloc(pool, 0);
    if (t->thread == NULL) {
        goto failed;
    }

    t->data = ngx_pcalloc(pool, data_size);
    if (t->data == NULL) {
        goto failed;
    }

    return t;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


ngx_int_t
avp_task_post(avp_task_t *t, ngx_thread_pool_t *tp)
{
    ngx_thread_task_t  *task = t->thread;

    task->ctx = t;
    task->handler = avp_task_thread;
    task->event.data = t;
    task->event.handler = avp_task_event;
    task->event.log = ngx_cycle->log;

    if (tp == NULL || ngx_thread_task_post(tp, task) != NGX_OK) {

        if (t->pool) {
            ngx_destroy_pool(t->pool);
        }

        return NGX_BUSY;
    }

    t->busy = 1;
    avp_task_count++;

    if (t->request) {
        t->request->main->blocked++;
        t->request->aio = 1;
    }

    /* not cancelable: without any timer an exiting worker would leave while
     * the thread still works */

    ngx_add_timer(&task->event, AVP_TASK_LONG);

    return NGX_OK;
}


ngx_uint_t
avp_task_aborted(avp_task_t *t)
{
    return t->aborted;
}


ngx_uint_t
avp_task_inflight(void)
{
    return avp_task_count;
}


static void
avp_task_thread(void *data, ngx_log_t *log)
{
    avp_task_t  *t = data;

    t->work(t->data, log);
}


static void
avp_task_event(ngx_event_t *ev)
{
    avp_task_t          *t = ev->data;
    ngx_uint_t           aborted;
    ngx_pool_t          *pool;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (ev->timedout) {
        ev->timedout = 0;
        ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                      "a thread operation takes longer than %d s",
                      AVP_TASK_LONG / 1000);
        ngx_add_timer(ev, AVP_TASK_LONG);
        return;
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    t->busy = 0;
    avp_task_count--;

    r = t->request;

    if (r == NULL) {
        pool = t->pool;
        t->done(t->data);
        ngx_destroy_pool(pool);
        return;
    }

    c = r->connection;
    ngx_http_set_log_request(c->log, r);

    r->main->blocked--;
    r->aio = 0;

    /* `done` may end the request, and its pool with this task in it */

    aborted = t->aborted;

    t->done(t->data);

    if (aborted) {
        /* ngx_http_terminate_request() waits for `blocked` to fall: its
         * finalizer is the request's write handler now */
        c->write->handler(c->write);
        return;
    }

    ngx_http_run_posted_requests(c);
}


static void
avp_task_abort(void *data)
{
    avp_task_t  *t = data;

    t->aborted = 1;
}


ngx_int_t
avp_task_resolve(ngx_str_t *host, avp_resolve_pt done, void *data)
{
    avp_task_t                *t;
    avp_task_resolve_t        *ctx;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(ngx_cycle, ngx_http_avp_module);

    if (amcf == NULL || amcf->io_pool == NULL
        || host->len >= sizeof(ctx->host))
    {
        return NGX_ERROR;
    }

    t = avp_task_detached(sizeof(avp_task_resolve_t));
    if (t == NULL) {
        return NGX_ERROR;
    }

    ctx = t->data;
    ngx_memcpy(ctx->host, host->data, host->len);
    ctx->done = done;
    ctx->data = data;

    t->work = avp_task_resolve_thread;
    t->done = avp_task_resolve_done;

    return avp_task_post(t, amcf->io_pool) == NGX_OK ? NGX_OK : NGX_ERROR;
}


static void
avp_task_resolve_thread(void *data, ngx_log_t *log)
{
    avp_task_resolve_t *ctx = data;

    char              ip[NI_MAXHOST];
    size_t            used;
    struct addrinfo   hints, *list, *ai;

    ngx_memzero(&hints, sizeof(hints));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;

    if (getaddrinfo(ctx->host, NULL, &hints, &list) != 0) {
        return;                     /* no addresses: it does not resolve */
    }

    used = 0;

    for (ai = list; ai; ai = ai->ai_next) {
        size_t  len;

        if (getnameinfo(ai->ai_addr, ai->ai_addrlen, ip, sizeof(ip), NULL, 0,
                        NI_NUMERICHOST)
            != 0)
        {
            continue;
        }

        len = ngx_strlen(ip);

        if (used + len + 2 > sizeof(ctx->addresses)) {
            break;
        }

        if (used) {
            ctx->addresses[used++] = ',';
        }

        ngx_memcpy(ctx->addresses + used, ip, len);
        used += len;
    }

    freeaddrinfo(list);
}


static void
avp_task_resolve_done(void *data)
{
    avp_task_resolve_t *ctx = data;

    ngx_str_t  addresses;

    addresses.data = (u_char *) ctx->addresses;
    addresses.len = ngx_strlen(ctx->addresses);

    ctx->done(ctx->data, &addresses);
}
