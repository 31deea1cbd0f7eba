#include "lib/jwt_policy.h"
#include "lib/base64url.h"
#include "lib/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <jansson.h>
#include <jwt.h>

#define TIME_MAX INT64_C(253402300799) /* the year 9999 */
#define HS256_LEN AVP_BASE64URL_LEN(32)

/* The largest part of a token once decoded. */
#define PART_MAX (AVP_JWT_MAX / 4 * 3)

typedef struct {
    avp_str_t header, payload, signature; /* base64url */
} parts_t;

static int
refuse(const char **why, const char *phrase)
{
    *why = phrase;
    return -1;
}

/* Exactly three parts, none empty. */
static int
split(parts_t *parts, avp_str_t token)
{
    avp_str_t  *each[] = { &parts->header, &parts->payload,
                           &parts->signature };
    const char *p = token.data, *end = token.data + token.len;

    for (size_t i = 0; i < 3; i++) {
        const char *dot = memchr(p, '.', (size_t)(end - p));

        if ((dot != NULL) != (i < 2)) {
            return -1;
        }
        *each[i] = (avp_str_t){ p, (size_t)((dot ? dot : end) - p) };
        if (each[i]->len == 0) {
            return -1;
        }
        p = dot ? dot + 1 : end;
    }
    return 0;
}

/* A part as a JSON object without duplicate members; NULL otherwise.
 * jansson refuses \u0000 and numbers that do not fit; NUL bytes and bad
 * UTF-8 are refused before it sees them. */
