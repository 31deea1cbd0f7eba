/* See redis.h.  hiredis 0.14 and 1.x: only what both have is used. */

#include "workerd/supervisor/redis.h"

#include "workerd/log.h"
#include "workerd/supervisor/clock.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define COMMAND_MS 200
#define BREAKER_MIN_MS 1000
#define BREAKER_MAX_MS 8000
#define LIST "avp:jobs"

struct avp_redis_s {
    char          text[512]; /* the address; the rest points into it */
    const char   *host, *path, *user, *password;
    int           port, db;

    redisContext *command;
    redisContext *wait;
    bool          waiting;
    bool          up;
    int64_t       not_before; /* the breaker: no connecting until then */
    int64_t       backoff;
};

/* ---- the address -------------------------------------------------------- */

static int
hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void
percent_decode(char *s)
{
    char *d = s;

    for (; *s; s++, d++) {
        if (*s == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
            *d = (char) (hex(s[1]) * 16 + hex(s[2]));
            s += 2;
        } else {
            *d = *s;
        }
    }
    *d = '\0';
}

static int
parse_number(const char *s, int max)
{
    char *end;
    long  n = strtol(s, &end, 10);

    return *s == '\0' || *end != '\0' || n < 0 || n > max ? -1 : (int) n;
}

static const char *
parse_url(avp_redis_t *r, const char *url)
{
    char *s, *at, *colon, *slash;

    if (strlen(url) >= sizeof(r->text)) {
        return "the address is too long";
    }
    memcpy(r->text, url, strlen(url) + 1);
    r->port = 6379;

    if (strncmp(r->text, "unix://", 7) == 0) {
        r->path = r->text + 7;
        return r->path[0] == '/' ? NULL : "a socket's path begins with /";
    }
    if (strncmp(r->text, "redis://", 8) != 0) {
        return "an address begins with redis:// or unix://";
    }
    s = r->text + 8;

    at = strrchr(s, '@');
    if (at != NULL) {
        *at = '\0';
        colon = strchr(s, ':');
        if (colon == NULL) {
            return "a password is written as redis://:password@host";
        }
        *colon = '\0';
        percent_decode(s);
        percent_decode(colon + 1);
        r->user = s;
        r->password = colon + 1;
        s = at + 1;
    }

    slash = strchr(s, '/');
    if (slash != NULL) {
        *slash = '\0';
        if (slash[1] != '\0' && (r->db = parse_number(slash + 1, 65535)) < 0) {
            return "what follows the / is the number of a database";
        }
    }
    if (*s == '[' && (colon = strchr(s, ']')) != NULL) { /* [::1]:6379 */
        *colon++ = '\0';
        s++;
        colon = *colon == ':' ? colon : NULL;
    } else {
        colon = strrchr(s, ':');
    }
    if (colon != NULL) {
        *colon = '\0';
        if ((r->port = parse_number(colon + 1, 65535)) < 1) {
            return "the port is no number from 1 to 65535";
        }
    }
    r->host = s;
    return *s != '\0' ? NULL : "there is no host";
}

/* ---- connections -------------------------------------------------------- */

static void
lost(avp_redis_t *r, redisContext **c, const char *what)
{
    if (r->up || r->backoff == 0) {
        avp_log(AVP_LOG_WARN, "redis is gone, working without",
                AVP_S("doing", what),
                AVP_S("error", *c != NULL && (*c)->err ? (*c)->errstr
                                                       : "unusable answer"));
    }
    r->up = false;
    if (*c != NULL) {
        redisFree(*c);
        *c = NULL;
    }
    r->backoff = r->backoff == 0 ? BREAKER_MIN_MS : r->backoff * 2;
    if (r->backoff > BREAKER_MAX_MS) {
        r->backoff = BREAKER_MAX_MS;
    }
    r->not_before = avp_clock() + r->backoff;
}

static void
fine(avp_redis_t *r)
{
    if (!r->up && r->backoff > 0) {
        avp_log(AVP_LOG_INFO, "redis is back");
    }
    r->up = true;
    r->backoff = 0;
}

static int
reply_ok(redisReply *reply)
{
    int ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;

    if (reply != NULL) {
        freeReplyObject(reply);
    }
    return ok;
}

