/*
 * Keeps a mix below full scale: where channels add up to more, the gain of
 * all of them goes down smoothly before the peak and comes back slowly after
 * it; where they do not, samples pass bit by bit.  Works on blocks of 5 ms and
 * holds one and a part of the next back.  Pure arithmetic.
 */

#ifndef AVP_MEDIA_LIMITER_H
#define AVP_MEDIA_LIMITER_H

#include <stdbool.h>

#define AVP_LIMITER_BLOCK 240
#define AVP_LIMITER_HOLD (2 * AVP_LIMITER_BLOCK) /* samples, at most */
#define AVP_CHANNELS_MAX 6

typedef struct {
    int   channels;
    int   have;       /* samples in hold */
    float gain;       /* where the next block that goes out begins */
    float hold[AVP_CHANNELS_MAX][AVP_LIMITER_HOLD];
} avp_limiter_t;

void avp_limiter_init(avp_limiter_t *l, int channels);

/*
 * Takes `n` samples of each channel from `in` and writes those that are ready
 * to `out`, which has room for n + AVP_LIMITER_HOLD and is not `in`; returns
 * their number.  With `end` everything comes out.
 */
int avp_limiter_run(avp_limiter_t *l, float *const *out,
                    const float *const *in, int n, bool end);

#endif
