/*
 * Thumbnails: the best frame of each fifth of the video.
 *
 * How long a video is, is known at its end only; what its header claims may
 * be wrong.  So candidates are kept as they come by, first close together,
 * and when there are too many the better one of each two stays and the step
 * doubles.  At the end 10 to 20 are left, spread evenly over what there was.
 */

#include "workerd/media/images.h"
#include "workerd/media/out.h"
#include "workerd/media/picture.h"

#include <libavutil/mem.h>

#include <math.h>
#include <stdio.h>

#define KEPT 20
#define PLANNED 15    /* three to choose from in each fifth */
#define STEP_MAX 1.0  /* seconds, to begin with: a claim may be far too long */
#define JPEG_QUALITY 4
#define WEBP_QUALITY 75

typedef struct {
    AVFrame *frame;
    double   time, score;
} candidate_t;

struct avp_thumbnails_s {
    avp_out_t  *out;
    double      slot, step, next; /* seconds */
    int         n;
    candidate_t kept[KEPT];
};

int
avp_thumbnails_open(avp_thumbnails_t **pt, avp_out_t *out, double duration,
                    double slot)
{
    avp_thumbnails_t *t = av_mallocz(sizeof(*t));

    *pt = t;
    if (t == NULL) {
        return AVERROR(ENOMEM);
    }
    t->out = out;
    t->slot = slot;
    t->step = fmax(slot, duration > 0 ? fmin(duration / PLANNED, STEP_MAX)
                                      : STEP_MAX);
    t->next = t->step / 2;
    return 0;
}

/* A frame is there from its time until the next. */
int
avp_thumbnails_wants(const avp_thumbnails_t *t, double time)
{
    return time + t->slot > t->next;
}

/* Makes room: the better of each two stays. */
static void
thin_out(avp_thumbnails_t *t)
{
    for (int i = 0; i < KEPT / 2; i++) {
        candidate_t *a = &t->kept[2 * i], *b = &t->kept[2 * i + 1];
        candidate_t *stays = b->score > a->score ? b : a;

        av_frame_free(stays == a ? &b->frame : &a->frame);
        t->kept[i] = *stays;
    }
    t->n = KEPT / 2;
    t->step *= 2;
}

int
avp_thumbnails_offer(avp_thumbnails_t *t, const AVFrame *frame, double time)
{
    candidate_t *c;
    int          ret;

    if (!avp_thumbnails_wants(t, time)) {
        return 0;
    }
    if (t->n == KEPT) {
        thin_out(t);
    }
    c = &t->kept[t->n];
    ret = avp_picture_score(frame, &c->score);
    if (ret < 0) {
        return ret;
    }
    c->frame = av_frame_clone(frame);
    if (c->frame == NULL) {
        return AVERROR(ENOMEM);
    }
    c->time = time;
    t->n++;
    t->next = fmax(t->next + t->step, time + t->slot);
    return 0;
}

/* The best candidate from `from` to before `to`; among equals the one in the
 * middle.  NULL: there is none. */
static const candidate_t *
best_of(const avp_thumbnails_t *t, double from, double to)
{
    const candidate_t *best = NULL;
    double             middle = (from + to) / 2;

    for (int i = 0; i < t->n; i++) {
        const candidate_t *c = &t->kept[i];

        if (c->time >= from && c->time < to
            && (best == NULL || c->score > best->score
                || (c->score == best->score
                    && fabs(c->time - middle) < fabs(best->time - middle)))) {
            best = c;
        }
    }
    return best;
}

static int
write_one(avp_thumbnails_t *t, const AVFrame *f, int number)
{
    char path[64];
    int  ret;

    snprintf(path, sizeof(path), "thumbnails/%d.jpg", number);
    ret = avp_picture_put_jpeg(t->out, path, f, f->width, f->height,
                               JPEG_QUALITY);
    if (ret >= 0) {
        snprintf(path, sizeof(path), "thumbnails/%d.webp", number);
        ret = avp_picture_put_webp(t->out, path, f, f->width, f->height,
                                   WEBP_QUALITY);
    }
    return ret;
}

int
avp_thumbnails_finish(avp_thumbnails_t *t, double end,
                      avp_thumbnail_t made[AVP_THUMBNAILS], int *n)
{
    bool   webp = avcodec_find_encoder_by_name("libwebp") != NULL;
    double part = end / AVP_THUMBNAILS;

    *n = 0;
    for (int i = 0; i < AVP_THUMBNAILS; i++) {
        double             to = i + 1 < AVP_THUMBNAILS ? part * (i + 1) : end;
        const candidate_t *c = best_of(t, part * i, to);
        int                ret;

        if (c == NULL) {
            continue;
        }
        ret = write_one(t, c->frame, *n + 1);
        if (ret < 0) {
            return ret;
        }
        made[(*n)++] = (avp_thumbnail_t){ .time = c->time,
                                          .webp = webp,
                                          .width = c->frame->width,
                                          .height = c->frame->height };
    }
    return 0;
}

int
avp_thumbnails_each(const avp_thumbnails_t *t,
                    int (*each)(void *ctx, const AVFrame *frame), void *ctx)
{
    for (int i = 0; i < t->n; i++) {
        int ret = each(ctx, t->kept[i].frame);

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

void
avp_thumbnails_free(avp_thumbnails_t *t)
{
    if (t == NULL) {
        return;
    }
    for (int i = 0; i < t->n; i++) {
        av_frame_free(&t->kept[i].frame);
    }
    av_free(t);
}
