/*
 * What every fuzz target of t/fuzz needs.  `make fuzz` builds and runs them;
 * seeds lie in t/fuzz/corpus/NAME.
 */

#ifndef AVP_FUZZ_H
#define AVP_FUZZ_H

#include "lib/str.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that was broken: libFuzzer keeps the input. */
#define MUST(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,         \
                    #condition);                                               \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* A copy of exactly that size, so that ASan sees a read behind it. */
static inline char *
copy_of(const void *data, size_t n)
{
    char *c = malloc(n ? n : 1);

    MUST(c != NULL);
    if (n > 0) {
        memcpy(c, data, n);
    }
    return c;
}

#endif
