#include "lib/json_shape.h"

#include "lib/text.h"

#include <string.h>

/* A document of ours has a few levels; deeper ones are somebody's game. */
#define DEPTH_MAX 6
#define MEMBERS_MAX 256
#define NAME_MAX_BYTES 64

int
avp_json_is_text(const json_t *v, size_t min, size_t max)
{
    avp_str_t s;

    if (!json_is_string(v)) {
        return 0;
    }
    s = avp_json_text(v);
    return s.len >= min && s.len <= max && !avp_text_has_controls(s, false);
}

static int
is_int(const json_t *v, int64_t min, int64_t max)
{
    return json_is_integer(v) && json_integer_value(v) >= min
           && json_integer_value(v) <= max;
}

/* jansson reads no NaN and no infinity, and refuses overflowing reals. */
int
avp_json_is_number(const json_t *v, double min, double max)
{
    return json_is_number(v) && json_number_value(v) >= min
           && json_number_value(v) <= max;
}

int
avp_json_one_of(const json_t *v, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (avp_str_eq(avp_json_text(v), avp_str_c(words[i]))) {
            return 1;
        }
    }
    return 0;
}

static int
is_kind(const json_t *v, const avp_json_member_t *m)
{
    if (json_is_null(v)) {
        return (m->flags & AVP_JSON_NULLABLE) != 0;
    }
    switch (m->kind) {
    case AVP_JSON_TEXT:
        return avp_json_is_text(v, (size_t) m->min, (size_t) m->max);
    case AVP_JSON_INT:
        return is_int(v, (int64_t) m->min, (int64_t) m->max);
    case AVP_JSON_NUMBER:
        return avp_json_is_number(v, m->min, m->max);
    case AVP_JSON_BOOL:
        return json_is_boolean(v);
    case AVP_JSON_OBJECT:
        return json_is_object(v);
    case AVP_JSON_ARRAY:
        return json_is_array(v) && (double) json_array_size(v) >= m->min
               && (double) json_array_size(v) <= m->max;
    }
    return 0;
}

int
avp_json_object_ok(const json_t *o, const avp_json_member_t *members, size_t n)
{
    size_t found = 0;

    if (!json_is_object(o)) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, members[i].name);

        if (v == NULL) {
            if (members[i].flags & AVP_JSON_NEEDED) {
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

static int
tree_ok(json_t *v, size_t text_max, int depth)
{
    const char *key;
    json_t     *child;
    size_t      i;

    if (depth > DEPTH_MAX) {
        return 0;
    }
    switch (json_typeof(v)) {
    case JSON_STRING:
        return avp_json_is_text(v, 0, text_max);

    case JSON_OBJECT:
        if (json_object_size(v) > MEMBERS_MAX) {
            return 0;
        }
        json_object_foreach(v, key, child) {
            if (strlen(key) > NAME_MAX_BYTES
                || avp_text_has_controls(avp_str_c(key), false)
                || !tree_ok(child, text_max, depth + 1))
            {
                return 0;
            }
        }
        return 1;

    case JSON_ARRAY:
        if (json_array_size(v) > MEMBERS_MAX) {
            return 0;
        }
        json_array_foreach(v, i, child) {
            if (!tree_ok(child, text_max, depth + 1)) {
                return 0;
            }
        }
        return 1;

    default:
        return 1;
    }
}

int
avp_json_tree_ok(const json_t *v, size_t text_max)
{
    return v != NULL && tree_ok((json_t *) v, text_max, 0);
}
