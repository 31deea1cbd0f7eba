#include "lib/media_message.h"

#include "lib/storage_key.h"
#include "lib/text.h"

#include <jansson.h>
#include <stdlib.h>

/* A line's document has a few levels; deeper ones are somebody's game. */
#define DOC_DEPTH_MAX 6
#define DOC_MEMBERS_MAX 256

#define CPU_SECONDS_MAX 1e8
#define DURATION_MAX 1e7
#define BYTES_MAX ((int64_t) 1 << 50)
#define BITRATE_MAX 100000000000 /* bit/s */

/* ---- values ------------------------------------------------------------ */

static avp_str_t
text_of(const json_t *v)
{
    return (avp_str_t){ json_string_value(v), json_string_length(v) };
}

/* A string of min..max bytes without control characters. */
static int
is_text(const json_t *v, size_t min, size_t max)
{
    avp_str_t s;

    if (!json_is_string(v)) {
        return 0;
    }
    s = text_of(v);
    return s.len >= min && s.len <= max && !avp_text_has_controls(s, false);
}

static int
is_int(const json_t *v, int64_t min, int64_t max)
{
    return json_is_integer(v) && json_integer_value(v) >= min
           && json_integer_value(v) <= max;
}

/* jansson reads no NaN and no infinity, and refuses overflowing reals. */
static int
is_number(const json_t *v, double min, double max)
{
    return json_is_number(v) && json_number_value(v) >= min
           && json_number_value(v) <= max;
}

static int
one_of(const json_t *v, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (avp_str_eq(text_of(v), avp_str_c(words[i]))) {
            return 1;
        }
    }
    return 0;
}

/* ---- objects ------------------------------------------------------------ */

typedef enum {
    V_TEXT,     /* string of min..max bytes */
    V_INT,
    V_NUMBER,
    V_OBJECT,
    V_ARRAY     /* of at most max members */
} vkind_t;

typedef struct {
    const char *name;
    vkind_t     kind;
    double      min, max;
    int         flags;
} member_t;

enum { NEEDED = 1, NULLABLE = 2 };

static int
is_kind(const json_t *v, const member_t *m)
{
    if (json_is_null(v)) {
        return (m->flags & NULLABLE) != 0;
    }
    switch (m->kind) {
    case V_TEXT:
        return is_text(v, (size_t) m->min, (size_t) m->max);
    case V_INT:
        return is_int(v, (int64_t) m->min, (int64_t) m->max);
    case V_NUMBER:
        return is_number(v, m->min, m->max);
    case V_OBJECT:
        return json_is_object(v);
    case V_ARRAY:
        return json_is_array(v) && (double) json_array_size(v) <= m->max;
    }
    return 0;
}

/* Exactly the members listed, each of its kind; the needed ones present. */
static int
object_ok(json_t *o, const member_t *members, size_t n)
{
    size_t found = 0;

    if (!json_is_object(o)) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, members[i].name);

        if (v == NULL) {
            if (members[i].flags & NEEDED) {
                return 0;
            }
            continue;
        }
        found++;
        if (!is_kind(v, &members[i])) {
            return 0;
        }
    }
    return found == json_object_size(o);
}

#define OBJECT_OK(o, members)                                                  \
    object_ok((o), (members), sizeof(members) / sizeof((members)[0]))

/* Every string and every name in a document is clean, however deep: NGINX
 * fills holes that are marked by control characters (lib/doc.h), and a
 * document from here must not bring any. */
static int
tree_ok(json_t *v, int depth)
{
    const char *key;
    json_t     *child;
    size_t      i;

    if (depth > DOC_DEPTH_MAX) {
        return 0;
    }
    switch (json_typeof(v)) {
    case JSON_STRING:
        return is_text(v, 0, AVP_MEDIA_TEXT_MAX - 1);

    case JSON_OBJECT:
        if (json_object_size(v) > DOC_MEMBERS_MAX) {
            return 0;
        }
        json_object_foreach(v, key, child) {
            if (strlen(key) > 64 || avp_text_has_controls(avp_str_c(key), false)
                || !tree_ok(child, depth + 1))
            {
                return 0;
            }
        }
        return 1;

    case JSON_ARRAY:
        if (json_array_size(v) > DOC_MEMBERS_MAX) {
            return 0;
        }
        json_array_foreach(v, i, child) {
            if (!tree_ok(child, depth + 1)) {
                return 0;
            }
        }
        return 1;

    default:
        return 1;
    }
}

/* ---- messages ----------------------------------------------------------- */

