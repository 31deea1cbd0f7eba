/*
 * Work that blocks (files, names, hashing) in NGINX's thread pools.  This is
 * the only place that posts thread tasks: it arms the non-cancelable timer
 * that keeps an exiting worker alive while a task runs, gives every event a
 * log, and knows what to do when the request went away meanwhile.
 */

#ifndef AVP_TASK_H
#define AVP_TASK_H

#include "ngx_module/avp.h"

typedef struct avp_task_s  avp_task_t;

struct avp_task_s {
    void               (*work)(void *data, ngx_log_t *log); /* in a thread */
    void               (*done)(void *data);   /* on the event loop, always */
    void                *data;                /* must outlive the task */
    /* private */
    ngx_thread_task_t   *thread;
    ngx_http_request_t  *request;             /* NULL: detached */
    ngx_pool_t          *pool;                /* of a detached task */
    unsigned             busy:1;
    unsigned             aborted:1;
};

/*
 * A task that belongs to a request, to be posted as often as needed, one at a
 * time: r->main->blocked and r->aio are kept, so the request's pool (and
 * `data` in it) live until `done`.  A request must not be finalized while its
 * task is busy.  When the client is gone by then, avp_task_aborted() tells
 * `done` to do nothing more: the request's pool cleanups run right after it.
 */
avp_task_t *avp_task_create(ngx_http_request_t *r);

/* A task of the process (names, moves to trash), posted once; its own pool
 * holds `data` (zeroed) and is destroyed after `done`, or by a post that does
 * not return NGX_OK. */
avp_task_t *avp_task_detached(size_t data_size);

/* NGX_OK, or NGX_BUSY when the queue is full (503). */
ngx_int_t avp_task_post(avp_task_t *t, ngx_thread_pool_t *tp);

ngx_uint_t avp_task_aborted(avp_task_t *t);

/*
 * Resolves host:port in a thread (getaddrinfo); calls done on the loop with
 * "ip" texts, comma separated, empty when it does not resolve.
 */
typedef void (*avp_resolve_pt)(void *data, ngx_str_t *addresses);
ngx_int_t avp_task_resolve(ngx_str_t *host, avp_resolve_pt done, void *data);

/* How many tasks are in flight in this process (tests, drain). */
ngx_uint_t avp_task_inflight(void);

#endif
