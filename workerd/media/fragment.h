/*
 * What libavformat's mp4 muxer wrote for one fragment, taken apart just far
 * enough to keep moof and mdat and to know where its first frame ends.  Pure.
 */

#ifndef AVP_MEDIA_FRAGMENT_H
#define AVP_MEDIA_FRAGMENT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t moof;  /* offset of moof; mdat follows it */
    size_t size;  /* of both */
    size_t first; /* from moof to the end of the first sample */
} avp_fragment_t;

/* 0, or -1 when `p` does not hold exactly one moof+mdat of one track. */
int avp_fragment_parse(avp_fragment_t *f, const uint8_t *p, size_t size);

/* Offset of moov; *moov_size is 0 when there is none. */
size_t avp_fragment_moov(const uint8_t *p, size_t size, size_t *moov_size);

#endif
