#include "lib/errors.h"

static const avp_error_info_t list[] = {
#define AVP_ERROR_ROW(symbol, code, class, status, title, detail)              \
    { code, AVP_CLASS_##class, status, title, detail },
    AVP_ERROR_LIST(AVP_ERROR_ROW)
#undef AVP_ERROR_ROW
};

/* in the order of avp_class_t */
static const char *const classes[] = {
    "request", "permanent", "transient", "crash",
    "stall",   "lost",      "drained",   "cancelled",
};

#define CLASSES (sizeof(classes) / sizeof(classes[0]))

const avp_error_info_t *
avp_error_info(avp_error_t e)
{
    return (unsigned)e < AVP_ERR_COUNT ? &list[e] : &list[AVP_ERR_INTERNAL];
}

avp_error_t
avp_error_by_code(avp_str_t code)
{
    for (unsigned i = 0; i < AVP_ERR_COUNT; i++) {
        if (avp_str_eq(code, avp_str_c(list[i].code))) {
            return (avp_error_t)i;
        }
    }
    return AVP_ERR_COUNT;
}

avp_error_t
avp_error_by_status(int status)
{
    switch (status) {
    case 401:
        return AVP_ERR_INVALID_TOKEN;
    case 403:
        return AVP_ERR_FORBIDDEN;
    case 404:
        return AVP_ERR_NOT_FOUND;
    case 405:
        return AVP_ERR_METHOD_NOT_ALLOWED;
    case 408: /* NGINX closes these without a body */
    case 444:
    case 499:
        return AVP_ERR_COUNT;
    case 409:
        return AVP_ERR_CONFLICT;
    case 411:
        return AVP_ERR_LENGTH_REQUIRED;
    case 412:
        return AVP_ERR_PRECONDITION;
    case 413:
        return AVP_ERR_TOO_LARGE;
    case 414:
        return AVP_ERR_URI_TOO_LONG;
    case 415:
        return AVP_ERR_UNSUPPORTED_MEDIA;
    case 416:
        return AVP_ERR_RANGE;
    case 417:
        return AVP_ERR_EXPECTATION;
    case 422:
        return AVP_ERR_INVALID_FIELD;
    case 429:
        return AVP_ERR_RATE_LIMITED;
    case 431:
    case 494: /* NGINX: request header too large */
        return AVP_ERR_HEADERS_TOO_LARGE;
    case 501:
        return AVP_ERR_NOT_IMPLEMENTED;
    case 502:
        return AVP_ERR_BAD_GATEWAY;
    case 503:
        return AVP_ERR_UNAVAILABLE;
    case 504:
        return AVP_ERR_GATEWAY_TIMEOUT;
    case 505:
        return AVP_ERR_HTTP_VERSION;
    case 507:
        return AVP_ERR_STORAGE_FULL;
    default:
        if (status < 400 || status > 599) {
            return AVP_ERR_COUNT;
        }
        return status < 500 ? AVP_ERR_BAD_REQUEST : AVP_ERR_INTERNAL;
    }
}

const char *
avp_class_name(avp_class_t c)
{
    return (unsigned)c < CLASSES ? classes[c] : "request";
}

int
avp_class_by_name(avp_str_t name, avp_class_t *c)
{
    for (unsigned i = 0; i < CLASSES; i++) {
        if (avp_str_eq(name, avp_str_c(classes[i]))) {
            *c = (avp_class_t)i;
            return 0;
        }
    }
    return -1;
}
