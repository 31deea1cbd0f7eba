#include "ngx_module/upload/body.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/request.h"
#include "ngx_module/zone.h"


static void avp_body_post_handler(ngx_http_request_t *r);
static void avp_body_read_handler(ngx_http_request_t *r);
static void avp_body_read(avp_body_t *b);
static ngx_int_t avp_body_feed(avp_body_t *b);
static ngx_int_t avp_body_take(avp_body_t *b);
static ngx_int_t avp_body_room(avp_body_t *b);
static void avp_body_hand_over(avp_body_t *b);
static void avp_body_pump(avp_body_t *b);
static void avp_body_settle(avp_body_t *b);
static void avp_body_answer(avp_body_t *b);
static void avp_body_cleanup(void *data);


ngx_int_t
avp_body_start(avp_body_t *b)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;
    ngx_http_cleanup_t  *cln;
    ngx_http_avp_ctx_t  *ctx;

    r = b->request;
    ctx = avp_request_ctx(r);

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = avp_body_cleanup;
    cln->data = b;

    ctx->data = b;

    b->half_size = AVP_BODY_HALF;

    if (r->headers_in.content_length_n >= 0
        && r->headers_in.content_length_n < (off_t) b->half_size)
    {
        b->half_size = ngx_max(r->headers_in.content_length_n, 1);
    }

    /* "Expect: 100-continue" is answered in here, after all early checks */

    r->request_body_no_buffering = 1;
    r->request_body_in_file_only = 0;
    r->request_body_in_single_buf = 0;

    b->starting = 1;
    ctx->held = 1;

    rc = ngx_http_read_client_request_body(r, avp_body_post_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ctx->held = 0;
        return rc;
    }

    b->starting = 0;

    return NGX_DONE;
}


static void
avp_body_post_handler(ngx_http_request_t *r)
{
    r->read_event_handler = avp_body_read_handler;

    avp_body_read_handler(r);
}


static void
avp_body_read_handler(ngx_http_request_t *r)
{
    avp_body_t  *b = avp_request_ctx(r)->data;

    if (b->finished || r->read_event_handler != avp_body_read_handler) {
        return;
    }

    avp_body_read(b);
    avp_body_settle(b);
}


static void
avp_body_read(avp_body_t *b)
{
    ngx_int_t                 rc;
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = b->request;
    rb = r->request_body;

    if (rb == NULL) {
        /* discarded before an internal redirect brought the request here */
        avp_body_fail(b, AVP_ERR_BAD_REQUEST, NULL);
        return;
    }

    while (!b->failed) {

        if (b->in == NULL && rb->bufs) {
            if (avp_body_take(b) != NGX_OK) {
                return;
            }
        }

        if (b->in) {
            rc = avp_body_feed(b);

            if (rc == NGX_AGAIN) {
                b->stalled = 1;

                /* it is not the client who is slow now */

                if (r->connection->read->timer_set) {
                    ngx_del_timer(r->connection->read);
                }
            }

            if (rc != NGX_OK) {
                return;
            }

            continue;
        }

        if (!r->reading_body) {
            r->read_event_handler = ngx_http_block_reading;
            b->end(b->data);
            return;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            b->failed = 1;
            b->status = rc;
            return;
        }

        if (rc == NGX_AGAIN && rb->bufs == NULL) {
            return;
        }
    }
}


/* Takes what NGINX has read; what is over the limit is not looked at. */

