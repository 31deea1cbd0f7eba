#include "lib/errors.h"
#include "t/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

START_TEST(entries_are_sound)
{
    for (int i = 0; i < AVP_ERR_COUNT; i++) {
        const avp_error_info_t *e = avp_error_info((avp_error_t)i);
        size_t                  n = strlen(e->code);

        ck_assert_uint_gt(n, 0);
        ck_assert_uint_eq(strspn(e->code, "abcdefghijklmnopqrstuvwxyz_"), n);
        ck_assert_uint_gt(strlen(e->title), 0);
        ck_assert_int_eq(e->detail[strlen(e->detail) - 1], '.');
        ck_assert_int_eq(avp_error_by_code(avp_str_c(e->code)), i);

        if (e->class == AVP_CLASS_REQUEST) {
            ck_assert(e->status >= 400 && e->status <= 599);
        } else {
            ck_assert_int_eq(e->status, 0);
        }
    }
}
END_TEST

START_TEST(unknown_ones)
{
    ck_assert_ptr_eq(avp_error_info(AVP_ERR_COUNT),
                     avp_error_info(AVP_ERR_INTERNAL));
    ck_assert_ptr_eq(avp_error_info((avp_error_t)-1),
                     avp_error_info(AVP_ERR_INTERNAL));
    ck_assert_int_eq(avp_error_by_code(avp_str("nothing")), AVP_ERR_COUNT);
    ck_assert_int_eq(avp_error_by_code(avp_str("")), AVP_ERR_COUNT);
}
END_TEST

START_TEST(by_status)
{
    static const int none[] = { 0, 200, 206, 304, 399, 408, 444, 499, 600 };

    /* a request error stands for its own status where it can */
    for (int status = 400; status < 600; status++) {
        avp_error_t e = avp_error_by_status(status);

        if (status == 408 || status == 444 || status == 499) {
            continue;
        }
        ck_assert_int_ne(e, AVP_ERR_COUNT);
        ck_assert_int_eq(avp_error_info(e)->class, AVP_CLASS_REQUEST);
        ck_assert_int_eq(avp_error_info(e)->status / 100, status / 100);
    }
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        ck_assert_int_eq(avp_error_by_status(none[i]), AVP_ERR_COUNT);
    }
    for (int i = 0; i < AVP_ERR_COUNT; i++) {
        int status = avp_error_info((avp_error_t)i)->status;

        if (status != 0 && status != 408) {
            ck_assert_int_eq(
                avp_error_info(avp_error_by_status(status))->status, status);
        }
    }
    ck_assert_int_eq(avp_error_by_status(494), AVP_ERR_HEADERS_TOO_LARGE);
    ck_assert_int_eq(avp_error_by_status(497), AVP_ERR_BAD_REQUEST);
    ck_assert_int_eq(avp_error_by_status(401), AVP_ERR_INVALID_TOKEN);
    ck_assert_int_eq(avp_error_by_status(403), AVP_ERR_FORBIDDEN);
}
END_TEST

START_TEST(classes)
{
    avp_class_t c;

    for (int i = AVP_CLASS_REQUEST; i <= AVP_CLASS_CANCELLED; i++) {
        ck_assert_int_eq(
            avp_class_by_name(avp_str_c(avp_class_name((avp_class_t)i)), &c),
            0);
        ck_assert_int_eq((int)c, i);
    }
    ck_assert_str_eq(avp_class_name(AVP_CLASS_DRAINED), "drained");
    ck_assert_str_eq(avp_class_name((avp_class_t)99), "request");
    ck_assert_int_eq(avp_class_by_name(avp_str("fatal"), &c), -1);
}
END_TEST

START_TEST(page_and_list_agree)
{
    char  line[1024];
    int   seen[AVP_ERR_COUNT] = { 0 };
    FILE *f = fopen("docs/errors.md", "r");

    ck_assert_msg(f != NULL, "docs/errors.md: run this in the root folder");

    while (fgets(line, sizeof(line), f) != NULL) {
        const avp_error_info_t *info;
        avp_error_t             e;
        char                    code[64], second[64], meaning[600], todo[600];

        if (strncmp(line, "| `", 3) != 0) {
            continue;
        }
        ck_assert_msg(sscanf(line, "| `%63[^`]` | %63[^ |] | %599[^|]| "
                                   "%599[^|]|", code, second, meaning, todo)
                          == 4, "not four columns: %s", line);

        e = avp_error_by_code(avp_str_c(code));
        ck_assert_msg(e != AVP_ERR_COUNT, "%s is not in lib/errors.h", code);
        ck_assert_msg(seen[e]++ == 0, "%s is there twice", code);

        info = avp_error_info(e);
        if (info->class == AVP_CLASS_REQUEST) {
            ck_assert_msg(atoi(second) == info->status, "%s: status %s", code,
                          second);
        } else {
            ck_assert_msg(strcmp(second, avp_class_name(info->class)) == 0,
                          "%s: class %s", code, second);
        }
        ck_assert_uint_gt(strlen(meaning), 10);
        ck_assert_uint_gt(strlen(todo), 6);
    }
    fclose(f);

    for (int i = 0; i < AVP_ERR_COUNT; i++) {
        ck_assert_msg(seen[i], "docs/errors.md lacks %s",
                      avp_error_info((avp_error_t)i)->code);
    }
}
END_TEST

UNIT_SUITE(errors, entries_are_sound, unknown_ones, by_status, classes,
           page_and_list_agree)
