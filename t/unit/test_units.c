#include "lib/units.h"
#include "t/unit/unit.h"

typedef struct {
    const char *text;
    int64_t     value;
} sample_t;

START_TEST(sizes)
{
    static const sample_t samples[] = {
        { "0", 0 }, { "1048576", 1048576 }, { "256k", 262144 },
        { "256KB", 262144 }, { "5GB", INT64_C(5368709120) },
        { "5g", INT64_C(5368709120) }, { "5gB", INT64_C(5368709120) },
        { "1m", 1048576 }, { "2Mb", 2097152 }, { "1T", INT64_C(1) << 40 },
        { "007", 7 }, { "9223372036854775807", INT64_MAX },
        { "8388607TB", INT64_C(8388607) << 40 },
        { "", -1 }, { "k", -1 }, { "-1", -1 }, { "+1", -1 }, { " 1", -1 },
        { "1 ", -1 }, { "1 k", -1 }, { "1.5g", -1 }, { "5B", -1 },
        { "1kk", -1 }, { "1kib", -1 }, { "1e3", -1 }, { "0x10", -1 },
        { "9223372036854775808", -1 }, { "99999999999999999999", -1 },
        { "8388608TB", -1 }, { "1p", -1 }, { "5GBx", -1 },
    };

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        int64_t v = avp_size_parse(avp_str_c(samples[i].text));

        ck_assert_msg(v == samples[i].value, "%s is %jd", samples[i].text,
                      (intmax_t)v);
    }
    ck_assert_int_eq(avp_size_parse((avp_str_t){ NULL, 0 }), -1);
    ck_assert_int_eq(avp_size_parse((avp_str_t){ "5k\0", 3 }), -1);
    ck_assert_int_eq(avp_size_parse((avp_str_t){ "5kb", 2 }), 5120);
}
END_TEST

START_TEST(durations)
{
    static const sample_t samples[] = {
        { "0", 0 }, { "30", 30000 }, { "30s", 30000 }, { "15m", 900000 },
        { "24h", 86400000 }, { "7d", 604800000 }, { "500ms", 500 },
        { "9223372036854775807ms", INT64_MAX },
        { "", -1 }, { "s", -1 }, { "-5s", -1 }, { "1.5h", -1 }, { "1H", -1 },
        { "1h30m", -1 }, { "5 s", -1 }, { "1w", -1 }, { "5sec", -1 },
        { "9223372036854775807s", -1 }, { "9223372036854775808ms", -1 },
    };

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        int64_t v = avp_duration_parse(avp_str_c(samples[i].text));

        ck_assert_msg(v == samples[i].value, "%s is %jd", samples[i].text,
                      (intmax_t)v);
    }
}
END_TEST

START_TEST(iso8601)
{
    static const sample_t samples[] = {
        { "1970-01-01T00:00:00.000Z", 0 },
        { "1969-12-31T23:59:59.999Z", -1 },
        { "1969-12-31T23:59:59.000Z", -1000 },
        { "2026-01-31T12:34:56.789Z", INT64_C(1769862896789) },
        { "2024-02-29T00:00:00.001Z", INT64_C(1709164800001) },
        { "9999-12-31T23:59:59.999Z", INT64_MAX },
        { "0000-01-01T00:00:00.000Z", INT64_MIN },
    };
    char text[AVP_ISO8601_LEN + 1];

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        avp_iso8601(text, samples[i].value);
        ck_assert_str_eq(text, samples[i].text);
    }
}
END_TEST

UNIT_SUITE(units, sizes, durations, iso8601)
