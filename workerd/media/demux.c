#include "workerd/media/demux.h"

#include <libavutil/avstring.h>
#include <libavutil/opt.h>
#include <libavutil/time.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IO_BUFFER (64 * 1024)
#define PROBE_SIZE (5 * 1024 * 1024)
#define OPEN_SECONDS 10

/* libav reports more streams than max_streams as "no memory", as it reports
 * box bombs: so while opening it may find more than we take, and the count
 * tells. */
#define OPEN_STREAMS 1000

/* What each word of ALLOWED_FORMATS means to libav: its demuxer, and decoders
 * that come with it beyond the common ones. */
static const struct {
    const char *demuxer;
    const char *codecs;
} formats[AVP_FMT_COUNT] = {
    [AVP_FMT_MP4] = { "mov", "" },
    [AVP_FMT_MOV] = { "mov", "" },
    [AVP_FMT_AVI] = { "avi", "" },
    [AVP_FMT_MKV] = { "matroska", "" },
    [AVP_FMT_WEBM] = { "matroska", "" },
    [AVP_FMT_TS] = { "mpegts", ",mpeg1video,mp2,mp2float,vc1" },
    [AVP_FMT_MPG] = { "mpeg", ",mpeg1video,mp2,mp2float" },
    [AVP_FMT_FLV] = { "flv", ",flv,vp6,vp6a,vp6f,adpcm_swf" },
    [AVP_FMT_OGG] = { "ogg", ",theora" },
    [AVP_FMT_WMV] = { "asf", ",msmpeg4v1,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,"
                             "vc1,wmav1,wmav2,wmapro" },
    [AVP_FMT_3GP] = { "mov", ",h263,amrnb,amrwb" },
    [AVP_FMT_MXF] = { "mxf", ",mp2,mp2float" },
};

static const char common_codecs[] =
    "h264,hevc,vp8,vp9,libdav1d,mpeg4,mpeg2video,mjpeg,prores,dnxhd,"
    "dvvideo,aac,mp3,mp3float,opus,vorbis,ac3,eac3,flac,alac,"
    "pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,"
    "pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,"
    "pcm_bluray,pcm_dvd,pcm_s16le_planar,pcm_s24le_planar,pcm_s32le_planar,"
    "subrip,srt,ass,ssa,mov_text,webvtt,cc_dec";

/* Both lists for a job; the sizes hold all of the table above. */
static void
whitelists(const avp_job_t *job, char fmt[256], char codecs[1024])
{
    fmt[0] = '\0';
    av_strlcpy(codecs, common_codecs, 1024);

    for (int i = 0; i < AVP_FMT_COUNT; i++) {
        if ((job->allowed & (1u << i)) == 0) {
            continue;
        }
        if (fmt[0]) {
            av_strlcat(fmt, ",", 256);
        }
        av_strlcat(fmt, formats[i].demuxer, 256);
        av_strlcat(codecs, formats[i].codecs, 1024);
    }
}

static int
read_packet(void *opaque, uint8_t *buf, int size)
{
    avp_demux_t *d = opaque;
    ssize_t      n;

    if (d->stop && atomic_load_explicit(d->stop, memory_order_relaxed)) {
        return AVERROR_EXIT;
    }
    if (d->deadline && av_gettime_relative() > d->deadline) {
        return AVERROR(ETIMEDOUT);
    }

    do {
        n = pread(d->fd, buf, (size_t)size, d->pos);
    } while (n < 0 && errno == EINTR);

    if (n < 0) {
        d->io_error = errno;
        return AVERROR(errno);
    }
    if (n == 0) {
        return AVERROR_EOF;
    }

    d->pos += n;
    return (int)n;
}

static int64_t
seek_source(void *opaque, int64_t offset, int whence)
{
    avp_demux_t *d = opaque;

    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return d->size;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += d->pos;
        break;
    case SEEK_END:
        offset += d->size;
        break;
    default:
        return AVERROR(EINVAL);
    }

    if (offset < 0) {
        return AVERROR(EINVAL);
    }
    return d->pos = offset;
}

static int
interrupted(void *opaque)
{
    avp_demux_t *d = opaque;

    return (d->stop && atomic_load_explicit(d->stop, memory_order_relaxed))
           || (d->deadline && av_gettime_relative() > d->deadline);
}

static int
refuse_open(AVFormatContext *s, AVIOContext **pb, const char *url, int flags,
            AVDictionary **options)
{
    (void) s;
    (void) url;
    (void) flags;
    (void) options;
    *pb = NULL;
    return AVERROR(EPERM);
}

