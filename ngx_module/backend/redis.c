#include "ngx_module/backend/redis.h"
#include "ngx_module/backend/redis_conn.h"
#include "ngx_module/zone.h"

#include <jansson.h>

#define AVP_REDIS_QUEUE  1024     /* commands waiting or unanswered */


typedef struct {
    ngx_queue_t          queue;
    avp_redis_done_pt    done;
    void                *data;
    ngx_msec_t           deadline;
    char                *wire;      /* hiredis' own memory, until sent */
    int                  len;
} avp_redis_cmd_t;


typedef struct {
    ngx_str_node_t        sn;
    avp_redis_message_pt  message;
    void                (*up)(void *data, ngx_uint_t up);
    void                 *data;
    unsigned              stands:1;
} avp_redis_sub_t;


typedef struct {
    avp_redis_address_t   address;
    avp_redis_conn_t      cmd;
    avp_redis_conn_t      sub;

    ngx_queue_t           waiting;  /* not sent yet */
    ngx_queue_t           sent;     /* oldest first */
    ngx_queue_t           failed;   /* to be told on the next turn */
    ngx_uint_t            count;
    ngx_event_t           tell;
    ngx_connection_t      tell_dummy;

    ngx_rbtree_t          subs;
    ngx_rbtree_node_t     sentinel;
    ngx_msec_t            beat_due; /* an unanswered heartbeat's deadline */

    unsigned              ready:1;
} avp_redis_process_t;


static void avp_redis_send(avp_redis_cmd_t *cmd);
static void avp_redis_reply(redisAsyncContext *ac, void *reply, void *data);
static void avp_redis_fail(avp_redis_cmd_t *cmd);
static void avp_redis_tell(ngx_event_t *ev);
static void avp_redis_cmd_up(avp_redis_conn_t *rc);
static void avp_redis_cmd_down(avp_redis_conn_t *rc);
static void avp_redis_cmd_beat(avp_redis_conn_t *rc);
static ngx_msec_t avp_redis_cmd_deadline(avp_redis_conn_t *rc);
static void avp_redis_sub_up(avp_redis_conn_t *rc);
static void avp_redis_sub_down(avp_redis_conn_t *rc);
static void avp_redis_sub_beat(avp_redis_conn_t *rc);
static ngx_msec_t avp_redis_sub_deadline(avp_redis_conn_t *rc);
static void avp_redis_sub_send(avp_redis_sub_t *s, const char *verb);
static void avp_redis_sub_reply(redisAsyncContext *ac, void *reply,
    void *data);


static avp_redis_process_t  avp_redis;    /* of this worker process */


/* --- life --- */

ngx_int_t
avp_redis_init(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf)
{
    if (amcf->redis.len == 0) {
        return NGX_OK;
    }

    if (avp_redis_address(cycle->pool, &amcf->redis, &avp_redis.address)
        != NULL)
    {
        return NGX_ERROR;
    }

    ngx_queue_init(&avp_redis.waiting);
    ngx_queue_init(&avp_redis.sent);
    ngx_queue_init(&avp_redis.failed);
    ngx_rbtree_init(&avp_redis.subs, &avp_redis.sentinel,
                    ngx_str_rbtree_insert_value);

    avp_redis.tell_dummy.fd = (ngx_socket_t) -1;
    avp_redis.tell.data = &avp_redis.tell_dummy;
    avp_redis.tell.handler = avp_redis_tell;
    avp_redis.tell.log = cycle->log;

    avp_redis.cmd.name = "commands";
    avp_redis.cmd.address = &avp_redis.address;
    avp_redis.cmd.timeout = amcf->redis_timeout;
    avp_redis.cmd.log = cycle->log;
    avp_redis.cmd.up = avp_redis_cmd_up;
    avp_redis.cmd.down = avp_redis_cmd_down;
    avp_redis.cmd.beat = avp_redis_cmd_beat;
    avp_redis.cmd.deadline = avp_redis_cmd_deadline;
    avp_redis_conn_init(&avp_redis.cmd);

    avp_redis.sub = avp_redis.cmd;
    avp_redis.sub.name = "subscriptions";
    avp_redis.sub.up = avp_redis_sub_up;
    avp_redis.sub.down = avp_redis_sub_down;
    avp_redis.sub.beat = avp_redis_sub_beat;
    avp_redis.sub.deadline = avp_redis_sub_deadline;
    avp_redis_conn_init(&avp_redis.sub);

    avp_redis.ready = 1;

    return NGX_OK;
}


/* Requests that still run may publish: only the subscriptions go now. */

void
avp_redis_shutdown(void)
{
    if (avp_redis.ready) {
        avp_redis_conn_close(&avp_redis.sub);
    }
}


