/* See store_file.h. */

#include "workerd/supervisor/store_file.h"

#include "lib/uuid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 16

struct avp_store_s {
    int root;
};

/* ---- names -------------------------------------------------------------- */

/*
 * Opens `path` beneath `at`, component by component: what openat2() does with
 * RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every kernel and inside of
 * containers that know no openat2.
 */
static int
open_beneath(int at, const char *path, int flags)
{
    char        part[256];
    const char *slash;
    size_t      n;
    int         fd = -1, next, last;

    for (;;) {
        slash = strchrnul(path, '/');
        n = (size_t) (slash - path);
        last = *slash == '\0';
        if (n == 0 || n >= sizeof(part) || (n == 1 && path[0] == '.')
            || (n == 2 && path[0] == '.' && path[1] == '.'))
        {
            errno = EINVAL;
            goto fail;
        }
        memcpy(part, path, n);
        part[n] = '\0';

        next = openat(fd >= 0 ? fd : at, part,
                      O_NOFOLLOW | O_CLOEXEC
                          | (last ? flags : O_PATH | O_DIRECTORY));
        if (next < 0) {
            goto fail;
        }
        if (fd >= 0) {
            close(fd);
        }
        fd = next;
        if (last) {
            return fd;
        }
        path = slash + 1;
    }

fail:
    if (fd >= 0) {
        int e = errno;
        close(fd);
        errno = e;
    }
    return -1;
}

static int
open_dir(int at, const char *path)
{
    return open_beneath(at, path, O_RDONLY | O_DIRECTORY);
}

static int
is_dots(const char *name)
{
    return name[0] == '.'
           && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

avp_store_t *
avp_store_open(const char *dir)
{
    static const char *const folders[]
        = { "incoming", "originals", "outputs", "trash" };
    avp_store_t *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }
    s->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root < 0) {
        free(s);
        return NULL;
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (mkdirat(s->root, folders[i], 0750) != 0 && errno != EEXIST) {
            int e = errno;
            avp_store_free(s);
            errno = e;
            return NULL;
        }
    }
    return s;
}

void
avp_store_free(avp_store_t *s)
{
    if (s != NULL) {
        close(s->root);
        free(s);
    }
}

bool
avp_store_healthy(const avp_store_t *s)
{
    int  fd = open_beneath(s->root, "outputs", O_PATH | O_DIRECTORY);
    bool ok;

    if (fd < 0) {
        return false;
    }
    close(fd);
    ok = faccessat(s->root, "outputs", W_OK | X_OK, AT_EACCESS) == 0;
    return ok;
}

/* ---- a job's input and output ------------------------------------------- */

int
avp_store_source(const avp_store_t *s, const char *key)
{
    struct stat st;
    int         fd;

    if (strncmp(key, "originals/", 10) != 0) {
        errno = EINVAL;
        return -1;
    }
    /* O_NONBLOCK: somebody's FIFO must not hold the worker */
    fd = open_beneath(s->root, key, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

int
avp_store_prefix(const avp_store_t *s, const char *video, const char *prefix)
{
    char uuid[AVP_UUID_LEN + 1], path[AVP_KEY_MAX];
    int  outputs, dir = -1, fd = -1, e;

    if (avp_uuid_parse(uuid, avp_str_c(video)) != 0
        || avp_prefix_check(avp_str_c(prefix)) != 0)
    {
        errno = EINVAL;
        return -1;
    }
    outputs = open_dir(s->root, "outputs");
    if (outputs < 0) {
        return -1;
    }
    (void) snprintf(path, sizeof(path), "%s/%s", uuid, prefix);
    if ((mkdirat(outputs, uuid, 0750) == 0 || errno == EEXIST)
        && (dir = open_dir(outputs, uuid)) >= 0
        && mkdirat(dir, prefix, 0750) == 0)
    {
        fd = open_dir(dir, prefix);
    }
    e = errno;
    if (dir >= 0) {
        close(dir);
    }
    close(outputs);
    errno = e;
    return fd;
}

/* The size of a regular file, or -1. */
static int64_t
size_of(int at, const char *path)
{
    struct stat st;
    int64_t     size = -1;
    int         fd = open_beneath(at, path, O_PATH);

    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        size = st.st_size;
    }
    close(fd);
    return size;
}

/* What the media segments of an HLS rung sum up to, or -1. */
static int64_t
segments_of(int at, const char *quality)
{
    char           path[64];
    struct dirent *e;
    struct stat    st;
    int64_t        sum = 0;
    DIR           *d;
    size_t         n;
    int            fd;

    (void) snprintf(path, sizeof(path), "hls/%s", quality);
    fd = open_dir(at, path);
    if (fd < 0) {
        return -1;
    }
    d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return -1;
    }
    while ((e = readdir(d)) != NULL) {
        n = strlen(e->d_name);
        if (e->d_name[0] != 's' || n < 5
            || strcmp(e->d_name + n - 4, ".m4s") != 0)
        {
            continue;
        }
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0
            || !S_ISREG(st.st_mode))
        {
            sum = -1;
            break;
        }
        sum += st.st_size;
    }
    closedir(d);
    return sum;
}

