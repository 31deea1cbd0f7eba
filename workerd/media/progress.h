/*
 * What a job tells while it runs: messages of lib/media_message.h on a
 * descriptor, or for people on stderr.  Progress is encoded time over
 * decodable time, weighted by what each output costs; it never goes back,
 * ends at 99 (100 is the database's word for published), and is told at most
 * twice a second.  Any thread may call.
 */

#ifndef AVP_MEDIA_PROGRESS_H
#define AVP_MEDIA_PROGRESS_H

#include "workerd/media/fail.h"
#include "workerd/media/plan.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#define AVP_PROGRESS_ITEMS (AVP_PASSES_MAX * AVP_ENCODES_MAX)

typedef struct {
    /* One message as a JSON object; stolen or not, the caller frees it.
     * Nonzero: nobody listens any more. */
    int  (*send)(void *ctx, const json_t *message);
    void  *ctx;

    pthread_mutex_t lock;
    bool            gone;     /* send failed */
    double          duration; /* s; 0 unknown */
    double          fraction; /* of the pass's source bytes, when unknown */
    int             nitems, first; /* items of the present pass: first.. */
    double          weight[AVP_PROGRESS_ITEMS], part[AVP_PROGRESS_ITEMS];
    double          total;
    double          started, last; /* s, monotonic */
    int             told;
    char            task[64];
} avp_progress_t;

void avp_progress_init(avp_progress_t *p,
                       int (*send)(void *ctx, const json_t *message),
                       void *ctx);
void avp_progress_free(avp_progress_t *p);

/* Takes over `message`. */
void avp_progress_send(avp_progress_t *p, json_t *message);

void avp_progress_plan(avp_progress_t *p, const avp_plan_t *plan);
/* The duration turned out to be wrong: go by what is read from now on. */
void avp_progress_unsure(avp_progress_t *p);
void avp_progress_warning(avp_progress_t *p, const char *detail);
void avp_progress_error(avp_progress_t *p, const avp_fail_t *fail);

/* A pass begins; its first encode is item *first. */
void avp_progress_pass(avp_progress_t *p, const avp_pass_t *pass, int *first);
/* An item has been encoded up to `t` seconds. */
void avp_progress_step(avp_progress_t *p, int item, double t);
void avp_progress_item_done(avp_progress_t *p, int item);
/* How far the source was read, 0 to 1. */
void avp_progress_read(avp_progress_t *p, double fraction);

/* Whether the listener went away: the job is pointless. */
bool avp_progress_gone(avp_progress_t *p);

#endif
