/*
 * Scaling and encoding of still pictures.
 */

#include "workerd/media/picture.h"

#include <libavutil/dict.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

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

/* One frame in, one packet out. */
static int
encode(AVPacket **pkt, AVFrame *frame, const AVCodec *codec, int quality,
       enum AVPixelFormat format, AVDictionary **options)
{
    AVCodecContext    *ctx = avcodec_alloc_context3(codec);
    enum AVPixelFormat was = frame->format;
    int                ret = AVERROR(ENOMEM);

    *pkt = av_packet_alloc();
    if (ctx == NULL || *pkt == NULL) {
        goto done;
    }
    ctx->width = frame->width;
    ctx->height = frame->height;
    ctx->pix_fmt = format;
    ctx->color_range = frame->color_range;
    ctx->colorspace = frame->colorspace;
    ctx->time_base = (AVRational){ 1, 1 };
    ctx->thread_count = 1;
    ctx->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
    ctx->global_quality = quality;
    frame->format = format;
    frame->quality = quality;
    frame->pts = 0;
    frame->pict_type = AV_PICTURE_TYPE_NONE;
    ret = avcodec_open2(ctx, codec, options);
    if (ret >= 0) {
        ret = avcodec_send_frame(ctx, frame);
    }
    if (ret >= 0) {
        ret = avcodec_send_frame(ctx, NULL);
    }
    if (ret >= 0) {
        ret = avcodec_receive_packet(ctx, *pkt);
    }
    frame->format = was;

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
    return encode(pkt, frame, codec, quality * FF_QP2LAMBDA,
                  AV_PIX_FMT_YUVJ420P, NULL);
}

int
avp_picture_webp(AVPacket **pkt, AVFrame *frame, int quality)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libwebp");
    AVDictionary  *options = NULL;
    int            ret;

    *pkt = NULL;
    if (codec == NULL) {
        return AVERROR_ENCODER_NOT_FOUND;
    }
    ret = av_dict_set_int(&options, "quality", quality, 0);
    if (ret >= 0) {
        ret = encode(pkt, frame, codec, quality * FF_QP2LAMBDA,
                     AV_PIX_FMT_YUV420P, &options);
    }
    av_dict_free(&options);
    return ret;
}
