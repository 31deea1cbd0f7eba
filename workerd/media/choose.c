#include "workerd/media/choose.h"

#include "workerd/media/compat.h"
#include "workerd/media/demux.h"
#include "workerd/media/look.h"

#include <libavutil/avstring.h>

#define THUMBNAIL 16 /* times as small as the largest: not the video */

bool
avp_stream_is_encrypted(const AVStream *st)
{
    size_t   size;
    uint32_t tag = st->codecpar->codec_tag;

    return avp_stream_side_data(st, AV_PKT_DATA_ENCRYPTION_INIT_INFO, &size)
           || tag == MKTAG('e', 'n', 'c', 'v') || tag == MKTAG('e', 'n', 'c', 'a')
           || tag == MKTAG('d', 'r', 'm', 's') || tag == MKTAG('d', 'r', 'm', 'i');
}

static bool
is_picture(const AVStream *st)
{
    return st->codecpar->codec_type == AVMEDIA_TYPE_VIDEO
           && (st->disposition & (AV_DISPOSITION_ATTACHED_PIC
                                  | AV_DISPOSITION_TIMED_THUMBNAILS)) == 0;
}

/* How likely a stream is to be the video of its file: first what rules it
 * out, then what speaks against it, then the container's own opinion. */
static int
likelihood(const AVStream *st, const avp_job_t *job, int64_t largest)
{
    const AVCodecParameters *par = st->codecpar;
    int64_t area = (int64_t)par->width * par->height;
    int     known = avformat_index_get_entries_count(st);

    return (avp_decoder_allowed(job, par->codec_id) ? 32 : 0)
           + (avp_stream_is_encrypted(st) ? 0 : 16)
           + (area > 0 ? 8 : 0)
           + (area * THUMBNAIL > largest ? 4 : 0)
           + (st->nb_frames == 1 || known == 1 ? 0 : 2)
           + (st->disposition & AV_DISPOSITION_DEFAULT ? 1 : 0);
}

/* The likeliest stream that is not in `tried`; -1 when there is none. */
static int
likeliest(const AVFormatContext *ctx, const avp_job_t *job, uint64_t tried)
{
    int64_t largest = 0;
    int     best = -1, most = -1;

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        const AVCodecParameters *par = ctx->streams[i]->codecpar;

        if (is_picture(ctx->streams[i])) {
            largest = FFMAX(largest, (int64_t)par->width * par->height);
        }
    }

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        int n = is_picture(ctx->streams[i]) && (tried >> i & 1) == 0
                    ? likelihood(ctx->streams[i], job, largest)
                    : -1;

        if (n > most) {
            most = n;
            best = (int)i;
        }
    }
    return best;
}

/* The first in order of likelihood that shows a picture. */
static int
first_decodable(const AVFormatContext *ctx, int fd, const avp_job_t *job,
                avp_fail_t *fail)
{
    AVFrame *frame = av_frame_alloc();
    uint64_t tried = 0;
    int      i, rc = 0;

    while (frame && rc == 0 && (i = likeliest(ctx, job, tried)) >= 0) {
        tried |= UINT64_C(1) << i;
        if (avp_decoder_allowed(job, ctx->streams[i]->codecpar->codec_id)
            && !avp_stream_is_encrypted(ctx->streams[i])) {
            rc = avp_look(fd, job, !avp_demux_has_header(ctx), i, frame,
                          fail);
        }
    }

    av_frame_free(&frame);
    return rc < 0 ? -1 : rc > 0 ? i : likeliest(ctx, job, 0);
}

int
avp_choose_video(avp_probe_t *p, const AVFormatContext *ctx, int fd,
                 const avp_job_t *job, avp_fail_t *fail)
{
    int                      best = likeliest(ctx, job, 0);
    const AVCodecParameters *par;

    if (best < 0) {
        return avp_fail(fail, AVP_ERR_NO_VIDEO, "no video among %u streams",
                        ctx->nb_streams);
    }
    if (likeliest(ctx, job, UINT64_C(1) << best) >= 0) {
        best = first_decodable(ctx, fd, job, fail);
        if (best < 0) {
            return -1;
        }
    }

    par = ctx->streams[best]->codecpar;
    p->video = best;

    if (avp_stream_is_encrypted(ctx->streams[best])) {
        return avp_fail(fail, AVP_ERR_ENCRYPTED, "the video is encrypted");
    }
    if (par->codec_id == AV_CODEC_ID_NONE) {
        /* MP4 and MOV name every codec, known or not, by its tag */
        return par->codec_tag == 0
                       && av_match_name("mov", ctx->iformat->name)
                   ? avp_fail(fail, AVP_ERR_INVALID_MEDIA,
                              "nothing says how the video is coded")
                   : avp_fail(fail, AVP_ERR_UNSUPPORTED_CODEC,
                              "the video's codec is not known here");
    }
    if (!avp_decoder_allowed(job, par->codec_id)) {
        return avp_fail(fail, AVP_ERR_UNSUPPORTED_CODEC,
                        "%s is not decoded here",
                        avcodec_get_name(par->codec_id));
    }
    return 0;
}
