#include "lib/settings.h"
#include "lib/settings_source.h"
#include "lib/jwt_policy.h"
#include "lib/ladder.h"
#include "lib/sniff.h"
#include "lib/units.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define DAY (24 * 60 * 60)

/* What one load works with. */
typedef struct {
    avp_source_t    src;
    avp_settings_t *s;
} load_t;

#define fail(l, ...) avp_source_fail(&(l)->src, __VA_ARGS__)

static const char *
get(const load_t *l, const char *key)
{
    return avp_source_get(&l->src, key);
}

static int
get_secret(load_t *l, const char *key, char **dst)
{
    return avp_source_secret(&l->src, key, dst);
}

/* --- numbers --- */

typedef enum { INTEGER, SECONDS, SECONDS64, BYTES } kind_t;

static const struct {
    const char *key;
    kind_t      kind;
    size_t      offset;
    int64_t     min, max;
    const char *standard;
    const char *allowed;
} numbers[] = {
#define FIELD(name) offsetof(avp_settings_t, name)
    { "JWT_EXPIRY", SECONDS64, FIELD(jwt_expiry), 1, 365 * DAY, "15m",
      "a time of 1s to 365d" },
    { "WORKER_SLOTS", INTEGER, FIELD(worker_slots), 0, 64, "1",
      "a number from 0 to 64" },
    { "HEALTH_PORT", INTEGER, FIELD(health_port), 0, 65535, "3001",
      "a port from 1 to 65535, or 0 for none" },
    { "LEASE", SECONDS, FIELD(lease), 3, 3600, "60", "a time of 3s to 1h" },
    { "RECONCILE_INTERVAL", SECONDS, FIELD(reconcile), 1, 3600, "10",
      "a time of 1s to 1h" },
    { "GC_GRACE", SECONDS, FIELD(gc_grace), 0, 365 * DAY, "24h",
      "a time of 0 to 365d" },
    { "DRAIN_TIMEOUT", SECONDS, FIELD(drain_timeout), 0, DAY, "10m",
      "a time of 0 to 24h" },
    { "STALL_TIMEOUT", SECONDS, FIELD(stall_timeout), 1, DAY, "120",
      "a time of 1s to 24h" },
    { "MAX_DURATION", SECONDS64, FIELD(max_duration), 1, 365 * DAY, "6h",
      "a time of 1s to 365d" },
    { "MAX_VIDEO_SIZE", BYTES, FIELD(max_video_size), 1, INT64_C(1) << 50,
      "5GB", "a size like 500MB or 5GB, at most 1024T" },
    { "MEMORY_LIMIT", BYTES, FIELD(memory_limit), 0, INT64_C(1) << 50, "0",
      "a size like 6GB, or 0 for four fifths of the machine's memory" },
#undef FIELD
};

/* Only digits, at most `max`; or -1. */
static int64_t
parse_integer(avp_str_t s, int64_t max)
{
    int64_t n = 0;

    if (s.len == 0) {
        return -1;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return -1;
        }
        n = n * 10 + (s.data[i] - '0');
        if (n > max) {
            return -1;
        }
    }
    return n;
}

static int64_t
parse_number(kind_t kind, avp_str_t s, int64_t max)
{
    int64_t ms;

    switch (kind) {
    case INTEGER:
        return parse_integer(s, max);
    case BYTES:
        return avp_size_parse(s);
    default:
        ms = avp_duration_parse(s);
        return ms < 0 || ms % 1000 != 0 ? -1 : ms / 1000;
    }
}

static int
load_numbers(load_t *l)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *value = get(l, numbers[i].key);
        char       *field = (char *)l->s + numbers[i].offset;
        int64_t     n;

        n = parse_number(numbers[i].kind,
                         avp_str_c(value ? value : numbers[i].standard),
                         numbers[i].max);

        if (n < numbers[i].min || n > numbers[i].max) {
            return fail(l, "%s is \"%.40s\": use %s", numbers[i].key,
                        value ? value : numbers[i].standard,
                        numbers[i].allowed);
        }

        if (numbers[i].kind == INTEGER || numbers[i].kind == SECONDS) {
            int v = (int)n;

            memcpy(field, &v, sizeof(v));
        } else {
            memcpy(field, &n, sizeof(n));
        }
    }
    return 0;
}

/* --- words --- */

