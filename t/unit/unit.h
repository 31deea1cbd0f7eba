/* The suites of t/unit: one per header of lib/, and the parts of workerd that
 * need neither libav nor services. */

#ifndef AVP_UNIT_H
#define AVP_UNIT_H

#include <check.h>

Suite *base64url_suite(void);
Suite *child_suite(void);
Suite *codec_string_suite(void);
Suite *cue_text_suite(void);
Suite *delivery_token_suite(void);
Suite *doc_suite(void);
Suite *env_file_suite(void);
Suite *errors_suite(void);
Suite *fits_suite(void);
Suite *fragment_suite(void);
Suite *jwt_policy_suite(void);
Suite *ladder_suite(void);
Suite *keys_suite(void);
Suite *limiter_suite(void);
Suite *media_message_suite(void);
Suite *multipart_suite(void);
Suite *password_suite(void);
Suite *profile_suite(void);
Suite *plan_suite(void);
Suite *playlist_suite(void);
Suite *progress_suite(void);
Suite *redis_url_suite(void);
Suite *sandbox_suite(void);
Suite *settings_suite(void);
Suite *sniff_suite(void);
Suite *states_suite(void);
Suite *storage_key_suite(void);
Suite *store_file_suite(void);
Suite *text_suite(void);
Suite *units_suite(void);
Suite *uuid_suite(void);

/* A suite of one case with these tests. */
#define UNIT_SUITE(suite_name, ...)                                            \
    Suite *suite_name##_suite(void)                                            \
    {                                                                          \
        const TTest *const tests[] = { __VA_ARGS__ };                          \
        Suite             *made = suite_create(#suite_name);                   \
        TCase             *only = tcase_create(#suite_name);                   \
                                                                               \
        tcase_set_timeout(only, 120);                                          \
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {        \
            tcase_add_test(only, tests[i]);                                    \
        }                                                                      \
        suite_add_tcase(made, only);                                           \
        return made;                                                           \
    }

#endif
