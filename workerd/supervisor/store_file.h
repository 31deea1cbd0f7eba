/*
 * The file driver of the storage (docs/architecture.md 1) as workerd sees it:
 * sources are opened, output folders made, checked, dropped and swept.  Every
 * name is resolved from the root's descriptor one component at a time and no
 * symbolic link is followed, so nothing outside of the root is ever touched,
 * whoever made what lies inside.
 *
 * An avp_store_t is read-only after it was opened and may be used by several
 * threads.  Functions that fail return -1 and set errno.
 */

#ifndef AVP_SUPERVISOR_STORE_FILE_H
#define AVP_SUPERVISOR_STORE_FILE_H

#include "lib/storage_key.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct avp_store_s avp_store_t;

/* Opens the root and makes the four folders in it.  NULL: errno. */
avp_store_t *avp_store_open(const char *dir);
void avp_store_free(avp_store_t *s);

/* Whether the root answers and can be written to. */
bool avp_store_healthy(const avp_store_t *s);

/* A descriptor of the source, read only.  EINVAL for a key that is none, or
 * for something that is not a regular file. */
int avp_store_source(const avp_store_t *s, const char *key);

/* Makes outputs/{video}/{prefix} and returns a descriptor of it.  EEXIST
 * when it is there: a prefix is used once. */
int avp_store_prefix(const avp_store_t *s, const char *video,
                     const char *prefix);

/*
 * Whether every file named by `doc` (a checked document of a media process)
 * lies below `prefix_fd`, is a regular file and has the size stated.  0, or
 * -1 with a phrase in *why.
 */
int avp_store_verify(int prefix_fd, const char *doc, const char **why);

/* fsync of outputs/{video} and of outputs: the names are then durable. */
int avp_store_sync(const avp_store_t *s, const char *video);

/*
 * Moves `path` (relative to the root) to trash/{video}-{random}: at once out
 * of everybody's sight, whatever its size.  `name` gets the name in trash.
 * ENOENT when there is nothing.
 */
#define AVP_TRASH_NAME 64
int avp_store_discard(const avp_store_t *s, const char *path,
                      const char *video, char name[AVP_TRASH_NAME]);

/* Unlinks a file or folder of `folder` ("trash", "incoming") with all that
 * is in it.  *bytes (may be NULL) grows by what was freed. */
int avp_store_remove(const avp_store_t *s, const char *folder,
                     const char *name, int64_t *bytes);

/* The newest time (of content or of its name) in the tree, Unix seconds. */
int avp_store_newest(const avp_store_t *s, const char *path, time_t *newest);

/* Calls `cb` for each name in a folder; stops when it returns non-zero and
 * returns that.  An absent folder is an empty one. */
int avp_store_list(const avp_store_t *s, const char *path,
                   int (*cb)(void *ctx, const char *name), void *ctx);

#endif
