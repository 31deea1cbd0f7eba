/*
 * A look at all of a stream before it may be copied: how its packets follow
 * each other, where its key frames are, how many bits it has.  No decoding.
 *
 * A file of up to 64 MiB is read packet by packet, which takes well under a
 * second; of a larger one the index is believed (MP4 and MOV have one), and
 * of each key frame the first bytes are read.  The limit is of bytes and not
 * of time: two workers have to come to the same decision.  What the index
 * cannot tell, copy.c checks as it goes.
 */

#ifndef AVP_MEDIA_SURVEY_H
#define AVP_MEDIA_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

struct avp_probe_s;
struct avp_job_s;

#define AVP_SURVEY_BYTES (INT64_C(64) << 20)
#define AVP_SURVEY_TAIL 16 /* slots that the last picture may be late */

typedef struct {
    /* the video; see avp_fits_video_t */
    bool     seen, on_grid, edited, starts, closed, same_sets, captions;
    bool     damaged;
    int64_t  first;        /* time stamp of the first picture */
    int64_t  frames;
    int      delay;        /* frames that decoding is ahead of display */
    int64_t  average, peak;
    double   gop_max, gop_mean;
    int64_t *keys;         /* numbers of key frames, 1 s apart at least */
    int      nkeys;

    /* the sound */
    bool     audio_seen, contiguous;
    int64_t  audio_first;  /* time stamp of the first packet */
    double   begin, end;   /* s, against the first and the last picture */
    int64_t  audio_average, audio_peak;
} avp_survey_t;

/* Fills p->survey for streams that may be worth it.  What cannot be read is
 * not seen; that is no failure. */
void avp_survey(struct avp_probe_s *p, int fd, const struct avp_job_s *job);
void avp_survey_free(avp_survey_t *s);

#endif
