/*
 * The poster: the best of a few candidates.
 */

#include "workerd/media/images.h"
#include "workerd/media/picture.h"

#include <libavutil/mem.h>

#define POSTER_SIDE 1920
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

int
avp_poster_offer(avp_poster_t *p, const AVFrame *frame)
{
    AVFrame *copy;
    double   score;
    int      ret = avp_picture_score(frame, &score);

    if (ret < 0) {
        return ret;
    }
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

double
avp_poster_score(const avp_poster_t *p)
{
    return p->best ? p->score : -1;
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

int
avp_poster_finish(avp_poster_t *p)
{
    int width, height;

    if (p->best == NULL) {
        return AVERROR(ENODATA);
    }
    poster_size(p->best, &width, &height);
    return avp_picture_put_jpeg(p->out, "poster.jpg", p->best, width, height,
                                JPEG_QUALITY);
}

int
avp_poster_webp(avp_poster_t *p)
{
    int width, height;

    if (p->best == NULL) {
        return AVERROR(ENODATA);
    }
    poster_size(p->best, &width, &height);
    return avp_picture_put_webp(p->out, "poster.webp", p->best, width, height,
                                WEBP_QUALITY);
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
