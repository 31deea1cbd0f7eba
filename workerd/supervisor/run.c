/*
 * `workerd run [--once]`: the loop.  See worker.h for who does what.
 *
 * SIGTERM and SIGINT: no new jobs, the running ones may end within
 * DRAIN_TIMEOUT, then they are killed and given back without penalty; a second
 * signal does that at once.  Exit status 0 either way.  --once takes what is
 * due now, at most a job a slot, and ends with it.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/commands.h"
#include "workerd/log.h"
#include "workerd/supervisor/admit.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define IDLE_MS 1000        /* a look around at least so often */
#define GIVE_BACK_MS 10000  /* for the last verdicts of a drain */

/* ---- signals and draining ----------------------------------------------- */

static int
open_signals(void)
{
    sigset_t set;

    (void) signal(SIGPIPE, SIG_IGN);
    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGHUP);
    (void) sigaddset(&set, SIGCHLD);
    /* before any thread is made: all of them inherit it */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return -1;
    }
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void
drain(avp_worker_t *w, int64_t now)
{
    if (!w->draining) {
        w->draining = true;
        atomic_store(&w->metrics.draining, true);
        w->drain_until = now + (int64_t) w->set.drain_timeout * 1000;
        avp_queue_drain(w);
        avp_log(AVP_LOG_INFO, "draining", AVP_I("running", avp_slots_busy(w)),
                AVP_I("seconds", w->set.drain_timeout));
    } else {
        w->drain_until = avp_earlier(w->drain_until, now);
    }
}

static void
read_signals(avp_worker_t *w, int fd, int64_t now)
{
    struct signalfd_siginfo si;

    while (read(fd, &si, sizeof(si)) == (ssize_t) sizeof(si)) {
        if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT) {
            drain(w, now);
        } /* SIGCHLD: the tick reaps; SIGHUP: nothing to read again */
    }
}

/* Whether the loop is over. */
static bool
finished(avp_worker_t *w, int64_t now)
{
    if (w->once && !w->queue.claim && avp_slots_busy(w) == 0) {
        return true;
    }
    if (!w->draining) {
        return false;
    }
    if (avp_slots_busy(w) == 0) {
        return true;
    }
    if (now >= w->drain_until) {
        for (int i = 0; i < w->nslots; i++) {
            avp_slot_stop(w, &w->slots[i], AVP_ERR_DRAINED);
        }
        if (now >= w->drain_until + GIVE_BACK_MS) {
            avp_log(AVP_LOG_ERROR, "the database does not take jobs back, "
                                   "their leases will lapse",
                    AVP_I("jobs", avp_slots_busy(w)));
            return true;
        }
    }
    return false;
}

/* ---- the loop ----------------------------------------------------------- */

static int
sleep_for(const avp_worker_t *w, int64_t now)
{
    int64_t next = now + IDLE_MS;

    next = avp_earlier(next, avp_slots_next(w, now));
    next = avp_earlier(next, avp_lease_next(w, now));
    next = avp_earlier(next, avp_queue_next(w, now));
    if (!w->draining && !w->once) {
        next = avp_earlier(next, w->reconcile_next);
    }
    if (w->draining && w->drain_until > now) {
        next = avp_earlier(next, w->drain_until);
    }
    return next > now ? (int) (next - now) : 0;
}

static void
loop(avp_worker_t *w, int signals)
{
    struct pollfd fds[2 + 2 * AVP_SLOTS_MAX];
    int64_t       now;
    int           n, redis;

    for (;;) {
        now = avp_clock();
        avp_slots_tick(w, now);
        avp_lease_tick(w, now);
        avp_queue_tick(w, now);
        /* one of these a turn: where the database hangs each takes its time
         * from the leases */
        if (!avp_presence_tick(w, now)) {
            avp_reconcile_tick(w, now);
        }
        atomic_store(&w->metrics.redis_up, avp_redis_up(w->redis));

        now = avp_clock();
        if (finished(w, now)) {
            return;
        }

        n = 0;
        fds[n++] = (struct pollfd){ signals, POLLIN, 0 };
        redis = -1;
        if (w->queue.waiting) {
            redis = n;
            fds[n++] = (struct pollfd){ avp_redis_wait_fd(w->redis), POLLIN,
                                        0 };
        }
        n += avp_slots_poll(w, fds + n);

        if (poll(fds, (nfds_t) n, sleep_for(w, now)) < 0 && errno != EINTR) {
            avp_log(AVP_LOG_ERROR, "poll", AVP_S("error", strerror(errno)));
            drain(w, now);
            drain(w, now);
            continue;
        }
        if (redis >= 0 && fds[redis].revents != 0) {
            avp_queue_ready(w);
        }
        if (fds[0].revents != 0) {
            read_signals(w, signals, avp_clock());
        }
    }
}

/* ---- setting up --------------------------------------------------------- */

static int
cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* A heartbeat must never wait long for a database that does not answer. */
static int
db_deadline(const avp_settings_t *set)
{
    int ms = set->lease * 125;

    return ms < 1000 ? 1000 : ms > 5000 ? 5000 : ms;
}

