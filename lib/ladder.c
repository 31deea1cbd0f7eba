#include "lib/ladder.h"

#include <stdio.h>

static const struct {
    const char *name;
    int         side;
    int         crf;
    /* H.264 and VP9/AV1 maxrate in bit/s, up to 30 frames/s and above */
    int64_t     h264, h264_fast, webm, webm_fast;
} table[AVP_LADDER_MAX] = {
    { "480p",  480,  23, 1400000,  2000000,  900000,   1350000  },
    { "720p",  720,  23, 3000000,  4500000,  1800000,  2700000  },
    { "1080p", 1080, 22, 6000000,  8000000,  3500000,  5000000  },
    { "4k",    2160, 22, 15000000, 24000000, 10000000, 15000000 },
};

int
avp_rung_by_name(avp_str_t name, unsigned *bit)
{
    for (unsigned i = 0; i < AVP_LADDER_MAX; i++) {
        if (avp_str_eq(name, avp_str_c(table[i].name))) {
            *bit = 1u << i;
            return 0;
        }
    }
    return -1;
}

/* Even and at least 2, never more than v (but for v = 1). */
static int
even_below(int64_t v)
{
    return v < 2 ? 2 : (int)(v & ~INT64_C(1));
}

/* The even number nearest to num / den, at least 2. */
static int
even_near(int64_t num, int64_t den)
{
    int64_t half = (num + den) / (2 * den);

    return half < 1 ? 2 : (int)(half * 2);
}

/*
 * Puts a picture of short x long into the rung's 16:9 box: the side that
 * fills its share of the box first decides the scale.  False when the rung
 * would have to be scaled up by more than 5 %.
 */
static bool
fit(int side, int64_t s, int64_t l, int *short_out, int *long_out)
{
    int64_t box_long = (int64_t)side * 16; /* in ninths */
    bool    by_short = s * 100 >= (int64_t)side * 95;
    bool    by_long = l * 9 * 100 >= box_long * 95;

    if (!by_short && !by_long) {
        return false;
    }

    /* s / side against l / (16/9 side): the larger one limits */
    if (s * box_long >= l * 9 * side) {
        if (s * 95 <= (int64_t)side * 100) {
            goto own_size;
        }
        *short_out = side;
        *long_out = even_near(l * side, s);

    } else {
        if (l * 9 * 95 <= box_long * 100) {
            goto own_size;
        }
        *long_out = even_near(box_long, 9);
        *short_out = even_near(s * box_long, l * 9);
    }

    /* rounding must not make it larger than its source */
    if (*short_out > even_below(s)) {
        *short_out = even_below(s);
    }
    if (*long_out > even_below(l)) {
        *long_out = even_below(l);
    }
    return true;

own_size:

    *short_out = even_below(s);
    *long_out = even_below(l);
    return true;
}

static void
set_size(avp_rung_t *r, bool portrait, int short_side, int long_side)
{
    r->width = portrait ? short_side : long_side;
    r->height = portrait ? long_side : short_side;
}

int
avp_ladder(avp_rung_t rungs[AVP_LADDER_MAX], int width, int height,
           unsigned wanted)
{
    int  n = 0;
    bool portrait = height > width;
    int  s, l;

    if (width < 1) {
        width = 1;
    }
    if (height < 1) {
        height = 1;
    }
    s = portrait ? width : height;
    l = portrait ? height : width;

    for (unsigned i = 0; i < AVP_LADDER_MAX; i++) {
        int short_out, long_out;

        if (((wanted >> i) & 1) == 0
            || !fit(table[i].side, s, l, &short_out, &long_out))
        {
            continue;
        }

        snprintf(rungs[n].name, sizeof(rungs[n].name), "%s", table[i].name);
        rungs[n].short_side = table[i].side;
        set_size(&rungs[n], portrait, short_out, long_out);
        n++;
    }

    if (n == 0) {
        rungs[0].short_side = s > 99999 ? 99999 : s;
        snprintf(rungs[0].name, sizeof(rungs[0].name), "%dp",
                 rungs[0].short_side);
        set_size(&rungs[0], portrait, even_below(s), even_below(l));
        n = 1;
    }

    return n;
}

/* The row of a rung; for one named after its source the smallest row that
 * is not under it, and *scaled is set. */
static unsigned
row_of(const avp_rung_t *r, bool *scaled)
{
    for (unsigned i = 0; i < AVP_LADDER_MAX; i++) {
        if (r->short_side == table[i].side) {
            *scaled = false;
            return i;
        }
    }

    *scaled = true;
    for (unsigned i = 0; i < AVP_LADDER_MAX; i++) {
        if (r->short_side < table[i].side) {
            return i;
        }
    }
    return AVP_LADDER_MAX - 1;
}

int64_t
avp_rung_cap(const avp_rung_t *r, avp_codec_t codec, double fps)
{
    bool     scaled, fast = fps > 30.5; /* 30000/1001 and 30 are not fast */
    unsigned i = row_of(r, &scaled);
    int64_t  cap, area, full;

    if (codec == AVP_CODEC_H264) {
        cap = fast ? table[i].h264_fast : table[i].h264;
    } else {
        cap = fast ? table[i].webm_fast : table[i].webm;
    }

    if (!scaled) {
        return cap;
    }

    area = (int64_t)r->width * r->height;
    full = (int64_t)table[i].side * table[i].side * 16 / 9;
    if (area < full) {
        cap = (int64_t)((double)cap * (double)area / (double)full);
    }

    return cap < 100000 ? 100000 : cap; /* a floor that headers fit under */
}

int
avp_rung_crf(const avp_rung_t *r, avp_codec_t codec)
{
    bool     scaled;
    unsigned i = row_of(r, &scaled);

    switch (codec) {
    case AVP_CODEC_VP9:
        return 33;
    case AVP_CODEC_AV1:
        return 35;
    default:
        return table[i].crf;
    }
}
