#include "lib/text.h"

#include <stdint.h>

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Unicode table 3-7 */
size_t
avp_utf8_char(const char *s, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned char        low = 0x80, high = 0xbf;
    size_t               len;

    if (n == 0) {
        return 0;
    }
    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
        *cp = p[0] & 0x1f;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        *cp = p[0] & 0x0f;
        low = p[0] == 0xe0 ? 0xa0 : 0x80;  /* over-long */
        high = p[0] == 0xed ? 0x9f : 0xbf; /* surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        *cp = p[0] & 0x07;
        low = p[0] == 0xf0 ? 0x90 : 0x80;
        high = p[0] == 0xf4 ? 0x8f : 0xbf; /* above U+10FFFF */
    } else {
        return 0;
    }

    if (n < len || p[1] < low || p[1] > high) {
        return 0;
    }
    *cp = *cp << 6 | (p[1] & 0x3f);
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        *cp = *cp << 6 | (p[i] & 0x3f);
    }
    return len;
}

static bool
is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}

bool
avp_utf8_valid(avp_str_t s)
{
    uint32_t cp;

    for (size_t i = 0; i < s.len;) {
        size_t n = avp_utf8_char(s.data + i, s.len - i, &cp);

        if (n == 0 || cp == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

size_t
avp_utf8_count(avp_str_t s)
{
    size_t count = 0;

    for (size_t i = 0; i < s.len; i++) {
        count += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    }
    return count;
}

bool
avp_text_has_controls(avp_str_t s, bool allow_lines)
{
    uint32_t cp;

    for (size_t i = 0; i < s.len;) {
        size_t n = avp_utf8_char(s.data + i, s.len - i, &cp);

        if (n == 0) { /* not UTF-8: not this function's question */
            i++;
            continue;
        }
        if (is_control(cp)
            && !(allow_lines && (cp == '\t' || cp == '\r' || cp == '\n')))
        {
            return true;
        }
        i += n;
    }
    return false;
}

void
avp_display_name(char dst[256], avp_str_t filename)
{
    size_t start = 0, out = 0;

    for (size_t i = 0; i < filename.len; i++) {
        if (filename.data[i] == '/' || filename.data[i] == '\\') {
            start = i + 1;
        }
    }

    for (size_t i = start; i < filename.len;) {
        uint32_t    cp;
        size_t      n = avp_utf8_char(filename.data + i, filename.len - i, &cp);
        const char *from = filename.data + i;
        size_t      len = n;

        if (n == 0 || is_control(cp)) {
            from = replacement;
            len = 3;
        }
        if (out + len > 255) {
            break;
        }
        memcpy(dst + out, from, len);
        out += len;
        i += n ? n : 1;
    }

    /* "." and ".." are no names either */
    if (out == 0 || (out == 1 && dst[0] == '.')
        || (out == 2 && dst[0] == '.' && dst[1] == '.'))
    {
        memcpy(dst, "upload", 6);
        out = 6;
    }
    dst[out] = '\0';
}

void
avp_text_label(char *dst, size_t size, avp_str_t s)
{
    size_t out = 0;

    for (size_t i = 0; i < s.len;) {
        uint32_t    cp;
        size_t      n = avp_utf8_char(s.data + i, s.len - i, &cp);
        const char *from = s.data + i;
        size_t      len = n;

        i += n ? n : 1;

        if (n == 0) {
            from = replacement;
            len = 3;
        } else if (is_control(cp) || cp == ' ' || cp == 0x2028
                   || cp == 0x2029)
        {
            if (out == 0 || dst[out - 1] == ' ') {
                continue;
            }
            from = " ";
            len = 1;
        }
        if (out + len >= size) {
            break;
        }
        memcpy(dst + out, from, len);
        out += len;
    }

    if (out > 0 && dst[out - 1] == ' ') {
        out--;
    }
    dst[out] = '\0';
}

/* Bounded writing: what does not fit sets `full`. */
typedef struct {
    char  *dst;
    size_t size, len;
    bool   full;
} out_t;

static void
put(out_t *o, const char *s, size_t n)
{
    if (o->full || n > o->size - o->len) {
        o->full = true;
        return;
    }
    memcpy(o->dst + o->len, s, n);
    o->len += n;
}

static void
put_percent(out_t *o, const char *s, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char          e[3] = { '%', hex[c >> 4], hex[c & 15] };

        put(o, e, 3);
    }
}

/* RFC 5987 attr-char */
static bool
is_attr_char(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c > 0 && c < 0x80 && strchr("!#$&+-.^_`|~", (int)c) != NULL);
}

/* Characters that would make a path, a header or a shell of a name. */
static bool
is_unsafe(uint32_t cp)
{
    return is_control(cp) || cp == '/' || cp == '\\' || cp == ':'
           || cp == 0x2028 || cp == 0x2029;
}

/* The title in one of the header's two forms. */
static void
put_title(out_t *o, avp_str_t title, bool extended)
{
    for (size_t i = 0; i < title.len;) {
        uint32_t    cp;
        size_t      n = avp_utf8_char(title.data + i, title.len - i, &cp);
        const char *from = title.data + i;
        size_t      len = n;

        i += n ? n : 1;

        if (n == 0) {
            from = replacement;
            len = 3;
            cp = 0xfffd;
        } else if (is_unsafe(cp) || (cp == '.' && from == title.data)) {
            from = "_"; /* no hidden files, no ".." */
            len = 1;
            cp = '_';
        }

        if (extended) {
            if (is_attr_char(cp)) {
                put(o, from, len);
            } else {
                put_percent(o, from, len);
            }
        } else if (cp >= 0x80 || cp == '"' || cp == '%') {
            put(o, "_", 1);
        } else {
            put(o, from, len);
        }
    }
}

int
avp_content_disposition(char *dst, size_t size, avp_str_t title,
                        const char *ending)
{
    out_t     o = { dst, size, 0, false };
    avp_str_t end = avp_str_c(ending ? ending : "");

    if (title.len == 0) {
        title = avp_str("video");
    }

    put(&o, "attachment; filename=\"", 22);
    put_title(&o, title, false);
    if (end.len > 0) {
        put(&o, ".", 1);
        put_title(&o, end, false);
    }
    put(&o, "\"; filename*=UTF-8''", 20);
    put_title(&o, title, true);
    if (end.len > 0) {
        put(&o, ".", 1);
        put_title(&o, end, true);
    }

    if (o.full || o.len == o.size || o.len > INT32_MAX) {
        return -1;
    }
    dst[o.len] = '\0';
    return (int)o.len;
}

long
avp_json_escape(char *dst, size_t size, avp_str_t s)
{
    static const char hex[] = "0123456789abcdef";
    out_t             o = { dst, size, 0, false };

    put(&o, "\"", 1);
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        size_t   n = avp_utf8_char(s.data + i, s.len - i, &cp);

        if (n == 0) {
            put(&o, replacement, 3);
            i++;
            continue;
        }
        if (cp == '"' || cp == '\\') {
            char e[2] = { '\\', (char)cp };

            put(&o, e, 2);
        } else if (cp == '\n') {
            put(&o, "\\n", 2);
        } else if (cp == '\r') {
            put(&o, "\\r", 2);
        } else if (cp == '\t') {
            put(&o, "\\t", 2);
        } else if (cp < 0x20 || cp == 0x7f) {
            char e[6] = { '\\', 'u', '0', '0', hex[cp >> 4], hex[cp & 15] };

            put(&o, e, 6);
        } else {
            put(&o, s.data + i, n);
        }
        i += n;
    }
    put(&o, "\"", 1);

    return o.full ? -1 : (long)o.len;
}
