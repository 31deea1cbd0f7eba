#include "workerd/media/limiter.h"

#include <math.h>
#include <string.h>

#define BLOCK AVP_LIMITER_BLOCK
#define CEILING 0.98f /* a lossy encoder adds a little */
#define RELEASE 1.01f /* a block: 3 dB in 0.17 s */

void
avp_limiter_init(avp_limiter_t *l, int channels)
{
    l->channels = channels;
    l->have = 0;
    l->gain = 1;
}

/* The gain that a run of samples stands. */
static float
bearable(const avp_limiter_t *l, int from, int n)
{
    float peak = 0;

    for (int c = 0; c < l->channels; c++) {
        for (int i = from; i < from + n; i++) {
            peak = fmaxf(peak, fabsf(l->hold[c][i]));
        }
    }
    /* not "<=": what is no number passes as it came */
    return peak > CEILING ? CEILING / peak : 1;
}

/* The first `n` samples go out, the gain moving in a line to one that both
 * this block and the next bear: so it is low enough all the way. */
static void
put_block(avp_limiter_t *l, float *const *out, int at, int n, float next)
{
    float own = bearable(l, 0, n), from = fminf(l->gain, own);
    float to = fminf(fminf(own, next), fminf(from * RELEASE, 1));

    l->have -= n;

    for (int c = 0; c < l->channels; c++) {
        if (from == 1 && to == 1) {
            memcpy(out[c] + at, l->hold[c], sizeof(float) * (size_t)n);
        } else {
            for (int i = 0; i < n; i++) {
                out[c][at + i] = l->hold[c][i]
                                 * (from + (to - from) * (float)i / (float)n);
            }
        }
        memmove(l->hold[c], l->hold[c] + n, sizeof(float) * (size_t)l->have);
    }
    l->gain = to;
}

int
avp_limiter_run(avp_limiter_t *l, float *const *out, const float *const *in,
                int n, bool end)
{
    int at = 0, taken = 0;

    while (taken < n) {
        int more = AVP_LIMITER_HOLD - l->have;

        more = more < n - taken ? more : n - taken;
        for (int c = 0; c < l->channels; c++) {
            memcpy(l->hold[c] + l->have, in[c] + taken,
                   sizeof(float) * (size_t)more);
        }
        l->have += more;
        taken += more;

        if (l->have == AVP_LIMITER_HOLD) {
            put_block(l, out, at, BLOCK, bearable(l, BLOCK, BLOCK));
            at += BLOCK;
        }
    }

    while (end && l->have > 0) {
        int block = l->have < BLOCK ? l->have : BLOCK;

        put_block(l, out, at, block,
                  bearable(l, block, l->have - block));
        at += block;
    }
    return at;
}
