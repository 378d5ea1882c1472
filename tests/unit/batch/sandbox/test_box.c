/*
 * test_box.c - boxes run for real: what a call gets, what it leaves, what ends it
 */
#include "harness.h"

#include "formats/base/banned.h"

static struct harness h;

static void a_box_opens_and_runs_echo(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "echo hi; echo there >&2");
    assert_string_equal(h.out, "hi\n");
    assert_string_equal(h.errors, "there\n");
    assert_true(nj_box_supervisor_pid(h.box) > 1);
}

static int setup(void **state)
{
    (void)state;
    start(&h, "test-box");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop(&h);
    return 0;
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_box_opens_and_runs_echo, setup, teardown),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "boxes");
}
