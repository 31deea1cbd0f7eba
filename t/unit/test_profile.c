#include "lib/profile.h"
#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static avp_profile_t
good(const char *text)
{
    avp_profile_t p;
    char          err[AVP_PROFILE_ERROR];

    ck_assert_msg(avp_profile_parse(&p, avp_str_c(text), err) == 0, "%s: %s",
                  text, err);
    return p;
}

/* Refused, by a sentence that begins with the member and says the rest. */
static void
bad(const char *text, const char *member, const char *says)
{
    avp_profile_t p;
    char          err[AVP_PROFILE_ERROR] = "";

    ck_assert_msg(avp_profile_parse(&p, avp_str_c(text), err) == -1, "%s",
                  text);
    ck_assert_msg(strncmp(err, member, strlen(member)) == 0, "%s: %s", text,
                  err);
    ck_assert_msg(strstr(err, says) != NULL, "%s: %s", text, err);
}

static avp_profile_t
builtin(const char *name)
{
    avp_profile_t p;

    ck_assert_int_eq(avp_profile_builtin(&p, avp_str_c(name)), 0);
    return p;
}

START_TEST(balanced_is_the_design)
{
    avp_profile_t p = builtin("balanced");

    ck_assert_int_eq(p.nrungs, 4);
    ck_assert_str_eq(avp_x264_preset(p.h264.preset), "veryfast");
    ck_assert_int_eq(p.av1.preset, 10);
    ck_assert_int_eq(p.av1.lookahead, 0);
    ck_assert(!p.vp9);
    ck_assert_int_eq(p.audio.aac, 128000);
    ck_assert_int_eq(p.audio.opus, 96000);
    ck_assert_str_eq(p.rungs[2].name, "1080p");
    ck_assert_int_eq(p.rungs[2].rate[AVP_CODEC_H264].crf, 22);
    ck_assert_int_eq(p.rungs[2].rate[AVP_CODEC_H264].maxrate, 6000000);
    ck_assert_int_eq(p.rungs[2].rate[AVP_CODEC_H264].maxrate_high, 8000000);
    ck_assert_int_eq(p.rungs[3].rate[AVP_CODEC_HEVC].maxrate, 11600000);
    ck_assert_int_eq(p.rungs[3].rate[AVP_CODEC_HEVC].maxrate_high, 16800000);
    for (int i = 0; i < 4; i++) {
        ck_assert(p.rungs[i].mp4 && p.rungs[i].webm && p.rungs[i].hls);
        ck_assert(!p.rungs[i].hevc);
    }
}
END_TEST

START_TEST(others_differ_where_they_say)
{
    avp_profile_t fast = builtin("fast"), best = builtin("quality");

    ck_assert_str_eq(avp_x264_preset(fast.h264.preset), "veryfast");
    ck_assert_int_eq(fast.av1.preset, 12);
    ck_assert(fast.vp9_how.realtime && fast.vp9_how.cpu_used == 7);
    ck_assert_str_eq(avp_x264_preset(best.h264.preset), "medium");
    ck_assert_int_eq(best.av1.preset, 8);
    ck_assert(!best.vp9_how.realtime && best.vp9_how.cpu_used == 2);
    ck_assert_int_eq(avp_profile_builtin(&fast, avp_str("slow")), -1);
    ck_assert_int_eq(avp_profile_builtin(&fast, avp_str("")), -1);
}
END_TEST

/* What is printed is read back as the same. */
START_TEST(prints_all_of_it)
{
    static const char *const names[] = { "fast", "balanced", "quality" };

    for (int i = 0; i < 3; i++) {
        avp_profile_t p = builtin(names[i]), q;
        json_t       *v = avp_profile_json(&p), *w;
        char         *text = json_dumps(v, 0);
        char          err[AVP_PROFILE_ERROR];

        ck_assert_ptr_nonnull(text);
        ck_assert_int_eq(avp_profile_parse(&q, avp_str_c(text), err), 0);
        ck_assert_str_eq(q.name, names[i]);
        w = avp_profile_json(&q);
        ck_assert(json_equal(v, w));
        json_decref(v);
        json_decref(w);
        free(text);
    }
}
END_TEST

