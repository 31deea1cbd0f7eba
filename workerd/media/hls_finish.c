/*
 * The end of an HLS presentation: texts, and the masters over what there is.
 */

#include "workerd/media/hls.h"
#include "workerd/media/out.h"
#include "workerd/media/package_file.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>

#include <stdio.h>
#include <stdlib.h>

void
avp_hls_variant(avp_variant_t *v, const avp_hls_track_t *t, const char *uri)
{
    enum AVColorTransferCharacteristic trc = t->spec.par->color_trc;

    *v = (avp_variant_t){
        .uri = uri,
        .codecs = t->codec,
        .width = t->spec.par->width,
        .height = t->spec.par->height,
        .frame_rate = av_q2d(t->spec.frame_rate),
        .range = trc == AVCOL_TRC_SMPTE2084      ? "PQ"
                 : trc == AVCOL_TRC_ARIB_STD_B67 ? "HLG"
                                                 : "SDR",
    };
}

void
avp_hls_sound(avp_audio_media_t *a, const avp_hls_entry_t *e, const char *uri)
{
    *a = (avp_audio_media_t){
        .group = "audio",
        .name = e->label,
        .uri = uri,
        .codecs = e->track.codec,
        .language = e->track.spec.language,
        .channels = e->track.spec.par->ch_layout.nb_channels,
        .is_default = e->is_default,
        .described = e->described,
    };
}

int
avp_hls_put_master(avp_hls_t *h, const char *path, const avp_master_t *m,
                   unsigned flags)
{
    size_t len;
    char  *text = avp_playlist_master(m, &len);
    int    ret = text == NULL ? AVERROR(ENOMEM)
                              : avp_out_put(h->out, path, text, len, flags);

    free(text);
    return ret;
}

/* --- what masters say ----------------------------------------------------- */

/* Everything that the masters of one presentation point to. */
typedef struct {
    int                    nvideo;
    const avp_hls_track_t *video[AVP_HLS_TRACKS];
    avp_variant_t          variants[AVP_HLS_TRACKS]; /* of the same index */
    int                    nsounds;
    avp_audio_media_t      sounds[2 * AVP_HLS_SOUNDS];
    int                    ntexts;
    avp_text_media_t       texts[AVP_HLS_TEXTS];
    char                   names[2 * AVP_HLS_SOUNDS + AVP_HLS_TEXTS]
                                [AVP_LABEL_MAX];
    char                   uris[2 * AVP_HLS_TRACKS + AVP_HLS_TEXTS][32];
    int                    nnames, nuris;
} facts_t;

static char *
list_uri(facts_t *f, const char *track, const char *list)
{
    char *uri = f->uris[f->nuris++];

    snprintf(uri, sizeof(f->uris[0]), "%s/%s.m3u8", track, list);
    return uri;
}

static char *
index_uri(facts_t *f, const char *track)
{
    return list_uri(f, track, "index");
}

static bool
is_whole(const avp_hls_track_t *t)
{
    return t->ended && t->nsegments > 0;
}

/* The I-frame playlist of a track, and its own rates (Apple 9.3). */
static int
add_iframes(facts_t *f, avp_variant_t *v, const avp_hls_track_t *t)
{
    avp_segment_t *keys;
    int            target;
    size_t         n = avp_iframes(t->segments, t->nsegments, &keys, &target);

    if (n == 0) {
        return AVERROR(ENOMEM); /* a track always has a key frame */
    }
    v->iframes = list_uri(f, t->name, "iframes");
    v->iframes_peak = avp_bitrate_peak(keys, n, target);
    v->iframes_average = avp_bitrate_average(keys, n);
    free(keys);
    return 0;
}

static int
add_variants(facts_t *f, const avp_hls_t *h)
{
    for (int i = 0; i < h->ntracks; i++) {
        const avp_hls_track_t *t = &h->tracks[i]->track;
        avp_variant_t         *v = &f->variants[f->nvideo];

        if (!t->is_video || !is_whole(t)) {
            continue;
        }
        avp_hls_variant(v, t, index_uri(f, t->name));
        v->peak = avp_bitrate_peak(t->segments, t->nsegments, t->target);
        v->average = avp_bitrate_average(t->segments, t->nsegments);
        if (add_iframes(f, v, t) < 0) {
            return AVERROR(ENOMEM);
        }
        f->video[f->nvideo++] = t;
    }
    return 0;
}

