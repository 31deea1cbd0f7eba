#include "workerd/media/nodes.h"

#include "workerd/media/compat.h"

#include <libavutil/cpu.h>
#include <libavutil/opt.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

int
avp_sink_write(avp_sink_t *s, int which, const AVPacket *pkt)
{
    return s->file ? avp_packager_write(s->file, which, pkt)
                   : avp_hls_write(s->hls, pkt);
}

int
avp_sink_end(avp_sink_t *s, int which)
{
    return s->file ? avp_packager_end(s->file, which) : avp_hls_end(s->hls);
}

/* Frames from one key frame to the next, at most.  The grid of key frames is
 * that of the plan's slowest rungs, so that all have theirs at the same
 * times. */
static int
gop_frames(const avp_encoder_t *e, double seconds)
{
    const avp_plan_t *plan = e->run->plan;
    double            steps = ceil(seconds * av_q2d(plan->rate)
                                   / plan->key_step);

    return (int)fmax(steps, 1) * (plan->key_step / e->plan->divide);
}

static void
set_caps(avp_encoder_t *e)
{
    e->codec->rc_max_rate = e->plan->cap;
    e->codec->rc_buffer_size = (int)FFMIN(e->plan->bufsize, INT32_MAX);
}

/* x264's propagation of costs reads memory that nobody wrote when it is done
 * by AVX-512 and a row's macroblocks do not fill its vectors, as those of 854
 * pixels: the same pictures gave other bytes by chance (core 164, plain ffmpeg
 * too).  Its AVX2 code does not, and is no slower. */
static const char *
x264_params(void)
{
#ifdef __x86_64__
    if (av_get_cpu_flags() & AV_CPU_FLAG_AVX512) {
        return "scenecut=0:open-gop=0:asm=avx2,bmi2";
    }
#endif
    return "scenecut=0:open-gop=0";
}

/* Key frames come by picture type on the grid of time, nowhere else: no
 * scene cuts, no open GOPs, and a keyint that never strikes first. */
static void
set_x264(avp_encoder_t *e, const avp_profile_t *how, AVDictionary **opts)
{
    set_caps(e);
    e->codec->gop_size = gop_frames(e, e->run->plan->gop) + 1;
    av_dict_set(opts, "preset", avp_x264_preset(how->h264.preset), 0);
    av_dict_set(opts, "profile", "high", 0);
    av_dict_set_int(opts, "crf", e->plan->crf, 0);
    av_dict_set_int(opts, "rc-lookahead", how->h264.lookahead, 0);
    av_dict_set(opts, "forced-idr", "1", 0);
    av_dict_set(opts, "a53cc", "0", 0);
    av_dict_set(opts, "x264-params", x264_params(), 0);
}

/* The same for x265.  One frame at a time, rows in parallel, and const-vbv:
 * so that the bits do not depend on how threads fall. */
static void
set_x265(avp_encoder_t *e, const avp_profile_t *how, AVDictionary **opts)
{
    char params[160];

    set_caps(e);
    e->codec->gop_size = gop_frames(e, e->run->plan->gop) + 1;
    snprintf(params, sizeof(params),
             "log-level=none:scenecut=0:open-gop=0:repeat-headers=0:info=0:"
             "const-vbv=1:frame-threads=1:pools=%d:min-keyint=1",
             e->plan->threads);
    av_dict_set(opts, "preset", avp_x264_preset(how->hevc.preset), 0);
    av_dict_set(opts, "profile", "main", 0);
    av_dict_set_int(opts, "crf", e->plan->crf, 0);
    av_dict_set(opts, "forced-idr", "1", 0);
    av_dict_set(opts, "x265-params", params, 0);
}

/* The encoder ignores wishes for key frames: its own period makes the grid. */
static void
set_svtav1(avp_encoder_t *e, const avp_profile_t *how, AVDictionary **opts)
{
    char params[64];

    set_caps(e);
    e->codec->gop_size = gop_frames(e, how->av1.gop);
    snprintf(params, sizeof(params), "lp=%d:lookahead=%d", e->plan->threads,
             how->av1.lookahead);
    av_dict_set_int(opts, "preset", how->av1.preset, 0);
    av_dict_set_int(opts, "crf", e->plan->crf, 0);
    av_dict_set(opts, "svtav1-params", params, 0);
}