void
avp_redis_exit(void)
{
    if (!avp_redis.ready) {
        return;
    }

    avp_redis_conn_close(&avp_redis.sub);
    avp_redis_conn_close(&avp_redis.cmd);

    if (avp_redis.tell.posted) {
        ngx_delete_posted_event(&avp_redis.tell);
    }

    avp_redis_tell(&avp_redis.tell);
    avp_redis.ready = 0;
}


/* --- commands --- */

void
avp_redis_command(ngx_uint_t argc, const ngx_str_t *argv,
    avp_redis_done_pt done, void *data)
{
    size_t            lens[8];
    const char       *args[8];
    ngx_uint_t        i;
    avp_redis_cmd_t  *cmd;

    cmd = ngx_calloc(sizeof(avp_redis_cmd_t), ngx_cycle->log);
    if (cmd == NULL) {
        return;
    }

    cmd->done = done;
    cmd->data = data;

    if (!avp_redis.ready || argc > 8 || avp_redis.count >= AVP_REDIS_QUEUE
        || avp_redis.cmd.state == AVP_REDIS_BACKOFF
        || avp_redis.cmd.state == AVP_REDIS_CLOSED)
    {
        avp_redis_fail(cmd);
        return;
    }

    for (i = 0; i < argc; i++) {
        args[i] = (const char *) argv[i].data;
        lens[i] = argv[i].len;
    }

    cmd->len = redisFormatCommandArgv(&cmd->wire, (int) argc, args, lens);
    if (cmd->len < 0) {
        cmd->wire = NULL;
        avp_redis_fail(cmd);
        return;
    }

    cmd->deadline = ngx_current_msec + avp_redis.cmd.timeout;
    cmd->deadline += (cmd->deadline == 0);
    avp_redis.count++;

    if (avp_redis.cmd.state == AVP_REDIS_READY) {
        avp_redis_send(cmd);

    } else {
        ngx_queue_insert_tail(&avp_redis.waiting, &cmd->queue);
        avp_redis_conn_need(&avp_redis.cmd);
    }

    avp_redis_conn_watch(&avp_redis.cmd);
}


static void
avp_redis_send(avp_redis_cmd_t *cmd)
{
    ngx_queue_insert_tail(&avp_redis.sent, &cmd->queue);

    if (redisAsyncFormattedCommand(avp_redis.cmd.ac, avp_redis_reply, cmd,
                                   cmd->wire, (size_t) cmd->len)
        != REDIS_OK)
    {
        ngx_queue_remove(&cmd->queue);
        avp_redis.count--;
        avp_redis_fail(cmd);
        return;
    }

    redisFreeCommand(cmd->wire);
    cmd->wire = NULL;
}


static void
avp_redis_reply(redisAsyncContext *ac, void *reply, void *data)
{
    avp_redis_cmd_t  *cmd = data;

    ngx_str_t    text;
    u_char       number[NGX_INT64_LEN];
    redisReply  *answer = reply;

    ngx_queue_remove(&cmd->queue);
    avp_redis.count--;

    if (answer == NULL || answer->type == REDIS_REPLY_ERROR) {

        if (answer) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "redis (commands): %s", answer->str);
        }

        avp_redis_fail(cmd);
        return;
    }

    ngx_str_null(&text);

    if (answer->type == REDIS_REPLY_INTEGER) {
        text.data = number;
        text.len = ngx_sprintf(number, "%L", (int64_t) answer->integer)
                   - number;

    } else if (answer->type == REDIS_REPLY_STRING
               || answer->type == REDIS_REPLY_STATUS)
    {
        text.data = (u_char *) answer->str;
        text.len = answer->len;
    }

    if (cmd->done) {
        cmd->done(cmd->data, 1, &text);
    }

    ngx_free(cmd);

    avp_redis_conn_watch(&avp_redis.cmd);
}


/* The owner is told on the loop's next turn, never from inside its call. */

static void
avp_redis_fail(avp_redis_cmd_t *cmd)
{
    avp_zone_count(AVP_M_redis_errors, 1);

    if (cmd->wire) {
        redisFreeCommand(cmd->wire);
        cmd->wire = NULL;
    }

    if (cmd->done == NULL || !avp_redis.ready) {
        /* without Redis configured there is no loop to tell it on */
        if (cmd->done) {
            cmd->done(cmd->data, 0, NULL);
        }

        ngx_free(cmd);
        return;
    }

    ngx_queue_insert_tail(&avp_redis.failed, &cmd->queue);

    if (!avp_redis.tell.posted) {
        ngx_post_event(&avp_redis.tell, &ngx_posted_events);
    }
}


