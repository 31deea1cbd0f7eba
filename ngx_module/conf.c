/*
 * The configuration structures, the locations' directives, and what is known
 * only when http {} has been read to its end.
 */

#include "ngx_module/conf.h"
#include "ngx_module/request.h"
#include "lib/sniff.h"


#define AVP_CONF_POOL                                                         \
    "\"thread_pool avp_io threads=8 max_queue=4096;\" before the \"http\" "    \
    "block; used"


void *
avp_conf_create_main(ngx_conf_t *cf)
{
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_avp_main_conf_t));
    if (amcf == NULL) {
        return NULL;
    }

    amcf->database_connections = 4;
    amcf->database_timeout = 5000;
    amcf->redis_timeout = 2000;
    amcf->max_video_size = NGX_CONF_UNSET;

    if (ngx_array_init(&amcf->jwt_keys, cf->pool, 2, sizeof(avp_jwt_key_t))
        != NGX_OK
        || ngx_array_init(&amcf->delivery_keys, cf->pool, 2,
                          sizeof(avp_delivery_key_t)) != NGX_OK
        || ngx_array_init(&amcf->cors_origins, cf->pool, 2,
                          sizeof(ngx_str_t)) != NGX_OK)
    {
        return NULL;
    }

    return amcf;
}


void *
avp_conf_create_srv(ngx_conf_t *cf)
{
    ngx_http_avp_srv_conf_t  *ascf;

    ascf = ngx_pcalloc(cf->pool, sizeof(ngx_http_avp_srv_conf_t));
    if (ascf == NULL
        || ngx_array_init(&ascf->api_prefixes, cf->pool, 1, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    return ascf;
}


void *
avp_conf_create_loc(ngx_conf_t *cf)
{
    ngx_http_avp_loc_conf_t  *alcf;

    alcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_avp_loc_conf_t));
    if (alcf == NULL) {
        return NULL;
    }

    alcf->api = NGX_CONF_UNSET;
    alcf->delivery = NGX_CONF_UNSET;

    return alcf;
}


char *
avp_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_avp_loc_conf_t *prev = parent;
    ngx_http_avp_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_avp_main_conf_t  *amcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* like proxy_pass, a handler is not inherited but by `if` and
     * `limit_except`; the gate is inherited, or a nested location would be
     * a hole in it */

    if (clcf->noname && conf->api == NGX_CONF_UNSET && prev->api == 1) {
        conf->api = 1;
        conf->api_prefix = prev->api_prefix;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_http_avp_api_handler;
        }
    }

    if (conf->api == NGX_CONF_UNSET) {
        conf->api = 0;
    }

    ngx_conf_merge_value(conf->delivery, prev->delivery, 0);

    if (conf->delivery && clcf->alias && !clcf->noname) {
        amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

        /* the gate makes /outputs/... of the URI: an alias would cut it */

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"avp_delivery\" works with \"root\", not with "
                      "\"alias\" as in location \"%V\", in %V:%ui",
                      &clcf->name, &amcf->delivery_place.file,
                      amcf->delivery_place.line);
        return NGX_CONF_ERROR;
    }

    if (conf->api) {
        /* error_page is inherited from the server, where it is meant for
         * people; the API's errors are always problem documents */
        clcf->error_pages = NULL;
    }

    return NGX_CONF_OK;
}


/* avp_api */
char *
avp_conf_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_loc_conf_t *alcf = conf;

    ngx_str_t                 *prefix;
    ngx_http_avp_srv_conf_t   *ascf;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_avp_main_conf_t  *amcf;

    if (alcf->api != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->named || clcf->exact_match || clcf->name.len == 0
        || clcf->name.data[0] != '/'
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return "works in a prefix location only, such as "
               "\"location /api/v1/\"";
    }

    alcf->api = 1;
    alcf->api_prefix = clcf->name;

    if (alcf->api_prefix.data[alcf->api_prefix.len - 1] == '/') {
        alcf->api_prefix.len--;
    }

    ascf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_avp_module);

    prefix = ngx_array_push(&ascf->api_prefixes);
    if (prefix == NULL) {
        return NGX_CONF_ERROR;
    }
    *prefix = alcf->api_prefix;

    clcf->handler = ngx_http_avp_api_handler;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

    if (amcf->api_place.line == 0) {
        amcf->api_place.file = cf->conf_file->file.name;
        amcf->api_place.line = cf->conf_file->line;
    }

    return NGX_CONF_OK;
}


/* avp_delivery */
char *
avp_conf_delivery(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_loc_conf_t *alcf = conf;

    ngx_http_avp_main_conf_t  *amcf;

    if (alcf->delivery != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    alcf->delivery = 1;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

    if (amcf->delivery_place.line == 0) {
        amcf->delivery_place.file = cf->conf_file->file.name;
        amcf->delivery_place.line = cf->conf_file->line;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
avp_conf_needs(ngx_conf_t *cf, const char *who, avp_conf_place_t *place,
    ngx_uint_t present, const char *what)
{
    if (place->line == 0 || present) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%s\" needs %s in %V:%ui",
                  who, what, &place->file, place->line);

    return NGX_ERROR;
}


ngx_int_t
avp_conf_complete(ngx_conf_t *cf)
{
    ngx_str_t                  io = ngx_string("avp_io");
    ngx_str_t                  hash = ngx_string("avp_hash");
    avp_conf_place_t          *api, *gate;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

    if (amcf->max_video_size == NGX_CONF_UNSET) {
        amcf->max_video_size = (off_t) 5 * 1024 * 1024 * 1024;
    }

    if (amcf->allowed_formats == 0) {
        amcf->allowed_formats = AVP_FMT_DEFAULT;
    }

    amcf->io_pool = ngx_thread_pool_get(cf->cycle, &io);
    amcf->hash_pool = ngx_thread_pool_get(cf->cycle, &hash);

    api = &amcf->api_place;
    gate = &amcf->delivery_place;

#define avp_needs(place, name, present, what)                                 \
    if (avp_conf_needs(cf, name, place, (present) != 0, what) != NGX_OK) {    \
        return NGX_ERROR;                                                     \
    }

    avp_needs(api, "avp_api", amcf->zone, "\"avp_zone\"");
    avp_needs(api, "avp_api", amcf->database.len, "\"avp_database\"");
    avp_needs(api, "avp_api", amcf->redis.len, "\"avp_redis\"");
    avp_needs(api, "avp_api", amcf->storage_root.len, "\"avp_storage\"");
    avp_needs(api, "avp_api", amcf->jwt_keys.nelts, "\"avp_jwt\"");
    avp_needs(api, "avp_api", amcf->delivery_keys.nelts,
              "\"avp_delivery_key\"");
    avp_needs(api, "avp_api", amcf->io_pool, AVP_CONF_POOL);

    avp_needs(gate, "avp_delivery", amcf->zone, "\"avp_zone\"");
    avp_needs(gate, "avp_delivery", amcf->delivery_keys.nelts,
              "\"avp_delivery_key\"");
    avp_needs(gate, "avp_delivery", amcf->storage_root.len,
              "\"avp_storage\"");

    /* the zone is filled from the database, whose name a thread looks up */
    avp_needs(gate, "avp_delivery", amcf->database.len, "\"avp_database\"");
    avp_needs(gate, "avp_delivery", amcf->io_pool, AVP_CONF_POOL);

#undef avp_needs

    return NGX_OK;
}