/* The file that a member names; a member that names none is fine. */
static int
named_is_there(int prefix_fd, const json_t *o, const char *name)
{
    const char *path = json_string_value(json_object_get(o, name));

    return path == NULL || size_of(prefix_fd, path) > 0;
}

static int
extras_are_there(int prefix_fd, const json_t *o)
{
    static const char *const names[] = { "poster", "storyboard", "master",
                                         "dash", "preview" };
    size_t  i;
    json_t *t;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!named_is_there(prefix_fd, o, names[i])) {
            return 0;
        }
    }
    json_array_foreach(json_object_get(o, "thumbnails"), i, t) {
        if (!named_is_there(prefix_fd, t, "path")
            || !named_is_there(prefix_fd, t, "webp"))
        {
            return 0;
        }
    }
    return 1;
}

int
avp_store_verify(int prefix_fd, const char *doc, const char **why)
{
    json_t     *o, *r, *results;
    const char *path, *format;
    int64_t     size, stated;
    size_t      i;
    int         rc = -1;

    *why = "not a document";
    o = json_loads(doc, 0, NULL);
    if (o == NULL) {
        return -1;
    }
    if (!extras_are_there(prefix_fd, o)) {
        *why = "an image or a playlist is not there";
        goto done;
    }
    results = json_object_get(o, "results");
    json_array_foreach(results, i, r) {
        path = json_string_value(json_object_get(r, "path"));
        format = json_string_value(json_object_get(r, "format"));
        stated = json_integer_value(json_object_get(r, "size"));
        size = path != NULL ? size_of(prefix_fd, path) : -1;
        if (size <= 0 || format == NULL) {
            *why = "a result is not there";
            goto done;
        }
        if (strcmp(format, "hls") == 0) {
            size = segments_of(prefix_fd, json_string_value(json_object_get(
                                              r, "quality")));
        }
        if (size != stated) {
            *why = "a result has another size than stated";
            goto done;
        }
    }
    rc = 0;

done:
    json_decref(o);
    return rc;
}

int
avp_store_sync(const avp_store_t *s, const char *video)
{
    char path[AVP_KEY_MAX];
    int  rc = 0, fd;

    for (int i = 0; i < 2 && rc == 0; i++) {
        if (i == 0) {
            (void) snprintf(path, sizeof(path), "outputs/%s", video);
        } else {
            (void) snprintf(path, sizeof(path), "outputs");
        }
        fd = open_dir(s->root, path);
        if (fd < 0) {
            return -1;
        }
        rc = fsync(fd);
        close(fd);
    }
    return rc;
}

/* ---- removing ----------------------------------------------------------- */

int
avp_store_discard(const avp_store_t *s, const char *path, const char *video,
                  char name[AVP_TRASH_NAME])
{
    uint64_t    random;
    char        folder[AVP_KEY_MAX];
    const char *slash = strrchr(path, '/');
    int         from, trash, rc, e;

    if (slash == NULL || (size_t) (slash - path) >= sizeof(folder)
        || getrandom(&random, sizeof(random), 0) != sizeof(random))
    {
        errno = EINVAL;
        return -1;
    }
    memcpy(folder, path, (size_t) (slash - path));
    folder[slash - path] = '\0';
    (void) snprintf(name, AVP_TRASH_NAME, "%.36s-%016llx", video,
                    (unsigned long long) random);

    from = open_dir(s->root, folder);
    if (from < 0) {
        return -1;
    }
    trash = open_dir(s->root, "trash");
    if (trash < 0) {
        e = errno;
        close(from);
        errno = e;
        return -1;
    }
    rc = renameat(from, slash + 1, trash, name);
    e = errno;
    close(from);
    close(trash);
    errno = e;
    return rc;
}

