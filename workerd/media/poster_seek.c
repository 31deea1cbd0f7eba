/*
 * The poster before everything else, by seek: a few key frames, decoded
 * beside what the passes decode.
 */

#include "workerd/media/nodes.h"
#include "workerd/media/picture.h"

#include <stdlib.h>

#define KEY_TRIES 400 /* packets read for one key frame */
#define ONWARD 300    /* frames decoded in search of a better one */
#define ONWARD_STEP 10

/* Where in a video its candidates lie; those after the first three are looked
 * at only while none is any good. */
#define FIRST 3
static const double places[] = { 0.10, 0.30, 0.55, 0.75, 0.93, 0.43, 0.65 };

#define PLACES (int)(sizeof(places) / sizeof(places[0]))

typedef struct {
    avp_pictures_t    *p;
    const avp_probe_t *facts;
    avp_demux_t        demux;
    AVCodecContext    *codec;
    AVPacket          *pkt;
    AVFrame           *frame;
    int                offered;
    int64_t            tried[PLACES]; /* key frames, by time stamp */
    int                ntried;
} search_t;

static int
seek_to(search_t *s, double share)
{
    const AVStream *st = s->demux.ctx->streams[s->facts->video];
    int64_t         ts = st->start_time != AV_NOPTS_VALUE ? st->start_time : 0;

    ts += (int64_t)(share * s->facts->duration / av_q2d(st->time_base));
    avcodec_flush_buffers(s->codec);
    return av_seek_frame(s->demux.ctx, s->facts->video, ts,
                         AVSEEK_FLAG_BACKWARD);
}

/* A decoded frame: counted, cleaned and offered. */
static int
offer(search_t *s, avp_fail_t *fail)
{
    int rc;

    avp_frame_sanitize(s->frame, s->facts);
    rc = avp_pictures_offer_poster(s->p, s->frame, fail);
    av_frame_unref(s->frame);
    s->offered++;
    return rc;
}

static void
count(search_t *s)
{
    atomic_fetch_add(&s->p->run->frames_decoded, 1);
}

/* Whether the key frame at `ts` is a new one: with few of them, several
 * places lead to the same. */
static bool
is_new(search_t *s, int64_t ts)
{
    for (int i = 0; i < s->ntried; i++) {
        if (s->tried[i] == ts) {
            return false;
        }
    }
    s->tried[s->ntried++] = ts;
    return true;
}

/* Offers the key frame at or before `share` of the video, if one is to be
 * had.  0, or -1. */
static int
key_frame(search_t *s, double share, avp_fail_t *fail)
{
    int rc = -1;

    if (seek_to(s, share) < 0) {
        return 0;
    }

    for (int i = 0; i < KEY_TRIES; i++) {
        bool key, fresh = true;

        if (avp_demux_read(&s->demux, s->facts->video, s->pkt) < 0) {
            break;
        }
        key = s->pkt->flags & AV_PKT_FLAG_KEY;
        if (key) {
            fresh = is_new(s, s->pkt->dts);
        }
        /* this one alone, and what the decoder keeps back of it */
        if (key && fresh && avcodec_send_packet(s->codec, s->pkt) >= 0) {
            avcodec_send_packet(s->codec, NULL);
            rc = avcodec_receive_frame(s->codec, s->frame);
        }
        av_packet_unref(s->pkt);
        if (key) {
            break;
        }
    }

    if (rc < 0) {
        return 0;
    }
    count(s);
    return offer(s, fail);
}

/* Decodes on from the key frame before `share`, and offers a frame now and
 * then until there is a good one; from the very beginning (`share` < 0) it
 * takes the first that decodes. */
static int
onward(search_t *s, double share, avp_fail_t *fail)
{
    int frames = 0;

    if (share < 0) {
        avcodec_flush_buffers(s->codec);
        av_seek_frame(s->demux.ctx, s->facts->video, INT64_MIN,
                      AVSEEK_FLAG_BACKWARD);
    } else if (seek_to(s, share) < 0) {
        return 0;
    }

    for (int i = 0; i < KEY_TRIES; i++) {
        if (avp_demux_read(&s->demux, s->facts->video, s->pkt) < 0) {
            return 0;
        }
        avcodec_send_packet(s->codec, s->pkt);
        av_packet_unref(s->pkt);

        while (avcodec_receive_frame(s->codec, s->frame) >= 0) {
            count(s);
            if (share >= 0 && ++frames % ONWARD_STEP) {
                av_frame_unref(s->frame);
                continue;
            }
            if (offer(s, fail)) {
                return -1;
            }
            if (share < 0 || frames >= ONWARD
                || avp_poster_score(s->p->poster) >= AVP_PICTURE_GOOD) {
                return 0;
            }
        }
    }
    return 0;
}

static bool
is_poor(const search_t *s)
{
    return avp_poster_score(s->p->poster) < AVP_PICTURE_POOR;
}

static int
look_around(search_t *s, avp_fail_t *fail)
{
    for (int i = 0; i < PLACES; i++) {
        if (i >= FIRST && !is_poor(s)) {
            return 0;
        }
        if (avp_sched_stopped(s->p->sched)) {
            return avp_fail_av(fail, AVERROR_EXIT, AVP_ERR_INVALID_MEDIA,
                               "the poster");
        }
        if (key_frame(s, places[i], fail)) {
            return -1;
        }
    }

    if (s->offered == 0) {
        return onward(s, -1, fail); /* no usable key frames */
    }
    if (is_poor(s) && s->ntried < PLACES) {
        return onward(s, places[1], fail); /* they are few */
    }
    return 0;
}

int
avp_poster_node(void *node, avp_fail_t *fail)
{
    avp_pictures_t    *p = node;
    const avp_probe_t *facts = p->run->facts;
    search_t           s = { .p = p, .facts = facts };
    int                rc = -1;

    s.pkt = av_packet_alloc();
    s.frame = av_frame_alloc();
    if (s.pkt == NULL || s.frame == NULL) {
        avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
        goto done;
    }
    if (avp_demux_open(&s.demux, p->run->fd, p->run->job, facts->no_header,
                       &p->sched->stop, fail)) {
        goto done;
    }
    avp_demux_select(&s.demux, facts->video);
    s.codec = avp_decoder_open(p->run->job, facts->vpar, facts->vtb, 1, fail);
    if (s.codec == NULL || look_around(&s, fail)) {
        goto done;
    }

    if (s.offered == 0) {
        /* the pass itself will say what is wrong with the video */
        p->run->warn(p->run, "no poster could be made");
        rc = 0;
        goto done;
    }
    rc = avp_pictures_finish_poster(p, fail);

done:

    avcodec_free_context(&s.codec);
    avp_demux_close(&s.demux);
    av_packet_free(&s.pkt);
    av_frame_free(&s.frame);
    return rc;
}
