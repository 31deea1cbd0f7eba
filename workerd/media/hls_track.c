/*
 * The segmenter of one HLS track.
 *
 * libavformat's mp4 muxer makes the fragments in memory, one each time it is
 * flushed; which segment a fragment goes to, and all names and playlists, are
 * ours.  Video is flushed before every key frame, so that each moof begins
 * with an IDR; audio once per segment.
 */

#include "workerd/media/hls_track.h"
#include "workerd/media/fragment.h"
#include "workerd/media/out.h"
#include "workerd/media/package_file.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>

#include <stdio.h>
#include <stdlib.h>

/* How long before a planned time a key frame may come and still be the one
 * that is meant: time stamps of two rungs differ by less than half a frame. */
static int64_t
cut_slack(const avp_hls_track_t *t)
{
    if (t->cuts == NULL || !t->is_video || t->spec.frame_rate.num <= 0) {
        return 0;
    }
    return av_rescale_q(1, av_inv_q(t->spec.frame_rate), AV_TIME_BASE_Q) / 2;
}

static int
is_cut(const avp_hls_track_t *t, int64_t us)
{
    return us >= t->cut_us - cut_slack(t);
}

/* Where the segment after one that starts at `us` is to be cut: the first
 * frame of the grid's rate at or after the grid's second. */
