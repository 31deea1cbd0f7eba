#include "lib/ladder.h"

#include <stdio.h>
#include <string.h>

/* The words of the source's QUALITY_LEVELS. */
static const char *const words[] = { "480p", "720p", "1080p", "4k" };

int
avp_rung_by_name(avp_str_t name, unsigned *bit)
{
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (avp_str_eq(name, avp_str_c(words[i]))) {
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
 * Puts a picture of short x long into the rung's box: the side that fills its
 * share of the box first decides the scale.  False when the rung would have
 * to be scaled up by more than 5 %.
 */
static bool
fit(const avp_rung_spec_t *spec, int64_t s, int64_t l, int *short_out,
    int *long_out)
{
    int64_t side = spec->short_side, wide = spec->long_side, ninths;
    bool    by_short = s * 100 >= side * 95, by_long;

    /* 16:9 exactly, where the long side is that rounded */
    ninths = wide == even_near(side * 16, 9) ? side * 16 : wide * 9;
    by_long = l * 9 * 100 >= ninths * 95;

    if (!by_short && !by_long) {
        return false;
    }

    /* s / side against l / long side: the larger one limits */
    if (s * ninths >= l * 9 * side) {
        if (s * 95 <= side * 100) {
            goto own_size;
        }
        *short_out = (int)side;
        *long_out = even_near(l * side, s);

    } else {
        if (l * 9 * 95 <= ninths * 100) {
            goto own_size;
        }
        *long_out = even_near(ninths, 9);
        *short_out = even_near(s * ninths, l * 9);
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

/* A source under all rungs: one at its own size. */
static void
below_all(avp_rung_t *r, const avp_rung_spec_t *specs, int n, bool portrait,
          int s, int l)
{
    double area, full;

    r->short_side = s > 99999 ? 99999 : s;
    snprintf(r->name, sizeof(r->name), "%dp", r->short_side);
    set_size(r, portrait, even_below(s), even_below(l));

    r->scale = 1;
    r->spec = &specs[n - 1];
    for (int i = 0; i < n; i++) {
        if (r->short_side <= specs[i].short_side) {
            r->spec = &specs[i];
            break;
        }
    }

    area = (double)r->width * r->height;
    full = (double)r->spec->short_side * r->spec->long_side;
    r->scale = area < full ? area / full : 1;
}

int
avp_ladder(avp_rung_t rungs[AVP_LADDER_MAX], int width, int height,
           const avp_rung_spec_t *specs, int nspecs)
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

    for (int i = 0; i < nspecs && n < AVP_LADDER_MAX; i++) {
        int short_out, long_out;

        if (!fit(&specs[i], s, l, &short_out, &long_out)) {
            continue;
        }

        rungs[n] = (avp_rung_t){ .short_side = specs[i].short_side,
                                 .scale = 1,
                                 .spec = &specs[i] };
        memcpy(rungs[n].name, specs[i].name, sizeof(rungs[n].name));
        set_size(&rungs[n], portrait, short_out, long_out);
        n++;
    }

    if (n == 0) {
        below_all(&rungs[0], specs, nspecs, portrait, s, l);
        n = 1;
    }

    return n;
}

int64_t
avp_rung_cap(const avp_rung_t *r, avp_codec_t codec, double fps)
{
    const avp_rung_rate_t *rate = &r->spec->rate[codec];
    bool    fast = fps > 30.5; /* 30000/1001 and 30 are not fast */
    int64_t cap = fast ? rate->maxrate_high : rate->maxrate;

    if (r->scale >= 1) {
        return cap;
    }
    cap = (int64_t)((double)cap * r->scale);

    return cap < 100000 ? 100000 : cap; /* a floor that headers fit under */
}
