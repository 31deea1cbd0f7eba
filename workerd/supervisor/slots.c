/*
 * A job's life in this worker, from the claim to the end of its media process
 * (what comes then: verdict.c).  See worker.h.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/log.h"
#include "workerd/supervisor/admit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCH_MS 1000
#define EXIT_MS 30000                           /* after the last message */
#define FIRST_MEMORY ((int64_t) 2 << 30)        /* until there is a plan */
#define MEMORY_MAX ((int64_t) 16 << 30)
#define MEMORY_SLACK ((int64_t) 512 << 20)
#define OUTPUT_SLACK ((int64_t) 64 << 20)

/* A plan comes from a process that has read hostile bytes: it may ask for
 * this much at most, whatever it says.  100 CPU seconds and 12.5 MB for each
 * second that a video may last. */
static int64_t
most_cpu(const avp_worker_t *w)
{
    return w->set.max_duration * 100 + 600;
}

static int64_t
most_output(const avp_worker_t *w)
{
    return w->set.max_duration * 12500000 + OUTPUT_SLACK;
}

static int64_t
at_most(int64_t v, int64_t max)
{
    return v < max ? v : max;
}

/* ---- the table ---------------------------------------------------------- */

avp_slot_t *
avp_slots_free(avp_worker_t *w)
{
    for (int i = 0; i < w->nslots; i++) {
        if (w->slots[i].state == AVP_SLOT_FREE) {
            return &w->slots[i];
        }
    }
    return NULL;
}

int
avp_slots_busy(const avp_worker_t *w)
{
    int n = 0;

    for (int i = 0; i < w->nslots; i++) {
        n += w->slots[i].state != AVP_SLOT_FREE;
    }
    return n;
}

bool
avp_slots_alone(const avp_worker_t *w)
{
    for (int i = 0; i < w->nslots; i++) {
        if (w->slots[i].state != AVP_SLOT_FREE && w->slots[i].alone) {
            return true;
        }
    }
    return false;
}

/* ---- start -------------------------------------------------------------- */

static void
fail_at_start(avp_worker_t *w, avp_slot_t *s, avp_error_t why,
              const char *doing)
{
    s->verdict = why;
    (void) snprintf(s->detail, sizeof(s->detail), "%s: %s", doing,
                    strerror(errno));
    avp_log(AVP_LOG_ERROR, "job cannot be started", AVP_S("jobId", s->job),
            AVP_S("code", avp_error_info(why)->code),
            AVP_S("error", s->detail));
    s->state = AVP_SLOT_FAIL;
    (void) w;
}

static avp_error_t
storage_error(void)
{
    return errno == ENOSPC || errno == EDQUOT ? AVP_ERR_DISK_FULL
                                              : AVP_ERR_STORAGE_ERROR;
}

static void
take_claim(avp_slot_t *s, const avp_db_result_t *r, int64_t asked)
{
    const int   index = s->index;
    const char *text;

    memset(s, 0, sizeof(*s));
    s->index = index;
    s->out_fd = -1;
    s->child.msg_fd = s->child.log_fd = s->child.hold_fd = -1;
    s->said = s->stop = AVP_ERR_COUNT;
    s->eta = -1;
    s->claimed = s->confirmed = s->moved = asked;
    s->wall = s->exit_by = AVP_NEVER;
    s->memory = FIRST_MEMORY;

    text = avp_db_text(r, 0, "job");
    (void) snprintf(s->job, sizeof(s->job), "%s", text ? text : "");
    text = avp_db_text(r, 0, "video");
    (void) snprintf(s->video, sizeof(s->video), "%s", text ? text : "");
    text = avp_db_text(r, 0, "prefix");
    (void) snprintf(s->prefix, sizeof(s->prefix), "%s", text ? text : "");
    text = avp_db_text(r, 0, "attempt");
    (void) snprintf(s->attempt, sizeof(s->attempt), "%s", text ? text : "");
    s->alone = avp_db_bool(r, 0, "alone");
}

