#include "t/unit/unit.h"
#include "workerd/media/fits.h"

#include <string.h>

/* 1080p25 as a camera's editor exports it: fits everywhere. */
static avp_fits_video_t
good_video(void)
{
    return (avp_fits_video_t){ .wanted = true,
                               .rung = true,
                               .mp4 = true,
                               .hls = true,
                               .codec = "h264",
                               .container = true,
                               .sets = true,
                               .profile = 100,
                               .level = 40,
                               .chroma = 1,
                               .depth = 8,
                               .progressive = true,
                               .square = true,
                               .colours = true,
                               .width = 1920,
                               .height = 1080,
                               .exact = true,
                               .seen = true,
                               .on_grid = true,
                               .starts = true,
                               .closed = true,
                               .same_sets = true,
                               .gop_max = 2,
                               .gop_mean = 2,
                               .average = 4000000,
                               .peak = 7000000,
                               .cap = 6000000 };
}

static avp_fits_audio_t
good_audio(void)
{
    return (avp_fits_audio_t){ .wanted = true,
                               .made = true,
                               .hls = true,
                               .there = true,
                               .codec = "aac",
                               .lc = true,
                               .channels = 2,
                               .rate = 48000,
                               .average = 128000,
                               .seen = true,
                               .contiguous = true,
                               .begin = -1024.0 / 48000 };
}

static void
refused(const avp_fits_video_t *v, const char *code)
{
    avp_fits_t f;

    avp_fits_video(&f, v);
    ck_assert_msg(!f.copied && !f.hls, "%s: copied", code);
    ck_assert_str_eq(f.code, code);
    ck_assert_msg(strncmp(f.text, "not copied: ", 12) == 0 && f.text[12],
                  "%s", f.text);
}

#define REFUSED(member, value, code)                                           \
    do {                                                                       \
        v = good_video();                                                      \
        v.member = (value);                                                    \
        refused(&v, code);                                                     \
    } while (0)

START_TEST(video_that_fits)
{
    avp_fits_video_t v = good_video();
    avp_fits_t       f;

    avp_fits_video(&f, &v);
    ck_assert(f.copied && f.hls);
    ck_assert_str_eq(f.code, "fits");
    ck_assert_str_eq(f.text, "copied");

    v.profile = 66;
    v.level = 52;
    avp_fits_video(&f, &v);
    ck_assert(f.copied);
    v.profile = 77;
    v.hls = false;
    avp_fits_video(&f, &v);
    ck_assert(f.copied && !f.hls);
}
END_TEST

START_TEST(video_that_does_not)
{
    avp_fits_video_t v;

    REFUSED(wanted, false, "off");
    REFUSED(container, false, "container");
    REFUSED(sets, false, "parameter_sets");
    REFUSED(profile, 110, "profile");
    REFUSED(profile, 244, "profile");
    REFUSED(chroma, 2, "pixels");
    REFUSED(depth, 10, "pixels");
    REFUSED(level, 60, "level");
    REFUSED(progressive, false, "interlaced");
    REFUSED(turned, true, "rotated");
    REFUSED(square, false, "aspect");
    REFUSED(colours, false, "colours");
    REFUSED(width, 1919, "size");
    REFUSED(height, 1081, "size");
    REFUSED(rung, false, "rung");
    REFUSED(exact, false, "rate");
    REFUSED(truncated, true, "truncated");
    REFUSED(seen, false, "unseen");
    REFUSED(edited, true, "edit_list");
    REFUSED(damaged, true, "damaged");
    REFUSED(starts, false, "start");
    REFUSED(on_grid, false, "timing");
    REFUSED(closed, false, "open_gop");
    REFUSED(same_sets, false, "parameter_sets");
    REFUSED(captions, true, "captions");
    REFUSED(gop_max, 12.4, "key_frames");
    REFUSED(gop_mean, 0.04, "key_frames");
    REFUSED(average, 6000001, "bitrate");
    REFUSED(peak, 12000001, "bitrate");

    v = good_video();
    strcpy(v.codec, "hevc");
    refused(&v, "codec");
    v = good_video();
    v.mp4 = v.hls = false;
    refused(&v, "format");
}
END_TEST

