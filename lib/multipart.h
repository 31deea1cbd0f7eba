/*
 * multipart/form-data (RFC 7578, RFC 2046 5.1) as a pull parser: any split of
 * the input gives the same events, data comes as slices of the input (or, for
 * a boundary look-alike that began in an earlier buffer, of the parser), no
 * allocation, linear time.  Separators are CRLF only.
 */

#ifndef AVP_MULTIPART_H
#define AVP_MULTIPART_H

#include "lib/str.h"

#include <stdint.h>

#define AVP_MP_BOUNDARY_MAX 70
#define AVP_MP_HEADER_MAX 8192   /* bytes of one part's header */
#define AVP_MP_PARTS_MAX 32
#define AVP_MP_MARGIN_MAX 1024   /* bytes of preamble, and of epilogue */

typedef enum {
    AVP_MP_MORE = 0,   /* the input is used up */
    AVP_MP_PART,       /* a part begins: mp->name, filename, ... are set */
    AVP_MP_DATA,       /* `slice` holds bytes of the part */
    AVP_MP_PART_END,
    AVP_MP_DONE,       /* the closing boundary; what follows is ignored */
    AVP_MP_ERROR       /* mp->error says what, for people; final */
} avp_mp_event_t;

typedef struct avp_multipart_s avp_multipart_t;

struct avp_multipart_s {
    /* of the present part, valid from AVP_MP_PART to AVP_MP_PART_END */
    avp_str_t   name;          /* Content-Disposition name, unescaped */
    avp_str_t   filename;      /* filename* (RFC 5987) wins; raw bytes */
    int         has_filename;
    avp_str_t   content_type;  /* "" when absent */

    const char *error;

    /* the parser's own */
    int         state;
    unsigned    parts;
    size_t      margin;
    size_t      matched;
    size_t      delim_len;
    char        delim[AVP_MP_BOUNDARY_MAX + 5];   /* CRLF -- boundary */
    char        held[AVP_MP_BOUNDARY_MAX + 8];
    size_t      header_len;
    char        header[AVP_MP_HEADER_MAX];
    char        values[AVP_MP_HEADER_MAX];  /* unescaped name and filename */
};

/* `content_type` is the request's header value.  0, or -1 with mp->error set:
 * not multipart/form-data (mp->error NULL: answer 415), or no usable
 * boundary (400). */
int avp_multipart_init(avp_multipart_t *mp, avp_str_t content_type);

/*
 * One event.  *p moves forward over what was consumed of [*p, end).  Call
 * until AVP_MP_MORE, then feed the next buffer.  *slice is set for
 * AVP_MP_DATA and valid until the next call.
 */
avp_mp_event_t avp_multipart_next(avp_multipart_t *mp, const char **p,
                                  const char *end, avp_str_t *slice);

/* At end of body: 0 when the closing boundary was seen, else -1 with
 * mp->error set. */
int avp_multipart_finish(avp_multipart_t *mp);

#endif
