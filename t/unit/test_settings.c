#include "lib/settings.h"
#include "lib/ladder.h"
#include "lib/sniff.h"
#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static avp_settings_t s;
static char           ignored[AVP_SETTINGS_ERROR], err[AVP_SETTINGS_ERROR];
static char           folder[] = "/tmp/avp-unit-XXXXXX";
static bool           has_folder; /* the folder */

/* A file of this text in a folder of its own; its path. */
static const char *
file_of(const char *name, const char *text, size_t n)
{
    static char path[2][64];
    static int  turn;
    FILE       *f;

    if (!has_folder) {
        memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
        ck_assert_ptr_nonnull(mkdtemp(folder));
        has_folder = true;
    }
    turn = !turn;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    f = fopen(path[turn], "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    fclose(f);
    return path[turn];
}

static void
remove_files(void)
{
    static const char *const names[] = { "env", "secret" };
    char                     path[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    has_folder = false;
}

/* Loads settings of this text and of nothing else. */
static int
load(const char *text)
{
    int rc;

    clearenv();
    rc = avp_settings_load(&s, file_of("env", text, strlen(text)), ignored,
                           err);
    remove_files();
    return rc;
}

/* It is refused, and the message begins with the key. */
static void
refused(const char *text, const char *key)
{
    ck_assert_msg(load(text) == -1, "accepted %s", text);
    ck_assert_msg(strncmp(err, key, strlen(key)) == 0, "%s: %s", text, err);
    ck_assert_ptr_null(s.storage_dir); /* all is freed */
}

START_TEST(defaults)
{
    clearenv();
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), 0);
    ck_assert_ptr_null(s.database_url);
    ck_assert_str_eq(s.redis_url, "redis://localhost:6379");
    ck_assert_str_eq(s.storage_dir, "/var/lib/avp");
    ck_assert_ptr_null(s.jwt_secret);
    ck_assert_int_eq(s.jwt_expiry, 900);
    ck_assert_uint_gt(strlen(s.worker_name), 0);
    ck_assert_int_eq(s.worker_slots, 1);
    ck_assert_int_eq(s.health_port, 3001);
    ck_assert_int_eq(s.lease, 60);
    ck_assert_int_eq(s.reconcile, 10);
    ck_assert_int_eq(s.gc_grace, 86400);
    ck_assert_int_eq(s.drain_timeout, 600);
    ck_assert_int_eq(s.stall_timeout, 120);
    ck_assert_int_eq(s.max_duration, 21600);
    ck_assert_int_eq(s.max_video_size, INT64_C(5) << 30);
    ck_assert_uint_eq(s.allowed_formats, AVP_FMT_DEFAULT);
    ck_assert_uint_eq(s.quality_levels, AVP_RUNG_ALL);
    ck_assert(s.out_mp4 && s.out_webm && s.out_hls);
    ck_assert(!s.webm_vp9 && s.early && s.sandbox && !s.preview);
    ck_assert(s.passthrough);
    ck_assert_int_eq(s.order, 0);
    ck_assert_int_eq(s.log_level, 1);
    ck_assert_str_eq(ignored, "");
    avp_settings_free(&s);
    avp_settings_free(&s); /* twice does no harm */
}
END_TEST

