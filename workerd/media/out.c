/*
 * Output folder: files beneath one descriptor, counted against the budget.
 *
 * Every file is an AVIOContext over our own pwrite(), so that the position is
 * ours, a short write is finished here, and the first error stays with the
 * file: libavformat's muxers drop some.  What counts is growth: rewriting
 * (faststart shifts the file by itself) costs nothing, removing gives back.
 */

#include "workerd/media/out.h"

#include <libavutil/avstring.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define OUT_BUFFER (64 * 1024)
#define OUT_PATH_MAX 128

/* libavformat 61 made the buffer of write callbacks const. */
#if LIBAVFORMAT_VERSION_MAJOR < 61
typedef uint8_t out_byte_t;
#else
typedef const uint8_t out_byte_t;
#endif

struct avp_out_s {
    int             dirfd;
    pthread_mutex_t lock; /* of everything below */
    int64_t         budget;
    int64_t         bytes;
    char          (*dirs)[OUT_PATH_MAX];
    size_t          ndirs;
    char          **files; /* names of all that were published */
    size_t          nfiles, allocated;
};

/* One open file; the opaque of its AVIOContext. */
typedef struct {
    avp_out_t *out;
    int        fd;
    int        error; /* the first, sticky */
    int64_t    pos;
    int64_t    size;
    char       path[OUT_PATH_MAX];
} out_file_t;

static int
out_path_ok(const char *path)
{
    if (path[0] == '\0' || path[0] == '/' || strlen(path) >= OUT_PATH_MAX - 8) {
        return 0;
    }
    return strstr(path, "..") == NULL;
}

int
avp_out_open(avp_out_t **po, int dirfd, int64_t budget)
{
    avp_out_t *o = av_mallocz(sizeof(*o));

    *po = o;
    if (o == NULL) {
        close(dirfd);
        return AVERROR(ENOMEM);
    }
    o->dirfd = dirfd;
    o->budget = budget;
    pthread_mutex_init(&o->lock, NULL);
    return 0;
}

void
avp_out_set_budget(avp_out_t *o, int64_t budget)
{
    pthread_mutex_lock(&o->lock);
    o->budget = budget;
    pthread_mutex_unlock(&o->lock);
}

int64_t
avp_out_bytes(avp_out_t *o)
{
    int64_t bytes;

    pthread_mutex_lock(&o->lock);
    bytes = o->bytes;
    pthread_mutex_unlock(&o->lock);
    return bytes;
}

void
avp_out_free(avp_out_t *o)
{
    if (o == NULL) {
        return;
    }
    close(o->dirfd);
    pthread_mutex_destroy(&o->lock);
    for (size_t i = 0; i < o->nfiles; i++) {
        av_free(o->files[i]);
    }
    av_free(o->files);
    av_free(o->dirs);
    av_free(o);
}

/* Takes `n` bytes out of the budget (negative: gives back). */
static int
out_account(avp_out_t *o, int64_t n)
{
    int ret = 0;

    pthread_mutex_lock(&o->lock);
    if (n > 0 && o->budget >= 0 && o->bytes + n > o->budget) {
        ret = AVERROR(EFBIG);
    } else {
        o->bytes += n;
    }
    pthread_mutex_unlock(&o->lock);
    return ret;
}

/* Remembers a folder for avp_out_sync(); under the lock. */
static int
out_remember(avp_out_t *o, const char *dir)
{
    void *dirs;

    for (size_t i = 0; i < o->ndirs; i++) {
        if (strcmp(o->dirs[i], dir) == 0) {
            return 0;
        }
    }
    dirs = av_realloc_array(o->dirs, o->ndirs + 1, sizeof(*o->dirs));
    if (dirs == NULL) {
        return AVERROR(ENOMEM);
    }
    o->dirs = dirs;
    av_strlcpy(o->dirs[o->ndirs++], dir, OUT_PATH_MAX);
    return 0;
}

/* Makes the folders above `path`, parents first. */
static int
out_mkdirs(avp_out_t *o, const char *path)
{
    char dir[OUT_PATH_MAX];
    int  ret = 0;

    pthread_mutex_lock(&o->lock);
    for (const char *s = strchr(path, '/'); s != NULL && ret == 0;
         s = strchr(s + 1, '/')) {
        av_strlcpy(dir, path, (size_t)(s - path) + 1);
        if (mkdirat(o->dirfd, dir, 0750) != 0 && errno != EEXIST) {
            ret = AVERROR(errno);
        } else {
            ret = out_remember(o, dir);
        }
    }
    pthread_mutex_unlock(&o->lock);
    return ret;
}

static int
out_write(void *opaque, out_byte_t *buf, int size)
{
    out_file_t *f = opaque;
    int         left = size;

    if (f->error == 0 && f->pos + size > f->size) {
        f->error = out_account(f->out, f->pos + size - f->size);
        if (f->error == 0) {
            f->size = f->pos + size;
        }
    }
    while (f->error == 0 && left > 0) {
        ssize_t n = pwrite(f->fd, buf, (size_t)left, f->pos);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            f->error = n < 0 ? AVERROR(errno) : AVERROR(EIO);
            break;
        }
        buf += n;
        left -= (int)n;
        f->pos += n;
    }
    return f->error != 0 ? f->error : size;
}

