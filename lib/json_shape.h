/*
 * Shapes of JSON from where it cannot be trusted: tables that say which
 * members an object has, of which kind and in which range.  What a table does
 * not list is refused.  Pure checks; nothing is copied or kept.
 */

#ifndef AVP_JSON_SHAPE_H
#define AVP_JSON_SHAPE_H

#include "lib/str.h"

#include <jansson.h>

#include <stdint.h>

typedef enum {
    AVP_JSON_TEXT,   /* string of min..max bytes without control characters */
    AVP_JSON_INT,
    AVP_JSON_NUMBER,
    AVP_JSON_BOOL,
    AVP_JSON_OBJECT,
    AVP_JSON_ARRAY   /* of min..max members */
} avp_json_kind_t;

enum { AVP_JSON_NEEDED = 1, AVP_JSON_NULLABLE = 2 };

typedef struct {
    const char     *name;
    avp_json_kind_t kind;
    double          min, max;
    int             flags;
} avp_json_member_t;

/* The text of a string; { NULL, 0 } of anything else.  Points into `v`. */
static inline avp_str_t
avp_json_text(const json_t *v)
{
    return (avp_str_t){ json_string_value(v), json_string_length(v) };
}

int avp_json_is_text(const json_t *v, size_t min, size_t max);
int avp_json_is_number(const json_t *v, double min, double max);
int avp_json_one_of(const json_t *v, const char *const *words, size_t n);

/* Exactly the members listed, each of its kind; the needed ones present. */
int avp_json_object_ok(const json_t *o, const avp_json_member_t *members,
                       size_t n);

#define AVP_JSON_OK(o, members)                                                \
    avp_json_object_ok((o), (members), sizeof(members) / sizeof((members)[0]))

/* Every string and every name in a tree is short and clean, however deep, and
 * the tree itself is bounded. */
int avp_json_tree_ok(const json_t *v, size_t text_max);

#endif
