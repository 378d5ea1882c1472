/*
 * test_cut.c - where long files are cut, and what an edit costs
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define FILE_BYTES ((size_t)8 << 20)

static uint8_t *noise(size_t len, uint64_t seed)
{
    uint8_t *bytes = malloc(len);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> 56);
    }
    return bytes;
}

static void lengths_are_bounded_and_near_the_normal_one(void **state)
{
    nj_auto_free uint8_t *bytes = noise(FILE_BYTES, 1);
    struct nj_cut cut;
    size_t count = 0, near = 0;

    (void)state;
    nj_cut_init(&cut, FILE_BYTES);
    assert_int_equal(cut.normal_bytes, 16 << 10);
    for (size_t at = 0; at < FILE_BYTES;) {
        size_t len = nj_cut_next(&cut, (struct nj_span){bytes + at, FILE_BYTES - at});

        assert_true(len <= cut.max_bytes && (len >= cut.min_bytes || at + len == FILE_BYTES));
        near += len > cut.normal_bytes / 2 && len < cut.normal_bytes * 2;
        count++;
        at += len;
    }
    assert_true(count <= nj_cut_parts_max(&cut, FILE_BYTES));
    assert_in_range(count, FILE_BYTES / cut.normal_bytes * 2 / 3,
                    FILE_BYTES / cut.normal_bytes * 4 / 3);
    assert_true(near * 4 > count * 3);
}

/* The cuts of every build are the same, or each would store the others' files anew. */
static void the_cuts_of_given_bytes_are_known(void **state)
{
    static const size_t expected[] = {21553, 21623, 17079, 17889, 5787, 23485};
    nj_auto_free uint8_t *bytes = noise(FILE_BYTES, 7);
    struct nj_cut cut;
    size_t at = 0;

    (void)state;
    nj_cut_init(&cut, FILE_BYTES);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        size_t len = nj_cut_next(&cut, (struct nj_span){bytes + at, FILE_BYTES - at});

        assert_int_equal(len, expected[i]);
        at += len;
    }
}

static void what_is_asked_does_not_depend_on_how_much_lies_behind(void **state)
{
    nj_auto_free uint8_t *bytes = noise(FILE_BYTES, 3);
    struct nj_cut cut;

    (void)state;
    nj_cut_init(&cut, FILE_BYTES);
    for (size_t at = 0; at + cut.max_bytes <= FILE_BYTES; at += 100003)
        assert_int_equal(nj_cut_next(&cut, (struct nj_span){bytes + at, cut.max_bytes}),
                         nj_cut_next(&cut, (struct nj_span){bytes + at, FILE_BYTES - at}));
}

/* bytes_new - stored for @content beyond what @store holds already */
static size_t bytes_new(struct memory_objects *store, struct nj_span content)
{
    struct nj_object_sink sink = memory_objects_sink(store);
    struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR};
    struct nj_error err = {0};
    size_t before = store->n_items, bytes = 0;

    assert_int_equal(nj_parts_put(&sink, content, &entry, &err), 0);
    for (size_t i = before; i < store->n_items; i++)
        bytes += store->items[i].len;
    return bytes;
}

static void an_edit_costs_the_parts_around_it(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    nj_auto_free uint8_t *bytes = noise(FILE_BYTES + 1, 5);
    size_t names;

    (void)state;
    assert_true(bytes_new(&store, (struct nj_span){bytes, FILE_BYTES}) > FILE_BYTES);
    names = store.items[store.n_items - 1].len; /* the PARTS object comes anew with each change */
    bytes[FILE_BYTES / 2] ^= 1;
    assert_true(bytes_new(&store, (struct nj_span){bytes, FILE_BYTES}) < names + (200u << 10));
    /* Everything moves by a byte; the cuts move along. */
    memmove(bytes + 1, bytes, FILE_BYTES);
    assert_true(bytes_new(&store, (struct nj_span){bytes, FILE_BYTES + 1}) < names + (200u << 10));
}

static void parts_never_become_too_many(void **state)
{
    struct nj_cut cut;

    (void)state;
    for (uint64_t bytes = NJ_OBJECT_PART_BYTES + 1; bytes <= (uint64_t)NJ_PARTS_MAX << 20;
         bytes += bytes / 3) {
        nj_cut_init(&cut, bytes);
        assert_true(nj_cut_parts_max(&cut, bytes) <= NJ_PARTS_MAX);
        assert_true(cut.max_bytes <= NJ_OBJECT_PART_BYTES && cut.min_bytes >= 64);
    }
    for (uint64_t bytes = (uint64_t)128 << 20; bytes < (uint64_t)NJ_PARTS_MAX << 20; bytes *= 2) {
        nj_cut_init(&cut, bytes + 1); /* where parts grow */
        assert_true(nj_cut_parts_max(&cut, bytes + 1) <= NJ_PARTS_MAX);
    }
    nj_cut_init(&cut, (uint64_t)NJ_PARTS_MAX << 20);
    assert_int_equal(nj_cut_parts_max(&cut, (uint64_t)NJ_PARTS_MAX << 20), NJ_PARTS_MAX);
}

static void zeros_are_cut_at_the_longest(void **state)
{
    nj_auto_free uint8_t *zeros = calloc(1, FILE_BYTES);
    struct nj_cut cut;

    (void)state;
    nj_cut_init(&cut, FILE_BYTES);
    assert_int_equal(nj_cut_next(&cut, (struct nj_span){zeros, FILE_BYTES}), cut.max_bytes);
    assert_int_equal(nj_cut_next(&cut, (struct nj_span){zeros, 1}), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_bounded_and_near_the_normal_one),
        cmocka_unit_test(the_cuts_of_given_bytes_are_known),
        cmocka_unit_test(what_is_asked_does_not_depend_on_how_much_lies_behind),
        cmocka_unit_test(an_edit_costs_the_parts_around_it),
        cmocka_unit_test(parts_never_become_too_many),
        cmocka_unit_test(zeros_are_cut_at_the_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
