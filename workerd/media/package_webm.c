/*
 * WebM: AV1 or VP9 and Opus.
 *
 * Cues go to the front, else a player must seek to the end of the file before
 * it can seek in it; like faststart the muxer shifts the file for that.
 * CodecDelay and SeekPreRoll come from the Opus header and initial_padding.
 * A reader takes CodecDelay off audio's time stamps, so in the file they are
 * to be late by it, and video's are not.  libavformat does that from 60 on;
 * before, it made room for the priming by moving both, which showed the video
 * late by the delay.
 */

#include "workerd/media/package_file.h"

int
avp_webm_open(avp_packager_t **p, avp_out_t *out, const char *quality,
              const avp_stream_spec_t *video, const avp_stream_spec_t *audio)
{
    static const avp_file_format_t webm = {
        .name = "webm",
        .muxer = "webm",
        .mime = "video/webm",
        .options = "cues_to_front=1:avoid_negative_ts=disabled",
#if LIBAVFORMAT_VERSION_MAJOR < 60
        .delay_audio = 1,
#endif
    };

    return avp_file_open(p, out, &webm, quality, video, audio);
}
