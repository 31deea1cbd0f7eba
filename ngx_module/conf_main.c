/*
 * Directives of http {} that name services, addresses and limits.
 */

#include "ngx_module/conf.h"
#include "ngx_module/backend/pg.h"
#include "ngx_module/backend/redis.h"
#include "lib/sniff.h"
#include "lib/units.h"


/* A copy with a NUL behind it, for libraries that want C strings. */
static ngx_int_t
avp_conf_cstr(ngx_conf_t *cf, const ngx_str_t *value, ngx_str_t *copy)
{
    copy->len = value->len;
    copy->data = ngx_pnalloc(cf->pool, value->len + 1);
    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy->data, value->data, value->len);
    copy->data[value->len] = '\0';

    return NGX_OK;
}


/* connections= and timeout= of avp_database and avp_redis */
static ngx_int_t
avp_conf_service_options(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_uint_t *connections, ngx_msec_t *timeout)
{
    ngx_int_t   n;
    ngx_str_t  *args, text;
    ngx_uint_t  i;

    args = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (connections && avp_conf_option(&args[i], "connections", &text)) {
            n = avp_conf_number(&text, 1, 64);
            if (n == NGX_ERROR) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"%V\": \"%V\" is not a number from 1 to "
                                   "64", &cmd->name, &args[i]);
                return NGX_ERROR;
            }
            *connections = n;
            continue;
        }

        if (avp_conf_option(&args[i], "timeout", &text)) {
            if (avp_conf_msec(&text, 100, 60000, timeout) != NGX_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"%V\": \"%V\" is not a time from 100ms "
                                   "to 60s", &cmd->name, &args[i]);
                return NGX_ERROR;
            }
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": unknown parameter \"%V\"",
                           &cmd->name, &args[i]);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* avp_database ADDRESS [connections=N] [timeout=T] */
