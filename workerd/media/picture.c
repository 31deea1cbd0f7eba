/*
 * Scaling, judging and encoding of still pictures.
 */

#include "workerd/media/picture.h"

#include "workerd/media/out.h"

#include <libavutil/dict.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include <math.h>
#include <stdlib.h>

#define JUDGE_WIDTH 320

/* libwebp's effort, 0 to 6.  4, its default, takes 2.6 times the CPU for 5 %
 * fewer bytes (sheets and posters of 1080p film). */
#define WEBP_METHOD 2

/* The yuvj formats are plain ones of full range; libswscale warns of them. */
static enum AVPixelFormat
plain_format(enum AVPixelFormat format, int *full)
{
    switch (format) {
    case AV_PIX_FMT_YUVJ420P:
        *full = 1;
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        *full = 1;
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
        *full = 1;
        return AV_PIX_FMT_YUV444P;
    default:
        return format;
    }
}

static const int *
coefficients(const AVFrame *f)
{
    switch (f->colorspace) {
    case AVCOL_SPC_BT709:
        return sws_getCoefficients(SWS_CS_ITU709);
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return sws_getCoefficients(SWS_CS_BT2020);
    case AVCOL_SPC_SMPTE240M:
        return sws_getCoefficients(SWS_CS_SMPTE240M);
    case AVCOL_SPC_FCC:
        return sws_getCoefficients(SWS_CS_FCC);
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return sws_getCoefficients(SWS_CS_ITU601);
    default: /* unsaid: what a player would take it for */
        return sws_getCoefficients(f->height >= 720 ? SWS_CS_ITU709
                                                    : SWS_CS_ITU601);
    }
}

int
avp_picture_alloc(AVFrame **dst, int width, int height, int full)
{
    AVFrame *f = av_frame_alloc();
    int      ret;

    *dst = NULL;
    if (f == NULL) {
        return AVERROR(ENOMEM);
    }
    f->format = AV_PIX_FMT_YUV420P;
    f->width = width;
    f->height = height;
    f->sample_aspect_ratio = (AVRational){ 1, 1 };
    f->colorspace = AVCOL_SPC_SMPTE170M;
    f->color_range = full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    ret = av_frame_get_buffer(f, 0);
    if (ret < 0) {
        av_frame_free(&f);
        return ret;
    }
    *dst = f;
    return 0;
}

/* Ranges have to be told before the context is made ready, else it may choose
 * to copy; and a context that was used keeps its first ranges and matrix, so
 * sws_getCachedContext() will not do. */
static struct SwsContext *
scaler(const AVFrame *src, int width, int height, int full)
{
    int                src_full = src->color_range == AVCOL_RANGE_JPEG;
    enum AVPixelFormat format = plain_format(src->format, &src_full);
    struct SwsContext *sws = sws_alloc_context();

    if (sws == NULL) {
        return NULL;
    }
    av_opt_set_int(sws, "srcw", src->width, 0);
    av_opt_set_int(sws, "srch", src->height, 0);
    av_opt_set_int(sws, "src_format", format, 0);
    av_opt_set_int(sws, "src_range", src_full, 0);
    av_opt_set_int(sws, "dstw", width, 0);
    av_opt_set_int(sws, "dsth", height, 0);
    av_opt_set_int(sws, "dst_format", AV_PIX_FMT_YUV420P, 0);
    av_opt_set_int(sws, "dst_range", full, 0);
    av_opt_set_int(sws, "sws_flags", SWS_BICUBIC | SWS_ACCURATE_RND, 0);
    if (sws_init_context(sws, NULL, NULL) < 0) {
        sws_freeContext(sws);
        return NULL;
    }
    /* Fails for formats that are not YUV, which need none of it. */
    (void)sws_setColorspaceDetails(sws, coefficients(src), src_full,
                                   sws_getCoefficients(SWS_CS_ITU601), full, 0,
                                   1 << 16, 1 << 16);
    return sws;
}

int
avp_picture_scale(AVFrame **dst, const AVFrame *src, int width, int height,
                  int full)
{
    struct SwsContext *sws = scaler(src, width, height, full);
    int                ret;

    *dst = NULL;
    if (sws == NULL) {
        return AVERROR(EINVAL);
    }
    ret = avp_picture_alloc(dst, width, height, full);
    if (ret == 0) {
        ret = sws_scale(sws, (const uint8_t *const *)src->data, src->linesize,
                        0, src->height, (*dst)->data, (*dst)->linesize);
        if (ret < 0) {
            av_frame_free(dst);
        }
    }
    sws_freeContext(sws);
    return ret < 0 ? ret : 0;
}

/*
 * A candidate is judged on a small grey copy: its spread of luma (a plain
 * surface makes a dull picture), its edges (blur has none), and whether it is
 * nearly black or white, as fades and title cards are.
 */
static double
judge(const AVFrame *f)
{
    double sum = 0, squares = 0, edges = 0, mean, spread, score;
    int    w = f->width, h = f->height;
    double n = (double)w * h;

    for (int y = 0; y < h; y++) {
        const uint8_t *p = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        const uint8_t *above = y > 0 ? p - f->linesize[0] : p;

        for (int x = 0; x < w; x++) {
            sum += p[x];
            squares += p[x] * p[x];
            edges += abs(p[x] - above[x]) + (x > 0 ? abs(p[x] - p[x - 1]) : 0);
        }
    }
    mean = sum / n;
    spread = sqrt(fmax(0, squares / n - mean * mean));
    score = fmin(spread, 64) / 64 + fmin(edges / n, 24) / 24;
    if (mean < 28 || mean > 228) {
        score *= 0.1;
    } else if (mean < 48 || mean > 208) {
        score *= 0.6;
    }
    return score;
}

