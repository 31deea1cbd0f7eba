/*
 * The ladder: which rungs a picture gets, and their caps (DESIGN 8,
 * CONVENTIONS 7).  Pure arithmetic on display sizes (rotation and sample
 * aspect already applied) and on what a profile says of its rungs.
 */

#ifndef AVP_LADDER_H
#define AVP_LADDER_H

#include "lib/str.h"

#include <stdbool.h>
#include <stdint.h>

#define AVP_LADDER_MAX 8
#define AVP_RUNG_NAME_MAX 8 /* "2160p" and a NUL and room */

typedef enum {
    AVP_CODEC_H264,
    AVP_CODEC_VP9,
    AVP_CODEC_AV1,
    AVP_CODEC_HEVC
} avp_codec_t;

#define AVP_CODEC_COUNT 4

/* Constant quality, and the most bits a second it may take up to 30 frames a
 * second and above. */
typedef struct {
    int     crf;
    int64_t maxrate, maxrate_high;
} avp_rung_rate_t;

/* A rung as a profile has it (lib/profile.h). */
typedef struct {
    char            name[AVP_RUNG_NAME_MAX];
    int             short_side, long_side; /* the box it fits into */
    int             max_fps;               /* faster ones are divided */
    bool            mp4, webm, hls;
    bool            hevc;                  /* in HLS, beside H.264 */
    avp_rung_rate_t rate[AVP_CODEC_COUNT];
} avp_rung_spec_t;

/* A rung of one picture. */
typedef struct {
    char   name[AVP_RUNG_NAME_MAX]; /* its spec's, or "240p" of the source */
    int    short_side;              /* nominal */
    int    width, height;           /* encoded size, both even */
    double scale;                   /* of the spec's bitrates, 0 to 1 */
    const avp_rung_spec_t *spec;    /* the profile's */
} avp_rung_t;

/* A bit per rung of the source's QUALITY_LEVELS, lowest first. */
enum {
    AVP_RUNG_480P = 1,
    AVP_RUNG_720P = 2,
    AVP_RUNG_1080P = 4,
    AVP_RUNG_4K = 8,
    AVP_RUNG_ALL = 15
};

/* 0 and *bit set for "480p", "720p", "1080p", "4k"; -1 otherwise. */
int avp_rung_by_name(avp_str_t name, unsigned *bit);

/*
 * Fills rungs[], lowest first, for a picture displayed at width x height
 * (square pixels, 1 or more), from `n` specs in ascending order, 1 or more.
 * A rung fits when the picture's short side is >= 0.95 x the rung's or its
 * long side >= 0.95 x the rung's long side; a rung within 5 % of the source
 * is the source's own size.  Never upscales; when none fits there is one rung
 * at the source's own size, named by its short side ("240p"), with the
 * formats and, by its area, the bitrates of the lowest.  Returns the count, 1
 * or more; the specs must outlive the rungs.
 */
int avp_ladder(avp_rung_t rungs[AVP_LADDER_MAX], int width, int height,
               const avp_rung_spec_t *specs, int n);

/* Maxrate of a rung in bit/s; `fps` decides <= 30 or above. */
int64_t avp_rung_cap(const avp_rung_t *r, avp_codec_t codec, double fps);

#endif
