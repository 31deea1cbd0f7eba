#include "workerd/media/job.h"

#include "lib/sniff.h"

#include <jansson.h>

#include <stdio.h>
#include <string.h>

void
avp_job_defaults(avp_job_t *job)
{
    *job = (avp_job_t){ .mp4 = true,
                        .webm = true,
                        .hls = true,
                        .early = true,
                        .passthrough = true,
                        .order = AVP_ORDER_AUTO,
                        .allowed = AVP_FMT_DEFAULT,
                        .max_duration = 21600,
                        .threads = 1,
                        .sandbox = true };
    (void) avp_profile_builtin(&job->profile, avp_str("balanced"));
}

int
avp_job_settle(avp_job_t *job, char why[AVP_PROFILE_ERROR])
{
    if (avp_profile_limit(&job->profile, &job->limit, why)) {
        return -1;
    }

    job->mp4 = job->webm = job->hls = false;
    for (int i = 0; i < job->profile.nrungs; i++) {
        job->mp4 |= job->profile.rungs[i].mp4;
        job->webm |= job->profile.rungs[i].webm;
        job->hls |= job->profile.rungs[i].hls;
    }
    return 0;
}

static void
begin_formats(avp_job_t *job)
{
    job->limit.formats = true;
    job->limit.mp4 = job->limit.webm = job->limit.hls = false;
}

static int
set_format(avp_job_t *job, avp_str_t word)
{
    if (avp_str_eq(word, avp_str("mp4"))) {
        job->limit.mp4 = true;
    } else if (avp_str_eq(word, avp_str("webm"))) {
        job->limit.webm = true;
    } else if (avp_str_eq(word, avp_str("hls"))) {
        job->limit.hls = true;
    } else {
        return -1;
    }
    return 0;
}

static int
set_quality(avp_job_t *job, avp_str_t word)
{
    return avp_profile_limit_rung(&job->limit, word);
}

static int
set_allowed(avp_job_t *job, avp_str_t word)
{
    avp_format_t f = avp_format_by_name(word);

    if (f == AVP_FMT_UNKNOWN) {
        return -1;
    }
    job->allowed |= 1u << f;
    return 0;
}

int
avp_job_set_order(avp_job_t *job, avp_str_t word)
{
    if (avp_str_eq(word, avp_str("auto"))) {
        job->order = AVP_ORDER_AUTO;
    } else if (avp_str_eq(word, avp_str("together"))) {
        job->order = AVP_ORDER_TOGETHER;
    } else if (avp_str_eq(word, avp_str("hls-first"))) {
        job->order = AVP_ORDER_HLS_FIRST;
    } else {
        return -1;
    }
    return 0;
}

int
avp_job_set_webm(avp_job_t *job, avp_str_t word)
{
    if (avp_str_eq(word, avp_str("av1"))) {
        job->limit.vp9 = false;
    } else if (avp_str_eq(word, avp_str("vp9"))) {
        job->limit.vp9 = true;
    } else {
        return -1;
    }
    job->limit.webm_codec = true;
    return 0;
}

int
avp_job_set_passthrough(avp_job_t *job, avp_str_t word)
{
    if (avp_str_eq(word, avp_str("auto"))) {
        job->passthrough = true;
    } else if (avp_str_eq(word, avp_str("off"))) {
        job->passthrough = false;
    } else {
        return -1;
    }
    return 0;
}

static int
each_word(avp_job_t *job, avp_str_t list,
          int (*set)(avp_job_t *, avp_str_t))
{
    const char *p = list.data, *end = list.data + list.len;

    if (list.len == 0) {
        return -1;
    }

    while (p <= end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;

        if (set(job, (avp_str_t){ p, (size_t)(stop - p) })) {
            return -1;
        }
        p = stop + 1;
    }
    return 0;
}

int
avp_job_set_formats(avp_job_t *job, avp_str_t list)
{
    begin_formats(job);
    return each_word(job, list, set_format);
}

