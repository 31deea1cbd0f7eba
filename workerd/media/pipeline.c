#include "workerd/media/pipeline.h"

#include "workerd/media/master.h"
#include "workerd/media/pass.h"

#include <libavutil/cpu.h>
#include <libavutil/log.h>

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOG_LINES 200 /* what libav may say in a job */

/* What the supervisor takes for possible (lib/media_message.c); a source of
 * 20 frames within as many microseconds is not worth a refusal. */
#define FPS_TOLD 100000.0
#define BITRATE_TOLD 1e11

typedef struct {
    avp_run_t         run; /* first: callbacks get it and mean all of it */
    avp_job_t         job;
    avp_probe_t       facts;
    avp_plan_t        plan;
    avp_pass_result_t res;
    avp_hls_t        *hls;
    double            covered; /* seconds that limits are made for */

    pthread_mutex_t   lock; /* of what follows */
    bool              poster, segments, told;
    json_t           *warnings;
} job_run_t;

static atomic_int log_lines;

/* libav's own words go to stderr, bounded: hostile files make it talk. */
static void
log_line(void *ctx, int level, const char *fmt, va_list ap)
{
    char line[512];
    int  prefix = 1;

    if (level > av_log_get_level()
        || atomic_fetch_add(&log_lines, 1) >= LOG_LINES) {
        return;
    }

    av_log_format_line2(ctx, level, fmt, ap, line, sizeof(line), &prefix);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126) {
            *c = ' ';
        }
    }
    fprintf(stderr, "libav: %s\n", line);
}

void
avp_pipeline_init(void)
{
    /* dozens of threads, each with a heap of its own, would keep what one
     * pass has freed from the next */
    mallopt(M_ARENA_MAX, 2);
    av_log_set_level(AV_LOG_ERROR);
    av_log_set_callback(log_line);
    /* SVT-AV1 has a log of its own: errors only */
    (void) setenv("SVT_LOG", "1", 0);
    av_cpu_count();
    av_get_cpu_flags();
    sysconf(_SC_NPROCESSORS_ONLN);
    json_object_seed(0); /* opens /dev/urandom, the first time */
}

static void
warn(avp_run_t *run, const char *text)
{
    job_run_t *j = (job_run_t *)run;

    avp_progress_warning(run->progress, text);

    pthread_mutex_lock(&j->lock);
    if (json_array_size(j->warnings) < 16) {
        json_array_append_new(j->warnings, json_string(text));
    }
    pthread_mutex_unlock(&j->lock);
}

/* Playable is told once, when both its parts are there. */
static void
tell_playable(job_run_t *j, bool *part)
{
    bool tell;

    pthread_mutex_lock(&j->lock);
    *part = true;
    tell = j->poster && j->segments && !j->told;
    j->told |= tell;
    pthread_mutex_unlock(&j->lock);

    if (tell) {
        avp_progress_send(j->run.progress,
                          json_pack("{s:s, s:{s:s, s:s}}", "t", "playable",
                                    "doc", "master", "hls/live-master.m3u8",
                                    "poster", "poster.jpg"));
    }
}

static void
poster_done(avp_run_t *run)
{
    job_run_t *j = (job_run_t *)run;

    tell_playable(j, &j->poster);
}

static void
segments_done(void *ctx)
{
    job_run_t *j = ctx;

    tell_playable(j, &j->segments);
}

/* The source goes on after its claimed end: claims are hints, so the output
 * budget grows with what is decoded, and progress goes by bytes. */
static void
seen(avp_run_t *run, double seconds)
{
    job_run_t *j = (job_run_t *)run;
    double     was = j->covered;

    if (seconds <= was) {
        return;
    }

    j->covered = seconds * 1.5 + 60;
    j->plan.output_bytes += (int64_t)((double)j->plan.output_rate
                                      * (j->covered - was));
    avp_out_set_budget(run->out, j->plan.output_bytes);
    avp_progress_unsure(run->progress);
}

static json_t *
rendition(const avp_rendition_t *r)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:I, s:s, s:s, s:i, s:i}",
                     "format", r->format, "quality", r->quality, "path",
                     r->path, "size", (json_int_t)r->size, "duration",
                     r->duration, "bitrate", (json_int_t)r->bitrate, "codec",
                     r->codec, "mime", r->mime, "width", r->width, "height",
                     r->height);
}

