/*
 * See sandbox.h.  Order matters: namespaces while unshare() is still allowed,
 * then no_new_privs (Landlock and seccomp ask for it), Landlock, and the
 * system call filter last because it forbids the rest.
 */

#include "workerd/media/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Landlock: Debian 12's headers know ABI 2 only, kernels know more; all
 * constants here, numbered as in the kernel's documentation. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define LL_VERSION (1u << 0)
#define LL_RULE_PATH_BENEATH 1

#define LL_EXECUTE (1ull << 0)
#define LL_WRITE_FILE (1ull << 1)
#define LL_READ_FILE (1ull << 2)
#define LL_READ_DIR (1ull << 3)
#define LL_REMOVE_DIR (1ull << 4)
#define LL_REMOVE_FILE (1ull << 5)
#define LL_MAKE_DIR (1ull << 7)
#define LL_MAKE_REG (1ull << 8)
#define LL_ABI1 ((1ull << 13) - 1)
#define LL_REFER (1ull << 13)     /* ABI 2 */
#define LL_TRUNCATE (1ull << 14)  /* ABI 3 */
#define LL_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define LL_NET_ALL 3ull           /* ABI 4: bind and connect, TCP */
#define LL_SCOPE_ALL 3ull         /* ABI 6: abstract sockets, signals */

typedef struct {
    uint64_t fs, net, scoped;
} ll_ruleset_t;

typedef struct {
    uint64_t allowed;
    int32_t  fd;
} __attribute__((packed)) ll_path_t;

/* What libraries may read at run time: themselves (libgcc_s is loaded when a
 * thread ends), the number of processors, randomness. */
static const char *const readable[] = {
    "/lib", "/lib64", "/usr/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/sys/devices/system", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/dev/urandom", "/dev/random", "/dev/null",
};

static int
ll_allow(int rules, int fd, uint64_t rights)
{
    ll_path_t p = { rights, fd };

    return (int) syscall(SYS_landlock_add_rule, rules, LL_RULE_PATH_BENEATH, &p,
                         0u);
}

/* The ABI in force, or 0 when there is no Landlock here. */
static int
landlock_enter(int out_fd)
{
    ll_ruleset_t r = { LL_ABI1, 0, 0 };
    size_t       size = sizeof(r.fs);
    uint64_t     out;
    int          abi, rules, fd;

#ifdef AVP_COVERAGE
    return 0; /* counters are written beside the objects at exit */
#endif

    abi = (int) syscall(SYS_landlock_create_ruleset, NULL, (size_t) 0,
                        LL_VERSION);
    if (abi < 1) {
        return 0;
    }

    if (abi >= 2) {
        r.fs |= LL_REFER;
    }
    if (abi >= 3) {
        r.fs |= LL_TRUNCATE;
    }
    if (abi >= 4) {
        r.net = LL_NET_ALL;
        size = 2 * sizeof(uint64_t);
    }
    if (abi >= 5) {
        r.fs |= LL_IOCTL_DEV;
    }
    if (abi >= 6) {
        r.scoped = LL_SCOPE_ALL;
        size = sizeof(r);
    }

    rules = (int) syscall(SYS_landlock_create_ruleset, &r, size, 0u);
    if (rules < 0) {
        return 0;
    }

    out = r.fs & (LL_WRITE_FILE | LL_READ_FILE | LL_READ_DIR | LL_REMOVE_DIR
                  | LL_REMOVE_FILE | LL_MAKE_DIR | LL_MAKE_REG | LL_REFER
                  | LL_TRUNCATE);
    if (out_fd >= 0 && ll_allow(rules, out_fd, out) != 0) {
        abi = 0;
    }

    for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
        fd = open(readable[i], O_PATH | O_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        /* READ_DIR is refused for what is no folder: then once more without */
        if (ll_allow(rules, fd, LL_READ_FILE | LL_READ_DIR) != 0) {
            (void) ll_allow(rules, fd, LL_READ_FILE);
        }
        close(fd);
    }

    if (abi > 0 && syscall(SYS_landlock_restrict_self, rules, 0u) != 0) {
        abi = 0;
    }
    close(rules);
    return abi;
}

/* Ends the process with SIGSYS: nothing sane in libav does these. */
static const char *const deadly[] = {
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv",
    "process_vm_writev", "mount", "umount2", "pivot_root", "chroot",
    "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "setns", "unshare", "bpf", "perf_event_open",
    "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load",
    "kexec_file_load", "init_module", "finit_module", "delete_module",
    "reboot", "swapon", "swapoff", "acct", "quotactl", "open_by_handle_at",
    "name_to_handle_at", "pidfd_getfd", "kcmp", "iopl", "ioperm",
    "modify_ldt", "personality", "syslog", "sethostname", "setdomainname",
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "vhangup",
    "nfsservctl", "lookup_dcookie", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "fanotify_init", "memfd_secret",
};

