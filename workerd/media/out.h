/*
 * The output folder of a media process: one descriptor, and files beneath it
 * by relative names of ours.  Counts every byte written and refuses to go
 * over the plan's budget (AVERROR(EFBIG): output_limit).  Thread-safe.
 */

#ifndef AVP_MEDIA_OUT_H
#define AVP_MEDIA_OUT_H

#include <libavformat/avformat.h>

#include <stdint.h>

typedef struct avp_out_s avp_out_t;

/* Takes over `dirfd`.  budget < 0: none. */
int avp_out_open(avp_out_t **o, int dirfd, int64_t budget);
void avp_out_set_budget(avp_out_t *o, int64_t budget);
int64_t avp_out_bytes(avp_out_t *o);
void avp_out_free(avp_out_t *o);

/* A seekable AVIOContext over a new file (0640; folders are made, 0750).
 * avp_out_close() flushes, fsyncs and reports the first error. */
int avp_out_create(avp_out_t *o, AVIOContext **pb, const char *path);
int avp_out_close(avp_out_t *o, AVIOContext **pb);

/* A whole small file at once: {path}.tmp, fsync, rename; with `gzip` also
 * {path}.gz, made first. */
int avp_out_put(avp_out_t *o, const char *path, const void *data, size_t size,
                int gzip);

/* Lets a muxer read back what it wrote (faststart): sets ctx->io_open and
 * io_close so that `path` resolves beneath the folder. */
void avp_out_attach(avp_out_t *o, AVFormatContext *ctx);

/* fsync of every folder made, children first; at the end of a job. */
int avp_out_sync(avp_out_t *o);

#endif