static int
out_read(void *opaque, uint8_t *buf, int size)
{
    out_file_t *f = opaque;
    ssize_t     n;

    do {
        n = pread(f->fd, buf, (size_t)size, f->pos);
    } while (n < 0 && errno == EINTR);

    if (n < 0) {
        return AVERROR(errno);
    }
    f->pos += n;
    return n == 0 ? AVERROR_EOF : (int)n;
}

static int64_t
out_seek(void *opaque, int64_t offset, int whence)
{
    out_file_t *f = opaque;

    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return f->size;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += f->pos;
        break;
    case SEEK_END:
        offset += f->size;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (offset < 0) {
        return AVERROR(EINVAL);
    }
    f->pos = offset;
    return offset;
}

/* Gives back what a file of that name takes, as it is to be replaced. */
static void
out_release(avp_out_t *o, const char *path)
{
    struct stat st;

    if (fstatat(o->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        (void)out_account(o, -(int64_t)st.st_size);
    }
}

/* Opens `path` for writing (anew) or for reading. */
static int
out_open_file(avp_out_t *o, AVIOContext **pb, const char *path, int write)
{
    out_file_t *f = NULL;
    uint8_t    *buf = NULL;
    struct stat st;
    int         ret = AVERROR(ENOMEM);

    *pb = NULL;
    if (!out_path_ok(path)) {
        return AVERROR(EINVAL);
    }
    if (write) {
        ret = out_mkdirs(o, path);
        if (ret < 0) {
            return ret;
        }
        out_release(o, path);
    }
    f = av_mallocz(sizeof(*f));
    buf = av_malloc(OUT_BUFFER);
    if (f == NULL || buf == NULL) {
        ret = AVERROR(ENOMEM);
        goto fail;
    }
    f->out = o;
    av_strlcpy(f->path, path, sizeof(f->path));
    f->fd = openat(o->dirfd, path,
                   (write ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY) | O_CLOEXEC |
                       O_NOFOLLOW,
                   0640);
    if (f->fd < 0) {
        ret = AVERROR(errno);
        goto fail;
    }
    if (!write && fstat(f->fd, &st) == 0) {
        f->size = st.st_size;
    }
    *pb = avio_alloc_context(buf, OUT_BUFFER, write, f, write ? NULL : out_read,
                             write ? out_write : NULL, out_seek);
    if (*pb == NULL) {
        close(f->fd);
        ret = AVERROR(ENOMEM);
        goto fail;
    }
    return 0;

fail:
    av_free(buf);
    av_free(f);
    return ret;
}

/* Flushes and frees; the first error of the file. */
static int
out_close_file(AVIOContext **pb, int sync)
{
    out_file_t *f;
    int         ret;

    if (*pb == NULL) {
        return 0;
    }
    f = (*pb)->opaque;
    if ((*pb)->write_flag) {
        avio_flush(*pb);
    }
    ret = f->error != 0 ? f->error : (*pb)->error;
    if (ret == 0 && sync && fsync(f->fd) != 0) {
        ret = AVERROR(errno);
    }
    if (close(f->fd) != 0 && ret == 0) {
        ret = AVERROR(errno);
    }
    av_freep(&(*pb)->buffer);
    avio_context_free(pb);
    av_free(f);
    return ret;
}

int
avp_out_create(avp_out_t *o, AVIOContext **pb, const char *path)
{
    return out_open_file(o, pb, path, 1);
}

int
avp_out_close(avp_out_t *o, AVIOContext **pb)
{
    (void)o;
    return out_close_file(pb, 1);
}

/* A name that may have to be cleared away; once is enough. */
static int
out_remember_file(avp_out_t *o, const char *path)
{
    struct stat st;
    int         ret = AVERROR(ENOMEM);

    if (fstatat(o->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return 0;
    }
    pthread_mutex_lock(&o->lock);
    if (o->nfiles == o->allocated) {
        size_t n = o->allocated ? 2 * o->allocated : 64;
        void  *p = av_realloc_array(o->files, n, sizeof(*o->files));

        if (p == NULL) {
            goto done;
        }
        o->files = p;
        o->allocated = n;
    }
    o->files[o->nfiles] = av_strdup(path);
    if (o->files[o->nfiles] != NULL) {
        o->nfiles++;
        ret = 0;
    }

done:
    pthread_mutex_unlock(&o->lock);
    return ret;
}

static int
out_rename(avp_out_t *o, const char *from, const char *to)
{
    int ret = out_remember_file(o, to);

    if (ret < 0) {
        return ret;
    }
    out_release(o, to);
    return renameat(o->dirfd, from, o->dirfd, to) == 0 ? 0 : AVERROR(errno);
}

int
avp_out_publish(avp_out_t *o, AVIOContext **pb, const char *path)
{
    char from[OUT_PATH_MAX];
    int  ret;

    av_strlcpy(from, ((out_file_t *)(*pb)->opaque)->path, sizeof(from));
    ret = out_close_file(pb, 0);
    if (ret < 0) {
        out_release(o, from);
        (void)unlinkat(o->dirfd, from, 0);
        return ret;
    }
    return out_rename(o, from, path);
}

void
avp_out_abandon(avp_out_t *o, AVIOContext **pb)
{
    char path[OUT_PATH_MAX];

    if (*pb == NULL) {
        return;
    }
    av_strlcpy(path, ((out_file_t *)(*pb)->opaque)->path, sizeof(path));
    (void)out_close_file(pb, 0);
    out_release(o, path);
    (void)unlinkat(o->dirfd, path, 0);
}

static int
out_put_plain(avp_out_t *o, const char *path, const void *data, size_t size,
              unsigned flags)
{
    char         tmp[OUT_PATH_MAX];
    AVIOContext *pb;
    int          ret;

    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    ret = avp_out_create(o, &pb, tmp);
    if (ret < 0) {
        return ret;
    }
    avio_write(pb, data, (int)size);
    ret = out_close_file(&pb, !(flags & AVP_OUT_NOSYNC));
    if (ret < 0) {
        out_release(o, tmp);
        (void)unlinkat(o->dirfd, tmp, 0);
        return ret;
    }
    return out_rename(o, tmp, path);
}

/* gzip without a time stamp: the same text gives the same bytes. */
static int
out_gzip(const void *data, size_t size, uint8_t **gz, size_t *gz_size)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)data,
                   .avail_in = (uInt)size };
    uLong    bound;
    int      rc;

    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        return AVERROR(ENOMEM);
    }
    bound = deflateBound(&z, (uLong)size);
    *gz = av_malloc(bound);
    if (*gz == NULL) {
        deflateEnd(&z);
        return AVERROR(ENOMEM);
    }
    z.next_out = *gz;
    z.avail_out = (uInt)bound;
    rc = deflate(&z, Z_FINISH);
    *gz_size = z.total_out;
    deflateEnd(&z);
    if (rc != Z_STREAM_END) {
        av_freep(gz);
        return AVERROR_EXTERNAL;
    }
    return 0;
}

