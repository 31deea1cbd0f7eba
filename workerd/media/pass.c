#include "workerd/media/pass.h"

#include "workerd/media/copy.h"

#include <stdio.h>
#include <string.h>

/* A stream that packagers take, encoded or copied. */
typedef struct {
    const avp_stream_spec_t *spec; /* NULL: there is none */
    avp_sink_t              *sinks;
    int                     *nsinks;
} feed_t;

typedef struct {
    avp_run_t        *run;
    const avp_pass_t *plan;
    avp_hls_t        *hls;
    avp_sched_t       sched;
    avp_source_t      source;
    int               nrungs, nencoders, nfiles;
    avp_rung_node_t   rungs[AVP_LADDER_MAX];
    avp_encoder_t     encoders[AVP_ENCODES_MAX];
    int               nsounds;
    avp_sound_t       sounds[AVP_SOUNDS_MAX + 1]; /* and the surround */
    feed_t            aac, opus; /* of the default one */
    int               ncopies;
    avp_copy_t        copies[2]; /* of video and sound */
    avp_key_source_t  key_source;
    avp_texts_t       texts;
    bool              has_texts;
    avp_pictures_t    poster;   /* by seek */
    avp_pictures_t    pictures; /* from the frames of the pass */
    avp_packager_t   *files[2 * AVP_LADDER_MAX];
} pass_t;

/* --- building ------------------------------------------------------------ */

static int
open_failed(int rc, avp_fail_t *fail)
{
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "beginning an output")
                  : 0;
}

static avp_sink_t *
sink_of(const feed_t *feed)
{
    return &feed->sinks[(*feed->nsinks)++];
}

/* An MP4 or WebM of a rung, with its sound. */
static int
add_file(pass_t *p, const feed_t *video, const char *name, bool webm,
         avp_fail_t *fail)
{
    avp_packager_t **file = &p->files[p->nfiles++];
    const feed_t    *sound = webm ? &p->opus : &p->aac;
    int              rc;

    rc = webm ? avp_webm_open(file, p->run->out, name, video->spec,
                              sound->spec)
              : avp_mp4_open(file, p->run->out, name, video->spec,
                             sound->spec);

    sink_of(video)->file = *file;
    if (sound->spec) {
        sink_of(sound)->file = *file;
    }
    return open_failed(rc, fail);
}

static int
add_hls(pass_t *p, const feed_t *video, const char *name, avp_fail_t *fail)
{
    return open_failed(avp_hls_video(p->hls, &sink_of(video)->hls, name,
                                     video->spec),
                       fail);
}

static int
add_outputs(pass_t *p, const feed_t *video, const avp_encode_plan_t *plan,
            avp_fail_t *fail)
{
    const char *name = plan->rung.name;
    char        folder[16];

    snprintf(folder, sizeof(folder), "%s%s", name,
             plan->codec == AVP_CODEC_HEVC ? "-hevc" : "");
    return (plan->mp4 && add_file(p, video, name, false, fail))
                   || (plan->webm && add_file(p, video, name, true, fail))
                   || (plan->hls && add_hls(p, video, folder, fail))
               ? -1
               : 0;
}

static avp_copy_t *
add_copy(pass_t *p, feed_t *feed, bool audio, avp_fail_t *fail)
{
    avp_copy_t *c = &p->copies[p->ncopies++];

    c->run = p->run;
    c->sched = &p->sched;
    c->audio = audio;
    c->leads = !audio && !p->plan->decodes;
    *feed = (feed_t){ &c->spec, c->sinks, &c->nsinks };
    return avp_copy_open(c, fail) ? NULL : c;
}

static feed_t
feed_of(avp_voice_t *v)
{
    return (feed_t){ &v->spec, v->sinks, &v->nsinks };
}

/* A node for a sound track, with its first voice. */
static avp_voice_t *
add_sound(pass_t *p, const avp_track_t *track, avp_voice_kind_t kind,
          avp_fail_t *fail)
{
    avp_sound_t *s = &p->sounds[p->nsounds++];

    s->run = p->run;
    s->sched = &p->sched;
    s->track = track;
    s->channels = kind == AVP_VOICE_SURROUND ? 6 : 2;
    s->nvoices = 1;
    return avp_voice_open(&s->voices[0], kind, &p->run->job->profile, track,
                          fail)
               ? NULL
               : &s->voices[0];
}

