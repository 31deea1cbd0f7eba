/*
 * Packagers: encoded packets in, files out.  They own muxers, playlists and
 * names below the output folder, and know nothing of decoding or filters.
 *
 * One video encoder feeds several packagers with the same packets (MP4 and
 * HLS of a rung are the same bits); one audio encoder feeds all that want its
 * codec.  A packager may be called by several threads (video encoder, audio
 * encoder) at once: each locks itself.  Packets stay the caller's: a packager
 * takes its own reference.  Time stamps are in the stream's time_base; dts
 * may be negative, the first displayed frame is at pts 0 on every track, and
 * audio priming is told by codecpar->initial_padding.
 *
 * Every function that can fail returns 0 or a negative AVERROR; after an
 * error a packager only wants avp_packager_free().
 */

#ifndef AVP_MEDIA_PACKAGE_H
#define AVP_MEDIA_PACKAGE_H

#include <libavcodec/avcodec.h>

#include <stdint.h>

typedef struct avp_out_s avp_out_t; /* workerd/media/out.h */

typedef struct {
    const AVCodecParameters *par;  /* copied; extradata set (GLOBAL_HEADER) */
    AVRational time_base;
    AVRational frame_rate;         /* video; 0/1 for audio */
    int64_t    cap;                /* the encoder's maxrate, bit/s */
    int64_t    bufsize;            /* and its VBV size, bits */
    char       language[8];        /* audio; "" unknown */
} avp_stream_spec_t;

/* What became of one rendition; the `results` of docs/architecture.md 5. */
typedef struct {
    char    format[8], quality[8];
    char    path[64];
    int64_t size;                  /* bytes */
    double  duration;              /* seconds */
    int64_t bitrate;               /* bit/s, average */
    char    codec[64];             /* RFC 6381, from the bitstream */
    char    mime[128];
    int     width, height;
} avp_rendition_t;

typedef struct avp_packager_s avp_packager_t;

enum { AVP_PKT_VIDEO = 0, AVP_PKT_AUDIO = 1 };

/* mp4/{quality}.mp4 (faststart) and webm/{quality}.webm (Cues in front);
 * `audio` may be NULL. */
int avp_mp4_open(avp_packager_t **p, avp_out_t *out, const char *quality,
                 const avp_stream_spec_t *video, const avp_stream_spec_t *audio);
int avp_webm_open(avp_packager_t **p, avp_out_t *out, const char *quality,
                  const avp_stream_spec_t *video,
                  const avp_stream_spec_t *audio);

int avp_packager_write(avp_packager_t *p, int which, const AVPacket *pkt);
/* End of one track; the packager goes on with the other. */
int avp_packager_end(avp_packager_t *p, int which);
/* Writes what is left; fills *r.  Call once all tracks have ended. */
int avp_packager_finish(avp_packager_t *p, avp_rendition_t *r);
void avp_packager_free(avp_packager_t *p);

/*
 * HLS of one video: CMAF segments of 2, 2, 2 and then 6 s, one moof+mdat per
 * GOP; hls/{quality}/, hls/audio/, masters.  Tracks are added while others
 * already run: the playable pass adds the lowest rung and the audio (in any
 * order, both before their first packet), the second pass the other rungs,
 * all in one process.  Each track is written by one thread at a time.
 */
typedef struct avp_hls_s avp_hls_t;
typedef struct avp_hls_track_s avp_hls_track_t;

int avp_hls_open(avp_hls_t **h, avp_out_t *out);
int avp_hls_video(avp_hls_t *h, avp_hls_track_t **t, const char *quality,
                  const avp_stream_spec_t *video);
int avp_hls_audio(avp_hls_t *h, avp_hls_track_t **t,
                  const avp_stream_spec_t *audio);
int avp_hls_write(avp_hls_track_t *t, const AVPacket *pkt);
int avp_hls_end(avp_hls_track_t *t); /* ENDLIST, index.m3u8, .gz */

/* Called once, by the writing thread that made it true, when the first
 * segment of the playable rung and of the audio are in their live playlists
 * and hls/live-master.m3u8 is there. */
void avp_hls_on_playable(avp_hls_t *h, void (*cb)(void *ctx), void *ctx);

/* master.m3u8 and {quality}.m3u8 over what has ended; fills results, one per
 * video track, at most `max`; returns their count or an error. */
int avp_hls_finish(avp_hls_t *h, avp_rendition_t *results, int max);
void avp_hls_free(avp_hls_t *h);

#endif
