/*
 * test_leaves.c - large directories: where they are cut, what a change costs, what is refused
 */
#include "formats/object/inside.h"
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define MOST 20001

/* A directory of many files, and what it is stored in. */
struct fixture {
    struct memory_objects store;
    struct nj_object_sink sink;
    struct nj_object_source source;
    struct nj_arena arena;
    struct nj_tree_entry entries[MOST];
    struct nj_stamp stamps[MOST];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return -1;
    fixture->sink = memory_objects_sink(&fixture->store);
    fixture->source = memory_objects_source(&fixture->store);
    for (size_t i = 0; i < MOST; i++) {
        struct nj_tree_entry *entry = &fixture->entries[i];
        char *name = nj_arena_printf(&fixture->arena, "file-%05zu", i);

        entry->name = nj_span_text(name);
        entry->type = NJ_FILE_REGULAR;
        entry->mode = 0644;
        nj_digest_bytes(name, strlen(name), &entry->digest);
        fixture->stamps[i].name = entry->name;
        fixture->stamps[i].mtime_ns = (int64_t)i;
    }
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    memory_objects_done(&fixture->store);
    nj_arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

static struct nj_dir_stored put_tree(struct fixture *fixture, size_t n,
                                     const struct nj_dir_stored *earlier)
{
    struct nj_error err = {0};
    struct nj_dir_stored stored;

    if (nj_tree_put(&fixture->sink, &(struct nj_tree){fixture->entries, n}, earlier,
                    &fixture->arena, &stored, &err) < 0)
        fail_msg("%s", err.text);
    return stored;
}

static struct nj_dir_stored put_stamps(struct fixture *fixture, size_t n,
                                       const struct nj_dir_stored *earlier)
{
    struct nj_stamps stamps = {.mtime_ns = 7,
                               .entries = fixture->stamps,
                               .n_entries = n,
                               .has_ctime = true,
                               .ctime_ns = 8,
                               .next_ino = 9};
    struct nj_error err = {0};
    struct nj_dir_stored stored;

    if (nj_stamps_put(&fixture->sink, &stamps, earlier, &fixture->arena, &stored, &err) < 0)
        fail_msg("%s", err.text);
    return stored;
}

static struct nj_digest put_bytes(struct fixture *fixture, enum nj_object_kind kind,
                                  const struct nj_buf *buf)
{
    struct nj_error err = {0};
    struct nj_digest digest;

    assert_int_equal(nj_object_put(&fixture->sink, kind, nj_buf_span(buf), &digest, &err), 0);
    return digest;
}

static int load(struct fixture *fixture, const struct nj_digest *digest, struct nj_error *err)
{
    struct nj_tree tree;

    return nj_tree_load(&fixture->source, digest, &fixture->arena, &tree, NULL, err);
}

static void a_directory_is_whole_up_to_the_boundary_and_in_leaves_above_it(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored whole = put_tree(fixture, NJ_LEAVES_ABOVE, NULL);
    size_t puts = fixture->store.puts;
    struct nj_dir_stored cut;

    assert_int_equal(whole.n_leaves, 0);
    assert_int_equal(puts, 1);
    cut = put_tree(fixture, NJ_LEAVES_ABOVE + 1, NULL);
    assert_true(cut.n_leaves > 1);
    assert_int_equal(fixture->store.puts - puts, cut.n_leaves + 1);
    assert_int_equal(put_stamps(fixture, NJ_LEAVES_ABOVE, NULL).n_leaves, 0);
    assert_true(put_stamps(fixture, NJ_LEAVES_ABOVE + 1, NULL).n_leaves > 1);
}

static void a_directory_in_leaves_is_loaded_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored tree = put_tree(fixture, MOST, NULL);
    struct nj_dir_stored stamps = put_stamps(fixture, MOST, NULL);
    struct nj_error err = {0};
    struct nj_stamps found_stamps;
    struct nj_tree found;
    size_t bytes;

    assert_int_equal(
        nj_tree_load(&fixture->source, &tree.digest, &fixture->arena, &found, &bytes, &err), 0);
    assert_int_equal(
        nj_stamps_load(&fixture->source, &stamps.digest, &fixture->arena, &found_stamps, &err), 0);
    assert_int_equal(found.n_entries, MOST);
    assert_int_equal(found_stamps.n_entries, MOST);
    assert_true(bytes > MOST * 40);
    for (size_t i = 0; i < MOST; i++) {
        assert_true(nj_span_equal(found.entries[i].name, fixture->entries[i].name));
        assert_true(nj_digest_equal(&found.entries[i].digest, &fixture->entries[i].digest));
        assert_true(found_stamps.entries[i].mtime_ns == fixture->stamps[i].mtime_ns);
    }
    assert_int_equal(found_stamps.mtime_ns, 7);
    assert_int_equal(found_stamps.ctime_ns, 8);
    assert_int_equal(found_stamps.next_ino, 9);
}

