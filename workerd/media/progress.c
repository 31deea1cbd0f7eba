#include "workerd/media/progress.h"

#include "lib/media_message.h"

#include <libavutil/avstring.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define INTERVAL 0.5 /* seconds between messages */

/* A length reckoned by bytes: which part of the file it takes to believe it,
 * when a longer one is claimed, and how far off a claim may be.  To think a
 * video longer than it is does less harm: progress never goes back. */
#define TRUST 0.01
#define TRUST_SHORTER 0.05
#define WRONG 1.5

#define ETA_FADE 15.0  /* s after which a speed counts 1/e, or more */
#define ETA_PRIOR 0.05 /* of the job: what the plan's speed counts at first */

static double
monotonic(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

void
avp_progress_init(avp_progress_t *p,
                  int (*send)(void *ctx, const json_t *message), void *ctx)
{
    *p = (avp_progress_t){
        .send = send, .ctx = ctx, .told = -1, .now = monotonic
    };
    pthread_mutex_init(&p->lock, NULL);
}

void
avp_progress_free(avp_progress_t *p)
{
    pthread_mutex_destroy(&p->lock);
}

static void
send_locked(avp_progress_t *p, json_t *message)
{
    if (message == NULL || (!p->gone && p->send(p->ctx, message) != 0)) {
        p->gone = true;
    }
    json_decref(message);
}

void
avp_progress_send(avp_progress_t *p, json_t *message)
{
    pthread_mutex_lock(&p->lock);
    send_locked(p, message);
    pthread_mutex_unlock(&p->lock);
}

/* libav's words may carry anything; a message's text carries no control
 * characters, and is UTF-8. */
static json_t *
clean_text(const char *text)
{
    char dst[AVP_MEDIA_TEXT_MAX];

    av_strlcpy(dst, text, sizeof(dst));
    for (char *c = dst; *c; c++) {
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126) {
            *c = '?';
        }
    }
    return json_string(dst);
}

void
avp_progress_plan(avp_progress_t *p, const avp_plan_t *plan, int threads)
{
    avp_progress_send(
        p, json_pack("{s:s, s:i, s:f, s:I, s:I, s:f, s:o}", "t", "plan",
                     "passes", plan->npasses, "cpuSeconds",
                     plan->cpu_seconds + plan->cpu_spare,
                     "memoryBytes", (json_int_t)plan->memory_bytes,
                     "outputBytes", (json_int_t)plan->output_bytes, "duration",
                     plan->duration, "text", clean_text(plan->text)));

    avp_progress_again(p, plan, threads);
}

