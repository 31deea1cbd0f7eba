/* Which of the planned jobs may begin, by their memory; see admit.c. */

#ifndef AVP_SUPERVISOR_ADMIT_H
#define AVP_SUPERVISOR_ADMIT_H

#include "workerd/supervisor/worker.h"

/* Bytes that all media processes may have: what MEMORY_LIMIT says, else four
 * fifths of what the machine or the control group has. */
int64_t avp_memory_limit(const avp_settings_t *set);

/* The slot's plan is told: it waits for its turn, which may be now. */
void avp_admit_hold(avp_worker_t *w, avp_slot_t *s, int64_t now);

/* Lets go on whoever has room. */
void avp_admit_tick(avp_worker_t *w, int64_t now);

/* Whether any slot waits. */
bool avp_admit_waiting(const avp_worker_t *w);

#endif
