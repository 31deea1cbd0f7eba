#include "lib/ladder.h"
#include "lib/profile.h"
#include "t/unit/unit.h"

#include <stdio.h>

/* The rungs of a picture, of the balanced profile's that are wanted. */
static int
rungs_of(avp_rung_t rungs[AVP_LADDER_MAX], int width, int height,
         unsigned wanted)
{
    static avp_profile_t p; /* rungs point into it */
    int                  n = 0;

    ck_assert_int_eq(avp_profile_builtin(&p, avp_str("balanced")), 0);
    for (int i = 0; i < p.nrungs; i++) {
        unsigned bit = 0;

        ck_assert_int_eq(avp_rung_by_name(avp_str_c(p.rungs[i].name), &bit),
                         0);
        if (wanted & bit) {
            p.rungs[n++] = p.rungs[i];
        }
    }
    return avp_ladder(rungs, width, height, p.rungs, n);
}

/* "480p 854x480, 720p 1280x720" */
static const char *
ladder(int width, int height, unsigned wanted)
{
    static char text[256];
    avp_rung_t  rungs[AVP_LADDER_MAX];
    int         n = rungs_of(rungs, width, height, wanted);
    size_t      at = 0;

    ck_assert(n >= 1 && n <= AVP_LADDER_MAX);
    for (int i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %dx%d",
                               i ? ", " : "", rungs[i].name, rungs[i].width,
                               rungs[i].height);
    }
    return text;
}

START_TEST(common_sizes)
{
    ck_assert_str_eq(ladder(1920, 1080, AVP_RUNG_ALL),
                     "480p 854x480, 720p 1280x720, 1080p 1920x1080");
    ck_assert_str_eq(ladder(3840, 2160, AVP_RUNG_ALL),
                     "480p 854x480, 720p 1280x720, 1080p 1920x1080, "
                     "4k 3840x2160");
    ck_assert_str_eq(ladder(7680, 4320, AVP_RUNG_ALL),
                     "480p 854x480, 720p 1280x720, 1080p 1920x1080, "
                     "4k 3840x2160");
    ck_assert_str_eq(ladder(1280, 720, AVP_RUNG_ALL),
                     "480p 854x480, 720p 1280x720");
    ck_assert_str_eq(ladder(640, 480, AVP_RUNG_ALL), "480p 640x480");
    ck_assert_str_eq(ladder(854, 480, AVP_RUNG_ALL), "480p 854x480");
    ck_assert_str_eq(ladder(1440, 1080, AVP_RUNG_ALL),
                     "480p 640x480, 720p 960x720, 1080p 1440x1080");
    ck_assert_str_eq(ladder(1080, 720, AVP_RUNG_ALL),
                     "480p 720x480, 720p 1080x720");
}
END_TEST

START_TEST(portrait)
{
    ck_assert_str_eq(ladder(1080, 1920, AVP_RUNG_ALL),
                     "480p 480x854, 720p 720x1280, 1080p 1080x1920");
    ck_assert_str_eq(ladder(2160, 3840, AVP_RUNG_ALL),
                     "480p 480x854, 720p 720x1280, 1080p 1080x1920, "
                     "4k 2160x3840");
    ck_assert_str_eq(ladder(480, 640, AVP_RUNG_ALL), "480p 480x640");
    ck_assert_str_eq(ladder(320, 568, AVP_RUNG_ALL), "320p 320x568");
    ck_assert_str_eq(ladder(1080, 1080, AVP_RUNG_ALL),
                     "480p 480x480, 720p 720x720, 1080p 1080x1080");
}
END_TEST

START_TEST(cinema)
{
    ck_assert_str_eq(ladder(1920, 800, AVP_RUNG_ALL),
                     "480p 854x356, 720p 1280x534, 1080p 1920x800");
    ck_assert_str_eq(ladder(3840, 1600, AVP_RUNG_ALL),
                     "480p 854x356, 720p 1280x534, 1080p 1920x800, "
                     "4k 3840x1600");
    ck_assert_str_eq(ladder(3840, 1080, AVP_RUNG_ALL),
                     "480p 854x240, 720p 1280x360, 1080p 1920x540, "
                     "4k 3840x1080");
}
END_TEST

START_TEST(five_percent)
{
    /* 1026 = 0.95 x 1080: it is the source's own size, and not scaled up */
    ck_assert_str_eq(ladder(1824, 1026, AVP_RUNG_1080P), "1080p 1824x1026");
    ck_assert_str_eq(ladder(1820, 1025, AVP_RUNG_1080P | AVP_RUNG_720P),
                     "720p 1278x720");
    ck_assert_str_eq(ladder(1916, 1078, AVP_RUNG_1080P), "1080p 1916x1078");
    /* a little larger than the rung: not worth a scaler either */
    ck_assert_str_eq(ladder(1920, 1088, AVP_RUNG_1080P), "1080p 1920x1088");
    ck_assert_str_eq(ladder(2048, 1152, AVP_RUNG_1080P), "1080p 1920x1080");
}
END_TEST

