#include "lib/media_message.h"

#include "lib/json_shape.h"

#include <stdlib.h>
#include <string.h>

#define CPU_SECONDS_MAX 1e8
#define DURATION_MAX 1e7
#define BYTES_MAX ((int64_t) 1 << 50)

static const avp_json_member_t plan_members[] = {
    { "t", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "passes", AVP_JSON_INT, 1, 16, AVP_JSON_NEEDED },
    { "cpuSeconds", AVP_JSON_NUMBER, 0, CPU_SECONDS_MAX, AVP_JSON_NEEDED },
    { "memoryBytes", AVP_JSON_NUMBER, 0, (double) BYTES_MAX, AVP_JSON_NEEDED },
    { "outputBytes", AVP_JSON_NUMBER, 0, (double) BYTES_MAX, AVP_JSON_NEEDED },
    { "duration", AVP_JSON_NUMBER, 0, DURATION_MAX, AVP_JSON_NEEDED },
    { "text", AVP_JSON_TEXT, 0, AVP_MEDIA_TEXT_MAX - 1, 0 },
};

static const avp_json_member_t progress_members[] = {
    { "t", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "progress", AVP_JSON_INT, 0, 99, AVP_JSON_NEEDED },
    { "task", AVP_JSON_TEXT, 0, 100, AVP_JSON_NEEDED },
    { "eta", AVP_JSON_INT, -1, 1e8, AVP_JSON_NULLABLE },
};

static const avp_json_member_t doc_members[] = {
    { "t", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "doc", AVP_JSON_OBJECT, 0, 0, AVP_JSON_NEEDED },
};

static const avp_json_member_t error_members[] = {
    { "t", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "code", AVP_JSON_TEXT, 1, 64, AVP_JSON_NEEDED },
    { "detail", AVP_JSON_TEXT, 0, AVP_MEDIA_TEXT_MAX - 1, 0 },
};

static const avp_json_member_t warning_members[] = {
    { "t", AVP_JSON_TEXT, 1, 16, AVP_JSON_NEEDED },
    { "detail", AVP_JSON_TEXT, 1, AVP_MEDIA_TEXT_MAX - 1, AVP_JSON_NEEDED },
};

static void
copy_text(avp_media_message_t *m, const json_t *v)
{
    avp_str_t s = avp_json_text(v);

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
    if (!AVP_JSON_OK(o, plan_members)) {
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

    if (!AVP_JSON_OK(o, progress_members)) {
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
    if (!AVP_JSON_OK(o, error_members)) {
        return -1;
    }
    m->error = avp_error_by_code(avp_json_text(json_object_get(o, "code")));
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

    if (!AVP_JSON_OK(o, doc_members) || !avp_json_tree_ok(doc, AVP_MEDIA_TEXT_MAX - 1)) {
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
    if (!avp_json_is_text(t, 1, 16)) {
        goto done;
    }
    kind = avp_json_text(t);

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
        if (AVP_JSON_OK(o, warning_members)) {
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