START_TEST(own_rungs)
{
    avp_profile_t p = good(
        "{\"name\":\"mine\",\"base\":\"fast\",\"webmCodec\":\"vp9\","
        "\"formats\":[\"mp4\",\"hls\"],"
        "\"h264\":{\"preset\":\"slow\"},\"audio\":{\"aac\":64000},"
        "\"rungs\":[{\"name\":\"240p\",\"maxFps\":15,"
        "\"h264\":{\"crf\":30,\"maxrate\":90000},\"formats\":[\"hls\"]},"
        "{\"name\":\"540p\"},"
        "{\"name\":\"1080p\",\"longSide\":2048,\"hevc\":false,"
        "\"av1\":{\"crf\":40}},"
        "{\"name\":\"4k\"}]}");

    ck_assert_str_eq(p.name, "mine");
    ck_assert(p.vp9);
    ck_assert_int_eq(p.h264.lookahead, 50); /* the preset's own */
    ck_assert_int_eq(p.av1.preset, 12);     /* the base's */
    ck_assert_int_eq(p.audio.aac, 64000);
    ck_assert_int_eq(p.audio.opus, 96000);
    ck_assert_int_eq(p.nrungs, 4);

    ck_assert_int_eq(p.rungs[0].short_side, 240);
    ck_assert_int_eq(p.rungs[0].long_side, 426);
    ck_assert_int_eq(p.rungs[0].max_fps, 15);
    ck_assert(p.rungs[0].hls && !p.rungs[0].mp4 && !p.rungs[0].webm);
    ck_assert_int_eq(p.rungs[0].rate[AVP_CODEC_H264].maxrate_high, 120000);

    /* 720p's by area: 540^2 / 720^2 = 0.5625 */
    ck_assert_int_eq(p.rungs[1].long_side, 960);
    ck_assert_int_eq(p.rungs[1].rate[AVP_CODEC_H264].maxrate, 1687000);
    ck_assert_int_eq(p.rungs[1].rate[AVP_CODEC_H264].crf, 23);
    ck_assert(p.rungs[1].mp4 && p.rungs[1].hls && !p.rungs[1].webm);

    ck_assert_int_eq(p.rungs[2].long_side, 2048);
    ck_assert_int_eq(p.rungs[2].rate[AVP_CODEC_AV1].crf, 40);
    ck_assert_int_eq(p.rungs[2].rate[AVP_CODEC_AV1].maxrate, 3500000);
    ck_assert_int_eq(p.rungs[3].rate[AVP_CODEC_HEVC].maxrate, 11600000);
}
END_TEST

/* Its own rates, and what is printed of them. */
START_TEST(hevc_beside_h264)
{
    avp_profile_t p = good(
        "{\"rungs\":[{\"name\":\"480p\",\"hevc\":true},"
        "{\"name\":\"720p\",\"hevc\":{\"crf\":30,\"maxrate\":900000}},"
        "{\"name\":\"1080p\"},{\"name\":\"4k\",\"hevc\":true}]}");
    avp_profile_t q;
    json_t       *v = avp_profile_json(&p);
    json_t       *rungs = json_object_get(v, "rungs");
    char          err[AVP_PROFILE_ERROR];

    ck_assert(p.rungs[0].hevc && p.rungs[1].hevc && p.rungs[3].hevc);
    ck_assert(!p.rungs[2].hevc);
    ck_assert_int_eq(p.rungs[0].rate[AVP_CODEC_HEVC].maxrate, 1000000);
    ck_assert_int_eq(p.rungs[1].rate[AVP_CODEC_HEVC].crf, 30);
    ck_assert_int_eq(p.rungs[1].rate[AVP_CODEC_HEVC].maxrate, 900000);
    ck_assert_int_eq(p.rungs[1].rate[AVP_CODEC_HEVC].maxrate_high, 1200000);
    ck_assert_int_eq(p.rungs[1].rate[AVP_CODEC_H264].maxrate, 3000000);

    ck_assert(json_is_false(json_object_get(json_array_get(rungs, 2),
                                            "hevc")));
    ck_assert_int_eq(avp_profile_from_json(&q, v, err), 0);
    ck_assert_int_eq(memcmp(p.rungs, q.rungs, sizeof(p.rungs)), 0);
    json_decref(v);
}
END_TEST