START_TEST(every_key)
{
    ck_assert_int_eq(load("WORKER_NAME=w.1_a-B\nWORKER_SLOTS=64\n"
                          "HEALTH_PORT=0\nLEASE=3s\nRECONCILE_INTERVAL=1m\n"
                          "GC_GRACE=7d\nDRAIN_TIMEOUT=0\nSTALL_TIMEOUT=30\n"
                          "MAX_DURATION=1h\nMAX_VIDEO_SIZE=500mb\n"
                          "ALLOWED_FORMATS=mp4, ts\nOUTPUT_FORMATS= hls ,mp4\n"
                          "QUALITY_LEVELS=4k,480p\nWEBM_CODEC=VP9\n"
                          "EARLY=off\nORDER=hls-first\nSANDBOX=off\n"
                          "PREVIEW=on\nPASSTHROUGH=off\nMEMORY_LIMIT=6GB\n"
                          "LOG_LEVEL=error\nJWT_EXPIRY=24h\n"
                          "STORAGE_DIR=/srv/avp\n"), 0);
    ck_assert_str_eq(s.worker_name, "w.1_a-B");
    ck_assert_int_eq(s.worker_slots, 64);
    ck_assert_int_eq(s.health_port, 0);
    ck_assert_int_eq(s.lease, 3);
    ck_assert_int_eq(s.reconcile, 60);
    ck_assert_int_eq(s.gc_grace, 604800);
    ck_assert_int_eq(s.drain_timeout, 0);
    ck_assert_int_eq(s.stall_timeout, 30);
    ck_assert_int_eq(s.max_duration, 3600);
    ck_assert_int_eq(s.max_video_size, 500 << 20);
    ck_assert_int_eq(s.memory_limit, INT64_C(6) << 30);
    ck_assert_uint_eq(s.allowed_formats,
                      (1u << AVP_FMT_MP4) | (1u << AVP_FMT_TS));
    ck_assert(s.out_mp4 && !s.out_webm && s.out_hls);
    ck_assert_uint_eq(s.quality_levels, AVP_RUNG_480P | AVP_RUNG_4K);
    ck_assert(s.webm_vp9 && !s.early && !s.sandbox && s.preview);
    ck_assert(!s.passthrough);
    ck_assert_int_eq(s.order, 2);
    ck_assert_int_eq(s.log_level, 3);
    ck_assert_int_eq(s.jwt_expiry, 86400);
    ck_assert_str_eq(s.storage_dir, "/srv/avp");
    avp_settings_free(&s);
}
END_TEST

START_TEST(wrong_values)
{
    refused("WORKER_SLOTS=65", "WORKER_SLOTS");
    refused("WORKER_SLOTS=-1", "WORKER_SLOTS");
    refused("MEMORY_LIMIT=lots", "MEMORY_LIMIT");
    refused("WORKER_SLOTS=two", "WORKER_SLOTS");
    refused("WORKER_SLOTS=99999999999999999999", "WORKER_SLOTS");
    refused("HEALTH_PORT=65536", "HEALTH_PORT");
    refused("LEASE=2", "LEASE");
    refused("LEASE=3500ms", "LEASE");
    refused("LEASE=2h", "LEASE");
    refused("RECONCILE_INTERVAL=0", "RECONCILE_INTERVAL");
    refused("GC_GRACE=9999d", "GC_GRACE");
    refused("DRAIN_TIMEOUT=2d", "DRAIN_TIMEOUT");
    refused("STALL_TIMEOUT=0", "STALL_TIMEOUT");
    refused("MAX_DURATION=long", "MAX_DURATION");
    refused("MAX_VIDEO_SIZE=5 GB", "MAX_VIDEO_SIZE");
    refused("MAX_VIDEO_SIZE=0", "MAX_VIDEO_SIZE");
    refused("MAX_VIDEO_SIZE=2000T", "MAX_VIDEO_SIZE");
    refused("JWT_EXPIRY=0", "JWT_EXPIRY");
    refused("ALLOWED_FORMATS=mp4,gif", "ALLOWED_FORMATS");
    refused("OUTPUT_FORMATS=mp4,dash", "OUTPUT_FORMATS");
    refused("OUTPUT_FORMATS=,", "OUTPUT_FORMATS");
    refused("QUALITY_LEVELS=360p", "QUALITY_LEVELS");
    refused("WEBM_CODEC=vp8", "WEBM_CODEC");
    refused("EARLY=yes", "EARLY");
    refused("PASSTHROUGH=on", "PASSTHROUGH");
    refused("ORDER=first", "ORDER");
    refused("SANDBOX=maybe", "SANDBOX");
    refused("PREVIEW=gif", "PREVIEW");
    refused("LOG_LEVEL=verbose", "LOG_LEVEL");
    refused("WORKER_NAME=a b", "WORKER_NAME");
    refused("WORKER_NAME=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaa", "WORKER_NAME");
    refused("STORAGE_DIR=data", "STORAGE_DIR");
    refused("PORT=0", "PORT");
    refused("API_URL=localhost:3000", "API_URL");
    refused("CDN_BASE_URL=https://cdn\"x", "CDN_BASE_URL");
    refused("DB_PORT=x", "DB_PORT");
    refused("REDIS_PORT=70000", "REDIS_PORT");
    refused("REDIS_URL=localhost", "REDIS_URL");
    refused("DATABASE_URL=localhost", "DATABASE_URL");
    refused("JWT_SECRET=short", "JWT_SECRET");
    refused("JWT_SECRET=your_jwt_secret_key_that_is_long_enough", "JWT_SECRET");
    refused("DELIVERY_SECRET=short", "DELIVERY_SECRET");
    refused("DB_PASSWORD=your_password", "DB_PASSWORD");
    refused("DATABASE_URL=postgresql://postgres:your_password@localhost/v",
            "DATABASE_URL");
    ck_assert_int_eq(load("A=1\nnothing"), -1);
    ck_assert_ptr_nonnull(strstr(err, "line 2"));
}
END_TEST

