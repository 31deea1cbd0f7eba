/*
 * The supervisor's clock: milliseconds that never jump and that count while
 * the machine sleeps (a lease does, too).  Everything with a deadline in this
 * folder uses it; times of day come from the database alone.
 */

#ifndef AVP_SUPERVISOR_CLOCK_H
#define AVP_SUPERVISOR_CLOCK_H

#include <stdint.h>
#include <time.h>

#define AVP_NEVER INT64_MAX

static inline int64_t
avp_clock(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline int64_t
avp_earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