/* Empties a folder, which it closes.  Goes on after errors; the last stays. */
static int
empty(int fd, int depth, int64_t *bytes)
{
    struct dirent *e;
    struct stat    st;
    DIR           *d;
    int            rc = 0, child;

    if (depth > DEPTH_MAX) {
        close(fd);
        errno = ELOOP;
        return -1;
    }
    d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return -1;
    }
    while ((e = readdir(d)) != NULL) {
        if (is_dots(e->d_name)) {
            continue;
        }
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            rc = errno == ENOENT ? rc : -1;
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            child = openat(dirfd(d), e->d_name,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (child < 0 || empty(child, depth + 1, bytes) != 0
                || unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) != 0)
            {
                rc = -1;
            }
        } else if (unlinkat(dirfd(d), e->d_name, 0) != 0) {
            rc = -1;
        } else if (bytes != NULL && st.st_nlink == 1) {
            *bytes += (int64_t) st.st_blocks * 512;
        }
    }
    closedir(d);
    return rc;
}

int
avp_store_remove(const avp_store_t *s, const char *folder, const char *name,
                 int64_t *bytes)
{
    struct stat st;
    int         dir, fd, rc = -1, e;

    if (strchr(name, '/') != NULL || is_dots(name)) {
        errno = EINVAL;
        return -1;
    }
    dir = open_dir(s->root, folder);
    if (dir < 0) {
        return -1;
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        goto done;
    }
    if (S_ISDIR(st.st_mode)) {
        fd = open_dir(dir, name);
        if (fd >= 0 && empty(fd, 0, bytes) == 0) {
            rc = unlinkat(dir, name, AT_REMOVEDIR);
        }
    } else {
        rc = unlinkat(dir, name, 0);
        if (rc == 0 && bytes != NULL) {
            *bytes += (int64_t) st.st_blocks * 512;
        }
    }

done:
    e = errno;
    close(dir);
    errno = e;
    return rc;
}

/* ---- looking ------------------------------------------------------------ */

/* Closes fd. */
static int
newest_in(int fd, int depth, time_t *newest)
{
    struct dirent *e;
    struct stat    st;
    DIR           *d;
    int            child, rc = 0;

    if (depth > DEPTH_MAX || fstat(fd, &st) != 0 || (d = fdopendir(fd)) == NULL)
    {
        close(fd);
        return -1;
    }
    if (st.st_mtime > *newest) {
        *newest = st.st_mtime;
    }
    while (rc == 0 && (e = readdir(d)) != NULL) {
        if (is_dots(e->d_name)
            || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        {
            continue;
        }
        if (st.st_mtime > *newest) {
            *newest = st.st_mtime;
        }
        if (S_ISDIR(st.st_mode)) {
            child = openat(dirfd(d), e->d_name,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            rc = child < 0 ? -1 : newest_in(child, depth + 1, newest);
        }
    }
    closedir(d);
    return rc;
}

int
avp_store_newest(const avp_store_t *s, const char *path, time_t *newest)
{
    struct stat st;
    int         fd = open_beneath(s->root, path, O_PATH), dir;

    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) != 0) {
        close(fd);
        return -1;
    }
    close(fd);

    /* a rename changes the inode's own time only: for what lies in trash that
     * is when it was thrown away */
    *newest = st.st_mtime > st.st_ctime ? st.st_mtime : st.st_ctime;
    if (!S_ISDIR(st.st_mode)) {
        *newest = strncmp(path, "trash/", 6) == 0 ? *newest : st.st_mtime;
        return 0;
    }
    if (strncmp(path, "trash/", 6) == 0) {
        return 0;
    }
    *newest = st.st_mtime;
    dir = open_dir(s->root, path);
    return dir < 0 ? -1 : newest_in(dir, 0, newest);
}

int
avp_store_list(const avp_store_t *s, const char *path,
               int (*cb)(void *ctx, const char *name), void *ctx)
{
    struct dirent *e;
    DIR           *d;
    int            fd = open_dir(s->root, path), rc = 0;

    if (fd < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return -1;
    }
    while (rc == 0 && (e = readdir(d)) != NULL) {
        if (!is_dots(e->d_name)) {
            rc = cb(ctx, e->d_name);
        }
    }
    closedir(d);
    return rc;
}