START_TEST(no_secret_in_messages)
{
    refused("JWT_SECRET=hunter2hunter2", "JWT_SECRET");
    ck_assert_ptr_null(strstr(err, "hunter"));
    refused("DATABASE_URL=mysql://u:hunter2@h/d", "DATABASE_URL");
    ck_assert_ptr_null(strstr(err, "hunter"));
    refused("REDIS_URL=http://:hunter2@h", "REDIS_URL");
    ck_assert_ptr_null(strstr(err, "hunter"));
}
END_TEST

static void
database_is(const char *text, const char *url)
{
    ck_assert_msg(load(text) == 0, "%s: %s", text, err);
    ck_assert_str_eq(s.database_url, url);
    avp_settings_free(&s);
}

static void
redis_is(const char *text, const char *url)
{
    ck_assert_msg(load(text) == 0, "%s: %s", text, err);
    ck_assert_str_eq(s.redis_url, url);
    avp_settings_free(&s);
}

START_TEST(addresses)
{
    database_is("DATABASE_URL=postgres://a:b@c/d\nDB_HOST=other",
                "postgres://a:b@c/d");
    database_is("DATABASE_URL='host=/tmp dbname=x'", "host=/tmp dbname=x");
    database_is("DB_HOST=db", "postgresql://db:5432/video_processing");
    database_is("DB_HOST=db\nDB_PORT=5433\nDB_NAME=n\nDB_USER=u\n"
                "DB_PASSWORD=p", "postgresql://u:p@db:5433/n");
    database_is("DB_PASSWORD='p@ss:w/rd %#?'\nDB_USER='a b'\nDB_NAME=a/b",
                "postgresql://a%20b:p%40ss%3Aw%2Frd%20%25%23%3F@localhost:"
                "5432/a%2Fb");
    database_is("DB_HOST=/run/postgresql\nDB_USER=u",
                "postgresql://u@%2Frun%2Fpostgresql:5432/video_processing");
    database_is("DB_HOST=::1", "postgresql://[::1]:5432/video_processing");
    database_is("DB_HOST=[::1]", "postgresql://[::1]:5432/video_processing");

    redis_is("REDIS_URL=redis://r:1/2\nREDIS_HOST=x", "redis://r:1/2");
    redis_is("REDIS_URL=unix:/run/redis.sock", "unix:/run/redis.sock");
    redis_is("REDIS_HOST=r\nREDIS_PORT=7000", "redis://r:7000");
    redis_is("REDIS_HOST=/run/redis.sock", "unix:/run/redis.sock");
}
END_TEST

START_TEST(environment_wins)
{
    const char *path;
    char        text[] = "LEASE=30\nLEASE=40\nWORKER_NAME=of-file\n";

    clearenv();
    path = file_of("env", text, strlen(text));
    setenv("WORKER_NAME", "of-env", 1);
    setenv("LEASE", "", 1); /* nothing is not set */
    ck_assert_int_eq(avp_settings_load(&s, path, ignored, err), 0);
    ck_assert_str_eq(s.worker_name, "of-env");
    ck_assert_int_eq(s.lease, 40);
    avp_settings_free(&s);
    remove_files();

    ck_assert_int_eq(avp_settings_load(&s, "/nonexistent/env", ignored, err),
                     -1);
    ck_assert_ptr_nonnull(strstr(err, "/nonexistent/env"));
}
END_TEST

