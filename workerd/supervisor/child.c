/* See child.h. */

#include "workerd/supervisor/child.h"

#include "workerd/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST_FD 5
#define SAFE_FD 16                     /* above all that are being moved */
#define FIRST_CPU 120                  /* seconds, until there is a plan */
#define FIRST_FILE (64 * 1024 * 1024)  /* bytes, until there is a plan */
#define ADDRESS_SPACE ((rlim_t) 16 << 30)
#define MESSAGES_A_SECOND 1000

/* ---- starting ----------------------------------------------------------- */

static int
limit(int which, rlim_t soft, rlim_t hard)
{
    const struct rlimit r = { soft, hard };

    return setrlimit((__rlimit_resource_t) which, &r);
}

/* Short of memory, the kernel shall take a job and not a service. */
static void
first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "800", 3) != 3) {
            /* then as it was: nothing to do about it here */
        }
        close(fd);
    }
}

/* Between fork and exec: only async-signal-safe calls, for the supervisor has
 * threads.  Never returns. */
static void __attribute__((noreturn))
become_media(int fds[LAST_FD + 1], pid_t parent, int64_t max_cpu,
             int64_t max_file)
{
    static char *const argv[] = { "workerd", "media", NULL };
#ifdef __SANITIZE_ADDRESS__
    static char *const envp[] = { "ASAN_OPTIONS=detect_leaks=0", NULL };
#else
    static char *const envp[] = { NULL };
#endif
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t         none;

    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0
        || getppid() != parent) /* it died before the line above */
    {
        _exit(126);
    }

    for (int i = 0; i <= LAST_FD; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SAFE_FD);
        if (fds[i] < 0) {
            _exit(126);
        }
    }
    for (int i = 0; i <= LAST_FD; i++) {
        if (dup2(fds[i], i) < 0) {
            _exit(126);
        }
    }
    if (close_range(LAST_FD + 1, ~0u, 0) != 0) {
        for (int i = LAST_FD + 1; i < 65536; i++) {
            (void) close(i);
        }
    }

    if (limit(RLIMIT_NOFILE, 64, 64) != 0 || limit(RLIMIT_CORE, 0, 0) != 0
        || limit(RLIMIT_CPU, FIRST_CPU, (rlim_t) max_cpu) != 0
        || limit(RLIMIT_FSIZE, FIRST_FILE, (rlim_t) max_file) != 0
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        || limit(RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE) != 0
#endif
        || chdir("/") != 0)
    {
        _exit(126);
    }
    (void) umask(027);
    first_to_go();

    (void) sigaction(SIGPIPE, &dfl, NULL); /* the supervisor ignores it */
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);

    (void) execve("/proc/self/exe", argv, envp);
    _exit(127);
}

static void
close_pair(int p[2])
{
    for (int i = 0; i < 2; i++) {
        if (p[i] >= 0) {
            close(p[i]);
            p[i] = -1;
        }
    }
}

int
avp_child_start(avp_child_t *c, const char *job, size_t job_len, int source_fd,
                int out_fd, int64_t max_cpu, int64_t max_file, bool hold)
{
    int   in[2] = { -1, -1 }, log[2] = { -1, -1 }, msg[2] = { -1, -1 };
    int   null = -1, e;
    pid_t parent = getpid();

    memset(c, 0, sizeof(*c));
    c->msg_fd = c->log_fd = c->hold_fd = -1;

    c->line = malloc(AVP_MEDIA_LINE_MAX + 1);
    null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (c->line == NULL || null < 0 || pipe2(in, O_CLOEXEC) != 0
        || pipe2(log, O_CLOEXEC) != 0 || pipe2(msg, O_CLOEXEC) != 0
        || fcntl(log[0], F_SETFL, O_NONBLOCK) != 0
        || fcntl(msg[0], F_SETFL, O_NONBLOCK) != 0
        || fcntl(in[1], F_SETFL, O_NONBLOCK) != 0)
    {
        goto fail;
    }

    /* a job is far smaller than a pipe: all of it goes in, before anybody
     * reads */
    if (write(in[1], job, job_len) != (ssize_t) job_len
        || write(in[1], "\n", 1) != 1)
    {
        errno = EMSGSIZE;
        goto fail;
    }

    c->pid = fork();
    if (c->pid == 0) {
        int fds[LAST_FD + 1]
            = { in[0], null, log[1], source_fd, out_fd, msg[1] };
        become_media(fds, parent, max_cpu, max_file);
    }
    if (c->pid < 0) {
        c->pid = 0;
        goto fail;
    }

    c->log_fd = log[0];
    c->msg_fd = msg[0];
    if (hold) {
        c->hold_fd = in[1];
        in[1] = -1;
    }
    close_pair(in);
    close(log[1]);
    close(msg[1]);
    close(null);
    return 0;

fail:
    e = errno;
    close_pair(in);
    close_pair(log);
    close_pair(msg);
    if (null >= 0) {
        close(null);
    }
    free(c->line);
    c->line = NULL;
    errno = e;
    return -1;
}

void
avp_child_go(avp_child_t *c)
{
    if (c->hold_fd < 0) {
        return;
    }
    if (write(c->hold_fd, "g", 1) != 1) {
        /* it is dead: whoever reaps it will see */
    }
    close(c->hold_fd);
    c->hold_fd = -1;
}

