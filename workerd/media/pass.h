/*
 * One pass: the nodes that a pass of the plan asks for, built, run and taken
 * down.  Called by pipeline.c, one pass after the other.
 */

#ifndef AVP_MEDIA_PASS_H
#define AVP_MEDIA_PASS_H

#include "workerd/media/nodes.h"

#define AVP_RESULTS_MAX (3 * AVP_LADDER_MAX)

typedef struct {
    avp_rendition_t results[AVP_RESULTS_MAX]; /* of MP4 and WebM */
    int             nresults;
    int64_t         frames_in, frames_out, errors; /* of the source */
    avp_images_t    images;
} avp_pass_result_t;

/* `hls` may be NULL.  Adds to *res.  0, or -1 with *fail set. */
int avp_pass_run(avp_run_t *run, const avp_pass_t *plan, avp_hls_t *hls,
                 avp_pass_result_t *res, avp_fail_t *fail);

#endif
