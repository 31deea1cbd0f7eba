#include "t/unit/unit.h"

#include "lib/media_message.h"
#include "workerd/media/progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPEED 10.0 /* seconds of video a second, unless said otherwise */

static double         clock_s;
static avp_progress_t progress;
static avp_plan_t     plan;

/* what was told */
static int    told, last, eta, first_eta, eta_max;
static double last_at;
static char   task[AVP_TASK_MAX];

static double
fake_clock(void)
{
    return clock_s;
}

/* Every message is one that the supervisor takes, and what all must be. */
static int
take(void *ctx, const json_t *message)
{
    char               *line = json_dumps(message, JSON_COMPACT);
    avp_media_message_t m;

    (void) ctx;
    ck_assert_int_eq(avp_media_message_parse(&m, avp_str_c(line)), 0);
    free(line);

    if (m.kind == AVP_MEDIA_PROGRESS) {
        ck_assert_int_ge(m.progress, last);
        ck_assert_int_le(m.progress, 99);
        ck_assert(told == 0 || clock_s - last_at >= 0.5 - 1e-9);
        last = m.progress;
        last_at = clock_s;
        eta = m.eta;
        first_eta = told++ ? first_eta : eta;
        eta_max = eta > eta_max ? eta : eta_max;
        strcpy(task, m.text);
    }
    avp_media_message_free(&m);
    return 0;
}

/* Passes of one encode each, of these costs, which are CPU seconds. */
static void
begin(double duration, double bound, double first, double second, int threads)
{
    double costs[] = { first, second };

    memset(&plan, 0, sizeof(plan));
    plan.duration = duration;
    plan.bound = bound;
    for (int i = 0; i < 2 && costs[i] > 0; i++) {
        plan.npasses++;
        strcpy(plan.passes[i].label, i ? "the rest" : "the first");
        plan.passes[i].nencodes = 1;
        plan.passes[i].encodes[0].cost = costs[i];
        plan.cpu_seconds += costs[i];
    }

    clock_s = 1000;
    told = last = eta_max = 0;
    avp_progress_init(&progress, take, NULL);
    progress.now = fake_clock;
    avp_progress_plan(&progress, &plan, threads);
}

/* Runs a pass over a video of `length` seconds, in tenths of a second of the
 * clock, up to `until` seconds of the video; the decoder is 2 s ahead. */
static void
run_pass(int pass, double length, double until, double speed)
{
    int item;

    avp_progress_pass(&progress, &plan.passes[pass], &item);
    for (double t = 0; t < until; t += speed / 10) {
        double read = fmin(t + 2, length);

        clock_s += 0.1;
        avp_progress_read(&progress, read, read / length);
        if (read >= length) {
            avp_progress_ended(&progress, length);
        }
        avp_progress_step(&progress, item, t);
    }
    if (until >= length) {
        avp_progress_item_done(&progress, item);
    }
}

START_TEST(passes_by_weight)
{
    begin(100, 100, 10, 30, 1);
    run_pass(0, 100, 100, SPEED);
    ck_assert_int_ge(told, 19); /* ten seconds */
    ck_assert_int_le(told, 21);
    ck_assert_int_ge(last, 23);
    ck_assert_int_le(last, 25);
    ck_assert_str_eq(task, "the first");
    run_pass(1, 100, 50, SPEED / 3);
    ck_assert_int_ge(last, 61);
    ck_assert_int_le(last, 63);
    ck_assert_str_eq(task, "the rest");
    avp_progress_free(&progress);

    begin(100, 100, 10, 30, 1);
    run_pass(0, 100, 100, SPEED);
    run_pass(1, 100, 100, SPEED / 3);
    clock_s += 1;
    avp_progress_task(&progress, AVP_TASK_FINISHING);
    ck_assert_int_eq(last, 99); /* 100 is not ours to say */
    ck_assert_str_eq(task, AVP_TASK_FINISHING);
    avp_progress_free(&progress);
}
END_TEST

START_TEST(time_left)
{
    /* as planned: right from the first message on */
    begin(100, 100, 10, 30, 2);
    run_pass(0, 100, 100, 2 * SPEED);
    ck_assert_int_eq(first_eta, 20);
    ck_assert_int_le(eta_max, 23);
    ck_assert_int_ge(eta, 14);
    ck_assert_int_le(eta, 16);
    avp_progress_free(&progress);

    /* the machine is four times slower than thought: it is found out, by and
     * by */
    begin(1000, 1000, 100, 0, 1);
    run_pass(0, 1000, 500, SPEED / 4);
    ck_assert_int_ge(eta, 180);
    ck_assert_int_le(eta, 220);
    ck_assert_int_le(eta_max, 400);
    avp_progress_free(&progress);

    /* a standstill: longer and longer, within reason */
    begin(100, 100, 10, 0, 1);
    run_pass(0, 100, 50, SPEED);
    ck_assert_int_le(eta, 6);
    clock_s += 60;
    avp_progress_step(&progress, 0, 50);
    ck_assert_int_gt(eta, 30);
    ck_assert_int_lt(eta, 3600);
    avp_progress_free(&progress);
}
END_TEST

START_TEST(no_duration)
{
    begin(0, 21600, 10, 30, 1);
    run_pass(0, 60, 30, SPEED);
    ck_assert_int_eq(first_eta, -1);
    ck_assert_int_ge(last, 11); /* half of a quarter */
    ck_assert_int_le(last, 13);
    ck_assert_int_ge(eta, 15);  /* 7/8 at 1/8 in three seconds: 21 */
    ck_assert_int_le(eta, 25);
    avp_progress_free(&progress);

    /* the second pass knows from the first, without reading on */
    begin(0, 21600, 10, 30, 1);
    run_pass(0, 60, 60, SPEED);
    avp_progress_pass(&progress, &plan.passes[1], &(int){ 0 });
    clock_s += 1;
    avp_progress_step(&progress, 1, 30);
    ck_assert_int_ge(last, 62);
    avp_progress_free(&progress);
}
END_TEST

START_TEST(wrong_claims)
{
    /* too long: not stuck at a tenth */
    begin(100, 210, 10, 0, 1);
    run_pass(0, 10, 5, SPEED / 10);
    ck_assert_int_ge(last, 40);
    ck_assert_int_le(last, 60);
    avp_progress_free(&progress);

    /* too short: not at the end after a tenth */
    begin(10, 75, 10, 0, 1);
    run_pass(0, 100, 50, SPEED);
    ck_assert_int_ge(last, 40);
    ck_assert_int_le(last, 60);
    avp_progress_free(&progress);

    /* what was seen, not claimed, stands against bytes that are uneven */
    begin(100, 100, 10, 0, 1);
    run_pass(0, 10, 5, SPEED / 10);
    ck_assert_int_le(last, 6);
    avp_progress_free(&progress);

    /* ... until it is gone beyond */
    begin(10, 10, 10, 0, 1);
    avp_progress_unsure(&progress);
    run_pass(0, 100, 50, SPEED);
    ck_assert_int_ge(last, 40);
    ck_assert_int_le(last, 60);
    avp_progress_free(&progress);
}
END_TEST

UNIT_SUITE(progress, passes_by_weight, time_left, no_duration, wrong_claims)
