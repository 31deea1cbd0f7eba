#include "workerd/media/probe.h"

#include "workerd/media/choose.h"
#include "workerd/media/colour.h"
#include "workerd/media/compat.h"
#include "workerd/media/demux.h"
#include "workerd/media/look.h"

#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/dovi_meta.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/pixdesc.h>
#include <libavutil/time.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCAN_FRAMES 600      /* enough to know a rate */
#define SCAN_MAX 65536       /* times kept of a whole scan */
#define SCAN_SECONDS 3       /* of wall time, for a whole scan */
#define END_SECONDS 1        /* of wall time, to find the end by a seek */

/* --- the picture -------------------------------------------------------- */

static void
find_rotation(avp_probe_t *p, const AVStream *st)
{
    size_t         size;
    const int32_t *m = (const int32_t *)(const void *)avp_stream_side_data(
        st, AV_PKT_DATA_DISPLAYMATRIX, &size);
    double         theta;

    p->transform = "";
    if (m == NULL || size < 9 * sizeof(*m)) {
        return;
    }

    theta = -av_display_rotation_get(m);
    if (isnan(theta)) {
        return;
    }
    theta -= 360.0 * floor(theta / 360.0 + 0.9 / 360.0);

    if (fabs(theta - 90.0) < 1.0) {
        p->turned = true;
        p->transform = m[3] > 0 ? "transpose=cclock_flip" : "transpose=clock";
    } else if (fabs(theta - 180.0) < 1.0) {
        p->transform = m[0] < 0 && m[4] < 0 ? "hflip,vflip"
                       : m[0] < 0           ? "hflip"
                       : m[4] < 0           ? "vflip"
                                            : "";
    } else if (fabs(theta - 270.0) < 1.0) {
        p->turned = true;
        p->transform = m[3] < 0 ? "transpose=clock_flip" : "transpose=cclock";
    } else if (fabs(theta) < 1.0 && m[4] < 0) {
        p->transform = "vflip";
    }
}

/* What libav read ahead may end in another size or colour than it began
 * with: the first picture is what counts. */
static int
look_at_start(avp_probe_t *p, int fd, AVStream *st, const avp_job_t *job,
              avp_fail_t *fail)
{
    AVFrame *f = av_frame_alloc();
    int      rc;

    if (f == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
    }

    rc = avp_look(fd, job, true, p->video, f, fail);
    if (rc > 0) {
        AVCodecParameters *both[] = { p->vpar, st->codecpar };

        for (int i = 0; i < 2; i++) {
            both[i]->width = f->width;
            both[i]->height = f->height;
            both[i]->format = f->format;
            both[i]->sample_aspect_ratio = f->sample_aspect_ratio;
            both[i]->color_range = f->color_range;
            both[i]->color_space = f->colorspace;
            both[i]->color_primaries = f->color_primaries;
            both[i]->color_trc = f->color_trc;
        }
    }
    av_frame_free(&f);
    return rc < 0 ? -1 : 0;
}

bool
avp_sar_sane(AVRational sar)
{
    return sar.num > 0 && sar.den > 0 && av_q2d(sar) >= 0.1
           && av_q2d(sar) <= 10.0;
}

static int
find_size(avp_probe_t *p, AVFormatContext *ctx, AVStream *st,
          avp_fail_t *fail)
{
    AVRational sar = av_guess_sample_aspect_ratio(ctx, st, NULL);

    p->sar = avp_sar_sane(sar) ? sar : (AVRational){ 1, 1 };
    p->codec_sar = st->codecpar->sample_aspect_ratio;
    if (p->codec_sar.num <= 0 || p->codec_sar.den <= 0) {
        /* square until it says otherwise, if nobody else says anything */
        p->codec_sar = sar.num > 0 ? (AVRational){ 0, 1 }
                                   : (AVRational){ 1, 1 };
    }

    p->coded_width = st->codecpar->width;
    p->coded_height = st->codecpar->height;

    if (p->coded_width <= 0 || p->coded_height <= 0) {
        return avp_fail(fail, AVP_ERR_INVALID_MEDIA,
                        "the video has no size that can be found");
    }

    p->width = (int)lrint(p->coded_width * av_q2d(p->sar));
    p->height = p->coded_height;
    if (p->width < 1) {
        p->width = 1;
    }

    find_rotation(p, st);
    if (p->turned) {
        int w = p->width;

        p->width = p->height;
        p->height = w;
    }

    if (p->width > AVP_MAX_SIDE || p->height > AVP_MAX_SIDE
        || (int64_t)p->width * p->height > AVP_MAX_PIXELS) {
        return avp_fail(fail, AVP_ERR_RESOLUTION_TOO_LARGE, "%dx%d", p->width,
                        p->height);
    }
    return 0;
}

