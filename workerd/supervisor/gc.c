/* gc.h as a thread of the daemon and as `workerd gc`. */

#include "workerd/supervisor/gc.h"

#include "workerd/commands.h"
#include "workerd/log.h"
#include "workerd/supervisor/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_S 600
#define FIRST_S 60
#define SOON_MAX 64

struct avp_gc_s {
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    atomic_bool     stop;
    avp_gc_round_t  round;
    const char     *incarnation;
    int             interval; /* seconds */
    char            soon[SOON_MAX][AVP_TRASH_NAME];
    int             nsoon;
};

/* ---- the thread --------------------------------------------------------- */

/* Sleeps until `until` (s of the monotonic clock), a name to unlink, or the
 * end; takes over the names.  The number of them. */
static int
rest(avp_gc_t *g, time_t until, char names[SOON_MAX][AVP_TRASH_NAME])
{
    struct timespec t = { until, 0 };
    int             n, rc = 0;

    (void) pthread_mutex_lock(&g->lock);
    while (!atomic_load(&g->stop) && g->nsoon == 0 && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&g->changed, &g->lock, &t);
    }
    n = g->nsoon;
    memcpy(names, g->soon, sizeof(g->soon));
    g->nsoon = 0;
    (void) pthread_mutex_unlock(&g->lock);
    return n;
}

/* One worker sweeps an interval, whoever comes first. */
static bool
is_leader(avp_gc_t *g)
{
    avp_db_result_t *r;
    char             seconds[16];
    bool             leader;

    (void) snprintf(seconds, sizeof(seconds), "%d", g->interval);
    r = avp_db_callv(g->round.db, "lease_take", "gc", g->incarnation, seconds);
    leader = r != NULL && strcmp(avp_db_verdict(r), "ok") == 0;
    avp_db_result_free(r);
    return leader;
}

static time_t
monotonic_s(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void *
gc_main(void *p)
{
    avp_gc_t *g = p;
    char      names[SOON_MAX][AVP_TRASH_NAME];
    time_t    next = monotonic_s()
                  + (g->interval < FIRST_S ? g->interval : FIRST_S);
    int64_t   bytes;
    int       n;

    while (!atomic_load(&g->stop)) {
        n = rest(g, next, names);
        for (int i = 0; i < n; i++) {
            bytes = 0;
            (void) avp_store_remove(g->round.store, "trash", names[i], &bytes);
            atomic_fetch_add(&g->round.metrics->gc_bytes, bytes);
        }
        if (monotonic_s() >= next && !atomic_load(&g->stop)) {
            if (is_leader(g)) {
                (void) avp_gc_round(&g->round);
            }
            next = monotonic_s() + g->interval;
        }
    }
    return NULL;
}

avp_gc_t *
avp_gc_start(avp_worker_t *w)
{
    avp_gc_t          *g = calloc(1, sizeof(*g));
    pthread_condattr_t attr;

    if (g == NULL) {
        return NULL;
    }
    g->incarnation = w->incarnation;
    g->interval = w->set.gc_grace < INTERVAL_S ? w->set.gc_grace : INTERVAL_S;
    g->interval = g->interval < 1 ? 1 : g->interval;
    g->round.store = w->store;
    g->round.grace = w->set.gc_grace;
    g->round.metrics = &w->metrics;
    g->round.stop = &g->stop;
    g->round.db = avp_db_new(w->set.database_url, "workerd gc", 30000);
    if (g->round.db == NULL) {
        free(g);
        return NULL;
    }

    (void) pthread_mutex_init(&g->lock, NULL);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&g->changed, &attr);
    (void) pthread_condattr_destroy(&attr);
    if (pthread_create(&g->thread, NULL, gc_main, g) != 0) {
        avp_db_free(g->round.db);
        free(g);
        return NULL;
    }
    return g;
}

void
avp_gc_unlink_soon(avp_gc_t *g, const char *trash_name)
{
    (void) pthread_mutex_lock(&g->lock);
    if (g->nsoon < SOON_MAX) { /* else a round finds it */
        (void) snprintf(g->soon[g->nsoon++], AVP_TRASH_NAME, "%s", trash_name);
        (void) pthread_cond_signal(&g->changed);
    }
    (void) pthread_mutex_unlock(&g->lock);
}

void
avp_gc_stop(avp_gc_t *g)
{
    if (g == NULL) {
        return;
    }
    atomic_store(&g->stop, true);
    (void) pthread_mutex_lock(&g->lock);
    (void) pthread_cond_signal(&g->changed);
    (void) pthread_mutex_unlock(&g->lock);
    (void) pthread_join(g->thread, NULL);
    (void) pthread_cond_destroy(&g->changed);
    (void) pthread_mutex_destroy(&g->lock);
    avp_db_free(g->round.db);
    free(g);
}

/* ---- the command -------------------------------------------------------- */

static int
parse_grace(int argc, char **argv, int *grace)
{
    char *end;
    long  n;

    if (argc == 1) {
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "--grace") != 0) {
        return -1;
    }
    n = strtol(argv[2], &end, 10);
    if (argv[2][0] == '\0' || *end != '\0' || n < 0 || n > 315360000) {
        return -1;
    }
    *grace = (int) n;
    return 0;
}

static void
print_counts(avp_metrics_t *m)
{
    printf("prefixes %lld, outputs %lld, originals %lld, incoming %lld, "
           "trash %lld, videos %lld, bytes %lld, errors %lld\n",
           (long long) atomic_load(&m->gc_prefixes),
           (long long) atomic_load(&m->gc_outputs),
           (long long) atomic_load(&m->gc_originals),
           (long long) atomic_load(&m->gc_incoming),
           (long long) atomic_load(&m->gc_trash),
           (long long) atomic_load(&m->gc_purged),
           (long long) atomic_load(&m->gc_bytes),
           (long long) atomic_load(&m->gc_errors));
}

int
avp_gc_main(int argc, char **argv)
{
    avp_settings_t set;
    avp_metrics_t  metrics = { 0 };
    avp_gc_round_t round = { .metrics = &metrics };
    avp_store_t   *store = NULL;
    int            grace = -1, rc = AVP_EXIT_FAILED;

    if (parse_grace(argc, argv, &grace) != 0) {
        avp_command_error("usage: workerd gc [--grace SECONDS]");
        return AVP_EXIT_USAGE;
    }
    if (avp_command_settings(&set) != 0) {
        return AVP_EXIT_FAILED;
    }
    round.grace = grace >= 0 ? grace : set.gc_grace;
    round.db = avp_db_new(set.database_url, "workerd gc", 60000);
    round.store = store = avp_store_open(set.storage_dir);
    if (store == NULL) {
        avp_command_error("STORAGE_DIR %s: %s", set.storage_dir,
                          strerror(errno));
    } else if (round.db == NULL) {
        avp_command_error("out of memory");
    } else if (avp_gc_round(&round) != 0) {
        avp_command_error("stopped half way; see above");
        print_counts(&metrics);
    } else {
        print_counts(&metrics);
        rc = AVP_EXIT_OK;
    }
    avp_store_free(store);
    avp_db_free(round.db);
    avp_settings_free(&set);
    return rc;
}
