/* See estimate.h. */

#include "workerd/media/estimate.h"

#include <libavutil/common.h>
#include <libavutil/pixdesc.h>

#define START_SECONDS 0.05      /* of CPU: loading, probing, pictures */
#define OUTPUT_SPARE (64 << 20) /* bytes beside the caps */
#define COPY_FRAME_US 30        /* CPU of a frame that is copied */
#define DECODE_BIT_NS 2.0       /* CPU of a bit, beside that of its pixels */

/* CPU nanoseconds a pixel, of the presets of `balanced`, and what small
 * pictures cost beside. */
static const struct {
    double ns, frame_us;
} costs[] = {
    [AVP_CODEC_H264] = { 11.5, 900 },
    [AVP_CODEC_VP9] = { 66.0, 2000 },
    [AVP_CODEC_AV1] = { 19.0, 2500 },
    [AVP_CODEC_HEVC] = { 30.0, 1500 },
};

/* Bytes of memory: of the process and its pictures; of an encode beside its
 * frames; of a demuxer, decoder and encoder of sound. */
#define BASE_MEMORY 100e6
#define ENCODE_MEMORY 30e6
#define SOUND_MEMORY 8e6

/* Frames of the source that wait: in its decoder (16 references, and some for
 * each thread), in queues. */
#define SOURCE_FRAMES 16
#define THREAD_FRAMES 3

/* Bytes a pixel. */
static const struct {
    double one, thread, ahead; /* with one thread, each more, each frame that
                                  is looked ahead */
} sizes[] = {
    [AVP_CODEC_H264] = { 26, 13, 3.4 },
    [AVP_CODEC_VP9] = { 110, 3, 0 },
    [AVP_CODEC_AV1] = { 100, 0, 2 },
    [AVP_CODEC_HEVC] = { 160, 8, 0 },
};
#define AV1_SLOW_SIZE 45 /* of presets under 6 */
#define HDR_SOURCE_SIZE 20 /* tone mapping is done in floats */
#define HDR_RUNG_SIZE 40

#define MEMORY_SPARE 1.1

static double
frames_of(const avp_plan_t *plan, const avp_probe_t *p)
{
    return p->sure && p->frames > 0 && p->rate.exact
               ? (double)p->frames
               : plan->bound * av_q2d(plan->rate);
}

static double
decode_ns(enum AVCodecID id)
{
    switch (id) {
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_PRORES:
        return 4.0;
    default:
        return 2.6;
    }
}

/* How many times the CPU of `balanced` an encoder takes: one run each, 2 s of
 * noise at 720p. */
static double
slowness(const avp_profile_t *how, avp_codec_t codec)
{
    static const double x264[] = { 1, 1.5, 1.9, 2.4, 5.1 };
    static const double x265[] = { 1, 1.05, 1.4, 1.5, 3.7 };
    static const double vp9[] = { 7.5, 3.5, 1.5, 1 };
    static const double vp9_realtime[] = { 20, 7, 5.6, 4.5, 0.45, 0.3, 0.2 };
    static const double av1[] = { 27, 12, 7.4, 4.2, 2.7, 1.2, 1, 0.7, 0.55 };

    switch (codec) {
    case AVP_CODEC_H264:
        return x264[av_clip(how->h264.preset, 0, FF_ARRAY_ELEMS(x264) - 1)];
    case AVP_CODEC_HEVC:
        return x265[av_clip(how->hevc.preset, 0, FF_ARRAY_ELEMS(x265) - 1)];
    case AVP_CODEC_AV1:
        return av1[av_clip(how->av1.preset - 4, 0, FF_ARRAY_ELEMS(av1) - 1)];
    default:
        return how->vp9_how.realtime
                   ? vp9_realtime[av_clip(how->vp9_how.cpu_used, 0,
                                          FF_ARRAY_ELEMS(vp9_realtime) - 1)]
                   : vp9[av_clip(how->vp9_how.cpu_used, 0,
                                 FF_ARRAY_ELEMS(vp9) - 1)];
    }
}

static double
pixels_of(const avp_rung_t *r)
{
    return (double)r->width * r->height;
}

