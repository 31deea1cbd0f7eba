/*
 * HLS masters as text.
 */

#include "workerd/media/master.h"

#include "lib/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Apple 5.8: a text that tells what is heard. */
#define CAPTIONS                                                               \
    "public.accessibility.transcribes-spoken-dialog,"                          \
    "public.accessibility.describes-music-and-sound"

/* Members of a group that a player may choose by itself have to differ in
 * what it chooses by (RFC 8216, 4.3.4.1.1). */
static bool
sound_is_choice(const avp_audio_media_t *sounds, size_t i)
{
    const char *tag = avp_language_tag(sounds[i].language);

    for (size_t k = 0; k < i; k++) {
        if (strcmp(sounds[k].group, sounds[i].group) == 0 &&
            sounds[k].described == sounds[i].described &&
            strcmp(avp_language_tag(sounds[k].language), tag) == 0) {
            return sounds[i].is_default;
        }
    }
    return true;
}

static void
master_sounds(FILE *f, const avp_audio_media_t *sounds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const avp_audio_media_t *a = &sounds[i];

        fprintf(f,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"%s\",NAME=\"%s\","
                "LANGUAGE=\"%s\",DEFAULT=%s,AUTOSELECT=%s,",
                a->group, a->name, avp_language_tag(a->language),
                a->is_default ? "YES" : "NO",
                sound_is_choice(sounds, i) ? "YES" : "NO");
        if (a->described) {
            fputs("CHARACTERISTICS="
                  "\"public.accessibility.describes-video\",",
                  f);
        }
        fprintf(f, "CHANNELS=\"%d\",URI=\"%s\"\n", a->channels, a->uri);
    }
}

static bool
text_is_choice(const avp_text_media_t *texts, size_t i)
{
    const char *tag = avp_language_tag(texts[i].language);

    for (size_t k = 0; k < i; k++) {
        if (texts[k].forced == texts[i].forced &&
            texts[k].captions == texts[i].captions &&
            strcmp(avp_language_tag(texts[k].language), tag) == 0) {
            return texts[i].is_default;
        }
    }
    return true;
}

static void
master_texts(FILE *f, const avp_text_media_t *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const avp_text_media_t *t = &texts[i];

        fprintf(f,
                "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"%s\","
                "LANGUAGE=\"%s\",DEFAULT=%s,AUTOSELECT=%s,FORCED=%s,",
                t->name, avp_language_tag(t->language),
                t->is_default ? "YES" : "NO",
                text_is_choice(texts, i) ? "YES" : "NO",
                t->forced ? "YES" : "NO");
        if (t->captions) {
            fputs("CHARACTERISTICS=\"" CAPTIONS "\",", f);
        }
        fprintf(f, "URI=\"%s\"\n", t->uri);
    }
}

/* What a group adds to a variant: its largest member (Apple 9.13), and every
 * codec that a player may meet. */
typedef struct {
    const char *name; /* NULL: there is no sound */
    int64_t     peak, average;
    char        codecs[96]; /* each behind a comma */
} group_t;

static bool
has_codec(const char *list, const char *codec)
{
    size_t      len = strlen(codec);
    const char *p = list;

    while ((p = strstr(p, codec)) != NULL) {
        if (p[-1] == ',' && (p[len] == ',' || p[len] == '\0')) {
            return true;
        }
        p += len;
    }
    return false;
}

static void
group_add(group_t *g, const avp_audio_media_t *a)
{
    size_t at = strlen(g->codecs);

    g->name = a->group;
    g->peak = a->peak > g->peak ? a->peak : g->peak;
    g->average = a->average > g->average ? a->average : g->average;
    if (!has_codec(g->codecs, a->codecs) &&
        at + 1 + strlen(a->codecs) < sizeof(g->codecs)) {
        snprintf(g->codecs + at, sizeof(g->codecs) - at, ",%s", a->codecs);
    }
}

static void
master_variant(FILE *f, const avp_variant_t *v, const group_t *g, bool texts,
               bool ranges)
{
    fprintf(f, "#EXT-X-STREAM-INF:BANDWIDTH=%lld",
            (long long)(v->peak + g->peak));
    if (v->average > 0) {
        fprintf(f, ",AVERAGE-BANDWIDTH=%lld",
                (long long)(v->average + g->average));
    }
    fprintf(f, ",CODECS=\"%s%s\",RESOLUTION=%dx%d", v->codecs, g->codecs,
            v->width, v->height);
    if (v->frame_rate > 0) {
        fprintf(f, ",FRAME-RATE=%.3f", v->frame_rate);
    }
    if (ranges && v->range != NULL) {
        fprintf(f, ",VIDEO-RANGE=%s", v->range);
    }
    if (g->name != NULL) {
        fprintf(f, ",AUDIO=\"%s\"", g->name);
    }
    if (texts) {
        fputs(",SUBTITLES=\"text\"", f);
    }
    fprintf(f, ",CLOSED-CAPTIONS=NONE\n%s\n", v->uri);
}

