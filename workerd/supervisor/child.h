/*
 * One media process as the supervisor sees it: started by fork and exec with
 * the descriptors of docs/architecture.md 5, an empty environment and limits;
 * its message pipe cut into lines, its log lines bounded and passed on; killed
 * as a whole process group; reaped.
 *
 * Used by the supervisor's loop alone and never blocks.  Everything that comes
 * out of the pipes is hostile until lib/media_message.c has said otherwise.
 */

#ifndef AVP_SUPERVISOR_CHILD_H
#define AVP_SUPERVISOR_CHILD_H

#include "lib/media_message.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AVP_LOG_LINE_MAX 1000   /* of one line on its standard error */
#define AVP_LOG_LINES_MAX 200   /* of one process */

typedef struct {
    pid_t   pid;          /* 0: there is none (or it was reaped) */
    int     status;       /* of waitpid(), once reaped */
    int     msg_fd;       /* -1 at end of file */
    int     log_fd;
    int     hold_fd;      /* on which it waits after its plan; -1: it does not */
    char   *line;         /* AVP_MEDIA_LINE_MAX + 1 bytes */
    size_t  line_len;
    char    log[AVP_LOG_LINE_MAX];
    size_t  log_len;
    int     log_lines;
    int     messages;     /* of the second `second` */
    int64_t second;
} avp_child_t;

/*
 * Starts `workerd media` with the job text, one line, on its standard input;
 * with `hold` that stays open for avp_child_go().  The two descriptors stay the
 * caller's.  `max_cpu` and `max_file` are the most that
 * avp_child_limit() may ever grant.  0, or -1 with errno.
 */
int avp_child_start(avp_child_t *c, const char *job, size_t job_len,
                    int source_fd, int out_fd, int64_t max_cpu,
                    int64_t max_file, bool hold);

/* Lets a process that is held begin what it planned. */
void avp_child_go(avp_child_t *c);

/* CPU seconds and bytes a file from now on, as the plan asks for. */
void avp_child_limit(const avp_child_t *c, int64_t cpu, int64_t file);

/*
 * Reads what there is and calls `on_line` for each whole line of messages;
 * a non-zero return stops reading.  0; 1 at the end of the pipe; -1 when the
 * process sent what no sane one sends: over-long lines, a torrent of them, or
 * a last line without an end.
 */
int avp_child_read(avp_child_t *c, int64_t now,
                   int (*on_line)(void *ctx, avp_str_t line), void *ctx);

/* Reads log lines and logs them under the job's id. */
void avp_child_read_log(avp_child_t *c, const char *job);

/* SIGKILL to the whole process group. */
void avp_child_kill(const avp_child_t *c);

/* Reaps; true once the process is gone (c->status is set then). */
bool avp_child_reap(avp_child_t *c);

/* Resident bytes, or -1. */
int64_t avp_child_rss(const avp_child_t *c);

/* Closes the pipes and frees the buffers; the process must be gone. */
void avp_child_close(avp_child_t *c);

/* How often the kernel's out-of-memory killer has struck on this machine. */
int64_t avp_oom_kills(void);

#endif
