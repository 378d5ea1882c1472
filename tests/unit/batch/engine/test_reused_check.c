/*
 * test_reused_check.c - the process that reads a bundle of an earlier run
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "batch/engine/reused_check.h"

#include "formats/base/banned.h"

static void it_refuses_what_is_no_bundle_and_has_nothing_of_the_engine_open(void **state)
{
    struct nj_plan_session session = {.number = 1, .key = "a", .slug = "a"};
    const struct nj_plan plan = {.sessions = &session, .n_sessions = 1};
    struct nj_reused_checker *checker = NULL;
    struct nj_error err = {0};
    FILE *empty = tmpfile();
    int before[2], after[2];
    int outputs_fd;
    char byte;

    (void)state;
    assert_non_null(empty);
    assert_int_equal(pipe2(before, O_CLOEXEC | O_NONBLOCK), 0);
    outputs_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(outputs_fd >= 0);
    assert_int_equal(pipe2(after, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(nj_reused_checker_new(&plan, outputs_fd, &checker, &err), 0);
    assert_true(nj_reused_check(checker, &session, fileno(empty), "a.njb", &err) < 0);
    assert_int_equal(err.code, NJ_E_INPUT);
    /* It waits for the next question: were it a writer too, there would be no end to read. */
    assert_int_equal(close(before[1]), 0);
    assert_int_equal(close(after[1]), 0);
    assert_int_equal(read(before[0], &byte, 1), 0);
    assert_int_equal(read(after[0], &byte, 1), 0);
    assert_true(nj_reused_check(checker, &session, fileno(empty), "a.njb", &err) < 0);
    assert_int_equal(err.code, NJ_E_INPUT);
    nj_reused_checker_free(checker);
    assert_int_equal(close(before[0]) | close(after[0]) | close(outputs_fd), 0);
    assert_int_equal(fclose(empty), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_refuses_what_is_no_bundle_and_has_nothing_of_the_engine_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