/* The index of the value among the words (NULL-terminated); -1 with err. */
static int
choose(load_t *l, const char *key, const char *standard,
       const char *const *words, const char *allowed)
{
    const char *value = get(l, key);

    for (int i = 0; words[i] != NULL; i++) {
        if (strcasecmp(value ? value : standard, words[i]) == 0) {
            return i;
        }
    }
    return fail(l, "%s is \"%.40s\": use %s", key, value, allowed);
}

static int
choose_switch(load_t *l, const char *key, const char *standard, bool *on)
{
    static const char *const words[] = { "off", "on", NULL };
    int                      i = choose(l, key, standard, words, "on or off");

    *on = i == 1;
    return i < 0 ? -1 : 0;
}

static int
choose_auto(load_t *l, const char *key, bool *automatic)
{
    static const char *const words[] = { "off", "auto", NULL };
    int                      i = choose(l, key, "auto", words, "auto or off");

    *automatic = i == 1;
    return i < 0 ? -1 : 0;
}

/* Calls `each` for every word between commas; -1 when it refuses one or
 * there is none. */
static int
each_word(const char *list, avp_settings_t *s,
          int (*each)(avp_settings_t *s, avp_str_t word))
{
    for (const char *p = list;;) {
        size_t    n = strcspn(p, ",");
        avp_str_t word = { p, n };

        while (word.len > 0 && strchr(" \t", word.data[0]) != NULL) {
            word.data++;
            word.len--;
        }
        while (word.len > 0 && strchr(" \t", word.data[word.len - 1])) {
            word.len--;
        }
        if (word.len == 0 || each(s, word) != 0) {
            return -1;
        }
        if (p[n] == '\0') {
            return 0;
        }
        p += n + 1;
    }
}

static int
add_output(avp_settings_t *s, avp_str_t word)
{
    if (avp_str_eq(word, avp_str("mp4"))) {
        s->out_mp4 = true;
    } else if (avp_str_eq(word, avp_str("webm"))) {
        s->out_webm = true;
    } else if (avp_str_eq(word, avp_str("hls"))) {
        s->out_hls = true;
    } else {
        return -1;
    }
    return 0;
}

static int
add_quality(avp_settings_t *s, avp_str_t word)
{
    unsigned bit;

    if (avp_rung_by_name(word, &bit) != 0) {
        return -1;
    }
    s->quality_levels |= bit;
    return 0;
}

static int
load_words(load_t *l)
{
    static const char *const codecs[] = { "av1", "vp9", NULL };
    static const char *const orders[] = { "auto", "together", "hls-first",
                                          NULL };
    static const char *const levels[] = { "debug", "info", "warn", "error",
                                          NULL };
    avp_settings_t          *s = l->s;
    const char              *v;
    int                      i;

    v = get(l, "ALLOWED_FORMATS");
    s->allowed_formats = v ? avp_formats_parse(avp_str_c(v)) : AVP_FMT_DEFAULT;
    if (s->allowed_formats == 0) {
        return fail(l, "ALLOWED_FORMATS is \"%.60s\": use words of mp4, mov, "
                       "avi, mkv, webm, ts, mpg, flv, ogg, wmv, 3gp, mxf", v);
    }

    v = get(l, "OUTPUT_FORMATS");
    s->has_outputs = v != NULL;
    if (each_word(v ? v : "mp4,webm,hls", s, add_output) != 0) {
        return fail(l, "OUTPUT_FORMATS is \"%.60s\": use words of mp4, webm, "
                       "hls", v);
    }

    v = get(l, "QUALITY_LEVELS");
    s->has_qualities = v != NULL;
    if (each_word(v ? v : "480p,720p,1080p,4k", s, add_quality) != 0) {
        return fail(l, "QUALITY_LEVELS is \"%.60s\": use words of 480p, 720p, "
                       "1080p, 4k", v);
    }

    i = choose(l, "WEBM_CODEC", "av1", codecs, "av1 or vp9");
    if (i < 0) {
        return -1;
    }
    s->webm_vp9 = i == 1;
    s->has_webm = get(l, "WEBM_CODEC") != NULL;

    s->order = choose(l, "ORDER", "auto", orders,
                      "auto, together or hls-first");
    if (s->order < 0) {
        return -1;
    }

    s->log_level = choose(l, "LOG_LEVEL", "info", levels,
                          "debug, info, warn or error");
    if (s->log_level < 0
        || choose_switch(l, "EARLY", "on", &s->early) != 0
        || choose_switch(l, "PREVIEW", "off", &s->preview) != 0
        || choose_auto(l, "PASSTHROUGH", &s->passthrough) != 0
        || choose_switch(l, "SANDBOX", "on", &s->sandbox) != 0)
    {
        return -1;
    }
    return 0;
}