static double
cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec)
           + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static json_t *
source_doc(const job_run_t *j)
{
    const avp_probe_t *f = &j->facts;
    double             duration = (double)j->res.frames_out
                                  / av_q2d(j->plan.rate);

    return json_pack(
        "{s:f, s:i, s:i, s:f, s:s, s:s, s:o, s:I, s:I}", "duration", duration,
        "width", f->width, "height", f->height, "fps",
        fmin(f->rate.fps, FPS_TOLD), "format",
        avp_format_name(f->format), "videoCodec", f->vcodec, "audioCodec",
        f->audio >= 0 ? json_string(f->acodec) : json_null(), "bitrate",
        (json_int_t)fmin((double)f->size * 8 / fmax(duration, 0.001),
                         BITRATE_TOLD), "frames",
        (json_int_t)j->res.frames_in);
}

/* The sounds that one may choose from: all in HLS, the first elsewhere. */
static json_t *
sounds_doc(const job_run_t *j)
{
    const avp_probe_t *f = &j->facts;
    json_t            *sounds = json_array();
    int                others = 0;
    bool               surround = false;

    for (int i = 0; i < j->plan.npasses; i++) {
        others += j->plan.passes[i].others;
        surround |= j->plan.passes[i].surround;
    }

    for (int i = 0; i < f->nsounds && i <= others; i++) {
        json_array_append_new(
            sounds,
            json_pack("{s:s, s:s, s:i, s:b}", "language",
                      avp_language_tag(f->sounds[i].language), "label",
                      f->sounds[i].label, "channels", 2, "default", i == 0));
    }
    if (surround) {
        json_array_append_new(
            sounds,
            json_pack("{s:s, s:s, s:i, s:b}", "language",
                      avp_language_tag(f->sounds[0].language), "label",
                      f->sounds[0].label, "channels", 6, "default", 0));
    }
    return sounds;
}

static json_t *
subtitle(const char *language, const char *label, bool captions, bool forced)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "language",
                     avp_language_tag(language), "label", label, "kind",
                     captions ? "captions" : "subtitles", "forced", forced);
}

static json_t *
subtitles_doc(const job_run_t *j)
{
    json_t *texts = json_array();

    for (int i = 0; j->hls && i < j->facts.ntexts; i++) {
        const avp_track_t *t = &j->facts.texts[i];

        json_array_append_new(texts, subtitle(t->language, t->label,
                                              t->captions, t->forced));
    }
    if (atomic_load(&j->run.captions)) {
        json_array_append_new(texts, subtitle("", AVP_CAPTIONS_LABEL, true,
                                              false));
    }
    return texts;
}

static json_t *
thumbnails_doc(const avp_images_t *images)
{
    json_t *list = json_array();

    for (int i = 0; i < images->nthumbnails; i++) {
        const avp_thumbnail_t *t = &images->thumbnails[i];
        char                   path[64], webp[64];

        snprintf(path, sizeof(path), "thumbnails/%d.jpg", i + 1);
        snprintf(webp, sizeof(webp), "thumbnails/%d.webp", i + 1);
        json_array_append_new(list,
                              json_pack("{s:s, s:s?, s:f, s:i, s:i}", "path",
                                        path, "webp", t->webp ? webp : NULL,
                                        "time", round(t->time * 1000) / 1000,
                                        "width", t->width, "height",
                                        t->height));
    }
    return list;
}

static json_t *
passthrough(const avp_fits_t *f)
{
    return json_pack("{s:b, s:s, s:s}", "copied", f->copied, "code", f->code,
                     "reason", f->text);
}

