/*
 * WebVTT renditions of HLS.
 */

#include "workerd/media/hls_text.h"
#include "workerd/media/out.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>

#include <stdio.h>
#include <stdlib.h>

#define CUES_MAX 65536
#define TEXT_MAX (4 * 1024 * 1024)

/* Cues that never end are repeated in every segment: together no more than
 * this.  What is over it is in the segment where it begins. */
#define CARRIED_MAX (16 * 1024 * 1024)
#define CUE_HEAD 32 /* its line of times */

int
avp_hls_text_open(avp_hls_text_t **pt, const avp_hls_text_spec_t *spec)
{
    avp_hls_text_t *t = av_mallocz(sizeof(*t));

    *pt = t;
    if (t == NULL) {
        return AVERROR(ENOMEM);
    }
    av_strlcpy(t->name, spec->name, sizeof(t->name));
    av_strlcpy(t->language, spec->language ? spec->language : "",
               sizeof(t->language));
    t->is_default = spec->is_default;
    t->forced = spec->forced;
    t->captions = spec->captions;
    return 0;
}

void
avp_hls_text_close(avp_hls_text_t *t)
{
    av_freep(&t->cues);
    av_freep(&t->text);
}

/* --- cues ---------------------------------------------------------------- */

static int
grow(void *array, size_t *room, size_t need, size_t size)
{
    void **p = array, *more;
    size_t n = *room ? *room : 64;

    if (need <= *room) {
        return 0;
    }
    while (n < need) {
        n *= 2;
    }
    more = av_realloc_array(*p, n, size);
    if (more == NULL) {
        return AVERROR(ENOMEM);
    }
    *p = more;
    *room = n;
    return 0;
}

/* Copies a payload without the empty lines that would end it; its length. */
static size_t
copy_payload(char *dst, const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        char c = *text == '\r' ? '\n' : *text;

        if (c == '\n' && (n == 0 || dst[n - 1] == '\n')) {
            continue;
        }
        dst[n++] = c;
    }
    while (n > 0 && dst[n - 1] == '\n') {
        n--;
    }
    return n;
}

int
avp_hls_text_cue(avp_hls_text_t *t, int64_t start_us, int64_t end_us,
                 const char *text)
{
    size_t len = strlen(text);
    int    ret;

    if (t->ended || start_us < 0 || end_us <= start_us ||
        (t->ncues > 0 && start_us < t->cues[t->ncues - 1].start_us)) {
        return AVERROR(EINVAL);
    }
    if (t->ncues == CUES_MAX || len > TEXT_MAX - t->used) {
        return 1;
    }
    ret = grow(&t->cues, &t->allocated, t->ncues + 1, sizeof(*t->cues));
    if (ret == 0) {
        ret = grow(&t->text, &t->room, t->used + len + 1, 1);
    }
    if (ret < 0) {
        return ret;
    }
    len = copy_payload(t->text + t->used, text);
    if (len > 0) {
        t->cues[t->ncues++] = (avp_cue_t){ .start_us = start_us,
                                           .end_us = end_us,
                                           .text = t->used,
                                           .len = len };
        t->used += len;
    }
    return 0;
}

int
avp_hls_text_end(avp_hls_text_t *t)
{
    t->ended = true;
    return 0;
}

/* --- files --------------------------------------------------------------- */

