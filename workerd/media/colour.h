/*
 * What the numbers of a picture mean: matrix, primaries, transfer and range,
 * resolved so that none is unspecified.  Tags that contradict the pixel
 * format, or that nobody converts, are not believed.
 */

#ifndef AVP_MEDIA_COLOUR_H
#define AVP_MEDIA_COLOUR_H

#include <libavcodec/avcodec.h>
#include <libavutil/frame.h>
#include <libavutil/mastering_display_metadata.h>

#include <stdbool.h>

typedef struct {
    enum AVColorSpace                  matrix;
    enum AVColorPrimaries              primaries;
    enum AVColorTransferCharacteristic trc;
    enum AVColorRange                  range;
    bool                               hdr; /* PQ or HLG */
} avp_colours_t;

/* Of a stream by its parameters. */
void avp_colours_of_stream(avp_colours_t *c, const AVCodecParameters *par);

/* Of a frame by its own tags, since they may change in mid-stream; where it
 * has none, by its stream's. */
void avp_colours_of_frame(avp_colours_t *c, const AVFrame *f,
                          const AVCodecParameters *par);

/*
 * The brightest a picture gets, in cd/m2: of MaxCLL and the mastering
 * display's peak the first that is sane, 0 when neither is.  Any may be NULL.
 */
int avp_colours_peak(const AVContentLightMetadata     *light,
                     const AVMasteringDisplayMetadata *mastering);

#endif
