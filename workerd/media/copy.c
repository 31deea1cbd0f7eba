/*
 * Passthrough: packets of the source, as they are, into the packagers.
 *
 * Only the times are made anew, on the grid that the encoders use: frame n of
 * the video is shown at n, and the sound is one run of packets of 1024
 * samples.  The survey has found (survey.h) that this is where they belong;
 * where it knew less than all, each packet is held against it here.  One that
 * does not fit ends the pass, and the job begins again without copying.
 */

#include "workerd/media/copy.h"

#include "workerd/media/keys.h"

#include <libavutil/avstring.h>

#include <math.h>
#include <string.h>

#define AHEAD_OF_VIDEO 2.0 /* s that copied sound may be, as encoded sound */
#define AHEAD_OF_SOUND 4.0 /* s that copied video may be */
#define OFF_SLOT 0.3       /* slots */
#define OFF_AUDIO 0.005    /* s */
#define AAC_SAMPLES 1024

typedef struct {
    avp_copy_t         *node;
    avp_run_t          *run;
    const avp_survey_t *survey;
    avp_fail_t         *fail;
    avp_demux_t         demux;
    AVPacket           *pkt;
    avp_avcc_t          avcc;
    double              rate;
    int64_t             n;     /* packets so far */
    int64_t             first; /* time stamp of the first */
    bool                last;  /* the last slot is taken */
} copy_t;

int
avp_copy_broken(avp_run_t *run, avp_fail_t *fail, const char *why)
{
    if (!atomic_flag_test_and_set(&run->broken)) {
        av_strlcpy(run->broken_why, why, sizeof(run->broken_why));
    }
    return avp_fail(fail, AVP_ERR_PASSTHROUGH_FAILED, "%s", why);
}

/* --- opening ------------------------------------------------------------- */

/* Where the first packet of sound goes that is not left out, in samples:
 * what comes before the first picture is left out but for one whole packet,
 * which a decoder needs to come in. */
static int64_t
first_sample(const avp_probe_t *p)
{
    int64_t at = llrint(p->survey.begin * p->apar->sample_rate);

    while (at <= -2 * AAC_SAMPLES) {
        at += AAC_SAMPLES;
    }
    return FFMIN(at, 0);
}

/* Where HLS may be cut: at frames of the plan's list. */
static int
key_times(avp_copy_t *c, avp_fail_t *fail)
{
    const avp_plan_t *plan = c->run->plan;
    AVRational        frame = av_inv_q(plan->rate);

    if (plan->keys == NULL) {
        return 0;
    }
    c->key_us = av_malloc_array((size_t)plan->nkeys, sizeof(*c->key_us));
    if (c->key_us == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "copying a stream");
    }
    for (int i = 0; i < plan->nkeys; i++) {
        c->key_us[i] = av_rescale_q(plan->keys[i], frame, AV_TIME_BASE_Q);
    }
    c->spec.key_us = c->key_us;
    c->spec.nkeys = (size_t)plan->nkeys;
    c->spec.keys_end_us = av_rescale_q(c->run->facts->survey.frames, frame,
                                       AV_TIME_BASE_Q);
    return 0;
}

/* What the stream does not say of its colours, the container says: what the
 * encoders, too, would take it for. */
static void
tell_colours(AVCodecParameters *par, const avp_probe_t *p)
{
    if (par->color_space == AVCOL_SPC_UNSPECIFIED) {
        par->color_space = p->matrix;
    }
    if (par->color_primaries == AVCOL_PRI_UNSPECIFIED) {
        par->color_primaries = p->primaries;
    }
    if (par->color_trc == AVCOL_TRC_UNSPECIFIED) {
        par->color_trc = p->trc;
    }
    par->color_range = p->range;
}

int
avp_copy_open(avp_copy_t *c, avp_fail_t *fail)
{
    const avp_probe_t  *p = c->run->facts;
    const avp_survey_t *s = &p->survey;
    AVRational          rate = c->run->plan->rate;

    c->par = avcodec_parameters_alloc();
    if (c->par == NULL
        || avcodec_parameters_copy(c->par, c->audio ? p->apar : p->vpar) < 0) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "copying a stream");
    }
    c->par->codec_tag = 0;
    c->spec = (avp_stream_spec_t){ .par = c->par };

    if (c->audio) {
        c->par->initial_padding = (int)-first_sample(p);
        c->par->frame_size = AAC_SAMPLES;
        c->par->bit_rate = s->audio_average;
        c->spec.time_base = (AVRational){ 1, c->par->sample_rate };
        c->spec.frame_rate = (AVRational){ 0, 1 };
        c->spec.cap = s->audio_peak;
        memcpy(c->spec.language, p->language, sizeof(c->spec.language));
    } else {
        c->par->bit_rate = s->average;
        c->par->sample_aspect_ratio = (AVRational){ 1, 1 };
        tell_colours(c->par, p);
        c->spec.time_base = av_inv_q(rate);
        c->spec.frame_rate = rate;
        /* and what boxes around the packets take */
        c->spec.cap = s->peak + s->peak / 20 + 20000;
        return key_times(c, fail);
    }
    return 0;
}

