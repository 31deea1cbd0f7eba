#include "t/unit/unit.h"
#include "workerd/media/plan.h"

#include <libavutil/pixfmt.h>

/* 20 s of 25 frames a second, and what a worker would do with it unasked. */
typedef struct {
    AVCodecParameters vpar, apar;
    avp_probe_t       facts;
    avp_job_t         job;
    avp_plan_t        plan;
} fixture_t;

static fixture_t x;

static void
make(int width, int height, int threads)
{
    x.vpar = (AVCodecParameters){ .codec_type = AVMEDIA_TYPE_VIDEO,
                                  .codec_id = AV_CODEC_ID_H264,
                                  .format = AV_PIX_FMT_YUV420P };
    x.apar = (AVCodecParameters){ .codec_type = AVMEDIA_TYPE_AUDIO,
                                  .codec_id = AV_CODEC_ID_AAC };
    x.facts = (avp_probe_t){ .size = 20000000,
                             .duration = 20,
                             .sure = true,
                             .frames = 500,
                             .frames_exact = true,
                             .seekable = true,
                             .video_bitrate = 40000000,
                             .audio = 1,
                             .vpar = &x.vpar,
                             .apar = &x.apar,
                             .vcodec = "h264",
                             .nsounds = 1,
                             .coded_width = width,
                             .coded_height = height,
                             .width = width,
                             .height = height,
                             .transform = "",
                             .sar = { 1, 1 } };
    x.facts.rate.rate = (AVRational){ 25, 1 };
    x.facts.rate.exact = true;
    x.facts.rate.fps = 25;

    x.job = (avp_job_t){ .early = true,
                         .mp4 = true,
                         .webm = true,
                         .hls = true,
                         .max_duration = 21600,
                         .threads = threads };
    ck_assert_int_eq(
        avp_profile_builtin(&x.job.profile, avp_str("balanced")), 0);
    avp_plan(&x.plan, &x.facts, &x.job);
}

START_TEST(passes)
{
    make(1920, 1080, 2);
    ck_assert_int_eq(x.plan.npasses, 2);
    ck_assert_int_eq(x.plan.nresults, 9);
    ck_assert_int_eq(x.plan.passes[0].nencodes, 1);
    ck_assert_str_eq(x.plan.passes[0].encodes[0].rung.name, "480p");
    ck_assert(x.plan.passes[0].hls_audio && x.plan.passes[0].poster);
    ck_assert(x.plan.passes[1].storyboard);
    ck_assert_int_eq(x.plan.passes[1].nencodes, 5);

    make(3840, 2160, 2); /* 4k: WebM has a pass of its own */
    ck_assert_int_eq(x.plan.npasses, 3);
    ck_assert_int_eq(x.plan.passes[2].nencodes, 4);
}
END_TEST

/* Every encoder works, none has more threads than the machine or than its
 * picture has room for, and none but H.264 and VP9 has more than one. */
START_TEST(threads)
{
    static const int cores[] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64 };

    for (size_t c = 0; c < sizeof(cores) / sizeof(cores[0]); c++) {
        make(3840, 2160, cores[c]);
        for (int i = 0; i < x.plan.npasses; i++) {
            const avp_pass_t *pass = &x.plan.passes[i];
            int               sum = 0;

            ck_assert_int_ge(pass->decode_threads, 1);
            ck_assert_int_le(pass->decode_threads, 4);
            ck_assert_int_le(pass->decode_threads, cores[c]);
            for (int k = 0; k < pass->nencodes; k++) {
                const avp_encode_plan_t *e = &pass->encodes[k];

                ck_assert_int_ge(e->threads, 1);
                ck_assert_int_le(e->threads, cores[c]);
                ck_assert_int_le(e->threads, 1 + e->rung.short_side / 120);
                ck_assert(e->codec != AVP_CODEC_AV1 || e->threads == 1);
                sum += e->threads;
            }
            /* shares are rounded, and nobody gets none */
            ck_assert_int_le(sum, cores[c] + pass->nencodes);
        }
    }
}
END_TEST

/* More cores and more pixels want more memory, more time wants none. */
START_TEST(memory)
{
    int64_t before = 0, short_one;

    for (int cores = 1; cores <= 64; cores *= 2) {
        make(1920, 1080, cores);
        ck_assert_int_ge(x.plan.memory_bytes, before);
        before = x.plan.memory_bytes;
    }
    ck_assert_int_lt(before, 2000000000);

    make(1280, 720, 2);
    short_one = x.plan.memory_bytes;
    x.facts.duration = 7200;
    x.facts.frames = 180000;
    avp_plan(&x.plan, &x.facts, &x.job);
    ck_assert_int_eq(x.plan.memory_bytes, short_one);

    make(3840, 2160, 2);
    ck_assert_int_gt(x.plan.memory_bytes, short_one * 2);
    short_one = x.plan.memory_bytes;
    x.vpar.format = AV_PIX_FMT_YUV422P10; /* frames of twice the bytes */
    avp_plan(&x.plan, &x.facts, &x.job);
    ck_assert_int_gt(x.plan.memory_bytes, short_one);
    short_one = x.plan.memory_bytes;
    x.job.profile.h264.lookahead = 60;
    avp_plan(&x.plan, &x.facts, &x.job);
    ck_assert_int_gt(x.plan.memory_bytes, short_one);
}
END_TEST

/* A slow preset may take its time: limits are made of the cost. */
START_TEST(cost)
{
    double before = 0;

    for (int preset = 12; preset >= 4; preset--) {
        make(1280, 720, 2);
        x.job.profile.av1.preset = preset;
        avp_plan(&x.plan, &x.facts, &x.job);
        ck_assert(x.plan.cpu_seconds > before);
        before = x.plan.cpu_seconds;
    }
    make(1280, 720, 2);
    ck_assert(x.plan.cpu_seconds * 4 < before);

    before = 0;
    for (int preset = 0; preset < 5; preset++) {
        x.job.profile.h264.preset = preset;
        avp_plan(&x.plan, &x.facts, &x.job);
        ck_assert(x.plan.cpu_seconds > before);
        before = x.plan.cpu_seconds;
    }

    /* libvpx's realtime is no faster than what it is told to be */
    x.job.profile.vp9 = 1;
    for (int used = 6; used >= 0; used--) {
        x.job.profile.vp9_how.realtime = 1;
        x.job.profile.vp9_how.cpu_used = used;
        avp_plan(&x.plan, &x.facts, &x.job);
        ck_assert(used == 6 || x.plan.cpu_seconds > before);
        before = x.plan.cpu_seconds;
    }

    /* intermediate codecs: few pixels, 5 GB of bits to be read */
    x.facts.size *= 250;
    avp_plan(&x.plan, &x.facts, &x.job);
    ck_assert(x.plan.cpu_seconds > before + 70);
}
END_TEST

UNIT_SUITE(plan, passes, threads, memory, cost)