START_TEST(secrets_of_files)
{
    const char *path;
    char        secret[] = "0123456789abcdef0123456789abcdef\n";

    clearenv();
    path = file_of("secret", secret, strlen(secret));
    setenv("JWT_SECRET_FILE", path, 1);
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), 0);
    ck_assert_str_eq(s.jwt_secret, "0123456789abcdef0123456789abcdef");
    avp_settings_free(&s);

    setenv("JWT_SECRET", "fedcba9876543210fedcba9876543210", 1);
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), -1);
    ck_assert_ptr_nonnull(strstr(err, "JWT_SECRET_FILE"));
    unsetenv("JWT_SECRET");

    file_of("secret", "\n", 1);
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), -1);
    ck_assert_ptr_nonnull(strstr(err, "JWT_SECRET_FILE"));
    file_of("secret", "a\0b", 3);
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), -1);

    setenv("JWT_SECRET_FILE", folder, 1); /* a folder cannot be read */
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), -1);
    setenv("JWT_SECRET_FILE", "/dev/zero", 1); /* nor is there an end to it */
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), -1);
    setenv("JWT_SECRET_FILE", "/nonexistent", 1);
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), -1);
    ck_assert_ptr_nonnull(strstr(err, "/nonexistent"));

    clearenv();
    path = file_of("secret", "pa@ss\r\n", 7);
    setenv("DB_PASSWORD_FILE", path, 1);
    ck_assert_int_eq(avp_settings_load(&s, NULL, ignored, err), 0);
    ck_assert_str_eq(s.database_url,
                     "postgresql://postgres:pa%40ss@localhost:5432/"
                     "video_processing");
    avp_settings_free(&s);
    remove_files();
}
END_TEST

START_TEST(the_sources_env)
{
    /* the source's own .env, with secrets of one's own */
    ck_assert_msg(
        load("NODE_ENV=development\nPORT=3000\nAPI_URL=http://localhost:3000\n"
             "DB_HOST=localhost\nDB_PORT=5432\nDB_NAME=video_processing\n"
             "DB_USER=postgres\nDB_PASSWORD=s3cret\n"
             "DATABASE_URL=postgresql://postgres:s3cret@localhost:5432/"
             "video_processing\n"
             "REDIS_URL=redis://localhost:6379\nREDIS_HOST=localhost\n"
             "REDIS_PORT=6379\nAWS_REGION=us-east-1\n"
             "AWS_ACCESS_KEY_ID=your_access_key\n"
             "AWS_SECRET_ACCESS_KEY=your_secret_key\n"
             "S3_BUCKET_NAME=video-processing-uploads\n"
             "S3_ENDPOINT=https://s3.amazonaws.com\n"
             "MINIO_ENDPOINT=http://localhost:9000\n"
             "MINIO_ACCESS_KEY=minioadmin\nMINIO_SECRET_KEY=minioadmin\n"
             "FFMPEG_PATH=/usr/bin/ffmpeg\nFFPROBE_PATH=/usr/bin/ffprobe\n"
             "MAX_VIDEO_SIZE=5GB\nALLOWED_FORMATS=mp4,mov,avi,mkv,webm\n"
             "OUTPUT_FORMATS=mp4,webm,hls\n"
             "QUALITY_LEVELS=480p,720p,1080p,4k\n"
             "JWT_SECRET=0123456789abcdef0123456789abcdef\nJWT_EXPIRY=24h\n"
             "SMTP_HOST=smtp.gmail.com\nSMTP_PORT=587\n"
             "SMTP_USER=your_email@gmail.com\n"
             "SMTP_PASSWORD=your_app_password\nLOG_LEVEL=info\n") == 0,
        "%s", err);
    ck_assert_str_eq(ignored, "FFMPEG_PATH, FFPROBE_PATH, NODE_ENV");
    ck_assert_int_eq(s.jwt_expiry, 86400);
    avp_settings_free(&s);
}
END_TEST

UNIT_SUITE(settings, defaults, every_key, wrong_values, no_secret_in_messages,
           addresses, environment_wins, secrets_of_files, the_sources_env)
