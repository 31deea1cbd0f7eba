/* See cage.h. */

#include "workerd/supervisor/cage.h"

#include "workerd/supervisor/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_MS 10000

void
avp_cage_none(avp_cage_t *cage)
{
    *cage = (avp_cage_t){ .ns = "none" };
}

int
avp_cage_parse(avp_cage_t *cage, const char *text)
{
    int seccomp = 0, end = 0;

    avp_cage_none(cage);
    if (sscanf(text, "ns=%15[a-z,] landlock=%4d seccomp=%1d%n", cage->ns,
               &cage->landlock, &seccomp, &end)
            != 3
        || strcmp(text + end, "\n") != 0 || cage->landlock < 0)
    {
        avp_cage_none(cage);
        return -1;
    }
    cage->seccomp = seccomp == 1;
    return 0;
}

static void __attribute__((noreturn))
become_check(int out)
{
    static char *const argv[] = { "workerd", "media", "--check-sandbox",
                                  NULL };
    static char *const envp[] = { NULL };
    sigset_t           none;

    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || dup2(out, 1) < 0
        || dup2(out, 2) < 0)
    {
        _exit(126);
    }
    (void) execve("/proc/self/exe", argv, envp);
    _exit(127);
}

/* All that it says within its time; the number of bytes. */
static size_t
listen_to(int fd, char *text, size_t size)
{
    int64_t until = avp_clock() + PROBE_MS;
    size_t  len = 0;

    while (len < size - 1) {
        struct pollfd p = { fd, POLLIN, 0 };
        int64_t       left = until - avp_clock();
        ssize_t       n;

        if (left <= 0 || (poll(&p, 1, (int) left) < 0 && errno != EINTR)) {
            break;
        }
        if (p.revents == 0) {
            continue;
        }
        n = read(fd, text + len, size - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t) n;
    }
    text[len] = '\0';
    return len;
}

int
avp_cage_probe(avp_cage_t *cage, char *why, size_t size)
{
    char  text[256];
    int   out[2], status = 0;
    pid_t pid;

    avp_cage_none(cage);
    if (pipe2(out, O_CLOEXEC) != 0) {
        (void) snprintf(why, size, "a pipe: %s", strerror(errno));
        return -1;
    }
    pid = fork();
    if (pid == 0) {
        become_check(out[1]);
    }
    close(out[1]);
    if (pid < 0) {
        (void) snprintf(why, size, "a process: %s", strerror(errno));
        close(out[0]);
        return -1;
    }

    (void) listen_to(out[0], text, sizeof(text));
    close(out[0]);
    (void) kill(pid, SIGKILL); /* it has ended, or its time is over */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }

    if (avp_cage_parse(cage, text) == 0) {
        return 0;
    }
    text[strcspn(text, "\n")] = '\0';
    if (text[0] != '\0') {
        (void) snprintf(why, size, "%s", text);
    } else if (WIFSIGNALED(status)) {
        (void) snprintf(why, size, "the check was ended by signal %d",
                        WTERMSIG(status));
    } else {
        (void) snprintf(why, size, "the check ended with status %d",
                        WEXITSTATUS(status));
    }
    return -1;
}