static void
find_colours(avp_probe_t *p, const AVStream *st)
{
    avp_colours_t c;
    size_t        size;
    const void   *light, *mastering;

    avp_colours_of_stream(&c, st->codecpar);
    p->hdr = c.hdr;
    p->matrix = c.matrix;
    p->primaries = c.primaries;
    p->trc = c.trc;
    p->range = c.range;

    light = avp_stream_side_data(st, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, &size);
    mastering = avp_stream_side_data(
        st, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, &size);
    p->peak = avp_colours_peak(light, mastering);
}

/* Profile 5 has colours that nothing but Dolby's own can show. */
static int
check_dolby(const AVStream *st, avp_fail_t *fail)
{
    size_t                                  size;
    const AVDOVIDecoderConfigurationRecord *dovi =
        (const void *)avp_stream_side_data(st, AV_PKT_DATA_DOVI_CONF, &size);

    if (dovi && size >= sizeof(*dovi) && dovi->dv_profile == 5) {
        return avp_fail(fail, AVP_ERR_UNSUPPORTED_CODEC,
                        "Dolby Vision profile 5 cannot be shown without "
                        "Dolby's own decoder; export as profile 8 or HDR10");
    }
    return 0;
}

/* --- time ---------------------------------------------------------------- */

typedef struct {
    int64_t *ts;
    int      n;
    int64_t  total;      /* frames seen, or in the index */
    int64_t  first, last;
    bool     whole;      /* to the end of the file */
} times_t;

static int
by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void
add_time(times_t *t, int64_t ts)
{
    if (t->total == 0 || ts < t->first) {
        t->first = ts;
    }
    if (t->total == 0 || ts > t->last) {
        t->last = ts;
    }
    if (t->n < SCAN_MAX) {
        t->ts[t->n++] = ts;
    }
    t->total++;
}

static bool
has_index(const avp_probe_t *p)
{
    return p->format == AVP_FMT_MP4 || p->format == AVP_FMT_MOV
           || p->format == AVP_FMT_3GP;
}

/* An index that covers the stream (MP4 and MOV have one): every sample is in
 * it, also those that the file no longer has. */
static bool
times_of_index(times_t *t, avp_probe_t *p, AVStream *st)
{
    int     n = avformat_index_get_entries_count(st);
    int64_t present = 0, counted = 0, end = 0;

    if (!has_index(p)) {
        return false;
    }

    for (int i = 0; i < n; i++) {
        const AVIndexEntry *e = avformat_index_get_entry(st, i);

        if (e->flags & AVINDEX_DISCARD_FRAME) {
            continue;
        }
        counted++;
        present += e->pos + e->size <= p->size;
        end = FFMAX(end, e->pos + e->size);
        add_time(t, e->timestamp);
    }

    if (counted < 1 || end < p->size / 10 * 9) {
        /* fragmented, it may be: the index is of what was read so far */
        t->n = 0;
        t->total = 0;
        return false;
    }

    p->truncated = present < counted;
    if (present < counted * 9 / 10) {
        p->frames = -1; /* too little is there */
    }
    t->whole = true;
    return true;
}

/* Reads packets: some, or all of them when nothing says how long it is. */
static void
times_of_scan(times_t *t, avp_probe_t *p, avp_demux_t *d, bool all)
{
    AVPacket *pkt = av_packet_alloc();
    int64_t   until = av_gettime_relative() + SCAN_SECONDS * INT64_C(1000000);

    avp_demux_select(d, p->video);

    while (pkt && (all || t->total < SCAN_FRAMES)
           && av_gettime_relative() < until) {
        int64_t ts;
        int     rc = avp_demux_read(d, p->video, pkt);

        if (rc < 0) {
            t->whole = rc == AVERROR_EOF;
            break;
        }

        ts = pkt->pts != AV_NOPTS_VALUE ? pkt->pts : pkt->dts;
        if (ts != AV_NOPTS_VALUE && !(pkt->flags & AV_PKT_FLAG_DISCARD)) {
            add_time(t, ts);
        }
        av_packet_unref(pkt);
    }

    av_packet_free(&pkt);
}

/* Looks at the end by a seek: true when the last times were seen, and then
 * t->last is the last one of all. */
