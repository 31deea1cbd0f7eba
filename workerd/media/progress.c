#include "workerd/media/progress.h"

#include "lib/media_message.h"

#include <libavutil/avstring.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define INTERVAL 0.5 /* seconds between messages */

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

void
avp_progress_init(avp_progress_t *p,
                  int (*send)(void *ctx, const json_t *message), void *ctx)
{
    *p = (avp_progress_t){ .send = send, .ctx = ctx, .told = -1 };
    pthread_mutex_init(&p->lock, NULL);
    p->started = now();
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
avp_progress_plan(avp_progress_t *p, const avp_plan_t *plan)
{
    avp_progress_send(
        p, json_pack("{s:s, s:i, s:f, s:I, s:I, s:f, s:o}", "t", "plan",
                     "passes", plan->npasses, "cpuSeconds", plan->cpu_seconds,
                     "memoryBytes", (json_int_t)plan->memory_bytes,
                     "outputBytes", (json_int_t)plan->output_bytes, "duration",
                     plan->duration, "text", clean_text(plan->text)));

    pthread_mutex_lock(&p->lock);
    p->duration = plan->duration;
    for (int i = 0; i < plan->npasses; i++) {
        for (int k = 0; k < plan->passes[i].nencodes; k++) {
            p->total += plan->passes[i].encodes[k].cost;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_unsure(avp_progress_t *p)
{
    pthread_mutex_lock(&p->lock);
    p->duration = 0;
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

static void
tell(avp_progress_t *p)
{
    double sum = 0, t = now(), share, eta;
    int    percent;

    if (t - p->last < INTERVAL || p->total <= 0) {
        return;
    }

    for (int i = 0; i < p->nitems; i++) {
        sum += p->weight[i] * p->part[i];
    }
    share = fmin(sum / p->total, 0.99);
    percent = (int)(share * 100);
    if (percent < p->told) {
        percent = p->told; /* never back */
    }

    eta = share > 0.02 ? (t - p->started) * (1 - share) / share : -1;
    p->last = t;
    p->told = percent;

    send_locked(p, json_pack("{s:s, s:i, s:s, s:i}", "t", "progress",
                             "progress", percent, "task", p->task, "eta",
                             (int)fmin(ceil(eta), 1e6)));
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
    p->fraction = 0;
    av_strlcpy(p->task, pass->label, sizeof(p->task));
    tell(p);
    pthread_mutex_unlock(&p->lock);
}

void
avp_progress_step(avp_progress_t *p, int item, double t)
{
    double part;

    pthread_mutex_lock(&p->lock);
    part = p->duration > 0 ? t / p->duration : p->fraction;
    if (part > p->part[item]) {
        p->part[item] = fmin(part, 1);
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
avp_progress_read(avp_progress_t *p, double fraction)
{
    pthread_mutex_lock(&p->lock);
    p->fraction = fraction;
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
