#include "lib/units.h"

typedef struct {
    const char *name; /* lower case */
    int64_t     factor;
} unit_t;

static const unit_t sizes[] = {
    { "",   1 },
    { "k",  INT64_C(1) << 10 }, { "kb", INT64_C(1) << 10 },
    { "m",  INT64_C(1) << 20 }, { "mb", INT64_C(1) << 20 },
    { "g",  INT64_C(1) << 30 }, { "gb", INT64_C(1) << 30 },
    { "t",  INT64_C(1) << 40 }, { "tb", INT64_C(1) << 40 },
    { NULL, 0 }
};

static const unit_t durations[] = {
    { "",   1000 },
    { "ms", 1 },
    { "s",  1000 },
    { "m",  60 * 1000 },
    { "h",  60 * 60 * 1000 },
    { "d",  24 * 60 * 60 * 1000 },
    { NULL, 0 }
};

static char
lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c - 'A' + 'a') : c;
}

/* Digits and then one of the units; `fold`: the unit in either case. */
static int64_t
parse(avp_str_t s, const unit_t *units, int fold)
{
    int64_t n = 0;
    size_t  i = 0;

    while (i < s.len && s.data[i] >= '0' && s.data[i] <= '9') {
        int digit = s.data[i++] - '0';

        if (n > (INT64_MAX - digit) / 10) {
            return -1;
        }
        n = n * 10 + digit;
    }

    if (i == 0) {
        return -1;
    }

    for (const unit_t *u = units; u->name != NULL; u++) {
        size_t k = 0;

        while (u->name[k] != '\0' && i + k < s.len
               && u->name[k] == (fold ? lower(s.data[i + k]) : s.data[i + k]))
        {
            k++;
        }
        if (u->name[k] == '\0' && i + k == s.len) {
            return n > INT64_MAX / u->factor ? -1 : n * u->factor;
        }
    }

    return -1;
}

int64_t
avp_size_parse(avp_str_t s)
{
    return parse(s, sizes, 1);
}

int64_t
avp_duration_parse(avp_str_t s)
{
    return parse(s, durations, 0);
}

static char *
digits(char *p, int n, int64_t v)
{
    for (int i = n - 1; i >= 0; i--) {
        p[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + n;
}

void
avp_iso8601(char dst[AVP_ISO8601_LEN + 1], int64_t unix_ms)
{
    /* years 0000 to 9999: more than four digits is another format */
    static const int64_t first = INT64_C(-62167219200000);
    static const int64_t last = INT64_C(253402300799999);
    int64_t              ms;
    time_t               t;
    struct tm            tm;
    char                *p = dst;

    if (unix_ms < first) {
        unix_ms = first;
    } else if (unix_ms > last) {
        unix_ms = last;
    }

    ms = unix_ms % 1000;
    if (ms < 0) {
        ms += 1000;
    }
    t = (time_t)((unix_ms - ms) / 1000);

    gmtime_r(&t, &tm);

    p = digits(p, 4, tm.tm_year + 1900);
    *p++ = '-';
    p = digits(p, 2, tm.tm_mon + 1);
    *p++ = '-';
    p = digits(p, 2, tm.tm_mday);
    *p++ = 'T';
    p = digits(p, 2, tm.tm_hour);
    *p++ = ':';
    p = digits(p, 2, tm.tm_min);
    *p++ = ':';
    p = digits(p, 2, tm.tm_sec);
    *p++ = '.';
    p = digits(p, 3, ms);
    *p++ = 'Z';
    *p = '\0';
}
