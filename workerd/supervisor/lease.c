/*
 * One batched job_progress per worker: at most once a second and only when
 * something a client sees has changed, and as a heartbeat after a quarter of
 * the lease at the latest.  It extends the leases of all that is in a slot
 * and brings back what must stop: jobs that are somebody else's by now, and
 * cancelled ones.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MS 1000

int64_t
avp_lease_fence(const avp_worker_t *w, int64_t asked)
{
    return asked + (int64_t) w->set.lease * 750;
}

static int64_t
heartbeat(const avp_worker_t *w)
{
    return (int64_t) w->set.lease * 250;
}

static char *
items(avp_worker_t *w)
{
    json_t *a = json_array();
    char   *text;

    for (int i = 0; i < w->nslots; i++) {
        const avp_slot_t *s = &w->slots[i];

        if (s->state == AVP_SLOT_FREE || s->lost) {
            continue;
        }
        json_array_append_new(
            a, json_pack("{s:s,s:I,s:i,s:s,s:o}", "job", s->job, "attempt",
                         (json_int_t) strtoll(s->attempt, NULL, 10),
                         "progress", s->progress, "task", s->task, "eta",
                         s->eta >= 0 ? json_integer(s->eta) : json_null()));
    }
    text = json_dumps(a, JSON_COMPACT);
    json_decref(a);
    return text;
}

static avp_slot_t *
slot_of(avp_worker_t *w, const char *job)
{
    for (int i = 0; i < w->nslots; i++) {
        if (w->slots[i].state != AVP_SLOT_FREE
            && strcmp(w->slots[i].job, job) == 0)
        {
            return &w->slots[i];
        }
    }
    return NULL;
}

static void
on_verdict(avp_worker_t *w, const avp_db_result_t *r, int row, int64_t asked)
{
    const char *job = avp_db_text(r, row, "job");
    const char *verdict = avp_db_text(r, row, "verdict");
    avp_slot_t *s = job != NULL ? slot_of(w, job) : NULL;

    if (s == NULL || verdict == NULL) {
        return;
    }
    if (strcmp(verdict, "lost") == 0) {
        avp_slot_lost(w, s);
        return;
    }

    s->confirmed = asked;
    if (s->state == AVP_SLOT_RUNNING && s->child.pid > 0) {
        avp_guard_move(w->guard, s->index, avp_lease_fence(w, asked));
    }
    if (strcmp(verdict, "cancel") == 0) {
        avp_slot_stop(w, s, AVP_ERR_CANCELLED);
    }
    avp_redis_event(w->redis, avp_db_text(r, row, "event"));
}

static void
beat(avp_worker_t *w, int64_t now)
{
    char            *text = items(w);
    char             lease[16];
    avp_db_result_t *r;

    if (text == NULL) {
        return;
    }
    (void) snprintf(lease, sizeof(lease), "%d", w->set.lease);
    r = avp_db_callv(w->db, "job_progress", w->incarnation, lease, text);
    free(text);

    w->lease_last = now;
    if (r == NULL) {
        avp_log(AVP_LOG_WARN, "no heartbeat, the database does not answer",
                AVP_S("error", avp_db_error(w->db)));
        w->lease_next = now + avp_earlier(BATCH_MS, heartbeat(w));
        return;
    }
    w->lease_next = now + heartbeat(w);
    for (int i = 0; i < w->nslots; i++) {
        w->slots[i].changed = false;
    }
    for (int i = 0; i < avp_db_rows(r); i++) {
        on_verdict(w, r, i, now);
    }
    avp_db_result_free(r);
}

void
avp_lease_tick(avp_worker_t *w, int64_t now)
{
    if (avp_slots_busy(w) == 0) {
        w->lease_next = now + heartbeat(w);
    } else if (avp_lease_next(w, now) <= now) {
        beat(w, now);
    }
}

int64_t
avp_lease_next(const avp_worker_t *w, int64_t now)
{
    int64_t next = AVP_NEVER;

    (void) now;
    for (int i = 0; i < w->nslots; i++) {
        const avp_slot_t *s = &w->slots[i];

        if (s->state == AVP_SLOT_FREE || s->lost) {
            continue;
        }
        /* a claim confirmed its lease itself */
        next = avp_earlier(next, s->confirmed + heartbeat(w) > w->lease_last
                                     ? s->confirmed + heartbeat(w)
                                     : w->lease_next);
        if (s->changed) {
            next = avp_earlier(next, w->lease_last + BATCH_MS);
        }
    }
    return next;
}