static void
put_time(FILE *f, int64_t ms)
{
    fprintf(f, "%02lld:%02d:%02d.%03d", (long long)(ms / 3600000),
            (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static void
put_cue(FILE *f, const avp_hls_text_t *t, const avp_cue_t *c)
{
    int64_t start = (c->start_us + 500) / 1000, end = (c->end_us + 500) / 1000;

    fputc('\n', f);
    put_time(f, start);
    fputs(" --> ", f);
    put_time(f, end > start ? end : start + 1);
    fputc('\n', f);
    fwrite(t->text + c->text, 1, c->len, f);
    fputc('\n', f);
}

/* Ends the stream of a file's text and writes it. */
static int
put_file(const avp_hls_text_t *t, avp_out_t *out, const char *name, FILE *f,
         char **text, const size_t *len)
{
    char path[64];
    int  ret = AVERROR(ENOMEM);

    snprintf(path, sizeof(path), "hls/%s/%s", t->name, name);
    if (fclose(f) == 0) {
        ret = avp_out_put(out, path, *text, *len, AVP_OUT_NOSYNC);
    }
    free(*text);
    return ret;
}

/* What is shown when a segment is. */
typedef struct {
    size_t *cues; /* indexes, in order of start */
    size_t  n;
    size_t  next; /* the first cue that has not begun */
    size_t  carried;
} shown_t;

/* Lets go of those that are over at `start_us`, and of those that have been
 * carried too far. */
static void
shown_drop(shown_t *s, const avp_hls_text_t *t, int64_t start_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->n; i++) {
        const avp_cue_t *c = &t->cues[s->cues[i]];

        if (c->end_us > start_us && s->carried < CARRIED_MAX) {
            s->carried += c->len + CUE_HEAD;
            s->cues[kept++] = s->cues[i];
        }
    }
    s->n = kept;
}

static int
put_segment(const avp_hls_text_t *t, avp_out_t *out, shown_t *s, size_t index,
            const avp_segment_t *segment)
{
    char   name[16], *text = NULL;
    size_t len;
    FILE  *f = open_memstream(&text, &len);

    if (f == NULL) {
        return AVERROR(ENOMEM);
    }
    /* Edit lists begin every track at presentation time 0, and so do cues. */
    fputs("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n", f);
    shown_drop(s, t, segment->start_us);
    while (s->next < t->ncues &&
           t->cues[s->next].start_us < segment->end_us) {
        s->cues[s->n++] = s->next++;
    }
    for (size_t i = 0; i < s->n; i++) {
        put_cue(f, t, &t->cues[s->cues[i]]);
    }
    avp_segment_name(name, index, "vtt");
    return put_file(t, out, name, f, &text, &len);
}

static int
put_segments(avp_hls_text_t *t, avp_out_t *out, const avp_hls_track_t *video)
{
    shown_t s = { .cues = av_malloc_array(t->ncues, sizeof(*s.cues)) };
    int     ret = s.cues == NULL ? AVERROR(ENOMEM) : 0;

    for (size_t i = 0; i < video->nsegments && ret == 0; i++) {
        ret = put_segment(t, out, &s, i, &video->segments[i]);
    }
    av_free(s.cues);
    return ret;
}

static int
put_whole(const avp_hls_text_t *t, avp_out_t *out)
{
    char  *text = NULL;
    size_t len;
    FILE  *f = open_memstream(&text, &len);

    if (f == NULL) {
        return AVERROR(ENOMEM);
    }
    fputs("WEBVTT\n", f);
    for (size_t i = 0; i < t->ncues; i++) {
        put_cue(f, t, &t->cues[i]);
    }
    return put_file(t, out, "all.vtt", f, &text, &len);
}

static int
put_playlist(const avp_hls_text_t *t, avp_out_t *out,
             const avp_hls_track_t *video)
{
    char   path[64], name[16];
    size_t len;
    char  *text;
    int    ret = 0;

    for (size_t i = 0; i < video->nsegments && ret == 0; i++) {
        avp_segment_name(name, i, "vtt");
        snprintf(path, sizeof(path), "hls/%s/%s", t->name, name);
        ret = avp_out_fsync(out, path);
    }
    if (ret == 0) {
        snprintf(path, sizeof(path), "hls/%s/all.vtt", t->name);
        ret = avp_out_fsync(out, path);
    }
    if (ret < 0) {
        return ret;
    }
    text = avp_playlist_media(AVP_LIST_TEXT, video->target, video->segments,
                              video->nsegments, &len);
    if (text == NULL) {
        return AVERROR(ENOMEM);
    }
    snprintf(path, sizeof(path), "hls/%s/index.m3u8", t->name);
    ret = avp_out_put(out, path, text, len, AVP_OUT_GZIP);
    free(text);
    return ret;
}

int
avp_hls_text_write(avp_hls_text_t *t, avp_out_t *out,
                   const avp_hls_track_t *video)
{
    int ret;

    /* What begins after the last picture is never seen. */
    while (t->ncues > 0 && video->nsegments > 0 &&
           t->cues[t->ncues - 1].start_us >= video->end_us) {
        t->ncues--;
    }
    if (!t->ended || t->ncues == 0 || video->nsegments == 0) {
        return 0;
    }
    ret = put_segments(t, out, video);
    if (ret == 0) {
        ret = put_whole(t, out);
    }
    if (ret == 0) {
        ret = put_playlist(t, out, video);
    }
    t->written = ret == 0;
    return ret;
}
