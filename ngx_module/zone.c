/*
 * avp_zone: see zone.h.
 *
 * Layout: the slab pool's `data` points to avp_zone_t, which begins with a
 * magic and a version.  A reload that brings another layout (a new module
 * file) gets a fresh structure in the same pool; old workers keep theirs.
 */

#include "ngx_module/zone.h"
#include "ngx_module/backend/pg.h"
#include "lib/units.h"

#define AVP_ZONE_MAGIC    0x7A6F6E65417670ULL   /* "pvAenoz" */
#define AVP_ZONE_VERSION  1
#define AVP_ZONE_MIN      (256 * 1024)
#define AVP_ZONE_SLOTS    64

#define AVP_PULL_PERIOD   5000        /* ms between pulls of all workers */
#define AVP_PULL_CHECK    1000        /* ms between looks of one worker */
#define AVP_PULL_RETRY    1000        /* ms after a pull that failed */
#define AVP_PULL_OVERLAP  60.0        /* s pulled again, for late commits */
#define AVP_FRESH         60000       /* ms that a pull is good for */

/* Nobody can hold a delivery link longer than two windows. */
#define AVP_DENIED_KEEP   (2 * AVP_DELIVERY_WINDOW)


typedef struct {
    ngx_str_node_t        sn;         /* sn.str is the UUID's text, below */
    ngx_queue_t           queue;      /* oldest last; videos only */
    time_t                added;
    u_char                id[AVP_UUID_LEN];
} avp_zone_node_t;


typedef struct {
    ngx_rbtree_t          tree;
    ngx_rbtree_node_t     sentinel;
    ngx_queue_t           queue;
    ngx_atomic_t          count;
} avp_zone_set_t;


typedef struct {
    ngx_atomic_t          counters[AVP_M_COUNT];
} avp_zone_slot_t;


struct avp_zone_s {
    uint64_t              magic;
    uint32_t              version;
    uint32_t              size;

    ngx_atomic_t          next_pull;   /* ngx_current_msec; claimed by CAS */
    ngx_atomic_t          filled;      /* ngx_current_msec of the last pull */
    ngx_atomic_t          since_ms;    /* the database's time of it */

    avp_zone_set_t        videos;      /* denied */
    avp_zone_set_t        users;       /* disabled */

    avp_zone_slot_t       slots[AVP_ZONE_SLOTS];
};


static ngx_int_t avp_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static void avp_zone_set_init(avp_zone_set_t *set);
static ngx_uint_t avp_zone_has(avp_zone_set_t *set, const char *id);
static void avp_zone_add(avp_zone_set_t *set, ngx_str_t *id);
static void avp_zone_remove(avp_zone_set_t *set, ngx_str_t *id);
static void avp_zone_pull_timer(ngx_event_t *ev);
static void avp_zone_pull_done(avp_pg_op_t *op);


static const avp_pg_stmt_t  avp_zone_pull = {
    "zone_pull", "SELECT * FROM zone_pull($1)", 1
};

/* of this process */
static avp_zone_t       *avp_zone;
static ngx_slab_pool_t  *avp_zone_pool;
static ngx_event_t       avp_zone_event;
static ngx_connection_t  avp_zone_dummy;   /* data of a timer must have an fd */


char *
avp_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    u_char     *colon;
    int64_t     size;
    ngx_str_t  *value, name;

    value = cf->args->elts;

    if (amcf->zone) {
        return "is duplicate";
    }

    colon = (u_char *) ngx_strlchr(value[1].data,
                                   value[1].data + value[1].len, ':');
    if (colon == NULL || colon == value[1].data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "avp_zone: \"%V\" is not NAME:SIZE, "
                           "for example \"avp:16m\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data;
    name.len = colon - value[1].data;

    size = avp_size_parse((avp_str_t) {
        (char *) colon + 1,
        (size_t) (value[1].data + value[1].len - colon - 1)
    });

    if (size < AVP_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "avp_zone: \"%V\" has a bad size, "
                           "at least 256k is needed", &value[1]);
        return NGX_CONF_ERROR;
    }

    amcf->zone = ngx_shared_memory_add(cf, &name, (size_t) size,
                                       &ngx_http_avp_module);
    if (amcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    amcf->zone->init = avp_zone_init;
    amcf->zone->data = amcf;

    return NGX_CONF_OK;
}


