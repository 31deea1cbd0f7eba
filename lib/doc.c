#include "lib/doc.h"
#include "lib/uuid.h"

#define MARK_LEN 6 /* \u0001 */

/*
 * The next hole in [p, end): its mark, or `end`.  JSON's other escapes are
 * stepped over, so that the text `\\u0001` (a backslash in a title and then
 * letters) is none.
 */
static const char *
next_hole(const char *p, const char *end)
{
    while (p < end) {
        p = memchr(p, '\\', (size_t)(end - p));
        if (p == NULL) {
            return end;
        }
        if (end - p < MARK_LEN) { /* no room for one any more */
            return end;
        }
        if (memcmp(p, "\\u0001", MARK_LEN) == 0) {
            return p;
        }
        p += 2;
    }
    return end;
}

size_t
avp_doc_size(avp_str_t doc, const avp_doc_fill_t *f)
{
    size_t      video = f->cdn_base.len + 3 + AVP_UUID_LEN + 1
                        + AVP_DELIVERY_TOKEN_LEN;
    size_t      each = f->api_base.len > video ? f->api_base.len : video;
    size_t      size = doc.len;
    const char *end = doc.data + doc.len;

    for (const char *p = next_hole(doc.data, end); p < end;
         p = next_hole(p + MARK_LEN, end))
    {
        size += each;
    }
    return size;
}

static int
put(char **d, const char *last, const char *s, size_t n)
{
    if (n > (size_t)(last - *d)) {
        return -1;
    }
    if (n > 0) {
        memcpy(*d, s, n);
        *d += n;
    }
    return 0;
}

/* The token of the hole before: a document is mostly about one video, and
 * the HMAC is most of the cost of a hole. */
typedef struct {
    char id[AVP_UUID_LEN + 1];
    char token[AVP_DELIVERY_TOKEN_LEN + 1];
} signed_t;

/* {base}/v/{uuid}/{token} */
static int
put_delivery(char **d, const char *last, avp_str_t text,
             const avp_doc_fill_t *f, signed_t *known)
{
    char id[AVP_UUID_LEN + 1];

    if (text.len < AVP_UUID_LEN || f->key == NULL
        || avp_uuid_parse(id, (avp_str_t){ text.data, AVP_UUID_LEN }) != 0)
    {
        return -1;
    }

    if (memcmp(id, known->id, sizeof(id)) != 0) {
        if (avp_delivery_sign(known->token, f->key, id, f->expiry) != 0) {
            return -1;
        }
        memcpy(known->id, id, sizeof(id));
    }

    if (put(d, last, f->cdn_base.data, f->cdn_base.len) != 0
        || put(d, last, "/v/", 3) != 0
        || put(d, last, id, AVP_UUID_LEN) != 0 || put(d, last, "/", 1) != 0)
    {
        return -1;
    }
    return put(d, last, known->token, AVP_DELIVERY_TOKEN_LEN);
}

long
avp_doc_write(char *dst, size_t size, avp_str_t doc, const avp_doc_fill_t *f)
{
    char       *d = dst;
    const char *last = dst + size;
    const char *p = doc.data, *end = doc.data + doc.len;
    signed_t    known = { "", "" };

    for (;;) {
        const char *hole = next_hole(p, end);

        if (put(&d, last, p, (size_t)(hole - p)) != 0) {
            return -1;
        }
        if (hole == end) {
            return (long)(d - dst);
        }

        p = hole + MARK_LEN;
        if (p == end) {
            return -1;
        }

        switch (*p++) {
        case 'A':
            if (put(&d, last, f->api_base.data, f->api_base.len) != 0) {
                return -1;
            }
            break;
        case 'V':
            if (put_delivery(&d, last, (avp_str_t){ p, (size_t)(end - p) }, f,
                             &known)
                != 0)
            {
                return -1;
            }
            p += AVP_UUID_LEN;
            break;
        default:
            return -1;
        }
    }
}
