/*
 * The output folder of a media process: one descriptor, and files beneath it
 * by relative names of ours (never "..", never absolute).  Counts the bytes
 * the files take and refuses to go over the plan's budget (AVERROR(EFBIG):
 * output_limit).  Any thread may call; one AVIOContext belongs to one thread
 * at a time.  Errors are AVERRORs; ENOSPC, EDQUOT and EFBIG come through as
 * themselves, also where a muxer would have swallowed them.
 */

#ifndef AVP_MEDIA_OUT_H
#define AVP_MEDIA_OUT_H

#include <libavformat/avformat.h>

#include <stdint.h>

typedef struct avp_out_s avp_out_t;

/* Takes over `dirfd`, also when it fails.  budget < 0: none. */
int avp_out_open(avp_out_t **o, int dirfd, int64_t budget);
void avp_out_set_budget(avp_out_t *o, int64_t budget);
int64_t avp_out_bytes(avp_out_t *o);
void avp_out_free(avp_out_t *o);

/* A seekable AVIOContext over a new file (0640; folders are made, 0750).
 * avp_out_close() flushes, fsyncs and reports the first error of the file. */
int avp_out_create(avp_out_t *o, AVIOContext **pb, const char *path);
int avp_out_close(avp_out_t *o, AVIOContext **pb);

/* Like close, but renames the file to `path` and does not wait for the disk:
 * for segments on the way to a player.  avp_out_fsync() them later. */
int avp_out_publish(avp_out_t *o, AVIOContext **pb, const char *path);

/* Closes and removes what is there of it. */
void avp_out_abandon(avp_out_t *o, AVIOContext **pb);

/* A whole small file at once: {path}.tmp, fsync, rename. */
enum {
    AVP_OUT_GZIP = 1,  /* also {path}.gz, made first */
    AVP_OUT_NOSYNC = 2 /* no fsync: it will be replaced, or synced, later */
};
int avp_out_put(avp_out_t *o, const char *path, const void *data, size_t size,
                unsigned flags);

/* Size of a file, or an AVERROR. */
int64_t avp_out_size(avp_out_t *o, const char *path);

/* fsync of one file by name. */
int avp_out_fsync(avp_out_t *o, const char *path);

/* Lets a muxer read back what it wrote (faststart, Cues): sets ctx->opaque,
 * io_open and io_close2 so that ctx->url resolves beneath the folder. */
void avp_out_attach(avp_out_t *o, AVFormatContext *ctx);

/* Removes every file that was published here, to begin again; none may be
 * open. */
int avp_out_clear(avp_out_t *o);

/* fsync of every folder made, children first; at the end of a job. */
int avp_out_sync(avp_out_t *o);

#endif
