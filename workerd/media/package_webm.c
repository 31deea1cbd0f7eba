/*
 * WebM: AV1 or VP9 and Opus.
 *
 * Cues go to the front, else a player must seek to the end of the file before
 * it can seek in it; like faststart the muxer shifts the file for that.
 * CodecDelay and SeekPreRoll come from the Opus header and initial_padding.
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
        .options = "cues_to_front=1",
    };

    return avp_file_open(p, out, &webm, quality, video, audio);
}
