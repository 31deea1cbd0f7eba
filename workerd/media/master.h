/*
 * Texts of HLS masters (multivariant playlists; RFC 8216, Apple's authoring
 * rules).  Pure: no libav, no files, no threads.  Texts are malloc()ed; NULL
 * means that there was no memory.
 */

#ifndef AVP_MEDIA_MASTER_H
#define AVP_MEDIA_MASTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AVP_LABEL_MAX 64

typedef struct {
    const char *uri;
    const char *codecs;   /* the video's */
    int64_t     peak;     /* the video's share; the audio's is added */
    int64_t     average;  /* 0: not measured, left out */
    int         width, height;
    double      frame_rate; /* 0: left out */
    const char *range;    /* "SDR", "PQ", "HLG"; written unless all are SDR */
    const char *iframes;  /* its I-frame playlist; NULL: none */
    int64_t     iframes_peak, iframes_average;
} avp_variant_t;

typedef struct {
    const char *group;    /* "audio", "surround" */
    const char *name;     /* for people; unique within the group */
    const char *uri;
    const char *codecs;
    const char *language; /* ISO 639-2 or BCP 47; "" unknown */
    int         channels;
    bool        is_default, described;
    int64_t     peak, average;
} avp_audio_media_t;

typedef struct {
    const char *name;
    const char *uri;
    const char *language;
    bool        is_default, forced, captions;
} avp_text_media_t;

typedef struct {
    const avp_variant_t     *variants;
    size_t                   nvariants;
    const avp_audio_media_t *sounds; /* a group's members in a row */
    size_t                   nsounds;
    const avp_text_media_t  *texts;
    size_t                   ntexts;
} avp_master_t;

/* Everything in the order given; the variants once for each audio group. */
char *avp_playlist_master(const avp_master_t *m, size_t *len);

/* Lowest first, but led by the one players should begin with: the H.264 that
 * is nearest to 2 Mbit/s (Apple 1.32). */
void avp_variants_sort(avp_variant_t *variants, size_t n);

/*
 * A name for people that may stand between the quotes of an attribute: UTF-8
 * without control characters and quotes, cut at a character; `otherwise` when
 * nothing is left of it.  With `again` above 1, " 2" and so on at its end.
 */
void avp_label(char dst[AVP_LABEL_MAX], const char *label,
               const char *otherwise, int again);

/* The shortest BCP 47 tag of an ISO 639-2 code ("eng" and "ger" to "en" and
 * "de"), the code itself where it has none shorter, "und" for anything that
 * is not a code. */
const char *avp_language_tag(const char *code);

#endif
