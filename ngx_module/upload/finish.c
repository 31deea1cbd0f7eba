#include "ngx_module/upload/sink.h"
#include "ngx_module/api/changes.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/backend/redis.h"
#include "ngx_module/request.h"
#include "ngx_module/zone.h"


typedef struct {
    ngx_http_request_t  *request;
    avp_sink_t          *sink;
    avp_upload_t        *upload;
} avp_finish_t;


/* What the operation needs when the client is gone. */
typedef struct {
    char                         video[AVP_UUID_LEN + 1];
    char                         key[AVP_KEY_MAX];
    off_t                        size;
    const avp_sink_ops_t        *ops;
} avp_finish_own_t;


static void avp_finish_committed(void *data, avp_sink_status_e status);
static avp_pg_op_t *avp_finish_op(avp_finish_t *f);
static void avp_finish_created(avp_pg_op_t *op);
static ngx_uint_t avp_finish_settled(avp_pg_op_t *op);
static ngx_int_t avp_finish_reply(ngx_http_request_t *r, avp_pg_op_t *op);
static void avp_finish_fail(avp_finish_t *f, avp_error_t e);


static const avp_pg_stmt_t  avp_stmt_video_create = {
    "video_create",
    "SELECT * FROM video_create($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
    " $12, $13, $14)", 14
};


void
avp_upload_finish(ngx_http_request_t *r, avp_sink_t *sink, avp_upload_t *u)
{
    avp_finish_t       *f;
    avp_sink_status_e   status;

    f = ngx_palloc(r->pool, sizeof(avp_finish_t));
    if (f == NULL) {
        sink->ops->abort(sink);
        avp_request_finish(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    f->request = r;
    f->sink = sink;
    f->upload = u;

    sink->done = avp_finish_committed;
    sink->data = f;

    status = sink->ops->commit(sink, u->video, u->format);

    if (status != AVP_SINK_OK) {
        avp_finish_fail(f, avp_sink_error(status));
    }
}


static void
avp_finish_committed(void *data, avp_sink_status_e status)
{
    ngx_int_t            rc;
    avp_pg_op_t         *op;
    avp_finish_t        *f = data;
    ngx_http_request_t  *r = f->request;

    if (status != AVP_SINK_OK) {
        avp_finish_fail(f, avp_sink_error(status));
        return;
    }

    op = avp_finish_op(f);

    if (op == NULL) {
        avp_finish_fail(f, AVP_ERR_INTERNAL);
        return;
    }

    /* from here on the bytes belong to the operation, not to the request */

    avp_sink_keep(f->sink);

    rc = avp_request_wait(r, op);

    if (rc != NGX_DONE) {
        f->sink->ops->discard(f->sink->key);
        avp_request_finish(r, rc);
    }
}


static avp_pg_op_t *
avp_finish_op(avp_finish_t *f)
{
    avp_pg_op_t       *op;
    avp_upload_t      *u = f->upload;
    avp_finish_own_t  *own;

    op = avp_request_op(f->request, &avp_stmt_video_create, 1,
                        avp_finish_created);
    if (op == NULL) {
        return NULL;
    }

    own = ngx_palloc(op->pool, sizeof(avp_finish_own_t));
    if (own == NULL) {
        ngx_destroy_pool(op->pool);
        return NULL;
    }

    (void) avp_pg_cstr(op, u->video);
    (void) avp_pg_str(op, &u->title);
    (void) avp_pg_str(op, &u->description);
    (void) avp_pg_str(op, &u->metadata);
    (void) avp_pg_str(op, &u->filename);
    (void) avp_pg_int(op, u->size);
    (void) avp_pg_cstr(op, f->sink->ops->bucket);
    (void) avp_pg_cstr(op, f->sink->key);
    (void) avp_pg_cstr(op, avp_format_name(u->format));
    (void) avp_pg_int(op, u->priority);

    ngx_memcpy(own->video, u->video, sizeof(own->video));
    ngx_memcpy(own->key, f->sink->key, sizeof(own->key));
    own->size = u->size;
    own->ops = f->sink->ops;

    op->own = own;

    return op;
}


static void
avp_finish_created(avp_pg_op_t *op)
{
    ngx_uint_t           settled;
    ngx_http_request_t  *r;

    settled = avp_finish_settled(op);

    r = avp_request_resume(op);

    if (r == NULL || avp_request_result(r, op) != NGX_OK) {
        return;
    }

    avp_request_finish(r, settled ? avp_finish_reply(r, op)
                                  : NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/*
 * What is due whether or not the client is there.  A row that may exist must
 * have its file: when the answer of the commit was lost the bytes stay, and
 * workerd's gc removes them if there is no row after all.
 */

static ngx_uint_t
avp_finish_settled(avp_pg_op_t *op)
{
    ngx_str_t          job;
    avp_finish_own_t  *own = op->own;

    if (avp_change_publish(op)) {
        job = avp_pg_value(op, 0, "job");
        avp_redis_wake(&job);

        avp_zone_count(AVP_M_uploads, 1);
        avp_zone_count(AVP_M_upload_bytes, own->size);

        return 1;
    }

    avp_zone_count(AVP_M_upload_aborts, 1);

    if (op->status != AVP_PG_OK && op->sent) {
        ngx_log_error(NGX_LOG_WARN, op->log, 0,
                      "the database did not say whether video %s was made: "
                      "its file is left to gc", own->video);

    } else {
        own->ops->discard(own->key);
    }

    return 0;
}


static ngx_int_t
avp_finish_reply(ngx_http_request_t *r, avp_pg_op_t *op)
{
    ngx_str_t                 doc, location;
    avp_finish_own_t         *own = op->own;
    ngx_http_avp_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    /* not headers_out.location: the core would make it absolute by what it
     * believes its own name and scheme to be */

    location.data = ngx_pnalloc(r->pool, alcf->api_prefix.len
                                         + sizeof("/videos/") - 1
                                         + AVP_UUID_LEN);
    if (location.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    location.len = ngx_sprintf(location.data, "%V/videos/%s",
                               &alcf->api_prefix, own->video)
                   - location.data;

    if (avp_reply_header(r, "Location", &location) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    doc = avp_pg_value(op, 0, "doc");

    return avp_reply_doc(r, NGX_HTTP_CREATED, &doc, NULL);
}


static void
avp_finish_fail(avp_finish_t *f, avp_error_t e)
{
    avp_zone_count(AVP_M_upload_aborts, 1);

    f->sink->ops->abort(f->sink);

    avp_request_finish(f->request, avp_reply_error(f->request, e, NULL));
}
