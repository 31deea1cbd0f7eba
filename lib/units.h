/*
 * Sizes ("5GB", "256k", "1048576"), durations ("24h", "15m", "30s", "500ms",
 * "7d", plain = seconds), and times (ISO 8601 UTC).
 */

#ifndef AVP_UNITS_H
#define AVP_UNITS_H

#include "lib/str.h"

#include <stdint.h>
#include <time.h>

/* K, M, G, T with or without B, either case, powers of 1024.  Returns bytes,
 * or -1 for anything else, negative numbers and overflow. */
int64_t avp_size_parse(avp_str_t s);

/* Returns milliseconds, or -1 for anything else and overflow. */
int64_t avp_duration_parse(avp_str_t s);

/* "2026-01-31T12:34:56.789Z" and a NUL. */
#define AVP_ISO8601_LEN 24
void avp_iso8601(char dst[AVP_ISO8601_LEN + 1], int64_t unix_ms);

#endif
