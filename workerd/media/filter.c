#include "workerd/media/filter.h"

#include "workerd/media/colour.h"
#include "workerd/media/compat.h"

#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/avstring.h>
#include <libavutil/common.h>
#include <libavutil/pixdesc.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SPEC_MAX 1024

#define WHITE 203         /* cd/m2 of what is white in HDR (BT.2408) */
#define PEAK_USUAL 1000   /* and of its brightest, when nothing says it */
#define SHAPE_SLACK 1.015 /* by which a shape differs from rounding alone */

int
avp_graph_build(AVFilterGraph **graph, AVFilterContext **src,
                AVFilterContext **sink, const AVFrame *in, AVRational tb,
                const char *spec)
{
    AVBufferSrcParameters *par = av_buffersrc_parameters_alloc();
    AVFilterInOut         *ins = avfilter_inout_alloc();
    AVFilterInOut         *outs = avfilter_inout_alloc();
    int                    rc = AVERROR(ENOMEM);

    *graph = avfilter_graph_alloc();
    if (par == NULL || ins == NULL || outs == NULL || *graph == NULL) {
        goto done;
    }
    (*graph)->nb_threads = 1; /* the caller's thread is one of many */

    par->format = in->format;
    par->width = in->width;
    par->height = in->height;
    par->time_base = tb;
    par->sample_aspect_ratio = (AVRational){ 1, 1 };
    avp_buffersrc_color(par, in);

    *src = avfilter_graph_alloc_filter(*graph, avfilter_get_by_name("buffer"),
                                       "in");
    if (*src == NULL) {
        goto done;
    }
    if ((rc = av_buffersrc_parameters_set(*src, par)) < 0
        || (rc = avfilter_init_str(*src, NULL)) < 0
        || (rc = avfilter_graph_create_filter(
                sink, avfilter_get_by_name("buffersink"), "out", NULL, NULL,
                *graph)) < 0) {
        goto done;
    }

    outs->name = av_strdup("in");
    outs->filter_ctx = *src;
    ins->name = av_strdup("out");
    ins->filter_ctx = *sink;
    if (outs->name == NULL || ins->name == NULL) {
        rc = AVERROR(ENOMEM);
        goto done;
    }

    rc = avfilter_graph_parse_ptr(*graph, spec, &ins, &outs, NULL);
    if (rc >= 0) {
        rc = avfilter_graph_config(*graph, NULL);
    }

done:

    av_free(par);
    avfilter_inout_free(&ins);
    avfilter_inout_free(&outs);
    if (rc < 0) {
        avfilter_graph_free(graph);
    }
    return rc < 0 ? rc : 0;
}

/* zimg is twice as fast as swscale here and does colours properly, but takes
 * planar pictures of whole chroma samples only. */
static bool
zimg_takes(const AVFrame *in)
{
    static const enum AVPixelFormat formats[] = {
        AV_PIX_FMT_YUV410P,   AV_PIX_FMT_YUV411P,   AV_PIX_FMT_YUV420P,
        AV_PIX_FMT_YUV422P,   AV_PIX_FMT_YUV440P,   AV_PIX_FMT_YUV444P,
        AV_PIX_FMT_YUVJ420P,  AV_PIX_FMT_YUVJ422P,  AV_PIX_FMT_YUVJ440P,
        AV_PIX_FMT_YUVJ444P,  AV_PIX_FMT_YUV420P9,  AV_PIX_FMT_YUV422P9,
        AV_PIX_FMT_YUV444P9,  AV_PIX_FMT_YUV420P10, AV_PIX_FMT_YUV422P10,
        AV_PIX_FMT_YUV444P10, AV_PIX_FMT_YUV420P12, AV_PIX_FMT_YUV422P12,
        AV_PIX_FMT_YUV444P12, AV_PIX_FMT_YUV420P14, AV_PIX_FMT_YUV422P14,
        AV_PIX_FMT_YUV444P14, AV_PIX_FMT_YUV420P16, AV_PIX_FMT_YUV422P16,
        AV_PIX_FMT_YUV444P16, AV_PIX_FMT_GBRP,      AV_PIX_FMT_GBRP9,
        AV_PIX_FMT_GBRP10,    AV_PIX_FMT_GBRP12,    AV_PIX_FMT_GBRP14,
        AV_PIX_FMT_GBRP16,
    };
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(in->format);

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (in->format == formats[i]) {
            return in->width % (1 << d->log2_chroma_w) == 0
                   && in->height % (1 << d->log2_chroma_h) == 0;
        }
    }
    return false;
}

static bool
is_hdr(const AVFrame *in)
{
    return in->color_trc == AVCOL_TRC_SMPTE2084
           || in->color_trc == AVCOL_TRC_ARIB_STD_B67;
}

static bool
has_alpha(const AVFrame *in)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(in->format);

    return d && (d->flags & AV_PIX_FMT_FLAG_ALPHA);
}

