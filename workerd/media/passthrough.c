/* What of a source may be copied: the probe's facts and the survey put in
 * front of the rules of fits.h. */

#include "workerd/media/plan.h"

#include "workerd/media/keys.h"

#include <libavutil/avstring.h>

/* The colours of our own outputs, or what says nothing and is taken for them.
 * Standard definition keeps its own matrix. */
static bool
colours_stay(const avp_probe_t *p)
{
    const AVCodecParameters *par = p->vpar;
    bool                     sd = p->coded_height < 720
                                  && p->coded_width < 1280;

    if (p->hdr || p->range != AVCOL_RANGE_MPEG) {
        return false;
    }

    switch (par->color_space) {
    case AVCOL_SPC_UNSPECIFIED:
    case AVCOL_SPC_BT709:
        break;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        if (!sd) {
            return false;
        }
        break;
    default:
        return false;
    }

    switch (par->color_primaries) {
    case AVCOL_PRI_UNSPECIFIED:
    case AVCOL_PRI_BT709:
        break;
    case AVCOL_PRI_BT470BG:
    case AVCOL_PRI_SMPTE170M:
        if (!sd) {
            return false;
        }
        break;
    default:
        return false;
    }

    return par->color_trc == AVCOL_TRC_UNSPECIFIED
           || par->color_trc == AVCOL_TRC_BT709
           || par->color_trc == AVCOL_TRC_SMPTE170M;
}

static bool
is_plain_container(const avp_probe_t *p)
{
    return p->format == AVP_FMT_MP4 || p->format == AVP_FMT_MOV
           || p->format == AVP_FMT_3GP || p->format == AVP_FMT_MKV
           || p->format == AVP_FMT_WEBM;
}

static bool
is_square(const avp_probe_t *p)
{
    AVRational sar = p->vpar->sample_aspect_ratio;

    return (sar.num == 0 || sar.num == sar.den)
           && (p->turned ? p->height : p->width) == p->coded_width;
}

/* AudioSpecificConfig (ISO 14496-3): object type 2 of one or two channels,
 * none of its three flags (1024 samples, no core coder, no extension), and
 * no SBR announced behind it. */
static bool
is_plain_aac(const AVCodecParameters *par)
{
    const uint8_t *c = par->extradata;
    int            n = par->extradata_size, channels;

    if (n < 2 || c[0] >> 3 != 2 || (c[1] & 7) != 0) {
        return false;
    }
    channels = c[1] >> 3 & 15;
    return channels >= 1 && channels <= 2
           && !(n >= 5 && c[2] == 0x56 && c[3] >> 5 == 7 && c[4] & 0x80);
}

static void
video(avp_plan_t *plan, const avp_probe_t *p, const avp_job_t *job,
      const avp_encode_plan_t *top)
{
    const avp_survey_t *s = &p->survey;
    enum AVFieldOrder   fields = p->vpar->field_order;
    avp_avcc_t          avcc;
    avp_sps_t           sps = { 0 };
    avp_fits_video_t    v;

    v = (avp_fits_video_t){
        .wanted = job->passthrough,
        .rung = top && top->rung.width == p->coded_width
                && top->rung.height == p->coded_height,
        .mp4 = top && top->mp4,
        .hls = top && top->hls,
        .container = is_plain_container(p),
        .square = is_square(p),
        .turned = p->turned || p->transform[0],
        .colours = colours_stay(p),
        .width = p->coded_width,
        .height = p->coded_height,
        .exact = p->rate.exact && p->rate.regular && top && top->divide == 1,
        .truncated = p->truncated,
        .seen = s->seen,
        .on_grid = s->on_grid,
        .edited = s->edited,
        .starts = s->starts,
        .closed = s->closed,
        .same_sets = s->same_sets,
        .captions = s->captions,
        .damaged = s->damaged,
        .gop_max = s->gop_max,
        .gop_mean = s->gop_mean,
        .average = s->average,
        .peak = s->peak,
        .cap = top ? avp_rung_cap(&top->rung, AVP_CODEC_H264,
                                  av_q2d(plan->rate))
                   : 0,
    };
    av_strlcpy(v.codec, p->vcodec, sizeof(v.codec));

    if (p->vpar->codec_id == AV_CODEC_ID_H264
        && avp_avcc_parse(&avcc, p->vpar->extradata,
                          (size_t)p->vpar->extradata_size) == 0
        && avcc.nsps == 1
        && avp_sps_parse(&sps, avcc.sets[0], avcc.sizes[0]) == 0) {
        v.sets = true;
    }
    v.profile = sps.profile;
    v.level = sps.level;
    v.chroma = sps.chroma;
    v.depth = sps.depth;
    v.progressive = sps.progressive && fields <= AV_FIELD_PROGRESSIVE;

    avp_fits_video(&plan->copy_video, &v);
}

static void
audio(avp_plan_t *plan, const avp_probe_t *p, const avp_job_t *job)
{
    const avp_survey_t      *s = &p->survey;
    const AVCodecParameters *par = p->apar;
    avp_fits_audio_t         a = { .wanted = job->passthrough,
                                   .made = job->mp4 || job->hls,
                                   .hls = job->hls,
                                   .there = p->audio >= 0 };

    if (a.there) {
        av_strlcpy(a.codec, p->acodec, sizeof(a.codec));
        a.lc = is_plain_aac(par);
        a.channels = par->ch_layout.nb_channels;
        a.rate = par->sample_rate;
        a.seen = s->audio_seen;
        a.contiguous = s->contiguous;
        a.average = s->audio_average;
        a.begin = s->begin;
        a.end = s->end;
    }
    avp_fits_audio(&plan->copy_audio, &a);
}

void
avp_plan_passthrough(avp_plan_t *plan, const avp_probe_t *p,
                     const avp_job_t *job, const avp_encode_plan_t *top)
{
    video(plan, p, job, top);
    audio(plan, p, job);
}
