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
thread_main(void *p)
{
    return p;
}

static int
works(void)
{
    char      buf[8];
    pthread_t t;
    void     *memory = malloc(64 << 20);
    int       death = 0, fd, dir;

    if (memory == NULL || pthread_create(&t, NULL, thread_main, NULL) != 0
        || pthread_join(t, NULL) != 0)
    {
        return 1;
    }
    free(memory);

    /* files beneath the output folder, as avp_out_*() makes them */
    if (mkdirat(out_fd, "hls", 0750) != 0
        || (dir = openat(out_fd, "hls", O_RDONLY | O_DIRECTORY)) < 0
        || (fd = openat(dir, "a.tmp", O_RDWR | O_CREAT | O_EXCL, 0640)) < 0
        || write(fd, "abc", 3) != 3 || fsync(fd) != 0 || ftruncate(fd, 2) != 0
        || pread(fd, buf, 8, 0) != 2
        || renameat(dir, "a.tmp", dir, "a.m3u8") != 0 || fsync(dir) != 0
        || unlinkat(dir, "a.m3u8", 0) != 0)
    {
        return 2;
    }
    if (prctl(PR_GET_PDEATHSIG, &death) != 0 || death != SIGKILL) {
        return 3;
    }
    return prctl(PR_GET_DUMPABLE) == 0 && level.seccomp ? 0 : 4;
}

START_TEST(work_goes_on)
{
    ck_assert_int_eq(inside(works), 0);
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
no_signals(void)
{
    if (kill(getppid(), 0) == 0 || kill(1, 0) == 0) {
        return 1;
    }
    if (syscall(SYS_tgkill, getppid(), getppid(), 0) == 0) {
        return 2;
    }
    return 0;
}

static int
no_other_limits(void)
{
    struct rlimit r = { 1, 1 };

    if (prlimit(getppid(), RLIMIT_NOFILE, NULL, &r) == 0) {
        return 1;
    }
    r.rlim_cur = r.rlim_max = 1 << 20;
    return setrlimit(RLIMIT_NOFILE, &r) == 0 ? 2 : 0;
}

static int
no_other_files(void)
{
    int fd;

    if (level.landlock == 0) {
        return 0; /* nothing promised on this kernel */
    }
    if ((fd = open("/etc/passwd", O_RDONLY)) >= 0) {
        return 1;
    }
    if ((fd = open("/tmp/avp-unit-sandbox-escape", O_WRONLY | O_CREAT, 0600))
        >= 0)
    {
        return 2;
    }
    if (mkdirat(out_fd, "../avp-unit-sandbox-escape", 0700) == 0) {
        return 3;
    }
    return symlinkat("/etc/passwd", out_fd, "link") == 0 ? 4 : 0;
}

START_TEST(refused)
{
    ck_assert_int_eq(inside(no_sockets), 0);
    ck_assert_int_eq(inside(no_signals), 0);
    ck_assert_int_eq(inside(no_other_limits), 0);
    ck_assert_int_eq(inside(no_other_files), 0);
}
END_TEST

/* ---- what must end it ---------------------------------------------------- */

static int
tries_exec(void)
{
    char *const argv[] = { "true", NULL };

    return execve("/bin/true", argv, NULL) == 0 ? 1 : 2;
}

static int
tries_execveat(void)
{
    char *const argv[] = { "true", NULL };

    return (int) syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
}

static int
tries_fork(void)
{
    return fork() < 0 ? 1 : 2;
}

static int
tries_ptrace(void)
{
    return (int) ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int
tries_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}

static int
tries_bpf(void)
{
    return (int) syscall(SYS_bpf, 0, NULL, 0);
}

static int
tries_io_uring(void)
{
    return (int) syscall(425 /* io_uring_setup */, 1, NULL);
}

static int
tries_mount(void)
{
    return (int) syscall(SYS_mount, "a", "/tmp", "tmpfs", 0, NULL);
}

static int
tries_keyctl(void)
{
    return (int) syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

START_TEST(deadly)
{
    static int (*const tries[])(void)
        = { tries_exec,    tries_execveat, tries_fork,
            tries_ptrace,  tries_unshare,  tries_bpf,
            tries_io_uring, tries_mount,   tries_keyctl };

    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        ck_assert_msg(inside(tries[i]) == -SIGSYS, "case %zu lives", i);
    }
}
END_TEST

START_TEST(described)
{
    const avp_sandbox_level_t l = { true, true, 4, true };
    char                      text[64];

    avp_sandbox_describe(&l, text, sizeof(text));
    ck_assert_str_eq(text, "ns=user,net landlock=4 seccomp=1");
}
END_TEST

UNIT_SUITE(sandbox, work_goes_on, abort_is_seen, refused, deadly, described)
