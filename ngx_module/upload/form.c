/*
 * POST /videos/upload: multipart/form-data with the part `file` and the
 * fields of fields.h in any order.  Everything is decided as early as the
 * bytes allow: by the headers, by the first AVP_SNIFF_MIN bytes of the file,
 * at the end of each field, at the end of the form.
 */

#include "ngx_module/api/api.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"
#include "ngx_module/upload/body.h"
#include "ngx_module/upload/fields.h"
#include "lib/multipart.h"
#include "lib/text.h"


/* Boundaries, part headers, preamble, epilogue, fields and what nobody asked
 * for: what a body may have beyond the file. */
#define AVP_FORM_FRAMING  (512 * 1024)


typedef enum {
    AVP_PART_IGNORED = 0,
    AVP_PART_FIELD,
    AVP_PART_FILE
} avp_part_e;


typedef struct {
    avp_body_t        body;        /* first: ctx->data is both */
    avp_upload_t      upload;
    avp_fields_t      fields;
    off_t             max;         /* of the file */
    uint32_t          formats;

    avp_part_e        part;
    avp_field_e       field;
    avp_str_t         slice;       /* of the file, not put aside yet */
    unsigned          has_file:1;
    unsigned          sniffed:1;

    char              filename[256];
    avp_multipart_t   mp;
} avp_form_t;


static avp_error_t avp_form_check_headers(ngx_http_request_t *r,
    avp_form_t *form, const char **detail);
static ngx_int_t avp_form_feed(void *data, u_char **p, u_char *end);
static ngx_int_t avp_form_part(avp_form_t *form);
static ngx_int_t avp_form_part_file(avp_form_t *form);
static ngx_int_t avp_form_part_end(avp_form_t *form);
static ngx_int_t avp_form_file(avp_form_t *form);
static ngx_int_t avp_form_sniff(avp_form_t *form);
static void avp_form_end(void *data);
static void avp_form_flushed(void *data);
static ngx_int_t avp_form_fail(avp_form_t *form, avp_error_t e,
    const char *detail);