static void
set_vp9(avp_encoder_t *e, const avp_profile_t *how, AVDictionary **opts)
{
    AVCodecContext *c = e->codec;

    set_caps(e);
    c->gop_size = gop_frames(e, how->vp9_how.gop) + 1;
    c->bit_rate = e->plan->cap; /* with a crf: the most it may take */
    c->rc_max_rate = e->plan->cap * 3 / 2;
    av_dict_set(opts, "deadline", how->vp9_how.realtime ? "realtime" : "good",
                0);
    av_dict_set_int(opts, "cpu-used", how->vp9_how.cpu_used, 0);
    av_dict_set_int(opts, "crf", e->plan->crf, 0);
    av_dict_set(opts, "row-mt", e->plan->threads > 1 ? "1" : "0", 0);
}

static void
set_picture(AVCodecContext *c, const avp_encode_plan_t *plan)
{
    AVRational rate = plan->rate;

    c->width = plan->rung.width;
    c->height = plan->rung.height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->sample_aspect_ratio = (AVRational){ 1, 1 };
    c->time_base = av_inv_q(rate);
    c->framerate = rate;
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    c->thread_count = plan->threads;
}

static const char *const names[] = {
    [AVP_CODEC_H264] = "libx264",
    [AVP_CODEC_VP9] = "libvpx-vp9",
    [AVP_CODEC_AV1] = "libsvtav1",
    [AVP_CODEC_HEVC] = "libx265",
};

int
avp_encoder_open(avp_encoder_t *e, avp_fail_t *fail)
{
    const avp_profile_t *how = &e->run->job->profile;

    AVDictionary  *opts = NULL;
    const AVCodec *codec = avcodec_find_encoder_by_name(names[e->plan->codec]);
    int            rc = AVERROR(ENOMEM);

    if (codec == NULL) {
        return avp_fail(fail, AVP_ERR_STORAGE_ERROR,
                        "this libavcodec has no encoder %s",
                        names[e->plan->codec]);
    }

    e->codec = avcodec_alloc_context3(codec);
    e->par = avcodec_parameters_alloc();
    if (e->codec == NULL || e->par == NULL) {
        goto done;
    }

    switch (e->plan->codec) {
    case AVP_CODEC_AV1:
        set_svtav1(e, how, &opts);
        break;
    case AVP_CODEC_VP9:
        set_vp9(e, how, &opts);
        break;
    case AVP_CODEC_HEVC:
        set_x265(e, how, &opts);
        break;
    case AVP_CODEC_H264:
        set_x264(e, how, &opts);
        break;
    }
    set_picture(e->codec, e->plan);

    rc = avcodec_open2(e->codec, codec, &opts);
    if (rc >= 0) {
        rc = avcodec_parameters_from_context(e->par, e->codec);
    }

    e->par->codec_tag = 0;
    e->spec = (avp_stream_spec_t){ .par = e->par,
                                   .time_base = e->codec->time_base,
                                   .frame_rate = e->plan->rate,
                                   .cap = e->plan->cap,
                                   .bufsize = e->plan->bufsize };

done:

    av_dict_free(&opts);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA,
                                "opening a video encoder")
                  : 0;
}

/* Every packet that is ready, to every packager. */
static int
drain(avp_encoder_t *e, AVPacket *pkt)
{
    double slot = av_q2d(e->codec->time_base);
    int    rc;

    while ((rc = avcodec_receive_packet(e->codec, pkt)) >= 0) {
        if (pkt->duration == 0) {
            pkt->duration = 1;
        }

        for (int i = 0; i < e->nsinks; i++) {
            rc = avp_sink_write(&e->sinks[i], AVP_PKT_VIDEO, pkt);
            if (rc < 0) {
                av_packet_unref(pkt);
                return rc;
            }
        }

        avp_clock_written(&e->sched->clock, e->track, (double)pkt->dts * slot);
        avp_progress_step(e->run->progress, e->item, (double)pkt->pts * slot);
        av_packet_unref(pkt);

        if (avp_sched_stopped(e->sched)) {
            return AVERROR_EXIT;
        }
    }

    return rc == AVERROR(EAGAIN) || rc == AVERROR_EOF ? 0 : rc;
}