static int64_t
next_cut(const avp_hls_track_t *t, int64_t us)
{
    int64_t    second = avp_grid_next(us);
    AVRational frame;
    int64_t    n;

    if (t->cuts != NULL) {
        size_t low = 0, high = t->ncuts;

        while (low < high) {
            size_t middle = (low + high) / 2;

            if (t->cuts[middle] > us + cut_slack(t)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low < t->ncuts ? t->cuts[low] : INT64_MAX;
    }

    if (t->grid_rate.num <= 0) {
        return second * AV_TIME_BASE;
    }
    frame = av_inv_q(t->grid_rate);
    n = av_rescale_q_rnd(second, (AVRational){ 1, 1 }, frame, AV_ROUND_UP);
    return av_rescale_q(n, frame, AV_TIME_BASE_Q);
}

int
avp_hls_track_open(avp_hls_track_t *t, avp_out_t *out, const char *name,
                   const avp_stream_spec_t *spec, AVRational grid_rate,
                   int target)
{
    AVDictionary *options = NULL;
    const char   *flags;
    int           ret;

    t->out = out;
    t->target = target;
    t->grid_rate = grid_rate;
    t->is_video = spec->par->codec_type == AVMEDIA_TYPE_VIDEO;
    t->cut_us = next_cut(t, 0);
    av_strlcpy(t->name, name, sizeof(t->name));

    ret = avp_stream_spec_copy(&t->spec, spec);
    if (ret < 0) {
        return ret;
    }
    ret = avp_stream_codec(t->codec, &t->spec);
    if (ret < 0) {
        return ret;
    }
    ret = avformat_alloc_output_context2(&t->ctx, NULL, "mp4", NULL);
    if (ret < 0) {
        return ret;
    }
    t->ctx->flags |= AVFMT_FLAG_BITEXACT;
    ret = avp_stream_add(t->ctx, &t->spec, &t->st);
    if (ret < 0) {
        return ret;
    }
    /* delay_moov: the init waits for the first packet, which tells what its
     * edit list must take off. */
    flags = "+frag_custom+delay_moov+default_base_moof+skip_trailer";
    if (av_dict_set(&options, "movflags", flags, 0) < 0 ||
        av_dict_set(&options, "use_editlist", "1", 0) < 0) {
        ret = AVERROR(ENOMEM);
    }
    if (ret >= 0) {
        ret = avio_open_dyn_buf(&t->ctx->pb);
    }
    if (ret >= 0) {
        ret = avformat_write_header(t->ctx, &options);
    }
    av_dict_free(&options);
    return ret < 0 ? ret : 0;
}

void
avp_hls_track_plan(avp_hls_track_t *t, const int64_t *cuts, size_t n,
                   int target)
{
    t->cuts = cuts;
    t->ncuts = n;
    t->target = target;
    t->cut_us = next_cut(t, 0);
}

void
avp_hls_track_follow(avp_hls_track_t *t, const avp_hls_track_t *leader)
{
    t->grid_rate = leader->grid_rate;
    t->cuts = leader->cuts;
    t->ncuts = leader->ncuts;
    t->target = leader->target;
    t->cut_us = next_cut(t, 0);
}

/* Flushes the muxer; *data is what it wrote, to be av_free()d. */
static int
muxer_flush(avp_hls_track_t *t, uint8_t **data, int *size)
{
    int ret = av_write_frame(t->ctx, NULL), again;

    *size = avio_close_dyn_buf(t->ctx->pb, data);
    t->ctx->pb = NULL;
    again = avio_open_dyn_buf(&t->ctx->pb);
    if (ret >= 0 && again < 0) {
        ret = again;
    }
    if (ret >= 0 && *data == NULL) {
        ret = AVERROR(ENOMEM);
    }
    if (ret < 0) {
        av_freep(data);
    }
    return ret < 0 ? ret : 0;
}

/* The muxer's moov under brands that say CMAF.  (Its own "cmaf" flag means
 * negative composition offsets.) */
static int
write_init(avp_hls_track_t *t)
{
    static const char ftyp[] = "\0\0\0\034ftypiso6\0\0\0\0iso6cmfcmp41";
    size_t            moov, moov_size, head = sizeof(ftyp) - 1;
    char              path[64];
    uint8_t          *data, *init = NULL;
    int               size, ret;

    ret = muxer_flush(t, &data, &size);
    if (ret < 0) {
        return ret;
    }
    moov = avp_fragment_moov(data, (size_t)size, &moov_size);
    ret = AVERROR_BUG;
    if (moov_size == 0) {
        goto done;
    }
    init = av_malloc(head + moov_size);
    if (init == NULL) {
        ret = AVERROR(ENOMEM);
        goto done;
    }
    memcpy(init, ftyp, head);
    memcpy(init + head, data + moov, moov_size);
    snprintf(path, sizeof(path), "hls/%s/init.mp4", t->name);
    ret = avp_out_put(t->out, path, init, head + moov_size, AVP_OUT_NOSYNC);
    t->have_init = ret == 0;

done:
    av_free(init);
    av_free(data);
    return ret;
}

static void
segment_path(const avp_hls_track_t *t, char path[64], size_t index)
{
    char name[16];

    avp_segment_name(name, index, "m4s");
    snprintf(path, 64, "hls/%s/%s", t->name, name);
}

static int
segment_open(avp_hls_track_t *t)
{
    static const uint8_t styp[] = "\0\0\0\030stypcmfs\0\0\0\0cmfsiso6";
    char                 path[64], tmp[72];
    int                  ret;

    memset(&t->current, 0, sizeof(t->current));
    t->current.start_us = t->nsegments == 0 ? 0 : t->fragment_us;
    segment_path(t, path, t->nsegments);
    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    ret = avp_out_create(t->out, &t->segment, tmp);
    if (ret == 0) {
        avio_write(t->segment, styp, sizeof(styp) - 1);
        t->current.bytes = sizeof(styp) - 1;
    }
    return ret;
}

/* Keeps where the key frame of a fragment is, in the segment at hand. */
static void
note_key(avp_hls_track_t *t, int64_t length)
{
    avp_segment_t *s = &t->current;

    if (!t->is_video || s->nkeys == AVP_SEGMENT_KEYS ||
        (s->nkeys > 0 &&
         t->fragment_us - s->keys[s->nkeys - 1].at_us < AV_TIME_BASE)) {
        return;
    }
    s->keys[s->nkeys++] = (avp_keyframe_t){ .at_us = t->fragment_us,
                                            .offset = s->bytes,
                                            .length = length };
}

/* Ends the fragment at hand and puts it into the open segment. */
static int
fragment_flush(avp_hls_track_t *t)
{
    avp_fragment_t f;
    uint8_t       *data;
    int            size, ret;

    if (!t->have_init) {
        ret = write_init(t);
        if (ret < 0) {
            return ret;
        }
    }
    ret = muxer_flush(t, &data, &size);
    if (ret < 0) {
        return ret;
    }
    if (avp_fragment_parse(&f, data, (size_t)size) != 0) {
        av_free(data);
        return AVERROR_BUG;
    }
    if (t->segment == NULL) {
        ret = segment_open(t);
        if (ret < 0) {
            av_free(data);
            return ret;
        }
    }
    note_key(t, (int64_t)f.first);
    avio_write(t->segment, data + f.moof, (int)f.size);
    t->current.bytes += (int64_t)f.size;
    t->pending = 0;
    av_free(data);
    return t->segment->error;
}

static int
write_playlist(avp_hls_track_t *t, avp_list_t kind, const char *name,
               unsigned flags)
{
    char   path[64];
    size_t len;
    char  *text;
    int    ret;

    text = avp_playlist_media(kind, t->target, t->segments, t->nsegments, &len);
    if (text == NULL) {
        return AVERROR(ENOMEM);
    }
    snprintf(path, sizeof(path), "hls/%s/%s", t->name, name);
    ret = avp_out_put(t->out, path, text, len, flags);
    free(text);
    return ret;
}

static int
write_iframes(avp_hls_track_t *t)
{
    char   path[64];
    size_t len;
    char  *text = avp_playlist_iframes(t->segments, t->nsegments, &len);
    int    ret;

    if (text == NULL) {
        return AVERROR(ENOMEM);
    }
    snprintf(path, sizeof(path), "hls/%s/iframes.m3u8", t->name);
    ret = avp_out_put(t->out, path, text, len, AVP_OUT_GZIP);
    free(text);
    return ret;
}

/* Gives the open segment its name, then puts it into the live playlist. */
static int
segment_publish(avp_hls_track_t *t, int64_t end_us)
{
    char path[64];
    int  ret;

    segment_path(t, path, t->nsegments);
    ret = avp_out_publish(t->out, &t->segment, path);
    if (ret < 0) {
        return ret;
    }
    if (t->nsegments == t->allocated) {
        size_t n = t->allocated ? 2 * t->allocated : 16;
        void  *p = av_realloc_array(t->segments, n, sizeof(*t->segments));

        if (p == NULL) {
            return AVERROR(ENOMEM);
        }
        t->segments = p;
        t->allocated = n;
    }
    t->current.end_us = end_us;
    t->segments[t->nsegments++] = t->current;
    return write_playlist(t, AVP_LIST_LIVE, "live.m3u8", AVP_OUT_NOSYNC);
}

int
avp_hls_track_write(avp_hls_track_t *t, const AVPacket *pkt, int *published)
{
    AVPacket *own;
    int64_t   us = av_rescale_q(pkt->pts, t->spec.time_base, AV_TIME_BASE_Q);
    int64_t   duration = avp_packet_duration(&t->spec, pkt);
    int64_t   end_us;
    int       key = (pkt->flags & AV_PKT_FLAG_KEY) != 0, ret;

    if (t->pending > 0 && key && (t->is_video || is_cut(t, us))) {
        ret = fragment_flush(t);
        if (ret == 0 && is_cut(t, us)) {
            ret = segment_publish(t, us);
            t->cut_us = next_cut(t, us);
            *published = 1;
        }
        if (ret < 0) {
            return ret;
        }
    }
    if (t->pending++ == 0) {
        t->fragment_us = us;
    }
    end_us = av_rescale_q(pkt->pts + duration, t->spec.time_base,
                          AV_TIME_BASE_Q);
    if (end_us > t->end_us) {
        t->end_us = end_us;
    }
    own = av_packet_clone(pkt);
    if (own == NULL) {
        return AVERROR(ENOMEM);
    }
    own->duration = duration;
    own->stream_index = 0;
    av_packet_rescale_ts(own, t->spec.time_base, t->st->time_base);
    ret = av_write_frame(t->ctx, own);
    av_packet_free(&own);
    return ret < 0 ? ret : 0;
}

/* A target that was set up front is a promise; should key frames not have
 * come where they had to, the final playlists at least tell the truth. */
static void
target_check(avp_hls_track_t *t)
{
    for (size_t i = 0; i < t->nsegments; i++) {
        int64_t us = t->segments[i].end_us - t->segments[i].start_us;
        int     whole = (int)((us + AV_TIME_BASE / 2) / AV_TIME_BASE);

        if (whole > t->target) {
            av_log(NULL, AV_LOG_WARNING,
                   "hls: segment %zu of %s is %lld us long, over the target of "
                   "%d s\n",
                   i, t->name, (long long)us, t->target);
            t->target = whole;
        }
    }
}

int
avp_hls_track_end(avp_hls_track_t *t, int *published)
{
    char path[64];
    int  ret = 0;

    if (t->ended) {
        return 0;
    }
    if (t->pending > 0) {
        ret = fragment_flush(t);
    }
    if (ret == 0 && t->segment != NULL) {
        ret = segment_publish(t, t->end_us);
        *published = 1;
    }
    t->ended = ret == 0;
    if (ret < 0 || t->nsegments == 0) {
        return ret;
    }
    /* The final playlists promise that all is there, so it has to be. */
    for (size_t i = 0; i < t->nsegments && ret == 0; i++) {
        segment_path(t, path, i);
        ret = avp_out_fsync(t->out, path);
    }
    if (ret == 0) {
        snprintf(path, sizeof(path), "hls/%s/init.mp4", t->name);
        ret = avp_out_fsync(t->out, path);
    }
    target_check(t);
    if (ret == 0 && t->is_video) {
        ret = write_iframes(t);
    }
    if (ret == 0) {
        ret = write_playlist(t, AVP_LIST_VOD, "index.m3u8", AVP_OUT_GZIP);
    }
    if (ret == 0) {
        ret = write_playlist(t, AVP_LIST_ENDED, "live.m3u8", AVP_OUT_GZIP);
    }
    return ret;
}

void
avp_hls_track_close(avp_hls_track_t *t)
{
    if (t->segment != NULL) {
        avp_out_abandon(t->out, &t->segment);
    }
    if (t->ctx != NULL) {
        uint8_t *data = NULL;

        if (t->ctx->pb != NULL) {
            avio_close_dyn_buf(t->ctx->pb, &data);
            av_free(data);
            t->ctx->pb = NULL;
        }
        avformat_free_context(t->ctx);
        t->ctx = NULL;
    }
    avp_stream_spec_free(&t->spec);
    av_freep(&t->segments);
}
