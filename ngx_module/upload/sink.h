/*
 * Where an upload's bytes go.  Both kinds of upload (form, tus) feed one
 * interface, and both drivers (file, s3) implement it; all end in
 * upload_finish().  Calls are made from the event loop and complete later, by
 * `done`, one at a time per sink.
 */

#ifndef AVP_SINK_H
#define AVP_SINK_H

#include "ngx_module/avp.h"
#include "lib/sniff.h"

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
    const struct avp_sink_ops_s *ops;
};

typedef struct avp_sink_ops_s {
    /* Makes the place; `expected` is a hint, -1 unknown (ENOSPC early). */
    ngx_int_t (*open)(avp_sink_t *s, off_t expected);
    /* `len` bytes at s->offset; the buffer is the sink's until done. */
    ngx_int_t (*write)(avp_sink_t *s, u_char *data, size_t len);
    /* Durable under originals/{video}/source.{ext}: fsync, rename, fsync of
     * the folder; done tells. */
    ngx_int_t (*commit)(avp_sink_t *s, const char *video, avp_format_t f);
    /* Forget everything (also after commit, when the database refused).
     * Safe at any time; runs from a pool cleanup when the client is gone. */
    void      (*abort)(avp_sink_t *s);
} avp_sink_ops_t;

/* A sink for this request by the configured driver; NULL: no memory.  Its
 * pool cleanup aborts it unless it was kept. */
avp_sink_t *avp_sink_create(ngx_http_request_t *r, avp_sink_done_pt done,
    void *data);
/* The database has the row: the cleanup leaves the bytes alone. */
void avp_sink_keep(avp_sink_t *s);


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
 * The one end of every upload: commit the sink, video_create, keep, answer
 * 201 with Location, publish, wake a worker.  The database call runs to its
 * end also when the client is gone.  Returns NGX_DONE.
 */
ngx_int_t avp_upload_finish(ngx_http_request_t *r, avp_sink_t *sink,
    avp_upload_t *u);

#endif
