#include "lib/settings.h"
#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    char   text[512]; /* "[KEY|value]..." */
    size_t len;
    int    refuse; /* the pair, from 1, at which to stop */
} seen_t;

static int
see(void *ctx, avp_str_t key, avp_str_t value)
{
    seen_t *s = ctx;

    s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len,
                               "[%.*s|%.*s]", (int)key.len, key.data,
                               (int)value.len, value.data);
    return s->refuse > 0 && --s->refuse == 0 ? -1 : 0;
}

static const char *
parsed(avp_str_t text)
{
    static char result[1024];
    seen_t      s = { .len = 0 };
    char        err[AVP_SETTINGS_ERROR];
    char       *copy = malloc(text.len ? text.len : 1);

    if (text.len) {
        memcpy(copy, text.data, text.len);
    }
    if (avp_env_parse((avp_str_t){ copy, text.len }, see, &s, err) != 0) {
        snprintf(result, sizeof(result), "%s", err);
    } else {
        ck_assert_str_eq(err, "");
        snprintf(result, sizeof(result), "%s", s.text);
    }
    free(copy);
    return result;
}

#define PARSED(literal) parsed((avp_str_t){ literal, sizeof(literal) - 1 })

START_TEST(pairs)
{
    ck_assert_str_eq(PARSED(""), "");
    ck_assert_str_eq(PARSED("A=b"), "[A|b]");
    ck_assert_str_eq(PARSED("A=b\nC_2=d e\n"), "[A|b][C_2|d e]");
    ck_assert_str_eq(PARSED("A=b\r\nC=d\r\n"), "[A|b][C|d]");
    ck_assert_str_eq(PARSED("\n# comment\n  # another\n\t\nA=1"), "[A|1]");
    ck_assert_str_eq(PARSED("  A=1  \t"), "[A|1]");
    ck_assert_str_eq(PARSED("export A=1\nexport\tB=2"),
                     "line 2: this is not KEY=VALUE");
    ck_assert_str_eq(PARSED("export   A=1"), "[A|1]");
    ck_assert_str_eq(PARSED("A="), "[A|]");
    ck_assert_str_eq(PARSED("A=b=c"), "[A|b=c]");
    ck_assert_str_eq(PARSED("A=b # c"), "[A|b # c]");
    ck_assert_str_eq(PARSED("A=$b`c\\"), "[A|$b`c\\]");
}
END_TEST

START_TEST(quotes)
{
    ck_assert_str_eq(PARSED("A=\"b c\""), "[A|b c]");
    ck_assert_str_eq(PARSED("A='b \"c\" $d \\'"), "[A|b \"c\" $d \\]");
    ck_assert_str_eq(PARSED("A=\"it's\"  "), "[A|it's]");
    ck_assert_str_eq(PARSED("A=''\nB=\"\""), "[A|][B|]");
    ck_assert_str_eq(PARSED("A=b\"c\""), "[A|b\"c\"]");
    ck_assert_str_eq(PARSED("A=\"b"), "line 1: the quote is not closed");
    ck_assert_str_eq(PARSED("A='"), "line 1: the quote is not closed");
    ck_assert_str_eq(PARSED("A='b' c"),
                     "line 1: there is text after the closing quote");
    ck_assert_str_eq(PARSED("A=\"$b\""),
                     "line 1: $, ` and \\ need single quotes");
    ck_assert_str_eq(PARSED("A=\"a\\nb\""),
                     "line 1: $, ` and \\ need single quotes");
}
END_TEST

START_TEST(refuses)
{
    seen_t s = { .refuse = 2 };
    char   err[AVP_SETTINGS_ERROR];

    ck_assert_str_eq(PARSED("A=1\nB"), "line 2: this is not KEY=VALUE");
    ck_assert_str_eq(PARSED("=1"), "line 1: this is not KEY=VALUE");
    ck_assert_str_eq(PARSED("1A=1"), "line 1: this is not KEY=VALUE");
    ck_assert_str_eq(PARSED("A =1"), "line 1: this is not KEY=VALUE");
    ck_assert_str_eq(PARSED("A-B=1"), "line 1: this is not KEY=VALUE");
    ck_assert_str_eq(PARSED("A=1\0"), "line 1: there is a NUL byte");
    ck_assert_str_eq(PARSED("\0"), "line 1: there is a NUL byte");

    ck_assert_int_eq(avp_env_parse(avp_str("A=1\nB=2\nC=3"), see, &s, err),
                     -1);
    ck_assert_str_eq(err, "line 2: B is refused");
    ck_assert_str_eq(s.text, "[A|1][B|2]");
}
END_TEST

START_TEST(placeholders)
{
    static const char *const yes[] = { "your_password", "YOUR_SECRET_KEY",
                                       "your-key", "changeme", "ChangeMe",
                                       "change_me", "minioadmin" };
    static const char *const no[] = { "", "you", "yours", "minioadmin2",
                                      "my_your_password", "changeme1" };

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        ck_assert(avp_secret_is_placeholder(avp_str_c(yes[i])));
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        ck_assert(!avp_secret_is_placeholder(avp_str_c(no[i])));
    }
}
END_TEST

UNIT_SUITE(env_file, pairs, quotes, refuses, placeholders)
