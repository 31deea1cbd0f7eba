/*
 * Key frames alone, decoded for the storyboard of a job that encodes nothing:
 * all the rest of the video is not decoded at all.
 */

#include "workerd/media/copy.h"

#include <math.h>

typedef struct {
    avp_key_source_t *node;
    avp_run_t        *run;
    avp_demux_t       demux;
    AVCodecContext   *codec;
    AVPacket         *pkt;
    AVFrame          *frame, *last;
    avp_fail_t       *fail;
} keys_t;

static int
failed(keys_t *k, int rc)
{
    return avp_fail_av(k->fail, rc, AVP_ERR_INVALID_MEDIA,
                       "reading the key frames");
}

static int
put(keys_t *k, const AVFrame *f, int64_t slot)
{
    AVFrame *ref = av_frame_clone(f);
    int      rc;

    if (ref) {
        ref->pts = slot;
    }
    rc = avp_queue_put(k->node->out, ref);
    return rc < 0 ? failed(k, rc) : 0;
}

static int
take_frames(keys_t *k)
{
    const avp_probe_t *facts = k->run->facts;
    double rate = av_q2d(k->run->plan->rate) * av_q2d(facts->vtb);
    int    rc;

    while ((rc = avcodec_receive_frame(k->codec, k->frame)) >= 0) {
        int64_t at = k->frame->best_effort_timestamp;

        if (k->frame->decode_error_flags != 0
            || (k->frame->flags & AV_FRAME_FLAG_CORRUPT)) {
            return avp_copy_broken(k->run, k->fail,
                                   "a key frame cannot be decoded");
        }
        atomic_fetch_add(&k->run->frames_decoded, 1);
        avp_frame_sanitize(k->frame, facts);
        if (put(k, k->frame,
                llrint((double)(at - facts->survey.first) * rate))) {
            return -1;
        }
        av_frame_unref(k->last);
        av_frame_move_ref(k->last, k->frame);
    }
    return rc == AVERROR(ENOMEM) ? failed(k, rc) : 0;
}

static int
read_all(keys_t *k)
{
    int rc;

    while ((rc = avp_demux_read(&k->demux, k->run->facts->video, k->pkt))
           >= 0) {
        bool key = (k->pkt->flags & AV_PKT_FLAG_KEY) != 0;

        rc = key ? avcodec_send_packet(k->codec, k->pkt) : 0;
        av_packet_unref(k->pkt);
        if (rc < 0 && rc != AVERROR(ENOMEM)) {
            return avp_copy_broken(k->run, k->fail,
                                   "a key frame cannot be decoded");
        }
        if (rc < 0) {
            return failed(k, rc);
        }
        if (key && take_frames(k)) {
            return -1;
        }
    }
    if (rc == AVERROR_EXIT) {
        return failed(k, rc);
    }
    if (k->demux.io_error) {
        return avp_demux_unreadable(&k->demux, k->fail);
    }

    avcodec_send_packet(k->codec, NULL);
    if (take_frames(k)) {
        return -1;
    }
    if (!k->last->buf[0]) {
        return avp_copy_broken(k->run, k->fail, "no key frame can be decoded");
    }
    /* the last one stands until the end */
    return put(k, k->last, k->run->facts->survey.frames - 1);
}

int
avp_key_source_node(void *node, avp_fail_t *fail)
{
    avp_key_source_t  *n = node;
    const avp_probe_t *facts = n->run->facts;
    keys_t             k = { .node = n, .run = n->run, .fail = fail };
    int                rc = -1;

    k.pkt = av_packet_alloc();
    k.frame = av_frame_alloc();
    k.last = av_frame_alloc();
    if (k.pkt == NULL || k.frame == NULL || k.last == NULL) {
        failed(&k, AVERROR(ENOMEM));
        goto done;
    }
    if (avp_demux_open(&k.demux, n->run->fd, n->run->job, facts->no_header,
                       &n->sched->stop, fail)) {
        goto done;
    }
    avp_demux_select(&k.demux, facts->video);

    k.codec = avp_decoder_open(n->run->job, facts->vpar, facts->vtb, 1, fail);
    if (k.codec == NULL) {
        goto done;
    }
    rc = read_all(&k);
    avp_queue_close(n->out);

done:

    avcodec_free_context(&k.codec);
    avp_demux_close(&k.demux);
    av_packet_free(&k.pkt);
    av_frame_free(&k.frame);
    av_frame_free(&k.last);
    return rc;
}