/* Whether frame n of this rung is one: the plan's frame of that time is on
 * the grid of all rungs. */
static bool
is_copied_key(const avp_plan_t *plan, int64_t n)
{
    int low = 0, high = plan->nkeys;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (plan->keys[middle] == n) {
            return true;
        }
        if (plan->keys[middle] < n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static bool
is_key(const avp_encoder_t *e, int64_t n)
{
    const avp_plan_t *plan = e->run->plan;
    int64_t           at = n * e->plan->divide;
    int               gop = e->plan->codec == AVP_CODEC_VP9
                                ? e->run->job->profile.vp9_how.gop
                                : AVP_GOP_HLS;

    if (plan->keys && e->plan->hls) {
        return is_copied_key(plan, at);
    }
    if (e->plan->codec == AVP_CODEC_AV1 || at % plan->key_step != 0) {
        return false;
    }
    return avp_grid_is_key(av_div_q(plan->rate, av_make_q(plan->key_step, 1)),
                           at / plan->key_step, gop);
}

int
avp_encoder_node(void *node, avp_fail_t *fail)
{
    avp_encoder_t *e = node;
    AVPacket      *pkt = av_packet_alloc();
    AVFrame       *f = NULL;
    int            rc = AVERROR(ENOMEM);

    while (pkt && (rc = avp_queue_get(e->in, &f)) > 0) {
        /* what the source's encoder made of it is not our business */
        f->pict_type = is_key(e, f->pts) ? AV_PICTURE_TYPE_I
                                         : AV_PICTURE_TYPE_NONE;
        avp_frame_set_duration(f, 1);

        rc = avcodec_send_frame(e->codec, f);
        e->begun = true;
        av_frame_free(&f);
        if (rc >= 0) {
            rc = drain(e, pkt);
        }
        if (rc < 0) {
            break;
        }
    }

    if (rc == 0) {
        rc = avcodec_send_frame(e->codec, NULL);
        e->flushed = true;
        if (rc >= 0) {
            rc = drain(e, pkt);
        }
    }
    for (int i = 0; rc == 0 && i < e->nsinks; i++) {
        rc = avp_sink_end(&e->sinks[i], AVP_PKT_VIDEO);
    }

    avp_clock_ended(&e->sched->clock, e->track);
    avp_progress_item_done(e->run->progress, e->item);
    av_packet_free(&pkt);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "encoding and writing video")
                  : 0;
}

/* SVT-AV1 (1.4 at least) never comes back from being closed when it was not
 * given a frame: a pass that failed early gives it one. */
static void
close_svtav1(avp_encoder_t *e)
{
    AVFrame  *f = av_frame_alloc();
    AVPacket *pkt = av_packet_alloc();

    if (f == NULL || pkt == NULL) {
        goto done;
    }

    if (!e->begun) {
        f->format = e->codec->pix_fmt;
        f->width = e->codec->width;
        f->height = e->codec->height;
        if (av_frame_get_buffer(f, 0) < 0) {
            goto done;
        }
        for (int i = 0; i < 3; i++) {
            memset(f->data[i], 128,
                   (size_t)f->linesize[i] * (size_t)(f->height >> (i > 0)));
        }
        f->pts = 0;
        avcodec_send_frame(e->codec, f);
    }

    if (avcodec_send_frame(e->codec, NULL) >= 0) {
        while (avcodec_receive_packet(e->codec, pkt) >= 0) {
            av_packet_unref(pkt);
        }
    }

done:

    av_frame_free(&f);
    av_packet_free(&pkt);
}

void
avp_encoder_free(avp_encoder_t *e)
{
    if (e->codec && avcodec_is_open(e->codec) && !e->flushed
        && e->plan->codec == AVP_CODEC_AV1) {
        close_svtav1(e);
    }
    avcodec_free_context(&e->codec);
    avcodec_parameters_free(&e->par);
}
