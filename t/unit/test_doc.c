#include "lib/doc.h"
#include "t/unit/unit.h"

#include <stdio.h>

#define VIDEO "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"
#define OTHER "1f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"

static avp_delivery_key_t key;
static avp_doc_fill_t     fill;

static void
setup_fill(void)
{
    key.kid = 1;
    key.key_len = 32;
    memset(key.key, 'k', sizeof(key.key));
    fill.api_base = avp_str("http://h:3000/api/v1");
    fill.cdn_base = avp_str("https://cdn");
    fill.key = &key;
    fill.expiry = 0x6955bb80;
}

static const char *
filled(const char *doc)
{
    static char out[4096];
    long        n;

    setup_fill();
    n = avp_doc_write(out, sizeof(out) - 1, avp_str_c(doc), &fill);
    if (n < 0) {
        return "(refused)";
    }
    ck_assert_uint_le((size_t)n, avp_doc_size(avp_str_c(doc), &fill));
    out[n] = '\0';
    return out;
}

START_TEST(fills)
{
    char token[AVP_DELIVERY_TOKEN_LEN + 1], other[AVP_DELIVERY_TOKEN_LEN + 1];
    char want[1024];

    setup_fill();
    avp_delivery_sign(token, &key, VIDEO, fill.expiry);
    avp_delivery_sign(other, &key, OTHER, fill.expiry);

    ck_assert_str_eq(filled("{}"), "{}");
    ck_assert_str_eq(filled(""), "");
    ck_assert_str_eq(filled("{\"url\":\"\\u0001A/videos/1\"}"),
                     "{\"url\":\"http://h:3000/api/v1/videos/1\"}");
    ck_assert_str_eq(filled("\\u0001A\\u0001A"),
                     "http://h:3000/api/v1http://h:3000/api/v1");

    snprintf(want, sizeof(want),
             "[\"https://cdn/v/" VIDEO "/%s/p/a.mp4\","
             "\"https://cdn/v/" VIDEO "/%s/p/b.mp4\","
             "\"https://cdn/v/" OTHER "/%s/p/c.mp4\"]", token, token, other);
    ck_assert_str_eq(filled("[\"\\u0001V" VIDEO "/p/a.mp4\","
                            "\"\\u0001V" VIDEO "/p/b.mp4\","
                            "\"\\u0001V" OTHER "/p/c.mp4\"]"), want);
}
END_TEST

START_TEST(leaves_other_escapes)
{
    /* a title that spells a hole: its backslash is escaped */
    ck_assert_str_eq(filled("\"\\\\u0001A\""), "\"\\\\u0001A\"");
    ck_assert_str_eq(filled("\"\\\\\\\\u0001A\""), "\"\\\\\\\\u0001A\"");
    ck_assert_str_eq(filled("\"\\\\\\u0001A\""),
                     "\"\\\\http://h:3000/api/v1\"");
    ck_assert_str_eq(filled("\"\\n\\u0002A\\\"\""), "\"\\n\\u0002A\\\"\"");
    ck_assert_str_eq(filled("\\"), "\\");
    ck_assert_str_eq(filled("\\u000"), "\\u000");
    ck_assert_str_eq(filled("a\\u0000"), "a\\u0000");
}
END_TEST

START_TEST(refuses)
{
    char out[256];

    ck_assert_str_eq(filled("\\u0001"), "(refused)");
    ck_assert_str_eq(filled("\\u0001B"), "(refused)");
    ck_assert_str_eq(filled("\\u0001V"), "(refused)");
    ck_assert_str_eq(filled("\\u0001V0f9b2c3d-4e5f-6a7b-8c9d-abcdef01234"),
                     "(refused)");
    ck_assert_str_eq(filled("\\u0001Vxf9b2c3d-4e5f-6a7b-8c9d-abcdef012345"),
                     "(refused)");

    setup_fill();
    fill.key = NULL;
    ck_assert_int_eq(avp_doc_write(out, sizeof(out), avp_str("\\u0001V" VIDEO),
                                   &fill), -1);
    setup_fill();
    key.key_len = 5;
    ck_assert_int_eq(avp_doc_write(out, sizeof(out), avp_str("\\u0001V" VIDEO),
                                   &fill), -1);
}
END_TEST

START_TEST(never_writes_beyond)
{
    avp_str_t doc = avp_str("{\"a\":\"\\u0001A/x\",\"b\":\"\\u0001V" VIDEO
                            "/y\"}");
    char      out[512];
    long      whole;

    setup_fill();
    whole = avp_doc_write(out, sizeof(out), doc, &fill);
    ck_assert_int_gt(whole, 0);
    for (long n = 0; n < whole; n++) {
        memset(out, '~', sizeof(out));
        ck_assert_int_eq(avp_doc_write(out, (size_t)n, doc, &fill), -1);
        ck_assert_int_eq(out[n], '~');
    }
    ck_assert_int_eq(avp_doc_write(out, (size_t)whole, doc, &fill), whole);
}
END_TEST

UNIT_SUITE(doc, fills, leaves_other_escapes, refuses, never_writes_beyond)
