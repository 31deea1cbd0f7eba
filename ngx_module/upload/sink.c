#include "ngx_module/upload/sink.h"


static void avp_sink_cleanup(void *data);


avp_sink_t *
avp_sink_create(ngx_http_request_t *r, avp_sink_done_pt done, void *data)
{
    avp_sink_t          *s;
    ngx_pool_cleanup_t  *cln;

    /* of the pool: it runs after the last thread task of the request, an
     * http cleanup would run before (NGINX terminates first) */

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    s = avp_sink_file_create(r);
    if (s == NULL) {
        return NULL;
    }

    s->request = r;
    s->done = done;
    s->data = data;

    cln->handler = avp_sink_cleanup;
    cln->data = s;

    return s;
}


void
avp_sink_keep(avp_sink_t *s)
{
    s->kept = 1;
}


avp_error_t
avp_sink_error(avp_sink_status_e status)
{
    switch (status) {

    case AVP_SINK_FULL:
        return AVP_ERR_STORAGE_FULL;

    case AVP_SINK_BUSY:
        return AVP_ERR_UNAVAILABLE;

    default:
        return AVP_ERR_INTERNAL;
    }
}


static void
avp_sink_cleanup(void *data)
{
    avp_sink_t  *s = data;

    s->ops->abort(s);
}
