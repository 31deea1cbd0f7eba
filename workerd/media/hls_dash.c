/*
 * The same presentation for DASH (ISO/IEC 23009-1): dash/manifest.mpd, a
 * static manifest over the segments that HLS has, no byte of media more.
 *
 * Times: a timeline counts in presentation time, which begins at 0 once the
 * edit list of the init is applied, as it does for HLS; so there is no
 * presentationTimeOffset, although tfdt counts the delay of B-frames and the
 * priming of AAC in.
 */

#include "workerd/media/hls.h"
#include "workerd/media/out.h"

#include <stdio.h>
#include <stdlib.h>

/* Of a text: a schema wants one, and nobody chooses by it. */
#define TEXT_BANDWIDTH 1000

static void
put_escaped(FILE *f, const char *s)
{
    for (; *s != '\0'; s++) {
        switch (*s) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        default:
            fputc(*s, f);
        }
    }
}

static void
put_label(FILE *f, const char *label)
{
    fputs("      <Label>", f);
    put_escaped(f, label);
    fputs("</Label>\n", f);
}

static void
put_role(FILE *f, const char *value)
{
    fprintf(f,
            "      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" "
            "value=\"%s\"/>\n",
            value);
}

/* --- segments ------------------------------------------------------------- */

static int64_t
ticks(const avp_hls_track_t *t, int64_t us)
{
    return av_rescale_q(us, AV_TIME_BASE_Q, t->st->time_base);
}

static void
put_segments(FILE *f, const avp_hls_track_t *t)
{
    fprintf(f,
            "        <SegmentTemplate timescale=\"%d\" startNumber=\"0\" "
            "initialization=\"../hls/$RepresentationID$/init.mp4\" "
            "media=\"../hls/$RepresentationID$/s$Number%%05d$.m4s\">\n"
            "          <SegmentTimeline>\n",
            t->st->time_base.den);
    for (size_t i = 0, next; i < t->nsegments; i = next) {
        int64_t at = ticks(t, t->segments[i].start_us);
        int64_t d = ticks(t, t->segments[i].end_us) - at;

        for (next = i + 1; next < t->nsegments; next++) {
            const avp_segment_t *s = &t->segments[next];

            if (ticks(t, s->end_us) - ticks(t, s->start_us) != d) {
                break;
            }
        }
        fputs("            <S", f);
        if (i == 0) {
            fprintf(f, " t=\"%lld\"", (long long)at);
        }
        fprintf(f, " d=\"%lld\"", (long long)d);
        if (next > i + 1) {
            fprintf(f, " r=\"%zu\"", next - i - 1);
        }
        fputs("/>\n", f);
    }
    fputs("          </SegmentTimeline>\n"
          "        </SegmentTemplate>\n"
          "      </Representation>\n",
          f);
}

static long long
bandwidth(const avp_hls_track_t *t)
{
    return (long long)avp_bitrate_peak(t->segments, t->nsegments, t->target);
}

static bool
is_whole(const avp_hls_track_t *t)
{
    return t->ended && t->nsegments > 0;
}

/* --- adaptation sets ------------------------------------------------------ */

/* Players change between the representations of a set: one codec each. */
static bool
is_of(const avp_hls_track_t *t, const char *codec)
{
    return t->is_video && is_whole(t) && strncmp(t->codec, codec, 4) == 0;
}

static void
put_video(FILE *f, const avp_hls_t *h, const char *codec)
{
    bool any = false;

    for (int i = 0; i < h->ntracks; i++) {
        const avp_hls_track_t *t = &h->tracks[i]->track;
        AVRational             rate = t->spec.frame_rate;

        if (!is_of(t, codec)) {
            continue;
        }
        if (!any) {
            fputs("    <AdaptationSet contentType=\"video\" "
                  "mimeType=\"video/mp4\" segmentAlignment=\"true\" "
                  "startWithSAP=\"1\">\n",
                  f);
            put_role(f, "main");
            any = true;
        }
        fprintf(f,
                "      <Representation id=\"%s\" bandwidth=\"%lld\" "
                "codecs=\"%s\" width=\"%d\" height=\"%d\" sar=\"1:1\"",
                t->name, bandwidth(t), t->codec, t->spec.par->width,
                t->spec.par->height);
        if (rate.num > 0) {
            fprintf(f, " frameRate=\"%d", rate.num);
            if (rate.den != 1) {
                fprintf(f, "/%d", rate.den);
            }
            fputc('"', f);
        }
        fputs(">\n", f);
        put_segments(f, t);
    }
    if (any) {
        fputs("    </AdaptationSet>\n", f);
    }
}

