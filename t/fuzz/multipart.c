/*
 * The multipart parser against a slow reference that sees the whole body at
 * once, unsplit and in random pieces: one story each time.
 */

#include "lib/multipart.h"
#include "lib/multipart_header.h"
#include "t/fuzz/fuzz.h"

static const char *const boundaries[] = {
    "XbX", "-", "a b", /* and the longest one */
    "0123456789012345678901234567890123456789012345678901234567890123456789",
};

/* Events in a row: (name|filename|type:data) for a part, then . or ! */
typedef struct {
    char  *text;
    size_t len, size;
} story_t;

static avp_multipart_t mp;

static void
tell(story_t *s, const char *data, size_t n)
{
    if (s->len + n > s->size) {
        s->size = (s->len + n) * 2 + 64;
        s->text = realloc(s->text, s->size);
        MUST(s->text != NULL);
    }
    if (n > 0) {
        memcpy(s->text + s->len, data, n);
    }
    s->len += n;
}

static void
tell_part(story_t *s, const avp_multipart_t *m)
{
    tell(s, "(", 1);
    tell(s, m->name.data, m->name.len);
    tell(s, m->has_filename ? "|f" : "|-", 2);
    tell(s, m->filename.data, m->filename.len);
    tell(s, "|", 1);
    tell(s, m->content_type.data, m->content_type.len);
    tell(s, ":", 1);
}

/* --- the reference --- */

typedef struct {
    const char *body;
    size_t      len;
    const char *delim; /* CRLF -- boundary */
    size_t      delim_len;
} ref_t;

/* Compares the delimiter with what is at i; `skip` leaves out its CRLF.
 * 1: it is there; 0: it is not; -1: the body ends before one can tell. */
static int
delimiter_at(const ref_t *r, size_t i, size_t skip)
{
    for (size_t k = skip; k < r->delim_len; k++, i++) {
        if (i == r->len) {
            return -1;
        }
        if (r->body[i] != r->delim[k]) {
            return 0;
        }
    }

    if (i == r->len) {
        return -1;
    }
    switch (r->body[i]) {
    case ' ':
    case '\t':
        return 1;
    case '\r':
        return i + 1 == r->len ? -1 : r->body[i + 1] == '\n';
    case '-':
        return i + 1 == r->len ? -1 : r->body[i + 1] == '-';
    default:
        return 0;
    }
}

/* The next delimiter from `from` on: where it begins and where its tail is.
 * 1, or -1 when the body ends (then *start is where the certain text ends). */
static int
next_delimiter(const ref_t *r, size_t from, size_t *start, size_t *tail)
{
    for (size_t i = from;; i++) {
        size_t skip = 2; /* at `from` its CRLF may be what came before */

        for (int pass = i == from ? 0 : 1; pass < 2; pass++, skip = 0) {
            int found = delimiter_at(r, i, pass == 0 ? skip : 0);

            if (found != 0) {
                *start = i;
                *tail = i + r->delim_len - (pass == 0 ? 2 : 0);
                return found;
            }
        }
        if (i == r->len) {
            *start = i;
            return -1;
        }
    }
}

/* The end of a header that begins at i, or -1. */
static long
header_end(const ref_t *r, size_t i)
{
    size_t start = i, line = i;

    for (;; i++) {
        if (i == r->len || i - start == AVP_MP_HEADER_MAX
            || r->body[i] == '\0' || r->body[i] == '\n')
        {
            return -1;
        }
        if (r->body[i] != '\r') {
            continue;
        }
        i++;
        if (i == r->len || i - start == AVP_MP_HEADER_MAX
            || r->body[i] != '\n')
        {
            return -1;
        }
        if (i == line + 1) {
            return (long)i + 1;
        }
        line = i + 1;
    }
}