/* Something that libav knows but we do not take (a playlist, a picture, a
 * sound file, an archive's neighbour) or plain text: not damaged, just not a
 * video container. */
static bool
is_something_else(const uint8_t *head, size_t n)
{
    uint8_t     buf[AVP_SNIFF_MIN + AVPROBE_PADDING_SIZE] = { 0 };
    AVProbeData pd = { "", buf, (int)n, NULL };
    int         score = 0;
    size_t      i;

    memcpy(buf, head, n);

    for (i = 0; i < n; i++) {
        if (head[i] < 9 || (head[i] > 13 && head[i] < 32)) {
            break;
        }
    }
    if (n > 16 && i == n) {
        return true;
    }
    if (n >= 4
        && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "%PDF", 4) == 0
            || memcmp(head, "\177ELF", 4) == 0 || memcmp(head, "MZ", 2) == 0)) {
        return true;
    }

    av_probe_input_format3(&pd, 1, &score);
    return score > AVPROBE_SCORE_EXTENSION;
}

/* The container's word, from the first bytes. */
static int
sniff(avp_demux_t *d, const avp_job_t *job, avp_fail_t *fail)
{
    uint8_t head[AVP_SNIFF_MIN];
    ssize_t n = pread(d->fd, head, sizeof(head), 0);

    if (n < 0) {
        return avp_fail(fail, AVP_ERR_STORAGE_ERROR, "reading the source: %s",
                        strerror(errno));
    }

    d->format = avp_sniff(head, (size_t)n);
    if (d->format == AVP_FMT_UNKNOWN) {
        return is_something_else(head, (size_t)n)
                   ? avp_fail(fail, AVP_ERR_UNSUPPORTED_FORMAT,
                              "this is not a video container")
                   : avp_fail(fail, AVP_ERR_INVALID_MEDIA,
                              "the first bytes are no container's");
    }
    if ((job->allowed & (1u << d->format)) == 0) {
        return avp_fail(fail, AVP_ERR_UNSUPPORTED_FORMAT,
                        "%s is not among the allowed formats",
                        avp_format_name(d->format));
    }
    return 0;
}

static int
check_streams(const AVFormatContext *ctx, avp_fail_t *fail)
{
    if (ctx->nb_streams > AVP_MAX_STREAMS) {
        return avp_fail(fail, AVP_ERR_TOO_MANY_STREAMS, "%u streams",
                        ctx->nb_streams);
    }

    for (unsigned i = 0; i < ctx->nb_streams; i++) {
        const AVCodecParameters *par = ctx->streams[i]->codecpar;

        if (par->codec_type == AVMEDIA_TYPE_VIDEO
            && (par->width > AVP_MAX_SIDE || par->height > AVP_MAX_SIDE
                || (int64_t)par->width * par->height > AVP_MAX_PIXELS)) {
            return avp_fail(fail, AVP_ERR_RESOLUTION_TOO_LARGE, "%dx%d",
                            par->width, par->height);
        }
    }
    return 0;
}

int
avp_demux_unreadable(const avp_demux_t *d, avp_fail_t *fail)
{
    return avp_fail(fail, AVP_ERR_STORAGE_ERROR, "reading the source: %s",
                    strerror(d->io_error));
}

static int
open_failed(const avp_demux_t *d, int rc, avp_fail_t *fail)
{
    if (d->io_error) {
        return avp_demux_unreadable(d, fail);
    }
    if (rc == AVERROR(ETIMEDOUT) || rc == AVERROR_EXIT) {
        return avp_fail(fail, AVP_ERR_INVALID_MEDIA,
                        "the container takes too long to read");
    }
    /* "no memory" is what a box says that claims billions of entries: the
     * file's fault, or it would be tried again for ever */
    return avp_fail(fail, AVP_ERR_INVALID_MEDIA, "reading the container: %s",
                    av_err2str(rc));
}

/* The decoder that libav would choose, were the whitelist all there is. */
static const AVCodec *
find_decoder(const avp_job_t *job, enum AVCodecID id)
{
    char           fmt[256], codecs[1024];
    const AVCodec *codec;
    void          *iter = NULL;

    whitelists(job, fmt, codecs);

    while ((codec = av_codec_iterate(&iter)) != NULL) {
        if (av_codec_is_decoder(codec) && codec->id == id
            && !(codec->capabilities & AV_CODEC_CAP_HARDWARE)
            && av_match_list(codec->name, codecs, ',') > 0) {
            return codec;
        }
    }
    return NULL;
}