static json_t *
done_doc(job_run_t *j)
{
    const avp_images_t *images = &j->res.images;
    json_t             *results = json_array();

    for (int i = 0; i < j->res.nresults; i++) {
        json_array_append_new(results, rendition(&j->res.results[i]));
    }

    return json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:{s:I, s:i, s:f}, "
                     "s:O, s:o, s:o, s:{s:o, s:o}, s:o}",
                     "source", source_doc(j), "poster",
                     j->poster ? json_string("poster.jpg") : json_null(),
                     "storyboard", "storyboard.vtt", "thumbnails",
                     thumbnails_doc(images), "preview",
                     images->preview ? json_string("preview.webp")
                                     : json_null(), "master",
                     j->hls ? json_string("hls/master.m3u8") : json_null(),
                     "dash",
                     j->hls ? json_string("dash/manifest.mpd") : json_null(),
                     "stats", "framesDecoded",
                     (json_int_t)atomic_load(&j->run.frames_decoded), "passes",
                     j->plan.npasses, "cpuSeconds", cpu_seconds(), "warnings",
                     j->warnings, "audioTracks", sounds_doc(j), "subtitles",
                     subtitles_doc(j), "passthrough", "video",
                     passthrough(&j->plan.copy_video), "audio",
                     passthrough(&j->plan.copy_audio), "results", results);
}

static void
warn_of_facts(job_run_t *j)
{
    const avp_probe_t *f = &j->facts;
    char               text[160];

    for (int i = 0; i < f->nwarnings; i++) {
        warn(&j->run, f->warnings[i]);
    }
    if (f->truncated) {
        warn(&j->run, "the end of the file is missing; what is there was "
                      "kept");
    }
    if (j->plan.no_hevc[0]) {
        snprintf(text, sizeof(text),
                 "no HEVC for %s: its pictures are too small for the encoder, "
                 "or above HEVC's level 5.0", j->plan.no_hevc);
        warn(&j->run, text);
    }
}

static void
warn_of_source(job_run_t *j)
{
    char   text[160];
    double got = (double)j->res.frames_out / av_q2d(j->plan.rate);
    double claimed = j->facts.claimed;

    if (j->res.errors > 0) {
        snprintf(text, sizeof(text),
                 "%lld places in the video could not be decoded",
                 (long long)j->res.errors);
        warn(&j->run, text);
    }
    if (claimed > 0 && fabs(got - claimed) > 0.1 * claimed
        && fabs(got - claimed) > 1) {
        snprintf(text, sizeof(text),
                 "the file claims %.1f s of video and has %.1f s", claimed,
                 got);
        warn(&j->run, text);
    }
}

static int
run_passes(job_run_t *j, avp_fail_t *fail)
{
    int rc;

    for (int i = 0; i < j->plan.npasses; i++) {
        if (avp_pass_run(&j->run, &j->plan.passes[i], j->hls, &j->res,
                         fail)) {
            return -1;
        }
    }
    warn_of_source(j);
    avp_progress_task(j->run.progress, AVP_TASK_FINISHING);

    if (j->hls) {
        rc = avp_hls_finish(j->hls, &j->res.results[j->res.nresults],
                            AVP_RESULTS_MAX - j->res.nresults);
        if (rc < 0) {
            return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                               "finishing the playlists");
        }
        j->res.nresults += rc;
    }

    rc = avp_out_sync(j->run.out);
    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                           "writing to the disk");
    }
    if (j->res.nresults != j->plan.nresults) {
        return avp_fail(fail, AVP_ERR_STORAGE_ERROR,
                        "%d results of %d planned", j->res.nresults,
                        j->plan.nresults);
    }
    return 0;
}

static int
open_hls(job_run_t *j, avp_fail_t *fail)
{
    int rc;

    if (!j->job.hls) {
        return 0;
    }
    rc = avp_hls_open(&j->hls, j->run.out);
    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                           "beginning the playlists");
    }
    avp_hls_on_playable(j->hls, segments_done, j);
    return 0;
}

/* Limits are made of the plan that is told; one that copies may come to
 * nothing, and all has to be encoded then. */
static void
allow_again(job_run_t *j)
{
    avp_job_t   job = j->job;
    avp_plan_t *second;

    if (!j->plan.copy_video.copied && !j->plan.copy_audio.copied) {
        return;
    }
    second = av_mallocz(sizeof(*second));
    if (second == NULL) {
        return;
    }
    job.passthrough = false;
    avp_plan(second, &j->facts, &job);
    j->plan.cpu_spare = second->cpu_seconds;
    j->plan.memory_bytes = FFMAX(j->plan.memory_bytes, second->memory_bytes);
    j->plan.output_bytes = FFMAX(j->plan.output_bytes, second->output_bytes);
    j->plan.output_rate = FFMAX(j->plan.output_rate, second->output_rate);
    av_free(second);
}