static int
add_hls_sound(pass_t *p, const feed_t *feed, const avp_track_t *track,
              const char *name, avp_fail_t *fail)
{
    int             channels = feed->spec->par->ch_layout.nb_channels;
    avp_hls_sound_t sound = { .spec = feed->spec,
                              .name = name,
                              .label = track->label,
                              .is_default = track == p->run->facts->sounds,
                              .surround = channels > 2,
                              .described = track->described };

    return open_failed(avp_hls_audio(p->hls, &sink_of(feed)->hls, &sound),
                       fail);
}

static int
add_aac(pass_t *p, const avp_track_t *track, avp_fail_t *fail)
{
    avp_voice_t *v;

    if (p->run->plan->copy_audio.copied) {
        return add_copy(p, &p->aac, true, fail) ? 0 : -1;
    }
    v = add_sound(p, track, AVP_VOICE_AAC, fail);
    if (v == NULL) {
        return -1;
    }
    p->aac = feed_of(v);
    return 0;
}

/* The default sound, for everything that has but one. */
static int
add_default_sound(pass_t *p, avp_fail_t *fail)
{
    const avp_track_t *track = p->run->facts->sounds;
    avp_voice_t       *v;

    if (p->plan->aac && add_aac(p, track, fail)) {
        return -1;
    }
    if (p->plan->opus && p->nsounds > 0) {
        /* the same samples: another voice of that node */
        v = &p->sounds[0].voices[p->sounds[0].nvoices++];
        if (avp_voice_open(v, AVP_VOICE_OPUS, &p->run->job->profile, track,
                           fail)) {
            return -1;
        }
        p->opus = feed_of(v);
    } else if (p->plan->opus) {
        v = add_sound(p, track, AVP_VOICE_OPUS, fail);
        if (v == NULL) {
            return -1;
        }
        p->opus = feed_of(v);
    }

    return p->plan->hls_audio
               ? add_hls_sound(p, &p->aac, track, "audio", fail)
               : 0;
}

/* What only HLS has: the other sounds, and the default one in 5.1. */
static int
add_more_sounds(pass_t *p, avp_fail_t *fail)
{
    const avp_track_t *tracks = p->run->facts->sounds;
    avp_voice_t       *v;
    feed_t             feed;

    for (int i = 1; i <= p->plan->others; i++) {
        char name[32];

        snprintf(name, sizeof(name), "audio-%d", i + 1);
        v = add_sound(p, &tracks[i], AVP_VOICE_AAC, fail);
        if (v == NULL) {
            return -1;
        }
        feed = feed_of(v);
        if (add_hls_sound(p, &feed, &tracks[i], name, fail)) {
            return -1;
        }
    }

    if (p->plan->surround) {
        v = add_sound(p, tracks, AVP_VOICE_SURROUND, fail);
        if (v == NULL) {
            return -1;
        }
        feed = feed_of(v);
        if (add_hls_sound(p, &feed, tracks, "surround", fail)) {
            return -1;
        }
    }
    return 0;
}

static int
add_texts(pass_t *p, avp_fail_t *fail)
{
    if (!p->plan->texts) {
        return 0;
    }

    for (int i = 0; i < p->run->facts->ntexts; i++) {
        const avp_track_t  *t = &p->run->facts->texts[i];
        char                name[32];
        avp_hls_text_spec_t spec = { .name = name,
                                     .label = t->label,
                                     .language = t->language,
                                     .is_default = t->is_default,
                                     .forced = t->forced,
                                     .captions = t->captions };

        snprintf(name, sizeof(name), "text-%d", i + 1);
        if (open_failed(avp_hls_text(p->hls, &p->texts.out[i], &spec), fail)) {
            return -1;
        }
        p->has_texts = true;
    }

    p->texts.run = p->run;
    p->texts.sched = &p->sched;
    p->source.captions = avp_captions_new(p->run, p->hls);
    return p->source.captions
               ? 0
               : avp_fail(fail, AVP_ERR_NO_MEMORY, "captions");
}

