/*
 * The file storage outside of an upload's own bytes: taking back what was
 * committed, moving renditions out of the way, looking whether it can be
 * written.  All of it in thread tasks; nothing here is needed for a correct
 * state, only for a tidy one: workerd's gc repeats what fails.
 */

#ifndef AVP_STORE_H
#define AVP_STORE_H

#include "ngx_module/avp.h"

#define AVP_STORE_RANDOM_LEN  32

typedef void (*avp_store_done_pt)(void *data, ngx_int_t rc);

/* 32 hex digits and a NUL. */
ngx_int_t avp_store_random(char dst[AVP_STORE_RANDOM_LEN + 1]);

/*
 * outputs/{video} becomes trash/{video}-{random}; that there is none is fine.
 * With a request `done` is called unless the request goes away meanwhile;
 * without one (NULL) nobody waits.  Returns NGX_OK when started.
 */
ngx_int_t avp_store_trash(ngx_http_request_t *r, const char *video,
    avp_store_done_pt done, void *data);

/* Unlinks originals/{video}/source.{ext} and its folder: the database has
 * refused the upload.  `key` is copied. */
void avp_store_discard(const char *key);

/* Unlinks a file of incoming/ and closes `fd` (-1: none). */
void avp_store_forget(const ngx_str_t *path, ngx_fd_t fd);

/* Whether a file can be made; `done` is called once, NGX_OK or NGX_ERROR.
 * Returns NGX_OK when started. */
ngx_int_t avp_store_probe(avp_store_done_pt done, void *data);

#endif
