#include "lib/profile.h"
#include "lib/profile_words.h"

#include <stdio.h>
#include <stdlib.h>

/* Not superfast: it saves a third of the time for 42 % more bits. */
const char *const avp_profile_presets[] = { "veryfast", "faster", "fast",
                                            "medium", "slow", NULL };
const int avp_profile_lookaheads[] = { 10, 20, 30, 40, 50 }; /* x264's own */

const char *const avp_profile_deadlines[] = { "good", "realtime", NULL };
const char *const avp_profile_webm_codecs[] = { "av1", "vp9", NULL };

const char *
avp_x264_preset(int preset)
{
    return avp_profile_presets[preset];
}

/* --- built in ------------------------------------------------------------ */

static const avp_rung_spec_t standard_rungs[] = {
    { "480p", 480, 854, 60, true, true, true, false,
      { { 23, 1400000, 2000000 },
        { 33, 900000, 1350000 },
        { 35, 900000, 1350000 },
        { 25, 1000000, 1500000 } } },
    { "720p", 720, 1280, 60, true, true, true, false,
      { { 23, 3000000, 4500000 },
        { 33, 1800000, 2700000 },
        { 35, 1800000, 2700000 },
        { 25, 2200000, 3300000 } } },
    { "1080p", 1080, 1920, 60, true, true, true, false,
      { { 22, 6000000, 8000000 },
        { 33, 3500000, 5000000 },
        { 35, 3500000, 5000000 },
        { 24, 4500000, 6000000 } } },
    { "4k", 2160, 3840, 60, true, true, true, false,
      { { 22, 15000000, 24000000 },
        { 33, 10000000, 15000000 },
        { 35, 10000000, 15000000 },
        { 24, 11600000, 16800000 } } },
};

static void
set_balanced(avp_profile_t *p)
{
    *p = (avp_profile_t){ .name = "balanced",
                          .h264 = { .preset = 0, .lookahead = 10 },
                          .hevc = { .preset = 0 },
                          .vp9_how = { 0, 5, 5 },
                          .av1 = { 10, 0, 5 },
                          .audio = { 128000, 96000 },
                          .nrungs = 4 };
    memcpy(p->rungs, standard_rungs, sizeof(standard_rungs));
}

static void
set_quality(avp_profile_t *p)
{
    set_balanced(p);
    snprintf(p->name, sizeof(p->name), "quality");
    p->h264.preset = 3;
    p->h264.lookahead = 40;
    p->hevc.preset = 3;
    p->vp9_how.cpu_used = 2;
    p->av1.preset = 8;

    for (int i = 0; i < p->nrungs; i++) {
        p->rungs[i].rate[AVP_CODEC_H264].crf += 1;
    }
}

static void
set_fast(avp_profile_t *p)
{
    set_balanced(p);
    snprintf(p->name, sizeof(p->name), "fast");
    p->vp9_how.realtime = 1;
    p->vp9_how.cpu_used = 7;
    p->av1.preset = 12;
}

int
avp_profile_builtin(avp_profile_t *p, avp_str_t name)
{
    if (avp_str_eq(name, avp_str("balanced"))) {
        set_balanced(p);
    } else if (avp_str_eq(name, avp_str("quality"))) {
        set_quality(p);
    } else if (avp_str_eq(name, avp_str("fast"))) {
        set_fast(p);
    } else {
        return -1;
    }
    return 0;
}

/* 480p, 1440p: three or four digits and a p; or 4k.  0: not a name. */
int
avp_profile_side(avp_str_t s)
{
    int n = 0;

    if (avp_str_eq(s, avp_str("4k"))) {
        return 2160;
    }
    if (s.len < 4 || s.len > 5 || s.data[s.len - 1] != 'p'
        || s.data[0] == '0')
    {
        return 0;
    }
    for (size_t i = 0; i + 1 < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return 0;
        }
        n = n * 10 + (s.data[i] - '0');
    }
    return n;
}

/* --- files ---------------------------------------------------------------- */

static int
load_file(avp_profile_t *p, const char *path, char err[AVP_PROFILE_ERROR])
{
    char   *text = malloc(AVP_PROFILE_FILE_MAX + 1);
    FILE   *f = fopen(path, "re");
    size_t  n;
    int     rc = -1;

    if (f == NULL || text == NULL) {
        snprintf(err, AVP_PROFILE_ERROR, "%.160s cannot be read", path);
        goto done;
    }
    n = fread(text, 1, AVP_PROFILE_FILE_MAX + 1, f);
    if (ferror(f)) {
        snprintf(err, AVP_PROFILE_ERROR, "%.160s cannot be read", path);
        goto done;
    }
    rc = avp_profile_parse(p, (avp_str_t){ text, n }, err);

done:

    if (f) {
        fclose(f);
    }
    free(text);
    return rc;
}

