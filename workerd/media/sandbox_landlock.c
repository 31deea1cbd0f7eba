/*
 * Files: the output folder, and nothing else.  What libraries want to look up
 * by name (their own pieces, the number of processors) has been looked up
 * before, or is answered by sandbox_trap.c.
 */

#include "workerd/media/sandbox_parts.h"

#include <stddef.h>
#include <stdint.h>
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

#define LL_WRITE_FILE (1ull << 1)
#define LL_READ_FILE (1ull << 2)
#define LL_READ_DIR (1ull << 3)
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

static int
ll_allow(int rules, int fd, uint64_t rights)
{
    ll_path_t p = { rights, fd };

    return (int) syscall(SYS_landlock_add_rule, rules, LL_RULE_PATH_BENEATH, &p,
                         0u);
}

int
avp_sandbox_landlock(int out_fd)
{
    ll_ruleset_t r = { LL_ABI1, 0, 0 };
    size_t       size = sizeof(r.fs);
    uint64_t     out;
    int          abi, rules;

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

    out = r.fs & (LL_WRITE_FILE | LL_READ_FILE | LL_READ_DIR | LL_REMOVE_FILE
                  | LL_MAKE_DIR | LL_MAKE_REG | LL_TRUNCATE);
    if (out_fd >= 0 && ll_allow(rules, out_fd, out) != 0) {
        abi = 0;
    }

    if (abi > 0 && syscall(SYS_landlock_restrict_self, rules, 0u) != 0) {
        abi = 0;
    }
    close(rules);
    return abi;
}
