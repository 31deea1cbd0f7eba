#include "workerd/media/cues.h"

#include "lib/cue_text.h"

#include <libavutil/mem.h>

#include <string.h>

#define CUE_LONGEST INT64_C(86400000000) /* us: a day */
#define CUE_ENDLESS INT64_C(5000000)   /* us, when nothing ends it */
#define TIME_MAX INT64_C(100000000000000)

/* `limit`: where the video ends, as far as that is known. */
static int
tell_first(avp_cues_t *c, int64_t limit)
{
    avp_waiting_cue_t *q = &c->waiting[0];
    int64_t    end = q->end;
    int        rc = 0;

    if (end < 0) {
        end = q->start + CUE_ENDLESS;
        for (int i = 1; i < c->n; i++) {
            if (c->waiting[i].start > q->start) {
                end = FFMIN(end, c->waiting[i].start);
                break;
            }
        }
    }
    end = FFMIN(FFMIN(end, q->start + CUE_LONGEST), limit);

    /* a file that is far out of order: what can still be shown */
    q->start = FFMAX(q->start, c->told);
    if (end > q->start) {
        c->told = q->start;
        rc = avp_hls_text_cue(c->out, q->start, end, q->text);
        c->full |= rc > 0;
    }

    av_free(q->text);
    c->n--;
    memmove(q, q + 1, sizeof(*q) * (size_t)c->n);
    return FFMIN(rc, 0);
}

/* Two layers of the same words are one cue. */
static bool
is_there(const avp_cues_t *c, int64_t start, int64_t end, const char *text)
{
    for (int i = 0; i < c->n; i++) {
        if (c->waiting[i].start == start && c->waiting[i].end == end
            && strcmp(c->waiting[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

static int
add(avp_cues_t *c, int64_t start, int64_t end, const char *text)
{
    char *copy;
    int   at, rc = 0;

    if (end == 0 || (end > 0 && end <= start)) {
        return 0; /* over before the first picture, or never shown */
    }
    start = FFMAX(start, 0);
    if (is_there(c, start, end, text)) {
        return 0;
    }
    if (c->n == AVP_CUES_WAITING && (rc = tell_first(c, INT64_MAX)) < 0) {
        return rc;
    }

    copy = av_strdup(text);
    if (copy == NULL) {
        return AVERROR(ENOMEM);
    }
    for (at = c->n; at > 0 && c->waiting[at - 1].start > start; at--) {
        c->waiting[at] = c->waiting[at - 1];
    }
    c->waiting[at] = (avp_waiting_cue_t){ start, end, copy };
    c->n++;
    return 0;
}

int
avp_cues_take(avp_cues_t *c, AVSubtitle *sub, int64_t shift)
{
    int64_t start, end = -1;
    int     rc = 0;

    if (sub->pts == AV_NOPTS_VALUE || FFABS(sub->pts) > TIME_MAX
        || FFABS(shift) > TIME_MAX) {
        goto done;
    }

    start = sub->pts + shift + INT64_C(1000) * sub->start_display_time;
    if (sub->end_display_time > 0 && sub->end_display_time != UINT32_MAX) {
        end = sub->pts + shift + INT64_C(1000) * sub->end_display_time;
        end = FFMAX(end, 0);
    } else if (start + CUE_ENDLESS <= 0) {
        goto done;
    }

    for (unsigned i = 0; rc == 0 && i < sub->num_rects; i++) {
        char text[AVP_CUE_MAX];

        if (sub->rects[i]->ass
            && avp_cue_from_ass(text, avp_str_c(sub->rects[i]->ass)) > 0) {
            rc = add(c, start, end, text);
        }
    }

done:

    avsubtitle_free(sub);
    return rc;
}

int
avp_cues_end(avp_cues_t *c, int64_t video_end)
{
    int rc = 0;

    while (rc == 0 && c->n > 0 && c->waiting[0].start < video_end) {
        rc = tell_first(c, video_end);
    }
    return rc < 0 ? rc : avp_hls_text_end(c->out);
}

void
avp_cues_free(avp_cues_t *c)
{
    for (int i = 0; i < c->n; i++) {
        av_free(c->waiting[i].text);
    }
    c->n = 0;
}
