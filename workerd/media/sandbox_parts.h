/*
 * The parts of the sandbox, for sandbox.c alone, in the order in which it
 * takes them.  Each holds for the whole process from then on.
 */

#ifndef AVP_MEDIA_SANDBOX_PARTS_H
#define AVP_MEDIA_SANDBOX_PARTS_H

#include "workerd/media/sandbox.h"

/* The Landlock ABI in force: files beneath `out_fd` (-1: none at all) and no
 * TCP, abstract sockets or signals to others where the ABI knows these.  0
 * when there is no Landlock here. */
int avp_sandbox_landlock(int out_fd);

/* Has libraries look up now what they would look up later. */
void avp_sandbox_warm(void);

/* Takes SIGSYS: the filter hands over every look at a file by its name.  0, or
 * -1 with errno. */
int avp_sandbox_trap(void);

/* The system call filter.  0, or -1 with errno. */
int avp_sandbox_filter(int out_fd);

#endif