static void
master_iframes(FILE *f, const avp_variant_t *v, bool ranges)
{
    if (v->iframes == NULL) {
        return;
    }
    fprintf(f,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=%lld,AVERAGE-BANDWIDTH=%lld,"
            "CODECS=\"%s\",RESOLUTION=%dx%d",
            (long long)v->iframes_peak, (long long)v->iframes_average,
            v->codecs, v->width, v->height);
    if (ranges && v->range != NULL) {
        fprintf(f, ",VIDEO-RANGE=%s", v->range);
    }
    fprintf(f, ",URI=\"%s\"\n", v->iframes);
}

/* VIDEO-RANGE is due unless all is SDR (Apple 9.16). */
static bool
needs_ranges(const avp_master_t *m)
{
    for (size_t i = 0; i < m->nvariants; i++) {
        const char *range = m->variants[i].range;

        if (range != NULL && strcmp(range, "SDR") != 0) {
            return true;
        }
    }
    return false;
}

char *
avp_playlist_master(const avp_master_t *m, size_t *len)
{
    bool   ranges = needs_ranges(m);
    char  *text = NULL;
    FILE  *f = open_memstream(&text, len);
    size_t at = 0;

    if (f == NULL) {
        return NULL;
    }
    fputs("#EXTM3U\n"
          "#EXT-X-VERSION:7\n"
          "#EXT-X-INDEPENDENT-SEGMENTS\n",
          f);
    master_sounds(f, m->sounds, m->nsounds);
    master_texts(f, m->texts, m->ntexts);
    do {
        group_t g = { 0 };

        for (; at < m->nsounds &&
               (g.name == NULL || strcmp(g.name, m->sounds[at].group) == 0);
             at++) {
            group_add(&g, &m->sounds[at]);
        }
        for (size_t i = 0; i < m->nvariants; i++) {
            master_variant(f, &m->variants[i], &g, m->ntexts > 0, ranges);
        }
    } while (at < m->nsounds);
    for (size_t i = 0; i < m->nvariants; i++) {
        master_iframes(f, &m->variants[i], ranges);
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

/* What everybody can play; HEVC beside it is for those who know it. */
static bool
is_h264(const avp_variant_t *v)
{
    return strncmp(v->codecs, "avc", 3) == 0;
}

void
avp_variants_sort(avp_variant_t *variants, size_t n)
{
    size_t best = 0;
    double distance = INFINITY;
    bool   any = false;

    if (n == 0) {
        return;
    }
    qsort(variants, n, sizeof(*variants), variant_compare);
    for (size_t i = 0; i < n; i++) {
        any = any || is_h264(&variants[i]);
    }
    for (size_t i = 0; i < n; i++) {
        double d = fabs(log((double)(variants[i].peak + 1) / 2e6));

        if (d < distance && (!any || is_h264(&variants[i]))) {
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

void
avp_label(char dst[AVP_LABEL_MAX], const char *label, const char *otherwise,
          int again)
{
    const char *s = label;
    char        end[16] = "";
    size_t      n = 0, len, room;

    if (s == NULL || !avp_utf8_valid(avp_str_c(s))) {
        s = "";
    }
    if (again > 1) {
        snprintf(end, sizeof(end), " %d", again);
    }
    room = AVP_LABEL_MAX - 1 - strlen(end);
    for (; *s != '\0'; s += len) {
        unsigned char c = (unsigned char)*s;

        len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if ((n == 0 && c == ' ') ||
            avp_text_has_controls((avp_str_t){ s, len }, false)) {
            continue;
        }
        if (n + len > room) {
            break;
        }
        memcpy(dst + n, s, len);
        if (c == '"') {
            dst[n] = '\'';
        }
        n += len;
    }
    while (n > 0 && dst[n - 1] == ' ') {
        n--;
    }
    dst[n] = '\0';
    if (n == 0) {
        snprintf(dst, room + 1, "%s", otherwise);
        n = strlen(dst);
    }
    memcpy(dst + n, end, strlen(end) + 1);
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
