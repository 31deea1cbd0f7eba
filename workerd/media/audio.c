#include "workerd/media/nodes.h"

#include "workerd/media/mix.h"

#include <math.h>

#define AHEAD 2.0         /* seconds that sound may be before the video */
#define CHUNK 4800        /* samples of silence at a time: 0.1 s */
#define DRIFT_SMOOTH 0.015 /* s, lasting: put right */
#define DRIFT_HARD 0.060   /* s, at once: put right */
#define GAP_PAST_END 10.0  /* s of nothing after the video: not wanted */

/*
 * The output's sound is one run of samples from 0 on, 48 kHz.  A
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
    AVFrame           *frame;

    avp_mixer_t        mixer;

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

/* `n` samples to every encoder, no further ahead of the video than AHEAD. */
static int
emit(sound_t *s, float *const *samples, int from, int n)
{
    avp_clock_t *clock = &s->node->sched->clock;
    float       *planes[AVP_CHANNELS_MAX] = { NULL };
    int          rc;

    rc = avp_clock_wait(clock, (double)s->pos / AVP_AUDIO_RATE - AHEAD);

    for (int c = 0; c < s->node->channels; c++) {
        planes[c] = samples[c] + from;
    }
    for (int i = 0; rc >= 0 && i < s->node->nvoices; i++) {
        rc = avp_voice_write(&s->node->voices[i], planes, n);
    }

    s->pos += n;
    return rc < 0 ? avp_fail_av(s->fail, rc, AVP_ERR_STORAGE_ERROR,
                                "encoding and writing sound")
                  : 0;
}

static int
silence(sound_t *s, int64_t n)
{
    static float zero[CHUNK]; /* read only, for all nodes */
    float *const planes[AVP_CHANNELS_MAX] = { zero, zero, zero,
                                              zero, zero, zero };

    while (n > 0) {
        int chunk = (int)FFMIN(n, CHUNK);

        if (emit(s, planes, 0, chunk)) {
            return -1;
        }
        n -= chunk;
    }
    return 0;
}

/* --- frames to samples --------------------------------------------------- */

/* Mixes (NULL: what the mixer still holds), leaves out what is to be skipped,
 * and hands the rest on. */
static int
convert(sound_t *s, const AVFrame *f)
{
    float *const *samples;
    int           n = avp_mixer_run(&s->mixer, f, &samples), skip;

    if (n < 0) {
        return n == AVERROR_INVALIDDATA ? 0 : failed(s, n, "sound");
    }

    skip = (int)FFMIN(s->skip, n);
    s->skip -= skip;
    return n > skip ? emit(s, samples, skip, n - skip) : 0;
}

/* Puts the run of samples where a frame of output time `t` wants it. */
static int
align(sound_t *s, double t)
{
    double at = (double)(s->pos - s->skip) / AVP_AUDIO_RATE;
    double off;

    at += (double)avp_mixer_delay(&s->mixer) / AVP_AUDIO_RATE;
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

    if (!avp_mixer_fits(&s->mixer, f)) {
        if (s->mixer.swr && !s->over && convert(s, NULL)) {
            return -1;
        }
        if (avp_mixer_setup(&s->mixer, f) < 0) {
            return 0; /* nobody can mix that: silence stands for it */
        }
    }

    if (f->best_effort_timestamp == AV_NOPTS_VALUE) {
        t = s->last;
    } else {
        t = (double)f->best_effort_timestamp * av_q2d(s->node->track->tb)
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
        rc = avp_demux_read(&s->demux, s->node->track->stream, pkt);
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

    if (!s->over && convert(s, NULL)) {
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
        rc = avp_voice_end(&s->node->voices[i]);
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
    s->frame = av_frame_alloc();

    avp_mixer_init(&s->mixer, n->channels);

    if (s->frame == NULL
        || avp_clock_origin(&n->sched->clock, &s->origin) < 0) {
        failed(s, AVERROR(ENOMEM), "sound");
        goto done;
    }

    if (avp_demux_open(&s->demux, n->run->fd, n->run->job,
                       s->facts->no_header, &n->sched->stop, fail)) {
        goto done;
    }
    if ((unsigned)s->node->track->stream >= s->demux.ctx->nb_streams) {
        avp_fail(fail, AVP_ERR_INVALID_MEDIA, "the sound stream is gone");
        goto done;
    }
    avp_demux_select(&s->demux, s->node->track->stream);

    s->codec = avp_decoder_open(n->run->job, s->node->track->par, s->node->track->tb, 1,
                                fail);
    if (s->codec == NULL) {
        goto done;
    }

    if (read_all(s) == 0) {
        rc = finish(s);
    }

done:

    avp_clock_unheard(&n->sched->clock);
    avp_mixer_free(&s->mixer);
    avcodec_free_context(&s->codec);
    avp_demux_close(&s->demux);
    av_frame_free(&s->frame);
    av_free(s);
    return rc;
}

void
avp_sound_free(avp_sound_t *s)
{
    for (int i = 0; i < s->nvoices; i++) {
        avp_voice_free(&s->voices[i]);
    }
}
