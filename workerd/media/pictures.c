#include "workerd/media/nodes.h"
#include "workerd/media/picture.h"

#include <math.h>
#include <stdlib.h>

#define POSTER_LONG 1920
#define TILE_SHORT 160
#define CANDIDATES 4
#define CANDIDATES_MAX 40 /* while none is any good */
#define PLACE_STEP 2.0    /* seconds: somebody waits to watch */

/* Where in a video its candidates for the poster lie. */
static const double places[CANDIDATES] = { 0, 0.10, 0.30, 0.55 };

static int
even(double v)
{
    return v < 2 ? 2 : (int)v & ~1;
}

static double
slot_of(const avp_pictures_t *p)
{
    return av_q2d(av_inv_q(p->run->plan->rate));
}

static int
open_story(avp_pictures_t *p)
{
    const avp_probe_t *f = p->run->facts;
    double             duration = p->run->plan->duration;
    int                rc;

    rc = avp_storyboard_open(&p->storyboard, p->run->out, f->width, f->height,
                             duration);
    if (rc >= 0) {
        rc = avp_thumbnails_open(&p->thumbnails, p->run->out, duration,
                                 slot_of(p));
    }
    if (rc >= 0 && p->run->job->preview) {
        rc = avp_preview_open(&p->preview, p->run->out, duration, slot_of(p));
    }
    return rc;
}

int
avp_pictures_open(avp_pictures_t *p, bool poster, bool story,
                  avp_fail_t *fail)
{
    const avp_probe_t *f = p->run->facts;
    double longer = FFMAX(f->width, f->height);
    double shorter = FFMIN(f->width, f->height);
    double large = fmin(1, POSTER_LONG / longer);
    double tile = fmin(1, TILE_SHORT / shorter);
    double small = fmin(1, AVP_THUMBNAIL_SIDE / longer);
    int    rc = 0;

    avp_scaler_init(&p->poster_scaler, f, even(f->width * large),
                    even(f->height * large));
    avp_scaler_init(&p->tile_scaler, f, even(f->width * tile),
                    even(f->height * tile));
    avp_scaler_init(&p->small_scaler, f, even(f->width * small),
                    even(f->height * small));

    if (poster) {
        rc = avp_poster_open(&p->poster, p->run->out);
    }
    if (rc >= 0 && story) {
        rc = open_story(p);
    }
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "beginning the pictures")
                  : 0;
}

void
avp_pictures_free(avp_pictures_t *p)
{
    avp_poster_free(p->poster);
    avp_thumbnails_free(p->thumbnails);
    avp_storyboard_free(p->storyboard);
    avp_preview_free(p->preview);
    avp_scaler_free(&p->poster_scaler);
    avp_scaler_free(&p->tile_scaler);
    avp_scaler_free(&p->small_scaler);
}

int
avp_pictures_offer_poster(avp_pictures_t *p, const AVFrame *in,
                          avp_fail_t *fail)
{
    AVFrame *f = av_frame_alloc();
    int      rc;

    if (f == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
    }
    if (avp_scaler_run(&p->poster_scaler, in, f, fail)) {
        av_frame_free(&f);
        return -1;
    }
    rc = avp_poster_offer(p->poster, f);
    av_frame_free(&f);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "choosing the poster")
                  : 0;
}

int
avp_pictures_finish_poster(avp_pictures_t *p, avp_fail_t *fail)
{
    int rc = avp_poster_finish(p->poster);

    if (rc >= 0) {
        p->run->poster_done(p->run); /* nobody waits for the WebP */
        rc = avp_poster_webp(p->poster);
    }
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "writing the poster")
                  : 0;
}

/* When the next candidate for the poster is due.  A long video's are near its
 * beginning, however long it is: it is not playable without. */
