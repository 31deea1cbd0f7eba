#include "workerd/media/nodes.h"

#include "workerd/media/colour.h"
#include "workerd/media/compat.h"

#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>

#include <math.h>
#include <string.h>

#define BURST 1000        /* decoded frames in a second of stream time */
#define JUMP_BACK 1.0     /* seconds: more is a new start, not disorder */
#define LAST_MAX 10.0     /* how long a last picture may stand */
#define TAIL_GAP 16       /* slots: what a decoder may hold back at most */
#define BAD_MAX 100       /* errors in a row of reading or decoding */
#define DEINT_MIN_SIDE 16 /* the deinterlacer wants a few lines of chroma */

typedef struct {
    avp_source_t      *node;
    avp_run_t         *run;
    const avp_probe_t *facts;
    avp_fail_t        *fail;
    avp_demux_t        demux;
    AVCodecContext    *codec;
    AVPacket          *pkt;
    AVFrame           *frame;

    avp_grid_t         grid;
    AVFrame           *held;  /* the frame of the last slot */
    AVFrame           *late;  /* one after a gap, should it be the last */
    double             late_t;
    bool               started;
    bool               untimed; /* no frame so far had a time stamp */
    double             shift; /* added to stream time: origin and restarts */
    double             last, lasts; /* of the last frame: time, duration */
    double             told;
    double             ring[BURST];

    AVFilterGraph     *deint;
    AVFilterContext   *deint_src, *deint_sink;
    int                deint_width, deint_height, deint_format;
} decode_t;

static int
failed(decode_t *d, int rc, const char *what)
{
    return avp_fail_av(d->fail, rc, AVP_ERR_INVALID_MEDIA, what);
}

/* The shape of a frame's pixels.  The container's word counts, and the
 * codec's where it has none; or where the codec's changed on the way. */
static AVRational
pixel_shape(const AVFrame *f, const avp_probe_t *facts)
{
    AVRational sar = f->sample_aspect_ratio;

    if (sar.num <= 0 || sar.den <= 0 || facts->codec_sar.num == 0
        || av_cmp_q(sar, facts->codec_sar) == 0 || !avp_sar_sane(sar)) {
        return facts->sar;
    }
    return sar;
}

void
avp_frame_sanitize(AVFrame *f, const avp_probe_t *facts)
{
    avp_colours_t c;
    int           i = 0;

    avp_colours_of_frame(&c, f, facts->vpar);

    while (i < f->nb_side_data) {
        enum AVFrameSideDataType type = f->side_data[i]->type;

        /* tone mapping asks for these; captions and the like go unseen into
         * the encoder otherwise */
        if (c.hdr && (type == AV_FRAME_DATA_MASTERING_DISPLAY_METADATA
                      || type == AV_FRAME_DATA_CONTENT_LIGHT_LEVEL)) {
            i++;
            continue;
        }
        av_frame_remove_side_data(f, type);
        i = 0;
    }

    av_dict_free(&f->metadata);
    f->pict_type = AV_PICTURE_TYPE_NONE;
    f->sample_aspect_ratio = pixel_shape(f, facts);
    f->colorspace = c.matrix;
    f->color_primaries = c.primaries;
    f->color_trc = c.trc;
    f->color_range = c.range;
    f->chroma_location = AVCHROMA_LOC_LEFT;
}

/* One slot of the grid, to everybody. */
static int
put_slot(decode_t *d, const AVFrame *f, int64_t slot)
{
    avp_source_t *n = d->node;

    for (int i = 0; i < n->nouts; i++) {
        AVFrame *ref = av_frame_clone(f);
        int      rc;

        if (ref) {
            ref->pts = slot;
        }
        rc = avp_queue_put(n->outs[i], ref);
        if (rc < 0) {
            return failed(d, rc, "handing a frame on");
        }
    }
    n->frames_out++;
    return 0;
}

static int
too_sparse(decode_t *d)
{
    return avp_fail(d->fail, AVP_ERR_FRAME_LIMIT,
                    "%lld frames would have to be shown for far longer than "
                    "any recording does",
                    (long long)d->grid.seen);
}

static int
place_now(decode_t *d, AVFrame *f, double t)
{
    int64_t slot = d->grid.next, repeats;
    bool    use;

    repeats = avp_grid_place(&d->grid, t, &use);
    if (repeats < 0) {
        return too_sparse(d);
    }

    for (int64_t i = 0; i < repeats; i++) {
        if (put_slot(d, d->held, slot++)) {
            return -1;
        }
    }

    if (use) {
        if (put_slot(d, f, slot)) {
            return -1;
        }
        av_frame_unref(d->held);
        av_frame_move_ref(d->held, f);
    }
    return 0;
}

