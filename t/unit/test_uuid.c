#include "lib/uuid.h"
#include "t/unit/unit.h"

START_TEST(makes_version_4)
{
    char a[AVP_UUID_LEN + 1], b[AVP_UUID_LEN + 1], c[AVP_UUID_LEN + 1];

    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(avp_uuid_v4(a), 0);
        ck_assert_uint_eq(strlen(a), AVP_UUID_LEN);
        ck_assert_int_eq(a[14], '4');
        ck_assert_ptr_nonnull(strchr("89ab", a[19]));
        ck_assert_int_eq(avp_uuid_parse(c, avp_str_c(a)), 0);
        ck_assert_str_eq(a, c);
        ck_assert_str_ne(a, i ? b : "");
        memcpy(b, a, sizeof(b));
    }
}
END_TEST

START_TEST(parses_either_case)
{
    char out[AVP_UUID_LEN + 1];

    ck_assert_int_eq(
        avp_uuid_parse(out, avp_str("0F9B2C3D-4E5f-6a7B-8c9D-AbCdEf012345")),
        0);
    ck_assert_str_eq(out, "0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345");
}
END_TEST

START_TEST(refuses)
{
    static const char *const bad[] = {
        "", "0f9b2c3d", "0f9b2c3d-4e5f-6a7b-8c9d-abcdef01234",
        "0f9b2c3d-4e5f-6a7b-8c9d-abcdef0123456",
        "0f9b2c3d4e5f6a7b8c9dabcdef0123456789",
        "{f9b2c3d-4e5f-6a7b-8c9d-abcdef01234}",
        "0f9b2c3g-4e5f-6a7b-8c9d-abcdef012345",
        "0f9b2c3d_4e5f-6a7b-8c9d-abcdef012345",
        "0f9b2c3-d4e5f-6a7b-8c9d-abcdef012345",
        " 0f9b2c3d-4e5f-6a7b-8c9d-abcdef01234",
    };
    char out[AVP_UUID_LEN + 1];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(avp_uuid_parse(out, avp_str_c(bad[i])) == -1,
                      "accepted \"%s\"", bad[i]);
    }
    ck_assert_int_eq(avp_uuid_parse(out, (avp_str_t){ NULL, 0 }), -1);
}
END_TEST

UNIT_SUITE(uuid, makes_version_4, parses_either_case, refuses)
