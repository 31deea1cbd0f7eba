/*
 * The last line of defence of the lease: a thread that kills media processes
 * whose deadline has passed, whatever the supervisor's loop is waiting for.
 *
 * A worker that cannot reach PostgreSQL must stop working on a job before the
 * lease ends, because then another may start.  The loop moves each deadline
 * forward when the database has confirmed the lease; should it be held up, by
 * a hung database, a dead name server or a stopped machine, the guard's clock
 * goes on.  It knows pids and times and nothing else.
 */

#ifndef AVP_SUPERVISOR_GUARD_H
#define AVP_SUPERVISOR_GUARD_H

#include "workerd/supervisor/child.h"

typedef struct avp_guard_s avp_guard_t;

/* `n` entries.  NULL: errno. */
avp_guard_t *avp_guard_start(int n);
void avp_guard_stop(avp_guard_t *g);

/* Will kill the process group `pid` at `deadline` (avp_clock()). */
void avp_guard_watch(avp_guard_t *g, int entry, pid_t pid, int64_t deadline);

/* The lease was confirmed: a new deadline, unless it has struck already. */
void avp_guard_move(avp_guard_t *g, int entry, int64_t deadline);

/* avp_child_reap() that cannot race with a kill of a pid used anew.  *struck
 * becomes true when it was the guard who killed it. */
bool avp_guard_reap(avp_guard_t *g, int entry, avp_child_t *c, bool *struck);

#endif
