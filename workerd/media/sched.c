#include "workerd/media/sched.h"

#include <libavutil/error.h>
#include <libavutil/mem.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Filters and encoders keep little on the stack; libav's own threads are not
 * made here. */
#define STACK_SIZE (1 << 20)

typedef struct {
    avp_sched_t *sched;
    avp_node_fn  fn;
    void        *node;
    char         name[16];
} start_t;

void
avp_sched_init(avp_sched_t *s)
{
    memset(s, 0, sizeof(*s));
    atomic_init(&s->stop, false);
    pthread_mutex_init(&s->lock, NULL);
    s->clock.sched = s;
    pthread_mutex_init(&s->clock.lock, NULL);
    pthread_cond_init(&s->clock.moved, NULL);
}

void
avp_sched_free(avp_sched_t *s)
{
    for (int i = 0; i < s->nqueues; i++) {
        avp_queue_t *q = &s->queues[i];

        for (int k = 0; k < q->count; k++) {
            av_frame_free(&q->frames[(q->head + k) % AVP_QUEUE_CAP]);
        }
        pthread_mutex_destroy(&q->lock);
        pthread_cond_destroy(&q->more);
        pthread_cond_destroy(&q->less);
    }

    pthread_mutex_destroy(&s->clock.lock);
    pthread_cond_destroy(&s->clock.moved);
    pthread_mutex_destroy(&s->lock);
}

avp_queue_t *
avp_sched_queue(avp_sched_t *s)
{
    avp_queue_t *q;

    if (s->nqueues == AVP_NODES_MAX) {
        return NULL;
    }

    q = &s->queues[s->nqueues++];
    q->sched = s;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    pthread_cond_init(&q->less, NULL);
    return q;
}

/* Wakes every waiter.  Each lock is taken, so that nobody is between looking
 * at the flag and going to sleep. */
void
avp_sched_stop(avp_sched_t *s)
{
    atomic_store(&s->stop, true);

    for (int i = 0; i < s->nqueues; i++) {
        avp_queue_t *q = &s->queues[i];

        pthread_mutex_lock(&q->lock);
        pthread_cond_broadcast(&q->more);
        pthread_cond_broadcast(&q->less);
        pthread_mutex_unlock(&q->lock);
    }

    pthread_mutex_lock(&s->clock.lock);
    pthread_cond_broadcast(&s->clock.moved);
    pthread_mutex_unlock(&s->clock.lock);
}

void
avp_sched_fail(avp_sched_t *s, const avp_fail_t *fail)
{
    pthread_mutex_lock(&s->lock);
    /* nodes that were told to stop have no failure of their own */
    if (!s->fail.set && fail->set && !avp_sched_stopped(s)) {
        s->fail = *fail;
    }
    pthread_mutex_unlock(&s->lock);
    avp_sched_stop(s);
}

static void *
node_main(void *arg)
{
    start_t    *start = arg;
    avp_fail_t  fail = { 0 };

    pthread_setname_np(pthread_self(), start->name);

    if (start->fn(start->node, &fail) != 0) {
        avp_sched_fail(start->sched, &fail);
    }
    av_free(start);
    return NULL;
}

void
avp_sched_spawn(avp_sched_t *s, avp_node_fn fn, void *node, const char *name)
{
    avp_fail_t     fail = { 0 };
    pthread_attr_t attr;
    start_t       *start = av_mallocz(sizeof(*start));
    int            rc = ENOMEM;

    if (start && s->nthreads < AVP_NODES_MAX) {
        *start = (start_t){ .sched = s, .fn = fn, .node = node };
        snprintf(start->name, sizeof(start->name), "%s", name);

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK_SIZE);
        rc = pthread_create(&s->threads[s->nthreads], &attr, node_main, start);
        pthread_attr_destroy(&attr);
    }

    if (rc == 0) {
        s->nthreads++;
        return;
    }

    av_free(start);
    avp_fail(&fail, AVP_ERR_NO_MEMORY, "starting a thread: %s", strerror(rc));
    avp_sched_fail(s, &fail);
}

int
avp_sched_join(avp_sched_t *s, avp_fail_t *fail)
{
    for (int i = 0; i < s->nthreads; i++) {
        pthread_join(s->threads[i], NULL);
    }
    s->nthreads = 0;

    if (!avp_sched_stopped(s)) {
        return 0;
    }
    if (s->fail.set) {
        return avp_fail(fail, s->fail.code, "%s", s->fail.detail);
    }
    return avp_fail(fail, AVP_ERR_CANCELLED, "stopped");
}

