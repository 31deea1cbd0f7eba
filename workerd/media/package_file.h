/*
 * What the packagers of one file (MP4, WebM) share: package.c has the queue
 * in front of the muxer, the locking and the end; the formats say how they
 * differ by an avp_file_format_t.
 */

#ifndef AVP_MEDIA_PACKAGE_FILE_H
#define AVP_MEDIA_PACKAGE_FILE_H

#include "workerd/media/package.h"

#include <libavformat/avformat.h>

typedef struct {
    const char *name;  /* "mp4": format, folder and ending */
    const char *muxer; /* libavformat's */
    const char *mime;  /* without codecs */
    /* Options of the muxer, as av_dict_parse_string() reads them. */
    const char *options;
    int         delay_audio; /* move audio's time stamps by its priming */
} avp_file_format_t;

int avp_file_open(avp_packager_t **p, avp_out_t *out,
                  const avp_file_format_t *format, const char *quality,
                  const avp_stream_spec_t *video,
                  const avp_stream_spec_t *audio);

/* RFC 6381 string of a stream, into `dst` of AVP_CODEC_STRING_MAX; an error
 * for what no packager knows. */
int avp_stream_codec(char *dst, const avp_stream_spec_t *spec);

/* A deep copy, and its end. */
int avp_stream_spec_copy(avp_stream_spec_t *dst, const avp_stream_spec_t *src);
void avp_stream_spec_free(avp_stream_spec_t *spec);

/* A stream of `ctx` as the spec describes it, no codec tag, no metadata but
 * the language. */
int avp_stream_add(AVFormatContext *ctx, const avp_stream_spec_t *spec,
                   AVStream **st);

/* Duration of a packet, from the frame rate where the encoder gave none. */
int64_t avp_packet_duration(const avp_stream_spec_t *spec,
                            const AVPacket *pkt);

#endif
