#include "lib/cue_text.h"

#include "lib/text.h"

#include <stdbool.h>

#define ASS_FIELDS 8 /* before the text */
#define TAIL 32      /* kept free: closing tags of all three kinds */

#define WORD_JOINER 0x2060
#define NO_BREAK_SPACE "\xc2\xa0"

/* Tags as bits: what is wanted, and in which order they are open. */
typedef struct {
    char  *dst;
    size_t len;
    char   open[3]; /* of "ibu", in the order of opening */
    int    nopen;
    bool   want[3]; /* i, b, u */
    bool   line;    /* something was said on this line */
    bool   breaks;  /* a line ended, and the next one has begun to speak */
    bool   blank;  /* one is due before what follows */
    bool   full;
} cue_t;

static const char tags[] = "ibu";

static void
put(cue_t *c, const char *s, size_t n)
{
    if (c->full || c->len + n > AVP_CUE_MAX - TAIL) {
        c->full = true;
        return;
    }
    memcpy(c->dst + c->len, s, n);
    c->len += n;
}

/* Into what put() leaves free: at most 3 x "</i>". */
static void
close_last(cue_t *c)
{
    const char tag[4] = { '<', '/', c->open[--c->nopen], '>' };

    memcpy(c->dst + c->len, tag, 4);
    c->len += 4;
}

static bool
is_open(const cue_t *c, char tag)
{
    return memchr(c->open, tag, (size_t)c->nopen) != NULL;
}

/* Tags nest, so what stands above one that closes is closed with it and
 * opened again. */
static void
close_unwanted(cue_t *c)
{
    for (int i = 0; i < 3; i++) {
        while (!c->want[i] && is_open(c, tags[i])) {
            close_last(c);
        }
    }
}

static void
open_wanted(cue_t *c)
{
    for (int i = 0; i < 3; i++) {
        if (c->want[i] && !is_open(c, tags[i])) {
            const char tag[3] = { '<', tags[i], '>' };

            put(c, tag, 3);
            if (!c->full) {
                c->open[c->nopen++] = tags[i];
            }
        }
    }
}

/* A character that is seen.  Line feeds and blanks wait for it: so none is
 * first, none is last, and no line is blank, which would end the cue. */
static void
say(cue_t *c, const char *s, size_t n)
{
    if (c->full) {
        return;
    }
    close_unwanted(c);
    if (c->breaks) {
        put(c, "\n", 1);
    }
    if (c->blank && c->line) {
        put(c, " ", 1);
    }
    open_wanted(c);
    put(c, s, n);
    c->line = true;
    c->breaks = c->blank = false;
}

static void
end_line(cue_t *c)
{
    c->breaks |= c->line;
    c->line = c->blank = false;
}

/* One override, as `i1`, `b700`, `u0`, `r`, `p1`. */
static void
override(cue_t *c, avp_str_t tag, bool *drawing)
{
    const char *known;
    int         value = 0;

    if (tag.len == 0) {
        return;
    }
    if (tag.data[0] == 'r') {
        memset(c->want, 0, sizeof(c->want));
        return;
    }
    for (size_t i = 1; i < tag.len && i < 6; i++) {
        if (tag.data[i] < '0' || tag.data[i] > '9') {
            return; /* `\iclip`, `\bord2`, `\blur3`, `\pos(1,2)` */
        }
        value = value * 10 + (tag.data[i] - '0');
    }

    if (tag.data[0] == 'p') {
        *drawing = value > 0;
        return;
    }
    known = memchr(tags, tag.data[0], 3);
    if (known) {
        c->want[known - tags] = value == 1 || value >= 600;
    }
}

/* {...}: its overrides; returns the bytes it has, 1 when it does not end. */
static size_t
overrides(cue_t *c, avp_str_t s, bool *drawing)
{
    const char *end = memchr(s.data, '}', s.len);
    size_t      n, from;

    if (end == NULL) {
        return 1;
    }

    n = (size_t)(end - s.data);
    for (size_t i = 1; i < n;) {
        if (s.data[i++] != '\\') {
            continue;
        }
        for (from = i; i < n && s.data[i] != '\\'; i++) {
        }
        override(c, (avp_str_t){ s.data + from, i - from }, drawing);
    }
    return n + 1;
}

/* A backslash and what belongs to it; returns the bytes taken. */
static size_t
escape(cue_t *c, avp_str_t s)
{
    uint32_t cp;
    size_t   n;

    if (s.len < 2) {
        say(c, "\\", 1);
        return 1;
    }

    switch (s.data[1]) {
    case 'N':
    case 'n':
        end_line(c);
        return 2;
    case 'h':
        if (c->line) {
            say(c, NO_BREAK_SPACE, 2);
        }
        return 2;
    case '{':
    case '}':
        say(c, s.data + 1, 1);
        return 2;
    }

    /* libav puts a word joiner behind a backslash that is one */
    say(c, "\\", 1);
    n = avp_utf8_char(s.data + 1, s.len - 1, &cp);
    return n > 0 && cp == WORD_JOINER ? 1 + n : 1;
}

static bool
is_format(uint32_t cp)
{
    return cp == 0x2028 || cp == 0x2029 || cp == 0xfeff;
}

/* One character of plain text; returns its bytes. */
static size_t
plain(cue_t *c, avp_str_t s)
{
    uint32_t cp;
    size_t   n = avp_utf8_char(s.data, s.len, &cp);

    if (n == 0) {
        say(c, "\xef\xbf\xbd", 3); /* U+FFFD */
        return 1;
    }

    switch (cp) {
    case '&':
        say(c, "&amp;", 5);
        break;
    case '<':
        say(c, "&lt;", 4);
        break;
    case '>':
        say(c, "&gt;", 4);
        break;
    case '\n':
        end_line(c);
        break;
    case ' ':
    case '\t':
        c->blank = true;
        break;
    default:
        if (cp >= 0x20 && !(cp >= 0x7f && cp < 0xa0) && !is_format(cp)) {
            say(c, s.data, n);
        }
    }
    return n;
}

static avp_str_t
text_of(avp_str_t event)
{
    for (int i = 0; i < ASS_FIELDS; i++) {
        const char *comma = event.len ? memchr(event.data, ',', event.len)
                                      : NULL;

        if (comma == NULL) {
            return (avp_str_t){ NULL, 0 };
        }
        event.len -= (size_t)(comma + 1 - event.data);
        event.data = comma + 1;
    }
    return event;
}

size_t
avp_cue_from_ass(char dst[AVP_CUE_MAX], avp_str_t event)
{
    avp_str_t s = text_of(event);
    cue_t     c = { .dst = dst };
    bool      drawing = false;

    while (s.len > 0 && !c.full) {
        size_t n;

        if (s.data[0] == '{') {
            n = overrides(&c, s, &drawing);
            if (n == 1 && !drawing) {
                say(&c, "{", 1);
            }
        } else if (drawing) {
            n = 1;
        } else if (s.data[0] == '\\') {
            n = escape(&c, s);
        } else {
            n = plain(&c, s);
        }
        s.data += n;
        s.len -= n;
    }

    while (c.nopen > 0) {
        close_last(&c);
    }
    dst[c.len] = '\0';
    return c.len;
}
