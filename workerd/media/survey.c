#include "workerd/media/survey.h"

#include "workerd/media/demux.h"
#include "workerd/media/fits.h"
#include "workerd/media/keys.h"
#include "workerd/media/probe.h"

#include <libavutil/mem.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#define PACKETS_MAX (1 << 22)
#define HEAD_BYTES 4096     /* of a key frame, up to its first slice */
#define OFF_SLOT 0.3        /* slots that a time stamp may be beside its own */
#define OFF_AUDIO 0.002     /* s; containers with milliseconds round */
#define KEYS_APART 1.0      /* s, of those that cuts may fall on */
#define PEAK_VIDEO 2.0      /* s over which peaks are reckoned */
#define LEADING_MAX 32      /* packets, among which leading pictures are */
#define AAC_SAMPLES 1024

/* Numbers that grow. */
typedef struct {
    int64_t *v;
    int      n, room;
} list_t;

typedef struct {
    const avp_probe_t *p;
    avp_survey_t      *s;
    avp_avcc_t         avcc;
    double             rate;
    int64_t            bytes, n;
    list_t             slots;      /* by packet; of a scan only */
    bool               timed;      /* s->first is known */
    bool               leading;    /* pictures are shown before the first */
    list_t             keys, before; /* frame numbers, bytes before each */
    int64_t            audio_n, audio_bytes, bucket;
    bool               failed;
} look_t;

static void
push(look_t *l, list_t *list, int64_t v)
{
    if (list->n == list->room) {
        int   room = list->room ? 2 * list->room : 256;
        void *more = room > 2 * PACKETS_MAX
                         ? NULL
                         : av_realloc_array(list->v, (size_t)room,
                                            sizeof(*list->v));

        if (more == NULL) {
            l->failed = true;
            return;
        }
        list->v = more;
        list->room = room;
    }
    list->v[list->n++] = v;
}

/* --- the video ----------------------------------------------------------- */

static void
note_nals(look_t *l, unsigned found, bool key)
{
    avp_survey_t *s = l->s;

    s->damaged |= (found & AVP_NAL_BAD) != 0;
    s->same_sets &= (found & AVP_NAL_SETS) == 0;
    s->captions |= (found & AVP_NAL_CAPTIONS) != 0;
    if (key && !(found & AVP_NAL_IDR)) {
        s->closed = false;
    }
}

/* `slot` is where a time stamp, counted from the first, lies. */
static bool
is_near(double slot, double n)
{
    return fabs(slot - n) < OFF_SLOT;
}

static void
note_key(look_t *l)
{
    /* with closed GOPs, as many frames are shown before an IDR picture as
     * come before it */
    push(l, &l->keys, l->n);
    push(l, &l->before, l->bytes);
}

/* The time of the first picture, were it the first packet's. */
static void
note_time(look_t *l, const AVPacket *pkt)
{
    if (!l->timed) {
        l->s->first = pkt->pts;
        l->timed = true;
    }
    l->leading |= pkt->pts < l->s->first;
}

static void
video_packet(look_t *l, const AVPacket *pkt)
{
    avp_survey_t *s = l->s;
    bool          key = (pkt->flags & AV_PKT_FLAG_KEY) != 0;
    double        slot;

    if (pkt->flags & AV_PKT_FLAG_DISCARD) {
        s->edited = true;
        return;
    }
    s->damaged |= (pkt->flags & AV_PKT_FLAG_CORRUPT) != 0;
    s->same_sets &= av_packet_get_side_data(pkt, AV_PKT_DATA_NEW_EXTRADATA,
                                            NULL) == NULL;

    if (pkt->pts == AV_NOPTS_VALUE) {
        s->on_grid = false;
        return;
    }
    note_time(l, pkt);
    if (l->n == 0) {
        s->starts = key;
    }
    if (key) {
        note_key(l);
    }

    slot = (double)(pkt->pts - s->first) * av_q2d(l->p->vtb) * l->rate;
    if (!is_near(slot, round(slot)) || fabs(slot) > 2.0 * PACKETS_MAX) {
        s->on_grid = false;
        slot = 0;
    }
    push(l, &l->slots, llrint(slot));
    note_nals(l, avp_nal_look(&l->avcc, pkt->data, (size_t)pkt->size, true),
              key);
    s->delay = (int)FFMAX((int64_t)s->delay, l->n - llrint(slot));
    l->bytes += pkt->size;
    l->n++;
}

static bool
each_once(const list_t *slots)
{
    uint8_t *seen = av_mallocz((size_t)slots->n / 8 + 1);
    bool     ok = seen != NULL;

    for (int i = 0; ok && i < slots->n; i++) {
        int64_t n = slots->v[i];

        ok = n >= 0 && n < slots->n && !(seen[n / 8] & 1 << n % 8);
        if (ok) {
            seen[n / 8] |= (uint8_t)(1 << n % 8);
        }
    }
    av_free(seen);
    return ok;
}

