/*
 * workerd: the daemon and the operators' tool, one program with subcommands.
 * This file knows the table of subcommands and the global options, nothing
 * else.
 */

#include "workerd/commands.h"
#include "workerd/db.h"
#include "workerd/log.h"

#include <jansson.h>
#include <openssl/crypto.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *avp_env_file;

static const char *command_name = "workerd";

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *args;
    const char *help;
} command_t;

static const command_t commands[] = {
    { "run", avp_run_main, "[--once]", "take jobs from the queue and run them" },
    { "migrate", avp_migrate_main, "[--dir DIR]",
      "bring the database up to date" },
    { "sample", avp_sample_main, "[FILE] [--user EMAIL]",
      "put a demo video into the queue" },
    { "user", avp_user_main, "add|list|disable|enable ...", "manage users" },
    { "token", avp_token_main, "--user EMAIL [--create] [--admin]",
      "print a bearer token" },
    { "transcode", avp_transcode_main, "SRC OUTDIR",
      "run the media pipeline on one file, without database" },
    { "profile", avp_profile_main, "[NAME|FILE]",
      "print an encoding profile, whole, as JSON" },
    { "clip", avp_clip_main, "OUT.mp4", "make a test clip" },
    { "reconcile", avp_reconcile_main, "", "put lapsed jobs back, once" },
    { "gc", avp_gc_main, "[--grace SECONDS]",
      "remove what nobody names any more" },
    { "media", avp_media_main, "", NULL }, /* started by run */
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

void
avp_command_error(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", command_name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int
avp_command_settings(avp_settings_t *s)
{
    char ignored[AVP_SETTINGS_ERROR] = "", err[AVP_SETTINGS_ERROR] = "";

    if (avp_settings_load(s, avp_env_file, ignored, err)) {
        avp_command_error("%s", err);
        return -1;
    }

    if (s->database_url == NULL) {
        avp_command_error("DATABASE_URL is not set: name a file of settings "
                          "by --env-file, or set it (or DB_HOST, DB_NAME ...) "
                          "in the environment");
        avp_settings_free(s);
        return -1;
    }

    avp_log_set_level((avp_log_level_t) s->log_level);

    if (ignored[0]) {
        avp_log(AVP_LOG_INFO, "settings without a meaning here are ignored",
                AVP_S("names", ignored));
    }

    return 0;
}

static void
usage(FILE *out)
{
    size_t i;

    fprintf(out, "usage: workerd [--env-file FILE] COMMAND [ARGUMENTS]\n"
                 "       workerd --version | --help\n\n");

    for (i = 0; i < NCOMMANDS; i++) {
        if (commands[i].help) {
            fprintf(out, "  %-10s %-34s %s\n", commands[i].name,
                    commands[i].args, commands[i].help);
        }
    }

    fprintf(out, "\nSettings come from FILE (or AVP_ENV_FILE) and the "
                 "environment, which wins.\n");
}

static void
version(void)
{
    printf("workerd of Async Video Processing\n"
           "libpq %s, jansson %s, %s\n%s\n",
           avp_db_client_version(), JANSSON_VERSION,
           OpenSSL_version(OPENSSL_VERSION), avp_media_versions());
}

static int
dispatch(int argc, char **argv)
{
    static char name[64];
    size_t      i;

    for (i = 0; i < NCOMMANDS; i++) {
        if (strcmp(commands[i].name, argv[0]) != 0) {
            continue;
        }

        snprintf(name, sizeof(name), "workerd %s", commands[i].name);
        command_name = name;

        return commands[i].run(argc, argv);
    }

    avp_command_error("there is no command `%s`; see workerd --help", argv[0]);

    return AVP_EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    int i = 1;

    avp_env_file = getenv("AVP_ENV_FILE");

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--env-file") == 0 && i + 1 < argc) {
            avp_env_file = argv[++i];

        } else if (strncmp(argv[i], "--env-file=", 11) == 0) {
            avp_env_file = argv[i] + 11;

        } else if (strcmp(argv[i], "--version") == 0) {
            version();
            return AVP_EXIT_OK;

        } else if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return AVP_EXIT_OK;

        } else {
            usage(stderr);
            return AVP_EXIT_USAGE;
        }
    }

    if (avp_env_file && avp_env_file[0] == '\0') {
        avp_env_file = NULL;
    }

    if (i == argc) {
        usage(stderr);
        return AVP_EXIT_USAGE;
    }

    return dispatch(argc - i, argv + i);
}
