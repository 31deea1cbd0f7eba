/*
 * Why a job ends: one code of lib/errors.h and one sentence.  The first
 * failure is kept; whatever follows from it is not.
 */

#ifndef AVP_MEDIA_FAIL_H
#define AVP_MEDIA_FAIL_H

#include "lib/errors.h"

#include <stdbool.h>

#define AVP_FAIL_MAX 256

typedef struct {
    bool        set;
    avp_error_t code;
    char        detail[AVP_FAIL_MAX];
} avp_fail_t;

/* Records the failure unless one is there; always returns -1. */
int avp_fail(avp_fail_t *f, avp_error_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for an AVERROR met while doing `what`: no memory, a full disk and
 * the output budget have codes of their own, all else is `otherwise`. */
int avp_fail_av(avp_fail_t *f, int averror, avp_error_t otherwise,
                const char *what);

#endif
