#include "workerd/media/plan.h"

#include "workerd/media/estimate.h"

#include <libavutil/avstring.h>
#include <libavutil/common.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define EARLY_MIN 3.0           /* seconds: below, one pass is soon enough */
#define SEEK_MIN_FRAMES 300     /* three frames more are 1 % of these */
#define POOR_BITRATE 100000.0   /* bit/s of a file of unknown length */
#define SURROUND_MIN 6          /* channels: 5.1 */
#define SVT_MIN_SIDE 64         /* SVT-AV1 takes nothing smaller */
#define X265_MIN_SIDE 128       /* two of its coding tree blocks */

/* Bits that newer codecs save, turned round: what an H.264 of the same
 * picture may need (DESIGN 8). */
static double
source_factor(enum AVCodecID id)
{
    switch (id) {
    case AV_CODEC_ID_AV1:
        return 2.5;
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_VP9:
        return 2.0;
    default:
        return 1.2;
    }
}

/* Limits are made of this: where the length is only claimed, or not even
 * that, it is what the file may hold at a poor bitrate. */
static double
bound_of(const avp_probe_t *p, const avp_job_t *job)
{
    double may;

    if (p->sure) {
        return p->duration;
    }
    may = FFMIN((double)p->size * 8 / POOR_BITRATE, (double)job->max_duration);
    return FFMAX(p->duration * 1.5 + 60, may);
}

/* H.264's level 5.2, the highest that Apple plays (1.3b): macroblocks a
 * second. */
#define LEVEL_MBS 2073600.0

/* HEVC's level 5.0, the same for it (1.6): luma samples of a picture, and a
 * second. */
#define HEVC_PICTURE 8912896.0
#define HEVC_SAMPLES 267386880.0

/* By which whole number the rate is divided for a rung: its own limit, and
 * the level's. */
static int
divide_by(const avp_plan_t *plan, const avp_rung_t *r)
{
    double rate = av_q2d(plan->rate);
    double mbs = (double)((r->width + 15) / 16) * ((r->height + 15) / 16);
    int    d = 1;

    while (rate / d > r->spec->max_fps + 0.5 || mbs * rate / d > LEVEL_MBS) {
        d++;
    }
    return d;
}

static int
gcd(int a, int b)
{
    return b == 0 ? a : gcd(b, a % b);
}

static void
make_encode(avp_encode_plan_t *e, const avp_plan_t *plan,
            const avp_probe_t *p, const avp_job_t *job,
            const avp_rung_t *rung, avp_codec_t codec,
            int64_t ceiling)
{
    int64_t source = (int64_t)((double)p->video_bitrate
                               * source_factor(p->vpar->codec_id));

    *e = (avp_encode_plan_t){ .rung = *rung, .codec = codec, .threads = 1,
                              .divide = divide_by(plan, rung) };
    e->rate = av_div_q(plan->rate, av_make_q(e->divide, 1));

    e->cap = avp_rung_cap(rung, codec, av_q2d(e->rate));
    if (source > 0) {
        e->cap = FFMIN(e->cap, FFMAX(source, 150000));
    }
    if (ceiling > 0) {
        e->cap = FFMIN(e->cap, ceiling);
    }
    e->bufsize = 2 * e->cap;
    e->crf = rung->spec->rate[codec].crf;
    e->cost = avp_estimate_encode(plan, p, job, e);
}

/* Whether a rung gets a variant in HEVC beside that in H.264; where one is
 * asked for in vain, plan->no_hevc says so.  Pictures at a slower rate than
 * the rung's own would be no better choice for anybody. */
static bool
wants_hevc(avp_plan_t *plan, const avp_rung_t *r)
{
    double picture = (double)FFALIGN(r->width, 8) * FFALIGN(r->height, 8);
    double rate = av_q2d(plan->rate) / divide_by(plan, r);

    if (!r->spec->hls || !r->spec->hevc) {
        return false;
    }
    if (FFMIN(r->width, r->height) >= X265_MIN_SIDE
        && picture <= HEVC_PICTURE && picture * rate <= HEVC_SAMPLES) {
        return true;
    }
    av_strlcatf(plan->no_hevc, sizeof(plan->no_hevc), "%s%s",
                plan->no_hevc[0] ? ", " : "", r->name);
    return false;
}

