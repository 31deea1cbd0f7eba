/*
 * Still pictures from video frames: scaling into what JPEG and WebP expect
 * (4:2:0 8 bit, BT.601, full or limited range) and encoding.  Used by poster
 * and storyboard; no files, no threads of its own.
 */

#ifndef AVP_MEDIA_PICTURE_H
#define AVP_MEDIA_PICTURE_H

#include <libavcodec/avcodec.h>

/* Scales `src` (any format, square pixels) to a new YUV420P frame.  `full`:
 * full range (JPEG), else limited (WebP). */
int avp_picture_scale(AVFrame **dst, const AVFrame *src, int width, int height,
                      int full);

/* A new YUV420P frame of that size; luma and chroma are not set. */
int avp_picture_alloc(AVFrame **dst, int width, int height, int full);

/* A whole JPEG file (full range frame; `quality` 2..31, less is better). */
int avp_picture_jpeg(AVPacket **pkt, AVFrame *frame, int quality);

/* A whole WebP file (limited range; `quality` 0..100); AVERROR_ENCODER_NOT_FOUND
 * where this libavcodec has no libwebp. */
int avp_picture_webp(AVPacket **pkt, AVFrame *frame, int quality);

#endif
