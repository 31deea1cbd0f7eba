#include "lib/multipart_header.h"

#include <stdbool.h>
#include <strings.h>

typedef struct {
    const char *p, *end; /* what is left of the header's value */
    char       *out;     /* where unescaped values go; always has room, as
                          * unescaping never lengthens */
} params_t;

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool
same_word(avp_str_t s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.data, word, s.len) == 0;
}

/* RFC 9110 tchar */
static bool
is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void
skip_blanks(params_t *in)
{
    while (in->p < in->end && is_blank(*in->p)) {
        in->p++;
    }
}

static avp_str_t
token(params_t *in)
{
    avp_str_t t = { in->p, 0 };

    while (in->p < in->end && is_token_char(*in->p)) {
        in->p++;
    }
    t.len = (size_t)(in->p - t.data);
    return t;
}

/*
 * A quoted string whose first quote is behind.  `\"` and `\\` are escapes;
 * other backslashes stand for themselves, because browsers send paths and
 * names as they are.  For the same reason a `\"` that no other quote follows
 * is a name that ends in a backslash.
 */
static int
quoted(params_t *in, avp_str_t *value)
{
    char *start = in->out;

    while (in->p < in->end) {
        char c = *in->p++;

        if (c == '"') {
            *value = (avp_str_t){ start, (size_t)(in->out - start) };
            return 0;
        }

        if (c == '\\' && in->p < in->end
            && (*in->p == '\\'
                || (*in->p == '"'
                    && memchr(in->p + 1, '"', (size_t)(in->end - in->p - 1))
                           != NULL)))
        {
            c = *in->p++;
        }
        *in->out++ = c;
    }
    return -1;
}

/* The next `; name=value`.  1, 0 at the end, -1 when malformed. */
static int
next_param(params_t *in, avp_str_t *name, avp_str_t *value)
{
    skip_blanks(in);
    if (in->p == in->end) {
        return 0;
    }
    if (*in->p++ != ';') {
        return -1;
    }
    skip_blanks(in);
    if (in->p == in->end) {
        return 0; /* a last semicolon with nothing behind it */
    }

    *name = token(in);
    skip_blanks(in);
    if (name->len == 0 || in->p == in->end || *in->p++ != '=') {
        return -1;
    }
    skip_blanks(in);

    if (in->p < in->end && *in->p == '"') {
        in->p++;
        return quoted(in, value) == 0 ? 1 : -1;
    }

    value->data = in->p;
    while (in->p < in->end && *in->p != ';' && *in->p != '"'
           && !is_blank(*in->p))
    {
        in->p++;
    }
    value->len = (size_t)(in->p - value->data);
    return value->len > 0 ? 1 : -1;
}

/* RFC 2046 bchars, a space not at the end. */
static bool
boundary_ok(avp_str_t b)
{
    if (b.len == 0 || b.len > AVP_MP_BOUNDARY_MAX || b.data[b.len - 1] == ' ')
    {
        return false;
    }
    for (size_t i = 0; i < b.len; i++) {
        char c = b.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9')
              || (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL)))
        {
            return false;
        }
    }
    return true;
}