int
avp_picture_score(const AVFrame *frame, double *score)
{
    AVFrame *small;
    int      height = (int)av_rescale(JUDGE_WIDTH, frame->height, frame->width);
    int      ret;

    height = height < 16 ? 16 : height > 1024 ? 1024 : height;
    ret = avp_picture_scale(&small, frame, JUDGE_WIDTH, height, 1);
    if (ret < 0) {
        return ret;
    }
    *score = judge(small);
    av_frame_free(&small);
    return 0;
}

/* Frames of one size in, `ms` apart, one packet out. */
static int
encode(AVPacket **pkt, AVFrame **frames, int n, int ms, const AVCodec *codec,
       int quality, enum AVPixelFormat format, AVDictionary **options)
{
    AVCodecContext *ctx = avcodec_alloc_context3(codec);
    int             ret = AVERROR(ENOMEM);

    *pkt = av_packet_alloc();
    if (ctx == NULL || *pkt == NULL) {
        goto done;
    }
    ctx->width = frames[0]->width;
    ctx->height = frames[0]->height;
    ctx->pix_fmt = format;
    ctx->color_range = frames[0]->color_range;
    ctx->colorspace = frames[0]->colorspace;
    ctx->time_base = (AVRational){ 1, 1000 };
    ctx->thread_count = 1;
    ctx->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
    ctx->global_quality = quality;
    ret = avcodec_open2(ctx, codec, options);
    for (int i = 0; i < n && ret >= 0; i++) {
        enum AVPixelFormat was = frames[i]->format;

        frames[i]->format = format;
        frames[i]->quality = quality;
        frames[i]->pts = (int64_t)i * ms;
        frames[i]->pict_type = AV_PICTURE_TYPE_NONE;
        ret = avcodec_send_frame(ctx, frames[i]);
        frames[i]->format = was;
    }
    if (ret >= 0) {
        ret = avcodec_send_frame(ctx, NULL);
    }
    if (ret >= 0) {
        ret = avcodec_receive_packet(ctx, *pkt);
    }

done:
    avcodec_free_context(&ctx);
    if (ret < 0) {
        av_packet_free(pkt);
    }
    return ret < 0 ? ret : 0;
}

int
avp_picture_jpeg(AVPacket **pkt, AVFrame *frame, int quality)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);

    *pkt = NULL;
    if (codec == NULL) {
        return AVERROR_ENCODER_NOT_FOUND;
    }
    return encode(pkt, &frame, 1, 0, codec, quality * FF_QP2LAMBDA,
                  AV_PIX_FMT_YUVJ420P, NULL);
}

static int
encode_webp(AVPacket **pkt, AVFrame **frames, int n, int ms, const char *name,
            int quality)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    AVDictionary  *options = NULL;
    int            ret;

    *pkt = NULL;
    if (codec == NULL) {
        return AVERROR_ENCODER_NOT_FOUND;
    }
    ret = av_dict_set_int(&options, "quality", quality, 0);
    if (ret >= 0) {
        ret = av_dict_set_int(&options, "compression_level", WEBP_METHOD, 0);
    }
    if (ret >= 0) {
        ret = encode(pkt, frames, n, ms, codec, quality * FF_QP2LAMBDA,
                     AV_PIX_FMT_YUV420P, &options);
    }
    av_dict_free(&options);
    return ret;
}

int
avp_picture_webp(AVPacket **pkt, AVFrame *frame, int quality)
{
    return encode_webp(pkt, &frame, 1, 0, "libwebp", quality);
}

int
avp_picture_webp_anim(AVPacket **pkt, AVFrame **frames, int n, int ms,
                      int quality)
{
    return encode_webp(pkt, frames, n, ms, "libwebp_anim", quality);
}

static int
put(avp_out_t *out, const char *path, const AVFrame *src, int width,
    int height, int full, int quality)
{
    AVFrame  *frame;
    AVPacket *pkt = NULL;
    int       ret = avp_picture_scale(&frame, src, width, height, full);

    if (ret < 0) {
        return ret;
    }
    ret = full ? avp_picture_jpeg(&pkt, frame, quality)
               : avp_picture_webp(&pkt, frame, quality);
    av_frame_free(&frame);
    if (ret == 0) {
        ret = avp_out_put(out, path, pkt->data, (size_t)pkt->size, 0);
    }
    av_packet_free(&pkt);
    return ret;
}

int
avp_picture_put_jpeg(avp_out_t *out, const char *path, const AVFrame *src,
                     int width, int height, int quality)
{
    return put(out, path, src, width, height, 1, quality);
}

int
avp_picture_put_webp(avp_out_t *out, const char *path, const AVFrame *src,
                     int width, int height, int quality)
{
    int ret = put(out, path, src, width, height, 0, quality);

    return ret == AVERROR_ENCODER_NOT_FOUND ? 0 : ret;
}
