#include "ngx_module/backend/drain.h"

#define AVP_DRAIN_HANDLERS  8


static void avp_drain_handler(ngx_event_t *ev);


static struct {
    ngx_connection_t  *watcher;
    ngx_uint_t         n;
    struct {
        void         (*run)(void *data);
        void          *data;
    } handlers[AVP_DRAIN_HANDLERS];
} avp_drain;


ngx_int_t
avp_drain_init(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    avp_drain.n = 0;

    c = ngx_get_connection(0, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    /* a descriptor that is not -1 and that nobody has */
    c->fd = (ngx_socket_t) -2;
    c->idle = 1;
    c->data = c;
    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = avp_drain_handler;

    avp_drain.watcher = c;

    return NGX_OK;
}


static void
avp_drain_free(void)
{
    ngx_connection_t  *c = avp_drain.watcher;

    if (c) {
        avp_drain.watcher = NULL;
        c->idle = 0;
        c->fd = (ngx_socket_t) -1;
        ngx_free_connection(c);
    }
}


void
avp_drain_exit(void)
{
    avp_drain_free();
}


ngx_int_t
avp_drain_on_quit(void (*handler)(void *data), void *data)
{
    if (avp_drain.n == AVP_DRAIN_HANDLERS) {
        return NGX_ERROR;
    }

    avp_drain.handlers[avp_drain.n].run = handler;
    avp_drain.handlers[avp_drain.n].data = data;
    avp_drain.n++;

    return NGX_OK;
}


static void
avp_drain_handler(ngx_event_t *ev)
{
    ngx_uint_t         i;
    ngx_connection_t  *c = ev->data;

    if (!c->close) {
        return;
    }

    avp_drain_free();

    for (i = 0; i < avp_drain.n; i++) {
        avp_drain.handlers[i].run(avp_drain.handlers[i].data);
    }
}