static json_t *
parse_part(avp_str_t part)
{
    char      text[PART_MAX];
    json_t   *object;
    avp_str_t decoded = { text, 0 };
    long      n = avp_base64url_decode((uint8_t *)text, sizeof(text), part);

    if (n < 0) {
        return NULL;
    }
    decoded.len = (size_t)n;
    if (!avp_utf8_valid(decoded)) {
        return NULL;
    }

    object = json_loadb(text, decoded.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* A member as a slice of its text; data NULL when absent or no string. */
static avp_str_t
string_of(json_t *object, const char *name)
{
    json_t *v = json_object_get(object, name);

    return (avp_str_t){ json_string_value(v), json_string_length(v) };
}

static bool
has(json_t *object, const char *name)
{
    return json_object_get(object, name) != NULL;
}

/* Absent, or this word in either case. */
static bool
absent_or(json_t *object, const char *name, const char *word)
{
    const char *v = json_string_value(json_object_get(object, name));

    return !has(object, name) || (v != NULL && strcasecmp(v, word) == 0);
}

static int
check_header(json_t *header, const char **why)
{
    if (!avp_str_eq(string_of(header, "alg"), avp_str("HS256"))) {
        return refuse(why, "the algorithm is not the key's");
    }
    if (has(header, "crit") || has(header, "b64") || has(header, "zip")) {
        return refuse(why, "the header has crit, b64 or zip");
    }
    if (!absent_or(header, "typ", "JWT")) {
        return refuse(why, "the header's typ is not JWT");
    }
    if (has(header, "kid") && !json_is_string(json_object_get(header, "kid")))
    {
        return refuse(why, "the header's kid is not a string");
    }
    return 0;
}

/* libjwt's verdict on the signature, and on its own idea of the algorithm. */
static bool
signature_ok(const avp_jwt_key_t *key, const char *token)
{
    jwt_t *jwt = NULL;
    bool   ok;

    /* with an empty key libjwt would accept anything */
    if (key->alg != AVP_JWT_HS256 || key->key.len < AVP_JWT_KEY_MIN) {
        return false;
    }

    if (jwt_decode(&jwt, token, (const unsigned char *)key->key.data,
                   (int)key->key.len)
        != 0)
    {
        return false;
    }

    ok = jwt_get_alg(jwt) == JWT_ALG_HS256;
    jwt_free(jwt);
    return ok;
}

/* The key that verifies the token.  A kid names one or none; without a kid
 * each key may be the one. */
static const avp_jwt_key_t *
find_key(const avp_jwt_key_t *keys, size_t nkeys, json_t *header,
         const char *token, const char **why)
{
    avp_str_t kid = string_of(header, "kid");

    *why = "no key has the token's kid";
    for (size_t i = 0; i < nkeys; i++) {
        if (kid.data != NULL && !avp_str_eq(kid, keys[i].kid)) {
            continue;
        }
        *why = "the signature is wrong";
        if (signature_ok(&keys[i], token)) {
            return &keys[i];
        }
    }
    return NULL;
}

/* A time claim into *t; 0 when it is absent and may be.  Some issuers write
 * `"nbf":0` for none. */
static int
time_claim(json_t *payload, const char *name, bool needed, int64_t *t)
{
    json_t *v = json_object_get(payload, name);

    *t = 0;
    if (v == NULL) {
        return needed ? -1 : 0;
    }
    if (!json_is_integer(v) || json_integer_value(v) < (needed ? 1 : 0)
        || json_integer_value(v) > TIME_MAX)
    {
        return -1;
    }
    *t = json_integer_value(v);
    return 0;
}

static int
check_times(avp_identity_t *id, json_t *payload, int64_t now,
            const char **why)
{
    if (time_claim(payload, "exp", true, &id->expires) != 0) {
        return refuse(why, "exp is missing or not a time");
    }
    if (time_claim(payload, "nbf", false, &id->not_before) != 0) {
        return refuse(why, "nbf is not a time");
    }
    if (time_claim(payload, "iat", false, &id->issued) != 0) {
        return refuse(why, "iat is not a time");
    }
    if (avp_identity_current(id, now) != 0) {
        return refuse(why, "the token has expired or is not valid yet");
    }
    if (id->issued > now + id->leeway) {
        return refuse(why, "iat lies in the future");
    }
    return 0;
}

static bool
audience_ok(json_t *aud, avp_str_t want)
{
    size_t i;
    bool   found = false;

    if (json_is_string(aud)) {
        return avp_str_eq((avp_str_t){ json_string_value(aud),
                                       json_string_length(aud) }, want);
    }
    for (i = 0; i < json_array_size(aud); i++) { /* 0 for other types */
        json_t *v = json_array_get(aud, i);

        if (!json_is_string(v)) {
            return false;
        }
        found = found
                || avp_str_eq((avp_str_t){ json_string_value(v),
                                           json_string_length(v) }, want);
    }
    return found;
}

static int
check_claims(avp_identity_t *id, const avp_jwt_key_t *key, json_t *payload,
             const char **why)
{
    avp_str_t sub = string_of(payload, "sub");
    avp_str_t role = string_of(payload, "role");
    avp_str_t jti = string_of(payload, "jti");

    if (key->issuer.len > 0
        && !avp_str_eq(string_of(payload, "iss"), key->issuer))
    {
        return refuse(why, "the issuer is another");
    }
    if (key->audience.len > 0
        && !audience_ok(json_object_get(payload, "aud"), key->audience))
    {
        return refuse(why, "the audience is another");
    }

    /* a refresh token, an id token ... is no access token; Keycloak's access
     * tokens say `typ: Bearer` */
    if (!absent_or(payload, "token_use", "access")
        || (!absent_or(payload, "typ", "access")
            && !absent_or(payload, "typ", "Bearer")))
    {
        return refuse(why, "the token is not for access");
    }

    if (sub.data == NULL || avp_uuid_parse(id->user, sub) != 0) {
        return refuse(why, "sub is not a UUID");
    }

    if (avp_str_eq(role, avp_str("admin"))) {
        id->admin = true;
    } else if (has(payload, "role") && !avp_str_eq(role, avp_str("user"))) {
        return refuse(why, "the role is not known");
    }

    if (has(payload, "jti")) {
        if (jti.data == NULL || jti.len == 0 || jti.len >= sizeof(id->jti)) {
            return refuse(why, "jti is not a string of at most 64 bytes");
        }
        memcpy(id->jti, jti.data, jti.len);
    }
    return 0;
}

int
avp_jwt_verify(avp_identity_t *id, const avp_jwt_key_t *keys, size_t nkeys,
               avp_str_t token, int64_t now, const char **why)
{
    parts_t              parts;
    const avp_jwt_key_t *key;
    json_t              *header = NULL, *payload = NULL;
    char                 copy[AVP_JWT_MAX + 1];
    uint8_t              mac[32];
    int                  rc = -1;

    memset(id, 0, sizeof(*id));

    if (token.len > AVP_JWT_MAX) {
        return refuse(why, "the token is too long");
    }
    if (token.len == 0 || split(&parts, token) != 0) {
        return refuse(why, "the token does not have three parts");
    }
    if (parts.signature.len != HS256_LEN
        || avp_base64url_decode(mac, sizeof(mac), parts.signature)
               != sizeof(mac))
    {
        return refuse(why, "the signature is not one of HS256");
    }

    header = parse_part(parts.header);
    if (header == NULL) {
        return refuse(why, "the header is not a JSON object in base64url");
    }
    if (check_header(header, why) != 0) {
        goto done;
    }

    memcpy(copy, token.data, token.len);
    copy[token.len] = '\0';
    key = find_key(keys, nkeys, header, copy, why);
    if (key == NULL) {
        goto done;
    }

    payload = parse_part(parts.payload);
    if (payload == NULL) {
        refuse(why, "the payload is not a JSON object in base64url");
        goto done;
    }

    id->leeway = key->leeway;
    if (check_times(id, payload, now, why) == 0) {
        rc = check_claims(id, key, payload, why);
    }

done:

    json_decref(header);
    json_decref(payload);
    if (rc != 0) {
        memset(id, 0, sizeof(*id)); /* nobody may use half an identity */
    }
    return rc;
}

int
avp_identity_current(const avp_identity_t *id, int64_t now)
{
    return now < id->expires + id->leeway && now >= id->not_before - id->leeway
               ? 0
               : -1;
}

char *
avp_jwt_issue(const avp_jwt_key_t *key, const char *user, bool admin,
              int64_t now, int64_t lifetime)
{
    jwt_t *jwt = NULL;
    char  *token = NULL;
    char   sub[AVP_UUID_LEN + 1], jti[AVP_UUID_LEN + 1];
    char   text[256];
    bool   ok = true;

    /* libjwt takes NUL-terminated strings, slices need not be */
    const struct {
        const char *name;
        avp_str_t   value;
    } named[] = { { "iss", key->issuer }, { "aud", key->audience } };

    if (key->key.len < AVP_JWT_KEY_MIN || key->kid.len >= sizeof(text)
        || lifetime <= 0 || now < 0 || lifetime > TIME_MAX - now
        || avp_uuid_parse(sub, avp_str_c(user)) != 0 || avp_uuid_v4(jti) != 0
        || jwt_new(&jwt) != 0)
    {
        return NULL;
    }

    ok = jwt_set_alg(jwt, JWT_ALG_HS256,
                     (const unsigned char *)key->key.data, (int)key->key.len)
             == 0
         && jwt_add_grant(jwt, "sub", sub) == 0
         && jwt_add_grant(jwt, "role", admin ? "admin" : "user") == 0
         && jwt_add_grant(jwt, "jti", jti) == 0
         && jwt_add_grant_int(jwt, "iat", (long)now) == 0
         && jwt_add_grant_int(jwt, "exp", (long)(now + lifetime)) == 0;

    for (size_t i = 0; ok && i < sizeof(named) / sizeof(named[0]); i++) {
        if (named[i].value.len == 0) {
            continue;
        }
        ok = (size_t)snprintf(text, sizeof(text), "%.*s",
                              (int)named[i].value.len, named[i].value.data)
                 < sizeof(text)
             && jwt_add_grant(jwt, named[i].name, text) == 0;
    }

    if (ok && key->kid.len > 0) {
        snprintf(text, sizeof(text), "%.*s", (int)key->kid.len, key->kid.data);
        ok = jwt_add_header(jwt, "kid", text) == 0;
    }

    if (ok) {
        token = jwt_encode_str(jwt);
    }
    jwt_free(jwt);
    return token; /* malloc'ed: jwt_set_alloc() is never called */
}
