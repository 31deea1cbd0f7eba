/*
 * The preview that moves: an animated WebP of 32 frames, ten a second, eight
 * from each of four places of the video.  Frames are kept, small, until the
 * end.  A video that is shorter than the preview is shown as it is; of one
 * that is not what its header claims, so that the places were missed, the
 * stills that became thumbnails are shown one after the other.
 */

#include "workerd/media/images.h"
#include "workerd/media/out.h"
#include "workerd/media/picture.h"

#include <libavutil/mem.h>

#include <math.h>

#define SIDE 320
#define PARTS 4
#define PART 8 /* frames */
#define FRAMES (PARTS * PART)
#define STEP 0.1 /* seconds */
#define STILL_MS 250
#define UNKNOWN 20.0 /* a video of unknown length: from its first seconds */
#define WEBP_QUALITY 60

struct avp_preview_s {
    avp_out_t *out;
    double     slot, duration, next; /* seconds */
    bool       whole;                /* no parts: it is short enough */
    int        n;
    AVFrame   *frames[FRAMES];
};

/* When the frame number `n` is to be taken. */
static double
place_of(const avp_preview_t *p, int n)
{
    double middle = (n / PART + 0.5) * p->duration / PARTS;

    return p->whole ? n * STEP
                    : middle - PART / 2 * STEP + n % PART * STEP;
}

int
avp_preview_open(avp_preview_t **pp, avp_out_t *out, double duration,
                 double slot)
{
    avp_preview_t *p = av_mallocz(sizeof(*p));

    *pp = p;
    if (p == NULL) {
        return AVERROR(ENOMEM);
    }
    p->out = out;
    p->slot = slot;
    p->duration = duration > 0 ? duration : UNKNOWN;
    p->whole = p->duration < 1.25 * FRAMES * STEP;
    p->next = place_of(p, 0);
    return 0;
}

int
avp_preview_wants(const avp_preview_t *p, double t)
{
    return p->n < FRAMES && t + p->slot > p->next + 1e-6;
}

static int
keep(void *ctx, const AVFrame *f)
{
    avp_preview_t *p = ctx;
    double         scale = fmin(1, (double)SIDE / fmax(f->width, f->height));
    int            w = (int)(f->width * scale) & ~1;
    int            h = (int)(f->height * scale) & ~1;
    int            ret;

    if (p->n > 0) { /* they are all of one size, whatever the source does */
        w = p->frames[0]->width;
        h = p->frames[0]->height;
    }
    ret = avp_picture_scale(&p->frames[p->n], f, w < 2 ? 2 : w, h < 2 ? 2 : h,
                            0);
    if (ret == 0) {
        p->n++;
    }
    return ret;
}

int
avp_preview_offer(avp_preview_t *p, const AVFrame *frame, double t)
{
    int ret = 0;

    if (avp_preview_wants(p, t)) {
        ret = keep(p, frame);
        p->next = fmax(place_of(p, p->n), t + p->slot);
    }
    return ret;
}

static void
drop_frames(avp_preview_t *p)
{
    for (int i = 0; i < p->n; i++) {
        av_frame_free(&p->frames[i]);
    }
    p->n = 0;
}

int
avp_preview_finish(avp_preview_t *p, const avp_thumbnails_t *stills,
                   bool *made)
{
    AVPacket *pkt;
    int       ret = 0, ms = (int)(fmax(STEP, p->slot) * 1000);

    *made = false;
    if (!p->whole && p->n < FRAMES / 2) {
        drop_frames(p);
        ret = avp_thumbnails_each(stills, keep, p);
        ms = STILL_MS;
    }
    if (ret < 0 || p->n < 2) {
        return ret;
    }

    ret = avp_picture_webp_anim(&pkt, p->frames, p->n, ms, WEBP_QUALITY);
    if (ret < 0) {
        return ret == AVERROR_ENCODER_NOT_FOUND ? 0 : ret;
    }
    ret = avp_out_put(p->out, "preview.webp", pkt->data, (size_t)pkt->size, 0);
    av_packet_free(&pkt);
    *made = ret >= 0;
    return ret;
}

void
avp_preview_free(avp_preview_t *p)
{
    if (p == NULL) {
        return;
    }
    drop_frames(p);
    av_free(p);
}
