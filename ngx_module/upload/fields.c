#include "ngx_module/upload/fields.h"
#include "lib/text.h"

#include <jansson.h>


#define AVP_PRIORITY_MAX    10
#define AVP_PRIORITY_CHARS  3       /* -10 */


static const char *avp_field_title(ngx_str_t *text, avp_upload_t *u);
static const char *avp_field_description(ngx_str_t *text, avp_upload_t *u);
static const char *avp_field_metadata(ngx_str_t *text, avp_upload_t *u);
static const char *avp_field_priority(avp_fields_t *fs, ngx_str_t *text,
    avp_upload_t *u);
static const char *avp_field_json(json_t *value, ngx_uint_t depth);


static const struct {
    const char  *name;
    size_t       max;          /* bytes */
    const char  *too_long;
} avp_field_list[AVP_FIELDS] = {

    { "title", 4 * AVP_TITLE_MAX,
      "`title` is longer than 255 characters." },

    { "description", AVP_DESCRIPTION_MAX,
      "`description` is longer than 16 KiB." },

    { "metadata", AVP_METADATA_MAX,
      "`metadata` is longer than 16 KiB." },

    { "priority", AVP_PRIORITY_CHARS,
      "`priority` must be a whole number from -10 to 10." }
};


avp_field_e
avp_field_by_name(avp_str_t name)
{
    ngx_uint_t  i;

    for (i = 0; i < AVP_FIELDS; i++) {
        if (avp_str_eq(name, avp_str_c(avp_field_list[i].name))) {
            break;
        }
    }

    return i;
}


ngx_int_t
avp_field_begin(avp_fields_t *fs, avp_field_e f)
{
    if (fs->text[f]) {
        return NGX_DECLINED;
    }

    fs->text[f] = ngx_pnalloc(fs->pool, avp_field_list[f].max);

    return fs->text[f] ? NGX_OK : NGX_ERROR;
}


void
avp_field_add(avp_fields_t *fs, avp_field_e f, avp_str_t slice)
{
    size_t  max = avp_field_list[f].max;

    if (slice.len > max - ngx_min(fs->len[f], max)) {
        fs->len[f] = max + 1;
        return;
    }

    ngx_memcpy(fs->text[f] + fs->len[f], slice.data, slice.len);
    fs->len[f] += slice.len;
}


const char *
avp_field_end(avp_fields_t *fs, avp_field_e f, avp_upload_t *u)
{
    ngx_str_t  text;

    text.data = fs->text[f];
    text.len = fs->len[f];

    if (text.len > avp_field_list[f].max) {
        return avp_field_list[f].too_long;
    }

    if (text.len == 0 && f != AVP_FIELD_TITLE) {
        return NULL;           /* left empty in a browser's form */
    }

    switch (f) {

    case AVP_FIELD_TITLE:
        return avp_field_title(&text, u);

    case AVP_FIELD_DESCRIPTION:
        return avp_field_description(&text, u);

    case AVP_FIELD_METADATA:
        return avp_field_metadata(&text, u);

    default:
        return avp_field_priority(fs, &text, u);
    }
}


static const char *
avp_field_title(ngx_str_t *text, avp_upload_t *u)
{
    size_t     i;
    avp_str_t  s = { (const char *) text->data, text->len };

    if (!avp_utf8_valid(s)) {
        return "`title` is not valid UTF-8.";
    }

    if (avp_text_has_controls(s, false)) {
        return "`title` has control characters.";
    }

    if (avp_utf8_count(s) > AVP_TITLE_MAX) {
        return avp_field_list[AVP_FIELD_TITLE].too_long;
    }

    for (i = 0; i < text->len && text->data[i] == ' '; i++) { /* void */ }

    if (i == text->len) {
        return "`title` is empty.";
    }

    u->title = *text;

    return NULL;
}


static const char *
avp_field_description(ngx_str_t *text, avp_upload_t *u)
{
    avp_str_t  s = { (const char *) text->data, text->len };

    if (!avp_utf8_valid(s)) {
        return "`description` is not valid UTF-8.";
    }

    if (avp_text_has_controls(s, true)) {
        return "`description` has control characters.";
    }

    u->description = *text;

    return NULL;
}


static const char *
avp_field_metadata(ngx_str_t *text, avp_upload_t *u)
{
    json_t        *json;
    const char    *error;
    json_error_t   where;

    json = json_loadb((const char *) text->data, text->len,
                      JSON_REJECT_DUPLICATES, &where);

    if (!json_is_object(json)) {
        json_decref(json);
        return "`metadata` is not a JSON object.";
    }

    error = avp_field_json(json, 1);
    json_decref(json);

    if (error == NULL) {
        u->metadata = *text;
    }

    return error;
}


/*
 * Control characters are refused because documents have holes that begin with
 * one (lib/doc.h), and because nobody means them.
 */

static const char *
avp_field_json(json_t *value, ngx_uint_t depth)
{
    size_t       i;
    json_t      *member;
    avp_str_t    s;
    const char  *name, *error;

    static const char  controls[] = "`metadata` has control characters.";

    if (json_is_string(value)) {
        s.data = json_string_value(value);
        s.len = json_string_length(value);

        return avp_text_has_controls(s, true) ? controls : NULL;
    }

    if (!json_is_object(value) && !json_is_array(value)) {
        return NULL;
    }

    if (depth > AVP_METADATA_DEPTH) {
        return "`metadata` is nested deeper than 8 levels.";
    }

    json_array_foreach(value, i, member) {
        error = avp_field_json(member, depth + 1);
        if (error) {
            return error;
        }
    }

    json_object_foreach(value, name, member) {
        if (avp_text_has_controls(avp_str_c(name), true)) {
            return controls;
        }

        error = avp_field_json(member, depth + 1);
        if (error) {
            return error;
        }
    }

    return NULL;
}


static const char *
avp_field_priority(avp_fields_t *fs, ngx_str_t *text, avp_upload_t *u)
{
    size_t     sign;
    ngx_int_t  n;

    sign = text->len && text->data[0] == '-';
    n = ngx_atoi(text->data + sign, text->len - sign);

    if (n == NGX_ERROR || n > AVP_PRIORITY_MAX) {
        return avp_field_list[AVP_FIELD_PRIORITY].too_long;
    }

    if (n > 0 && !sign && !fs->admin) {
        return "`priority` above 0 is for administrators.";
    }

    u->priority = sign ? -n : n;

    return NULL;
}
