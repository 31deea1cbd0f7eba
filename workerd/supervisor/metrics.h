/*
 * What the supervisor counts, for /metrics and /health.  Written by the loop
 * and by gc's thread, read by http.c's: all of it atomic.
 */

#ifndef AVP_SUPERVISOR_METRICS_H
#define AVP_SUPERVISOR_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

/*  member             metric                                labels */
#define AVP_COUNTER_LIST(X)                                                    \
    X(jobs_completed, "avp_jobs_total", "result=\"completed\"")                \
    X(jobs_permanent, "avp_jobs_total", "result=\"permanent\"")                \
    X(jobs_transient, "avp_jobs_total", "result=\"transient\"")                \
    X(jobs_crash, "avp_jobs_total", "result=\"crash\"")                        \
    X(jobs_stall, "avp_jobs_total", "result=\"stall\"")                        \
    X(jobs_drained, "avp_jobs_total", "result=\"drained\"")                    \
    X(jobs_cancelled, "avp_jobs_total", "result=\"cancelled\"")                \
    X(jobs_lost, "avp_jobs_total", "result=\"lost\"")                          \
    X(claims, "avp_claims_total", "")                                          \
    X(lease_lost, "avp_lease_lost_total", "")                                  \
    X(lease_fenced, "avp_lease_fenced_total", "")                              \
    X(reconcile_rounds, "avp_reconcile_rounds_total", "")                      \
    X(reconcile_lapsed, "avp_reconcile_actions_total", "action=\"lapsed\"")    \
    X(reconcile_pushed, "avp_reconcile_actions_total", "action=\"pushed\"")    \
    X(gc_rounds, "avp_gc_rounds_total", "")                                    \
    X(gc_prefixes, "avp_gc_removed_total", "what=\"prefixes\"")                \
    X(gc_originals, "avp_gc_removed_total", "what=\"originals\"")              \
    X(gc_outputs, "avp_gc_removed_total", "what=\"outputs\"")                  \
    X(gc_incoming, "avp_gc_removed_total", "what=\"incoming\"")                \
    X(gc_trash, "avp_gc_removed_total", "what=\"trash\"")                      \
    X(gc_purged, "avp_gc_removed_total", "what=\"videos\"")                    \
    X(gc_bytes, "avp_gc_removed_bytes_total", "")                              \
    X(gc_errors, "avp_gc_errors_total", "")

typedef struct {
#define AVP_COUNTER_MEMBER(member, metric, labels) atomic_llong member;
    AVP_COUNTER_LIST(AVP_COUNTER_MEMBER)
#undef AVP_COUNTER_MEMBER
    atomic_int  running;   /* media processes */
    atomic_int  slots;
    atomic_bool draining;
    atomic_bool redis_up;
} avp_metrics_t;

#endif
