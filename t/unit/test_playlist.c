#include "t/unit/unit.h"
#include "workerd/media/master.h"
#include "workerd/media/playlist.h"

#include <stdlib.h>
#include <string.h>

#define S INT64_C(1000000)

static avp_segment_t
segment(int64_t start_us, int64_t end_us, int64_t bytes)
{
    return (avp_segment_t){ .start_us = start_us, .end_us = end_us,
                            .bytes = bytes };
}

START_TEST(grid)
{
    static const int64_t cuts[] = { 2, 4, 6, 12, 18, 24 };
    int64_t              at = 0;

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        at = avp_grid_next(at);
        ck_assert_int_eq(at, cuts[i]);
        at *= S;
    }
    ck_assert_int_eq(avp_grid_next(-1), 2);
    ck_assert_int_eq(avp_grid_next(1999999), 2);
    ck_assert_int_eq(avp_grid_next(2000001), 4);
    ck_assert_int_eq(avp_grid_next(6006000), 12);
    ck_assert_int_eq(avp_grid_next(11999999), 12);
    ck_assert_int_eq(avp_grid_next(6 * 3600 * S), 6 * 3600 + 6);
}
END_TEST

START_TEST(target)
{
    ck_assert_int_eq(avp_target_duration(0), 6);
    ck_assert_int_eq(avp_target_duration(1.0 / 24), 6);
    ck_assert_int_eq(avp_target_duration(0.4), 6);
    ck_assert_int_eq(avp_target_duration(0.5), 7);
    ck_assert_int_eq(avp_target_duration(1), 7);
    ck_assert_int_eq(avp_target_duration(4.2), 11);
    ck_assert_int_eq(avp_target_duration(1e30), 66);
}
END_TEST

/* Plans over keys in ms, 0 at the end; want likewise. */
static void
check_plan(const int *keys, int end, const int *want, int want_target)
{
    int64_t us[32], cuts[32];
    size_t  n = 0, ncuts, i;
    int     promised;

    do {
        us[n] = keys[n] * INT64_C(1000);
    } while (keys[++n] != 0);
    ncuts = avp_grid_plan(us, n, end * INT64_C(1000), cuts, &promised);
    for (i = 0; want[i] != 0; i++) {
        ck_assert_uint_lt(i, ncuts);
        ck_assert_int_eq(cuts[i], want[i] * INT64_C(1000));
    }
    ck_assert_uint_eq(ncuts, i);
    ck_assert_int_eq(promised, want_target);
}

#define MS(...) ((const int[]){ __VA_ARGS__, 0 })

START_TEST(plan)
{
    const int none[] = { 0 };

    /* our own grid */
    check_plan(MS(0, 2000, 4000, 6000, 8000, 10000, 12000, 14000), 15000,
               MS(2000, 4000, 6000, 12000), 6);
    /* every second, every 5 s, every 4 s (both as near: the earlier) */
    check_plan(MS(0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000),
               10000, MS(2000, 4000, 6000), 6);
    check_plan(MS(0, 5000, 10000, 15000, 20000, 25000), 26000,
               MS(5000, 10000, 15000, 20000), 6);
    check_plan(MS(0, 4000, 8000, 12000, 16000, 20000), 22000,
               MS(4000, 8000, 12000, 16000), 6);
    /* two GOPs come nearer to 6 s than one */
    check_plan(MS(0, 3500, 7000, 10500, 14000, 17500, 21000, 24500), 28000,
               MS(3500, 7000, 10500, 17500, 24500), 7);
    /* where they happen to be */
    check_plan(MS(0, 300, 1700, 2600, 3100, 7000, 7100, 13200, 13900), 14000,
               MS(1700, 3100, 7000, 13200), 6);
    /* 11.4 s would be nearer than 0.5 s, but is too long */
    check_plan(MS(0, 2000, 4000, 6000, 6500, 17400), 20000,
               MS(2000, 4000, 6000, 6500, 17400), 11);
    check_plan(MS(0, 2000, 4000, 6000, 6500, 16000, 16100), 20000,
               MS(2000, 4000, 6000, 16000), 10);
    /* the last segment counts, when its end is known */
    check_plan(MS(0, 2000), 13000, MS(2000), 11);
    check_plan(MS(0, 2000), 0, MS(2000), 6);
    check_plan(MS(0), 1000, none, 6);
    /* no cut at or behind the end, and none at 0 */
    check_plan(MS(0, 2000, 4000), 4000, MS(2000), 6);
    check_plan(MS(5, 2000), 3000, MS(2000), 6);
}
END_TEST

