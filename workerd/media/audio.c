#include "workerd/media/nodes.h"

#include "workerd/media/compat.h"

#include <libavutil/audio_fifo.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>

#include <math.h>
#include <string.h>

#define AHEAD 2.0         /* seconds that sound may be before the video */
#define CHUNK 4800        /* samples of silence at a time: 0.1 s */
#define DRIFT_SMOOTH 0.015 /* s, lasting: put right */
#define DRIFT_HARD 0.060   /* s, at once: put right */
#define GAP_PAST_END 10.0  /* s of nothing after the video: not wanted */
#define CONVERT_MAX (1 << 20) /* samples that one frame may become */

/*
 * The output's sound is one run of samples from 0 on, 48 kHz stereo.  A
 * decoded frame says where it belongs; when that is off from where the run
 * is, silence is put in or samples are left out, here and not in a filter,
 * so that a gap of an hour is paced like an hour of sound and never held.
 */
typedef struct {
    avp_sound_t       *node;
    avp_run_t         *run;
    const avp_probe_t *facts;
    avp_fail_t        *fail;
    avp_demux_t        demux;
    AVCodecContext    *codec;
    AVPacket          *pkt;
    AVFrame           *frame;

    SwrContext        *swr;
    AVChannelLayout    layout; /* what swr was made for */
    int                rate, format;
    uint8_t           *buf[2]; /* converted samples */
    int                room;

    double             origin;
    bool               started;
    int64_t            pos;    /* samples put out */
    int64_t            skip;   /* to leave out of what comes */
    double             drift;  /* smoothed, s */
    double             shift;  /* of restarted clocks */
    double             last;   /* end of the last frame, output time */
    bool               over;   /* nothing more is wanted */
} sound_t;

static int
failed(sound_t *s, int rc, const char *what)
{
    return avp_fail_av(s->fail, rc, AVP_ERR_INVALID_MEDIA, what);
}

int
avp_voice_open(avp_voice_t *v, const avp_probe_t *facts, bool opus,
               avp_fail_t *fail)
{
    const AVCodec *codec =
        avcodec_find_encoder_by_name(opus ? "libopus" : "aac");
    int rc = codec ? AVERROR(ENOMEM) : AVERROR_ENCODER_NOT_FOUND;

    v->codec = codec ? avcodec_alloc_context3(codec) : NULL;
    v->par = avcodec_parameters_alloc();
    if (v->codec == NULL || v->par == NULL) {
        goto done;
    }

    v->codec->sample_fmt = opus ? AV_SAMPLE_FMT_FLT : AV_SAMPLE_FMT_FLTP;
    v->codec->sample_rate = AVP_AUDIO_RATE;
    v->codec->bit_rate = opus ? AVP_OPUS_BITRATE : AVP_AAC_BITRATE;
    v->codec->time_base = (AVRational){ 1, AVP_AUDIO_RATE };
    v->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    v->codec->thread_count = 1;
    av_channel_layout_default(&v->codec->ch_layout, 2);

    rc = avcodec_open2(v->codec, codec, NULL);
    if (rc < 0) {
        goto done;
    }

    rc = avcodec_parameters_from_context(v->par, v->codec);
    if (rc < 0) {
        goto done;
    }
    v->par->codec_tag = 0;

    v->fifo = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, 2, 2 * CHUNK);
    if (v->fifo == NULL) {
        rc = AVERROR(ENOMEM);
        goto done;
    }

    v->spec = (avp_stream_spec_t){ .par = v->par,
                                   .time_base = v->codec->time_base,
                                   .cap = v->codec->bit_rate,
                                   .bufsize = v->codec->bit_rate,
                                   .frame_rate = { 0, 1 } };
    memcpy(v->spec.language, facts->language, sizeof(v->spec.language));

done:

    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA,
                                "opening a sound encoder")
                  : 0;
}

/* --- samples to packets -------------------------------------------------- */

static int
drain(sound_t *s, avp_voice_t *v)
{
    int rc;

    while ((rc = avcodec_receive_packet(v->codec, s->pkt)) >= 0) {
        for (int i = 0; i < v->nsinks && rc >= 0; i++) {
            rc = avp_sink_write(&v->sinks[i], AVP_PKT_AUDIO, s->pkt);
        }
        av_packet_unref(s->pkt);
        if (rc < 0) {
            return rc;
        }
    }
    return rc == AVERROR(EAGAIN) || rc == AVERROR_EOF ? 0 : rc;
}