static double
next_poster(const avp_pictures_t *p, int offered)
{
    double duration = p->run->plan->duration, soon = PLACE_STEP * offered;
    double limit = offered == CANDIDATES ? AVP_PICTURE_POOR : AVP_PICTURE_GOOD;

    if (offered < CANDIDATES) {
        return duration > 0 ? fmin(places[offered] * duration, soon) : soon;
    }
    return offered < CANDIDATES_MAX && avp_poster_score(p->poster) < limit
               ? next_poster(p, CANDIDATES - 1)
                     + (offered - CANDIDATES + 1)
                           * (duration > 0 ? fmin(duration / 20, 1) : 1)
               : INFINITY;
}

/* The poster of frames that come by: *offered counts, -1 once it is done. */
static int
follow_poster(avp_pictures_t *p, const AVFrame *f, double t, int *offered,
              avp_fail_t *fail)
{
    if (*offered < 0 || t < next_poster(p, *offered)) {
        return 0;
    }
    if (avp_pictures_offer_poster(p, f, fail)) {
        return -1;
    }
    if (!isinf(next_poster(p, ++*offered))) {
        return 0;
    }
    *offered = -1;
    return avp_pictures_finish_poster(p, fail);
}

static int
offer_tile(avp_pictures_t *p, const AVFrame *in, double t, avp_fail_t *fail)
{
    AVFrame *f;
    int      rc;

    if (!avp_storyboard_wants(p->storyboard, t)) {
        return 0;
    }

    f = av_frame_alloc();
    if (f == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
    }
    if (avp_scaler_run(&p->tile_scaler, in, f, fail)) {
        av_frame_free(&f);
        return -1;
    }
    rc = avp_storyboard_offer(p->storyboard, f, t);
    av_frame_free(&f);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "writing the storyboard")
                  : 0;
}

/* Thumbnails and preview share a size. */
static int
offer_small(avp_pictures_t *p, const AVFrame *in, double t, avp_fail_t *fail)
{
    AVFrame *f;
    int      rc;

    if (!avp_thumbnails_wants(p->thumbnails, t)
        && !(p->preview && avp_preview_wants(p->preview, t))) {
        return 0;
    }

    f = av_frame_alloc();
    if (f == NULL) {
        return avp_fail(fail, AVP_ERR_NO_MEMORY, "a picture");
    }
    if (avp_scaler_run(&p->small_scaler, in, f, fail)) {
        av_frame_free(&f);
        return -1;
    }
    rc = avp_thumbnails_offer(p->thumbnails, f, t);
    if (rc >= 0 && p->preview) {
        rc = avp_preview_offer(p->preview, f, t);
    }
    av_frame_free(&f);
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA,
                                "choosing the thumbnails")
                  : 0;
}

static int
finish_story(avp_pictures_t *p, double end, avp_fail_t *fail)
{
    int rc = avp_storyboard_finish(p->storyboard, end);

    if (rc >= 0) {
        rc = avp_thumbnails_finish(p->thumbnails, end, p->made.thumbnails,
                                   &p->made.nthumbnails);
    }
    if (rc >= 0 && p->preview) {
        rc = avp_preview_finish(p->preview, p->thumbnails, &p->made.preview);
    }
    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_STORAGE_ERROR,
                                "writing the storyboard")
                  : 0;
}

/* All frames of the pass come by; few are used. */
int
avp_pictures_node(void *node, avp_fail_t *fail)
{
    avp_pictures_t *p = node;
    double          slot = slot_of(p), end = 0;
    int             offered = p->poster ? 0 : -1, rc;
    AVFrame        *f = NULL;

    while ((rc = avp_queue_get(p->in, &f)) > 0) {
        double t = (double)f->pts * slot;

        end = t + slot;
        rc = follow_poster(p, f, t, &offered, fail);
        if (rc == 0 && p->storyboard) {
            rc = offer_tile(p, f, t, fail);
        }
        if (rc == 0 && p->thumbnails) {
            rc = offer_small(p, f, t, fail);
        }
        av_frame_free(&f);
        if (rc) {
            return -1;
        }
    }

    if (rc < 0) {
        return avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA, "pictures");
    }
    if (offered >= 0 && avp_pictures_finish_poster(p, fail)) {
        return -1;
    }
    return p->storyboard ? finish_story(p, end, fail) : 0;
}
