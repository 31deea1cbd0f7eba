/* The numbers are those of the list of hostile inputs, 41 to 57. */

#include "lib/multipart.h"
#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LIT(literal) ((avp_str_t){ literal, sizeof(literal) - 1 })
#define TYPE "multipart/form-data; boundary=XbX"

static avp_multipart_t mp;

/* What a body is: "(name|filename|type:data)" a part, "." when it is done and
 * "!" where it is wrong. */
typedef struct {
    char  *text;
    size_t len, size;
} story_t;

static void
tell(story_t *s, const char *data, size_t n)
{
    if (s->len + n + 1 > s->size) {
        s->size = (s->len + n + 1) * 2;
        s->text = realloc(s->text, s->size);
    }
    memcpy(s->text + s->len, data, n);
    s->len += n;
    s->text[s->len] = '\0';
}

static void
tell_str(story_t *s, avp_str_t str)
{
    tell(s, str.data, str.len);
}

/* Feeds a copy of [data, data + n), so that ASan sees a read beyond it. */
static int
feed(story_t *s, const char *data, size_t n)
{
    char       *copy = malloc(n ? n : 1);
    const char *p = copy;
    avp_str_t   slice = { NULL, 0 };
    int         error = 0;

    memcpy(copy, data, n);
    for (;;) {
        avp_mp_event_t e = avp_multipart_next(&mp, &p, copy + n, &slice);

        switch (e) {
        case AVP_MP_PART:
            tell(s, "(", 1);
            tell_str(s, mp.name);
            tell(s, "|", 1);
            tell_str(s, mp.has_filename ? mp.filename : avp_str("-"));
            tell(s, "|", 1);
            tell_str(s, mp.content_type);
            tell(s, ":", 1);
            continue;
        case AVP_MP_DATA:
            ck_assert_uint_gt(slice.len, 0);
            tell_str(s, slice);
            continue;
        case AVP_MP_PART_END:
            tell(s, ")", 1);
            continue;
        case AVP_MP_DONE:
            tell(s, ".", 1);
            continue;
        case AVP_MP_ERROR:
            ck_assert_ptr_nonnull(mp.error);
            ck_assert_int_eq(avp_multipart_next(&mp, &p, copy + n, &slice),
                             AVP_MP_ERROR);
            tell(s, "!", 1);
            error = -1;
            break;
        default:
            ck_assert_ptr_eq(p, copy + n);
        }
        break;
    }
    free(copy);
    return error;
}

static void
finish(story_t *s, int error)
{
    if (avp_multipart_finish(&mp) != 0) {
        ck_assert_ptr_nonnull(mp.error);
        if (!error) {
            tell(s, "!", 1);
        }
    } else {
        ck_assert(!error);
    }
}

/* The body in pieces that end at `cuts`; malloc'ed. */
static story_t
story(const char *type, avp_str_t body, const size_t *cuts, size_t ncuts)
{
    story_t s = { NULL, 0, 0 };
    size_t  at = 0;
    int     error = 0;

    tell(&s, "", 0);
    ck_assert_int_eq(avp_multipart_init(&mp, avp_str_c(type)), 0);
    for (size_t i = 0; i <= ncuts && !error; i++) {
        size_t end = i < ncuts ? cuts[i] : body.len;

        error = feed(&s, body.data + at, end - at);
        at = end;
    }
    finish(&s, error);
    return s;
}

