/*
 * What the media process says on its pipe: one JSON object a line.  The
 * supervisor treats every byte as hostile: lines are bounded, strings are
 * bounded and free of control characters, numbers are in range, and unknown
 * members are refused.
 *
 *   {"t":"plan","passes":2,"cpuSeconds":71.5,"memoryBytes":1.0e9,
 *    "outputBytes":12345678,"duration":19.28,"text":"..."}
 *   {"t":"progress","progress":42,"task":"encode 480p","eta":12}
 *   {"t":"playable","doc":{...}}
 *   {"t":"done","doc":{...}}                      (docs/architecture.md 5)
 *   {"t":"error","code":"no_video","detail":"..."}
 *   {"t":"warning","detail":"..."}
 */

#ifndef AVP_MEDIA_MESSAGE_H
#define AVP_MEDIA_MESSAGE_H

#include "lib/errors.h"
#include "lib/str.h"

#include <stdint.h>

#define AVP_MEDIA_LINE_MAX (256 * 1024)
#define AVP_MEDIA_TEXT_MAX 512

typedef enum {
    AVP_MEDIA_PLAN,
    AVP_MEDIA_PROGRESS,
    AVP_MEDIA_PLAYABLE,
    AVP_MEDIA_DONE,
    AVP_MEDIA_ERROR,
    AVP_MEDIA_WARNING
} avp_media_kind_t;

typedef struct {
    avp_media_kind_t kind;
    char    text[AVP_MEDIA_TEXT_MAX]; /* task, detail or plan text */
    int     progress;                 /* 0..99 */
    int     eta;                      /* seconds; -1 unknown */
    avp_error_t error;                /* of AVP_MEDIA_ERROR: a job error */
    int     passes;
    double  cpu_seconds, duration;
    int64_t memory_bytes, output_bytes;
    char   *doc;                      /* JSON text, malloc'ed, or NULL */
} avp_media_message_t;

/* 0 and *m filled (free it), or -1: a line that a sane process never sends. */
int avp_media_message_parse(avp_media_message_t *m, avp_str_t line);
void avp_media_message_free(avp_media_message_t *m);

/*
 * Checks the `doc` of playable and done before it goes to the database:
 * every path passes avp_object_path_check() when put behind a prefix, sizes
 * and durations are in range, format and quality are known words, no pair of
 * them twice.  0, or -1 with a constant phrase in *why.
 */
int avp_media_doc_check(const char *doc, const char **why);

#endif