ngx_int_t
avp_upload_form(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_form_t                *form;
    avp_error_t                error;
    const char                *detail;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    form = ngx_palloc(r->pool, sizeof(avp_form_t));
    if (form == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the parser initializes itself, and is large */

    ngx_memzero(form, offsetof(avp_form_t, filename));

    form->max = amcf->max_video_size;
    form->formats = amcf->allowed_formats;
    form->fields.pool = r->pool;
    form->fields.admin = ctx->identity.admin;
    form->upload.format = AVP_FMT_UNKNOWN;

    form->body.request = r;
    form->body.limit = form->max + AVP_FORM_FRAMING;
    form->body.data = form;
    form->body.feed = avp_form_feed;
    form->body.end = avp_form_end;
    form->body.flushed = avp_form_flushed;

    if (r != r->main || r->discard_body) {
        /* a mirror, say: there is no body to be read by it */
        return avp_reply_error(r, AVP_ERR_BAD_REQUEST,
                               "An upload must be a request of its own.");
    }

    error = avp_form_check_headers(r, form, &detail);

    if (error != AVP_ERR_COUNT) {
        return avp_reply_error_close(r, error, detail);
    }

    form->body.sink = avp_sink_create(r, avp_body_written, &form->body);

    if (form->body.sink == NULL || avp_uuid_v4(form->upload.video) != 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return avp_body_start(&form->body);
}


/* Before a byte of the body is read, and before "100 Continue".
 * AVP_ERR_COUNT: go on. */

static avp_error_t
avp_form_check_headers(ngx_http_request_t *r, avp_form_t *form,
    const char **detail)
{
    avp_str_t         value;
    ngx_table_elt_t  *type;

    *detail = NULL;

    if (r->headers_in.content_length_n > form->body.limit) {
        return AVP_ERR_TOO_LARGE;
    }

    if (r->headers_in.content_length_n < 0 && !r->headers_in.chunked
        && r->http_version < NGX_HTTP_VERSION_20)
    {
        return AVP_ERR_LENGTH_REQUIRED;
    }

    type = r->headers_in.content_type;

    value.data = type ? (const char *) type->value.data : "";
    value.len = type ? type->value.len : 0;

    if (avp_multipart_init(&form->mp, value) != 0) {

        if (form->mp.error == NULL) {
            *detail = "The Content-Type must be multipart/form-data.";
            return AVP_ERR_UNSUPPORTED_MEDIA;
        }

        *detail = form->mp.error;
        return AVP_ERR_INVALID_MULTIPART;
    }

    return AVP_ERR_COUNT;
}


static ngx_int_t
avp_form_feed(void *data, u_char **p, u_char *end)
{
    ngx_int_t        rc;
    avp_str_t        slice;
    avp_form_t      *form = data;
    avp_mp_event_t   event;

    for ( ;; ) {

        rc = avp_form_file(form);
        if (rc != NGX_OK) {
            return rc;
        }

        event = avp_multipart_next(&form->mp, (const char **) p,
                                   (const char *) end, &slice);
        switch (event) {

        case AVP_MP_MORE:
            return NGX_OK;

        case AVP_MP_PART:
            rc = avp_form_part(form);
            break;

        case AVP_MP_DATA:
            if (form->part == AVP_PART_FILE) {
                form->slice = slice;

            } else if (form->part == AVP_PART_FIELD) {
                avp_field_add(&form->fields, form->field, slice);
            }
            break;

        case AVP_MP_PART_END:
            rc = avp_form_part_end(form);
            break;

        case AVP_MP_DONE:
            break;

        default:
            return avp_form_fail(form, AVP_ERR_INVALID_MULTIPART,
                                 form->mp.error);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


static ngx_int_t
avp_form_part(avp_form_t *form)
{
    avp_str_t    name = form->mp.name;
    avp_str_t    type = form->mp.content_type;
    avp_field_e  field;

    if (type.len >= 10
        && ngx_strncasecmp((u_char *) type.data, (u_char *) "multipart/", 10)
           == 0)
    {
        return avp_form_fail(form, AVP_ERR_INVALID_MULTIPART,
                             "A part must not be multipart itself.");
    }

    if (avp_str_eq(name, avp_str("file"))) {
        return avp_form_part_file(form);
    }

    field = avp_field_by_name(name);

    if (field == AVP_FIELDS) {
        form->part = AVP_PART_IGNORED;
        return NGX_OK;
    }

    form->part = AVP_PART_FIELD;
    form->field = field;

    switch (avp_field_begin(&form->fields, field)) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        return avp_form_fail(form, AVP_ERR_INVALID_MULTIPART,
                             "The form has the same field twice.");

    default:
        return avp_form_fail(form, AVP_ERR_INTERNAL, NULL);
    }
}


static ngx_int_t
avp_form_part_file(avp_form_t *form)
{
    if (form->has_file) {
        return avp_form_fail(form, AVP_ERR_DUPLICATE_FILE, NULL);
    }

    form->part = AVP_PART_FILE;
    form->has_file = 1;

    avp_display_name(form->filename, form->mp.filename);

    form->upload.filename.data = (u_char *) form->filename;
    form->upload.filename.len = ngx_strlen(form->filename);

    return NGX_OK;
}


static ngx_int_t
avp_form_part_end(avp_form_t *form)
{
    const char  *error;

    switch (form->part) {

    case AVP_PART_FILE:
        if (form->upload.size == 0) {
            return avp_form_fail(form, AVP_ERR_EMPTY_FILE, NULL);
        }

        return avp_form_sniff(form);

    case AVP_PART_FIELD:
        error = avp_field_end(&form->fields, form->field, &form->upload);

        return error ? avp_form_fail(form, AVP_ERR_INVALID_FIELD, error)
                     : NGX_OK;

    default:
        return NGX_OK;
    }
}


/* Puts the present slice of the file aside.  NGX_AGAIN: there is no room. */

static ngx_int_t
avp_form_file(avp_form_t *form)
{
    size_t      n;
    ngx_int_t   rc;
    avp_str_t  *slice = &form->slice;

    while (slice->len) {

        if ((off_t) slice->len > form->max - form->upload.size) {
            return avp_form_fail(form, AVP_ERR_TOO_LARGE, NULL);
        }

        n = slice->len;

        if (!form->sniffed) {
            /* nothing goes to the disk before it is known to be a video */
            n = ngx_min(n, (size_t) (AVP_SNIFF_MIN - form->upload.size));
        }

        n = avp_body_put(&form->body, (const u_char *) slice->data, n);

        if (n == 0) {
            return form->body.failed ? NGX_DONE : NGX_AGAIN;
        }

        slice->data += n;
        slice->len -= n;
        form->upload.size += n;

        if (form->upload.size >= AVP_SNIFF_MIN) {
            rc = avp_form_sniff(form);
            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
avp_form_sniff(avp_form_t *form)
{
    avp_format_t  format;

    if (form->sniffed) {
        return NGX_OK;
    }

    form->sniffed = 1;

    format = avp_sniff(avp_body_head(&form->body), form->upload.size);

    if (format == AVP_FMT_UNKNOWN || !(form->formats & (1u << format))) {
        return avp_form_fail(form, AVP_ERR_UNSUPPORTED_MEDIA,
                             "The file is not a video in one of the allowed "
                             "containers.");
    }

    form->upload.format = format;

    return NGX_OK;
}


static void
avp_form_end(void *data)
{
    avp_form_t  *form = data;

    if (avp_multipart_finish(&form->mp) != 0) {
        (void) avp_form_fail(form, AVP_ERR_INVALID_MULTIPART, form->mp.error);
        return;
    }

    if (!form->has_file) {
        (void) avp_form_fail(form, AVP_ERR_MISSING_FILE, NULL);
        return;
    }

    if (form->upload.title.len == 0) {
        (void) avp_form_fail(form, AVP_ERR_INVALID_FIELD,
                             "`title` is required.");
        return;
    }

    avp_body_flush(&form->body);
}


static void
avp_form_flushed(void *data)
{
    avp_form_t  *form = data;

    avp_upload_finish(form->body.request, form->body.sink, &form->upload);
}


static ngx_int_t
avp_form_fail(avp_form_t *form, avp_error_t e, const char *detail)
{
    avp_body_fail(&form->body, e, detail);

    return NGX_DONE;
}
