/*
 * GET /videos/{id}/download: one file as an attachment, by bearer token.
 *
 * The file is sent from here rather than by a redirect into a location that
 * the operator would have to configure: opening it is all there is to do,
 * since ranges, conditions and HEAD are the work of NGINX's filters.
 */

#include "ngx_module/api/api.h"
#include "ngx_module/api/query.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"
#include "lib/storage_key.h"
#include "lib/text.h"


/* a title has at most 255 characters: percent-encoded three bytes each of
 * four, and the plain form */
#define AVP_DISPOSITION_MAX  (255 * 4 * 4 + 128)


typedef struct {
    ngx_str_t  key;
    ngx_str_t  title;
    ngx_str_t  ending;
    ngx_str_t  mime;
} avp_download_t;


static void avp_download_done(avp_pg_op_t *op);
static ngx_int_t avp_download_send(ngx_http_request_t *r, avp_download_t *d);
static avp_error_t avp_download_open(ngx_http_request_t *r, ngx_str_t *key,
    ngx_str_t *path, ngx_open_file_info_t *of);
static ngx_int_t avp_download_headers(ngx_http_request_t *r,
    avp_download_t *d, ngx_open_file_info_t *of);


static const avp_pg_stmt_t  avp_stmt_video_file = {
    "video_file", "SELECT * FROM video_file($1, $2, $3, $4, $5)", 5
};


ngx_int_t
avp_api_video_download(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    u_char        format_buf[AVP_QUERY_WORD_MAX];
    u_char        quality_buf[AVP_QUERY_WORD_MAX];
    ngx_int_t     has_format, has_quality;
    ngx_str_t     format, quality;
    avp_pg_op_t  *op;

    /* which words there are is the database's list; here only that they are
     * words */

    has_format = avp_query_word(r, "format", format_buf, &format);
    has_quality = avp_query_word(r, "quality", quality_buf, &quality);

    if (has_format == NGX_ERROR || has_quality == NGX_ERROR) {
        return avp_reply_error(r, AVP_ERR_INVALID_FIELD,
                               "`format` is mp4, webm or original, `quality` "
                               "one of the video's, such as 720p.");
    }

    op = avp_request_op(r, &avp_stmt_video_file, 0, avp_download_done);

    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) avp_pg_cstr(op, ctx->ids[0]);
    (void) (has_format == NGX_OK ? avp_pg_str(op, &format)
                                 : avp_pg_null(op));
    (void) (has_quality == NGX_OK ? avp_pg_str(op, &quality)
                                  : avp_pg_null(op));

    return avp_request_wait(r, op);
}


static void
avp_download_done(avp_pg_op_t *op)
{
    avp_download_t       d;
    ngx_http_request_t  *r;

    r = avp_request_resume(op);

    if (r == NULL || avp_request_result(r, op) != NGX_OK) {
        return;
    }

    d.key = avp_pg_value(op, 0, "key");
    d.title = avp_pg_value(op, 0, "title");
    d.ending = avp_pg_value(op, 0, "ending");
    d.mime = avp_pg_value(op, 0, "mime");

    avp_request_finish(r, avp_download_send(r, &d));
}


static ngx_int_t
avp_download_send(ngx_http_request_t *r, avp_download_t *d)
{
    ngx_int_t              rc;
    ngx_buf_t             *b;
    ngx_str_t              path;
    avp_error_t            error;
    ngx_chain_t            out;
    ngx_open_file_info_t   of;

    error = avp_download_open(r, &d->key, &path, &of);

    if (error != AVP_ERR_COUNT) {
        return avp_reply_error(r, error, NULL);
    }

    if (avp_download_headers(r, d, &of) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->file = ngx_pcalloc(r->pool, sizeof(ngx_file_t));
    if (b->file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->file_pos = 0;
    b->file_last = of.size;

    b->in_file = b->file_last ? 1 : 0;
    b->last_buf = 1;
    b->last_in_chain = 1;

    b->file->fd = of.fd;
    b->file->name = path;
    b->file->log = r->connection->log;
    b->file->directio = of.is_directio;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* As ngx_http_static_handler() does, without open_file_cache (a file of the
 * same name never changes, but it may be deleted) and never through links.
 * AVP_ERR_COUNT: it is open. */

static avp_error_t
avp_download_open(ngx_http_request_t *r, ngx_str_t *key, ngx_str_t *path,
    ngx_open_file_info_t *of)
{
    u_char                    *p;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    path->len = amcf->storage_root.len + 1 + key->len;
    path->data = ngx_pnalloc(r->pool, path->len + 1);
    if (path->data == NULL) {
        return AVP_ERR_INTERNAL;
    }

    p = ngx_cpymem(path->data, amcf->storage_root.data,
                   amcf->storage_root.len);
    *p++ = '/';
    p = ngx_cpymem(p, key->data, key->len);
    *p = '\0';

    ngx_memzero(of, sizeof(ngx_open_file_info_t));

    of->read_ahead = clcf->read_ahead;
    of->directio = clcf->directio;
#if (NGX_HAVE_OPENAT)
    of->disable_symlinks = NGX_DISABLE_SYMLINKS_ON;
    of->disable_symlinks_from = amcf->storage_root.len;
#endif

    if (ngx_open_cached_file(NULL, path, of, r->pool) != NGX_OK) {

        ngx_log_error(NGX_LOG_ERR, r->connection->log, of->err,
                      "download: %s \"%V\" failed",
                      of->failed ? of->failed : "opening", path);

        return of->err == NGX_ENOENT ? AVP_ERR_NOT_FOUND : AVP_ERR_INTERNAL;
    }

    return of->is_file ? AVP_ERR_COUNT : AVP_ERR_NOT_FOUND;
}


static ngx_int_t
avp_download_headers(ngx_http_request_t *r, avp_download_t *d,
    ngx_open_file_info_t *of)
{
    int         n;
    char        ending[32];
    u_char     *type;
    ngx_str_t   disposition, cache;
    avp_str_t   title = { (const char *) d->title.data, d->title.len };

    /* what is sent later than this function must not be the operation's */

    type = ngx_pstrdup(r->pool, &d->mime);
    disposition.data = ngx_pnalloc(r->pool, AVP_DISPOSITION_MAX);

    if (type == NULL || disposition.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_snprintf((u_char *) ending, sizeof(ending), "%V%Z",
                        &d->ending);
    ending[sizeof(ending) - 1] = '\0';

    n = avp_content_disposition((char *) disposition.data,
                                AVP_DISPOSITION_MAX, title, ending);
    if (n < 0) {
        return NGX_ERROR;
    }

    disposition.len = n;
    ngx_str_set(&cache, "private, no-cache");

    if (avp_reply_header(r, "Content-Disposition", &disposition) == NULL
        || avp_reply_header(r, "Cache-Control", &cache) == NULL)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = of->size;
    r->headers_out.last_modified_time = of->mtime;

    r->headers_out.content_type.data = type;
    r->headers_out.content_type.len = d->mime.len;
    r->headers_out.content_type_len = d->mime.len;
    r->headers_out.content_type_lowcase = NULL;

    r->allow_ranges = 1;

    return ngx_http_set_etag(r);
}
