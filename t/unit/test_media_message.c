#include "t/unit/unit.h"

#include "lib/media_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
parse(avp_media_message_t *m, const char *line)
{
    return avp_media_message_parse(m, avp_str_c(line));
}

static void
refused(const char *line)
{
    avp_media_message_t m;

    ck_assert_msg(parse(&m, line) == -1, "accepted: %s", line);
    ck_assert_ptr_null(m.doc);
}

START_TEST(plan)
{
    avp_media_message_t m;

    ck_assert_int_eq(
        parse(&m, "{\"t\":\"plan\",\"passes\":2,\"cpuSeconds\":71.5,"
                  "\"memoryBytes\":1.0e9,\"outputBytes\":12345678,"
                  "\"duration\":19.28,\"text\":\"two passes\"}"),
        0);
    ck_assert_int_eq(m.kind, AVP_MEDIA_PLAN);
    ck_assert_int_eq(m.passes, 2);
    ck_assert_double_eq_tol(m.cpu_seconds, 71.5, 1e-9);
    ck_assert_int_eq(m.memory_bytes, 1000000000);
    ck_assert_int_eq(m.output_bytes, 12345678);
    ck_assert_double_eq_tol(m.duration, 19.28, 1e-9);
    ck_assert_str_eq(m.text, "two passes");
    avp_media_message_free(&m);

    refused("{\"t\":\"plan\",\"passes\":0,\"cpuSeconds\":1,\"memoryBytes\":1,"
            "\"outputBytes\":1,\"duration\":1}");
    refused("{\"t\":\"plan\",\"passes\":1,\"cpuSeconds\":-1,\"memoryBytes\":1,"
            "\"outputBytes\":1,\"duration\":1}");
    refused("{\"t\":\"plan\",\"passes\":1,\"cpuSeconds\":1,"
            "\"memoryBytes\":1e300,\"outputBytes\":1,\"duration\":1}");
    refused("{\"t\":\"plan\",\"passes\":1,\"cpuSeconds\":1,"
            "\"memoryBytes\":1,\"duration\":1}");
    refused("{\"t\":\"plan\",\"passes\":\"1\",\"cpuSeconds\":1,"
            "\"memoryBytes\":1,\"outputBytes\":1,\"duration\":1}");
}
END_TEST

START_TEST(progress)
{
    avp_media_message_t m;

    ck_assert_int_eq(parse(&m, "{\"t\":\"progress\",\"progress\":42,"
                               "\"task\":\"encode 480p\",\"eta\":12}"),
                     0);
    ck_assert_int_eq(m.kind, AVP_MEDIA_PROGRESS);
    ck_assert_int_eq(m.progress, 42);
    ck_assert_int_eq(m.eta, 12);
    ck_assert_str_eq(m.text, "encode 480p");

    ck_assert_int_eq(
        parse(&m, "{\"t\":\"progress\",\"progress\":0,\"task\":\"\"}"), 0);
    ck_assert_int_eq(m.eta, -1);
    ck_assert_int_eq(parse(&m, "{\"t\":\"progress\",\"progress\":99,"
                               "\"task\":\"x\",\"eta\":null}"),
                     0);
    ck_assert_int_eq(m.eta, -1);

    refused("{\"t\":\"progress\",\"progress\":100,\"task\":\"x\"}");
    refused("{\"t\":\"progress\",\"progress\":-1,\"task\":\"x\"}");
    refused("{\"t\":\"progress\",\"progress\":1.5,\"task\":\"x\"}");
    refused("{\"t\":\"progress\",\"progress\":1}");
    refused("{\"t\":\"progress\",\"progress\":1,\"task\":\"a\\u0001b\"}");
    refused("{\"t\":\"progress\",\"progress\":1,\"task\":\"a\\nb\"}");
    refused("{\"t\":\"progress\",\"progress\":1,\"task\":\"x\",\"eta\":-2}");
    refused("{\"t\":\"progress\",\"progress\":1,\"task\":\"x\",\"n\":1}");
}
END_TEST