void
avp_progress_again(avp_progress_t *p, const avp_plan_t *plan, int threads)
{
    pthread_mutex_lock(&p->lock);
    p->duration = plan->duration;
    p->sure = plan->duration > 0 && plan->bound <= plan->duration;
    p->nitems = p->first = 0;
    p->total = 0;
    for (int i = 0; i < plan->npasses; i++) {
        for (int k = 0; k < plan->passes[i].nencodes; k++) {
            p->total += plan->passes[i].encodes[k].cost;
        }
    }
    if (plan->duration > 0) {
        /* the plan's cost is that of its bound */
        p->expected = plan->cpu_seconds / threads * plan->duration
                      / plan->bound;
        p->shares = ETA_PRIOR;
        p->spent = ETA_PRIOR * p->expected;
    }
    p->started = p->at = p->now();
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_unsure(avp_progress_t *p)
{
    pthread_mutex_lock(&p->lock);
    p->duration = 0;
    p->sure = false;
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_warning(avp_progress_t *p, const char *detail)
{
    avp_progress_send(p, json_pack("{s:s, s:o}", "t", "warning", "detail",
                                   clean_text(detail)));
}

void
avp_progress_error(avp_progress_t *p, const avp_fail_t *fail)
{
    avp_progress_send(p, json_pack("{s:s, s:s, s:o}", "t", "error", "code",
                                   avp_error_info(fail->code)->code, "detail",
                                   clean_text(fail->detail)));
}

/* Of the video, as far as is known; 0 not at all. */
static double
length_of(const avp_progress_t *p)
{
    double by_bytes = p->fraction > 0 ? p->read / p->fraction : 0;

    if (p->sure) {
        return p->duration;
    }
    if (p->fraction < TRUST || p->duration <= 0) {
        return p->fraction < TRUST ? p->duration : by_bytes;
    }
    return by_bytes > p->duration * WRONG
                   || (by_bytes < p->duration / WRONG
                       && p->fraction >= TRUST_SHORTER)
               ? by_bytes
               : p->duration;
}

static double
share_done(const avp_progress_t *p)
{
    double sum = 0;

    for (int i = 0; i < p->nitems; i++) {
        sum += p->weight[i] * p->part[i];
    }
    return fmin(sum / p->total, 0.99);
}

/* Seconds to the end; -1 not known yet.  Takes note of the speed. */
static int
eta_of(avp_progress_t *p, double share, double t)
{
    double passed = t - p->at, all = t - p->started, most, left;
    double fade = exp(-passed / fmax(ETA_FADE, p->expected / 4));

    p->shares = p->shares * fade + fmax(0, share - p->share);
    p->spent = p->spent * fade + passed;
    p->share = fmax(p->share, share);
    p->at = t;

    if (p->expected <= 0 && (p->share < 0.02 || all < 2)) {
        return -1;
    }
    /* what stands still for a while will not do so for ever: no slower than
     * a quarter of what it was on the whole */
    left = 1 - p->share;
    most = 4 * left * (all + ETA_PRIOR * p->expected)
           / (p->share + (p->expected > 0 ? ETA_PRIOR : 0));
    left = p->shares > 0 ? fmin(left * p->spent / p->shares, most) : most;
    return (int)fmin(ceil(left), 1e6);
}

static void
tell(avp_progress_t *p)
{
    double t = p->now(), share;
    int    percent;

    if ((p->told >= 0 && t - p->last < INTERVAL) || p->total <= 0) {
        return;
    }

    share = share_done(p);
    percent = (int)(share * 100);
    if (percent < p->told) {
        percent = p->told; /* never back */
    }
    p->last = t;
    p->told = percent;

    send_locked(p, json_pack("{s:s, s:i, s:s, s:i}", "t", "progress",
                             "progress", percent, "task", p->task, "eta",
                             eta_of(p, share, t)));
}

void
avp_progress_pass(avp_progress_t *p, const avp_pass_t *pass, int *first)
{
    pthread_mutex_lock(&p->lock);

    for (int i = 0; i < p->nitems; i++) {
        p->part[i] = 1;
    }

    *first = p->first = p->nitems;
    for (int i = 0; i < pass->nencodes; i++) {
        p->weight[p->nitems] = pass->encodes[i].cost;
        p->part[p->nitems++] = 0;
    }
    p->read = p->fraction = 0;
    av_strlcpy(p->task, pass->label, sizeof(p->task));
    tell(p);
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_task(avp_progress_t *p, const char *task)
{
    pthread_mutex_lock(&p->lock);
    av_strlcpy(p->task, task, sizeof(p->task));
    tell(p);
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_step(avp_progress_t *p, int item, double t)
{
    double length, part;

    pthread_mutex_lock(&p->lock);
    length = length_of(p);
    part = length > 0 ? fmin(t / length, 1) : 0;
    if (part > p->part[item]) {
        p->part[item] = part;
    }
    tell(p);
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_item_done(avp_progress_t *p, int item)
{
    pthread_mutex_lock(&p->lock);
    p->part[item] = 1;
    tell(p);
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_read(avp_progress_t *p, double t, double fraction)
{
    pthread_mutex_lock(&p->lock);
    p->read = t;
    p->fraction = fraction;
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_ended(avp_progress_t *p, double t)
{
    pthread_mutex_lock(&p->lock);
    if (t > 0) {
        p->duration = t;
        p->sure = true;
    }
    pthread_mutex_unlock(&p->lock);
}

bool
avp_progress_gone(avp_progress_t *p)
{
    bool gone;

    pthread_mutex_lock(&p->lock);
    gone = p->gone;
    pthread_mutex_unlock(&p->lock);
    return gone;
}
