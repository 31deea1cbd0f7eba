/*
 * The media process's cage.  avp_sandbox_enter() is called once, by `workerd
 * media`, after it has read its job and set up libav (nothing opened after
 * that but files beneath the output folder) and while it has one thread only:
 * threads made later inherit everything.  From then on the process
 *
 *   - cannot gain privileges and cannot be traced or dumped;
 *   - is, where the system lets it, in its own user, network, IPC and UTS
 *     namespaces (best effort: containers often forbid it);
 *   - writes only beneath the output folder, and reads only there and from
 *     what libraries need, where the kernel has Landlock (best effort);
 *   - cannot make sockets (EACCES), signal others (EPERM), start programs or
 *     processes, trace, mount, or use bpf, io_uring and keys: the attempt at
 *     the grave ones ends it with SIGSYS, which the supervisor reports as
 *     sandbox_violation.  This part is not optional.
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
    int  landlock;    /* ABI in force; 0 none */
    bool seccomp;     /* system call filter in force; true when 0 is returned */
} avp_sandbox_level_t;

/* 0; or -1 with errno set when what is not optional could not be had: the
 * caller must not go on to read the source. */
int avp_sandbox_enter(const avp_sandbox_opts_t *o,
                      avp_sandbox_level_t *achieved);

/* "ns=user,net landlock=4 seccomp", for a log line. */
void avp_sandbox_describe(const avp_sandbox_level_t *l, char *dst, size_t size);

#endif
