/*
 * Where settings come from: the environment, then one KEY=VALUE file, and
 * for secrets the file that NAME_FILE names.  Only lib/settings.c calls it,
 * between open and close; nothing is kept.
 */

#ifndef AVP_SETTINGS_SOURCE_H
#define AVP_SETTINGS_SOURCE_H

#include "lib/settings.h"

typedef struct {
    char *key, *value;
} avp_env_pair_t;

typedef struct {
    avp_env_pair_t *pairs; /* of the file, in its order */
    size_t          npairs;
    char           *err;   /* AVP_SETTINGS_ERROR bytes, the caller's */
} avp_source_t;

/* `env_file` may be NULL.  0, or -1 with err; close it either way. */
int avp_source_open(avp_source_t *l, const char *env_file,
                    char err[AVP_SETTINGS_ERROR]);
void avp_source_close(avp_source_t *l);

/* The value, or NULL.  Not set and set to nothing are the same: compose files
 * cannot unset. */
const char *avp_source_get(const avp_source_t *l, const char *key);

/*
 * NAME or the contents of NAME_FILE, malloc'ed into *dst; NULL when neither is
 * set.  The environment's NAME_FILE wins over the file's NAME.  0, or -1 with
 * err; then too *dst is the caller's to free.
 */
int avp_source_secret(avp_source_t *l, const char *key, char **dst);

/* Writes err; always -1. */
int avp_source_fail(avp_source_t *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
