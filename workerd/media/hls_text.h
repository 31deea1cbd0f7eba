/*
 * One text track of an HLS presentation: cues are kept in memory, and written
 * as WebVTT once the grid of the video's segments is known.
 *
 * hls/{name}/s00000.vtt ... and index.m3u8 for HLS, all.vtt in one piece for
 * DASH.  Times are those of the presentation, which begins at 0 once the edit
 * lists of the tracks are applied; X-TIMESTAMP-MAP says just that.  A cue
 * that is still there at a cut is in the segments on both sides of it.
 */

#ifndef AVP_MEDIA_HLS_TEXT_H
#define AVP_MEDIA_HLS_TEXT_H

#include "workerd/media/hls_track.h"
#include "workerd/media/master.h"

typedef struct {
    int64_t start_us, end_us;
    size_t  text, len; /* in the track's text */
} avp_cue_t;

struct avp_hls_text_s {
    char       name[AVP_HLS_NAME_MAX];
    char       label[AVP_LABEL_MAX];
    char       language[8];
    bool       is_default, forced, captions;
    bool       ended;
    bool       written;
    avp_cue_t *cues;
    size_t     ncues, allocated;
    char      *text;
    size_t     used, room;
};

/* Zeroed and named; av_free() after close. */
int avp_hls_text_open(avp_hls_text_t **t, const avp_hls_text_spec_t *spec);

/* Cut where `video` is.  Sets t->written when there is something to show. */
int avp_hls_text_write(avp_hls_text_t *t, avp_out_t *out,
                       const avp_hls_track_t *video);
void avp_hls_text_close(avp_hls_text_t *t);

#endif
