/* Profiles of JSON: every member checked, and named when it is refused. */

#include "lib/profile.h"
#include "lib/profile_words.h"

#include <stdarg.h>
#include <stdio.h>

/* --- reading: values ----------------------------------------------------- */

/* Where the reader is, for messages: a JSON pointer that grows and shrinks. */
typedef struct {
    char  at[96];
    char *err;
} reader_t;

static int __attribute__((format(printf, 2, 3)))
refuse(reader_t *r, const char *fmt, ...)
{
    va_list ap;
    int     n = snprintf(r->err, AVP_PROFILE_ERROR, "%s ",
                         r->at[0] ? r->at : "the profile");

    va_start(ap, fmt);
    if (n > 0 && n < AVP_PROFILE_ERROR) {
        vsnprintf(r->err + n, (size_t)(AVP_PROFILE_ERROR - n), fmt, ap);
    }
    va_end(ap);
    return -1;
}

/* Appends a step to the pointer; the length to go back to.  Names come from
 * the file: what is not plain is not repeated. */
static size_t
enter(reader_t *r, const char *name)
{
    size_t at = strlen(r->at), n = 0;

    if (at + 2 < sizeof(r->at)) {
        r->at[at] = '/';
        for (; n < 24 && name[n] && at + n + 2 < sizeof(r->at); n++) {
            unsigned char c = (unsigned char)name[n];

            r->at[at + 1 + n] = c > 32 && c < 127 ? (char)c : '?';
        }
        r->at[at + 1 + n] = '\0';
    }
    return at;
}

typedef enum { INT, INT64, WORD, PART } kind_t;

typedef struct member_s {
    const char        *name;
    kind_t             kind;
    size_t             offset;
    int64_t            min, max;
    const char *const *words;                    /* of WORD */
    int (*part)(reader_t *r, const json_t *v, void *dst); /* of PART */
} member_t;

static int
read_int(reader_t *r, const json_t *v, int64_t min, int64_t max, int64_t *n)
{
    if (!json_is_integer(v) || json_integer_value(v) < min
        || json_integer_value(v) > max)
    {
        return refuse(r, "must be a whole number from %lld to %lld",
                      (long long)min, (long long)max);
    }
    *n = json_integer_value(v);
    return 0;
}

static int
read_word(reader_t *r, const json_t *v, const char *const *words, int *index)
{
    char   all[128] = "";
    size_t n = 0;

    for (int i = 0; words[i]; i++) {
        if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0
            && strlen(words[i]) == json_string_length(v))
        {
            *index = i;
            return 0;
        }
        n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", i ? ", " : "",
                              words[i]);
    }
    return refuse(r, "must be one of: %s", all);
}

static int
read_value(reader_t *r, const json_t *v, const member_t *m, void *dst)
{
    char   *field = (char *)dst + m->offset;
    int64_t n = 0;
    int     i = 0;

    switch (m->kind) {
    case INT:
        if (read_int(r, v, m->min, m->max, &n)) {
            return -1;
        }
        i = (int)n;
        memcpy(field, &i, sizeof(i));
        return 0;

    case INT64:
        if (read_int(r, v, m->min, m->max, &n)) {
            return -1;
        }
        memcpy(field, &n, sizeof(n));
        return 0;

    case WORD:
        if (read_word(r, v, m->words, &i)) {
            return -1;
        }
        memcpy(field, &i, sizeof(i));
        return 0;

    case PART:
        return m->part(r, v, field);
    }
    return -1;
}

static int
read_members(reader_t *r, const json_t *v, const member_t *members, void *dst)
{
    const char *key;
    json_t     *child;

    if (!json_is_object(v)) {
        return refuse(r, "must be an object");
    }

    json_object_foreach((json_t *)v, key, child) {
        const member_t *m = members;
        size_t          back = enter(r, key);
        char            all[160] = "";
        size_t          n = 0;

        while (m->name && strcmp(m->name, key) != 0) {
            n += (size_t)snprintf(all + n, n < sizeof(all) ? sizeof(all) - n
                                                           : 0,
                                  "%s%s", n ? ", " : "", m->name);
            m++;
        }
        if (m->name == NULL) {
            return refuse(r, "is unknown: members here are %s", all);
        }
        if (read_value(r, child, m, dst)) {
            return -1;
        }
        r->at[back] = '\0';
    }
    return 0;
}

