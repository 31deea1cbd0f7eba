#include "workerd/media/nodes.h"

#include "workerd/media/cues.h"

#include <math.h>

/*
 * All text tracks of the source by one thread: they are small and lie among
 * the other packets, so one reading serves them all.  Each packet waits until
 * the video has been encoded as far, so that what lies behind the video's end
 * is known for that, and nothing piles up.
 */
typedef struct {
    avp_texts_t    *node;
    avp_run_t      *run;
    avp_fail_t     *fail;
    avp_demux_t     demux;
    AVCodecContext *codecs[AVP_TEXTS_MAX];
    avp_cues_t      cues[AVP_TEXTS_MAX];
    int64_t         shift; /* us, from stream to output time */
    double          end;   /* of the video, when all of it is there */
    bool            over;
} texts_t;

static int
failed(texts_t *t, int rc)
{
    return avp_fail_av(t->fail, rc, AVP_ERR_STORAGE_ERROR,
                       "writing subtitles");
}

/* A packet, or the flushing one without data. */
static int
decode(texts_t *t, int which, AVPacket *pkt)
{
    AVSubtitle sub = { 0 };
    int        got = 0, rc;

    rc = avcodec_decode_subtitle2(t->codecs[which], &sub, &got, pkt);
    if (rc == AVERROR(ENOMEM)) {
        return failed(t, rc);
    }
    if (rc < 0 || !got) {
        return 0; /* what is no subtitle is not shown */
    }
    rc = avp_cues_take(&t->cues[which], &sub, t->shift);
    return rc < 0 ? failed(t, rc) : 0;
}

static int
which_text(const texts_t *t, int stream)
{
    for (int i = 0; i < t->run->facts->ntexts; i++) {
        if (t->run->facts->texts[i].stream == stream) {
            return i;
        }
    }
    return -1;
}

static int
take_packet(texts_t *t, AVPacket *pkt)
{
    int     which = which_text(t, pkt->stream_index);
    int64_t ts = pkt->pts != AV_NOPTS_VALUE ? pkt->pts : pkt->dts;
    double  at;

    if (which < 0 || ts == AV_NOPTS_VALUE) {
        return 0;
    }

    pkt->pts = ts;
    at = (double)ts * av_q2d(t->run->facts->texts[which].tb)
         + (double)t->shift * 1e-6;
    if (!t->over
        && avp_clock_follow(&t->node->sched->clock, at, &t->end, &t->over)
               < 0) {
        return failed(t, AVERROR_EXIT);
    }
    return t->over && at >= t->end ? 0 : decode(t, which, pkt);
}

static int
read_all(texts_t *t)
{
    AVPacket *pkt = av_packet_alloc();
    int       rc = 0, bad = 0;

    if (pkt == NULL) {
        return failed(t, AVERROR(ENOMEM));
    }

    while (rc == 0) {
        rc = avp_demux_read(&t->demux, -1, pkt);
        if (rc == AVERROR_EXIT) {
            failed(t, rc);
            break;
        }
        if (rc < 0 && t->demux.io_error) {
            avp_demux_unreadable(&t->demux, t->fail);
            break;
        }
        if (rc < 0) {
            rc = rc == AVERROR_EOF || ++bad > 100 ? 1 : 0;
            continue;
        }
        rc = take_packet(t, pkt);
        av_packet_unref(pkt);
    }

    av_packet_free(&pkt);
    return rc < 0 ? -1 : 0;
}

static int
finish(texts_t *t)
{
    AVPacket *flush = av_packet_alloc();
    int       rc = flush ? 0 : failed(t, AVERROR(ENOMEM));

    while (rc == 0 && !t->over) {
        double now = t->end;

        rc = avp_clock_follow(&t->node->sched->clock, now, &t->end, &t->over)
                     < 0
                 ? failed(t, AVERROR_EXIT)
                 : 0;
    }

    for (int i = 0; rc == 0 && i < t->run->facts->ntexts; i++) {
        if (t->codecs[i]->codec->capabilities & AV_CODEC_CAP_DELAY) {
            rc = decode(t, i, flush);
        }
        if (rc == 0) {
            int n = avp_cues_end(&t->cues[i], llrint(t->end * 1e6));

            rc = n < 0 ? failed(t, n) : 0;
            if (t->cues[i].full) {
                t->run->warn(t->run, "a text track has more cues than are "
                                     "taken, and ends early");
            }
        }
    }

    av_packet_free(&flush);
    return rc;
}

static int
open_all(texts_t *t)
{
    uint32_t mask = 0;

    if (avp_demux_open(&t->demux, t->run->fd, t->run->job,
                       t->run->facts->no_header, &t->node->sched->stop,
                       t->fail)) {
        return -1;
    }

    for (int i = 0; i < t->run->facts->ntexts; i++) {
        const avp_track_t *track = &t->run->facts->texts[i];

        if ((unsigned)track->stream >= t->demux.ctx->nb_streams) {
            return avp_fail(t->fail, AVP_ERR_INVALID_MEDIA,
                            "the subtitles are gone");
        }
        mask |= UINT32_C(1) << track->stream;
        t->cues[i].out = t->node->out[i];
        t->codecs[i] = avp_decoder_open(t->run->job, track->par, track->tb, 1,
                                        t->fail);
        if (t->codecs[i] == NULL) {
            return -1;
        }
    }
    avp_demux_select_mask(&t->demux, mask);
    return 0;
}

int
avp_texts_node(void *node, avp_fail_t *fail)
{
    avp_texts_t *n = node;
    texts_t     *t = av_mallocz(sizeof(*t));
    double       origin;
    int          rc = -1;

    if (t == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "subtitles");
    }
    t->node = n;
    t->run = n->run;
    t->fail = fail;

    if (avp_clock_origin(&n->sched->clock, &origin) < 0) {
        failed(t, AVERROR_EXIT);
        goto done;
    }
    t->shift = llrint(-origin * 1e6);

    if (open_all(t) == 0 && read_all(t) == 0) {
        rc = finish(t);
    }

done:

    for (int i = 0; i < AVP_TEXTS_MAX; i++) {
        avcodec_free_context(&t->codecs[i]);
        avp_cues_free(&t->cues[i]);
    }
    avp_demux_close(&t->demux);
    av_free(t);
    return rc;
}