static ngx_int_t
avp_body_take(avp_body_t *b)
{
    ngx_chain_t              *cl;
    ngx_http_request_body_t  *rb = b->request->request_body;

    b->in = rb->bufs;
    rb->bufs = NULL;

    for (cl = b->in; cl; cl = cl->next) {

        if (cl->buf->in_file) {
            /* somebody else (mirror) had the body read before */
            ngx_log_error(NGX_LOG_ERR, b->request->connection->log, 0,
                          "upload: the body was buffered to a file by "
                          "another module");
            avp_body_fail(b, AVP_ERR_INTERNAL, NULL);
            return NGX_DONE;
        }

        b->received += ngx_buf_size(cl->buf);
    }

    if (b->received > b->limit) {
        avp_body_fail(b, AVP_ERR_TOO_LARGE, NULL);
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_int_t
avp_body_feed(avp_body_t *b)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    while (b->in) {
        cl = b->in;

        rc = b->feed(b->data, &cl->buf->pos, cl->buf->last);
        if (rc != NGX_OK) {
            return rc;
        }

        /* used up: NGINX reads into it again */

        cl->buf->pos = cl->buf->last;

        b->in = cl->next;
        ngx_free_chain(b->request->pool, cl);
    }

    return NGX_OK;
}


size_t
avp_body_put(avp_body_t *b, const u_char *data, size_t len)
{
    size_t  n, taken;

    taken = 0;

    while (taken < len && !b->failed) {

        if (b->used == b->half_size) {
            break;
        }

        if (b->half[b->filling] == NULL && avp_body_room(b) != NGX_OK) {
            avp_body_fail(b, AVP_ERR_INTERNAL, NULL);
            break;
        }

        n = ngx_min(len - taken, b->half_size - b->used);

        ngx_memcpy(b->half[b->filling] + b->used, data + taken, n);

        b->used += n;
        taken += n;

        if (b->used == b->half_size && b->pending == 0) {
            avp_body_hand_over(b);
        }
    }

    return taken;
}


static ngx_int_t
avp_body_room(avp_body_t *b)
{
    b->half[b->filling] = ngx_palloc(b->request->pool, b->half_size);

    return b->half[b->filling] ? NGX_OK : NGX_ERROR;
}


static void
avp_body_hand_over(avp_body_t *b)
{
    b->pending = b->used;
    b->used = 0;
    b->filling ^= 1;

    avp_body_pump(b);
}


/* Gives the sink its next step. */

static void
avp_body_pump(avp_body_t *b)
{
    avp_sink_t         *s = b->sink;
    avp_sink_status_e   status;

    if (b->busy || b->failed || b->pending == 0) {
        return;
    }

    if (!b->opened) {
        status = s->ops->open(s, b->request->headers_in.content_length_n);

    } else {
        status = s->ops->write(s, b->half[b->filling ^ 1], b->pending);
    }

    if (status != AVP_SINK_OK) {
        avp_body_fail(b, avp_sink_error(status), NULL);
        return;
    }

    b->busy = 1;
}


void
avp_body_written(void *data, avp_sink_status_e status)
{
    avp_body_t  *b = data;

    b->busy = 0;

    if (status != AVP_SINK_OK) {
        avp_body_fail(b, avp_sink_error(status), NULL);
    }

    if (!b->failed) {

        if (b->opened) {
            b->pending = 0;
        }

        b->opened = 1;

        if (b->pending == 0 && b->used
            && (b->used == b->half_size || b->flushing))
        {
            avp_body_hand_over(b);

        } else {
            avp_body_pump(b);
        }

        if (b->stalled && b->used < b->half_size) {
            b->stalled = 0;
            avp_body_read(b);
        }
    }

    avp_body_settle(b);
}


void
avp_body_flush(avp_body_t *b)
{
    b->flushing = 1;

    if (b->used && b->pending == 0) {
        avp_body_hand_over(b);
    }
}


void
avp_body_fail(avp_body_t *b, avp_error_t e, const char *detail)
{
    if (b->failed) {
        return;
    }

    b->failed = 1;
    b->error = e;
    b->detail = detail;
}


/*
 * The last thing that every event does: what ends the request, and with it
 * `b`, happens here and nowhere else.
 */

static void
avp_body_settle(avp_body_t *b)
{
    if (b->busy) {
        return;
    }

    if (b->failed) {
        avp_body_answer(b);
        return;
    }

    if (b->flushing && b->used == 0 && b->pending == 0) {
        b->flushing = 0;
        b->finished = 1;
        b->flushed(b->data);
    }
}


static void
avp_body_answer(avp_body_t *b)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    r = b->request;

    avp_zone_count(AVP_M_upload_aborts, 1);

    b->finished = 1;

    /* the client may take its time to read the answer: not with our file and
     * memory */

    b->sink->ops->abort(b->sink);

    for (i = 0; i < 2; i++) {
        if (b->half[i]) {
            (void) ngx_pfree(r->pool, b->half[i]);
            b->half[i] = NULL;
        }
    }

    if (b->status) {
        rc = b->status;

    } else if (r->reading_body) {
        rc = avp_reply_error_close(r, b->error, b->detail);

    } else {
        rc = avp_reply_error(r, b->error, b->detail);
    }

    if (b->starting) {
        /* the content handler returns NGX_DONE yet */
        avp_request_ctx(r)->held = 0;
        ngx_http_finalize_request(r, rc);
        return;
    }

    avp_request_finish(r, rc);
}


static void
avp_body_cleanup(void *data)
{
    avp_body_t  *b = data;

    if (!b->finished) {
        b->finished = 1;
        avp_zone_count(AVP_M_upload_aborts, 1);
    }
}
