/*
 * The end of a job in this worker: what became of the media process is turned
 * into a verdict (RELIABILITY 1.5, docs/architecture.md 2), and the verdict is
 * told to the database until it answers.  Both calls are fenced by the attempt,
 * so telling late or twice does no harm; a job stays in its slot meanwhile and
 * its lease is kept alive.
 *
 * The output prefix of an attempt that failed is dropped at once, unless the
 * database may name it: after job_playable (viewers may be reading it) and
 * after a job_publish whose answer was lost.  Those are gc's to judge.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGAIN_MS 1000
#define TRIES_MAX 20        /* refused by a database that is up */
#define PAUSE_MS 30000      /* no new jobs after a failure of the storage */

/* ---- what happened ------------------------------------------------------ */

static void
explain(avp_slot_t *s, const char *what, int n)
{
    (void) snprintf(s->detail, sizeof(s->detail), "%s %d", what, n);
}

static avp_error_t
of_signal(avp_slot_t *s, int sig)
{
    explain(s, "ended by signal", sig);

    switch (sig) {
    case SIGXCPU:
        return AVP_ERR_TIME_LIMIT;
    case SIGXFSZ:
        return AVP_ERR_OUTPUT_LIMIT;
    case SIGKILL: /* not by us: the kernel for lack of memory, or a person */
        return s->oom_kills >= 0 && avp_oom_kills() > s->oom_kills
                   ? AVP_ERR_MEMORY_LIMIT
                   : AVP_ERR_CRASHED;
    default:
        return AVP_ERR_CRASHED;
    }
}

/* AVP_ERR_COUNT: it ended well. */
static avp_error_t
judge(avp_slot_t *s)
{
    const int   status = s->child.status;
    const char *why;

    if (s->stop != AVP_ERR_COUNT) {
        return s->stop;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        avp_log(AVP_LOG_ERROR, "media process tried what its sandbox forbids",
                AVP_S("jobId", s->job), AVP_S("videoId", s->video));
        s->detail[0] = '\0';
        return AVP_ERR_SANDBOX;
    }
    if (s->said != AVP_ERR_COUNT) {
        return s->said;
    }
    if (WIFSIGNALED(status)) {
        return of_signal(s, WTERMSIG(status));
    }
    if (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127) {
        explain(s, "the media process could not be started, status",
                WEXITSTATUS(status));
        return AVP_ERR_NO_MEMORY;
    }
    if (WEXITSTATUS(status) != 0 || s->done == NULL) {
        explain(s, s->done == NULL ? "ended without a result, status"
                                   : "ended after its result with status",
                WEXITSTATUS(status));
        return AVP_ERR_CRASHED;
    }
    if (avp_store_verify(s->out_fd, s->done, &why) != 0) {
        (void) snprintf(s->detail, sizeof(s->detail), "%s", why);
        return AVP_ERR_CRASHED;
    }
    return AVP_ERR_COUNT;
}

void
avp_slot_conclude(avp_worker_t *w, avp_slot_t *s)
{
    avp_error_t verdict;

    avp_child_read_log(&s->child, s->job);
    avp_child_close(&s->child);

    if (s->lost) {
        avp_slot_release(w, s);
        return;
    }

    verdict = judge(s);
    s->again = 0;
    s->tries = 0;
    s->unanswered = false;
    if (verdict == AVP_ERR_COUNT) {
        s->state = AVP_SLOT_PUBLISH;
        if (avp_store_sync(w->store, s->video) != 0) {
            (void) snprintf(s->detail, sizeof(s->detail), "fsync: %s",
                            strerror(errno));
            verdict = AVP_ERR_STORAGE_ERROR;
        }
    }
    if (verdict != AVP_ERR_COUNT) {
        s->state = AVP_SLOT_FAIL;
        s->verdict = verdict;
    }
}

/* ---- telling ------------------------------------------------------------ */

/* No answer.  Whether to try again: always while the database is away; a
 * database that is up and refuses is asked a few times more. */
static bool
try_again(avp_worker_t *w, avp_slot_t *s, int64_t now, const char *what)
{
    avp_log(AVP_LOG_WARN, "no verdict of the database, trying again",
            AVP_S("jobId", s->job), AVP_S("doing", what),
            AVP_S("error", avp_db_error(w->db)));
    s->again = now + AGAIN_MS;
    s->unanswered = true;
    return avp_db_down(w->db) || ++s->tries < TRIES_MAX;
}

static void
publish(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    avp_db_result_t *r;

    r = avp_db_callv(w->db, "job_publish", w->incarnation, s->job, s->attempt,
                     s->done);
    if (r == NULL) {
        s->named = true;
        if (!try_again(w, s, now, "publishing")) {
            /* its document, not its lease, is what the database refuses */
            (void) snprintf(s->detail, sizeof(s->detail), "publication: %s",
                            avp_db_sqlstate(w->db));
            s->state = AVP_SLOT_FAIL;
            s->verdict = AVP_ERR_CRASHED;
            s->unanswered = false;
            s->tries = 0;
        }
        return;
    }
    if (strcmp(avp_db_verdict(r), "ok") != 0) {
        avp_slot_lost(w, s);
        avp_db_result_free(r);
        return;
    }

    s->named = true;
    avp_redis_event(w->redis, avp_db_text(r, 0, "event"));
    atomic_fetch_add(&w->metrics.jobs_completed, 1);
    avp_log(AVP_LOG_INFO, "job completed", AVP_S("jobId", s->job),
            AVP_S("videoId", s->video), AVP_S("attempt", s->attempt),
            AVP_F("seconds", (double) (now - s->claimed) / 1000));
    avp_db_result_free(r);
    avp_slot_release(w, s);
}

