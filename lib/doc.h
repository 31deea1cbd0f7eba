/*
 * Documents come from the database as JSON text with holes that only the web
 * server can fill: it alone knows its addresses and keys.  A hole is the six
 * characters of the JSON escape \u0001 (which no title can contain: control
 * characters are refused) and a letter:
 *
 *   \u0001A            the base of the API: {API_URL}/api/v1
 *   \u0001V{uuid}      the delivery base: {CDN or API_URL}/v/{uuid}/{token}
 *
 * Filling is a single pass over the text.  The bases are put in as they are:
 * the configuration has seen to it that they are URLs without quotes.
 */

#ifndef AVP_DOC_H
#define AVP_DOC_H

#include "lib/str.h"
#include "lib/delivery_token.h"

typedef struct {
    avp_str_t                 api_base;  /* "http://host:3000/api/v1" */
    avp_str_t                 cdn_base;  /* "https://cdn.example.com"; API_URL
                                          * where there is no CDN */
    const avp_delivery_key_t *key;
    uint32_t                  expiry;
} avp_doc_fill_t;

/* Bytes that the filled document takes (an upper bound). */
size_t avp_doc_size(avp_str_t doc, const avp_doc_fill_t *f);

/* Fills into dst of `size` bytes; returns the length or -1. */
long avp_doc_write(char *dst, size_t size, avp_str_t doc,
                   const avp_doc_fill_t *f);

#endif
