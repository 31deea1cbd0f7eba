/*
 * Redis as the supervisor uses it (docs/architecture.md 3): wake-ups, events,
 * presence.  Nothing here may be relied on: Redis can be gone, hung or empty
 * at any time, and then the callers go on without.
 *
 * Two connections, both used by the supervisor's loop alone.  Commands are
 * blocking with a deadline of 200 ms each; after a failure none is tried for
 * a while (1 s, doubling to 8 s), so a Redis that is gone costs the loop next
 * to nothing.  The other connection only waits: avp_redis_wait() sends BLPOP,
 * the loop polls its descriptor, avp_redis_wait_ready() reads the answer.
 */

#ifndef AVP_SUPERVISOR_REDIS_H
#define AVP_SUPERVISOR_REDIS_H

#include <stdbool.h>

typedef struct avp_redis_s avp_redis_t;

/* redis://[[user]:password@]host[:port][/db] or unix:///path.  Opens nothing.
 * NULL when out of memory or the address is none, then with *why set. */
avp_redis_t *avp_redis_new(const char *url, const char **why);
void avp_redis_free(avp_redis_t *r);

/* Whether the last thing tried went well. */
bool avp_redis_up(const avp_redis_t *r);

/* Publishes an event text of the database on its channels; NULL: nothing. */
void avp_redis_event(avp_redis_t *r, const char *event);

/* RPUSH of `n` wake-ups (at most 100).  0 or -1. */
int avp_redis_push(avp_redis_t *r, const char *entry, int n);

/* LPOP of up to 100 wake-ups: how many there were, or -1. */
int avp_redis_drain(avp_redis_t *r);

/* LLEN, or -1. */
long avp_redis_length(avp_redis_t *r);

/* Who works where, for 30 s; slots < 0: gone, removed at once. */
void avp_redis_presence(avp_redis_t *r, const char *name,
                        const char *incarnation, const char *host,
                        const char *version, int slots, int running);

/* Sends BLPOP with this timeout.  0, or -1 when Redis is gone. */
int avp_redis_wait(avp_redis_t *r, double seconds);

/* The descriptor to poll for reading while a wait is out, or -1. */
int avp_redis_wait_fd(const avp_redis_t *r);

typedef enum {
    AVP_WAIT_MORE,    /* not answered yet */
    AVP_WAIT_ENTRY,   /* a wake-up was popped */
    AVP_WAIT_TIMEOUT, /* nothing came in time */
    AVP_WAIT_LOST     /* the connection went */
} avp_wait_t;

avp_wait_t avp_redis_wait_ready(avp_redis_t *r);

/* Gives the wait up; a wake-up popped in this moment is lost, so the caller
 * pushes one. */
void avp_redis_wait_cancel(avp_redis_t *r);

#endif
