#include "workerd/media/nodes.h"

#include "workerd/media/cues.h"

#include <math.h>
#include <string.h>

#define MICROSECONDS ((AVRational){ 1, 1000000 })

/*
 * CEA-608 captions lie in the pictures' bits (SEI, user data) and come out of
 * the decoder beside each frame, so they are read where frames are in order:
 * by the source node, in its thread.  A rendition is begun with the first
 * cue: before it nobody knows whether there are any.
 *
 * Triplets (CEA-708, cc_data): type 0 and 1 are the two fields of 608, 2 and 3
 * packets of 708, which normally carries the same words again.
 */
struct avp_captions_s {
    avp_run_t      *run;
    avp_hls_t      *hls;
    AVCodecContext *codec;
    AVPacket       *pkt;
    avp_cues_t      cues;
    bool            seen_608, seen_708;
};

avp_captions_t *
avp_captions_new(avp_run_t *run, avp_hls_t *hls)
{
    avp_captions_t *c = av_mallocz(sizeof(*c));

    if (c) {
        c->run = run;
        c->hls = hls;
    }
    return c;
}

void
avp_captions_free(avp_captions_t *c)
{
    if (c) {
        avcodec_free_context(&c->codec);
        av_packet_free(&c->pkt);
        avp_cues_free(&c->cues);
        av_free(c);
    }
}

/* Whether there is something to decode among the triplets. */
static bool
has_608(avp_captions_t *c, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 3 <= size; i += 3) {
        bool valid = (data[i] & 4) != 0;
        int  type = data[i] & 3;

        if (valid && type < 2
            && ((data[i + 1] & 0x7f) || (data[i + 2] & 0x7f))) {
            c->seen_608 = true;
        } else if (valid && type >= 2) {
            c->seen_708 = true;
        }
    }
    return c->seen_608;
}

/* Each byte of 608 has odd parity, which is of no use where no noise is, and
 * which not every encoder sets; the decoder shows a block for each wrong
 * one. */
static void
set_parity(uint8_t *data, int size)
{
    for (int i = 0; i + 3 <= size; i += 3) {
        for (int k = 1; k < 3 && (data[i] & 3) < 2; k++) {
            uint8_t low = data[i + k] & 0x7f;

            data[i + k] = low | (av_popcount(low) & 1 ? 0 : 0x80);
        }
    }
}

static int
begin(avp_captions_t *c)
{
    AVDictionary  *opts = NULL;
    const AVCodec *codec = avcodec_find_decoder_by_name("cc_dec");
    int            rc = codec ? AVERROR(ENOMEM) : AVERROR_DECODER_NOT_FOUND;

    c->pkt = av_packet_alloc();
    c->codec = codec ? avcodec_alloc_context3(codec) : NULL;
    if (c->codec == NULL || c->pkt == NULL) {
        return rc;
    }
    c->codec->pkt_timebase = MICROSECONDS;
    av_dict_set(&opts, "data_field", "first", 0);
    rc = avcodec_open2(c->codec, codec, &opts);
    av_dict_free(&opts);
    return rc;
}

static int
begin_rendition(avp_captions_t *c)
{
    const avp_hls_text_spec_t spec = { .name = "captions",
                                       .label = AVP_CAPTIONS_LABEL,
                                       .language = "",
                                       .captions = true };

    atomic_store(&c->run->captions, true);
    return avp_hls_text(c->hls, &c->cues.out, &spec);
}

/* The packet, or with size 0 what the decoder holds. */
static int
decode(avp_captions_t *c)
{
    AVSubtitle sub = { 0 };
    int        got = 0;
    int rc = avcodec_decode_subtitle2(c->codec, &sub, &got, c->pkt);

    if (rc == AVERROR(ENOMEM)) {
        return rc;
    }
    if (rc < 0 || !got) {
        return 0;
    }
    if (c->cues.out == NULL && (rc = begin_rendition(c)) < 0) {
        avsubtitle_free(&sub);
        return rc;
    }
    return avp_cues_take(&c->cues, &sub, 0);
}

int
avp_captions_frame(avp_captions_t *c, const AVFrame *f, double t)
{
    const AVFrameSideData *sd =
        av_frame_get_side_data(f, AV_FRAME_DATA_A53_CC);
    int rc = 0;

    if (sd == NULL || sd->size > AVP_CAPTIONS_BYTES
        || !has_608(c, sd->data, sd->size)) {
        return 0;
    }
    if (c->codec == NULL && (rc = begin(c)) < 0) {
        return rc;
    }

    rc = av_new_packet(c->pkt, (int)(sd->size - sd->size % 3));
    if (rc < 0) {
        return rc;
    }
    memcpy(c->pkt->data, sd->data, (size_t)c->pkt->size);
    set_parity(c->pkt->data, c->pkt->size);
    c->pkt->pts = llrint(t * 1e6);
    rc = decode(c);
    av_packet_unref(c->pkt);
    return rc;
}

int
avp_captions_end(avp_captions_t *c, double end)
{
    int rc = 0;

    if (c->seen_708 && !c->seen_608) {
        c->run->warn(c->run, "the captions are CEA-708 alone, without the "
                             "608 part that is read here, and were left out");
    }
    if (c->codec) {
        rc = decode(c); /* an empty packet */
    }
    if (rc >= 0 && c->cues.out) {
        rc = avp_cues_end(&c->cues, llrint(end * 1e6));
        if (c->cues.full) {
            c->run->warn(c->run, "there are more captions than are taken, "
                                 "and they end early");
        }
    }
    return rc;
}
