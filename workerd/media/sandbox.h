/*
 * The media process's cage.  avp_sandbox_enter() is called once, by `workerd
 * media`, after it has read its job and set up libav and while it has one
 * thread only: threads made later inherit everything.  From then on the
 * process
 *
 *   - cannot gain privileges and cannot be traced or dumped;
 *   - is, where the system lets it, in its own user, network, IPC and UTS
 *     namespaces (best effort: containers often forbid it);
 *   - reads and writes only beneath the output folder (Landlock), and can name
 *     files only as seen from its descriptor: any other look at a file by name
 *     ends it, but for the few that libraries live without
 *     (sandbox_trap.c);
 *   - makes only the system calls of sandbox_filter.c: no sockets (EACCES), no
 *     limits of its own (EPERM), no memory to execute, no programs, processes
 *     or signals to others.  A call that is not on the list ends it with
 *     SIGSYS, which the supervisor reports as sandbox_violation.
 *
 * Descriptors that are open already keep working (source, message pipe, log).
 */

#ifndef AVP_MEDIA_SANDBOX_H
#define AVP_MEDIA_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int out_fd;  /* the output folder; -1: nothing may be written */
} avp_sandbox_opts_t;

typedef struct {
    bool user_ns;     /* own user namespace */
    bool net_ns;      /* own (empty) network, IPC and UTS namespaces */
    int  landlock;    /* ABI in force; 0 only in builds that measure coverage */
    bool seccomp;     /* system call filter in force; true when 0 is returned */
} avp_sandbox_level_t;

/* 0; or -1 with errno set when what is not optional (Landlock, seccomp) could
 * not be had, ENOSYS when this system has no Landlock: the caller must not go
 * on to read the source. */
int avp_sandbox_enter(const avp_sandbox_opts_t *o,
                      avp_sandbox_level_t *achieved);

/* "ns=user,net landlock=4 seccomp=1", for a log line. */
void avp_sandbox_describe(const avp_sandbox_level_t *l, char *dst, size_t size);

#endif
