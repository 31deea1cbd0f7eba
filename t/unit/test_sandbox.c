/*
 * workerd/media/sandbox.c from inside: each case is a process that enters the
 * sandbox as a media process does and then tries something.
 */

#include "t/unit/unit.h"

#include "workerd/media/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/avp-unit-sandbox-XXXXXX";
static int  out_fd;

static avp_sandbox_level_t level;

/* What `what` returns (0: well) after entering, as an exit status; minus the
 * signal that ended it. */
static int
inside(int (*what)(void))
{
    char  command[100];
    int   status;
    pid_t pid;

    strcpy(folder, "/tmp/avp-unit-sandbox-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    out_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(out_fd, 0);

    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        const avp_sandbox_opts_t o = { out_fd };

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (avp_sandbox_enter(&o, &level) != 0) {
            _exit(99);
        }
        _exit(what());
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    close(out_fd);
    (void) snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- what must work ----------------------------------------------------- */

static void *
ends(void *p)
{
    pthread_exit(p); /* glibc loads libgcc_s for it */
}

/* A thread's heap grows and shrinks, at which glibc looks into /proc. */
static void *
allocates(void *p)
{
    void *piece[200];

    for (int i = 0; i < 200; i++) {
        piece[i] = malloc(100000);
        if (piece[i] == NULL) {
            return NULL;
        }
        memset(piece[i], i, 100000);
    }
    for (int i = 200; i-- > 0;) {
        free(piece[i]);
    }
    return p;
}

static bool
thread_works(void *(*what)(void *))
{
    pthread_t t;
    char      mine;
    void     *got = NULL;

    return pthread_create(&t, NULL, what, &mine) == 0
           && pthread_join(t, &got) == 0 && got == &mine;
}

static int
works(void)
{
    char  buf[8];
    void *memory = malloc(64 << 20);
    int   death = 0, fd;

    if (memory == NULL || !thread_works(ends) || !thread_works(allocates)) {
        return 1;
    }
    free(memory);

    /* files beneath the output folder, as avp_out_*() makes them */
    if (mkdirat(out_fd, "hls", 0750) != 0
        || (fd = openat(out_fd, "hls/a.tmp", O_RDWR | O_CREAT | O_EXCL, 0640))
               < 0
        || write(fd, "abc", 3) != 3 || fsync(fd) != 0 || ftruncate(fd, 2) != 0
        || pread(fd, buf, 8, 0) != 2
        || renameat(out_fd, "hls/a.tmp", out_fd, "hls/a.m3u8") != 0
        || (fd = openat(out_fd, "hls", O_RDONLY | O_DIRECTORY)) < 0
        || fsync(fd) != 0 || unlinkat(out_fd, "hls/a.m3u8", 0) != 0)
    {
        return 2;
    }
    if (prctl(PR_GET_PDEATHSIG, &death) != 0 || death != SIGKILL) {
        return 3;
    }
    if (prctl(PR_GET_DUMPABLE) != 0 || !level.seccomp) {
        return 4;
    }
    return printf("to where standard output goes\n") > 0 && fflush(stdout) == 0
               ? 0
               : 5;
}

START_TEST(work_goes_on)
{
    ck_assert_int_eq(inside(works), 0);
}
END_TEST

/* What libraries look up lazily is not there; they live with it. */
static int
looks_up(void)
{
    struct stat st;

    errno = 0;
    if (open("/proc/cpuinfo", O_RDONLY) >= 0 || errno != ENOENT) {
        return 1;
    }
    errno = 0;
    if (openat(AT_FDCWD, "/dev/urandom", O_RDONLY) >= 0 || errno != ENOENT) {
        return 2;
    }
    errno = 0;
    if (stat("/etc/localtime", &st) == 0 || errno != ENOENT) {
        return 3;
    }
    errno = 0;
    if (fopen("/sys/devices/system/node/online", "r") != NULL
        || errno != ENOENT)
    {
        return 4;
    }
    return sysconf(_SC_NPROCESSORS_ONLN) >= 1 ? 0 : 5;
}

static int
is_told_no(void)
{
    struct sched_param param = { 1 };

    if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &param) == 0
        || errno != EPERM)
    {
        return 1;
    }
    if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS) {
        return 2;
    }
    if (syscall(599) >= 0 || errno != ENOSYS) { /* of a kernel to come */
        return 3;
    }
    if (prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 || errno != EINVAL) {
        return 4;
    }
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 ? 5 : 0;
}