/* Whole, at every split, byte by byte, and at random splits: one story. */
static void
everywhere(const char *type, avp_str_t body, avp_str_t want)
{
    story_t s = story(type, body, NULL, 0);
    size_t *cuts = malloc((body.len + 1) * sizeof(size_t));

    ck_assert_msg(s.len == want.len && memcmp(s.text, want.data, s.len) == 0,
                  "whole: %s (%s)", s.text, mp.error ? mp.error : "no error");
    free(s.text);

    for (size_t i = 0; i <= body.len; i++) {
        s = story(type, body, &i, 1);
        ck_assert_msg(s.len == want.len
                          && memcmp(s.text, want.data, s.len) == 0,
                      "split at %zu: %s", i, s.text);
        free(s.text);
        cuts[i] = i;
    }

    s = story(type, body, cuts, body.len);
    ck_assert_msg(s.len == want.len && memcmp(s.text, want.data, s.len) == 0,
                  "byte by byte: %s", s.text);
    free(s.text);

    srand(42);
    for (int round = 0; round < 300; round++) {
        size_t n = 0, every = 1 + (size_t)rand() % 40;

        for (size_t i = 0; i < body.len; i++) {
            if ((size_t)rand() % every == 0) {
                cuts[n++] = i;
            }
        }
        s = story(type, body, cuts, n);
        ck_assert_msg(s.len == want.len
                          && memcmp(s.text, want.data, s.len) == 0,
                      "random round %d: %s", round, s.text);
        free(s.text);
    }
    free(cuts);
}

#define BODY(body, want) everywhere(TYPE, LIT(body), LIT(want))

/* A header of one part of name `a`, and the same with a body. */
#define CD "Content-Disposition: form-data; name=\"a\""
#define ONE(headers, data)                                                     \
    "--XbX\r\n" headers "\r\n\r\n" data "\r\n--XbX--\r\n"

START_TEST(forms) /* 42 */
{
    BODY(ONE(CD, "hello"), "(a|-|:hello).");
    BODY("--XbX\r\n" CD "\r\n\r\n1\r\n"
         "--XbX\r\nContent-Disposition: form-data; name=\"file\"; "
         "filename=\"clip.mp4\"\r\nContent-Type: video/mp4\r\n\r\n"
         "\0\0\0\x20" "ftypisom\r\r\n\n--Xb\r\n-\r\n--\r\n\r\n"
         "--XbX\r\nContent-Disposition: form-data; name=title\r\n\r\n"
         "My \xc3\xa9\r\n--XbX--\r\n",
         "(a|-|:1)(file|clip.mp4|video/mp4:"
         "\0\0\0\x20" "ftypisom\r\r\n\n--Xb\r\n-\r\n--\r\n)"
         "(title|-|:My \xc3\xa9).");
    /* no CRLF behind the last boundary, none before the first, an empty part
     * in both of its forms */
    BODY("--XbX\r\n" CD "\r\n\r\n\r\n--XbX--", "(a|-|:).");
    BODY("--XbX\r\n" CD "\r\n\r\n--XbX--", "(a|-|:).");
    BODY("--XbX--\r\n", ".");
    BODY("\r\n" ONE(CD, "x"), "(a|-|:x).");
}
END_TEST

START_TEST(look_alikes)
{
    BODY(ONE(CD, "--XbX"), "(a|-|:)!"); /* an empty part, and then text */
    BODY(ONE(CD, "--Xb"), "(a|-|:--Xb).");
    BODY(ONE(CD, "-"), "(a|-|:-).");
    BODY(ONE(CD, "x--XbX--"), "(a|-|:x--XbX--).");
    BODY(ONE(CD, "x\n--XbX--\n"), "(a|-|:x\n--XbX--\n).");
    BODY(ONE(CD, "x\r--XbX--"), "(a|-|:x\r--XbX--).");
    BODY(ONE(CD, "\r\n--XbXz"), "(a|-|:\r\n--XbXz).");
    BODY(ONE(CD, "\r\n--XbX-"), "(a|-|:\r\n--XbX-).");
    BODY(ONE(CD, "\r\n--XbX-z"), "(a|-|:\r\n--XbX-z).");
    BODY(ONE(CD, "\r\n--XbX\r"), "(a|-|:\r\n--XbX\r).");
    BODY(ONE(CD, "\r\n--XbX\r\r\n--Xb"), "(a|-|:\r\n--XbX\r\r\n--Xb).");
    BODY(ONE(CD, "\r\n--XbX\n"), "(a|-|:\r\n--XbX\n).");
    BODY(ONE(CD, "\r\n--Xb\r\n--Xb\r\n--X\r\n\r\n\r\r\r"),
         "(a|-|:\r\n--Xb\r\n--Xb\r\n--X\r\n\r\n\r\r\r).");
    /* transport padding, RFC 2046 5.1.1 */
    BODY("--XbX  \t\r\n" CD "\r\n\r\nx\r\n--XbX \t\r\n" CD "\r\n\r\ny"
         "\r\n--XbX-- \r\n", "(a|-|:x)(a|-|:y).");
    BODY(ONE(CD, "x\r\n--XbX z"), "(a|-|:x)!");
    BODY(ONE(CD, "x\r\n--XbX \rz"), "(a|-|:x)!");
}
END_TEST