static int
place_late(decode_t *d, double t)
{
    int rc = d->late->buf[0] ? place_now(d, d->late, t) : 0;

    av_frame_unref(d->late);
    return rc;
}

/*
 * A frame of output time `t`: onto the grid.  A regular video that was cut
 * without encoding it anew often ends with a frame whose forerunners were cut
 * off; such a gap is no pause, and is closed.  So a frame after a short gap
 * waits until it is known whether one follows it.
 */
static int
place(decode_t *d, AVFrame *f, double t)
{
    double gap;

    if (place_late(d, d->late_t)) {
        return -1;
    }

    gap = t * d->grid.rate - (double)d->grid.next;
    if (d->facts->rate.regular && d->grid.next > 0 && gap > 0.51
        && gap < TAIL_GAP)
    {
        av_frame_move_ref(d->late, f);
        d->late_t = t;
        return 0;
    }
    return place_now(d, f, t);
}

/* Frames that the deinterlacer has ready; `in` NULL flushes it. */
static int
deinterlace(decode_t *d, AVFrame *in)
{
    AVFrame *out;
    int      rc;

    rc = av_buffersrc_add_frame_flags(d->deint_src, in,
                                      AV_BUFFERSRC_FLAG_PUSH);
    if (rc < 0) {
        return failed(d, rc, "deinterlacing");
    }

    out = av_frame_alloc();
    if (out == NULL) {
        return failed(d, AVERROR(ENOMEM), "deinterlacing");
    }

    while ((rc = av_buffersink_get_frame(d->deint_sink, out)) >= 0) {
        double t = (double)out->pts
                   * av_q2d(av_buffersink_get_time_base(d->deint_sink));

        avp_frame_clear_interlaced(out);
        if (place(d, out, t)) {
            av_frame_free(&out);
            return -1;
        }
        av_frame_unref(out);
    }

    av_frame_free(&out);
    return rc == AVERROR(EAGAIN) || rc == AVERROR_EOF
               ? 0
               : failed(d, rc, "deinterlacing");
}

static int
stop_deinterlacing(decode_t *d)
{
    int rc = d->deint ? deinterlace(d, NULL) : 0;

    avfilter_graph_free(&d->deint);
    return rc;
}

/* The deinterlacer comes with the first interlaced frame and stays; frames
 * that are not pass it untouched. */
static int
through_deinterlacer(decode_t *d, AVFrame *f, double t)
{
    int rc;

    if (d->deint
        && (f->width != d->deint_width || f->height != d->deint_height
            || f->format != d->deint_format)
        && stop_deinterlacing(d)) {
        return -1;
    }

    if (d->deint == NULL) {
        if (!avp_frame_is_interlaced(f) || f->width < DEINT_MIN_SIDE
            || f->height < DEINT_MIN_SIDE) {
            return place(d, f, t);
        }

        rc = avp_graph_build(&d->deint, &d->deint_src, &d->deint_sink, f,
                             (AVRational){ 1, 1000000 },
                             "bwdif=mode=send_frame:deint=interlaced");
        if (rc < 0) {
            return failed(d, rc, "setting the deinterlacer up");
        }
        d->deint_width = f->width;
        d->deint_height = f->height;
        d->deint_format = f->format;
    }

    f->pts = llrint(t * 1e6);
    return deinterlace(d, f);
}

/* Output time of a decoded frame. */
static double
time_of(decode_t *d, const AVFrame *f)
{
    double t;

    if (f->best_effort_timestamp == AV_NOPTS_VALUE) {
        t = d->started ? d->last + d->lasts : 0;
        if (!d->started) {
            d->untimed = true;
            avp_clock_start(&d->node->sched->clock, 0);
        }
    } else {
        t = (double)f->best_effort_timestamp * av_q2d(d->facts->vtb);
        if (!d->started) {
            /* the first displayed frame is where the output begins */
            d->shift = -t;
            avp_clock_start(&d->node->sched->clock, t);
        } else if (d->untimed) {
            /* stamps from before 0 that the container could not tell */
            d->shift = d->last + d->lasts - t;
        }
        d->untimed = false;
        t += d->shift;
    }

    if (d->started && t < d->last - JUMP_BACK) {
        /* the clock was set back (a spliced stream): go on after the last */
        d->shift += d->last + d->lasts - t;
        t = d->last + d->lasts;
    }

    d->started = true;
    return t;
}

