/* One round of gc.h. */

#include "workerd/supervisor/gc.h"

#include "lib/storage_key.h"
#include "lib/uuid.h"
#include "workerd/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 100
#define PURGE_MAX "100"

/* Names of a folder, a batch at a time: the database is asked in batches. */
typedef struct {
    char   (*names)[AVP_UUID_LEN + 1];
    int      n;
    int    (*flush)(avp_gc_round_t *g, const char *folder,
                    char (*names)[AVP_UUID_LEN + 1], int n);
    avp_gc_round_t *g;
    const char     *folder;
} batch_t;

static bool
stopped(const avp_gc_round_t *g)
{
    return g->stop != NULL && atomic_load(g->stop);
}

static int
complain(avp_gc_round_t *g, const char *doing, const char *name)
{
    avp_log(AVP_LOG_WARN, "gc cannot remove", AVP_S("doing", doing),
            AVP_S("name", name), AVP_S("error", strerror(errno)));
    atomic_fetch_add(&g->metrics->gc_errors, 1);
    return -1;
}

static int
db_failed(avp_gc_round_t *g)
{
    avp_log(AVP_LOG_WARN, "gc stops, the database does not answer",
            AVP_S("error", avp_db_error(g->db)));
    atomic_fetch_add(&g->metrics->gc_errors, 1);
    return -1;
}

static bool
old_enough(const avp_gc_round_t *g, const char *path)
{
    time_t newest;

    return avp_store_newest(g->store, path, &newest) == 0
           && newest + g->grace <= time(NULL);
}

static int
remove_in_place(avp_gc_round_t *g, const char *path, int64_t *bytes)
{
    char        folder[AVP_KEY_MAX];
    const char *slash = strrchr(path, '/');

    (void) snprintf(folder, sizeof(folder), "%.*s", (int) (slash - path), path);
    return avp_store_remove(g->store, folder, slash + 1, bytes);
}

/* Out of sight, then off the disk. */
static void
discard(avp_gc_round_t *g, const char *path, const char *video,
        atomic_llong *counter)
{
    char    name[AVP_TRASH_NAME];
    int64_t bytes = 0;

    if (avp_store_discard(g->store, path, video, name) == 0) {
        if (avp_store_remove(g->store, "trash", name, &bytes) != 0) {
            (void) complain(g, "emptying", name);
        }
    } else if (errno == EXDEV) { /* another file system than trash/ */
        if (remove_in_place(g, path, &bytes) != 0) {
            (void) complain(g, "removing", path);
            return;
        }
    } else {
        if (errno != ENOENT) {
            (void) complain(g, "moving to trash", path);
        }
        return;
    }
    avp_log(AVP_LOG_INFO, "gc removes", AVP_S("name", path));
    atomic_fetch_add(counter, 1);
    atomic_fetch_add(&g->metrics->gc_bytes, bytes);
}

/* '{a,b}'; names are checked ones, nothing to quote. */
static char *
array_of(const char *names, size_t width, int n)
{
    char  *text = malloc((size_t) n * (width + 1) + 3), *p = text;
    size_t len;

    if (text == NULL) {
        return NULL;
    }
    *p++ = '{';
    for (int i = 0; i < n; i++) {
        len = strlen(names + (size_t) i * width);
        memcpy(p, names + (size_t) i * width, len);
        p += len;
        *p++ = i + 1 < n ? ',' : '}';
    }
    if (n == 0) {
        *p++ = '}';
    }
    *p = '\0';
    return text;
}

/* ---- folders of videos -------------------------------------------------- */

static int
add_name(void *ctx, const char *name)
{
    batch_t *b = ctx;
    int      rc = 0;

    if (stopped(b->g)) {
        return 1;
    }
    /* only what is named as ours: anything else somebody put there */
    if (strlen(name) != AVP_UUID_LEN
        || avp_uuid_parse(b->names[b->n], avp_str_c(name)) != 0
        || strcmp(b->names[b->n], name) != 0)
    {
        return 0;
    }
    if (++b->n == BATCH) {
        rc = b->flush(b->g, b->folder, b->names, b->n);
        b->n = 0;
    }
    return rc;
}

