/*
 * When to claim and when to wait: rules 1 to 6 of DESIGN 4, which a model of
 * the protocol was checked against.  There is one dispatch loop per worker,
 * this one, and at most one pop out at a time:
 *
 *   2. a pop that is out reserves a slot; a timed-out pop is followed by a
 *      claim; the timer is 5 s +- 20 %, 1 s while Redis is gone;
 *   3. claim until "none" or full; "none" shortens the wait to the next job
 *      that becomes due;
 *   4. after "none" the entries that were for jobs just claimed are popped, up
 *      to 100, and one more claim follows, for one of them may have been new;
 *   5. a freed slot claims before it waits; a draining worker pushes an entry
 *      instead (verdict.c), and so does one that popped and cannot claim.
 *
 * Rule 1 is whoever commits, rule 6 is job_claim_next, rule 7 reconcile.c.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/log.h"
#include "workerd/supervisor/admit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TIMER_MS 5000
#define GONE_MS 1000
#define DB_DOWN_MS 1000

typedef enum { CLAIM_OK, CLAIM_NONE, CLAIM_ERROR } claim_t;

int64_t
avp_jitter(int64_t ms, int percent)
{
    uint32_t r;
    int64_t  span = ms * percent / 100;

    if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r)) {
        return ms;
    }
    return ms - span + (int64_t) r % (2 * span + 1);
}

/* "{uuid,uuid}": what runs here.  A job leased to this incarnation that is
 * not among them was handed out in an answer that never came. */
static void
running_array(const avp_worker_t *w, char *dst, size_t size)
{
    size_t n = 0;

    n += (size_t) snprintf(dst, size, "{");
    for (int i = 0; i < w->nslots; i++) {
        if (w->slots[i].state != AVP_SLOT_FREE && !w->slots[i].lost
            && n < size)
        {
            n += (size_t) snprintf(dst + n, size - n, "%s%s",
                                   n > 1 ? "," : "", w->slots[i].job);
        }
    }
    if (n < size) {
        (void) snprintf(dst + n, size - n, "}");
    }
}

/* One job_claim_next; *due gets the milliseconds to the next due job. */
static claim_t
claim(avp_worker_t *w, int64_t *due)
{
    char             running[AVP_SLOTS_MAX * (AVP_UUID_LEN + 1) + 4];
    char             lease[16];
    avp_db_result_t *r;
    avp_slot_t      *s = avp_slots_free(w);
    int64_t          asked = avp_clock();
    double           next;
    claim_t          result = CLAIM_ERROR;

    running_array(w, running, sizeof(running));
    (void) snprintf(lease, sizeof(lease), "%d", w->set.lease);

    r = avp_db_callv(w->db, "job_claim_next", w->set.worker_name,
                     w->incarnation, lease, running);
    if (r == NULL) {
        avp_log(AVP_LOG_WARN, "no claim, the database does not answer",
                AVP_S("error", avp_db_error(w->db)));
        return CLAIM_ERROR;
    }
    if (strcmp(avp_db_verdict(r), "ok") == 0) {
        avp_redis_event(w->redis, avp_db_text(r, 0, "event"));
        avp_slot_start(w, s, r, asked);
        result = CLAIM_OK;
    } else if (strcmp(avp_db_verdict(r), "none") == 0) {
        next = avp_db_num(r, 0, "next_due", -1);
        *due = next < 0          ? AVP_NEVER
               : next > 86400    ? 86400000
                                 : (int64_t) (next * 1000) + 1;
        result = CLAIM_NONE;
    } else {
        avp_log(AVP_LOG_ERROR, "no claim", AVP_S("error", avp_db_verdict(r)));
    }
    avp_db_result_free(r);
    return result;
}

static int
room(const avp_worker_t *w)
{
    /* what waits for memory here would wait for it twice */
    if (avp_slots_alone(w) || avp_admit_waiting(w)) {
        return 0;
    }
    return w->nslots - avp_slots_busy(w) - (w->queue.waiting ? 1 : 0);
}

