/*
 * test_arena.c - zeroed, aligned pieces that stay where they are until the reset
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/arena.h"

#include "formats/base/banned.h"

static bool all_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != 0)
            return false;
    }
    return true;
}

static void pieces_of_any_size_are_zeroed_aligned_and_apart(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    uint8_t *pieces[300];

    (void)state;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 300; i++) {
            size_t size = i * i; /* from nothing to above the largest block */

            pieces[i] = nj_arena_alloc(&arena, size);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            assert_true(all_zero(pieces[i], size));
            if (size > 0)
                memset(pieces[i], (int)(i % 251), size);
        }
        for (size_t i = 0; i < 300; i++) {
            for (size_t j = 0; j < i * i; j++)
                assert_int_equal(pieces[i][j], i % 251);
        }
        nj_arena_reset(&arena);
    }
}

static void a_reset_zeroes_what_it_hands_out_again(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    uint8_t *first, *again;

    (void)state;
    nj_arena_reset(&arena); /* an empty one is fine */
    first = nj_arena_alloc(&arena, 100);
    assert_non_null(first);
    memset(first, 0xff, 100);
    nj_arena_reset(&arena);
    again = nj_arena_alloc(&arena, 100);
    assert_non_null(again);
    assert_ptr_equal(first, again); /* the block is kept, so loops over frames allocate once */
    assert_true(all_zero(again, 100));
}

static void sizes_that_wrap_are_refused(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};

    (void)state;
    assert_null(nj_arena_alloc(&arena, SIZE_MAX));
    assert_null(nj_arena_alloc(&arena, SIZE_MAX - 20));
    assert_null(nj_arena_array(&arena, SIZE_MAX / 4, 8));
    assert_null(nj_arena_span(&arena, (struct nj_span){NULL, SIZE_MAX}));
    assert_non_null(nj_arena_array(&arena, 4, 8));
}

static void texts_are_copies(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    char text[] = "text", wide[400];
    char *copy, *cut, *made;

    (void)state;
    copy = nj_arena_text(&arena, text);
    cut = nj_arena_span(&arena, (struct nj_span){(const uint8_t *)text, 2});
    text[0] = 'n';
    assert_string_equal(copy, "text");
    assert_string_equal(cut, "te");
    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    assert_string_equal(nj_arena_printf(&arena, "%d-%s", 7, "a"), "7-a");
    made = nj_arena_printf(&arena, "%s!", wide);
    assert_int_equal(strlen(made), 400);
    assert_int_equal(made[399], '!');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_are_zeroed_aligned_and_apart),
        cmocka_unit_test(a_reset_zeroes_what_it_hands_out_again),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(texts_are_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
