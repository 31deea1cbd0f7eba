/*
 * `workerd transcode SRC OUTDIR`: the pipeline once, for people, benchmarks
 * and tests; no database, no Redis.  The process has nothing else to do, so
 * it is its own media process, sandbox included.
 */

#include "workerd/commands.h"
#include "workerd/media/pipeline.h"
#include "workerd/media/sandbox.h"

#include "lib/sniff.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: workerd transcode [OPTIONS] SRC OUTDIR\n"
    "\n"
    "  --profile WORD     fast, balanced, quality or a file (default: balanced)\n"
    "  --formats LIST     of mp4,webm,hls (default: the profile's)\n"
    "  --qualities LIST   of 480p,720p,1080p,4k (default: all that fit)\n"
    "  --webm av1|vp9     codec of the WebM files (default: the profile's)\n"
    "  --early on|off     a playable pass of its own (default: on)\n"
    "  --passthrough auto|off  copy what fits as it is (default: auto)\n"
    "  --order WORD       auto, together or hls-first (default: auto)\n"
    "  --preview on|off   a short preview that moves (default: off)\n"
    "  --allow LIST       containers taken (default: mp4,mov,avi,mkv,webm)\n"
    "  --max-duration S   seconds (default: 21600)\n"
    "  --threads N        cores to plan for (default: all)\n"
    "  --sandbox on|off   (default: on)\n"
    "  --json             the results as JSON on stdout\n"
    "  --messages         every message as JSON on stderr\n"
    "  --quiet            no progress\n";

typedef struct {
    avp_job_t   job;
    const char *profile;
    bool        json, messages, quiet, line;
} options_t;

enum {
    OPT_FORMATS = 1, OPT_QUALITIES, OPT_WEBM, OPT_EARLY, OPT_PASSTHROUGH,
    OPT_ORDER, OPT_PREVIEW, OPT_ALLOW, OPT_DURATION, OPT_THREADS, OPT_SANDBOX,
    OPT_PROFILE, OPT_JSON, OPT_MESSAGES, OPT_QUIET, OPT_HELP
};

static const struct option longs[] = {
    { "profile", required_argument, NULL, OPT_PROFILE },
    { "formats", required_argument, NULL, OPT_FORMATS },
    { "qualities", required_argument, NULL, OPT_QUALITIES },
    { "webm", required_argument, NULL, OPT_WEBM },
    { "early", required_argument, NULL, OPT_EARLY },
    { "passthrough", required_argument, NULL, OPT_PASSTHROUGH },
    { "order", required_argument, NULL, OPT_ORDER },
    { "preview", required_argument, NULL, OPT_PREVIEW },
    { "allow", required_argument, NULL, OPT_ALLOW },
    { "max-duration", required_argument, NULL, OPT_DURATION },
    { "threads", required_argument, NULL, OPT_THREADS },
    { "sandbox", required_argument, NULL, OPT_SANDBOX },
    { "json", no_argument, NULL, OPT_JSON },
    { "messages", no_argument, NULL, OPT_MESSAGES },
    { "quiet", no_argument, NULL, OPT_QUIET },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 }
};

static int
set_switch(const char *word, bool *dst)
{
    *dst = strcmp(word, "on") == 0;
    return *dst || strcmp(word, "off") == 0 ? 0 : -1;
}

static int
set_number(const char *word, long min, long max, long *dst)
{
    char *end;

    errno = 0;
    *dst = strtol(word, &end, 10);
    return errno || *end || end == word || *dst < min || *dst > max ? -1 : 0;
}

static int
set_option(options_t *o, int opt, const char *arg)
{
    long n = 0;
    int  rc;

    switch (opt) {
    case OPT_FORMATS:
        return avp_job_set_formats(&o->job, avp_str_c(arg));
    case OPT_QUALITIES:
        return avp_job_set_qualities(&o->job, avp_str_c(arg));
    case OPT_WEBM:
        return avp_job_set_webm(&o->job, avp_str_c(arg));
    case OPT_EARLY:
        return set_switch(arg, &o->job.early);
    case OPT_PASSTHROUGH:
        return avp_job_set_passthrough(&o->job, avp_str_c(arg));
    case OPT_ORDER:
        return avp_job_set_order(&o->job, avp_str_c(arg));
    case OPT_PREVIEW:
        return set_switch(arg, &o->job.preview);
    case OPT_ALLOW:
        o->job.allowed = avp_formats_parse(avp_str_c(arg));
        return o->job.allowed ? 0 : -1;
    case OPT_DURATION:
        rc = set_number(arg, 1, 7 * 86400, &n);
        o->job.max_duration = n;
        return rc;
    case OPT_THREADS:
        rc = set_number(arg, 1, 256, &n);
        o->job.threads = (int)n;
        return rc;
    case OPT_PROFILE:
        o->profile = arg;
        return 0;
    case OPT_SANDBOX:
        return set_switch(arg, &o->job.sandbox);
    case OPT_JSON:
        o->json = true;
        return 0;
    case OPT_MESSAGES:
        o->messages = true;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    }
    return -1;
}