static ngx_int_t
avp_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    avp_zone_t       *z;
    ngx_slab_pool_t  *pool;

    pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    z = data ? data : (shm_zone->shm.exists ? pool->data : NULL);

    if (z && z->magic == AVP_ZONE_MAGIC && z->version == AVP_ZONE_VERSION
        && z->size == sizeof(avp_zone_t))
    {
        shm_zone->data = z;
        return NGX_OK;
    }

    z = ngx_slab_calloc(pool, sizeof(avp_zone_t));
    if (z == NULL) {
        return NGX_ERROR;
    }

    z->magic = AVP_ZONE_MAGIC;
    z->version = AVP_ZONE_VERSION;
    z->size = sizeof(avp_zone_t);

    avp_zone_set_init(&z->videos);
    avp_zone_set_init(&z->users);

    /* running out is reported here, with what it means, not by the slab */
    pool->log_nomem = 0;
    pool->data = z;
    shm_zone->data = z;

    return NGX_OK;
}


static void
avp_zone_set_init(avp_zone_set_t *set)
{
    ngx_rbtree_init(&set->tree, &set->sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&set->queue);
    set->count = 0;
}


ngx_int_t
avp_zone_init_process(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf)
{
    if (amcf->zone == NULL) {
        return NGX_OK;
    }

    avp_zone = amcf->zone->data;
    avp_zone_pool = (ngx_slab_pool_t *) amcf->zone->shm.addr;

    if (amcf->database.len == 0) {
        return NGX_OK;
    }

    avp_zone_dummy.fd = (ngx_socket_t) -1;
    avp_zone_event.data = &avp_zone_dummy;
    avp_zone_event.handler = avp_zone_pull_timer;
    avp_zone_event.log = cycle->log;
    avp_zone_event.cancelable = 1;

    ngx_add_timer(&avp_zone_event, 1);

    return NGX_OK;
}


ngx_uint_t
avp_zone_video_denied(const char *video)
{
    return avp_zone != NULL && avp_zone_has(&avp_zone->videos, video);
}


ngx_uint_t
avp_zone_user_disabled(const char *user)
{
    return avp_zone != NULL && avp_zone_has(&avp_zone->users, user);
}


void
avp_zone_deny_video(const char *video)
{
    ngx_str_t  id;

    if (avp_zone == NULL) {
        return;
    }

    id.data = (u_char *) video;
    id.len = AVP_UUID_LEN;

    avp_zone_add(&avp_zone->videos, &id);
}


ngx_uint_t
avp_zone_fresh(void)
{
    ngx_msec_t  filled;

    if (avp_zone == NULL) {
        return 0;
    }

    filled = avp_zone->filled;

    return filled != 0
           && (ngx_msec_int_t) (ngx_current_msec - filled) < AVP_FRESH;
}


void
avp_zone_count(avp_metric_e metric, ngx_int_t n)
{
    avp_zone_slot_t  *slot;

    if (avp_zone == NULL) {
        return;
    }

    /* atomic all the same: old and new workers share a slot during reload */
    slot = &avp_zone->slots[ngx_worker % AVP_ZONE_SLOTS];
    (void) ngx_atomic_fetch_add(&slot->counters[metric], n);
}


static ngx_uint_t
avp_zone_has(avp_zone_set_t *set, const char *id)
{
    uint32_t         hash;
    ngx_str_t        name;
    ngx_str_node_t  *sn;

    if (set->count == 0) {
        return 0;
    }

    name.data = (u_char *) id;
    name.len = AVP_UUID_LEN;
    hash = ngx_crc32_short(name.data, name.len);

    ngx_shmtx_lock(&avp_zone_pool->mutex);
    sn = ngx_str_rbtree_lookup(&set->tree, &name, hash);
    ngx_shmtx_unlock(&avp_zone_pool->mutex);

    return sn != NULL;
}


static void
avp_zone_drop(avp_zone_set_t *set, avp_zone_node_t *node)
{
    ngx_rbtree_delete(&set->tree, &node->sn.node);
    ngx_queue_remove(&node->queue);
    ngx_slab_free_locked(avp_zone_pool, node);
    set->count--;
}


