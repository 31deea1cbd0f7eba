/*
 * Still pictures from video frames: scaling into what JPEG and WebP expect
 * (4:2:0 8 bit, BT.601, full or limited range), judging, encoding, writing.
 * What poster, thumbnails, storyboard and preview share; no threads of its
 * own.  Functions that can fail return 0 or a negative AVERROR.
 */

#ifndef AVP_MEDIA_PICTURE_H
#define AVP_MEDIA_PICTURE_H

#include <libavcodec/avcodec.h>

typedef struct avp_out_s avp_out_t; /* workerd/media/out.h */

/* Scales `src` (any format, square pixels) to a new YUV420P frame.  `full`:
 * full range (JPEG), else limited (WebP). */
int avp_picture_scale(AVFrame **dst, const AVFrame *src, int width, int height,
                      int full);

/* A new YUV420P frame of that size; luma and chroma are not set. */
int avp_picture_alloc(AVFrame **dst, int width, int height, int full);

/* How good a picture for people `frame` makes: 0 to 2, by its spread of luma
 * and its edges.  What has less than AVP_PICTURE_POOR is nearly black or
 * white, flat, or a blur; who looks for something better is content with
 * AVP_PICTURE_GOOD. */
#define AVP_PICTURE_POOR 0.25
#define AVP_PICTURE_GOOD 1.0
int avp_picture_score(const AVFrame *frame, double *score);

/* A whole JPEG file (full range frame; `quality` 2..31, less is better). */
int avp_picture_jpeg(AVPacket **pkt, AVFrame *frame, int quality);

/* A whole WebP file (limited range; `quality` 0..100); AVERROR_ENCODER_NOT_FOUND
 * where this libavcodec has no libwebp. */
int avp_picture_webp(AVPacket **pkt, AVFrame *frame, int quality);

/* The same of `n` frames, each shown for `ms`, for ever. */
int avp_picture_webp_anim(AVPacket **pkt, AVFrame **frames, int n, int ms,
                          int quality);

/* `src` at width x height as a file below the output folder.  The WebP one
 * leaves nothing, and returns 0, where there is no libwebp. */
int avp_picture_put_jpeg(avp_out_t *out, const char *path, const AVFrame *src,
                         int width, int height, int quality);
int avp_picture_put_webp(avp_out_t *out, const char *path, const AVFrame *src,
                         int width, int height, int quality);

#endif
