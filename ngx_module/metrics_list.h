/*
 * Counters of the shared zone: AVP_METRIC(name, help).  Included several
 * times with different meanings of AVP_METRIC; no guard on purpose.
 */

AVP_METRIC(requests,         "requests under avp_api")
AVP_METRIC(unauthorized,     "requests refused with 401")
AVP_METRIC(uploads,          "uploads acknowledged")
AVP_METRIC(upload_bytes,     "bytes of acknowledged uploads")
AVP_METRIC(upload_aborts,    "uploads that ended before their last byte")
AVP_METRIC(delivery_denied,  "delivery requests refused with 403 or 404")
AVP_METRIC(pg_errors,        "database operations that failed")
AVP_METRIC(redis_errors,     "Redis commands that failed")
