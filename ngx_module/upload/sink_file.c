/*
 * The file driver: incoming/{random} while bytes arrive, then fsync, rename
 * to originals/{video}/source.{ext} and fsync of both folders.  One thread
 * task, used again for every step.
 */

#include "ngx_module/upload/sink.h"
#include "ngx_module/upload/store.h"
#include "ngx_module/backend/task.h"

#include <sys/stat.h>
#include <sys/statvfs.h>


/* Start writing back each such piece while the next ones arrive, so that the
 * fsync at the end has little left to wait for. */
#define AVP_SINK_FLUSH  (8 * 1024 * 1024)


typedef enum {
    AVP_FILE_OPEN,
    AVP_FILE_WRITE,
    AVP_FILE_COMMIT
} avp_file_step_e;


typedef struct {
    avp_sink_t           sink;
    avp_task_t          *task;
    ngx_str_t            root;
    ngx_str_t            path;         /* of incoming/{random} */
    ngx_fd_t             fd;
    unsigned             made:1;       /* the path is there */
    unsigned             committed:1;  /* the original is there */

    avp_file_step_e      step;
    u_char              *buf;
    size_t               len;
    off_t                expected;
    avp_sink_status_e    status;
} avp_sink_file_t;


static avp_sink_status_e avp_sink_file_open(avp_sink_t *s, off_t expected);
static avp_sink_status_e avp_sink_file_write(avp_sink_t *s, u_char *data,
    size_t len);
static avp_sink_status_e avp_sink_file_commit(avp_sink_t *s,
    const char *video, avp_format_t f);
static void avp_sink_file_abort(avp_sink_t *s);
static avp_sink_status_e avp_sink_file_start(avp_sink_file_t *f,
    avp_file_step_e step);
static void avp_sink_file_work(void *data, ngx_log_t *log);
static void avp_sink_file_done(void *data);
static avp_sink_status_e avp_sink_file_work_open(avp_sink_file_t *f,
    ngx_log_t *log);
static avp_sink_status_e avp_sink_file_work_write(avp_sink_file_t *f,
    ngx_log_t *log);
static avp_sink_status_e avp_sink_file_work_commit(avp_sink_file_t *f,
    ngx_log_t *log);
static avp_sink_status_e avp_sink_file_failed(ngx_log_t *log,
    const char *what, const char *path);
static ngx_int_t avp_sink_file_work_folder(const char *path);


static const avp_sink_ops_t  avp_sink_file_ops = {
    "file",
    avp_sink_file_open,
    avp_sink_file_write,
    avp_sink_file_commit,
    avp_sink_file_abort,
    avp_store_discard
};


avp_sink_t *
avp_sink_file_create(ngx_http_request_t *r)
{
    char                       random[AVP_STORE_RANDOM_LEN + 1];
    avp_sink_file_t           *f;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    f = ngx_pcalloc(r->pool, sizeof(avp_sink_file_t));
    if (f == NULL || avp_store_random(random) != NGX_OK) {
        return NULL;
    }

    f->path.len = amcf->storage_root.len + sizeof("/incoming/") - 1
                  + AVP_STORE_RANDOM_LEN;
    f->path.data = ngx_pnalloc(r->pool, f->path.len + 1);
    if (f->path.data == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(f->path.data, "%V/incoming/%s%Z", &amcf->storage_root,
                       random);

    f->task = avp_task_create(r);
    if (f->task == NULL) {
        return NULL;
    }

    f->task->work = avp_sink_file_work;
    f->task->done = avp_sink_file_done;
    f->task->data = f;

    f->sink.ops = &avp_sink_file_ops;
    f->root = amcf->storage_root;
    f->fd = NGX_INVALID_FILE;

    return &f->sink;
}


static avp_sink_status_e
avp_sink_file_open(avp_sink_t *s, off_t expected)
{
    avp_sink_file_t  *f = (avp_sink_file_t *) s;

    f->expected = expected;

    return avp_sink_file_start(f, AVP_FILE_OPEN);
}


static avp_sink_status_e
avp_sink_file_write(avp_sink_t *s, u_char *data, size_t len)
{
    avp_sink_file_t  *f = (avp_sink_file_t *) s;

    f->buf = data;
    f->len = len;

    return avp_sink_file_start(f, AVP_FILE_WRITE);
}


static avp_sink_status_e
avp_sink_file_commit(avp_sink_t *s, const char *video, avp_format_t format)
{
    avp_sink_file_t  *f = (avp_sink_file_t *) s;

    if (avp_key_original(s->key, video, format) != 0) {
        return AVP_SINK_ERROR;
    }

    return avp_sink_file_start(f, AVP_FILE_COMMIT);
}


static void
avp_sink_file_abort(avp_sink_t *s)
{
    avp_sink_file_t  *f = (avp_sink_file_t *) s;

    if (f->made) {
        avp_store_forget(&f->path, f->fd);
        f->made = 0;
        f->fd = NGX_INVALID_FILE;
    }

    if (f->committed && !s->kept) {
        avp_store_discard(s->key);
        f->committed = 0;
    }
}


static avp_sink_status_e
avp_sink_file_start(avp_sink_file_t *f, avp_file_step_e step)
{
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(f->sink.request,
                                         ngx_http_avp_module);
    f->step = step;

    switch (avp_task_post(f->task, amcf->io_pool)) {

    case NGX_OK:
        return AVP_SINK_OK;

    case NGX_BUSY:
        return AVP_SINK_BUSY;

    default:
        return AVP_SINK_ERROR;
    }
}


/* In a thread, until the end of the file's thread side.  The event loop does
 * not look at `f` meanwhile. */

static void
avp_sink_file_work(void *data, ngx_log_t *log)
{
    avp_sink_file_t  *f = data;

    switch (f->step) {

    case AVP_FILE_OPEN:
        f->status = avp_sink_file_work_open(f, log);
        break;

    case AVP_FILE_WRITE:
        f->status = avp_sink_file_work_write(f, log);
        break;

    default:
        f->status = avp_sink_file_work_commit(f, log);
    }
}


static avp_sink_status_e
avp_sink_file_work_open(avp_sink_file_t *f, ngx_log_t *log)
{
    char            *path = (char *) f->path.data;
    struct statvfs   fs;

    f->fd = open(path, O_CREAT|O_EXCL|O_WRONLY|O_NOFOLLOW|O_CLOEXEC, 0640);

    if (f->fd == NGX_INVALID_FILE) {
        return avp_sink_file_failed(log, "open()", path);
    }

    f->made = 1;

    /* not posix_fallocate(): where it is not free it writes every byte */

    if (f->expected > 0 && fstatvfs(f->fd, &fs) == 0
        && (off_t) fs.f_bavail < f->expected / (off_t) fs.f_frsize)
    {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "no room for an upload of %O bytes in \"%s\"",
                      f->expected, path);
        return AVP_SINK_FULL;
    }

    return AVP_SINK_OK;
}