/* All encodes, lowest rung first; of a rung H.264, HEVC, WebM. */
static int
all_encodes(avp_encode_plan_t *e, avp_plan_t *plan,
            const avp_probe_t *p, const avp_job_t *job)
{
    avp_rung_t rungs[AVP_LADDER_MAX];
    int        nrungs = avp_ladder(rungs, p->width, p->height,
                                   job->profile.rungs, job->profile.nrungs);
    int        n = 0;
    int64_t    above[AVP_CODEC_COUNT] = { 0 };

    plan->key_step = 1;

    /* from the top, since no rung's cap is above the one over it */
    for (int i = nrungs - 1; i >= 0; i--) {
        const avp_rung_t *r = &rungs[i];
        int               least = FFMIN(r->width, r->height);
        avp_codec_t       webm = job->profile.vp9 || least < SVT_MIN_SIDE
                                     ? AVP_CODEC_VP9
                                     : AVP_CODEC_AV1;

        if (r->spec->webm) {
            make_encode(&e[n], plan, p, job, r, webm, above[webm]);
            above[webm] = e[n].cap;
            e[n++].webm = true;
        }
        if (wants_hevc(plan, r)) {
            make_encode(&e[n], plan, p, job, r, AVP_CODEC_HEVC,
                        above[AVP_CODEC_HEVC]);
            above[AVP_CODEC_HEVC] = e[n].cap;
            e[n++].hls = true;
        }
        if (r->spec->mp4 || r->spec->hls) {
            make_encode(&e[n], plan, p, job, r, AVP_CODEC_H264,
                        above[AVP_CODEC_H264]);
            above[AVP_CODEC_H264] = e[n].cap;
            e[n].mp4 = r->spec->mp4;
            e[n++].hls = r->spec->hls;
        }
    }

    for (int i = 0; i < n / 2; i++) {
        avp_encode_plan_t swap = e[i];

        e[i] = e[n - 1 - i];
        e[n - 1 - i] = swap;
    }
    for (int i = 0; i < n; i++) {
        plan->key_step = plan->key_step / gcd(plan->key_step, e[i].divide)
                         * e[i].divide;
    }
    return n;
}

/* The rung that plays first: a copied one, which takes no time, else the
 * lowest that HLS plays; n: none. */
static int
playable_of(const avp_encode_plan_t *e, int n)
{
    int i = 0;

    for (int k = 0; k < n; k++) {
        if (e[k].copy && e[k].hls) {
            return k;
        }
    }
    while (i < n && !(e[i].hls && e[i].codec == AVP_CODEC_H264)) {
        i++;
    }
    return i;
}

/* Whether all rungs have a frame at every key frame of the source. */
static bool
keys_on_steps(const avp_plan_t *plan, const avp_survey_t *s)
{
    for (int i = 0; i < s->nkeys; i++) {
        if (s->keys[i] % plan->key_step != 0) {
            return false;
        }
    }
    return true;
}

/* Lets the top H.264 rung be copied if it may; when not into HLS, that is
 * encoded beside.  Returns how many encodes there are then. */
static int
pass_through(avp_encode_plan_t *e, int n, avp_plan_t *plan,
             const avp_probe_t *p, const avp_job_t *job)
{
    avp_encode_plan_t *top = NULL;
    avp_fits_t        *fits = &plan->copy_video;

    for (int i = 0; i < n; i++) {
        if (e[i].codec == AVP_CODEC_H264) {
            top = &e[i];
        }
    }

    avp_plan_passthrough(plan, p, job, top);
    if (top && fits->hls && !keys_on_steps(plan, &p->survey)) {
        fits->hls = false;
        fits->copied = top->mp4;
        fits->code = top->mp4 ? "fits" : "key_frames";
        snprintf(fits->text, sizeof(fits->text),
                 "%s: slower rungs have no frames at its key frames",
                 top->mp4 ? "copied into MP4 only" : "not copied");
    }
    if (top == NULL || !fits->copied) {
        return n;
    }
    if (top->hls && !fits->hls) {
        e[n] = *top;
        top->mp4 = false;
        top = &e[n++];
        top->hls = false;
    }

    top->copy = true;
    top->cap = p->survey.peak;
    top->bufsize = 0;
    top->cost = avp_estimate_encode(plan, p, job, top);
    if (top->hls) {
        plan->keys = p->survey.keys;
        plan->nkeys = p->survey.nkeys;
        plan->gop = p->survey.gop_max;
    }
    return n;
}