/* Planar to interleaved: libopus takes nothing else. */
static void
interleave(AVFrame *dst, const AVFrame *src)
{
    float       *out = (float *)(void *)dst->data[0];
    const float *l = (const float *)(const void *)src->data[0];
    const float *r = (const float *)(const void *)src->data[1];

    for (int i = 0; i < src->nb_samples; i++) {
        out[2 * i] = l[i];
        out[2 * i + 1] = r[i];
    }
}

static AVFrame *
new_frame(const avp_voice_t *v, enum AVSampleFormat format, int n)
{
    AVFrame *f = av_frame_alloc();

    if (f == NULL) {
        return NULL;
    }
    f->format = format;
    f->nb_samples = n;
    f->sample_rate = AVP_AUDIO_RATE;
    f->pts = v->next;
    if (av_channel_layout_copy(&f->ch_layout, &v->codec->ch_layout) < 0
        || av_frame_get_buffer(f, 0) < 0) {
        av_frame_free(&f);
    }
    return f;
}

/* Whole frames out of the fifo; at the end the rest too. */
static int
encode(sound_t *s, avp_voice_t *v, bool end)
{
    int size = v->codec->frame_size;

    for (;;) {
        int      have = av_audio_fifo_size(v->fifo), n = FFMIN(have, size);
        AVFrame *f, *packed = NULL;
        int      rc;

        if (have == 0 || (have < size && !end)) {
            return 0;
        }

        f = new_frame(v, AV_SAMPLE_FMT_FLTP, n);
        if (f == NULL) {
            return AVERROR(ENOMEM);
        }
        av_audio_fifo_read(v->fifo, (void **)f->data, n);

        if (v->codec->sample_fmt == AV_SAMPLE_FMT_FLT) {
            packed = new_frame(v, AV_SAMPLE_FMT_FLT, n);
            if (packed == NULL) {
                av_frame_free(&f);
                return AVERROR(ENOMEM);
            }
            interleave(packed, f);
        }
        v->next += n;

        rc = avcodec_send_frame(v->codec, packed ? packed : f);
        av_frame_free(&f);
        av_frame_free(&packed);
        if (rc >= 0) {
            rc = drain(s, v);
        }
        if (rc < 0) {
            return rc;
        }
    }
}

/* `n` samples to every encoder, no further ahead of the video than AHEAD. */
static int
emit(sound_t *s, uint8_t **samples, int n)
{
    avp_clock_t *clock = &s->node->sched->clock;
    int          rc;

    rc = avp_clock_wait(clock, (double)s->pos / AVP_AUDIO_RATE - AHEAD);

    for (int i = 0; rc >= 0 && i < s->node->nvoices; i++) {
        avp_voice_t *v = &s->node->voices[i];

        rc = av_audio_fifo_write(v->fifo, (void **)samples, n);
        if (rc >= 0) {
            rc = encode(s, v, false);
        }
    }

    s->pos += n;
    return rc < 0 ? avp_fail_av(s->fail, rc, AVP_ERR_STORAGE_ERROR,
                                "encoding and writing sound")
                  : 0;
}

static int
silence(sound_t *s, int64_t n)
{
    static const float zero[CHUNK];
    const void        *planes[2] = { zero, zero };

    while (n > 0) {
        int chunk = (int)FFMIN(n, CHUNK);

        if (emit(s, (uint8_t **)planes, chunk)) {
            return -1;
        }
        n -= chunk;
    }
    return 0;
}

/* --- frames to samples --------------------------------------------------- */

static int
set_resampler(sound_t *s, const AVFrame *f)
{
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO, in = { 0 };
    int             rc;

    if (s->swr && s->rate == f->sample_rate && s->format == f->format
        && av_channel_layout_compare(&s->layout, &f->ch_layout) == 0) {
        return 0;
    }

    swr_free(&s->swr);
    s->rate = f->sample_rate;
    s->format = f->format;
    rc = av_channel_layout_copy(&s->layout, &f->ch_layout);

    /* channels without names get the names their number suggests */
    if (rc >= 0) {
        if (f->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
            av_channel_layout_default(&in, f->ch_layout.nb_channels);
        } else {
            rc = av_channel_layout_copy(&in, &f->ch_layout);
        }
    }
    if (rc >= 0) {
        rc = swr_alloc_set_opts2(&s->swr, &stereo, AV_SAMPLE_FMT_FLTP,
                                 AVP_AUDIO_RATE, &in, f->format,
                                 f->sample_rate, 0, NULL);
    }
    if (rc >= 0) {
        rc = swr_init(s->swr);
    }
    av_channel_layout_uninit(&in);
    if (rc < 0) {
        swr_free(&s->swr);
    }
    return rc;
}

