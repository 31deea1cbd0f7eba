#include "workerd/media/mix.h"

#include "workerd/media/plan.h"

#include <libavutil/opt.h>

#include <string.h>

#define CONVERT_MAX (1 << 20) /* samples that one frame may become */

void
avp_mixer_init(avp_mixer_t *m, int channels)
{
    *m = (avp_mixer_t){ .channels = channels };
}

void
avp_mixer_free(avp_mixer_t *m)
{
    swr_free(&m->swr);
    av_channel_layout_uninit(&m->layout);
    for (int c = 0; c < AVP_CHANNELS_MAX; c++) {
        av_freep(&m->mixed[c]);
        av_freep(&m->limited[c]);
    }
    m->room = 0;
}

bool
avp_mixer_fits(const avp_mixer_t *m, const AVFrame *f)
{
    return m->swr && m->rate == f->sample_rate && m->format == f->format
           && av_channel_layout_compare(&m->layout, &f->ch_layout) == 0;
}

/* The layout that the mix is made from; *named is false when nothing is known
 * but the number of channels. */
static int
resolve(AVChannelLayout *in, const AVChannelLayout *from, bool *named)
{
    *named = true;
    if (from->order != AV_CHANNEL_ORDER_UNSPEC) {
        return av_channel_layout_copy(in, from);
    }

    av_channel_layout_default(in, from->nb_channels);
    *named = in->order != AV_CHANNEL_ORDER_UNSPEC;
    return 0;
}

/* Rows of the matrix for what libswresample would not do: mono at -3 dB, and
 * unnamed channels not at all. */
static int
set_matrix(avp_mixer_t *m, int in)
{
    double *matrix = av_calloc((size_t)(m->channels * in), sizeof(*matrix));
    int     rc;

    if (matrix == NULL) {
        return AVERROR(ENOMEM);
    }
    matrix[0] = 1;
    matrix[in + (in > 1 ? 1 : 0)] = 1;
    rc = swr_set_matrix(m->swr, matrix, in);
    av_free(matrix);
    return rc;
}

int
avp_mixer_setup(avp_mixer_t *m, const AVFrame *f)
{
    AVChannelLayout in = { 0 };
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    AVChannelLayout surround = AV_CHANNEL_LAYOUT_5POINT1_BACK;
    bool            named = false;
    int             rc;

    swr_free(&m->swr);
    av_channel_layout_uninit(&m->layout);
    m->rate = f->sample_rate;
    m->format = f->format;

    rc = av_channel_layout_copy(&m->layout, &f->ch_layout);
    if (rc >= 0) {
        rc = resolve(&in, &f->ch_layout, &named);
    }
    if (rc >= 0) {
        rc = swr_alloc_set_opts2(&m->swr, m->channels == 2 ? &stereo
                                                           : &surround,
                                 AV_SAMPLE_FMT_FLTP, AVP_AUDIO_RATE, &in,
                                 f->format, f->sample_rate, 0, NULL);
    }
    if (rc >= 0 && (in.nb_channels == 1 || !named)) {
        rc = set_matrix(m, in.nb_channels);
    }
    if (rc >= 0) {
        rc = swr_init(m->swr);
    }

    m->limits = in.nb_channels > m->channels;
    avp_limiter_init(&m->limiter, m->channels);
    av_channel_layout_uninit(&in);
    if (rc < 0) {
        swr_free(&m->swr);
    }
    return rc < 0 ? rc : 0;
}

static int
make_room(avp_mixer_t *m, int n)
{
    size_t bytes = sizeof(float) * ((size_t)n + AVP_LIMITER_HOLD);

    if (n <= m->room) {
        return 0;
    }
    if (n > CONVERT_MAX) {
        return AVERROR_INVALIDDATA;
    }

    m->room = 0;
    for (int c = 0; c < m->channels; c++) {
        av_freep(&m->mixed[c]);
        av_freep(&m->limited[c]);
        m->mixed[c] = av_malloc(bytes);
        m->limited[c] = av_malloc(bytes);
        if (m->mixed[c] == NULL || m->limited[c] == NULL) {
            return AVERROR(ENOMEM);
        }
    }
    m->room = n;
    return 0;
}

int
avp_mixer_run(avp_mixer_t *m, const AVFrame *f, float *const **samples)
{
    int in = f ? f->nb_samples : 0, n, rc;

    *samples = m->mixed;
    if (m->swr == NULL) {
        return 0;
    }

    rc = make_room(m, swr_get_out_samples(m->swr, in) + 32);
    if (rc < 0) {
        return rc;
    }

    n = swr_convert(m->swr, (uint8_t **)(void *)m->mixed, m->room,
                    f ? (const uint8_t **)f->extended_data : NULL, in);
    if (n < 0) {
        n = 0; /* a frame that cannot be used */
    }
    if (m->limits) {
        n = avp_limiter_run(&m->limiter, m->limited,
                            (const float *const *)m->mixed, n, f == NULL);
        *samples = m->limited;
    }
    return n;
}

int64_t
avp_mixer_delay(avp_mixer_t *m)
{
    return m->swr ? swr_get_delay(m->swr, AVP_AUDIO_RATE) + m->limiter.have
                  : 0;
}
