/* The documents of playable and done: what job_playable and job_publish
 * store, checked before they go to the database. */

#include "lib/json_shape.h"
#include "lib/media_message.h"
#include "lib/sniff.h"
#include "lib/storage_key.h"

#include <string.h>

#define DURATION_MAX 1e7
#define BYTES_MAX ((int64_t) 1 << 50)
#define BITRATE_MAX 100000000000 /* bit/s */

static const avp_json_member_t top_members[] = {
    { "source", AVP_JSON_OBJECT, 0, 0, 0 },
    { "poster", AVP_JSON_TEXT, 1, 200, AVP_JSON_NULLABLE },
    { "storyboard", AVP_JSON_TEXT, 1, 200, AVP_JSON_NULLABLE },
    { "master", AVP_JSON_TEXT, 1, 200, AVP_JSON_NULLABLE },
    { "dash", AVP_JSON_TEXT, 1, 200, AVP_JSON_NULLABLE },
    { "preview", AVP_JSON_TEXT, 1, 200, AVP_JSON_NULLABLE },
    { "thumbnails", AVP_JSON_ARRAY, 0, 32, 0 },
    { "audioTracks", AVP_JSON_ARRAY, 0, 32, 0 },
    { "subtitles", AVP_JSON_ARRAY, 0, 32, 0 },
    { "passthrough", AVP_JSON_OBJECT, 0, 0, 0 },
    { "stats", AVP_JSON_OBJECT, 0, 0, 0 },
    { "warnings", AVP_JSON_ARRAY, 0, 100, 0 },
    { "results", AVP_JSON_ARRAY, 1, 64, 0 },
};

static const avp_json_member_t source_members[] = {
    { "duration", AVP_JSON_NUMBER, 0, DURATION_MAX, AVP_JSON_NEEDED },
    { "width", AVP_JSON_INT, 1, 65536, AVP_JSON_NEEDED },
    { "height", AVP_JSON_INT, 1, 65536, AVP_JSON_NEEDED },
    { "fps", AVP_JSON_NUMBER, 0, 100000, AVP_JSON_NEEDED },
    { "format", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "videoCodec", AVP_JSON_TEXT, 1, 64, AVP_JSON_NEEDED },
    { "audioCodec", AVP_JSON_TEXT, 1, 64, AVP_JSON_NULLABLE },
    { "bitrate", AVP_JSON_INT, 0, BITRATE_MAX, AVP_JSON_NULLABLE },
    { "frames", AVP_JSON_INT, 0, 1e12, AVP_JSON_NULLABLE },
};

static const avp_json_member_t result_members[] = {
    { "format", AVP_JSON_TEXT, 1, 8, AVP_JSON_NEEDED },
    { "quality", AVP_JSON_TEXT, 1, 8, AVP_JSON_NEEDED },
    { "path", AVP_JSON_TEXT, 1, 200, AVP_JSON_NEEDED },
    { "size", AVP_JSON_INT, 1, (double) BYTES_MAX, AVP_JSON_NEEDED },
    { "duration", AVP_JSON_NUMBER, 0, DURATION_MAX, AVP_JSON_NEEDED },
    { "bitrate", AVP_JSON_INT, 0, BITRATE_MAX, AVP_JSON_NEEDED },
    { "codec", AVP_JSON_TEXT, 1, 64, AVP_JSON_NEEDED },
    { "mime", AVP_JSON_TEXT, 1, 128, AVP_JSON_NEEDED },
    { "width", AVP_JSON_INT, 1, 16384, AVP_JSON_NEEDED },
    { "height", AVP_JSON_INT, 1, 16384, AVP_JSON_NEEDED },
};

static const avp_json_member_t thumbnail_members[] = {
    { "path", AVP_JSON_TEXT, 1, 200, AVP_JSON_NEEDED },
    { "webp", AVP_JSON_TEXT, 1, 200, AVP_JSON_NULLABLE },
    { "time", AVP_JSON_NUMBER, 0, DURATION_MAX, AVP_JSON_NEEDED },
    { "width", AVP_JSON_INT, 1, 16384, AVP_JSON_NEEDED },
    { "height", AVP_JSON_INT, 1, 16384, AVP_JSON_NEEDED },
};

