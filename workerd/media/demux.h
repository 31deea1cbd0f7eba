/*
 * The source: an open descriptor read with pread(), so that the threads of a
 * job may each have a demuxer over the same file, and the fences around
 * libavformat (RELIABILITY "libav options"):
 *
 *   - no demuxer opens anything itself: no protocols, io_open refuses;
 *   - only the demuxers of ALLOWED_FORMATS and the decoders these need exist,
 *     and of what a header describes only the parsers of such codecs are run
 *     (t/media/test_whitelists.py watches); bitstream filters are
 *     libavformat's extract_extradata and libavcodec's vp9_superframe_split;
 *   - at most 32 streams, probing within 5 MiB, pictures up to 8192x4320 also
 *     while probing, one deadline for opening, and a stop flag: both are
 *     looked at in every read.
 *
 * The word of the container is lib/sniff's, and libav must agree.
 */

#ifndef AVP_MEDIA_DEMUX_H
#define AVP_MEDIA_DEMUX_H

#include "lib/sniff.h"
#include "workerd/media/fail.h"
#include "workerd/media/job.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include <stdatomic.h>

#define AVP_MAX_PIXELS (INT64_C(8192) * 4320)
#define AVP_MAX_SIDE 16384
#define AVP_MAX_STREAMS 32

typedef struct {
    int              fd;       /* the caller's */
    int64_t          pos, size;
    atomic_bool     *stop;     /* may be NULL */
    int64_t          deadline; /* av_gettime_relative(); 0 none */
    int              io_error; /* errno of a failed pread */
    avp_format_t     format;
    uint32_t         wanted;   /* streams, by number */
    AVIOContext     *pb;
    AVFormatContext *ctx;
} avp_demux_t;

/*
 * Opens the container; `info` also reads ahead for codec parameters
 * (avformat_find_stream_info).  *d must stay where it is until closed.
 * 0, or -1 with *fail set.  Close it in either case.
 */
int avp_demux_open(avp_demux_t *d, int fd, const avp_job_t *job, bool info,
                   atomic_bool *stop, avp_fail_t *fail);
void avp_demux_close(avp_demux_t *d);

/* Whether the container's header describes its streams whole: those without
 * one are known from reading ahead only. */
bool avp_demux_has_header(const AVFormatContext *ctx);

/* Packets of stream `index` only, or of all in a mask. */
void avp_demux_select(avp_demux_t *d, int index);
void avp_demux_select_mask(avp_demux_t *d, uint32_t mask);

/* The next packet of stream `index` (-1: of any that is selected);
 * AVERROR_EOF at the end. */
int avp_demux_read(avp_demux_t *d, int index, AVPacket *pkt);

/* Says that the storage failed, as d->io_error has it; -1. */
int avp_demux_unreadable(const avp_demux_t *d, avp_fail_t *fail);

/* A decoder for a stream, opened.  `threads` frame threads.  NULL with *fail
 * set: not in the whitelist, or it does not open. */
AVCodecContext *avp_decoder_open(const avp_job_t *job,
                                 const AVCodecParameters *par,
                                 AVRational pkt_tb, int threads,
                                 avp_fail_t *fail);

/* Whether the whitelist has a decoder for it. */
bool avp_decoder_allowed(const avp_job_t *job, enum AVCodecID id);

#endif