static void
count(avp_metrics_t *m, avp_class_t class)
{
    switch (class) {
    case AVP_CLASS_PERMANENT:
        atomic_fetch_add(&m->jobs_permanent, 1);
        break;
    case AVP_CLASS_TRANSIENT:
        atomic_fetch_add(&m->jobs_transient, 1);
        break;
    case AVP_CLASS_CRASH:
        atomic_fetch_add(&m->jobs_crash, 1);
        break;
    case AVP_CLASS_STALL:
        atomic_fetch_add(&m->jobs_stall, 1);
        break;
    case AVP_CLASS_DRAINED:
        atomic_fetch_add(&m->jobs_drained, 1);
        break;
    case AVP_CLASS_CANCELLED:
        atomic_fetch_add(&m->jobs_cancelled, 1);
        break;
    default:
        break;
    }
}

/* What to do comes first, for a person; then what was found, for whoever looks
 * closer. */
static void
say_why(const avp_slot_t *s, char *dst, size_t size)
{
    const char *detail = avp_error_info(s->verdict)->detail;

    if (s->detail[0] != '\0') {
        (void) snprintf(dst, size, "%s (%s)", detail, s->detail);
    } else {
        (void) snprintf(dst, size, "%s", detail);
    }
}

static void
fail(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    const avp_error_info_t *info = avp_error_info(s->verdict);
    char                    detail[2 * AVP_MEDIA_TEXT_MAX];
    avp_db_result_t        *r;

    say_why(s, detail, sizeof(detail));

    r = avp_db_callv(w->db, "job_fail", w->incarnation, s->job, s->attempt,
                     avp_class_name(info->class), info->code, detail);
    if (r == NULL) {
        if (!try_again(w, s, now, "reporting a failure")) {
            avp_slot_release(w, s); /* the lease lapses: it counts as lost */
        }
        return;
    }
    if (strcmp(avp_db_verdict(r), "ok") != 0) {
        avp_db_result_free(r);
        /* by the deletion itself; or it was told, and the answer lost */
        if (s->verdict == AVP_ERR_CANCELLED || s->unanswered) {
            count(&w->metrics, info->class);
            avp_slot_release(w, s);
        } else {
            avp_slot_lost(w, s);
        }
        return;
    }

    avp_redis_event(w->redis, avp_db_text(r, 0, "event"));
    count(&w->metrics, info->class);
    avp_log(AVP_LOG_WARN, "job failed", AVP_S("jobId", s->job),
            AVP_S("videoId", s->video), AVP_S("attempt", s->attempt),
            AVP_S("class", avp_class_name(info->class)),
            AVP_S("code", info->code), AVP_S("error", detail),
            AVP_S("status", avp_db_text(r, 0, "status")),
            AVP_F("retryIn", avp_db_num(r, 0, "retry_in", 0)));
    avp_db_result_free(r);

    if (info->class == AVP_CLASS_TRANSIENT
        && s->verdict != AVP_ERR_DATABASE_LOST
        && s->verdict != AVP_ERR_PASSTHROUGH_FAILED)
    {
        avp_queue_pause(w, PAUSE_MS); /* the next job would fare no better */
    } else if (info->class == AVP_CLASS_DRAINED) {
        (void) avp_redis_push(w->redis, s->job, 1); /* for another worker */
    }
    avp_slot_release(w, s);
}

void
avp_slot_deliver(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    if (s->state == AVP_SLOT_PUBLISH) {
        publish(w, s, now);
    } else {
        fail(w, s, now);
    }
}

void
avp_slot_deliver_playable(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    avp_db_result_t *r;

    if (now < s->again) {
        return;
    }
    if (avp_store_sync(w->store, s->video) != 0) {
        s->again = now + AGAIN_MS;
        return;
    }

    r = avp_db_callv(w->db, "job_playable", w->incarnation, s->job, s->attempt,
                     s->playable);
    if (r == NULL) {
        s->named = true;
        if (try_again(w, s, now, "making it playable")) {
            return;
        }
    } else if (strcmp(avp_db_verdict(r), "ok") == 0) {
        s->named = true;
        avp_redis_event(w->redis, avp_db_text(r, 0, "event"));
        avp_log(AVP_LOG_INFO, "video playable", AVP_S("jobId", s->job),
                AVP_S("videoId", s->video),
                AVP_F("seconds", (double) (now - s->claimed) / 1000));
    } else {
        avp_slot_lost(w, s);
    }
    avp_db_result_free(r);
    free(s->playable);
    s->playable = NULL;
    s->tries = 0;
}

/* ---- afterwards --------------------------------------------------------- */

static void
drop_prefix(avp_worker_t *w, avp_slot_t *s)
{
    char path[AVP_KEY_MAX], name[AVP_TRASH_NAME];

    (void) snprintf(path, sizeof(path), "outputs/%s/%s", s->video, s->prefix);
    if (avp_store_discard(w->store, path, s->video, name) == 0) {
        if (w->gc != NULL) {
            avp_gc_unlink_soon(w->gc, name);
        }
    } else if (errno != ENOENT) {
        avp_log(AVP_LOG_WARN, "output cannot be dropped, left to gc",
                AVP_S("jobId", s->job), AVP_S("error", strerror(errno)));
    }
}

void
avp_slot_release(avp_worker_t *w, avp_slot_t *s)
{
    if (!s->named && s->out_fd >= 0) {
        drop_prefix(w, s);
    }
    if (s->out_fd >= 0) {
        close(s->out_fd);
        s->out_fd = -1;
    }
    free(s->playable);
    free(s->done);
    s->playable = s->done = NULL;
    s->state = AVP_SLOT_FREE;

    if (!w->draining) {
        w->queue.claim = !w->once; /* a freed slot claims before it waits */
    } else {
        (void) avp_redis_push(w->redis, "drain", 1);
    }
}
