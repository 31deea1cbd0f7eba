#include "workerd/media/choose.h"

#include "workerd/media/compat.h"
#include "workerd/media/demux.h"

bool
avp_stream_is_encrypted(const AVStream *st)
{
    size_t   size;
    uint32_t tag = st->codecpar->codec_tag;

    return avp_stream_side_data(st, AV_PKT_DATA_ENCRYPTION_INIT_INFO, &size)
           || tag == MKTAG('e', 'n', 'c', 'v') || tag == MKTAG('e', 'n', 'c', 'a')
           || tag == MKTAG('d', 'r', 'm', 's') || tag == MKTAG('d', 'r', 'm', 'i');
}

int
avp_choose_video(avp_probe_t *p, const AVFormatContext *ctx,
                 const avp_job_t *job, avp_fail_t *fail)
{
    int                      best = -1, score = -1;
    const AVCodecParameters *par;

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        const AVStream *st = ctx->streams[i];
        int             s;

        if (st->codecpar->codec_type != AVMEDIA_TYPE_VIDEO
            || (st->disposition & (AV_DISPOSITION_ATTACHED_PIC
                                   | AV_DISPOSITION_TIMED_THUMBNAILS))) {
            continue;
        }

        s = (st->disposition & AV_DISPOSITION_DEFAULT ? 1 : 0)
            + (st->codecpar->width > 0 ? 4 : 0)
            + (avp_decoder_allowed(job, st->codecpar->codec_id) ? 2 : 0);
        if (s > score) {
            score = s;
            best = (int)i;
        }
    }

    if (best < 0) {
        return avp_fail(fail, AVP_ERR_NO_VIDEO, "no video among %u streams",
                        ctx->nb_streams);
    }

    par = ctx->streams[best]->codecpar;
    p->video = best;

    if (avp_stream_is_encrypted(ctx->streams[best])) {
        return avp_fail(fail, AVP_ERR_ENCRYPTED, "the video is encrypted");
    }
    if (!avp_decoder_allowed(job, par->codec_id)) {
        return avp_fail(fail, AVP_ERR_UNSUPPORTED_CODEC,
                        "%s is not decoded here",
                        avcodec_get_name(par->codec_id));
    }
    return 0;
}
