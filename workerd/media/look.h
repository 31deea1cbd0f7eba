/*
 * A look at a stream's first picture: whether it can be decoded at all, and
 * what it is.  A container says what somebody wrote into it, and libav's
 * read-ahead may have got as far as another size; the passes begin with this
 * picture.
 */

#ifndef AVP_MEDIA_LOOK_H
#define AVP_MEDIA_LOOK_H

#include "workerd/media/fail.h"
#include "workerd/media/job.h"

#include <libavutil/frame.h>

#include <stdbool.h>

/*
 * Opens the source anew (with `info`, reading ahead) and decodes stream
 * `index` up to its first picture, within bounds of packets and time.  1 and
 * the picture in *frame (the caller's to unref), 0 when there is none, or -1
 * with *fail set when the storage failed.
 */
int avp_look(int fd, const avp_job_t *job, bool info, int index,
             AVFrame *frame, avp_fail_t *fail);

#endif