/* --- addresses and secrets --- */

/* Appends printf-like to a malloc'ed string through a memory stream. */
static void
put_encoded(FILE *f, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
        {
            fputc(c, f);
        } else {
            fprintf(f, "%%%02X", c);
        }
    }
}

/* A host of a URL: IPv6 in brackets, a socket's folder percent-encoded. */
static void
put_host(FILE *f, const char *host)
{
    if (host[0] != '/' && host[0] != '[' && strchr(host, ':') != NULL) {
        fprintf(f, "[%s]", host);
    } else if (host[0] == '[') {
        fputs(host, f);
    } else {
        put_encoded(f, host);
    }
}

static int
check_port(load_t *l, const char *key, const char *port)
{
    if (port != NULL && parse_integer(avp_str_c(port), 65535) < 1) {
        return fail(l, "%s is \"%.40s\": use a port from 1 to 65535", key,
                    port);
    }
    return 0;
}

/* postgresql://user:password@host:port/name; NULL on a lack of memory. */
static char *
build_database_url(load_t *l, const char *password)
{
    const char *host = get(l, "DB_HOST"), *port = get(l, "DB_PORT");
    const char *name = get(l, "DB_NAME"), *user = get(l, "DB_USER");
    char       *url = NULL;
    size_t      n;
    FILE       *f = open_memstream(&url, &n);

    if (f == NULL) {
        return NULL;
    }

    fputs("postgresql://", f);
    if (user != NULL || password != NULL) {
        put_encoded(f, user ? user : "postgres");
        if (password != NULL) {
            fputc(':', f);
            put_encoded(f, password);
        }
        fputc('@', f);
    }
    put_host(f, host ? host : "localhost");
    fprintf(f, ":%s/", port ? port : "5432");
    put_encoded(f, name ? name : "video_processing");

    if (fclose(f) != 0) {
        free(url);
        return NULL;
    }
    return url;
}

static bool
begins(const char *s, const char *prefix)
{
    return strncasecmp(s, prefix, strlen(prefix)) == 0;
}

static int
load_database(load_t *l)
{
    static const char *const parts[] = { "DB_HOST", "DB_PORT", "DB_NAME",
                                         "DB_USER" };
    avp_settings_t          *s = l->s;
    char                    *password = NULL;
    bool                     any = false;

    if (get_secret(l, "DATABASE_URL", &s->database_url) != 0) {
        return -1;
    }

    if (s->database_url != NULL) {
        if (!begins(s->database_url, "postgresql://")
            && !begins(s->database_url, "postgres://")
            && strchr(s->database_url, '=') == NULL)
        {
            return fail(l, "DATABASE_URL: use postgresql://user:password@host:"
                           "port/name or key=value pairs of libpq");
        }
        if (strstr(s->database_url, ":your_") != NULL) {
            return fail(l, "DATABASE_URL has a placeholder of the "
                           "documentation as its password: set your own");
        }
        return 0; /* a URL wins over its parts */
    }

    if (check_port(l, "DB_PORT", get(l, "DB_PORT")) != 0
        || get_secret(l, "DB_PASSWORD", &password) != 0)
    {
        free(password);
        return -1;
    }

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        any = any || get(l, parts[i]) != NULL;
    }

    if (any || password != NULL) {
        s->database_url = build_database_url(l, password);
        if (s->database_url == NULL) {
            free(password);
            return fail(l, "DATABASE_URL: out of memory");
        }
    }

    free(password);
    return 0;
}

static int
load_redis(load_t *l)
{
    avp_settings_t *s = l->s;
    const char     *host = get(l, "REDIS_HOST"), *port = get(l, "REDIS_PORT");
    size_t          n;
    FILE           *f;

    if (get_secret(l, "REDIS_URL", &s->redis_url) != 0) {
        return -1;
    }

    if (s->redis_url != NULL) {
        if (!begins(s->redis_url, "redis://")
            && !begins(s->redis_url, "rediss://")
            && !begins(s->redis_url, "unix:"))
        {
            return fail(l, "REDIS_URL: use redis://host:port or "
                           "unix:/path/of/socket");
        }
        return 0;
    }

    if (check_port(l, "REDIS_PORT", port) != 0) {
        return -1;
    }

    f = open_memstream(&s->redis_url, &n);
    if (f == NULL) {
        return fail(l, "REDIS_URL: out of memory");
    }
    if (host != NULL && host[0] == '/') {
        fprintf(f, "unix:%s", host);
    } else {
        fputs("redis://", f);
        put_host(f, host ? host : "localhost");
        fprintf(f, ":%s", port ? port : "6379");
    }
    if (fclose(f) != 0) {
        return fail(l, "REDIS_URL: out of memory");
    }
    return 0;
}

