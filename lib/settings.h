/*
 * Settings: the names of the source's .env and ours, from KEY=VALUE files
 * that sh, systemd and Docker can read too, and from the environment.  Each
 * secret NAME may come as NAME_FILE.  Values are validated here, once, with a
 * message that names the key.
 */

#ifndef AVP_SETTINGS_H
#define AVP_SETTINGS_H

#include "lib/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AVP_SETTINGS_ERROR 256

/* One KEY=VALUE file, read wholly into memory by the caller.  Calls `cb` for
 * each pair; quotes are removed, `#` begins a comment at the start of a line,
 * `export ` is skipped.  Nothing is expanded: in double quotes `$`, backquote
 * and backslash are refused, because sh would read them otherwise.  0, or -1
 * with err naming the line; a cb that returns other than 0 ends it too. */
int avp_env_parse(avp_str_t text,
                  int (*cb)(void *ctx, avp_str_t key, avp_str_t value),
                  void *ctx, char err[AVP_SETTINGS_ERROR]);

/* Values that documentation uses and nobody may run with: `your_...`,
 * `changeme`, and `minioadmin`. */
bool avp_secret_is_placeholder(avp_str_t secret);

typedef struct {
    char    *database_url;     /* DATABASE_URL, or built of DB_*; NULL when
                                * neither is set */
    char    *redis_url;        /* REDIS_URL, or built of REDIS_HOST/PORT,
                                * default redis://localhost:6379 */
    char    *storage_dir;      /* STORAGE_DIR, default /var/lib/avp */
    char    *jwt_secret;       /* JWT_SECRET, or NULL: workerd token only */
    int64_t  jwt_expiry;       /* JWT_EXPIRY, seconds; default 15m */
    char    *worker_name;      /* WORKER_NAME, default the host's name */
    int      worker_slots;     /* WORKER_SLOTS, default 1, 0..64 */
    int64_t  memory_limit;     /* MEMORY_LIMIT, bytes of all media processes;
                                * default 0: by the machine */
    int      health_port;      /* HEALTH_PORT, default 3001; 0 = off */
    int      lease;            /* LEASE, seconds, default 60, 3..3600 */
    int      reconcile;        /* RECONCILE_INTERVAL, seconds, default 10 */
    int      gc_grace;         /* GC_GRACE, seconds, default 24h */
    int      drain_timeout;    /* DRAIN_TIMEOUT, seconds, default 10m */
    int      stall_timeout;    /* STALL_TIMEOUT, seconds, default 120 */
    int64_t  max_duration;     /* MAX_DURATION, seconds, default 6h */
    int64_t  max_video_size;   /* MAX_VIDEO_SIZE, bytes, default 5GB */
    char    *profile;          /* PROFILE, a name or a path; "balanced" */
    uint32_t allowed_formats;  /* ALLOWED_FORMATS, mask of lib/sniff.h */
    unsigned quality_levels;   /* QUALITY_LEVELS, mask of lib/ladder.h */
    bool     out_mp4, out_webm, out_hls;  /* OUTPUT_FORMATS */
    bool     webm_vp9;         /* WEBM_CODEC=av1|vp9 */
    bool     has_qualities, has_outputs, has_webm; /* the three are set:
                                * they win over the profile */
    bool     early;            /* EARLY=on|off */
    bool     passthrough;      /* PASSTHROUGH=auto|off */
    int      order;            /* ORDER=auto|together|hls-first: 0, 1, 2 */
    bool     preview;          /* PREVIEW=on|off */
    bool     sandbox;          /* SANDBOX=on|off */
    int      log_level;        /* LOG_LEVEL=debug|info|warn|error: 0..3 */
} avp_settings_t;

/*
 * Reads `env_file` (NULL: none) and then the environment, which wins.
 * Everything is malloc'ed; avp_settings_free() frees.  0, or -1 with a
 * sentence that names the key in err.  FFMPEG_PATH, FFPROBE_PATH and NODE_ENV
 * are accepted and ignored: their names are written to `ignored` (comma
 * separated, for one log line).  A key set to nothing is not set.  Secrets may
 * be files: JWT_SECRET_FILE, DB_PASSWORD_FILE, DATABASE_URL_FILE,
 * REDIS_URL_FILE, DELIVERY_SECRET_FILE.  No secret is ever part of err.
 */
int avp_settings_load(avp_settings_t *s, const char *env_file,
                      char ignored[AVP_SETTINGS_ERROR],
                      char err[AVP_SETTINGS_ERROR]);
void avp_settings_free(avp_settings_t *s);

#endif
