#include "workerd/media/fits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* level_idc of 5.2: 4k at 60 frames */
#define LEVEL_MAX 52

static void
no(avp_fits_t *f, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
no(avp_fits_t *f, const char *code, const char *fmt, ...)
{
    static const char head[] = "not copied: ";
    va_list           ap;

    *f = (avp_fits_t){ .code = code };
    memcpy(f->text, head, sizeof(head));
    va_start(ap, fmt);
    vsnprintf(f->text + sizeof(head) - 1, sizeof(f->text) - sizeof(head) + 1,
              fmt, ap);
    va_end(ap);
}

static double
kbit(int64_t bits)
{
    return (double)bits / 1000;
}

/* What the picture is; true when it stays. */
static bool
video_kind(avp_fits_t *f, const avp_fits_video_t *v)
{
    if (strcmp(v->codec, "h264") != 0) {
        no(f, "codec", "the video is %s, not h264", v->codec);
    } else if (!v->container) {
        no(f, "container", "this container does not store h264 as MP4 does");
    } else if (!v->sets) {
        no(f, "parameter_sets", "its parameter sets are not one plain record");
    } else if (v->profile != 66 && v->profile != 77 && v->profile != 100) {
        no(f, "profile", "profile %d is not Baseline, Main or High",
           v->profile);
    } else if (v->chroma != 1 || v->depth != 8) {
        no(f, "pixels", "the picture is not 4:2:0 of 8 bits");
    } else if (v->level > LEVEL_MAX) {
        no(f, "level", "level %.1f is above 5.2", v->level / 10.0);
    } else if (!v->progressive) {
        no(f, "interlaced", "it is coded interlaced");
    } else if (v->turned) {
        no(f, "rotated", "the picture has to be turned");
    } else if (!v->square) {
        no(f, "aspect", "its pixels are not square");
    } else if (!v->colours) {
        no(f, "colours", "its colours have to be converted");
    } else if (v->width % 2 || v->height % 2) {
        no(f, "size", "%dx%d is not even", v->width, v->height);
    } else if (!v->rung) {
        no(f, "rung", "no rung has its size of %dx%d", v->width, v->height);
    } else {
        return true;
    }
    return false;
}

/* How its packets follow each other. */
static bool
video_flow(avp_fits_t *f, const avp_fits_video_t *v)
{
    if (!v->exact) {
        no(f, "rate", "its frame rate is variable, or not one of the rung");
    } else if (v->truncated) {
        no(f, "truncated", "the end of the file is missing");
    } else if (!v->seen) {
        no(f, "unseen", "no index tells where its key frames are");
    } else if (v->edited) {
        no(f, "edit_list", "an edit list cuts into it");
    } else if (v->damaged) {
        no(f, "damaged", "packets of it are damaged");
    } else if (!v->starts) {
        no(f, "start", "it does not begin with a key frame");
    } else if (!v->on_grid) {
        no(f, "timing", "its time stamps leave the grid of its frame rate");
    } else if (!v->closed) {
        no(f, "open_gop", "key frames are not IDR pictures (open GOP)");
    } else if (!v->same_sets) {
        no(f, "parameter_sets", "its parameter sets change on the way");
    } else if (v->captions) {
        no(f, "captions", "it carries captions (CEA-608/708)");
    } else if (v->gop_max > AVP_GOP_MP4_MAX
               || (!v->mp4 && v->gop_max > AVP_GOP_HLS_MAX)) {
        no(f, "key_frames", "key frames up to %.1f s apart", v->gop_max);
    } else if (v->gop_mean < AVP_GOP_MIN) {
        no(f, "key_frames", "a key frame every %.2f s", v->gop_mean);
    } else if (v->average > v->cap || v->peak > 2 * v->cap) {
        /* an encoder of ours with its buffer of two seconds' worth may have
         * peaks of twice its cap over two seconds, and no more */
        no(f, "bitrate", "%.0f kbit/s, peaks of %.0f; the rung has %.0f",
           kbit(v->average), kbit(v->peak), kbit(v->cap));
    } else {
        return true;
    }
    return false;
}

void
avp_fits_video(avp_fits_t *f, const avp_fits_video_t *v)
{
    *f = (avp_fits_t){ .code = "fits" };

    if (!v->wanted) {
        no(f, "off", "passthrough is off");
        return;
    }
    if (!v->mp4 && !v->hls) {
        no(f, "format", "only WebM is made");
        return;
    }
    if (!video_kind(f, v) || !video_flow(f, v)) {
        return;
    }

    f->copied = true;
    f->hls = v->hls && v->gop_max <= AVP_GOP_HLS_MAX;
    if (v->hls && !f->hls) {
        snprintf(f->text, sizeof(f->text),
                 "copied into MP4 only: key frames up to %.1f s apart",
                 v->gop_max);
    } else {
        snprintf(f->text, sizeof(f->text), "copied");
    }
}

void
avp_fits_audio(avp_fits_t *f, const avp_fits_audio_t *a)
{
    *f = (avp_fits_t){ .code = "fits" };

    if (!a->wanted) {
        no(f, "off", "passthrough is off");
    } else if (!a->there) {
        no(f, "none", "there is no sound");
    } else if (!a->made) {
        no(f, "format", "only WebM is made");
    } else if (strcmp(a->codec, "aac") != 0) {
        no(f, "codec", "the sound is %s, not aac", a->codec);
    } else if (!a->lc) {
        no(f, "profile", "the sound is not plain AAC-LC");
    } else if (a->channels < 1 || a->channels > 2) {
        no(f, "channels", "%d channels", a->channels);
    } else if (a->channels == 1 && a->hls) {
        /* Apple's authoring rule 2.3 */
        no(f, "channels", "one channel, where HLS has stereo");
    } else if (a->rate != 44100 && a->rate != 48000) {
        no(f, "sample_rate", "%d samples a second, not 44100 or 48000",
           a->rate);
    } else if (!a->seen) {
        no(f, "unseen", "no index tells its times");
    } else if (!a->contiguous) {
        no(f, "timing", "the sound has gaps or overlaps");
    } else if (a->average > AVP_AAC_COPY_MAX) {
        no(f, "bitrate", "%.0f kbit/s; %.0f are copied at most",
           kbit(a->average), kbit(AVP_AAC_COPY_MAX));
    } else if (a->begin > AVP_AAC_LATE_MAX) {
        no(f, "start", "the sound begins %.3f s after the picture", a->begin);
    } else if (a->end < -AVP_AAC_END_OFF || a->end > AVP_AAC_END_OFF) {
        no(f, "end", "the sound ends %.2f s %s the picture",
           a->end < 0 ? -a->end : a->end, a->end < 0 ? "before" : "after");
    } else {
        f->copied = f->hls = true;
        snprintf(f->text, sizeof(f->text), "copied");
    }
}

static double
bits_between(const int64_t *at, const int64_t *bytes, int i, int k,
             double rate)
{
    return at[k] > at[i] ? (double)(bytes[k] - bytes[i]) * 8 * rate
                               / (double)(at[k] - at[i])
                         : 0;
}

int64_t
avp_peak(const int64_t *at, const int64_t *bytes, int n, double rate,
         double seconds)
{
    double peak = 0, one;
    int    k = 0;

    for (int i = 0; i < n; i++) {
        while (k < n && (double)(at[k] - at[i]) < seconds * rate) {
            k++;
        }
        if ((double)(at[k] - at[i]) < seconds * rate) {
            break; /* what is left is shorter */
        }
        one = bits_between(at, bytes, i, k, rate);
        peak = one > peak ? one : peak;
    }

    /* the last stretch, reckoned from its end */
    for (int i = n - 1; i >= 0; i--) {
        if ((double)(at[n] - at[i]) >= seconds * rate || i == 0) {
            one = bits_between(at, bytes, i, n, rate);
            peak = one > peak ? one : peak;
            break;
        }
    }
    return (int64_t)peak;
}
