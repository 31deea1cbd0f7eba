/*
 * Keys: avp_jwt (who may call) and avp_delivery_key (which links play).  Both
 * may be given several times, for rotation.  No message here shows a secret.
 */

#include "ngx_module/conf.h"
#include "lib/settings.h"

#include <openssl/sha.h>


/* The secret that `arg` names, refused when it is short or a placeholder. */
static ngx_int_t
avp_conf_secret(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *arg,
    ngx_str_t *secret)
{
    if (avp_conf_value(cf, cmd, arg, secret) != NGX_OK) {
        return NGX_ERROR;
    }

    if (avp_secret_is_placeholder((avp_str_t) { (char *) secret->data,
                                                secret->len }))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the secret is a placeholder from the "
                           "documentation; make one with "
                           "\"openssl rand -hex 32\"", &cmd->name);
        return NGX_ERROR;
    }

    if (secret->len < AVP_JWT_KEY_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the secret has %uz bytes, it needs at "
                           "least %d; make one with \"openssl rand -hex 32\"",
                           &cmd->name, secret->len, AVP_JWT_KEY_MIN);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
avp_conf_jwt_option(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *arg,
    avp_jwt_key_t *key)
{
    ngx_str_t   text, value;
    avp_str_t  *target;
    ngx_msec_t  ms;

    if (avp_conf_option(arg, "leeway", &text)) {
        if (avp_conf_msec(&text, 0, 60000, &ms) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"avp_jwt\": \"%V\" is not a time from 0s to "
                               "60s", arg);
            return NGX_ERROR;
        }
        key->leeway = (int) (ms / 1000);
        return NGX_OK;
    }

    if (avp_conf_option(arg, "kid", &text)) {
        target = &key->kid;

    } else if (avp_conf_option(arg, "issuer", &text)) {
        target = &key->issuer;

    } else if (avp_conf_option(arg, "audience", &text)) {
        target = &key->audience;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_jwt\": unknown parameter \"%V\"", arg);
        return NGX_ERROR;
    }

    if (avp_conf_value(cf, cmd, &text, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len == 0 || value.len > 255) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_jwt\": the value of \"%V\" must have 1 to "
                           "255 characters", arg);
        return NGX_ERROR;
    }

    target->data = (char *) value.data;
    target->len = value.len;

    return NGX_OK;
}


/* avp_jwt hs256 SECRET [kid=] [issuer=] [audience=] [leeway=] */
char *
avp_conf_jwt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    ngx_str_t      *args, secret;
    ngx_uint_t      i;
    avp_jwt_key_t  *keys, *key;

    args = cf->args->elts;

    if (ngx_strcmp(args[1].data, "hs256") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_jwt\": unknown algorithm \"%V\"; this "
                           "version knows \"hs256\"", &args[1]);
        return NGX_CONF_ERROR;
    }

    if (avp_conf_secret(cf, cmd, &args[2], &secret) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    key = ngx_array_push(&amcf->jwt_keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(key, sizeof(avp_jwt_key_t));
    key->alg = AVP_JWT_HS256;
    key->key.data = (char *) secret.data;
    key->key.len = secret.len;
    key->leeway = 30;

    for (i = 3; i < cf->args->nelts; i++) {
        if (avp_conf_jwt_option(cf, cmd, &args[i], key) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    keys = amcf->jwt_keys.elts;

    for (i = 0; i + 1 < amcf->jwt_keys.nelts; i++) {
        if (avp_str_eq(keys[i].kid, key->kid)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"avp_jwt\": another key has the same "
                               "\"kid\"; keys are told apart by it");
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* avp_delivery_key kid=N SECRET */
char *
avp_conf_delivery_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_avp_main_conf_t *amcf = conf;

    ngx_str_t           *args, text, secret;
    ngx_int_t            kid;
    ngx_uint_t           i, at;
    avp_delivery_key_t  *keys, *key;

    args = cf->args->elts;

    at = avp_conf_option(&args[1], "kid", &text) ? 1 : 2;

    if (at == 2 && !avp_conf_option(&args[2], "kid", &text)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_delivery_key\" needs \"kid=\" with a number "
                           "from 1 to 255");
        return NGX_CONF_ERROR;
    }

    kid = avp_conf_number(&text, 1, 255);
    if (kid == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"avp_delivery_key\": \"%V\" is not a number from "
                           "1 to 255", &args[at]);
        return NGX_CONF_ERROR;
    }

    keys = amcf->delivery_keys.elts;

    for (i = 0; i < amcf->delivery_keys.nelts; i++) {
        if (keys[i].kid == kid) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"avp_delivery_key\": another key has the "
                               "same \"kid\"");
            return NGX_CONF_ERROR;
        }
    }

    if (avp_conf_secret(cf, cmd, &args[3 - at], &secret) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    key = ngx_array_push(&amcf->delivery_keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(key, sizeof(avp_delivery_key_t));
    key->kid = (uint8_t) kid;

    if (secret.len <= sizeof(key->key)) {
        ngx_memcpy(key->key, secret.data, secret.len);
        key->key_len = secret.len;

    } else {
        /* what HMAC does with a key longer than its block (RFC 2104, 2) */
        SHA256(secret.data, secret.len, key->key);
        key->key_len = SHA256_DIGEST_LENGTH;
    }

    return NGX_CONF_OK;
}
