#include "workerd/media/nodes.h"

/* One rung: every frame scaled once for all encoders of this size. */
int
avp_rung_node(void *node, avp_fail_t *fail)
{
    avp_rung_node_t *r = node;
    AVFrame         *in = NULL, *scaled = NULL;
    int              rc;

    while ((rc = avp_queue_get(r->in, &in)) > 0) {
        if (in->pts % r->divide != 0) {
            av_frame_free(&in);
            continue;
        }
        in->pts /= r->divide;

        scaled = av_frame_alloc();
        if (scaled == NULL) {
            avp_fail(fail, AVP_ERR_NO_MEMORY, "a frame");
            goto fail;
        }
        if (avp_scaler_run(&r->scaler, in, scaled, fail)) {
            goto fail;
        }
        av_frame_free(&in);

        for (int i = 0; i < r->nouts; i++) {
            AVFrame *ref = i + 1 < r->nouts ? av_frame_clone(scaled) : scaled;

            if (ref == scaled) {
                scaled = NULL;
            }
            rc = avp_queue_put(r->outs[i], ref);
            if (rc < 0) {
                avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA, "a frame");
                goto fail;
            }
        }
    }

    if (rc < 0) {
        goto fail;
    }
    for (int i = 0; i < r->nouts; i++) {
        avp_queue_close(r->outs[i]);
    }
    return 0;

fail:

    av_frame_free(&in);
    av_frame_free(&scaled);
    return -1;
}
