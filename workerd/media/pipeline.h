/*
 * A job from source to results: probe, plan, passes, the done document.  The
 * same for `workerd media` (child.c) and `workerd transcode` (transcode.c),
 * which differ in who listens.
 */

#ifndef AVP_MEDIA_PIPELINE_H
#define AVP_MEDIA_PIPELINE_H

#include "workerd/media/fail.h"
#include "workerd/media/job.h"
#include "workerd/media/progress.h"

/* libav's tables, CPU detection and logging: before the sandbox closes. */
void avp_pipeline_init(void);

/*
 * Runs the job; takes over `out_fd` (a folder), leaves `src_fd` open.  Plan,
 * progress, warnings and playable go to `progress` as they come.  `admit`, if
 * not NULL, is called once the plan is told and before it is begun: it may
 * wait, and -1 ends the job.  0 and *done the document of docs/architecture.md
 * 5, or -1 and *fail set.
 */
int avp_pipeline_run(const avp_job_t *job, int src_fd, int out_fd,
                     avp_progress_t *progress, int (*admit)(avp_fail_t *fail),
                     json_t **done, avp_fail_t *fail);

#endif
