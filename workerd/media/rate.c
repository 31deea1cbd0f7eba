#include "workerd/media/rate.h"

#include <libavutil/mathematics.h>

#include <math.h>
#include <stdlib.h>

#define FPS_MAX 60.0
#define FIELDS_NEAR 0.02 /* of twice the rate that the container has */
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const AVRational standard[] = {
    { 1, 1 },         { 2, 1 },          { 3, 1 },     { 5, 1 },
    { 6, 1 },         { 8, 1 },          { 10, 1 },    { 12000, 1001 },
    { 12, 1 },        { 25, 2 },         { 15000, 1001 }, { 15, 1 },
    { 20, 1 },        { 24000, 1001 },   { 24, 1 },    { 25, 1 },
    { 30000, 1001 },  { 30, 1 },         { 48, 1 },    { 50, 1 },
    { 60000, 1001 },  { 60, 1 },         { 100, 1 },   { 120000, 1001 },
    { 120, 1 },       { 240000, 1001 },  { 240, 1 },
};

static AVRational
nearest_standard(double fps)
{
    int best = 0;

    for (int i = 1; i < COUNT(standard); i++) {
        if (fabs(log(av_q2d(standard[i]) / fps))
            < fabs(log(av_q2d(standard[best]) / fps))) {
            best = i;
        }
    }
    return standard[best];
}

static int
by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

typedef struct {
    double  median, mean; /* ticks; mean of the regular intervals */
    double  span;         /* of those, ticks */
    int     count, regular;
} intervals_t;

/* Intervals within a tenth (or a tick of rounding) of the median are
 * regular; zero and negative ones are not intervals. */
static int
measure(intervals_t *m, const int64_t *ts, int n)
{
    int64_t *d = malloc(sizeof(*d) * (size_t)(n > 0 ? n : 1));

    *m = (intervals_t){ 0 };
    if (d == NULL) {
        return -1;
    }

    for (int i = 1; i < n; i++) {
        if (ts[i] > ts[i - 1]) {
            d[m->count++] = ts[i] - ts[i - 1];
        }
    }
    if (m->count == 0) {
        free(d);
        return -1;
    }

    qsort(d, (size_t)m->count, sizeof(*d), by_value);
    m->median = (double)d[m->count / 2];

    for (int i = 0; i < m->count; i++) {
        double off = fabs((double)d[i] - m->median);

        if (off <= 1.0 || off <= 0.1 * m->median) {
            m->span += (double)d[i];
            m->regular++;
        }
    }

    m->mean = m->span / m->regular;
    free(d);
    return 0;
}

/* The rational that a measured regular rate stands for. */
static AVRational
regular_rate(double fps, double doubt, AVRational hint, int64_t total)
{
    AVRational std = nearest_standard(fps);
    double     off = fabs(av_q2d(std) / fps - 1.0);

    /* the measurement allows it, or it shifts no frame of the whole video */
    if (off <= 1.5 * doubt + 1e-5
        || (total > 0 && off < 0.003 && off * (double)total < 0.5)) {
        return std;
    }

    if (hint.num > 0 && hint.den > 0
        && fabs(av_q2d(hint) / fps - 1.0) <= 1.5 * doubt + 1e-4) {
        av_reduce(&hint.num, &hint.den, hint.num, hint.den, 1001000);
        return hint;
    }
    return av_d2q(fps, 100100);
}