START_TEST(errors)
{
    static const char *const never[]
        = { "cancelled", "drained", "lease_lost", "not_found",
            "internal_error", "no_such_code", "" };
    avp_media_message_t m;
    char                line[200];

    ck_assert_int_eq(parse(&m, "{\"t\":\"error\",\"code\":\"no_video\","
                               "\"detail\":\"only sound\"}"),
                     0);
    ck_assert_int_eq(m.kind, AVP_MEDIA_ERROR);
    ck_assert_int_eq(m.error, AVP_ERR_NO_VIDEO);
    ck_assert_str_eq(m.text, "only sound");
    ck_assert_int_eq(parse(&m, "{\"t\":\"error\",\"code\":\"disk_full\"}"), 0);
    ck_assert_int_eq(m.error, AVP_ERR_DISK_FULL);
    ck_assert_str_eq(m.text, "");

    /* what only others may decide */
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        (void) snprintf(line, sizeof(line),
                        "{\"t\":\"error\",\"code\":\"%s\"}", never[i]);
        refused(line);
    }
}
END_TEST

START_TEST(junk)
{
    static const char *const lines[] = {
        "",
        " ",
        "null",
        "42",
        "[]",
        "\"plan\"",
        "{}",
        "{\"t\":1}",
        "{\"t\":null}",
        "{\"t\":\"\"}",
        "{\"t\":\"hello\"}",
        "{\"t\":\"warning\"}",
        "{\"t\":\"warning\",\"detail\":\"\"}",
        "{\"t\":\"warning\",\"detail\":\"x\",\"t\":\"done\"}",
        "{\"t\":\"warning\",\"detail\":\"x\"} x",
        "{\"t\":\"warning\",\"detail\":\"\xff\xfe\"}",
        "{\"t\":\"warning\",\"detail\":\"a\\u0000b\"}",
        "{\"t\":\"warning\",\"detail\":\"a\\u009fb\"}",
        "{\"t\":\"done\"}",
        "{\"t\":\"done\",\"doc\":[]}",
        "{\"t\":\"done\",\"doc\":{}}",
        "{\"t\":\"playable\",\"doc\":{}}",
        "{\"t\":\"playable\",\"doc\":{\"master\":null}}",
    };
    char *deep = malloc(100000), *p = deep, big[700];

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        refused(lines[i]);
    }

    memset(big, 'a', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    p += sprintf(p, "{\"t\":\"warning\",\"detail\":\"%s\"}", big);
    refused(deep);

    p = deep;
    for (int i = 0; i < 40000; i++) {
        *p++ = '[';
    }
    *p = '\0';
    refused(deep);

    p = deep;
    p += sprintf(p, "{\"t\":\"playable\",\"doc\":{\"master\":");
    for (int i = 0; i < 10; i++) {
        p += sprintf(p, "[");
    }
    for (int i = 0; i < 10; i++) {
        p += sprintf(p, "]");
    }
    (void) sprintf(p, "}}");
    refused(deep);
    free(deep);
}
END_TEST

START_TEST(too_long)
{
    avp_media_message_t m;
    size_t              n = AVP_MEDIA_LINE_MAX + 1;
    char               *line = malloc(n);

    memset(line, ' ', n);
    memcpy(line, "{\"t\":\"error\",\"code\":\"no_video\"}", 31);
    ck_assert_int_eq(avp_media_message_parse(&m, (avp_str_t){ line, n }), -1);
    ck_assert_int_eq(avp_media_message_parse(&m, (avp_str_t){ line, n - 1 }),
                     0);
    free(line);
}
END_TEST

#define RESULT(format, quality, path)                                          \
    "{\"format\":\"" format "\",\"quality\":\"" quality "\",\"path\":\"" path  \
    "\",\"size\":1000,\"duration\":2.5,\"bitrate\":3200,\"codec\":\"avc1\","   \
    "\"mime\":\"video/mp4\",\"width\":640,\"height\":480}"

#define SOURCE                                                                 \
    "\"source\":{\"duration\":2.5,\"width\":640,\"height\":480,\"fps\":25.0,"  \
    "\"format\":\"mp4\",\"videoCodec\":\"h264\",\"audioCodec\":null,"          \
    "\"bitrate\":3200,\"frames\":62}"

#define IMAGES                                                                 \
    "\"poster\":\"poster.jpg\",\"storyboard\":\"storyboard.vtt\","             \
    "\"master\":\"hls/master.m3u8\""

