/*
 * Knows when this worker process begins to shut down.  NGINX 1.22 has no
 * callback for it: a fake idle connection is closed by
 * ngx_close_idle_connections() the moment QUIT or HUP arrives (the pattern of
 * ngx_http_lua_timer.c).
 */

#ifndef AVP_DRAIN_H
#define AVP_DRAIN_H

#include "ngx_module/avp.h"

ngx_int_t avp_drain_init(ngx_cycle_t *cycle);
void avp_drain_exit(void);

/* `handler` runs once, on the event loop, when shutdown begins. */
ngx_int_t avp_drain_on_quit(void (*handler)(void *data), void *data);

#endif
