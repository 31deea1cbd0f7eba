/*
 * From a decoded picture to a rung's: size, rotation, colours (BT.709,
 * limited range, SDR), 4:2:0 at 8 bits, no alpha, square pixels.  One frame
 * in, one frame out; a graph per user, built anew when the source changes its
 * size, shape, format or colours in mid-stream: a picture of another shape
 * gets black borders.  What comes in has been through avp_frame_sanitize():
 * nothing of a frame is unspecified.  Graphs are written of numbers and
 * constant words only.
 */

#ifndef AVP_MEDIA_FILTER_H
#define AVP_MEDIA_FILTER_H

#include "workerd/media/fail.h"
#include "workerd/media/probe.h"

#include <libavfilter/avfilter.h>
#include <libavutil/frame.h>

typedef struct {
    const avp_probe_t *facts;
    int                width, height; /* of what comes out */
    AVFilterGraph     *graph;
    AVFilterContext   *src, *sink;
    bool               same;          /* nothing to do: frames pass */
    bool               ready;

    /* what the graph was built for */
    int                                in_width, in_height, in_format;
    AVRational                         in_sar;
    enum AVColorSpace                  in_matrix;
    enum AVColorPrimaries              in_primaries;
    enum AVColorTransferCharacteristic in_trc;
    enum AVColorRange                  in_range;
    int                                in_peak; /* cd/m2, of HDR */
} avp_scaler_t;

void avp_scaler_init(avp_scaler_t *s, const avp_probe_t *facts, int width,
                     int height);

/* `out` gets a reference of its own; `in` stays the caller's.  Time stamps
 * pass through.  0, or -1 with *fail set. */
int avp_scaler_run(avp_scaler_t *s, const AVFrame *in, AVFrame *out,
                   avp_fail_t *fail);
void avp_scaler_free(avp_scaler_t *s);

/*
 * A graph `spec` between a buffer source fitting `in` and a sink, run by its
 * caller alone.  0 or an AVERROR.
 */
int avp_graph_build(AVFilterGraph **graph, AVFilterContext **src,
                    AVFilterContext **sink, const AVFrame *in, AVRational tb,
                    const char *spec);

#endif