START_TEST(refusals_name_the_member)
{
    bad("[]", "the profile", "JSON object");
    bad("{", "the profile", "not JSON");
    bad("{\"x\":1}", "/x ", "unknown: members here are name, base");
    bad("{\"name\":\"A B\"}", "/name ", "a-z");
    bad("{\"name\":\"a\\u0000b\"}", "the profile", "not JSON");
    bad("{\"base\":\"slow\"}", "/base ", "fast, balanced, quality");
    bad("{\"formats\":[]}", "/formats ", "at least one");
    bad("{\"formats\":[\"dash\"]}", "/formats ", "mp4, webm, hls");
    bad("{\"webmCodec\":\"vp8\"}", "/webmCodec ", "av1, vp9");
    bad("{\"h264\":{\"preset\":\"superfast\"}}", "/h264/preset ",
        "veryfast, faster");
    bad("{\"h264\":{\"lookahead\":61}}", "/h264/lookahead ", "0 to 60");
    bad("{\"h264\":{\"lookahead\":2.5}}", "/h264/lookahead ", "whole");
    bad("{\"h264\":3}", "/h264 ", "object");
    bad("{\"av1\":{\"preset\":13}}", "/av1/preset ", "4 to 12");
    bad("{\"vp9\":{\"gop\":0}}", "/vp9/gop ", "1 to 10");
    bad("{\"audio\":{\"aac\":5}}", "/audio/aac ", "32000 to 320000");
    bad("{\"rungs\":[]}", "/rungs ", "1 to 8");
    bad("{\"rungs\":[{},{},{},{},{},{},{},{},{}]}", "/rungs ", "1 to 8");
    bad("{\"rungs\":[1]}", "/rungs/0 ", "object");
    bad("{\"rungs\":[{}]}", "/rungs/0/name ", "360p");
    bad("{\"rungs\":[{\"name\":\"48p\"}]}", "/rungs/0/name ", "360p");
    bad("{\"rungs\":[{\"name\":\"../p\"}]}", "/rungs/0/name ", "360p");
    bad("{\"rungs\":[{\"name\":\"9000p\"}]}", "/rungs/0/longSide ", "4096");
    bad("{\"rungs\":[{\"name\":\"480p\"},{\"name\":\"480p\"}]}",
        "/rungs/1/name ", "twice");
    bad("{\"rungs\":[{\"name\":\"480p\"},{\"name\":\"360p\"}]}",
        "/rungs/1/shortSide ", "lowest first");
    bad("{\"rungs\":[{\"name\":\"480p\",\"crf\":3}]}", "/rungs/0/crf ",
        "unknown");
    bad("{\"rungs\":[{\"name\":\"480p\",\"h264\":{\"crf\":52}}]}",
        "/rungs/0/h264/crf ", "0 to 51");
    bad("{\"rungs\":[{\"name\":\"480p\",\"av1\":{\"crf\":64}}]}",
        "/rungs/0/av1/crf ", "0 to 63");
    bad("{\"rungs\":[{\"name\":\"480p\",\"h264\":{\"maxrate\":1}}]}",
        "/rungs/0/h264/maxrate ", "50000");
    bad("{\"rungs\":[{\"name\":\"480p\",\"h264\":{\"maxrate\":800000,"
        "\"maxrateHigh\":700000}}]}",
        "/rungs/0/h264/maxrateHigh ", "under maxrate");
    bad("{\"rungs\":[{\"name\":\"480p\",\"maxFps\":120}]}",
        "/rungs/0/maxFps ", "5 to 60");
    bad("{\"rungs\":[{\"name\":\"480p\",\"hevc\":1}]}", "/rungs/0/hevc ",
        "true, false or an object");
    bad("{\"rungs\":[{\"name\":\"480p\",\"hevc\":{\"crf\":52}}]}",
        "/rungs/0/hevc/crf ", "0 to 51");
    bad("{\"rungs\":[{\"name\":\"480p\",\"hevc\":{\"on\":true}}]}",
        "/rungs/0/hevc/on ", "unknown");
    bad("{\"rungs\":[{\"name\":\"480p\",\"longSide\":400}]}",
        "/rungs/0/longSide ", "short side");
    bad("{\"name\":\"a\",\"name\":\"b\"}", "the profile", "not JSON");
}
END_TEST