static void
avp_zone_add(avp_zone_set_t *set, ngx_str_t *id)
{
    uint32_t          hash;
    ngx_queue_t      *q;
    avp_zone_node_t  *node, *old;

    hash = ngx_crc32_short(id->data, id->len);

    ngx_shmtx_lock(&avp_zone_pool->mutex);

    node = (avp_zone_node_t *) ngx_str_rbtree_lookup(&set->tree, id, hash);
    if (node) {
        goto done;
    }

    if (set == &avp_zone->videos) {
        while (!ngx_queue_empty(&set->queue)) {
            q = ngx_queue_last(&set->queue);
            old = ngx_queue_data(q, avp_zone_node_t, queue);

            if (ngx_time() - old->added <= AVP_DENIED_KEEP) {
                break;
            }

            avp_zone_drop(set, old);
        }
    }

    node = ngx_slab_calloc_locked(avp_zone_pool, sizeof(avp_zone_node_t));
    if (node == NULL) {
        goto done;
    }

    ngx_memcpy(node->id, id->data, AVP_UUID_LEN);
    node->added = ngx_time();
    node->sn.node.key = hash;
    node->sn.str.data = node->id;
    node->sn.str.len = AVP_UUID_LEN;

    ngx_rbtree_insert(&set->tree, &node->sn.node);
    ngx_queue_insert_head(&set->queue, &node->queue);
    set->count++;

done:

    ngx_shmtx_unlock(&avp_zone_pool->mutex);

    if (node == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "avp_zone is full: \"%V\" could not be kept; "
                      "make avp_zone larger", id);
    }
}


static void
avp_zone_remove(avp_zone_set_t *set, ngx_str_t *id)
{
    uint32_t          hash;
    avp_zone_node_t  *node;

    hash = ngx_crc32_short(id->data, id->len);

    ngx_shmtx_lock(&avp_zone_pool->mutex);

    node = (avp_zone_node_t *) ngx_str_rbtree_lookup(&set->tree, id, hash);
    if (node) {
        avp_zone_drop(set, node);
    }

    ngx_shmtx_unlock(&avp_zone_pool->mutex);
}


/*
 * Every worker looks once a second; whoever finds a pull due claims it by
 * moving `next_pull`, so one pull is under way at a time and a worker that
 * dies in one costs a period.
 */

static void
avp_zone_pull_timer(ngx_event_t *ev)
{
    u_char              *p, since[NGX_INT64_LEN + 8];
    double               seconds;
    avp_pg_op_t         *op;
    ngx_atomic_uint_t    next, now;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(ev, AVP_PULL_CHECK);

    next = avp_zone->next_pull;
    now = ngx_current_msec;

    if (next != 0 && (ngx_msec_int_t) (now - next) < 0) {
        return;
    }

    if (!ngx_atomic_cmp_set(&avp_zone->next_pull, next,
                            now + AVP_PULL_PERIOD))
    {
        return;
    }

    seconds = (double) avp_zone->since_ms / 1000.0 - AVP_PULL_OVERLAP;
    if (seconds < 0) {
        seconds = 0;
    }

    op = avp_pg_op(&avp_zone_pull, avp_zone_pull_done, avp_zone);
    if (op == NULL) {
        return;
    }

    p = ngx_sprintf(since, "%.3f", seconds);

    if (avp_pg_text(op, since, p - since) != NGX_OK) {
        op->data = NULL;
    }

    avp_pg_submit(op);
}


static void
avp_zone_pull_done(avp_pg_op_t *op)
{
    double      at;
    ngx_str_t   kind, id, value;
    ngx_uint_t  i;

    if (op->data == NULL) {
        return;
    }

    if (op->status != AVP_PG_OK) {
        avp_zone->next_pull = ngx_current_msec + AVP_PULL_RETRY;
        return;
    }

    for (i = 0; i < op->rows; i++) {
        kind = avp_pg_value(op, i, "kind");
        id = avp_pg_value(op, i, "id");

        if (kind.len == 3 && ngx_strncmp(kind.data, "now", 3) == 0) {
            value = avp_pg_value(op, i, "at");
            at = value.len ? strtod((char *) value.data, NULL) : 0;

            avp_zone->since_ms = (ngx_atomic_uint_t) (at * 1000.0);
            avp_zone->filled = ngx_current_msec ? ngx_current_msec : 1;
            continue;
        }

        if (id.len != AVP_UUID_LEN) {
            continue;
        }

        if (kind.len == 5 && ngx_strncmp(kind.data, "video", 5) == 0) {
            avp_zone_add(&avp_zone->videos, &id);

        } else if (kind.len == 4 && ngx_strncmp(kind.data, "user", 4) == 0) {
            avp_zone_add(&avp_zone->users, &id);

        } else if (kind.len == 7 && ngx_strncmp(kind.data, "user_ok", 7) == 0) {
            avp_zone_remove(&avp_zone->users, &id);
        }
    }
}
