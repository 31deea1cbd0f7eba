#include "workerd/media/choose.h"

#include "workerd/media/compat.h"
#include "workerd/media/demux.h"

#include "lib/text.h"

#include <libavutil/avstring.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How languages are called in a menu; both codes of ISO 639-2 where there are
 * two, and ISO 639-1. */
static const char *const languages[][4] = {
    { "Arabic", "ara", "ar" }, { "Bulgarian", "bul", "bg" },
    { "Catalan", "cat", "ca" }, { "Chinese", "zho", "zh", "chi" },
    { "Croatian", "hrv", "hr" }, { "Czech", "ces", "cs", "cze" },
    { "Danish", "dan", "da" }, { "Dutch", "nld", "nl", "dut" },
    { "English", "eng", "en" }, { "Estonian", "est", "et" },
    { "Finnish", "fin", "fi" }, { "French", "fra", "fr", "fre" },
    { "German", "deu", "de", "ger" }, { "Greek", "ell", "el", "gre" },
    { "Hebrew", "heb", "he" }, { "Hindi", "hin", "hi" },
    { "Hungarian", "hun", "hu" }, { "Icelandic", "isl", "is", "ice" },
    { "Indonesian", "ind", "id" }, { "Irish", "gle", "ga" },
    { "Italian", "ita", "it" }, { "Japanese", "jpn", "ja" },
    { "Korean", "kor", "ko" }, { "Latvian", "lav", "lv" },
    { "Lithuanian", "lit", "lt" }, { "Malay", "msa", "ms", "may" },
    { "Norwegian", "nor", "no", "nob" }, { "Persian", "fas", "fa", "per" },
    { "Polish", "pol", "pl" }, { "Portuguese", "por", "pt" },
    { "Romanian", "ron", "ro", "rum" }, { "Russian", "rus", "ru" },
    { "Serbian", "srp", "sr" }, { "Slovak", "slk", "sk", "slo" },
    { "Slovenian", "slv", "sl" }, { "Spanish", "spa", "es" },
    { "Swedish", "swe", "sv" }, { "Tamil", "tam", "ta" },
    { "Telugu", "tel", "te" }, { "Thai", "tha", "th" },
    { "Turkish", "tur", "tr" }, { "Ukrainian", "ukr", "uk" },
    { "Urdu", "urd", "ur" }, { "Vietnamese", "vie", "vi" },
};

static const char *
language_name(const char *code)
{
    for (size_t i = 0; code[0] && i < FF_ARRAY_ELEMS(languages); i++) {
        for (int k = 1; k < 4 && languages[i][k]; k++) {
            if (strcmp(code, languages[i][k]) == 0) {
                return languages[i][0];
            }
        }
    }
    return NULL;
}

void
avp_probe_warn(avp_probe_t *p, const char *fmt, ...)
{
    va_list ap;

    if (p->nwarnings == AVP_PROBE_WARNINGS) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(p->warnings[p->nwarnings++], sizeof(p->warnings[0]), fmt, ap);
    va_end(ap);
}

/* --- what a track says of itself ----------------------------------------- */

/* Two or three letters; anything else is no language. */
static void
find_language(avp_track_t *t, const AVStream *st)
{
    const AVDictionaryEntry *e =
        av_dict_get(st->metadata, "language", NULL, 0);
    size_t n = e ? strlen(e->value) : 0;

    if (n < 2 || n > 3) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        t->language[i] = (char)av_tolower(e->value[i]);
        if (t->language[i] < 'a' || t->language[i] > 'z') {
            t->language[0] = '\0';
            return;
        }
    }
    if (strcmp(t->language, "und") == 0) {
        t->language[0] = '\0';
    }
}

/* A title, or the language's name, or a number. */
static void
find_label(avp_track_t *t, const AVStream *st, const char *kind, int n)
{
    const AVDictionaryEntry *e = av_dict_get(st->metadata, "title", NULL, 0);
    const char              *name = language_name(t->language);

    if (e) {
        avp_text_label(t->label, sizeof(t->label), avp_str_c(e->value));
    }
    if (t->label[0] == '\0' && name) {
        snprintf(t->label, sizeof(t->label), "%s", name);
    }
    if (t->label[0] == '\0') {
        snprintf(t->label, sizeof(t->label), "%s %d", kind, n);
    }
}

static int
add_track(avp_track_t *t, const AVStream *st, const char *kind, int n)
{
    int d = st->disposition;

    t->stream = st->index;
    t->tb = st->time_base;
    t->par = avcodec_parameters_alloc();
    if (t->par == NULL || avcodec_parameters_copy(t->par, st->codecpar) < 0) {
        return -1;
    }
    av_strlcpy(t->codec, avcodec_get_name(st->codecpar->codec_id),
               sizeof(t->codec));
    find_language(t, st);
    find_label(t, st, kind, n);
    t->is_default = (d & AV_DISPOSITION_DEFAULT) != 0;
    t->forced = (d & AV_DISPOSITION_FORCED) != 0;
    t->described = (d & (AV_DISPOSITION_VISUAL_IMPAIRED
                         | AV_DISPOSITION_DESCRIPTIONS)) != 0
                   || av_stristr(t->label, "descriptive") != NULL
                   || av_stristr(t->label, "audio description") != NULL;
    t->captions = (d & (AV_DISPOSITION_HEARING_IMPAIRED
                        | AV_DISPOSITION_CAPTIONS)) != 0
                  || st->codecpar->codec_id == AV_CODEC_ID_EIA_608;
    return 0;
}

