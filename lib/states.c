#include "lib/states.h"

/* A bit per state that may follow. */
#define V(state) (1u << AVP_VIDEO_##state)
#define J(state) (1u << AVP_JOB_##state)

static const struct {
    const char *name;
    unsigned    next;
} videos[AVP_VIDEO_STATES] = {
    [AVP_VIDEO_UPLOADING] = { "uploading", V(PENDING) | V(FAILED) },
    /* failed: its job was cancelled before it ran */
    [AVP_VIDEO_PENDING] = { "pending", V(PROCESSING) | V(FAILED) },
    /* pending: given back by a worker that drained, or lost; while its job is
     * `retrying` a video stays `processing` */
    [AVP_VIDEO_PROCESSING] = { "processing",
                               V(PENDING) | V(COMPLETED) | V(FAILED) },
    [AVP_VIDEO_COMPLETED] = { "completed", 0 },
    [AVP_VIDEO_FAILED] = { "failed", V(PENDING) }, /* retry */
};

static const struct {
    const char *name;
    unsigned    next;
} jobs[AVP_JOB_STATES] = {
    [AVP_JOB_PENDING] = { "pending", J(PROCESSING) | J(CANCELLED) },
    /* processing again: a lapsed lease or a lost answer, with a new attempt */
    [AVP_JOB_PROCESSING] = { "processing",
                             J(PROCESSING) | J(COMPLETED) | J(FAILED)
                                 | J(RETRYING) | J(PENDING) | J(CANCELLED) },
    [AVP_JOB_COMPLETED] = { "completed", 0 },
    [AVP_JOB_FAILED] = { "failed", J(PENDING) }, /* retry */
    [AVP_JOB_RETRYING] = { "retrying", J(PROCESSING) | J(CANCELLED) },
    [AVP_JOB_CANCELLED] = { "cancelled", J(PENDING) }, /* retry */
};

#undef V
#undef J

const char *
avp_video_state_name(avp_video_state_t s)
{
    return (unsigned)s < AVP_VIDEO_STATES ? videos[s].name : "unknown";
}

const char *
avp_job_state_name(avp_job_state_t s)
{
    return (unsigned)s < AVP_JOB_STATES ? jobs[s].name : "unknown";
}

int
avp_video_state_parse(avp_str_t word, avp_video_state_t *s)
{
    for (unsigned i = 0; i < AVP_VIDEO_STATES; i++) {
        if (avp_str_eq(word, avp_str_c(videos[i].name))) {
            *s = (avp_video_state_t)i;
            return 0;
        }
    }
    return -1;
}

int
avp_job_state_parse(avp_str_t word, avp_job_state_t *s)
{
    for (unsigned i = 0; i < AVP_JOB_STATES; i++) {
        if (avp_str_eq(word, avp_str_c(jobs[i].name))) {
            *s = (avp_job_state_t)i;
            return 0;
        }
    }
    return -1;
}

bool
avp_video_move_ok(avp_video_state_t from, avp_video_state_t to)
{
    return (unsigned)from < AVP_VIDEO_STATES && (unsigned)to < AVP_VIDEO_STATES
           && ((videos[from].next >> to) & 1) != 0;
}

bool
avp_job_move_ok(avp_job_state_t from, avp_job_state_t to)
{
    return (unsigned)from < AVP_JOB_STATES && (unsigned)to < AVP_JOB_STATES
           && ((jobs[from].next >> to) & 1) != 0;
}