static const member_t plan_members[] = {
    { "t", V_TEXT, 1, 16, NEEDED },
    { "passes", V_INT, 1, 16, NEEDED },
    { "cpuSeconds", V_NUMBER, 0, CPU_SECONDS_MAX, NEEDED },
    { "memoryBytes", V_NUMBER, 0, (double) BYTES_MAX, NEEDED },
    { "outputBytes", V_NUMBER, 0, (double) BYTES_MAX, NEEDED },
    { "duration", V_NUMBER, 0, DURATION_MAX, NEEDED },
    { "text", V_TEXT, 0, AVP_MEDIA_TEXT_MAX - 1, 0 },
};

static const member_t progress_members[] = {
    { "t", V_TEXT, 1, 16, NEEDED },
    { "progress", V_INT, 0, 99, NEEDED },
    { "task", V_TEXT, 0, 100, NEEDED },
    { "eta", V_INT, -1, 1e8, NULLABLE },
};

static const member_t doc_members[] = {
    { "t", V_TEXT, 1, 16, NEEDED },
    { "doc", V_OBJECT, 0, 0, NEEDED },
};

static const member_t error_members[] = {
    { "t", V_TEXT, 1, 16, NEEDED },
    { "code", V_TEXT, 1, 64, NEEDED },
    { "detail", V_TEXT, 0, AVP_MEDIA_TEXT_MAX - 1, 0 },
};

static const member_t warning_members[] = {
    { "t", V_TEXT, 1, 16, NEEDED },
    { "detail", V_TEXT, 1, AVP_MEDIA_TEXT_MAX - 1, NEEDED },
};

static void
copy_text(avp_media_message_t *m, const json_t *v)
{
    avp_str_t s = text_of(v);

    if (s.data == NULL) {
        s.len = 0;
    }
    if (s.len > 0) {
        memcpy(m->text, s.data, s.len); /* bounded by the member's max */
    }
    m->text[s.len] = '\0';
}

static int
parse_plan(avp_media_message_t *m, json_t *o)
{
    if (!OBJECT_OK(o, plan_members)) {
        return -1;
    }
    m->passes = (int) json_integer_value(json_object_get(o, "passes"));
    m->cpu_seconds = json_number_value(json_object_get(o, "cpuSeconds"));
    m->duration = json_number_value(json_object_get(o, "duration"));
    m->memory_bytes
        = (int64_t) json_number_value(json_object_get(o, "memoryBytes"));
    m->output_bytes
        = (int64_t) json_number_value(json_object_get(o, "outputBytes"));
    copy_text(m, json_object_get(o, "text"));
    return 0;
}

static int
parse_progress(avp_media_message_t *m, json_t *o)
{
    const json_t *eta = json_object_get(o, "eta");

    if (!OBJECT_OK(o, progress_members)) {
        return -1;
    }
    m->progress = (int) json_integer_value(json_object_get(o, "progress"));
    m->eta = json_is_integer(eta) ? (int) json_integer_value(eta) : -1;
    copy_text(m, json_object_get(o, "task"));
    return 0;
}

/* What a media process may report of itself: not what others decide. */
static int
parse_error(avp_media_message_t *m, json_t *o)
{
    if (!OBJECT_OK(o, error_members)) {
        return -1;
    }
    m->error = avp_error_by_code(text_of(json_object_get(o, "code")));
    if (m->error == AVP_ERR_COUNT) {
        return -1;
    }
    switch (avp_error_info(m->error)->class) {
    case AVP_CLASS_PERMANENT:
    case AVP_CLASS_TRANSIENT:
    case AVP_CLASS_CRASH:
    case AVP_CLASS_STALL:
        break;
    default:
        return -1;
    }
    copy_text(m, json_object_get(o, "detail"));
    return 0;
}

static int
parse_doc(avp_media_message_t *m, json_t *o)
{
    json_t *doc = json_object_get(o, "doc");
    int     results;

    if (!OBJECT_OK(o, doc_members) || !tree_ok(doc, 0)) {
        return -1;
    }

    results = json_array_size(json_object_get(doc, "results")) > 0;
    if (m->kind == AVP_MEDIA_DONE) {
        if (!results || !json_is_object(json_object_get(doc, "source"))) {
            return -1;
        }
    } else if (json_object_get(doc, "results") != NULL
               || !json_is_string(json_object_get(doc, "master")))
    {
        return -1;
    }

    m->doc = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(15));
    return m->doc != NULL ? 0 : -1;
}