void
avp_rate_decide(avp_rate_t *r, const int64_t *ts, int n, AVRational tb,
                AVRational hint, bool fields, int64_t total)
{
    intervals_t m;
    int         k;

    *r = (avp_rate_t){ .rate = { 25, 1 }, .exact = true, .regular = true };

    if (measure(&m, ts, n)) {
        if (hint.num > 0 && hint.den > 0 && av_q2d(hint) >= 1
            && av_q2d(hint) <= FPS_MAX) {
            av_reduce(&r->rate.num, &r->rate.den, hint.num, hint.den, 1001000);
        }
        r->fps = av_q2d(r->rate);
        return;
    }

    r->fps = 1.0 / (m.mean * av_q2d(tb));

    /* packets of fields: a frame is two of them */
    if (fields && hint.num > 0 && hint.den > 0
        && fabs(r->fps / (2 * av_q2d(hint)) - 1) < FIELDS_NEAR) {
        r->fps /= 2;
        m.median *= 2;
        total /= 2;
    }

    /* a frame lost here and there does not make a rate variable */
    if (m.regular >= 0.98 * m.count) {
        r->rate = regular_rate(r->fps, 1.0 / m.span, hint, total);
    } else {
        r->vfr = true;
        r->regular = false;
        r->rate = nearest_standard(1.0 / (m.median * av_q2d(tb)));
        r->fps = m.count / ((double)(ts[n - 1] - ts[0]) * av_q2d(tb));
    }

    k = (int)fmin(ceil(av_q2d(r->rate) / FPS_MAX - 1e-3), 1e6);
    if (k > 1) {
        av_reduce(&r->rate.num, &r->rate.den, r->rate.num,
                  (int64_t)r->rate.den * k, 1001000);
        r->exact = false;
    }

    if (av_q2d(r->rate) < 1.0) {
        k = (int)fmin(ceil(1.0 / fmax(av_q2d(r->rate), 1e-6)), 1e6);
        av_reduce(&r->rate.num, &r->rate.den, (int64_t)r->rate.num * k,
                  r->rate.den, 1001000);
        r->exact = r->regular = false;
    }

    r->exact = r->exact && !r->vfr;
}

void
avp_grid_init(avp_grid_t *g, const avp_rate_t *r)
{
    *g = (avp_grid_t){ .rate = av_q2d(r->rate) };

    /*
     * Regular frames may jitter around their slot (time stamps in
     * milliseconds), or lie beside it after a gap, without being dropped for
     * it.  Of a rate that was divided the frame on the slot is taken, not the
     * first that is near.  Where frames must be chosen, the nearest slot
     * decides, and of two frames half a slot away always the later one.
     */
    g->early = g->late = 0.75;
    if (!r->regular) {
        g->early = 0.49;
        g->late = 0.51;
    } else if (r->fps > 1.5 * g->rate) {
        g->early = fmin(0.5 * g->rate / r->fps, 0.49);
        g->late = 0.51;
    }
}

/* A picture may stand for long, but output must stay in proportion to what
 * was decoded: two frames an hour apart are not a video of an hour. */
static bool
out_of_proportion(const avp_grid_t *g)
{
    return (double)g->repeats > 16.0 * (double)g->seen + 120.0 * g->rate;
}

int64_t
avp_grid_place(avp_grid_t *g, double t, bool *use)
{
    double  delta = t * g->rate - (double)g->next;
    int64_t repeats = 0;

    g->seen++;
    *use = g->next == 0 || delta > -g->early;

    if (!*use) {
        g->drops++;
        return 0;
    }

    if (g->next > 0 && delta > g->late) {
        if (delta > 1e9) {
            return -1;
        }
        repeats = llrint(delta);
        g->repeats += repeats;
        if (out_of_proportion(g)) {
            return -1;
        }
    }

    g->next += repeats + 1;
    return repeats;
}

int64_t
avp_grid_finish(avp_grid_t *g, double t)
{
    double  end = t * g->rate;
    int64_t repeats;

    if (g->next == 0 || end < (double)g->next + 0.51) {
        return 0;
    }
    if (end > 1e12) {
        return -1;
    }

    repeats = llrint(end) - g->next;
    g->repeats += repeats;
    if (out_of_proportion(g)) {
        return -1;
    }

    g->next += repeats;
    return repeats;
}

bool
avp_grid_is_key(AVRational rate, int64_t n, int seconds)
{
    int64_t den = rate.den, slot = (int64_t)seconds * rate.num;

    return n == 0 || n * den / slot != (n - 1) * den / slot;
}