/* The rung node of a size, made when it is the first encoder of it. */
static avp_rung_node_t *
rung_of(pass_t *p, const avp_encode_plan_t *e)
{
    const avp_rung_t *rung = &e->rung;

    avp_rung_node_t  *r;

    for (int i = 0; i < p->nrungs; i++) {
        if (strcmp(p->rungs[i].name, rung->name) == 0) {
            return &p->rungs[i];
        }
    }

    r = &p->rungs[p->nrungs++];
    r->sched = &p->sched;
    r->name = rung->name;
    r->divide = e->divide;
    r->in = avp_sched_queue(&p->sched);
    avp_scaler_init(&r->scaler, p->run->facts, rung->width, rung->height);
    p->source.outs[p->source.nouts++] = r->in;
    return r;
}

static int
add_encoder(pass_t *p, const avp_encode_plan_t *plan, int track, int item,
            avp_fail_t *fail)
{
    avp_encoder_t   *e = &p->encoders[p->nencoders++];
    feed_t           feed = { &e->spec, e->sinks, &e->nsinks };
    avp_rung_node_t *r;

    e->run = p->run;
    e->sched = &p->sched;
    e->plan = plan;
    e->track = track;
    e->item = item;
    e->in = avp_sched_queue(&p->sched);
    r = rung_of(p, plan);
    r->outs[r->nouts++] = e->in;

    return avp_encoder_open(e, fail) ? -1 : add_outputs(p, &feed, plan, fail);
}

static int
add_video_copy(pass_t *p, const avp_encode_plan_t *plan, int track, int item,
               avp_fail_t *fail)
{
    feed_t      feed;
    avp_copy_t *c = add_copy(p, &feed, false, fail);

    if (c == NULL) {
        return -1;
    }
    c->track = track;
    c->item = item;
    return add_outputs(p, &feed, plan, fail);
}

static int
add_encoders(pass_t *p, avp_fail_t *fail)
{
    int first;

    avp_progress_pass(p->run->progress, p->plan, &first);

    for (int i = 0; i < p->plan->nencodes; i++) {
        const avp_encode_plan_t *plan = &p->plan->encodes[i];
        int track = p->sched.clock.ntracks++, item = first + i;

        if (plan->copy ? add_video_copy(p, plan, track, item, fail)
                       : add_encoder(p, plan, track, item, fail)) {
            return -1;
        }
    }
    return 0;
}

static int
add_pictures(pass_t *p, avp_fail_t *fail)
{
    bool seek = p->plan->poster && p->run->plan->poster_by_seek;
    bool poster = p->plan->poster && !seek;

    p->poster.run = p->pictures.run = p->run;
    p->poster.sched = p->pictures.sched = &p->sched;

    if (seek && avp_pictures_open(&p->poster, true, false, fail)) {
        return -1;
    }
    if (!poster && !p->plan->storyboard) {
        return 0;
    }

    p->pictures.in = avp_sched_queue(&p->sched);
    if (p->plan->decodes) {
        p->source.outs[p->source.nouts++] = p->pictures.in;
    } else {
        p->key_source = (avp_key_source_t){ p->run, &p->sched,
                                            p->pictures.in };
    }
    return avp_pictures_open(&p->pictures, poster, p->plan->storyboard, fail);
}

/* --- running ------------------------------------------------------------- */

static void
start(pass_t *p)
{
    p->sched.clock.nsounds = p->nsounds;
    for (int i = 0; i < p->ncopies; i++) {
        p->sched.clock.nsounds += p->copies[i].audio;
    }

    if (p->poster.poster) {
        avp_sched_spawn(&p->sched, avp_poster_node, &p->poster, "poster");
    }
    if (p->pictures.in) {
        avp_sched_spawn(&p->sched, avp_pictures_node, &p->pictures,
                        "pictures");
    }

    for (int i = 0; i < p->nencoders; i++) {
        avp_sched_spawn(&p->sched, avp_encoder_node, &p->encoders[i],
                        p->encoders[i].plan->rung.name);
    }
    for (int i = 0; i < p->nrungs; i++) {
        avp_sched_spawn(&p->sched, avp_rung_node, &p->rungs[i], "rung");
    }
    for (int i = 0; i < p->nsounds; i++) {
        avp_sched_spawn(&p->sched, avp_sound_node, &p->sounds[i], "sound");
    }
    if (p->has_texts) {
        avp_sched_spawn(&p->sched, avp_texts_node, &p->texts, "texts");
    }
    for (int i = 0; i < p->ncopies; i++) {
        avp_sched_spawn(&p->sched, avp_copy_node, &p->copies[i], "copy");
    }
    if (p->plan->decodes) {
        avp_sched_spawn(&p->sched, avp_source_node, &p->source, "source");
    } else if (p->key_source.out) {
        avp_sched_spawn(&p->sched, avp_key_source_node, &p->key_source,
                        "keys");
    }
}

