/*
 * HLS playlists as text.
 */

#include "workerd/media/playlist.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000)

void
avp_segment_name(char dst[16], size_t index, const char *ending)
{
    snprintf(dst, 16, "s%05u.%s", (unsigned)(index % 100000000u), ending);
}

int64_t
avp_grid_next(int64_t us)
{
    if (us < 6 * SECOND) {
        return us < 0 ? 2 : us / (2 * SECOND) * 2 + 2;
    }
    return us / (6 * SECOND) * 6 + 6;
}

/* The key to cut at, after one at `start`; n when there is none, or the end
 * comes nearer to what is wanted. */
static size_t
plan_next(const int64_t *keys, size_t n, int64_t end_us, size_t at,
          int64_t start, int64_t want)
{
    int64_t left = end_us - start;
    size_t  best = n;

    for (; at < n; at++) {
        int64_t length = keys[at] - start;

        if (length <= 0) {
            continue;
        }
        if (best < n && (llabs(length - want) >= llabs(keys[best] - start -
                                                       want) ||
                         length > AVP_TARGET_MAX * SECOND)) {
            break; /* they only get worse */
        }
        best = at;
    }
    if (best < n && end_us > 0 && left <= AVP_TARGET_MAX * SECOND &&
        llabs(left - want) < llabs(keys[best] - start - want)) {
        return n;
    }
    return best;
}

size_t
avp_grid_plan(const int64_t *keys, size_t n, int64_t end_us, int64_t *cuts,
              int *target)
{
    int64_t start = 0, longest = 0;
    size_t  ncuts = 0, at = 0;

    while (n > 0 && end_us > 0 && keys[n - 1] >= end_us) {
        n--;
    }
    while ((at = plan_next(keys, n, end_us, at, start,
                           (ncuts < 3 ? 2 : 6) * SECOND)) < n) {
        longest = keys[at] - start > longest ? keys[at] - start : longest;
        start = cuts[ncuts++] = keys[at];
    }
    longest = end_us - start > longest ? end_us - start : longest;
    longest = (longest + SECOND / 2) / SECOND;
    *target = longest < 6 ? 6 : longest > INT_MAX ? INT_MAX : (int)longest;
    return ncuts;
}

int
avp_target_duration(double frame)
{
    /* A cut falls on the first frame at or after its place on the grid, so a
     * segment is longer than 6 s by less than one frame. */
    return frame < 0.5 ? 6 : 6 + (int)ceil(frame < 60 ? frame : 60);
}

char *
avp_playlist_media(avp_list_t kind, int target, const avp_segment_t *segments,
                   size_t n, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);
    int   growing = kind == AVP_LIST_LIVE || kind == AVP_LIST_ENDED;

    if (f == NULL) {
        return NULL;
    }
    fprintf(f,
            "#EXTM3U\n"
            "#EXT-X-VERSION:7\n"
            "#EXT-X-TARGETDURATION:%d\n"
            "#EXT-X-MEDIA-SEQUENCE:0\n"
            "#EXT-X-PLAYLIST-TYPE:%s\n"
            "#EXT-X-INDEPENDENT-SEGMENTS\n",
            target, growing ? "EVENT" : "VOD");
    if (growing) {
        /* Players begin a playlist without an end at its edge. */
        fputs("#EXT-X-START:TIME-OFFSET=0\n", f);
    }
    if (kind != AVP_LIST_TEXT) {
        fputs("#EXT-X-MAP:URI=\"init.mp4\"\n", f);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t us = segments[i].end_us - segments[i].start_us;
        char    name[16];

        avp_segment_name(name, i, kind == AVP_LIST_TEXT ? "vtt" : "m4s");
        fprintf(f, "#EXTINF:%lld.%06lld,\n%s\n", (long long)(us / SECOND),
                (long long)(us % SECOND), name);
    }
    if (kind != AVP_LIST_LIVE) {
        fputs("#EXT-X-ENDLIST\n", f);
    }
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

size_t
avp_iframes(const avp_segment_t *segments, size_t n, avp_segment_t **keys,
            int *target)
{
    int64_t longest = 0;
    size_t  count = 0, k = 0;

    for (size_t i = 0; i < n; i++) {
        count += (size_t)segments[i].nkeys;
    }
    *target = 1;
    *keys = count > 0 ? calloc(count, sizeof(**keys)) : NULL;
    if (*keys == NULL) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        for (int j = 0; j < segments[i].nkeys; j++) {
            (*keys)[k].start_us = segments[i].keys[j].at_us;
            (*keys)[k++].bytes = segments[i].keys[j].length;
        }
    }
    for (k = 0; k < count; k++) {
        avp_segment_t *s = &(*keys)[k];

        s->end_us = k + 1 < count ? s[1].start_us : segments[n - 1].end_us;
        if (s->end_us - s->start_us > longest) {
            longest = s->end_us - s->start_us;
        }
    }
    if (longest >= 3 * SECOND / 2) {
        *target = (int)((longest + SECOND / 2) / SECOND);
    }
    return count;
}

char *
avp_playlist_iframes(const avp_segment_t *segments, size_t n, size_t *len)
{
    avp_segment_t *keys;
    int            target;
    size_t         count = avp_iframes(segments, n, &keys, &target), k = 0;
    char          *text = NULL, name[16];
    FILE          *f = count > 0 ? open_memstream(&text, len) : NULL;

    if (f == NULL) {
        free(keys);
        return NULL;
    }
    fprintf(f,
            "#EXTM3U\n"
            "#EXT-X-VERSION:7\n"
            "#EXT-X-TARGETDURATION:%d\n"
            "#EXT-X-MEDIA-SEQUENCE:0\n"
            "#EXT-X-PLAYLIST-TYPE:VOD\n"
            "#EXT-X-I-FRAMES-ONLY\n"
            "#EXT-X-MAP:URI=\"init.mp4\"\n",
            target);
    for (size_t i = 0; i < n; i++) {
        avp_segment_name(name, i, "m4s");
        for (int j = 0; j < segments[i].nkeys; j++, k++) {
            int64_t us = keys[k].end_us - keys[k].start_us;

            fprintf(f,
                    "#EXTINF:%lld.%06lld,\n#EXT-X-BYTERANGE:%lld@%lld\n%s\n",
                    (long long)(us / SECOND), (long long)(us % SECOND),
                    (long long)segments[i].keys[j].length,
                    (long long)segments[i].keys[j].offset, name);
        }
    }
    fputs("#EXT-X-ENDLIST\n", f);
    free(keys);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static int64_t
bitrate(int64_t bytes, int64_t us)
{
    return us > 0 ? (int64_t)ceil((double)bytes * 8 * SECOND / (double)us) : 0;
}

int64_t
avp_bitrate_average(const avp_segment_t *segments, size_t n)
{
    int64_t bytes = 0;

    if (n == 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        bytes += segments[i].bytes;
    }
    return bitrate(bytes, segments[n - 1].end_us - segments[0].start_us);
}

int64_t
avp_bitrate_peak(const avp_segment_t *segments, size_t n, int target)
{
    int64_t low = target * SECOND / 2, high = target * SECOND * 3 / 2;
    int64_t peak = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t bytes = 0;

        for (size_t k = i; k < n; k++) {
            int64_t us = segments[k].end_us - segments[i].start_us;
            int64_t rate;

            if (us > high) {
                break;
            }
            bytes += segments[k].bytes;
            rate = bitrate(bytes, us);
            if (us >= low && rate > peak) {
                peak = rate;
            }
        }
    }
    return peak > 0 ? peak : avp_bitrate_average(segments, n);
}