void
avp_slot_start(avp_worker_t *w, avp_slot_t *s, const avp_db_result_t *r,
               int64_t asked)
{
    const char *key = avp_db_text(r, 0, "source_key");
    char       *job = NULL;
    int         source;

    take_claim(s, r, asked);
    atomic_fetch_add(&w->metrics.claims, 1);
    avp_log(AVP_LOG_INFO, "job claimed", AVP_S("jobId", s->job),
            AVP_S("videoId", s->video), AVP_S("attempt", s->attempt),
            AVP_S("prefix", s->prefix));

    source = avp_store_source(w->store, key != NULL ? key : "");
    if (source < 0) {
        fail_at_start(w, s,
                      errno == ENOENT || errno == EINVAL
                          ? AVP_ERR_SOURCE_MISSING
                          : storage_error(),
                      "opening the source");
        return;
    }

    s->out_fd = avp_store_prefix(w->store, s->video, s->prefix);
    if (s->out_fd < 0) {
        fail_at_start(w, s, storage_error(), "making the output folder");
        close(source);
        return;
    }

    s->oom_kills = avp_oom_kills();
    job = avp_job_text(w, strcmp(s->attempt, "1") == 0);
    if (job == NULL
        || avp_child_start(&s->child, job, strlen(job), source, s->out_fd,
                           most_cpu(w), most_output(w), w->nslots > 1)
               != 0)
    {
        fail_at_start(w, s, AVP_ERR_NO_MEMORY, "starting the media process");
    } else {
        s->state = AVP_SLOT_RUNNING;
        s->watch = asked;
        avp_guard_watch(w->guard, s->index, s->child.pid,
                        avp_lease_fence(w, s->confirmed));
    }
    free(job);
    close(source);
}

/* ---- stop --------------------------------------------------------------- */

void
avp_slot_stop(avp_worker_t *w, avp_slot_t *s, avp_error_t why)
{
    (void) w;

    if (s->state != AVP_SLOT_RUNNING) {
        return;
    }
    if (s->stop == AVP_ERR_COUNT) {
        s->stop = why;
        avp_log(AVP_LOG_WARN, "media process killed", AVP_S("jobId", s->job),
                AVP_S("code", avp_error_info(why)->code),
                AVP_S("error", s->detail[0] ? s->detail : NULL));
    }
    avp_child_kill(&s->child);
}

void
avp_slot_lost(avp_worker_t *w, avp_slot_t *s)
{
    if (!s->lost) {
        s->lost = true;
        atomic_fetch_add(&w->metrics.lease_lost, 1);
        atomic_fetch_add(&w->metrics.jobs_lost, 1);
        avp_log(AVP_LOG_WARN, "job lost to another attempt, result dropped",
                AVP_S("jobId", s->job), AVP_S("videoId", s->video),
                AVP_S("attempt", s->attempt));
    }
    if (s->state == AVP_SLOT_RUNNING) {
        avp_child_kill(&s->child); /* released once it is gone */
    } else if (s->state != AVP_SLOT_FREE) {
        avp_slot_release(w, s);
    }
}

/* ---- messages ----------------------------------------------------------- */

typedef struct {
    avp_worker_t *w;
    avp_slot_t   *s;
    int64_t       now;
} message_ctx_t;

static int
refuse(avp_slot_t *s, const char *why)
{
    avp_log(AVP_LOG_ERROR, "media process sent what it must not",
            AVP_S("jobId", s->job), AVP_S("error", why));
    return -1;
}