static int
finish_files(pass_t *p, avp_pass_result_t *res, avp_fail_t *fail)
{
    for (int i = 0; i < p->nfiles; i++) {
        int rc;

        avp_progress_task(p->run->progress, AVP_TASK_FINISHING);
        rc = avp_packager_finish(p->files[i],
                                     &res->results[res->nresults]);

        if (rc < 0) {
            return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                               "finishing a file");
        }
        res->nresults++;
    }
    return 0;
}

/* A copy is as good as the stream is: the pass that decodes it has to come to
 * the same frames, without a fault. */
static int
check_copy(pass_t *p, avp_fail_t *fail)
{
    const avp_source_t *s = &p->source;

    if (!p->run->plan->copy_video.copied || !p->plan->decodes) {
        return 0;
    }
    if (s->errors + s->damaged > 0) {
        return avp_copy_broken(p->run, fail,
                               "places in the video could not be decoded");
    }
    if (s->frames_out != p->run->facts->survey.frames) {
        return avp_copy_broken(p->run, fail,
                               "the video decodes to other frames than it "
                               "has packets");
    }
    return 0;
}

static void
take_down(pass_t *p)
{
    for (int i = 0; i < p->nrungs; i++) {
        avp_scaler_free(&p->rungs[i].scaler);
    }
    for (int i = 0; i < p->nencoders; i++) {
        avp_encoder_free(&p->encoders[i]);
    }
    for (int i = 0; i < p->nfiles; i++) {
        avp_packager_free(p->files[i]);
    }

    for (int i = 0; i < p->ncopies; i++) {
        avp_copy_free(&p->copies[i]);
    }
    for (int i = 0; i < p->nsounds; i++) {
        avp_sound_free(&p->sounds[i]);
    }
    avp_captions_free(p->source.captions);
    avp_pictures_free(&p->poster);
    avp_pictures_free(&p->pictures);
    avp_sched_free(&p->sched);
}

int
avp_pass_run(avp_run_t *run, const avp_pass_t *plan, avp_hls_t *hls,
             avp_pass_result_t *res, avp_fail_t *fail)
{
    pass_t *p = av_mallocz(sizeof(*p));
    int     rc = -1;

    if (p == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a pass");
    }

    p->run = run;
    p->plan = plan;
    p->hls = hls;
    avp_sched_init(&p->sched);
    p->source.run = run;
    p->source.sched = &p->sched;
    /* with frame threads libavcodec loses the marks of damaged pictures, and
     * check_copy() has to see them */
    p->source.threads = run->plan->copy_video.copied ? 1
                                                     : plan->decode_threads;

    if (add_default_sound(p, fail) || add_encoders(p, fail)
        || add_more_sounds(p, fail) || add_texts(p, fail)
        || add_pictures(p, fail)) {
        goto done;
    }

    start(p);
    rc = avp_sched_join(&p->sched, fail);
    if (rc == 0) {
        rc = check_copy(p, fail);
    }
    if (rc == 0) {
        rc = finish_files(p, res, fail);
    }

    if (plan->decodes) {
        res->frames_in = p->source.frames_in;
        res->frames_out = p->source.frames_out;
        res->errors = p->source.errors;
    } else {
        res->frames_in = res->frames_out = run->facts->survey.frames;
        res->errors = 0;
    }
    if (plan->storyboard) {
        res->images = p->pictures.made;
    }

done:

    take_down(p);
    av_free(p);
    return rc;
}