static avp_sink_status_e
avp_sink_file_work_write(avp_sink_file_t *f, ngx_log_t *log)
{
    off_t    offset, piece;
    size_t   done;
    ssize_t  n;

    offset = f->sink.offset;

    for (done = 0; done < f->len; done += n) {
        n = pwrite(f->fd, f->buf + done, f->len - done, offset + done);

        if (n == -1) {
            if (ngx_errno == NGX_EINTR) {
                n = 0;
                continue;
            }

            return avp_sink_file_failed(log, "pwrite()",
                                        (char *) f->path.data);
        }
    }

    piece = (offset + (off_t) f->len) / AVP_SINK_FLUSH;

    if (piece != offset / AVP_SINK_FLUSH) {
        (void) sync_file_range(f->fd, (piece - 1) * AVP_SINK_FLUSH,
                               AVP_SINK_FLUSH, SYNC_FILE_RANGE_WRITE);
    }

    return AVP_SINK_OK;
}


static avp_sink_status_e
avp_sink_file_work_commit(avp_sink_file_t *f, ngx_log_t *log)
{
    int    rc;
    char   to[NGX_MAX_PATH], *slash;
    char  *path = (char *) f->path.data;

    if (fsync(f->fd) != 0) {
        return avp_sink_file_failed(log, "fsync()", path);
    }

    if (f->root.len + 1 + AVP_KEY_MAX > NGX_MAX_PATH) {
        return AVP_SINK_ERROR;
    }

    (void) ngx_sprintf((u_char *) to, "%V/%s%Z", &f->root, f->sink.key);

    slash = strrchr(to, '/');

    *slash = '\0';
    rc = mkdir(to, 0750);

    if (rc != 0 && ngx_errno != NGX_EEXIST) {
        return avp_sink_file_failed(log, "mkdir()", to);
    }

    *slash = '/';
    if (rename(path, to) != 0) {
        (void) avp_sink_file_failed(log, "rename()", to);
        *slash = '\0';
        (void) rmdir(to);
        return AVP_SINK_ERROR;
    }

    f->made = 0;
    f->committed = 1;

    rc = close(f->fd);
    f->fd = NGX_INVALID_FILE;

    if (rc != 0) {
        return avp_sink_file_failed(log, "close()", to);
    }

    /* the name, then the folder's own name */

    *slash = '\0';
    if (avp_sink_file_work_folder(to) != NGX_OK) {
        return avp_sink_file_failed(log, "fsync()", to);
    }

    *strrchr(to, '/') = '\0';
    if (avp_sink_file_work_folder(to) != NGX_OK) {
        return avp_sink_file_failed(log, "fsync()", to);
    }

    return AVP_SINK_OK;
}


static ngx_int_t
avp_sink_file_work_folder(const char *path)
{
    int       rc;
    ngx_fd_t  fd;

    fd = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = fsync(fd);
    (void) close(fd);

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static avp_sink_status_e
avp_sink_file_failed(ngx_log_t *log, const char *what, const char *path)
{
    ngx_err_t  err = ngx_errno;

    ngx_log_error(NGX_LOG_ERR, log, err, "upload: %s \"%s\" failed", what,
                  path);

    return err == NGX_ENOSPC || err == EDQUOT ? AVP_SINK_FULL
                                              : AVP_SINK_ERROR;
}


static void
avp_sink_file_done(void *data)
{
    avp_sink_file_t  *f = data;

    if (avp_task_aborted(f->task)) {
        return;      /* the pool cleanup tidies up */
    }

    if (f->step == AVP_FILE_WRITE && f->status == AVP_SINK_OK) {
        f->sink.offset += f->len;
    }

    f->sink.done(f->sink.data, f->status);
}