/* The oldest command of a queue, taken out of it; NULL when there is none. */

static avp_redis_cmd_t *
avp_redis_take(ngx_queue_t *queue)
{
    ngx_queue_t  *q;

    if (ngx_queue_empty(queue)) {
        return NULL;
    }

    q = ngx_queue_head(queue);
    ngx_queue_remove(q);

    return ngx_queue_data(q, avp_redis_cmd_t, queue);
}


static void
avp_redis_tell(ngx_event_t *ev)
{
    avp_redis_cmd_t  *cmd;

    while ((cmd = avp_redis_take(&avp_redis.failed)) != NULL) {
        cmd->done(cmd->data, 0, NULL);
        ngx_free(cmd);
    }
}


static void
avp_redis_cmd_up(avp_redis_conn_t *rc)
{
    avp_redis_cmd_t  *cmd;

    while ((cmd = avp_redis_take(&avp_redis.waiting)) != NULL) {
        avp_redis_send(cmd);
    }
}


static void
avp_redis_cmd_down(avp_redis_conn_t *rc)
{
    avp_redis_cmd_t  *cmd;

    /* those sent have been failed by hiredis, with NULL replies */

    while ((cmd = avp_redis_take(&avp_redis.waiting)) != NULL) {
        avp_redis.count--;
        avp_redis_fail(cmd);
    }
}


static void
avp_redis_cmd_beat(avp_redis_conn_t *rc)
{
    static const ngx_str_t  ping = ngx_string("PING");

    avp_redis_command(1, &ping, NULL, NULL);
}


static ngx_msec_t
avp_redis_cmd_deadline(avp_redis_conn_t *rc)
{
    ngx_queue_t      *oldest;
    avp_redis_cmd_t  *cmd;

    oldest = !ngx_queue_empty(&avp_redis.sent) ? &avp_redis.sent
                                               : &avp_redis.waiting;
    if (ngx_queue_empty(oldest)) {
        return 0;
    }

    cmd = ngx_queue_data(ngx_queue_head(oldest), avp_redis_cmd_t, queue);

    return cmd->deadline;
}


/* --- what the product says --- */

void
avp_redis_wake(const ngx_str_t *job)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "RPUSH");
    ngx_str_set(&argv[1], "avp:jobs");
    argv[2] = *job;

    avp_redis_command(3, argv, NULL, NULL);
}


void
avp_redis_publish_event(const ngx_str_t *event)
{
    json_t       *root;
    u_char        channel[64], inv[128];
    ngx_str_t     argv[3];
    json_int_t    seq;
    const char   *video, *user;

    if (event->len == 0) {
        return;
    }

    root = json_loadb((char *) event->data, event->len, 0, NULL);
    if (root == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "an event of the database is not JSON");
        return;
    }

    video = json_string_value(json_object_get(root, "videoId"));
    user = json_string_value(json_object_get(root, "userId"));
    seq = json_integer_value(json_object_get(root, "seq"));

    ngx_str_set(&argv[0], "PUBLISH");

    if (video && ngx_strlen(video) == AVP_UUID_LEN) {
        argv[1].data = channel;
        argv[1].len = ngx_sprintf(channel, "avp:ev:v:%s", video) - channel;
        argv[2] = *event;
        avp_redis_command(3, argv, NULL, NULL);

        ngx_str_set(&argv[1], "avp:inv");
        argv[2].data = inv;
        argv[2].len = ngx_sprintf(inv, "{\"videoId\":\"%s\",\"seq\":%L}",
                                  video, (int64_t) seq)
                      - inv;
        avp_redis_command(3, argv, NULL, NULL);
    }

    if (user && ngx_strlen(user) == AVP_UUID_LEN) {
        argv[1].data = channel;
        argv[1].len = ngx_sprintf(channel, "avp:ev:u:%s", user) - channel;
        argv[2] = *event;
        avp_redis_command(3, argv, NULL, NULL);
    }

    json_decref(root);
}


/* --- subscriptions --- */

static avp_redis_sub_t *
avp_redis_sub_find(const ngx_str_t *channel)
{
    return (avp_redis_sub_t *)
               ngx_str_rbtree_lookup(&avp_redis.subs, (ngx_str_t *) channel,
                                     ngx_crc32_short(channel->data,
                                                     channel->len));
}