/* Media is not decoded without a sandbox unless somebody said so. */
static int
cage_open(avp_worker_t *w)
{
    char why[160];

    avp_cage_none(&w->cage);
    if (!w->set.sandbox || w->nslots == 0) {
        if (w->nslots > 0) {
            avp_log(AVP_LOG_WARN, "SANDBOX=off: media is decoded without a "
                                  "sandbox");
        }
        return 0;
    }
    if (avp_cage_probe(&w->cage, why, sizeof(why)) != 0) {
        avp_command_error("no sandbox for media processes: %s; use a kernel "
                          "with Landlock and seccomp (in a container: a "
                          "profile that allows both), or SANDBOX=off where "
                          "all uploads are trusted", why);
        return -1;
    }
    return 0;
}

static int
worker_open(avp_worker_t *w)
{
    char        redacted[256];
    const char *why;
    char        err[AVP_PROFILE_ERROR];

    if (avp_job_profile(&w->profile, &w->set, err) != 0) {
        avp_command_error("PROFILE: %s", err);
        return -1;
    }
    w->nslots = w->set.worker_slots;
    w->slots = calloc((size_t) (w->nslots > 0 ? w->nslots : 1),
                      sizeof(avp_slot_t));
    w->threads = w->nslots > 1 ? (cpus() + w->nslots - 1) / w->nslots : cpus();
    w->memory = avp_memory_limit(&w->set);
    if (gethostname(w->host, sizeof(w->host) - 1) != 0) {
        (void) snprintf(w->host, sizeof(w->host), "localhost");
    }
    if (w->slots == NULL || avp_uuid_v4(w->incarnation) != 0) {
        avp_command_error("out of memory or randomness");
        return -1;
    }
    for (int i = 0; i < w->nslots; i++) {
        w->slots[i].index = i;
        w->slots[i].out_fd = -1;
    }

    if (cage_open(w) != 0) { /* before there are threads */
        return -1;
    }
    w->store = avp_store_open(w->set.storage_dir);
    if (w->store == NULL) {
        avp_command_error("STORAGE_DIR %s: %s", w->set.storage_dir,
                          strerror(errno));
        return -1;
    }
    w->redis = avp_redis_new(w->set.redis_url, &why);
    if (w->redis == NULL) {
        avp_command_error("REDIS_URL: %s", why);
        return -1;
    }
    w->db = avp_db_new(w->set.database_url, "workerd", db_deadline(&w->set));
    w->guard = avp_guard_start(w->nslots);
    if (w->db == NULL || w->guard == NULL) {
        avp_command_error("out of memory or threads");
        return -1;
    }
    atomic_store(&w->metrics.slots, w->nslots);
    w->queue.claim = w->nslots > 0;

    avp_redact_url(redacted, sizeof(redacted), w->set.database_url);
    avp_log(AVP_LOG_INFO, "worker starts", AVP_S("name", w->set.worker_name),
            AVP_S("incarnation", w->incarnation), AVP_S("database", redacted),
            AVP_S("storage", w->set.storage_dir),
            AVP_S("profile", w->profile.name), AVP_I("slots", w->nslots),
            AVP_I("threads", w->threads), AVP_I("memory", w->memory),
            AVP_I("lease", w->set.lease),
            AVP_S("sandboxNs", w->cage.ns),
            AVP_I("sandboxLandlock", w->cage.landlock),
            AVP_I("sandboxSeccomp", w->cage.seccomp ? 1 : 0));
    return 0;
}

static void
worker_close(avp_worker_t *w)
{
    for (int i = 0; i < w->nslots && w->slots != NULL; i++) {
        avp_slot_t *s = &w->slots[i];
        bool        struck;

        if (s->state == AVP_SLOT_RUNNING) {
            avp_child_kill(&s->child);
            while (!avp_guard_reap(w->guard, i, &s->child, &struck)) {
                (void) poll(NULL, 0, 5);
            }
            avp_child_close(&s->child);
        }
        if (s->state != AVP_SLOT_FREE) {
            s->named = true; /* nobody answered: leave the files to gc */
            avp_slot_release(w, s);
        }
    }
    avp_presence_end(w);
    avp_guard_stop(w->guard);
    avp_db_free(w->db);
    avp_redis_free(w->redis);
    avp_store_free(w->store);
    free(w->slots);
}

int
avp_run_main(int argc, char **argv)
{
    static avp_worker_t w; /* large; one per process */
    avp_http_t         *http = NULL;
    int                 signals, rc = AVP_EXIT_FAILED;

    w.once = argc == 2 && strcmp(argv[1], "--once") == 0;
    if (argc > 2 || (argc == 2 && !w.once)) {
        avp_command_error("usage: workerd run [--once]");
        return AVP_EXIT_USAGE;
    }
    /* a name server that is down is asked for seconds, not for minutes */
    (void) setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
    if (avp_command_settings(&w.set) != 0) {
        return AVP_EXIT_FAILED;
    }
    signals = open_signals();
    if (signals < 0) {
        avp_command_error("signals: %s", strerror(errno));
        goto done;
    }
    if (worker_open(&w) != 0) {
        goto done;
    }
    if (w.set.health_port > 0 && !w.once
        && (http = avp_http_start(&w)) == NULL)
    {
        goto done;
    }
    w.gc = w.once ? NULL : avp_gc_start(&w);

    loop(&w, signals);
    avp_log(AVP_LOG_INFO, "worker ends");
    rc = w.once && w.unasked ? AVP_EXIT_FAILED : AVP_EXIT_OK;

done:
    avp_http_stop(http);
    avp_gc_stop(w.gc);
    w.gc = NULL;
    w.draining = true;
    worker_close(&w);
    if (signals >= 0) {
        close(signals);
    }
    avp_settings_free(&w.set);
    return rc;
}