static int
prepare(job_run_t *j, avp_fail_t *fail)
{
    if (avp_probe(&j->facts, j->run.fd, j->run.job, fail)) {
        return -1;
    }

    avp_plan(&j->plan, &j->facts, j->run.job);
    allow_again(j);
    j->covered = fmax(j->plan.bound * 1.05, 10);
    avp_out_set_budget(j->run.out, j->plan.output_bytes);
    avp_progress_plan(j->run.progress, &j->plan, j->run.job->threads);
    warn_of_facts(j);
    return open_hls(j, fail);
}

/* What was found, for `passthrough` of the results. */
static void
give_up(avp_fits_t *f, const char *why)
{
    if (f->copied) {
        *f = (avp_fits_t){ .code = "damaged" };
        snprintf(f->text, sizeof(f->text), "not copied: %s", why);
    }
}

/*
 * A stream that was being copied is not what it seemed: everything once more,
 * without copying.  Not under the eyes of players, though: who has begun to
 * play holds names of files that must not change.  Such a job fails, and its
 * next attempt has a folder of its own (and does not copy).
 */
static int
begin_again(job_run_t *j, avp_fail_t *fail)
{
    avp_fits_t video = j->plan.copy_video, audio = j->plan.copy_audio;
    int        rc;

    if (j->told && !j->job.restart) {
        return -1;
    }

    *fail = (avp_fail_t){ 0 };
    if (j->hls) {
        avp_hls_free(j->hls);
        j->hls = NULL;
    }
    j->res = (avp_pass_result_t){ 0 };
    j->poster = j->segments = false;
    rc = avp_out_clear(j->run.out);
    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR, "beginning again");
    }

    j->job.passthrough = false;
    avp_plan(&j->plan, &j->facts, &j->job);
    avp_progress_again(j->run.progress, &j->plan, j->job.threads);
    give_up(&video, j->run.broken_why);
    give_up(&audio, j->run.broken_why);
    j->plan.copy_video = video;
    j->plan.copy_audio = audio;
    return open_hls(j, fail) || run_passes(j, fail) ? -1 : 0;
}

int
avp_pipeline_run(const avp_job_t *job, int src_fd, int out_fd,
                 avp_progress_t *progress, int (*admit)(avp_fail_t *fail),
                 json_t **done, avp_fail_t *fail)
{
    job_run_t *j = av_mallocz(sizeof(*j));
    int        rc = -1;

    if (j == NULL) {
        close(out_fd);
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "starting");
    }

    pthread_mutex_init(&j->lock, NULL);
    j->warnings = json_array();
    j->job = *job;
    j->run.job = &j->job;
    atomic_flag_clear(&j->run.broken);
    j->run.facts = &j->facts;
    j->run.plan = &j->plan;
    j->run.fd = src_fd;
    j->run.progress = progress;
    j->run.seen = seen;
    j->run.poster_done = poster_done;
    j->run.warn = warn;

    if (avp_out_open(&j->run.out, out_fd, -1) < 0) {
        avp_fail(fail, AVP_ERR_STORAGE_ERROR, "the output folder");
        goto done;
    }

    if (prepare(j, fail) || (admit && admit(fail))) {
        goto done;
    }
    if (run_passes(j, fail)
        && (fail->code != AVP_ERR_PASSTHROUGH_FAILED || begin_again(j, fail)))
    {
        goto done;
    }

    *done = done_doc(j);
    rc = *done ? 0 : avp_fail(fail, AVP_ERR_NO_MEMORY, "the results");

done:

    if (j->hls) {
        avp_hls_free(j->hls);
    }
    if (j->run.out) {
        avp_out_free(j->run.out);
    }
    avp_probe_free(&j->facts);
    json_decref(j->warnings);
    pthread_mutex_destroy(&j->lock);
    av_free(j);
    return rc;
}
