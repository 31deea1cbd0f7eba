/*
 * The states of a video and of a job, and the moves between them.  The SQL
 * functions enforce them (migrations/functions/); this table is what C and
 * the unit tests know of it, and docs/architecture.md draws it.
 */

#ifndef AVP_STATES_H
#define AVP_STATES_H

#include "lib/str.h"

#include <stdbool.h>

typedef enum {
    AVP_VIDEO_UPLOADING,
    AVP_VIDEO_PENDING,
    AVP_VIDEO_PROCESSING,
    AVP_VIDEO_COMPLETED,
    AVP_VIDEO_FAILED,
    AVP_VIDEO_STATES
} avp_video_state_t;

typedef enum {
    AVP_JOB_PENDING,
    AVP_JOB_PROCESSING,
    AVP_JOB_COMPLETED,
    AVP_JOB_FAILED,
    AVP_JOB_RETRYING,
    AVP_JOB_CANCELLED,
    AVP_JOB_STATES
} avp_job_state_t;

const char *avp_video_state_name(avp_video_state_t s);
const char *avp_job_state_name(avp_job_state_t s);

/* 0 and *s set, or -1 for a word that is no state. */
int avp_video_state_parse(avp_str_t word, avp_video_state_t *s);
int avp_job_state_parse(avp_str_t word, avp_job_state_t *s);

/* Whether the database may move a video or a job from one to the other. */
bool avp_video_move_ok(avp_video_state_t from, avp_video_state_t to);
bool avp_job_move_ok(avp_job_state_t from, avp_job_state_t to);

#endif
