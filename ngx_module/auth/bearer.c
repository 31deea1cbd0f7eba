#include "ngx_module/auth/bearer.h"
#include "ngx_module/request.h"
#include "ngx_module/zone.h"

#include <openssl/sha.h>

#define AVP_BEARER_CACHE  1024      /* tokens; each entry is 200 bytes or so */


/* Direct-mapped: a token that falls on another's place takes it. */
typedef struct {
    u_char                digest[SHA256_DIGEST_LENGTH];
    avp_identity_t        identity;
    unsigned              used:1;
} avp_bearer_entry_t;


static ngx_int_t avp_bearer_token(ngx_http_request_t *r, avp_str_t *token);
static ngx_int_t avp_bearer_verify(ngx_http_request_t *r, avp_str_t *token,
    avp_identity_t *identity);
static ngx_int_t avp_bearer_user_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t avp_bearer_role_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t avp_bearer_video_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t avp_bearer_request_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  avp_bearer_variables[] = {

    { ngx_string("avp_user"), NULL, avp_bearer_user_variable, 0, 0, 0 },
    { ngx_string("avp_role"), NULL, avp_bearer_role_variable, 0, 0, 0 },
    { ngx_string("avp_video"), NULL, avp_bearer_video_variable, 0, 0, 0 },
    { ngx_string("avp_request_id"), NULL, avp_bearer_request_variable, 0, 0,
      0 },

      ngx_http_null_variable
};


static avp_bearer_entry_t  *avp_bearer_cache;


ngx_int_t
avp_bearer_init_process(ngx_cycle_t *cycle)
{
    /* of the cycle: new keys begin with an empty cache */

    avp_bearer_cache = ngx_pcalloc(cycle->pool, AVP_BEARER_CACHE
                                                * sizeof(avp_bearer_entry_t));

    return avp_bearer_cache ? NGX_OK : NGX_ERROR;
}


ngx_int_t
avp_bearer_authenticate(ngx_http_request_t *r, ngx_http_avp_ctx_t *ctx)
{
    avp_str_t       token;
    avp_identity_t  identity;

    if (ctx->auth_done) {
        return ctx->authenticated ? NGX_OK : NGX_DECLINED;
    }

    if (avp_bearer_token(r, &token) != NGX_OK) {
        ctx->auth_done = 1;
        return NGX_DECLINED;
    }

    if (avp_bearer_verify(r, &token, &identity) != NGX_OK) {
        ctx->auth_done = 1;
        return NGX_DECLINED;
    }

    /* the signature is good; what was revoked must be known to go on */

    if (!avp_zone_fresh()) {
        return NGX_BUSY;
    }

    ctx->auth_done = 1;

    if (avp_zone_user_disabled(identity.user)) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "bearer token refused: user is disabled");
        return NGX_DECLINED;
    }

    ctx->identity = identity;
    ctx->authenticated = 1;

    return NGX_OK;
}


/* RFC 6750 2.1; the scheme in any case (RFC 9110 11.1).  Two Authorization
 * headers never get here: the core refuses them. */

static ngx_int_t
avp_bearer_token(ngx_http_request_t *r, avp_str_t *token)
{
    u_char           *p, *last;
    ngx_table_elt_t  *h;

    h = r->headers_in.authorization;

    if (h == NULL || h->value.len < sizeof("Bearer x") - 1
        || ngx_strncasecmp(h->value.data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = h->value.data + sizeof("Bearer ") - 1;
    last = h->value.data + h->value.len;

    while (p < last && *p == ' ') {
        p++;
    }

    token->data = (char *) p;
    token->len = last - p;

    return token->len ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
avp_bearer_verify(ngx_http_request_t *r, avp_str_t *token,
    avp_identity_t *identity)
{
    u_char                     digest[SHA256_DIGEST_LENGTH];
    uint32_t                   place;
    const char                *why;
    avp_bearer_entry_t        *entry;
    ngx_http_avp_main_conf_t  *amcf;

    if (token->len > AVP_JWT_MAX) {
        return NGX_DECLINED;
    }

    SHA256((u_char *) token->data, token->len, digest);

    ngx_memcpy(&place, digest, sizeof(place));
    entry = &avp_bearer_cache[place % AVP_BEARER_CACHE];

    if (entry->used
        && ngx_memcmp(entry->digest, digest, SHA256_DIGEST_LENGTH) == 0)
    {
        if (avp_identity_current(&entry->identity, ngx_time()) != 0) {
            entry->used = 0;
            return NGX_DECLINED;
        }

        *identity = entry->identity;
        return NGX_OK;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_avp_module);

    if (avp_jwt_verify(identity, amcf->jwt_keys.elts, amcf->jwt_keys.nelts,
                       *token, ngx_time(), &why)
        != 0)
    {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "bearer token refused: %s", why);
        return NGX_DECLINED;
    }

    ngx_memcpy(entry->digest, digest, SHA256_DIGEST_LENGTH);
    entry->identity = *identity;
    entry->used = 1;

    return NGX_OK;
}


ngx_int_t
avp_bearer_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = avp_bearer_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* The context of a request under avp_api with a verified token, or NULL. */

static ngx_http_avp_ctx_t *
avp_bearer_verified(ngx_http_request_t *r)
{
    ngx_http_avp_ctx_t       *ctx;
    ngx_http_avp_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_avp_module);

    if (!alcf->api) {
        return NULL;
    }

    ctx = avp_request_ctx(r);

    if (ctx == NULL || avp_bearer_authenticate(r, ctx) != NGX_OK) {
        return NULL;
    }

    return ctx;
}


static void
avp_bearer_value(ngx_http_variable_value_t *v, const void *data, size_t len)
{
    v->data = (u_char *) data;
    v->len = len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}


static ngx_int_t
avp_bearer_user_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_avp_ctx_t  *ctx;

    ctx = avp_bearer_verified(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    avp_bearer_value(v, ctx->identity.user, AVP_UUID_LEN);

    return NGX_OK;
}


static ngx_int_t
avp_bearer_role_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_avp_ctx_t  *ctx;

    ctx = avp_bearer_verified(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (ctx->identity.admin) {
        avp_bearer_value(v, "admin", sizeof("admin") - 1);

    } else {
        avp_bearer_value(v, "user", sizeof("user") - 1);
    }

    return NGX_OK;
}


/* By the path alone: /.../videos/{id}... or /v/{id}/..., so that logs have it for
 * every answer. */

static ngx_int_t
avp_bearer_video_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    char       id[AVP_UUID_LEN + 1];
    u_char    *p, *last;
    avp_str_t  s;

    last = r->uri.data + r->uri.len;

    if (r->uri.len > 3 && ngx_strncmp(r->uri.data, "/v/", 3) == 0) {
        p = r->uri.data + 3;

    } else {
        p = ngx_strnstr(r->uri.data, "/videos/", r->uri.len);
        p = p ? p + sizeof("/videos/") - 1 : last;
    }

    s.data = (char *) p;
    s.len = AVP_UUID_LEN;

    if (last - p < AVP_UUID_LEN || avp_uuid_parse(id, s) != 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    avp_bearer_value(v, p, AVP_UUID_LEN);

    return NGX_OK;
}


static ngx_int_t
avp_bearer_request_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_avp_ctx_t  *ctx;

    ctx = avp_request_ctx(r);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    avp_bearer_value(v, ctx->request_id.data, ctx->request_id.len);

    return NGX_OK;
}
