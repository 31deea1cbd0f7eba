/*
 * What the source is: facts, read once before planning, without decoding
 * more than libav does to know codec parameters.  The plan is made of these
 * facts alone; the passes open the file again and need no second look.
 */

#ifndef AVP_MEDIA_PROBE_H
#define AVP_MEDIA_PROBE_H

#include "lib/sniff.h"
#include "workerd/media/fail.h"
#include "workerd/media/job.h"
#include "workerd/media/rate.h"

#include <libavcodec/avcodec.h>

typedef struct {
    avp_format_t format;
    int64_t      size;          /* bytes of the file */
    double       duration;      /* s, as claimed or scanned; 0 unknown */
    bool         sure;          /* duration was seen, not only claimed */
    double       claimed;       /* s, by the container's header; 0 not */
    int64_t      frames;        /* expected, 0 unknown */
    bool         frames_exact;  /* counted in an index or by a whole scan */
    int64_t      bitrate;       /* of the file, bit/s */
    int64_t      video_bitrate; /* of its video, bit/s; 0 unknown */
    bool         no_header;     /* every pass must read ahead again */
    bool         seekable;      /* an index was there: key frames by seek */
    bool         truncated;     /* less of the file than it says itself */

    int                video, audio; /* stream numbers; audio -1: none */
    AVCodecParameters *vpar, *apar;
    AVRational         vtb, atb;
    char               vcodec[32], acodec[32]; /* libav's names */
    char               language[8];

    int        coded_width, coded_height; /* as decoded */
    int        width, height;             /* as displayed, square pixels */
    bool       turned;                    /* rotated by 90 or 270 degrees */
    const char *transform;                /* filters that turn it; "" none */
    avp_rate_t rate;

    bool       hdr;         /* PQ or HLG */
    bool       alpha;
    enum AVColorSpace              matrix;    /* resolved: never unspecified */
    enum AVColorPrimaries          primaries;
    enum AVColorTransferCharacteristic trc;
    enum AVColorRange              range;

    char warning[160]; /* "" none */
} avp_probe_t;

/* 0, or -1 with *fail set: the job's end.  Free in either case. */
int avp_probe(avp_probe_t *p, int fd, const avp_job_t *job, avp_fail_t *fail);
void avp_probe_free(avp_probe_t *p);

#endif