/*
 * What zimg does not take becomes 4:4:4 (or planar RGB) of the same depth,
 * matrix and range first.  Alpha is multiplied in there: the picture as it
 * looks on black.
 */
static void
write_bridge(const AVFrame *in, char spec[SPEC_MAX])
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(in->format);
    bool rgb = d && (d->flags & AV_PIX_FMT_FLAG_RGB);
    bool grey = d && !rgb && d->nb_components < 3;
    bool alpha = has_alpha(in), full = in->color_range == AVCOL_RANGE_JPEG;
    int  depth = d ? d->comp[0].depth : 8;

    if (!rgb) {
        /* swscale takes all grey for full range: with both ends said to be
         * so the numbers stay, and get their meaning back after it */
        const char *range = grey || full ? "pc" : "tv";

        av_strlcatf(spec, SPEC_MAX,
                    "scale=flags=bicubic:in_range=%s:out_range=%s,", range,
                    range);
    }

    av_strlcatf(spec, SPEC_MAX, "format=%s",
                rgb ? alpha ? "gbrap" : "gbrp"
                    : alpha ? "yuva444p" : "yuv444p");
    if (depth > 8) {
        av_strlcat(spec, alpha || depth > 12 ? "16" : "12", SPEC_MAX);
    }
    av_strlcat(spec, ",", SPEC_MAX);

    if (grey && !full) {
        av_strlcat(spec, "setrange=tv,", SPEC_MAX);
    }
    if (alpha) {
        av_strlcat(spec, "premultiply=inplace=1,", SPEC_MAX);
    }
}

/* As well as swscale can, for a build without zimg: no tone mapping. */
static void
write_swscale(const AVFrame *in, int w, int h, char spec[SPEC_MAX])
{
    const char *matrix;

    switch (in->colorspace) {
    case AVCOL_SPC_BT709:
        matrix = "bt709";
        break;
    case AVCOL_SPC_FCC:
        matrix = "fcc";
        break;
    case AVCOL_SPC_SMPTE240M:
        matrix = "smpte240m";
        break;
    case AVCOL_SPC_BT2020_NCL:
        matrix = "bt2020";
        break;
    default:
        matrix = "bt601";
    }
    av_strlcatf(spec, SPEC_MAX,
                "scale=w=%d:h=%d:flags=bicubic:in_color_matrix=%s:"
                "out_color_matrix=bt709:in_range=%s:out_range=tv",
                w, h, matrix,
                in->color_range == AVCOL_RANGE_JPEG ? "pc" : "tv");
}