static int
each_batch(avp_gc_round_t *g, const char *folder,
           int (*flush)(avp_gc_round_t *, const char *,
                        char (*)[AVP_UUID_LEN + 1], int))
{
    char    names[BATCH][AVP_UUID_LEN + 1];
    batch_t b = { names, 0, flush, g, folder };
    int     rc;

    rc = avp_store_list(g->store, folder, add_name, &b);
    if (rc == 0 && b.n > 0) {
        rc = flush(g, folder, names, b.n);
    }
    return rc < 0 ? -1 : 0;
}

/* ---- prefixes of one video ---------------------------------------------- */

typedef struct {
    char names[BATCH][AVP_PREFIX_MAX];
    int  n;
} prefixes_t;

static int
add_prefix(void *ctx, const char *name)
{
    prefixes_t *p = ctx;

    if (avp_prefix_check(avp_str_c(name)) != 0) {
        return 0;
    }
    (void) snprintf(p->names[p->n], AVP_PREFIX_MAX, "%s", name);
    return ++p->n == BATCH; /* the rest in the next round */
}

static int
sweep_prefixes(avp_gc_round_t *g, const char *video)
{
    prefixes_t       p = { .n = 0 };
    char             path[AVP_KEY_MAX], *array;
    avp_db_result_t *r;
    const char      *name;

    (void) snprintf(path, sizeof(path), "outputs/%s", video);
    if (avp_store_list(g->store, path, add_prefix, &p) < 0) {
        return complain(g, "listing", path);
    }
    if (p.n == 0) {
        return 0;
    }
    array = array_of(p.names[0], AVP_PREFIX_MAX, p.n);
    r = array != NULL ? avp_db_callv(g->db, "gc_prefixes", video, array) : NULL;
    free(array);
    if (r == NULL) {
        return db_failed(g);
    }
    /* garbage stays garbage: attempts only grow, names are never used twice */
    for (int i = 0; i < avp_db_rows(r) && !stopped(g); i++) {
        name = avp_db_text(r, i, "prefix");
        if (name == NULL || avp_prefix_check(avp_str_c(name)) != 0) {
            continue;
        }
        (void) snprintf(path, sizeof(path), "outputs/%s/%s", video, name);
        if (old_enough(g, path)) {
            discard(g, path, video, &g->metrics->gc_prefixes);
        }
    }
    avp_db_result_free(r);
    return 0;
}

static int
sweep_videos(avp_gc_round_t *g, const char *folder,
             char (*names)[AVP_UUID_LEN + 1], int n)
{
    const bool       outputs = strcmp(folder, "outputs") == 0;
    char            *array = array_of(names[0], AVP_UUID_LEN + 1, n);
    char             path[AVP_KEY_MAX], trash[AVP_TRASH_NAME];
    avp_db_result_t *r;
    const char      *video, *state;
    int              rc = 0;

    r = array != NULL ? avp_db_callv(g->db, "gc_videos", array) : NULL;
    free(array);
    if (r == NULL) {
        return db_failed(g);
    }
    for (int i = 0; i < avp_db_rows(r) && rc == 0 && !stopped(g); i++) {
        video = avp_db_text(r, i, "video");
        state = avp_db_text(r, i, "state");
        if (video == NULL || state == NULL || strlen(video) != AVP_UUID_LEN) {
            continue;
        }
        (void) snprintf(path, sizeof(path), "%s/%s", folder, video);

        if (strcmp(state, "unknown") == 0) {
            if (old_enough(g, path)) {
                discard(g, path, video,
                        outputs ? &g->metrics->gc_outputs
                                : &g->metrics->gc_originals);
            }
        } else if (strcmp(state, "live") == 0) {
            rc = outputs ? sweep_prefixes(g, video) : 0;
        } else if (outputs) {
            /* deleted: delivery stops for good; unlinked after the grace */
            (void) avp_store_discard(g->store, path, video, trash);
        }
    }
    avp_db_result_free(r);
    return rc;
}

