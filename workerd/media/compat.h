/*
 * The differences between FFmpeg 5.1 (Debian 12) and 7.1 (Debian 13) that the
 * media code meets, and nowhere else.
 */

#ifndef AVP_MEDIA_COMPAT_H
#define AVP_MEDIA_COMPAT_H

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>

/* A frame's length in its time base; 0 unknown. */
static inline int64_t
avp_frame_duration(const AVFrame *f)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    return f->duration;
#else
    return f->pkt_duration;
#endif
}

static inline void
avp_frame_set_duration(AVFrame *f, int64_t d)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    f->duration = d;
#else
    f->pkt_duration = d;
#endif
}

static inline void
avp_frame_clear_interlaced(AVFrame *f)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    f->flags &= ~(AV_FRAME_FLAG_INTERLACED | AV_FRAME_FLAG_TOP_FIELD_FIRST
                  | AV_FRAME_FLAG_KEY);
#else
    f->interlaced_frame = 0;
    f->top_field_first = 0;
    f->key_frame = 0;
#endif
}

static inline int
avp_frame_is_interlaced(const AVFrame *f)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    return (f->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
    return f->interlaced_frame;
#endif
}

/* Side data of a whole stream; NULL when there is none. */
static inline const uint8_t *
avp_stream_side_data(const AVStream *st, enum AVPacketSideDataType type,
                     size_t *size)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *sd = av_packet_side_data_get(
        st->codecpar->coded_side_data, st->codecpar->nb_coded_side_data, type);

    *size = sd ? sd->size : 0;
    return sd ? sd->data : NULL;
#else
    return av_stream_get_side_data(st, type, size);
#endif
}

/* Since 7.0 a buffer source wants to know colours before the first frame. */
static inline void
avp_buffersrc_color(AVBufferSrcParameters *par, const AVFrame *f)
{
#if LIBAVFILTER_VERSION_INT >= AV_VERSION_INT(9, 16, 100)
    par->color_space = f->colorspace;
    par->color_range = f->color_range;
#else
    (void) par;
    (void) f;
#endif
}

#endif
