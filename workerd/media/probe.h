/*
 * What the source is: facts, read once before planning, without decoding
 * more than libav does to know codec parameters and, where that may not do,
 * a first picture (look.h).  The plan is made of these facts alone; the
 * passes open the file again and need no second look.
 */

#ifndef AVP_MEDIA_PROBE_H
#define AVP_MEDIA_PROBE_H

#include "lib/sniff.h"
#include "workerd/media/fail.h"
#include "workerd/media/job.h"
#include "workerd/media/rate.h"
#include "workerd/media/survey.h"

#include <libavcodec/avcodec.h>

#define AVP_SOUNDS_MAX 8
#define AVP_TEXTS_MAX 8
#define AVP_PROBE_WARNINGS 8

/* A track of sound or text beside the picture. */
typedef struct {
    int                stream;
    AVCodecParameters *par;
    AVRational         tb;
    char               codec[32];   /* libav's name */
    char               language[8]; /* ISO 639; "" unknown */
    char               label[64];   /* for people; clean UTF-8, never "" */
    bool               is_default;  /* by the container */
    bool               described;   /* sound that tells the picture */
    bool               forced;      /* text for foreign speech only */
    bool               captions;    /* text that tells the sound, too */
} avp_track_t;

typedef struct avp_probe_s {
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
    /* all that are taken, the default sound first: the members above repeat
     * its own */
    avp_track_t        sounds[AVP_SOUNDS_MAX], texts[AVP_TEXTS_MAX];
    int                nsounds, ntexts;

    int        coded_width, coded_height; /* as decoded */
    int        width, height;             /* as displayed, square pixels */
    bool       turned;                    /* rotated by 90 or 270 degrees */
    const char *transform;                /* filters that turn it; "" none */
    avp_rate_t rate;

    AVRational sar;         /* of the pixels; never 0 */
    AVRational codec_sar;   /* as the first frames say; 0 not known */
    bool       hdr;         /* PQ or HLG; colours as the header has them */
    enum AVColorSpace                  matrix;
    enum AVColorPrimaries              primaries;
    enum AVColorTransferCharacteristic trc;
    enum AVColorRange                  range;
    int        peak;        /* its brightest by the container, cd/m2; 0 not */

    avp_survey_t survey; /* of what may be copied */

    char warnings[AVP_PROBE_WARNINGS][160];
    int  nwarnings;
} avp_probe_t;

/* Whether pixels of this shape come from a camera, a disc or a broadcast. */
bool avp_sar_sane(AVRational sar);

/* 0, or -1 with *fail set: the job's end.  Free in either case. */
int avp_probe(avp_probe_t *p, int fd, const avp_job_t *job, avp_fail_t *fail);
void avp_probe_free(avp_probe_t *p);

/* Adds to the warnings, while there is room. */
void avp_probe_warn(avp_probe_t *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