static int
make_room(sound_t *s, int n)
{
    if (n <= s->room) {
        return 0;
    }
    if (n > CONVERT_MAX) {
        return AVERROR_INVALIDDATA;
    }

    av_freep(&s->buf[0]);
    av_freep(&s->buf[1]);
    s->buf[0] = av_malloc(sizeof(float) * (size_t)n);
    s->buf[1] = av_malloc(sizeof(float) * (size_t)n);
    s->room = s->buf[0] && s->buf[1] ? n : 0;
    return s->room ? 0 : AVERROR(ENOMEM);
}

/* Converts (NULL: what the resampler still holds), leaves out what is to be
 * skipped, and hands the rest on. */
static int
convert(sound_t *s, const AVFrame *f)
{
    int      rc = make_room(s, swr_get_out_samples(s->swr, f ? f->nb_samples
                                                             : 0) + 32);
    int      n, skip;
    uint8_t *from[2];

    if (rc < 0) {
        return rc == AVERROR_INVALIDDATA ? 0 : failed(s, rc, "sound");
    }

    n = swr_convert(s->swr, s->buf, s->room,
                    f ? (const uint8_t **)f->extended_data : NULL,
                    f ? f->nb_samples : 0);
    if (n <= 0) {
        return 0; /* nothing yet, or a frame that cannot be used */
    }

    skip = (int)FFMIN(s->skip, n);
    s->skip -= skip;
    from[0] = s->buf[0] + sizeof(float) * (size_t)skip;
    from[1] = s->buf[1] + sizeof(float) * (size_t)skip;
    return n > skip ? emit(s, from, n - skip) : 0;
}

/* Puts the run of samples where a frame of output time `t` wants it. */
static int
align(sound_t *s, double t)
{
    double at = (double)(s->pos - s->skip) / AVP_AUDIO_RATE;
    double off;

    if (s->swr) {
        at += (double)swr_get_delay(s->swr, AVP_AUDIO_RATE) / AVP_AUDIO_RATE;
    }
    off = t - at;

    if (!s->started) {
        s->started = true; /* the first one exactly */
    } else {
        s->drift += (off - s->drift) / 16;
        if (fabs(off) < DRIFT_HARD && fabs(s->drift) < DRIFT_SMOOTH) {
            return 0;
        }
    }
    s->drift = 0;

    if (off < 0) {
        s->skip += llrint(-off * AVP_AUDIO_RATE);
        return 0;
    }

    if (s->node->sched->clock.ntracks > 0 && off > GAP_PAST_END) {
        double now;
        bool   end;

        /* does the video go on until there? */
        if (avp_clock_follow(&s->node->sched->clock, at + GAP_PAST_END, &now,
                             &end) < 0) {
            return failed(s, AVERROR_EXIT, "sound");
        }
        if (end && now <= at + GAP_PAST_END) {
            s->over = true;
            return 0;
        }
    }
    return silence(s, llrint(off * AVP_AUDIO_RATE));
}

static int
take_frame(sound_t *s, AVFrame *f)
{
    double t, length = (double)f->nb_samples / f->sample_rate;

    if (set_resampler(s, f) < 0) {
        return 0; /* a layout nobody can mix: silence stands for it */
    }

    if (f->best_effort_timestamp == AV_NOPTS_VALUE) {
        t = s->last;
    } else {
        t = (double)f->best_effort_timestamp * av_q2d(s->facts->atb)
            - s->origin + s->shift;
        if (s->started && t < s->last - 1.0) {
            s->shift += s->last - t; /* the clock was set back */
            t = s->last;
        }
    }
    s->last = t + length;

    if (s->last <= 0) {
        return 0; /* before the first picture */
    }
    if (align(s, t)) {
        return -1;
    }
    return s->over ? 0 : convert(s, f);
}

static int
decode(sound_t *s, const AVPacket *pkt)
{
    int rc = avcodec_send_packet(s->codec, pkt), bad = 0;

    if (rc == AVERROR(ENOMEM)) {
        return failed(s, rc, "decoding sound");
    }

    /* what does not decode is a gap, and gaps are filled */
    while (!s->over && bad < 1000) {
        rc = avcodec_receive_frame(s->codec, s->frame);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) {
            return 0;
        }
        if (rc == AVERROR(ENOMEM)) {
            return failed(s, rc, "decoding sound");
        }
        if (rc < 0) {
            bad++;
            continue;
        }

        rc = s->frame->sample_rate > 0 && s->frame->nb_samples > 0
                 ? take_frame(s, s->frame)
                 : 0;
        av_frame_unref(s->frame);
        if (rc) {
            return -1;
        }
    }
    return 0;
}

