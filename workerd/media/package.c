/*
 * Packagers of one file: a queue per track in front of a libavformat muxer.
 *
 * Audio and video come from different threads at different speeds.  The
 * packager puts their packets in order of decoding time by itself, with
 * av_write_frame(): libavformat's own interleaver gives up after 10 s, or
 * without a limit keeps everything once a track has ended.  A packet waits
 * until the other track has one too, or has ended, or its own queue is full;
 * then it is written out of order, which costs a player a seek and not us our
 * memory.
 */

#include "workerd/media/package_file.h"
#include "workerd/media/codec_string.h"
#include "workerd/media/out.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

#include <pthread.h>
#include <stdio.h>

#define QUEUE_MAX_BYTES (16 * 1024 * 1024)

typedef struct queued_s queued_t;

struct queued_s {
    queued_t *next;
    AVPacket *pkt;
};

typedef struct {
    avp_stream_spec_t spec;
    AVStream         *st; /* NULL: no such track */
    queued_t         *head, *tail;
    int64_t           bytes;
    int64_t           shift; /* added to time stamps, in the spec's base */
    int               ended;
} track_t;

struct avp_packager_s {
    const avp_file_format_t *format;
    avp_out_t               *out;
    AVFormatContext         *ctx;
    pthread_mutex_t          lock; /* of everything below */
    track_t                  tracks[2];
    int64_t                  end_us; /* of the video */
    int                      error;  /* sticky */
    char                     quality[8];
    char                     path[64];
};

/* --- what all packagers need of a stream ------------------------------- */

int
avp_stream_codec(char *dst, const avp_stream_spec_t *spec)
{
    const AVCodecParameters  *par = spec->par;
    const AVPixFmtDescriptor *desc;
    int                       profile;

    dst[0] = '\0';
    switch (par->codec_id) {
    case AV_CODEC_ID_H264:
        return avp_codec_string_h264(dst, par->extradata,
                                     (size_t)par->extradata_size)
                   ? AVERROR_INVALIDDATA
                   : 0;
    case AV_CODEC_ID_HEVC:
        return avp_codec_string_hevc(dst, par->extradata,
                                     (size_t)par->extradata_size)
                   ? AVERROR_INVALIDDATA
                   : 0;
    case AV_CODEC_ID_AAC:
        return avp_codec_string_aac(dst, par->extradata,
                                    (size_t)par->extradata_size)
                   ? AVERROR_INVALIDDATA
                   : 0;
    case AV_CODEC_ID_AV1:
        return avp_codec_string_av1(dst, par->extradata,
                                    (size_t)par->extradata_size)
                   ? AVERROR_INVALIDDATA
                   : 0;
    case AV_CODEC_ID_VP9:
        desc = av_pix_fmt_desc_get(par->format);
        profile = par->profile >= 0 ? par->profile : 0;
        return avp_codec_string_vp9(dst, profile, desc ? desc->comp[0].depth : 8,
                                    par->width, par->height,
                                    av_q2d(spec->frame_rate))
                   ? AVERROR_INVALIDDATA
                   : 0;
    case AV_CODEC_ID_OPUS:
        av_strlcpy(dst, "opus", AVP_CODEC_STRING_MAX);
        return 0;
    default:
        return AVERROR(ENOSYS);
    }
}

int
avp_stream_spec_copy(avp_stream_spec_t *dst, const avp_stream_spec_t *src)
{
    AVCodecParameters *par = avcodec_parameters_alloc();
    int                ret;

    if (par == NULL) {
        return AVERROR(ENOMEM);
    }
    ret = avcodec_parameters_copy(par, src->par);
    if (ret < 0) {
        avcodec_parameters_free(&par);
        return ret;
    }
    /* A tag of one container means nothing in another. */
    par->codec_tag = 0;
    *dst = *src;
    dst->par = par;
    dst->key_us = NULL; /* the caller's */
    dst->nkeys = 0;
    if (dst->frame_rate.num <= 0 || dst->frame_rate.den <= 0) {
        dst->frame_rate = (AVRational){ 0, 1 };
    }
    return 0;
}

void
avp_stream_spec_free(avp_stream_spec_t *spec)
{
    AVCodecParameters *par = (AVCodecParameters *)spec->par;

    avcodec_parameters_free(&par);
    spec->par = NULL;
}

int
avp_stream_add(AVFormatContext *ctx, const avp_stream_spec_t *spec,
               AVStream **pst)
{
    AVStream *st = avformat_new_stream(ctx, NULL);
    int       ret;

    if (st == NULL) {
        return AVERROR(ENOMEM);
    }
    ret = avcodec_parameters_copy(st->codecpar, spec->par);
    if (ret < 0) {
        return ret;
    }
    if (spec->par->codec_id == AV_CODEC_ID_HEVC) {
        /* parameter sets in the head only (Apple 1.10); hev1 is the default */
        st->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1');
    }
    st->time_base = spec->time_base;
    if (spec->par->codec_type == AVMEDIA_TYPE_VIDEO) {
        st->avg_frame_rate = spec->frame_rate;
        st->sample_aspect_ratio = spec->par->sample_aspect_ratio;
    }
    st->disposition = AV_DISPOSITION_DEFAULT;
    if (spec->language[0] != '\0') {
        ret = av_dict_set(&st->metadata, "language", spec->language, 0);
    }
    *pst = st;
    return ret < 0 ? ret : 0;
}

