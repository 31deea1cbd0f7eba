#include "lib/multipart.h"
#include "lib/multipart_header.h"

#include <stdbool.h>

/*
 * The delimiter is CRLF "--" boundary.  CR occurs in it only as its first
 * byte (boundaries have none), so after a mismatch everything that matched is
 * text and no earlier byte can begin another match: no table, no going back.
 *
 * A line that merely begins with the delimiter is text, unless blanks follow
 * (RFC 2046's transport padding): then it must be a delimiter line.
 */
enum {
    S_START = 0, /* as S_TEXT, with a CRLF in front that nobody sent */
    S_TEXT,      /* the preamble (no part yet) or a part's bytes */
    S_PADDING,
    S_PADDING_LF,
    S_HEADER,
    S_CLOSED, /* DONE has to be told */
    S_EPILOGUE,
    S_ERROR
};

int
avp_multipart_init(avp_multipart_t *mp, avp_str_t content_type)
{
    avp_str_t boundary = { NULL, 0 };

    /* not the big buffers: they are written before they are read */
    memset(mp, 0, offsetof(avp_multipart_t, delim));
    mp->header_len = 0;
    mp->state = S_ERROR;

    if (avp_mp_boundary(mp, content_type, &boundary, &mp->error) != 0) {
        return -1;
    }

    memcpy(mp->delim, "\r\n--", 4);
    memcpy(mp->delim + 4, boundary.data, boundary.len);
    mp->delim_len = 4 + boundary.len;
    mp->matched = 2;
    mp->state = S_START;
    return 0;
}

static avp_mp_event_t
fail(avp_multipart_t *mp, const char *error)
{
    mp->state = S_ERROR;
    mp->error = error;
    return AVP_MP_ERROR;
}

/* Bytes that are not the delimiter's: data of the part, or preamble. */
static avp_mp_event_t
text(avp_multipart_t *mp, const char *p, size_t n, avp_str_t *slice)
{
    if (mp->parts > 0) {
        *slice = (avp_str_t){ p, n };
        return AVP_MP_DATA;
    }

    mp->margin += n;
    if (mp->margin > AVP_MP_MARGIN_MAX) {
        return fail(mp, "there is too much before the first boundary");
    }
    return AVP_MP_MORE;
}

/* `matched` bytes turned out to be no delimiter. */
static avp_mp_event_t
mismatch(avp_multipart_t *mp, avp_str_t *slice)
{
    size_t n = mp->matched, unsent = mp->state == S_START ? 2 : 0;

    mp->state = S_TEXT;
    mp->matched = 0;

    if (n > mp->delim_len) {
        /* its tail is there already */
        memcpy(mp->held, mp->delim, mp->delim_len);
        return text(mp, mp->held + unsent, n - unsent, slice);
    }
    return text(mp, mp->delim + unsent, n - unsent, slice);
}

/* The delimiter line is certain: the part before it, if any, ends. */
static avp_mp_event_t
delimiter(avp_multipart_t *mp, int state)
{
    bool in_part = mp->parts > 0;

    mp->matched = 0;
    mp->header_len = 0;
    mp->state = state;
    return in_part ? AVP_MP_PART_END : AVP_MP_MORE;
}

/*
 * Goes on with a delimiter of which `matched` bytes are known, its tail (CRLF,
 * "--" or a blank) included.  MORE also stands for "decided, no event": then
 * the caller finds input left.
 */
static avp_mp_event_t
match(avp_multipart_t *mp, const char **p, const char *end, avp_str_t *slice)
{
    char c;

    while (mp->matched < mp->delim_len) {
        if (*p == end) {
            return AVP_MP_MORE;
        }
        if (**p != mp->delim[mp->matched]) {
            return mismatch(mp, slice);
        }
        mp->matched++;
        (*p)++;
    }

    if (mp->matched == mp->delim_len) {
        if (*p == end) {
            return AVP_MP_MORE;
        }
        c = **p;
        if (c == ' ' || c == '\t') {
            return delimiter(mp, S_PADDING);
        }
        if (c != '\r' && c != '-') {
            return mismatch(mp, slice);
        }
        mp->held[mp->matched++] = c;
        (*p)++;
    }

    if (*p == end) {
        return AVP_MP_MORE;
    }
    c = mp->held[mp->delim_len];
    if (c == '\r' && **p == '\n') {
        (*p)++;
        return delimiter(mp, S_HEADER);
    }
    if (c == '-' && **p == '-') {
        (*p)++;
        return delimiter(mp, S_CLOSED);
    }
    return mismatch(mp, slice);
}