static const char *
text_of(const json_t *message, const char *key)
{
    const char *s = json_string_value(json_object_get(message, key));

    return s ? s : "";
}

/* Messages for people: one line that moves, and the rest as they come. */
static int
show(void *ctx, const json_t *message)
{
    options_t  *o = ctx;
    const char *t = text_of(message, "t");
    int         eta;

    if (o->messages) {
        json_dumpf(message, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        return 0;
    }
    if (o->quiet) {
        return 0;
    }

    if (strcmp(t, "progress") == 0) {
        eta = (int)json_integer_value(json_object_get(message, "eta"));
        fprintf(stderr, "\r%3d %%  %-36.36s",
                (int)json_integer_value(json_object_get(message, "progress")),
                text_of(message, "task"));
        if (eta >= 0) {
            fprintf(stderr, " %4d s left ", eta);
        }
        o->line = true;
        return 0;
    }

    if (o->line) {
        fputc('\n', stderr);
        o->line = false;
    }
    if (strcmp(t, "plan") == 0) {
        fprintf(stderr, "plan: %s\n", text_of(message, "text"));
    } else if (strcmp(t, "playable") == 0) {
        fprintf(stderr, "playable: %s\n",
                text_of(json_object_get(message, "doc"), "master"));
    } else if (strcmp(t, "warning") == 0) {
        fprintf(stderr, "warning: %s\n", text_of(message, "detail"));
    }
    return 0;
}

/* The profile, and what the options leave of it. */
static int
settle(options_t *o)
{
    char why[AVP_PROFILE_ERROR];

    if ((o->profile && avp_profile_load(&o->job.profile, o->profile, why))
        || avp_job_settle(&o->job, why))
    {
        avp_command_error("%s", why);
        return -1;
    }
    return 0;
}

static int
open_ends(char **argv, int *src, int *out)
{
    *src = open(argv[0], O_RDONLY | O_CLOEXEC);
    if (*src < 0) {
        avp_command_error("%s: %s", argv[0], strerror(errno));
        return -1;
    }

    if (mkdir(argv[1], 0750) != 0 && errno != EEXIST) {
        avp_command_error("%s: %s", argv[1], strerror(errno));
        return -1;
    }
    *out = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out < 0) {
        avp_command_error("%s: %s", argv[1], strerror(errno));
        return -1;
    }
    return 0;
}

static int
enter_sandbox(const options_t *o, int out)
{
    avp_sandbox_opts_t  opts = { .out_fd = out };
    avp_sandbox_level_t level;

    if (o->job.sandbox && avp_sandbox_enter(&opts, &level) != 0) {
        avp_command_error("the sandbox cannot be entered: %s (--sandbox off "
                          "does without)",
                          strerror(errno));
        return -1;
    }
    return 0;
}

static int
run(options_t *o, int src, int out)
{
    avp_progress_t progress;
    avp_fail_t     fail = { 0 };
    json_t        *doc = NULL;
    int            rc;

    avp_progress_init(&progress, show, o);
    rc = avp_pipeline_run(&o->job, src, out, &progress, NULL, &doc, &fail);
    avp_progress_free(&progress);

    if (o->line) {
        fputc('\n', stderr);
    }
    if (rc) {
        avp_command_error("%s: %s", avp_error_info(fail.code)->code,
                          fail.detail);
        return AVP_EXIT_FAILED;
    }

    if (o->json) {
        json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
        putchar('\n');
    } else if (!o->quiet) {
        fprintf(stderr, "done: %zu files\n",
                json_array_size(json_object_get(doc, "results")));
    }
    json_decref(doc);
    return fflush(stdout) == 0 ? AVP_EXIT_OK : AVP_EXIT_FAILED;
}

int
avp_transcode_main(int argc, char **argv)
{
    options_t o = { 0 };
    long      cores = sysconf(_SC_NPROCESSORS_ONLN);
    int       opt, src = -1, out = -1;

    avp_job_defaults(&o.job);
    o.job.restart = true;
    o.job.threads = cores > 0 && cores <= 256 ? (int)cores : 1;

    while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (opt == OPT_HELP) {
            fputs(usage, stdout);
            return AVP_EXIT_OK;
        }
        if (set_option(&o, opt, optarg)) {
            if (opt != '?') {
                avp_command_error("`%s` is not understood", optarg);
            }
            fputs(usage, stderr);
            return AVP_EXIT_USAGE;
        }
    }
    if (argc - optind != 2) {
        fputs(usage, stderr);
        return AVP_EXIT_USAGE;
    }

    if (settle(&o)) {
        return AVP_EXIT_USAGE;
    }

    signal(SIGPIPE, SIG_IGN);
    avp_pipeline_init();
    if (open_ends(argv + optind, &src, &out) || enter_sandbox(&o, out)) {
        return AVP_EXIT_FAILED;
    }
    return run(&o, src, out);
}
