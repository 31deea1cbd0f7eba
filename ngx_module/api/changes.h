/*
 * What follows a committed change, whether or not its client is still there.
 */

#ifndef AVP_CHANGES_H
#define AVP_CHANGES_H

#include "ngx_module/backend/pg.h"

/* 1 when the statement ran and its column `result` is "ok". */
ngx_uint_t avp_change_committed(avp_pg_op_t *op);

/* Publishes column `event` if the change was committed; the same answer. */
ngx_uint_t avp_change_publish(avp_pg_op_t *op);

#endif
