/*
 * The subcommands of workerd.  Each gets its own argc and argv (argv[0] is
 * the subcommand's name), runs on the main thread and returns the exit code:
 * 0 done, 1 failed, 2 called wrongly.
 */

#ifndef AVP_WORKERD_COMMANDS_H
#define AVP_WORKERD_COMMANDS_H

#include "lib/settings.h"

enum { AVP_EXIT_OK = 0, AVP_EXIT_FAILED = 1, AVP_EXIT_USAGE = 2 };

/* --env-file or AVP_ENV_FILE; NULL when neither is given. */
extern const char *avp_env_file;

/*
 * Loads the settings from avp_env_file and the environment, for commands that
 * need a database: one must be named.  Sets the log's level and logs ignored
 * names once.  0, or -1 after saying what is wrong.
 */
int avp_command_settings(avp_settings_t *s);

/* Says "workerd COMMAND: ..." on stderr, for people. */
void avp_command_error(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* workerd/cmd_*.c */
int avp_migrate_main(int argc, char **argv);
int avp_sample_main(int argc, char **argv);
int avp_user_main(int argc, char **argv);
int avp_token_main(int argc, char **argv);
int avp_profile_main(int argc, char **argv);

/* workerd/supervisor/ */
int avp_run_main(int argc, char **argv);
int avp_reconcile_main(int argc, char **argv);
int avp_gc_main(int argc, char **argv);

/* workerd/media/; the only ones that link libav */
int avp_transcode_main(int argc, char **argv); /* transcode SRC OUTDIR */
int avp_media_main(int argc, char **argv);     /* docs/architecture.md 5 */
int avp_clip_main(int argc, char **argv);      /* clip OUT.mp4 */

/* The libraries that touch media, as they are loaded: "libavcodec" and
 * "59.37.100".  Static; a name of NULL ends it. */
typedef struct {
    const char *name;
    char        version[24];
} avp_media_library_t;

const avp_media_library_t *avp_media_libraries(void);
/* The same as one text: "libavformat 59.27.100, ..." */
const char *avp_media_versions(void);

#endif