static int
on_plan(avp_worker_t *w, avp_slot_t *s, const avp_media_message_t *m,
        int64_t now)
{
    int64_t cpu, output;

    if (s->planned) {
        return refuse(s, "a second plan");
    }
    s->planned = true;

    cpu = at_most((int64_t) (m->cpu_seconds * 4) + 60, most_cpu(w));
    output = at_most(m->output_bytes + 1, most_output(w));
    s->memory = at_most(m->memory_bytes * 2 + MEMORY_SLACK, MEMORY_MAX);
    s->span = cpu * 1500 / w->threads + 300000;
    s->estimate = m->memory_bytes;
    s->wall = now + s->span;
    avp_child_limit(&s->child, cpu, output);

    avp_log(AVP_LOG_INFO, "plan", AVP_S("jobId", s->job),
            AVP_S("plan", m->text), AVP_I("passes", m->passes),
            AVP_F("duration", m->duration), AVP_I("cpuLimit", cpu),
            AVP_I("memory", s->estimate), AVP_I("memoryLimit", s->memory),
            AVP_I("outputLimit", output));
    if (s->child.hold_fd >= 0) {
        avp_admit_hold(w, s, now);
    }
    return 0;
}

static int
on_playable(avp_slot_t *s, avp_media_message_t *m)
{
    const char *why;

    if (!s->planned || s->done != NULL) {
        return refuse(s, "playable at the wrong time");
    }
    if (avp_media_doc_check(m->doc, &why) != 0
        || avp_store_verify(s->out_fd, m->doc, &why) != 0)
    {
        return refuse(s, why);
    }
    free(s->playable);
    s->playable = m->doc;
    m->doc = NULL;
    s->again = 0;
    return 0;
}

static int
on_done(avp_slot_t *s, avp_media_message_t *m, int64_t now)
{
    const char *why;

    if (!s->planned || avp_media_doc_check(m->doc, &why) != 0) {
        return refuse(s, s->planned ? why : "done without a plan");
    }
    s->done = m->doc;
    m->doc = NULL;
    s->exit_by = now + EXIT_MS;
    return 0;
}

static int
on_message(message_ctx_t *x, avp_media_message_t *m)
{
    avp_slot_t *s = x->s;

    if (s->exit_by != AVP_NEVER) {
        return refuse(s, "a message after the last one");
    }

    switch (m->kind) {
    case AVP_MEDIA_PLAN:
        s->moved = x->now;
        return on_plan(x->w, s, m, x->now);

    case AVP_MEDIA_PROGRESS:
        s->moved = x->now;
        if (m->progress > s->progress || m->eta != s->eta
            || strcmp(m->text, s->task) != 0)
        {
            s->changed = true;
        }
        s->progress = m->progress > s->progress ? m->progress : s->progress;
        s->eta = m->eta;
        (void) snprintf(s->task, sizeof(s->task), "%.*s",
                        (int) sizeof(s->task) - 1, m->text);
        return 0;

    case AVP_MEDIA_PLAYABLE:
        s->moved = x->now;
        return on_playable(s, m);

    case AVP_MEDIA_DONE:
        return on_done(s, m, x->now);

    case AVP_MEDIA_ERROR:
        s->said = m->error;
        s->exit_by = x->now + EXIT_MS;
        (void) snprintf(s->detail, sizeof(s->detail), "%s", m->text);
        return 0;

    case AVP_MEDIA_WARNING:
        if (++s->warnings > 100) {
            return refuse(s, "more than 100 warnings");
        }
        avp_log(AVP_LOG_INFO, "media warning", AVP_S("jobId", s->job),
                AVP_S("warning", m->text));
        return 0;
    }
    return -1;
}

static int
on_line(void *ctx, avp_str_t line)
{
    message_ctx_t      *x = ctx;
    avp_media_message_t m;
    int                 rc;

    if (avp_media_message_parse(&m, line) != 0) {
        return refuse(x->s, "a line that is no message");
    }
    rc = on_message(x, &m);
    avp_media_message_free(&m);
    return rc;
}

/* ---- the tick ----------------------------------------------------------- */

static void
crash(avp_worker_t *w, avp_slot_t *s, const char *why)
{
    (void) snprintf(s->detail, sizeof(s->detail), "%s", why);
    avp_slot_stop(w, s, AVP_ERR_CRASHED);
}

