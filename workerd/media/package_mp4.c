/*
 * MP4: H.264 and AAC for download and plain <video>.
 *
 * faststart: the muxer writes mdat first and then shifts the file to put moov
 * in front, reading back through avp_out_attach().  The edit list takes off
 * the B-frame delay and the audio priming, so both tracks begin at 0.
 */

#include "workerd/media/package_file.h"

int
avp_mp4_open(avp_packager_t **p, avp_out_t *out, const char *quality,
             const avp_stream_spec_t *video, const avp_stream_spec_t *audio)
{
    static const avp_file_format_t mp4 = {
        .name = "mp4",
        .muxer = "mp4",
        .mime = "video/mp4",
        .options = "movflags=+faststart:use_editlist=1",
    };

    return avp_file_open(p, out, &mp4, quality, video, audio);
}
