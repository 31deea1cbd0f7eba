/*
 * Which of a file's streams are taken.  A part of the probe: what is decided
 * here is among the facts, and a stream that is left out is told of.
 */

#ifndef AVP_MEDIA_CHOOSE_H
#define AVP_MEDIA_CHOOSE_H

#include "workerd/media/probe.h"

#include <libavformat/avformat.h>

/* The picture: p->video; or -1 with *fail set, since there is no job without
 * one. */
int avp_choose_video(avp_probe_t *p, const AVFormatContext *ctx,
                     const avp_job_t *job, avp_fail_t *fail);

/* The sound, after the picture: p->audio, -1 when there is none to decode. */
void avp_choose_audio(avp_probe_t *p, AVFormatContext *ctx,
                      const avp_job_t *job);

#endif