static void
give(avp_pass_t *pass, const avp_encode_plan_t *e, bool sound)
{
    pass->encodes[pass->nencodes++] = *e;
    pass->aac |= sound && e->mp4;
    pass->opus |= sound && e->webm;
    pass->decodes |= !e->copy;
}

/* Whether there is more than the playable rung and WebM. */
static bool
any_between(const avp_encode_plan_t *e, int n, int first)
{
    for (int i = 0; i < n; i++) {
        if (i != first && !e[i].webm) {
            return true;
        }
    }
    return false;
}

/* Deals the encodes out to passes. */
static void
make_passes(avp_plan_t *plan, const avp_probe_t *p, const avp_job_t *job,
            const avp_encode_plan_t *e, int n)
{
    bool sound = p->audio >= 0, hls_first, early;
    int  first = playable_of(e, n), rest, webm;
    avp_pass_t *later; /* for what nobody waits for */

    early = job->early && job->hls && n > 1
            && (plan->duration == 0 || plan->duration >= EARLY_MIN);
    hls_first = job->webm && (job->mp4 || job->hls)
                && (job->order == AVP_ORDER_HLS_FIRST
                    || (job->order == AVP_ORDER_AUTO && job->hls
                        && e[n - 1].rung.short_side > 1080));

    rest = early ? 1 : 0;
    webm = rest + (hls_first ? 1 : 0);
    if (early && hls_first && !any_between(e, n, first)) {
        webm = 1; /* nothing for a pass between */
    }

    for (int i = 0; i < n; i++) {
        int to = e[i].webm ? webm : i == first ? 0 : rest;

        give(&plan->passes[to], &e[i], sound);
        plan->npasses = FFMAX(plan->npasses, to + 1);
    }

    /* a pass that only copies has no frames to choose from */
    plan->poster_by_seek |= !plan->passes[0].decodes;
    later = &plan->passes[plan->npasses > 1 ? 1 : 0];
    plan->passes[0].poster = true;
    later->storyboard = true;
    if (job->hls && sound) {
        plan->passes[0].hls_audio = true;
        plan->passes[0].aac = true;
        later->others = p->nsounds - 1;
        later->surround = p->apar->ch_layout.nb_channels >= SURROUND_MIN;
    }
    later->texts = job->hls;
}

/* Threads by share of the work: with few cores every encoder has one, since
 * they run beside each other anyway (less memory, same speed). */
static void
set_threads(avp_pass_t *pass, int cores)
{
    double sum = 0;

    for (int i = 0; i < pass->nencodes; i++) {
        sum += pass->encodes[i].cost;
    }

    for (int i = 0; i < pass->nencodes; i++) {
        avp_encode_plan_t *e = &pass->encodes[i];

        /* short pictures do not cut well into many threads */
        e->threads = av_clip((int)lrint(cores * e->cost / sum), 1,
                             1 + e->rung.short_side / 120);
        if (e->codec == AVP_CODEC_VP9) {
            e->threads = FFMIN(e->threads, 4);
        }
        if (e->codec == AVP_CODEC_AV1) {
            e->threads = 1; /* with a cap SVT's bits vary with more */
        }
    }
    pass->decode_threads = pass->nencodes == 1 ? FFMIN(cores, 4)
                                               : av_clip(cores / 4, 1, 4);
}

typedef enum { H264_ONLY, HEVC_ONLY, WEBM_ONLY } kind_t;

static kind_t
kind_of(const avp_encode_plan_t *e)
{
    return e->webm                        ? WEBM_ONLY
           : e->codec == AVP_CODEC_HEVC ? HEVC_ONLY
                                        : H264_ONLY;
}

