/*
 * Bearer tokens: libjwt verifies signatures, this file decides (RFC 8725,
 * RELIABILITY fact 1).  Order: shape and header of the token, algorithm
 * pinned to the key's own, signature by libjwt, then claims.
 */

#ifndef AVP_JWT_POLICY_H
#define AVP_JWT_POLICY_H

#include "lib/str.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stdint.h>

#define AVP_JWT_MAX 8192   /* longest token looked at */
#define AVP_JWT_KEY_MIN 32 /* bytes of an HMAC key */

typedef enum { AVP_JWT_HS256 } avp_jwt_alg_t;

typedef struct {
    avp_jwt_alg_t  alg;
    avp_str_t      kid;      /* a token that names a kid is checked with the
                              * key of that kid only; one without with all */
    avp_str_t      key;      /* the secret */
    avp_str_t      issuer;   /* empty: not checked */
    avp_str_t      audience; /* empty: not checked */
    int            leeway;   /* seconds, 0..60 */
} avp_jwt_key_t;

typedef struct {
    char    user[AVP_UUID_LEN + 1]; /* `sub` */
    bool    admin;                  /* role == "admin" */
    char    jti[65];                /* "" when absent */
    int64_t issued;                 /* iat, 0 when absent */
    int64_t not_before;             /* nbf, 0 when absent */
    int64_t expires;                /* exp, Unix seconds */
    int     leeway;                 /* of the key that verified it */
} avp_identity_t;

/* 0 when `token` is accepted at `now`; -1 otherwise, and *why is a constant
 * phrase for the log (never for the client). */
int avp_jwt_verify(avp_identity_t *id, const avp_jwt_key_t *keys, size_t nkeys,
                   avp_str_t token, int64_t now, const char **why);

/* The checks that a cached identity still needs: 0 or -1. */
int avp_identity_current(const avp_identity_t *id, int64_t now);

/* An HS256 token; malloc'ed, NULL on error (a short key, a user that is no
 * UUID, a lifetime of nothing).  `jti` and `iat` are set here; kid, iss and
 * aud are the key's. */
char *avp_jwt_issue(const avp_jwt_key_t *key, const char *user, bool admin,
                    int64_t now, int64_t lifetime);

#endif
