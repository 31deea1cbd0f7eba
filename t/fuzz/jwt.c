/*
 * Tokens.  The first byte chooses: a token as it comes (never accepted, the
 * fuzzer cannot sign), a header and a payload properly signed (accepted only
 * if the claims really say so), a good token with bytes changed (refused).
 */

#include "lib/jwt_policy.h"
#include "lib/base64url.h"
#include "t/fuzz/fuzz.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NOW INT64_C(1767225600)
#define SECRET "0123456789abcdef0123456789abcdef"
#define USER "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"

static const avp_jwt_key_t keys[] = {
    { .alg = AVP_JWT_HS256, .kid = { "1", 1 }, .key = { SECRET, 32 },
      .leeway = 30 },
    { .alg = AVP_JWT_HS256, .key = { "ffffffffffffffffffffffffffffffff", 32 },
      .issuer = { "i", 1 }, .audience = { "a", 1 } },
};

static size_t
sign(char *t, avp_str_t header, avp_str_t payload)
{
    size_t   n = avp_base64url_encode(t, (const uint8_t *)header.data,
                                      header.len);
    uint8_t  mac[32];
    unsigned len;

    t[n++] = '.';
    n += avp_base64url_encode(t + n, (const uint8_t *)payload.data,
                              payload.len);
    HMAC(EVP_sha256(), SECRET, 32, (uint8_t *)t, n, mac, &len);
    t[n++] = '.';
    return n + avp_base64url_encode(t + n, mac, 32);
}

static int
verify(avp_identity_t *id, const char *token, size_t n)
{
    char       *copy = copy_of(token, n);
    const char *why = NULL;
    int         rc = avp_jwt_verify(id, keys, 2, (avp_str_t){ copy, n }, NOW,
                                    &why);

    MUST(rc == 0 || why != NULL);
    free(copy);
    return rc;
}

/* What an accepted token must be, told by jansson alone. */
static void
check_accepted(const avp_identity_t *id, avp_str_t header, avp_str_t payload)
{
    json_t     *h = json_loadb(header.data, header.len,
                               JSON_REJECT_DUPLICATES, NULL);
    json_t     *p = json_loadb(payload.data, payload.len,
                               JSON_REJECT_DUPLICATES, NULL);
    const char *role = json_string_value(json_object_get(p, "role"));
    char        canonical[AVP_UUID_LEN + 1];

    MUST(json_is_object(h) && json_is_object(p));
    MUST(strcmp(json_string_value(json_object_get(h, "alg")), "HS256") == 0);
    MUST(json_object_get(h, "crit") == NULL);
    MUST(json_is_integer(json_object_get(p, "exp")));
    MUST(json_integer_value(json_object_get(p, "exp")) == id->expires);
    MUST(id->expires + 30 > NOW);
    MUST(avp_uuid_parse(canonical,
             avp_str_c(json_string_value(json_object_get(p, "sub")))) == 0);
    MUST(strcmp(canonical, id->user) == 0);
    MUST(id->admin == (role != NULL && strcmp(role, "admin") == 0));
    MUST(strlen(id->jti) <= 64);
    json_decref(h);
    json_decref(p);
}

static void
changed(const uint8_t *data, size_t size)
{
    static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"1\"}";
    static const char payload[] = "{\"sub\":\"" USER "\",\"exp\":1767226500}";
    char              good[512], bad[512];
    avp_identity_t    id;
    size_t            n = sign(good, avp_str(header), avp_str(payload));

    memcpy(bad, good, n);
    for (size_t i = 0; i + 1 < size; i += 2) {
        bad[data[i] % n] = (char)data[i + 1];
    }
    MUST((verify(&id, bad, n) == 0) == (memcmp(good, bad, n) == 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    avp_identity_t id;
    avp_str_t      header, payload;
    const char    *split;
    char          *t;

    if (size < 2) {
        return 0;
    }

    switch (data[0] % 3) {
    case 0:
        MUST(verify(&id, (const char *)data + 1, size - 1) == -1);
        break;
    case 1:
        split = memchr(data + 1, '\n', size - 1);
        if (split == NULL) {
            break;
        }
        header = (avp_str_t){ (const char *)data + 1,
                              (size_t)(split - (const char *)data - 1) };
        payload = (avp_str_t){ split + 1, size - header.len - 2 };
        t = malloc(size * 2 + 128);
        MUST(t != NULL);
        if (verify(&id, t, sign(t, header, payload)) == 0) {
            check_accepted(&id, header, payload);
        } else {
            MUST(id.user[0] == '\0' && !id.admin);
        }
        free(t);
        break;
    default:
        changed(data + 1, size - 1);
    }
    return 0;
}
