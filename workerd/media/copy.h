/*
 * Nodes of streams that are not encoded (nodes.h has the others): packets of
 * the source as they are, and key frames alone for the pictures of a pass that
 * decodes nothing else.
 */

#ifndef AVP_MEDIA_COPY_H
#define AVP_MEDIA_COPY_H

#include "workerd/media/nodes.h"

typedef struct {
    avp_run_t         *run;
    avp_sched_t       *sched;
    bool               audio;
    bool               leads; /* no source node: it starts the clock */
    int                track, item; /* of video */
    int                nsinks;
    avp_sink_t         sinks[AVP_SINKS_MAX];
    avp_stream_spec_t  spec;
    AVCodecParameters *par;
    int64_t           *key_us;   /* for HLS; spec has it */
    int64_t            frames;   /* result */
} avp_copy_t;

int  avp_copy_open(avp_copy_t *c, avp_fail_t *fail);
int  avp_copy_node(void *node, avp_fail_t *fail);
void avp_copy_free(avp_copy_t *c);

/* Fails the pass, and lets the job begin again without copying. */
int avp_copy_broken(avp_run_t *run, avp_fail_t *fail, const char *why);

/* --- key_source.c --------------------------------------------------------- */

typedef struct {
    avp_run_t   *run;
    avp_sched_t *sched;
    avp_queue_t *out;
} avp_key_source_t;

int avp_key_source_node(void *node, avp_fail_t *fail);

#endif