char *
avp_conf_database(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    char        err[AVP_PG_CONNINFO_ERROR];
    ngx_str_t  *args, value;

    if (amcf->database.data) {
        return "is duplicate";
    }

    args = cf->args->elts;

    if (avp_conf_value(cf, cmd, &args[1], &value) != NGX_OK
        || avp_conf_cstr(cf, &value, &amcf->database) != NGX_OK
        || avp_conf_service_options(cf, cmd, &amcf->database_connections,
                                    &amcf->database_timeout)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (avp_pg_conninfo_check((char *) amcf->database.data, err) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"avp_database\": %s", err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* avp_redis ADDRESS [timeout=T] */
char *
avp_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    ngx_str_t            *args, value;
    const char           *wrong;
    avp_redis_address_t   address;

    if (amcf->redis.data) {
        return "is duplicate";
    }

    args = cf->args->elts;

    if (avp_conf_value(cf, cmd, &args[1], &value) != NGX_OK
        || avp_conf_cstr(cf, &value, &amcf->redis) != NGX_OK
        || avp_conf_service_options(cf, cmd, NULL, &amcf->redis_timeout)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    wrong = avp_redis_address(cf->pool, &amcf->redis, &address);
    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"avp_redis\": %s", wrong);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* avp_storage file DIR */
char *
avp_conf_storage(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    ngx_str_t  *args, value;

    if (amcf->storage_root.data) {
        return "is duplicate";
    }

    args = cf->args->elts;

    if (ngx_strcmp(args[1].data, "file") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_storage\": unknown driver \"%V\"; this "
                           "version knows \"file\"", &args[1]);
        return NGX_CONF_ERROR;
    }

    if (avp_conf_value(cf, cmd, &args[2], &value) != NGX_OK
        || avp_conf_cstr(cf, &value, &amcf->storage_root) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = amcf->storage_root;

    while (value.len > 1 && value.data[value.len - 1] == '/') {
        value.data[--value.len] = '\0';
    }

    if (value.len < 2 || value.data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_storage\": \"%V\" is not an absolute path "
                           "to a folder", &value);
        return NGX_CONF_ERROR;
    }

    amcf->storage_root = value;
    amcf->storage_place.file = cf->conf_file->file.name;
    amcf->storage_place.line = cf->conf_file->line;

    return NGX_CONF_OK;
}


/* Whether it is http(s)://host[:port], followed by a path if `path`. */
static ngx_uint_t
avp_conf_is_url(const ngx_str_t *url, ngx_uint_t path)
{
    size_t  i, n;
    u_char  c;

    if (url->len > 7 && ngx_strncmp(url->data, "http://", 7) == 0) {
        n = 7;

    } else if (url->len > 8 && ngx_strncmp(url->data, "https://", 8) == 0) {
        n = 8;

    } else {
        return 0;
    }

    if (url->data[n] == '/') {
        return 0;
    }

    for (i = n; i < url->len; i++) {
        c = url->data[i];

        if ((c == '/' && !path) || c <= ' ' || c >= 0x7f
            || ngx_strchr("\"\\<>?#@", c))
        {
            return 0;
        }
    }

    return 1;
}


/* avp_public_url URL, avp_cdn_url URL */
char *
avp_conf_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *args, *target, value;

    target = (ngx_str_t *) ((char *) conf + cmd->offset);

    if (target->data) {
        return "is duplicate";
    }

    args = cf->args->elts;

    if (avp_conf_value(cf, cmd, &args[1], &value) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    while (value.len && value.data[value.len - 1] == '/') {
        value.len--;
    }

    if (!avp_conf_is_url(&value, 1)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": \"%V\" is not an address such as "
                           "\"https://video.example.com\"",
                           &cmd->name, &value);
        return NGX_CONF_ERROR;
    }

    *target = value;
    return NGX_CONF_OK;
}


/* avp_cors_origins ORIGIN ...; a value may hold several, comma separated */
char *
avp_conf_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    u_char     *p, *last, *end;
    ngx_str_t  *args, *origin, value;
    ngx_uint_t  i;

    args = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (avp_conf_value(cf, cmd, &args[i], &value) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        for (p = value.data, end = p + value.len; p < end; p = last + 1) {

            last = ngx_strlchr(p, end, ',');
            if (last == NULL) {
                last = end;
            }

            while (p < last && *p == ' ') {
                p++;
            }

            origin = ngx_array_push(&amcf->cors_origins);
            if (origin == NULL) {
                return NGX_CONF_ERROR;
            }

            origin->data = p;
            origin->len = last - p;

            while (origin->len && origin->data[origin->len - 1] == ' ') {
                origin->len--;
            }

            if (!avp_conf_is_url(origin, 0)) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"avp_cors_origins\": \"%V\" is not an "
                                   "origin such as "
                                   "\"https://app.example.com\" (scheme, "
                                   "host, port; no path, no \"*\")", origin);
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


/* avp_max_video_size SIZE */
char *
avp_conf_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    int64_t     size;
    ngx_str_t  *args, value;

    if (amcf->max_video_size != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    args = cf->args->elts;

    if (avp_conf_value(cf, cmd, &args[1], &value) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    size = avp_size_parse((avp_str_t) { (char *) value.data, value.len });

    if (size < 1 || size > NGX_MAX_OFF_T_VALUE / 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_max_video_size\": \"%V\" is not a size such "
                           "as \"500m\" or \"5GB\"", &value);
        return NGX_CONF_ERROR;
    }

    amcf->max_video_size = size;
    return NGX_CONF_OK;
}


/* avp_allowed_formats WORD ... */
char *
avp_conf_formats(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    uint32_t    mask;
    ngx_str_t  *args, value;
    ngx_uint_t  i;

    if (amcf->allowed_formats) {
        return "is duplicate";
    }

    args = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (avp_conf_value(cf, cmd, &args[i], &value) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        mask = avp_formats_parse((avp_str_t) { (char *) value.data,
                                               value.len });
        if (mask == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"avp_allowed_formats\": \"%V\" has a format "
                               "that is not known; known are mp4 mov avi mkv "
                               "webm ts mpg flv ogg wmv 3gp mxf", &value);
            return NGX_CONF_ERROR;
        }

        amcf->allowed_formats |= mask;
    }

    return NGX_CONF_OK;
}