static void
watch(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    int64_t rss;

    if (now >= avp_lease_fence(w, s->confirmed)) {
        if (s->stop == AVP_ERR_COUNT) {
            atomic_fetch_add(&w->metrics.lease_fenced, 1);
        }
        avp_slot_stop(w, s, AVP_ERR_DATABASE_LOST);
        return;
    }
    if (now - s->moved > (int64_t) w->set.stall_timeout * 1000
        && s->exit_by == AVP_NEVER)
    {
        avp_slot_stop(w, s, AVP_ERR_STALLED);
        return;
    }
    if (now > s->wall) {
        avp_slot_stop(w, s, AVP_ERR_TIME_LIMIT);
        return;
    }
    if (now > s->exit_by) {
        if (s->said != AVP_ERR_COUNT) { /* what it said stands */
            avp_child_kill(&s->child);
        } else {
            crash(w, s, "it did not end after its last message");
        }
        return;
    }
    if (now >= s->watch) {
        s->watch = now + WATCH_MS;
        rss = avp_child_rss(&s->child);
        if (rss > s->memory) {
            avp_slot_stop(w, s, AVP_ERR_MEMORY_LIMIT);
        }
    }
}

static void
tick_running(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    message_ctx_t x = { w, s, now };
    bool          gone, struck = false;

    gone = avp_guard_reap(w->guard, s->index, &s->child, &struck);
    if (struck && s->stop == AVP_ERR_COUNT) { /* while the loop was elsewhere */
        atomic_fetch_add(&w->metrics.lease_fenced, 1);
        avp_slot_stop(w, s, AVP_ERR_DATABASE_LOST);
    }

    /* once; of the dead, to the end of the pipe */
    for (int i = 0; i < (gone ? 16 : 1); i++) {
        if (s->stop == AVP_ERR_COUNT && !s->lost && s->child.msg_fd >= 0
            && avp_child_read(&s->child, now, on_line, &x) < 0)
        {
            crash(w, s, "it sent what no media process sends");
        }
        avp_child_read_log(&s->child, s->job);
    }
    if (!gone && !s->lost) { /* after reading: the loop may have been away */
        watch(w, s, now);
    }

    if (s->playable != NULL && !s->lost) {
        avp_slot_deliver_playable(w, s, now);
    }
    if (gone) {
        avp_slot_conclude(w, s);
    }
}

void
avp_slots_tick(avp_worker_t *w, int64_t now)
{
    int running = 0;

    for (int i = 0; i < w->nslots; i++) {
        avp_slot_t *s = &w->slots[i];

        if (s->state == AVP_SLOT_RUNNING) {
            tick_running(w, s, now);
        }
        if ((s->state == AVP_SLOT_PUBLISH || s->state == AVP_SLOT_FAIL)
            && now >= s->again)
        {
            avp_slot_deliver(w, s, now);
        }
        running += s->state == AVP_SLOT_RUNNING;
    }
    avp_admit_tick(w, now);
    atomic_store(&w->metrics.running, running);
}

int64_t
avp_slots_next(const avp_worker_t *w, int64_t now)
{
    int64_t next = AVP_NEVER;

    for (int i = 0; i < w->nslots; i++) {
        const avp_slot_t *s = &w->slots[i];

        if (s->state == AVP_SLOT_RUNNING) {
            next = avp_earlier(next, s->watch);
        } else if (s->state != AVP_SLOT_FREE) {
            next = avp_earlier(next, s->again > now ? s->again : now);
        }
    }
    return next;
}

int
avp_slots_poll(avp_worker_t *w, struct pollfd *fds)
{
    int n = 0;

    for (int i = 0; i < w->nslots; i++) {
        const avp_slot_t *s = &w->slots[i];

        if (s->state != AVP_SLOT_RUNNING) {
            continue;
        }
        if (s->child.msg_fd >= 0 && s->stop == AVP_ERR_COUNT && !s->lost) {
            fds[n++] = (struct pollfd){ s->child.msg_fd, POLLIN, 0 };
        }
        if (s->child.log_fd >= 0) {
            fds[n++] = (struct pollfd){ s->child.log_fd, POLLIN, 0 };
        }
    }
    return n;
}
