/*
 * Which of a file's streams are taken.  A part of the probe: what is decided
 * here is among the facts, and a stream that is left out is told of.
 */

#ifndef AVP_MEDIA_CHOOSE_H
#define AVP_MEDIA_CHOOSE_H

#include "workerd/media/probe.h"

#include <libavformat/avformat.h>

/*
 * The picture: p->video; or -1 with *fail set, since there is no job without
 * one.  Of several streams the first that can really be decoded, the likelier
 * ones first: a thumbnail or a still is not the video of a file that has
 * one.  `fd` is the source, for a look at them.
 */
int avp_choose_video(avp_probe_t *p, const AVFormatContext *ctx, int fd,
                     const avp_job_t *job, avp_fail_t *fail);

/* tracks.c, after the picture.  0, or -1 without memory. */

/* The sounds that can be decoded, the default one first: p->sounds, and the
 * members that repeat it. */
int avp_choose_audio(avp_probe_t *p, AVFormatContext *ctx,
                     const avp_job_t *job);
/* Text subtitles, and caption tracks: p->texts. */
int avp_choose_texts(avp_probe_t *p, const AVFormatContext *ctx,
                     const avp_job_t *job);

bool avp_stream_is_encrypted(const AVStream *st);

#endif