static int
read_all(sound_t *s)
{
    AVPacket *pkt = av_packet_alloc();
    int       rc = 0, bad = 0;

    if (pkt == NULL) {
        return failed(s, AVERROR(ENOMEM), "sound");
    }

    while (rc == 0 && !s->over) {
        rc = avp_demux_read(&s->demux, s->facts->audio, pkt);
        if (rc == AVERROR_EXIT) {
            failed(s, rc, "sound");
            break;
        }
        if (rc < 0 && s->demux.io_error) {
            avp_demux_unreadable(&s->demux, s->fail);
            break;
        }
        if (rc < 0) {
            rc = rc == AVERROR_EOF || ++bad > 100 ? 1 : 0;
            continue;
        }
        rc = decode(s, pkt);
        av_packet_unref(pkt);
    }

    av_packet_free(&pkt);
    return rc < 0 ? -1 : decode(s, NULL);
}

/* The tail of the resampler, then silence for as long as there are pictures:
 * a player that runs out of sound stops. */
static int
finish(sound_t *s)
{
    avp_clock_t *clock = &s->node->sched->clock;
    bool         end = false;
    int          rc = 0;

    if (s->swr && !s->over && convert(s, NULL)) {
        return -1;
    }

    while (!end) {
        double  now = 0;
        int64_t want;

        if (avp_clock_follow(clock, (double)s->pos / AVP_AUDIO_RATE, &now,
                             &end) < 0) {
            return failed(s, AVERROR_EXIT, "sound");
        }
        want = llrint(now * AVP_AUDIO_RATE);
        if (want > s->pos && silence(s, want - s->pos)) {
            return -1;
        }
    }

    for (int i = 0; rc >= 0 && i < s->node->nvoices; i++) {
        avp_voice_t *v = &s->node->voices[i];

        rc = encode(s, v, true);
        if (rc >= 0) {
            rc = avcodec_send_frame(v->codec, NULL);
        }
        if (rc >= 0) {
            rc = drain(s, v);
        }
        for (int k = 0; rc >= 0 && k < v->nsinks; k++) {
            rc = avp_sink_end(&v->sinks[k], AVP_PKT_AUDIO);
        }
    }
    return rc < 0 ? avp_fail_av(s->fail, rc, AVP_ERR_STORAGE_ERROR,
                                "encoding and writing sound")
                  : 0;
}

int
avp_sound_node(void *node, avp_fail_t *fail)
{
    avp_sound_t *n = node;
    sound_t     *s = av_mallocz(sizeof(*s));
    int          rc = -1;

    if (s == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "sound");
    }

    s->node = n;
    s->run = n->run;
    s->facts = n->run->facts;
    s->fail = fail;
    s->pkt = av_packet_alloc();
    s->frame = av_frame_alloc();

    if (s->pkt == NULL || s->frame == NULL
        || avp_clock_origin(&n->sched->clock, &s->origin) < 0) {
        failed(s, AVERROR(ENOMEM), "sound");
        goto done;
    }

    if (avp_demux_open(&s->demux, n->run->fd, n->run->job,
                       s->facts->no_header, &n->sched->stop, fail)) {
        goto done;
    }
    if ((unsigned)s->facts->audio >= s->demux.ctx->nb_streams) {
        avp_fail(fail, AVP_ERR_INVALID_MEDIA, "the sound stream is gone");
        goto done;
    }
    avp_demux_select(&s->demux, s->facts->audio);

    s->codec = avp_decoder_open(n->run->job, s->facts->apar, s->facts->atb, 1,
                                fail);
    if (s->codec == NULL) {
        goto done;
    }

    if (read_all(s) == 0) {
        rc = finish(s);
    }

done:

    swr_free(&s->swr);
    av_channel_layout_uninit(&s->layout);
    av_freep(&s->buf[0]);
    av_freep(&s->buf[1]);
    avcodec_free_context(&s->codec);
    avp_demux_close(&s->demux);
    av_packet_free(&s->pkt);
    av_frame_free(&s->frame);
    av_free(s);
    return rc;
}

void
avp_sound_free(avp_sound_t *s)
{
    for (int i = 0; i < s->nvoices; i++) {
        avcodec_free_context(&s->voices[i].codec);
        avcodec_parameters_free(&s->voices[i].par);
        if (s->voices[i].fifo) {
            av_audio_fifo_free(s->voices[i].fifo);
        }
    }
}
