#include "ngx_module/upload/store.h"
#include "ngx_module/backend/task.h"
#include "lib/storage_key.h"
#include "lib/uuid.h"

#include <sys/stat.h>


typedef struct {
    char                 from[NGX_MAX_PATH];
    char                 to[NGX_MAX_PATH];
    ngx_fd_t             fd;
    ngx_int_t            rc;
    avp_task_t          *task;
    avp_store_done_pt    done;
    void                *data;
} avp_store_job_t;


static avp_store_job_t *avp_store_job(ngx_http_request_t *r,
    const avp_store_job_t *paths);
static ngx_int_t avp_store_path(char dst[NGX_MAX_PATH], const char *fmt, ...);
static ngx_int_t avp_store_start(avp_store_job_t *job,
    void (*work)(void *data, ngx_log_t *log));
static void avp_store_finished(void *data);
static void avp_store_trash_work(void *data, ngx_log_t *log);
static void avp_store_discard_work(void *data, ngx_log_t *log);
static void avp_store_forget_work(void *data, ngx_log_t *log);
static void avp_store_probe_work(void *data, ngx_log_t *log);


ngx_int_t
avp_store_random(char dst[AVP_STORE_RANDOM_LEN + 1])
{
    char        uuid[AVP_UUID_LEN + 1];
    ngx_uint_t  i, n;

    if (avp_uuid_v4(uuid) != 0) {
        return NGX_ERROR;
    }

    for (i = 0, n = 0; i < AVP_UUID_LEN; i++) {
        if (uuid[i] != '-') {
            dst[n++] = uuid[i];
        }
    }

    dst[n] = '\0';

    return NGX_OK;
}


ngx_int_t
avp_store_trash(ngx_http_request_t *r, const char *video,
    avp_store_done_pt done, void *data)
{
    char              random[AVP_STORE_RANDOM_LEN + 1];
    avp_store_job_t  *job, paths;

    if (avp_store_random(random) != NGX_OK
        || avp_store_path(paths.from, "outputs/%s", video) != NGX_OK
        || avp_store_path(paths.to, "trash/%s-%s", video, random) != NGX_OK)
    {
        return NGX_ERROR;
    }

    job = avp_store_job(r, &paths);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->done = done;
    job->data = data;

    return avp_store_start(job, avp_store_trash_work);
}


static void
avp_store_trash_work(void *data, ngx_log_t *log)
{
    avp_store_job_t  *job = data;

    if (rename(job->from, job->to) == 0 || ngx_errno == NGX_ENOENT) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                  "moving \"%s\" to \"%s\" failed", job->from, job->to);
    job->rc = NGX_ERROR;
}


void
avp_store_discard(const char *key)
{
    avp_store_job_t  *job, paths;

    if (avp_store_path(paths.from, "%s", key) != NGX_OK
        || avp_store_path(paths.to, "%s", key) != NGX_OK)
    {
        return;
    }

    *strrchr(paths.to, '/') = '\0';

    job = avp_store_job(NULL, &paths);

    if (job != NULL) {
        (void) avp_store_start(job, avp_store_discard_work);
    }
}


static void
avp_store_discard_work(void *data, ngx_log_t *log)
{
    avp_store_job_t  *job = data;

    if ((unlink(job->from) != 0 && ngx_errno != NGX_ENOENT)
        || (rmdir(job->to) != 0 && ngx_errno != NGX_ENOENT))
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "taking back the refused upload \"%s\" failed",
                      job->from);
    }
}


/*
 * A large file takes long to unlink: not on the event loop, unless the queue
 * is full.
 */

void
avp_store_forget(const ngx_str_t *path, ngx_fd_t fd)
{
    avp_store_job_t  *job, paths;

    (void) ngx_cpystrn((u_char *) paths.from, path->data,
                       ngx_min(path->len + 1, NGX_MAX_PATH));
    paths.to[0] = '\0';
    paths.fd = fd;

    job = avp_store_job(NULL, &paths);

    if (job != NULL) {
        job->fd = fd;

        if (avp_store_start(job, avp_store_forget_work) == NGX_OK) {
            return;
        }
    }

    avp_store_forget_work(&paths, ngx_cycle->log);
}


static void
avp_store_forget_work(void *data, ngx_log_t *log)
{
    avp_store_job_t  *job = data;

    if (unlink(job->from) != 0 && ngx_errno != NGX_ENOENT) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "removing the unfinished upload \"%s\" failed",
                      job->from);
    }

    if (job->fd != NGX_INVALID_FILE && ngx_close_file(job->fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "closing the unfinished upload \"%s\" failed",
                      job->from);
    }
}


ngx_int_t
avp_store_probe(avp_store_done_pt done, void *data)
{
    char              random[AVP_STORE_RANDOM_LEN + 1];
    avp_store_job_t  *job, paths;

    paths.to[0] = '\0';

    if (avp_store_random(random) != NGX_OK
        || avp_store_path(paths.from, "incoming/.probe-%s", random) != NGX_OK)
    {
        return NGX_ERROR;
    }

    job = avp_store_job(NULL, &paths);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->done = done;
    job->data = data;

    return avp_store_start(job, avp_store_probe_work);
}


static void
avp_store_probe_work(void *data, ngx_log_t *log)
{
    ngx_fd_t          fd;
    avp_store_job_t  *job = data;

    fd = open(job->from, O_CREAT|O_EXCL|O_WRONLY|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE || unlink(job->from) != 0) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "the storage cannot be written: \"%s\"", job->from);
        job->rc = NGX_ERROR;
    }

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }
}


/* Made in the request's pool, or in the pool of its own task. */

static avp_store_job_t *
avp_store_job(ngx_http_request_t *r, const avp_store_job_t *paths)
{
    avp_task_t       *task;
    avp_store_job_t  *job;

    task = r ? avp_task_create(r)
             : avp_task_detached(sizeof(avp_store_job_t));

    if (task == NULL) {
        return NULL;
    }

    if (r) {
        task->data = ngx_pcalloc(r->pool, sizeof(avp_store_job_t));
        if (task->data == NULL) {
            return NULL;
        }
    }

    job = task->data;

    (void) ngx_cpystrn((u_char *) job->from, (u_char *) paths->from,
                       NGX_MAX_PATH);
    (void) ngx_cpystrn((u_char *) job->to, (u_char *) paths->to,
                       NGX_MAX_PATH);
    job->task = task;
    job->fd = NGX_INVALID_FILE;

    return job;
}


static ngx_int_t
avp_store_path(char dst[NGX_MAX_PATH], const char *fmt, ...)
{
    int                        n;
    size_t                     len;
    va_list                    args;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_avp_module);
    len = amcf->storage_root.len;

    if (len + 2 > NGX_MAX_PATH) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst, amcf->storage_root.data, len);
    dst[len++] = '/';

    va_start(args, fmt);
    n = vsnprintf(dst + len, NGX_MAX_PATH - len, fmt, args);
    va_end(args);

    return n < 0 || (size_t) n >= NGX_MAX_PATH - len ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
avp_store_start(avp_store_job_t *job,
    void (*work)(void *data, ngx_log_t *log))
{
    ngx_int_t                  rc;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_avp_module);

    job->task->work = work;
    job->task->done = avp_store_finished;

    rc = avp_task_post(job->task, amcf->io_pool);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "storage task was not taken: queue full");
    }

    return rc;
}


static void
avp_store_finished(void *data)
{
    avp_store_job_t  *job = data;

    if (job->done && !avp_task_aborted(job->task)) {
        job->done(job->data, job->rc);
    }
}