/* Key frames that are too far apart for segments do not hurt a file. */
START_TEST(video_for_mp4_alone)
{
    avp_fits_video_t v = good_video();
    avp_fits_t       f;

    v.gop_max = 8.3;
    avp_fits_video(&f, &v);
    ck_assert(f.copied && !f.hls);
    ck_assert_str_eq(f.text,
                     "copied into MP4 only: key frames up to 8.3 s apart");
    v.mp4 = false;
    refused(&v, "key_frames");

    v.gop_max = AVP_GOP_HLS_MAX;
    avp_fits_video(&f, &v);
    ck_assert(f.copied && f.hls);
    v.mp4 = true;
    v.gop_max = 10.0;
    avp_fits_video(&f, &v);
    ck_assert(f.copied && !f.hls);
}
END_TEST

START_TEST(sound)
{
    static const struct {
        double begin, end;
        bool   copied;
    } times[] = { { 0, 0, true },       { 0.009, 0, true },
                  { 0.02, 0, false },   { -3, 0.4, true },
                  { 0, -0.6, false },   { 0, 0.6, false } };
    avp_fits_audio_t a = good_audio();
    avp_fits_t       f;

    avp_fits_audio(&f, &a);
    ck_assert(f.copied && f.hls);

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        a = good_audio();
        a.begin = times[i].begin;
        a.end = times[i].end;
        avp_fits_audio(&f, &a);
        ck_assert_int_eq(f.copied, times[i].copied);
    }

#define NOT(member, value, what)                                               \
    do {                                                                       \
        a = good_audio();                                                      \
        a.member = (value);                                                    \
        avp_fits_audio(&f, &a);                                                \
        ck_assert(!f.copied);                                                  \
        ck_assert_str_eq(f.code, what);                                        \
    } while (0)

    NOT(wanted, false, "off");
    NOT(there, false, "none");
    NOT(made, false, "format");
    NOT(lc, false, "profile");
    NOT(channels, 6, "channels");
    NOT(channels, 1, "channels");
    NOT(rate, 22050, "sample_rate");
    NOT(seen, false, "unseen");
    NOT(contiguous, false, "timing");
    NOT(average, 256000, "bitrate");
    a = good_audio(); /* one channel does for MP4 */
    a.channels = 1;
    a.hls = false;
    avp_fits_audio(&f, &a);
    ck_assert(f.copied);
    a = good_audio();
    strcpy(a.codec, "mp3");
    avp_fits_audio(&f, &a);
    ck_assert_str_eq(f.code, "codec");
}
END_TEST

/* Peaks are of two seconds or the least more that begins at a key frame. */
START_TEST(peaks)
{
    /* 25 a second, a key frame each: 1000, 3000 and 1000 bytes */
    static const int64_t at[] = { 0, 25, 50, 75 };
    static const int64_t bytes[] = { 0, 1000, 4000, 5000 };
    static const int64_t end[] = { 0, 1000, 1000, 4000 };

    ck_assert_int_eq(avp_peak(at, bytes, 3, 25, 1), 24000);
    ck_assert_int_eq(avp_peak(at, bytes, 3, 25, 2), 16000);
    /* longer than all there is: the whole */
    ck_assert_int_eq(avp_peak(at, bytes, 3, 25, 10), 5000 * 8 / 3);
    ck_assert_int_eq(avp_peak(at, bytes, 1, 25, 1), 8000);
    /* the end counts, though no two seconds begin there */
    ck_assert_int_eq(avp_peak(at, end, 3, 25, 2), 12000);
}
END_TEST

UNIT_SUITE(fits, video_that_fits, video_that_does_not, video_for_mp4_alone,
           sound, peaks)
