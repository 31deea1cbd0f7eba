#include "workerd/media/nodes.h"

#include <math.h>
#include <stdlib.h>

#define POSTER_LONG 1920
#define TILE_SHORT 160
#define CANDIDATES 3
#define KEY_TRIES 400 /* packets read for one key frame */

/* Where in a video its candidates for the poster lie. */
static const double places[CANDIDATES] = { 0.10, 0.30, 0.55 };

static int
even(double v)
{
    return v < 2 ? 2 : (int)v & ~1;
}

int
avp_pictures_open(avp_pictures_t *p, bool poster, bool storyboard,
                  avp_fail_t *fail)
{
    const avp_probe_t *f = p->run->facts;
    double longer = FFMAX(f->width, f->height);
    double shorter = FFMIN(f->width, f->height);
    double large = fmin(1, POSTER_LONG / longer);
    double tile = fmin(1, TILE_SHORT / shorter);
    int    rc = 0;

    avp_scaler_init(&p->poster_scaler, f, even(f->width * large),
                    even(f->height * large));
    avp_scaler_init(&p->tile_scaler, f, even(f->width * tile),
                    even(f->height * tile));

    if (poster) {
        rc = avp_poster_open(&p->poster, p->run->out);
    }
    if (rc >= 0 && storyboard) {
        rc = avp_storyboard_open(&p->storyboard, p->run->out, f->width,
                                 f->height, p->run->plan->duration);
    }
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "beginning the pictures")
                  : 0;
}

void
avp_pictures_free(avp_pictures_t *p)
{
    if (p->poster) {
        avp_poster_free(p->poster);
    }
    if (p->storyboard) {
        avp_storyboard_free(p->storyboard);
    }
    avp_scaler_free(&p->poster_scaler);
    avp_scaler_free(&p->tile_scaler);
}

static int
offer_poster(avp_pictures_t *p, const AVFrame *in, avp_fail_t *fail)
{
    AVFrame *f = av_frame_alloc();
    int      rc;

    if (f == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
    }
    if (avp_scaler_run(&p->poster_scaler, in, f, fail)) {
        av_frame_free(&f);
        return -1;
    }
    rc = avp_poster_offer(p->poster, f);
    av_frame_free(&f);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "choosing the poster")
                  : 0;
}

static int
finish_poster(avp_pictures_t *p, avp_fail_t *fail)
{
    int rc = avp_poster_finish(p->poster);

    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                           "writing the poster");
    }
    p->run->poster_done(p->run);
    return 0;
}

static int
offer_tile(avp_pictures_t *p, const AVFrame *in, double t, avp_fail_t *fail)
{
    AVFrame *f;
    int      rc;

    if (!avp_storyboard_wants(p->storyboard, t)) {
        return 0;
    }

    f = av_frame_alloc();
    if (f == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
    }
    if (avp_scaler_run(&p->tile_scaler, in, f, fail)) {
        av_frame_free(&f);
        return -1;
    }
    rc = avp_storyboard_offer(p->storyboard, f, t);
    av_frame_free(&f);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "writing the storyboard")
                  : 0;
}

/* All frames of the pass come by; few are used. */
int
avp_pictures_node(void *node, avp_fail_t *fail)
{
    avp_pictures_t *p = node;
    double          slot = av_q2d(av_inv_q(p->run->plan->rate));
    double          duration = p->run->plan->duration;
    bool            poster = p->poster != NULL;
    int             offered = 0, rc;
    double          end = 0;
    AVFrame        *f = NULL;

    while ((rc = avp_queue_get(p->in, &f)) > 0) {
        double t = (double)f->pts * slot;
        double next = offered < CANDIDATES
                          ? (duration > 0 ? places[offered] * duration
                                          : 3.0 * offered)
                          : INFINITY;

        end = t + slot;
        rc = 0;
        if (poster && (t >= next || offered == 0)) {
            rc = offer_poster(p, f, fail);
            if (rc == 0 && ++offered == CANDIDATES) {
                rc = finish_poster(p, fail);
            }
        }
        if (rc == 0 && p->storyboard) {
            rc = offer_tile(p, f, t, fail);
        }
        av_frame_free(&f);
        if (rc) {
            return -1;
        }
    }

    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA, "pictures");
    }
    if (poster && offered < CANDIDATES && finish_poster(p, fail)) {
        return -1;
    }
    if (p->storyboard) {
        rc = avp_storyboard_finish(p->storyboard, end);
    }
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "writing the storyboard")
                  : 0;
}

