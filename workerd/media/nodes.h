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
    atomic_bool        captions; /* found in the pictures, and written */
    /* copying has failed: why, written once (copy.h) */
    atomic_flag       broken;
    char              broken_why[AVP_FITS_TEXT - 16];
} avp_run_t;

typedef struct avp_captions_s avp_captions_t;

/* --- decode.c: demux, decode, deinterlace, grid, fan out ---------------- */

typedef struct {
    avp_run_t   *run;
    avp_sched_t *sched;
    int          threads;
    int          nouts;
    avp_queue_t *outs[AVP_LADDER_MAX + 2];
    avp_captions_t *captions; /* NULL: not in this pass */

    /* results, for after the join */
    int64_t      frames_out;
    int64_t      frames_in;
    int64_t      errors;
    int64_t      damaged; /* frames with holes that were painted over */
} avp_source_t;

int avp_source_node(void *node, avp_fail_t *fail);

/* --- filter.c's scaler in a thread: rung.c ------------------------------ */

typedef struct {
    avp_sched_t *sched;
    avp_queue_t *in;
    const char  *name;   /* of the rung */
    int          divide; /* takes each so many'th frame, and renumbers */
    int          nouts;
    avp_queue_t *outs[3];
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

/* --- voice.c: an encoder of sound and where its packets go --------------- */

typedef enum { AVP_VOICE_AAC, AVP_VOICE_OPUS, AVP_VOICE_SURROUND }
avp_voice_kind_t;

typedef struct {
    AVCodecContext     *codec;
    struct AVAudioFifo *fifo;
    AVPacket           *pkt;
    int64_t             next; /* sample of the next frame */
    int                 nsinks;
    avp_sink_t          sinks[AVP_SINKS_MAX];
    avp_stream_spec_t   spec;
    AVCodecParameters  *par;
} avp_voice_t;

/* Opens the encoder and fills `spec`; free it in either case. */
int  avp_voice_open(avp_voice_t *v, avp_voice_kind_t kind,
                    const avp_profile_t *how, const avp_track_t *track,
                    avp_fail_t *fail);
/* Planar floats of 48 kHz, as many planes as the voice has channels.  0 or an
 * AVERROR, as of avp_voice_end(): the rest, and the end of the sinks' track. */
int  avp_voice_write(avp_voice_t *v, float *const *samples, int n);
int  avp_voice_end(avp_voice_t *v);
void avp_voice_free(avp_voice_t *v);

/* --- audio.c: one sound track of the source ------------------------------ */

typedef struct {
    avp_run_t         *run;
    avp_sched_t       *sched;
    const avp_track_t *track;
    int                channels; /* of all its voices */
    int                nvoices;
    avp_voice_t        voices[2]; /* aac, opus; or one */
} avp_sound_t;

int  avp_sound_node(void *node, avp_fail_t *fail);
void avp_sound_free(avp_sound_t *s);

/* --- text.c: all text tracks of the source ------------------------------- */

typedef struct {
    avp_run_t      *run;
    avp_sched_t    *sched;
    avp_hls_text_t *out[AVP_TEXTS_MAX]; /* as facts->texts */
} avp_texts_t;

int avp_texts_node(void *node, avp_fail_t *fail);

/* --- captions.c: those in the pictures, by the source node --------------- */

#define AVP_CAPTIONS_LABEL "Captions"
#define AVP_CAPTIONS_BYTES 3072 /* of one picture; more is no caption */

avp_captions_t *avp_captions_new(avp_run_t *run, avp_hls_t *hls);
void avp_captions_free(avp_captions_t *c);

/* 0 or an AVERROR.  Frames as shown, with their side data; output time. */
int avp_captions_frame(avp_captions_t *c, const AVFrame *f, double t);
int avp_captions_end(avp_captions_t *c, double end);

/* --- pictures.c, poster_seek.c: all still pictures ---------------------- */

typedef struct {
    avp_run_t        *run;
    avp_sched_t      *sched;
    avp_queue_t      *in;         /* NULL: the poster comes by seek */
    avp_poster_t     *poster;     /* NULL: not in this pass */
    avp_storyboard_t *storyboard; /* likewise */
    avp_thumbnails_t *thumbnails; /* with the storyboard */
    avp_preview_t    *preview;    /* the same, if wanted */
    avp_scaler_t      poster_scaler, tile_scaler, small_scaler;
    avp_images_t      made;       /* result, for after the join */
} avp_pictures_t;

/* `story`: storyboard, thumbnails and, if the job wants one, the preview. */
int  avp_pictures_open(avp_pictures_t *p, bool poster, bool story,
                       avp_fail_t *fail);
int  avp_pictures_node(void *node, avp_fail_t *fail); /* from its queue */
int  avp_poster_node(void *node, avp_fail_t *fail);   /* by seek */
void avp_pictures_free(avp_pictures_t *p);

/* for both nodes */
int  avp_pictures_offer_poster(avp_pictures_t *p, const AVFrame *in,
                               avp_fail_t *fail);
int  avp_pictures_finish_poster(avp_pictures_t *p, avp_fail_t *fail);

/* Colours and the pixels' shape resolved, side data taken off. */
void avp_frame_sanitize(AVFrame *f, const avp_probe_t *facts);

#endif
