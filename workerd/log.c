/* See log.h. */

#include "workerd/log.h"
#include "lib/units.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Longer lines are cut: a log line is a sentence, not a dump. */
#define LINE_MAX_BYTES 4096
#define MEMBER_MAX 2048

typedef struct {
    char   data[LINE_MAX_BYTES];
    size_t len;
} line_t;

static _Atomic int log_level = AVP_LOG_INFO;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void
avp_log_set_level(avp_log_level_t level)
{
    atomic_store(&log_level, (int) level);
}

int
avp_log_enabled(avp_log_level_t level)
{
    return (int) level >= atomic_load(&log_level);
}

/* Keeps two bytes for the closing brace and the newline. */
static int
line_put(line_t *l, const char *s, size_t n)
{
    if (n > sizeof(l->data) - 2 - l->len) {
        return -1;
    }

    memcpy(l->data + l->len, s, n);
    l->len += n;

    return 0;
}

/* The bytes of the UTF-8 character at s, or 0 when it is not one. */
static size_t
utf8_at(const unsigned char *s, size_t n)
{
    size_t need, i;

    if (s[0] < 0x80) {
        return 1;
    }

    need = s[0] >= 0xf0 && s[0] <= 0xf4   ? 4
           : s[0] >= 0xe0 && s[0] <= 0xef ? 3
           : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                                          : 0;

    if (need == 0 || need > n) {
        return 0;
    }

    for (i = 1; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return need;
}

/* A JSON string; what is not UTF-8 becomes U+FFFD, so that one bad byte of a
 * hostile file name never makes a line unreadable. */
static int
line_string(line_t *l, const char *s, size_t n)
{
    char   esc[8];
    size_t i, k;

    if (line_put(l, "\"", 1)) {
        return -1;
    }

    for (i = 0; i < n && i < MEMBER_MAX; i += k) {
        unsigned char c = (unsigned char) s[i];

        k = utf8_at((const unsigned char *) s + i, n - i);

        if (k == 0) {
            k = 1;
            if (line_put(l, "\xef\xbf\xbd", 3)) {
                return -1;
            }

        } else if (c == '"' || c == '\\') {
            esc[0] = '\\';
            esc[1] = (char) c;
            if (line_put(l, esc, 2)) {
                return -1;
            }

        } else if (c < 0x20 || c == 0x7f) {
            snprintf(esc, sizeof(esc), "\\u%04x", c);
            if (line_put(l, esc, 6)) {
                return -1;
            }

        } else if (line_put(l, s + i, k)) {
            return -1;
        }
    }

    return line_put(l, "\"", 1);
}

/* A member is written whole or not at all. */
static void
line_member(line_t *l, const avp_kv_t *kv)
{
    char   num[40];
    size_t start = l->len;
    int    n;

    if (kv->kind == AVP_KV_STR && kv->str.data == NULL) {
        return;
    }

    if (line_put(l, ",", 1) || line_string(l, kv->key, strlen(kv->key))
        || line_put(l, ":", 1))
    {
        goto undo;
    }

    switch (kv->kind) {
    case AVP_KV_STR:
        if (line_string(l, kv->str.data, kv->str.len)) {
            goto undo;
        }
        return;
    case AVP_KV_INT:
        n = snprintf(num, sizeof(num), "%lld", (long long) kv->i);
        break;
    default:
        n = isfinite(kv->num) ? snprintf(num, sizeof(num), "%.6g", kv->num)
                              : snprintf(num, sizeof(num), "null");
        break;
    }

    if (line_put(l, num, (size_t) n) == 0) {
        return;
    }

undo:
    l->len = start;
}

void
avp_log_kv(avp_log_level_t level, const char *msg, const avp_kv_t *kv, size_t n)
{
    struct timespec ts;
    char            when[AVP_ISO8601_LEN + 1];
    line_t          l;
    size_t          i;

    if (!avp_log_enabled(level)) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &ts);
    avp_iso8601(when, (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000);

    l.len = (size_t) snprintf(l.data, sizeof(l.data),
                              "{\"time\":\"%s\",\"level\":\"%s\"", when,
                              level_names[level]);
    line_member(&l, &(avp_kv_t) AVP_S("msg", msg));

    for (i = 0; i < n; i++) {
        if (kv[i].kind != AVP_KV_NONE) {
            line_member(&l, &kv[i]);
        }
    }

    l.data[l.len++] = '}';
    l.data[l.len++] = '\n';

    while (write(STDERR_FILENO, l.data, l.len) < 0 && errno == EINTR) {
        /* again */
    }
}

void
avp_redact_url(char *dst, size_t size, const char *url)
{
    const char *authority, *end, *at, *colon;

    authority = strstr(url, "://");

    if (authority == NULL) {
        /* libpq's key=value form: say nothing but that it is one */
        snprintf(dst, size, "%s", strchr(url, '=') ? "(parameters)" : url);
        return;
    }

    authority += 3;
    end = authority + strcspn(authority, "/?#");
    at = memrchr(authority, '@', (size_t) (end - authority));
    colon = at ? memchr(authority, ':', (size_t) (at - authority)) : NULL;

    if (colon == NULL) {
        /* a query may carry password=...; the address is enough */
        snprintf(dst, size, "%.*s", (int) strcspn(url, "?"), url);
        return;
    }

    snprintf(dst, size, "%.*s:***%.*s", (int) (colon - url), url,
             (int) strcspn(at, "?"), at);
}