/*
 * Reading ahead begins a parser for every codec that libav has one of, decoded
 * here or not.  So of streams that are not, it does not learn the codec: they
 * pass as data, and get their parameters back afterwards.  Only those that a
 * header describes can be hidden; MPEG-TS, MPEG-PS, FLV and Ogg find theirs on
 * the way, each within a short list of its own.
 */
static int
hide_others(AVCodecParameters **hidden, const avp_demux_t *d,
            const avp_job_t *job, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        AVCodecParameters *par = d->ctx->streams[i]->codecpar;

        if (par->codec_id == AV_CODEC_ID_NONE
            || find_decoder(job, par->codec_id)) {
            continue;
        }
        hidden[i] = avcodec_parameters_alloc();
        if (hidden[i] == NULL || avcodec_parameters_copy(hidden[i], par) < 0) {
            return AVERROR(ENOMEM);
        }
        par->codec_id = AV_CODEC_ID_NONE;
        par->codec_type = AVMEDIA_TYPE_DATA;
    }
    return 0;
}

static int
show_others(AVCodecParameters **hidden, const avp_demux_t *d, unsigned n)
{
    int rc = 0;

    for (unsigned i = 0; i < n; i++) {
        if (i < d->ctx->nb_streams && hidden[i]
            && avcodec_parameters_copy(d->ctx->streams[i]->codecpar, hidden[i])
                   < 0) {
            rc = AVERROR(ENOMEM);
        }
        avcodec_parameters_free(&hidden[i]);
    }
    return rc;
}

/* Reads ahead with one thread and the pixel limit in every decoder. */
static int
find_info(avp_demux_t *d, const avp_job_t *job, avp_fail_t *fail)
{
    unsigned            n = d->ctx->nb_streams;
    AVDictionary      **opts = av_calloc(n + 1, sizeof(*opts));
    AVCodecParameters **hidden = av_calloc(n + 1, sizeof(*hidden));
    int                 rc = AVERROR(ENOMEM);

    if (opts == NULL || hidden == NULL || hide_others(hidden, d, job, n) < 0) {
        goto done;
    }

    for (unsigned i = 0; i < n; i++) {
        av_dict_set_int(&opts[i], "max_pixels", AVP_MAX_PIXELS, 0);
        av_dict_set(&opts[i], "threads", "1", 0);
    }

    d->ctx->max_streams = AVP_MAX_STREAMS + 1;
    rc = avformat_find_stream_info(d->ctx, n ? opts : NULL);
    if (d->ctx->nb_streams > AVP_MAX_STREAMS) {
        rc = 0; /* check_streams() says it better */
    }

done:

    if (hidden && show_others(hidden, d, n) < 0) {
        rc = AVERROR(ENOMEM);
    }
    for (unsigned i = 0; opts && i < n; i++) {
        av_dict_free(&opts[i]);
    }
    av_free(opts);
    av_free(hidden);
    return rc < 0 ? open_failed(d, rc, fail) : 0;
}

static int
make_context(avp_demux_t *d)
{
    uint8_t *buf = av_malloc(IO_BUFFER);

    if (buf == NULL) {
        return -1;
    }

    d->pb = avio_alloc_context(buf, IO_BUFFER, 0, d, read_packet, NULL,
                               seek_source);
    if (d->pb == NULL) {
        av_free(buf);
        return -1;
    }

    d->ctx = avformat_alloc_context();
    if (d->ctx == NULL) {
        return -1;
    }

    d->ctx->pb = d->pb;
    d->ctx->io_open = refuse_open;
    d->ctx->interrupt_callback = (AVIOInterruptCB){ interrupted, d };
    d->ctx->probesize = PROBE_SIZE;
    d->ctx->max_analyze_duration = 5 * AV_TIME_BASE;
    d->ctx->max_probe_packets = 2500;
    d->ctx->max_streams = OPEN_STREAMS;
    d->ctx->format_probesize = 1024 * 1024;
    return 0;
}

