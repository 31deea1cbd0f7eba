/*
 * workerd user add|list|disable|enable: for operators.  Each is one call of
 * an SQL function, which writes the audit row.
 */

#include "workerd/commands.h"
#include "workerd/cmd_common.h"
#include "lib/password.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
usage(void)
{
    avp_command_error("usage: workerd user add EMAIL [--username NAME] "
                      "[--admin] [--password-stdin]\n"
                      "       workerd user list | disable EMAIL | enable EMAIL");
    return AVP_EXIT_USAGE;
}

/* The first line of standard input, hashed.  0 or -1. */
static int
read_password(char hash[AVP_PASSWORD_HASH_MAX])
{
    char   line[AVP_PASSWORD_MAX + 2];
    size_t n;
    int    rc = -1;

    if (fgets(line, sizeof(line), stdin) == NULL) {
        avp_command_error("no password on standard input");
        return -1;
    }

    n = strcspn(line, "\r\n");
    line[n] = '\0';

    if (n < AVP_PASSWORD_MIN || n > AVP_PASSWORD_MAX) {
        avp_command_error("a password has %d to %d bytes", AVP_PASSWORD_MIN,
                          AVP_PASSWORD_MAX);
    } else if (avp_password_hash(hash, (avp_str_t){ line, n })) {
        avp_command_error("the password could not be hashed");
    } else {
        rc = 0;
    }

    explicit_bzero(line, sizeof(line));

    return rc;
}

static int
user_add(avp_db_t *db, int argc, char **argv)
{
    char             hash[AVP_PASSWORD_HASH_MAX];
    const char      *email = NULL, *name = NULL, *role = "user", *verdict;
    avp_db_result_t *r;
    bool             password = false;
    int              i, rc = AVP_EXIT_FAILED;

    for (i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--username") == 0 && i + 1 < argc) {
            name = argv[++i];
        } else if (strcmp(argv[i], "--admin") == 0) {
            role = "admin";
        } else if (strcmp(argv[i], "--password-stdin") == 0) {
            password = true;
        } else if (argv[i][0] != '-' && email == NULL) {
            email = argv[i];
        } else {
            return usage();
        }
    }

    if (email == NULL) {
        return usage();
    }

    if (password && read_password(hash)) {
        return AVP_EXIT_FAILED;
    }

    r = avp_db_callv(db, "user_add", email, name, password ? hash : NULL, role);

    if (r == NULL) {
        return avp_command_db_error(db);
    }

    verdict = avp_db_verdict(r);

    if (strcmp(verdict, "ok") == 0) {
        printf("%s %s\n", avp_db_text(r, 0, "id"), email);
        rc = AVP_EXIT_OK;
    } else if (strcmp(verdict, "conflict:conflict") == 0) {
        avp_command_error("the e-mail address or the user name is taken");
    } else {
        avp_command_error("`%s` is not an e-mail address, or the user name has "
                          "characters that are not allowed", email);
    }

    avp_db_result_free(r);

    return rc;
}

static int
user_list(avp_db_t *db)
{
    avp_db_result_t *r = avp_db_callv(db, "user_list");
    int              i;

    if (r == NULL) {
        return avp_command_db_error(db);
    }

    for (i = 0; i < avp_db_rows(r); i++) {
        printf("%s  %-8s %-8s %s  %s\n", avp_db_text(r, i, "id"),
               avp_db_text(r, i, "role"),
               avp_db_bool(r, i, "is_active") ? "active" : "disabled",
               avp_db_text(r, i, "created_at"), avp_db_text(r, i, "email"));
    }

    avp_db_result_free(r);

    return AVP_EXIT_OK;
}

static int
user_disable(avp_db_t *db, const char *email, const char *disabled)
{
    avp_db_result_t *r = avp_db_callv(db, "user_disable", email, disabled);
    int              rc = AVP_EXIT_OK;

    if (r == NULL) {
        return avp_command_db_error(db);
    }

    if (strcmp(avp_db_verdict(r), "ok") == 0) {
        printf("%s %s\n", email, disabled[0] == 't' ? "disabled" : "enabled");
    } else {
        avp_command_error("there is no user %s; see workerd user list", email);
        rc = AVP_EXIT_FAILED;
    }

    avp_db_result_free(r);

    return rc;
}

int
avp_user_main(int argc, char **argv)
{
    avp_settings_t settings;
    avp_db_t      *db;
    int            rc;

    if (argc < 2) {
        return usage();
    }

    if (avp_command_open(&settings, &db)) {
        return AVP_EXIT_FAILED;
    }

    if (strcmp(argv[1], "add") == 0) {
        rc = user_add(db, argc, argv);
    } else if (strcmp(argv[1], "list") == 0 && argc == 2) {
        rc = user_list(db);
    } else if (strcmp(argv[1], "disable") == 0 && argc == 3) {
        rc = user_disable(db, argv[2], "t");
    } else if (strcmp(argv[1], "enable") == 0 && argc == 3) {
        rc = user_disable(db, argv[2], "f");
    } else {
        rc = usage();
    }

    avp_db_free(db);
    avp_settings_free(&settings);

    return rc;
}
