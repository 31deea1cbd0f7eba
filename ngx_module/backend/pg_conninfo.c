/*
 * The address of the database: checked at `nginx -t`, taken apart once per
 * worker process, and put together at each connect with the host names
 * resolved (libpq would resolve them itself, and block).
 */

#include "ngx_module/backend/pg_private.h"
#include "lib/settings.h"


#define AVP_PG_KEYWORDS  64


ngx_uint_t
avp_pg_host_is_name(const ngx_str_t *host)
{
    u_char  text[NGX_INET6_ADDRSTRLEN + 1];
    u_char  addr[16];

    if (host->len == 0 || host->data[0] == '/' || host->data[0] == '@') {
        return 0;                                       /* a socket's folder */
    }

    if (ngx_inet_addr(host->data, host->len) != INADDR_NONE) {
        return 0;
    }

    if (host->len <= NGX_INET6_ADDRSTRLEN) {
        ngx_memcpy(text, host->data, host->len);
        text[host->len] = '\0';
        if (inet_pton(AF_INET6, (char *) text, addr) == 1) {
            return 0;
        }
    }

    return 1;
}


/* Comma separated, as libpq writes lists of hosts and ports. */
static ngx_int_t
avp_pg_split(char *text, ngx_str_t *list, ngx_uint_t *n)
{
    char  *p;

    for (*n = 0; /* void */ ; text = p + 1) {

        if (*n == AVP_PG_HOSTS) {
            return NGX_ERROR;
        }

        p = strchr(text, ',');

        list[*n].data = (u_char *) text;
        list[*n].len = p ? (size_t) (p - text) : ngx_strlen(text);
        (*n)++;

        if (p == NULL) {
            return NGX_OK;
        }
    }
}


/* Whether the text looks like something libpq can mean as an address; a
 * mistyped scheme would otherwise be called a missing "=". */
static const char *
avp_pg_conninfo_form(const char *text)
{
    if (ngx_strncmp(text, "postgresql://", 13) == 0
        || ngx_strncmp(text, "postgres://", 11) == 0)
    {
        return NULL;
    }

    if (strstr(text, "://") == NULL && strchr(text, '=') != NULL) {
        return NULL;
    }

    return "the address must look like \"postgresql://user@host/name\" or "
           "\"host=/run/postgresql dbname=name\"";
}


static ngx_int_t
avp_pg_conninfo_lists(avp_pg_conninfo_t *info, const char **wrong)
{
    char              *host, *hostaddr, *port;
    ngx_int_t          n;
    ngx_uint_t         i;
    PQconninfoOption  *o;

    host = hostaddr = port = NULL;

    for (o = info->options; o->keyword; o++) {
        if (o->val == NULL || o->val[0] == '\0') {
            continue;
        }
        if (ngx_strcmp(o->keyword, "host") == 0) {
            host = o->val;
        } else if (ngx_strcmp(o->keyword, "hostaddr") == 0) {
            hostaddr = o->val;
        } else if (ngx_strcmp(o->keyword, "port") == 0) {
            port = o->val;
        } else if (ngx_strcmp(o->keyword, "service") == 0) {
            *wrong = "\"service\" is not supported: name the host";
            return NGX_ERROR;
        } else if (ngx_strcmp(o->keyword, "password") == 0
                   && avp_secret_is_placeholder(avp_str_c(o->val)))
        {
            *wrong = "the password is a placeholder from the documentation";
            return NGX_ERROR;
        }
    }

    if ((host && avp_pg_split(host, info->hosts, &info->nhosts) != NGX_OK)
        || (port && avp_pg_split(port, info->ports, &info->nports) != NGX_OK))
    {
        *wrong = "more than 8 hosts or ports";
        return NGX_ERROR;
    }

    for (i = 0; i < info->nports; i++) {
        if (info->ports[i].len == 0) {
            continue;
        }
        n = ngx_atoi(info->ports[i].data, info->ports[i].len);
        if (n == NGX_ERROR || n < 1 || n > 65535) {
            *wrong = "the port is not a number from 1 to 65535";
            return NGX_ERROR;
        }
    }

    if (info->nports > 1 && info->nports != info->nhosts) {
        *wrong = "there are not as many ports as hosts";
        return NGX_ERROR;
    }

    for (i = 0; hostaddr == NULL && i < info->nhosts; i++) {
        if (avp_pg_host_is_name(&info->hosts[i])) {
            info->resolve = 1;
        }
    }

    return NGX_OK;
}


/* libpq quotes what it does not understand, which may be a password. */
static void
avp_pg_conninfo_mask(char err[AVP_PG_CONNINFO_ERROR], const char *message)
{
    size_t      n;
    ngx_uint_t  keep, quoted;

    keep = ngx_strncmp(message, "invalid connection option", 25) == 0
           || ngx_strncmp(message, "invalid URI query parameter", 27) == 0;

    n = 0;
    quoted = 0;

    for ( /* void */ ; *message && *message != '\n'; message++) {

        if (*message == '"') {
            quoted = !quoted;
            if (quoted && !keep && n + 5 < AVP_PG_CONNINFO_ERROR) {
                ngx_memcpy(err + n, "\"...", 4);
                n += 4;
                continue;
            }

        } else if (quoted && !keep) {
            continue;
        }

        if (n + 1 < AVP_PG_CONNINFO_ERROR) {
            err[n++] = *message;
        }
    }

    err[n] = '\0';
}


