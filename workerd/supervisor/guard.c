/* See guard.h. */

#include "workerd/supervisor/guard.h"

#include "workerd/log.h"
#include "workerd/supervisor/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    pid_t   pid;
    int64_t deadline;
    bool    struck;
} entry_t;

struct avp_guard_s {
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    bool            stop;
    int             n;
    entry_t         entries[];
};

/* Kills what is due; returns when to look again. */
static int64_t
strike(avp_guard_t *g, int64_t now)
{
    int64_t next = now + 1000;

    for (int i = 0; i < g->n; i++) {
        entry_t *e = &g->entries[i];

        if (e->pid <= 0) {
            continue;
        }
        if (now >= e->deadline) {
            (void) kill(-e->pid, SIGKILL);
            (void) kill(e->pid, SIGKILL); /* before its setsid() */
            e->pid = 0;
            e->struck = true;
            avp_log(AVP_LOG_ERROR, "lease not confirmed in time, media process "
                                   "killed");
        } else {
            next = avp_earlier(next, e->deadline);
        }
    }
    return next;
}

static void *
guard_main(void *p)
{
    avp_guard_t    *g = p;
    struct timespec until;
    int64_t         now, wait;

    (void) pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        now = avp_clock();
        wait = strike(g, now) - now;
        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += wait / 1000;
        until.tv_nsec += (wait % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        (void) pthread_cond_timedwait(&g->changed, &g->lock, &until);
    }
    (void) pthread_mutex_unlock(&g->lock);
    return NULL;
}

avp_guard_t *
avp_guard_start(int n)
{
    avp_guard_t       *g = calloc(1, sizeof(*g) + (size_t) n * sizeof(entry_t));
    pthread_condattr_t attr;

    if (g == NULL) {
        return NULL;
    }
    g->n = n;
    (void) pthread_mutex_init(&g->lock, NULL);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&g->changed, &attr);
    (void) pthread_condattr_destroy(&attr);

    errno = pthread_create(&g->thread, NULL, guard_main, g);
    if (errno != 0) {
        free(g);
        return NULL;
    }
    return g;
}

void
avp_guard_stop(avp_guard_t *g)
{
    if (g == NULL) {
        return;
    }
    (void) pthread_mutex_lock(&g->lock);
    g->stop = true;
    (void) pthread_cond_signal(&g->changed);
    (void) pthread_mutex_unlock(&g->lock);
    (void) pthread_join(g->thread, NULL);
    (void) pthread_cond_destroy(&g->changed);
    (void) pthread_mutex_destroy(&g->lock);
    free(g);
}

void
avp_guard_watch(avp_guard_t *g, int entry, pid_t pid, int64_t deadline)
{
    (void) pthread_mutex_lock(&g->lock);
    g->entries[entry] = (entry_t){ pid, deadline, false };
    (void) pthread_cond_signal(&g->changed);
    (void) pthread_mutex_unlock(&g->lock);
}

void
avp_guard_move(avp_guard_t *g, int entry, int64_t deadline)
{
    (void) pthread_mutex_lock(&g->lock);
    g->entries[entry].deadline = deadline;
    (void) pthread_mutex_unlock(&g->lock);
}

bool
avp_guard_reap(avp_guard_t *g, int entry, avp_child_t *c, bool *struck)
{
    bool gone;

    (void) pthread_mutex_lock(&g->lock);
    gone = avp_child_reap(c);
    if (gone) {
        g->entries[entry].pid = 0;
        *struck = g->entries[entry].struck;
    }
    (void) pthread_mutex_unlock(&g->lock);
    return gone;
}
