/* The numbers are those of the list of hostile inputs, 80 to 98. */

#include "lib/jwt_policy.h"
#include "lib/base64url.h"
#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NOW INT64_C(1767225600)
#define SECRET "0123456789abcdef0123456789abcdef"
#define USER "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"
#define H "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define SUB "\"sub\":\"" USER "\""
#define EXP "\"exp\":1767226500"
#define P "{" SUB "," EXP "}"

static const avp_jwt_key_t key = {
    .alg = AVP_JWT_HS256, .key = { SECRET, 32 }, .leeway = 30
};

static avp_identity_t id;
static const char    *why;

/* A token of these texts, whatever they are, signed properly. */
static char *
token_of(avp_str_t header, avp_str_t payload, avp_str_t secret)
{
    char    *t = malloc(64 + (header.len + payload.len) * 2);
    size_t   n = avp_base64url_encode(t, (const uint8_t *)header.data,
                                      header.len);
    uint8_t  mac[32];
    unsigned len;

    t[n++] = '.';
    n += avp_base64url_encode(t + n, (const uint8_t *)payload.data,
                              payload.len);
    HMAC(EVP_sha256(), secret.data, (int)secret.len, (uint8_t *)t, n, mac,
         &len);
    t[n++] = '.';
    n += avp_base64url_encode(t + n, mac, 32);
    t[n] = '\0';
    return t;
}

/* Verifies a copy of just the token's size. */
static int
verify(const avp_jwt_key_t *keys, size_t n, avp_str_t token)
{
    char *copy = malloc(token.len ? token.len : 1);
    int   rc;

    if (token.len) {
        memcpy(copy, token.data, token.len);
    }
    why = NULL;
    rc = avp_jwt_verify(&id, keys, n, (avp_str_t){ copy, token.len }, NOW,
                        &why);
    ck_assert(rc == 0 || why != NULL);
    ck_assert(rc == 0 || id.user[0] == '\0');
    free(copy);
    return rc;
}

static int
signed_with(const avp_jwt_key_t *k, avp_str_t header, avp_str_t payload)
{
    char *t = token_of(header, payload, avp_str(SECRET));
    int   rc = verify(k, 1, avp_str_c(t));

    free(t);
    return rc;
}

#define LIT(literal) ((avp_str_t){ literal, sizeof(literal) - 1 })
#define ACCEPT(h, p)                                                           \
    ck_assert_msg(signed_with(&key, LIT(h), LIT(p)) == 0, "%s %s: %s", h, p,   \
                  why)
#define REFUSE(h, p)                                                           \
    ck_assert_msg(signed_with(&key, LIT(h), LIT(p)) == -1, "accepted %s %s",   \
                  h, p)

START_TEST(accepts)
{
    ACCEPT(H, P);
    ck_assert_str_eq(id.user, USER);
    ck_assert(!id.admin);
    ck_assert_str_eq(id.jti, "");
    ck_assert_int_eq(id.expires, 1767226500);
    ck_assert_int_eq(id.issued, 0);
    ck_assert_int_eq(id.leeway, 30);

    ACCEPT("{\"alg\":\"HS256\"}", P);
    ACCEPT("{\"alg\":\"HS256\",\"typ\":\"jwt\"}", P);
    ACCEPT(H, "{" SUB "," EXP ",\"role\":\"admin\",\"jti\":\"j1\","
              "\"iat\":1767225600,\"nbf\":1767225000}");
    ck_assert(id.admin);
    ck_assert_str_eq(id.jti, "j1");
    ck_assert_int_eq(id.issued, NOW);
    ck_assert_int_eq(id.not_before, 1767225000);
    ACCEPT(H, "{" SUB "," EXP ",\"role\":\"user\"}");
    ACCEPT(H, "{\"sub\":\"0F9B2C3D-4E5F-6A7B-8C9D-ABCDEF012345\"," EXP "}");
    ck_assert_str_eq(id.user, USER);
    ACCEPT(H, "{" SUB "," EXP ",\"x\":{\"y\":[1,2.5,null]},\"n\":\"\\u00e9\"}");
}
END_TEST

