#include "workerd/media/fail.h"

#include <libavutil/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
avp_fail(avp_fail_t *f, avp_error_t code, const char *fmt, ...)
{
    va_list ap;

    if (f->set) {
        return -1;
    }

    f->set = true;
    f->code = code;
    va_start(ap, fmt);
    vsnprintf(f->detail, sizeof(f->detail), fmt, ap);
    va_end(ap);
    return -1;
}

int
avp_fail_av(avp_fail_t *f, int averror, avp_error_t otherwise,
            const char *what)
{
    char        text[AV_ERROR_MAX_STRING_SIZE] = "";
    avp_error_t code = otherwise;

    switch (averror) {
    case AVERROR(ENOMEM):
        code = AVP_ERR_NO_MEMORY;
        break;
    case AVERROR(ENOSPC):
    case AVERROR(EDQUOT):
        code = AVP_ERR_DISK_FULL;
        break;
    case AVERROR(EFBIG):
        code = AVP_ERR_OUTPUT_LIMIT;
        break;
    }

    av_strerror(averror, text, sizeof(text));
    return avp_fail(f, code, "%s: %s", what, text);
}
