/*
 * Still pictures from decoded frames: the poster (not black, not blurred),
 * thumbnails, the storyboard (sheets of 10x10 tiles, written as they fill,
 * and WebVTT) and the preview that moves.  Frames are what the filters give:
 * rotated, square pixels, SDR; they stay the caller's.  One thread feeds an
 * instance.  Each picture is a JPEG and, where this libavcodec has libwebp, a
 * WebP of the same name beside it.
 *
 * Functions that can fail return 0 or a negative AVERROR.
 */

#ifndef AVP_MEDIA_IMAGES_H
#define AVP_MEDIA_IMAGES_H

#include <libavutil/frame.h>

#include <stdbool.h>

typedef struct avp_out_s avp_out_t;
typedef struct avp_poster_s avp_poster_t;
typedef struct avp_thumbnails_s avp_thumbnails_t;
typedef struct avp_storyboard_s avp_storyboard_t;
typedef struct avp_preview_s avp_preview_t;

/* Offer candidates (three key frames or so, any size); the best wins.
 * finish writes poster.jpg, at most 1920 pixels long, AVERROR(ENODATA) when
 * nothing was offered; webp, afterwards, writes poster.webp of the same. */
int avp_poster_open(avp_poster_t **p, avp_out_t *out);
int avp_poster_offer(avp_poster_t *p, const AVFrame *frame);
/* Of the best so far, as in picture.h; -1 none. */
double avp_poster_score(const avp_poster_t *p);
int avp_poster_finish(avp_poster_t *p);
int avp_poster_webp(avp_poster_t *p);
void avp_poster_free(avp_poster_t *p);

#define AVP_THUMBNAILS 5
#define AVP_THUMBNAIL_SIDE 640

/* thumbnails/1.jpg and so on, in the order of their times. */
typedef struct {
    double time; /* s */
    int    width, height;
    bool   webp; /* there is one beside it */
} avp_thumbnail_t;

/* One of each fifth of the video: its best frame.  `duration` is only where
 * looking begins (0: unknown), `slot` how long a frame lasts, both in seconds.
 * Offer frames that are wanted, at most AVP_THUMBNAIL_SIDE long; they are
 * kept, 20 at most, until finish knows how long the video is. */
int avp_thumbnails_open(avp_thumbnails_t **t, avp_out_t *out, double duration,
                        double slot);
int avp_thumbnails_wants(const avp_thumbnails_t *t, double time);
int avp_thumbnails_offer(avp_thumbnails_t *t, const AVFrame *frame,
                         double time);
int avp_thumbnails_finish(avp_thumbnails_t *t, double end,
                          avp_thumbnail_t made[AVP_THUMBNAILS], int *n);
/* Calls `each` with every frame kept, in order of time; stops at an error. */
int avp_thumbnails_each(const avp_thumbnails_t *t,
                        int (*each)(void *ctx, const AVFrame *frame),
                        void *ctx);
void avp_thumbnails_free(avp_thumbnails_t *t);

/* `duration` in seconds (0: unknown) decides the step: max(1, duration/400).
 * Offer every frame with its time in seconds; those between steps return at
 * once.  Tiles are 160 pixels high (a portrait's 160 wide).  storyboard.vtt
 * names the JPEG sheets, storyboard-webp.vtt the others. */
int avp_storyboard_open(avp_storyboard_t **s, avp_out_t *out, int width,
                        int height, double duration);
/* Whether a frame at `t` would be used: lets the caller skip scaling. */
int avp_storyboard_wants(avp_storyboard_t *s, double t);
int avp_storyboard_offer(avp_storyboard_t *s, const AVFrame *frame, double t);
int avp_storyboard_finish(avp_storyboard_t *s, double end);
void avp_storyboard_free(avp_storyboard_t *s);

/* preview.webp: 3.2 s, short parts of four places of a video of `duration`
 * seconds, or what there is.  finish takes the frames of `stills` instead when
 * the video turned out to be something else than was claimed; *made tells
 * whether there is a file: not without libwebp, nor of a single frame. */
int avp_preview_open(avp_preview_t **p, avp_out_t *out, double duration,
                     double slot);
int avp_preview_wants(const avp_preview_t *p, double t);
int avp_preview_offer(avp_preview_t *p, const AVFrame *frame, double t);
int avp_preview_finish(avp_preview_t *p, const avp_thumbnails_t *stills,
                       bool *made);
void avp_preview_free(avp_preview_t *p);

/* What the `done` document tells of thumbnails and preview. */
typedef struct {
    int             nthumbnails;
    avp_thumbnail_t thumbnails[AVP_THUMBNAILS];
    bool            preview; /* there is one */
} avp_images_t;

#endif
