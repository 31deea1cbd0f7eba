#include "lib/settings_source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX_SIZE (64 * 1024)

int
avp_source_fail(avp_source_t *l, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(l->err, AVP_SETTINGS_ERROR, fmt, args);
    va_end(args);
    return -1;
}

static int
collect(void *ctx, avp_str_t key, avp_str_t value)
{
    avp_source_t   *l = ctx;
    avp_env_pair_t *more = realloc(l->pairs,
                                   (l->npairs + 1) * sizeof(avp_env_pair_t));

    if (more == NULL) {
        return -1;
    }
    l->pairs = more;
    more[l->npairs].key = strndup(key.data, key.len);
    more[l->npairs].value = strndup(value.data, value.len);
    l->npairs++;
    return more[l->npairs - 1].key && more[l->npairs - 1].value ? 0 : -1;
}

/* A whole file, NUL-terminated and malloc'ed; NULL with errno. */
static char *
read_file(const char *path, size_t *len)
{
    FILE  *f = fopen(path, "re");
    char  *text = NULL;
    size_t n;

    if (f == NULL) {
        return NULL;
    }

    text = malloc(FILE_MAX_SIZE + 1);
    if (text == NULL) {
        goto fail;
    }

    errno = 0;
    n = fread(text, 1, FILE_MAX_SIZE + 1, f);
    if (ferror(f)) {
        errno = errno ? errno : EIO;
        goto fail;
    }
    if (n > FILE_MAX_SIZE) {
        errno = EFBIG;
        goto fail;
    }

    fclose(f);
    text[n] = '\0';
    *len = n;
    return text;

fail:

    fclose(f);
    free(text);
    return NULL;
}

static const char *
from_file(const avp_source_t *l, const char *key)
{
    for (size_t i = l->npairs; i-- > 0;) { /* the last one wins, as in sh */
        if (strcmp(l->pairs[i].key, key) == 0) {
            return l->pairs[i].value[0] ? l->pairs[i].value : NULL;
        }
    }
    return NULL;
}

static const char *
from_environment(const char *key)
{
    const char *v = getenv(key);

    return v && v[0] ? v : NULL;
}

const char *
avp_source_get(const avp_source_t *l, const char *key)
{
    const char *v = from_environment(key);

    return v ? v : from_file(l, key);
}

int
avp_source_secret(avp_source_t *l, const char *key, char **dst)
{
    char        file_key[64];
    const char *value, *path;
    size_t      n;

    *dst = NULL;
    snprintf(file_key, sizeof(file_key), "%s_FILE", key);

    value = from_environment(key);
    path = from_environment(file_key);
    if (value == NULL && path == NULL) {
        value = from_file(l, key);
        path = from_file(l, file_key);
    }

    if (value != NULL && path != NULL) {
        return avp_source_fail(l, "%s and %s are both set: set one of them",
                               key, file_key);
    }

    if (value != NULL) {
        *dst = strdup(value);

    } else if (path != NULL) {
        *dst = read_file(path, &n);
        if (*dst == NULL) {
            return avp_source_fail(l, "%s: cannot read %s: %s", file_key,
                                   path, strerror(errno));
        }
        while (n > 0 && ((*dst)[n - 1] == '\n' || (*dst)[n - 1] == '\r')) {
            (*dst)[--n] = '\0';
        }
        if (n == 0 || strlen(*dst) != n) {
            return avp_source_fail(l, "%s: %s is empty or not text", file_key,
                                   path);
        }

    } else {
        return 0;
    }

    if (*dst == NULL) {
        return avp_source_fail(l, "%s: out of memory", key);
    }
    if (avp_secret_is_placeholder(avp_str_c(*dst))) {
        return avp_source_fail(l, "%s is a placeholder of the documentation: "
                                  "set a value of your own", key);
    }
    return 0;
}

int
avp_source_open(avp_source_t *l, const char *env_file,
                char err[AVP_SETTINGS_ERROR])
{
    char   why[AVP_SETTINGS_ERROR];
    size_t n;
    char  *text;
    int    rc = 0;

    *l = (avp_source_t){ NULL, 0, err };
    err[0] = '\0';
    if (env_file == NULL) {
        return 0;
    }

    text = read_file(env_file, &n);
    if (text == NULL) {
        return avp_source_fail(l, "cannot read %s: %s", env_file,
                               strerror(errno));
    }
    if (avp_env_parse((avp_str_t){ text, n }, collect, l, why) != 0) {
        rc = avp_source_fail(l, "%.100s: %.140s", env_file, why);
    }
    explicit_bzero(text, n);
    free(text);
    return rc;
}

void
avp_source_close(avp_source_t *l)
{
    for (size_t i = 0; i < l->npairs; i++) {
        free(l->pairs[i].key);
        if (l->pairs[i].value != NULL) {
            explicit_bzero(l->pairs[i].value, strlen(l->pairs[i].value));
            free(l->pairs[i].value);
        }
    }
    free(l->pairs);
    *l = (avp_source_t){ NULL, 0, l->err };
}