void
avp_child_limit(const avp_child_t *c, int64_t cpu, int64_t file)
{
    const struct rlimit time = { (rlim_t) cpu, (rlim_t) cpu + 5 };
    const struct rlimit size = { (rlim_t) file, (rlim_t) file };

    if (c->pid > 0) {
        (void) prlimit(c->pid, RLIMIT_CPU, &time, NULL);
        (void) prlimit(c->pid, RLIMIT_FSIZE, &size, NULL);
    }
}

/* ---- its pipes ---------------------------------------------------------- */

static int
take_lines(avp_child_t *c, int64_t now, int (*on_line)(void *, avp_str_t),
           void *ctx)
{
    char  *p = c->line, *end;
    size_t left = c->line_len;
    int    rc = 0;

    while (rc == 0 && left > 0 && (end = memchr(p, '\n', left)) != NULL) {
        if (c->second != now / 1000) {
            c->second = now / 1000;
            c->messages = 0;
        }
        if (++c->messages > MESSAGES_A_SECOND) {
            return -1;
        }
        rc = on_line(ctx, (avp_str_t){ p, (size_t) (end - p) });
        left -= (size_t) (end + 1 - p);
        p = end + 1;
    }
    memmove(c->line, p, left);
    c->line_len = left;
    return rc != 0 || left > AVP_MEDIA_LINE_MAX ? -1 : 0;
}

int
avp_child_read(avp_child_t *c, int64_t now,
               int (*on_line)(void *ctx, avp_str_t line), void *ctx)
{
    ssize_t n;

    /* a bounded number of reads: the loop has others to look after */
    for (int i = 0; i < 8 && c->msg_fd >= 0; i++) {
        n = read(c->msg_fd, c->line + c->line_len,
                 AVP_MEDIA_LINE_MAX + 1 - c->line_len);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        if (n == 0) {
            close(c->msg_fd);
            c->msg_fd = -1;
            return c->line_len > 0 ? -1 : 1;
        }
        c->line_len += (size_t) n;
        if (take_lines(c, now, on_line, ctx) != 0) {
            return -1;
        }
    }
    return c->msg_fd < 0;
}

static void
log_line(avp_child_t *c, const char *job)
{
    if (c->log_len == 0) {
        return;
    }
    if (++c->log_lines < AVP_LOG_LINES_MAX) {
        avp_log(AVP_LOG_INFO, "media process", AVP_S("jobId", job),
                AVP_SN("line", c->log, c->log_len));
    } else if (c->log_lines == AVP_LOG_LINES_MAX) {
        avp_log(AVP_LOG_WARN, "media process says too much, rest not logged",
                AVP_S("jobId", job));
    }
    c->log_len = 0;
}

void
avp_child_read_log(avp_child_t *c, const char *job)
{
    char    buf[4096];
    ssize_t n;

    for (int i = 0; i < 8 && c->log_fd >= 0; i++) {
        n = read(c->log_fd, buf, sizeof(buf));
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            log_line(c, job);
            close(c->log_fd);
            c->log_fd = -1;
            return;
        }
        for (ssize_t k = 0; k < n; k++) {
            if (buf[k] == '\n') {
                log_line(c, job);
            } else if (c->log_len < sizeof(c->log)) {
                c->log[c->log_len++] = buf[k]; /* longer ones are cut */
            }
        }
    }
}

/* ---- its life ----------------------------------------------------------- */

void
avp_child_kill(const avp_child_t *c)
{
    if (c->pid > 0) {
        (void) kill(-c->pid, SIGKILL);
        (void) kill(c->pid, SIGKILL); /* before its setsid() */
    }
}

bool
avp_child_reap(avp_child_t *c)
{
    pid_t p;

    if (c->pid == 0) {
        return true;
    }
    do {
        p = waitpid(c->pid, &c->status, WNOHANG);
    } while (p < 0 && errno == EINTR);

    if (p == 0) {
        return false;
    }
    if (p < 0) { /* cannot be: nobody else waits */
        c->status = 0x7f00;
    }
    c->pid = 0;
    return true;
}

int64_t
avp_child_rss(const avp_child_t *c)
{
    char      path[40], buf[128];
    long long total, resident;
    ssize_t   n;
    int       fd;

    (void) snprintf(path, sizeof(path), "/proc/%d/statm", (int) c->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    n = read(fd, buf, sizeof(buf) - 1);
    close(fd);
    if (n <= 0) {
        return -1;
    }
    buf[n] = '\0';
    if (sscanf(buf, "%lld %lld", &total, &resident) != 2) {
        return -1;
    }
    return (int64_t) resident * sysconf(_SC_PAGESIZE);
}

void
avp_child_close(avp_child_t *c)
{
    if (c->msg_fd >= 0) {
        close(c->msg_fd);
    }
    if (c->log_fd >= 0) {
        close(c->log_fd);
    }
    if (c->hold_fd >= 0) {
        close(c->hold_fd);
    }
    c->msg_fd = c->log_fd = c->hold_fd = -1;
    free(c->line);
    c->line = NULL;
}

int64_t
avp_oom_kills(void)
{
    char      line[128];
    long long n = -1;
    FILE     *f = fopen("/proc/vmstat", "re");

    if (f == NULL) {
        return -1;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "oom_kill %lld", &n) == 1) {
            break;
        }
    }
    fclose(f);
    return n;
}
