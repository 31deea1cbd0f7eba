/*
 * ISO BMFF (14496-12): top-level boxes, and moof/traf/{tfhd,trun} for the
 * size of the first sample.
 */

#include "workerd/media/fragment.h"

#include <string.h>

#define BOX(a, b, c, d)                                                        \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 |          \
     (uint32_t)(d))

static uint32_t
be32(const uint8_t *p)
{
    return BOX(p[0], p[1], p[2], p[3]);
}

/* The next box at p: its size with header; 0 when it does not fit. */
static size_t
box_next(const uint8_t *p, size_t left, uint32_t *type)
{
    size_t size;

    if (left < 8) {
        return 0;
    }
    size = be32(p);
    *type = be32(p + 4);
    return size >= 8 && size <= left ? size : 0;
}

/* The first child of that type in [p, p + left); NULL if none. */
static const uint8_t *
box_find(const uint8_t *p, size_t left, uint32_t type, size_t *size)
{
    uint32_t t;

    while ((*size = box_next(p, left, &t)) != 0) {
        if (t == type) {
            return p;
        }
        p += *size;
        left -= *size;
    }
    return NULL;
}

/* default_sample_size of a tfhd; 0 if it has none. */
static uint32_t
tfhd_sample_size(const uint8_t *p, size_t size)
{
    uint32_t flags = be32(p + 8) & 0xffffff;
    size_t   at = 16;

    if (!(flags & 0x10)) {
        return 0;
    }
    at += flags & 0x01 ? 8 : 0; /* base_data_offset */
    at += flags & 0x02 ? 4 : 0; /* sample_description_index */
    at += flags & 0x08 ? 4 : 0; /* default_sample_duration */
    return at + 4 <= size ? be32(p + at) : 0;
}

static uint32_t
trun_first_size(const uint8_t *p, size_t size, uint32_t otherwise)
{
    uint32_t flags = be32(p + 8) & 0xffffff;
    size_t   at = 16;

    if (!(flags & 0x200)) {
        return otherwise;
    }
    at += flags & 0x001 ? 4 : 0; /* data_offset */
    at += flags & 0x004 ? 4 : 0; /* first_sample_flags */
    at += flags & 0x100 ? 4 : 0; /* sample_duration */
    return at + 4 <= size ? be32(p + at) : 0;
}

/* Size of the first sample of a moof; 0 if that cannot be told. */
static uint32_t
moof_first_size(const uint8_t *moof, size_t size)
{
    const uint8_t *traf, *tfhd, *trun;
    size_t         traf_size, tfhd_size, trun_size;

    traf = box_find(moof + 8, size - 8, BOX('t', 'r', 'a', 'f'), &traf_size);
    if (traf == NULL) {
        return 0;
    }
    tfhd = box_find(traf + 8, traf_size - 8, BOX('t', 'f', 'h', 'd'),
                    &tfhd_size);
    trun = box_find(traf + 8, traf_size - 8, BOX('t', 'r', 'u', 'n'),
                    &trun_size);
    if (tfhd == NULL || trun == NULL || tfhd_size < 16 || trun_size < 16) {
        return 0;
    }
    return trun_first_size(trun, trun_size, tfhd_sample_size(tfhd, tfhd_size));
}

int
avp_fragment_parse(avp_fragment_t *f, const uint8_t *p, size_t size)
{
    uint32_t type, sample = 0;
    size_t   at = 0, n, moof_size = 0;

    memset(f, 0, sizeof(*f));
    while (at < size) {
        n = box_next(p + at, size - at, &type);
        if (n == 0) {
            return -1;
        }
        if (type == BOX('m', 'o', 'o', 'f')) {
            if (moof_size != 0) {
                return -1;
            }
            f->moof = at;
            moof_size = n;
            sample = moof_first_size(p + at, n);
        } else if (type == BOX('m', 'd', 'a', 't')) {
            if (moof_size == 0 || at != f->moof + moof_size || f->size != 0) {
                return -1;
            }
            f->size = moof_size + n;
            f->first = moof_size + 8 + sample;
            if (sample == 0 || f->first > f->size) {
                return -1;
            }
        }
        at += n;
    }
    return f->size != 0 ? 0 : -1;
}

size_t
avp_fragment_moov(const uint8_t *p, size_t size, size_t *moov_size)
{
    const uint8_t *moov = box_find(p, size, BOX('m', 'o', 'o', 'v'), moov_size);

    return moov != NULL ? (size_t)(moov - p) : 0;
}
