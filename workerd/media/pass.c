#include "workerd/media/pass.h"

#include <string.h>

typedef struct {
    avp_run_t        *run;
    const avp_pass_t *plan;
    avp_hls_t        *hls;
    avp_sched_t       sched;
    avp_source_t      source;
    int               nrungs, nencoders, nfiles;
    avp_rung_node_t   rungs[AVP_LADDER_MAX];
    avp_encoder_t     encoders[AVP_ENCODES_MAX];
    avp_sound_t       sound;
    avp_voice_t      *aac, *opus; /* in sound; NULL: none */
    avp_pictures_t    poster;   /* by seek */
    avp_pictures_t    pictures; /* from the frames of the pass */
    avp_packager_t   *files[2 * AVP_LADDER_MAX];
} pass_t;

/* --- building ------------------------------------------------------------ */

static avp_voice_t *
add_voice(pass_t *p, bool opus, avp_fail_t *fail)
{
    avp_voice_t *v = &p->sound.voices[p->sound.nvoices++];

    return avp_voice_open(v, p->run->facts, opus, fail) ? NULL : v;
}

static int
open_failed(int rc, avp_fail_t *fail)
{
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "beginning an output")
                  : 0;
}

/* An MP4 or WebM of an encode, with its sound. */
static int
add_file(pass_t *p, avp_encoder_t *e, bool webm, avp_fail_t *fail)
{
    avp_packager_t         **file = &p->files[p->nfiles++];
    avp_voice_t             *v = webm ? p->opus : p->aac;
    const avp_stream_spec_t *sound = v ? &v->spec : NULL;
    const char              *name = e->plan->rung.name;
    int                      rc;

    rc = webm ? avp_webm_open(file, p->run->out, name, &e->spec, sound)
              : avp_mp4_open(file, p->run->out, name, &e->spec, sound);

    e->sinks[e->nsinks++].file = *file;
    if (v) {
        v->sinks[v->nsinks++].file = *file;
    }
    return open_failed(rc, fail);
}

static int
add_hls(pass_t *p, avp_encoder_t *e, avp_fail_t *fail)
{
    avp_sink_t *s = &e->sinks[e->nsinks++];

    return open_failed(avp_hls_video(p->hls, &s->hls, e->plan->rung.name,
                                     &e->spec),
                       fail);
}

static int
add_sound(pass_t *p, avp_fail_t *fail)
{
    p->sound.run = p->run;
    p->sound.sched = &p->sched;

    if (p->plan->aac && (p->aac = add_voice(p, false, fail)) == NULL) {
        return -1;
    }
    if (p->plan->opus && (p->opus = add_voice(p, true, fail)) == NULL) {
        return -1;
    }
    if (p->plan->hls_audio) {
        avp_sink_t     *s = &p->aac->sinks[p->aac->nsinks++];
        avp_hls_sound_t sound = { .spec = &p->aac->spec,
                                  .name = "audio",
                                  .label = "Audio",
                                  .is_default = true };

        return open_failed(avp_hls_audio(p->hls, &s->hls, &sound), fail);
    }
    return 0;
}

/* The rung node of a size, made when it is the first encoder of it. */
static avp_rung_node_t *
rung_of(pass_t *p, const avp_rung_t *rung)
{
    avp_rung_node_t *r;

    for (int i = 0; i < p->nrungs; i++) {
        if (p->rungs[i].scaler.width == rung->width
            && p->rungs[i].scaler.height == rung->height
            && p->rungs[i].nouts < 2) {
            return &p->rungs[i];
        }
    }

    r = &p->rungs[p->nrungs++];
    r->sched = &p->sched;
    r->in = avp_sched_queue(&p->sched);
    avp_scaler_init(&r->scaler, p->run->facts, rung->width, rung->height);
    p->source.outs[p->source.nouts++] = r->in;
    return r;
}

static int
add_encoders(pass_t *p, avp_fail_t *fail)
{
    int first;

    avp_progress_pass(p->run->progress, p->plan, &first);

    for (int i = 0; i < p->plan->nencodes; i++) {
        avp_encoder_t   *e = &p->encoders[p->nencoders++];
        avp_rung_node_t *r;

        e->run = p->run;
        e->sched = &p->sched;
        e->plan = &p->plan->encodes[i];
        e->track = p->sched.clock.ntracks++;
        e->item = first + i;
        e->in = avp_sched_queue(&p->sched);
        r = rung_of(p, &e->plan->rung);
        r->outs[r->nouts++] = e->in;

        if (avp_encoder_open(e, fail)
            || (e->plan->mp4 && add_file(p, e, false, fail))
            || (e->plan->webm && add_file(p, e, true, fail))
            || (e->plan->hls && add_hls(p, e, fail))) {
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
    p->source.outs[p->source.nouts++] = p->pictures.in;
    return avp_pictures_open(&p->pictures, poster, p->plan->storyboard, fail);
}

/* --- running ------------------------------------------------------------- */

static void
start(pass_t *p)
{
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
    if (p->sound.nvoices > 0) {
        avp_sched_spawn(&p->sched, avp_sound_node, &p->sound, "sound");
    }
    avp_sched_spawn(&p->sched, avp_source_node, &p->source, "source");
}

static int
finish_files(pass_t *p, avp_pass_result_t *res, avp_fail_t *fail)
{
    for (int i = 0; i < p->nfiles; i++) {
        int rc = avp_packager_finish(p->files[i],
                                     &res->results[res->nresults]);

        if (rc < 0) {
            return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                               "finishing a file");
        }
        res->nresults++;
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

    avp_sound_free(&p->sound);
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
    p->source.threads = plan->decode_threads;

    if (add_sound(p, fail) || add_encoders(p, fail)
        || add_pictures(p, fail)) {
        goto done;
    }

    start(p);
    rc = avp_sched_join(&p->sched, fail);
    if (rc == 0) {
        rc = finish_files(p, res, fail);
    }

    res->frames_in = p->source.frames_in;
    res->frames_out = p->source.frames_out;
    res->errors = p->source.errors;

done:

    take_down(p);
    av_free(p);
    return rc;
}
