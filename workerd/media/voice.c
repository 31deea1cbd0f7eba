#include "workerd/media/nodes.h"

#include <libavutil/audio_fifo.h>

#include <string.h>

#define FIFO 9600 /* samples to begin with: 0.2 s */

static const struct {
    const char         *encoder;
    enum AVSampleFormat format;
    int                 channels;
} kinds[] = {
    [AVP_VOICE_AAC] = { "aac", AV_SAMPLE_FMT_FLTP, 2 },
    [AVP_VOICE_OPUS] = { "libopus", AV_SAMPLE_FMT_FLT, 2 },
    [AVP_VOICE_SURROUND] = { "aac", AV_SAMPLE_FMT_FLTP, 6 },
};

static int
open_encoder(avp_voice_t *v, avp_voice_kind_t kind, int64_t bitrate)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(kinds[kind].encoder);

    if (codec == NULL) {
        return AVERROR_ENCODER_NOT_FOUND;
    }
    v->codec = avcodec_alloc_context3(codec);
    if (v->codec == NULL) {
        return AVERROR(ENOMEM);
    }

    v->codec->sample_fmt = kinds[kind].format;
    v->codec->sample_rate = AVP_AUDIO_RATE;
    v->codec->bit_rate = bitrate;
    v->codec->time_base = (AVRational){ 1, AVP_AUDIO_RATE };
    v->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    v->codec->thread_count = 1;
    av_channel_layout_default(&v->codec->ch_layout, kinds[kind].channels);
    return avcodec_open2(v->codec, codec, NULL);
}

int
avp_voice_open(avp_voice_t *v, avp_voice_kind_t kind,
               const avp_profile_t *how, const avp_track_t *track,
               avp_fail_t *fail)
{
    int rc = open_encoder(v, kind,
                          kind == AVP_VOICE_SURROUND ? AVP_SURROUND_BITRATE
                          : kind == AVP_VOICE_OPUS   ? how->audio.opus
                                                     : how->audio.aac);

    if (rc < 0) {
        goto done;
    }

    v->pkt = av_packet_alloc();
    v->par = avcodec_parameters_alloc();
    v->fifo = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, kinds[kind].channels,
                                  FIFO);
    if (v->pkt == NULL || v->par == NULL || v->fifo == NULL) {
        rc = AVERROR(ENOMEM);
        goto done;
    }

    rc = avcodec_parameters_from_context(v->par, v->codec);
    if (rc < 0) {
        goto done;
    }
    v->par->codec_tag = 0;

    v->spec = (avp_stream_spec_t){ .par = v->par,
                                   .time_base = v->codec->time_base,
                                   .cap = v->codec->bit_rate,
                                   .bufsize = v->codec->bit_rate,
                                   .frame_rate = { 0, 1 } };
    memcpy(v->spec.language, track->language, sizeof(v->spec.language));

done:

    return rc < 0 ? avp_fail_av(fail, rc, AVP_ERR_INVALID_MEDIA,
                                "opening a sound encoder")
                  : 0;
}

static int
drain(avp_voice_t *v)
{
    int rc;

    while ((rc = avcodec_receive_packet(v->codec, v->pkt)) >= 0) {
        for (int i = 0; i < v->nsinks && rc >= 0; i++) {
            rc = avp_sink_write(&v->sinks[i], AVP_PKT_AUDIO, v->pkt);
        }
        av_packet_unref(v->pkt);
        if (rc < 0) {
            return rc;
        }
    }
    return rc == AVERROR(EAGAIN) || rc == AVERROR_EOF ? 0 : rc;
}

/* Planar to interleaved: libopus takes nothing else. */
static void
interleave(AVFrame *dst, const AVFrame *src)
{
    float       *out = (float *)(void *)dst->data[0];
    const float *l = (const float *)(const void *)src->data[0];
    const float *r = (const float *)(const void *)src->data[1];

    for (int i = 0; i < src->nb_samples; i++) {
        out[2 * i] = l[i];
        out[2 * i + 1] = r[i];
    }
}

static AVFrame *
new_frame(const avp_voice_t *v, enum AVSampleFormat format, int n)
{
    AVFrame *f = av_frame_alloc();

    if (f == NULL) {
        return NULL;
    }
    f->format = format;
    f->nb_samples = n;
    f->sample_rate = AVP_AUDIO_RATE;
    f->pts = v->next;
    if (av_channel_layout_copy(&f->ch_layout, &v->codec->ch_layout) < 0
        || av_frame_get_buffer(f, 0) < 0) {
        av_frame_free(&f);
    }
    return f;
}

/* Whole frames out of the fifo; at the end the rest too. */
static int
encode(avp_voice_t *v, bool end)
{
    int size = v->codec->frame_size;

    for (;;) {
        int      have = av_audio_fifo_size(v->fifo), n = FFMIN(have, size);
        AVFrame *f, *packed = NULL;
        int      rc;

        if (have == 0 || (have < size && !end)) {
            return 0;
        }

        f = new_frame(v, AV_SAMPLE_FMT_FLTP, n);
        if (f == NULL) {
            return AVERROR(ENOMEM);
        }
        av_audio_fifo_read(v->fifo, (void **)f->data, n);

        if (v->codec->sample_fmt == AV_SAMPLE_FMT_FLT) {
            packed = new_frame(v, AV_SAMPLE_FMT_FLT, n);
            if (packed == NULL) {
                av_frame_free(&f);
                return AVERROR(ENOMEM);
            }
            interleave(packed, f);
        }
        v->next += n;

        rc = avcodec_send_frame(v->codec, packed ? packed : f);
        av_frame_free(&f);
        av_frame_free(&packed);
        if (rc >= 0) {
            rc = drain(v);
        }
        if (rc < 0) {
            return rc;
        }
    }
}

int
avp_voice_write(avp_voice_t *v, float *const *samples, int n)
{
    int rc = av_audio_fifo_write(v->fifo, (void **)(void *)samples, n);

    return rc < 0 ? rc : encode(v, false);
}

int
avp_voice_end(avp_voice_t *v)
{
    int rc = encode(v, true);

    if (rc >= 0) {
        rc = avcodec_send_frame(v->codec, NULL);
    }
    if (rc >= 0) {
        rc = drain(v);
    }
    for (int i = 0; rc >= 0 && i < v->nsinks; i++) {
        rc = avp_sink_end(&v->sinks[i], AVP_PKT_AUDIO);
    }
    return rc;
}

void
avp_voice_free(avp_voice_t *v)
{
    avcodec_free_context(&v->codec);
    avcodec_parameters_free(&v->par);
    av_packet_free(&v->pkt);
    if (v->fifo) {
        av_audio_fifo_free(v->fifo);
        v->fifo = NULL;
    }
}
