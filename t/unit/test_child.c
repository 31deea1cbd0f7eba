/*
 * workerd/supervisor/child.c and guard.c.  A media process is this very
 * program, started as `unit-tests media` by the code under test: it reads its
 * job and misbehaves as told.
 */

#include "t/unit/unit.h"

#include "workerd/log.h"
#include "workerd/supervisor/child.h"
#include "workerd/supervisor/clock.h"
#include "workerd/supervisor/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the other side ------------------------------------------------------ */

extern char **environ;

static void
say(const char *text)
{
    if (write(5, text, strlen(text)) < 0) {
        _exit(9);
    }
}

static void
pour(char c, size_t n)
{
    char buf[4096];

    memset(buf, c, sizeof(buf));
    while (n > 0) {
        ssize_t w = write(5, buf, n < sizeof(buf) ? n : sizeof(buf));
        if (w <= 0) {
            _exit(9);
        }
        n -= (size_t) w;
    }
}

static unsigned long
soft(int which)
{
    struct rlimit r;

    return getrlimit((__rlimit_resource_t) which, &r) == 0
               ? (unsigned long) r.rlim_cur
               : 0;
}

/* What it was given, as one line. */
static void
facts(void)
{
    struct sigaction pipe;
    sigset_t         blocked;
    char             line[512];
    int              death = 0, more = 0, signals = 0;

    for (int fd = 6; fd < 200; fd++) {
        more += fcntl(fd, F_GETFD) >= 0;
    }
    (void) prctl(PR_GET_PDEATHSIG, &death);
    (void) sigaction(SIGPIPE, NULL, &pipe);
    (void) sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int i = 1; i < 32; i++) {
        signals += sigismember(&blocked, i) == 1;
    }
    (void) snprintf(
        line, sizeof(line),
        "env %d fds %d group %d death %d pipe %d blocked %d umask %o nofile "
        "%lu core %lu cpu %lu\n",
        environ != NULL && environ[0] != NULL, more,
        getpgrp() == getpid() && getsid(0) == getpid(), death,
        pipe.sa_handler == SIG_DFL, signals, (unsigned) umask(0),
        soft(RLIMIT_NOFILE), soft(RLIMIT_CORE), soft(RLIMIT_CPU));
    say(line);
}

static void
misbehave(const char *job)
{
    char line[100];

    if (strcmp(job, "facts") == 0) {
        facts();
    } else if (strcmp(job, "partial") == 0) {
        say("{\"t\":");
    } else if (strcmp(job, "longest") == 0) {
        pour('x', AVP_MEDIA_LINE_MAX);
        say("\n");
    } else if (strcmp(job, "too long") == 0) {
        pour('x', AVP_MEDIA_LINE_MAX + 1);
    } else if (strcmp(job, "torrent") == 0) {
        pour('\n', 1 << 20);
    } else if (strcmp(job, "talk") == 0) {
        for (int i = 0; i < 5000; i++) {
            (void) snprintf(line, sizeof(line), "line %d of many\n", i);
            if (write(2, line, strlen(line)) < 0) {
                _exit(9);
            }
        }
    } else if (strcmp(job, "source") == 0) {
        ssize_t n = read(3, line, sizeof(line) - 1);
        line[n > 0 ? n : 0] = '\0';
        say(line);
        say(write(3, "x", 1) < 0 ? "refused\n" : "written\n");
    } else if (strcmp(job, "limits") == 0) {
        say("ready\n");
        while (soft(RLIMIT_FSIZE) != 12345) {
            (void) poll(NULL, 0, 5);
        }
        (void) snprintf(line, sizeof(line), "cpu %lu\n", soft(RLIMIT_CPU));
        say(line);
    } else if (strcmp(job, "held") == 0) {
        say("ready\n");
        ssize_t n = read(0, line, sizeof(line));
        say(n == 1 && line[0] == 'g' ? "let go\n" : "left\n");
    } else if (strcmp(job, "status") == 0) {
        _exit(7);
    } else if (strcmp(job, "sleep") == 0) {
        (void) poll(NULL, 0, 60000);
    }
    _exit(0);
}