static int
load_secrets(load_t *l)
{
    avp_settings_t *s = l->s;
    char           *delivery = NULL;
    int             rc = -1;

    if (get_secret(l, "JWT_SECRET", &s->jwt_secret) != 0
        || get_secret(l, "DELIVERY_SECRET", &delivery) != 0)
    {
        goto done;
    }
    if (s->jwt_secret != NULL && strlen(s->jwt_secret) < AVP_JWT_KEY_MIN) {
        fail(l, "JWT_SECRET is shorter than %d bytes", AVP_JWT_KEY_MIN);
        goto done;
    }
    if (delivery != NULL && strlen(delivery) < 32) {
        fail(l, "DELIVERY_SECRET is shorter than 32 bytes");
        goto done;
    }
    rc = 0;

done:

    free(delivery); /* only NGINX signs and checks with it */
    return rc;
}

/* Keys that NGINX's configuration reads: a wrong one is found here too. */
static int
check_addresses(load_t *l)
{
    static const char *const urls[] = { "API_URL", "CDN_BASE_URL" };

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        const char *v = get(l, urls[i]);

        if (v != NULL
            && ((!begins(v, "http://") && !begins(v, "https://"))
                || strpbrk(v, " \t\"\\<>") != NULL))
        {
            return fail(l, "%s is \"%.80s\": use http://... or https://...",
                        urls[i], v);
        }
    }
    return check_port(l, "PORT", get(l, "PORT"));
}

static int
load_names(load_t *l)
{
    char        host[HOST_NAME_MAX + 1] = "";
    const char *dir = get(l, "STORAGE_DIR"), *name = get(l, "WORKER_NAME");
    const char *profile = get(l, "PROFILE");

    if (dir != NULL && dir[0] != '/') {
        return fail(l, "STORAGE_DIR is \"%.80s\": use a path that begins "
                       "with /", dir);
    }

    if (name == NULL) {
        if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') {
            name = "worker";
        } else {
            host[64] = '\0';
            name = host;
        }
    } else if (strlen(name) > 64
               || name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789._-")] != '\0')
    {
        return fail(l, "WORKER_NAME is \"%.80s\": use 1 to 64 letters, "
                       "digits, '.', '_' or '-'", name);
    }

    l->s->storage_dir = strdup(dir ? dir : "/var/lib/avp");
    l->s->worker_name = strdup(name);
    l->s->profile = strdup(profile ? profile : "balanced");
    if (l->s->storage_dir == NULL || l->s->worker_name == NULL
        || l->s->profile == NULL)
    {
        return fail(l, "STORAGE_DIR: out of memory");
    }
    return 0;
}

static void
list_ignored(const load_t *l, char ignored[AVP_SETTINGS_ERROR])
{
    static const char *const keys[] = { "FFMPEG_PATH", "FFPROBE_PATH",
                                        "NODE_ENV" };
    size_t                   n = 0;

    ignored[0] = '\0';
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (get(l, keys[i]) != NULL) {
            n += (size_t)snprintf(ignored + n, AVP_SETTINGS_ERROR - n, "%s%s",
                                  n ? ", " : "", keys[i]);
        }
    }
}

int
avp_settings_load(avp_settings_t *s, const char *env_file,
                  char ignored[AVP_SETTINGS_ERROR],
                  char err[AVP_SETTINGS_ERROR])
{
    load_t l = { .s = s };
    int    rc = -1;

    memset(s, 0, sizeof(*s));
    ignored[0] = '\0';

    if (avp_source_open(&l.src, env_file, err) == 0 && load_numbers(&l) == 0
        && load_words(&l) == 0 && load_names(&l) == 0
        && load_database(&l) == 0 && load_redis(&l) == 0
        && load_secrets(&l) == 0 && check_addresses(&l) == 0)
    {
        list_ignored(&l, ignored);
        rc = 0;
    } else {
        avp_settings_free(s);
    }

    avp_source_close(&l.src);
    return rc;
}

static void
wipe(char *secret)
{
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

void
avp_settings_free(avp_settings_t *s)
{
    wipe(s->database_url);
    wipe(s->redis_url);
    wipe(s->jwt_secret);
    free(s->storage_dir);
    free(s->worker_name);
    free(s->profile);
    memset(s, 0, sizeof(*s));
}
