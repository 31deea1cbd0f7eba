/*
 * What H.264 as MP4 and Matroska store it (ISO 14496-15: lengths, not start
 * codes) says of itself, as far as copying needs to know: whether its
 * parameter sets are of the plain kind, whether a packet is an IDR picture,
 * brings parameter sets of its own or captions.  Nothing is decoded.  Pure;
 * every length is checked against what is there.
 */

#ifndef AVP_MEDIA_KEYS_H
#define AVP_MEDIA_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AVP_SETS_MAX 8 /* parameter sets of a record, of both kinds */

/* An avcC record; the sets point into it. */
typedef struct {
    int            length_size; /* bytes in front of each NAL unit */
    int            nsps, nsets; /* sets[0..nsps-1] are sequence sets */
    const uint8_t *sets[AVP_SETS_MAX];
    size_t         sizes[AVP_SETS_MAX];
} avp_avcc_t;

/* 0, or -1: not such a record, or more sets than anybody needs. */
int avp_avcc_parse(avp_avcc_t *a, const uint8_t *p, size_t size);

/* Of a sequence parameter set (ISO 14496-10 7.3.2.1.1). */
typedef struct {
    int  profile, level; /* profile_idc, level_idc */
    int  chroma;         /* chroma_format_idc: 1 is 4:2:0 */
    int  depth;          /* bits, the greater of luma and chroma */
    bool progressive;    /* frame_mbs_only_flag */
} avp_sps_t;

/* `p` begins with the NAL unit's header.  0 or -1. */
int avp_sps_parse(avp_sps_t *s, const uint8_t *p, size_t size);

/* What a packet holds. */
enum {
    AVP_NAL_IDR = 1,      /* its picture is an IDR picture */
    AVP_NAL_SLICE = 2,    /* or another one */
    AVP_NAL_SETS = 4,     /* parameter sets that are not the record's */
    AVP_NAL_CAPTIONS = 8, /* CEA-608/708 in SEI (ATSC A/53) */
    AVP_NAL_BAD = 16      /* lengths do not add up */
};

/* `whole`: all of the packet is there; else its beginning, whose last unit
 * may be cut off. */
unsigned avp_nal_look(const avp_avcc_t *a, const uint8_t *p, size_t size,
                      bool whole);

#endif