static void
add_sound(facts_t *f, const avp_hls_entry_t *e)
{
    const avp_hls_track_t *t = &e->track;
    avp_audio_media_t     *a = &f->sounds[f->nsounds];
    char                  *name = f->names[f->nnames++];
    int                    again = 1;

    avp_hls_sound(a, e, index_uri(f, t->name));
    a->peak = avp_bitrate_peak(t->segments, t->nsegments, t->target);
    a->average = avp_bitrate_average(t->segments, t->nsegments);
    avp_label(name, e->label, "Audio", again);
    for (int i = 0; i < f->nsounds; i++) {
        if (strcmp(f->sounds[i].name, name) == 0) {
            avp_label(name, e->label, "Audio", ++again);
            i = -1;
        }
    }
    a->name = name;
    f->nsounds++;
}

/* The sound of the stereo group that a surround sound is more of. */
static int
surround_match(const facts_t *f, const avp_hls_entry_t *e)
{
    int match = 0;

    for (int i = 0; i < f->nsounds; i++) {
        if (strcmp(f->sounds[i].language, e->track.spec.language) == 0 &&
            strcmp(f->sounds[i].name, e->label) == 0) {
            return i;
        }
        match = f->sounds[i].is_default ? i : match;
    }
    return match;
}

/* A group more: the same members by name and language, one of them with more
 * channels (RFC 8216, 4.3.4.2.1: groups of one type have the same members). */
static void
add_surround(facts_t *f, const avp_hls_entry_t *e)
{
    const avp_hls_track_t *t = &e->track;
    int                    match = surround_match(f, e), n = f->nsounds;

    for (int i = 0; i < n; i++) {
        avp_audio_media_t *a = &f->sounds[f->nsounds++];

        *a = f->sounds[i];
        a->group = "surround";
        if (i == match) {
            a->uri = index_uri(f, t->name);
            a->codecs = t->codec;
            a->channels = t->spec.par->ch_layout.nb_channels;
            a->peak = avp_bitrate_peak(t->segments, t->nsegments, t->target);
            a->average = avp_bitrate_average(t->segments, t->nsegments);
        }
    }
}

static void
add_sounds(facts_t *f, const avp_hls_t *h)
{
    const avp_hls_entry_t *surround = NULL;
    int                    leader = -1;

    for (int i = 0; i < h->ntracks; i++) {
        const avp_hls_entry_t *e = h->tracks[i];

        if (e->track.is_video || !is_whole(&e->track)) {
            continue;
        }
        if (e->surround) {
            surround = e;
        } else {
            add_sound(f, e);
        }
    }
    /* One of them is the default, and one only. */
    for (int i = 0; i < f->nsounds; i++) {
        leader = leader < 0 && f->sounds[i].is_default ? i : leader;
    }
    for (int i = 0; i < f->nsounds; i++) {
        f->sounds[i].is_default = i == (leader < 0 ? 0 : leader);
    }
    if (surround != NULL && f->nsounds > 0) {
        add_surround(f, surround);
    }
}

static void
add_text(facts_t *f, const avp_hls_text_t *t)
{
    avp_text_media_t *m = &f->texts[f->ntexts];
    char             *name = f->names[f->nnames++];
    bool              is_default = t->is_default;
    int               again = 1;

    avp_label(name, t->label, "Text", again);
    for (int i = 0; i < f->ntexts; i++) {
        if (strcmp(f->texts[i].name, name) == 0) {
            avp_label(name, t->label, "Text", ++again);
            i = -1;
        }
    }
    for (int i = 0; i < f->ntexts; i++) {
        is_default = is_default && !f->texts[i].is_default;
    }
    *m = (avp_text_media_t){
        .name = name,
        .uri = index_uri(f, t->name),
        .language = t->language,
        .is_default = is_default,
        .forced = t->forced,
        .captions = t->captions,
    };
    f->ntexts++;
}

