/*
 * The log of workerd: one JSON object a line on standard error,
 *
 *   {"time":"...Z","level":"info","msg":"job claimed","jobId":"...",...}
 *
 * `msg` is a constant phrase, everything that varies is a member.  Names in
 * use: jobId, videoId, userId, requestId, attempt, error, code.  A line is
 * one write(2), so lines of threads and processes do not mix.  Any thread may
 * log; nothing can fail (a line that cannot be written is lost).  Never put a
 * secret into a member: addresses go through avp_redact_url().
 */

#ifndef AVP_WORKERD_LOG_H
#define AVP_WORKERD_LOG_H

#include "lib/str.h"

#include <stdint.h>

/* In the order of avp_settings_t.log_level. */
typedef enum {
    AVP_LOG_DEBUG,
    AVP_LOG_INFO,
    AVP_LOG_WARN,
    AVP_LOG_ERROR
} avp_log_level_t;

typedef enum { AVP_KV_NONE, AVP_KV_STR, AVP_KV_INT, AVP_KV_NUM } avp_kv_kind_t;

typedef struct {
    avp_kv_kind_t kind;
    const char   *key;
    avp_str_t     str;
    int64_t       i;
    double        num;
} avp_kv_t;

/* A text (NULL: the member is left out), a slice, an integer, a number. */
#define AVP_S(name, value)                                                     \
    { .kind = AVP_KV_STR, .key = (name), .str = avp_str_c(value) }
#define AVP_SN(name, ptr, n)                                                   \
    { .kind = AVP_KV_STR, .key = (name), .str = { (ptr), (n) } }
#define AVP_I(name, value)                                                     \
    { .kind = AVP_KV_INT, .key = (name), .i = (int64_t) (value) }
#define AVP_F(name, value)                                                     \
    { .kind = AVP_KV_NUM, .key = (name), .num = (double) (value) }

void avp_log_set_level(avp_log_level_t level);
int avp_log_enabled(avp_log_level_t level);

void avp_log_kv(avp_log_level_t level, const char *msg, const avp_kv_t *kv,
                size_t n);

/* avp_log(AVP_LOG_INFO, "job claimed", AVP_S("jobId", id), AVP_I("attempt", 2)); */
#define avp_log(level, msg, ...)                                               \
    avp_log_kv((level), (msg),                                                 \
               (const avp_kv_t[]){ { .kind = AVP_KV_NONE }, ##__VA_ARGS__ },   \
               sizeof((const avp_kv_t[]){ { .kind = AVP_KV_NONE },             \
                                          ##__VA_ARGS__ })                     \
                   / sizeof(avp_kv_t))

/* Copies `url` with the password of user:password@ as `***`; cut to fit. */
void avp_redact_url(char *dst, size_t size, const char *url);

#endif