/* --- sound --------------------------------------------------------------- */

static bool
is_sound(const AVStream *st)
{
    return st->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
}

/* Whether anything will come out of it. */
static bool
can_be_heard(const AVStream *st, const avp_job_t *job)
{
    return is_sound(st) && !avp_stream_is_encrypted(st)
           && avp_decoder_allowed(job, st->codecpar->codec_id)
           && st->codecpar->sample_rate > 0
           && st->codecpar->ch_layout.nb_channels > 0;
}

/* A transport stream may carry several channels' programmes: the sound of
 * another one is not this video's. */
static bool
same_programme(const AVFormatContext *ctx, int video, int index)
{
    bool any = false;

    for (unsigned i = 0; i < ctx->nb_programs; i++) {
        const AVProgram *g = ctx->programs[i];
        bool             has_video = false, has_index = false;

        for (unsigned k = 0; k < g->nb_stream_indexes; k++) {
            has_video |= (int)g->stream_index[k] == video;
            has_index |= (int)g->stream_index[k] == index;
        }
        any |= has_video;
        if (has_video && has_index) {
            return true;
        }
    }
    return !any;
}

/* The container's default track wins over libav's taste, and that over the
 * number of channels; but only what can be heard is asked for. */
static int
default_sound(AVFormatContext *ctx, const bool *usable, int video)
{
    int n = -1;

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        if (usable[i] && (ctx->streams[i]->disposition
                          & AV_DISPOSITION_DEFAULT)) {
            return (int)i;
        }
    }

    n = av_find_best_stream(ctx, AVMEDIA_TYPE_AUDIO, -1, video, NULL, 0);
    if (n >= 0 && usable[n]) {
        return n;
    }

    n = -1;
    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        if (usable[i]
            && (n < 0 || ctx->streams[i]->codecpar->ch_layout.nb_channels
                             > ctx->streams[n]->codecpar->ch_layout
                                   .nb_channels)) {
            n = (int)i;
        }
    }
    return n;
}

static int
add_sound(avp_probe_t *p, const AVStream *st)
{
    int n = p->nsounds++;

    return add_track(&p->sounds[n], st, "Audio", n + 1);
}

int
avp_choose_audio(avp_probe_t *p, AVFormatContext *ctx, const avp_job_t *job)
{
    bool usable[AVP_MAX_STREAMS] = { false };
    int  first, lost = 0, left = 0;

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        const AVStream *st = ctx->streams[i];

        usable[i] = can_be_heard(st, job)
                    && same_programme(ctx, p->video, (int)i);
        if (is_sound(st) && !usable[i]
            && same_programme(ctx, p->video, (int)i) && lost++ == 0) {
            avp_probe_warn(p, "the sound (%s) is not decoded here and was "
                              "left out",
                           avcodec_get_name(st->codecpar->codec_id));
        }
    }

    first = default_sound(ctx, usable, p->video);
    if (first < 0) {
        return 0;
    }
    if (add_sound(p, ctx->streams[first])) {
        return -1;
    }

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        if (!usable[i] || (int)i == first) {
            continue;
        }
        if (p->nsounds == AVP_SOUNDS_MAX) {
            left++;
        } else if (add_sound(p, ctx->streams[i])) {
            return -1;
        }
    }
    if (left > 0) {
        avp_probe_warn(p, "%d sound tracks were left out: %d is the most that "
                          "is taken",
                       left, AVP_SOUNDS_MAX);
    }

    p->audio = p->sounds[0].stream;
    p->apar = p->sounds[0].par;
    p->atb = p->sounds[0].tb;
    memcpy(p->acodec, p->sounds[0].codec, sizeof(p->acodec));
    memcpy(p->language, p->sounds[0].language, sizeof(p->language));
    return 0;
}

/* --- text ----------------------------------------------------------------- */

int
avp_choose_texts(avp_probe_t *p, const AVFormatContext *ctx,
                 const avp_job_t *job)
{
    int pictures = 0, left = 0;

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        const AVStream          *st = ctx->streams[i];
        const AVCodecDescriptor *d;
        int                      n = p->ntexts;

        if (st->codecpar->codec_type != AVMEDIA_TYPE_SUBTITLE
            || !same_programme(ctx, p->video, (int)i)) {
            continue;
        }

        d = avcodec_descriptor_get(st->codecpar->codec_id);
        if (d && (d->props & AV_CODEC_PROP_BITMAP_SUB)) {
            pictures++;
        } else if (avp_stream_is_encrypted(st)
                   || !avp_decoder_allowed(job, st->codecpar->codec_id)) {
            avp_probe_warn(p, "subtitles (%s) are not decoded here and were "
                              "left out",
                           avcodec_get_name(st->codecpar->codec_id));
        } else if (n == AVP_TEXTS_MAX) {
            left++;
        } else {
            p->ntexts++;
            if (add_track(&p->texts[n], st, "Subtitles", n + 1)) {
                return -1;
            }
        }
    }

    if (pictures > 0) {
        avp_probe_warn(p, "%d subtitle tracks are pictures, not text, and "
                          "were left out",
                       pictures);
    }
    if (left > 0) {
        avp_probe_warn(p, "%d subtitle tracks were left out: %d is the most "
                          "that is taken",
                       left, AVP_TEXTS_MAX);
    }
    return 0;
}