static bool
look_at_end(times_t *t, const avp_probe_t *p, avp_demux_t *d)
{
    AVPacket *pkt = av_packet_alloc();
    int64_t   n = 0;
    int       rc = 0;

    d->deadline = av_gettime_relative() + END_SECONDS * INT64_C(1000000);
    if (pkt == NULL
        || av_seek_frame(d->ctx, p->video, INT64_MAX / 2,
                         AVSEEK_FLAG_BACKWARD) < 0) {
        rc = -1;
    }

    while (rc >= 0) {
        rc = avp_demux_read(d, p->video, pkt);
        if (rc >= 0) {
            if (pkt->pts != AV_NOPTS_VALUE) {
                t->last = n++ == 0 ? pkt->pts : FFMAX(t->last, pkt->pts);
            }
            av_packet_unref(pkt);
        }
    }

    d->deadline = 0;
    av_packet_free(&pkt);
    return rc == AVERROR_EOF && n > 0 && t->last > t->first;
}

/* How many bytes the container says it has; 0 when it does not say. */
static int64_t
claimed_bytes(const avp_probe_t *p, int fd)
{
    uint8_t h[64];
    ssize_t n = pread(fd, h, sizeof(h), 0);

    if (p->format == AVP_FMT_AVI && n >= 12) {
        return (int64_t)AV_RL32(h + 4) + 8; /* of the first RIFF */
    }

    if ((p->format == AVP_FMT_MKV || p->format == AVP_FMT_WEBM) && n >= 32) {
        uint64_t skip = h[4] & 0x80 ? h[4] & 0x7f : 0;
        size_t   len = 1, at, i;
        int64_t  size;

        if ((h[4] & 0x80) == 0) { /* an eight-byte size, as some write it */
            if (h[4] != 0x01) {
                return 0;
            }
            len = 8;
            skip = AV_RB64(h + 4) & 0xffffffffffffff;
        }
        at = 4 + len;
        if (skip > sizeof(h) - at - 12) {
            return 0;
        }
        at += (size_t)skip;
        if (AV_RB32(h + at) != 0x18538067) {
            return 0;
        }
        at += 4;
        for (len = 1; len <= 8 && !(h[at] & (0x80 >> (len - 1))); len++) {
        }
        if (len > 8) {
            return 0;
        }
        size = h[at] & ((1 << (8 - len)) - 1);
        for (i = 1; i < len; i++) {
            size = size << 8 | h[at + i];
        }
        /* all ones: unknown, as live recorders write it */
        return size == ((INT64_C(1) << (7 * len)) - 1)
                   ? 0
                   : (int64_t)(at + len) + size;
    }
    return 0;
}

static int
check_whole(avp_probe_t *p, int fd, avp_fail_t *fail)
{
    int64_t bytes = claimed_bytes(p, fd);

    if (bytes > p->size) {
        p->truncated = true;
        if (p->size < bytes / 10 * 9) {
            p->frames = -1;
        }
    }
    if (p->frames < 0) {
        return avp_fail(fail, AVP_ERR_INVALID_MEDIA,
                        "the file is cut off: less than 90 %% of it is there");
    }
    return 0;
}

static double
claimed_duration(const AVFormatContext *ctx, const AVStream *st)
{
    double d = 0;

    if (st->duration != AV_NOPTS_VALUE && st->duration > 0) {
        d = (double)st->duration * av_q2d(st->time_base);
    } else if (ctx->duration != AV_NOPTS_VALUE && ctx->duration > 0) {
        d = (double)ctx->duration / AV_TIME_BASE;
    }
    return d;
}

static int
find_time(avp_probe_t *p, avp_demux_t *d, AVStream *st, avp_fail_t *fail)
{
    times_t t = { 0 };

    t.ts = malloc(sizeof(*t.ts) * SCAN_MAX);
    if (t.ts == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "reading the time stamps");
    }

    p->duration = p->claimed = claimed_duration(d->ctx, st);
    if (!times_of_index(&t, p, st)) {
        times_of_scan(&t, p, d, p->duration <= 0 || has_index(p));
    }

    qsort(t.ts, (size_t)t.n, sizeof(*t.ts), by_time);
    avp_rate_decide(&p->rate, t.ts, t.n, st->time_base, st->avg_frame_rate,
                    st->codecpar->field_order > AV_FIELD_PROGRESSIVE,
                    t.whole ? t.total : 0);
    free(t.ts);

    if (t.total == 0 && t.whole) {
        return avp_fail(fail, AVP_ERR_INVALID_MEDIA,
                        "the video stream has no frames");
    }

    if (t.whole) {
        double span = (double)(t.last - t.first) * av_q2d(st->time_base);

        /* the last frame lasts as long as the others */
        p->duration = span * (double)t.total / (double)FFMAX(t.total - 1, 1);
        if (t.total == 1) {
            p->duration = 1.0 / p->rate.fps;
        }
        p->frames = p->frames < 0 ? -1
                                  : llrint(p->duration * p->rate.fps);
        p->frames_exact = p->frames > 0;
        p->sure = true;
    } else {
        int64_t scanned = t.last;

        p->sure = look_at_end(&t, p, d);
        if (p->sure) {
            p->duration = (double)(t.last - t.first) * av_q2d(st->time_base)
                          + 1.0 / p->rate.fps;
        } else {
            p->duration = fmax(p->duration, (double)(scanned - t.first)
                                                * av_q2d(st->time_base));
        }
        if (p->frames >= 0) {
            p->frames = (int64_t)(p->duration * p->rate.fps + 0.5);
        }
    }
    return check_whole(p, d->fd, fail);
}

