/*
 * The module's shared types: configuration, routes, and what a request under
 * /api/v1 carries.  Everything here lives on the event loop of one NGINX
 * worker process; nothing may block in it.
 */

#ifndef NGX_HTTP_AVP_H
#define NGX_HTTP_AVP_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "lib/str.h"
#include "lib/errors.h"
#include "lib/jwt_policy.h"
#include "lib/delivery_token.h"
#include "lib/uuid.h"

typedef struct avp_pg_s     avp_pg_t;      /* backend/pg.h */
typedef struct avp_redis_s  avp_redis_t;   /* backend/redis.h */
typedef struct avp_zone_s   avp_zone_t;    /* zone.h */


/* Where the configuration said something, for messages given later. */
typedef struct {
    ngx_str_t             file;
    ngx_uint_t            line;            /* 0: nowhere */
} avp_conf_place_t;


typedef struct {
    ngx_shm_zone_t       *zone;            /* avp_zone */

    ngx_str_t             database;        /* avp_database: conninfo */
    ngx_uint_t            database_connections;
    ngx_msec_t            database_timeout;

    ngx_str_t             redis;           /* avp_redis: redis:// or unix: */
    ngx_msec_t            redis_timeout;

    ngx_str_t             storage_root;    /* avp_storage file DIR */
    ngx_thread_pool_t    *io_pool;         /* thread_pool avp_io */
    ngx_thread_pool_t    *hash_pool;       /* thread_pool avp_hash, or NULL */

    ngx_array_t           jwt_keys;        /* avp_jwt_key_t */
    ngx_array_t           delivery_keys;   /* avp_delivery_key_t, first signs */

    ngx_str_t             public_url;      /* no slash at the end */
    ngx_str_t             cdn_url;         /* "" : public_url */
    ngx_array_t           cors_origins;    /* ngx_str_t */

    off_t                 max_video_size;
    uint32_t              allowed_formats; /* mask of lib/sniff.h */

    ngx_array_t           env;             /* ngx_keyval_t of avp_env_file */
    avp_conf_place_t      env_used;        /* the first env:NAME */
    avp_conf_place_t      api_place;       /* the first avp_api */
    avp_conf_place_t      delivery_place;  /* the first avp_delivery */
    avp_conf_place_t      storage_place;
} ngx_http_avp_main_conf_t;


typedef struct {
    ngx_array_t           api_prefixes;    /* ngx_str_t: avp_api locations */
} ngx_http_avp_srv_conf_t;


typedef struct {
    ngx_flag_t            api;             /* avp_api */
    ngx_str_t             api_prefix;      /* of its location, no slash at end */
    ngx_flag_t            delivery;        /* avp_delivery */
} ngx_http_avp_loc_conf_t;


typedef struct ngx_http_avp_ctx_s  ngx_http_avp_ctx_t;
typedef ngx_int_t (*ngx_http_avp_handler_pt)(ngx_http_request_t *r,
    ngx_http_avp_ctx_t *ctx);


typedef enum {
    AVP_BODY_NONE = 0,      /* discarded; the handler runs at once */
    AVP_BODY_STREAM         /* the handler reads it (upload) */
} avp_body_kind_t;


/* One row of the route table (router.c); tests walk it. */
typedef struct {
    ngx_uint_t                method;      /* NGX_HTTP_GET (HEAD follows) ... */
    const char               *path;        /* "/videos/{id}/status" */
    unsigned                  open:1;      /* no token needed */
    unsigned                  admin:1;
    avp_body_kind_t           body;
    ngx_http_avp_handler_pt   handler;
} avp_route_t;


#define AVP_ROUTE_IDS  2

struct ngx_http_avp_ctx_s {
    ngx_http_request_t   *request;
    const avp_route_t    *route;
    avp_identity_t        identity;        /* valid when authenticated */
    unsigned              authenticated:1;
    unsigned              auth_done:1;     /* verified or refused already */
    unsigned              held:1;          /* has a count of r->main->count
                                              that avp_request_finish() drops */
    unsigned              headers:1;       /* avp_reply_headers() ran */
    unsigned              replied:1;       /* an answer of ours was sent */
    unsigned              swap:2;          /* core's error page -> problem */

    ngx_str_t             request_id;
    ngx_str_t             origin;          /* the header, if it is allowed */
    char                  ids[AVP_ROUTE_IDS][AVP_UUID_LEN + 1];
    ngx_uint_t            nids;

    ngx_str_t             problem;         /* the body that is swapped in */
    void                 *data;            /* the handler's own */
};


extern ngx_module_t  ngx_http_avp_module;

#endif