/* ---- deleted videos ----------------------------------------------------- */

typedef struct {
    avp_gc_round_t *g;
    const char     *video;
} of_video_t;

static int
unlink_trash_of(void *ctx, const char *name)
{
    of_video_t *x = ctx;
    int64_t     bytes = 0;

    if (strncmp(name, x->video, AVP_UUID_LEN) == 0) {
        if (avp_store_remove(x->g->store, "trash", name, &bytes) != 0) {
            return complain(x->g, "emptying", name);
        }
        atomic_fetch_add(&x->g->metrics->gc_trash, 1);
        atomic_fetch_add(&x->g->metrics->gc_bytes, bytes);
    }
    return 0;
}

static int
purge(avp_gc_round_t *g)
{
    char             grace[16], path[AVP_KEY_MAX];
    avp_db_result_t *r, *gone;
    const char      *video;
    int              rc = 0;

    (void) snprintf(grace, sizeof(grace), "%d", g->grace);
    r = avp_db_callv(g->db, "gc_purge", grace, PURGE_MAX);
    if (r == NULL) {
        return db_failed(g);
    }
    for (int i = 0; i < avp_db_rows(r) && rc == 0 && !stopped(g); i++) {
        of_video_t x = { g, avp_db_text(r, i, "video") };

        video = x.video;
        if (video == NULL || strlen(video) != AVP_UUID_LEN) {
            continue;
        }
        (void) snprintf(path, sizeof(path), "outputs/%s", video);
        discard(g, path, video, &g->metrics->gc_outputs);
        (void) snprintf(path, sizeof(path), "originals/%s", video);
        discard(g, path, video, &g->metrics->gc_originals);
        if (avp_store_list(g->store, "trash", unlink_trash_of, &x) != 0) {
            continue; /* the row stays, and the next round comes back to it */
        }
        gone = avp_db_callv(g->db, "gc_purged", video);
        if (gone == NULL) {
            rc = db_failed(g);
        } else {
            atomic_fetch_add(&g->metrics->gc_purged, 1);
        }
        avp_db_result_free(gone);
    }
    avp_db_result_free(r);
    return rc;
}

/* ---- incoming and trash ------------------------------------------------- */

typedef struct {
    avp_gc_round_t *g;
    const char     *folder;
    atomic_llong   *counter;
} sweep_t;

static int
remove_old(void *ctx, const char *name)
{
    sweep_t *x = ctx;
    char     path[AVP_KEY_MAX];
    int64_t  bytes = 0;

    if (stopped(x->g)) {
        return 1;
    }
    if ((size_t) snprintf(path, sizeof(path), "%s/%s", x->folder, name)
            >= sizeof(path)
        || !old_enough(x->g, path))
    {
        return 0;
    }
    if (avp_store_remove(x->g->store, x->folder, name, &bytes) != 0) {
        (void) complain(x->g, "removing", path);
        return 0;
    }
    atomic_fetch_add(x->counter, 1);
    atomic_fetch_add(&x->g->metrics->gc_bytes, bytes);
    return 0;
}

static int
sweep_folder(avp_gc_round_t *g, const char *folder, atomic_llong *counter)
{
    sweep_t x = { g, folder, counter };

    if (avp_store_list(g->store, folder, remove_old, &x) < 0) {
        return complain(g, "listing", folder);
    }
    return 0;
}

int
avp_gc_round(avp_gc_round_t *g)
{
    int rc = 0;

    atomic_fetch_add(&g->metrics->gc_rounds, 1);

    if (sweep_folder(g, "incoming", &g->metrics->gc_incoming) != 0
        || purge(g) != 0 || each_batch(g, "outputs", sweep_videos) != 0
        || each_batch(g, "originals", sweep_videos) != 0
        || sweep_folder(g, "trash", &g->metrics->gc_trash) != 0)
    {
        rc = -1;
    }
    return rc;
}