/* cd/m2 of the brightest that a frame says it has. */
static int
peak_of(const AVFrame *in, const avp_probe_t *facts)
{
    const AVFrameSideData *light = av_frame_get_side_data(
        in, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    const AVFrameSideData *mastering = av_frame_get_side_data(
        in, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    int peak = avp_colours_peak(light ? (const void *)light->data : NULL,
                                mastering ? (const void *)mastering->data
                                          : NULL);

    return peak ? peak : facts->peak ? facts->peak : PEAK_USUAL;
}

/*
 * The size, in a w x h picture before turning, at which a frame keeps its
 * shape: all of it, unless the source changed its shape in mid-stream.
 */
static void
fit(const avp_scaler_t *s, const AVFrame *in, int w, int h, int *in_w,
    int *in_h)
{
    const avp_probe_t *p = s->facts;
    double             want = p->turned ? (double)p->height / p->width
                                        : (double)p->width / p->height;
    double             has = (double)in->width / in->height;

    if (in->sample_aspect_ratio.num > 0 && in->sample_aspect_ratio.den > 0) {
        has *= av_q2d(in->sample_aspect_ratio);
    }

    *in_w = w;
    *in_h = h;
    if (has < want / SHAPE_SLACK) {
        *in_w = FFMAX((int)lrint(w * has / want / 2) * 2, 2);
    } else if (has > want * SHAPE_SLACK) {
        *in_h = FFMAX((int)lrint(h * want / has / 2) * 2, 2);
    }
}

/* The text of the graph for frames like `in`; w x h before turning. */
static void
write_spec(const avp_scaler_t *s, const AVFrame *in, char spec[SPEC_MAX])
{
    const avp_probe_t        *p = s->facts;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(in->format);
    bool zimg = avfilter_get_by_name("zscale") != NULL;
    bool deep = d && d->comp[0].depth > 8;
    int  w = p->turned ? s->height : s->width;
    int  h = p->turned ? s->width : s->height;
    int  in_w, in_h;

    spec[0] = '\0';
    fit(s, in, w, h, &in_w, &in_h);

    if (has_alpha(in) || (zimg && !zimg_takes(in))) {
        write_bridge(in, spec);
    }

    if (!zimg) {
        write_swscale(in, in_w, in_h, spec);
    } else if (is_hdr(in)) {
        /* to the rung's size first: tone mapping is in floats.  White is
         * where BT.2408 has it; mobius keeps what is darker as it is */
        av_strlcatf(spec, SPEC_MAX,
                    "zscale=w=%d:h=%d:filter=bicubic:transfer=linear:npl=%d,"
                    "format=gbrpf32le,zscale=primaries=bt709,"
                    "tonemap=tonemap=mobius:param=0.3:desat=0:peak=%d/%d,"
                    "zscale=transfer=bt709:matrix=bt709:range=limited:"
                    "dither=ordered",
                    in_w, in_h, WHITE, s->in_peak, WHITE);
    } else {
        av_strlcatf(spec, SPEC_MAX,
                    "zscale=w=%d:h=%d:filter=bicubic:matrix=bt709:"
                    "transfer=bt709:primaries=bt709:range=limited%s",
                    in_w, in_h, deep ? ":dither=ordered" : "");
    }
    av_strlcat(spec, ",format=yuv420p", SPEC_MAX);

    if (in_w != w || in_h != h) {
        av_strlcatf(spec, SPEC_MAX, ",pad=w=%d:h=%d:x=%d:y=%d", w, h,
                    (w - in_w) / 4 * 2, (h - in_h) / 4 * 2);
    }
    if (p->transform[0]) {
        av_strlcatf(spec, SPEC_MAX, ",%s", p->transform);
    }
    av_strlcat(spec, ",setsar=1", SPEC_MAX);
}

static int
rebuild(avp_scaler_t *s, const AVFrame *in, avp_fail_t *fail)
{
    const avp_probe_t *p = s->facts;
    char spec[SPEC_MAX];
    int  rc, w, h;

    avfilter_graph_free(&s->graph);
    s->in_width = in->width;
    s->in_height = in->height;
    s->in_format = in->format;
    s->in_sar = in->sample_aspect_ratio;
    s->in_matrix = in->colorspace;
    s->in_primaries = in->color_primaries;
    s->in_trc = in->color_trc;
    s->in_range = in->color_range;
    s->in_peak = is_hdr(in) ? peak_of(in, p) : 0;

    fit(s, in, s->width, s->height, &w, &h);
    s->same = in->width == s->width && in->height == s->height
              && w == s->width && h == s->height
              && in->format == AV_PIX_FMT_YUV420P && p->transform[0] == '\0'
              && in->color_trc == AVCOL_TRC_BT709
              && in->colorspace == AVCOL_SPC_BT709
              && in->color_primaries == AVCOL_PRI_BT709
              && in->color_range == AVCOL_RANGE_MPEG;
    s->ready = true;
    if (s->same) {
        return 0;
    }

    write_spec(s, in, spec);
    rc = avp_graph_build(&s->graph, &s->src, &s->sink, in,
                         av_inv_q(p->rate.rate), spec);
    if (rc < 0) {
        s->ready = false;
        return avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA,
                           "setting the filters up");
    }
    return 0;
}

/* Whether a graph was made for frames like this. */
static bool
fits(const avp_scaler_t *s, const AVFrame *in)
{
    return s->ready && in->width == s->in_width
           && in->height == s->in_height && in->format == s->in_format
           && av_cmp_q(in->sample_aspect_ratio, s->in_sar) == 0
           && in->colorspace == s->in_matrix
           && in->color_primaries == s->in_primaries
           && in->color_trc == s->in_trc && in->color_range == s->in_range
           && (!is_hdr(in) || peak_of(in, s->facts) == s->in_peak);
}

void
avp_scaler_init(avp_scaler_t *s, const avp_probe_t *facts, int width,
                int height)
{
    *s = (avp_scaler_t){ .facts = facts, .width = width, .height = height };
}

int
avp_scaler_run(avp_scaler_t *s, const AVFrame *in, AVFrame *out,
               avp_fail_t *fail)
{
    AVFrame *ref;
    int      rc;

    if (!fits(s, in) && rebuild(s, in, fail)) {
        return -1;
    }

    if (s->same) {
        rc = av_frame_ref(out, in);
        goto done;
    }

    ref = av_frame_clone(in);
    if (ref == NULL) {
        rc = AVERROR(ENOMEM);
        goto done;
    }
    rc = av_buffersrc_add_frame_flags(s->src, ref, AV_BUFFERSRC_FLAG_PUSH);
    av_frame_free(&ref);
    if (rc >= 0) {
        rc = av_buffersink_get_frame(s->sink, out);
    }

done:

    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA,
                           "filtering a frame");
    }

    while (out->nb_side_data > 0) {
        av_frame_remove_side_data(out, out->side_data[0]->type);
    }
    out->pts = in->pts;
    out->sample_aspect_ratio = (AVRational){ 1, 1 };
    out->colorspace = AVCOL_SPC_BT709;
    out->color_primaries = AVCOL_PRI_BT709;
    out->color_trc = AVCOL_TRC_BT709;
    out->color_range = AVCOL_RANGE_MPEG;
    return 0;
}

void
avp_scaler_free(avp_scaler_t *s)
{
    avfilter_graph_free(&s->graph);
    s->ready = false;
}