/* AUTH and SELECT; the password never reaches a log. */
static int
greet(const avp_redis_t *r, redisContext *c)
{
    if (r->password != NULL && r->password[0] != '\0') {
        redisReply *reply
            = r->user[0] != '\0'
                  ? redisCommand(c, "AUTH %s %s", r->user, r->password)
                  : redisCommand(c, "AUTH %s", r->password);
        if (!reply_ok(reply)) {
            return -1;
        }
    }
    return r->db == 0 || reply_ok(redisCommand(c, "SELECT %d", r->db)) ? 0
                                                                       : -1;
}

static int
connected(avp_redis_t *r, redisContext **c)
{
    const struct timeval tv = { 0, COMMAND_MS * 1000 };

    if (*c != NULL) {
        return 0;
    }
    if (avp_clock() < r->not_before) {
        return -1;
    }
    *c = r->path != NULL ? redisConnectUnixWithTimeout(r->path, tv)
                         : redisConnectWithTimeout(r->host, r->port, tv);
    if (*c == NULL || (*c)->err || redisSetTimeout(*c, tv) != REDIS_OK
        || greet(r, *c) != 0)
    {
        lost(r, c, "connecting");
        return -1;
    }
    fine(r);
    return 0;
}

avp_redis_t *
avp_redis_new(const char *url, const char **why)
{
    avp_redis_t *r = calloc(1, sizeof(*r));

    *why = "out of memory";
    if (r != NULL && (*why = parse_url(r, url)) != NULL) {
        free(r);
        r = NULL;
    }
    return r;
}

void
avp_redis_free(avp_redis_t *r)
{
    if (r == NULL) {
        return;
    }
    if (r->command != NULL) {
        redisFree(r->command);
    }
    if (r->wait != NULL) {
        redisFree(r->wait);
    }
    free(r);
}

bool
avp_redis_up(const avp_redis_t *r)
{
    return r->up;
}

/* ---- commands ----------------------------------------------------------- */

/* Reads the answers of `n` commands that were appended; the last one's
 * integer (or the length of its array, 0 for nil) goes to *value. */
static int
answers(avp_redis_t *r, int n, long *value, const char *what)
{
    redisReply *reply;
    void       *p;

    for (; n > 0; n--) {
        p = NULL;
        if (redisGetReply(r->command, &p) != REDIS_OK) {
            lost(r, &r->command, what);
            return -1;
        }
        reply = p;
        if (reply->type == REDIS_REPLY_ERROR) {
            /* full disk, read only, no permission: as good as gone */
            avp_log(AVP_LOG_WARN, "redis refused", AVP_S("doing", what),
                    AVP_SN("error", reply->str, (size_t) reply->len));
            freeReplyObject(reply);
            lost(r, &r->command, what);
            return -1;
        }
        if (value != NULL) {
            *value = reply->type == REDIS_REPLY_INTEGER ? (long) reply->integer
                     : reply->type == REDIS_REPLY_ARRAY ? (long) reply->elements
                                                        : 0;
        }
        freeReplyObject(reply);
    }
    fine(r);
    return 0;
}

void
avp_redis_event(avp_redis_t *r, const char *event)
{
    json_t     *e;
    const char *video, *user;
    char        channel[80], inv[128];
    size_t      n;

    if (event == NULL || connected(r, &r->command) != 0) {
        return;
    }
    e = json_loads(event, 0, NULL);
    video = json_string_value(json_object_get(e, "videoId"));
    user = json_string_value(json_object_get(e, "userId"));
    if (video == NULL || user == NULL || strlen(video) != 36
        || strlen(user) != 36)
    {
        avp_log(AVP_LOG_ERROR, "an event without video or user");
        json_decref(e);
        return;
    }
    n = strlen(event);
    (void) snprintf(
        inv, sizeof(inv), "{\"videoId\":\"%s\",\"seq\":%lld}", video,
        (long long) json_integer_value(json_object_get(e, "seq")));
    (void) snprintf(channel, sizeof(channel), "avp:ev:v:%s", video);
    (void) redisAppendCommand(r->command, "PUBLISH %s %b", channel, event, n);
    (void) snprintf(channel, sizeof(channel), "avp:ev:u:%s", user);
    (void) redisAppendCommand(r->command, "PUBLISH %s %b", channel, event, n);
    (void) redisAppendCommand(r->command, "PUBLISH avp:inv %s", inv);
    (void) answers(r, 3, NULL, "publishing an event");
    json_decref(e);
}