int
avp_profile_load(avp_profile_t *p, const char *name_or_path,
                 char err[AVP_PROFILE_ERROR])
{
    size_t n = strlen(name_or_path);

    err[0] = '\0';
    if (strchr(name_or_path, '/')
        || (n > 5 && strcmp(name_or_path + n - 5, ".json") == 0))
    {
        return load_file(p, name_or_path, err);
    }
    if (avp_profile_builtin(p, avp_str_c(name_or_path))) {
        snprintf(err, AVP_PROFILE_ERROR,
                 "there is no profile \"%.40s\": use fast, balanced, quality "
                 "or the path of a file",
                 name_or_path);
        return -1;
    }
    return 0;
}

/* --- the simple settings ------------------------------------------------- */

int
avp_profile_limit_rung(avp_profile_limit_t *l, avp_str_t name)
{
    if (avp_profile_side(name) == 0 || l->nrungs == AVP_LADDER_MAX) {
        return -1;
    }
    memset(l->rungs[l->nrungs], 0, AVP_RUNG_NAME_MAX);
    memcpy(l->rungs[l->nrungs++], name.data, name.len);
    return 0;
}

static int
has_rung(const avp_profile_t *p, const char *name)
{
    for (int i = 0; i < p->nrungs; i++) {
        if (strcmp(p->rungs[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int
is_named(const avp_profile_limit_t *l, const char *name)
{
    for (int i = 0; i < l->nrungs; i++) {
        if (strcmp(l->rungs[i], name) == 0) {
            return 1;
        }
    }
    return l->nrungs == 0;
}

int
avp_profile_limit(avp_profile_t *p, const avp_profile_limit_t *l,
                  char err[AVP_PROFILE_ERROR])
{
    int      n = 0;
    unsigned bit;

    err[0] = '\0';
    for (int i = 0; i < l->nrungs; i++) {
        if (!has_rung(p, l->rungs[i])
            && avp_rung_by_name(avp_str_c(l->rungs[i]), &bit))
        {
            snprintf(err, AVP_PROFILE_ERROR,
                     "the profile \"%s\" has no rung \"%s\"", p->name,
                     l->rungs[i]);
            return -1;
        }
    }

    if (l->webm_codec) {
        p->vp9 = l->vp9;
    }
    for (int i = 0; i < p->nrungs; i++) {
        avp_rung_spec_t *spec = &p->rungs[i];

        if (l->formats) {
            spec->mp4 = l->mp4;
            spec->webm = l->webm;
            spec->hls = l->hls;
        }
        if (is_named(l, spec->name)) {
            p->rungs[n++] = *spec;
        }
    }
    if (n == 0) {
        snprintf(err, AVP_PROFILE_ERROR,
                 "the profile \"%s\" has none of the rungs that are asked for",
                 p->name);
        return -1;
    }
    p->nrungs = n;
    return 0;
}

/* --- writing ------------------------------------------------------------- */

static json_t *
rate_json(const avp_rung_rate_t *r)
{
    return json_pack("{s:i, s:I, s:I}", "crf", r->crf, "maxrate",
                     (json_int_t)r->maxrate, "maxrateHigh",
                     (json_int_t)r->maxrate_high);
}

static json_t *
formats_json(bool mp4, bool webm, bool hls)
{
    json_t *a = json_array();

    if (mp4) {
        json_array_append_new(a, json_string("mp4"));
    }
    if (webm) {
        json_array_append_new(a, json_string("webm"));
    }
    if (hls) {
        json_array_append_new(a, json_string("hls"));
    }
    return a;
}

static json_t *
rung_json(const avp_rung_spec_t *s)
{
    return json_pack(
        "{s:s, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o}", "name", s->name,
        "shortSide", s->short_side, "longSide", s->long_side, "maxFps",
        s->max_fps, "formats", formats_json(s->mp4, s->webm, s->hls), "h264",
        rate_json(&s->rate[AVP_CODEC_H264]), "vp9",
        rate_json(&s->rate[AVP_CODEC_VP9]), "av1",
        rate_json(&s->rate[AVP_CODEC_AV1]), "hevc",
        s->hevc ? rate_json(&s->rate[AVP_CODEC_HEVC]) : json_false());
}

json_t *
avp_profile_json(const avp_profile_t *p)
{
    json_t *rungs = json_array();

    for (int i = 0; i < p->nrungs; i++) {
        json_array_append_new(rungs, rung_json(&p->rungs[i]));
    }

    return json_pack(
        "{s:s, s:s, s:{s:s, s:i}, s:{s:s}, s:{s:s, s:i, s:i},"
        " s:{s:i, s:i, s:i}, s:{s:i, s:i}, s:o}",
        "name", p->name, "webmCodec", avp_profile_webm_codecs[p->vp9], "h264", "preset",
        avp_profile_presets[p->h264.preset], "lookahead", p->h264.lookahead, "hevc",
        "preset", avp_profile_presets[p->hevc.preset], "vp9", "deadline",
        avp_profile_deadlines[p->vp9_how.realtime], "cpuUsed", p->vp9_how.cpu_used, "gop",
        p->vp9_how.gop, "av1", "preset", p->av1.preset, "lookahead",
        p->av1.lookahead, "gop", p->av1.gop, "audio", "aac", p->audio.aac,
        "opus", p->audio.opus, "rungs", rungs);
}
