/*
 * workerd token: a bearer token for a user, signed with JWT_SECRET.  The
 * token is the last line of standard output.  Its role is the user's; --admin
 * asks for an administrator's and is refused for anybody else's, unless
 * --create may make the user one.
 */

#include "lib/jwt_policy.h"
#include "lib/units.h"
#include "workerd/cmd_common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    const char   *email;
    bool          admin;
    bool          create;
    int64_t       lifetime; /* seconds; 0: JWT_EXPIRY */
    avp_jwt_key_t key;
} options_t;

static int
usage(void)
{
    avp_command_error("usage: workerd token --user EMAIL [--create] [--admin] "
                      "[--expires 24h]\n"
                      "       [--kid ID] [--issuer TEXT] [--audience TEXT]");
    return AVP_EXIT_USAGE;
}

static int
parse(options_t *o, int argc, char **argv)
{
    const char *name, *value;
    int64_t     ms;
    int         i;

    for (i = 1; i < argc; i++) {
        name = argv[i];

        if (strcmp(name, "--admin") == 0) {
            o->admin = true;
            continue;
        }

        if (strcmp(name, "--create") == 0) {
            o->create = true;
            continue;
        }

        if (++i == argc) {
            return -1;
        }

        value = argv[i];

        if (strcmp(name, "--user") == 0) {
            o->email = value;
        } else if (strcmp(name, "--kid") == 0) {
            o->key.kid = avp_str_c(value);
        } else if (strcmp(name, "--issuer") == 0) {
            o->key.issuer = avp_str_c(value);
        } else if (strcmp(name, "--audience") == 0) {
            o->key.audience = avp_str_c(value);
        } else if (strcmp(name, "--expires") == 0) {
            ms = avp_duration_parse(avp_str_c(value));
            o->lifetime = ms / 1000;
            if (ms < 1000) {
                return -1;
            }
        } else {
            return -1;
        }
    }

    return o->email ? 0 : -1;
}

int
avp_token_main(int argc, char **argv)
{
    avp_settings_t s;
    options_t      o = { .key = { .alg = AVP_JWT_HS256 } };
    avp_db_t      *db = NULL;
    char           id[AVP_UUID_LEN + 1];
    char          *token = NULL;
    bool           is_admin;
    int            rc = AVP_EXIT_FAILED;

    if (parse(&o, argc, argv)) {
        return usage();
    }

    if (avp_command_open(&s, &db)) {
        return AVP_EXIT_FAILED;
    }

    if (s.jwt_secret == NULL) {
        avp_command_error("JWT_SECRET is not set: it signs the tokens");
        goto done;
    }

    if (avp_command_user(db, o.email, o.create, o.admin, id, &is_admin)) {
        goto done;
    }

    if (o.admin && !is_admin) {
        avp_command_error("%s is not an administrator; --create --admin makes "
                          "it one", o.email);
        goto done;
    }

    o.key.key = avp_str_c(s.jwt_secret);
    token = avp_jwt_issue(&o.key, id, is_admin, time(NULL),
                          o.lifetime ? o.lifetime : s.jwt_expiry);

    if (token == NULL) {
        avp_command_error("the token could not be signed");
        goto done;
    }

    printf("%s\n", token);
    rc = AVP_EXIT_OK;

done:
    free(token);
    avp_db_free(db);
    avp_settings_free(&s);

    return rc;
}