static int
limit(avp_profile_t *p, const char *names, char err[AVP_PROFILE_ERROR])
{
    avp_profile_limit_t l = { 0 };

    for (const char *w = names; *w; w += strcspn(w, ","), w += *w == ',') {
        if (avp_profile_limit_rung(&l, (avp_str_t){ w, strcspn(w, ",") })) {
            return -2;
        }
    }
    return avp_profile_limit(p, &l, err);
}

START_TEST(simple_settings_win)
{
    avp_profile_t       p = builtin("balanced");
    avp_profile_limit_t l = { .formats = true, .webm = true,
                              .webm_codec = true, .vp9 = true };
    char                err[AVP_PROFILE_ERROR];

    ck_assert_int_eq(avp_profile_limit(&p, &l, err), 0);
    ck_assert(p.vp9 && p.nrungs == 4);
    ck_assert(p.rungs[1].webm && !p.rungs[1].mp4 && !p.rungs[1].hls);

    ck_assert_int_eq(limit(&p, "4k,480p", err), 0);
    ck_assert_int_eq(p.nrungs, 2);
    ck_assert_str_eq(p.rungs[0].name, "480p");
    ck_assert_str_eq(p.rungs[1].name, "4k");

    ck_assert_int_eq(limit(&p, "720p", err), -1); /* gone, but a known word */
    ck_assert_ptr_nonnull(strstr(err, "none of the rungs"));
    ck_assert_int_eq(limit(&p, "360p,480p", err), -1);
    ck_assert_ptr_nonnull(strstr(err, "no rung \"360p\""));
    ck_assert_int_eq(limit(&p, "48p", err), -2);
    ck_assert_int_eq(limit(&p, "p", err), -2);

    p = good("{\"rungs\":[{\"name\":\"360p\"},{\"name\":\"480p\"}]}");
    ck_assert_int_eq(limit(&p, "360p", err), 0);
    ck_assert_str_eq(p.rungs[0].name, "360p");
}
END_TEST

START_TEST(loads_names_and_files)
{
    static const char text[] = "{\"name\":\"of-file\"}";
    char              path[] = "/tmp/avp-profile-XXXXXX.json";
    char              err[AVP_PROFILE_ERROR];
    int               fd = mkstemps(path, 5);
    avp_profile_t     p;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);

    ck_assert_int_eq(avp_profile_load(&p, path, err), 0);
    ck_assert_str_eq(p.name, "of-file");
    unlink(path);
    ck_assert_int_eq(avp_profile_load(&p, path, err), -1);
    ck_assert_ptr_nonnull(strstr(err, "cannot be read"));

    ck_assert_int_eq(avp_profile_load(&p, "quality", err), 0);
    ck_assert_int_eq(avp_profile_load(&p, "best", err), -1);
    ck_assert_ptr_nonnull(strstr(err, "fast, balanced, quality"));
    ck_assert_int_eq(avp_profile_load(&p, "/", err), -1);
}
END_TEST

UNIT_SUITE(profile, balanced_is_the_design, others_differ_where_they_say,
           prints_all_of_it, own_rungs, hevc_beside_h264, refusals_name_the_member,
           simple_settings_win, loads_names_and_files)