/*
 * Whether the slots are each number from 0 to n - 1, once.  The last picture
 * may lie a little behind: of a video that was cut without encoding it anew,
 * its forerunners are missing.  It then takes the last slot, as it does where
 * it is decoded.
 */
static bool
is_permutation(list_t *slots)
{
    int from = FFMAX(slots->n - AVP_SURVEY_TAIL, 0);

    for (int i = slots->n - 1; i >= from; i--) {
        if (slots->v[i] >= slots->n
            && slots->v[i] < slots->n - 1 + AVP_SURVEY_TAIL) {
            slots->v[i] = slots->n - 1;
            break;
        }
    }
    return each_once(slots);
}

/* All packets were seen: what follows from them together. */
static void
video_end(look_t *l)
{
    avp_survey_t *s = l->s;
    int           nkeys = l->keys.n;

    if (l->n == 0 || nkeys == 0) {
        return;
    }

    push(l, &l->keys, l->n);
    push(l, &l->before, l->bytes);
    s->keys = av_malloc_array((size_t)nkeys, sizeof(*s->keys));
    if (l->failed || s->keys == NULL) {
        return;
    }

    s->frames = l->n;
    s->average = (int64_t)((double)l->bytes * 8 * l->rate / (double)l->n);
    s->peak = avp_peak(l->keys.v, l->before.v, nkeys, l->rate, PEAK_VIDEO);
    s->gop_mean = (double)l->n / l->rate / nkeys;
    for (int i = 0; i < nkeys; i++) {
        int64_t at = l->keys.v[i];

        s->gop_max = fmax(s->gop_max,
                          (double)(l->keys.v[i + 1] - at) / l->rate);
        if (s->nkeys == 0
            || (double)(at - s->keys[s->nkeys - 1]) >= KEYS_APART * l->rate) {
            s->keys[s->nkeys++] = at;
        }
    }
    s->seen = true;
}

/* --- the sound ----------------------------------------------------------- */

static void
audio_packet(look_t *l, int64_t ts, int size)
{
    avp_survey_t *s = l->s;
    double        rate = l->p->apar->sample_rate;
    double        at;

    if (ts == AV_NOPTS_VALUE) {
        s->contiguous = false;
        return;
    }
    if (l->audio_n == 0) {
        s->audio_first = ts;
    }

    at = (double)(ts - s->audio_first) * av_q2d(l->p->atb);
    s->contiguous &= fabs(at - (double)l->audio_n * AAC_SAMPLES / rate)
                     < OFF_AUDIO;
    l->audio_bytes += size;
    l->audio_n++;

    /* peaks over a second */
    l->bucket += size;
    if (l->audio_n % 47 == 0) {
        s->audio_peak = FFMAX(s->audio_peak,
                              (int64_t)((double)l->bucket * 8 * rate
                                        / (47 * AAC_SAMPLES)));
        l->bucket = 0;
    }
}

static void
audio_end(look_t *l)
{
    avp_survey_t *s = l->s;
    double        rate = l->p->apar->sample_rate;
    double        length = (double)l->audio_n * AAC_SAMPLES / rate;

    if (l->audio_n == 0) {
        return;
    }

    s->audio_average = (int64_t)((double)l->audio_bytes * 8 / length);
    s->audio_peak = FFMAX(s->audio_peak, s->audio_average);
    s->begin = (double)s->audio_first * av_q2d(l->p->atb)
               - (double)s->first * av_q2d(l->p->vtb);
    s->end = s->begin + length - l->p->duration;
    s->audio_seen = l->timed && !l->leading;
}

/* --- two ways to look ---------------------------------------------------- */

/* Every packet of both streams; whether the end was reached. */
static bool
scan(look_t *l, avp_demux_t *d)
{
    AVPacket *pkt = av_packet_alloc();
    int       rc = pkt ? 0 : AVERROR(ENOMEM);

    for (unsigned i = 0; i < d->ctx->nb_streams; i++) {
        d->ctx->streams[i]->discard =
            (int)i == l->p->video || (int)i == l->p->audio ? AVDISCARD_DEFAULT
                                                           : AVDISCARD_ALL;
    }

    while (rc >= 0 && !l->failed && l->n < PACKETS_MAX
           && l->audio_n < PACKETS_MAX) {
        rc = av_read_frame(d->ctx, pkt);
        if (rc >= 0 && pkt->stream_index == l->p->video) {
            video_packet(l, pkt);
        } else if (rc >= 0 && pkt->stream_index == l->p->audio) {
            audio_packet(l, pkt->pts, pkt->size);
        }
        av_packet_unref(pkt);
    }
    av_packet_free(&pkt);
    return rc == AVERROR_EOF && !d->io_error && !l->failed;
}

static bool
look_at_key(look_t *l, const avp_demux_t *d, const AVIndexEntry *e)
{
    uint8_t head[HEAD_BYTES];
    ssize_t n = pread(d->fd, head, FFMIN(sizeof(head), (size_t)e->size),
                      e->pos);

    if (n <= 0) {
        return false;
    }
    note_nals(l, avp_nal_look(&l->avcc, head, (size_t)n, n == e->size), true);
    return true;
}