/* --- reading: parts ------------------------------------------------------ */

#define MAXRATE_MIN 50000
#define MAXRATE_MAX 100000000

#define RATE_MEMBERS(crf_max)                                                  \
    { { "crf", INT, offsetof(avp_rung_rate_t, crf), 0, crf_max, NULL, NULL },  \
      { "maxrate", INT64, offsetof(avp_rung_rate_t, maxrate), MAXRATE_MIN,     \
        MAXRATE_MAX, NULL, NULL },                                             \
      { "maxrateHigh", INT64, offsetof(avp_rung_rate_t, maxrate_high),         \
        MAXRATE_MIN, MAXRATE_MAX, NULL, NULL },                                \
      { NULL, INT, 0, 0, 0, NULL, NULL } }

static const member_t x26x_members[] = RATE_MEMBERS(51);
static const member_t webm_members[] = RATE_MEMBERS(63);

static int
read_rate(reader_t *r, const json_t *v, avp_rung_rate_t *rate,
          const member_t *members)
{
    if (read_members(r, v, members, rate)) {
        return -1;
    }
    if (json_object_get(v, "maxrate") && !json_object_get(v, "maxrateHigh")) {
        rate->maxrate_high = rate->maxrate * 4 / 3 < MAXRATE_MAX
                                 ? rate->maxrate * 4 / 3
                                 : MAXRATE_MAX;
    }
    if (rate->maxrate_high < rate->maxrate) {
        enter(r, "maxrateHigh");
        return refuse(r, "must not be under maxrate, %lld",
                      (long long)rate->maxrate);
    }
    return 0;
}

static int
part_x26x(reader_t *r, const json_t *v, void *dst)
{
    return read_rate(r, v, dst, x26x_members);
}

static int
part_webm(reader_t *r, const json_t *v, void *dst)
{
    return read_rate(r, v, dst, webm_members);
}

/* Whether there is a variant more, or how good it is. */
static int
part_hevc(reader_t *r, const json_t *v, void *dst)
{
    avp_rung_spec_t *spec = dst;

    if (json_is_boolean(v)) {
        spec->hevc = json_is_true(v);
        return 0;
    }
    if (!json_is_object(v)) {
        return refuse(r, "must be true, false or an object");
    }
    spec->hevc = true;
    return read_rate(r, v, &spec->rate[AVP_CODEC_HEVC], x26x_members);
}

static int
part_formats(reader_t *r, const json_t *v, void *dst)
{
    static const char *const words[] = { "mp4", "webm", "hls", NULL };
    avp_rung_spec_t         *spec = dst;
    bool                     made[3] = { false, false, false };
    const json_t            *word;
    size_t                   i;
    int                      which;

    if (!json_is_array(v) || json_array_size(v) == 0) {
        return refuse(r, "must be an array of at least one of: mp4, webm, "
                         "hls");
    }
    json_array_foreach((json_t *)v, i, word) {
        if (read_word(r, word, words, &which)) {
            return -1;
        }
        made[which] = true;
    }
    spec->mp4 = made[0];
    spec->webm = made[1];
    spec->hls = made[2];
    return 0;
}

static avp_str_t
text_of(const json_t *v)
{
    return (avp_str_t){ json_string_value(v),
                        json_is_string(v) ? json_string_length(v) : 0 };
}

/* Checked and set before the others: they get their defaults by it. */
static int
part_done(reader_t *r, const json_t *v, void *dst)
{
    (void)r;
    (void)v;
    (void)dst;
    return 0;
}

/* What 4:2:0 at level 5.2 holds: 36,864 macroblocks. */
#define SHORT_MAX 2304
#define LONG_MAX_SIDE 4096