static void __attribute__((constructor))
be_media(int argc, char **argv)
{
    char    job[128];
    ssize_t n;

    if (argc != 2 || strcmp(argv[1], "media") != 0
        || fcntl(5, F_GETFD) < 0)
    {
        return;
    }
    n = read(0, job, sizeof(job) - 1);
    job[n > 0 ? n : 0] = '\0';
    job[strcspn(job, "\n")] = '\0'; /* one line */
    misbehave(job);
}

/* ---- this side ----------------------------------------------------------- */

static char   seen[1 << 20];
static size_t seen_len;

static int
on_line(void *ctx, avp_str_t line)
{
    (void) ctx;
    if (seen_len + line.len + 2 < sizeof(seen)) {
        memcpy(seen + seen_len, line.data, line.len);
        seen_len += line.len;
        seen[seen_len++] = '\n';
        seen[seen_len] = '\0';
    }
    return 0;
}

static int
refuse(void *ctx, avp_str_t line)
{
    (void) ctx;
    (void) line;
    return -1;
}

static void
start_as(avp_child_t *c, const char *job, bool hold)
{
    char path[] = "/tmp/avp-unit-source-XXXXXX";
    int  made = mkstemp(path), source, out;

    avp_log_set_level(AVP_LOG_ERROR + 1);
    seen_len = 0;
    seen[0] = '\0';
    ck_assert_int_eq(write(made, "bytes\n", 6), 6);
    source = open(path, O_RDONLY | O_CLOEXEC);
    out = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(
        avp_child_start(c, job, strlen(job), source, out, 1000, 1 << 30,
                        hold),
        0);
    close(made);
    close(source);
    close(out);
    unlink(path);
}

static void
start(avp_child_t *c, const char *job)
{
    start_as(c, job, false);
}

static void
read_until(avp_child_t *c, const char *text)
{
    for (int i = 0; strcmp(seen, text) != 0; i++) {
        struct pollfd fd = { c->msg_fd, POLLIN, 0 };

        ck_assert_msg(i < 10000, "%s", seen);
        (void) poll(&fd, 1, 1000);
        ck_assert_int_eq(avp_child_read(c, avp_clock(), on_line, NULL), 0);
    }
}

/* Reads to the end: 1, or the -1 that ended it. */
static int
read_all(avp_child_t *c, int (*cb)(void *, avp_str_t))
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < 10000; i++) {
        struct pollfd fds[2] = { { c->msg_fd, POLLIN, 0 },
                                 { c->log_fd, POLLIN, 0 } };
        (void) poll(fds, 2, 1000);
        rc = avp_child_read(c, avp_clock(), cb, NULL);
        avp_child_read_log(c, "job");
    }
    return rc;
}

static int
end(avp_child_t *c)
{
    for (int i = 0; i < 2000 && !avp_child_reap(c); i++) {
        (void) poll(NULL, 0, 5);
    }
    ck_assert_int_eq(c->pid, 0);
    avp_child_read_log(c, "job");
    avp_child_close(c);
    return c->status;
}

START_TEST(given)
{
    avp_child_t c;

    (void) signal(SIGPIPE, SIG_IGN);
    start(&c, "facts");
    ck_assert_int_eq(read_all(&c, on_line), 1);
#ifdef __SANITIZE_ADDRESS__
    ck_assert_ptr_nonnull(strstr(seen, "env 1 "));
#else
    ck_assert_ptr_nonnull(strstr(seen, "env 0 "));
#endif
    ck_assert_ptr_nonnull(
        strstr(seen, "fds 0 group 1 death 9 pipe 1 blocked 0 umask 27 nofile "
                     "64 core 0 cpu 120"));
    ck_assert_int_eq(end(&c), 0);

    start(&c, "source");
    ck_assert_int_eq(read_all(&c, on_line), 1);
    ck_assert_str_eq(seen, "bytes\nrefused\n");
    ck_assert_int_eq(end(&c), 0);
}
END_TEST

START_TEST(hostile)
{
    static const char *const jobs[] = { "partial", "too long", "torrent" };
    avp_child_t              c;

    start(&c, "longest");
    ck_assert_int_eq(read_all(&c, on_line), 1);
    ck_assert_uint_eq(seen_len, AVP_MEDIA_LINE_MAX + 1);
    ck_assert_int_eq(end(&c), 0);

    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        start(&c, jobs[i]);
        ck_assert_msg(read_all(&c, on_line) == -1, "%s", jobs[i]);
        avp_child_kill(&c);
        (void) end(&c);
    }

    start(&c, "facts");
    ck_assert_int_eq(read_all(&c, refuse), -1);
    avp_child_kill(&c);
    (void) end(&c);
}
END_TEST

