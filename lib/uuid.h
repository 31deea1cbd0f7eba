/*
 * UUIDs as text (RFC 9562): 36 characters, lower case when written.
 */

#ifndef AVP_UUID_H
#define AVP_UUID_H

#include "lib/str.h"

#define AVP_UUID_LEN 36

/* A random (version 4) UUID; dst gets 36 characters and a NUL.
 * Returns 0, or -1 when the system has no randomness to give. */
int avp_uuid_v4(char dst[AVP_UUID_LEN + 1]);

/* Accepts the 8-4-4-4-12 form in either case and writes it in lower case
 * with a NUL.  Returns 0, or -1 when it is not one. */
int avp_uuid_parse(char dst[AVP_UUID_LEN + 1], avp_str_t src);

#endif
