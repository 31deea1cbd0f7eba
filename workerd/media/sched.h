/*
 * How a pass runs.
 *
 * A pass is a graph of nodes, one thread each, joined by bounded queues of
 * decoded frames:
 *
 *   source ---> rung 480p  ---> encoder h264 ---> mp4, hls
 *    demux  |               `-> encoder av1  ---> webm
 *    decode |-> rung 1080p ---> encoder h264 ---> mp4, hls
 *    grid   |               `-> ...
 *           `-> pictures (storyboard, poster)
 *
 *   sound ---> aac, opus ---> mp4, hls, webm          (its own demuxer)
 *   sound ---> aac ---> hls         (each further track, and the surround)
 *   texts ---> hls                                    (all text tracks)
 *
 * The source node demuxes and decodes once, deinterlaces when needed and
 * puts every frame on the output's time grid (rate.h): from there on a frame
 * is a number.  What goes to each queue is a reference to the same picture.
 * A rung node scales, turns and maps colours with a filter graph of its own
 * (a graph runs in its caller's thread: one graph with a split would put all
 * scales on one thread) and hands on to the encoders of its size.  An encoder
 * node sends each packet to every packager that wants it: MP4 and HLS of a
 * rung carry the same bits.  Packagers (package.h) are not nodes; they lock
 * themselves and never wait for one another.
 *
 * Queues hold 4 frames.  put() waits while its queue is full and get() while
 * it is empty, so the slowest encoder sets the pace and memory does not
 * depend on the video's length.  The graph is a tree and data flows one way:
 * nobody waits for a node that waits for him.  The sound node is paced by the
 * clock instead (avp_clock_t): it waits until it is no more than 2 s ahead of
 * the slowest video encoder's packets; so is each further sound, and the
 * texts node.  Video never waits for sound or text, so this cannot lock up;
 * and as they are cheap, they are never far behind either.  Captions that lie
 * in the pictures are read by the source node itself, frame by frame, and
 * kept by the packager: that never waits.
 *
 * A stream that is copied has a node of its own with its own demuxer
 * (copy.c), no queues, and in a pass with nothing else there is no source
 * node:
 *
 *   copy ---> mp4, hls
 *
 * Copied video does wait for sound, or it would run off to the end of the
 * file and MP4 could not be interleaved: until sound is no more than 4 s
 * behind.  Sound tells where it is when it waits for the clock, so of the two
 * only one ever waits.
 *
 * The end: the source closes its queues; each node drains, flushes, closes
 * its own queues, ends its tracks and returns.  join() waits for all.
 *
 * Errors: a node that cannot go on calls avp_sched_fail().  The first failure
 * is kept, the stop flag goes up and every waiter wakes; put(), get() and the
 * clock then return AVERROR_EXIT, reads of the source too, and all nodes
 * return without writing more.  The same way out serves a cancelled job:
 * avp_sched_stop().  join() tells.
 *
 * Frames in queues belong to the queue; those left are freed with it.
 */

#ifndef AVP_MEDIA_SCHED_H
#define AVP_MEDIA_SCHED_H

#include "workerd/media/fail.h"

#include <libavutil/frame.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define AVP_QUEUE_CAP 4
#define AVP_NODES_MAX 96
#define AVP_TRACKS_MAX 32

typedef struct avp_sched_s avp_sched_t;

typedef struct {
    avp_sched_t    *sched;
    pthread_mutex_t lock;
    pthread_cond_t  more, less;
    AVFrame        *frames[AVP_QUEUE_CAP];
    int             head, count;
    bool            closed;
} avp_queue_t;

/* Where the pass is, in seconds of the output's time. */
typedef struct {
    avp_sched_t    *sched;
    pthread_mutex_t lock;
    pthread_cond_t  moved;
    bool            started;          /* origin is known */
    double          origin;           /* s of source time that is output 0 */
    bool            decoded;          /* video_end is known */
    double          video_end;
    int             ntracks;
    double          written[AVP_TRACKS_MAX]; /* by each video encoder */
    bool            ended[AVP_TRACKS_MAX];
    int             nsounds;          /* that have not ended */
    double          heard;            /* where sound is, or waits to be */
} avp_clock_t;

struct avp_sched_s {
    atomic_bool     stop;
    pthread_mutex_t lock; /* of fail */
    avp_fail_t      fail;
    int             nthreads;
    pthread_t       threads[AVP_NODES_MAX];
    int             nqueues;
    avp_queue_t     queues[AVP_NODES_MAX];
    avp_clock_t     clock;
};

/* A node's body: 0, or -1 with *fail set. */
typedef int (*avp_node_fn)(void *node, avp_fail_t *fail);

void avp_sched_init(avp_sched_t *s);
void avp_sched_free(avp_sched_t *s); /* after join */

/* NULL when there are too many. */
avp_queue_t *avp_sched_queue(avp_sched_t *s);

/* Starts a node; a failure to start fails the pass. */
void avp_sched_spawn(avp_sched_t *s, avp_node_fn fn, void *node,
                     const char *name);

void avp_sched_fail(avp_sched_t *s, const avp_fail_t *fail);
void avp_sched_stop(avp_sched_t *s);

static inline bool
avp_sched_stopped(avp_sched_t *s)
{
    return atomic_load_explicit(&s->stop, memory_order_relaxed);
}

/* 0, or -1 with the first failure in *fail. */
int avp_sched_join(avp_sched_t *s, avp_fail_t *fail);

/* Takes the frame in any case.  0 or AVERROR_EXIT. */
int avp_queue_put(avp_queue_t *q, AVFrame *frame);
/* 1 and a frame that is the caller's, 0 at the end, AVERROR_EXIT. */
int avp_queue_get(avp_queue_t *q, AVFrame **frame);
void avp_queue_close(avp_queue_t *q);

/* The clock.  Waiting functions return 0 or AVERROR_EXIT. */
void avp_clock_start(avp_clock_t *c, double origin);
int  avp_clock_origin(avp_clock_t *c, double *origin);
void avp_clock_decoded(avp_clock_t *c, double end);
void avp_clock_written(avp_clock_t *c, int track, double t);
void avp_clock_ended(avp_clock_t *c, int track);
/* Until the slowest video encoder has written up to `t`, or all ended. */
int  avp_clock_wait(avp_clock_t *c, double t);
/* Until it has moved past `t`: *now is where; *end whether it has ended. */
int  avp_clock_follow(avp_clock_t *c, double t, double *now, bool *end);
/* Copied video waits for sound: until that is at `t`, or all of it ended. */
int  avp_clock_hear(avp_clock_t *c, double t);
void avp_clock_unheard(avp_clock_t *c); /* one sound has ended */

#endif
