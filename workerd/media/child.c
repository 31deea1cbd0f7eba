/*
 * `workerd media`: one job in a process of its own (docs/architecture.md 5).
 * It gets everything it may touch as open descriptors, shuts itself in, and
 * only then looks at the first byte of the source.
 */

#include "workerd/commands.h"
#include "workerd/media/pipeline.h"
#include "workerd/media/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FD_JOB = 0, FD_SOURCE = 3, FD_OUT = 4, FD_MESSAGES = 5 };

/* One line; the pipe blocks when the supervisor is slow, and fails when it
 * is gone. */
static int
send_line(void *ctx, const json_t *message)
{
    char   *line = json_dumps(message, JSON_COMPACT);
    size_t  len, at = 0;
    int     rc = -1;

    (void) ctx;
    if (line == NULL) {
        return -1;
    }

    len = strlen(line);
    line[len++] = '\n'; /* in the place of the NUL: the length is known */

    while (at < len) {
        ssize_t n = write(FD_MESSAGES, line + at, len - at);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            goto done;
        }
        at += (size_t)n;
    }
    rc = 0;

done:

    free(line);
    return rc;
}

/* One line, or all there is. */
static int
read_job(avp_job_t *job, char why[AVP_PROFILE_ERROR])
{
    char   *text = malloc(AVP_JOB_MAX);
    size_t  len = 0;
    ssize_t n = 1;
    int     rc = -1;
    bool    whole = false;

    snprintf(why, AVP_PROFILE_ERROR, "the job cannot be read");
    while (text && !whole && len < AVP_JOB_MAX) {
        n = read(FD_JOB, text + len, AVP_JOB_MAX - len);
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        len += n > 0 ? (size_t)n : 0;
        whole = n <= 0 || text[len - 1] == '\n';
    }
    if (text && whole && n >= 0) {
        rc = avp_job_parse(job, (avp_str_t){ text, len }, why);
    }
    free(text);
    return rc;
}

/* The job's memory is planned: the supervisor lets it go on by one more byte,
 * when there is room for it (supervisor/admit.c). */
static int
wait_for_leave(avp_fail_t *fail)
{
    ssize_t n;
    char    c;

    do {
        n = read(FD_JOB, &c, 1);
    } while (n < 0 && errno == EINTR);

    return n == 1 ? 0
                  : avp_fail(fail, AVP_ERR_STORAGE_ERROR,
                             "the supervisor is gone");
}

static int
enter_sandbox(const avp_job_t *job, avp_fail_t *fail)
{
    avp_sandbox_opts_t  opts = { .out_fd = FD_OUT };
    avp_sandbox_level_t level;
    char                text[128];

    if (!job->sandbox) {
        fprintf(stderr, "sandbox off\n");
        return 0;
    }
    if (avp_sandbox_enter(&opts, &level) != 0) {
        return avp_fail(fail, AVP_ERR_NO_SANDBOX,
                        "the sandbox cannot be entered: %s", strerror(errno));
    }
    avp_sandbox_describe(&level, text, sizeof(text));
    fprintf(stderr, "sandbox %s\n", text);
    return 0;
}

/* What `workerd run` asks before it takes jobs, and a person may: one line,
 * avp_sandbox_describe()'s or the reason why not. */
static int
check_sandbox(void)
{
    avp_sandbox_opts_t  opts = { .out_fd = -1 };
    avp_sandbox_level_t level;
    char                text[128];

    if (avp_sandbox_enter(&opts, &level) != 0) {
        if (errno == ENOSYS && level.landlock == 0) {
            fprintf(stderr, "the kernel has no Landlock\n");
        } else {
            fprintf(stderr, "%s: %s\n",
                    level.landlock == 0 ? "privileges" : "seccomp",
                    strerror(errno));
        }
        return AVP_EXIT_FAILED;
    }
    avp_sandbox_describe(&level, text, sizeof(text));
    puts(text);
    return fflush(stdout) == 0 ? AVP_EXIT_OK : AVP_EXIT_FAILED;
}

int
avp_media_main(int argc, char **argv)
{
    avp_progress_t progress;
    avp_fail_t     fail = { 0 };
    avp_job_t      job;
    json_t        *doc = NULL;
    char           why[AVP_PROFILE_ERROR];
    int            rc;

    if (argc == 2 && strcmp(argv[1], "--check-sandbox") == 0) {
        return check_sandbox();
    }
    if (argc != 1 || fcntl(FD_MESSAGES, F_GETFD) < 0) {
        fprintf(stderr, "workerd media is started by workerd run\n");
        return AVP_EXIT_USAGE;
    }

    /* a listener that went away shows as EPIPE, and ends the job */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL);

    avp_progress_init(&progress, send_line, NULL);
    avp_pipeline_init();

    rc = read_job(&job, why);
    if (rc) {
        avp_fail(&fail, AVP_ERR_STORAGE_ERROR, "%s", why);
    } else {
        rc = enter_sandbox(&job, &fail);
    }
    if (rc == 0) {
        rc = avp_pipeline_run(&job, FD_SOURCE, FD_OUT, &progress,
                              job.hold ? wait_for_leave : NULL, &doc, &fail);
    }

    if (rc == 0) {
        avp_progress_send(&progress, json_pack("{s:s, s:o}", "t", "done",
                                               "doc", doc));
    } else {
        avp_progress_error(&progress, &fail);
    }

    rc = rc == 0 && !avp_progress_gone(&progress) ? AVP_EXIT_OK
                                                  : AVP_EXIT_FAILED;
    avp_progress_free(&progress);
    return rc;
}
