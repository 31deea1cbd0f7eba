/*
 * Values of directives: env:NAME (the env file first, then the environment of
 * the process that parses), file:PATH, or the text itself.  The env file is
 * read at each parse, so that `nginx -t`, a reload and a binary upgrade see
 * the same values without a shell.
 */

#include "ngx_module/conf.h"
#include "lib/settings.h"
#include "lib/units.h"


#define AVP_CONF_FILE_MAX  (256 * 1024)


typedef struct {
    ngx_conf_t   *cf;
    ngx_array_t  *env;
} avp_env_ctx_t;


/* Reads a file of at most AVP_CONF_FILE_MAX bytes; the text is followed by a
 * NUL that is not counted. */
static ngx_int_t
avp_conf_read(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *path,
    ngx_str_t *text)
{
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%V\": cannot open \"%V\"", &cmd->name, path);
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)
        || ngx_file_size(&fi) > AVP_CONF_FILE_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": \"%V\" is not a regular file of at most "
                           "256k", &cmd->name, path);
        goto failed;
    }

    text->len = (size_t) ngx_file_size(&fi);
    text->data = ngx_pcalloc(cf->pool, text->len + 1);
    if (text->data == NULL) {
        goto failed;
    }

    n = ngx_read_fd(fd, text->data, text->len);
    if (n == -1 || (size_t) n != text->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%V\": cannot read \"%V\"", &cmd->name, path);
        goto failed;
    }

    (void) ngx_close_file(fd);
    return NGX_OK;

failed:

    (void) ngx_close_file(fd);
    return NGX_ERROR;
}


static int
avp_conf_env_pair(void *data, avp_str_t key, avp_str_t value)
{
    avp_env_ctx_t *ctx = data;
    ngx_keyval_t  *kv;

    kv = ngx_array_push(ctx->env);
    if (kv == NULL) {
        return -1;
    }

    kv->key.data = (u_char *) key.data;
    kv->key.len = key.len;
    kv->value.data = (u_char *) value.data;
    kv->value.len = value.len;

    return 0;
}


char *
avp_conf_env_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    char           err[AVP_SETTINGS_ERROR];
    ngx_str_t      path, text, *args;
    avp_env_ctx_t  ctx;

    if (amcf->env.elts) {
        return "is duplicate";
    }

    if (amcf->env_used.line) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_env_file\" must come before the first "
                           "\"env:\" value, which is in %V:%ui",
                           &amcf->env_used.file, amcf->env_used.line);
        return NGX_CONF_ERROR;
    }

    args = cf->args->elts;
    path = args[1];

    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK
        || ngx_array_init(&amcf->env, cf->pool, 32, sizeof(ngx_keyval_t))
           != NGX_OK
        || avp_conf_read(cf, cmd, &path, &text) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ctx.cf = cf;
    ctx.env = &amcf->env;
    err[0] = '\0';

    if (avp_env_parse((avp_str_t) { (char *) text.data, text.len },
                      avp_conf_env_pair, &ctx, err)
        != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_env_file\": %s in \"%V\"", err, &path);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* NGX_OK, or NGX_DECLINED when neither the file nor the environment has it;
 * the last line of a file wins, as in a shell. */
ngx_int_t
avp_conf_env(ngx_conf_t *cf, const ngx_str_t *name, ngx_str_t *value)
{
    char                      *p, *copy;
    ngx_uint_t                 i;
    ngx_keyval_t              *kv;
    ngx_http_avp_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_avp_module);

    if (amcf->env_used.line == 0) {
        amcf->env_used.file = cf->conf_file->file.name;
        amcf->env_used.line = cf->conf_file->line;
    }

    kv = amcf->env.elts;

    for (i = amcf->env.nelts; i-- > 0; /* void */ ) {
        if (kv[i].key.len == name->len
            && ngx_strncmp(kv[i].key.data, name->data, name->len) == 0)
        {
            *value = kv[i].value;
            return NGX_OK;
        }
    }

    copy = ngx_pcalloc(cf->pool, name->len + 1);
    if (copy == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(copy, name->data, name->len);

    p = getenv(copy);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    value->len = ngx_strlen(p);
    value->data = ngx_pnalloc(cf->pool, value->len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(value->data, p, value->len + 1);

    return NGX_OK;
}


static ngx_int_t
avp_conf_value_file(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t path,
    ngx_str_t *value)
{
    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK
        || avp_conf_read(cf, cmd, &path, value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (value->len
           && (value->data[value->len - 1] == LF
               || value->data[value->len - 1] == CR))
    {
        value->len--;
    }

    return NGX_OK;
}


/* NAME, or what the file that NAME_FILE names has in it. */
ngx_int_t
avp_conf_env_secret(ngx_conf_t *cf, ngx_command_t *cmd, const ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_int_t  rc;
    ngx_str_t  path;

    rc = avp_conf_env(cf, name, value);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    path.len = name->len + sizeof("_FILE") - 1;
    path.data = ngx_pnalloc(cf->pool, path.len);
    if (path.data == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(ngx_cpymem(path.data, name->data, name->len), "_FILE",
               sizeof("_FILE") - 1);

    rc = avp_conf_env(cf, &path, value);
    if (rc != NGX_OK) {
        return rc;
    }

    path.len = value->len;
    path.data = ngx_pcalloc(cf->pool, path.len + 1);
    if (path.data == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(path.data, value->data, path.len);

    return avp_conf_value_file(cf, cmd, path, value);
}


ngx_int_t
avp_conf_value(ngx_conf_t *cf, ngx_command_t *cmd, const ngx_str_t *arg,
    ngx_str_t *value)
{
    ngx_int_t  rc;
    ngx_str_t  name, path;

    if (arg->len > 5 && ngx_strncmp(arg->data, "file:", 5) == 0) {
        path.data = arg->data + 5;
        path.len = arg->len - 5;
        return avp_conf_value_file(cf, cmd, path, value);
    }

    if (arg->len <= 4 || ngx_strncmp(arg->data, "env:", 4) != 0) {
        *value = *arg;
        return NGX_OK;
    }

    name.data = arg->data + 4;
    name.len = arg->len - 4;

    rc = avp_conf_env_secret(cf, cmd, &name, value);

    if (rc == NGX_DECLINED) {
        rc = avp_conf_parts(cf, cmd, &name, value);
    }

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": neither \"avp_env_file\" nor the "
                           "environment has \"%V\"", &cmd->name, &name);
        return NGX_ERROR;
    }

    return rc;
}


ngx_uint_t
avp_conf_option(const ngx_str_t *arg, const char *name, ngx_str_t *value)
{
    size_t  n;

    n = ngx_strlen(name);

    if (arg->len <= n || arg->data[n] != '='
        || ngx_strncmp(arg->data, name, n) != 0)
    {
        return 0;
    }

    value->data = arg->data + n + 1;
    value->len = arg->len - n - 1;

    return 1;
}


ngx_int_t
avp_conf_number(const ngx_str_t *value, ngx_int_t min, ngx_int_t max)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    return n == NGX_ERROR || n < min || n > max ? NGX_ERROR : n;
}


ngx_int_t
avp_conf_msec(const ngx_str_t *value, ngx_msec_t min, ngx_msec_t max,
    ngx_msec_t *ms)
{
    int64_t  n;

    n = avp_duration_parse((avp_str_t) { (char *) value->data, value->len });

    if (n < (int64_t) min || n > (int64_t) max) {
        return NGX_ERROR;
    }

    *ms = (ngx_msec_t) n;
    return NGX_OK;
}
