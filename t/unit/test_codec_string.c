#include "t/unit/unit.h"
#include "workerd/media/codec_string.h"

#include <stdio.h>
#include <string.h>

/* Of an x264 encode: High, level 3.1. */
static const uint8_t avcc[] = { 0x01, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0x00, 0x04,
                                0x67, 0x64, 0x00, 0x1f, 0x01, 0x00, 0x02, 0x68,
                                0xef };
static const uint8_t annexb[] = { 0x00, 0x00, 0x00, 0x01, 0x09, 0xf0, 0x00,
                                  0x00, 0x01, 0x67, 0x42, 0xc0, 0x1e, 0xd9,
                                  0x00, 0x00, 0x00, 0x01, 0x68, 0xce };

/* av1C of SVT-AV1: its configOBUs begin at 4. */
static const uint8_t av1c[] = { 0x81, 0x00, 0x0c, 0x00, 0x0a, 0x0a, 0x00, 0x00,
                                0x00, 0x02, 0xaf, 0xff, 0x80, 0x5f, 0x00,
                                0x08 };

/* The same of a recording in HDR10. */
static const uint8_t av1c_hdr[] = { 0x81, 0x09, 0x4c, 0x00, 0x0a, 0x0e, 0x00,
                                    0x00, 0x00, 0x4a, 0xab, 0xbf, 0xc3, 0x77,
                                    0x6f, 0xe3, 0x42, 0x44, 0x02, 0x41 };

START_TEST(h264)
{
    char s[AVP_CODEC_STRING_MAX];

    ck_assert_int_eq(avp_codec_string_h264(s, avcc, sizeof(avcc)), 0);
    ck_assert_str_eq(s, "avc1.64001f");
    ck_assert_int_eq(avp_codec_string_h264(s, annexb, sizeof(annexb)), 0);
    ck_assert_str_eq(s, "avc1.42c01e");
}
END_TEST

START_TEST(h264_refuses)
{
    char s[AVP_CODEC_STRING_MAX];

    ck_assert_int_eq(avp_codec_string_h264(s, NULL, 0), -1);
    ck_assert_str_eq(s, "");
    ck_assert_int_eq(avp_codec_string_h264(s, avcc, 6), -1);
    /* a start code, but no SPS behind it */
    ck_assert_int_eq(avp_codec_string_h264(s, annexb, 9), -1);
    /* an SPS that is cut off before its level */
    ck_assert_int_eq(avp_codec_string_h264(s, annexb + 6, 6), -1);
}
END_TEST

/* The heads of hvcC and SPS of x265 encodes: Main, level 3.1; and Main 10,
 * high tier, level 5. */
START_TEST(hevc)
{
    uint8_t       hvcc[] = { 0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90,
                             0x00, 0x00, 0x00, 0x00, 0x00, 0x5d, 0xf0 };
    const uint8_t sps[] = { 0x00, 0x00, 0x00, 0x01, 0x42, 0x01, 0x01, 0x22,
                            0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00,
                            0x03, 0x00, 0x00, 0x03, 0x00, 0x96, 0xa0 };
    char          s[AVP_CODEC_STRING_MAX];

    ck_assert_int_eq(avp_codec_string_hevc(s, hvcc, sizeof(hvcc)), 0);
    ck_assert_str_eq(s, "hvc1.1.6.L93.90");
    ck_assert_int_eq(avp_codec_string_hevc(s, sps, sizeof(sps)), 0);
    ck_assert_str_eq(s, "hvc1.2.4.H150.90");
    hvcc[6] = 0;
    ck_assert_int_eq(avp_codec_string_hevc(s, hvcc, sizeof(hvcc)), 0);
    ck_assert_str_eq(s, "hvc1.1.6.L93");
    /* the longest there is does not fit, and is not cut */
    memset(hvcc + 1, 0xff, 12);
    ck_assert_int_eq(avp_codec_string_hevc(s, hvcc, sizeof(hvcc)), -1);
    ck_assert_str_eq(s, "");
    ck_assert_int_eq(avp_codec_string_hevc(s, hvcc, 12), -1);
    ck_assert_str_eq(s, "");
    for (size_t n = 0; n + 2 < sizeof(sps); n++) {
        ck_assert_int_eq(avp_codec_string_hevc(s, sps, n), -1);
    }
    ck_assert_int_eq(avp_codec_string_hevc(s, NULL, 0), -1);
}
END_TEST

START_TEST(aac)
{
    static const uint8_t lc[] = { 0x11, 0x90 }, he[] = { 0x2b, 0x8a },
                         xhe[] = { 0xf9, 0x40 };
    char                 s[AVP_CODEC_STRING_MAX];

    ck_assert_int_eq(avp_codec_string_aac(s, lc, 2), 0);
    ck_assert_str_eq(s, "mp4a.40.2");
    ck_assert_int_eq(avp_codec_string_aac(s, he, 2), 0);
    ck_assert_str_eq(s, "mp4a.40.5");
    ck_assert_int_eq(avp_codec_string_aac(s, xhe, 2), 0);
    ck_assert_str_eq(s, "mp4a.40.42");
    ck_assert_int_eq(avp_codec_string_aac(s, lc, 1), -1);
    ck_assert_int_eq(avp_codec_string_aac(s, (const uint8_t *)"\0\0", 2), -1);
}
END_TEST

