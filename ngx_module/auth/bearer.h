/*
 * Bearer tokens of requests: Authorization header -> avp_identity_t, through
 * a bounded cache of accepted tokens per worker process (keyed by SHA-256;
 * expiry, not-before and disabled users are checked on every hit).  CPU only.
 */

#ifndef AVP_BEARER_H
#define AVP_BEARER_H

#include "ngx_module/avp.h"

/* NGX_OK with ctx->identity set, NGX_DECLINED: no or bad token (401),
 * NGX_BUSY: the zone's sets are not fresh (503).  Runs once per request. */
ngx_int_t avp_bearer_authenticate(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);

ngx_int_t avp_bearer_init_process(ngx_cycle_t *cycle);

/* $avp_user, $avp_role, $avp_video, $avp_request_id: lazily, without I/O. */
ngx_int_t avp_bearer_add_variables(ngx_conf_t *cf);

#endif
