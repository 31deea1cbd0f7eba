/*
 * Where an upload's bytes go.  Both kinds of upload (form, tus) feed one
 * interface, and both drivers (file, s3) implement it; all end in
 * avp_upload_finish().  Calls are made from the event loop and complete later,
 * never from inside, by `done`, one at a time per sink.  When the request
 * goes away meanwhile `done` is not called.
 */

#ifndef AVP_SINK_H
#define AVP_SINK_H

#include "ngx_module/avp.h"
#include "lib/sniff.h"
#include "lib/storage_key.h"

typedef struct avp_sink_s  avp_sink_t;

typedef enum {
    AVP_SINK_OK = 0,
    AVP_SINK_FULL,          /* 507 */
    AVP_SINK_BUSY,          /* thread queue full: 503 */
    AVP_SINK_ERROR          /* 500, logged */
} avp_sink_status_e;

typedef void (*avp_sink_done_pt)(void *data, avp_sink_status_e status);

struct avp_sink_s {
    ngx_http_request_t  *request;
    avp_sink_done_pt     done;
    void                *data;
    off_t                offset;           /* bytes written so far */
    char                 key[AVP_KEY_MAX]; /* of the original, by commit */
    unsigned             kept:1;
    const struct avp_sink_ops_s *ops;
};

/* The first three return AVP_SINK_OK when started: `done` tells the rest. */
typedef struct avp_sink_ops_s {
    const char *bucket;

    /* Makes the place; `expected` is a hint, -1 unknown (FULL early). */
    avp_sink_status_e (*open)(avp_sink_t *s, off_t expected);
    /* `len` bytes at s->offset; the buffer is the sink's until done. */
    avp_sink_status_e (*write)(avp_sink_t *s, u_char *data, size_t len);
    /* Durable under originals/{video}/source.{ext}. */
    avp_sink_status_e (*commit)(avp_sink_t *s, const char *video,
        avp_format_t f);
    /* Forget everything, also after commit, unless it was kept.  Not while
     * one of the others runs; twice is fine. */
    void (*abort)(avp_sink_t *s);
    /* Takes back a committed and kept original: the database refused it. */
    void (*discard)(const char *key);
} avp_sink_ops_t;

/* A sink for this request by the configured driver; NULL: no memory.  Its
 * pool cleanup aborts it unless it was kept. */
avp_sink_t *avp_sink_create(ngx_http_request_t *r, avp_sink_done_pt done,
    void *data);

/* From now on the database decides: abort() and the cleanup leave the bytes
 * alone. */
void avp_sink_keep(avp_sink_t *s);

/* What a client hears of it. */
avp_error_t avp_sink_error(avp_sink_status_e status);

/* sink_file.c */
avp_sink_t *avp_sink_file_create(ngx_http_request_t *r);


/* What an upload turned out to be. */
typedef struct {
    char         video[AVP_UUID_LEN + 1];
    ngx_str_t    title;
    ngx_str_t    description;   /* data NULL: none */
    ngx_str_t    metadata;      /* JSON object text; data NULL: none */
    ngx_str_t    filename;      /* display name */
    ngx_int_t    priority;
    avp_format_t format;
    off_t        size;
} avp_upload_t;

/*
 * The one end of every upload: commit the sink, video_create, answer 201 with
 * Location, publish, wake a worker.  The database call runs to its end also
 * when the client is gone.  The sink must be idle and hold all bytes; `u`
 * lives as long as the request.
 */
void avp_upload_finish(ngx_http_request_t *r, avp_sink_t *sink,
    avp_upload_t *u);

#endif
