/*
 * The job as the supervisor gives it on descriptor 0 (docs/architecture.md
 * 5).  Unknown members, unknown words and numbers out of range are refused:
 * a job that is understood half is a job done wrong.
 */

#ifndef AVP_MEDIA_JOB_H
#define AVP_MEDIA_JOB_H

#include "lib/profile.h"
#include "lib/str.h"

#include <stdbool.h>
#include <stdint.h>

#define AVP_JOB_MAX 65536 /* bytes of JSON */

typedef enum {
    AVP_ORDER_AUTO,     /* hls-first for 4k sources, else together */
    AVP_ORDER_TOGETHER, /* WebM beside the other rungs */
    AVP_ORDER_HLS_FIRST /* WebM in a pass of its own, last */
} avp_order_t;

typedef struct avp_job_s {
    avp_profile_t       profile; /* as the limit left it, once settled */
    avp_profile_limit_t limit;   /* formats, qualities, webmCodec */
    bool        mp4, webm, hls;  /* whether any rung is made so */
    bool        early;
    bool        passthrough;  /* copy what fits as it is */
    bool        restart;      /* nobody plays what is there yet: may begin
                                 again in the same folder */
    avp_order_t order;
    uint32_t    allowed;      /* mask of lib/sniff.h */
    int64_t     max_duration; /* seconds */
    int         threads;
    bool        preview;      /* the one that moves */
    bool        sandbox;
    bool        hold;         /* once planned, wait to be let go on */
} avp_job_t;

/* Everything on but the preview, as `workerd transcode` without options runs. */
void avp_job_defaults(avp_job_t *job);

/* 0, or -1 with a phrase in why. */
int avp_job_parse(avp_job_t *job, avp_str_t json, char why[AVP_PROFILE_ERROR]);

/* Applies the limit to the profile, once all is set; avp_job_parse() does. */
int avp_job_settle(avp_job_t *job, char why[AVP_PROFILE_ERROR]);

/* Comma-separated lists and words, shared with the command line; -1 for a
 * word that is not known or an empty list. */
int avp_job_set_formats(avp_job_t *job, avp_str_t list);
int avp_job_set_qualities(avp_job_t *job, avp_str_t list);
int avp_job_set_order(avp_job_t *job, avp_str_t word);
int avp_job_set_webm(avp_job_t *job, avp_str_t word);
int avp_job_set_passthrough(avp_job_t *job, avp_str_t word); /* auto, off */

#endif