START_TEST(margins) /* 43 45 */
{
    char *body = malloc(8192), want[] = "(a|-|:x).";
    int   n;

    BODY("preamble\r\n" ONE(CD, "x") "epilogue\r\n--XbX\r\n",
         "(a|-|:x).");
    BODY("--Xb\r\n--XbXy\r\n-\r\r\n" ONE(CD, "x") "--", "(a|-|:x).");
    BODY("--XbX--" "anything", ".");

    for (int size = 1023; size <= 1025; size++) { /* its CRLF is no text */
        story_t s;

        n = snprintf(body, 8192, "%0*d\r\n%s", size, 0, ONE(CD, "x"));
        s = story(TYPE, (avp_str_t){ body, (size_t)n }, NULL, 0);
        ck_assert_str_eq(s.text, size <= 1024 ? want : "!");
        free(s.text);

        n = snprintf(body, 8192, "%s%0*d", ONE(CD, "x"), size - 2, 0);
        s = story(TYPE, (avp_str_t){ body, (size_t)n }, NULL, 0);
        ck_assert_str_eq(s.text, size <= 1024 ? want : "(a|-|:x).!");
        free(s.text);
    }

    n = snprintf(body, 8192, "--XbX%*s\r\n" CD "\r\n\r\nx\r\n--XbX--", 1024,
                 "");
    everywhere(TYPE, (avp_str_t){ body, (size_t)n }, LIT("(a|-|:x)."));
    n = snprintf(body, 8192, "--XbX%*s\r\n" CD "\r\n\r\nx\r\n--XbX--", 1025,
                 "");
    everywhere(TYPE, (avp_str_t){ body, (size_t)n }, LIT("!"));
    free(body);
}
END_TEST

START_TEST(truncated) /* 44 */
{
    avp_str_t body = LIT(ONE(CD, "hello\r\n--Xb"));

    for (size_t n = 0; n < body.len - 2; n++) {
        story_t s = story(TYPE, (avp_str_t){ body.data, n }, NULL, 0);

        ck_assert_msg(s.text[s.len - 1] == '!', "%zu: %s", n, s.text);
        free(s.text);
    }
    BODY("", "!");
    BODY("nothing at all", "!");
}
END_TEST

START_TEST(line_ends) /* 57 */
{
    BODY("--XbX\n" CD "\n\nhello\n--XbX--\n", "!");
    BODY("--XbX\r\n" CD "\n\nhello\r\n--XbX--\r\n", "!");
    BODY("--XbX\r\n" CD "\r\n\nhello\r\n--XbX--\r\n", "!");
    BODY("--XbX\r\n" CD "\r\r\nhello\r\n--XbX--\r\n", "!");
    BODY("--XbX\r\n" CD "\r\n\rhello\r\n--XbX--\r\n", "!");
    BODY("--XbX\r\n" CD "\r\n\r\nhello\n--XbX--\n", "(a|-|:hello\n--XbX--\n!");
    BODY("--XbX\r\n\n", "!");
}
END_TEST

START_TEST(many_parts) /* 48 */
{
    static const char part[] = "--XbX\r\n" CD "\r\n\r\nx\r\n";
    char             *body = malloc(64 * sizeof(part));

    for (int parts = 32; parts <= 33; parts++) {
        size_t  n = 0;
        story_t s;

        for (int i = 0; i < parts; i++) {
            memcpy(body + n, part, sizeof(part) - 1);
            n += sizeof(part) - 1;
        }
        memcpy(body + n, "--XbX--", 7);
        s = story(TYPE, (avp_str_t){ body, n + 7 }, NULL, 0);
        ck_assert_uint_eq(s.len, parts == 32 ? 32 * 8 + 1 : 32 * 8 + 1);
        ck_assert_int_eq(s.text[s.len - 1], parts == 32 ? '.' : '!');
        free(s.text);
    }
    free(body);
}
END_TEST