int
avp_media_message_parse(avp_media_message_t *m, avp_str_t line)
{
    json_t   *o, *t;
    avp_str_t kind;
    int       rc = -1;

    memset(m, 0, sizeof(*m));
    m->eta = -1;

    if (line.len == 0 || line.len > AVP_MEDIA_LINE_MAX) {
        return -1;
    }
    o = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES, NULL);
    if (o == NULL) {
        return -1;
    }

    t = json_object_get(o, "t");
    if (!is_text(t, 1, 16)) {
        goto done;
    }
    kind = text_of(t);

    if (avp_str_eq(kind, avp_str("plan"))) {
        m->kind = AVP_MEDIA_PLAN;
        rc = parse_plan(m, o);
    } else if (avp_str_eq(kind, avp_str("progress"))) {
        m->kind = AVP_MEDIA_PROGRESS;
        rc = parse_progress(m, o);
    } else if (avp_str_eq(kind, avp_str("playable"))) {
        m->kind = AVP_MEDIA_PLAYABLE;
        rc = parse_doc(m, o);
    } else if (avp_str_eq(kind, avp_str("done"))) {
        m->kind = AVP_MEDIA_DONE;
        rc = parse_doc(m, o);
    } else if (avp_str_eq(kind, avp_str("error"))) {
        m->kind = AVP_MEDIA_ERROR;
        rc = parse_error(m, o);
    } else if (avp_str_eq(kind, avp_str("warning"))) {
        m->kind = AVP_MEDIA_WARNING;
        if (OBJECT_OK(o, warning_members)) {
            copy_text(m, json_object_get(o, "detail"));
            rc = 0;
        }
    }

done:
    json_decref(o);
    return rc;
}

void
avp_media_message_free(avp_media_message_t *m)
{
    free(m->doc);
    m->doc = NULL;
}

/* ---- documents ---------------------------------------------------------- */

static const member_t top_members[] = {
    { "source", V_OBJECT, 0, 0, 0 },
    { "poster", V_TEXT, 1, 200, NULLABLE },
    { "storyboard", V_TEXT, 1, 200, NULLABLE },
    { "master", V_TEXT, 1, 200, NULLABLE },
    { "stats", V_OBJECT, 0, 0, 0 },
    { "warnings", V_ARRAY, 0, 100, 0 },
    { "results", V_ARRAY, 1, 64, 0 },
};

static const member_t source_members[] = {
    { "duration", V_NUMBER, 0, DURATION_MAX, NEEDED },
    { "width", V_INT, 1, 65536, NEEDED },
    { "height", V_INT, 1, 65536, NEEDED },
    { "fps", V_NUMBER, 0, 100000, NEEDED },
    { "format", V_TEXT, 1, 16, NEEDED },
    { "videoCodec", V_TEXT, 1, 64, NEEDED },
    { "audioCodec", V_TEXT, 1, 64, NULLABLE },
    { "bitrate", V_INT, 0, BITRATE_MAX, NULLABLE },
    { "frames", V_INT, 0, 1e12, NULLABLE },
};

static const member_t result_members[] = {
    { "format", V_TEXT, 1, 8, NEEDED },
    { "quality", V_TEXT, 1, 8, NEEDED },
    { "path", V_TEXT, 1, 200, NEEDED },
    { "size", V_INT, 1, (double) BYTES_MAX, NEEDED },
    { "duration", V_NUMBER, 0, DURATION_MAX, NEEDED },
    { "bitrate", V_INT, 0, BITRATE_MAX, NEEDED },
    { "codec", V_TEXT, 1, 64, NEEDED },
    { "mime", V_TEXT, 1, 128, NEEDED },
    { "width", V_INT, 1, 16384, NEEDED },
    { "height", V_INT, 1, 16384, NEEDED },
};

/* A relative path that delivery would serve, with the ending given. */
static int
is_path(const json_t *v, const char *ending)
{
    static const char any_prefix[] = "1-0123456789abcdef/";
    char              buf[sizeof(any_prefix) + 200];
    avp_str_t         s = text_of(v);
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
    avp_str_t s = text_of(v);

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

    if (!OBJECT_OK(r, result_members)
        || !is_quality(json_object_get(r, "quality")))
    {
        return 0;
    }
    format = json_object_get(r, "format");
    for (size_t i = 0; i < 3; i++) {
        if (one_of(format, &formats[i], 1)) {
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
        if (!is_number(v, 0, 1e15)) {
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
        if (!is_text(w, 1, AVP_MEDIA_TEXT_MAX - 1)) {
            return 0;
        }
    }
    return 1;
}

static int
source_ok(json_t *source)
{
    return OBJECT_OK(source, source_members)
           && avp_format_by_name(text_of(json_object_get(source, "format")))
                  != AVP_FMT_UNKNOWN;
}

static int
doc_ok(json_t *o, const char **why)
{
    static const char *const names[] = { "poster", "storyboard", "master" };
    static const char *const endings[] = { ".jpg", ".vtt", ".m3u8" };
    json_t                  *v;

    if (!OBJECT_OK(o, top_members) || !tree_ok(o, 0)) {
        *why = "a member is wrong or unknown";
        return 0;
    }
    for (size_t i = 0; i < 3; i++) {
        v = json_object_get(o, names[i]);
        if (json_is_string(v) && !is_path(v, endings[i])) {
            *why = "a path is not well formed";
            return 0;
        }
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
