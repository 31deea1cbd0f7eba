/*
 * Cues of one text rendition on their way to the packager: put in order,
 * bounded in length, times sane.  Decoders hand them over nearly in order of
 * their start, and some without an end: then the next one ends them.
 */

#ifndef AVP_MEDIA_CUES_H
#define AVP_MEDIA_CUES_H

#include "workerd/media/package.h"

#include <libavcodec/avcodec.h>

#include <stdbool.h>

#define AVP_CUES_WAITING 32

typedef struct {
    int64_t start, end; /* us of the output's time; end -1: not known */
    char   *text;
} avp_waiting_cue_t;

typedef struct {
    avp_hls_text_t *out;
    int             n;
    avp_waiting_cue_t       waiting[AVP_CUES_WAITING]; /* by start */
    int64_t         told;                      /* start of the last one out */
    bool            full;                      /* the packager took no more */
} avp_cues_t;

/* Each 0 or an AVERROR. */

/* What a decoder gave: `shift` (us) makes output time of its time stamps.
 * Frees *sub. */
int avp_cues_take(avp_cues_t *c, AVSubtitle *sub, int64_t shift);
/* Those that wait, cut off at the end of the video, and the end. */
int avp_cues_end(avp_cues_t *c, int64_t video_end);

void avp_cues_free(avp_cues_t *c);

#endif
