/*
 * What container the first bytes of a file belong to.  Advisory at upload
 * (an early 415); the media process asks libav and then this, so both use
 * the same word for ALLOWED_FORMATS.
 */

#ifndef AVP_SNIFF_H
#define AVP_SNIFF_H

#include "lib/str.h"

#include <stdbool.h>
#include <stdint.h>

#define AVP_SNIFF_MIN 4096 /* bytes that always suffice; fewer at end of file */

/* ALLOWED_FORMATS' words; a mask has bit (1 << word). */
typedef enum {
    AVP_FMT_MP4, AVP_FMT_MOV, AVP_FMT_AVI, AVP_FMT_MKV, AVP_FMT_WEBM,
    AVP_FMT_TS, AVP_FMT_MPG, AVP_FMT_FLV, AVP_FMT_OGG, AVP_FMT_WMV,
    AVP_FMT_3GP, AVP_FMT_MXF,
    AVP_FMT_COUNT,
    AVP_FMT_UNKNOWN = AVP_FMT_COUNT
} avp_format_t;

#define AVP_FMT_DEFAULT                                                        \
    ((1u << AVP_FMT_MP4) | (1u << AVP_FMT_MOV) | (1u << AVP_FMT_AVI)           \
     | (1u << AVP_FMT_MKV) | (1u << AVP_FMT_WEBM))

/* `data` is the beginning of the file.  mp4 and mov differ by ftyp's major
 * brand (none, as in old QuickTime: mov), mkv and webm by EBML's DocType. */
avp_format_t avp_sniff(const uint8_t *data, size_t n);

const char *avp_format_name(avp_format_t f);   /* "mp4"; "unknown" */
avp_format_t avp_format_by_name(avp_str_t word);
const char *avp_format_mime(avp_format_t f);   /* "video/mp4", ... */

/* "mp4,mov, avi" -> mask; 0 for an unknown word or an empty list. */
uint32_t avp_formats_parse(avp_str_t list);

#endif