/* Refused with an error that libraries take for "not here". */
static const struct {
    const char *name;
    int         error;
} refused[] = {
    { "socket", EACCES },       { "socketpair", EACCES },
    { "connect", EACCES },      { "bind", EACCES },
    { "listen", EACCES },       { "accept", EACCES },
    { "accept4", EACCES },      { "sendto", EACCES },
    { "sendmsg", EACCES },      { "sendmmsg", EACCES },
    { "recvmsg", EACCES },      { "recvmmsg", EACCES },
    { "kill", EPERM },          { "tkill", EPERM },
    { "rt_sigqueueinfo", EPERM }, { "rt_tgsigqueueinfo", EPERM },
    { "pidfd_open", EPERM },    { "pidfd_send_signal", EPERM },
    { "setuid", EPERM },        { "setgid", EPERM },
    { "setreuid", EPERM },      { "setregid", EPERM },
    { "setresuid", EPERM },     { "setresgid", EPERM },
    { "setgroups", EPERM },     { "capset", EPERM },
    { "chown", EPERM },         { "fchown", EPERM },
    { "lchown", EPERM },        { "fchownat", EPERM },
    { "mknod", EPERM },         { "mknodat", EPERM },
    { "symlink", EPERM },       { "symlinkat", EPERM },
    { "link", EPERM },          { "linkat", EPERM },
    { "inotify_init1", EPERM }, { "shmget", EPERM },
    { "msgget", EPERM },        { "semget", EPERM },
    { "mq_open", EPERM },       { "setrlimit", EPERM },
    { "clone3", ENOSYS }, /* glibc: then clone */
};

/* A name this libseccomp or this machine does not know needs no rule. */
static int
rule(scmp_filter_ctx c, uint32_t action, const char *name)
{
    int nr = seccomp_syscall_resolve_name(name);

    if (nr == __NR_SCMP_ERROR || nr < 0) {
        return 0;
    }
    return seccomp_rule_add(c, action, nr, 0);
}

static int
seccomp_enter(void)
{
    scmp_filter_ctx c;
    int             rc = -1;

    c = seccomp_init(SCMP_ACT_ALLOW);
    if (c == NULL) {
        errno = ENOMEM;
        return -1;
    }

    /* another machine's calls (32 bit) would go round the filter */
    if ((rc = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH,
                               SCMP_ACT_KILL_PROCESS)) != 0)
    {
        goto done;
    }

    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        if ((rc = rule(c, SCMP_ACT_KILL_PROCESS, deadly[i])) != 0) {
            goto done;
        }
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        rc = rule(c, SCMP_ACT_ERRNO((uint32_t) refused[i].error),
                  refused[i].name);
        if (rc != 0) {
            goto done;
        }
    }

    /* threads yes, processes no; abort() and thread signals only at home;
     * limits are the supervisor's */
    if ((rc = seccomp_rule_add(c, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)))
            != 0
        || (rc = seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill),
                                  1, SCMP_A0(SCMP_CMP_NE,
                                             (scmp_datum_t) getpid())))
               != 0
        || (rc = seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM),
                                  SCMP_SYS(prlimit64), 1,
                                  SCMP_A0(SCMP_CMP_NE, 0)))
               != 0
        || (rc = seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM),
                                  SCMP_SYS(prlimit64), 1,
                                  SCMP_A2(SCMP_CMP_NE, 0)))
               != 0)
    {
        goto done;
    }

    rc = seccomp_load(c);

done:
    seccomp_release(c);
    if (rc != 0) {
        errno = rc < 0 ? -rc : rc;
        return -1;
    }
    return 0;
}

int
avp_sandbox_enter(const avp_sandbox_opts_t *o, avp_sandbox_level_t *achieved)
{
    const int net = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    int       death = 0;

    *achieved = (avp_sandbox_level_t){ 0 };

    /* new credentials may forget the signal that ends us with our parent */
    (void) prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);

    if (unshare(CLONE_NEWUSER | net) == 0) {
        achieved->user_ns = true;
        achieved->net_ns = true;
    } else if (unshare(net) == 0) { /* root without user namespaces */
        achieved->net_ns = true;
    }

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    {
        return -1;
    }

    if (death != 0 && prctl(PR_SET_PDEATHSIG, death, 0, 0, 0) != 0) {
        return -1;
    }

    achieved->landlock = landlock_enter(o->out_fd);

    if (seccomp_enter() != 0) {
        return -1;
    }
    achieved->seccomp = true;
    return 0;
}

void
avp_sandbox_describe(const avp_sandbox_level_t *l, char *dst, size_t size)
{
    (void) snprintf(dst, size, "ns=%s landlock=%d seccomp=%d",
                    l->user_ns ? "user,net" : l->net_ns ? "net" : "none",
                    l->landlock, l->seccomp ? 1 : 0);
}
