/*
 * test_list.c - the conversation tree: growing, going on, and refusing what does not fit its count
 */
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/bytes.h"

#include "formats/base/banned.h"

static struct nj_digest item(uint64_t index)
{
    struct nj_digest digest = {{0}};

    nj_store_u64le(digest.bytes, index);
    return digest;
}

static void append(struct nj_list *list, uint64_t index, struct memory_objects *store,
                   struct nj_digest *root)
{
    struct nj_object_sink sink = memory_objects_sink(store);
    struct nj_digest digest = item(index);
    struct nj_error err = {0};

    if (nj_list_append(list, &digest, &sink, root, &err) < 0)
        fail_msg("%s", err.text);
}

static int expect_item(void *ctx, uint64_t index, const struct nj_digest *found,
                       struct nj_error *err)
{
    uint64_t *next = ctx;
    struct nj_digest wanted = item(index);

    (void)err;
    assert_int_equal(index, *next);
    assert_true(nj_digest_equal(found, &wanted));
    (*next)++;
    return 0;
}

static void assert_spines_equal(const struct nj_list *a, const struct nj_list *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->levels, b->levels);
    for (unsigned level = 0; level < a->levels; level++) {
        assert_int_equal(a->spine[level].n_items, b->spine[level].n_items);
        assert_memory_equal(a->spine[level].items, b->spine[level].items,
                            a->spine[level].n_items * sizeof(struct nj_digest));
    }
}

static void every_length_reads_back_and_goes_on(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_list list = {0};
    struct nj_digest root;
    struct nj_error err = {0};

    (void)state;
    for (uint64_t count = 1; count <= 2100; count++) {
        struct nj_list spine;

        append(&list, count - 1, &store, &root);
        assert_int_equal(nj_list_load(&spine, &source, &root, count, NULL, NULL, &err), 0);
        assert_spines_equal(&spine, &list);
        if (count % 97 == 0 || count < 70) {
            uint64_t visited = 0;

            assert_int_equal(
                nj_list_load(&spine, &source, &root, count, expect_item, &visited, &err), 0);
            assert_int_equal(visited, count);
        }
        list = spine; /* go on from what was read */
    }
}

static void an_append_writes_one_leaf_and_its_path(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_list list = {0};
    struct nj_digest root;

    (void)state;
    for (uint64_t count = 1; count <= 1100; count++) {
        size_t puts = store.puts;

        append(&list, count - 1, &store, &root);
        assert_int_equal(store.puts - puts, count <= 32 ? 1 : count <= 1024 ? 2 : 3);
    }
}

static void lists_of_equal_items_have_equal_roots(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_list a = {0};
    struct nj_list b = {0};
    struct nj_digest root_a;
    struct nj_digest root_b;

    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        append(&a, i, &store, &root_a);
    for (uint64_t i = 0; i < 100; i++)
        append(&b, i, &store, &root_b);
    assert_true(nj_digest_equal(&root_a, &root_b));
    append(&b, 100, &store, &root_b);
    assert_false(nj_digest_equal(&root_a, &root_b));
}

static void a_failed_append_changes_nothing(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_list list = {0};
    struct nj_list before;
    struct nj_digest root;
    struct nj_digest kept;
    struct nj_error err = {0};

    (void)state;
    for (uint64_t i = 0; i < 64; i++)
        append(&list, i, &store, &root);
    before = list;
    kept = root;
    for (size_t n = 1; n <= 2; n++) { /* the leaf, then the root */
        store.fail_at = n;
        assert_int_equal(nj_list_append(&list, &kept, &sink, &root, &err), -NJ_E_SYSTEM);
        assert_memory_equal(&list, &before, sizeof(list));
        assert_true(nj_digest_equal(&root, &kept));
    }
}

static void an_empty_list_needs_no_root(void **state)
{
    struct nj_object_source source = {0};
    struct nj_list list = {.count = 5};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_list_load(&list, &source, NULL, 0, NULL, NULL, &err), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(list.levels, 0);
}

static void a_count_that_does_not_fit_the_nodes_is_refused(void **state)
{
    static const uint64_t wrong[] = {
        1, 31, 99, 101, 128, 129, 1024, 1025, NJ_LIST_ITEMS_MAX, NJ_LIST_ITEMS_MAX + 1, UINT64_MAX};
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_list list = {0};
    struct nj_digest root;

    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        append(&list, i, &store, &root);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct nj_list found = {.count = 7};
        struct nj_error err = {0};
        uint64_t visited = 0;

        assert_int_equal(
            nj_list_load(&found, &source, &root, wrong[i], expect_item, &visited, &err),
            -NJ_E_CORRUPT);
        assert_non_null(strstr(err.text, "list: "));
        assert_int_equal(found.count, 7);
    }
}

static int stop_at_40(void *ctx, uint64_t index, const struct nj_digest *found,
                      struct nj_error *err)
{
    uint64_t *visited = ctx;

    (void)found;
    (*visited)++;
    return index == 40 ? nj_fail(err, NJ_E_CANCELLED, "enough") : 0;
}