#define DONE(results)                                                          \
    "{" SOURCE "," IMAGES ",\"stats\":{\"framesDecoded\":62,\"passes\":1,"     \
    "\"cpuSeconds\":0.5},\"warnings\":[\"cut off\"],\"results\":[" results "]}"

static void
doc_refused(const char *doc)
{
    const char *why = NULL;

    ck_assert_msg(avp_media_doc_check(doc, &why) == -1, "accepted: %s", doc);
    ck_assert_ptr_nonnull(why);
}

START_TEST(documents)
{
    avp_media_message_t m;
    const char         *why;

    ck_assert_int_eq(
        parse(&m, "{\"t\":\"done\",\"doc\":" DONE(
                      RESULT("mp4", "480p", "mp4/480p.mp4") "," RESULT(
                          "hls", "480p", "hls/480p.m3u8")) "}"),
        0);
    ck_assert_int_eq(m.kind, AVP_MEDIA_DONE);
    ck_assert_int_eq(avp_media_doc_check(m.doc, &why), 0);
    avp_media_message_free(&m);
    ck_assert_ptr_null(m.doc);

    ck_assert_int_eq(parse(&m, "{\"t\":\"playable\",\"doc\":{\"master\":"
                               "\"hls/live-master.m3u8\","
                               "\"poster\":\"poster.jpg\"}}"),
                     0);
    ck_assert_int_eq(avp_media_doc_check(m.doc, &why), 0);
    avp_media_message_free(&m);

    /* a playable document has no results */
    refused("{\"t\":\"playable\",\"doc\":{\"master\":\"hls/master.m3u8\","
            "\"results\":[]}}");

    /* no holes for NGINX to fill (lib/doc.h), however deep */
    refused("{\"t\":\"done\",\"doc\":{" SOURCE
            ",\"results\":[{\"a\":[{\"b\":\"\\u0001A\"}]}]}}");
    refused("{\"t\":\"done\",\"doc\":{" SOURCE
            ",\"results\":[{\"\\u0001A\":1}]}}");
}
END_TEST

START_TEST(document_members)
{
    const char *why;

    ck_assert_int_eq(
        avp_media_doc_check(DONE(RESULT("webm", "4k", "webm/4k.webm")), &why),
        0);
    ck_assert_int_eq(
        avp_media_doc_check(DONE(RESULT("mp4", "240p", "mp4/240p.mp4")), &why),
        0);

    doc_refused("");
    doc_refused("[]");
    doc_refused("{\"other\":1}");
    doc_refused(DONE("1"));
    doc_refused(DONE(RESULT("avi", "480p", "mp4/480p.mp4")));
    doc_refused(DONE(RESULT("mp4", "480", "mp4/480p.mp4")));
    doc_refused(DONE(RESULT("mp4", "p", "mp4/480p.mp4")));
    doc_refused(DONE(RESULT("mp4", "0480p", "mp4/480p.mp4")));
    doc_refused(DONE(RESULT("mp4", "99999p", "mp4/480p.mp4")));
    doc_refused(DONE(RESULT("mp4", "48xp", "mp4/480p.mp4")));
    /* two of a kind, two at one path */
    doc_refused(DONE(RESULT("mp4", "480p", "mp4/480p.mp4") "," RESULT(
        "mp4", "480p", "mp4/480q.mp4")));
    doc_refused(DONE(RESULT("mp4", "480p", "mp4/480p.mp4") "," RESULT(
        "mp4", "720p", "mp4/480p.mp4")));
    /* wrong sources */
    doc_refused("{\"source\":{}}");
    doc_refused("{\"source\":{\"duration\":1,\"width\":0,\"height\":1,"
                "\"fps\":25,\"format\":\"mp4\",\"videoCodec\":\"h264\"}}");
    doc_refused("{\"source\":{\"duration\":1,\"width\":1,\"height\":1,"
                "\"fps\":25,\"format\":\"exe\",\"videoCodec\":\"h264\"}}");
    doc_refused("{\"stats\":{\"a\":\"b\"}}");
    doc_refused("{\"warnings\":[1]}");
    doc_refused("{\"warnings\":[\"a\\u0001b\"]}");
}
END_TEST

