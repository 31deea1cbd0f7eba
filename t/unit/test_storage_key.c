#include "lib/storage_key.h"
#include "t/unit/unit.h"

#define P "1-0123456789abcdef"
#define L64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

START_TEST(originals)
{
    char key[AVP_KEY_MAX];

    ck_assert_int_eq(avp_key_original(key,
        "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345", AVP_FMT_MOV), 0);
    ck_assert_str_eq(key, "originals/0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345/"
                          "source.mov");
    ck_assert_int_eq(avp_key_original(key, "../../etc/passwd", AVP_FMT_MP4),
                     -1);
    ck_assert_int_eq(avp_key_original(key,
        "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345", AVP_FMT_UNKNOWN), -1);
}
END_TEST

START_TEST(prefixes)
{
    static const char *const bad[] = {
        "", "-", "1", "1-", "-0123456789abcdef", "0-0123456789abcdef",
        "01-0123456789abcdef", "1-0123456789abcde", "1-0123456789abcdeff",
        "1-0123456789ABCDEF", "1-0123456789abcdeg", "a-0123456789abcdef",
        "1_0123456789abcdef", "12345678901-0123456789abcdef",
        "1-0123456789abcdef/", "+1-0123456789abcdef",
    };

    ck_assert_int_eq(avp_prefix_check(avp_str(P)), 0);
    ck_assert_int_eq(avp_prefix_check(avp_str("2147483647-00000000ffffffff")),
                     0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(avp_prefix_check(avp_str_c(bad[i])) == -1,
                      "accepted \"%s\"", bad[i]);
    }
}
END_TEST

START_TEST(good_paths)
{
    static const char *const good[] = {
        P "/poster.jpg", P "/poster.webp", P "/storyboard.vtt",
        P "/storyboard/sheet-0000.jpg", P "/mp4/480p.mp4",
        P "/webm/1080p.webm", P "/hls/master.m3u8", P "/hls/live-master.m3u8",
        P "/hls/480p/s00000.m4s", P "/hls/480p/init.mp4",
        P "/hls/audio/index.m3u8", P "/dash/manifest.mpd",
        P "/" L64 "/" L64 "/" L64 ".mp4", P "/a_b/c.mp4",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(avp_object_path_check(avp_str_c(good[i])) == 0,
                      "refused \"%s\"", good[i]);
    }
}
END_TEST

START_TEST(bad_paths)
{
    static const char *const bad[] = {
        "", "/", P, P "/", P "//poster.jpg", "/" P "/poster.jpg",
        P "/../poster.jpg", P "/./poster.jpg", P "/..", P "/.mp4",
        P "/poster", P "/poster.", P "/poster.jpeg", P "/poster.JPG",
        P "/Poster.jpg", P "/poster.jpg/", P "/poster.jpg.gz",
        P "/poster.tar.mp4", P "/hls/480p.x/s.m4s", P "/a/b/c/d.mp4",
        P "/a b.mp4", P "/a%2e.mp4", P "/a\\b.mp4", P "/" L64 "a.mp4",
        P "/" L64 "a/b.mp4", "poster.jpg", "0-0123456789abcdef/poster.jpg",
        P "/poster.html", P "/poster.php", P "/\xc3\xa9.mp4", P "/a?.mp4",
        P "/poster.mp4 ", P "/source.mov",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(avp_object_path_check(avp_str_c(bad[i])) == -1,
                      "accepted \"%s\"", bad[i]);
    }
    ck_assert_int_eq(avp_object_path_check(
        (avp_str_t){ P "/a\0.mp4", sizeof(P "/a\0.mp4") - 1 }), -1);
    ck_assert_int_eq(avp_object_path_check((avp_str_t){ NULL, 0 }), -1);
}
END_TEST

UNIT_SUITE(storage_key, originals, prefixes, good_paths, bad_paths)
