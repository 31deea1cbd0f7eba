/*
 * `workerd run`: the supervisor.  It has credentials and no libav; a media
 * process per job (child.h) has libav and no credentials.
 *
 * One thread, the loop (run.c), owns everything below but the counters: it
 * polls signals, the pipes of the media processes and the descriptor on which
 * Redis answers, and calls each part's tick when its time has come.
 *
 *   queue.c      when to claim a job, when to wait (DESIGN 4, rules 1 to 6)
 *   slots.c      a job's life here: claimed, running, its verdict delivered
 *   admit.c      which of the planned jobs may begin, by their memory
 *   lease.c      batched progress, heartbeats, cancels
 *   reconcile.c  the leader's round: lapsed leases, missing wake-ups (rule 7)
 *   presence.c   who it is and what its sandbox is made of, for people
 *
 * Calls to PostgreSQL and Redis are made on the loop, each with a deadline (5 s
 * at most, an eighth of the lease; 200 ms).  So that no such call, and no name
 * server, can keep a worker at a job whose lease is running out, a thread of
 * its own (guard.h) holds the deadlines and kills: it does nothing else.
 * Two more threads share nothing with the loop but counters and, for gc, the
 * names of what to unlink: http.c answers /health and /metrics, gc.c sweeps.
 * Each has its own connection to the database.
 */

#ifndef AVP_SUPERVISOR_WORKER_H
#define AVP_SUPERVISOR_WORKER_H

#include "lib/errors.h"
#include "lib/media_message.h"
#include "lib/profile.h"
#include "lib/settings.h"
#include "lib/storage_key.h"
#include "lib/uuid.h"
#include "workerd/db.h"
#include "workerd/supervisor/cage.h"
#include "workerd/supervisor/child.h"
#include "workerd/supervisor/clock.h"
#include "workerd/supervisor/guard.h"
#include "workerd/supervisor/metrics.h"
#include "workerd/supervisor/redis.h"
#include "workerd/supervisor/store_file.h"

#include <poll.h>

#define AVP_SLOTS_MAX 64

typedef struct avp_gc_s avp_gc_t;

typedef enum {
    AVP_SLOT_FREE,
    AVP_SLOT_RUNNING,  /* the media process lives, or is being killed */
    AVP_SLOT_PUBLISH,  /* it ended well: job_publish until it is answered */
    AVP_SLOT_FAIL      /* it did not: job_fail until it is answered */
} avp_slot_state_t;

typedef struct {
    avp_slot_state_t state;
    int      index;

    char     job[AVP_UUID_LEN + 1], video[AVP_UUID_LEN + 1];
    char     prefix[AVP_PREFIX_MAX], attempt[16];
    bool     alone;         /* takes the whole worker */
    bool     named;         /* the database may name the prefix by now */
    bool     lost;          /* somebody else's by now: nothing to report */
    int      out_fd;
    avp_child_t child;

    int64_t  claimed;       /* avp_clock() */
    int64_t  confirmed;     /* when the last answer about the lease was asked */
    int64_t  moved;         /* when the process last showed progress */
    int64_t  wall;          /* when it must have ended; AVP_NEVER: no plan yet */
    int64_t  exit_by;       /* after its last message */
    int64_t  watch;         /* next look at its memory */
    int64_t  memory;        /* bytes it may use */
    int64_t  estimate;      /* bytes it will use, by its plan */
    int64_t  span;          /* ms that its plan may take */
    int64_t  held;          /* since when it waits for memory; 0: it does not */
    int64_t  oom_kills;     /* the machine's count when it started */
    bool     planned;

    int      progress, eta;
    char     task[104];
    bool     changed;       /* since the last job_progress */
    int      warnings;

    char    *playable;      /* document waiting for job_playable */
    char    *done;          /* document for job_publish */
    avp_error_t said;       /* its `error` message; AVP_ERR_COUNT none */
    avp_error_t stop;       /* why it was killed; AVP_ERR_COUNT not at all */
    avp_error_t verdict;    /* for job_fail */
    char     detail[AVP_MEDIA_TEXT_MAX];
    int64_t  again;         /* when to try the pending call */
    int      tries;
    bool     unanswered;    /* the verdict was told once, without an answer */
} avp_slot_t;

typedef struct {
    bool     waiting;       /* a pop is out and reserves a slot */
    bool     claim;         /* something happened that asks for a claim */
    int64_t  timer;         /* claim then at the latest */
    int64_t  paused;        /* no claims until then */
} avp_queue_t;