/* " HEVC 480p, 720p": the rungs of a pass that are of a kind, each once. */
static int
label_rungs(avp_pass_t *pass, kind_t kind, const char *before)
{
    const char *last = NULL;
    int         n = 0;

    for (int i = 0; i < pass->nencodes; i++) {
        const char *name = pass->encodes[i].rung.name;

        if (kind_of(&pass->encodes[i]) != kind
            || (last && strcmp(last, name) == 0)) {
            continue;
        }
        av_strlcatf(pass->label, sizeof(pass->label), "%s %s",
                    n++ ? "," : before, name);
        last = name;
    }
    return n;
}

/* What people read while it runs: "encoding 720p, 4k, HEVC 4k and WebM
 * 480p". */
static void
label_pass(avp_pass_t *pass)
{
    bool webm = false;
    int  n;

    for (int i = 0; i < pass->nencodes; i++) {
        webm |= pass->encodes[i].webm;
    }

    av_strlcpy(pass->label, pass->decodes ? "encoding" : "copying",
               sizeof(pass->label));
    n = label_rungs(pass, H264_ONLY, "");
    n += label_rungs(pass, HEVC_ONLY,
                     n == 0 ? " HEVC" : webm ? ", HEVC" : " and HEVC");
    label_rungs(pass, WEBM_ONLY, n ? " and WebM" : " WebM");
}

static const char *const codec_words[] = { [AVP_CODEC_H264] = "h264",
                                           [AVP_CODEC_VP9] = "vp9",
                                           [AVP_CODEC_AV1] = "av1",
                                           [AVP_CODEC_HEVC] = "hevc" };

static void
describe(avp_plan_t *plan, const avp_probe_t *p)
{
    char *t = plan->text;

    av_strlcatf(t, AVP_PLAN_TEXT, "%s %s %dx%d, %.3f fps%s -> %.3f fps; ",
                avp_format_name(p->format), p->vcodec, p->width, p->height,
                p->rate.fps, p->rate.vfr ? " (variable)" : "",
                av_q2d(plan->rate));

    for (int i = 0; i < plan->npasses; i++) {
        const avp_pass_t *pass = &plan->passes[i];

        av_strlcatf(t, AVP_PLAN_TEXT, "pass %d:", i + 1);
        for (int k = 0; k < pass->nencodes; k++) {
            const avp_encode_plan_t *e = &pass->encodes[k];

            av_strlcatf(t, AVP_PLAN_TEXT, " %s %s (%lldk)", e->rung.name,
                        e->copy ? "copied" : codec_words[e->codec],
                        (long long)(e->cap / 1000));
        }
        av_strlcatf(t, AVP_PLAN_TEXT, "%s%s",
                    !pass->aac                  ? ""
                    : plan->copy_audio.copied ? " aac copied"
                                              : " aac",
                    pass->opus ? " opus" : "");
        if (pass->others > 0) {
            av_strlcatf(t, AVP_PLAN_TEXT, " %d more sounds", pass->others);
        }
        av_strlcatf(t, AVP_PLAN_TEXT, "%s%s%s; ",
                    pass->surround ? " 5.1" : "",
                    pass->poster ? " poster" : "",
                    pass->storyboard ? " storyboard" : "");
    }

    av_strlcatf(t, AVP_PLAN_TEXT, "about %.0f CPU s, %lld MB",
                plan->cpu_seconds, (long long)(plan->memory_bytes / 1000000));
}

void
avp_plan(avp_plan_t *plan, const avp_probe_t *p, const avp_job_t *job)
{
    avp_encode_plan_t e[AVP_ENCODES_MAX];
    int               n;

    *plan = (avp_plan_t){ .rate = p->rate.rate,
                          .duration = p->duration,
                          .bound = bound_of(p, job),
                          .gop = AVP_GOP_HLS };

    n = all_encodes(e, plan, p, job);
    n = pass_through(e, n, plan, p, job);
    for (int i = 0; i < n; i++) {
        plan->nresults += e[i].mp4 + e[i].webm
                          + (e[i].hls && e[i].codec != AVP_CODEC_HEVC);
    }

    plan->poster_by_seek = p->seekable && p->frames >= SEEK_MIN_FRAMES;
    make_passes(plan, p, job, e, n);

    for (int i = 0; i < plan->npasses; i++) {
        set_threads(&plan->passes[i], job->threads);
        label_pass(&plan->passes[i]);
    }

    avp_estimate(plan, p, job);
    describe(plan, p);
}
