/*
 * Runs every suite.  `unit-tests --tap` prints TAP for prove(1); names after
 * that run only those suites.
 */

#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Suite *(*make_t)(void);

static const make_t makers[] = {
    base64url_suite, child_suite, codec_string_suite, cue_text_suite,
    delivery_token_suite, doc_suite, env_file_suite, errors_suite,
    fits_suite, fragment_suite, jwt_policy_suite, keys_suite,
    ladder_suite, limiter_suite, media_message_suite, multipart_suite, password_suite,
    plan_suite, playlist_suite, profile_suite, progress_suite, redis_url_suite,
    sandbox_suite, settings_suite, sniff_suite, states_suite,
    storage_key_suite, store_file_suite, text_suite, units_suite, uuid_suite,
};

int
main(int argc, char **argv)
{
    int      tap = argc > 1 && strcmp(argv[1], "--tap") == 0;
    int      failed, only = argc > 1 + tap;
    SRunner *r = srunner_create(NULL);

    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        srunner_add_suite(r, makers[i]());
    }
    if (tap) {
        srunner_set_tap(r, "-");
    }

    if (!only) {
        srunner_run_all(r, tap ? CK_SILENT : CK_NORMAL);
    }
    for (int i = 1 + tap; i < argc; i++) {
        srunner_run(r, argv[i], NULL, CK_NORMAL);
    }

    failed = srunner_ntests_failed(r);
    if (srunner_ntests_run(r) == 0) {
        fprintf(stderr, "unit-tests: no such suite\n");
        failed = 1;
    }
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
