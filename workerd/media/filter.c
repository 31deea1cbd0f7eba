#include "workerd/media/filter.h"

#include "workerd/media/compat.h"

#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/avstring.h>
#include <libavutil/pixdesc.h>

#include <stdio.h>
#include <string.h>

#define SPEC_MAX 1024

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
 * planar YUV of whole chroma samples only, and not every build has it. */
static bool
zimg_takes(int format, int width, int height)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);

    return avfilter_get_by_name("zscale") && d && d->nb_components >= 3
           && (d->flags & AV_PIX_FMT_FLAG_PLANAR)
           && !(d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL
                            | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_HWACCEL
                            | AV_PIX_FMT_FLAG_BITSTREAM))
           && d->comp[0].depth <= 16 && d->log2_chroma_w <= 2
           && d->log2_chroma_h <= 2
           && width % (1 << d->log2_chroma_w) == 0
           && height % (1 << d->log2_chroma_h) == 0;
}

/* The text of the graph for frames like `in`; w x h before turning. */
static void
write_spec(const avp_scaler_t *s, const AVFrame *in, char spec[SPEC_MAX])
{
    const avp_probe_t        *p = s->facts;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(in->format);
    int  w = p->turned ? s->height : s->width;
    int  h = p->turned ? s->width : s->height;
    bool deep = d && d->comp[0].depth > 8;

    spec[0] = '\0';

    if (d && (d->flags & AV_PIX_FMT_FLAG_ALPHA)) {
        av_strlcatf(spec, SPEC_MAX, "premultiply=inplace=1,"); /* on black */
    }

    if (!zimg_takes(in->format, in->width, in->height)) {
        av_strlcatf(spec, SPEC_MAX,
                    "scale=w=%d:h=%d:flags=bicubic:in_color_matrix=%s:"
                    "out_color_matrix=bt709:out_range=tv,format=yuv420p",
                    w, h,
                    p->matrix == AVCOL_SPC_BT709        ? "bt709"
                    : p->matrix == AVCOL_SPC_BT2020_NCL ? "bt2020"
                                                        : "bt601");
    } else if (p->hdr) {
        /* to the rung's size first: tone mapping is in floats */
        av_strlcatf(spec, SPEC_MAX,
                    "zscale=w=%d:h=%d:filter=bicubic:transfer=linear:npl=100,"
                    "format=gbrpf32le,zscale=primaries=bt709,"
                    "tonemap=tonemap=hable:desat=0,"
                    "zscale=transfer=bt709:matrix=bt709:range=limited:"
                    "dither=ordered,format=yuv420p",
                    w, h);
    } else {
        av_strlcatf(spec, SPEC_MAX,
                    "zscale=w=%d:h=%d:filter=bicubic:matrix=bt709:"
                    "transfer=bt709:primaries=bt709:range=limited%s,"
                    "format=yuv420p",
                    w, h, deep ? ":dither=ordered" : "");
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
    int  rc;

    avfilter_graph_free(&s->graph);
    s->in_width = in->width;
    s->in_height = in->height;
    s->in_format = in->format;

    s->same = in->width == s->width && in->height == s->height
              && in->format == AV_PIX_FMT_YUV420P && p->transform[0] == '\0'
              && !p->hdr && p->matrix == AVCOL_SPC_BT709
              && p->primaries == AVCOL_PRI_BT709
              && p->range == AVCOL_RANGE_MPEG;
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

    if (!s->ready || in->width != s->in_width || in->height != s->in_height
        || in->format != s->in_format) {
        if (rebuild(s, in, fail)) {
            return -1;
        }
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