START_TEST(document_paths)
{
    static const char *const paths[] = {
        "../480p.mp4",   "/etc/passwd.mp4", "mp4/../480p.mp4",
        "mp4//480p.mp4", "mp4/480p.MP4",    "mp4/480p.mp4/",
        ".mp4",          "mp4/48 0p.mp4",   "mp4/480p.m3u8",
        "a/b/c/d.mp4",   "mp4/%2e%2e.mp4",  "mp4\\480p.mp4",
    };
    static const char *const posters[] = { "poster.png", "../poster.jpg",
                                           "poster.vtt", "" };
    char doc[1000];

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        (void) snprintf(doc, sizeof(doc),
                        "{\"results\":[{\"format\":\"mp4\",\"quality\":"
                        "\"480p\",\"path\":\"%s\",\"size\":1,\"duration\":1,"
                        "\"bitrate\":1,\"codec\":\"a\",\"mime\":\"b\","
                        "\"width\":1,\"height\":1}]}",
                        paths[i]);
        doc_refused(doc);
    }
    for (size_t i = 0; i < sizeof(posters) / sizeof(posters[0]); i++) {
        (void) snprintf(doc, sizeof(doc), "{\"poster\":\"%s\"}", posters[i]);
        doc_refused(doc);
    }
}
END_TEST

/* What is told beside the results: good ones, and each member gone wrong. */
START_TEST(document_extras)
{
    static const char *const good[] = {
        "{\"dash\":\"dash/manifest.mpd\",\"preview\":\"preview.webp\"}",
        "{\"dash\":null,\"preview\":null,\"thumbnails\":[]}",
        "{\"thumbnails\":[{\"path\":\"thumbnails/t1.jpg\",\"time\":1.5,"
        "\"width\":640,\"height\":360,\"webp\":\"thumbnails/t1.webp\"}]}",
        "{\"audioTracks\":[{\"language\":\"de\",\"label\":\"Deutsch\","
        "\"channels\":2,\"default\":true},{\"language\":null,"
        "\"label\":\"2\",\"channels\":6,\"default\":false}]}",
        "{\"subtitles\":[{\"language\":\"en\",\"label\":\"English\","
        "\"kind\":\"captions\",\"forced\":false}]}",
        "{\"passthrough\":{\"video\":{\"copied\":false,\"code\":\"rotated\","
        "\"reason\":\"turned by 90 degrees\"}}}",
    };
    static const char *const bad[] = {
        "{\"dash\":\"dash/manifest.m3u8\"}",
        "{\"preview\":\"../preview.webp\"}",
        "{\"thumbnails\":[1]}",
        "{\"thumbnails\":[{\"path\":\"t.webp\",\"time\":1,\"width\":1,"
        "\"height\":1}]}",
        "{\"thumbnails\":[{\"path\":\"t.jpg\",\"webp\":\"t.jpg\",\"time\":1,"
        "\"width\":1,\"height\":1}]}",
        "{\"thumbnails\":[{\"path\":\"t.jpg\",\"time\":-1,\"width\":1,"
        "\"height\":1}]}",
        "{\"thumbnails\":[{\"path\":\"t.jpg\",\"time\":1,\"width\":1}]}",
        "{\"audioTracks\":[{\"label\":\"x\",\"channels\":0,"
        "\"default\":true}]}",
        "{\"audioTracks\":[{\"label\":\"x\",\"channels\":2,\"default\":1}]}",
        "{\"audioTracks\":[{\"label\":\"a\\nb\",\"channels\":2,"
        "\"default\":true}]}",
        "{\"subtitles\":[{\"label\":\"x\",\"kind\":\"chapters\","
        "\"forced\":false}]}",
        "{\"passthrough\":{\"video\":{\"copied\":true}}}",
        "{\"passthrough\":{\"video\":1}}",
        "{\"passthrough\":{\"text\":{}}}",
        "{\"passthrough\":[]}",
    };
    const char *why;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(avp_media_doc_check(good[i], &why) == 0, "%s: %s",
                      good[i], why);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        doc_refused(bad[i]);
    }
}
END_TEST

UNIT_SUITE(media_message, plan, progress, errors, junk, too_long, documents,
           document_members, document_paths, document_extras)