double
avp_estimate_encode(const avp_plan_t *plan, const avp_probe_t *p,
                    const avp_job_t *job, const avp_encode_plan_t *e)
{
    double frames = frames_of(plan, p) / e->divide;

    if (e->copy) {
        return frames * COPY_FRAME_US * 1e-6;
    }
    return frames * slowness(&job->profile, e->codec)
           * (pixels_of(&e->rung) * costs[e->codec].ns * 1e-9
              + costs[e->codec].frame_us * 1e-6);
}

static double
encoder_memory(const avp_profile_t *how, const avp_encode_plan_t *e)
{
    double size = sizes[e->codec].one
                  + sizes[e->codec].thread * (e->threads - 1);
    int    ahead = e->codec == AVP_CODEC_H264  ? how->h264.lookahead
                   : e->codec == AVP_CODEC_AV1 ? how->av1.lookahead
                                               : 0;

    size += sizes[e->codec].ahead * ahead;
    if (e->codec == AVP_CODEC_AV1 && how->av1.preset < 6) {
        size += AV1_SLOW_SIZE;
    }
    return pixels_of(&e->rung) * size;
}

/* Bytes of a pixel as it is decoded. */
static double
source_size(const avp_probe_t *p)
{
    const AVPixFmtDescriptor *d
        = av_pix_fmt_desc_get((enum AVPixelFormat)p->vpar->format);

    return d ? (double)av_get_padded_bits_per_pixel(d) / 8 : 4;
}

/* The pass's encodes of one rung share its filters: its first is asked. */
static bool
first_of_rung(const avp_pass_t *pass, int k)
{
    for (int i = 0; i < k; i++) {
        if (pass->encodes[i].rung.spec == pass->encodes[k].rung.spec
            && !pass->encodes[i].copy)
        {
            return false;
        }
    }
    return true;
}

static double
pass_memory(const avp_pass_t *pass, const avp_probe_t *p,
            const avp_job_t *job)
{
    double source = (double)p->coded_width * p->coded_height;
    double memory = BASE_MEMORY
                    + SOUND_MEMORY * (pass->others + 2 * pass->surround);

    /* key frames are decoded even when all is copied */
    memory += source * source_size(p)
              * (SOURCE_FRAMES + THREAD_FRAMES * pass->decode_threads);
    if (p->hdr) {
        memory += source * HDR_SOURCE_SIZE;
    }

    for (int k = 0; k < pass->nencodes; k++) {
        const avp_encode_plan_t *e = &pass->encodes[k];

        memory += ENCODE_MEMORY;
        if (!e->copy) {
            memory += encoder_memory(&job->profile, e);
            if (p->hdr && first_of_rung(pass, k)) {
                memory += pixels_of(&e->rung) * HDR_RUNG_SIZE;
            }
        }
    }
    return memory * MEMORY_SPARE;
}

void
avp_estimate(avp_plan_t *plan, const avp_probe_t *p, const avp_job_t *job)
{
    double  source = (double)p->coded_width * p->coded_height;
    double  frames = frames_of(plan, p);
    double  seconds = frames / av_q2d(plan->rate);
    int64_t peak = 0;

    plan->cpu_seconds = START_SECONDS;

    for (int i = 0; i < plan->npasses; i++) {
        const avp_pass_t *pass = &plan->passes[i];

        plan->cpu_seconds += pass->decodes
                                 * (frames * source
                                        * decode_ns(p->vpar->codec_id)
                                    + (double)p->size * 8 * DECODE_BIT_NS)
                                 * 1e-9
                             + (pass->aac + pass->opus + pass->others
                                + 3 * pass->surround)
                                   * 0.04 * seconds;
        plan->output_rate += (pass->others * job->profile.audio.aac
                              + pass->surround * AVP_SURROUND_BITRATE)
                             / 8;

        for (int k = 0; k < pass->nencodes; k++) {
            const avp_encode_plan_t *e = &pass->encodes[k];
            int                      files = e->mp4 + e->hls + e->webm;

            plan->cpu_seconds += e->cost;
            if (!e->copy) { /* scaling */
                plan->cpu_seconds += frames * pixels_of(&e->rung) * 2e-9;
            }
            plan->output_rate += files * (e->cap + job->profile.audio.aac) / 8;
        }
        peak = FFMAX(peak, (int64_t)pass_memory(pass, p, job));
    }

    plan->output_rate += plan->output_rate / 4;
    plan->output_bytes = (int64_t)((double)plan->output_rate * seconds)
                         + OUTPUT_SPARE;
    plan->memory_bytes = peak;
}