int64_t
avp_packet_duration(const avp_stream_spec_t *spec, const AVPacket *pkt)
{
    if (pkt->duration > 0) {
        return pkt->duration;
    }
    if (spec->frame_rate.num > 0) {
        return av_rescale_q(1, av_inv_q(spec->frame_rate), spec->time_base);
    }
    if (spec->par->frame_size > 0 && spec->par->sample_rate > 0) {
        return av_rescale_q(spec->par->frame_size,
                            (AVRational){ 1, spec->par->sample_rate },
                            spec->time_base);
    }
    return 0;
}

/* --- queues ------------------------------------------------------------- */

static int
queue_put(track_t *t, const AVPacket *pkt)
{
    queued_t *q = av_mallocz(sizeof(*q));

    if (q == NULL) {
        return AVERROR(ENOMEM);
    }
    q->pkt = av_packet_clone(pkt);
    if (q->pkt == NULL) {
        av_free(q);
        return AVERROR(ENOMEM);
    }
    q->pkt->duration = avp_packet_duration(&t->spec, pkt);
    if (t->tail != NULL) {
        t->tail->next = q;
    } else {
        t->head = q;
    }
    t->tail = q;
    t->bytes += pkt->size;
    return 0;
}

static AVPacket *
queue_get(track_t *t)
{
    queued_t *q = t->head;
    AVPacket *pkt = q->pkt;

    t->head = q->next;
    if (t->head == NULL) {
        t->tail = NULL;
    }
    t->bytes -= pkt->size;
    av_free(q);
    return pkt;
}

/* The track whose packet goes next; NULL when that cannot be known yet. */
static track_t *
next_track(avp_packager_t *p)
{
    track_t *v = &p->tracks[AVP_PKT_VIDEO], *a = &p->tracks[AVP_PKT_AUDIO];

    if (v->head != NULL && a->head != NULL) {
        return av_compare_ts(a->head->pkt->dts, a->spec.time_base,
                             v->head->pkt->dts, v->spec.time_base) < 0
                   ? a
                   : v;
    }
    if (v->head != NULL && (a->ended || v->bytes > QUEUE_MAX_BYTES)) {
        return v;
    }
    if (a->head != NULL && (v->ended || a->bytes > QUEUE_MAX_BYTES)) {
        return a;
    }
    return NULL;
}

static int
write_ready(avp_packager_t *p)
{
    track_t *t;

    while (p->error == 0 && (t = next_track(p)) != NULL) {
        AVPacket *pkt = queue_get(t);
        int       ret;

        pkt->stream_index = t->st->index;
        pkt->pts += t->shift;
        pkt->dts += t->shift;
        av_packet_rescale_ts(pkt, t->spec.time_base, t->st->time_base);
        ret = av_write_frame(p->ctx, pkt);
        av_packet_free(&pkt);
        if (ret >= 0 && p->ctx->pb->error < 0) {
            ret = p->ctx->pb->error;
        }
        if (ret < 0) {
            p->error = ret;
        }
    }
    return p->error;
}

/* --- the packager ------------------------------------------------------- */

static int
file_start(avp_packager_t *p, const avp_stream_spec_t *video,
           const avp_stream_spec_t *audio)
{
    const avp_stream_spec_t *specs[2] = { video, audio };
    AVDictionary            *options = NULL;
    int                      ret;

    ret = avformat_alloc_output_context2(&p->ctx, NULL, p->format->muxer, NULL);
    if (ret < 0) {
        return ret;
    }
    /* under its own name only once it is whole: the prefix is known to players
     * of a live encode, and what they fetch is cached for ever */
    p->ctx->url = av_asprintf("%s.tmp", p->path);
    if (p->ctx->url == NULL) {
        return AVERROR(ENOMEM);
    }
    avp_out_attach(p->out, p->ctx);
    /* No name and version of the muxer, no random ids: same in, same out. */
    p->ctx->flags |= AVFMT_FLAG_BITEXACT;

    for (int i = 0; i < 2; i++) {
        track_t *t = &p->tracks[i];

        if (specs[i] == NULL) {
            t->ended = 1;
            continue;
        }
        ret = avp_stream_spec_copy(&t->spec, specs[i]);
        if (ret < 0) {
            return ret;
        }
        ret = avp_stream_add(p->ctx, &t->spec, &t->st);
        if (ret < 0) {
            return ret;
        }
        if (p->format->delay_audio && i == AVP_PKT_AUDIO) {
            t->shift = av_rescale_q(t->spec.par->initial_padding,
                                    (AVRational){ 1, t->spec.par->sample_rate },
                                    t->spec.time_base);
        }
    }

    ret = av_dict_parse_string(&options, p->format->options, "=", ":", 0);
    if (ret >= 0) {
        ret = avp_out_create(p->out, &p->ctx->pb, p->ctx->url);
    }
    if (ret >= 0) {
        ret = avformat_write_header(p->ctx, &options);
    }
    if (ret >= 0 && av_dict_count(options) != 0) {
        ret = AVERROR_OPTION_NOT_FOUND; /* this libavformat lacks one */
    }
    av_dict_free(&options);
    return ret < 0 ? ret : 0;
}