static int
check_limits(decode_t *d, double t)
{
    avp_source_t *n = d->node;
    double       *oldest = &d->ring[n->frames_in % BURST];

    if (n->frames_in >= BURST && t - *oldest < 1.0) {
        return avp_fail(d->fail, AVP_ERR_FRAME_LIMIT,
                        "more than %d frames within one second", BURST);
    }
    *oldest = t;

    if (t > (double)d->run->job->max_duration) {
        return avp_fail(d->fail, AVP_ERR_DURATION_TOO_LONG,
                        "it goes on after %lld s",
                        (long long)d->run->job->max_duration);
    }

    if (t >= d->told + 1.0) {
        d->told = t;
        d->run->seen(d->run, t);
        if (avp_progress_gone(d->run->progress)) {
            return avp_fail(d->fail, AVP_ERR_CANCELLED, "nobody listens");
        }
    }
    return 0;
}

static int
take_frame(decode_t *d, AVFrame *f)
{
    double t, lasts = (double)avp_frame_duration(f) * av_q2d(d->facts->vtb);

    atomic_fetch_add(&d->run->frames_decoded, 1);
    t = time_of(d, f);
    if (check_limits(d, t)) {
        return -1;
    }
    d->node->frames_in++;
    d->node->damaged += f->decode_error_flags != 0
                        || (f->flags & AV_FRAME_FLAG_CORRUPT);

    d->last = fmax(d->last, t);
    d->lasts = d->facts->rate.exact || lasts <= 0 || lasts > LAST_MAX
                   ? 1.0 / d->facts->rate.fps
                   : lasts;

    if (d->node->captions) {
        int rc = avp_captions_frame(d->node->captions, f, t);

        if (rc < 0) {
            return avp_fail_av(d->fail, rc, AVP_ERR_STORAGE_ERROR,
                               "writing captions");
        }
    }
    avp_frame_sanitize(f, d->facts);
    return through_deinterlacer(d, f, t);
}

/* Sends a packet (NULL: the end) and takes all frames that are ready. */
static int
decode(decode_t *d, const AVPacket *pkt)
{
    int rc = avcodec_send_packet(d->codec, pkt), bad = 0;

    if (rc == AVERROR(ENOMEM)) {
        return failed(d, rc, "decoding");
    }
    if (rc < 0 && rc != AVERROR_EOF) {
        d->node->errors++;
    }

    for (;;) {
        rc = avcodec_receive_frame(d->codec, d->frame);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) {
            return 0;
        }
        if (rc == AVERROR(ENOMEM)) {
            return failed(d, rc, "decoding");
        }
        if (rc < 0) {
            d->node->errors++;
            if (++bad > BAD_MAX) {
                return 0; /* it would say so for ever */
            }
            continue;
        }

        rc = take_frame(d, d->frame);
        av_frame_unref(d->frame);
        if (rc) {
            return -1;
        }
    }
}

static int
read_all(decode_t *d)
{
    int64_t at;
    int     rc, bad = 0;

    for (;;) {
        if (avp_sched_stopped(d->node->sched)) {
            return failed(d, AVERROR_EXIT, "reading the source");
        }

        rc = avp_demux_read(&d->demux, d->facts->video, d->pkt);
        /* first: libavformat takes a file that cannot be read for its end */
        if (rc < 0 && d->demux.io_error) {
            return avp_demux_unreadable(&d->demux, d->fail);
        }
        if (rc == AVERROR_EOF || (rc < 0 && ++bad > BAD_MAX)) {
            break;
        }
        if (rc < 0) {
            d->node->errors++;
            continue;
        }

        if (av_packet_get_side_data(d->pkt, AV_PKT_DATA_ENCRYPTION_INFO,
                                    NULL)) {
            return avp_fail(d->fail, AVP_ERR_ENCRYPTED,
                            "the video is encrypted");
        }

        at = d->pkt->pos >= 0 ? d->pkt->pos : d->demux.pos;
        rc = decode(d, d->pkt);
        av_packet_unref(d->pkt);
        if (rc) {
            return -1;
        }
        avp_progress_read(d->run->progress, d->last + d->lasts,
                          (double)at / (double)(d->demux.size + 1));
        if (d->node->errors > 1000 && d->node->frames_in == 0) {
            break;
        }
    }

    return decode(d, NULL);
}