START_TEST(small_and_odd)
{
    ck_assert_str_eq(ladder(426, 240, AVP_RUNG_ALL), "240p 426x240");
    ck_assert_str_eq(ladder(400, 170, AVP_RUNG_ALL), "170p 400x170");
    ck_assert_str_eq(ladder(321, 241, AVP_RUNG_ALL), "241p 320x240");
    ck_assert_str_eq(ladder(1, 1, AVP_RUNG_ALL), "1p 2x2");
    ck_assert_str_eq(ladder(3, 2, AVP_RUNG_ALL), "2p 2x2");
    ck_assert_str_eq(ladder(0, -5, AVP_RUNG_ALL), "1p 2x2");
    ck_assert_str_eq(ladder(641, 481, AVP_RUNG_ALL), "480p 640x480");
    ck_assert_str_eq(ladder(8192, 2, AVP_RUNG_480P), "480p 854x2");
    ck_assert_str_eq(ladder(640, 360, AVP_RUNG_720P), "360p 640x360");
    ck_assert_str_eq(ladder(50, 20, AVP_RUNG_4K), "20p 50x20");
}
END_TEST

START_TEST(never_up_always_even)
{
    for (int w = 1; w < 4500; w += 13) {
        for (int h = 1; h < 2500; h += 17) {
            avp_rung_t rungs[AVP_LADDER_MAX];
            int        n = rungs_of(rungs, w, h, AVP_RUNG_ALL);

            for (int i = 0; i < n; i++) {
                ck_assert(rungs[i].width % 2 == 0);
                ck_assert(rungs[i].height % 2 == 0);
                ck_assert(rungs[i].width >= 2 && rungs[i].height >= 2);
                ck_assert(rungs[i].width <= w || rungs[i].width == 2);
                ck_assert(rungs[i].height <= h || rungs[i].height == 2);
                if (i > 0) { /* the lowest first, no size twice */
                    ck_assert_int_ge(rungs[i].width, rungs[i - 1].width);
                    ck_assert_int_ge(rungs[i].height, rungs[i - 1].height);
                    ck_assert(rungs[i].width > rungs[i - 1].width
                              || rungs[i].height > rungs[i - 1].height);
                }
            }
        }
    }
}
END_TEST

START_TEST(names)
{
    unsigned bit;

    ck_assert_int_eq(avp_rung_by_name(avp_str("480p"), &bit), 0);
    ck_assert_uint_eq(bit, AVP_RUNG_480P);
    ck_assert_int_eq(avp_rung_by_name(avp_str("4k"), &bit), 0);
    ck_assert_uint_eq(bit, AVP_RUNG_4K);
    ck_assert_int_eq(avp_rung_by_name(avp_str("360p"), &bit), -1);
    ck_assert_int_eq(avp_rung_by_name(avp_str("4K"), &bit), -1);
    ck_assert_int_eq(avp_rung_by_name(avp_str(""), &bit), -1);
}
END_TEST

START_TEST(caps)
{
    avp_rung_t r[AVP_LADDER_MAX], small[AVP_LADDER_MAX];

    rungs_of(r, 3840, 2160, AVP_RUNG_ALL);
    ck_assert_int_eq(avp_rung_cap(&r[0], AVP_CODEC_H264, 25), 1400000);
    ck_assert_int_eq(avp_rung_cap(&r[0], AVP_CODEC_H264, 60), 2000000);
    ck_assert_int_eq(avp_rung_cap(&r[2], AVP_CODEC_H264, 30), 6000000);
    ck_assert_int_eq(avp_rung_cap(&r[3], AVP_CODEC_H264, 59.94), 24000000);
    ck_assert_int_eq(avp_rung_cap(&r[1], AVP_CODEC_VP9, 24), 1800000);
    ck_assert_int_eq(avp_rung_cap(&r[1], AVP_CODEC_AV1, 50), 2700000);

    rungs_of(small, 426, 240, AVP_RUNG_ALL); /* a quarter of 480p's area */
    ck_assert_int_ge(avp_rung_cap(&small[0], AVP_CODEC_H264, 25), 340000);
    ck_assert_int_le(avp_rung_cap(&small[0], AVP_CODEC_H264, 25), 360000);
    rungs_of(small, 16, 16, AVP_RUNG_ALL);
    ck_assert_int_eq(avp_rung_cap(&small[0], AVP_CODEC_H264, 25), 100000);
}
END_TEST

UNIT_SUITE(ladder, common_sizes, portrait, cinema, five_percent, small_and_odd,
           never_up_always_even, names, caps)
