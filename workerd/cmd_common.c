/* See cmd_common.h. */

#include "workerd/cmd_common.h"

#include <stdio.h>
#include <string.h>

#define CALL_TIMEOUT_MS 10000

int
avp_command_open(avp_settings_t *s, avp_db_t **db)
{
    if (avp_command_settings(s)) {
        return -1;
    }

    *db = avp_db_new(s->database_url, "avp command", CALL_TIMEOUT_MS);

    if (*db == NULL) {
        avp_command_error("out of memory");
        avp_settings_free(s);
        return -1;
    }

    return 0;
}

int
avp_command_db_error(avp_db_t *db)
{
    avp_command_error("%s%s", avp_db_error(db),
                      avp_db_down(db)
                          ? "; is PostgreSQL up, and DATABASE_URL right?"
                          : "");
    return AVP_EXIT_FAILED;
}

/* Calls `fn`, which makes or changes the user.  0 or -1 after saying why. */
static int
change_user(avp_db_t *db, const char *email, const char *fn, int nargs,
            const char *const args[])
{
    avp_db_result_t *r = avp_db_call(db, fn, nargs, args);
    int              rc = 0;

    if (r == NULL) {
        avp_command_db_error(db);
        return -1;
    }

    /* a conflict: somebody else has just made it, which is as good */
    if (strcmp(avp_db_verdict(r), "ok") != 0
        && strcmp(avp_db_verdict(r), "conflict:conflict") != 0)
    {
        avp_command_error("%s is not accepted as an e-mail address", email);
        rc = -1;
    }

    avp_db_result_free(r);

    return rc;
}

static avp_db_result_t *
find_user(avp_db_t *db, const char *email)
{
    avp_db_result_t *r = avp_db_callv(db, "user_by_email", email);

    if (r == NULL) {
        avp_command_db_error(db);
    }

    return r;
}

int
avp_command_user(avp_db_t *db, const char *email, bool create, bool admin,
                 char id[AVP_UUID_LEN + 1], bool *is_admin)
{
    const char      *role = admin ? "admin" : "user";
    avp_db_result_t *r = find_user(db, email);
    int              rc = -1;

    if (r && create && strcmp(avp_db_verdict(r), "not_found") == 0) {
        avp_db_result_free(r);

        if (change_user(db, email, "user_add", 4,
                        (const char *[]){ email, NULL, NULL, role }))
        {
            return -1;
        }

        r = find_user(db, email);
    }

    if (r && create && admin && strcmp(avp_db_verdict(r), "ok") == 0
        && strcmp(avp_db_text(r, 0, "role"), "admin") != 0)
    {
        avp_db_result_free(r);

        if (change_user(db, email, "user_set_role", 2,
                        (const char *[]){ email, "admin" }))
        {
            return -1;
        }

        r = find_user(db, email);
    }

    if (r == NULL) {
        return -1;
    }

    if (strcmp(avp_db_verdict(r), "forbidden") == 0) {
        avp_command_error("%s is disabled; see workerd user enable", email);

    } else if (strcmp(avp_db_verdict(r), "ok") != 0) {
        avp_command_error("there is no user %s; --create makes it, or workerd "
                          "user add", email);
    } else {
        snprintf(id, AVP_UUID_LEN + 1, "%s", avp_db_text(r, 0, "id"));
        *is_admin = strcmp(avp_db_text(r, 0, "role"), "admin") == 0;
        rc = 0;
    }

    avp_db_result_free(r);

    return rc;
}