int
avp_out_put(avp_out_t *o, const char *path, const void *data, size_t size,
            unsigned flags)
{
    if (!out_path_ok(path) || size > INT32_MAX) {
        return AVERROR(EINVAL);
    }
    if (flags & AVP_OUT_GZIP) {
        char     name[OUT_PATH_MAX];
        uint8_t *gz;
        size_t   gz_size;
        int      ret = out_gzip(data, size, &gz, &gz_size);

        if (ret < 0) {
            return ret;
        }
        snprintf(name, sizeof(name), "%s.gz", path);
        ret = out_put_plain(o, name, gz, gz_size, flags);
        av_free(gz);
        if (ret < 0) {
            return ret;
        }
    }
    return out_put_plain(o, path, data, size, flags);
}

int64_t
avp_out_size(avp_out_t *o, const char *path)
{
    struct stat st;

    if (fstatat(o->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return AVERROR(errno);
    }
    return st.st_size;
}

static int
out_fsync_at(avp_out_t *o, const char *path, int flags)
{
    int fd = openat(o->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
    int ret = 0;

    if (fd < 0) {
        return AVERROR(errno);
    }
    if (fsync(fd) != 0) {
        ret = AVERROR(errno);
    }
    close(fd);
    return ret;
}

int
avp_out_fsync(avp_out_t *o, const char *path)
{
    return out_fsync_at(o, path, 0);
}

int
avp_out_sync(avp_out_t *o)
{
    int ret = 0;

    /* Parents were remembered before their children. */
    pthread_mutex_lock(&o->lock);
    for (size_t i = o->ndirs; i > 0 && ret == 0; i--) {
        ret = out_fsync_at(o, o->dirs[i - 1], O_DIRECTORY);
    }
    pthread_mutex_unlock(&o->lock);
    return ret < 0 ? ret : out_fsync_at(o, ".", O_DIRECTORY);
}

int
avp_out_clear(avp_out_t *o)
{
    int ret = 0;

    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < o->nfiles; i++) {
        struct stat st;

        if (fstatat(o->dirfd, o->files[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
            o->bytes -= st.st_size;
            if (unlinkat(o->dirfd, o->files[i], 0) != 0 && ret == 0) {
                ret = AVERROR(errno);
            }
        }
        av_free(o->files[i]);
    }
    o->nfiles = 0;
    pthread_mutex_unlock(&o->lock);
    return ret;
}

static int
out_io_open(AVFormatContext *ctx, AVIOContext **pb, const char *url, int flags,
            AVDictionary **options)
{
    (void)options;
    return out_open_file(ctx->opaque, pb, url, (flags & AVIO_FLAG_WRITE) != 0);
}

static int
out_io_close(AVFormatContext *ctx, AVIOContext *pb)
{
    (void)ctx;
    return out_close_file(&pb, 0);
}

void
avp_out_attach(avp_out_t *o, AVFormatContext *ctx)
{
    ctx->opaque = o;
    ctx->io_open = out_io_open;
    ctx->io_close2 = out_io_close;
    ctx->flags |= AVFMT_FLAG_CUSTOM_IO;
}
