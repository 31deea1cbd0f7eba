#include "workerd/media/keys.h"

#include <string.h>

enum { NAL_SLICE = 1, NAL_PARTITION = 4, NAL_IDR = 5, NAL_SEI = 6, NAL_SPS = 7,
       NAL_PPS = 8, NAL_SPS_EXT = 13, NAL_SUBSET = 15 };

#define SPS_BYTES 128 /* scaling lists and all, a set's part read here fits */

/* --- bits ---------------------------------------------------------------- */

typedef struct {
    uint8_t buf[SPS_BYTES]; /* without emulation prevention bytes */
    size_t  bits, at;
    bool    over;
} bits_t;

static void
bits_init(bits_t *b, const uint8_t *p, size_t size)
{
    size_t n = 0, zeros = 0;

    memset(b, 0, sizeof(*b));
    for (size_t i = 0; i < size && n < sizeof(b->buf); i++) {
        if (zeros >= 2 && p[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = p[i] == 0 ? zeros + 1 : 0;
        b->buf[n++] = p[i];
    }
    b->bits = n * 8;
}

static unsigned
get(bits_t *b, int n)
{
    unsigned v = 0;

    while (n-- > 0) {
        if (b->at >= b->bits) {
            b->over = true;
            return 0;
        }
        v = v << 1 | (b->buf[b->at / 8] >> (7 - b->at % 8) & 1);
        b->at++;
    }
    return v;
}

static unsigned
get_ue(bits_t *b)
{
    int zeros = 0;

    while (!b->over && get(b, 1) == 0) {
        if (++zeros > 31) {
            b->over = true;
        }
    }
    return b->over ? 0 : (1u << zeros) - 1 + get(b, zeros);
}

static int
get_se(bits_t *b)
{
    unsigned v = get_ue(b);

    return v & 1 ? (int)(v / 2 + 1) : -(int)(v / 2);
}

/* --- parameter sets ------------------------------------------------------ */

int
avp_avcc_parse(avp_avcc_t *a, const uint8_t *p, size_t size)
{
    size_t at = 5;

    memset(a, 0, sizeof(*a));
    if (size < 7 || p[0] != 1) {
        return -1;
    }
    a->length_size = (p[4] & 3) + 1;
    if (a->length_size == 3) {
        return -1;
    }

    for (int kind = 0; kind < 2; kind++) {
        int n;

        if (at >= size) {
            return -1;
        }
        n = kind == 0 ? p[at] & 31 : p[at];
        at++;

        for (int i = 0; i < n; i++) {
            size_t len;

            if (size - at < 2 || a->nsets == AVP_SETS_MAX) {
                return -1;
            }
            len = (size_t)p[at] << 8 | p[at + 1];
            at += 2;
            if (len < 1 || len > size - at) {
                return -1;
            }
            a->sets[a->nsets] = p + at;
            a->sizes[a->nsets++] = len;
            at += len;
        }
        if (kind == 0) {
            a->nsps = a->nsets;
        }
    }
    return a->nsps > 0 && a->nsets > a->nsps ? 0 : -1;
}

static void
skip_scaling_list(bits_t *b, int n)
{
    int last = 8, next = 8;

    for (int i = 0; i < n && !b->over; i++) {
        if (next != 0) {
            next = (int)(((unsigned)last + (unsigned)get_se(b)) & 255);
        }
        last = next == 0 ? last : next;
    }
}

static bool
has_chroma_format(int profile)
{
    static const int with[] = { 100, 110, 122, 244, 44, 83,
                                86,  118, 128, 138, 139, 134, 135 };

    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
        if (profile == with[i]) {
            return true;
        }
    }
    return false;
}

static void
read_chroma(avp_sps_t *s, bits_t *b)
{
    unsigned format = get_ue(b), luma, chroma;

    if (format == 3) {
        get(b, 1);
    }
    luma = get_ue(b);
    chroma = get_ue(b);
    if (format > 3 || luma > 6 || chroma > 6) {
        b->over = true; /* there is no such thing */
        return;
    }
    s->chroma = (int)format;
    s->depth = 8 + (int)(luma > chroma ? luma : chroma);
    get(b, 1); /* lossless transform bypass */
    if (get(b, 1)) {
        for (int i = 0; i < (s->chroma == 3 ? 12 : 8); i++) {
            if (get(b, 1)) {
                skip_scaling_list(b, i < 6 ? 16 : 64);
            }
        }
    }
}

int
avp_sps_parse(avp_sps_t *s, const uint8_t *p, size_t size)
{
    bits_t   b;
    unsigned poc, cycle;

    memset(s, 0, sizeof(*s));
    if (size < 4 || (p[0] & 31) != NAL_SPS) {
        return -1;
    }

    bits_init(&b, p + 1, size - 1);
    s->profile = (int)get(&b, 8);
    get(&b, 8);
    s->level = (int)get(&b, 8);
    get_ue(&b); /* its number */
    s->chroma = 1;
    s->depth = 8;
    if (has_chroma_format(s->profile)) {
        read_chroma(s, &b);
    }

    get_ue(&b); /* bits of frame_num */
    poc = get_ue(&b);
    if (poc == 0) {
        get_ue(&b);
    } else if (poc == 1) {
        get(&b, 1);
        get_se(&b);
        get_se(&b);
        cycle = get_ue(&b);
        for (unsigned i = 0; i < cycle && !b.over; i++) {
            get_se(&b);
        }
    }

    get_ue(&b); /* reference frames */
    get(&b, 1); /* gaps in frame_num */
    get_ue(&b); /* width and height */
    get_ue(&b);
    s->progressive = get(&b, 1) != 0;
    return b.over ? -1 : 0;
}

/* --- packets ------------------------------------------------------------- */

static bool
is_known_set(const avp_avcc_t *a, const uint8_t *p, size_t size)
{
    for (int i = 0; i < a->nsets; i++) {
        if (a->sizes[i] == size && memcmp(a->sets[i], p, size) == 0) {
            return true;
        }
    }
    return false;
}

/* A message registered by ATSC begins with these bytes, among which there
 * can be no emulation prevention; SEI is short, and found is found. */
static bool
has_captions(const uint8_t *p, size_t size)
{
    static const uint8_t mark[] = { 0xb5, 0x00, 0x31, 'G',
                                    'A',  '9',  '4',  0x03 };

    for (size_t i = 0; i + sizeof(mark) <= size; i++) {
        if (p[i] == mark[0] && memcmp(p + i, mark, sizeof(mark)) == 0) {
            return true;
        }
    }
    return false;
}

static unsigned
look_at_unit(const avp_avcc_t *a, const uint8_t *p, size_t size, bool cut)
{
    switch (p[0] & 31) {
    case NAL_IDR:
        return AVP_NAL_IDR;
    case NAL_SPS:
    case NAL_PPS:
    case NAL_SPS_EXT:
    case NAL_SUBSET:
        return cut || is_known_set(a, p, size) ? 0 : AVP_NAL_SETS;
    case NAL_SEI:
        return has_captions(p, size) ? AVP_NAL_CAPTIONS : 0;
    default:
        return (p[0] & 31) >= NAL_SLICE && (p[0] & 31) <= NAL_PARTITION
                   ? AVP_NAL_SLICE
                   : 0;
    }
}

unsigned
avp_nal_look(const avp_avcc_t *a, const uint8_t *p, size_t size, bool whole)
{
    unsigned found = 0;
    size_t   at = 0;

    while (at < size) {
        size_t len = 0;
        bool   cut;

        if (size - at <= (size_t)a->length_size) {
            return whole ? found | AVP_NAL_BAD : found;
        }
        for (int i = 0; i < a->length_size; i++) {
            len = len << 8 | p[at++];
        }

        cut = len > size - at;
        if (len == 0 || (cut && whole)) {
            return found | AVP_NAL_BAD;
        }
        if (cut) {
            len = size - at;
        }
        found |= look_at_unit(a, p + at, len, cut);
        at += len;
    }
    return found & (AVP_NAL_IDR | AVP_NAL_SLICE) || !whole
               ? found
               : found | AVP_NAL_BAD;
}