START_TEST(plan_of_nothing)
{
    int64_t cut;
    int     promised;

    ck_assert_uint_eq(avp_grid_plan(NULL, 0, 0, &cut, &promised), 0);
    ck_assert_int_eq(promised, 6);
    ck_assert_uint_eq(avp_grid_plan(NULL, 0, INT64_MAX / 2, &cut, &promised), 0);
    ck_assert_int_eq(promised, INT32_MAX);
}
END_TEST

START_TEST(names)
{
    char name[16];

    avp_segment_name(name, 0, "m4s");
    ck_assert_str_eq(name, "s00000.m4s");
    avp_segment_name(name, 123456, "vtt");
    ck_assert_str_eq(name, "s123456.vtt");
    avp_segment_name(name, (size_t)-1, "m4s");
    ck_assert_uint_lt(strlen(name), 16);
}
END_TEST

START_TEST(media_live)
{
    avp_segment_t segments[] = { segment(0, 2002000, 9),
                                 segment(2002000, 4004000, 9) };
    size_t        len;
    char *text = avp_playlist_media(AVP_LIST_LIVE, 6, segments, 2, &len);

    ck_assert_str_eq(text, "#EXTM3U\n"
                           "#EXT-X-VERSION:7\n"
                           "#EXT-X-TARGETDURATION:6\n"
                           "#EXT-X-MEDIA-SEQUENCE:0\n"
                           "#EXT-X-PLAYLIST-TYPE:EVENT\n"
                           "#EXT-X-INDEPENDENT-SEGMENTS\n"
                           "#EXT-X-START:TIME-OFFSET=0\n"
                           "#EXT-X-MAP:URI=\"init.mp4\"\n"
                           "#EXTINF:2.002000,\n"
                           "s00000.m4s\n"
                           "#EXTINF:2.002000,\n"
                           "s00001.m4s\n");
    ck_assert_uint_eq(len, strlen(text));
    free(text);
}
END_TEST

/* A playlist that grows may only be appended to (RFC 8216, 6.2.1). */
START_TEST(media_only_grows)
{
    avp_segment_t segments[50];
    char         *before = NULL;

    for (size_t n = 0; n <= 50; n++) {
        size_t len;
        char  *text;

        if (n > 0) {
            int64_t at = (int64_t)(n - 1) * 2 * S;

            segments[n - 1] = segment(at, at + 2 * S, 1);
        }
        text = avp_playlist_media(AVP_LIST_LIVE, 6, segments, n, &len);
        if (before != NULL) {
            ck_assert_int_eq(strncmp(before, text, strlen(before)), 0);
            free(before);
        }
        before = text;
        text = avp_playlist_media(AVP_LIST_ENDED, 6, segments, n, &len);
        ck_assert_int_eq(strncmp(before, text, strlen(before)), 0);
        ck_assert_str_eq(text + strlen(before), "#EXT-X-ENDLIST\n");
        free(text);
    }
    free(before);
}
END_TEST

START_TEST(media_vod)
{
    avp_segment_t one = segment(0, 333333, 9);
    size_t        len;
    char *text = avp_playlist_media(AVP_LIST_VOD, 7, &one, 1, &len);

    ck_assert_ptr_nonnull(strstr(text, "#EXT-X-PLAYLIST-TYPE:VOD\n"));
    ck_assert_ptr_nonnull(strstr(text, "#EXT-X-TARGETDURATION:7\n"));
    ck_assert_ptr_nonnull(strstr(text, "#EXTINF:0.333333,\ns00000.m4s\n"
                                       "#EXT-X-ENDLIST\n"));
    ck_assert_ptr_null(strstr(text, "EXT-X-START"));
    free(text);
}
END_TEST

