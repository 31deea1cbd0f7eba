/*
 * Addresses that the environment gives in parts: workerd reads the same file,
 * and lib/settings.c puts them together in the same way.  A URL wins over its
 * parts.
 */

#include "ngx_module/conf.h"


typedef struct {
    ngx_str_t    name;          /* in the environment */
    const char  *keyword;       /* of libpq */
    const char  *fallback;
} avp_conf_part_t;


static const avp_conf_part_t  avp_conf_db_parts[] = {
    { ngx_string("DB_HOST"), "host", "localhost" },
    { ngx_string("DB_PORT"), "port", "5432" },
    { ngx_string("DB_NAME"), "dbname", "video_processing" },
    { ngx_string("DB_USER"), "user", "postgres" },
    { ngx_string("DB_PASSWORD"), "password", NULL }
};

#define AVP_CONF_DB_PARTS                                                     \
    (sizeof(avp_conf_db_parts) / sizeof(avp_conf_db_parts[0]))


/* keyword='value' with libpq's escapes */
static u_char *
avp_conf_quote(u_char *p, const char *keyword, const ngx_str_t *value)
{
    size_t  i;

    p = ngx_sprintf(p, "%s='", keyword);

    for (i = 0; i < value->len; i++) {
        if (value->data[i] == '\'' || value->data[i] == '\\') {
            *p++ = '\\';
        }
        *p++ = value->data[i];
    }

    return ngx_cpymem(p, "' ", 2);
}


static ngx_int_t
avp_conf_database_parts(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *value)
{
    size_t       size;
    u_char      *p;
    ngx_int_t    rc;
    ngx_str_t    parts[AVP_CONF_DB_PARTS];
    ngx_uint_t   i, any;

    any = 0;
    size = 0;

    for (i = 0; i < AVP_CONF_DB_PARTS; i++) {

        rc = avp_conf_env_secret(cf, cmd, &avp_conf_db_parts[i].name,
                                 &parts[i]);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK && parts[i].len) {
            any = 1;

        } else {
            parts[i].data = (u_char *) avp_conf_db_parts[i].fallback;
            parts[i].len = parts[i].data ? ngx_strlen(parts[i].data) : 0;
        }

        size += sizeof("password='' ") + 2 * parts[i].len;
    }

    if (!any) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(cf->pool, size);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    p = value->data;

    for (i = 0; i < AVP_CONF_DB_PARTS; i++) {
        if (parts[i].data) {
            p = avp_conf_quote(p, avp_conf_db_parts[i].keyword, &parts[i]);
        }
    }

    value->len = p - value->data;

    return NGX_OK;
}


static ngx_int_t
avp_conf_redis_parts(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_str_t    host, port;
    ngx_str_t    host_name = ngx_string("REDIS_HOST");
    ngx_str_t    port_name = ngx_string("REDIS_PORT");
    const char  *form;

    ngx_str_null(&host);
    ngx_str_null(&port);

    if (avp_conf_env(cf, &host_name, &host) == NGX_ERROR
        || avp_conf_env(cf, &port_name, &port) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (host.len == 0 && port.len == 0) {
        return NGX_DECLINED;
    }

    if (host.len == 0) {
        ngx_str_set(&host, "localhost");
    }

    if (port.len == 0) {
        ngx_str_set(&port, "6379");
    }

    if (host.data[0] == '/') {
        form = "unix:%V%Z";

    } else if (ngx_strlchr(host.data, host.data + host.len, ':')) {
        form = "redis://[%V]:%V%Z";

    } else {
        form = "redis://%V:%V%Z";
    }

    value->data = ngx_pnalloc(cf->pool, sizeof("redis://[]:") + host.len
                                        + port.len);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, form, &host, &port) - 1
                 - value->data;

    return NGX_OK;
}


ngx_int_t
avp_conf_parts(ngx_conf_t *cf, ngx_command_t *cmd, const ngx_str_t *name,
    ngx_str_t *value)
{
    if (name->len == sizeof("DATABASE_URL") - 1
        && ngx_strncmp(name->data, "DATABASE_URL", name->len) == 0)
    {
        return avp_conf_database_parts(cf, cmd, value);
    }

    if (name->len == sizeof("REDIS_URL") - 1
        && ngx_strncmp(name->data, "REDIS_URL", name->len) == 0)
    {
        return avp_conf_redis_parts(cf, value);
    }

    return NGX_DECLINED;
}