static int
check_limits(const avp_probe_t *p, const avp_job_t *job, avp_fail_t *fail)
{
    /* what is only claimed is no reason; the passes look as they go */
    if (p->sure && p->duration > (double)job->max_duration) {
        return avp_fail(fail, AVP_ERR_DURATION_TOO_LONG,
                        "%.0f s; %lld s are allowed", p->duration,
                        (long long)job->max_duration);
    }
    return 0;
}

static int
copy_stream(AVCodecParameters **dst, AVRational *tb, char name[32],
            const AVStream *st)
{
    *dst = avcodec_parameters_alloc();
    if (*dst == NULL || avcodec_parameters_copy(*dst, st->codecpar) < 0) {
        return -1;
    }
    *tb = st->time_base;
    av_strlcpy(name, avcodec_get_name(st->codecpar->codec_id), 32);
    return 0;
}

static void
find_bitrates(avp_probe_t *p, const AVFormatContext *ctx)
{
    int64_t audio = p->apar ? p->apar->bit_rate : 0;

    p->bitrate = p->duration > 0
                     ? (int64_t)((double)p->size * 8 / p->duration)
                     : ctx->bit_rate;
    p->video_bitrate = p->vpar->bit_rate > 0 ? p->vpar->bit_rate
                                             : p->bitrate - audio;
    if (p->video_bitrate < 0) {
        p->video_bitrate = 0;
    }
}

int
avp_probe(avp_probe_t *p, int fd, const avp_job_t *job, avp_fail_t *fail)
{
    avp_demux_t d = { 0 };
    AVStream   *st;
    int         rc = -1;

    *p = (avp_probe_t){ .audio = -1, .transform = "" };

    if (avp_demux_open(&d, fd, job, true, NULL, fail)) {
        goto done;
    }

    p->format = d.format;
    p->size = d.size;

    if (avp_choose_video(p, d.ctx, fd, job, fail)) {
        goto done;
    }
    st = d.ctx->streams[p->video];

    if (copy_stream(&p->vpar, &p->vtb, p->vcodec, st)
        || avp_choose_audio(p, d.ctx, job)
        || avp_choose_texts(p, d.ctx, job)) {
        avp_fail(fail, AVP_ERR_NO_MEMORY, "copying codec parameters");
        goto done;
    }

    p->no_header = !avp_demux_has_header(d.ctx);
    if (check_dolby(st, fail)
        || (p->no_header && look_at_start(p, fd, st, job, fail))
        || find_size(p, d.ctx, st, fail)) {
        goto done;
    }
    find_colours(p, st);
    p->seekable = avformat_index_get_entries_count(st) > 3;

    if (find_time(p, &d, st, fail) || check_limits(p, job, fail)) {
        goto done;
    }
    find_bitrates(p, d.ctx);

    if (d.io_error) {
        avp_fail(fail, AVP_ERR_STORAGE_ERROR, "reading the source: %s",
                 strerror(d.io_error));
        goto done;
    }
    avp_survey(p, fd, job);
    rc = 0;

done:

    avp_demux_close(&d);
    return rc;
}

void
avp_probe_free(avp_probe_t *p)
{
    avcodec_parameters_free(&p->vpar);
    for (int i = 0; i < AVP_SOUNDS_MAX; i++) {
        avcodec_parameters_free(&p->sounds[i].par);
    }
    for (int i = 0; i < AVP_TEXTS_MAX; i++) {
        avcodec_parameters_free(&p->texts[i].par);
    }
    p->apar = NULL;
    avp_survey_free(&p->survey);
}
