/*
 * How well this machine can shut media processes in.  Asked once, at start, of
 * a process that enters the sandbox as a media process does (`workerd media
 * --check-sandbox`): what it reports is what every job will have, for a media
 * process that cannot reach it gives up before it reads the source.
 */

#ifndef AVP_SUPERVISOR_CAGE_H
#define AVP_SUPERVISOR_CAGE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char ns[16];    /* namespaces: "user,net", "net" or "none" */
    int  landlock;  /* ABI; 0 none */
    bool seccomp;
} avp_cage_t;

/* No sandbox: what SANDBOX=off gives. */
void avp_cage_none(avp_cage_t *cage);

/* 0; or -1 with a sentence in `why`.  Blocks, for 10 s at most. */
int avp_cage_probe(avp_cage_t *cage, char *why, size_t size);

/* Takes apart what the process said; -1 when that is something else. */
int avp_cage_parse(avp_cage_t *cage, const char *text);

#endif
