/*
 * test_error.c - the story of a failure: order, space, codes
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/error.h"

#include "formats/base/banned.h"

static void a_failure_returns_its_negated_code(void **state)
{
    struct nj_error err = {.sys_errno = 5};

    (void)state;
    assert_int_equal(nj_fail(&err, NJ_E_CORRUPT, "frame %d", 7), -NJ_E_CORRUPT);
    assert_int_equal(err.code, NJ_E_CORRUPT);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.text, "frame 7");
}

static void errno_is_kept_and_spelled_out(void **state)
{
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_fail_errno(&err, ENOENT, "open %s", "x"), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_string_equal(err.text, "open x: No such file or directory");
}

static void enomem_is_a_lack_of_memory_and_not_of_the_system(void **state)
{
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_fail_errno(&err, ENOMEM, "map"), -NJ_E_NOMEM);
    assert_int_equal(nj_fail_nomem(&err), -NJ_E_NOMEM);
    assert_int_equal(err.code, NJ_E_NOMEM);
}

static void the_outermost_words_come_first(void **state)
{
    struct nj_error err = {0};

    (void)state;
    (void)nj_fail(&err, NJ_E_CORRUPT, "header ends after 5 of 16 bytes");
    assert_int_equal(nj_wrap(&err, "snapshot %s", "0007"), -NJ_E_CORRUPT);
    assert_int_equal(nj_wrap(&err, "resume job %d", 41), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "resume job 41: snapshot 0007: header ends after 5 of 16 bytes");
}

static void a_full_story_loses_outer_words_and_keeps_the_cause(void **state)
{
    struct nj_error err = {0};
    size_t len;

    (void)state;
    (void)nj_fail(&err, NJ_E_SYSTEM, "the cause");
    for (int i = 0; i < 200; i++)
        (void)nj_wrap(&err, "layer %d", i);
    len = strlen(err.text);
    assert_in_range(len, NJ_ERROR_TEXT_MAX_BYTES - 20, NJ_ERROR_TEXT_MAX_BYTES - 1);
    assert_memory_equal(err.text, "...", 3);
    assert_string_equal(err.text + len - strlen(": layer 0: the cause"), ": layer 0: the cause");
    assert_null(strstr(err.text + 3, "...")); /* one mark, however often it was cut */
    assert_null(strstr(err.text, "layer 199"));
}

static void a_cause_that_fills_the_space_survives_every_wrap(void **state)
{
    struct nj_error err = {0};
    char cause[2 * NJ_ERROR_TEXT_MAX_BYTES], first[NJ_ERROR_TEXT_MAX_BYTES];

    (void)state;
    memset(cause, 'c', sizeof(cause) - 1);
    cause[sizeof(cause) - 1] = '\0';
    (void)nj_fail(&err, NJ_E_INPUT, "%s", cause);
    memcpy(first, err.text, sizeof(first));
    for (int i = 0; i < 3; i++)
        assert_int_equal(nj_wrap(&err, "outer words that cannot fit any more"), -NJ_E_INPUT);
    assert_memory_equal(err.text, "...", 3);
    assert_string_equal(err.text + 3, first);
}

static void a_system_error_keeps_its_reason_when_its_words_are_long(void **state)
{
    struct nj_error err = {0};
    char name[2 * NJ_ERROR_TEXT_MAX_BYTES];

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(nj_fail_errno(&err, ENOSPC, "write %s", name), -NJ_E_SYSTEM);
    assert_non_null(strstr(err.text, "No space left on device"));
}

static void arguments_may_point_into_the_error_itself(void **state)
{
    struct nj_error err = {0};

    (void)state;
    (void)nj_fail(&err, NJ_E_SYSTEM, "inner");
    (void)nj_fail(&err, NJ_E_UPSTREAM, "again %s", err.text);
    assert_string_equal(err.text, "again inner");
    (void)nj_wrap(&err, "<%s>", err.text);
    assert_string_equal(err.text, "<again inner>: again inner");
}

static void every_code_has_a_name_of_its_own(void **state)
{
    static const enum nj_error_code codes[] = {
#define X(name, value, text, meaning) NJ_E_##name,
        NJ_ERROR_CODES(X)
#undef X
    };
    const size_t n = sizeof(codes) / sizeof(codes[0]);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(nj_error_code_text(codes[i]), nj_error_code_text(codes[j]));
    }
    assert_string_equal(nj_error_code_text(NJ_E_CORRUPT), "corrupt");
    assert_string_equal(nj_error_code_text((enum nj_error_code)77), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_returns_its_negated_code),
        cmocka_unit_test(errno_is_kept_and_spelled_out),
        cmocka_unit_test(enomem_is_a_lack_of_memory_and_not_of_the_system),
        cmocka_unit_test(the_outermost_words_come_first),
        cmocka_unit_test(a_full_story_loses_outer_words_and_keeps_the_cause),
        cmocka_unit_test(a_cause_that_fills_the_space_survives_every_wrap),
        cmocka_unit_test(a_system_error_keeps_its_reason_when_its_words_are_long),
        cmocka_unit_test(arguments_may_point_into_the_error_itself),
        cmocka_unit_test(every_code_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
