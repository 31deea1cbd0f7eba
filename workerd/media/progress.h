/*
 * What a job tells while it runs: messages of lib/media_message.h on a
 * descriptor, or for people on stderr.  Progress is encoded time over
 * decodable time, weighted by what each output costs; it never goes back,
 * ends at 99 (100 is the database's word for published), and is told at most
 * twice a second.  Any thread may call.
 *
 * How long the video is: seen in an index, it is believed.  Merely claimed, it
 * is believed until what was read of the file says something quite different;
 * claimed or not, the first pass that reaches the end knows.
 *
 * The rest of the time is reckoned by the speed of late; to begin with, by the
 * speed that the plan expects, which is worth as much as 5 % of the job.
 */

#ifndef AVP_MEDIA_PROGRESS_H
#define AVP_MEDIA_PROGRESS_H

#include "workerd/media/fail.h"
#include "workerd/media/plan.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

/* The task between the last packet and the last file. */
#define AVP_TASK_FINISHING "finishing the files"

#define AVP_PROGRESS_ITEMS (AVP_PASSES_MAX * AVP_ENCODES_MAX)

typedef struct {
    /* One message as a JSON object; stolen or not, the caller frees it.
     * Nonzero: nobody listens any more. */
    int  (*send)(void *ctx, const json_t *message);
    void  *ctx;

    pthread_mutex_t lock;
    bool            gone;     /* send failed */
    double          duration; /* s; 0 unknown */
    bool            sure;     /* not only claimed */
    double          read, fraction; /* of the source: s, and its bytes */
    int             nitems, first; /* items of the present pass: first.. */
    double          weight[AVP_PROGRESS_ITEMS], part[AVP_PROGRESS_ITEMS];
    double          total;
    double          (*now)(void);  /* s, monotonic */
    double          started, last; /* and when it was told */
    int             told;
    double          expected;      /* s that it all should take; 0 unknown */
    double          share, at;     /* as of the last look, and when that was */
    double          shares, spent; /* lately: done, and in how many s */
    char            task[AVP_TASK_MAX];
} avp_progress_t;

void avp_progress_init(avp_progress_t *p,
                       int (*send)(void *ctx, const json_t *message),
                       void *ctx);
void avp_progress_free(avp_progress_t *p);

/* Takes over `message`. */
void avp_progress_send(avp_progress_t *p, json_t *message);

/* The plan, to be run by `threads` cores. */
void avp_progress_plan(avp_progress_t *p, const avp_plan_t *plan, int threads);
/* The job begins again by another plan; nothing is sent. */
void avp_progress_again(avp_progress_t *p, const avp_plan_t *plan,
                        int threads);
/* The duration turned out to be wrong: go by what is read from now on. */
void avp_progress_unsure(avp_progress_t *p);
void avp_progress_warning(avp_progress_t *p, const char *detail);
void avp_progress_error(avp_progress_t *p, const avp_fail_t *fail);

/* A pass begins; its first encode is item *first. */
void avp_progress_pass(avp_progress_t *p, const avp_pass_t *pass, int *first);
/* An item has been encoded up to `t` seconds. */
void avp_progress_step(avp_progress_t *p, int item, double t);
void avp_progress_item_done(avp_progress_t *p, int item);
/* How far the source was read: up to `t` seconds, and 0 to 1 of its bytes. */
void avp_progress_read(avp_progress_t *p, double t, double fraction);
/* The source's end was reached, at `t` seconds. */
void avp_progress_ended(avp_progress_t *p, double t);
/* What is done now, when it is not encoding. */
void avp_progress_task(avp_progress_t *p, const char *task);

/* Whether the listener went away: the job is pointless. */
bool avp_progress_gone(avp_progress_t *p);

#endif
