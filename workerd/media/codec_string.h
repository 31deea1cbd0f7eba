/*
 * RFC 6381 codec strings, from what the bitstream itself says: what goes into
 * CODECS of a playlist and `codecs=` of a MIME type.  Pure: bytes in, text
 * out; no libav, so that unit tests need none.  Every function returns 0, or
 * -1 when the bytes do not hold what they should (dst is then "").
 */

#ifndef AVP_MEDIA_CODEC_STRING_H
#define AVP_MEDIA_CODEC_STRING_H

#include <stddef.h>
#include <stdint.h>

#define AVP_CODEC_STRING_MAX 32

/* avc1.PPCCLL; `p` is an avcC record or Annex B with an SPS. */
int avp_codec_string_h264(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                          size_t size);

/* hvc1.PROFILE.COMPAT.TIERLEVEL.CONSTRAINTS (ISO 14496-15, E.3); `p` is an
 * hvcC record or Annex B with an SPS.  -1 also for constraint flags that no
 * profile for video on the web sets, and that do not fit. */
int avp_codec_string_hevc(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                          size_t size);

/* mp4a.40.N; `p` is an AudioSpecificConfig. */
int avp_codec_string_aac(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                         size_t size);

/* av01.P.LLT.DD; `p` is an av1C record or OBUs with a sequence header. */
int avp_codec_string_av1(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                         size_t size);

/* vp09.PP.LL.DD; VP9 has no header beforehand that says its level: it is the
 * lowest of the VP9 level table that holds picture and rate. */
int avp_codec_string_vp9(char dst[AVP_CODEC_STRING_MAX], int profile,
                         int depth, int width, int height, double fps);

#endif