typedef struct {
    avp_settings_t set;
    avp_profile_t profile;   /* of every job */
    char          incarnation[AVP_UUID_LEN + 1];
    char          host[64];
    int           threads;   /* that a media process may use */
    int64_t       memory;    /* bytes that all of them may use together */
    avp_cage_t    cage;      /* what its sandbox is */

    avp_db_t     *db;
    avp_redis_t  *redis;
    avp_store_t  *store;
    avp_guard_t  *guard;
    avp_gc_t     *gc;        /* may be NULL */
    avp_metrics_t metrics;

    avp_slot_t   *slots;
    int           nslots;
    avp_queue_t   queue;
    int64_t       lease_next;     /* heartbeat at the latest */
    int64_t       lease_last;     /* last job_progress */
    int64_t       reconcile_next;
    int64_t       presence_next;
    bool          seen, unseen;   /* the database has it in `workers`; has not */

    bool          once;
    bool          unasked;        /* once: the database did not answer */
    bool          draining;
    int64_t       drain_until;
} avp_worker_t;

/* slots.c */
avp_slot_t *avp_slots_free(avp_worker_t *w); /* NULL when there is none */
int avp_slots_busy(const avp_worker_t *w);   /* all that are not free */
bool avp_slots_alone(const avp_worker_t *w);
/* Starts what job_claim_next handed out; failures become verdicts. */
void avp_slot_start(avp_worker_t *w, avp_slot_t *s, const avp_db_result_t *r,
                    int64_t asked);
/* Kills the process, for this reason; the verdict follows its end. */
void avp_slot_stop(avp_worker_t *w, avp_slot_t *s, avp_error_t why);
/* The lease is somebody else's: kill, drop, report nothing. */
void avp_slot_lost(avp_worker_t *w, avp_slot_t *s);
void avp_slots_tick(avp_worker_t *w, int64_t now);
int64_t avp_slots_next(const avp_worker_t *w, int64_t now);
int avp_slots_poll(avp_worker_t *w, struct pollfd *fds); /* 2 a slot at most */

/* verdict.c */
void avp_slot_conclude(avp_worker_t *w, avp_slot_t *s); /* the process ended */
void avp_slot_deliver(avp_worker_t *w, avp_slot_t *s, int64_t now);
void avp_slot_deliver_playable(avp_worker_t *w, avp_slot_t *s, int64_t now);
void avp_slot_release(avp_worker_t *w, avp_slot_t *s);

/* job.c */
/* The profile that the settings name, with what they say beside it; -1 with a
 * sentence. */
int avp_job_profile(avp_profile_t *p, const avp_settings_t *set,
                    char err[AVP_PROFILE_ERROR]);
/* The job text for a media process, of the first attempt or a later one;
 * malloc'ed, NULL out of memory. */
char *avp_job_text(const avp_worker_t *w, bool first);

/* queue.c */
int64_t avp_jitter(int64_t ms, int percent); /* so that workers keep no step */
void avp_queue_tick(avp_worker_t *w, int64_t now);
void avp_queue_ready(avp_worker_t *w); /* the descriptor of Redis is readable */
void avp_queue_pause(avp_worker_t *w, int64_t ms);
void avp_queue_drain(avp_worker_t *w); /* no claims any more */
int64_t avp_queue_next(const avp_worker_t *w, int64_t now);

/* lease.c */
void avp_lease_tick(avp_worker_t *w, int64_t now);
int64_t avp_lease_next(const avp_worker_t *w, int64_t now);
/* When a lease last confirmed at `asked` is given up: three quarters of it. */
int64_t avp_lease_fence(const avp_worker_t *w, int64_t asked);

/* reconcile.c */
void avp_reconcile_tick(avp_worker_t *w, int64_t now);
int avp_reconcile_round(avp_db_t *db, avp_redis_t *redis,
                        avp_metrics_t *metrics);

/* presence.c */
bool avp_presence_tick(avp_worker_t *w, int64_t now); /* whether it was due */
void avp_presence_end(avp_worker_t *w);

/* gc.c */
avp_gc_t *avp_gc_start(avp_worker_t *w); /* its thread; NULL: none */
void avp_gc_unlink_soon(avp_gc_t *g, const char *trash_name);
void avp_gc_stop(avp_gc_t *g);

/* http.c */
typedef struct avp_http_s avp_http_t;
avp_http_t *avp_http_start(avp_worker_t *w); /* NULL: said why */
void avp_http_stop(avp_http_t *h);

#endif