START_TEST(iframes)
{
    avp_segment_t  s[] = { segment(0, 2 * S, 9), segment(2 * S, 5 * S, 9) };
    avp_segment_t *keys;
    size_t         len;
    int            longest;
    char          *text;

    s[0].nkeys = 1;
    s[0].keys[0] = (avp_keyframe_t){ 0, 24, 1000 };
    s[1].nkeys = 2;
    s[1].keys[0] = (avp_keyframe_t){ 2 * S, 24, 900 };
    s[1].keys[1] = (avp_keyframe_t){ 4500000, 5000, 800 };
    text = avp_playlist_iframes(s, 2, &len);
    ck_assert_str_eq(text, "#EXTM3U\n"
                           "#EXT-X-VERSION:7\n"
                           "#EXT-X-TARGETDURATION:3\n"
                           "#EXT-X-MEDIA-SEQUENCE:0\n"
                           "#EXT-X-PLAYLIST-TYPE:VOD\n"
                           "#EXT-X-I-FRAMES-ONLY\n"
                           "#EXT-X-MAP:URI=\"init.mp4\"\n"
                           "#EXTINF:2.000000,\n"
                           "#EXT-X-BYTERANGE:1000@24\ns00000.m4s\n"
                           "#EXTINF:2.500000,\n"
                           "#EXT-X-BYTERANGE:900@24\ns00001.m4s\n"
                           "#EXTINF:0.500000,\n"
                           "#EXT-X-BYTERANGE:800@5000\ns00001.m4s\n"
                           "#EXT-X-ENDLIST\n");
    free(text);
    ck_assert_uint_eq(avp_iframes(s, 2, &keys, &longest), 3);
    ck_assert_int_eq(longest, 3);
    ck_assert_int_eq(avp_bitrate_average(keys, 3), 2700 * 8 / 5);
    free(keys);
    s[0].nkeys = s[1].nkeys = 0;
    ck_assert_uint_eq(avp_iframes(s, 2, &keys, &longest), 0);
    ck_assert_ptr_null(keys);
    ck_assert_ptr_null(avp_playlist_iframes(s, 2, &len));
}
END_TEST

START_TEST(bitrates)
{
    avp_segment_t s[] = {
        segment(0, 2 * S, 1000000),        /* 4 Mbit/s, alone too short */
        segment(2 * S, 4 * S, 250000),     /* 1 */
        segment(4 * S, 6 * S, 250000),     /* 1 */
        segment(6 * S, 12 * S, 750000),    /* 1 */
        segment(12 * S, 13 * S, 1000000),  /* 8, alone too short */
    };

    ck_assert_int_eq(avp_bitrate_average(s, 5), 2000000);
    /* the first two: 10 Mbit in 4 s; the last two: 14 Mbit in 7 s */
    ck_assert_int_eq(avp_bitrate_peak(s, 5, 6), 2500000);
    ck_assert_int_eq(avp_bitrate_peak(s + 1, 4, 6), 2000000);
    /* nothing is long enough: the average of what there is */
    ck_assert_int_eq(avp_bitrate_peak(s, 1, 6), 4000000);
    ck_assert_int_eq(avp_bitrate_peak(s, 0, 6), 0);
    ck_assert_int_eq(avp_bitrate_average(s, 0), 0);
}
END_TEST

/* The text of a playlist, each line as it should be. */
static void
check_text(char *text, const char *want)
{
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, want);
    free(text);
}

START_TEST(media_text)
{
    avp_segment_t s[] = { segment(0, 2 * S, 9), segment(2 * S, 3 * S, 9) };
    size_t        len;

    check_text(avp_playlist_media(AVP_LIST_TEXT, 6, s, 2, &len),
               "#EXTM3U\n"
               "#EXT-X-VERSION:7\n"
               "#EXT-X-TARGETDURATION:6\n"
               "#EXT-X-MEDIA-SEQUENCE:0\n"
               "#EXT-X-PLAYLIST-TYPE:VOD\n"
               "#EXT-X-INDEPENDENT-SEGMENTS\n"
               "#EXTINF:2.000000,\ns00000.vtt\n"
               "#EXTINF:1.000000,\ns00001.vtt\n"
               "#EXT-X-ENDLIST\n");
}
END_TEST

#define HEAD "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"

START_TEST(master)
{
    avp_variant_t     v = { .uri = "480p/index.m3u8", .codecs = "avc1.64001f",
                            .peak = 1400000, .average = 900000, .width = 854,
                            .height = 480, .frame_rate = 30000.0 / 1001,
                            .range = "SDR" };
    avp_audio_media_t a = { .group = "audio", .name = "Audio",
                            .uri = "audio/index.m3u8", .codecs = "mp4a.40.2",
                            .language = "ger", .channels = 2,
                            .peak = 130000, .average = 128000,
                            .is_default = true };
    avp_master_t      m = { .variants = &v, .nvariants = 1, .sounds = &a,
                            .nsounds = 1 };
    size_t            len;

    check_text(
        avp_playlist_master(&m, &len),
        HEAD
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\","
        "LANGUAGE=\"de\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
        "URI=\"audio/index.m3u8\"\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=1530000,AVERAGE-BANDWIDTH=1028000,"
        "CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=854x480,"
        "FRAME-RATE=29.970,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE\n"
        "480p/index.m3u8\n");

    v.average = 0;
    v.frame_rate = 0;
    m.nsounds = 0;
    check_text(avp_playlist_master(&m, &len),
               HEAD "#EXT-X-STREAM-INF:BANDWIDTH=1400000,"
                    "CODECS=\"avc1.64001f\",RESOLUTION=854x480,"
                    "CLOSED-CAPTIONS=NONE\n"
                    "480p/index.m3u8\n");
}
END_TEST