void
avp_copy_free(avp_copy_t *c)
{
    av_freep(&c->key_us);
    avcodec_parameters_free(&c->par);
}

/* --- packets ------------------------------------------------------------- */

static int
write_packet(copy_t *c)
{
    avp_copy_t *n = c->node;
    int         rc = 0;

    /* what the container said of the packet is of its own times */
    av_packet_free_side_data(c->pkt);
    for (int i = 0; i < n->nsinks && rc >= 0; i++) {
        rc = avp_sink_write(&n->sinks[i],
                            n->audio ? AVP_PKT_AUDIO : AVP_PKT_VIDEO, c->pkt);
    }
    return rc < 0 ? avp_fail_av(c->fail, rc, AVP_ERR_STORAGE_ERROR,
                                "copying and writing")
                  : 0;
}

static int
stopped(copy_t *c)
{
    return avp_fail_av(c->fail, AVERROR_EXIT, AVP_ERR_INVALID_MEDIA,
                       "copying");
}

static const char *
look(copy_t *c)
{
    unsigned found = avp_nal_look(&c->avcc, c->pkt->data,
                                  (size_t)c->pkt->size, true);

    if ((found & AVP_NAL_BAD) || (c->pkt->flags & AV_PKT_FLAG_CORRUPT)) {
        return "a packet of the video is damaged";
    }
    if ((found & AVP_NAL_SETS)
        || av_packet_get_side_data(c->pkt, AV_PKT_DATA_NEW_EXTRADATA, NULL)) {
        return "the video's parameter sets change on the way";
    }
    if (found & AVP_NAL_CAPTIONS) {
        return "the video carries captions";
    }
    if ((c->pkt->flags & AV_PKT_FLAG_KEY) && !(found & AVP_NAL_IDR)) {
        return "a key frame of the video is no IDR picture";
    }
    return NULL;
}

/* Of a picture at `at`, counted in frames; the last one may be late
 * (survey.c).  -1: of none. */
static int64_t
slot_of(copy_t *c, double at)
{
    int64_t end = c->survey->frames - 1, slot;

    if (!(fabs(at - rint(at)) <= OFF_SLOT) || at < -OFF_SLOT
        || at > (double)(end + AVP_SURVEY_TAIL)) {
        return -1;
    }
    slot = llrint(at);
    if (slot >= end) {
        if (c->last) {
            return -1;
        }
        c->last = true;
        slot = end;
    }
    return slot;
}

static int
video_packet(copy_t *c)
{
    avp_copy_t  *n = c->node;
    avp_clock_t *clock = &n->sched->clock;
    AVPacket    *pkt = c->pkt;
    const char  *bad = look(c);
    double       at;
    int64_t      slot;

    if (bad) {
        return avp_copy_broken(c->run, c->fail, bad);
    }
    if (c->n == 0) {
        c->first = pkt->pts;
        if (n->leads) {
            avp_clock_start(clock, (double)pkt->pts
                                       * av_q2d(c->run->facts->vtb));
        }
    }

    at = (double)(pkt->pts - c->first) * av_q2d(c->run->facts->vtb) * c->rate;
    slot = slot_of(c, at);
    pkt->dts = c->n - c->survey->delay;
    if (pkt->pts == AV_NOPTS_VALUE || slot < 0 || slot < pkt->dts) {
        return avp_copy_broken(c->run, c->fail,
                               "a time stamp of the video is off its grid");
    }
    pkt->pts = slot;
    pkt->duration = 1;

    if (avp_clock_hear(clock, (double)pkt->dts / c->rate - AHEAD_OF_SOUND)
        < 0) {
        return stopped(c);
    }
    if (write_packet(c)) {
        return -1;
    }
    avp_clock_written(clock, n->track, (double)pkt->dts / c->rate);
    avp_progress_step(c->run->progress, n->item, (double)pkt->pts / c->rate);

    if (c->n % 64 == 0 && avp_progress_gone(c->run->progress)) {
        return avp_fail(c->fail, AVP_ERR_CANCELLED, "nobody listens");
    }
    c->n++;
    return 0;
}

