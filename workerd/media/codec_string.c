/*
 * Codec strings from bitstreams (RFC 6381; AV1 in ISOBMFF 5; VP9 in ISOBMFF).
 */

#include "workerd/media/codec_string.h"

#include <stdio.h>
#include <string.h>

/* The first SPS of Annex B data; NULL if there is none. */
static const uint8_t *
h264_find_sps(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i + 6 < size; i++) {
        if (p[i] == 0 && p[i + 1] == 0 && p[i + 2] == 1 &&
            (p[i + 3] & 0x1f) == 7) {
            return p + i + 3;
        }
    }
    return NULL;
}

int
avp_codec_string_h264(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                      size_t size)
{
    const uint8_t *sps; /* its header byte; profile, constraints, level follow */

    dst[0] = '\0';
    if (p == NULL || size < 7) {
        return -1;
    }
    sps = p[0] == 1 ? p : h264_find_sps(p, size);
    if (sps == NULL) {
        return -1;
    }
    snprintf(dst, AVP_CODEC_STRING_MAX, "avc1.%02x%02x%02x", sps[1], sps[2],
             sps[3]);
    return 0;
}

/* The first 12 bytes of profile_tier_level() of the SPS of Annex B data (HEVC
 * 7.3.3), without the bytes that keep start codes apart. */
