/*
 * Configuration: the directives of DESIGN 6 into ngx_http_avp_main_conf_t and
 * ngx_http_avp_loc_conf_t, with every mistake that can be known named at
 * `nginx -t`.  Runs while NGINX parses, before any worker process; the check
 * of the storage needs the `user` directive and runs once all is parsed.
 */

#ifndef AVP_CONF_H
#define AVP_CONF_H

#include "ngx_module/avp.h"

/* conf.c: life of the structures, and the locations' directives */
void *avp_conf_create_main(ngx_conf_t *cf);
void *avp_conf_create_srv(ngx_conf_t *cf);
void *avp_conf_create_loc(ngx_conf_t *cf);
char *avp_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child);
char *avp_conf_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_delivery(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* What avp_api and avp_delivery need from elsewhere. */
ngx_int_t avp_conf_complete(ngx_conf_t *cf);

/* conf_main.c: directives of http {} */
char *avp_conf_database(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_storage(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_formats(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* conf_keys.c */
char *avp_conf_jwt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *avp_conf_delivery_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* conf_value.c: env:NAME, file:PATH or literal.  Errors are logged. */
char *avp_conf_env_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t avp_conf_value(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_str_t *arg, ngx_str_t *value);

/* What a name stands for: NGX_OK, NGX_DECLINED (nothing), NGX_ERROR.  The
 * second also knows NAME_FILE. */
ngx_int_t avp_conf_env(ngx_conf_t *cf, const ngx_str_t *name,
    ngx_str_t *value);
ngx_int_t avp_conf_env_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_str_t *name, ngx_str_t *value);

/* conf_parts.c: DATABASE_URL from DB_HOST and so on, REDIS_URL likewise, by
 * the rules of lib/settings.c.  NGX_DECLINED: no part, or another name. */
ngx_int_t avp_conf_parts(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_str_t *name, ngx_str_t *value);

/* `arg` begins with `name` and '=': what follows, in *value; else 0. */
ngx_uint_t avp_conf_option(const ngx_str_t *arg, const char *name,
    ngx_str_t *value);
ngx_int_t avp_conf_number(const ngx_str_t *value, ngx_int_t min,
    ngx_int_t max);                              /* NGX_ERROR: not one */
ngx_int_t avp_conf_msec(const ngx_str_t *value, ngx_msec_t min,
    ngx_msec_t max, ngx_msec_t *ms);

/* conf_storage.c: folders of the file driver, checked as the worker's user. */
ngx_int_t avp_conf_storage_check(ngx_cycle_t *cycle,
    ngx_http_avp_main_conf_t *amcf);

#endif