START_TEST(libraries_get_answers)
{
    ck_assert_int_eq(inside(looks_up), 0);
    ck_assert_int_eq(inside(is_told_no), 0);
}
END_TEST

static int
aborts(void)
{
    abort();
}

START_TEST(abort_is_seen)
{
    ck_assert_int_eq(inside(aborts), -SIGABRT);
}
END_TEST

/* ---- what must be refused ------------------------------------------------ */

static int
no_sockets(void)
{
    static const int domains[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };
    int              pair[2];

    for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
        for (int type = SOCK_STREAM; type <= SOCK_RAW; type++) {
            if (socket(domains[i], type, 0) >= 0 || errno != EACCES) {
                return 1;
            }
        }
    }
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? 2 : 0;
}

static int
no_other_limits(void)
{
    struct rlimit r = { 1 << 20, 1 << 20 };

    if (prlimit(getppid(), RLIMIT_NOFILE, &r, NULL) == 0 || errno != EPERM) {
        return 1;
    }
    if (setrlimit(RLIMIT_NOFILE, &r) == 0 || errno != EPERM) {
        return 2;
    }
    return getrlimit(RLIMIT_NOFILE, &r) == 0 ? 0 : 3;
}

/* A name may lead out of the folder: that is Landlock's to refuse. */
static int
no_way_out(void)
{
    if (level.landlock == 0) {
        return 0; /* a build that measures coverage */
    }
    if (openat(out_fd, "/etc/passwd", O_RDONLY) >= 0 || errno != EACCES) {
        return 1;
    }
    if (openat(out_fd, "../avp-unit-sandbox-escape", O_WRONLY | O_CREAT, 0600)
            >= 0
        || errno != EACCES)
    {
        return 2;
    }
    if (openat(out_fd, "/proc/self/environ", O_RDONLY) >= 0
        || errno != EACCES)
    {
        return 3;
    }
    if (mkdirat(out_fd, "../avp-unit-sandbox-escape", 0700) == 0
        || errno != EACCES)
    {
        return 4;
    }
    if (unlinkat(out_fd, "/tmp", AT_REMOVEDIR) == 0 || errno != EACCES) {
        return 5;
    }
    return renameat(out_fd, "/etc/passwd", out_fd, "p") == 0 ? 6 : 0;
}

#ifndef __SANITIZE_ADDRESS__

static int
no_memory(void)
{
    return malloc((size_t) 3 << 30) == NULL && errno == ENOMEM ? 0 : 1;
}

/* The limit is the supervisor's (test_child.c); its word is the kernel's. */
static void
check_memory(void)
{
    struct rlimit all, some;

    ck_assert_int_eq(getrlimit(RLIMIT_AS, &all), 0);
    some = (struct rlimit){ (rlim_t) 2 << 30, all.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &some), 0);
    ck_assert_int_eq(inside(no_memory), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &all), 0);
}

#else

static void
check_memory(void)
{
    /* the sanitizer's shadow is larger than any limit */
}

#endif

START_TEST(refused)
{
    ck_assert_int_eq(inside(no_sockets), 0);
    ck_assert_int_eq(inside(no_other_limits), 0);
    ck_assert_int_eq(inside(no_way_out), 0);
    check_memory();
}
END_TEST

/* ---- what must end it ---------------------------------------------------- */

