/*
 * Whether a stream of the source may be copied into the outputs as it is
 * (passthrough), and if not, why: a stable short word and a sentence.  Pure
 * arithmetic over what survey.c has seen; the plan acts on it.
 *
 * A copied stream has to be as good as what would be encoded in its place:
 * played by everything that plays our own, no more bits than the encoder may
 * take, its frames on an exact grid, its pictures complete (no turning, no
 * colours to be changed, no captions to be taken out), and a key frame to
 * seek to often enough: every 10 s in MP4 (what x264 does unasked), every
 * 6.5 s in HLS, so that segments keep their target duration of 6 s.
 */

#ifndef AVP_MEDIA_FITS_H
#define AVP_MEDIA_FITS_H

#include <stdbool.h>
#include <stdint.h>

#define AVP_GOP_MP4_MAX 10.05
#define AVP_GOP_HLS_MAX 6.5
#define AVP_GOP_MIN 0.5 /* s on average: a fragment each is too many below */

#define AVP_AAC_COPY_MAX 192000 /* bit/s */
#define AVP_AAC_LATE_MAX 0.010  /* s that sound may begin after the picture */
#define AVP_AAC_END_OFF 0.5     /* s by which it may end elsewhere */

#define AVP_FITS_TEXT 120

typedef struct {
    bool        copied;
    bool        hls; /* into HLS as well */
    const char *code;
    char        text[AVP_FITS_TEXT]; /* "not copied: ...", "copied" */
} avp_fits_t;

typedef struct {
    bool    wanted;      /* passthrough is on */
    bool    rung;        /* the top rung is the picture's own size... */
    bool    mp4, hls;    /* is made of it */
    char    codec[32];
    bool    container;   /* one that stores AVC as MP4 does */
    bool    sets;        /* a record with one sequence parameter set */
    int     profile, level, chroma, depth;
    bool    progressive;
    bool    square, turned;
    bool    colours;     /* SDR, of the matrix that players assume */
    int     width, height;
    bool    exact;       /* one exact rate of at most 60 */
    bool    truncated;
    bool    seen;        /* the stream was looked at to its end */
    bool    on_grid;     /* each frame in a slot of its own, none empty */
    bool    edited;      /* an edit list cuts into it */
    bool    starts;      /* with a key frame */
    bool    closed;      /* all key frames are IDR */
    bool    same_sets;   /* no parameter sets on the way that differ */
    bool    captions;
    bool    damaged;     /* lengths that do not add up */
    double  gop_max, gop_mean; /* s */
    int64_t average, peak; /* bit/s; peak: over 2 s at least */
    int64_t cap;         /* of the rung's encoder */
} avp_fits_video_t;

typedef struct {
    bool    wanted, made, hls; /* into MP4 or HLS; into HLS */
    bool    there;       /* there is sound */
    char    codec[32];
    bool    lc;          /* MPEG-4 AAC-LC with 1024 samples a packet */
    int     channels, rate;
    int64_t average;     /* bit/s */
    bool    seen, contiguous;
    double  begin, end;  /* s, against the first and the last picture */
} avp_fits_audio_t;

void avp_fits_video(avp_fits_t *f, const avp_fits_video_t *v);
void avp_fits_audio(avp_fits_t *f, const avp_fits_audio_t *a);

/* Bits per second over the worst `seconds` or just more that begin at a key
 * frame (or end with the stream): at[] are key frames as frame numbers,
 * bytes[] what was before each; both have an n-th entry, the end. */
int64_t avp_peak(const int64_t *at, const int64_t *bytes, int n, double rate,
                 double seconds);

#endif