int
avp_file_open(avp_packager_t **pp, avp_out_t *out,
              const avp_file_format_t *format, const char *quality,
              const avp_stream_spec_t *video, const avp_stream_spec_t *audio)
{
    avp_packager_t *p = av_mallocz(sizeof(*p));
    int             ret;

    *pp = NULL;
    if (p == NULL) {
        return AVERROR(ENOMEM);
    }
    pthread_mutex_init(&p->lock, NULL);
    p->format = format;
    p->out = out;
    av_strlcpy(p->quality, quality, sizeof(p->quality));
    snprintf(p->path, sizeof(p->path), "%s/%s.%s", format->name, p->quality,
             format->name);
    ret = file_start(p, video, audio);
    if (ret < 0) {
        avp_packager_free(p);
        return ret;
    }
    *pp = p;
    return 0;
}

int
avp_packager_write(avp_packager_t *p, int which, const AVPacket *pkt)
{
    track_t *t = &p->tracks[which];
    int      ret;

    if (t->st == NULL || pkt->pts == AV_NOPTS_VALUE ||
        pkt->dts == AV_NOPTS_VALUE) {
        return AVERROR(EINVAL);
    }
    pthread_mutex_lock(&p->lock);
    ret = p->error != 0 ? p->error : queue_put(t, pkt);
    if (ret == 0) {
        int64_t end = av_rescale_q(pkt->pts + t->tail->pkt->duration,
                                   t->spec.time_base, AV_TIME_BASE_Q);

        if (which == AVP_PKT_VIDEO && end > p->end_us) {
            p->end_us = end;
        }
        ret = write_ready(p);
    }
    pthread_mutex_unlock(&p->lock);
    return ret;
}

int
avp_packager_end(avp_packager_t *p, int which)
{
    int ret;

    pthread_mutex_lock(&p->lock);
    p->tracks[which].ended = 1;
    ret = write_ready(p);
    pthread_mutex_unlock(&p->lock);
    return ret;
}

static int
fill_rendition(avp_packager_t *p, avp_rendition_t *r)
{
    const track_t *v = &p->tracks[AVP_PKT_VIDEO];
    const track_t *a = &p->tracks[AVP_PKT_AUDIO];
    char           video[AVP_CODEC_STRING_MAX], audio[AVP_CODEC_STRING_MAX];
    int            ret;

    memset(r, 0, sizeof(*r));
    ret = avp_stream_codec(video, &v->spec);
    if (ret == 0 && a->st != NULL) {
        ret = avp_stream_codec(audio, &a->spec);
    }
    if (ret < 0) {
        return ret;
    }
    r->size = avp_out_size(p->out, p->path);
    if (r->size < 0) {
        return (int)r->size;
    }
    av_strlcpy(r->format, p->format->name, sizeof(r->format));
    av_strlcpy(r->quality, p->quality, sizeof(r->quality));
    av_strlcpy(r->path, p->path, sizeof(r->path));
    snprintf(r->codec, sizeof(r->codec), "%s%s%s", video,
             a->st != NULL ? "," : "", a->st != NULL ? audio : "");
    snprintf(r->mime, sizeof(r->mime), "%s; codecs=\"%s\"", p->format->mime,
             r->codec);
    r->duration = (double)p->end_us / AV_TIME_BASE;
    r->bitrate = r->duration > 0 ? (int64_t)((double)r->size * 8 / r->duration)
                                 : 0;
    r->width = v->spec.par->width;
    r->height = v->spec.par->height;
    return 0;
}

int
avp_packager_finish(avp_packager_t *p, avp_rendition_t *r)
{
    int ret;

    pthread_mutex_lock(&p->lock);
    p->tracks[AVP_PKT_VIDEO].ended = 1;
    p->tracks[AVP_PKT_AUDIO].ended = 1;
    ret = write_ready(p);
    if (ret == 0) {
        ret = av_write_trailer(p->ctx);
    }
    if (ret >= 0) {
        ret = avp_out_publish(p->out, &p->ctx->pb, p->path);
    }
    if (ret == 0) {
        ret = avp_out_fsync(p->out, p->path);
    }
    if (ret == 0) {
        ret = fill_rendition(p, r);
    }
    if (ret < 0) {
        p->error = ret;
    }
    pthread_mutex_unlock(&p->lock);
    return ret < 0 ? ret : 0;
}

void
avp_packager_free(avp_packager_t *p)
{
    if (p == NULL) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        track_t *t = &p->tracks[i];

        while (t->head != NULL) {
            AVPacket *pkt = queue_get(t);

            av_packet_free(&pkt);
        }
        avp_stream_spec_free(&t->spec);
    }
    if (p->ctx != NULL) {
        avp_out_abandon(p->out, &p->ctx->pb);
        avformat_free_context(p->ctx);
    }
    pthread_mutex_destroy(&p->lock);
    av_free(p);
}