static int
add_texts(facts_t *f, avp_hls_t *h)
{
    for (int i = 0; i < h->ntexts; i++) {
        int ret = avp_hls_text_write(h->texts[i], h->out, f->video[0]);

        if (ret < 0) {
            return ret;
        }
        if (h->texts[i]->written) {
            add_text(f, h->texts[i]);
        }
    }
    return 0;
}

/* --- results -------------------------------------------------------------- */

/* "4k" of "4k-hevc". */
static size_t
quality_len(const avp_hls_track_t *t)
{
    return strcspn(t->name, "-");
}

static bool
same_quality(const avp_hls_track_t *a, const avp_hls_track_t *b)
{
    size_t n = quality_len(a);

    return n == quality_len(b) && strncmp(a->name, b->name, n) == 0;
}

/* A rung is described by the first of its tracks; its size is that of all. */
static void
fill_rendition(avp_rendition_t *r, const facts_t *f, int first)
{
    const avp_hls_track_t *t = f->video[first];

    memset(r, 0, sizeof(*r));
    av_strlcpy(r->format, "hls", sizeof(r->format));
    snprintf(r->quality, sizeof(r->quality), "%.*s", (int)quality_len(t),
             t->name);
    snprintf(r->path, sizeof(r->path), "hls/%s.m3u8", r->quality);
    for (int i = first; i < f->nvideo; i++) {
        for (size_t k = 0; same_quality(t, f->video[i]) &&
                           k < f->video[i]->nsegments; k++) {
            r->size += f->video[i]->segments[k].bytes;
        }
    }
    r->duration = (double)t->end_us / AV_TIME_BASE;
    r->bitrate = avp_bitrate_average(t->segments, t->nsegments);
    snprintf(r->codec, sizeof(r->codec), "%s%s%s", t->codec,
             f->nsounds > 0 ? "," : "",
             f->nsounds > 0 ? f->sounds[0].codecs : "");
    av_strlcpy(r->mime, "application/vnd.apple.mpegurl", sizeof(r->mime));
    r->width = t->spec.par->width;
    r->height = t->spec.par->height;
}

/* The variants that belong to `t`, or all. */
static int
put_master(avp_hls_t *h, const facts_t *f, const char *path,
           const avp_hls_track_t *t)
{
    avp_variant_t variants[AVP_HLS_TRACKS];
    avp_master_t  m = {
        .variants = variants,
        .sounds = f->sounds,
        .nsounds = (size_t)f->nsounds,
        .texts = f->texts,
        .ntexts = (size_t)f->ntexts,
    };

    for (int i = 0; i < f->nvideo; i++) {
        if (t == NULL || same_quality(t, f->video[i])) {
            variants[m.nvariants++] = f->variants[i];
        }
    }
    avp_variants_sort(variants, m.nvariants);
    return avp_hls_put_master(h, path, &m, AVP_OUT_GZIP);
}

/* A master with each rung alone, and one with all. */
static int
write_masters(avp_hls_t *h, const facts_t *f, avp_rendition_t *results,
              int max)
{
    int n = 0, ret;

    for (int i = 0; i < f->nvideo && n < max; i++) {
        bool again = false;

        for (int k = 0; k < i; k++) {
            again = again || same_quality(f->video[k], f->video[i]);
        }
        if (again) {
            continue;
        }
        fill_rendition(&results[n], f, i);
        ret = put_master(h, f, results[n++].path, f->video[i]);
        if (ret < 0) {
            return ret;
        }
    }
    ret = put_master(h, f, "hls/master.m3u8", NULL);
    return ret < 0 ? ret : n;
}

int
avp_hls_finish(avp_hls_t *h, avp_rendition_t *results, int max)
{
    facts_t *f = av_mallocz(sizeof(*f));
    int      ret = f == NULL ? AVERROR(ENOMEM) : 0;

    if (f == NULL) {
        return ret;
    }
    pthread_mutex_lock(&h->lock);
    ret = add_variants(f, h);
    add_sounds(f, h);
    if (ret == 0 && f->nvideo > 0) {
        ret = add_texts(f, h);
        if (ret == 0) {
            ret = avp_hls_put_dash(h);
        }
        if (ret == 0) {
            ret = write_masters(h, f, results, max);
        }
    }
    pthread_mutex_unlock(&h->lock);
    av_free(f);
    return ret;
}