START_TEST(algorithms) /* 80 82 */
{
    REFUSE("{\"alg\":\"none\"}", P);
    REFUSE("{\"alg\":\"None\"}", P);
    REFUSE("{\"alg\":\"nOnE\"}", P);
    REFUSE("{\"alg\":\"hs256\"}", P);
    REFUSE("{\"alg\":\"HS384\"}", P);
    REFUSE("{\"alg\":\"HS512\"}", P);
    REFUSE("{\"alg\":\"RS256\"}", P);
    REFUSE("{\"alg\":\"ES256\"}", P);
    REFUSE("{\"alg\":\"EdDSA\"}", P);
    REFUSE("{\"alg\":\"\"}", P);
    REFUSE("{\"alg\":256}", P);
    REFUSE("{\"alg\":null}", P);
    REFUSE("{\"alg\":[\"HS256\"]}", P);
    REFUSE("{\"typ\":\"JWT\"}", P);
    REFUSE("{}", P);

    /* none, without a signature at all */
    ck_assert_int_eq(verify(&key, 1, avp_str("eyJhbGciOiJub25lIn0.e30.")),
                     -1);
}
END_TEST

START_TEST(short_secrets) /* 81 83: an empty key would accept anything */
{
    avp_jwt_key_t bad = key;
    char         *t = token_of(LIT(H), LIT(P), LIT(""));

    bad.key = avp_str("");
    ck_assert_int_eq(verify(&bad, 1, avp_str_c(t)), -1);
    bad.key = (avp_str_t){ NULL, 0 };
    ck_assert_int_eq(verify(&bad, 1, avp_str_c(t)), -1);
    ck_assert_int_eq(verify(&key, 0, avp_str_c(t)), -1);
    free(t);

    t = token_of(LIT(H), LIT(P), LIT("0123456789abcdef0123456789abcde"));
    bad.key = avp_str("0123456789abcdef0123456789abcde");
    ck_assert_int_eq(verify(&bad, 1, avp_str_c(t)), -1);
    free(t);

    t = token_of(LIT(H), LIT(P), LIT("another secret another secret 32"));
    ck_assert_int_eq(verify(&key, 1, avp_str_c(t)), -1);
    free(t);
}
END_TEST

START_TEST(times) /* 84 85 */
{
    REFUSE(H, "{" SUB "}");
    REFUSE(H, "{" SUB ",\"exp\":\"1767226500\"}");
    REFUSE(H, "{" SUB ",\"exp\":1767226500.0}");
    REFUSE(H, "{" SUB ",\"exp\":1e18}");
    REFUSE(H, "{" SUB ",\"exp\":1e400}");
    REFUSE(H, "{" SUB ",\"exp\":-1}");
    REFUSE(H, "{" SUB ",\"exp\":0}");
    REFUSE(H, "{" SUB ",\"exp\":null}");
    REFUSE(H, "{" SUB ",\"exp\":true}");
    REFUSE(H, "{" SUB ",\"exp\":9223372036854775807}");
    REFUSE(H, "{" SUB ",\"exp\":9223372036854775808}");
    REFUSE(H, "{" SUB ",\"exp\":253402300800}");
    ACCEPT(H, "{" SUB ",\"exp\":253402300799}");

    /* the leeway is 30 s and no more */
    ACCEPT(H, "{" SUB ",\"exp\":1767225571}");
    REFUSE(H, "{" SUB ",\"exp\":1767225570}");
    ACCEPT(H, "{" SUB "," EXP ",\"nbf\":1767225630}");
    REFUSE(H, "{" SUB "," EXP ",\"nbf\":1767225631}");
    ACCEPT(H, "{" SUB "," EXP ",\"iat\":1767225630}");
    REFUSE(H, "{" SUB "," EXP ",\"iat\":1767225631}");
    ACCEPT(H, "{" SUB "," EXP ",\"nbf\":0,\"iat\":0}");
    REFUSE(H, "{" SUB "," EXP ",\"nbf\":-1}");
    REFUSE(H, "{" SUB "," EXP ",\"nbf\":\"1\"}");
    REFUSE(H, "{" SUB "," EXP ",\"nbf\":1.5}");
    REFUSE(H, "{" SUB "," EXP ",\"iat\":1.5}");
    REFUSE(H, "{" SUB "," EXP ",\"iat\":-5}");

    ACCEPT(H, P);
    ck_assert_int_eq(avp_identity_current(&id, id.expires + 29), 0);
    ck_assert_int_eq(avp_identity_current(&id, id.expires + 30), -1);
    id.not_before = NOW;
    ck_assert_int_eq(avp_identity_current(&id, NOW - 30), 0);
    ck_assert_int_eq(avp_identity_current(&id, NOW - 31), -1);
}
END_TEST