/* Rules 3 and 4; the last claim's outcome. */
static claim_t
claim_all(avp_worker_t *w, int64_t *due)
{
    claim_t c = CLAIM_NONE;
    bool    drained = false;

    *due = AVP_NEVER;
    while (room(w) > 0) {
        c = claim(w, due);
        if (c == CLAIM_OK) {
            drained = false;
            continue;
        }
        /* nothing popped: nothing can have been new since the claim that a
         * wake-up still in the list will not tell */
        if (c == CLAIM_ERROR || drained || w->queue.waiting
            || avp_redis_drain(w->redis) <= 0)
        {
            break;
        }
        drained = true;
    }
    return c;
}

static void
wait_for_more(avp_worker_t *w, int64_t now, int64_t due)
{
    avp_queue_t *q = &w->queue;
    int64_t      ms = avp_jitter(TIMER_MS, 20);

    if (due < ms) {
        ms = due > 1 ? due : 1;
    }
    if (avp_redis_wait(w->redis, (double) ms / 1000) == 0) {
        q->waiting = true;
        /* the answer comes from Redis; should it not, a second later */
        q->timer = now + ms + 1000;
    } else {
        q->timer = now + avp_earlier(ms, avp_jitter(GONE_MS, 20));
    }
}

static void
stop_waiting(avp_worker_t *w)
{
    if (w->queue.waiting) {
        w->queue.waiting = false;
        avp_redis_wait_cancel(w->redis);
        (void) avp_redis_push(w->redis, "cancel", 1);
    }
}

void
avp_queue_tick(avp_worker_t *w, int64_t now)
{
    avp_queue_t *q = &w->queue;
    int64_t      due = AVP_NEVER;
    claim_t      c;

    if (w->nslots == 0 || w->draining || now < q->paused
        || (!q->claim && now < q->timer))
    {
        return;
    }

    if (q->waiting && now >= q->timer) { /* a hung Redis */
        q->waiting = false;
        avp_redis_wait_cancel(w->redis);
    }
    q->claim = false;
    if (!q->waiting) {
        q->timer = AVP_NEVER; /* a slot's end wakes a full worker */
    }

    if (room(w) < 1) {
        return;
    }
    c = claim_all(w, &due);
    now = avp_clock();

    w->unasked = c == CLAIM_ERROR;
    if (w->once || q->waiting || w->draining) {
        return;
    }
    if (c == CLAIM_ERROR) {
        q->timer = now + avp_jitter(DB_DOWN_MS, 20);
    } else if (room(w) > 0) {
        wait_for_more(w, now, due);
    }
}

void
avp_queue_ready(avp_worker_t *w)
{
    avp_wait_t result = avp_redis_wait_ready(w->redis);

    if (result == AVP_WAIT_MORE) {
        return;
    }
    w->queue.waiting = false;
    w->queue.claim = true;
    if (result == AVP_WAIT_ENTRY && (w->draining || room(w) < 1)) {
        (void) avp_redis_push(w->redis, "full", 1);
    }
}

void
avp_queue_pause(avp_worker_t *w, int64_t ms)
{
    int64_t now = avp_clock();

    stop_waiting(w);
    w->queue.claim = false;
    w->queue.paused = w->queue.timer = now + ms;
    avp_log(AVP_LOG_WARN, "no new jobs for a while", AVP_I("ms", ms));
}

void
avp_queue_drain(avp_worker_t *w)
{
    stop_waiting(w);
    w->queue.timer = AVP_NEVER;
    w->queue.claim = false;
}

int64_t
avp_queue_next(const avp_worker_t *w, int64_t now)
{
    if (w->nslots == 0 || w->draining) {
        return AVP_NEVER;
    }
    if (w->queue.claim) {
        return w->queue.paused > now ? w->queue.paused : now;
    }
    return w->queue.timer;
}
