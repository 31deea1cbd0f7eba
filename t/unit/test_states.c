#include "lib/states.h"
#include "t/unit/unit.h"

START_TEST(names)
{
    avp_video_state_t v;
    avp_job_state_t   j;

    for (int i = 0; i < AVP_VIDEO_STATES; i++) {
        ck_assert_int_eq(avp_video_state_parse(
            avp_str_c(avp_video_state_name((avp_video_state_t)i)), &v), 0);
        ck_assert_int_eq((int)v, i);
    }
    for (int i = 0; i < AVP_JOB_STATES; i++) {
        ck_assert_int_eq(avp_job_state_parse(
            avp_str_c(avp_job_state_name((avp_job_state_t)i)), &j), 0);
        ck_assert_int_eq((int)j, i);
    }
    ck_assert_int_eq(avp_video_state_parse(avp_str("cancelled"), &v), -1);
    ck_assert_int_eq(avp_job_state_parse(avp_str("uploading"), &j), -1);
    ck_assert_int_eq(avp_job_state_parse(avp_str("Pending"), &j), -1);
    ck_assert_str_eq(avp_video_state_name(AVP_VIDEO_STATES), "unknown");
    ck_assert_str_eq(avp_job_state_name((avp_job_state_t)-1), "unknown");
}
END_TEST

START_TEST(moves)
{
    ck_assert(avp_video_move_ok(AVP_VIDEO_UPLOADING, AVP_VIDEO_PENDING));
    ck_assert(avp_video_move_ok(AVP_VIDEO_FAILED, AVP_VIDEO_PENDING));
    ck_assert(!avp_video_move_ok(AVP_VIDEO_COMPLETED, AVP_VIDEO_PENDING));
    ck_assert(!avp_video_move_ok(AVP_VIDEO_PENDING, AVP_VIDEO_COMPLETED));

    ck_assert(avp_job_move_ok(AVP_JOB_PENDING, AVP_JOB_PROCESSING));
    ck_assert(avp_job_move_ok(AVP_JOB_PROCESSING, AVP_JOB_PROCESSING));
    ck_assert(avp_job_move_ok(AVP_JOB_CANCELLED, AVP_JOB_PENDING));
    ck_assert(!avp_job_move_ok(AVP_JOB_PENDING, AVP_JOB_COMPLETED));
    ck_assert(!avp_job_move_ok(AVP_JOB_FAILED, AVP_JOB_PROCESSING));

    /* what is completed stays completed */
    for (int i = 0; i < AVP_JOB_STATES; i++) {
        ck_assert(!avp_job_move_ok(AVP_JOB_COMPLETED, (avp_job_state_t)i));
    }
    for (int i = 0; i < AVP_VIDEO_STATES; i++) {
        ck_assert(!avp_video_move_ok(AVP_VIDEO_COMPLETED,
                                     (avp_video_state_t)i));
    }

    ck_assert(!avp_video_move_ok(AVP_VIDEO_STATES, AVP_VIDEO_PENDING));
    ck_assert(!avp_video_move_ok(AVP_VIDEO_PENDING, AVP_VIDEO_STATES));
    ck_assert(!avp_job_move_ok(AVP_JOB_STATES, AVP_JOB_PENDING));
    ck_assert(!avp_job_move_ok(AVP_JOB_PENDING, AVP_JOB_STATES));
}
END_TEST

START_TEST(every_job_can_end)
{
    /* from every state a chain of moves leads to `completed` */
    bool reaches[AVP_JOB_STATES] = { [AVP_JOB_COMPLETED] = true };

    for (int round = 0; round < AVP_JOB_STATES; round++) {
        for (int i = 0; i < AVP_JOB_STATES; i++) {
            for (int k = 0; k < AVP_JOB_STATES; k++) {
                if (reaches[k] && avp_job_move_ok((avp_job_state_t)i,
                                                  (avp_job_state_t)k))
                {
                    reaches[i] = true;
                }
            }
        }
    }
    for (int i = 0; i < AVP_JOB_STATES; i++) {
        ck_assert(reaches[i]);
    }
}
END_TEST

UNIT_SUITE(states, names, moves, every_job_can_end)