/* Whether what came out is a video that stands for its file. */
static int
judge(decode_t *d, double end)
{
    avp_source_t *n = d->node;

    if (n->frames_in == 0) {
        return avp_fail(d->fail, AVP_ERR_INVALID_MEDIA,
                        "not one frame could be decoded");
    }
    if (n->errors > n->frames_in) {
        return avp_fail(d->fail, AVP_ERR_INVALID_MEDIA,
                        "%lld frames could be decoded and %lld could not",
                        (long long)n->frames_in, (long long)n->errors);
    }
    if (d->facts->frames_exact && end < 0.9 * d->facts->duration
        && d->facts->duration - end > 0.5) {
        return avp_fail(d->fail, AVP_ERR_INVALID_MEDIA,
                        "%.2f s of %.2f s can be decoded", end,
                        d->facts->duration);
    }
    /* A claim alone is a hint.  A claim, much less than it, and damage on the
     * way: a file that broke. */
    if (n->errors + n->damaged > 0 && end < 0.9 * d->facts->claimed
        && d->facts->claimed - end > 1) {
        return avp_fail(d->fail, AVP_ERR_INVALID_MEDIA,
                        "the file is damaged: %.2f s of %.2f s can be decoded",
                        end, d->facts->claimed);
    }
    return 0;
}

static int
finish(decode_t *d)
{
    double  end = d->last + d->lasts;
    int64_t slot, repeats;

    if (stop_deinterlacing(d) || judge(d, end)) {
        return -1;
    }
    if (d->late->buf[0]) {
        double t = (double)d->grid.next / d->grid.rate;

        end -= d->late_t - t;
        if (place_late(d, t)) {
            return -1;
        }
    }

    slot = d->grid.next;
    repeats = avp_grid_finish(&d->grid, end);
    if (repeats < 0) {
        return too_sparse(d);
    }
    for (int64_t i = 0; i < repeats; i++) {
        if (put_slot(d, d->held, slot++)) {
            return -1;
        }
    }

    end = (double)d->grid.next / d->grid.rate;
    if (d->node->captions) {
        int rc = avp_captions_end(d->node->captions, end);

        if (rc < 0) {
            return avp_fail_av(d->fail, rc, AVP_ERR_STORAGE_ERROR,
                               "writing captions");
        }
    }

    avp_progress_ended(d->run->progress, end);
    avp_clock_decoded(&d->node->sched->clock, end);
    for (int i = 0; i < d->node->nouts; i++) {
        avp_queue_close(d->node->outs[i]);
    }
    return 0;
}

int
avp_source_node(void *node, avp_fail_t *fail)
{
    avp_source_t *n = node;
    decode_t     *d = av_mallocz(sizeof(*d));
    int           rc = -1;

    if (d == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "decoding");
    }

    d->node = n;
    d->run = n->run;
    d->facts = n->run->facts;
    d->fail = fail;
    d->pkt = av_packet_alloc();
    d->frame = av_frame_alloc();
    d->held = av_frame_alloc();
    d->late = av_frame_alloc();
    avp_grid_init(&d->grid, &d->facts->rate);

    if (d->pkt == NULL || d->frame == NULL || d->held == NULL
        || d->late == NULL)
    {
        avp_fail(fail, AVP_ERR_NO_MEMORY, "decoding");
        goto done;
    }

    if (avp_demux_open(&d->demux, n->run->fd, n->run->job,
                       d->facts->no_header, &n->sched->stop, fail)) {
        goto done;
    }
    if ((unsigned)d->facts->video >= d->demux.ctx->nb_streams) {
        avp_fail(fail, AVP_ERR_INVALID_MEDIA, "the video stream is gone");
        goto done;
    }
    avp_demux_select(&d->demux, d->facts->video);

    d->codec = avp_decoder_open(n->run->job, d->facts->vpar, d->facts->vtb,
                                n->threads, fail);
    if (d->codec == NULL || read_all(d)) {
        goto done;
    }

    rc = finish(d);

done:

    avfilter_graph_free(&d->deint);
    avcodec_free_context(&d->codec);
    avp_demux_close(&d->demux);
    av_packet_free(&d->pkt);
    av_frame_free(&d->frame);
    av_frame_free(&d->held);
    av_frame_free(&d->late);
    av_free(d);
    return rc;
}