int
avp_job_set_qualities(avp_job_t *job, avp_str_t list)
{
    job->limit.nrungs = 0;
    return each_word(job, list, set_quality);
}

/* An array of words, at least one of them. */
static int
get_words(avp_job_t *job, const json_t *array,
          int (*set)(avp_job_t *, avp_str_t))
{
    size_t  i;
    json_t *v;

    if (!json_is_array(array) || json_array_size(array) == 0) {
        return -1;
    }

    json_array_foreach(array, i, v)
    {
        avp_str_t s = { json_string_value(v), json_string_length(v) };

        if (!json_is_string(v) || set(job, s)) {
            return -1;
        }
    }
    return 0;
}

static int
get_word(avp_job_t *job, const json_t *v, int (*set)(avp_job_t *, avp_str_t))
{
    return json_is_string(v)
               ? set(job, (avp_str_t){ json_string_value(v),
                                       json_string_length(v) })
               : -1;
}

static int
get_int(const json_t *v, int64_t min, int64_t max, int64_t *dst)
{
    if (!json_is_integer(v) || json_integer_value(v) < min
        || json_integer_value(v) > max) {
        return -1;
    }
    *dst = json_integer_value(v);
    return 0;
}

static int
get_bool(const json_t *v, bool *dst)
{
    if (!json_is_boolean(v)) {
        return -1;
    }
    *dst = json_is_true(v);
    return 0;
}

static int
get_member(avp_job_t *job, const char *key, const json_t *v,
           char why[AVP_PROFILE_ERROR])
{
    int64_t n = job->threads;
    int     rc;

    if (strcmp(key, "profile") == 0) {
        return avp_profile_from_json(&job->profile, v, why);
    }
    if (strcmp(key, "formats") == 0) {
        begin_formats(job);
        return get_words(job, v, set_format);
    }
    if (strcmp(key, "qualities") == 0) {
        job->limit.nrungs = 0;
        return get_words(job, v, set_quality);
    }
    if (strcmp(key, "allowed") == 0) {
        job->allowed = 0;
        return get_words(job, v, set_allowed);
    }
    if (strcmp(key, "webmCodec") == 0) {
        return get_word(job, v, avp_job_set_webm);
    }
    if (strcmp(key, "order") == 0) {
        return get_word(job, v, avp_job_set_order);
    }
    if (strcmp(key, "passthrough") == 0) {
        return get_word(job, v, avp_job_set_passthrough);
    }
    if (strcmp(key, "early") == 0) {
        return get_bool(v, &job->early);
    }
    if (strcmp(key, "preview") == 0) {
        return get_bool(v, &job->preview);
    }
    if (strcmp(key, "sandbox") == 0) {
        return get_bool(v, &job->sandbox);
    }
    if (strcmp(key, "hold") == 0) {
        return get_bool(v, &job->hold);
    }
    if (strcmp(key, "maxDuration") == 0) {
        return get_int(v, 1, 7 * 86400, &job->max_duration);
    }
    if (strcmp(key, "threads") == 0) {
        rc = get_int(v, 1, 256, &n);
        job->threads = (int)n;
        return rc;
    }
    return -1;
}

int
avp_job_parse(avp_job_t *job, avp_str_t json, char why[AVP_PROFILE_ERROR])
{
    json_error_t err;
    json_t      *root, *v;
    const char  *key;
    int          rc = -1;

    avp_job_defaults(job);
    root = json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES, &err);
    if (!json_is_object(root)) {
        snprintf(why, AVP_PROFILE_ERROR, "the job is not a JSON object");
        goto done;
    }

    why[0] = '\0';
    json_object_foreach(root, key, v)
    {
        if (get_member(job, key, v, why)) {
            if (why[0] == '\0') {
                snprintf(why, AVP_PROFILE_ERROR, "the job has a member that "
                                                 "is unknown or not valid");
            }
            goto done;
        }
    }

    rc = avp_job_settle(job, why);

done:

    json_decref(root);
    return rc;
}