START_TEST(long_headers) /* 49 */
{
    char *body = malloc(20000);

    for (int size = AVP_MP_HEADER_MAX - 1; size <= AVP_MP_HEADER_MAX + 1;
         size++)
    {
        /* the header with its empty line is `size` bytes */
        int     fill = size - (int)sizeof(CD "\r\nX: \r\n\r\n") + 1;
        int     n = snprintf(body, 20000, "--XbX\r\n" CD "\r\nX: %0*d\r\n\r\nx"
                                          "\r\n--XbX--", fill, 0);
        story_t s = story(TYPE, (avp_str_t){ body, (size_t)n }, NULL, 0);

        ck_assert_str_eq(s.text, size <= AVP_MP_HEADER_MAX ? "(a|-|:x)."
                                                           : "!");
        free(s.text);
    }
    free(body);
}
END_TEST

/* One part with this header; its story without data. */
static const char *
with_header(avp_str_t headers)
{
    static char text[AVP_MP_HEADER_MAX + 64];
    char       *body = malloc(headers.len + 64);
    story_t     s;

    memcpy(body, "--XbX\r\n", 7);
    memcpy(body + 7, headers.data, headers.len);
    memcpy(body + 7 + headers.len, "\r\n\r\n\r\n--XbX--", 13);
    s = story(TYPE, (avp_str_t){ body, headers.len + 20 }, NULL, 0);
    snprintf(text, sizeof(text), "%s", s.text);
    free(s.text);
    free(body);
    return text;
}

#define HEADER(headers) with_header(LIT(headers))
#define FD "Content-Disposition: form-data; "

START_TEST(names) /* 51 */
{
    ck_assert_str_eq(HEADER(FD "name=\"a\"; filename=\"b\""), "(a|b|:).");
    ck_assert_str_eq(HEADER(FD "filename=\"b\"; name=\"a\""), "(a|b|:).");
    /* name= inside of filename= is no name */
    ck_assert_str_eq(HEADER(FD "filename=\"x; name=\\\"evil\\\"\"; name=\"a\""),
                     "(a|x; name=\"evil\"|:).");
    ck_assert_str_eq(HEADER(FD "filename=\"x; name=evil\""), "!");
    ck_assert_str_eq(HEADER("content-DISPOSITION:form-data;NAME=a ; "
                            "FileName=b"), "(a|b|:).");
    ck_assert_str_eq(HEADER(FD "name=\"a\";"), "(a|-|:).");
    ck_assert_str_eq(HEADER(FD "name=\"\""), "(|-|:).");
    ck_assert_str_eq(HEADER(FD "name=\"a\"; filename=\"\""), "(a||:).");
    ck_assert_str_eq(HEADER(FD "name = \"a\" ; x=y"), "(a|-|:).");

    ck_assert_str_eq(HEADER(FD "name=a; filename=\"../../etc/passwd\""),
                     "(a|../../etc/passwd|:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename=\"C:\\x\\y.mp4\""),
                     "(a|C:\\x\\y.mp4|:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename=\"q\\\"q\\\\q\""),
                     "(a|q\"q\\q|:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename=\"ends in \\\""),
                     "(a|ends in \\|:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename=\"a%22b%0D.mp4\""),
                     "(a|a%22b%0D.mp4|:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename=\"\xc3\xa9\xff\""),
                     "(a|\xc3\xa9\xff|:).");

    /* RFC 5987, either order */
    ck_assert_str_eq(HEADER(FD "name=a; filename=\"e\"; "
                               "filename*=UTF-8''%C3%A9%20x"),
                     "(a|\xc3\xa9 x|:).");
    ck_assert_str_eq(HEADER(FD "filename*=utf-8'en'%e2%82%ac; filename=e; "
                               "name=a"), "(a|\xe2\x82\xac|:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename*=UTF-8''"), "(a||:).");
    ck_assert_str_eq(HEADER(FD "name=a; filename*=iso-8859-1''%e9"), "!");
    ck_assert_str_eq(HEADER(FD "name=a; filename*=UTF-8'x"), "!");
    ck_assert_str_eq(HEADER(FD "name=a; filename*=UTF-8''%e"), "!");
    ck_assert_str_eq(HEADER(FD "name=a; filename*=UTF-8''%zz"), "!");
    ck_assert_str_eq(HEADER(FD "name=a; filename*=x"), "!");
}
END_TEST

