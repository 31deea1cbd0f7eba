/*
 * The one frame-rate decision of a job, and the grid that follows from it.
 * Every rendition sees the same frames at the same places; so key frames and
 * segments fall on the same frames everywhere.  Pure arithmetic.
 *
 * A regular source keeps its exact rate (snapped to the standard rate it can
 * only mean); above 60 it is divided by the smallest whole number that brings
 * it to 60 or less; an irregular one becomes the standard rate nearest to its
 * median frame interval.  Below 1 it is multiplied: segments need frames.
 */

#ifndef AVP_MEDIA_RATE_H
#define AVP_MEDIA_RATE_H

#include <libavutil/rational.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    AVRational rate;   /* of the output */
    bool       vfr;    /* irregular: frames are repeated and dropped */
    bool       regular; /* of one rate, but for a few frames at most */
    bool       exact;  /* one output frame for each decoded one */
    double     fps;    /* of the source, measured */
} avp_rate_t;

/*
 * `ts` are presentation times in ascending order, in units of tb; `hint` is
 * the container's average rate (0/1: none), believed only where the times
 * agree; `fields`: the stream is interlaced, and its packets may be single
 * fields; `total` the number of packets, 0 when not known.
 */
void avp_rate_decide(avp_rate_t *r, const int64_t *ts, int n, AVRational tb,
                     AVRational hint, bool fields, int64_t total);

typedef struct {
    double  rate;
    double  early, late; /* how far from its slot a frame may lie, in slots */
    int64_t next;        /* the next slot = frames put out so far */
    int64_t seen;        /* frames that came in */
    int64_t repeats, drops;
} avp_grid_t;

void avp_grid_init(avp_grid_t *g, const avp_rate_t *r);

/* A frame of time `t` (seconds, first 0): how often the frame before it must
 * be repeated first; *use says whether the frame itself has a slot.  The
 * slots are g->next before the call and those after it; -1 when repetition
 * is out of proportion (a gap bomb). */
int64_t avp_grid_place(avp_grid_t *g, double t, bool *use);

/* Repeats of the last frame up to the end `t`, or -1. */
int64_t avp_grid_finish(avp_grid_t *g, double t);

/* Whether slot n is the first at or after a multiple of `seconds`. */
bool avp_grid_is_key(AVRational rate, int64_t n, int seconds);

#endif
