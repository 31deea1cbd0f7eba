/*
 * The reader of upload bodies: takes a request's body as it arrives
 * (HTTP/1.1 with length or chunked, HTTP/2), shows it to a consumer, and
 * writes the bytes that the consumer puts aside to a sink.
 *
 *   NGINX's body buffer -> feed() -> avp_body_put() -> two halves -> sink
 *
 * There is one copy.  One half fills while the other is written; when both
 * are in use reading stops, and with it the client.  So memory is
 * 2 x AVP_BODY_HALF and NGINX's own client_body_buffer_size at any length.
 *
 * All on the event loop.  An error is answered once, after the write in
 * flight (if any) has come back, and closes the connection: the rest of the
 * body is not read.
 */

#ifndef AVP_BODY_H
#define AVP_BODY_H

#include "ngx_module/avp.h"
#include "ngx_module/upload/sink.h"

#define AVP_BODY_HALF  (192 * 1024)

typedef struct avp_body_s  avp_body_t;

struct avp_body_s {
    ngx_http_request_t  *request;
    avp_sink_t          *sink;
    off_t                limit;       /* of the body; over it: 413 */
    void                *data;        /* the consumer's */

    /* Takes [*p, end) and moves *p.  NGX_OK: all of it; NGX_AGAIN:
     * avp_body_put() had no room, comes again with the rest; NGX_DONE: it
     * called avp_body_fail(). */
    ngx_int_t          (*feed)(void *data, u_char **p, u_char *end);
    /* The body is complete. */
    void               (*end)(void *data);
    /* All bytes are written, after avp_body_flush(). */
    void               (*flushed)(void *data);

    /* private */
    off_t                received;
    ngx_chain_t         *in;
    u_char              *half[2];
    size_t               half_size;
    ngx_uint_t           filling;     /* index of the half that fills */
    size_t               used;        /* bytes in it */
    size_t               pending;     /* bytes in the other, to be written */

    avp_error_t          error;
    const char          *detail;
    ngx_int_t            status;      /* of NGINX's reader, instead of error */

    unsigned             starting:1;  /* within the content handler */
    unsigned             busy:1;      /* the sink works */
    unsigned             opened:1;
    unsigned             stalled:1;   /* reading waits for room */
    unsigned             flushing:1;
    unsigned             failed:1;
    unsigned             finished:1;
};

/* Begins to read; returns what the content handler returns.  request, sink
 * (made with avp_body_written and the body as data), limit and the
 * consumer's members are set, all others zero. */
ngx_int_t avp_body_start(avp_body_t *b);

/* Copies; returns how many bytes found room. */
size_t avp_body_put(avp_body_t *b, const u_char *data, size_t len);

/* The beginning of what was put, while nothing has been written. */
#define avp_body_head(b)  ((b)->half[0])

void avp_body_flush(avp_body_t *b);

/* Answers the error, at once or when the sink is idle; nothing else is
 * called afterwards. */
void avp_body_fail(avp_body_t *b, avp_error_t e, const char *detail);

/* The sink's `done`. */
void avp_body_written(void *data, avp_sink_status_e status);

#endif