int
avp_mp_boundary(avp_multipart_t *mp, avp_str_t content_type,
                avp_str_t *boundary, const char **why)
{
    params_t  in = { content_type.data, content_type.data + content_type.len,
                     mp->values };
    avp_str_t type, name, value;
    bool      found = false;
    int       rc;

    *why = NULL;

    skip_blanks(&in);
    type = token(&in);
    if (!same_word(type, "multipart") || in.p == in.end || *in.p++ != '/') {
        return -1;
    }
    type = token(&in);
    if (!same_word(type, "form-data")) {
        return -1;
    }

    if (content_type.len > sizeof(mp->values)) {
        *why = "the Content-Type is too long";
        return -1;
    }

    while ((rc = next_param(&in, &name, &value)) > 0) {
        if (!same_word(name, "boundary")) {
            continue;
        }
        if (found) {
            *why = "the Content-Type has two boundaries";
            return -1;
        }
        found = true;
        *boundary = value;
    }

    if (rc < 0) {
        *why = "the Content-Type's parameters are malformed";
        return -1;
    }
    if (!found) {
        *why = "the Content-Type has no boundary";
        return -1;
    }
    if (!boundary_ok(*boundary)) {
        *why = "the boundary is not one that RFC 2046 allows";
        return -1;
    }
    return 0;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 5987: UTF-8'language'percent-encoded, decoded at in->out. */
static int
extended(params_t *in, avp_str_t value, avp_str_t *decoded)
{
    const char *p = value.data, *end = value.data + value.len;
    const char *quote;
    char       *start = in->out;

    if (value.len < 6 || strncasecmp(p, "UTF-8'", 6) != 0) {
        return -1;
    }
    p += 6;
    quote = memchr(p, '\'', (size_t)(end - p));
    if (quote == NULL) {
        return -1;
    }

    for (p = quote + 1; p < end; p++) {
        int high, low;

        if (*p != '%') {
            *in->out++ = *p;
            continue;
        }
        if (end - p < 3) {
            return -1;
        }
        high = hex_digit(p[1]);
        low = hex_digit(p[2]);
        if (high < 0 || low < 0) {
            return -1;
        }
        *in->out++ = (char)(high << 4 | low);
        p += 2;
    }

    *decoded = (avp_str_t){ start, (size_t)(in->out - start) };
    return 0;
}

/* Content-Disposition: form-data; name="..."; filename="..." */
static int
disposition(avp_multipart_t *mp, avp_str_t value, const char **why)
{
    params_t in = { value.data, value.data + value.len, mp->values };
    bool     has_name = false, has_extended = false;
    bool     has_plain = false;
    int      rc;

    skip_blanks(&in);
    if (!same_word(token(&in), "form-data")) {
        *why = "a part's Content-Disposition is not form-data";
        return -1;
    }

    for (;;) {
        avp_str_t name, v;
        bool     *seen;

        rc = next_param(&in, &name, &v);
        if (rc <= 0) {
            break;
        }

        if (same_word(name, "name")) {
            seen = &has_name;
        } else if (same_word(name, "filename")) {
            seen = &has_plain;
        } else if (same_word(name, "filename*")) {
            seen = &has_extended;
        } else {
            continue;
        }
        if (*seen) {
            *why = "a part's Content-Disposition names something twice";
            return -1;
        }
        *seen = true;

        if (seen == &has_name) {
            mp->name = v;
        } else if (seen == &has_extended) {
            if (extended(&in, v, &mp->filename) != 0) {
                *why = "a part's filename* is not UTF-8 of RFC 5987";
                return -1;
            }
        } else if (!has_extended) {
            mp->filename = v;
        }
    }

    if (rc < 0) {
        *why = "a part's Content-Disposition is malformed";
        return -1;
    }
    if (!has_name) {
        *why = "a part has no name";
        return -1;
    }
    mp->has_filename = has_plain || has_extended;
    return 0;
}

/* One line without its CRLF.  *seen has a bit per header that may come once. */
static int
header_line(avp_multipart_t *mp, avp_str_t line, unsigned *seen,
            const char **why)
{
    params_t  in = { line.data, line.data + line.len, NULL };
    avp_str_t name = token(&in), value;
    unsigned  bit;

    if (name.len == 0 || in.p == in.end || *in.p++ != ':') {
        *why = "a part's header line is malformed";
        return -1;
    }

    skip_blanks(&in);
    value = (avp_str_t){ in.p, (size_t)(in.end - in.p) };
    while (value.len > 0 && is_blank(value.data[value.len - 1])) {
        value.len--;
    }

    if (same_word(name, "Content-Disposition")) {
        bit = 1;
    } else if (same_word(name, "Content-Type")) {
        bit = 2;
    } else if (same_word(name, "Content-Transfer-Encoding")) {
        bit = 4;
    } else {
        return 0;
    }

    if (*seen & bit) {
        *why = "a part has the same header twice";
        return -1;
    }
    *seen |= bit;

    if (bit == 1) {
        return disposition(mp, value, why);
    }

    if (bit == 2) {
        if (value.len >= 10 && strncasecmp(value.data, "multipart/", 10) == 0)
        {
            *why = "a part is multipart itself";
            return -1;
        }
        mp->content_type = value;
        return 0;
    }

    if (!same_word(value, "binary") && !same_word(value, "8bit")
        && !same_word(value, "7bit"))
    {
        *why = "a part has a Content-Transfer-Encoding";
        return -1;
    }
    return 0;
}

int
avp_mp_header_parse(avp_multipart_t *mp, const char **why)
{
    const char *p = mp->header, *end = mp->header + mp->header_len;
    unsigned    seen = 0;

    mp->name = (avp_str_t){ mp->values, 0 };
    mp->filename = mp->name;
    mp->content_type = mp->name;
    mp->has_filename = 0;

    while (p < end && *p != '\r') {
        const char *cr = memchr(p, '\r', (size_t)(end - p));

        if (header_line(mp, (avp_str_t){ p, (size_t)(cr - p) }, &seen, why)
            != 0)
        {
            return -1;
        }
        p = cr + 2;
    }

    if ((seen & 1) == 0) {
        *why = "a part has no Content-Disposition";
        return -1;
    }
    return 0;
}
