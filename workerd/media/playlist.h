/*
 * Texts of HLS media playlists (RFC 8216, Apple's authoring rules as far as they
 * can be kept; version 7) and the arithmetic behind them: the grid on which
 * segments are cut, durations, measured bit rates.  Pure: no libav, no files,
 * no threads.  Texts are malloc()ed; NULL means that there was no memory.
 */

#ifndef AVP_MEDIA_PLAYLIST_H
#define AVP_MEDIA_PLAYLIST_H

#include <stddef.h>
#include <stdint.h>

/* What a key frame of a segment needs to stand alone in an I-frame playlist:
 * the byte range from its moof to the end of the frame. */
typedef struct {
    int64_t at_us;
    int64_t offset, length;
} avp_keyframe_t;

/* Key frames nearer than a second to the one before are left out: more than
 * enough to seek by, and never more than this in a segment of 10 s. */
#define AVP_SEGMENT_KEYS 12

/* Times on the presentation's own line in microseconds.  Durations are
 * differences of rounded times, so that their sum never drifts. */
typedef struct {
    int64_t        start_us, end_us;
    int64_t        bytes;
    int            nkeys; /* video; at most AVP_SEGMENT_KEYS are kept */
    avp_keyframe_t keys[AVP_SEGMENT_KEYS];
} avp_segment_t;

/* "s00042.m4s"; `ending` has up to 4 letters. */
void avp_segment_name(char dst[16], size_t index, const char *ending);

/* The whole second at which the segment after one that starts at `us` begins
 * at the earliest: 2, 4, 6, then every 6. */
int64_t avp_grid_next(int64_t us);

/* The target duration: 6, and more where frames are so far apart (`frame` in
 * seconds, 0 unknown) that a segment can grow past 6.5 s. */
int avp_target_duration(double frame);

/*
 * The same for a stream that is copied, with key frames where they are: the
 * cuts that come nearest to segments of 2, 2, 2 and then 6 s, none of them
 * longer than AVP_TARGET_MAX where a key frame allows it.  `keys` ascend;
 * `end_us` is the end of the stream, 0 when not known.  `cuts` holds n; the
 * count is returned, and 0 is not among them.  *target is the duration to
 * promise: 6 or the longest segment.  Over AVP_TARGET_MAX the stream is not
 * fit for HLS.
 */
#define AVP_TARGET_MAX 10

size_t avp_grid_plan(const int64_t *keys, size_t n, int64_t end_us,
                     int64_t *cuts, int *target);

/* Media playlists.  LIVE grows (EVENT), ENDED is its last state, VOD the
 * final one over the same segments, TEXT the same of WebVTT segments. */
typedef enum {
    AVP_LIST_LIVE,
    AVP_LIST_ENDED,
    AVP_LIST_VOD,
    AVP_LIST_TEXT
} avp_list_t;

char *avp_playlist_media(avp_list_t kind, int target,
                         const avp_segment_t *segments, size_t n, size_t *len);

/*
 * The key frames of all segments as segments of their own, for
 * avp_bitrate_*() and the list below; *keys is malloc()ed.  Returns their
 * count, 0 also without memory.  *target is the longest of them, rounded.
 */
size_t avp_iframes(const avp_segment_t *segments, size_t n,
                   avp_segment_t **keys, int *target);

/* An I-frame playlist (Apple 6.8): byte ranges of the video's segments. */
char *avp_playlist_iframes(const avp_segment_t *segments, size_t n,
                           size_t *len);

/* Bits per second over everything, and the peak: the largest of any run of
 * segments that lasts 0.5 to 1.5 target durations (RFC 8216bis 4.4.6.2), the
 * average where the whole is shorter than that. */
int64_t avp_bitrate_average(const avp_segment_t *segments, size_t n);
int64_t avp_bitrate_peak(const avp_segment_t *segments, size_t n, int target);

#endif
