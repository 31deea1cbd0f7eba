/*
 * One track of an HLS presentation: packets in; init.mp4, CMAF segments and
 * the track's playlists out.  Called by one thread at a time, except for
 * what package_hls.c says it reads under its own lock.
 *
 * Time line: tfdt counts from the first packet, and the edit list of the init
 * takes off what comes before presentation time 0: the delay of B-frames, the
 * priming of AAC.  So tfdt of every video segment is the time of its IDR.
 * (CMAF also knows negative composition offsets without edit list; players
 * built on libavformat show such video late by the delay.)
 */

#ifndef AVP_MEDIA_HLS_TRACK_H
#define AVP_MEDIA_HLS_TRACK_H

#include "workerd/media/codec_string.h"
#include "workerd/media/package.h"
#include "workerd/media/playlist.h"

#include <libavformat/avformat.h>

#define AVP_HLS_NAME_MAX 16

struct avp_hls_track_s {
    avp_hls_t        *hls;
    avp_out_t        *out;
    char              name[AVP_HLS_NAME_MAX]; /* the folder below hls/ */
    int               is_video;
    avp_stream_spec_t spec;
    AVRational        grid_rate; /* cuts fall on frames of this rate */
    const int64_t    *cuts;      /* planned ones instead, or NULL; of the hls */
    size_t            ncuts;
    int               target;
    char              codec[AVP_CODEC_STRING_MAX];

    AVFormatContext  *ctx; /* writes into a dynamic buffer */
    AVStream         *st;
    int               have_init;
    int               pending;     /* packets since the last fragment */
    int64_t           fragment_us; /* where that began */

    AVIOContext      *segment; /* the open one, as .tmp */
    avp_segment_t     current;
    int64_t           cut_us;
    int64_t           end_us;

    avp_segment_t    *segments; /* published ones */
    size_t            nsegments, allocated;
    int               ended;
};

/* `t` is zeroed and keeps `name`; `grid_rate` 0/1: cut on the plain grid. */
int avp_hls_track_open(avp_hls_track_t *t, avp_out_t *out, const char *name,
                       const avp_stream_spec_t *spec, AVRational grid_rate,
                       int target);

/* Cuts at times that were planned, instead of on the grid; before the first
 * packet only.  `cuts` stays the caller's, and there. */
void avp_hls_track_plan(avp_hls_track_t *t, const int64_t *cuts, size_t n,
                        int target);

/* Cuts where another track does; before the first packet only. */
void avp_hls_track_follow(avp_hls_track_t *t, const avp_hls_track_t *leader);

/* Both set *published when there are more segments than before. */
int avp_hls_track_write(avp_hls_track_t *t, const AVPacket *pkt,
                        int *published);
int avp_hls_track_end(avp_hls_track_t *t, int *published);
void avp_hls_track_close(avp_hls_track_t *t);

#endif
