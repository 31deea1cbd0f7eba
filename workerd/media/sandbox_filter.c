/*
 * The system calls a media process may make; every other ends it with SIGSYS.
 * Found by tracing encodes with all codecs and formats under Debian 12's
 * libraries, and by reading what glibc, libav and the encoders of Debian 13
 * may ask besides: what is harmless to refuse is refused with an error, so
 * that an upgrade of a library does not cost jobs.
 */

#include "workerd/media/sandbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define INT_MASK 0xffffffffu /* of a 64-bit argument that is an int */

static const char *const allowed[] = {
    /* descriptors that are open already */
    "read", "readv", "pread64", "preadv", "write", "writev", "pwrite64",
    "pwritev", "lseek", "close", "fstat", "fsync", "fdatasync", "ftruncate",
    "fadvise64", "poll", "ppoll",
    /* memory; mmap, mprotect: without PROT_EXEC, below */
    "munmap", "mremap", "madvise", "brk",
    /* threads and time; clone: below */
    "futex", "set_robust_list", "rseq", "exit", "exit_group", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler",
    "sched_get_priority_max", "sched_get_priority_min", "getcpu",
    "getpriority", "clock_gettime", "clock_getres", "clock_nanosleep",
    "nanosleep", "gettimeofday", "time", "times", "restart_syscall",
    /* its own signals; tgkill: below */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
    "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
    /* who and where it is */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid",
    "getrusage", "getrlimit", "uname", "sysinfo", "getrandom",
};

/* Refused in words that libraries take for "not here" or "not for you". */
static const struct {
    const char *name;
    int         error;
} refused[] = {
    { "clone3", ENOSYS }, /* glibc: then clone, whose flags can be seen */
    { "socket", EACCES },
    { "socketpair", EACCES },
    { "ioctl", ENOTTY },            /* stdio asks for a terminal */
    { "sched_setscheduler", EPERM }, /* SVT-AV1, as root: real time */
    { "sched_setparam", EPERM },
    { "sched_setaffinity", EPERM },
    { "sched_setattr", EPERM },
    { "sched_getattr", EPERM },
    { "setpriority", EPERM },
    { "ioprio_set", EPERM },
    { "get_mempolicy", ENOSYS }, /* libnuma: no nodes here */
    { "set_mempolicy", ENOSYS },
    { "mbind", ENOSYS },
    { "move_pages", ENOSYS },
    { "migrate_pages", ENOSYS },
    { "membarrier", ENOSYS },
    { "openat2", ENOSYS },
    { "mlock", EPERM },
    { "mlock2", EPERM },
    { "munlock", EPERM },
    { "mlockall", EPERM },
    { "setrlimit", EPERM }, /* limits are the supervisor's */
    { "fallocate", EOPNOTSUPP },
    { "copy_file_range", ENOSYS },
};

/* Looks at files by name: sandbox_trap.c has the word. */
static const char *const by_path[] = {
    "open", "stat", "lstat", "access", "readlink", "statfs",
};

/* The same with a folder before the name: the current one is no folder of
 * ours, and beneath others than the output's nothing is looked up. */
static const char *const by_folder[] = {
    "openat", "newfstatat", "statx", "faccessat", "faccessat2", "readlinkat",
};

static const char *const beneath[] = {
    "openat", "newfstatat", "statx", "unlinkat", "mkdirat",
};

/* The commands of fcntl() that look at descriptors and copy them. */
static const int fcntls[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD,
                              F_GETFL };

#define PRCTL_LAST 100
#define PRCTL_VMA 0x53564d41 /* PR_SET_VMA: malloc may name its memory */

/* Numbers that came after this file: "not here", as on the kernels it knows.
 * They are the same on every machine. */
#define FIRST_NEW 449
#define LAST_NEW 600

/* A rule on one argument, or none (cmp NULL); a name that this libseccomp or
 * this machine does not know needs no rule. */
static int
rule(scmp_filter_ctx c, uint32_t action, const char *name,
     const struct scmp_arg_cmp *cmp)
{
    int nr = seccomp_syscall_resolve_name(name);

    if (nr == __NR_SCMP_ERROR || nr < 0) {
        return 0;
    }
    return seccomp_rule_add_array(c, action, nr, cmp != NULL, cmp);
}

static struct scmp_arg_cmp
bits(unsigned arg, uint64_t mask, uint64_t value)
{
    return (struct scmp_arg_cmp){ arg, SCMP_CMP_MASKED_EQ, mask, value };
}

static int
add_simple(scmp_filter_ctx c)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(allowed) / sizeof(allowed[0]);
         i++)
    {
        rc = rule(c, SCMP_ACT_ALLOW, allowed[i], NULL);
    }
    for (size_t i = 0; rc == 0 && i < sizeof(refused) / sizeof(refused[0]);
         i++)
    {
        rc = rule(c, SCMP_ACT_ERRNO((uint32_t) refused[i].error),
                  refused[i].name, NULL);
    }
    for (int nr = FIRST_NEW; rc == 0 && nr <= LAST_NEW; nr++) {
        rc = seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
    }
    return rc;
}

