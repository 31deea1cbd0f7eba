/*
 * See sandbox.h.  Order matters: namespaces while unshare() is still allowed,
 * then no_new_privs (Landlock and seccomp ask for it), Landlock, and the
 * system call filter last because it forbids the rest.
 */

#include "workerd/media/sandbox_parts.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

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

    avp_sandbox_warm();
    achieved->landlock = avp_sandbox_landlock(o->out_fd);
#ifndef AVP_COVERAGE
    if (achieved->landlock == 0) {
        errno = ENOSYS;
        return -1;
    }
#endif

    if (avp_sandbox_trap() != 0 || avp_sandbox_filter(o->out_fd) != 0) {
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
