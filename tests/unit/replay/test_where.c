/*
 * test_where.c - B, B@N and RUN:KEY as people write them
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "formats/base/fsio.h"
#include "replay/where.h"

#include "formats/base/banned.h"

static char folder[] = "/tmp/nj-where-XXXXXX";

static void touch(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    (void)close(fd);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) < 0)
        return -1;
    touch("a.njb");
    touch("b@3");
    touch("c:d");
    assert_int_equal(mkdir("run", 0700), 0);
    assert_int_equal(mkdir("odd:run", 0700), 0);
    return 0;
}

static int tear_down(void **state)
{
    struct nj_error err = {0};

    (void)state;
    if (chdir("/") < 0)
        return -1;
    return nj_fsio_remove_tree(AT_FDCWD, folder, &err);
}

static void reads(const char *text, const char *path, const char *key, bool has_step, int64_t step)
{
    NJ_AUTO(nj_where_done) struct nj_where where = {0};
    struct nj_error err = {0};

    if (nj_where_parse(text, &where, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    assert_string_equal(where.path, path);
    if (key)
        assert_string_equal(where.key, key);
    else
        assert_null(where.key);
    assert_int_equal(where.has_step, has_step);
    assert_int_equal(where.step, step);
}

static void refuses(const char *text, const char *because)
{
    NJ_AUTO(nj_where_done) struct nj_where where = {0};
    struct nj_error err = {0};

    assert_int_equal(nj_where_parse(text, &where, &err), -NJ_E_INPUT);
    if (!strstr(err.text, because))
        fail_msg("%s: %s", text, err.text);
    assert_null(where.path);
}

static void a_file_is_a_bundle(void **state)
{
    (void)state;
    reads("a.njb", "a.njb", NULL, false, 0);
    reads("./a.njb", "./a.njb", NULL, false, 0);
}

static void a_step_comes_behind_the_last_at(void **state)
{
    (void)state;
    reads("a.njb@3", "a.njb", NULL, true, 3);
    reads("a.njb@0", "a.njb", NULL, true, 0);
    reads("a.njb@-2", "a.njb", NULL, true, -2);
    reads("a.njb@last", "a.njb", NULL, true, -1);
    reads("a.njb@start", "a.njb", NULL, true, 0);
    reads("run:k@12", "run", "k", true, 12);
}

static void a_file_that_is_called_so_wins(void **state)
{
    (void)state;
    reads("b@3", "b@3", NULL, false, 0);
    reads("b@3@4", "b@3", NULL, true, 4);
    reads("c:d", "c:d", NULL, false, 0);
}

static void a_session_of_a_run_has_a_key(void **state)
{
    (void)state;
    reads("run:one", "run", "one", false, 0);
    reads("run:a:b@home.org", "run", "a:b@home.org", false, 0);
    reads("odd:run:one", "odd:run", "one", false, 0);
}

static void what_is_no_place_is_refused_with_the_reason(void **state)
{
    (void)state;
    refuses("nowhere", "neither a bundle nor RUN:KEY");
    refuses("run", "is a folder");
    refuses("run:", "key is missing");
    refuses("a.njb@second", "a step is expected");
    refuses("a.njb@-0", "a step is expected");
    refuses("a.njb@99999999999999999999", "a step is expected");
    refuses("a.njb@", "a step is expected");
    refuses("", "neither");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_a_bundle),
        cmocka_unit_test(a_step_comes_behind_the_last_at),
        cmocka_unit_test(a_file_that_is_called_so_wins),
        cmocka_unit_test(a_session_of_a_run_has_a_key),
        cmocka_unit_test(what_is_no_place_is_refused_with_the_reason),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
