/*
 * The text fields of an upload form: collected with a bound, checked when
 * they end.  CPU only.
 */

#ifndef AVP_FIELDS_H
#define AVP_FIELDS_H

#include "ngx_module/upload/sink.h"

#define AVP_TITLE_MAX        255            /* characters */
#define AVP_DESCRIPTION_MAX  (16 * 1024)    /* bytes */
#define AVP_METADATA_MAX     (16 * 1024)
#define AVP_METADATA_DEPTH   8

typedef enum {
    AVP_FIELD_TITLE = 0,
    AVP_FIELD_DESCRIPTION,
    AVP_FIELD_METADATA,
    AVP_FIELD_PRIORITY,
    AVP_FIELDS
} avp_field_e;

typedef struct {
    ngx_pool_t  *pool;
    unsigned     admin:1;
    u_char      *text[AVP_FIELDS];    /* NULL: not begun */
    size_t       len[AVP_FIELDS];     /* over the bound: too long */
} avp_fields_t;

/* The field of that name, AVP_FIELDS when there is none such. */
avp_field_e avp_field_by_name(avp_str_t name);

/* NGX_OK, NGX_DECLINED when it has been there before, NGX_ERROR: memory. */
ngx_int_t avp_field_begin(avp_fields_t *fs, avp_field_e f);

void avp_field_add(avp_fields_t *fs, avp_field_e f, avp_str_t slice);

/* Checks the field and puts it into *u.  NULL, or what is wrong with it. */
const char *avp_field_end(avp_fields_t *fs, avp_field_e f, avp_upload_t *u);

#endif
