/*
 * HLS of one video: the tracks together, and their masters.
 *
 * Each track is written by the thread of its encoder; what they share is the
 * list of tracks and the question whether the presentation can be played yet.
 * The lock guards both; it is not held while a track writes its files.  What
 * others read of a track that still grows is only what never changes; its
 * segments are read by avp_hls_finish(), when all have ended.
 */

#include "workerd/media/hls_track.h"
#include "workerd/media/out.h"
#include "workerd/media/package_file.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define HLS_TRACKS 8

typedef struct {
    avp_hls_track_t track; /* first: what callers hold */
    int             shown; /* has a segment in its live playlist */
    int             empty; /* ended without one */
} hls_entry_t;

struct avp_hls_s {
    avp_out_t      *out;
    pthread_mutex_t lock; /* of everything below */
    hls_entry_t    *tracks[HLS_TRACKS];
    int             ntracks;
    hls_entry_t    *playable; /* the first video track */
    hls_entry_t    *audio;
    int             announced;
    void          (*cb)(void *);
    void           *cb_ctx;
};

int
avp_hls_open(avp_hls_t **ph, avp_out_t *out)
{
    avp_hls_t *h = av_mallocz(sizeof(*h));

    *ph = h;
    if (h == NULL) {
        return AVERROR(ENOMEM);
    }
    h->out = out;
    pthread_mutex_init(&h->lock, NULL);
    return 0;
}

void
avp_hls_on_playable(avp_hls_t *h, void (*cb)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&h->lock);
    h->cb = cb;
    h->cb_ctx = ctx;
    pthread_mutex_unlock(&h->lock);
}

/* Under the lock. */
static int
track_add(avp_hls_t *h, hls_entry_t **pe, const char *name,
          const avp_stream_spec_t *spec)
{
    AVRational   rate = { 0, 1 };
    double       frame = 0;
    hls_entry_t *e;
    int          ret;

    if (h->ntracks == HLS_TRACKS) {
        return AVERROR(EINVAL);
    }
    if (spec->frame_rate.num > 0 && spec->frame_rate.den > 0) {
        rate = spec->frame_rate;
        frame = av_q2d(av_inv_q(rate));
    }

    e = av_mallocz(sizeof(*e));
    if (e == NULL) {
        return AVERROR(ENOMEM);
    }
    e->track.hls = h;
    ret = avp_hls_track_open(&e->track, h->out, name, spec, rate,
                             avp_target_duration(frame));
    if (ret < 0) {
        avp_hls_track_close(&e->track);
        av_free(e);
        return ret;
    }
    h->tracks[h->ntracks++] = e;
    *pe = e;
    return 0;
}

/* Audio cuts where video does, and has the same target (Apple 8.2, 8.22). */
static void
tracks_align(avp_hls_t *h)
{
    if (h->playable != NULL && h->audio != NULL) {
        avp_hls_track_follow(&h->audio->track, &h->playable->track);
    }
}

int
avp_hls_video(avp_hls_t *h, avp_hls_track_t **t, const char *quality,
              const avp_stream_spec_t *video)
{
    hls_entry_t *e;
    int          ret;

    pthread_mutex_lock(&h->lock);
    ret = track_add(h, &e, quality, video);
    if (ret == 0) {
        *t = &e->track;
        if (h->playable == NULL) {
            h->playable = e;
            tracks_align(h);
        }
    }
    pthread_mutex_unlock(&h->lock);
    return ret;
}

int
avp_hls_audio(avp_hls_t *h, avp_hls_track_t **t, const avp_stream_spec_t *audio)
{
    hls_entry_t *e;
    int          ret = AVERROR(EINVAL);

    pthread_mutex_lock(&h->lock);
    if (h->audio == NULL) {
        ret = track_add(h, &e, "audio", audio);
        if (ret == 0) {
            *t = &e->track;
            h->audio = e;
            tracks_align(h);
        }
    }
    pthread_mutex_unlock(&h->lock);
    return ret;
}

