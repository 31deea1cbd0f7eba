/*
 * The nodes of a pass (sched.h draws them).  Each has a struct that the
 * pipeline fills before the threads start, a body run by a thread of its own,
 * and a free function for after the join.  A node touches nobody's struct but
 * its own; what they share is the run (read only, or atomic), the queues and
 * the clock.
 */

#ifndef AVP_MEDIA_NODES_H
#define AVP_MEDIA_NODES_H

#include "workerd/media/demux.h"
#include "workerd/media/filter.h"
#include "workerd/media/images.h"
#include "workerd/media/out.h"
#include "workerd/media/package.h"
#include "workerd/media/plan.h"
#include "workerd/media/progress.h"
#include "workerd/media/sched.h"

#define AVP_SINKS_MAX 16

/* What a whole job shares. */
typedef struct avp_run_s {
    const avp_job_t   *job;
    const avp_probe_t *facts;
    const avp_plan_t  *plan;
    int                fd; /* the source */
    avp_out_t         *out;
    avp_progress_t    *progress;
    atomic_llong       frames_decoded;
    /* called by the source node as time goes by: limits that follow what is
     * really there, not what was claimed */
    void             (*seen)(struct avp_run_s *run, double seconds);
    void             (*poster_done)(struct avp_run_s *run);
    void             (*warn)(struct avp_run_s *run, const char *text);
} avp_run_t;

/* --- decode.c: demux, decode, deinterlace, grid, fan out ---------------- */

typedef struct {
    avp_run_t   *run;
    avp_sched_t *sched;
    int          threads;
    int          nouts;
    avp_queue_t *outs[AVP_LADDER_MAX + 2];

    /* results, for after the join */
    int64_t      frames_out;
    int64_t      frames_in;
    int64_t      errors;
} avp_source_t;

int avp_source_node(void *node, avp_fail_t *fail);

/* --- filter.c's scaler in a thread: rung.c ------------------------------ */

typedef struct {
    avp_sched_t *sched;
    avp_queue_t *in;
    int          nouts;
    avp_queue_t *outs[2];
    avp_scaler_t scaler;
} avp_rung_node_t;

int avp_rung_node(void *node, avp_fail_t *fail);

/* --- encode.c ----------------------------------------------------------- */

/* Where packets go: one of the two. */
typedef struct {
    avp_packager_t  *file;
    avp_hls_track_t *hls;
} avp_sink_t;

typedef struct {
    avp_run_t               *run;
    avp_sched_t             *sched;
    const avp_encode_plan_t *plan;
    AVCodecContext          *codec;
    avp_queue_t             *in;
    int                      track; /* on the clock */
    int                      item;  /* in progress */
    int                      nsinks;
    avp_sink_t               sinks[2];
    avp_stream_spec_t        spec;
    AVCodecParameters       *par;   /* spec's */
    bool                     begun, flushed;
} avp_encoder_t;

/* Opens the encoder and fills `spec` for the packagers. */
int  avp_encoder_open(avp_encoder_t *e, avp_fail_t *fail);
int  avp_encoder_node(void *node, avp_fail_t *fail);
void avp_encoder_free(avp_encoder_t *e);

int avp_sink_write(avp_sink_t *s, int which, const AVPacket *pkt);
int avp_sink_end(avp_sink_t *s, int which);

/* --- audio.c ------------------------------------------------------------ */

typedef struct {
    AVCodecContext   *codec;
    struct AVAudioFifo *fifo;
    int64_t           next; /* sample of the next frame */
    int               nsinks;
    avp_sink_t        sinks[AVP_SINKS_MAX];
    avp_stream_spec_t spec;
    AVCodecParameters *par;
} avp_voice_t;

typedef struct {
    avp_run_t   *run;
    avp_sched_t *sched;
    int          nvoices;
    avp_voice_t  voices[2]; /* aac, opus */
} avp_sound_t;

int  avp_voice_open(avp_voice_t *v, const avp_probe_t *facts, bool opus,
                    avp_fail_t *fail);
int  avp_sound_node(void *node, avp_fail_t *fail);
void avp_sound_free(avp_sound_t *s);

/* --- picture.c: poster and storyboard ----------------------------------- */

typedef struct {
    avp_run_t        *run;
    avp_sched_t      *sched;
    avp_queue_t      *in;         /* NULL: the poster comes by seek */
    avp_poster_t     *poster;     /* NULL: not in this pass */
    avp_storyboard_t *storyboard; /* likewise */
    avp_scaler_t      poster_scaler, tile_scaler;
} avp_pictures_t;

int  avp_pictures_open(avp_pictures_t *p, bool poster, bool storyboard,
                       avp_fail_t *fail);
int  avp_pictures_node(void *node, avp_fail_t *fail); /* from its queue */
int  avp_poster_node(void *node, avp_fail_t *fail);   /* by seek */
void avp_pictures_free(avp_pictures_t *p);

/* Colours and side data as the facts have them, not as the frame claims. */
void avp_frame_sanitize(AVFrame *f, const avp_probe_t *facts);

#endif
