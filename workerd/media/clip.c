/*
 * workerd clip OUT.mp4: a flash-and-beep clip.
 *
 * A moving picture; half a second into every second one frame is white, and
 * with it begins a beep of 1 kHz.  Whoever decodes a rendition of it can
 * measure how far sound and picture are apart.  A person's tool: runs in the
 * caller's process, one thread, any path.
 */

#include "workerd/commands.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/parseutils.h>

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLE_RATE 48000
#define BEEP_SAMPLES (SAMPLE_RATE / 16)
#define BEEP_HZ 1000

typedef struct {
    AVCodecContext *enc;
    AVStream       *st;
    AVFrame        *frame;
    int64_t         next; /* frame number, or sample */
    int64_t         end;
} part_t;

typedef struct {
    AVFormatContext *ctx;
    AVPacket        *pkt;
    AVRational       rate;
    part_t           video, audio;
} clip_t;

/* Number of the k-th flash's frame. */
static int64_t
flash_frame(const clip_t *c, int64_t k)
{
    return av_rescale_rnd(2 * k + 1, c->rate.num, 2 * (int64_t)c->rate.den,
                          AV_ROUND_UP);
}

static int
is_flash(const clip_t *c, int64_t frame)
{
    int64_t k = av_rescale(frame, c->rate.den, c->rate.num);

    return frame == flash_frame(c, k) || (k > 0 && frame == flash_frame(c, k - 1));
}

/* A slow wave of light with finer stripes across, and a ball. */
static void
paint(const clip_t *c, AVFrame *f, int64_t n)
{
    double t = (double)n * c->rate.den / c->rate.num;
    int    w = f->width, h = f->height, r = h / 8;
    int    bx = (int)((w - 2 * r) * (0.5 + 0.5 * sin(t * 1.3))) + r;
    int    by = (int)((h - 2 * r) * fabs(cos(t * 2.1))) + r;
    int    shift = (int)(t * 90), flash = is_flash(c, n);

    for (int y = 0; y < h; y++) {
        uint8_t *p = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        int      wave = (int)(28 * sin(6.3 * y / h + t));

        for (int x = 0; x < w; x++) {
            int dx = x - bx, dy = y - by;
            int v = 70 + 60 * x / w + wave + (((x + y + shift) & 63) < 8 ? 18 : 0);

            p[x] = (uint8_t)(flash ? 235 : dx * dx + dy * dy < r * r ? 180 : v);
        }
    }
    for (int y = 0; y < h / 2; y++) {
        uint8_t *u = f->data[1] + (ptrdiff_t)y * f->linesize[1];
        uint8_t *v = f->data[2] + (ptrdiff_t)y * f->linesize[2];
        int      a = (int)(128 + 34 * sin(6.3 * y / h + t * 0.7));
        int      b = (int)(128 + 34 * cos(5.1 * y / h - t * 0.5));

        for (int x = 0; x < w / 2; x++) {
            u[x] = (uint8_t)(flash ? 128 : a + 20 * x / w);
            v[x] = (uint8_t)(flash ? 128 : b);
        }
    }
}

static void
sound(const clip_t *c, AVFrame *f, int64_t first)
{
    for (int i = 0; i < f->nb_samples; i++) {
        int64_t at = first + i, k = at / SAMPLE_RATE, begin, since;
        float   v = 0;

        /* The flash's frame may begin in the next second at low rates. */
        for (int64_t j = k > 0 ? k - 1 : 0; j <= k; j++) {
            begin = av_rescale(flash_frame(c, j) * SAMPLE_RATE, c->rate.den,
                               c->rate.num);
            since = at - begin;
            if (since >= 0 && since < BEEP_SAMPLES) {
                v = 0.5f * (float)cos(2 * M_PI * BEEP_HZ * (double)since /
                                      SAMPLE_RATE);
            }
        }
        ((float *)f->data[0])[i] = v;
        ((float *)f->data[1])[i] = v;
    }
}

static int
encoder_open(clip_t *c, part_t *p, const AVCodec *codec)
{
    int ret;

    p->enc->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    ret = avcodec_open2(p->enc, codec, NULL);
    if (ret < 0) {
        return ret;
    }
    p->st = avformat_new_stream(c->ctx, NULL);
    if (p->st == NULL) {
        return AVERROR(ENOMEM);
    }
    p->st->time_base = p->enc->time_base;
    ret = avcodec_parameters_from_context(p->st->codecpar, p->enc);
    return ret < 0 ? ret : av_frame_get_buffer(p->frame, 0);
}

static int
open_video(clip_t *c, int width, int height, double seconds)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    part_t        *p = &c->video;

    p->enc = avcodec_alloc_context3(codec);
    p->frame = av_frame_alloc();
    if (codec == NULL || p->enc == NULL || p->frame == NULL) {
        return codec == NULL ? AVERROR_ENCODER_NOT_FOUND : AVERROR(ENOMEM);
    }
    p->enc->width = p->frame->width = width;
    p->enc->height = p->frame->height = height;
    p->enc->pix_fmt = p->frame->format = AV_PIX_FMT_YUV420P;
    p->enc->time_base = av_inv_q(c->rate);
    p->enc->framerate = c->rate;
    p->enc->gop_size = (int)ceil(2 * av_q2d(c->rate));
    p->enc->colorspace = AVCOL_SPC_BT709;
    p->enc->color_primaries = AVCOL_PRI_BT709;
    p->enc->color_trc = AVCOL_TRC_BT709;
    p->enc->color_range = AVCOL_RANGE_MPEG;
    p->enc->thread_count = 2;
    av_opt_set(p->enc->priv_data, "preset", "veryfast", 0);
    av_opt_set(p->enc->priv_data, "crf", "23", 0);
    p->end = llround(seconds * av_q2d(c->rate));
    return encoder_open(c, p, codec);
}

