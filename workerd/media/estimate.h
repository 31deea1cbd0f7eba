/*
 * What a plan will take: CPU seconds, bytes of memory, bytes of output.  The
 * supervisor makes limits of them, admits jobs by the memory, and progress is
 * weighted by the CPU.  Pure arithmetic over constants that were measured
 * (docs/benchmarks.md); the CPU is that of usual pictures, and may be off by
 * two either way, the memory is what no job should exceed.
 */

#ifndef AVP_MEDIA_ESTIMATE_H
#define AVP_MEDIA_ESTIMATE_H

#include "workerd/media/plan.h"

/* CPU seconds of an encode that is planned but for its cost, or of a copy;
 * plan->rate and ->bound are known. */
double avp_estimate_encode(const avp_plan_t *plan, const avp_probe_t *p,
                           const avp_job_t *job, const avp_encode_plan_t *e);

/* Sets cpu_seconds, memory_bytes, output_bytes and output_rate of a plan that
 * is complete otherwise. */
void avp_estimate(avp_plan_t *plan, const avp_probe_t *p,
                  const avp_job_t *job);

#endif
