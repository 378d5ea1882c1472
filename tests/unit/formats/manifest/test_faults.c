/*
 * test_faults.c - the list of faults: order, cap, and texts that cannot drive a terminal
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/manifest/faults.h"

#include "formats/base/banned.h"

static void assert_printed(const struct nj_manifest_faults *faults, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, 100000);
    assert_int_equal(nj_buf_text(&out, "", &err), 0);
    assert_int_equal(nj_manifest_faults_print(faults, "job.yaml", &out, &err), 0);
    assert_string_equal(out.data ? (const char *)out.data : "", expected);
}

static void a_fault_is_one_line_with_file_line_column_and_path(void **state)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};

    (void)state;
    assert_printed(&faults, "");
    nj_manifest_faults_add(&faults, (struct nj_mark){12, 5, 0}, "agents.x", "unknown %s", "key");
    nj_manifest_faults_add(&faults, (struct nj_mark){3, 1, 0}, NULL, "odd");
    nj_manifest_faults_add(&faults, (struct nj_mark){0, 0, 0}, "", "too long");
    nj_manifest_faults_add(&faults, (struct nj_mark){12, 5, 0}, "agents.x", "second");
    nj_manifest_faults_sort(&faults);
    assert_printed(&faults, "job.yaml: too long\n"
                            "job.yaml:3:1: odd\n"
                            "job.yaml:12:5: agents.x: unknown key\n"
                            "job.yaml:12:5: agents.x: second\n");
}

static void what_does_not_print_is_escaped(void **state)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};

    (void)state;
    nj_manifest_faults_add(&faults, (struct nj_mark){1, 1, 0}, "a\x1b[2J",
                           "x\ny\x7f \xc2\x9b \xe2\x80\xae \xff \xc3\xa9 \xf0\x9f\x98\x80");
    assert_printed(&faults, "job.yaml:1:1: a\\x1b[2J: "
                            "x\\ny\\x7f \\x9b \\u202e \\xff \xc3\xa9 \xf0\x9f\x98\x80\n");
}

static void a_long_text_is_cut_between_characters(void **state)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    char text[2001];

    (void)state;
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[2000] = '\0';
    nj_manifest_faults_add(&faults, (struct nj_mark){1, 1, 0}, text, "%s", text);
    nj_manifest_faults_add(&faults, (struct nj_mark){1, 1, 0}, text + 1, "x%s", text);
    for (size_t i = 0; i < 2; i++) {
        const char *shown = faults.items[i].text + i;
        size_t len = strlen(shown);

        assert_true(len > 400 && len < 512);
        assert_int_equal(len % 2, 0);
        assert_memory_equal(shown, text, len);
    }
}

static void twenty_are_kept_and_the_rest_is_counted(void **state)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_manifest_faults_fail(&faults, "job.yaml", &err), 0);
    for (unsigned i = 1; i <= 23; i++)
        nj_manifest_faults_add(&faults, (struct nj_mark){i, 1, 0}, "p", "fault %u", i);
    assert_int_equal(faults.count, NJ_FAULTS_MAX);
    assert_int_equal(faults.dropped, 3);
    assert_int_equal(nj_manifest_faults_fail(&faults, "job.yaml", &err), -NJ_E_INPUT);
    assert_string_equal(err.text, "job.yaml:1:1: p: fault 1 (and 22 more faults)");
    nj_buf_init(&out, 10000);
    assert_int_equal(nj_manifest_faults_print(&faults, "job.yaml", &out, &err), 0);
    assert_non_null(strstr((const char *)out.data, "\njob.yaml: and 3 more faults\n"));
    nj_manifest_faults_done(&faults);
    nj_manifest_faults_add(&faults, (struct nj_mark){0, 0, 0}, NULL, "alone");
    assert_int_equal(nj_manifest_faults_fail(&faults, "job.yaml", &err), -NJ_E_INPUT);
    assert_string_equal(err.text, "job.yaml: alone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_is_one_line_with_file_line_column_and_path),
        cmocka_unit_test(what_does_not_print_is_escaped),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(twenty_are_kept_and_the_rest_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