/* --- masters ------------------------------------------------------------ */

static int
put_text(avp_hls_t *h, const char *path, char *text, size_t len, unsigned flags)
{
    int ret = text == NULL ? AVERROR(ENOMEM)
                           : avp_out_put(h->out, path, text, len, flags);

    free(text);
    return ret;
}

static void
fill_variant(avp_variant_t *v, const avp_hls_track_t *t, const char *uri)
{
    *v = (avp_variant_t){
        .uri = uri,
        .codecs = t->codec,
        .width = t->spec.par->width,
        .height = t->spec.par->height,
        .frame_rate = av_q2d(t->spec.frame_rate),
    };
}

/* What the encoder promises, for a track that still grows: any t seconds can
 * hold what the buffer saved up on top of t seconds at the cap.  2 s: the
 * shortest segments, and a clip may end after one.  (Over 6 s, the sum would
 * be no promise: the first segments are shorter.) */
static int64_t
promised_peak(const avp_hls_track_t *t)
{
    const AVCodecParameters *par = t->spec.par;
    int64_t cap = t->spec.cap > 0 ? t->spec.cap : par->bit_rate;

    if (!t->is_video) {
        /* Packets of AAC vary around their rate; moof and tfdt come on top. */
        return (cap > 0 ? cap : 128000) * 115 / 100;
    }
    if (cap <= 0) {
        cap = (int64_t)par->width * par->height * 4; /* no promise was made */
    }
    return cap + t->spec.bufsize / 2;
}

static void
fill_audio(avp_audio_media_t *a, const avp_hls_track_t *t, const char *uri)
{
    *a = (avp_audio_media_t){
        .uri = uri,
        .codecs = t->codec,
        .language = t->spec.language,
        .channels = t->spec.par->ch_layout.nb_channels,
    };
}

/* Under the lock. */
static int
write_live_master(avp_hls_t *h)
{
    avp_hls_track_t  *v = &h->playable->track;
    avp_hls_track_t  *a = h->audio && h->audio->shown ? &h->audio->track : NULL;
    avp_variant_t     variant;
    avp_audio_media_t audio;
    char              uri[32];
    size_t            len;
    char             *text;

    snprintf(uri, sizeof(uri), "%s/live.m3u8", v->name);
    fill_variant(&variant, v, uri);
    variant.peak = promised_peak(v);
    if (a != NULL) {
        fill_audio(&audio, a, "audio/live.m3u8");
        audio.peak = promised_peak(a);
    }
    text = avp_playlist_master(&variant, 1, a ? &audio : NULL, &len);
    return put_text(h, "hls/live-master.m3u8", text, len, AVP_OUT_NOSYNC);
}

/* A segment of `t` more is in its playlist, or it ended: is that enough? */
static int
note_progress(avp_hls_track_t *t, int published, int ended)
{
    hls_entry_t *e = (hls_entry_t *)t;
    avp_hls_t   *h = t->hls;
    void       (*cb)(void *) = NULL;
    void        *ctx = NULL;
    int          ret = 0;

    pthread_mutex_lock(&h->lock);
    e->shown |= published;
    e->empty = ended && !e->shown;
    if (!h->announced && h->playable != NULL && h->playable->shown &&
        (h->audio == NULL || h->audio->shown || h->audio->empty)) {
        h->announced = 1;
        ret = write_live_master(h);
        cb = h->cb;
        ctx = h->cb_ctx;
    }
    pthread_mutex_unlock(&h->lock);
    if (ret == 0 && cb != NULL) {
        cb(ctx);
    }
    return ret;
}

int
avp_hls_write(avp_hls_track_t *t, const AVPacket *pkt)
{
    int published = 0, ret;

    if (pkt->pts == AV_NOPTS_VALUE || pkt->dts == AV_NOPTS_VALUE) {
        return AVERROR(EINVAL);
    }
    ret = avp_hls_track_write(t, pkt, &published);
    return ret == 0 && published ? note_progress(t, 1, 0) : ret;
}