static int
with_names(const char *payload)
{
    avp_jwt_key_t k = key;

    k.issuer = avp_str("https://idp");
    k.audience = avp_str("avp");
    return signed_with(&k, LIT(H), avp_str_c(payload));
}

START_TEST(issuer_and_audience) /* 86 */
{
#define ISS "\"iss\":\"https://idp\""
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ",\"aud\":\"avp\"}"),
                     0);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ","
                                "\"aud\":[\"other\",\"avp\"]}"), 0);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS "}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP ",\"aud\":\"avp\"}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ",\"aud\":\"av\"}"),
                     -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ",\"aud\":[]}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ",\"aud\":[1,\"avp\"]"
                                "}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ",\"aud\":[\"avp\",{}"
                                "]}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP "," ISS ",\"aud\":{\"avp\":1}"
                                "}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP ",\"aud\":\"avp\","
                                "\"iss\":\"https://idp/\"}"), -1);
    ck_assert_int_eq(with_names("{" SUB "," EXP ",\"aud\":\"avp\","
                                "\"iss\":[\"https://idp\"]}"), -1);
}
END_TEST

START_TEST(key_ids) /* 87 */
{
    avp_jwt_key_t keys[2] = { key, key };
    char          header[5000], kid[4097];
    char         *t;

    keys[0].kid = avp_str("old");
    keys[0].key = avp_str("ffffffffffffffffffffffffffffffff");
    keys[1].kid = avp_str("1");

    t = token_of(LIT("{\"alg\":\"HS256\",\"kid\":\"1\"}"), LIT(P),
                 avp_str(SECRET));
    ck_assert_int_eq(verify(keys, 2, avp_str_c(t)), 0);
    ck_assert_int_eq(verify(keys, 1, avp_str_c(t)), -1);
    free(t);
    /* the right secret under another key's name */
    t = token_of(LIT("{\"alg\":\"HS256\",\"kid\":\"old\"}"), LIT(P),
                 avp_str(SECRET));
    ck_assert_int_eq(verify(keys, 2, avp_str_c(t)), -1);
    free(t);
    /* none named: each is tried */
    t = token_of(LIT(H), LIT(P), avp_str(SECRET));
    ck_assert_int_eq(verify(keys, 2, avp_str_c(t)), 0);
    free(t);

    REFUSE("{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", P);
    REFUSE("{\"alg\":\"HS256\",\"kid\":\"' OR 1=1 --\"}", P);
    REFUSE("{\"alg\":\"HS256\",\"kid\":1}", P);
    REFUSE("{\"alg\":\"HS256\",\"kid\":null}", P);
    REFUSE("{\"alg\":\"HS256\",\"kid\":\"unknown\"}", P);
    memset(kid, 'k', 4096);
    kid[4096] = '\0';
    snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%s\"}", kid);
    ck_assert_int_eq(signed_with(&key, avp_str_c(header), LIT(P)), -1);
}
END_TEST

START_TEST(headers) /* 88 89 97 98 */
{
    ACCEPT("{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1:1/\",\"x5u\":\"x\","
           "\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"},\"x5c\":[\"AA\"]}", P);
    REFUSE("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", P);
    REFUSE("{\"alg\":\"HS256\",\"crit\":[]}", P);
    REFUSE("{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", P);
    REFUSE("{\"alg\":\"HS256\",\"b64\":true}", P);
    REFUSE("{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", P);
    REFUSE("{\"alg\":\"HS256\",\"typ\":\"refresh\"}", P);
    REFUSE("{\"alg\":\"HS256\",\"typ\":1}", P);
    REFUSE("{\"alg\":\"HS256\",\"typ\":null}", P);
    REFUSE("{\"alg\":\"HS256\",\"zip\":\"DEF\"}", P);
    REFUSE("{\"alg\":\"PBES2-HS256+A128KW\",\"enc\":\"A128GCM\","
           "\"p2c\":2147483647,\"p2s\":\"AA\"}", P);
}
END_TEST

