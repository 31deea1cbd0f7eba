#include "lib/password.h"
#include "t/unit/unit.h"

START_TEST(hashes_and_verifies)
{
    char a[AVP_PASSWORD_HASH_MAX], b[AVP_PASSWORD_HASH_MAX];

    ck_assert_int_eq(avp_password_hash(a, avp_str("correct horse")), 0);
    ck_assert_int_eq(avp_password_hash(b, avp_str("correct horse")), 0);
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(strncmp(a, "$argon2id$v=19$m=65536,t=2,p=1$", 31), 0);

    ck_assert_int_eq(avp_password_verify(a, avp_str("correct horse")), 1);
    ck_assert_int_eq(avp_password_verify(a, avp_str("correct horsf")), 0);
    ck_assert_int_eq(avp_password_verify(a, avp_str("")), 0);
    ck_assert_int_eq(avp_password_verify(a, (avp_str_t){ "correct horse", 12 }),
                     0);
}
END_TEST

START_TEST(limits)
{
    static char long_one[AVP_PASSWORD_MAX + 1];
    char        h[AVP_PASSWORD_HASH_MAX];

    memset(long_one, 'p', sizeof(long_one));
    ck_assert_int_eq(avp_password_hash(h, avp_str("elevenchars")), -1);
    ck_assert_int_eq(avp_password_hash(h, (avp_str_t){ long_one,
                                                       sizeof(long_one) }),
                     -1);
    ck_assert_int_eq(avp_password_hash(h, (avp_str_t){ long_one,
                                                       AVP_PASSWORD_MAX }), 0);
    ck_assert_int_eq(avp_password_verify(h, (avp_str_t){ long_one,
                                                         sizeof(long_one) }),
                     0);
}
END_TEST

START_TEST(not_a_hash)
{
    static const char *const bad[] = {
        "", "x", "$argon2id$", "!", "$2b$10$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0$",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(avp_password_verify(bad[i], avp_str("anything")), -1);
    }
}
END_TEST

UNIT_SUITE(password, hashes_and_verifies, limits, not_a_hash)
