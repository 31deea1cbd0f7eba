#include "t/unit/unit.h"
#include "workerd/media/limiter.h"

#include <math.h>
#include <string.h>

#define N 9600

static float in[2][N], out[2][N + AVP_LIMITER_HOLD];

/* Everything through, in pieces of uneven size; samples that came out. */
static int
run(int step)
{
    static avp_limiter_t l;
    int                  got = 0;

    avp_limiter_init(&l, 2);
    for (int i = 0; i < N; i += step) {
        int          n = step < N - i ? step : N - i;
        const float *from[2] = { in[0] + i, in[1] + i };
        float       *to[2] = { out[0] + got, out[1] + got };

        got += avp_limiter_run(&l, to, from, n, i + n == N);
        ck_assert_int_le(l.have, AVP_LIMITER_HOLD);
    }
    ck_assert_int_eq(l.have, 0);
    return got;
}

static void
tone(double loud, int from, int to)
{
    memset(in, 0, sizeof(in));
    for (int i = from; i < to; i++) {
        in[0][i] = (float) (loud * sin(i * 0.0575));
        in[1][i] = in[0][i] / 4;
    }
}

START_TEST(quiet_passes)
{
    tone(0.97, 0, N);
    for (int step = 1; step < 2000; step = step * 3 + 1) {
        ck_assert_int_eq(run(step), N);
        ck_assert_mem_eq(out[0], in[0], sizeof(in[0]));
        ck_assert_mem_eq(out[1], in[1], sizeof(in[1]));
    }
}
END_TEST

/* Below full scale all through, and both channels by the same gain. */
START_TEST(loud_is_held)
{
    static const int begins[] = { 0, 1, 239, 240, 241, 479, 480, 5000 };

    for (int k = 0; k < 8; k++) {
        tone(2.4, begins[k], begins[k] + 3000);
        ck_assert_int_eq(run(1021), N);
        for (int i = 0; i < N; i++) {
            ck_assert_msg(fabsf(out[0][i]) < 0.981f, "%f at %d",
                          (double) out[0][i], i);
            ck_assert(fabsf(out[0][i] - 4 * out[1][i]) < 1e-5f);
        }
    }
}
END_TEST

/* A peak is over soon, but what follows it comes up without a jump. */
START_TEST(gain_moves_smoothly)
{
    float last = 1;

    for (int i = 0; i < N; i++) {
        in[0][i] = in[1][i] = 0.5f;
    }
    in[0][4000] = 2;
    ck_assert_int_eq(run(777), N);
    for (int i = 0; i < N; i++) {
        float gain = out[1][i] / 0.5f;

        ck_assert_msg(fabsf(gain - last) < 0.004f, "%f, %f at %d",
                      (double) last, (double) gain, i);
        last = gain;
    }
    ck_assert(out[1][0] == 0.5f);
    ck_assert(out[1][4000] < 0.26f);
    ck_assert(out[1][N - 1] > 0.3f);
}
END_TEST

UNIT_SUITE(limiter, quiet_passes, loud_is_held, gain_moves_smoothly)
