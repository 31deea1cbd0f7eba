/*
 * The presentation that package_hls.c builds up and hls_finish.c describes;
 * nobody else looks inside.
 */

#ifndef AVP_MEDIA_HLS_H
#define AVP_MEDIA_HLS_H

#include "workerd/media/hls_text.h"
#include "workerd/media/hls_track.h"
#include "workerd/media/master.h"

#include <pthread.h>

#define AVP_HLS_TRACKS 25 /* 8 H.264, 8 HEVC, 8 sounds, a surround */
#define AVP_HLS_SOUNDS 8
#define AVP_HLS_TEXTS 9 /* and the captions in the pictures */

typedef struct {
    avp_hls_track_t track; /* first: what callers hold */
    int             shown; /* has a segment in its live playlist */
    int             empty; /* ended without one */
    /* sound */
    char            label[AVP_LABEL_MAX];
    bool            is_default, surround, described;
} avp_hls_entry_t;

struct avp_hls_s {
    avp_out_t        *out;
    pthread_mutex_t   lock; /* of everything below */
    avp_hls_entry_t  *tracks[AVP_HLS_TRACKS];
    int               ntracks;
    avp_hls_text_t   *texts[AVP_HLS_TEXTS];
    int               ntexts;
    avp_hls_entry_t  *playable; /* the first video track */
    avp_hls_entry_t  *audio;    /* the default sound */
    int64_t          *cuts;     /* planned for all tracks; NULL: the grid */
    size_t            ncuts;
    int               target;   /* with them */
    int               announced;
    void            (*cb)(void *);
    void             *cb_ctx;
};

/* What a master says of a track, but for its bit rates. */
void avp_hls_variant(avp_variant_t *v, const avp_hls_track_t *t,
                     const char *uri);
void avp_hls_sound(avp_audio_media_t *a, const avp_hls_entry_t *e,
                   const char *uri);

/* A master to `path`. */
int avp_hls_put_master(avp_hls_t *h, const char *path, const avp_master_t *m,
                       unsigned flags);

/* dash/manifest.mpd over what has ended; after the texts are written. */
int avp_hls_put_dash(avp_hls_t *h);

#endif
