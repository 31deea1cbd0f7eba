#include "workerd/media/colour.h"

#include <libavutil/pixdesc.h>

#include <string.h>

/* cd/m2: the first is an SDR display's, the second the end of PQ */
#define PEAK_MIN 200
#define PEAK_MAX 10000

/*
 * What is not said: the matrix that goes with the primaries, or else BT.601
 * up to the lines of standard definition and BT.709 above, whichever way up
 * the picture is coded.
 */
static enum AVColorSpace
guess_matrix(enum AVColorPrimaries primaries, bool hdr, int width, int height)
{
    int longer = width > height ? width : height;
    int shorter = width > height ? height : width;

    if (hdr || primaries == AVCOL_PRI_BT2020) {
        return AVCOL_SPC_BT2020_NCL;
    }
    if (primaries == AVCOL_PRI_BT709 || primaries == AVCOL_PRI_SMPTE432) {
        return AVCOL_SPC_BT709;
    }
    if (primaries == AVCOL_PRI_SMPTE170M || primaries == AVCOL_PRI_BT470BG) {
        return AVCOL_SPC_SMPTE170M;
    }
    return longer >= 1280 || shorter > 576 ? AVCOL_SPC_BT709
                                           : AVCOL_SPC_SMPTE170M;
}

static void
resolve(avp_colours_t *c, int format, int width, int height)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);

    c->hdr = c->trc == AVCOL_TRC_SMPTE2084
             || c->trc == AVCOL_TRC_ARIB_STD_B67;

    switch (c->matrix) {
    case AVCOL_SPC_BT709:
    case AVCOL_SPC_FCC:
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
    case AVCOL_SPC_SMPTE240M:
    case AVCOL_SPC_YCGCO:
    case AVCOL_SPC_BT2020_NCL:
        break;
    case AVCOL_SPC_BT2020_CL: /* nearer than anything else */
        c->matrix = AVCOL_SPC_BT2020_NCL;
        break;
    default:
        c->matrix = guess_matrix(c->primaries, c->hdr, width, height);
    }

    if (c->range != AVCOL_RANGE_JPEG) {
        c->range = d && strncmp(d->name, "yuvj", 4) == 0 ? AVCOL_RANGE_JPEG
                                                         : AVCOL_RANGE_MPEG;
    }
    if (d && (d->flags & AV_PIX_FMT_FLAG_RGB)) {
        c->matrix = AVCOL_SPC_RGB;
        c->range = AVCOL_RANGE_JPEG;
    }

    /* the curves of SDR are shown alike everywhere, whatever their names */
    if (!c->hdr) {
        c->trc = AVCOL_TRC_BT709;
    }

    switch (c->primaries) {
    case AVCOL_PRI_BT470M:
    case AVCOL_PRI_BT470BG:
    case AVCOL_PRI_SMPTE170M:
    case AVCOL_PRI_SMPTE240M:
    case AVCOL_PRI_BT2020:
    case AVCOL_PRI_SMPTE431:
    case AVCOL_PRI_SMPTE432:
        break;
    default:
        c->primaries = c->hdr ? AVCOL_PRI_BT2020 : AVCOL_PRI_BT709;
    }
}

void
avp_colours_of_stream(avp_colours_t *c, const AVCodecParameters *par)
{
    *c = (avp_colours_t){ .matrix = par->color_space,
                          .primaries = par->color_primaries,
                          .trc = par->color_trc,
                          .range = par->color_range };
    resolve(c, par->format, par->width, par->height);
}

void
avp_colours_of_frame(avp_colours_t *c, const AVFrame *f,
                     const AVCodecParameters *par)
{
    *c = (avp_colours_t){
        .matrix = f->colorspace != AVCOL_SPC_UNSPECIFIED ? f->colorspace
                                                         : par->color_space,
        .primaries = f->color_primaries != AVCOL_PRI_UNSPECIFIED
                         ? f->color_primaries
                         : par->color_primaries,
        .trc = f->color_trc != AVCOL_TRC_UNSPECIFIED ? f->color_trc
                                                     : par->color_trc,
        .range = f->color_range != AVCOL_RANGE_UNSPECIFIED
                     ? f->color_range
                     : par->color_range,
    };
    resolve(c, f->format, f->width, f->height);
}

int
avp_colours_peak(const AVContentLightMetadata     *light,
                 const AVMasteringDisplayMetadata *mastering)
{
    double peak = 0;

    if (light && light->MaxCLL >= PEAK_MIN && light->MaxCLL <= PEAK_MAX) {
        return (int)light->MaxCLL;
    }
    if (mastering && mastering->has_luminance
        && mastering->max_luminance.den > 0) {
        peak = av_q2d(mastering->max_luminance);
    }
    return peak >= PEAK_MIN && peak <= PEAK_MAX ? (int)peak : 0;
}
