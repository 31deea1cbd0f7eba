/*
 * Which of the jobs that are planned may begin.  A media process says what
 * memory it will need and waits (docs/architecture.md 5); it is let go when
 * its estimate fits beside those of the others, in the order of their plans:
 * a large one that waits is not overtaken for ever by small ones.  One that
 * fits nowhere has the worker to itself.
 */

#include "workerd/supervisor/admit.h"

#include "workerd/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_MEMORY ((int64_t) 100 << 20) /* of a process without a plan */

/* ---- what there is ------------------------------------------------------ */

static int64_t
least(int64_t a, int64_t b)
{
    return b > 0 && b < a ? b : a;
}

/* The first number in a file; 0: there is none ("max", no such file). */
static int64_t
number_in(const char *path)
{
    FILE   *f = fopen(path, "re");
    int64_t n = 0;

    if (f == NULL) {
        return 0;
    }
    if (fscanf(f, "%" SCNd64, &n) != 1) {
        n = 0;
    }
    fclose(f);
    return n;
}

static int64_t
machine_memory(void)
{
    FILE   *f = fopen("/proc/meminfo", "re");
    char    line[128];
    int64_t kb = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "MemTotal: %" SCNd64 " kB", &kb) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb > 0 ? kb * 1024 : INT64_MAX;
}

/* The limits of this process's control groups; in a container they are the
 * root's, else those of the path that the kernel names. */
static int64_t
group_memory(int64_t most)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char  line[1024], path[1200];

    most = least(most, number_in("/sys/fs/cgroup/memory.max"));
    most = least(most,
                 number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::", 3) == 0) {
            (void) snprintf(path, sizeof(path),
                            "/sys/fs/cgroup%s/memory.max", line + 3);
        } else if (strstr(line, ":memory:") != NULL) {
            (void) snprintf(path, sizeof(path),
                            "/sys/fs/cgroup/memory%s/memory.limit_in_bytes",
                            strstr(line, ":memory:") + 8);
        } else {
            continue;
        }
        most = least(most, number_in(path));
    }
    if (f != NULL) {
        fclose(f);
    }
    return most;
}

int64_t
avp_memory_limit(const avp_settings_t *set)
{
    return set->memory_limit > 0 ? set->memory_limit
                                 : group_memory(machine_memory()) / 5 * 4;
}

/* ---- who may ------------------------------------------------------------ */

void
avp_admit_hold(avp_worker_t *w, avp_slot_t *s, int64_t now)
{
    s->held = now > 0 ? now : 1;
    avp_admit_tick(w, now);
    if (s->held != 0) {
        (void) snprintf(s->task, sizeof(s->task), "waiting for memory");
        s->changed = true;
        avp_log(AVP_LOG_INFO, "job waits for memory", AVP_S("jobId", s->job),
                AVP_I("memory", s->estimate), AVP_I("limit", w->memory));
    }
}

bool
avp_admit_waiting(const avp_worker_t *w)
{
    for (int i = 0; i < w->nslots; i++) {
        if (w->slots[i].state == AVP_SLOT_RUNNING && w->slots[i].held != 0) {
            return true;
        }
    }
    return false;
}

/* Who waits longest; NULL: nobody. */
static avp_slot_t *
next_held(avp_worker_t *w)
{
    avp_slot_t *next = NULL;

    for (int i = 0; i < w->nslots; i++) {
        avp_slot_t *s = &w->slots[i];

        if (s->state == AVP_SLOT_RUNNING && s->held != 0 && !s->lost
            && s->stop == AVP_ERR_COUNT
            && (next == NULL || s->held < next->held))
        {
            next = s;
        }
    }
    return next;
}

/* *others: of the admitted ones. */
static bool
has_room(const avp_worker_t *w, const avp_slot_t *next, int *others)
{
    int64_t sum = next->estimate;

    *others = 0;
    for (int i = 0; i < w->nslots; i++) {
        const avp_slot_t *s = &w->slots[i];

        if (s == next || s->state != AVP_SLOT_RUNNING) {
            continue;
        }
        if (s->planned && s->held == 0) {
            ++*others;
            sum += s->estimate;
        } else {
            sum += PROBE_MEMORY;
        }
    }
    return *others == 0 || sum <= w->memory;
}

void
avp_admit_tick(avp_worker_t *w, int64_t now)
{
    avp_slot_t *s;
    int         others;

    while ((s = next_held(w)) != NULL && has_room(w, s, &others)) {
        avp_child_go(&s->child);
        s->held = 0;
        s->moved = now;
        s->wall = now + s->span;
        avp_log(AVP_LOG_DEBUG, "job admitted", AVP_S("jobId", s->job),
                AVP_I("memory", s->estimate), AVP_I("beside", others));
        w->queue.claim |= !w->once && !w->draining;
    }
    for (int i = 0; i < w->nslots; i++) { /* waiting is no standstill */
        s = &w->slots[i];
        if (s->state == AVP_SLOT_RUNNING && s->held != 0) {
            s->moved = now;
            s->wall = now + s->span;
        }
    }
}
