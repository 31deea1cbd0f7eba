/*
 * HLS of one video: the tracks together, and when they can be played.
 *
 * Each track is written by the thread of its encoder; what they share is the
 * list of tracks and the question whether the presentation can be played yet.
 * The lock guards both; it is not held while a track writes its files.  What
 * others read of a track that still grows is only what never changes; its
 * segments are read by avp_hls_finish(), when all have ended.
 */

#include "workerd/media/hls.h"
#include "workerd/media/out.h"
#include "workerd/media/package_file.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>

#include <stdio.h>
#include <stdlib.h>

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
track_add(avp_hls_t *h, avp_hls_entry_t **pe, const char *name,
          const avp_stream_spec_t *spec)
{
    AVRational       rate = { 0, 1 };
    double           frame = 0;
    avp_hls_entry_t *e;
    int              ret;

    if (h->ntracks == AVP_HLS_TRACKS || strlen(name) >= AVP_HLS_NAME_MAX) {
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
    if (h->cuts != NULL) {
        avp_hls_track_plan(&e->track, h->cuts, h->ncuts, h->target);
    }
    h->tracks[h->ntracks++] = e;
    *pe = e;
    return 0;
}

/* Sound cuts where video does, and has the same target (Apple 8.2, 8.22). */
static void
sounds_align(avp_hls_t *h)
{
    for (int i = 0; i < h->ntracks; i++) {
        if (!h->tracks[i]->track.is_video) {
            avp_hls_track_follow(&h->tracks[i]->track, &h->playable->track);
        }
    }
}

/* A copied stream decides for all where segments begin. */
static int
plan_cuts(avp_hls_t *h, const avp_stream_spec_t *video)
{
    if (video->key_us == NULL || h->cuts != NULL) {
        return 0;
    }
    for (int i = 0; i < h->ntracks; i++) {
        if (h->tracks[i]->shown) {
            return AVERROR(EINVAL);
        }
    }
    h->cuts = av_malloc_array(video->nkeys + 1, sizeof(*h->cuts));
    if (h->cuts == NULL) {
        return AVERROR(ENOMEM);
    }
    h->ncuts = avp_grid_plan(video->key_us, video->nkeys, video->keys_end_us,
                             h->cuts, &h->target);
    for (int i = 0; i < h->ntracks; i++) {
        avp_hls_track_plan(&h->tracks[i]->track, h->cuts, h->ncuts, h->target);
    }
    return 0;
}

int
avp_hls_video(avp_hls_t *h, avp_hls_track_t **t, const char *name,
              const avp_stream_spec_t *video)
{
    avp_hls_entry_t *e;
    int              ret;

    pthread_mutex_lock(&h->lock);
    ret = plan_cuts(h, video);
    if (ret == 0) {
        ret = track_add(h, &e, name, video);
    }
    if (ret == 0) {
        *t = &e->track;
        if (h->playable == NULL) {
            h->playable = e;
            sounds_align(h);
        }
    }
    pthread_mutex_unlock(&h->lock);
    return ret;
}

/* The names that tracks have: each once, and no sound before "audio" but
 * that itself. */
static int
sound_refused(const avp_hls_t *h, const avp_hls_sound_t *sound)
{
    bool first = strcmp(sound->name, "audio") == 0;
    int  sounds = 0;

    if (strlen(sound->name) >= AVP_HLS_NAME_MAX ||
        (first ? h->audio != NULL || sound->surround : h->audio == NULL)) {
        return 1;
    }
    for (int i = 0; i < h->ntracks; i++) {
        const avp_hls_entry_t *e = h->tracks[i];

        if (strcmp(e->track.name, sound->name) == 0 ||
            (sound->surround && e->surround)) {
            return 1;
        }
        sounds += !e->track.is_video && !e->surround;
    }
    return !sound->surround && sounds == AVP_HLS_SOUNDS;
}

int
avp_hls_audio(avp_hls_t *h, avp_hls_track_t **t, const avp_hls_sound_t *sound)
{
    avp_hls_entry_t *e;
    int              ret = AVERROR(EINVAL);

    pthread_mutex_lock(&h->lock);
    if (!sound_refused(h, sound)) {
        ret = track_add(h, &e, sound->name, sound->spec);
    }
    if (ret == 0) {
        *t = &e->track;
        avp_label(e->label, sound->label, "Audio", 0);
        e->is_default = sound->is_default;
        e->surround = sound->surround;
        e->described = sound->described;
        if (h->audio == NULL) {
            h->audio = e;
        }
        if (h->playable != NULL) {
            avp_hls_track_follow(&e->track, &h->playable->track);
        }
    }
    pthread_mutex_unlock(&h->lock);
    return ret;
}

int
avp_hls_text(avp_hls_t *h, avp_hls_text_t **t, const avp_hls_text_spec_t *spec)
{
    int ret = AVERROR(EINVAL);

    pthread_mutex_lock(&h->lock);
    if (h->ntexts < AVP_HLS_TEXTS && strlen(spec->name) < AVP_HLS_NAME_MAX) {
        ret = avp_hls_text_open(t, spec);
        for (int i = 0; i < h->ntexts && ret == 0; i++) {
            if (strcmp(h->texts[i]->name, spec->name) == 0) {
                av_freep(t);
                ret = AVERROR(EINVAL);
            }
        }
    }
    if (ret == 0) {
        avp_label((*t)->label, spec->label, "Text", 0);
        h->texts[h->ntexts++] = *t;
    }
    pthread_mutex_unlock(&h->lock);
    return ret;
}

/* --- the live master ------------------------------------------------------ */

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

/* Under the lock. */
static int
write_live_master(avp_hls_t *h)
{
    avp_hls_track_t  *v = &h->playable->track;
    avp_variant_t     variant;
    avp_audio_media_t audio;
    avp_master_t      m = { .variants = &variant, .nvariants = 1 };
    char              uri[32];

    snprintf(uri, sizeof(uri), "%s/live.m3u8", v->name);
    avp_hls_variant(&variant, v, uri);
    variant.peak = promised_peak(v);
    if (h->audio != NULL && h->audio->shown) {
        avp_hls_sound(&audio, h->audio, "audio/live.m3u8");
        audio.peak = promised_peak(&h->audio->track);
        audio.is_default = true;
        m.sounds = &audio;
        m.nsounds = 1;
    }
    return avp_hls_put_master(h, "hls/live-master.m3u8", &m, AVP_OUT_NOSYNC);
}

/* A segment of `t` more is in its playlist, or it ended: is that enough? */
static int
note_progress(avp_hls_track_t *t, int published, int ended)
{
    avp_hls_entry_t *e = (avp_hls_entry_t *)t;
    avp_hls_t       *h = t->hls;
    void           (*cb)(void *) = NULL;
    void            *ctx = NULL;
    int              ret = 0;

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
    for (int i = 0; i < h->ntexts; i++) {
        avp_hls_text_close(h->texts[i]);
        av_free(h->texts[i]);
    }
    av_free(h->cuts);
    pthread_mutex_destroy(&h->lock);
    av_free(h);
}