ngx_int_t
avp_redis_subscribe(const ngx_str_t *channel, avp_redis_message_pt message,
    void (*up)(void *data, ngx_uint_t up), void *data)
{
    avp_redis_sub_t  *s;

    if (!avp_redis.ready || avp_redis.sub.state == AVP_REDIS_CLOSED
        || avp_redis_sub_find(channel) != NULL)
    {
        return NGX_ERROR;
    }

    s = ngx_calloc(sizeof(avp_redis_sub_t) + channel->len, ngx_cycle->log);
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->sn.str.data = (u_char *) s + sizeof(avp_redis_sub_t);
    s->sn.str.len = channel->len;
    ngx_memcpy(s->sn.str.data, channel->data, channel->len);
    s->sn.node.key = ngx_crc32_short(channel->data, channel->len);
    s->message = message;
    s->up = up;
    s->data = data;

    ngx_rbtree_insert(&avp_redis.subs, &s->sn.node);

    if (avp_redis.sub.state == AVP_REDIS_READY) {
        avp_redis_sub_send(s, "SUBSCRIBE");

    } else {
        avp_redis_conn_need(&avp_redis.sub);
    }

    return NGX_OK;
}


void
avp_redis_unsubscribe(const ngx_str_t *channel)
{
    avp_redis_sub_t  *s;

    if (!avp_redis.ready) {
        return;
    }

    s = avp_redis_sub_find(channel);
    if (s == NULL) {
        return;
    }

    if (avp_redis.sub.state == AVP_REDIS_READY) {
        avp_redis_sub_send(s, "UNSUBSCRIBE");
    }

    ngx_rbtree_delete(&avp_redis.subs, &s->sn.node);
    ngx_free(s);
}


static void
avp_redis_sub_send(avp_redis_sub_t *s, const char *verb)
{
    /* subscriptions are found again by name: hiredis may hold a callback's
     * data longer than the subscription lives */

    redisAsyncCommand(avp_redis.sub.ac, avp_redis_sub_reply, NULL, "%s %b",
                      verb, s->sn.str.data, s->sn.str.len);
}


static void
avp_redis_sub_reply(redisAsyncContext *ac, void *reply, void *data)
{
    ngx_str_t         channel, message;
    redisReply       *answer = reply;
    avp_redis_sub_t  *s;

    if (answer == NULL || answer->type != REDIS_REPLY_ARRAY
        || answer->elements != 3
        || answer->element[0]->type != REDIS_REPLY_STRING
        || answer->element[1]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    avp_redis.beat_due = 0;
    avp_redis_conn_watch(&avp_redis.sub);

    channel.data = (u_char *) answer->element[1]->str;
    channel.len = answer->element[1]->len;

    s = avp_redis_sub_find(&channel);
    if (s == NULL) {
        return;
    }

    if (ngx_strcmp(answer->element[0]->str, "subscribe") == 0) {
        s->stands = 1;

        if (s->up) {
            s->up(s->data, 1);
        }

        return;
    }

    if (ngx_strcmp(answer->element[0]->str, "message") == 0
        && answer->element[2]->type == REDIS_REPLY_STRING)
    {
        message.data = (u_char *) answer->element[2]->str;
        message.len = answer->element[2]->len;
        s->message(s->data, &channel, &message);
    }
}


static void
avp_redis_sub_up(avp_redis_conn_t *rc)
{
    ngx_rbtree_node_t  *node;

    if (avp_redis.subs.root == &avp_redis.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(avp_redis.subs.root, &avp_redis.sentinel);
         node;
         node = ngx_rbtree_next(&avp_redis.subs, node))
    {
        avp_redis_sub_send((avp_redis_sub_t *) node, "SUBSCRIBE");
    }
}


static void
avp_redis_sub_down(avp_redis_conn_t *rc)
{
    avp_redis_sub_t    *s;
    ngx_rbtree_node_t  *node;

    avp_redis.beat_due = 0;

    if (avp_redis.subs.root == &avp_redis.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(avp_redis.subs.root, &avp_redis.sentinel);
         node;
         node = ngx_rbtree_next(&avp_redis.subs, node))
    {
        s = (avp_redis_sub_t *) node;

        if (s->stands) {
            s->stands = 0;

            if (s->up) {
                s->up(s->data, 0);
            }
        }
    }
}


/*
 * hiredis 0.14 queues the callback of a PING in subscribe mode for ever; to
 * subscribe once more to a channel of no messages asks the same question.
 */

static void
avp_redis_sub_beat(avp_redis_conn_t *rc)
{
    redisAsyncCommand(rc->ac, avp_redis_sub_reply, NULL,
                      "SUBSCRIBE avp:heartbeat");

    avp_redis.beat_due = ngx_current_msec + rc->timeout;
    avp_redis.beat_due += (avp_redis.beat_due == 0);
}


static ngx_msec_t
avp_redis_sub_deadline(avp_redis_conn_t *rc)
{
    return avp_redis.beat_due;
}