/* What a step costs does not follow the directory's size: its leaf, and the list. */
static void a_changed_entry_costs_its_leaf_and_the_list(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored before = put_tree(fixture, MOST, NULL);
    size_t puts = fixture->store.puts, items = fixture->store.n_items, bytes = 0;
    struct nj_dir_stored after;

    fixture->entries[MOST / 2].mode = 0600;
    after = put_tree(fixture, MOST, &before);
    assert_int_equal(fixture->store.puts - puts, 2);
    for (size_t i = items; i < fixture->store.n_items; i++)
        bytes += fixture->store.items[i].len;
    assert_true(bytes < 100000); /* of some 1.3 MB */
    assert_int_equal(after.n_leaves, before.n_leaves);
}

static void a_removed_entry_changes_the_leaves_around_it_and_no_others(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored before = put_tree(fixture, MOST, NULL);
    size_t puts = fixture->store.puts;

    memmove(fixture->entries + 10, fixture->entries + 11, (MOST - 11) * sizeof(*fixture->entries));
    (void)put_tree(fixture, MOST - 1, &before);
    assert_true(fixture->store.puts - puts <= 8);
}

static void equal_directories_are_equal_objects_whatever_was_before(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored fresh = put_tree(fixture, 5000, NULL);
    struct nj_dir_stored longer = put_tree(fixture, MOST, NULL);
    struct nj_dir_stored again = put_tree(fixture, 5000, &longer);

    assert_true(nj_digest_equal(&fresh.digest, &again.digest));
}

static void a_large_directory_that_an_earlier_build_stored_whole_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    struct nj_digest digest;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_tree_encode(&(struct nj_tree){fixture->entries, 5000}, &buf, &err), 0);
    digest = put_bytes(fixture, NJ_OBJECT_TREE, &buf);
    assert_int_equal(load(fixture, &digest, &err), 0);
}

static int note_kind(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                     struct nj_error *err)
{
    (void)digest;
    (void)err;
    ((size_t *)ctx)[kind]++;
    return 0;
}

/* What is archived, restored and checked is what is reached. */
static void every_leaf_is_reached(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored tree = put_tree(fixture, 5000, NULL);
    struct nj_dir_stored stamps = put_stamps(fixture, 5000, NULL);
    struct nj_workspace_ref ref = {tree.digest, stamps.digest};
    size_t kinds[NJ_OBJECT_CONFIG + 1] = {0};
    struct nj_error err = {0};

    assert_int_equal(nj_tree_reach(&fixture->source, &ref, note_kind, kinds, &err), 0);
    assert_int_equal(kinds[NJ_OBJECT_TREE], tree.n_leaves + 1);
    assert_int_equal(kinds[NJ_OBJECT_STAMPS], stamps.n_leaves + 1);
    assert_int_equal(kinds[NJ_OBJECT_BLOB], 5000);
}

/* list_of - a TREE that lists @leaves */
static struct nj_digest list_of(struct fixture *fixture, const struct nj_leaf *leaves, size_t n)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_tree_encode_leaves(leaves, n, &buf, &err), 0);
    return put_bytes(fixture, NJ_OBJECT_TREE, &buf);
}

static void assert_refused(struct fixture *fixture, const struct nj_leaf *leaves, size_t n,
                           int code, const char *why)
{
    struct nj_digest digest = list_of(fixture, leaves, n);
    struct nj_error err = {0};

    assert_int_equal(load(fixture, &digest, &err), -code);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void leaves_within_leaves_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct nj_leaf leaf = {.digest = put_tree(fixture, 5000, NULL).digest};

    assert_refused(fixture, &leaf, 1, NJ_E_VERSION, "key \"C\"");
}

static int ignore_object(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                         struct nj_error *err)
{
    (void)ctx;
    (void)kind;
    (void)digest;
    (void)err;
    return 0;
}

static void what_is_reached_has_no_leaves_within_leaves(void **state)
{
    struct fixture *fixture = *state;
    struct nj_leaf leaf = {.digest = put_tree(fixture, 5000, NULL).digest};
    struct nj_digest nested = list_of(fixture, &leaf, 1);
    NJ_AUTO(nj_reach_free) struct nj_reach *reach = NULL;
    struct nj_error err = {0};

    assert_int_equal(nj_reach_new(&fixture->source, ignore_object, NULL, &reach, &err), 0);
    /* Met as a directory before, where it may have leaves: that makes no difference. */
    assert_int_equal(nj_reach_tree(reach, &leaf.digest, &err), 0);
    assert_int_equal(nj_reach_tree(reach, &nested, &err), -NJ_E_VERSION);
    assert_non_null(strstr(err.text, "key \"C\""));
}

static void a_leaf_of_a_tree_is_none_of_stamps(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_leaf leaf = {.digest = put_tree(fixture, 100, NULL).digest};
    struct nj_workspace_ref ref = {.tree = list_of(fixture, &leaf, 1)};
    struct nj_error err = {0};

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_stamps_encode_leaves(&(struct nj_stamps){0}, &leaf, 1, &buf, &err), 0);
    ref.stamps = put_bytes(fixture, NJ_OBJECT_STAMPS, &buf);
    assert_int_equal(nj_tree_reach(&fixture->source, &ref, ignore_object, NULL, &err),
                     -NJ_E_CORRUPT);
}

