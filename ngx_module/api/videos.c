/*
 * Videos: list, resource, status, metadata, delete.
 */

#include "ngx_module/api/api.h"
#include "ngx_module/api/changes.h"
#include "ngx_module/api/query.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"
#include "ngx_module/upload/store.h"
#include "ngx_module/zone.h"
#include "lib/states.h"


#define AVP_LIST_LIMIT   20
#define AVP_LIST_MAX     100
#define AVP_LIST_WINDOW  10000      /* page x limit; deeper: the cursor's */

/* what a status document looks like: part of its ETag */
#define AVP_STATUS_SHAPE "s1"


static ngx_int_t avp_api_video_read(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx, const avp_pg_stmt_t *stmt, avp_pg_done_pt done);
static void avp_api_video_status_done(avp_pg_op_t *op);
static void avp_api_video_delete_done(avp_pg_op_t *op);
static void avp_api_video_delete_moved(void *data, ngx_int_t rc);


static const avp_pg_stmt_t  avp_stmt_video_list = {
    "video_list", "SELECT * FROM video_list($1, $2, $3, $4, $5)", 5
};

static const avp_pg_stmt_t  avp_stmt_video_get = {
    "video_get", "SELECT * FROM video_get($1, $2, $3)", 3
};

static const avp_pg_stmt_t  avp_stmt_video_status = {
    "video_status", "SELECT * FROM video_status($1, $2, $3)", 3
};

static const avp_pg_stmt_t  avp_stmt_video_metadata = {
    "video_metadata", "SELECT * FROM video_metadata($1, $2, $3)", 3
};

static const avp_pg_stmt_t  avp_stmt_video_delete = {
    "video_delete", "SELECT * FROM video_delete($1, $2, $3, $4, $5)", 5
};


ngx_int_t
avp_api_video_list(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    u_char             buf[AVP_QUERY_WORD_MAX];
    ngx_int_t          rc, page, limit;
    ngx_str_t          status;
    avp_str_t          word;
    avp_pg_op_t       *op;
    avp_video_state_t  state;

    page = 1;
    limit = AVP_LIST_LIMIT;

    if (avp_query_int(r, "page", 1, AVP_LIST_WINDOW, &page) != NGX_OK) {
        return avp_reply_error(r, AVP_ERR_INVALID_FIELD,
                               "`page` must be a whole number from 1.");
    }

    if (avp_query_int(r, "limit", 1, AVP_LIST_MAX, &limit) != NGX_OK) {
        return avp_reply_error(r, AVP_ERR_INVALID_FIELD,
                               "`limit` must be a whole number from 1 to 100.");
    }

    if (page * limit > AVP_LIST_WINDOW) {
        return avp_reply_error(r, AVP_ERR_INVALID_FIELD,
                               "`page` times `limit` must not exceed 10000.");
    }

    rc = avp_query_word(r, "status", buf, &status);

    if (rc == NGX_OK) {
        word.data = (const char *) status.data;
        word.len = status.len;

        if (avp_video_state_parse(word, &state) != 0) {
            rc = NGX_ERROR;
        }
    }

    if (rc == NGX_ERROR) {
        return avp_reply_error(r, AVP_ERR_INVALID_FIELD,
                               "`status` must be uploading, pending, "
                               "processing, completed or failed.");
    }

    op = avp_request_op(r, &avp_stmt_video_list, 0, avp_request_doc_done);

    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) avp_pg_int(op, page);
    (void) avp_pg_int(op, limit);
    (void) (rc == NGX_OK ? avp_pg_str(op, &status) : avp_pg_null(op));

    return avp_request_wait(r, op);
}


ngx_int_t
avp_api_video_get(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    return avp_api_video_read(r, ctx, &avp_stmt_video_get,
                              avp_request_doc_done);
}


ngx_int_t
avp_api_video_metadata(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    return avp_api_video_read(r, ctx, &avp_stmt_video_metadata,
                              avp_request_doc_done);
}


ngx_int_t
avp_api_video_status(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    return avp_api_video_read(r, ctx, &avp_stmt_video_status,
                              avp_api_video_status_done);
}


static ngx_int_t
avp_api_video_read(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx,
    const avp_pg_stmt_t *stmt, avp_pg_done_pt done)
{
    avp_pg_op_t  *op;

    op = avp_request_op(r, stmt, 0, done);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) avp_pg_cstr(op, ctx->ids[0]);

    return avp_request_wait(r, op);
}


/*
 * The document changes with the video's seq, and its addresses with the
 * window and the key of the delivery token.  NGINX's not-modified filter
 * compares (weakly, RFC 9110 13.1.2) and answers 304.
 */

static void
avp_api_video_status_done(avp_pg_op_t *op)
{
    u_char                     buf[96];
    ngx_str_t                  doc, seq, etag;
    ngx_http_request_t        *r;
    avp_delivery_key_t        *key;
    ngx_http_avp_main_conf_t  *amcf;

    r = avp_request_resume(op);

    if (r == NULL || avp_request_result(r, op) != NGX_OK) {
        return;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);
    key = amcf->delivery_keys.elts;

    doc = avp_pg_value(op, 0, "doc");
    seq = avp_pg_value(op, 0, "seq");

    etag.data = buf;
    etag.len = ngx_snprintf(buf, sizeof(buf), "W/\"" AVP_STATUS_SHAPE
                            "-%V-%uxD-%ui\"", &seq,
                            avp_delivery_expiry(ngx_time(),
                                                AVP_DELIVERY_WINDOW),
                            amcf->delivery_keys.nelts
                                ? (ngx_uint_t) key[0].kid : 0)
               - buf;

    avp_request_finish(r, avp_reply_doc(r, NGX_HTTP_OK, &doc, &etag));
}


ngx_int_t
avp_api_video_delete(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_pg_op_t  *op;

    op = avp_request_op(r, &avp_stmt_video_delete, 1,
                        avp_api_video_delete_done);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->own = ngx_palloc(op->pool, AVP_UUID_LEN + 1);
    if (op->own == NULL) {
        ngx_destroy_pool(op->pool);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(op->own, ctx->ids[0], AVP_UUID_LEN + 1);

    (void) avp_pg_cstr(op, op->own);

    return avp_request_wait(r, op);
}


/*
 * Committed: delivery stops in all worker processes, then the renditions
 * leave their place (gc repeats that if it fails), then the client hears.
 */

static void
avp_api_video_delete_done(avp_pg_op_t *op)
{
    ngx_uint_t           committed;
    ngx_http_request_t  *r;

    committed = avp_change_committed(op);

    if (committed) {
        avp_zone_deny_video(op->own);
        (void) avp_change_publish(op);
    }

    r = avp_request_resume(op);

    if (r == NULL) {
        if (committed) {
            (void) avp_store_trash(NULL, op->own, NULL, NULL);
        }

        return;
    }

    if (avp_request_result(r, op) != NGX_OK) {
        return;
    }

    if (avp_store_trash(r, op->own, avp_api_video_delete_moved, r) != NGX_OK) {
        avp_request_finish(r, avp_reply_empty(r, NGX_HTTP_NO_CONTENT));
    }
}


static void
avp_api_video_delete_moved(void *data, ngx_int_t rc)
{
    ngx_http_request_t  *r = data;

    avp_request_finish(r, avp_reply_empty(r, NGX_HTTP_NO_CONTENT));
}
