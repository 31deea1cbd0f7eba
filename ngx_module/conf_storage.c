/*
 * The folders of the file driver: made when absent, and checked as the user
 * that worker processes run as, so that `nginx -t` as root finds what a
 * worker would find at its first upload.  Runs from init_conf of a core
 * module: there `user` is known, and a refusal leaves a running NGINX alone.
 */

#include "ngx_module/conf.h"

#include <grp.h>


static const char *const  avp_storage_folders[] = {
    "incoming", "originals", "outputs", "trash"
};

#define AVP_STORAGE_FOLDERS                                                   \
    (sizeof(avp_storage_folders) / sizeof(avp_storage_folders[0]))


typedef struct {
    ngx_uint_t   switched;
    int          ngroups;
    gid_t       *groups;
} avp_user_t;


static ngx_int_t
avp_storage_fail(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf,
    ngx_err_t err, const char *what, u_char *path)
{
    u_char  *p, reason[256];

    /* as ngx_conf_log_error() does: the place comes last */
    p = reason;
    if (err) {
        p = ngx_log_errno(reason, reason + sizeof(reason), err);
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "\"avp_storage\": %s \"%s\"%*s in %V:%ui", what, path,
                  (size_t) (p - reason), reason,
                  &amcf->storage_place.file, amcf->storage_place.line);
    return NGX_ERROR;
}


/* Becomes the worker's user for file access; only root can and need. */
static ngx_int_t
avp_user_enter(ngx_cycle_t *cycle, avp_user_t *u)
{
    ngx_core_conf_t  *ccf;

    ngx_memzero(u, sizeof(avp_user_t));

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (geteuid() != 0 || ccf->user == (ngx_uid_t) NGX_CONF_UNSET_UINT
        || ccf->user == 0)
    {
        return NGX_OK;
    }

    u->ngroups = getgroups(0, NULL);
    if (u->ngroups < 0) {
        return NGX_ERROR;
    }

    u->groups = ngx_palloc(cycle->pool, (u->ngroups + 1) * sizeof(gid_t));
    if (u->groups == NULL
        || getgroups(u->ngroups, u->groups) != u->ngroups)
    {
        return NGX_ERROR;
    }

    u->switched = 1;

    if (initgroups(ccf->username, ccf->group) == -1
        || setegid(ccf->group) == -1 || seteuid(ccf->user) == -1)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "\"avp_storage\": cannot look as user \"%s\"",
                      ccf->username);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
avp_user_leave(ngx_cycle_t *cycle, avp_user_t *u)
{
    if (!u->switched) {
        return NGX_OK;
    }

    if (seteuid(0) == -1 || setegid(0) == -1
        || setgroups(u->ngroups, u->groups) == -1)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "\"avp_storage\": cannot become root again");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* mkdir, whatever the umask (workerd is of the group), and give it to the
 * worker's user when we are root. */
static ngx_int_t
avp_storage_make(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf,
    u_char *path)
{
    ngx_core_conf_t  *ccf;

    if (mkdir((char *) path, 0750) == -1) {
        if (ngx_errno == NGX_EEXIST) {
            return NGX_OK;
        }
        return avp_storage_fail(cycle, amcf, ngx_errno,
                                "cannot make the folder", path);
    }

    if (chmod((char *) path, 0750) == -1) {
        return avp_storage_fail(cycle, amcf, ngx_errno,
                                "cannot set the mode of", path);
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (geteuid() == 0 && ccf->user != (ngx_uid_t) NGX_CONF_UNSET_UINT
        && chown((char *) path, ccf->user, ccf->group) == -1)
    {
        return avp_storage_fail(cycle, amcf, ngx_errno,
                                "cannot give away the folder", path);
    }

    return NGX_OK;
}


static ngx_int_t
avp_storage_look(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf,
    u_char *path, dev_t *dev)
{
    struct stat  st;

    if (stat((char *) path, &st) == -1) {
        return avp_storage_fail(cycle, amcf, ngx_errno,
                                "the worker's user cannot see", path);
    }

    if (!S_ISDIR(st.st_mode)) {
        return avp_storage_fail(cycle, amcf, 0, "not a folder:", path);
    }

    if (faccessat(AT_FDCWD, (char *) path, R_OK|W_OK|X_OK, AT_EACCESS) == -1) {
        return avp_storage_fail(cycle, amcf, ngx_errno,
                                "the worker's user cannot write to", path);
    }

    *dev = st.st_dev;
    return NGX_OK;
}


ngx_int_t
avp_conf_storage_check(ngx_cycle_t *cycle, ngx_http_avp_main_conf_t *amcf)
{
    dev_t        dev[AVP_STORAGE_FOLDERS];
    u_char       path[AVP_STORAGE_FOLDERS][NGX_MAX_PATH];
    ngx_int_t    rc;
    ngx_uint_t   i;
    avp_user_t   user;

    if (amcf->storage_root.len == 0) {
        return NGX_OK;
    }

    if (amcf->storage_root.len > NGX_MAX_PATH / 2) {
        return avp_storage_fail(cycle, amcf, 0, "the path is too long:",
                                amcf->storage_root.data);
    }

    if (avp_storage_make(cycle, amcf, amcf->storage_root.data) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < AVP_STORAGE_FOLDERS; i++) {
        ngx_sprintf(path[i], "%V/%s%Z", &amcf->storage_root,
                    avp_storage_folders[i]);
        if (avp_storage_make(cycle, amcf, path[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    rc = avp_user_enter(cycle, &user);

    for (i = 0; rc == NGX_OK && i < AVP_STORAGE_FOLDERS; i++) {
        rc = avp_storage_look(cycle, amcf, path[i], &dev[i]);
    }

    if (avp_user_leave(cycle, &user) != NGX_OK || rc != NGX_OK) {
        return NGX_ERROR;
    }

    /* both are moved by rename(): uploads in, deleted outputs out */

    if (dev[0] != dev[1]) {
        return avp_storage_fail(cycle, amcf, 0, "\"incoming\" is on another "
                                "device than \"originals\" under",
                                amcf->storage_root.data);
    }

    if (dev[2] != dev[3]) {
        return avp_storage_fail(cycle, amcf, 0, "\"trash\" is on another "
                                "device than \"outputs\" under",
                                amcf->storage_root.data);
    }

    return NGX_OK;
}