START_TEST(bad_headers) /* 54 */
{
    static const char *const bad[] = {
        "X: y", "Content-Type: video/mp4", "Content-Disposition",
        "Content-Disposition: ", "Content-Disposition: attachment; name=a",
        "Content-Disposition: form-data", "Content-Disposition: form-dataname",
        FD "filename=b", FD "name=a; name=b", FD "name=a; filename=b; "
        "filename=c", FD "name", FD "name=", FD "name=\"a", FD "=a",
        FD "name=a b", FD "name=\"a\"b", FD "name=a\"b\"", FD "; name=a",
        FD "name=a\r\n" FD "name=b", ": x", "X : y\r\n" CD,
        CD "\r\n folded: x", CD "\r\nno colon",
        CD "\r\nContent-Type: multipart/mixed; boundary=c",
        CD "\r\nContent-Type: Multipart/Form-Data",
        CD "\r\nContent-Transfer-Encoding: base64",
        CD "\r\nContent-Transfer-Encoding: quoted-printable",
        CD "\r\nContent-Transfer-Encoding:",
        CD "\r\nContent-Type: a/b\r\nContent-Type: a/b",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(strcmp(with_header(avp_str_c(bad[i])), "!") == 0,
                      "accepted %s", bad[i]);
    }
    ck_assert_str_eq(with_header(LIT(FD "name=\"a\0\"")), "!");
    ck_assert_str_eq(with_header(LIT("")), "!"); /* CRLF CRLF at once */

    ck_assert_str_eq(HEADER(CD "\r\nContent-Transfer-Encoding: BINARY"),
                     "(a|-|:).");
    ck_assert_str_eq(HEADER(CD "\r\nContent-Transfer-Encoding: 8bit\r\n"
                               "X-Other: \xff"), "(a|-|:).");
    ck_assert_str_eq(HEADER("Content-Type:\ttext/html; charset=x \r\n" CD),
                     "(a|-|text/html; charset=x:).");
}
END_TEST

static const char *
init(avp_str_t type)
{
    int rc = avp_multipart_init(&mp, type);

    if (rc == 0) {
        ck_assert_uint_ge(mp.delim_len, 5);
        return "ok";
    }
    ck_assert_int_eq(avp_multipart_next(&mp, &(const char *){ "x" }, "x" + 1,
                                        &(avp_str_t){ NULL, 0 }),
                     AVP_MP_ERROR);
    ck_assert_int_eq(avp_multipart_finish(&mp), -1);
    return mp.error ? "400" : "415";
}

#define FORM "multipart/form-data"
#define B70                                                                    \
    "01234567890123456789012345678901234567890123456789012345678901234567" "89"