static const avp_json_member_t audio_members[] = {
    { "language", AVP_JSON_TEXT, 1, 16, AVP_JSON_NULLABLE },
    { "label", AVP_JSON_TEXT, 1, 100, AVP_JSON_NEEDED },
    { "channels", AVP_JSON_INT, 1, 64, AVP_JSON_NEEDED },
    { "default", AVP_JSON_BOOL, 0, 0, AVP_JSON_NEEDED },
};

static const avp_json_member_t subtitle_members[] = {
    { "language", AVP_JSON_TEXT, 1, 16, AVP_JSON_NULLABLE },
    { "label", AVP_JSON_TEXT, 1, 100, AVP_JSON_NEEDED },
    { "kind", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "forced", AVP_JSON_BOOL, 0, 0, AVP_JSON_NEEDED },
};

static const avp_json_member_t passthrough_members[] = {
    { "video", AVP_JSON_OBJECT, 0, 0, 0 },
    { "audio", AVP_JSON_OBJECT, 0, 0, 0 },
};

/* `code` is the stable word, `reason` the sentence for people. */
static const avp_json_member_t copy_members[] = {
    { "copied", AVP_JSON_BOOL, 0, 0, AVP_JSON_NEEDED },
    { "code", AVP_JSON_TEXT, 1, 32, AVP_JSON_NEEDED },
    { "reason", AVP_JSON_TEXT, 1, 300, AVP_JSON_NEEDED },
};

/* A relative path that delivery would serve, with the ending given. */
static int
is_path(const json_t *v, const char *ending)
{
    static const char any_prefix[] = "1-0123456789abcdef/";
    char              buf[sizeof(any_prefix) + 200];
    avp_str_t         s = avp_json_text(v);
    size_t            n = strlen(ending);

    if (s.len > 200 || s.len <= n
        || memcmp(s.data + s.len - n, ending, n) != 0)
    {
        return 0;
    }
    memcpy(buf, any_prefix, sizeof(any_prefix) - 1);
    memcpy(buf + sizeof(any_prefix) - 1, s.data, s.len);
    return avp_object_path_check(
               (avp_str_t){ buf, sizeof(any_prefix) - 1 + s.len })
           == 0;
}

/* 480p, 720p, 1080p, 4k, and the own size of a small source: 1 to 4 digits
 * and a p. */
static int
is_quality(const json_t *v)
{
    avp_str_t s = avp_json_text(v);

    if (avp_str_eq(s, avp_str("4k"))) {
        return 1;
    }
    if (s.len < 2 || s.len > 5 || s.data[s.len - 1] != 'p'
        || s.data[0] == '0')
    {
        return 0;
    }
    for (size_t i = 0; i + 1 < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return 0;
        }
    }
    return 1;
}

static int
result_ok(json_t *r)
{
    static const char *const formats[] = { "mp4", "webm", "hls" };
    static const char *const endings[] = { ".mp4", ".webm", ".m3u8" };
    json_t                  *format;

    if (!AVP_JSON_OK(r, result_members)
        || !is_quality(json_object_get(r, "quality")))
    {
        return 0;
    }
    format = json_object_get(r, "format");
    for (size_t i = 0; i < 3; i++) {
        if (avp_json_one_of(format, &formats[i], 1)) {
            return is_path(json_object_get(r, "path"), endings[i]);
        }
    }
    return 0;
}

static int
results_ok(json_t *results, const char **why)
{
    size_t  i, j;
    json_t *r, *s;

    json_array_foreach(results, i, r) {
        if (!result_ok(r)) {
            *why = "a result has a wrong or unknown member";
            return 0;
        }
        for (j = 0; j < i; j++) {
            s = json_array_get(results, j);
            if (json_equal(json_object_get(r, "path"),
                           json_object_get(s, "path"))
                || (json_equal(json_object_get(r, "format"),
                               json_object_get(s, "format"))
                    && json_equal(json_object_get(r, "quality"),
                                  json_object_get(s, "quality"))))
            {
                *why = "two results for one format and quality, or one path";
                return 0;
            }
        }
    }
    return 1;
}