#define RUNG(field) offsetof(avp_rung_spec_t, field)
#define RATE(codec) (RUNG(rate) + (codec) * sizeof(avp_rung_rate_t))

static const member_t rung_members[] = {
    { "name", PART, 0, 0, 0, NULL, part_done },
    { "shortSide", INT, RUNG(short_side), 100, SHORT_MAX, NULL, NULL },
    { "longSide", INT, RUNG(long_side), 100, LONG_MAX_SIDE, NULL, NULL },
    { "maxFps", INT, RUNG(max_fps), 5, 60, NULL, NULL },
    { "formats", PART, 0, 0, 0, NULL, part_formats },
    { "h264", PART, RATE(AVP_CODEC_H264), 0, 0, NULL, part_x26x },
    { "vp9", PART, RATE(AVP_CODEC_VP9), 0, 0, NULL, part_webm },
    { "av1", PART, RATE(AVP_CODEC_AV1), 0, 0, NULL, part_webm },
    { "hevc", PART, 0, 0, 0, NULL, part_hevc },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

/* The base's rung of that size or, scaled by area, the next above it. */
static void
rung_defaults(avp_rung_spec_t *spec, const avp_profile_t *base, int side)
{
    const avp_rung_spec_t *from = &base->rungs[base->nrungs - 1];
    double                 scale;

    for (int i = 0; i < base->nrungs; i++) {
        if (base->rungs[i].short_side >= side) {
            from = &base->rungs[i];
            break;
        }
    }

    *spec = *from;
    if (from->short_side == side) {
        return;
    }
    scale = (double)side * side / ((double)from->short_side * from->short_side);
    for (int c = 0; c < AVP_CODEC_COUNT; c++) {
        avp_rung_rate_t *rate = &spec->rate[c];

        /* to the thousand: people read it */
        rate->maxrate = (int64_t)((double)rate->maxrate * scale / 1000) * 1000;
        rate->maxrate_high
            = (int64_t)((double)rate->maxrate_high * scale / 1000) * 1000;
        rate->maxrate = rate->maxrate < MAXRATE_MIN ? MAXRATE_MIN
                        : rate->maxrate > MAXRATE_MAX ? MAXRATE_MAX
                                                      : rate->maxrate;
        rate->maxrate_high = rate->maxrate_high < rate->maxrate
                                 ? rate->maxrate
                             : rate->maxrate_high > MAXRATE_MAX
                                 ? MAXRATE_MAX
                                 : rate->maxrate_high;
    }
    spec->hevc = false;
}

static int
read_rung(reader_t *r, const json_t *v, avp_profile_t *p,
          const avp_profile_t *base)
{
    avp_rung_spec_t *spec = &p->rungs[p->nrungs];
    avp_str_t        name = text_of(json_object_get(v, "name"));
    const json_t    *side = json_object_get(v, "shortSide");
    int              by_name = avp_profile_side(name);
    size_t           back;

    if (!json_is_object(v)) {
        return refuse(r, "must be an object");
    }
    if (by_name == 0) {
        enter(r, "name");
        return refuse(r, "must be three or four digits and a p, like 360p, "
                         "or 4k");
    }
    for (int i = 0; i < p->nrungs; i++) {
        if (avp_str_eq(name, avp_str_c(p->rungs[i].name))) {
            enter(r, "name");
            return refuse(r, "is there twice");
        }
    }

    rung_defaults(spec, base,
                  json_is_integer(side) && json_integer_value(side) >= 100
                          && json_integer_value(side) <= SHORT_MAX
                      ? (int)json_integer_value(side)
                      : by_name);
    spec->short_side = by_name;
    spec->long_side = 0;
    memset(spec->name, 0, sizeof(spec->name));
    memcpy(spec->name, name.data, name.len);

    back = strlen(r->at);
    if (read_members(r, v, rung_members, spec)) {
        return -1;
    }
    r->at[back] = '\0';

    spec->short_side &= ~1;
    if (spec->long_side == 0) { /* 16:9, even */
        spec->long_side = (spec->short_side * 16 + 9) / 18 * 2;
    }
    spec->long_side &= ~1;
    if (spec->short_side > SHORT_MAX || spec->long_side < spec->short_side
        || spec->long_side > LONG_MAX_SIDE)
    {
        enter(r, "longSide");
        return refuse(r, "must be from the short side to %d, the short side "
                         "at most %d (H.264 level 5.2)",
                      LONG_MAX_SIDE, SHORT_MAX);
    }
    if (p->nrungs > 0 && spec->short_side <= spec[-1].short_side) {
        enter(r, "shortSide");
        return refuse(r, "must be above that of the rung before, %d: lowest "
                         "first",
                      spec[-1].short_side);
    }
    p->nrungs++;
    return 0;
}

static int
read_rungs(reader_t *r, const json_t *v, avp_profile_t *p,
           const avp_profile_t *base)
{
    const json_t *rung;
    size_t        i, at = enter(r, "rungs"), back;
    char          index[12];

    if (!json_is_array(v) || json_array_size(v) < 1
        || json_array_size(v) > AVP_LADDER_MAX)
    {
        return refuse(r, "must be an array of 1 to %d rungs", AVP_LADDER_MAX);
    }

    p->nrungs = 0;
    json_array_foreach((json_t *)v, i, rung) {
        snprintf(index, sizeof(index), "%d", (int)i);
        back = enter(r, index);
        if (read_rung(r, rung, p, base)) {
            return -1;
        }
        r->at[back] = '\0';
    }
    r->at[at] = '\0';
    return 0;
}

/* --- reading: the whole -------------------------------------------------- */

#define PROFILE(field) offsetof(avp_profile_t, field)

static const member_t h264_members[] = {
    { "preset", WORD, PROFILE(h264.preset), 0, 0, avp_profile_presets, NULL },
    { "lookahead", INT, PROFILE(h264.lookahead), 0, 60, NULL, NULL },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

static const member_t hevc_members[] = {
    { "preset", WORD, PROFILE(hevc.preset), 0, 0, avp_profile_presets, NULL },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

static const member_t vp9_members[] = {
    { "deadline", WORD, PROFILE(vp9_how.realtime), 0, 0, avp_profile_deadlines, NULL },
    { "cpuUsed", INT, PROFILE(vp9_how.cpu_used), 0, 8, NULL, NULL },
    { "gop", INT, PROFILE(vp9_how.gop), 1, 10, NULL, NULL },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

static const member_t av1_members[] = {
    { "preset", INT, PROFILE(av1.preset), 4, 12, NULL, NULL },
    { "lookahead", INT, PROFILE(av1.lookahead), 0, 60, NULL, NULL },
    { "gop", INT, PROFILE(av1.gop), 1, 10, NULL, NULL },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

static const member_t audio_members[] = {
    { "aac", INT, PROFILE(audio.aac), 32000, 320000, NULL, NULL },
    { "opus", INT, PROFILE(audio.opus), 16000, 256000, NULL, NULL },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

static int
part_h264_how(reader_t *r, const json_t *v, void *dst)
{
    avp_profile_t *p = dst;

    if (read_members(r, v, h264_members, p)) {
        return -1;
    }
    if (json_object_get(v, "preset") && !json_object_get(v, "lookahead")) {
        p->h264.lookahead = avp_profile_lookaheads[p->h264.preset];
    }
    return 0;
}

static int
part_hevc_how(reader_t *r, const json_t *v, void *dst)
{
    return read_members(r, v, hevc_members, dst);
}

static int
part_vp9_how(reader_t *r, const json_t *v, void *dst)
{
    return read_members(r, v, vp9_members, dst);
}

static int
part_av1_how(reader_t *r, const json_t *v, void *dst)
{
    return read_members(r, v, av1_members, dst);
}

static int
part_audio(reader_t *r, const json_t *v, void *dst)
{
    return read_members(r, v, audio_members, dst);
}

static int
part_webm_codec(reader_t *r, const json_t *v, void *dst)
{
    avp_profile_t *p = dst;
    int            i;

    if (read_word(r, v, avp_profile_webm_codecs, &i)) {
        return -1;
    }
    p->vp9 = i == 1;
    return 0;
}

static int
part_name(reader_t *r, const json_t *v, void *dst)
{
    avp_profile_t *p = dst;
    avp_str_t      s = text_of(v);

    if (s.len < 1 || s.len >= sizeof(p->name)
        || strspn(s.data, "abcdefghijklmnopqrstuvwxyz0123456789-") != s.len)
    {
        return refuse(r, "must be 1 to %d of a-z, 0-9 and -",
                      AVP_PROFILE_NAME_MAX - 1);
    }
    memcpy(p->name, s.data, s.len + 1);
    return 0;
}

static const member_t profile_members[] = {
    { "name", PART, 0, 0, 0, NULL, part_name },
    { "base", PART, 0, 0, 0, NULL, part_done },
    { "formats", PART, 0, 0, 0, NULL, part_done },
    { "webmCodec", PART, 0, 0, 0, NULL, part_webm_codec },
    { "h264", PART, 0, 0, 0, NULL, part_h264_how },
    { "hevc", PART, 0, 0, 0, NULL, part_hevc_how },
    { "vp9", PART, 0, 0, 0, NULL, part_vp9_how },
    { "av1", PART, 0, 0, 0, NULL, part_av1_how },
    { "audio", PART, 0, 0, 0, NULL, part_audio },
    { "rungs", PART, 0, 0, 0, NULL, part_done },
    { NULL, INT, 0, 0, 0, NULL, NULL },
};

/* Formats of the whole are the rungs' where these have none of their own. */
static int
read_formats(reader_t *r, const json_t *v, avp_profile_t *base)
{
    avp_rung_spec_t all = { 0 };
    size_t          back = enter(r, "formats");

    if (part_formats(r, v, &all)) {
        return -1;
    }
    for (int i = 0; i < base->nrungs; i++) {
        base->rungs[i].mp4 = all.mp4;
        base->rungs[i].webm = all.webm;
        base->rungs[i].hls = all.hls;
    }
    r->at[back] = '\0';
    return 0;
}

int
avp_profile_from_json(avp_profile_t *p, const json_t *v,
                      char err[AVP_PROFILE_ERROR])
{
    reader_t      r = { .err = err };
    const json_t *name = json_object_get(v, "base");
    const json_t *formats = json_object_get(v, "formats");
    const json_t *rungs = json_object_get(v, "rungs");
    avp_profile_t base;

    err[0] = '\0';
    if (!json_is_object(v)) {
        return refuse(&r, "must be a JSON object");
    }
    (void)avp_profile_builtin(&base, avp_str("balanced"));
    if (name && avp_profile_builtin(&base, text_of(name))) {
        enter(&r, "base");
        return refuse(&r, "must be one of: fast, balanced, quality");
    }
    snprintf(base.name, sizeof(base.name), "custom");
    if (formats && read_formats(&r, formats, &base)) {
        return -1;
    }

    *p = base;
    if (read_members(&r, v, profile_members, p)) {
        return -1;
    }
    return rungs ? read_rungs(&r, rungs, p, &base) : 0;
}

int
avp_profile_parse(avp_profile_t *p, avp_str_t text,
                  char err[AVP_PROFILE_ERROR])
{
    json_error_t e;
    json_t      *v;
    int          rc;

    if (text.len > AVP_PROFILE_FILE_MAX) {
        snprintf(err, AVP_PROFILE_ERROR, "the profile is larger than %d bytes",
                 AVP_PROFILE_FILE_MAX);
        return -1;
    }
    v = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &e);
    if (v == NULL) {
        /* the library repeats the input: only the place is told */
        snprintf(err, AVP_PROFILE_ERROR,
                 "the profile is not JSON (line %d, column %d)", e.line,
                 e.column);
        return -1;
    }
    rc = avp_profile_from_json(p, v, err);
    json_decref(v);
    return rc;
}
