/*
 * KEY=VALUE files.  sh, systemd's EnvironmentFile= and Docker's env files
 * disagree about escapes, so only what all of them read alike is accepted:
 * nothing is expanded, and a value that one of them would expand is refused.
 */

#include "lib/settings.h"

#include <stdio.h>
#include <strings.h>

#define KEY_MAX 64

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t
key_length(const char *p, const char *end)
{
    const char *start = p;

    while (p < end
           && ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')
               || *p == '_' || (p > start && *p >= '0' && *p <= '9')))
    {
        p++;
    }
    return (size_t)(p - start);
}

/* The value in [p, end) without its quotes; NULL or what is wrong with it. */
static const char *
read_value(const char *p, const char *end, avp_str_t *value)
{
    const char *close;

    while (end > p && is_blank(end[-1])) {
        end--;
    }

    if (p == end || (*p != '"' && *p != '\'')) {
        *value = (avp_str_t){ p, (size_t)(end - p) };
        return NULL;
    }

    close = memchr(p + 1, *p, (size_t)(end - p - 1));
    if (close == NULL) {
        return "the quote is not closed";
    }
    if (close + 1 != end) {
        return "there is text after the closing quote";
    }

    *value = (avp_str_t){ p + 1, (size_t)(close - p - 1) };
    if (*p == '"') {
        for (size_t i = 0; i < value->len; i++) {
            if (strchr("$`\\", value->data[i]) != NULL) {
                return "$, ` and \\ need single quotes";
            }
        }
    }
    return NULL;
}

int
avp_env_parse(avp_str_t text,
              int (*cb)(void *ctx, avp_str_t key, avp_str_t value), void *ctx,
              char err[AVP_SETTINGS_ERROR])
{
    unsigned    line = 0;
    const char *p = text.data, *end = text.data + text.len;

    err[0] = '\0';

    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl ? nl : end;
        const char *next = nl ? nl + 1 : end;
        const char *wrong = NULL;
        avp_str_t   key, value;

        line++;
        if (stop > p && stop[-1] == '\r') {
            stop--;
        }
        while (p < stop && is_blank(*p)) {
            p++;
        }
        if (p == stop || *p == '#') {
            p = next;
            continue;
        }
        if (stop - p > 7 && memcmp(p, "export ", 7) == 0) {
            p += 7;
            while (p < stop && is_blank(*p)) {
                p++;
            }
        }

        key = (avp_str_t){ p, key_length(p, stop) };
        p += key.len;

        if (memchr(key.data, '\0', (size_t)(stop - key.data)) != NULL) {
            wrong = "there is a NUL byte";
        } else if (key.len == 0 || key.len > KEY_MAX || p == stop
                   || *p != '=')
        {
            wrong = "this is not KEY=VALUE";
        } else {
            wrong = read_value(p + 1, stop, &value);
        }

        if (wrong != NULL) {
            snprintf(err, AVP_SETTINGS_ERROR, "line %u: %s", line, wrong);
            return -1;
        }

        if (cb(ctx, key, value) != 0) {
            if (err[0] == '\0') {
                snprintf(err, AVP_SETTINGS_ERROR, "line %u: %.*s is refused",
                         line, (int)key.len, key.data);
            }
            return -1;
        }
        p = next;
    }

    return 0;
}

bool
avp_secret_is_placeholder(avp_str_t secret)
{
    static const char *const whole[] = { "changeme", "change_me", "change-me",
                                         "minioadmin" };

    if (secret.len >= 5
        && (strncasecmp(secret.data, "your_", 5) == 0
            || strncasecmp(secret.data, "your-", 5) == 0))
    {
        return true;
    }

    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        if (secret.len == strlen(whole[i])
            && strncasecmp(secret.data, whole[i], secret.len) == 0)
        {
            return true;
        }
    }
    return false;
}
