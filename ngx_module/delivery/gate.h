/*
 * Delivery: /v/{video}/{token}/{prefix}/{path} in locations with
 * `avp_delivery`.  A precontent phase handler (after limit_req, allow, deny
 * and auth_request) checks path, token and denied videos without I/O and maps
 * the URI to /outputs/{video}/{prefix}/{path}; the location's own static
 * handler (with its root, gzip_static, ranges, 304) or proxy_pass serves.
 * Types, CORS and cache headers are the gate's, whatever the operator's
 * mime.types say.
 */

#ifndef AVP_GATE_H
#define AVP_GATE_H

#include "ngx_module/avp.h"

/* preconfiguration: $avp_object, the storage key of a request that the gate
 * would let through, else not found. */
ngx_int_t avp_delivery_add_variables(ngx_conf_t *cf);

/* postconfiguration: the phase handler and the header filter. */
ngx_int_t avp_delivery_init(ngx_conf_t *cf);

#endif
