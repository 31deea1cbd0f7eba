/*
 * Looks at files by name (open, stat, access, readlink ...) are never carried
 * out: the filter turns each into a SIGSYS that is taken here.  The few names
 * that libraries look up lazily, and live without, are answered with "not
 * there"; any other ends the process as a forbidden call does.
 *
 * Nothing hangs on this code being honest: a process that was taken over gains
 * no file by going round it, for the kernel refuses the call before it is
 * called.  (A blocked or ignored SIGSYS ends the process, too.)
 */

#include "workerd/media/sandbox_parts.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Who asks: glibc for processors, arenas it might shrink and time zones;
 * SVT-AV1 for processor groups; libnuma; whoever wants a random number.  One
 * that ends in a slash stands for all beneath. */
static const char *const unneeded[] = {
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/self/cgroup",
    "/proc/self/maps",
    "/proc/self/status",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/",
    "/sys/fs/cgroup/",
    "/sys/kernel/mm/",
    "/dev/urandom",
    "/dev/random",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/lib/",
    "/usr/lib/",
    "/usr/share/locale/",
    "/usr/share/zoneinfo/",
};

static bool
is_unneeded(const char *path)
{
    for (size_t i = 0; i < sizeof(unneeded) / sizeof(unneeded[0]); i++) {
        size_t n = strlen(unneeded[i]);

        if (unneeded[i][n - 1] == '/' ? strncmp(path, unneeded[i], n) == 0
                                      : strcmp(path, unneeded[i]) == 0)
        {
            return strstr(path, "/../") == NULL;
        }
    }
    return false;
}

/* For the log, printable and bounded. */
static void
tell(const char *path)
{
    char   line[160] = "sandbox: not to be looked at: ";
    size_t n = strlen(line);

    for (; *path != '\0' && n < sizeof(line) - 1; path++) {
        line[n++] = *path < 32 || *path > 126 ? '?' : *path;
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0) {
        /* then without a word */
    }
}

/* Not allowed, so the filter ends the process; were there no filter, the
 * signal would. */
static void
end(void)
{
    (void) signal(SIGSYS, SIG_DFL);
    (void) syscall(SYS_kill, getpid(), SIGSYS);
    _exit(1);
}

/* The registers of the first two arguments and of the result. */
#if defined(__x86_64__)
#define ARG0(u) (u)->uc_mcontext.gregs[REG_RDI]
#define ARG1(u) (u)->uc_mcontext.gregs[REG_RSI]
#define RESULT(u) (u)->uc_mcontext.gregs[REG_RAX]
#elif defined(__aarch64__)
#define ARG0(u) (u)->uc_mcontext.regs[0]
#define ARG1(u) (u)->uc_mcontext.regs[1]
#define RESULT(u) (u)->uc_mcontext.regs[0]
#endif

#ifdef RESULT

static void
on_trap(int sig, siginfo_t *si, void *context)
{
    ucontext_t *u = context;
    const char *path;
    int         saved = errno;

    (void) sig;
    if (si->si_code != 1 /* SYS_SECCOMP */) { /* a plain signal */
        end();
    }

    switch (si->si_syscall) {
#ifdef SYS_open
    case SYS_open:
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
    case SYS_readlink:
#endif
    case SYS_statfs:
        path = (const char *) ARG0(u);
        break;
    default: /* openat and its like: a folder first */
        path = (const char *) ARG1(u);
        break;
    }

    if (path == NULL || !is_unneeded(path)) {
        tell(path != NULL ? path : "nothing");
        end();
    }
    RESULT(u) = -ENOENT;
    errno = saved;
}

#else

static void
on_trap(int sig, siginfo_t *si, void *context)
{
    (void) sig;
    (void) si;
    (void) context;
    end(); /* registers of a machine not known here */
}

#endif

int
avp_sandbox_trap(void)
{
    struct sigaction sa = { .sa_sigaction = on_trap,
                            .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART };

    (void) sigemptyset(&sa.sa_mask);
    return sigaction(SIGSYS, &sa, NULL);
}

void
avp_sandbox_warm(void)
{
    /* glibc loads it when a thread ends by pthread_exit() or is cancelled;
     * kept for the life of the process */
    (void) dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_GLOBAL);
}
