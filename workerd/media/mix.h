/*
 * From decoded sound of any kind to 48 kHz planar floats, stereo or 5.1.
 *
 *   mono            both ears, as loud as it is
 *   more than two   ITU-R BS.775: centre and surrounds at -3 dB, the low
 *                   frequency channel left out; a limiter keeps the sum below
 *                   full scale, instead of making every film quiet
 *   5.1             by position: 7.1 is folded, side and back are one
 *   unnamed         what their number suggests, else the first two
 */

#ifndef AVP_MEDIA_MIX_H
#define AVP_MEDIA_MIX_H

#include "workerd/media/limiter.h"

#include <libavutil/frame.h>
#include <libswresample/swresample.h>

typedef struct {
    int             channels;  /* of what comes out: 2 or 6 */
    SwrContext     *swr;
    AVChannelLayout layout;    /* what swr was made for */
    int             rate, format;
    bool            limits;    /* channels add up: the limiter is in use */
    avp_limiter_t   limiter;
    int             room;
    float          *mixed[AVP_CHANNELS_MAX];   /* by swr */
    float          *limited[AVP_CHANNELS_MAX];
} avp_mixer_t;

void avp_mixer_init(avp_mixer_t *m, int channels);
void avp_mixer_free(avp_mixer_t *m);

/* Whether the mixer stands for frames like `f`.  If not, what it still holds
 * is taken out by avp_mixer_run(NULL) first, and then it is set up anew. */
bool avp_mixer_fits(const avp_mixer_t *m, const AVFrame *f);
/* 0, or an AVERROR: a layout that nobody can mix. */
int  avp_mixer_setup(avp_mixer_t *m, const AVFrame *f);

/* Mixes a frame (NULL: gives out what is held); the number of samples in
 * *samples, which are the mixer's; or an AVERROR. */
int avp_mixer_run(avp_mixer_t *m, const AVFrame *f, float *const **samples);

/* Samples that went in and have not come out, in those of the output. */
int64_t avp_mixer_delay(avp_mixer_t *m);

#endif
