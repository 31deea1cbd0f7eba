/*
 * What nobody names any more is removed: output prefixes of dead attempts,
 * files of videos that do not exist, deleted videos with their rows, uploads
 * that never ended, and trash.  All of it only once it is older than a grace
 * time, only when the database has just said so, and only beneath the root
 * (store_file.h).  What lies in place is first moved to trash/, which takes it
 * out of sight at once, then unlinked.
 *
 * A round may take long, so the daemon runs rounds in a thread of their own
 * with a connection of their own; `workerd gc` runs one by hand.
 */

#ifndef AVP_SUPERVISOR_GC_H
#define AVP_SUPERVISOR_GC_H

#include "workerd/db.h"
#include "workerd/supervisor/metrics.h"
#include "workerd/supervisor/store_file.h"

#include <stdatomic.h>

typedef struct {
    avp_db_t          *db;
    const avp_store_t *store;
    int                grace;    /* seconds */
    avp_metrics_t     *metrics;  /* counts what was removed */
    atomic_bool       *stop;     /* may be NULL */
} avp_gc_round_t;

/* One round; 0, or -1 when the database or the storage failed on the way. */
int avp_gc_round(avp_gc_round_t *g);

#endif