/* Each is tried in a process of its own. */
#define TRIES(X)                                                               \
    X("open", open("/etc/passwd", O_RDONLY))                                   \
    X("fopen", fopen("/etc/passwd", "r") != NULL)                              \
    X("openat", openat(AT_FDCWD, "/etc/passwd", O_RDONLY))                     \
    X("openat root", openat(0, "/etc/passwd", O_RDONLY))                       \
    X("open around", open("/usr/lib/../../etc/passwd", O_RDONLY))              \
    X("create", open("/tmp/avp-unit-escape", O_WRONLY | O_CREAT, 0600))        \
    X("creat", creat("/tmp/avp-unit-escape", 0600))                            \
    X("stat", stat("/etc/passwd", &(struct stat){ 0 }))                        \
    X("access", access("/etc/passwd", R_OK))                                   \
    X("readlink", readlink("/proc/self/exe", (char[9]){ 0 }, 9))               \
    X("opendir", openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY))                \
    X("mkdir", mkdir("/tmp/avp-unit-escape", 0700))                            \
    X("unlink", unlink("/tmp/avp-unit-escape"))                                \
    X("rename", renameat(AT_FDCWD, "/tmp/a", out_fd, "b"))                     \
    X("symlink", symlinkat("/etc/passwd", out_fd, "link"))                     \
    X("link", linkat(AT_FDCWD, "/etc/passwd", out_fd, "link", 0))              \
    X("chmod", fchmodat(out_fd, ".", 0777, 0))                                 \
    X("chdir", chdir("/etc"))                                                  \
    X("chroot", chroot("/"))                                                   \
    X("execve", execve("/bin/true", (char *[]){ "true", NULL }, NULL))         \
    X("execveat", syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0)) \
    X("fork", fork())                                                          \
    X("clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))                        \
    X("kill", kill(getppid(), 0))                                              \
    X("kill self", kill(getpid(), 0))                                          \
    X("tgkill", syscall(SYS_tgkill, getppid(), getppid(), 0))                  \
    X("tkill", syscall(SYS_tkill, getppid(), 0))                               \
    X("sigqueue", sigqueue(getppid(), 0, (union sigval){ 0 }))                 \
    X("pidfd_open", syscall(434 /* pidfd_open */, getppid(), 0))               \
    X("prlimit of another",                                                    \
      prlimit(getppid(), RLIMIT_CPU, NULL, &(struct rlimit){ 0, 0 }))          \
    X("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL))                         \
    X("process_vm_readv", syscall(SYS_process_vm_readv, getppid()))            \
    X("mount", syscall(SYS_mount, "a", "/tmp", "tmpfs", 0, NULL))              \
    X("unshare", unshare(CLONE_NEWUSER))                                       \
    X("setns", setns(0, 0))                                                    \
    X("io_uring_setup", syscall(425 /* io_uring_setup */, 1, NULL))            \
    X("bpf", syscall(SYS_bpf, 0, NULL, 0))                                     \
    X("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0))       \
    X("userfaultfd", syscall(SYS_userfaultfd, 0))                              \
    X("memfd_create", syscall(SYS_memfd_create, "a", 0))                       \
    X("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0))                            \
    X("connect", connect(0, NULL, 0))                                          \
    X("sendmsg", sendmsg(0, NULL, 0))                                          \
    X("shmget", syscall(SYS_shmget, 1, 4096, 0))                               \
    X("setuid", setuid(0))                                                     \
    X("fcntl owner", fcntl(1, F_SETOWN, getppid()))                            \
    X("mmap write and execute",                                                \
      mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,                     \
           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)                  \
    X("mmap execute", mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, \
                           -1, 0) != MAP_FAILED)                               \
    X("mprotect execute", mprotect(page(), 4096, PROT_READ | PROT_EXEC))       \
    X("blocked", (block_all(), open("/etc/passwd", O_RDONLY)))                 \
    X("ignored", (signal(SIGSYS, SIG_IGN), open("/etc/passwd", O_RDONLY)))

static void *
page(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void
block_all(void)
{
    sigset_t all;

    (void) sigfillset(&all);
    (void) sigprocmask(SIG_BLOCK, &all, NULL);
}

static int which;

static int
tries(void)
{
    int i = 0;

#define TRY(name, call)                                                        \
    if (i++ == which) {                                                        \
        return (call) ? 1 : 2;                                                 \
    }
    TRIES(TRY)
#undef TRY
    return 3;
}

START_TEST(deadly)
{
    static const char *const names[] = {
#define NAME(name, call) name,
        TRIES(NAME)
#undef NAME
    };

    for (which = 0; which < (int) (sizeof(names) / sizeof(names[0])); which++)
    {
        int end = inside(tries);

        ck_assert_msg(end == -SIGSYS, "%s: %d", names[which], end);
    }
}
END_TEST

#ifdef __x86_64__

static int
other_numbers(void)
{
    return (int) syscall(0x40000000 + SYS_getpid); /* x32 */
}

START_TEST(other_machines)
{
    ck_assert_int_eq(inside(other_numbers), -SIGSYS);
}
END_TEST

#else

START_TEST(other_machines)
{
    /* a machine with one table of calls */
}
END_TEST

#endif

START_TEST(described)
{
    const avp_sandbox_level_t l = { true, true, 4, true };
    char                      text[64];

    avp_sandbox_describe(&l, text, sizeof(text));
    ck_assert_str_eq(text, "ns=user,net landlock=4 seccomp=1");
}
END_TEST

UNIT_SUITE(sandbox, work_goes_on, libraries_get_answers, abort_is_seen, refused,
           deadly, other_machines, described)
