/*
 * What the operators' subcommands share: settings and a connection, words for
 * a database that fails, and finding or making a user.
 */

#ifndef AVP_WORKERD_CMD_COMMON_H
#define AVP_WORKERD_CMD_COMMON_H

#include "lib/uuid.h"
#include "workerd/commands.h"
#include "workerd/db.h"

/* 0, or -1 after saying why; then there is nothing to free. */
int avp_command_open(avp_settings_t *s, avp_db_t **db);

/* Says avp_db_error(); returns AVP_EXIT_FAILED. */
int avp_command_db_error(avp_db_t *db);

/*
 * The user with this address.  `create` makes one that has no password;
 * `admin` then makes it an administrator, also one that is there already.
 * 0 with the id and whether the row says admin, or -1 after saying why.
 */
int avp_command_user(avp_db_t *db, const char *email, bool create, bool admin,
                     char id[AVP_UUID_LEN + 1], bool *is_admin);

#endif
