/*
 * HLS playlists as text.
 */

#include "workerd/media/playlist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)

void
avp_segment_name(char dst[16], size_t index)
{
    snprintf(dst, 16, "s%05u.m4s", (unsigned)(index % 100000000u));
}

int64_t
avp_grid_next(int64_t us)
{
    if (us < 6 * SECOND) {
        return us < 0 ? 2 : us / (2 * SECOND) * 2 + 2;
    }
    return us / (6 * SECOND) * 6 + 6;
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
            target, kind == AVP_LIST_VOD ? "VOD" : "EVENT");
    if (kind != AVP_LIST_VOD) {
        /* Players begin a playlist without an end at its edge. */
        fputs("#EXT-X-START:TIME-OFFSET=0\n", f);
    }
    fputs("#EXT-X-MAP:URI=\"init.mp4\"\n", f);
    for (size_t i = 0; i < n; i++) {
        int64_t us = segments[i].end_us - segments[i].start_us;
        char    name[16];

        avp_segment_name(name, i);
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

static void
master_variant(FILE *f, const avp_variant_t *v, const avp_audio_media_t *audio)
{
    fprintf(f, "#EXT-X-STREAM-INF:BANDWIDTH=%lld",
            (long long)(v->peak + (audio ? audio->peak : 0)));
    if (v->average > 0) {
        fprintf(f, ",AVERAGE-BANDWIDTH=%lld",
                (long long)(v->average + (audio ? audio->average : 0)));
    }
    fprintf(f, ",CODECS=\"%s%s%s\",RESOLUTION=%dx%d", v->codecs,
            audio ? "," : "", audio ? audio->codecs : "", v->width, v->height);
    if (v->frame_rate > 0) {
        fprintf(f, ",FRAME-RATE=%.3f", v->frame_rate);
    }
    if (audio != NULL) {
        fputs(",AUDIO=\"audio\"", f);
    }
    fprintf(f, ",CLOSED-CAPTIONS=NONE\n%s\n", v->uri);
}

char *
avp_playlist_master(const avp_variant_t *variants, size_t n,
                    const avp_audio_media_t *audio, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);

    if (f == NULL) {
        return NULL;
    }
    fputs("#EXTM3U\n"
          "#EXT-X-VERSION:7\n"
          "#EXT-X-INDEPENDENT-SEGMENTS\n",
          f);
    if (audio != NULL) {
        fprintf(f,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\","
                "LANGUAGE=\"%s\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"%d\","
                "URI=\"%s\"\n",
                avp_language_tag(audio->language), audio->channels,
                audio->uri);
    }
    for (size_t i = 0; i < n; i++) {
        master_variant(f, &variants[i], audio);
    }
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static int
variant_compare(const void *a, const void *b)
{
    const avp_variant_t *x = a, *y = b;

    if (x->height != y->height) {
        return x->height < y->height ? -1 : 1;
    }
    return (x->peak > y->peak) - (x->peak < y->peak);
}

void
avp_variants_sort(avp_variant_t *variants, size_t n)
{
    size_t best = 0;
    double distance = INFINITY;

    if (n == 0) {
        return;
    }
    qsort(variants, n, sizeof(*variants), variant_compare);
    for (size_t i = 0; i < n; i++) {
        double d = fabs(log((double)(variants[i].peak + 1) / 2e6));

        if (d < distance) {
            distance = d;
            best = i;
        }
    }
    if (best > 0) {
        avp_variant_t first = variants[best];

        memmove(variants + 1, variants, best * sizeof(*variants));
        variants[0] = first;
    }
}

const char *
avp_language_tag(const char *code)
{
    static const char *const table[][2] = {
        { "ara", "ar" }, { "bul", "bg" }, { "cat", "ca" }, { "ces", "cs" },
        { "cze", "cs" }, { "dan", "da" }, { "deu", "de" }, { "ger", "de" },
        { "ell", "el" }, { "gre", "el" }, { "eng", "en" }, { "spa", "es" },
        { "est", "et" }, { "fas", "fa" }, { "per", "fa" }, { "fin", "fi" },
        { "fra", "fr" }, { "fre", "fr" }, { "gle", "ga" }, { "heb", "he" },
        { "hin", "hi" }, { "hrv", "hr" }, { "hun", "hu" }, { "ind", "id" },
        { "isl", "is" }, { "ice", "is" }, { "ita", "it" }, { "jpn", "ja" },
        { "kor", "ko" }, { "lav", "lv" }, { "lit", "lt" }, { "msa", "ms" },
        { "may", "ms" }, { "nld", "nl" }, { "dut", "nl" }, { "nob", "nb" },
        { "nor", "no" }, { "pol", "pl" }, { "por", "pt" }, { "ron", "ro" },
        { "rum", "ro" }, { "rus", "ru" }, { "slk", "sk" }, { "slo", "sk" },
        { "slv", "sl" }, { "srp", "sr" }, { "swe", "sv" }, { "tam", "ta" },
        { "tel", "te" }, { "tha", "th" }, { "tur", "tr" }, { "ukr", "uk" },
        { "urd", "ur" }, { "vie", "vi" }, { "zho", "zh" }, { "chi", "zh" },
    };
    size_t len = code == NULL ? 0 : strlen(code);

    if (len < 2 || len > 3 ||
        strspn(code, "abcdefghijklmnopqrstuvwxyz") != len) {
        return "und";
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(code, table[i][0]) == 0) {
            return table[i][1];
        }
    }
    return code;
}