static int
hevc_find_ptl(const uint8_t *p, size_t size, uint8_t ptl[12])
{
    size_t n = 0, zeros = 0, i = 0;

    while (i + 5 < size && !(p[i] == 0 && p[i + 1] == 0 && p[i + 2] == 1 &&
                             ((p[i + 3] >> 1) & 0x3f) == 33)) {
        i++;
    }
    /* behind the header of 2 bytes and one of identifiers */
    for (i += 6; i < size && n < 12; i++) {
        if (zeros >= 2 && p[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = p[i] == 0 ? zeros + 1 : 0;
        ptl[n++] = p[i];
    }
    return n == 12 ? 0 : -1;
}

int
avp_codec_string_hevc(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                      size_t size)
{
    uint8_t  ptl[12];
    char     text[48];
    uint32_t flags = 0;
    int      n, last = 0;

    dst[0] = '\0';
    if (p == NULL || size < 13) {
        return -1;
    }
    if (p[0] == 1) {
        memcpy(ptl, p + 1, sizeof(ptl));
    } else if (hevc_find_ptl(p, size, ptl) != 0) {
        return -1;
    }
    for (int i = 0; i < 32; i++) { /* written from its last bit on */
        flags |= (uint32_t)(ptl[1 + i / 8] >> (7 - i % 8) & 1) << i;
    }
    n = snprintf(text, sizeof(text), "hvc1.%s%d.%X.%c%d",
                 (const char *[]){ "", "A", "B", "C" }[ptl[0] >> 6],
                 ptl[0] & 0x1f, (unsigned)flags, ptl[0] & 0x20 ? 'H' : 'L',
                 ptl[11]);
    for (int i = 5; i < 11; i++) {
        last = ptl[i] != 0 ? i : last;
    }
    for (int i = 5; i <= last; i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, ".%X", ptl[i]);
    }
    if (n >= AVP_CODEC_STRING_MAX) {
        return -1;
    }
    memcpy(dst, text, (size_t)n + 1);
    return 0;
}

int
avp_codec_string_aac(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                     size_t size)
{
    int type;

    dst[0] = '\0';
    if (p == NULL || size < 2) {
        return -1;
    }
    type = p[0] >> 3;
    if (type == 31) {
        type = 32 + (((p[0] & 7) << 3) | (p[1] >> 5));
    }
    if (type == 0) {
        return -1;
    }
    snprintf(dst, AVP_CODEC_STRING_MAX, "mp4a.40.%d", type);
    return 0;
}

/* Bits, most significant first; reading past the end gives zeros and tells. */
typedef struct {
    const uint8_t *p;
    size_t         bits, at;
    int            over;
} bits_t;

static unsigned
bits_get(bits_t *b, int n)
{
    unsigned v = 0;

    while (n-- > 0) {
        v <<= 1;
        if (b->at >= b->bits) {
            b->over = 1;
            continue;
        }
        v |= (b->p[b->at / 8] >> (7 - b->at % 8)) & 1u;
        b->at++;
    }
    return v;
}

static void
bits_uvlc(bits_t *b)
{
    int zeros = 0;

    while (!b->over && bits_get(b, 1) == 0) {
        zeros++;
    }
    if (zeros < 32) {
        bits_get(b, zeros);
    }
}

typedef struct {
    unsigned profile, level, tier, depth;
} av1_head_t;

/* timing_info() and decoder_model_info(), AV1 5.5.3 and 5.5.4; returns
 * buffer_delay_length_minus_1 + 1, or 0 without a model. */
static int
av1_timing(bits_t *b)
{
    int delay_length;

    bits_get(b, 32);
    bits_get(b, 32);
    if (bits_get(b, 1)) { /* equal_picture_interval */
        bits_uvlc(b);
    }
    if (!bits_get(b, 1)) { /* decoder_model_info_present_flag */
        return 0;
    }
    delay_length = (int)bits_get(b, 5) + 1;
    bits_get(b, 32);
    bits_get(b, 5);
    bits_get(b, 5);
    return delay_length;
}

/* The operating points, of which the first counts; AV1 5.5.1. */
static void
av1_operating_points(bits_t *b, av1_head_t *h)
{
    int      model = 0, initial_delay;
    unsigned n;

    if (bits_get(b, 1)) { /* timing_info_present_flag */
        model = av1_timing(b);
    }
    initial_delay = (int)bits_get(b, 1);
    n = bits_get(b, 5) + 1;
    for (unsigned i = 0; i < n && !b->over; i++) {
        unsigned level, tier = 0;

        bits_get(b, 12);
        level = bits_get(b, 5);
        if (level > 7) {
            tier = bits_get(b, 1);
        }
        if (model != 0 && bits_get(b, 1)) {
            bits_get(b, model);
            bits_get(b, model);
            bits_get(b, 1);
        }
        if (initial_delay && bits_get(b, 1)) {
            bits_get(b, 4);
        }
        if (i == 0) {
            h->level = level;
            h->tier = tier;
        }
    }
}

/* From frame_width_bits_minus_1 to color_config(), AV1 5.5.1; only to get to
 * the bit depth. */
static void
av1_tools_and_depth(bits_t *b, av1_head_t *h, int reduced)
{
    int wbits = (int)bits_get(b, 4) + 1;
    int hbits = (int)bits_get(b, 4) + 1;
    int order_hint;

    bits_get(b, wbits);
    bits_get(b, hbits);
    if (!reduced && bits_get(b, 1)) { /* frame_id_numbers_present_flag */
        bits_get(b, 4);
        bits_get(b, 3);
    }
    bits_get(b, 3); /* superblock, filter intra, intra edge */
    if (!reduced) {
        bits_get(b, 4); /* interintra, masked, warped, dual filter */
        order_hint = (int)bits_get(b, 1);
        if (order_hint) {
            bits_get(b, 2);
        }
        if (bits_get(b, 1) /* seq_choose_screen_content_tools */ ||
            bits_get(b, 1) /* seq_force_screen_content_tools > 0 */) {
            if (!bits_get(b, 1)) { /* seq_choose_integer_mv */
                bits_get(b, 1);
            }
        }
        if (order_hint) {
            bits_get(b, 3);
        }
    }
    bits_get(b, 3); /* superres, cdef, restoration */
    h->depth = bits_get(b, 1) ? 10 : 8;
    if (h->profile == 2 && h->depth == 10) {
        h->depth = bits_get(b, 1) ? 12 : 10;
    }
}

static int
av1_sequence_header(const uint8_t *p, size_t size, av1_head_t *h)
{
    bits_t b = { .p = p, .bits = size * 8 };
    int    reduced;

    h->profile = bits_get(&b, 3);
    bits_get(&b, 1); /* still_picture */
    reduced = (int)bits_get(&b, 1);
    if (reduced) {
        h->level = bits_get(&b, 5);
        h->tier = 0;
    } else {
        av1_operating_points(&b, h);
    }
    av1_tools_and_depth(&b, h, reduced);
    return b.over ? -1 : 0;
}

/* leb128, AV1 4.10.5; returns its length or 0. */
static size_t
av1_leb128(const uint8_t *p, size_t size, size_t *v)
{
    *v = 0;
    for (size_t i = 0; i < size && i < 4; i++) {
        *v |= (size_t)(p[i] & 0x7f) << (7 * i);
        if (!(p[i] & 0x80)) {
            return i + 1;
        }
    }
    return 0;
}

static int
av1_find_sequence_header(const uint8_t *p, size_t size, av1_head_t *h)
{
    while (size >= 2) {
        size_t head = (p[0] & 4) ? 2 : 1; /* obu_extension_flag */
        size_t len, n;
        int    type = (p[0] >> 3) & 15;

        if (p[0] & 2) { /* obu_has_size_field */
            n = size > head ? av1_leb128(p + head, size - head, &len) : 0;
            if (n == 0) {
                return -1;
            }
            head += n;
        } else {
            len = size > head ? size - head : 0;
        }
        if (head > size || len > size - head) {
            return -1;
        }
        if (type == 1) {
            return av1_sequence_header(p + head, len, h);
        }
        p += head + len;
        size -= head + len;
    }
    return -1;
}

int
avp_codec_string_av1(char dst[AVP_CODEC_STRING_MAX], const uint8_t *p,
                     size_t size)
{
    av1_head_t h = { 0 };

    dst[0] = '\0';
    if (p == NULL || size < 4) {
        return -1;
    }
    if (p[0] == 0x81) { /* av1C: marker and version 1 */
        h.profile = p[1] >> 5;
        h.level = p[1] & 31;
        h.tier = p[2] >> 7;
        h.depth = p[2] & 0x40 ? (p[2] & 0x20 ? 12 : 10) : 8;
    } else if (av1_find_sequence_header(p, size, &h) != 0) {
        return -1;
    }
    snprintf(dst, AVP_CODEC_STRING_MAX, "av01.%u.%02u%c.%02u", h.profile,
             h.level, h.tier ? 'H' : 'M', h.depth);
    return 0;
}

int
avp_codec_string_vp9(char dst[AVP_CODEC_STRING_MAX], int profile, int depth,
                     int width, int height, double fps)
{
    /* https://www.webmproject.org/vp9/levels/ */
    static const struct {
        int     level;
        int64_t rate;    /* luma samples a second */
        int64_t picture; /* luma samples */
        int     side;
    } levels[] = {
        { 10, 829440, 36864, 512 },
        { 11, 2764800, 73728, 768 },
        { 20, 4608000, 122880, 960 },
        { 21, 9216000, 245760, 1344 },
        { 30, 20736000, 552960, 2048 },
        { 31, 36864000, 983040, 2752 },
        { 40, 83558400, 2228224, 4160 },
        { 41, 160432128, 2228224, 4160 },
        { 50, 311951360, 8912896, 8384 },
        { 51, 588251136, 8912896, 8384 },
        { 52, 1176502272, 8912896, 8384 },
        { 60, 1176502272, 35651584, 16832 },
        { 61, 2353004544, 35651584, 16832 },
    };
    int64_t picture = (int64_t)width * height;
    int     side = width > height ? width : height;
    int     level = 62;

    dst[0] = '\0';
    if (profile < 0 || profile > 3 || depth < 8 || depth > 12 || width <= 0 ||
        height <= 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (picture <= levels[i].picture && side <= levels[i].side &&
            (double)picture * fps <= (double)levels[i].rate) {
            level = levels[i].level;
            break;
        }
    }
    snprintf(dst, AVP_CODEC_STRING_MAX, "vp09.%02d.%02d.%02d", profile, level,
             depth);
    return 0;
}
