/*
 * What `workerd --version` says about the libraries that touch media.
 */

#include "workerd/commands.h"

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>

#include <stdio.h>

const char *
avp_media_versions(void)
{
    const struct {
        const char *name;
        unsigned    version;
    } libs[] = {
        { "libavformat", avformat_version() },
        { "libavcodec", avcodec_version() },
        { "libavfilter", avfilter_version() },
        { "libswscale", swscale_version() },
        { "libswresample", swresample_version() },
        { "libavutil", avutil_version() },
    };
    static char text[256];
    size_t      n = 0;

    for (size_t i = 0; i < sizeof(libs) / sizeof(libs[0]); i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %u.%u.%u",
                              i ? ", " : "", libs[i].name,
                              AV_VERSION_MAJOR(libs[i].version),
                              AV_VERSION_MINOR(libs[i].version),
                              AV_VERSION_MICRO(libs[i].version));
    }
    return text;
}