static int
add_files(scmp_filter_ctx c, int out_fd)
{
    const struct scmp_arg_cmp here = bits(0, INT_MASK, (uint32_t) AT_FDCWD);
    const struct scmp_arg_cmp ours = bits(0, INT_MASK, (uint32_t) out_fd);
    const struct scmp_arg_cmp both[] = { ours,
                                         bits(2, INT_MASK, (uint32_t) out_fd) };
    const struct scmp_arg_cmp stat = bits(3, AT_EMPTY_PATH, AT_EMPTY_PATH);
    const struct scmp_arg_cmp statx = bits(2, AT_EMPTY_PATH, AT_EMPTY_PATH);
    int                       rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(by_path) / sizeof(by_path[0]);
         i++)
    {
        rc = rule(c, SCMP_ACT_TRAP, by_path[i], NULL);
    }
    for (size_t i = 0; rc == 0 && i < sizeof(by_folder) / sizeof(by_folder[0]);
         i++)
    {
        rc = rule(c, SCMP_ACT_TRAP, by_folder[i], &here);
    }
    if (rc == 0) { /* of an open descriptor */
        rc = rule(c, SCMP_ACT_ALLOW, "newfstatat", &stat);
    }
    if (rc == 0) {
        rc = rule(c, SCMP_ACT_ALLOW, "statx", &statx);
    }
    if (rc != 0 || out_fd < 0) {
        return rc;
    }

    for (size_t i = 0; rc == 0 && i < sizeof(beneath) / sizeof(beneath[0]);
         i++)
    {
        rc = rule(c, SCMP_ACT_ALLOW, beneath[i], &ours);
    }
    if (rc == 0) {
        rc = seccomp_rule_add_array(c, SCMP_ACT_ALLOW, SCMP_SYS(renameat), 2,
                                    both);
    }
    if (rc == 0) {
        rc = seccomp_rule_add_array(c, SCMP_ACT_ALLOW, SCMP_SYS(renameat2), 2,
                                    both);
    }
    return rc;
}

static int
add_prctl(scmp_filter_ctx c)
{
    int rc = seccomp_rule_add(c, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, PRCTL_VMA));

    for (int what = 0; rc == 0 && what <= PRCTL_LAST; what++) {
        rc = seccomp_rule_add(c,
                              what == PR_SET_NAME || what == PR_GET_NAME
                                      || what == PR_GET_DUMPABLE
                                      || what == PR_GET_PDEATHSIG
                                  ? SCMP_ACT_ALLOW
                                  : SCMP_ACT_ERRNO(EINVAL),
                              SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) what));
    }
    return rc;
}

static int
add_arguments(scmp_filter_ctx c)
{
    const struct scmp_arg_cmp thread = bits(0, CLONE_THREAD, CLONE_THREAD);
    const struct scmp_arg_cmp data = bits(2, PROT_EXEC, 0);
    const struct scmp_arg_cmp self = bits(0, INT_MASK, (uint32_t) getpid());
    const struct scmp_arg_cmp get[] = { { 0, SCMP_CMP_EQ, 0, 0 },
                                        { 2, SCMP_CMP_EQ, 0, 0 } };
    const struct scmp_arg_cmp set = { 2, SCMP_CMP_NE, 0, 0 };
    int                       rc;

    if ((rc = rule(c, SCMP_ACT_ALLOW, "clone", &thread)) != 0
        || (rc = rule(c, SCMP_ACT_ALLOW, "mmap", &data)) != 0
        || (rc = rule(c, SCMP_ACT_ALLOW, "mprotect", &data)) != 0
        || (rc = rule(c, SCMP_ACT_ALLOW, "tgkill", &self)) != 0
        || (rc = rule(c, SCMP_ACT_ERRNO(EPERM), "prlimit64", &set)) != 0
        || (rc = seccomp_rule_add_array(c, SCMP_ACT_ALLOW,
                                        SCMP_SYS(prlimit64), 2, get))
               != 0)
    {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < sizeof(fcntls) / sizeof(fcntls[0]); i++)
    {
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t) fcntls[i]));
    }
    return rc != 0 ? rc : add_prctl(c);
}

int
avp_sandbox_filter(int out_fd)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int             rc;

    if (c == NULL) {
        errno = ENOMEM;
        return -1;
    }

    /* another machine's calls (32 bit) would go round the filter */
    if ((rc = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH,
                               SCMP_ACT_KILL_PROCESS)) == 0
        && (rc = add_simple(c)) == 0 && (rc = add_files(c, out_fd)) == 0
        && (rc = add_arguments(c)) == 0)
    {
        rc = seccomp_load(c);
    }

    seccomp_release(c);
    if (rc != 0) {
        errno = rc < 0 ? -rc : rc;
        return -1;
    }
    return 0;
}