START_TEST(talkative)
{
    avp_child_t c;

    start(&c, "talk");
    ck_assert_int_eq(read_all(&c, on_line), 1);
    ck_assert_int_eq(end(&c), 0);
    ck_assert_int_eq(c.log_lines, 5000);
}
END_TEST

START_TEST(limited)
{
    avp_child_t c;

    start(&c, "limits");
    read_until(&c, "ready\n");
    ck_assert_int_gt(avp_child_rss(&c), 4096);
    avp_child_limit(&c, 77, 12345);
    ck_assert_int_eq(read_all(&c, on_line), 1);
    ck_assert_str_eq(seen, "ready\ncpu 77\n");
    ck_assert_int_eq(end(&c), 0);
}
END_TEST

/* It goes on when it is let go, and knows when nobody will. */
START_TEST(held)
{
    avp_child_t c;

    (void) signal(SIGPIPE, SIG_IGN);
    start_as(&c, "held", true);
    read_until(&c, "ready\n");
    avp_child_go(&c);
    avp_child_go(&c); /* no more than once */
    ck_assert_int_eq(read_all(&c, on_line), 1);
    ck_assert_str_eq(seen, "ready\nlet go\n");
    ck_assert_int_eq(end(&c), 0);

    start(&c, "held");
    ck_assert_int_eq(read_all(&c, on_line), 1);
    ck_assert_str_eq(seen, "ready\nleft\n");
    ck_assert_int_eq(end(&c), 0);

    start_as(&c, "held", true); /* killed while it waits */
    read_until(&c, "ready\n");
    avp_child_kill(&c);
    avp_child_go(&c);
    (void) end(&c);
}
END_TEST

START_TEST(ended)
{
    avp_child_t c;
    int         status;

    start(&c, "status");
    ck_assert_int_eq(read_all(&c, on_line), 1);
    status = end(&c);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);

    start(&c, "sleep");
    ck_assert(!avp_child_reap(&c));
    avp_child_kill(&c);
    status = end(&c);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_int_ge(avp_oom_kills(), 0);
}
END_TEST

static bool
reaped(avp_guard_t *g, avp_child_t *c, bool *struck)
{
    for (int i = 0; i < 2000; i++) {
        if (avp_guard_reap(g, 1, c, struck)) {
            return true;
        }
        (void) poll(NULL, 0, 5);
    }
    return false;
}

START_TEST(guarded)
{
    avp_guard_t *g = avp_guard_start(2);
    avp_child_t  c;
    bool         struck = false;
    int64_t      now;

    ck_assert_ptr_nonnull(g);

    /* its deadline moves on while the lease is confirmed, then it strikes */
    start(&c, "sleep");
    now = avp_clock();
    avp_guard_watch(g, 1, c.pid, now + 300);
    avp_guard_move(g, 1, now + 700);
    while (avp_clock() < now + 500) {
        ck_assert(!avp_guard_reap(g, 1, &c, &struck));
        (void) poll(NULL, 0, 20);
    }
    ck_assert(reaped(g, &c, &struck));
    ck_assert(struck);
    ck_assert_int_ge(avp_clock(), now + 700);
    ck_assert(WIFSIGNALED(c.status));
    avp_child_close(&c);

    /* a confirmation that comes too late changes nothing */
    start(&c, "sleep");
    avp_guard_watch(g, 1, c.pid, avp_clock());
    (void) poll(NULL, 0, 100);
    avp_guard_move(g, 1, avp_clock() + 10000);
    ck_assert(reaped(g, &c, &struck));
    ck_assert(struck);
    avp_child_close(&c);

    /* and an ordinary end is none of its doing */
    start(&c, "status");
    struck = true;
    avp_guard_watch(g, 1, c.pid, avp_clock() + 10000);
    ck_assert(reaped(g, &c, &struck));
    ck_assert(!struck);
    avp_child_close(&c);
    avp_guard_stop(g);
}
END_TEST

UNIT_SUITE(child, given, hostile, talkative, limited, held, ended,
           guarded)
