/*
 * The storyboard: sheets of 10x10 tiles, each written when it is full, and
 * the WebVTT that says which tile belongs to which time.
 *
 * Sheets are written twice, as JPEG and as WebP, and so is the WebVTT: a list
 * names one kind only, for it cannot say "or".
 *
 * A tile is 160 pixels on its short side and at most 408 on the other, so
 * that no sheet is over 4096 pixels (textures of mobile GPUs).
 */

#include "workerd/media/images.h"
#include "workerd/media/out.h"
#include "workerd/media/picture.h"

#include <libavutil/imgutils.h>
#include <libavutil/mem.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COLUMNS 10
#define TILES (COLUMNS * COLUMNS)
#define TILE_SHORT 160
#define TILE_LONG 408
#define TILES_PLANNED 400
#define JPEG_QUALITY 5
#define WEBP_QUALITY 70

struct avp_storyboard_s {
    avp_out_t *out;
    AVFrame   *sheet;         /* NULL: none begun */
    int        width, height; /* of a tile */
    double     step, next;
    double    *times; /* when each tile begins */
    size_t     n, allocated;
    int        sheets;
    bool       webp; /* there is libwebp */
};

static void
tile_size(avp_storyboard_t *s, int width, int height)
{
    int along = width > height ? width : height;
    int across = width > height ? height : width;
    int64_t len = av_rescale(TILE_SHORT, along, across > 0 ? across : 1);
    int     other = TILE_SHORT;

    if (len > TILE_LONG) {
        other = (int)av_rescale(TILE_LONG, across, along);
        len = TILE_LONG;
    }
    len &= ~INT64_C(1);
    other = other < 2 ? 2 : other & ~1;
    s->width = width > height ? (int)len : other;
    s->height = width > height ? other : (int)len;
}

int
avp_storyboard_open(avp_storyboard_t **ps, avp_out_t *out, int width,
                    int height, double duration)
{
    avp_storyboard_t *s = av_mallocz(sizeof(*s));

    *ps = s;
    if (s == NULL) {
        return AVERROR(ENOMEM);
    }
    s->out = out;
    s->webp = avcodec_find_encoder_by_name("libwebp") != NULL;
    s->step = fmax(1, duration > 0 ? duration / TILES_PLANNED : 0);
    tile_size(s, width, height);
    return 0;
}

int
avp_storyboard_wants(avp_storyboard_t *s, double t)
{
    return t >= s->next;
}

static int
sheet_begin(avp_storyboard_t *s)
{
    int ret = avp_picture_alloc(&s->sheet, s->width * COLUMNS,
                                s->height * COLUMNS, 1);

    if (ret < 0) {
        return ret;
    }
    for (int i = 0; i < 3; i++) {
        int rows = i ? s->sheet->height / 2 : s->sheet->height;

        memset(s->sheet->data[i], i ? 128 : 0,
               (size_t)s->sheet->linesize[i] * (size_t)rows);
    }
    return 0;
}

/* Writes the sheet at hand, cropped to what of it is used. */
static int
sheet_write(avp_storyboard_t *s)
{
    int       used = (int)((s->n - 1) % TILES) + 1;
    char      path[64];
    AVPacket *pkt;
    int       ret;

    s->sheet->height = (used + COLUMNS - 1) / COLUMNS * s->height;
    s->sheet->width = (used < COLUMNS ? used : COLUMNS) * s->width;

    snprintf(path, sizeof(path), "storyboard/sheet-%04d.jpg", s->sheets);
    ret = avp_picture_jpeg(&pkt, s->sheet, JPEG_QUALITY);
    if (ret == 0) {
        ret = avp_out_put(s->out, path, pkt->data, (size_t)pkt->size, 0);
        av_packet_free(&pkt);
    }
    if (ret >= 0 && s->webp) {
        snprintf(path, sizeof(path), "storyboard/sheet-%04d.webp", s->sheets);
        ret = avp_picture_put_webp(s->out, path, s->sheet, s->sheet->width,
                                   s->sheet->height, WEBP_QUALITY);
    }
    av_frame_free(&s->sheet);
    s->sheets++;
    return ret;
}

