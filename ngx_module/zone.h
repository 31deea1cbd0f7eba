/*
 * avp_zone: shared memory of all worker processes.  It begins with a magic
 * and a layout version and is zeroed when they differ; it survives reloads
 * and starts empty after a binary upgrade.  Holds counters (X-macro list
 * metrics_list.h, one slot per worker process), the denied videos and the
 * disabled users, both refilled from PostgreSQL at start and every 5 s with a
 * 60 s overlap (zone_pull).
 */

#ifndef AVP_ZONE_H
#define AVP_ZONE_H

#include "ngx_module/avp.h"

/* avp_zone name:size; checks the size. */
char *avp_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Starts the puller in one worker at a time (lock in the zone). */
ngx_int_t avp_zone_init_process(ngx_cycle_t *cycle,
    ngx_http_avp_main_conf_t *amcf);

/* No I/O, a short lock.  `video` and `user` are canonical UUIDs. */
ngx_uint_t avp_zone_video_denied(const char *video);
ngx_uint_t avp_zone_user_disabled(const char *user);

/* Own deletes take effect at once. */
void avp_zone_deny_video(const char *video);

/* Whether the sets were filled within the last 60 s; if not, authenticated
 * requests are answered 503. */
ngx_uint_t avp_zone_fresh(void);

typedef enum {
#define AVP_METRIC(name, help)  AVP_M_##name,
#include "ngx_module/metrics_list.h"
#undef AVP_METRIC
    AVP_M_COUNT
} avp_metric_e;

void avp_zone_count(avp_metric_e metric, ngx_int_t n);

#endif