/* The key frame at or before `share` of the video: 1, 0 when there is none
 * to be had, -1. */
static int
key_frame(avp_demux_t *d, AVCodecContext *codec, const avp_probe_t *facts,
          double share, AVFrame *f)
{
    const AVStream *st = d->ctx->streams[facts->video];
    int64_t         ts = st->start_time != AV_NOPTS_VALUE ? st->start_time : 0;
    AVPacket       *pkt = av_packet_alloc();
    int             rc = AVERROR(ENOMEM);

    ts += (int64_t)(share * facts->duration / av_q2d(st->time_base));
    avcodec_flush_buffers(codec);

    if (pkt == NULL
        || av_seek_frame(d->ctx, facts->video, ts, AVSEEK_FLAG_BACKWARD) < 0) {
        goto done;
    }

    for (int i = 0; i < KEY_TRIES; i++) {
        if (avp_demux_read(d, facts->video, pkt) < 0) {
            break;
        }
        if (pkt->flags & AV_PKT_FLAG_KEY) {
            /* this one alone, and what the decoder keeps back of it */
            if (avcodec_send_packet(codec, pkt) >= 0) {
                avcodec_send_packet(codec, NULL);
                rc = avcodec_receive_frame(codec, f);
            }
            break;
        }
        av_packet_unref(pkt);
    }

done:

    av_packet_free(&pkt);
    return rc >= 0 ? 1 : rc == AVERROR(ENOMEM) ? -1 : 0;
}

/* The first frame that decodes, for a source without usable key frames. */
static int
first_frame(avp_demux_t *d, AVCodecContext *codec, const avp_probe_t *facts,
            AVFrame *f)
{
    AVPacket *pkt = av_packet_alloc();
    int       rc = AVERROR(EAGAIN);

    avcodec_flush_buffers(codec);
    av_seek_frame(d->ctx, facts->video, INT64_MIN, AVSEEK_FLAG_BACKWARD);

    for (int i = 0; pkt && rc < 0 && i < KEY_TRIES; i++) {
        if (avp_demux_read(d, facts->video, pkt) < 0) {
            break;
        }
        avcodec_send_packet(codec, pkt);
        av_packet_unref(pkt);
        rc = avcodec_receive_frame(codec, f);
    }
    av_packet_free(&pkt);
    return rc >= 0 ? 1 : 0;
}

/* A candidate, if there is one: counted, cleaned and offered. */
static int
offer_decoded(avp_pictures_t *p, AVFrame *f, int got, avp_fail_t *fail)
{
    int rc = 0;

    if (got > 0) {
        atomic_fetch_add(&p->run->frames_decoded, 1);
        avp_frame_sanitize(f, p->run->facts);
        rc = offer_poster(p, f, fail);
    }
    av_frame_unref(f);
    return rc;
}

/*
 * The poster before everything else: three key frames by seek, three frames
 * decoded more than the passes decode.  A source that does not yield them
 * gives its first frame.
 */
int
avp_poster_node(void *node, avp_fail_t *fail)
{
    avp_pictures_t    *p = node;
    const avp_probe_t *facts = p->run->facts;
    avp_demux_t        d = { 0 };
    AVCodecContext    *codec = NULL;
    AVFrame           *f = av_frame_alloc();
    int                rc = -1, offered = 0, got;

    if (f == NULL) {
        avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
        goto done;
    }
    if (avp_demux_open(&d, p->run->fd, p->run->job, facts->no_header,
                       &p->sched->stop, fail)) {
        goto done;
    }
    avp_demux_select(&d, facts->video);
    codec = avp_decoder_open(p->run->job, facts->vpar, facts->vtb, 1, fail);
    if (codec == NULL) {
        goto done;
    }

    for (int i = 0; i < CANDIDATES; i++) {
        got = key_frame(&d, codec, facts, places[i], f);
        if (got < 0) {
            avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
            goto done;
        }
        if (offer_decoded(p, f, got, fail)) {
            goto done;
        }
        offered += got;
    }

    if (offered == 0) {
        got = first_frame(&d, codec, facts, f);
        if (offer_decoded(p, f, got, fail)) {
            goto done;
        }
        offered += got;
    }

    if (offered == 0) {
        /* the pass itself will say what is wrong with the video */
        p->run->warn(p->run, "no poster could be made");
        rc = 0;
        goto done;
    }
    rc = finish_poster(p, fail);

done:

    avcodec_free_context(&codec);
    avp_demux_close(&d);
    av_frame_free(&f);
    return rc;
}
