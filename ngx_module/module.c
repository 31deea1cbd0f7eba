/*
 * ngx_http_avp_module: directives, hooks, and the life of what a worker
 * process holds.  A second, core module of the same object checks what can
 * only be checked once the whole configuration has been read (init_conf may
 * refuse without harm; init_module must not, it ends a running master).
 */

#include "ngx_module/avp.h"
#include "ngx_module/conf.h"
#include "ngx_module/zone.h"
#include "ngx_module/api/reply.h"
#include "ngx_module/auth/bearer.h"
#include "ngx_module/backend/drain.h"
#include "ngx_module/backend/pg.h"
#include "ngx_module/backend/redis.h"
#include "ngx_module/delivery/gate.h"


static ngx_int_t avp_preconfiguration(ngx_conf_t *cf);
static ngx_int_t avp_postconfiguration(ngx_conf_t *cf);
static ngx_int_t avp_init_process(ngx_cycle_t *cycle);
static void avp_exit_process(ngx_cycle_t *cycle);
static char *avp_core_init_conf(ngx_cycle_t *cycle, void *conf);


static ngx_command_t  ngx_http_avp_commands[] = {

    { ngx_string("avp_env_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      avp_conf_env_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      avp_zone_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_database"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      avp_conf_database,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      avp_conf_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_storage"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      avp_conf_storage,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      avp_conf_jwt,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_delivery_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      avp_conf_delivery_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_public_url"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      avp_conf_url,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_avp_main_conf_t, public_url),
      NULL },

    { ngx_string("avp_cdn_url"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      avp_conf_url,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_avp_main_conf_t, cdn_url),
      NULL },

    { ngx_string("avp_cors_origins"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      avp_conf_cors,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_max_video_size"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      avp_conf_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_allowed_formats"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      avp_conf_formats,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      avp_conf_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("avp_delivery"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      avp_conf_delivery,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_avp_module_ctx = {
    avp_preconfiguration,                  /* preconfiguration */
    avp_postconfiguration,                 /* postconfiguration */

    avp_conf_create_main,                  /* create main configuration */
    NULL,                                  /* init main configuration */

    avp_conf_create_srv,                   /* create server configuration */
    NULL,                                  /* merge server configuration */

    avp_conf_create_loc,                   /* create location configuration */
    avp_conf_merge_loc                     /* merge location configuration */
};


ngx_module_t  ngx_http_avp_module = {
    NGX_MODULE_V1,
    &ngx_http_avp_module_ctx,              /* module context */
    ngx_http_avp_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    avp_init_process,                      /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    avp_exit_process,                      /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_core_module_t  ngx_http_avp_core_module_ctx = {
    ngx_string("avp"),
    NULL,
    avp_core_init_conf
};


extern ngx_module_t  ngx_http_avp_core_module;

ngx_module_t  ngx_http_avp_core_module = {
    NGX_MODULE_V1,
    &ngx_http_avp_core_module_ctx,         /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
avp_preconfiguration(ngx_conf_t *cf)
{
    if (avp_bearer_add_variables(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return avp_delivery_add_variables(cf);
}


static ngx_int_t
avp_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_avp_main_conf_t  *amcf;

    if (avp_conf_complete(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (avp_reply_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

    return amcf->delivery_place.line ? avp_delivery_init(cf) : NGX_OK;
}


static char *
avp_core_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_avp_module);

    if (amcf && avp_conf_storage_check(cycle, amcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Workers only: the cache manager and loader run this hook as well.  Nothing
 * here may fail because a service is down: it would end the worker for good. */
static ngx_int_t
avp_init_process(ngx_cycle_t *cycle)
{
    ngx_http_avp_main_conf_t  *amcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    amcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_avp_module);

    if (amcf == NULL
        || (amcf->api_place.line == 0 && amcf->delivery_place.line == 0))
    {
        return NGX_OK;
    }

    if (avp_drain_init(cycle) != NGX_OK
        || avp_pg_init(cycle, amcf) != NGX_OK
        || (amcf->redis.len && avp_redis_init(cycle, amcf) != NGX_OK)
        || avp_bearer_init_process(cycle) != NGX_OK
        || avp_zone_init_process(cycle, amcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
avp_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return;
    }

    avp_redis_exit();
    avp_pg_exit();
    avp_drain_exit();
}