int
avp_demux_open(avp_demux_t *d, int fd, const avp_job_t *job, bool info,
               atomic_bool *stop, avp_fail_t *fail)
{
    char                 fmt[256], codecs[1024];
    AVDictionary        *opts = NULL;
    const AVInputFormat *want;
    struct stat          st;
    int                  rc;

    *d = (avp_demux_t){ .fd = fd, .stop = stop };
    d->deadline = av_gettime_relative() + OPEN_SECONDS * INT64_C(1000000);

    if (fstat(fd, &st) != 0) {
        return avp_fail(fail, AVP_ERR_STORAGE_ERROR, "the source: %s",
                        strerror(errno));
    }
    d->size = st.st_size;

    if (sniff(d, job, fail)) {
        return -1;
    }
    if (make_context(d)) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "opening the source");
    }

    whitelists(job, fmt, codecs);
    av_dict_set(&opts, "protocol_whitelist", "", 0);
    av_dict_set(&opts, "format_whitelist", fmt, 0);
    av_dict_set(&opts, "codec_whitelist", codecs, 0);

    /* by name: of a small file libav's guess may be another */
    want = av_find_input_format(formats[d->format].demuxer);
    rc = avformat_open_input(&d->ctx, "", want, &opts);
    av_dict_free(&opts);
    if (rc < 0) {
        return open_failed(d, rc, fail);
    }

    if (want == NULL || d->ctx->iformat != want) {
        return avp_fail(fail, AVP_ERR_UNSUPPORTED_FORMAT,
                        "it begins like %s but is %s",
                        avp_format_name(d->format), d->ctx->iformat->name);
    }

    if (check_streams(d->ctx, fail) || (info && find_info(d, job, fail))
        || check_streams(d->ctx, fail)) {
        return -1;
    }

    d->ctx->max_streams = AVP_MAX_STREAMS;
    d->deadline = 0;
    return 0;
}

void
avp_demux_close(avp_demux_t *d)
{
    avformat_close_input(&d->ctx);
    if (d->pb) {
        av_freep(&d->pb->buffer);
        avio_context_free(&d->pb);
    }
}

bool
avp_demux_has_header(const AVFormatContext *ctx)
{
    return strcmp(ctx->iformat->name, "matroska,webm") == 0
           || av_match_name("mov", ctx->iformat->name);
}

void
avp_demux_select_mask(avp_demux_t *d, uint32_t mask)
{
    d->wanted = mask;
    for (unsigned i = 0; i < d->ctx->nb_streams; i++) {
        d->ctx->streams[i]->discard =
            i < AVP_MAX_STREAMS && (mask >> i & 1) ? AVDISCARD_DEFAULT
                                                   : AVDISCARD_ALL;
    }
}

void
avp_demux_select(avp_demux_t *d, int index)
{
    avp_demux_select_mask(d, UINT32_C(1) << index);
}

int
avp_demux_read(avp_demux_t *d, int index, AVPacket *pkt)
{
    for (;;) {
        unsigned before = d->ctx->nb_streams;
        int      rc = av_read_frame(d->ctx, pkt);

        if (d->ctx->nb_streams != before) {
            avp_demux_select_mask(d, d->wanted); /* found on the way */
        }
        if (rc < 0 || pkt->stream_index == index
            || (index < 0 && pkt->stream_index < AVP_MAX_STREAMS
                && (d->wanted >> pkt->stream_index & 1))) {
            return rc;
        }
        av_packet_unref(pkt);
    }
}

bool
avp_decoder_allowed(const avp_job_t *job, enum AVCodecID id)
{
    return find_decoder(job, id) != NULL;
}

AVCodecContext *
avp_decoder_open(const avp_job_t *job, const AVCodecParameters *par,
                 AVRational pkt_tb, int threads, avp_fail_t *fail)
{
    const AVCodec  *codec = find_decoder(job, par->codec_id);
    AVCodecContext *c;
    int             rc;

    if (codec == NULL) {
        avp_fail(fail, AVP_ERR_UNSUPPORTED_CODEC, "%s is not decoded here",
                 avcodec_get_name(par->codec_id));
        return NULL;
    }

    c = avcodec_alloc_context3(codec);
    if (c == NULL) {
        avp_fail(fail, AVP_ERR_NO_MEMORY, "opening a decoder");
        return NULL;
    }

    rc = avcodec_parameters_to_context(c, par);
    if (rc >= 0) {
        c->pkt_timebase = pkt_tb;
        c->max_pixels = AVP_MAX_PIXELS;
        c->thread_count = threads;
        c->thread_type = FF_THREAD_FRAME | FF_THREAD_SLICE;
        c->max_samples = 192000 * 2;
        rc = avcodec_open2(c, codec, NULL);
    }
    if (rc < 0) {
        avp_fail_av(fail, rc, AVP_ERR_UNSUPPORTED_CODEC, "opening a decoder");
        avcodec_free_context(&c);
    }
    return c;
}
