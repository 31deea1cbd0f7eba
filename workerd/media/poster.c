/*
 * The poster: the best of a few candidates.
 *
 * A candidate is judged on a small grey copy: its spread of luma (a plain
 * surface makes a dull poster), its edges (blur has none), and whether it is
 * nearly black or white, as fades and title cards are.
 */

#include "workerd/media/images.h"
#include "workerd/media/out.h"
#include "workerd/media/picture.h"

#include <libavutil/mem.h>

#include <math.h>
#include <stdlib.h>

#define POSTER_SIDE 1920
#define JUDGE_WIDTH 320
#define JPEG_QUALITY 3
#define WEBP_QUALITY 80

struct avp_poster_s {
    avp_out_t *out;
    AVFrame   *best;
    double     score;
};

int
avp_poster_open(avp_poster_t **pp, avp_out_t *out)
{
    avp_poster_t *p = av_mallocz(sizeof(*p));

    *pp = p;
    if (p == NULL) {
        return AVERROR(ENOMEM);
    }
    p->out = out;
    return 0;
}

/* Higher is better; 0 and more. */
static double
judge(const AVFrame *f)
{
    double sum = 0, squares = 0, edges = 0, mean, spread, score;
    int    w = f->width, h = f->height;
    double n = (double)w * h;

    for (int y = 0; y < h; y++) {
        const uint8_t *p = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        const uint8_t *above = y > 0 ? p - f->linesize[0] : p;

        for (int x = 0; x < w; x++) {
            sum += p[x];
            squares += p[x] * p[x];
            edges += abs(p[x] - above[x]) + (x > 0 ? abs(p[x] - p[x - 1]) : 0);
        }
    }
    mean = sum / n;
    spread = sqrt(fmax(0, squares / n - mean * mean));
    score = fmin(spread, 64) / 64 + fmin(edges / n, 24) / 24;
    if (mean < 28 || mean > 228) {
        score *= 0.1;
    } else if (mean < 48 || mean > 208) {
        score *= 0.6;
    }
    return score;
}

int
avp_poster_offer(avp_poster_t *p, const AVFrame *frame)
{
    AVFrame *small, *copy;
    int      height = (int)av_rescale(JUDGE_WIDTH, frame->height, frame->width);
    double   score;
    int      ret;

    height = height < 16 ? 16 : height > 1024 ? 1024 : height;
    ret = avp_picture_scale(&small, frame, JUDGE_WIDTH, height, 1);
    if (ret < 0) {
        return ret;
    }
    score = judge(small);
    av_frame_free(&small);
    if (p->best != NULL && score <= p->score) {
        return 0;
    }
    copy = av_frame_clone(frame);
    if (copy == NULL) {
        return AVERROR(ENOMEM);
    }
    av_frame_free(&p->best);
    p->best = copy;
    p->score = score;
    return 0;
}

/* The display size, at most POSTER_SIDE long, even. */
static void
poster_size(const AVFrame *f, int *width, int *height)
{
    int side = f->width > f->height ? f->width : f->height;

    *width = f->width;
    *height = f->height;
    if (side > POSTER_SIDE) {
        *width = (int)av_rescale(f->width, POSTER_SIDE, side);
        *height = (int)av_rescale(f->height, POSTER_SIDE, side);
    }
    *width = *width < 2 ? 2 : *width & ~1;
    *height = *height < 2 ? 2 : *height & ~1;
}

static int
put_packet(avp_poster_t *p, const char *path, AVPacket **pkt)
{
    int ret = avp_out_put(p->out, path, (*pkt)->data, (size_t)(*pkt)->size, 0);

    av_packet_free(pkt);
    return ret;
}

int
avp_poster_finish(avp_poster_t *p)
{
    AVFrame  *scaled = NULL;
    AVPacket *pkt;
    int       width, height, ret;

    if (p->best == NULL) {
        return AVERROR(ENODATA);
    }
    poster_size(p->best, &width, &height);
    ret = avp_picture_scale(&scaled, p->best, width, height, 1);
    if (ret < 0) {
        return ret;
    }
    ret = avp_picture_jpeg(&pkt, scaled, JPEG_QUALITY);
    av_frame_free(&scaled);
    if (ret == 0) {
        ret = put_packet(p, "poster.jpg", &pkt);
    }
    if (ret < 0) {
        return ret;
    }
    ret = avp_picture_scale(&scaled, p->best, width, height, 0);
    if (ret < 0) {
        return ret;
    }
    ret = avp_picture_webp(&pkt, scaled, WEBP_QUALITY);
    av_frame_free(&scaled);
    if (ret == AVERROR_ENCODER_NOT_FOUND) {
        return 0;
    }
    return ret < 0 ? ret : put_packet(p, "poster.webp", &pkt);
}

void
avp_poster_free(avp_poster_t *p)
{
    if (p == NULL) {
        return;
    }
    av_frame_free(&p->best);
    av_free(p);
}
