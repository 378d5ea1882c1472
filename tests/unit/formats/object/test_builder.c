/*
 * test_builder.c - workspaces made from (path, content) pairs
 */
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

struct fixture {
    struct memory_objects store;
    struct nj_object_sink sink;
    struct nj_object_source source;
    struct nj_tree_builder *builder;
    struct nj_arena arena;
    struct nj_error err;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->sink = memory_objects_sink(&fixture->store);
    fixture->source = memory_objects_source(&fixture->store);
    *state = fixture;
    return nj_tree_builder_new(&fixture->builder, &fixture->err);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    nj_tree_builder_free(fixture->builder);
    nj_arena_done(&fixture->arena);
    memory_objects_done(&fixture->store);
    free(fixture);
    return 0;
}

static int add_file(struct fixture *fixture, const char *path, int64_t mtime_ns)
{
    return nj_tree_builder_file(fixture->builder, path, 0644, mtime_ns, nj_span_text(path),
                                &fixture->sink, &fixture->err);
}

static struct nj_stamps stamps_of(struct fixture *fixture, const struct nj_digest *digest)
{
    const struct memory_object *object = memory_objects_find(&fixture->store, digest);
    struct nj_stamps stamps;

    assert_non_null(object);
    assert_int_equal(nj_stamps_decode((struct nj_span){object->data, object->len}, &fixture->arena,
                                      &stamps, &fixture->err),
                     0);
    return stamps;
}

static void stamps_remember_the_order_of_adding(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct nj_tree_entry entry;
    struct nj_stamps root;
    struct nj_stamps inner;

    assert_int_equal(add_file(fixture, "zebra", 3), 0);
    assert_int_equal(add_file(fixture, "dir/late", -1), 0);
    assert_int_equal(add_file(fixture, "apple", 2), 0);
    assert_int_equal(add_file(fixture, "dir/early", 1), 0);
    assert_int_equal(nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
                     0);

    root = stamps_of(fixture, &ref.stamps);
    assert_int_equal(root.n_entries, 3);
    assert_true(nj_span_is(root.entries[0].name, "zebra"));
    assert_int_equal(root.entries[0].mtime_ns, 3);
    assert_true(nj_span_is(root.entries[1].name, "dir"));
    assert_true(root.entries[1].has_stamps);
    assert_true(nj_span_is(root.entries[2].name, "apple"));
    assert_false(root.entries[2].has_stamps);
    inner = stamps_of(fixture, &root.entries[1].stamps);
    assert_true(nj_span_is(inner.entries[0].name, "late"));
    assert_true(inner.entries[0].mtime_ns == -1);
    assert_true(nj_span_is(inner.entries[1].name, "early"));

    assert_int_equal(
        nj_tree_lookup(&fixture->source, &ref.tree, "dir", &fixture->arena, &entry, &fixture->err),
        0);
    assert_int_equal(entry.mode, 0755);
    assert_int_equal(nj_tree_lookup(&fixture->source, &ref.tree, "dir/late", &fixture->arena,
                                    &entry, &fixture->err),
                     0);
    assert_int_equal(entry.size, strlen("dir/late"));
    assert_int_equal(entry.mode, 0644);
}

static void the_order_of_adding_does_not_change_the_tree(void **state)
{
    static const char *const forth[] = {"a/b/c", "a/b/d", "e", "f/g"};
    struct fixture *fixture = *state;
    NJ_AUTO(nj_tree_builder_free) struct nj_tree_builder *other = NULL;
    struct nj_workspace_ref ref;
    struct nj_workspace_ref other_ref;

    assert_int_equal(nj_tree_builder_new(&other, &fixture->err), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(add_file(fixture, forth[i], 0), 0);
        assert_int_equal(nj_tree_builder_file(other, forth[3 - i], 0644, 0,
                                              nj_span_text(forth[3 - i]), &fixture->sink,
                                              &fixture->err),
                         0);
    }
    assert_int_equal(nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
                     0);
    assert_int_equal(nj_tree_builder_finish(other, &fixture->sink, &other_ref, &fixture->err), 0);
    assert_true(nj_digest_equal(&ref.tree, &other_ref.tree));
    assert_false(nj_digest_equal(&ref.stamps, &other_ref.stamps));
}

static void nothing_added_is_the_empty_workspace(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct nj_workspace_ref empty;

    assert_int_equal(nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
                     0);
    assert_int_equal(nj_tree_empty(&fixture->sink, &empty, &fixture->err), 0);
    assert_true(nj_digest_equal(&ref.tree, &empty.tree));
    assert_true(nj_digest_equal(&ref.stamps, &empty.stamps));
}