static void the_visitor_may_stop(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_list list = {0};
    struct nj_digest root;
    struct nj_error err = {0};
    uint64_t visited = 0;

    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        append(&list, i, &store, &root);
    assert_int_equal(nj_list_load(&list, &source, &root, 100, stop_at_40, &visited, &err),
                     -NJ_E_CANCELLED);
    assert_int_equal(visited, 41);
}

static void a_full_list_takes_no_more(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_list list = {.count = NJ_LIST_ITEMS_MAX, .levels = NJ_LIST_LEVELS_MAX};
    struct nj_digest digest = item(1);
    struct nj_digest root;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_list_append(&list, &digest, &sink, &root, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "at most 1048576 items"));
}

static void the_written_nodes_are_the_golden_ones(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_list list = {0};
    const struct memory_object *node;
    struct nj_digest root;

    (void)state;
    for (uint64_t i = 0; i < 33; i++)
        append(&list, i, &store, &root);
    node = memory_objects_find(&store, &root);
    assert_int_equal(node->kind, NJ_OBJECT_LIST);
    golden_check("object/v0/list-root.list", (struct nj_span){node->data, node->len});
    node = memory_objects_find(&store, &list.spine[1].items[1]);
    golden_check("object/v0/list-leaf.list", (struct nj_span){node->data, node->len});
}

/* Node bytes that claim to be a list of @count. */
static int load_bytes(const char *bytes, size_t len, uint64_t count, struct nj_error *err)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_list list;
    struct nj_digest root;

    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_LIST,
                                   (struct nj_span){(const uint8_t *)bytes, len}, &root, err),
                     0);
    return nj_list_load(&list, &source, &root, count, NULL, NULL, err);
}

#define DIGEST                                                                                     \
    "\xc4\x20"                                                                                     \
    "0123456789abcdef0123456789abcdef"
#define DAMAGED(name, bytes, count, code, words)                                                   \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, count, code, words                                         \
    }

static void damaged_nodes_are_refused_by_name(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        uint64_t count;
        enum nj_error_code code;
        const char *words;
    } cases[] = {
        DAMAGED("list-no-items", "\x82\xa1i\x90\xa1l\x00", 1, NJ_E_CORRUPT, "0 items, must be 1"),
        DAMAGED("list-no-level", "\x81\xa1i\x91" DIGEST, 1, NJ_E_CORRUPT, "list.l"),
        DAMAGED("list-wrong-level", "\x82\xa1i\x91" DIGEST "\xa1l\x01", 1, NJ_E_CORRUPT,
                "level 1 where level 0"),
        DAMAGED("list-level-9", "\x82\xa1i\x91" DIGEST "\xa1l\x09", 1, NJ_E_CORRUPT, "list.l"),
        DAMAGED("list-short-digest", "\x82\xa1i\x91\xc4\x01x\xa1l\x00", 1, NJ_E_CORRUPT,
                "list.i[0]"),
        DAMAGED("list-newer-key", "\x83\xa1N\xc0\xa1i\x91" DIGEST "\xa1l\x00", 1, NJ_E_VERSION,
                "key \"N\" needs a newer build"),
        DAMAGED("list-more-than-counted", "\x82\xa1i\x92" DIGEST DIGEST "\xa1l\x00", 1,
                NJ_E_CORRUPT, "2 children where the count asks for 1"),
        DAMAGED("list-keys-unsorted", "\x82\xa1l\x00\xa1i\x91" DIGEST, 1, NJ_E_CORRUPT, "list: "),
        DAMAGED("list-is-an-array", "\x91\x00", 1, NJ_E_CORRUPT, "list: not a map"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nj_error err = {0};
        char file[128];

        (void)snprintf(file, sizeof(file), "object/damaged/%s", cases[i].name);
        golden_check(file, (struct nj_span){(const uint8_t *)cases[i].bytes, cases[i].len});
        assert_int_equal(load_bytes(cases[i].bytes, cases[i].len, cases[i].count, &err),
                         -(int)cases[i].code);
        if (!strstr(err.text, cases[i].words))
            fail_msg("%s: %s", cases[i].name, err.text);
    }
}

static void a_key_from_later_is_ignored(void **state)
{
    static const char bytes[] = "\x83\xa1i\x91" DIGEST "\xa1l\x00\xa1z\x01";
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(load_bytes(bytes, sizeof(bytes) - 1, 1, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_reads_back_and_goes_on),
        cmocka_unit_test(an_append_writes_one_leaf_and_its_path),
        cmocka_unit_test(lists_of_equal_items_have_equal_roots),
        cmocka_unit_test(a_failed_append_changes_nothing),
        cmocka_unit_test(an_empty_list_needs_no_root),
        cmocka_unit_test(a_count_that_does_not_fit_the_nodes_is_refused),
        cmocka_unit_test(the_visitor_may_stop),
        cmocka_unit_test(a_full_list_takes_no_more),
        cmocka_unit_test(the_written_nodes_are_the_golden_ones),
        cmocka_unit_test(damaged_nodes_are_refused_by_name),
        cmocka_unit_test(a_key_from_later_is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
