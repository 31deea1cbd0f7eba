#include "ngx_module/api/changes.h"
#include "ngx_module/backend/redis.h"


ngx_uint_t
avp_change_committed(avp_pg_op_t *op)
{
    ngx_str_t  result;

    if (op->status != AVP_PG_OK || op->rows == 0) {
        return 0;
    }

    result = avp_pg_value(op, 0, "result");

    return result.len == 2 && ngx_memcmp(result.data, "ok", 2) == 0;
}


ngx_uint_t
avp_change_publish(avp_pg_op_t *op)
{
    ngx_str_t  event;

    if (!avp_change_committed(op)) {
        return 0;
    }

    event = avp_pg_value(op, 0, "event");
    avp_redis_publish_event(&event);

    return 1;
}