static int
open_audio(clip_t *c)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    part_t        *p = &c->audio;
    int            ret;

    p->enc = avcodec_alloc_context3(codec);
    p->frame = av_frame_alloc();
    if (codec == NULL || p->enc == NULL || p->frame == NULL) {
        return codec == NULL ? AVERROR_ENCODER_NOT_FOUND : AVERROR(ENOMEM);
    }
    p->enc->sample_fmt = p->frame->format = AV_SAMPLE_FMT_FLTP;
    p->enc->sample_rate = p->frame->sample_rate = SAMPLE_RATE;
    p->enc->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    p->enc->time_base = (AVRational){ 1, SAMPLE_RATE };
    p->enc->bit_rate = 128000;
    ret = av_channel_layout_copy(&p->frame->ch_layout, &p->enc->ch_layout);
    p->frame->nb_samples = 1024;
    p->end = av_rescale(c->video.end * SAMPLE_RATE, c->rate.den, c->rate.num);
    return ret < 0 ? ret : encoder_open(c, p, codec);
}

/* Sends a frame (NULL: the end) and writes what comes out. */
static int
encode(clip_t *c, part_t *p, AVFrame *frame)
{
    int ret = avcodec_send_frame(p->enc, frame);

    while (ret >= 0) {
        ret = avcodec_receive_packet(p->enc, c->pkt);
        if (ret == AVERROR(EAGAIN) || ret == AVERROR_EOF) {
            return 0;
        }
        if (ret >= 0) {
            c->pkt->stream_index = p->st->index;
            if (p == &c->video) {
                c->pkt->duration = 1;
            }
            av_packet_rescale_ts(c->pkt, p->enc->time_base, p->st->time_base);
            ret = av_interleaved_write_frame(c->ctx, c->pkt);
        }
    }
    return ret;
}

static int
step(clip_t *c, part_t *p)
{
    int64_t at = p->next;
    int     ret;

    if (at >= p->end) {
        p->next = INT64_MAX;
        return encode(c, p, NULL);
    }
    ret = av_frame_make_writable(p->frame);
    if (ret < 0) {
        return ret;
    }
    p->frame->pts = at;
    if (p == &c->video) {
        paint(c, p->frame, at);
        p->next++;
    } else {
        if (p->end - at < p->frame->nb_samples) {
            p->frame->nb_samples = (int)(p->end - at);
        }
        sound(c, p->frame, at);
        p->next += p->frame->nb_samples;
    }
    return encode(c, p, p->frame);
}

static int
run(clip_t *c)
{
    part_t *v = &c->video, *a = &c->audio;
    int     ret = avformat_write_header(c->ctx, NULL);

    while (ret >= 0 && (v->next != INT64_MAX || a->next != INT64_MAX)) {
        int audio = v->next == INT64_MAX ||
                    (a->next != INT64_MAX &&
                     av_compare_ts(a->next, a->enc->time_base, v->next,
                                   v->enc->time_base) < 0);

        ret = step(c, audio ? a : v);
    }
    return ret < 0 ? ret : av_write_trailer(c->ctx);
}

static int
make_clip(const char *path, int width, int height, AVRational rate,
          double seconds)
{
    clip_t c = { .rate = rate };
    int    ret;

    c.pkt = av_packet_alloc();
    ret = c.pkt == NULL
              ? AVERROR(ENOMEM)
              : avformat_alloc_output_context2(&c.ctx, NULL, "mp4", NULL);
    if (ret >= 0) {
        ret = open_video(&c, width, height, seconds);
    }
    if (ret >= 0) {
        ret = open_audio(&c);
    }
    if (ret >= 0) {
        ret = avio_open(&c.ctx->pb, path, AVIO_FLAG_WRITE);
    }
    if (ret >= 0) {
        int closed;

        ret = run(&c);
        closed = avio_closep(&c.ctx->pb);
        ret = ret < 0 ? ret : closed;
    }
    avcodec_free_context(&c.video.enc);
    avcodec_free_context(&c.audio.enc);
    av_frame_free(&c.video.frame);
    av_frame_free(&c.audio.frame);
    av_packet_free(&c.pkt);
    avformat_free_context(c.ctx);
    return ret;
}

static int
usage(void)
{
    fputs("usage: workerd clip OUT.mp4 [--seconds 10] [--size 1280x720] "
          "[--fps 25]\n",
          stderr);
    return AVP_EXIT_USAGE;
}

int
avp_clip_main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seconds", required_argument, NULL, 's' },
        { "size", required_argument, NULL, 'z' },
        { "fps", required_argument, NULL, 'f' },
        { NULL, 0, NULL, 0 },
    };
    AVRational rate = { 25, 1 };
    double     seconds = 10;
    int        width = 1280, height = 720, o, ret;
    char      *end;

    optind = 0;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 's':
            seconds = strtod(optarg, &end);
            if (*end != '\0' || !(seconds > 0 && seconds <= 86400)) {
                return usage();
            }
            break;
        case 'z':
            if (av_parse_video_size(&width, &height, optarg) < 0 ||
                (width | height) & 1 || width < 16 || height < 16) {
                return usage();
            }
            break;
        case 'f':
            if (av_parse_video_rate(&rate, optarg) < 0 || av_q2d(rate) > 240) {
                return usage();
            }
            break;
        default:
            return usage();
        }
    }
    if (argc - optind != 1) {
        return usage();
    }
    av_log_set_level(AV_LOG_ERROR);
    ret = make_clip(argv[optind], width, height, rate, seconds);
    if (ret < 0) {
        avp_command_error("%s: %s", argv[optind], av_err2str(ret));
        return AVP_EXIT_FAILED;
    }
    return AVP_EXIT_OK;
}