ngx_int_t
avp_pg_conninfo_parse(avp_pg_conninfo_t *info, const char *text)
{
    const char  *wrong;

    ngx_memzero(info, sizeof(avp_pg_conninfo_t));

    info->options = PQconninfoParse(text, NULL);
    if (info->options == NULL) {
        return NGX_ERROR;
    }

    return avp_pg_conninfo_lists(info, &wrong);
}


void
avp_pg_conninfo_free(avp_pg_conninfo_t *info)
{
    if (info->options) {
        PQconninfoFree(info->options);
        info->options = NULL;
    }
}


ngx_int_t
avp_pg_conninfo_check(const char *conninfo, char err[AVP_PG_CONNINFO_ERROR])
{
    char              *message;
    ngx_int_t          rc;
    const char        *wrong;
    avp_pg_conninfo_t  info;

    ngx_memzero(&info, sizeof(avp_pg_conninfo_t));
    message = NULL;

    wrong = avp_pg_conninfo_form(conninfo);
    if (wrong) {
        goto wrong;
    }

    info.options = PQconninfoParse(conninfo, &message);
    if (info.options == NULL) {
        if (message) {
            avp_pg_conninfo_mask(err, message);
            PQfreemem(message);
            return NGX_ERROR;
        }
        wrong = "no memory";
        goto wrong;
    }

    rc = avp_pg_conninfo_lists(&info, &wrong);

    avp_pg_conninfo_free(&info);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

wrong:

    ngx_cpystrn((u_char *) err, (u_char *) wrong, AVP_PG_CONNINFO_ERROR);
    return NGX_ERROR;
}


/* Writes the lists host, hostaddr and port, one entry for each address that
 * a host has; a host that did not resolve is left out. */
static ngx_uint_t
avp_pg_conninfo_expand(avp_pg_conninfo_t *info, const ngx_str_t *addresses,
    char *host, char *hostaddr, char *port, size_t size)
{
    u_char     *h, *a, *p, *q, *last;
    ngx_str_t   one, *pt;
    ngx_uint_t  i, n;

    h = (u_char *) host;
    a = (u_char *) hostaddr;
    p = (u_char *) port;
    n = 0;

    for (i = 0; i < info->nhosts; i++) {

        pt = info->nports == 0 ? NULL
             : &info->ports[info->nports == 1 ? 0 : i];

        one = addresses[i];
        last = one.data + one.len;

        if (one.len == 0 && avp_pg_host_is_name(&info->hosts[i])) {
            continue;
        }

        do {
            q = ngx_strlchr(one.data, last, ',');
            one.len = (q ? q : last) - one.data;

            h = ngx_slprintf(h, (u_char *) host + size - 1, "%s%V",
                             n ? "," : "", &info->hosts[i]);
            a = ngx_slprintf(a, (u_char *) hostaddr + size - 1, "%s%V",
                             n ? "," : "", &one);
            p = ngx_slprintf(p, (u_char *) port + size - 1, "%s", n ? "," : "");
            if (pt) {
                p = ngx_slprintf(p, (u_char *) port + size - 1, "%V", pt);
            }

            n++;
            one.data = q ? q + 1 : last;

        } while (one.data < last);
    }

    *h = *a = *p = '\0';

    return n;
}


PGconn *
avp_pg_conninfo_connect(avp_pg_conninfo_t *info, const ngx_str_t *addresses)
{
    size_t             size;
    PGconn            *pg;
    ngx_uint_t         n, expanded;
    const char        *keys[AVP_PG_KEYWORDS], *values[AVP_PG_KEYWORDS];
    char              *lists, *host, *hostaddr, *port;
    PQconninfoOption  *o;

    size = 8192;
    lists = NULL;
    host = hostaddr = port = NULL;
    expanded = 0;

    if (info->resolve) {
        lists = calloc(3, size);
        if (lists == NULL) {
            return NULL;
        }
        host = lists;
        hostaddr = lists + size;
        port = lists + 2 * size;
        expanded = avp_pg_conninfo_expand(info, addresses, host, hostaddr,
                                          port, size);
    }

    n = 0;

#define avp_pg_param(k, v)  (keys[n] = (k), values[n++] = (v))

    /* first what the address may override: a later one wins in libpq */

    avp_pg_param("fallback_application_name", "avp-nginx");
    avp_pg_param("gssencmode", "disable");      /* would talk to a KDC */
    avp_pg_param("keepalives_idle", "30");
    avp_pg_param("keepalives_interval", "10");
    avp_pg_param("keepalives_count", "3");
    avp_pg_param("tcp_user_timeout", "30000");

    for (o = info->options; o->keyword && n < AVP_PG_KEYWORDS - 6; o++) {
        if (o->val == NULL) {
            continue;
        }
        if (expanded && (ngx_strcmp(o->keyword, "host") == 0
                         || ngx_strcmp(o->keyword, "port") == 0))
        {
            continue;
        }
        avp_pg_param(o->keyword, o->val);
    }

    if (expanded) {
        avp_pg_param("host", host);
        avp_pg_param("hostaddr", hostaddr);
        if (info->nports) {
            avp_pg_param("port", port);
        }
    }

    avp_pg_param("client_encoding", "UTF8");

    keys[n] = NULL;
    values[n] = NULL;

#undef avp_pg_param

    pg = PQconnectStartParams(keys, values, 0);

    free(lists);
    return pg;
}