START_TEST(json) /* 90 91 */
{
    REFUSE("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", P);
    REFUSE("{\"alg\":\"none\",\"alg\":\"HS256\"}", P);
    REFUSE(H, "{\"sub\":\"a\"," SUB "," EXP "}");
    REFUSE(H, "{" SUB "," EXP ",\"role\":\"user\",\"role\":\"admin\"}");
    REFUSE(H, "[" P "]");
    REFUSE(H, "1");
    REFUSE(H, "\"text\"");
    REFUSE(H, "null");
    REFUSE(H, "");
    REFUSE(H, " ");
    REFUSE(H, P "x");
    REFUSE(H, P P);
    REFUSE(H, "{" SUB "," EXP ",}");
    REFUSE(H, "{" SUB "," EXP ",\"n\":\"\xff\"}");
    REFUSE(H, "{" SUB "," EXP ",\"n\":\"\\ud800\"}");
    REFUSE(H, "{" SUB "," EXP ",\"n\":\"\\u0000\"}");
    REFUSE(H, P "\0");
    REFUSE(H, "{" SUB "," EXP "\0}");
    REFUSE(H, "\xef\xbb\xbf" P);
    REFUSE("[]", P);
    REFUSE("\"HS256\"", P);
    REFUSE("\xff", P);
    REFUSE(H "\0", P);
    REFUSE("{\"alg\":\"HS256\\u0000\"}", P);
    ACCEPT(" " H "\n", "\t" P " ");
}
END_TEST

START_TEST(claims) /* 92 97 */
{
    char long_jti[256];

    REFUSE(H, "{" EXP "}");
    REFUSE(H, "{\"sub\":1," EXP "}");
    REFUSE(H, "{\"sub\":null," EXP "}");
    REFUSE(H, "{\"sub\":\"\"," EXP "}");
    REFUSE(H, "{\"sub\":\"admin\"," EXP "}");
    REFUSE(H, "{\"sub\":[\"" USER "\"]," EXP "}");
    REFUSE(H, "{\"sub\":\"" USER " \"," EXP "}");
    REFUSE(H, "{" SUB "," EXP ",\"role\":\"root\"}");
    REFUSE(H, "{" SUB "," EXP ",\"role\":\"Admin\"}");
    REFUSE(H, "{" SUB "," EXP ",\"role\":\"\"}");
    REFUSE(H, "{" SUB "," EXP ",\"role\":null}");
    REFUSE(H, "{" SUB "," EXP ",\"role\":[\"admin\"]}");
    REFUSE(H, "{" SUB "," EXP ",\"token_use\":\"refresh\"}");
    REFUSE(H, "{" SUB "," EXP ",\"token_use\":\"id\"}");
    REFUSE(H, "{" SUB "," EXP ",\"token_use\":7}");
    ACCEPT(H, "{" SUB "," EXP ",\"token_use\":\"access\"}");
    REFUSE(H, "{" SUB "," EXP ",\"typ\":\"Refresh\"}");
    REFUSE(H, "{" SUB "," EXP ",\"typ\":\"ID\"}");
    ACCEPT(H, "{" SUB "," EXP ",\"typ\":\"Bearer\"}");
    REFUSE(H, "{" SUB "," EXP ",\"jti\":1}");
    REFUSE(H, "{" SUB "," EXP ",\"jti\":\"\"}");

    snprintf(long_jti, sizeof(long_jti), "{" SUB "," EXP ",\"jti\":\"%064d\"}",
             1);
    ck_assert_int_eq(signed_with(&key, LIT(H), avp_str_c(long_jti)), 0);
    ck_assert_uint_eq(strlen(id.jti), 64);
    snprintf(long_jti, sizeof(long_jti), "{" SUB "," EXP ",\"jti\":\"%065d\"}",
             1);
    ck_assert_int_eq(signed_with(&key, LIT(H), avp_str_c(long_jti)), -1);
}
END_TEST

START_TEST(segments) /* 93 98 */
{
    char *t = token_of(LIT(H), LIT(P), avp_str(SECRET));
    char *sig = strrchr(t, '.');
    char  x[1024];

    static const char *const bad[] = { "", ".", "..", "...", "....", "a",
                                       "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e",
                                       ".b.c", "a..c", "a.b." };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(verify(&key, 1, avp_str_c(bad[i])), -1);
    }

    ck_assert_int_eq(verify(&key, 1, (avp_str_t){ t, (size_t)(sig - t) }), -1);
    ck_assert_int_eq(verify(&key, 1, (avp_str_t){ t, (size_t)(sig - t) + 1 }),
                     -1);
    snprintf(x, sizeof(x), "%s.", t);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(x)), -1);
    snprintf(x, sizeof(x), ".%s", t);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(x)), -1);
    snprintf(x, sizeof(x), "%s.AAAA", t);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(x)), -1);
    snprintf(x, sizeof(x), "%s.AAAA.BBBB", t);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(x)), -1);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(t)), 0);
    ck_assert_int_eq(verify(&key, 1, (avp_str_t){ NULL, 0 }), -1);
    free(t);
}
END_TEST