/* Whether a delimiter begins at `cr`, or may begin as far as can be seen. */
static bool
may_be_delimiter(const avp_multipart_t *mp, const char *cr, const char *end)
{
    size_t      left = (size_t)(end - cr);
    const char *tail;

    if (left < mp->delim_len + 2) {
        size_t n = left < mp->delim_len ? left : mp->delim_len;

        return memcmp(cr, mp->delim, n) == 0;
    }

    if (memcmp(cr, mp->delim, mp->delim_len) != 0) {
        return false;
    }
    tail = cr + mp->delim_len;
    return *tail == ' ' || *tail == '\t' || (tail[0] == '\r' && tail[1] == '\n')
           || (tail[0] == '-' && tail[1] == '-');
}

/* Text up to the next thing that may be a delimiter; then that. */
static avp_mp_event_t
scan(avp_multipart_t *mp, const char **p, const char *end, avp_str_t *slice)
{
    const char *start = *p, *cr = start;

    for (;;) {
        cr = memchr(cr, '\r', (size_t)(end - cr));
        if (cr == NULL) {
            *p = end;
            return text(mp, start, (size_t)(end - start), slice);
        }
        if (may_be_delimiter(mp, cr, end)) {
            break;
        }
        cr++;
    }

    if (cr > start) {
        *p = cr;
        return text(mp, start, (size_t)(cr - start), slice);
    }

    mp->matched = 1;
    *p = cr + 1;
    return match(mp, p, end, slice);
}

/* Collects a part's header up to its empty line. */
static avp_mp_event_t
header(avp_multipart_t *mp, const char **p, const char *end)
{
    const char *error = NULL;

    while (*p < end) {
        size_t n = mp->header_len;
        char   c = *(*p)++;

        if (n == AVP_MP_HEADER_MAX) {
            return fail(mp, "a part's header is too long");
        }
        if ((c == '\n') != (n > 0 && mp->header[n - 1] == '\r')) {
            return fail(mp, "a line of a part's header does not end in CRLF");
        }
        if (c == '\0') {
            return fail(mp, "there is a NUL in a part's header");
        }

        mp->header[mp->header_len++] = c;
        if (c != '\n' || (n != 1 && mp->header[n - 2] != '\n')) {
            continue;
        }

        /* an empty line: n == 1, or CRLF behind another line's LF */
        if (mp->parts == AVP_MP_PARTS_MAX) {
            return fail(mp, "the form has too many parts");
        }
        if (avp_mp_header_parse(mp, &error) != 0) {
            return fail(mp, error);
        }
        mp->parts++;
        mp->matched = 2; /* an empty part: its CRLF may be the header's */
        mp->state = S_START;
        return AVP_MP_PART;
    }
    return AVP_MP_MORE;
}

static avp_mp_event_t
padding(avp_multipart_t *mp, const char **p, const char *end)
{
    while (*p < end) {
        char c = *(*p)++;

        if (mp->state == S_PADDING_LF) {
            if (c != '\n') {
                break;
            }
            mp->matched = 0;
            mp->state = S_HEADER;
            return AVP_MP_MORE;
        }

        if (c == '\r') {
            mp->state = S_PADDING_LF;
        } else if ((c != ' ' && c != '\t')
                   || ++mp->matched > AVP_MP_MARGIN_MAX)
        {
            break;
        }
        if (*p == end) {
            return AVP_MP_MORE;
        }
    }
    return fail(mp, "there is text behind a boundary");
}

avp_mp_event_t
avp_multipart_next(avp_multipart_t *mp, const char **p, const char *end,
                   avp_str_t *slice)
{
    avp_mp_event_t event;

    for (;;) {
        if (mp->state == S_CLOSED) {
            mp->state = S_EPILOGUE;
            mp->margin = 0;
            return AVP_MP_DONE;
        }
        if (mp->state == S_ERROR) {
            return AVP_MP_ERROR;
        }
        if (*p == end) {
            return AVP_MP_MORE;
        }

        switch (mp->state) {

        case S_START:
        case S_TEXT:
            event = mp->matched > 0 ? match(mp, p, end, slice)
                                    : scan(mp, p, end, slice);
            break;

        case S_PADDING:
        case S_PADDING_LF:
            event = padding(mp, p, end);
            break;

        case S_HEADER:
            event = header(mp, p, end);
            break;

        default: /* S_EPILOGUE */
            mp->margin += (size_t)(end - *p);
            *p = end;
            event = mp->margin > AVP_MP_MARGIN_MAX
                        ? fail(mp, "there is too much after the last boundary")
                        : AVP_MP_MORE;
        }

        if (event == AVP_MP_DATA && slice->len == 0) {
            continue; /* a mismatch of the unsent CRLF alone */
        }
        if (event != AVP_MP_MORE) {
            return event;
        }
    }
}

int
avp_multipart_finish(avp_multipart_t *mp)
{
    if (mp->state == S_CLOSED || mp->state == S_EPILOGUE) {
        return 0;
    }
    if (mp->state != S_ERROR) {
        fail(mp, "the body ends before the last boundary");
    }
    return -1;
}