static void
reference(const ref_t *r, story_t *s)
{
    static avp_multipart_t m;
    const char            *why;
    size_t                 at = 0, start, tail, pad;
    unsigned               parts = 0;

    for (;;) {
        int  found = next_delimiter(r, at, &start, &tail);
        long end;

        if (parts > 0) {
            tell(s, r->body + at, start - at);
        } else if (start > AVP_MP_MARGIN_MAX) {
            break;
        }
        if (found < 0) {
            break;
        }
        if (parts > 0) {
            tell(s, ")", 1);
        }

        if (r->body[tail] == '-') {
            tell(s, ".", 1);
            if (r->len - tail - 2 > AVP_MP_MARGIN_MAX) {
                break;
            }
            return;
        }
        for (pad = tail; pad < r->len && (r->body[pad] == ' '
                                          || r->body[pad] == '\t'); pad++)
        {
        }
        if (pad - tail > AVP_MP_MARGIN_MAX || r->len - pad < 2
            || memcmp(r->body + pad, "\r\n", 2) != 0)
        {
            break;
        }

        end = header_end(r, pad + 2);
        if (end < 0 || parts == AVP_MP_PARTS_MAX) {
            break;
        }
        m.header_len = (size_t)end - pad - 2;
        memcpy(m.header, r->body + pad + 2, m.header_len);
        if (avp_mp_header_parse(&m, &why) != 0) {
            break;
        }
        tell_part(s, &m);
        parts++;
        at = (size_t)end;
    }
    tell(s, "!", 1);
}

/* --- the parser --- */

/* -1 when it says ERROR. */
static int
feed(story_t *s, const char *data, size_t n)
{
    char       *copy = copy_of(data, n);
    const char *p = copy;
    avp_str_t   slice = { NULL, 0 };
    int         rc = 0;

    for (;;) {
        avp_mp_event_t e = avp_multipart_next(&mp, &p, copy + n, &slice);

        if (e == AVP_MP_PART) {
            tell_part(s, &mp);
        } else if (e == AVP_MP_DATA) {
            MUST(slice.len > 0);
            tell(s, slice.data, slice.len);
        } else if (e == AVP_MP_PART_END) {
            tell(s, ")", 1);
        } else if (e == AVP_MP_DONE) {
            tell(s, ".", 1);
        } else {
            MUST(e != AVP_MP_MORE || p == copy + n);
            MUST(e != AVP_MP_ERROR || mp.error != NULL);
            rc = e == AVP_MP_ERROR ? -1 : 0;
            break;
        }
    }
    free(copy);
    return rc;
}

static void
parse(story_t *s, avp_str_t type, avp_str_t body, uint32_t seed)
{
    size_t at = 0;
    int    rc = 0;

    MUST(avp_multipart_init(&mp, type) == 0);
    while (at < body.len && rc == 0) {
        size_t n = body.len - at;

        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            n = 1 + (seed >> 16) % (1u << ((seed >> 8) % 8));
            if (n > body.len - at) {
                n = body.len - at;
            }
        }
        rc = feed(s, body.data + at, n);
        at += n;
    }
    if (avp_multipart_finish(&mp) != 0) {
        tell(s, "!", 1);
    } else {
        MUST(rc == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char        type[256], delim[128];
    const char *boundary;
    ref_t       r;
    story_t     want = { NULL, 0, 0 }, got = { NULL, 0, 0 };
    avp_str_t   body;

    if (size < 2) {
        return 0;
    }

    /* any bytes as a Content-Type: no crash */
    avp_multipart_init(&mp, (avp_str_t){ (const char *)data, size });

    boundary = boundaries[data[0] % 4];
    snprintf(type, sizeof(type), "multipart/form-data; boundary=\"%s\"",
             boundary);
    snprintf(delim, sizeof(delim), "\r\n--%s", boundary);
    body = (avp_str_t){ (const char *)data + 2, size - 2 };
    r = (ref_t){ body.data, body.len, delim, strlen(delim) };

    reference(&r, &want);
    for (uint32_t round = 0; round < 3; round++) {
        got.len = 0;
        parse(&got, avp_str_c(type), body, round == 0 ? 0 : data[1] + round);
        MUST(got.len == want.len
             && (got.len == 0 || memcmp(got.text, want.text, got.len) == 0));
    }
    free(want.text);
    free(got.text);
    return 0;
}
