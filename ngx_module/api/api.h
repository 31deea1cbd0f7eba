/*
 * The handlers of the route table (router.c).  Each runs on the event loop
 * with the caller's identity checked and the ids of the path parsed into
 * ctx->ids; it starts one database operation and returns NGX_DONE, or an
 * answer at once.  What a caller may see and change is the database's
 * business, not theirs.
 */

#ifndef AVP_API_H
#define AVP_API_H

#include "ngx_module/avp.h"

/* videos.c, download.c */
ngx_int_t avp_api_video_list(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_video_get(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_video_status(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_video_metadata(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_video_delete(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_video_download(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);

/* jobs.c */
ngx_int_t avp_api_job_get(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_job_retry(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);

/* system.c; health is open */
ngx_int_t avp_api_stats(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);
ngx_int_t avp_api_health(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);

/* upload/form.c; body AVP_BODY_STREAM */
ngx_int_t avp_upload_form(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx);

#endif
