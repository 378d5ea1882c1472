/*
 * test_table.c - what was met before
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

#include "batch/plan/table.h"

static void a_key_keeps_the_number_it_came_with(void **state)
{
    NJ_AUTO(nj_table_done) struct nj_table table = {0};
    struct nj_error err = {0};
    size_t value = 99;

    (void)state;
    assert_false(nj_table_find(&table, nj_span_text("a"), &value));
    assert_int_equal(nj_table_add(&table, nj_span_text("a"), 7, &value, &err), 0);
    assert_int_equal(value, 99); /* untouched: it was new */
    assert_int_equal(nj_table_add(&table, nj_span_text("a"), 8, &value, &err), 1);
    assert_int_equal(value, 7);
    assert_true(nj_table_find(&table, nj_span_text("a"), &value));
    assert_int_equal(value, 7);
    assert_false(nj_table_find(&table, nj_span_text("aa"), &value));
}

static void all_of_many_keys_are_found_after_growing(void **state)
{
    NJ_AUTO(nj_table_done) struct nj_table table = {0};
    struct nj_error err = {0};
    char key[32];
    size_t value;

    (void)state;
    for (size_t i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "key %zu", i);
        assert_int_equal(nj_table_add(&table, nj_span_text(key), i, &value, &err), 0);
    }
    assert_int_equal(table.count, 5000);
    for (size_t i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "key %zu", i);
        assert_true(nj_table_find(&table, nj_span_text(key), &value));
        assert_int_equal(value, i);
    }
    assert_false(nj_table_find(&table, nj_span_text("key 5000"), &value));
}

static void the_key_is_copied(void **state)
{
    NJ_AUTO(nj_table_done) struct nj_table table = {0};
    struct nj_error err = {0};
    char key[] = "before";
    size_t value;

    (void)state;
    assert_int_equal(nj_table_add(&table, nj_span_text(key), 1, &value, &err), 0);
    memcpy(key, "after!", 6);
    assert_true(nj_table_find(&table, nj_span_text("before"), &value));
    assert_false(nj_table_find(&table, nj_span_text("after!"), &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_keeps_the_number_it_came_with),
        cmocka_unit_test(all_of_many_keys_are_found_after_growing),
        cmocka_unit_test(the_key_is_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
