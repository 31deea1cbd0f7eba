/*
 * Still pictures from decoded frames: the poster (not black, not blurred) and
 * the storyboard (sheets of 10x10 tiles, written as they fill, and WebVTT).
 * Frames are what the filters before the fan-out give: rotated, square
 * pixels, SDR; they stay the caller's.  One thread feeds an instance.
 */

#ifndef AVP_MEDIA_IMAGES_H
#define AVP_MEDIA_IMAGES_H

#include <libavutil/frame.h>

typedef struct avp_out_s avp_out_t;
typedef struct avp_poster_s avp_poster_t;
typedef struct avp_storyboard_s avp_storyboard_t;

/* Offer candidates (three key frames or so, any size); the best wins.
 * finish writes poster.jpg and, where libwebp is there, poster.webp, at most
 * 1920 pixels long; AVERROR(ENODATA) when nothing was offered. */
int avp_poster_open(avp_poster_t **p, avp_out_t *out);
int avp_poster_offer(avp_poster_t *p, const AVFrame *frame);
int avp_poster_finish(avp_poster_t *p);
void avp_poster_free(avp_poster_t *p);

/* `duration` in seconds (0: unknown) decides the step: max(1, duration/400).
 * Offer every frame with its time in seconds; those between steps return at
 * once.  Tiles are 160 pixels high (a portrait's 160 wide). */
int avp_storyboard_open(avp_storyboard_t **s, avp_out_t *out, int width,
                        int height, double duration);
/* Whether a frame at `t` would be used: lets the caller skip scaling. */
int avp_storyboard_wants(avp_storyboard_t *s, double t);
int avp_storyboard_offer(avp_storyboard_t *s, const AVFrame *frame, double t);
int avp_storyboard_finish(avp_storyboard_t *s, double end);
void avp_storyboard_free(avp_storyboard_t *s);

#endif
