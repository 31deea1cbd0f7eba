/*
 * Passwords: argon2id (libargon2), encoded as PHC strings.  Slow on purpose:
 * never on an event loop.
 */

#ifndef AVP_PASSWORD_H
#define AVP_PASSWORD_H

#include "lib/str.h"

#define AVP_PASSWORD_MIN 12
#define AVP_PASSWORD_MAX 1024
#define AVP_PASSWORD_HASH_MAX 128

/* m=65536 KiB, t=2, p=1, 16 random bytes of salt.  0 or -1. */
int avp_password_hash(char dst[AVP_PASSWORD_HASH_MAX], avp_str_t password);

/* 1 when it matches, 0 when not, -1 when `hash` is not a PHC string. */
int avp_password_verify(const char *hash, avp_str_t password);

#endif