/* ChannelConfiguration of ISO/IEC 23091-3; 0 where none is usual. */
static int
channel_configuration(int channels)
{
    static const int codes[] = { 0, 1, 2, 3, 4, 5, 6, 11, 12 };

    return channels >= 0 && channels < (int)(sizeof(codes) / sizeof(codes[0]))
               ? codes[channels]
               : 0;
}

static void
put_sound(FILE *f, const avp_hls_entry_t *e)
{
    const avp_hls_track_t *t = &e->track;
    int                    code =
        channel_configuration(t->spec.par->ch_layout.nb_channels);

    fprintf(f,
            "    <AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\" "
            "lang=\"%s\" segmentAlignment=\"true\" startWithSAP=\"1\">\n",
            avp_language_tag(t->spec.language));
    put_label(f, e->label);
    if (e->described) {
        fputs("      <Accessibility "
              "schemeIdUri=\"urn:tva:metadata:cs:AudioPurposeCS:2007\" "
              "value=\"1\"/>\n",
              f);
    }
    put_role(f, e->described                   ? "description"
                : e->is_default && !e->surround ? "main"
                                               : "alternate");
    fprintf(f,
            "      <Representation id=\"%s\" bandwidth=\"%lld\" "
            "codecs=\"%s\" audioSamplingRate=\"%d\">\n",
            t->name, bandwidth(t), t->codec, t->spec.par->sample_rate);
    if (code > 0) {
        fprintf(f,
                "        <AudioChannelConfiguration schemeIdUri="
                "\"urn:mpeg:mpegB:cicp:ChannelConfiguration\" "
                "value=\"%d\"/>\n",
                code);
    }
    put_segments(f, t);
    fputs("    </AdaptationSet>\n", f);
}

static void
put_text(FILE *f, const avp_hls_text_t *t)
{
    fprintf(f,
            "    <AdaptationSet contentType=\"text\" mimeType=\"text/vtt\" "
            "lang=\"%s\">\n",
            avp_language_tag(t->language));
    put_label(f, t->label);
    put_role(f, t->forced     ? "forced-subtitle"
                : t->captions ? "caption"
                              : "subtitle");
    if (t->is_default) {
        put_role(f, "main");
    }
    fprintf(f,
            "      <Representation id=\"%s\" bandwidth=\"%d\">\n"
            "        <BaseURL>../hls/%s/all.vtt</BaseURL>\n"
            "      </Representation>\n"
            "    </AdaptationSet>\n",
            t->name, TEXT_BANDWIDTH, t->name);
}

static void
put_manifest(FILE *f, const avp_hls_t *h)
{
    int64_t end = 0;
    int     target = 1;

    for (int i = 0; i < h->ntracks; i++) {
        const avp_hls_track_t *t = &h->tracks[i]->track;

        if (t->is_video && is_whole(t)) {
            end = t->end_us > end ? t->end_us : end;
            target = t->target > target ? t->target : target;
        }
    }
    fprintf(f,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
            "profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" "
            "type=\"static\" mediaPresentationDuration=\"PT%lld.%06lldS\" "
            "maxSegmentDuration=\"PT%dS\" minBufferTime=\"PT%dS\">\n"
            "  <Period id=\"0\" start=\"PT0S\">\n",
            (long long)(end / AV_TIME_BASE), (long long)(end % AV_TIME_BASE),
            target, target);
    put_video(f, h, "avc1");
    put_video(f, h, "hvc1");
    for (int i = 0; i < h->ntracks; i++) {
        if (!h->tracks[i]->track.is_video && is_whole(&h->tracks[i]->track)) {
            put_sound(f, h->tracks[i]);
        }
    }
    for (int i = 0; i < h->ntexts; i++) {
        if (h->texts[i]->written) {
            put_text(f, h->texts[i]);
        }
    }
    fputs("  </Period>\n</MPD>\n", f);
}

int
avp_hls_put_dash(avp_hls_t *h)
{
    char  *text = NULL;
    size_t len;
    FILE  *f = open_memstream(&text, &len);
    int    ret = AVERROR(ENOMEM);

    if (f == NULL) {
        return ret;
    }
    put_manifest(f, h);
    if (fclose(f) == 0) {
        ret = avp_out_put(h->out, "dash/manifest.mpd", text, len,
                          AVP_OUT_GZIP);
    }
    free(text);
    return ret;
}
