/*
 * The one list of errors: what a client sees as problem `code`, what a log
 * says and what a test asserts is the same word.  docs/errors.md explains
 * each; a unit test keeps both in step.
 *
 * Two vocabularies share the list: request errors (an HTTP status, class
 * `request`) and job errors (class permanent, transient, ...; status 0).
 */

#ifndef AVP_ERRORS_H
#define AVP_ERRORS_H

#include "lib/str.h"

typedef enum {
    AVP_CLASS_REQUEST = 0, /* an answer to a client; never a job's end */
    AVP_CLASS_PERMANENT,   /* never retried */
    AVP_CLASS_TRANSIENT,   /* storage, database, disk: not counted */
    AVP_CLASS_CRASH,       /* the media process died: max_retries */
    AVP_CLASS_STALL,       /* no progress or over its time: max_retries */
    AVP_CLASS_LOST,        /* the lease ran out without a verdict */
    AVP_CLASS_DRAINED,     /* given back at shutdown: no penalty */
    AVP_CLASS_CANCELLED
} avp_class_t;

/*  symbol                 code                   class      status title detail
 *
 * `title` is constant per code (RFC 9457 3.1.3); `detail` is the default
 * sentence, for a person, saying what to do. */
#define AVP_ERROR_LIST(X)                                                      \
    /* requests */                                                             \
    X(BAD_REQUEST, "bad_request", REQUEST, 400, "Bad request",                 \
      "The request could not be understood.")                                  \
    X(INVALID_MULTIPART, "invalid_multipart", REQUEST, 400,                    \
      "Malformed multipart body",                                              \
      "The body is not multipart/form-data as RFC 7578 describes it.")         \
    X(MISSING_FILE, "missing_file", REQUEST, 400, "No file",                   \
      "The form has no part named `file`.")                                    \
    X(EMPTY_FILE, "empty_file", REQUEST, 400, "Empty file",                    \
      "The part `file` has no bytes.")                                         \
    X(DUPLICATE_FILE, "duplicate_file", REQUEST, 400, "More than one file",    \
      "The form has more than one part named `file`; send one per request.")   \
    X(INVALID_ID, "invalid_id", REQUEST, 400, "Not an id",                     \
      "The id in the path is not a UUID.")                                     \
    X(INVALID_TOKEN, "invalid_token", REQUEST, 401, "Unauthorized",            \
      "The bearer token is missing, expired or not valid.")                    \
    X(FORBIDDEN, "forbidden", REQUEST, 403, "Forbidden",                       \
      "Your role does not allow this.")                                        \
    X(INVALID_DELIVERY, "invalid_delivery_token", REQUEST, 403,                \
      "Delivery link not valid",                                               \
      "The link is not valid or has expired; ask the API for a new one.")      \
    X(NOT_FOUND, "not_found", REQUEST, 404, "Not found",                       \
      "There is nothing here, or it is not yours.")                            \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", REQUEST, 405,                  \
      "Method not allowed", "See the Allow header for what is.")               \
    X(REQUEST_TIMEOUT, "request_timeout", REQUEST, 408, "Request timeout",     \
      "The request did not arrive in time.")                                   \
    X(CONFLICT, "conflict", REQUEST, 409, "Conflict",                          \
      "The present state does not allow this.")                                \
    X(NOT_READY, "not_ready", REQUEST, 409, "Not ready",                       \
      "The rendition is not ready yet; ask for the status and try later.")     \
    X(NOT_RETRYABLE, "not_retryable", REQUEST, 409, "Not retryable",           \
      "Only failed or cancelled jobs can be retried.")                         \
    X(LENGTH_REQUIRED, "length_required", REQUEST, 411, "Length required",     \
      "Send Content-Length or use chunked transfer coding.")                   \
    X(PRECONDITION, "precondition_failed", REQUEST, 412,                       \
      "Precondition failed",                                                   \
      "The file is not the one that If-Match or If-Unmodified-Since names.")   \
    X(TOO_LARGE, "too_large", REQUEST, 413, "Payload too large",               \
      "The body is larger than this server accepts.")                          \
    X(URI_TOO_LONG, "uri_too_long", REQUEST, 414, "URI too long",              \
      "The request line is longer than this server accepts.")                  \
    X(UNSUPPORTED_MEDIA, "unsupported_media_type", REQUEST, 415,               \
      "Unsupported media type",                                                \
      "The content is not of a type this endpoint accepts.")                   \
    X(RANGE, "range_not_satisfiable", REQUEST, 416, "Range not satisfiable",   \
      "The range lies outside of the file.")                                   \
    X(EXPECTATION, "expectation_failed", REQUEST, 417, "Expectation failed",   \
      "Of expectations, only 100-continue is known here.")                     \
    X(INVALID_FIELD, "invalid_field", REQUEST, 422, "Invalid field",           \
      "A field or parameter has a value that is not allowed.")                 \
    X(HEADERS_TOO_LARGE, "headers_too_large", REQUEST, 400,                    \
      "Request headers too large",                                             \
      "The request headers are larger than this server accepts.")              \
    X(RATE_LIMITED, "rate_limited", REQUEST, 429, "Too many requests",         \
      "Slow down and try again after the time in Retry-After.")                \
    X(INTERNAL, "internal_error", REQUEST, 500, "Internal error",              \
      "Something went wrong here; the request id helps to find it.")           \
    X(NOT_IMPLEMENTED, "not_implemented", REQUEST, 501, "Not implemented",     \
      "This server does not know the transfer coding or method.")              \
    X(BAD_GATEWAY, "bad_gateway", REQUEST, 502, "Bad gateway",                 \
      "The storage answered in a way that cannot be used.")                    \
    X(UNAVAILABLE, "unavailable", REQUEST, 503, "Service unavailable",         \
      "A service behind this server is down or busy; try again later.")        \
    X(GATEWAY_TIMEOUT, "gateway_timeout", REQUEST, 504, "Gateway timeout",     \
      "The storage did not answer in time.")                                   \
    X(HTTP_VERSION, "http_version_not_supported", REQUEST, 505,                \
      "HTTP version not supported", "Use HTTP/1.1 or HTTP/2.")                 \
    X(STORAGE_FULL, "storage_full", REQUEST, 507, "Insufficient storage",      \
      "There is no room for this upload now; nothing was kept.")               \
    /* jobs */                                                                 \
    X(INVALID_MEDIA, "invalid_media", PERMANENT, 0, "Not a playable video",    \
      "The file could not be read as a video: it is damaged, cut off or "      \
      "something else. See whether it plays where it came from, and "          \
      "upload it again.")                                                      \
    X(UNSUPPORTED_FORMAT, "unsupported_format", PERMANENT, 0,                  \
      "Container not supported",                                               \
      "The container of this file is not one of the allowed formats. "         \
      "Convert it, to MP4 for example, and upload that.")                      \
    X(UNSUPPORTED_CODEC, "unsupported_codec", PERMANENT, 0,                    \
      "Codec not supported",                                                   \
      "The video is coded in a way that is not decoded here. Convert it "      \
      "to H.264, HEVC, VP9 or AV1.")                                           \
    X(NO_VIDEO, "no_video", PERMANENT, 0, "No video stream",                   \
      "The file has no video track, only sound, a cover or data. Upload "      \
      "one that has.")                                                         \
    X(ENCRYPTED, "encrypted", PERMANENT, 0, "Encrypted",                       \
      "The file is encrypted (DRM). Upload a copy without protection.")        \
    X(RESOLUTION_TOO_LARGE, "resolution_too_large", PERMANENT, 0,              \
      "Resolution too large",                                                  \
      "The picture is larger than 8192x4320. Scale it down and upload it "     \
      "again.")                                                                \
    X(TOO_MANY_STREAMS, "too_many_streams", PERMANENT, 0, "Too many streams",  \
      "The file has more than 32 tracks. Remove those that are not "           \
      "needed.")                                                               \
    X(DURATION_TOO_LONG, "duration_too_long", PERMANENT, 0,                    \
      "Duration too long",                                                     \
      "The video is longer than this server accepts. Cut it into parts.")      \
    X(FRAME_LIMIT, "frame_limit", PERMANENT, 0, "Too many frames",             \
      "The video has more frames in its time than any real recording; it "     \
      "is probably damaged. Encode it anew and upload that.")                  \
    X(OUTPUT_LIMIT, "output_limit", PERMANENT, 0, "Output limit",              \
      "The renditions grew over what was planned for this video. Please "      \
      "report it to the operator.")                                            \
    X(SOURCE_MISSING, "source_missing", PERMANENT, 0, "Source missing",        \
      "The uploaded file is no longer in the storage. Upload it again.")       \
    X(SANDBOX, "sandbox_violation", PERMANENT, 0, "Stopped for security",      \
      "The file made the decoder do something it must not, and was "           \
      "stopped. Encode it anew from a source that you trust.")                 \
    X(POISON, "poison", PERMANENT, 0, "Given up",                              \
      "The file stopped the media process too many times. Encode it anew "     \
      "and upload that.")                                                      \
    X(STORAGE_ERROR, "storage_error", TRANSIENT, 0, "Storage error",           \
      "The storage failed; the job will be tried again.")                      \
    X(DISK_FULL, "disk_full", TRANSIENT, 0, "Disk full",                       \
      "There is no room for the results; the job will be tried again.")        \
    X(NO_MEMORY, "out_of_memory", TRANSIENT, 0, "Out of memory",               \
      "The worker had no memory for this job; it will be tried again.")        \
    X(PASSTHROUGH_FAILED, "passthrough_failed", TRANSIENT, 0, "Not copied",    \
      "The video could not be copied as it is; it will be encoded.")           \
    X(DATABASE_LOST, "database_lost", TRANSIENT, 0, "Database lost",           \
      "The worker lost the database; the job will be tried again.")            \
    X(NO_SANDBOX, "sandbox_unavailable", TRANSIENT, 0, "No sandbox",           \
      "The worker could not shut the job in; it will be tried again.")         \
    X(CRASHED, "crashed", CRASH, 0, "Media process crashed",                   \
      "The media process died on this file.")                                  \
    X(MEMORY_LIMIT, "memory_limit", CRASH, 0, "Memory limit",                  \
      "The media process needed more memory than planned for this file.")      \
    X(STALLED, "stalled", STALL, 0, "Stalled",                                 \
      "The media process made no progress on this file.")                      \
    X(TIME_LIMIT, "time_limit", STALL, 0, "Time limit",                        \
      "The media process took longer than planned for this file.")             \
    X(LEASE_LOST, "lease_lost", LOST, 0, "Worker lost",                        \
      "The worker went away; the job was given to another.")                   \
    X(DRAINED, "drained", DRAINED, 0, "Worker shut down",                      \
      "The worker was shut down; the job will run elsewhere.")                 \
    X(CANCELLED, "cancelled", CANCELLED, 0, "Cancelled",                       \
      "The job was cancelled.")

typedef enum {
#define AVP_ERROR_ENUM(symbol, code, class, status, title, detail)             \
    AVP_ERR_##symbol,
    AVP_ERROR_LIST(AVP_ERROR_ENUM)
#undef AVP_ERROR_ENUM
    AVP_ERR_COUNT
} avp_error_t;

typedef struct {
    const char *code;
    avp_class_t class;
    int         status;
    const char *title;
    const char *detail;
} avp_error_info_t;

/* Never NULL: an unknown number is AVP_ERR_INTERNAL's entry. */
const avp_error_info_t *avp_error_info(avp_error_t e);

/* By code; AVP_ERR_COUNT when there is none such. */
avp_error_t avp_error_by_code(avp_str_t code);

/* The request error that stands for an HTTP status that NGINX's core raised
 * (494 and other 49x included); AVP_ERR_COUNT when the status is no error or
 * has no body (408, 444, 499). */
avp_error_t avp_error_by_status(int status);

const char *avp_class_name(avp_class_t c);  /* "permanent", ... */
int avp_class_by_name(avp_str_t name, avp_class_t *c); /* 0 or -1 */

#endif
