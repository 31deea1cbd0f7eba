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

#include <stdbool.h>
#include <stdint.h>

typedef struct avp_out_s avp_out_t; /* workerd/media/out.h */

typedef struct {
    const AVCodecParameters *par;  /* copied; extradata set (GLOBAL_HEADER) */
    AVRational time_base;
    AVRational frame_rate;         /* video; 0/1 for audio */
    int64_t    cap;                /* the encoder's maxrate, bit/s */
    int64_t    bufsize;            /* and its VBV size, bits */
    char       language[8];        /* audio; "" unknown */
    /* Video that is copied, not encoded: where its key frames are (us,
     * ascending, the first at 0) and where it ends (0: unknown).  HLS is then
     * cut there, see avp_grid_plan(); NULL: on the grid of 2 s.  Read by
     * avp_hls_video() only. */
    const int64_t *key_us;
    size_t     nkeys;
    int64_t    keys_end_us;
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
 * GOP; hls/{name}/ for each track, and masters.  Tracks are added while
 * others already run: the playable pass adds the lowest rung and the default
 * sound (in any order, both before their first packet), later passes other
 * rungs, sounds and texts, all in one process.  Each track is written by one
 * thread at a time.
 */
typedef struct avp_hls_s avp_hls_t;
typedef struct avp_hls_track_s avp_hls_track_t;
typedef struct avp_hls_text_s avp_hls_text_t;

int avp_hls_open(avp_hls_t **h, avp_out_t *out);

/* `name` is the folder below hls/: a quality, and behind it perhaps a dash
 * and a codec ("4k", "4k-hevc").  The first track that brings key_us decides
 * where all tracks are cut: it comes before any packet, and the encoders of
 * the others make key frames of the frames nearest to those times. */
int avp_hls_video(avp_hls_t *h, avp_hls_track_t **t, const char *name,
                  const avp_stream_spec_t *video);

/* Everything is copied.  "audio" is the one that playable waits for and the
 * live master has; without it there are no others. */
typedef struct {
    const avp_stream_spec_t *spec;
    const char *name;     /* "audio", "audio-2" .. "audio-8", "surround" */
    const char *label;    /* for people; made printable and unique */
    bool        is_default;
    bool        surround; /* a group of its own, for one sound that is in
                             the other with fewer channels: the one of its
                             language and label, or the default one */
    bool        described;
} avp_hls_sound_t;

int avp_hls_audio(avp_hls_t *h, avp_hls_track_t **t,
                  const avp_hls_sound_t *sound);
int avp_hls_write(avp_hls_track_t *t, const AVPacket *pkt);
int avp_hls_end(avp_hls_track_t *t); /* ENDLIST, index.m3u8, .gz */

typedef struct {
    const char *name;     /* "text-1" .. "text-8" */
    const char *label, *language; /* ISO 639-2; "" unknown */
    bool        is_default, forced, captions;
} avp_hls_text_spec_t;

int avp_hls_text(avp_hls_t *h, avp_hls_text_t **t,
                 const avp_hls_text_spec_t *spec);

/*
 * One cue, in order of start; `text` is a WebVTT payload, escaped by the
 * caller (UTF-8; its empty lines, which would end the cue, are left out).
 * Cues are kept in memory until avp_hls_finish(), as texts are cut where
 * video is: a track is full after 65536 of them, or 4 MiB.  0; 1 when it was
 * full and the cue is dropped; AVERROR(EINVAL) for times that are none.
 */
int avp_hls_text_cue(avp_hls_text_t *t, int64_t start_us, int64_t end_us,
                     const char *text);
int avp_hls_text_end(avp_hls_text_t *t);

/* Called once, by the writing thread that made it true, when the first
 * segment of the playable rung and of the audio are in their live playlists
 * and hls/live-master.m3u8 is there. */
void avp_hls_on_playable(avp_hls_t *h, void (*cb)(void *ctx), void *ctx);

/* Texts, master.m3u8, {quality}.m3u8 and dash/manifest.mpd over what has ended; fills results,
 * one per quality, at most `max`; returns their count or an error. */
int avp_hls_finish(avp_hls_t *h, avp_rendition_t *results, int max);
void avp_hls_free(avp_hls_t *h);

#endif