static int
stats_ok(json_t *stats)
{
    const char *key;
    json_t     *v;

    json_object_foreach(stats, key, v) {
        if (!avp_json_is_number(v, 0, 1e15)) {
            return 0;
        }
    }
    return 1;
}

static int
warnings_ok(json_t *warnings)
{
    size_t  i;
    json_t *w;

    json_array_foreach(warnings, i, w) {
        if (!avp_json_is_text(w, 1, AVP_MEDIA_TEXT_MAX - 1)) {
            return 0;
        }
    }
    return 1;
}

static int
source_ok(json_t *source)
{
    return AVP_JSON_OK(source, source_members)
           && avp_format_by_name(avp_json_text(json_object_get(source, "format")))
                  != AVP_FMT_UNKNOWN;
}

static int
thumbnail_ok(const json_t *t)
{
    const json_t *webp = json_object_get(t, "webp");

    return AVP_JSON_OK(t, thumbnail_members)
           && is_path(json_object_get(t, "path"), ".jpg")
           && (!json_is_string(webp) || is_path(webp, ".webp"));
}

static int
audio_track_ok(const json_t *t)
{
    return AVP_JSON_OK(t, audio_members);
}

static int
subtitle_ok(const json_t *t)
{
    static const char *const kinds[] = { "subtitles", "captions" };

    return AVP_JSON_OK(t, subtitle_members)
           && avp_json_one_of(json_object_get(t, "kind"), kinds, 2);
}

static int
each_ok(const json_t *array, int (*ok)(const json_t *))
{
    size_t  i;
    json_t *v;

    json_array_foreach(array, i, v) {
        if (!ok(v)) {
            return 0;
        }
    }
    return 1;
}

static int
passthrough_ok(const json_t *p)
{
    const json_t *video = json_object_get(p, "video");
    const json_t *audio = json_object_get(p, "audio");

    return p == NULL
           || (AVP_JSON_OK(p, passthrough_members)
               && (video == NULL || AVP_JSON_OK(video, copy_members))
               && (audio == NULL || AVP_JSON_OK(audio, copy_members)));
}

static int
paths_ok(const json_t *o)
{
    static const struct {
        const char *name, *ending;
    } paths[] = {
        { "poster", ".jpg" },   { "storyboard", ".vtt" }, { "master", ".m3u8" },
        { "preview", ".webp" }, { "dash", ".mpd" },
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const json_t *v = json_object_get(o, paths[i].name);

        if (json_is_string(v) && !is_path(v, paths[i].ending)) {
            return 0;
        }
    }
    return 1;
}

static int
doc_ok(json_t *o, const char **why)
{
    json_t *v;

    if (!AVP_JSON_OK(o, top_members) || !avp_json_tree_ok(o, AVP_MEDIA_TEXT_MAX - 1)) {
        *why = "a member is wrong or unknown";
        return 0;
    }
    if (!paths_ok(o)) {
        *why = "a path is not well formed";
        return 0;
    }
    v = json_object_get(o, "source");
    if (v != NULL && !source_ok(v)) {
        *why = "source has a wrong or unknown member";
        return 0;
    }
    v = json_object_get(o, "stats");
    if (v != NULL && !stats_ok(v)) {
        *why = "stats has something else than numbers";
        return 0;
    }
    if (!warnings_ok(json_object_get(o, "warnings"))) {
        *why = "a warning is no short text";
        return 0;
    }
    if (!each_ok(json_object_get(o, "thumbnails"), thumbnail_ok)
        || !each_ok(json_object_get(o, "audioTracks"), audio_track_ok)
        || !each_ok(json_object_get(o, "subtitles"), subtitle_ok)
        || !passthrough_ok(json_object_get(o, "passthrough")))
    {
        *why = "a thumbnail, a track or the passthrough has a wrong member";
        return 0;
    }
    return results_ok(json_object_get(o, "results"), why);
}

int
avp_media_doc_check(const char *doc, const char **why)
{
    json_t *o;
    int     ok;

    *why = "not a JSON object";
    o = json_loads(doc, JSON_REJECT_DUPLICATES, NULL);
    if (o == NULL) {
        return -1;
    }
    ok = doc_ok(o, why);
    json_decref(o);
    return ok ? 0 : -1;
}
