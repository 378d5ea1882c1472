/*
 * test_environment.c - which differences of two hosts matter, and how they are told
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "replay/environment.h"

#include "formats/base/banned.h"

struct fixture {
    struct nj_environment then;
    struct nj_environment now;
    struct nj_buf what;
};

static struct nj_error err;

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){0};
    nj_buf_init(&fixture.what, 10000);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    nj_environment_done(&fixture->then);
    nj_environment_done(&fixture->now);
    nj_buf_done(&fixture->what);
    return 0;
}

static void hosts(struct fixture *fixture, const char *then, const char *now)
{
    assert_int_equal(nj_environment_parse(then, &fixture->then, &err), 0);
    assert_int_equal(nj_environment_parse(now, &fixture->now, &err), 0);
}

static int program(struct fixture *fixture, const char *name)
{
    return nj_environment_compare_program(&fixture->then, &fixture->now, name, &fixture->what,
                                          &err);
}

#define PYTHON(digest)                                                                             \
    "{\"interpreters\":{\"python3\":{\"path\":\"/usr/bin/python3.11\",\"sha256\":\"" digest "\"}}" \
    "}"

static void this_host_has_its_interpreters_and_digests_on_demand(void **state)
{
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
    struct fixture *fixture = *state;
    const json_t *bash;

    assert_int_equal(nj_environment_here(&fixture->now, &err), 0);
    assert_int_equal(nj_digested_new(&digested, &err), 0);
    bash = json_object_get(json_object_get(fixture->now.root, "interpreters"), "bash");
    assert_int_equal(json_string_value(json_object_get(bash, "path"))[0], '/');
    assert_null(json_object_get(bash, "sha256"));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nj_environment_digest(&fixture->now, "bash", digested, &err), 0);
        assert_int_equal(json_string_length(json_object_get(bash, "sha256")), 64);
    }
    assert_int_equal(nj_environment_digest(&fixture->now, "no-such-name", digested, &err), 0);
}

static void the_same_program_says_nothing(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture, PYTHON("aa"), PYTHON("aa"));
    assert_int_equal(program(fixture, "python3"), 0);
    assert_int_equal(fixture->what.len, 0);
}

static void another_program_is_told_with_both_digests(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture, PYTHON("0123456789abcdef"), PYTHON("fedcba9876543210"));
    assert_int_equal(program(fixture, "python3"), 1);
    assert_string_equal((const char *)fixture->what.data,
                        "python3: recorded /usr/bin/python3.11 (sha256 0123456789ab), here "
                        "/usr/bin/python3.11 (sha256 fedcba987654)");
}

static void a_program_that_is_missing_here_is_told(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture, PYTHON("aa"), "{}");
    assert_int_equal(program(fixture, "python3"), 1);
    assert_non_null(strstr((const char *)fixture->what.data, "missing here"));
}

static void what_the_record_does_not_tell_does_not_differ(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture, "", PYTHON("aa"));
    assert_int_equal(program(fixture, "python3"), 0);
    assert_int_equal(
        nj_environment_compare_host(&fixture->then, &fixture->now, &fixture->what, &err), 0);
}

static void a_file_that_ran_is_compared_by_digest_and_told_with_its_package(void **state)
{
    struct fixture *fixture = *state;
    struct nj_digest here;

    nj_digest_bytes("", 0, &here); /* e3b0c44298fc... */
    hosts(fixture,
          "{\"ran\":{\"/lib/a\":{\"sha256\":\"0123456789abcdef\",\"package\":\"a 1\"},\"/lib/b\":{"
          "\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"},"
          "\"/lib/c\":{\"sha256\":null},\"/lib/d\":7}}",
          "{}");
    for (const char *path = "bcdx"; *path; path++) {
        const char name[] = {'/', 'l', 'i', 'b', '/', *path, '\0'};

        assert_int_equal(
            nj_environment_compare_file(&fixture->then, name, &here, &fixture->what, &err), 0);
    }
    assert_int_equal(fixture->what.len, 0);
    assert_int_equal(
        nj_environment_compare_file(&fixture->then, "/lib/a", &here, &fixture->what, &err), 1);
    assert_string_equal((const char *)fixture->what.data,
                        "/lib/a: recorded a 1 (sha256 0123456789ab), here (sha256 e3b0c44298fc)");
}

static void kernel_and_build_are_one_sentence(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture, "{\"kernel\":\"6.1\",\"build\":\"0.1.0\",\"architecture\":\"x86_64\"}",
          "{\"kernel\":\"6.8\",\"build\":\"0.2.0\",\"architecture\":\"x86_64\"}");
    assert_int_equal(
        nj_environment_compare_host(&fixture->then, &fixture->now, &fixture->what, &err), 1);
    assert_string_equal((const char *)fixture->what.data,
                        "build: recorded 0.1.0, here 0.2.0; kernel: recorded 6.1, here 6.8");
}

static void what_a_record_says_cannot_drive_a_terminal(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture,
          "{\"kernel\":\"\\u001b[2J\",\"interpreters\":{\"x\":{\"path\":\"\\u202e\",\"sha256\":"
          "\"\\u0007\"}}}",
          "{}");
    assert_int_equal(program(fixture, "x"), 1);
    assert_int_equal(
        nj_environment_compare_host(&fixture->then, &fixture->now, &fixture->what, &err), 1);
    assert_null(memchr(fixture->what.data, 0x1b, fixture->what.len));
    assert_null(memchr(fixture->what.data, 0x07, fixture->what.len));
    assert_null(strstr((const char *)fixture->what.data, "\xe2\x80\xae"));
}

static void what_is_here_and_cannot_be_read_says_nothing(void **state)
{
    struct fixture *fixture = *state;

    hosts(fixture, PYTHON("aa"),
          "{\"interpreters\":{\"python3\":{\"path\":\"/usr/bin/python3\"}}}");
    assert_int_equal(program(fixture, "python3"), 0);
    assert_int_equal(fixture->what.len, 0);
}

static void what_is_no_object_is_damage(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(nj_environment_parse("[1]", &fixture->then, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_environment_parse("{", &fixture->then, &err), -NJ_E_CORRUPT);
    assert_null(fixture->then.root);
    /* Objects of another shape are not known, and no more. */
    hosts(fixture, "{\"interpreters\":[1,2],\"kernel\":{\"a\":1}}", PYTHON("aa"));
    assert_int_equal(program(fixture, "python3"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(this_host_has_its_interpreters_and_digests_on_demand),
        TEST(the_same_program_says_nothing),
        TEST(another_program_is_told_with_both_digests),
        TEST(a_program_that_is_missing_here_is_told),
        TEST(what_the_record_does_not_tell_does_not_differ),
        TEST(a_file_that_ran_is_compared_by_digest_and_told_with_its_package),
        TEST(kernel_and_build_are_one_sentence),
        TEST(what_a_record_says_cannot_drive_a_terminal),
        TEST(what_is_here_and_cannot_be_read_says_nothing),
        TEST(what_is_no_object_is_damage),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
