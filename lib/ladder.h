/*
 * The ladder: which rungs a picture gets, and their caps (DESIGN 8,
 * CONVENTIONS 7).  Pure arithmetic on display sizes (rotation and sample
 * aspect already applied).
 */

#ifndef AVP_LADDER_H
#define AVP_LADDER_H

#include "lib/str.h"

#include <stdbool.h>
#include <stdint.h>

#define AVP_LADDER_MAX 4
#define AVP_RUNG_NAME_MAX 8 /* "2160p" and a NUL and room */

typedef struct {
    char name[AVP_RUNG_NAME_MAX]; /* 480p 720p 1080p 4k, or "240p" */
    int  short_side;              /* nominal: 480, 720, 1080, 2160 */
    int  width, height;           /* encoded size, both even */
} avp_rung_t;

typedef enum { AVP_CODEC_H264, AVP_CODEC_VP9, AVP_CODEC_AV1 } avp_codec_t;

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
 * (square pixels, 1 or more).  `wanted` is a mask of AVP_RUNG_*.  A rung fits
 * when the short side is >= 0.95 x rung or the long side >= 0.95 x 16/9 x
 * rung; a rung within 5 % of the source is the source's own size.  Never
 * upscales; when none of the wanted fits there is one rung at the source's
 * own size, named by its short side ("240p").  Returns the count, 1 or more.
 */
int avp_ladder(avp_rung_t rungs[AVP_LADDER_MAX], int width, int height,
               unsigned wanted);

/* Maxrate of a rung in bit/s (CONVENTIONS 7), `fps` decides <= 30 or above;
 * scaled by area for a rung named after its source. */
int64_t avp_rung_cap(const avp_rung_t *r, avp_codec_t codec, double fps);

/* x264 CRF of a rung. */
int avp_rung_crf(const avp_rung_t *r, avp_codec_t codec);

#endif
