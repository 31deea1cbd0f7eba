#include "lib/text.h"
#include "t/unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define LIT(literal) ((avp_str_t){ literal, sizeof(literal) - 1 })

START_TEST(utf8)
{
    static const char *const good[] = {
        "", "abc", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf", "z\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
    };
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2z",
        "\xe0\x9f\xbf", "\xe2\x82", "\xe2z\xac", "\xe2\x82z", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98",
        "\xf0\x9f\x98z", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
        "\xfe", "ok\xc3",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(avp_utf8_valid(avp_str_c(good[i])), "refused %zu", i);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!avp_utf8_valid(avp_str_c(bad[i])), "accepted %zu", i);
    }
    ck_assert(!avp_utf8_valid(LIT("a\0b")));
    ck_assert(avp_utf8_valid((avp_str_t){ NULL, 0 }));
    ck_assert_uint_eq(avp_utf8_count(
        avp_str("z\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
    ck_assert_uint_eq(avp_utf8_count(avp_str("")), 0);
}
END_TEST

START_TEST(controls)
{
    ck_assert(!avp_text_has_controls(avp_str("plain \xc3\xa9"), false));
    ck_assert(avp_text_has_controls(avp_str("a\nb"), false));
    ck_assert(!avp_text_has_controls(avp_str("a\r\n\tb"), true));
    ck_assert(avp_text_has_controls(avp_str("a\x0b"), true));
    ck_assert(avp_text_has_controls(avp_str("\x7f"), true));
    ck_assert(avp_text_has_controls(avp_str("\x1b[31m"), true));
    ck_assert(avp_text_has_controls(avp_str("\xc2\x85"), true)); /* C1 NEL */
    ck_assert(avp_text_has_controls(avp_str("\xc2\x9f"), false));
    ck_assert(!avp_text_has_controls(avp_str("\xc2\xa0"), false));
    ck_assert(avp_text_has_controls(LIT("\0"), true));
    ck_assert(!avp_text_has_controls(avp_str("\xff\xfe"), false));
}
END_TEST

static const char *
name_of(avp_str_t filename)
{
    static char dst[256];

    avp_display_name(dst, filename);
    ck_assert(avp_utf8_valid(avp_str_c(dst)));
    return dst;
}

START_TEST(display_names)
{
    char   full[600];
    size_t n;

    ck_assert_str_eq(name_of(LIT("clip.mp4")), "clip.mp4");
    ck_assert_str_eq(name_of(LIT("../../etc/passwd")), "passwd");
    ck_assert_str_eq(name_of(LIT("C:\\x\\y.mov")), "y.mov");
    ck_assert_str_eq(name_of(LIT("/a\\b/c")), "c");
    ck_assert_str_eq(name_of(LIT("")), "upload");
    ck_assert_str_eq(name_of(LIT("..")), "upload");
    ck_assert_str_eq(name_of(LIT("a/.")), "upload");
    ck_assert_str_eq(name_of(LIT("dir/")), "upload");
    ck_assert_str_eq(name_of(LIT(".bashrc")), ".bashrc");
    ck_assert_str_eq(name_of(LIT("a\0b.mp4")), "a\xef\xbf\xbd" "b.mp4");
    ck_assert_str_eq(name_of(LIT("a\r\nb")), "a\xef\xbf\xbd\xef\xbf\xbd" "b");
    ck_assert_str_eq(name_of(LIT("\xff\xc3\xa9")), "\xef\xbf\xbd\xc3\xa9");
    ck_assert_str_eq(name_of(LIT("a\"b; rm -rf.mp4")), "a\"b; rm -rf.mp4");

    /* 4 KB names are cut at a character */
    for (n = 0; n < sizeof(full) - 2; n += 2) {
        memcpy(full + n, "\xc3\xa9", 2);
    }
    ck_assert_uint_eq(strlen(name_of((avp_str_t){ full, n })), 254);
    memset(full, 'x', sizeof(full));
    ck_assert_uint_eq(strlen(name_of((avp_str_t){ full, 255 })), 255);
    ck_assert_uint_eq(strlen(name_of((avp_str_t){ full, 256 })), 255);
}
END_TEST

static const char *
disposition(avp_str_t title, const char *ending)
{
    static char dst[4096];
    int         n = avp_content_disposition(dst, sizeof(dst), title, ending);

    ck_assert_int_eq(n, (int)strlen(dst));
    for (int i = 0; i < n; i++) {
        ck_assert(dst[i] >= 0x20 && dst[i] < 0x7f);
    }
    return dst;
}

START_TEST(dispositions) /* RFC 6266, RFC 5987 */
{
    char dst[64];

    ck_assert_str_eq(disposition(LIT("clip"), "mp4"),
                     "attachment; filename=\"clip.mp4\"; "
                     "filename*=UTF-8''clip.mp4");
    ck_assert_str_eq(disposition(LIT("My clip"), "mp4"),
                     "attachment; filename=\"My clip.mp4\"; "
                     "filename*=UTF-8''My%20clip.mp4");
    ck_assert_str_eq(disposition(LIT("\xc3\xa9t\xc3\xa9"), "webm"),
                     "attachment; filename=\"_t_.webm\"; "
                     "filename*=UTF-8''%C3%A9t%C3%A9.webm");
    ck_assert_str_eq(disposition(LIT("a\"b%41"), "mp4"),
                     "attachment; filename=\"a_b_41.mp4\"; "
                     "filename*=UTF-8''a%22b%2541.mp4");
    ck_assert_str_eq(disposition(LIT("x\r\nSet-Cookie: a=b"), "mp4"),
                     "attachment; filename=\"x__Set-Cookie_ a=b.mp4\"; "
                     "filename*=UTF-8''x__Set-Cookie_%20a%3Db.mp4");
    ck_assert_str_eq(disposition(LIT("../a\\b"), "mp4"),
                     "attachment; filename=\"_._a_b.mp4\"; "
                     "filename*=UTF-8''_._a_b.mp4");
    ck_assert_str_eq(disposition(LIT("\xff"), NULL),
                     "attachment; filename=\"_\"; "
                     "filename*=UTF-8''%EF%BF%BD");
    ck_assert_str_eq(disposition(LIT(""), ""),
                     "attachment; filename=\"video\"; "
                     "filename*=UTF-8''video");

    for (size_t n = 0; n < sizeof("attachment; filename=\"c.mp4\"; "
                                  "filename*=UTF-8''c.mp4"); n++)
    {
        ck_assert_int_eq(avp_content_disposition(dst, n, LIT("c"), "mp4"), -1);
    }
    ck_assert_int_gt(avp_content_disposition(dst, sizeof(dst), LIT("c"),
                                             "mp4"), 0);
}
END_TEST

START_TEST(json_strings)
{
    char     all[128], dst[1024];
    long     n;
    json_t  *back;

    n = avp_json_escape(dst, sizeof(dst),
                        LIT("a\"\\/\n\r\t\b\x1f\x7f\xc3\xa9"));
    ck_assert_int_gt(n, 0);
    dst[n] = '\0';
    ck_assert_str_eq(dst, "\"a\\\"\\\\/\\n\\r\\t\\u0008\\u001f\\u007f\xc3\xa9"
                          "\"");

    /* jansson reads back what was written */
    for (int i = 0; i < 127; i++) {
        all[i] = (char)(i + 1);
    }
    n = avp_json_escape(dst, sizeof(dst), (avp_str_t){ all, 127 });
    ck_assert_int_gt(n, 0);
    back = json_loadb(dst, (size_t)n, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(back);
    ck_assert_uint_eq(json_string_length(back), 127);
    ck_assert_mem_eq(json_string_value(back), all, 127);
    json_decref(back);

    n = avp_json_escape(dst, sizeof(dst), LIT("\0\xff"));
    ck_assert_int_eq(n, 11);
    ck_assert_mem_eq(dst, "\"\\u0000\xef\xbf\xbd\"", 11);
    ck_assert_int_eq(avp_json_escape(dst, sizeof(dst), LIT("")), 2);

    for (size_t size = 0; size < 6; size++) {
        ck_assert_int_eq(avp_json_escape(dst, size, LIT("ab\n")), -1);
    }
    ck_assert_int_eq(avp_json_escape(dst, 6, LIT("ab\n")), 6);
}
END_TEST

START_TEST(labels)
{
    char dst[16];

    avp_text_label(dst, sizeof(dst), avp_str("  Director\x27s \t cut\n"));
    ck_assert_str_eq(dst, "Director's cut");
    avp_text_label(dst, sizeof(dst), avp_str("a\xff" "b"));
    ck_assert_str_eq(dst, "a\xef\xbf\xbd" "b");
    avp_text_label(dst, sizeof(dst), avp_str("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                                        "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"));
    ck_assert_uint_eq(strlen(dst), 15); /* whole characters */
    avp_text_label(dst, sizeof(dst), avp_str("\x01\x02 \n"));
    ck_assert_str_eq(dst, "");
    avp_text_label(dst, sizeof(dst), (avp_str_t){ NULL, 0 });
    ck_assert_str_eq(dst, "");
}
END_TEST

UNIT_SUITE(text, utf8, controls, display_names, labels, dispositions,
           json_strings)