int
avp_queue_put(avp_queue_t *q, AVFrame *frame)
{
    if (frame == NULL) {
        return AVERROR(ENOMEM);
    }

    pthread_mutex_lock(&q->lock);
    while (q->count == AVP_QUEUE_CAP && !avp_sched_stopped(q->sched)) {
        pthread_cond_wait(&q->less, &q->lock);
    }

    if (avp_sched_stopped(q->sched)) {
        pthread_mutex_unlock(&q->lock);
        av_frame_free(&frame);
        return AVERROR_EXIT;
    }

    q->frames[(q->head + q->count++) % AVP_QUEUE_CAP] = frame;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    return 0;
}

int
avp_queue_get(avp_queue_t *q, AVFrame **frame)
{
    int rc = 1;

    pthread_mutex_lock(&q->lock);
    while (q->count == 0 && !q->closed && !avp_sched_stopped(q->sched)) {
        pthread_cond_wait(&q->more, &q->lock);
    }

    if (avp_sched_stopped(q->sched)) {
        rc = AVERROR_EXIT;
    } else if (q->count == 0) {
        rc = 0;
    } else {
        *frame = q->frames[q->head];
        q->head = (q->head + 1) % AVP_QUEUE_CAP;
        q->count--;
        pthread_cond_signal(&q->less);
    }

    pthread_mutex_unlock(&q->lock);
    return rc;
}

void
avp_queue_close(avp_queue_t *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void
avp_clock_start(avp_clock_t *c, double origin)
{
    pthread_mutex_lock(&c->lock);
    c->origin = origin;
    c->started = true;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

int
avp_clock_origin(avp_clock_t *c, double *origin)
{
    pthread_mutex_lock(&c->lock);
    while (!c->started && !avp_sched_stopped(c->sched)) {
        pthread_cond_wait(&c->moved, &c->lock);
    }
    *origin = c->origin;
    pthread_mutex_unlock(&c->lock);
    return avp_sched_stopped(c->sched) ? AVERROR_EXIT : 0;
}

void
avp_clock_decoded(avp_clock_t *c, double end)
{
    pthread_mutex_lock(&c->lock);
    c->video_end = end;
    c->decoded = true;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

void
avp_clock_written(avp_clock_t *c, int track, double t)
{
    pthread_mutex_lock(&c->lock);
    if (t > c->written[track]) {
        c->written[track] = t;
        pthread_cond_broadcast(&c->moved);
    }
    pthread_mutex_unlock(&c->lock);
}

void
avp_clock_ended(avp_clock_t *c, int track)
{
    pthread_mutex_lock(&c->lock);
    c->ended[track] = true;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

/* Where the slowest encoder is; false when all have ended. */
static bool
slowest(const avp_clock_t *c, double *t)
{
    bool any = false;

    for (int i = 0; i < c->ntracks; i++) {
        if (!c->ended[i] && (!any || c->written[i] < *t)) {
            *t = c->written[i];
            any = true;
        }
    }
    return any;
}

/* Under the lock: sound is at `t` or wants to be. */
static void
hear(avp_clock_t *c, double t)
{
    if (t > c->heard) {
        c->heard = t;
        pthread_cond_broadcast(&c->moved);
    }
}

int
avp_clock_hear(avp_clock_t *c, double t)
{
    pthread_mutex_lock(&c->lock);
    while (!avp_sched_stopped(c->sched) && c->nsounds > 0 && c->heard < t) {
        pthread_cond_wait(&c->moved, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return avp_sched_stopped(c->sched) ? AVERROR_EXIT : 0;
}

void
avp_clock_unheard(avp_clock_t *c)
{
    pthread_mutex_lock(&c->lock);
    c->nsounds--;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

int
avp_clock_wait(avp_clock_t *c, double t)
{
    double now = 0;

    pthread_mutex_lock(&c->lock);
    hear(c, t);
    while (!avp_sched_stopped(c->sched) && slowest(c, &now) && now < t) {
        pthread_cond_wait(&c->moved, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return avp_sched_stopped(c->sched) ? AVERROR_EXIT : 0;
}

int
avp_clock_follow(avp_clock_t *c, double t, double *now, bool *end)
{
    pthread_mutex_lock(&c->lock);
    hear(c, t);
    while (!avp_sched_stopped(c->sched) && slowest(c, now) && *now <= t) {
        pthread_cond_wait(&c->moved, &c->lock);
    }
    *end = !slowest(c, now);
    if (*end) {
        *now = c->video_end;
    }
    pthread_mutex_unlock(&c->lock);
    return avp_sched_stopped(c->sched) ? AVERROR_EXIT : 0;
}