int
avp_hls_end(avp_hls_track_t *t)
{
    int published = 0, ret;

    ret = avp_hls_track_end(t, &published);
    return ret == 0 ? note_progress(t, published, 1) : ret;
}

static void
fill_rendition(avp_rendition_t *r, const avp_hls_track_t *t,
               const avp_hls_track_t *audio)
{
    memset(r, 0, sizeof(*r));
    av_strlcpy(r->format, "hls", sizeof(r->format));
    av_strlcpy(r->quality, t->name, sizeof(r->quality));
    snprintf(r->path, sizeof(r->path), "hls/%s.m3u8", t->name);
    for (size_t i = 0; i < t->nsegments; i++) {
        r->size += t->segments[i].bytes;
    }
    r->duration = (double)t->end_us / AV_TIME_BASE;
    r->bitrate = avp_bitrate_average(t->segments, t->nsegments);
    snprintf(r->codec, sizeof(r->codec), "%s%s%s", t->codec, audio ? "," : "",
             audio ? audio->codec : "");
    av_strlcpy(r->mime, "application/vnd.apple.mpegurl", sizeof(r->mime));
    r->width = t->spec.par->width;
    r->height = t->spec.par->height;
}

/* Masters with one rung, and with all. */
static int
write_masters(avp_hls_t *h, avp_variant_t *variants, avp_hls_track_t **tracks,
              size_t n, const avp_audio_media_t *audio)
{
    size_t len;
    char   path[64];
    char  *text;
    int    ret;

    for (size_t i = 0; i < n; i++) {
        text = avp_playlist_master(&variants[i], 1, audio, &len);
        snprintf(path, sizeof(path), "hls/%s.m3u8", tracks[i]->name);
        ret = put_text(h, path, text, len, AVP_OUT_GZIP);
        if (ret < 0) {
            return ret;
        }
    }
    avp_variants_sort(variants, n);
    text = avp_playlist_master(variants, n, audio, &len);
    return put_text(h, "hls/master.m3u8", text, len, AVP_OUT_GZIP);
}

int
avp_hls_finish(avp_hls_t *h, avp_rendition_t *results, int max)
{
    avp_hls_track_t  *tracks[HLS_TRACKS], *a = NULL;
    avp_variant_t     variants[HLS_TRACKS];
    char              uris[HLS_TRACKS][32];
    avp_audio_media_t audio;
    int               n = 0, ret = 0;

    pthread_mutex_lock(&h->lock);
    if (h->audio != NULL && h->audio->shown && h->audio->track.ended) {
        a = &h->audio->track;
        fill_audio(&audio, a, "audio/index.m3u8");
        audio.peak = avp_bitrate_peak(a->segments, a->nsegments, a->target);
        audio.average = avp_bitrate_average(a->segments, a->nsegments);
    }
    for (int i = 0; i < h->ntracks && n < max; i++) {
        avp_hls_track_t *t = &h->tracks[i]->track;

        if (!t->is_video || !t->ended || t->nsegments == 0) {
            continue;
        }
        snprintf(uris[n], sizeof(uris[n]), "%s/index.m3u8", t->name);
        fill_variant(&variants[n], t, uris[n]);
        variants[n].peak = avp_bitrate_peak(t->segments, t->nsegments,
                                            t->target);
        variants[n].average = avp_bitrate_average(t->segments, t->nsegments);
        fill_rendition(&results[n], t, a);
        tracks[n++] = t;
    }
    if (n > 0) {
        ret = write_masters(h, variants, tracks, (size_t)n, a ? &audio : NULL);
    }
    pthread_mutex_unlock(&h->lock);
    return ret < 0 ? ret : n;
}

void
avp_hls_free(avp_hls_t *h)
{
    if (h == NULL) {
        return;
    }
    for (int i = 0; i < h->ntracks; i++) {
        avp_hls_track_close(&h->tracks[i]->track);
        av_free(h->tracks[i]);
    }
    pthread_mutex_destroy(&h->lock);
    av_free(h);
}