static void a_directory_may_be_given_its_mode_after_its_files(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct nj_tree_entry entry;
    struct nj_stamps root;

    assert_int_equal(add_file(fixture, "dir/file", 0), 0);
    assert_int_equal(nj_tree_builder_dir(fixture->builder, "dir", 01777, 99, &fixture->err), 0);
    assert_int_equal(nj_tree_builder_dir(fixture->builder, "dir/empty", 0700, 5, &fixture->err), 0);
    assert_int_equal(nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
                     0);
    assert_int_equal(
        nj_tree_lookup(&fixture->source, &ref.tree, "dir", &fixture->arena, &entry, &fixture->err),
        0);
    assert_int_equal(entry.mode, 01777);
    root = stamps_of(fixture, &ref.stamps);
    assert_int_equal(root.entries[0].mtime_ns, 99);
    assert_int_equal(stamps_of(fixture, &root.entries[0].stamps).mtime_ns, 99);
    assert_int_equal(nj_tree_lookup(&fixture->source, &ref.tree, "dir/empty", &fixture->arena,
                                    &entry, &fixture->err),
                     0);
    assert_int_equal(entry.type, NJ_FILE_DIRECTORY);
}

static void adding_twice_is_refused(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_file(fixture, "a/b", 0), 0);
    assert_int_equal(add_file(fixture, "a/b", 0), -NJ_E_INPUT);
    assert_string_equal(fixture->err.text, "a/b: added twice");
    assert_int_equal(nj_tree_builder_dir(fixture->builder, "a/b", 0755, 0, &fixture->err),
                     -NJ_E_INPUT);
    assert_int_equal(nj_tree_builder_dir(fixture->builder, "a", 0755, 0, &fixture->err), 0);
    assert_int_equal(nj_tree_builder_dir(fixture->builder, "a", 0755, 0, &fixture->err),
                     -NJ_E_INPUT);
    assert_int_equal(add_file(fixture, "a", 0), -NJ_E_INPUT);
}

static void nothing_can_be_under_a_file(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_file(fixture, "a/b", 0), 0);
    assert_int_equal(add_file(fixture, "a/b/c", 0), -NJ_E_INPUT);
    assert_string_equal(fixture->err.text, "a/b is a file, so nothing can be under it");
}

static void paths_and_modes_are_checked(void **state)
{
    static const char *const bad[] = {"", "/a", "a/", "a//b", "../a", "a/./b"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(add_file(fixture, bad[i], 0), -NJ_E_INPUT);
        assert_int_equal(nj_tree_builder_dir(fixture->builder, bad[i], 0755, 0, &fixture->err),
                         -NJ_E_INPUT);
    }
    assert_int_equal(nj_tree_builder_dir(fixture->builder, "a", 010000, 0, &fixture->err),
                     -NJ_E_INPUT);
    assert_string_equal(fixture->err.text, "a: mode 10000 is above 07777");
    assert_int_equal(fixture->store.n_items, 0);
}

static int count_visits(void *ctx, const char *path, const struct nj_tree_entry *entry,
                        struct nj_error *err)
{
    size_t *visits = ctx;

    (void)path;
    (void)entry;
    (void)err;
    (*visits)++;
    return 0;
}

static void the_deepest_that_can_be_built_can_be_walked(void **state)
{
    struct fixture *fixture = *state;
    char path[2 * NJ_TREE_DEPTH_MAX];
    struct nj_workspace_ref ref;
    size_t visits = 0;

    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = i % 2 ? '/' : 'p';
    path[2 * NJ_TREE_DEPTH_MAX - 1] = '\0'; /* as many names as levels: one too many */
    assert_int_equal(nj_tree_builder_dir(fixture->builder, path, 0755, 0, &fixture->err),
                     -NJ_E_LIMIT);
    assert_non_null(strstr(fixture->err.text, "deeper than 1024 levels"));
    path[2 * (NJ_TREE_DEPTH_MAX - 1) - 1] = '\0';
    assert_int_equal(nj_tree_builder_dir(fixture->builder, path, 0755, 0, &fixture->err), 0);
    assert_int_equal(nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
                     0);
    if (nj_tree_walk(&fixture->source, &ref.tree, count_visits, &visits, &fixture->err) < 0)
        fail_msg("%s", fixture->err.text);
    assert_int_equal(visits, NJ_TREE_DEPTH_MAX - 1);
}

static void a_put_that_fails_is_told_and_nothing_is_added(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;

    fixture->store.fail_at = 1;
    assert_int_equal(add_file(fixture, "dir/a", 0), -NJ_E_SYSTEM);
    assert_string_equal(fixture->err.text, "dir/a: this put was told to fail");
    assert_int_equal(add_file(fixture, "dir/a", 0), 0); /* so it may be tried again */
    for (size_t n = 1; n <= 4; n++) {                   /* dir's tree and stamps, then the root's */
        fixture->store.fail_at = n;
        assert_int_equal(
            nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
            -NJ_E_SYSTEM);
    }
    assert_int_equal(nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &fixture->err),
                     0);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(stamps_remember_the_order_of_adding),
        WITH_FIXTURE(the_order_of_adding_does_not_change_the_tree),
        WITH_FIXTURE(nothing_added_is_the_empty_workspace),
        WITH_FIXTURE(a_directory_may_be_given_its_mode_after_its_files),
        WITH_FIXTURE(adding_twice_is_refused),
        WITH_FIXTURE(nothing_can_be_under_a_file),
        WITH_FIXTURE(paths_and_modes_are_checked),
        WITH_FIXTURE(the_deepest_that_can_be_built_can_be_walked),
        WITH_FIXTURE(a_put_that_fails_is_told_and_nothing_is_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