/* The variants once for each group, with the largest of its members. */
START_TEST(master_groups)
{
    avp_variant_t     v = { .uri = "v", .codecs = "avc1.640028",
                            .peak = 1000, .average = 100, .width = 16,
                            .height = 8, .frame_rate = 25 };
    avp_audio_media_t a[] = {
        { .group = "audio", .name = "One", .uri = "a1", .codecs = "mp4a.40.2",
          .language = "eng", .channels = 2, .peak = 20, .average = 9,
          .is_default = true },
        { .group = "audio", .name = "Two", .uri = "a2", .codecs = "mp4a.40.2",
          .language = "en", .channels = 1, .peak = 30, .average = 8 },
        { .group = "audio", .name = "Told", .uri = "a3", .codecs = "mp4a.40.2",
          .language = "eng", .channels = 2, .peak = 1, .average = 1,
          .described = true },
        { .group = "surround", .name = "One", .uri = "s", .codecs = "ac-3",
          .language = "eng", .channels = 6, .peak = 400, .average = 40,
          .is_default = true },
        { .group = "surround", .name = "Two", .uri = "a2",
          .codecs = "mp4a.40.2", .language = "en", .channels = 1,
          .peak = 30, .average = 8 },
    };
    avp_master_t      m = { .variants = &v, .nvariants = 1, .sounds = a,
                            .nsounds = 5 };
    size_t            len;

    check_text(
        avp_playlist_master(&m, &len),
        HEAD
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"One\","
        "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
        "URI=\"a1\"\n"
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Two\","
        "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS=\"1\","
        "URI=\"a2\"\n"
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Told\","
        "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,CHARACTERISTICS="
        "\"public.accessibility.describes-video\",CHANNELS=\"2\","
        "URI=\"a3\"\n"
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"surround\",NAME=\"One\","
        "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"6\","
        "URI=\"s\"\n"
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"surround\",NAME=\"Two\","
        "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS=\"1\","
        "URI=\"a2\"\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=1030,AVERAGE-BANDWIDTH=109,"
        "CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=16x8,"
        "FRAME-RATE=25.000,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE\nv\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=1400,AVERAGE-BANDWIDTH=140,"
        "CODECS=\"avc1.640028,ac-3,mp4a.40.2\",RESOLUTION=16x8,"
        "FRAME-RATE=25.000,AUDIO=\"surround\",CLOSED-CAPTIONS=NONE\nv\n");
}
END_TEST

START_TEST(master_texts)
{
    avp_variant_t    v = { .uri = "v", .codecs = "avc1.640028", .peak = 1000,
                           .width = 16, .height = 8, .range = "SDR" };
    avp_text_media_t t[] = {
        { .name = "English", .uri = "t1", .language = "eng" },
        { .name = "English CC", .uri = "t2", .language = "eng",
          .captions = true, .is_default = true },
        { .name = "Signs", .uri = "t3", .language = "fra", .forced = true },
        { .name = "More", .uri = "t4", .language = "en" },
    };
    avp_master_t     m = { .variants = &v, .nvariants = 1, .texts = t,
                           .ntexts = 4 };
    size_t           len;

    check_text(
        avp_playlist_master(&m, &len),
        HEAD
        "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"English\","
        "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"t1\"\n"
        "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"English CC\","
        "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,FORCED=NO,"
        "CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,"
        "public.accessibility.describes-music-and-sound\",URI=\"t2\"\n"
        "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"Signs\","
        "LANGUAGE=\"fr\",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES,URI=\"t3\"\n"
        "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"More\","
        "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=NO,FORCED=NO,URI=\"t4\"\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.640028\","
        "RESOLUTION=16x8,SUBTITLES=\"text\",CLOSED-CAPTIONS=NONE\nv\n");
}
END_TEST