int
avp_redis_push(avp_redis_t *r, const char *entry, int n)
{
    const char *argv[102];

    if (n < 1) {
        return 0;
    }
    if (connected(r, &r->command) != 0) {
        return -1;
    }
    n = n > 100 ? 100 : n;
    argv[0] = "RPUSH";
    argv[1] = LIST;
    for (int i = 0; i < n; i++) {
        argv[2 + i] = entry;
    }
    (void) redisAppendCommandArgv(r->command, n + 2, argv, NULL);
    return answers(r, 1, NULL, "pushing a wake-up");
}

int
avp_redis_drain(avp_redis_t *r)
{
    long n = 0;

    if (connected(r, &r->command) != 0) {
        return -1;
    }
    (void) redisAppendCommand(r->command, "LPOP " LIST " 100");
    return answers(r, 1, &n, "draining wake-ups") == 0 ? (int) n : -1;
}

long
avp_redis_length(avp_redis_t *r)
{
    long n = 0;

    if (connected(r, &r->command) != 0) {
        return -1;
    }
    (void) redisAppendCommand(r->command, "LLEN " LIST);
    return answers(r, 1, &n, "counting wake-ups") == 0 ? n : -1;
}

void
avp_redis_presence(avp_redis_t *r, const char *name, const char *incarnation,
                   const char *host, const char *version, int slots,
                   int running)
{
    if (connected(r, &r->command) != 0) {
        return;
    }
    if (slots < 0) {
        (void) redisAppendCommand(r->command, "DEL avp:worker:%s", name);
        (void) answers(r, 1, NULL, "saying goodbye");
        return;
    }
    (void) redisAppendCommand(r->command,
                              "HSET avp:worker:%s incarnation %s host %s "
                              "version %s slots %d running %d",
                              name, incarnation, host, version, slots,
                              running);
    (void) redisAppendCommand(r->command, "EXPIRE avp:worker:%s 30", name);
    (void) answers(r, 2, NULL, "saying who works here");
}

/* ---- waiting ------------------------------------------------------------ */

int
avp_redis_wait(avp_redis_t *r, double seconds)
{
    int done = 0;

    if (connected(r, &r->wait) != 0) {
        return -1;
    }
    (void) redisAppendCommand(r->wait, "BLPOP " LIST " %f", seconds);
    while (!done) {
        if (redisBufferWrite(r->wait, &done) != REDIS_OK) {
            lost(r, &r->wait, "waiting");
            return -1;
        }
    }
    r->waiting = true;
    return 0;
}

int
avp_redis_wait_fd(const avp_redis_t *r)
{
    return r->waiting ? r->wait->fd : -1;
}

avp_wait_t
avp_redis_wait_ready(avp_redis_t *r)
{
    redisReply *reply;
    void       *p = NULL;
    avp_wait_t  result;

    /* the descriptor is readable: this read does not block */
    if (redisBufferRead(r->wait) != REDIS_OK
        || redisGetReplyFromReader(r->wait, &p) != REDIS_OK)
    {
        r->waiting = false;
        lost(r, &r->wait, "waiting");
        return AVP_WAIT_LOST;
    }
    if (p == NULL) {
        return AVP_WAIT_MORE;
    }
    reply = p;
    r->waiting = false;
    if (reply->type == REDIS_REPLY_ERROR) {
        lost(r, &r->wait, "waiting");
        result = AVP_WAIT_LOST;
    } else {
        result = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0
                     ? AVP_WAIT_ENTRY
                     : AVP_WAIT_TIMEOUT;
    }
    freeReplyObject(reply);
    return result;
}

void
avp_redis_wait_cancel(avp_redis_t *r)
{
    if (r->waiting) {
        redisFree(r->wait);
        r->wait = NULL;
        r->waiting = false;
    }
}
