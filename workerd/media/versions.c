/*
 * What workerd says about the libraries that touch media.
 */

#include "workerd/commands.h"

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>

#include <stdio.h>

const avp_media_library_t *
avp_media_libraries(void)
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
    static avp_media_library_t list[sizeof(libs) / sizeof(libs[0]) + 1];

    for (size_t i = 0; i < sizeof(libs) / sizeof(libs[0]); i++) {
        list[i].name = libs[i].name;
        (void) snprintf(list[i].version, sizeof(list[i].version), "%u.%u.%u",
                        AV_VERSION_MAJOR(libs[i].version),
                        AV_VERSION_MINOR(libs[i].version),
                        AV_VERSION_MICRO(libs[i].version));
    }
    return list;
}

const char *
avp_media_versions(void)
{
    static char text[256];
    size_t      n = 0;

    for (const avp_media_library_t *l = avp_media_libraries(); l->name != NULL;
         l++)
    {
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s%s %s",
                               n > 0 ? ", " : "", l->name, l->version);
    }
    return text;
}