START_TEST(av1)
{
    uint8_t config[sizeof(av1c)];
    char    s[AVP_CODEC_STRING_MAX], t[AVP_CODEC_STRING_MAX];

    ck_assert_int_eq(avp_codec_string_av1(s, av1c, sizeof(av1c)), 0);
    ck_assert_str_eq(s, "av01.0.00M.08");
    /* the record and the sequence header in it say the same */
    ck_assert_int_eq(avp_codec_string_av1(t, av1c + 4, sizeof(av1c) - 4), 0);
    ck_assert_str_eq(s, t);
    ck_assert_int_eq(avp_codec_string_av1(s, av1c_hdr, sizeof(av1c_hdr)), 0);
    ck_assert_str_eq(s, "av01.0.09M.10");
    ck_assert_int_eq(avp_codec_string_av1(t, av1c_hdr + 4,
                                          sizeof(av1c_hdr) - 4), 0);
    ck_assert_str_eq(s, t);

    memcpy(config, av1c, sizeof(config));
    config[1] = 0x40 | 13; /* profile 2, level 5.1 */
    config[2] = 0xe0;      /* high tier, 12 bit */
    ck_assert_int_eq(avp_codec_string_av1(s, config, sizeof(config)), 0);
    ck_assert_str_eq(s, "av01.2.13H.12");
    config[1] = 8;
    config[2] = 0x40;
    ck_assert_int_eq(avp_codec_string_av1(s, config, sizeof(config)), 0);
    ck_assert_str_eq(s, "av01.0.08M.10");
}
END_TEST

START_TEST(av1_obus)
{
    /* temporal delimiter, then a reduced still picture header of 10 bit:
     * profile 0, still, reduced, level 4 (01000); 1x1 bits of size; ... */
    static const uint8_t still[] = { 0x12, 0x00, 0x0a, 0x05,
                                     0x1a, 0x00, 0x00, 0x20, 0x00 };
    /* the same as above behind a temporal delimiter and with an extension */
    uint8_t long_way[32] = { 0x12, 0x00, 0x0e, 0x00, 0x0a };
    char    s[AVP_CODEC_STRING_MAX];

    ck_assert_int_eq(avp_codec_string_av1(s, still, sizeof(still)), 0);
    ck_assert_str_eq(s, "av01.0.08M.10");
    memcpy(long_way + 5, av1c + 6, 10);
    ck_assert_int_eq(avp_codec_string_av1(s, long_way, 15), 0);
    ck_assert_str_eq(s, "av01.0.00M.08");
}
END_TEST

START_TEST(av1_refuses)
{
    static const uint8_t endless[] = { 0x0a, 0x80, 0x80, 0x80, 0x80, 0x01 };
    char                 s[AVP_CODEC_STRING_MAX];

    /* cut off anywhere: a refusal, never a guess */
    for (size_t n = 0; n < sizeof(av1c) - 4; n++) {
        ck_assert_int_eq(avp_codec_string_av1(s, av1c + 4, n), -1);
    }
    ck_assert_int_eq(avp_codec_string_av1(s, endless, sizeof(endless)), -1);
    ck_assert_int_eq(avp_codec_string_av1(s, NULL, 0), -1);
    ck_assert_str_eq(s, "");
}
END_TEST

START_TEST(vp9)
{
    static const struct {
        int         width, height;
        double      fps;
        const char *text;
    } cases[] = {
        { 256, 144, 15, "vp09.00.10.08" },
        { 854, 480, 25, "vp09.00.30.08" },
        { 1280, 720, 25, "vp09.00.31.08" },
        { 1280, 720, 60, "vp09.00.40.08" },
        { 1920, 1080, 30, "vp09.00.40.08" },
        { 1920, 1080, 60, "vp09.00.41.08" },
        { 3840, 2160, 30, "vp09.00.50.08" },
        { 3840, 2160, 60, "vp09.00.51.08" },
        { 608, 1080, 30, "vp09.00.31.08" },
        { 8192, 4320, 500, "vp09.00.62.08" },
    };
    char s[AVP_CODEC_STRING_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(avp_codec_string_vp9(s, 0, 8, cases[i].width,
                                              cases[i].height, cases[i].fps),
                         0);
        ck_assert_str_eq(s, cases[i].text);
    }
    ck_assert_int_eq(avp_codec_string_vp9(s, 2, 10, 1920, 1080, 30), 0);
    ck_assert_str_eq(s, "vp09.02.40.10");
    ck_assert_int_eq(avp_codec_string_vp9(s, 4, 8, 1920, 1080, 30), -1);
    ck_assert_int_eq(avp_codec_string_vp9(s, 0, 8, 0, 1080, 30), -1);
}
END_TEST

UNIT_SUITE(codec_string, h264, h264_refuses, hevc, aac, av1, av1_obus, av1_refuses,
           vp9)