static void leaves_out_of_order_or_twice_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored stored = put_tree(fixture, 5000, NULL);
    struct nj_leaf turned[2] = {stored.leaves[1], stored.leaves[0]};
    struct nj_leaf twice[2] = {stored.leaves[0], stored.leaves[0]};

    assert_refused(fixture, turned, 2, NJ_E_CORRUPT, "ascending");
    assert_refused(fixture, twice, 2, NJ_E_CORRUPT, "ascending");
}

static void a_list_of_no_leaves_or_of_too_many_is_refused(void **state)
{
    static struct nj_leaf many[NJ_LEAVES_MAX + 1];
    struct fixture *fixture = *state;

    assert_refused(fixture, many, 0, NJ_E_CORRUPT, "0 leaves");
    assert_refused(fixture, many, NJ_LEAVES_MAX + 1, NJ_E_CORRUPT, "leaves, must be");
}

static void an_empty_leaf_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct nj_leaf leaf = {.digest = put_tree(fixture, 0, NULL).digest};

    assert_refused(fixture, &leaf, 1, NJ_E_CORRUPT, "a leaf without entries");
}

/* A small list could name one large leaf again and again: the eleventh is not decoded. */
static void leaves_of_more_entries_than_a_directory_may_have_are_refused(void **state)
{
    static struct nj_leaf same[11];
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_tree_encode(&(struct nj_tree){fixture->entries, MOST}, &buf, &err), 0);
    same[0].digest = put_bytes(fixture, NJ_OBJECT_TREE, &buf);
    for (size_t i = 1; i < 10; i++)
        same[i] = same[0];
    nj_digest_bytes("missing", 7, &same[10].digest);
    assert_refused(fixture, same, 11, NJ_E_CORRUPT, "200010 entries, a directory has at most");
}

static void leaves_of_more_bytes_than_a_directory_may_have_are_refused(void **state)
{
    static uint8_t value[NJ_TREE_XATTR_VALUE_MAX_BYTES];
    static struct nj_leaf same[64];
    struct fixture *fixture = *state;
    struct nj_xattr xattr = {nj_span_text("user.large"), {value, sizeof(value)}};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    for (size_t i = 0; i < 16; i++) {
        fixture->entries[i].xattrs = &xattr;
        fixture->entries[i].n_xattrs = 1;
    }
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_tree_encode(&(struct nj_tree){fixture->entries, 16}, &buf, &err), 0);
    same[0].digest = put_bytes(fixture, NJ_OBJECT_TREE, &buf);
    for (size_t i = 1; i < 64; i++)
        same[i] = same[0];
    assert_refused(fixture, same, 64, NJ_E_LIMIT, "a directory of more than");
}

static void entries_and_leaves_together_are_refused(void **state)
{
    static const uint8_t bytes[] = "\x82\xa1\x43\x91\xc4\x20"
                                   "0123456789abcdef0123456789abcdef"
                                   "\xa1\x65\x90";
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_leaf_list leaves;
    struct nj_error err = {0};
    struct nj_tree tree;

    (void)state;
    assert_int_equal(nj_tree_decode_stored((struct nj_span){bytes, sizeof(bytes) - 1}, &arena,
                                           &tree, &leaves, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "both entries and leaves"));
}

static void a_failed_put_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct nj_dir_stored stored = {0};

    for (size_t at = 1; at <= 3; at++) {
        struct nj_error err = {0};

        fixture->store.fail_at = at;
        assert_int_equal(nj_tree_put(&fixture->sink, &(struct nj_tree){fixture->entries, 5000},
                                     NULL, &fixture->arena, &stored, &err),
                         -NJ_E_SYSTEM);
        assert_int_equal(stored.n_leaves, 0); /* untouched */
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_directory_is_whole_up_to_the_boundary_and_in_leaves_above_it),
        TEST(a_directory_in_leaves_is_loaded_as_it_was),
        TEST(a_changed_entry_costs_its_leaf_and_the_list),
        TEST(a_removed_entry_changes_the_leaves_around_it_and_no_others),
        TEST(equal_directories_are_equal_objects_whatever_was_before),
        TEST(a_large_directory_that_an_earlier_build_stored_whole_is_loaded),
        TEST(every_leaf_is_reached),
        TEST(leaves_within_leaves_are_refused),
        TEST(what_is_reached_has_no_leaves_within_leaves),
        TEST(a_leaf_of_a_tree_is_none_of_stamps),
        TEST(leaves_out_of_order_or_twice_are_refused),
        TEST(a_list_of_no_leaves_or_of_too_many_is_refused),
        TEST(an_empty_leaf_is_refused),
        TEST(leaves_of_more_entries_than_a_directory_may_have_are_refused),
        TEST(leaves_of_more_bytes_than_a_directory_may_have_are_refused),
        TEST(entries_and_leaves_together_are_refused),
        TEST(a_failed_put_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
