/*
 * The plan: a pure function of the probe's facts and the job.  It says which
 * passes there are, what each decodes for, every encode with its caps and
 * threads, and what it all will cost; the passes then do what it says and
 * decide nothing themselves.
 *
 * A pass decodes the source once.  (1) The playable pass: the lowest H.264
 * rung, the sound and the poster, so that the video plays while the rest is
 * still to do; (2) all other rungs and the storyboard; with hls-first (3) the
 * WebM files.  Without HLS, with early off, or under 10 s, there is nothing
 * to win and one pass does it all.
 *
 * A stream that fits as it is (fits.h) is copied instead: the top rung's
 * video, the sound.  When HLS has a copied rung, that is the playable pass:
 * it decodes nothing but the poster, and plays as fast as it can be written.
 * All H.264 rungs then have their key frames where the copied one has them.
 */

#ifndef AVP_MEDIA_PLAN_H
#define AVP_MEDIA_PLAN_H

#include "lib/ladder.h"
#include "workerd/media/fits.h"
#include "workerd/media/job.h"
#include "workerd/media/probe.h"

/* one rung may be both: copied into MP4 and encoded for HLS */
#define AVP_ENCODES_MAX (3 * AVP_LADDER_MAX + 1)
#define AVP_PASSES_MAX 3
#define AVP_PLAN_TEXT 512
#define AVP_TASK_MAX 96

#define AVP_GOP_HLS 2 /* seconds between key frames of H.264 and HEVC */

#define AVP_SURROUND_BITRATE 384000
#define AVP_AUDIO_RATE 48000

typedef struct {
    avp_rung_t  rung;
    avp_codec_t codec;
    int64_t     cap, bufsize; /* bit/s, bits */
    int         crf;
    int         threads;
    AVRational  rate;   /* plan's, divided by `divide` */
    int         divide; /* 1: every frame of the plan's grid */
    bool        mp4, hls, webm;
    bool        copy;         /* the source's own packets */
    double      cost; /* CPU seconds, estimated: its weight in progress */
} avp_encode_plan_t;

typedef struct {
    char              label[AVP_TASK_MAX]; /* the task that progress names */
    int               decode_threads;
    int               nencodes;
    avp_encode_plan_t encodes[AVP_ENCODES_MAX];
    bool              aac, opus; /* sound, and what is done with it */
    bool              hls_audio;
    int               others;    /* further sounds, for HLS */
    bool              surround;  /* the default sound in 5.1, for HLS */
    bool              texts;     /* subtitles and captions, for HLS */
    bool              poster, storyboard;
    bool              decodes; /* the video; else it is only copied, and the
                                  storyboard is made of key frames */
} avp_pass_t;

typedef struct {
    AVRational rate;
    int        key_step;  /* key frames fall on each so many'th of its frames */
    double     duration; /* s; 0 unknown */
    double     bound;    /* s that cost and output are reckoned for */
    int        npasses;
    avp_pass_t passes[AVP_PASSES_MAX];
    int        nresults; /* rungs x formats */
    bool       poster_by_seek;
    char       no_hevc[64]; /* rungs whose HEVC is left out; "": none */

    /* what is copied, and why not the rest; */
    avp_fits_t copy_video, copy_audio;
    /* frames that H.264 has key frames at when HLS has a copied rung, the
     * facts' own; NULL: every two seconds */
    const int64_t *keys;
    int            nkeys;
    double         gop; /* s, the longest of all H.264 */

    double  cpu_seconds;
    double  cpu_spare; /* should copying fail and all be encoded after all */
    int64_t memory_bytes;
    int64_t output_bytes;
    int64_t output_rate; /* of it, per second: for what lasts longer */
    char    text[AVP_PLAN_TEXT];
} avp_plan_t;

void avp_plan(avp_plan_t *plan, const avp_probe_t *p, const avp_job_t *job);

/* passthrough.c: decides what is copied, into plan->copy_video and
 * copy_audio; `top` is the highest H.264 encode, NULL when there is none. */
void avp_plan_passthrough(avp_plan_t *plan, const avp_probe_t *p,
                          const avp_job_t *job, const avp_encode_plan_t *top);

#endif