/* VIDEO-RANGE is on all variants as soon as one is not SDR. */
START_TEST(master_ranges)
{
    avp_variant_t v[] = {
        { .uri = "a", .codecs = "avc1.640028", .peak = 1000, .width = 16,
          .height = 8, .range = "SDR" },
        { .uri = "b", .codecs = "hvc1.2.4.L120.B0", .peak = 1000, .width = 16,
          .height = 8, .range = "PQ", .iframes = "i", .iframes_peak = 7,
          .iframes_average = 5 },
    };
    avp_master_t  m = { .variants = v, .nvariants = 2 };
    size_t        len;

    check_text(avp_playlist_master(&m, &len),
               HEAD
               "#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.640028\","
               "RESOLUTION=16x8,VIDEO-RANGE=SDR,CLOSED-CAPTIONS=NONE\na\n"
               "#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"hvc1.2.4.L120.B0\","
               "RESOLUTION=16x8,VIDEO-RANGE=PQ,CLOSED-CAPTIONS=NONE\nb\n"
               "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=7,AVERAGE-BANDWIDTH=5,"
               "CODECS=\"hvc1.2.4.L120.B0\",RESOLUTION=16x8,VIDEO-RANGE=PQ,"
               "URI=\"i\"\n");
}
END_TEST

START_TEST(labels)
{
    char s[AVP_LABEL_MAX], longer[200];

    avp_label(s, "Deutsch", "Audio", 1);
    ck_assert_str_eq(s, "Deutsch");
    avp_label(s, "Deutsch", "Audio", 3);
    ck_assert_str_eq(s, "Deutsch 3");
    avp_label(s, NULL, "Audio", 2);
    ck_assert_str_eq(s, "Audio 2");
    avp_label(s, "  a \"b\"\r\n\x7f\xc2\x85 c ", "Audio", 0);
    ck_assert_str_eq(s, "a 'b' c");
    avp_label(s, "\n\t ", "Text", 0);
    ck_assert_str_eq(s, "Text");
    avp_label(s, "caf\xc3", "Text", 0); /* not UTF-8 */
    ck_assert_str_eq(s, "Text");
    memset(longer, 0, sizeof(longer));
    for (size_t i = 0; i + 3 < sizeof(longer); i += 3) {
        memcpy(longer + i, "\xe2\x82\xac", 3);
    }
    avp_label(s, longer, "Text", 12); /* cut between two characters */
    ck_assert_uint_eq(strlen(s), 63);
    ck_assert_str_eq(s + 60, " 12");
    ck_assert_uint_eq((unsigned char)s[59], 0xac);
}
END_TEST

START_TEST(order)
{
    avp_variant_t v[] = {
        { .uri = "4k", .codecs = "avc1", .height = 2160, .peak = 15000000 },
        { .uri = "480p", .codecs = "avc1", .height = 480, .peak = 900000 },
        { .uri = "hevc", .codecs = "hvc1", .height = 1080, .peak = 2000000 },
        { .uri = "1080p", .codecs = "avc1", .height = 1080, .peak = 5000000 },
        { .uri = "720p", .codecs = "avc1", .height = 720, .peak = 2400000 },
    };

    avp_variants_sort(v, 5);
    ck_assert_str_eq(v[0].uri, "720p");
    ck_assert_str_eq(v[1].uri, "480p");
    ck_assert_str_eq(v[2].uri, "hevc");
    ck_assert_str_eq(v[3].uri, "1080p");
    ck_assert_str_eq(v[4].uri, "4k");
    avp_variants_sort(v, 1);
    ck_assert_str_eq(v[0].uri, "720p");
    avp_variants_sort(v, 0);
}
END_TEST

START_TEST(languages)
{
    ck_assert_str_eq(avp_language_tag("eng"), "en");
    ck_assert_str_eq(avp_language_tag("fre"), "fr");
    ck_assert_str_eq(avp_language_tag("en"), "en");
    ck_assert_str_eq(avp_language_tag("haw"), "haw");
    ck_assert_str_eq(avp_language_tag(""), "und");
    ck_assert_str_eq(avp_language_tag(NULL), "und");
    ck_assert_str_eq(avp_language_tag("e\"n"), "und");
    ck_assert_str_eq(avp_language_tag("english"), "und");
}
END_TEST

UNIT_SUITE(playlist, grid, target, plan, plan_of_nothing, names, media_live, media_only_grows,
           media_vod, media_text, iframes, bitrates, master, master_groups,
           master_texts, master_ranges, labels, order, languages)