/* The index of the video, if it is one of all its packets. */
static bool
video_by_index(look_t *l, avp_demux_t *d)
{
    AVStream *st = d->ctx->streams[l->p->video];
    int       n = avformat_index_get_entries_count(st);
    int64_t   end = 0, dts = 0;
    AVPacket *pkt = av_packet_alloc();

    if (n < 1 || n > PACKETS_MAX || pkt == NULL) {
        goto done;
    }
    for (int i = 0; i < n && !l->failed; i++) {
        const AVIndexEntry *e = avformat_index_get_entry(st, i);
        bool                key = (e->flags & AVINDEX_KEYFRAME) != 0;

        if (i == 0) {
            l->s->starts = key;
            dts = e->timestamp;
        }
        l->s->edited |= (e->flags & AVINDEX_DISCARD_FRAME) != 0;
        l->s->on_grid &= is_near((double)(e->timestamp - dts)
                                     * av_q2d(l->p->vtb) * l->rate, i);
        if (key) {
            note_key(l);
            if (!look_at_key(l, d, e)) {
                goto done;
            }
        }
        l->bytes += e->size;
        l->n++;
        end = FFMAX(end, e->pos + e->size);
    }

    if (l->failed || end < l->p->size / 10 * 9) {
        l->n = 0; /* an index of the first fragments alone ends early */
        goto done;
    }

    /* the time of the first picture is in no index */
    for (int i = 0; i < LEADING_MAX
                    && avp_demux_read(d, l->p->video, pkt) >= 0; i++) {
        if (pkt->pts != AV_NOPTS_VALUE && !(pkt->flags & AV_PKT_FLAG_DISCARD)) {
            note_time(l, pkt);
        }
        av_packet_unref(pkt);
    }

done:

    av_packet_free(&pkt);
    return l->n > 0 && l->n == n && l->timed;
}

static void
audio_by_index(look_t *l, avp_demux_t *d)
{
    AVStream *st = d->ctx->streams[l->p->audio];
    int       n = avformat_index_get_entries_count(st);

    for (int i = 0; i < n && n <= PACKETS_MAX; i++) {
        const AVIndexEntry *e = avformat_index_get_entry(st, i);

        audio_packet(l, e->timestamp, e->size);
    }
}

static bool
is_mov(const avp_probe_t *p)
{
    return p->format == AVP_FMT_MP4 || p->format == AVP_FMT_MOV
           || p->format == AVP_FMT_3GP;
}

/* Only the sound of a video that is not H.264 may be worth a look, and the
 * other way round. */
static bool
is_worth_it(look_t *l)
{
    const avp_probe_t *p = l->p;
    bool               video, audio;

    video = p->vpar->codec_id == AV_CODEC_ID_H264
            && avp_avcc_parse(&l->avcc, p->vpar->extradata,
                              (size_t)p->vpar->extradata_size) == 0;
    audio = p->audio >= 0 && p->apar->codec_id == AV_CODEC_ID_AAC
            && p->apar->sample_rate > 0;
    if (!video) {
        l->avcc.length_size = 4; /* nothing is asked of it then */
    }
    return ((video && p->rate.exact) || audio)
           && (is_mov(p) || p->format == AVP_FMT_MKV
               || p->format == AVP_FMT_WEBM);
}

void
avp_survey(avp_probe_t *p, int fd, const avp_job_t *job)
{
    avp_survey_t *s = &p->survey;
    look_t        l = { .p = p, .s = s, .rate = av_q2d(p->rate.rate) };
    avp_demux_t   d = { 0 };
    avp_fail_t    fail = { 0 };
    bool          sound = p->audio >= 0 && p->apar->sample_rate > 0, whole;

    *s = (avp_survey_t){ .on_grid = true, .closed = true, .same_sets = true,
                         .contiguous = true };
    if (!job->passthrough || p->truncated || !is_worth_it(&l)
        || avp_demux_open(&d, fd, job, p->no_header, NULL, &fail)
        || FFMAX(p->video, p->audio) >= (int)d.ctx->nb_streams) {
        goto done;
    }

    if (p->size <= AVP_SURVEY_BYTES) {
        whole = scan(&l, &d);
        s->on_grid = s->on_grid && is_permutation(&l.slots);
    } else {
        whole = is_mov(p) && video_by_index(&l, &d);
        s->delay = p->vpar->video_delay;
        if (whole && sound) {
            audio_by_index(&l, &d);
        }
    }
    if (whole && !l.failed) {
        video_end(&l);
        if (sound) {
            audio_end(&l);
        }
    }

done:

    av_free(l.slots.v);
    av_free(l.keys.v);
    av_free(l.before.v);
    avp_demux_close(&d);
}

void
avp_survey_free(avp_survey_t *s)
{
    av_freep(&s->keys);
    s->nkeys = 0;
}