static int
audio_packet(copy_t *c, double origin)
{
    AVPacket *pkt = c->pkt;
    double    at;
    int64_t   want;

    if (pkt->pts == AV_NOPTS_VALUE) {
        return avp_copy_broken(c->run, c->fail, "sound without time stamps");
    }
    at = (double)pkt->pts * av_q2d(c->run->facts->atb) - origin;
    want = c->first + c->n * AAC_SAMPLES;

    if (c->n == 0 && at * c->rate < (double)want - AAC_SAMPLES / 2) {
        return 0; /* before what is copied */
    }
    /* sound that begins a little late is put to the beginning */
    if (fabs(at - fmax(c->survey->begin, 0) - (double)want / c->rate)
        > OFF_AUDIO) {
        return avp_copy_broken(c->run, c->fail,
                               "the sound has gaps or overlaps");
    }

    pkt->pts = pkt->dts = want;
    pkt->duration = AAC_SAMPLES;
    pkt->flags |= AV_PKT_FLAG_KEY;
    pkt->flags &= ~AV_PKT_FLAG_DISCARD;
    if (avp_clock_wait(&c->node->sched->clock,
                       (double)want / c->rate - AHEAD_OF_VIDEO) < 0) {
        return stopped(c);
    }
    c->n++;
    return write_packet(c);
}

/* --- the node ------------------------------------------------------------ */

static int
read_all(copy_t *c)
{
    int    stream = c->node->audio ? c->run->facts->audio
                                   : c->run->facts->video;
    double origin = 0;
    int    rc;

    if (c->node->audio
        && avp_clock_origin(&c->node->sched->clock, &origin) < 0) {
        return stopped(c);
    }

    while ((rc = avp_demux_read(&c->demux, stream, c->pkt)) >= 0) {
        rc = c->node->audio ? audio_packet(c, origin) : video_packet(c);
        av_packet_unref(c->pkt);
        if (rc) {
            return -1;
        }
        if (c->node->leads) {
            avp_progress_read(c->run->progress, (double)c->n / c->rate,
                              (double)c->demux.pos
                                  / (double)(c->demux.size + 1));
        }
    }

    if (rc == AVERROR_EXIT) {
        return stopped(c);
    }
    if (c->demux.io_error) {
        return avp_demux_unreadable(&c->demux, c->fail);
    }
    if (rc != AVERROR_EOF
        || (c->node->audio ? c->n == 0 : c->n != c->survey->frames)) {
        return avp_copy_broken(c->run, c->fail,
                               "the stream cannot be read to its end");
    }
    return 0;
}

static int
finish(copy_t *c)
{
    avp_copy_t  *n = c->node;
    avp_clock_t *clock = &n->sched->clock;
    int          rc = 0;

    n->frames = c->n;
    for (int i = 0; rc >= 0 && i < n->nsinks; i++) {
        rc = avp_sink_end(&n->sinks[i],
                          n->audio ? AVP_PKT_AUDIO : AVP_PKT_VIDEO);
    }
    if (rc < 0) {
        return avp_fail_av(c->fail, rc, AVP_ERR_STORAGE_ERROR,
                           "copying and writing");
    }

    if (!n->audio) {
        if (n->leads) {
            avp_clock_decoded(clock, (double)c->n / c->rate);
        }
        avp_clock_ended(clock, n->track);
        avp_progress_item_done(c->run->progress, n->item);
    }
    return 0;
}

int
avp_copy_node(void *node, avp_fail_t *fail)
{
    avp_copy_t        *n = node;
    const avp_probe_t *facts = n->run->facts;
    copy_t             c = { .node = n, .run = n->run, .fail = fail };
    int                stream = n->audio ? facts->audio : facts->video;
    int                rc = -1;

    c.survey = &facts->survey;
    c.pkt = av_packet_alloc();
    if (n->audio) {
        c.rate = facts->apar->sample_rate;
        c.first = first_sample(facts);
    } else {
        c.rate = av_q2d(n->run->plan->rate);
        avp_avcc_parse(&c.avcc, facts->vpar->extradata,
                       (size_t)facts->vpar->extradata_size);
    }

    if (c.pkt == NULL) {
        avp_fail(fail, AVP_ERR_NO_MEMORY, "copying");
        goto done;
    }
    if (avp_demux_open(&c.demux, n->run->fd, n->run->job, facts->no_header,
                       &n->sched->stop, fail)) {
        goto done;
    }
    if ((unsigned)stream >= c.demux.ctx->nb_streams) {
        avp_fail(fail, AVP_ERR_INVALID_MEDIA, "a stream is gone");
        goto done;
    }
    avp_demux_select(&c.demux, stream);

    if (read_all(&c) == 0) {
        rc = finish(&c);
    }

done:

    if (n->audio) {
        avp_clock_unheard(&n->sched->clock);
    }
    avp_demux_close(&c.demux);
    av_packet_free(&c.pkt);
    return rc;
}
