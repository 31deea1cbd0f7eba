#include "workerd/media/look.h"

#include "workerd/media/demux.h"

#include <libavutil/time.h>

#define LOOK_PACKETS 600 /* a stream may begin long before a key frame */
#define LOOK_SECONDS 2

/* One packet into the decoder, NULL to drain it: 1 when a picture came. */
static int
try_packet(AVCodecContext *codec, const AVPacket *pkt, AVFrame *frame)
{
    if (avcodec_send_packet(codec, pkt) == AVERROR(ENOMEM)) {
        return 0;
    }
    return avcodec_receive_frame(codec, frame) >= 0;
}

int
avp_look(int fd, const avp_job_t *job, bool info, int index, AVFrame *frame,
         avp_fail_t *fail)
{
    avp_fail_t      ignored = { 0 };
    avp_demux_t     d = { 0 };
    AVCodecContext *codec = NULL;
    AVPacket       *pkt = av_packet_alloc();
    int             rc = 0, err = 0;

    if (pkt == NULL || avp_demux_open(&d, fd, job, info, NULL, &ignored)
        || (unsigned)index >= d.ctx->nb_streams)
    {
        goto done;
    }

    codec = avp_decoder_open(job, d.ctx->streams[index]->codecpar,
                             d.ctx->streams[index]->time_base, 1, &ignored);
    if (codec == NULL) {
        goto done;
    }

    avp_demux_select(&d, index);
    d.deadline = av_gettime_relative() + LOOK_SECONDS * INT64_C(1000000);

    for (int i = 0; i < LOOK_PACKETS && rc == 0 && err >= 0; i++) {
        err = avp_demux_read(&d, index, pkt);
        if (err >= 0) {
            rc = try_packet(codec, pkt, frame);
            av_packet_unref(pkt);
        }
    }
    if (rc == 0) {
        rc = try_packet(codec, NULL, frame);
    }

done:

    if (d.io_error) {
        rc = avp_demux_unreadable(&d, fail);
    }
    avcodec_free_context(&codec);
    avp_demux_close(&d);
    av_packet_free(&pkt);
    return rc;
}
