#include "lib/cue_text.h"
#include "lib/text.h"
#include "t/unit/unit.h"

#include <stdio.h>

#define HEAD "0,0,Default,,0,0,0,,"

static const char *
cue(const char *text)
{
    static char dst[AVP_CUE_MAX];
    char        event[512];
    size_t      n;

    snprintf(event, sizeof(event), HEAD "%s", text);
    n = avp_cue_from_ass(dst, avp_str_c(event));
    ck_assert_uint_eq(n, strlen(dst));
    return dst;
}

START_TEST(plain_text)
{
    ck_assert_str_eq(cue("Hello, world"), "Hello, world");
    ck_assert_str_eq(cue("Tom & Jerry <3 -->"),
                     "Tom &amp; Jerry &lt;3 --&gt;");
    ck_assert_str_eq(cue("gr\xc3\xbc\xc3\x9f" "e \xe4\xbd\xa0"),
                     "gr\xc3\xbc\xc3\x9f" "e \xe4\xbd\xa0");
    ck_assert_str_eq(cue("a\xff" "b\x80"), "a\xef\xbf\xbd" "b\xef\xbf\xbd");
    ck_assert_str_eq(cue("a\x01\x7f" "b\xc2\x85" "c"), "abc");
    ck_assert_str_eq(cue("C:\\\xe2\x81\xa0Nothing"), "C:\\Nothing");
    ck_assert_str_eq(cue("end\\"), "end\\");
    ck_assert_str_eq(cue("\\{x\\}{}"), "{x}");
    ck_assert_str_eq(cue("{never closed"), "{never closed");
}
END_TEST

/* A blank line ends a cue, and what follows would be one of its own. */
START_TEST(lines)
{
    ck_assert_str_eq(cue("one\\Ntwo\\nthree"), "one\ntwo\nthree");
    ck_assert_str_eq(cue("\\N\\None\\N\\N\\Ntwo\\N"), "one\ntwo");
    ck_assert_str_eq(cue("one\n\n00:00:01.000 --> 00:00:02.000\n"),
                     "one\n00:00:01.000 --&gt; 00:00:02.000");
    ck_assert_str_eq(cue("one\\N  \\Ntwo"), "one\ntwo");
    ck_assert_str_eq(cue("one\\N\\h\\Ntwo"), "one\ntwo");
    ck_assert_str_eq(cue("a\\hb"), "a\xc2\xa0" "b");
    ck_assert_str_eq(cue("one\r\ntwo"), "one\ntwo");
}
END_TEST

START_TEST(markup)
{
    ck_assert_str_eq(cue("{\\i1}a{\\i0} b"), "<i>a</i> b");
    ck_assert_str_eq(cue("{\\b1}a{\\i1}b{\\b0}c"),
                     "<b>a<i>b</i></b><i>c</i>");
    ck_assert_str_eq(cue("{\\b700\\u1}a{\\r}b"), "<b><u>a</u></b>b");
    ck_assert_str_eq(cue("{\\b400}a"), "a");
    ck_assert_str_eq(cue("{\\an8\\pos(1,2)\\bord3\\iclip(0,0,1,1)}a"), "a");
    ck_assert_str_eq(cue("{\\p1}m 0 0 l 9 9{\\p0}after"), "after");
    ck_assert_str_eq(cue("{\\i1}never closed"), "<i>never closed</i>");
    ck_assert_str_eq(cue("{\\i1}a\\Nb{\\i0}"), "<i>a\nb</i>");
    ck_assert_str_eq(cue("{\\i1}a{\\i0}\\Nb"), "<i>a</i>\nb");
}
END_TEST

START_TEST(nothing)
{
    char dst[AVP_CUE_MAX];

    ck_assert_str_eq(cue(""), "");
    ck_assert_str_eq(cue(" \\N \\h{\\i1}{\\i0}"), "");
    ck_assert_uint_eq(avp_cue_from_ass(dst, avp_str("no,fields")), 0);
    ck_assert_uint_eq(avp_cue_from_ass(dst, (avp_str_t){ NULL, 0 }), 0);
}
END_TEST

START_TEST(bounds)
{
    static char event[3 * AVP_CUE_MAX], dst[AVP_CUE_MAX];
    size_t      n = strlen(HEAD);

    memcpy(event, HEAD "{\\i1\\b1\\u1}", n + 12);
    for (size_t i = n + 12; i + 3 <= sizeof(event); i += 3) {
        memcpy(event + i, "\xe2\x82\xac", 3);
    }
    n = avp_cue_from_ass(dst, (avp_str_t){ event, sizeof(event) - 3 });
    ck_assert_uint_lt(n, AVP_CUE_MAX);
    ck_assert_uint_gt(n, AVP_CUE_MAX - 64);
    ck_assert(avp_utf8_valid(avp_str_c(dst)));
    ck_assert_str_eq(dst + n - 12, "</u></b></i>");
}
END_TEST

UNIT_SUITE(cue_text, plain_text, lines, markup, nothing, bounds)