START_TEST(encoding) /* 94 95 */
{
    char  *t = token_of(LIT(H), LIT(P), avp_str(SECRET));
    size_t n = strlen(t);
    char   x[1024];

    /* every bit of every byte */
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            t[i] ^= (char)(1 << bit);
            ck_assert_int_eq(verify(&key, 1, (avp_str_t){ t, n }), -1);
            t[i] ^= (char)(1 << bit);
        }
    }
    /* every truncation */
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(verify(&key, 1, (avp_str_t){ t, i }), -1);
    }
    /* a byte more, anywhere */
    for (size_t i = 0; i <= n; i++) {
        static const char more[] = "=+/ \t\r\n.A\0";

        for (size_t k = 0; k < sizeof(more); k++) {
            memcpy(x, t, i);
            x[i] = more[k];
            memcpy(x + i + 1, t + i, n - i);
            ck_assert_int_eq(verify(&key, 1, (avp_str_t){ x, n + 1 }), -1);
        }
    }
    /* the signature's last character has two bits that count for nothing */
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                         "0123456789-_"; *c; c++)
    {
        memcpy(x, t, n);
        x[n - 1] = *c;
        ck_assert_int_eq(verify(&key, 1, (avp_str_t){ x, n }),
                         *c == t[n - 1] ? 0 : -1);
    }
    free(t);
}
END_TEST

START_TEST(long_ones) /* 96 */
{
    char *payload = malloc(20000), *t;

    memset(payload, ' ', 20000);
    memcpy(payload, P, sizeof(P) - 1);

    t = token_of(LIT(H), (avp_str_t){ payload, 6000 }, avp_str(SECRET));
    ck_assert_uint_lt(strlen(t), AVP_JWT_MAX);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(t)), 0);
    free(t);
    t = token_of(LIT(H), (avp_str_t){ payload, 7000 }, avp_str(SECRET));
    ck_assert_uint_gt(strlen(t), AVP_JWT_MAX);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(t)), -1);
    free(t);

    memset(payload, '.', 7000);
    ck_assert_int_eq(verify(&key, 1, (avp_str_t){ payload, 7000 }), -1);
    memset(payload, '[', 5900); /* deep nesting, signed */
    t = token_of(LIT(H), (avp_str_t){ payload, 5900 }, avp_str(SECRET));
    ck_assert_int_eq(verify(&key, 1, avp_str_c(t)), -1);
    free(t);
    free(payload);
}
END_TEST

START_TEST(issues)
{
    avp_jwt_key_t k = key;
    char         *a, *b;

    k.kid = avp_str("2026");
    k.issuer = avp_str("https://idp");
    k.audience = avp_str("avp");

    a = avp_jwt_issue(&k, USER, true, NOW, 900);
    b = avp_jwt_issue(&k, USER, false, NOW, 900);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_msg(verify(&k, 1, avp_str_c(a)) == 0, "%s", why);
    ck_assert(id.admin);
    ck_assert_str_eq(id.user, USER);
    ck_assert_uint_eq(strlen(id.jti), AVP_UUID_LEN);
    ck_assert_int_eq(id.issued, NOW);
    ck_assert_int_eq(id.expires, NOW + 900);
    ck_assert_int_eq(verify(&k, 1, avp_str_c(b)), 0);
    ck_assert(!id.admin);
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(a)), -1); /* its kid */
    free(a);
    free(b);

    a = avp_jwt_issue(&key, USER, false, NOW, 900);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(a)), 0);
    free(a);
    a = avp_jwt_issue(&key, USER, false, NOW - 5000, 900);
    ck_assert_int_eq(verify(&key, 1, avp_str_c(a)), -1);
    free(a);

    ck_assert_ptr_null(avp_jwt_issue(&key, "me", false, NOW, 900));
    ck_assert_ptr_null(avp_jwt_issue(&key, USER, false, NOW, 0));
    ck_assert_ptr_null(avp_jwt_issue(&key, USER, false, NOW, INT64_MAX));
    ck_assert_ptr_null(avp_jwt_issue(&key, USER, false, -1, 900));
    k.key.len = 31;
    ck_assert_ptr_null(avp_jwt_issue(&k, USER, false, NOW, 900));
}
END_TEST

UNIT_SUITE(jwt_policy, accepts, algorithms, short_secrets, times,
           issuer_and_audience, key_ids, headers, json, claims, segments,
           encoding, long_ones, issues)