static void
sheet_place(avp_storyboard_t *s, const AVFrame *tile)
{
    int      at = (int)(s->n % TILES);
    int      x = at % COLUMNS * s->width, y = at / COLUMNS * s->height;
    AVFrame *sheet = s->sheet;

    for (int i = 0; i < 3; i++) {
        int half = i > 0;

        av_image_copy_plane(sheet->data[i] +
                                (ptrdiff_t)(y >> half) * sheet->linesize[i] +
                                (x >> half),
                            sheet->linesize[i], tile->data[i],
                            tile->linesize[i], s->width >> half,
                            s->height >> half);
    }
}

static int
remember(avp_storyboard_t *s, double t)
{
    if (s->n == s->allocated) {
        size_t n = s->allocated ? 2 * s->allocated : TILES_PLANNED;
        void  *p = av_realloc_array(s->times, n, sizeof(*s->times));

        if (p == NULL) {
            return AVERROR(ENOMEM);
        }
        s->times = p;
        s->allocated = n;
    }
    s->times[s->n] = s->n == 0 ? 0 : t;
    return 0;
}

int
avp_storyboard_offer(avp_storyboard_t *s, const AVFrame *frame, double t)
{
    AVFrame *tile;
    int      ret;

    if (!avp_storyboard_wants(s, t)) {
        return 0;
    }
    ret = remember(s, t);
    if (ret == 0 && s->sheet == NULL) {
        ret = sheet_begin(s);
    }
    if (ret == 0) {
        ret = avp_picture_scale(&tile, frame, s->width, s->height, 1);
    }
    if (ret < 0) {
        return ret;
    }
    sheet_place(s, tile);
    av_frame_free(&tile);
    s->n++;
    /* A video far longer than it claimed gets its tiles further apart. */
    if (s->n >= 2 * TILES_PLANNED && s->n % TILES_PLANNED == 0) {
        s->step *= 2;
    }
    s->next = (floor(t / s->step) + 1) * s->step;
    return s->n % TILES == 0 ? sheet_write(s) : 0;
}

static void
vtt_time(FILE *f, double t)
{
    long long ms = llround(t * 1000);

    fprintf(f, "%02lld:%02lld:%02lld.%03lld", ms / 3600000, ms / 60000 % 60,
            ms / 1000 % 60, ms % 1000);
}

static int
vtt_write(avp_storyboard_t *s, double end, const char *path,
          const char *ending)
{
    char  *text = NULL;
    size_t len;
    FILE  *f = open_memstream(&text, &len);
    int    ret;

    if (f == NULL) {
        return AVERROR(ENOMEM);
    }
    fputs("WEBVTT\n", f);
    for (size_t i = 0; i < s->n; i++) {
        double until = i + 1 < s->n ? s->times[i + 1] : end;
        int    at = (int)(i % TILES);

        /* WebVTT wants an end after the start. */
        until = fmax(until, s->times[i] + 0.001);
        fputc('\n', f);
        vtt_time(f, s->times[i]);
        fputs(" --> ", f);
        vtt_time(f, until);
        fprintf(f, "\nstoryboard/sheet-%04d.%s#xywh=%d,%d,%d,%d\n",
                (int)(i / TILES), ending, at % COLUMNS * s->width,
                at / COLUMNS * s->height, s->width, s->height);
    }
    ret = fclose(f) == 0
              ? avp_out_put(s->out, path, text, len, 0)
              : AVERROR(ENOMEM);
    free(text);
    return ret;
}

int
avp_storyboard_finish(avp_storyboard_t *s, double end)
{
    int ret = 0;

    if (s->sheet != NULL) {
        ret = sheet_write(s);
    }
    if (ret >= 0) {
        ret = vtt_write(s, end, "storyboard.vtt", "jpg");
    }
    if (ret >= 0 && s->webp) {
        ret = vtt_write(s, end, "storyboard-webp.vtt", "webp");
    }
    return ret;
}

void
avp_storyboard_free(avp_storyboard_t *s)
{
    if (s == NULL) {
        return;
    }
    av_frame_free(&s->sheet);
    av_free(s->times);
    av_free(s);
}