START_TEST(boundaries) /* 41 */
{
    static const char *const ok[] = {
        FORM ";boundary=x", "MULTIPART/Form-Data; Boundary=x",
        FORM "; charset=utf-8; boundary=x", FORM "; boundary=\"x y\"",
        FORM " ; boundary = x ;", FORM "; boundary=" B70,
        FORM "; boundary=\"" B70 "\"", FORM "; boundary=a'()+_,-./:=?z",
        FORM "; boundary=\"gc0pJq0M:08jU534c0p\"",
        FORM "; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
    };
    static const char *const bad[] = {
        FORM, FORM ";", FORM "; boundary", FORM "; boundary=",
        FORM "; boundary=\"\"", FORM "; boundary=\"x", FORM "; boundary=" B70
        "x", FORM "; boundary=\"x \"", FORM "; boundary=x y",
        FORM "; boundary=x@y", FORM "; boundary=\"a\r\nb\"",
        FORM "; boundary=\xc3\xa9", FORM "; boundary=x; boundary=x",
        FORM "; boundary=x; boundary=y", FORM "; charset=x",
        FORM "; xboundary=x", FORM "; boundary=*", FORM " boundary=x",
        FORM ", boundary=x",
    };
    static const char *const other[] = {
        "", "multipart", "multipart/", "multipart/mixed; boundary=x",
        "application/json", "multipart/form-datax; boundary=x",
        "multipart /form-data; boundary=x", "form-data; boundary=x",
    };
    char *long_type = malloc(20000);

    for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
        ck_assert_msg(strcmp(init(avp_str_c(ok[i])), "ok") == 0, "%s: %s",
                      ok[i], mp.error);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(strcmp(init(avp_str_c(bad[i])), "400") == 0, "%s",
                      bad[i]);
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        ck_assert_msg(strcmp(init(avp_str_c(other[i])), "415") == 0, "%s",
                      other[i]);
    }
    ck_assert_str_eq(init((avp_str_t){ NULL, 0 }), "415");
    snprintf(long_type, 20000, FORM "; x=\"%010000d\"; boundary=x", 0);
    ck_assert_str_eq(init(avp_str_c(long_type)), "400");
    free(long_type);

    everywhere(FORM "; boundary=\"a b\"",
               LIT("--a b\r\n" CD "\r\n\r\nx\r\n--a\r\n--a b--\r\n"),
               LIT("(a|-|:x\r\n--a)."));
    everywhere(FORM "; boundary=-",
               LIT("---\r\n" CD "\r\n\r\n--\r\n--\r\n-----"),
               LIT("(a|-|:--\r\n--)."));
    everywhere(FORM "; boundary=" B70,
               LIT("--" B70 "\r\n" CD "\r\n\r\nx\r\n--" B70 "--\r\n"),
               LIT("(a|-|:x)."));
}
END_TEST

/* CPU seconds for a body of this filler, in pieces of `piece`. */
static double
flood(const char *filler, size_t size, size_t piece)
{
    size_t      n = strlen(filler);
    char       *body = malloc(size + n);
    const char *p;
    avp_str_t   slice;
    clock_t     start;
    size_t      data = 0;

    for (size_t i = 0; i < size; i += n) {
        memcpy(body + i, filler, n);
    }

    avp_multipart_init(&mp, avp_str(FORM "; boundary=" B70));
    p = "--" B70 "\r\n" CD "\r\n\r\n";
    ck_assert_int_eq(avp_multipart_next(&mp, &p, p + strlen(p), &slice),
                     AVP_MP_PART);

    start = clock();
    for (size_t at = 0; at < size; at += piece) {
        size_t      end = at + piece < size ? at + piece : size;
        const char *q = body + at;

        while (avp_multipart_next(&mp, &q, body + end, &slice) == AVP_MP_DATA)
        {
            data += slice.len;
        }
    }
    free(body);
    ck_assert_uint_ge(data + 80, size);
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

START_TEST(floods) /* 55 */
{
    static const char *const fillers[] = {
        "\r\n--" B70 "x", "\r\n--0123456789012345678901234567890", "\r", "\r\n",
        "\r\n--" B70 "-", "\r\n--" B70 "\r", "\r\n-",
    };
    static const size_t pieces[] = { 65536, 74, 7 };

    for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++) {
        for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
            double small = flood(fillers[i], 200000, pieces[k]);
            double large = flood(fillers[i], 1600000, pieces[k]);

            /* eight times the bytes: not sixty-four times the time */
            ck_assert_msg(large < 24 * small + 0.1, "filler %zu, pieces of "
                          "%zu: %f s and %f s", i, pieces[k], small, large);
        }
    }
}
END_TEST

UNIT_SUITE(multipart, forms, look_alikes, margins, truncated, line_ends,
           many_parts, long_headers, names, bad_headers, boundaries, floods)
