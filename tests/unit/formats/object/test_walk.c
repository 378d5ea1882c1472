/*
 * test_walk.c - following trees, also those that want to be followed for ever
 */
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

/* A store with a small workspace in it, made by the builder. */
struct fixture {
    struct memory_objects store;
    struct nj_object_sink sink;
    struct nj_object_source source;
    struct nj_tree_builder *builder;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct nj_error err = {0};

    fixture->sink = memory_objects_sink(&fixture->store);
    fixture->source = memory_objects_source(&fixture->store);
    *state = fixture;
    return nj_tree_builder_new(&fixture->builder, &err);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    nj_tree_builder_free(fixture->builder);
    memory_objects_done(&fixture->store);
    free(fixture);
    return 0;
}

static void add(struct fixture *fixture, const char *path, const char *content)
{
    struct nj_error err = {0};

    if (nj_tree_builder_file(fixture->builder, path, 0644, 5, nj_span_text(content), &fixture->sink,
                             &err) < 0)
        fail_msg("%s", err.text);
}

static struct nj_workspace_ref finish(struct fixture *fixture)
{
    struct nj_workspace_ref ref;
    struct nj_error err = {0};

    if (nj_tree_builder_finish(fixture->builder, &fixture->sink, &ref, &err) < 0)
        fail_msg("%s", err.text);
    return ref;
}

static struct nj_digest put_tree(struct fixture *fixture, const struct nj_tree_entry *entries,
                                 size_t count)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_digest digest;
    struct nj_error err = {0};

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    if (nj_tree_encode(&(struct nj_tree){entries, count}, &buf, &err) < 0 ||
        nj_object_put(&fixture->sink, NJ_OBJECT_TREE, nj_buf_span(&buf), &digest, &err) < 0)
        fail_msg("%s", err.text);
    return digest;
}

static int write_path(void *ctx, const char *path, const struct nj_tree_entry *entry,
                      struct nj_error *err)
{
    return nj_buf_printf(ctx, err, "%s%s\n", path, entry->type == NJ_FILE_DIRECTORY ? "/" : "");
}

static void a_walk_meets_everything_in_order(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct nj_error err = {0};

    add(fixture, "workspace/b/z", "1");
    add(fixture, "workspace/b/a", "2");
    add(fixture, "workspace/b.txt", "3");
    add(fixture, "tmp/x", "4");
    ref = finish(fixture);
    nj_buf_init(&text, 4096);
    if (nj_tree_walk(&fixture->source, &ref.tree, write_path, &text, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(text.data, "tmp/\ntmp/x\nworkspace/\nworkspace/b/\nworkspace/b/a\n"
                                   "workspace/b/z\nworkspace/b.txt\n");
}

static int stop_at_x(void *ctx, const char *path, const struct nj_tree_entry *entry,
                     struct nj_error *err)
{
    size_t *visits = ctx;

    (void)entry;
    (*visits)++;
    return strcmp(path, "tmp/x") == 0 ? nj_fail(err, NJ_E_CANCELLED, "enough") : 0;
}

static void a_visitor_may_stop_the_walk(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct nj_error err = {0};
    size_t visits = 0;

    add(fixture, "tmp/x", "4");
    add(fixture, "tmp/y", "4");
    ref = finish(fixture);
    assert_int_equal(nj_tree_walk(&fixture->source, &ref.tree, stop_at_x, &visits, &err),
                     -NJ_E_CANCELLED);
    assert_int_equal(visits, 2);
}

static void a_missing_directory_is_named_by_its_path(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry lost = {
        .name = TEXT("lost"), .type = NJ_FILE_DIRECTORY, .digest = {{0xab, 0xcd}}};
    struct nj_tree_entry top = {.name = TEXT("top"), .type = NJ_FILE_DIRECTORY};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_digest root;
    struct nj_error err = {0};

    top.digest = put_tree(fixture, &lost, 1);
    root = put_tree(fixture, &top, 1);
    nj_buf_init(&text, 4096);
    assert_int_equal(nj_tree_walk(&fixture->source, &root, write_path, &text, &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "top/lost: tree abcd000000000000: no such object");
    assert_int_equal(nj_tree_walk(&fixture->source, &lost.digest, write_path, &text, &err),
                     -NJ_E_CORRUPT);
    assert_string_equal(err.text, ".: tree abcd000000000000: no such object");
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

#define NAMES_MAX 200u

/* @levels directories, each holding the next one below it under @names names; the last holds as
 * many files. */
static struct nj_workspace_ref nested(struct fixture *fixture, unsigned levels, unsigned names)
{
    struct nj_tree_entry entries[NAMES_MAX];
    char texts[NAMES_MAX][16];
    struct nj_workspace_ref ref;
    struct nj_error err = {0};

    assert_true(names <= NAMES_MAX);
    for (unsigned i = 0; i < names; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%03u", i);
        entries[i] =
            (struct nj_tree_entry){.name = nj_span_text(texts[i]), .type = NJ_FILE_REGULAR};
    }
    assert_int_equal(nj_tree_empty(&fixture->sink, &ref, &err), 0);
    ref.tree = put_tree(fixture, entries, names);
    for (unsigned level = 1; level < levels; level++) {
        for (unsigned i = 0; i < names; i++) {
            entries[i].type = NJ_FILE_DIRECTORY;
            entries[i].digest = ref.tree;
        }
        ref.tree = put_tree(fixture, entries, names);
    }
    return ref;
}

static int ignore_object(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                         struct nj_error *err)
{
    size_t *visits = ctx;

    (void)kind;
    (void)digest;
    (void)err;
    (*visits)++;
    return 0;
}

static int ignore_difference(void *ctx, const char *path, const struct nj_tree_entry *a,
                             const struct nj_tree_entry *b, struct nj_error *err)
{
    size_t *visits = ctx;

    (void)path;
    (void)a;
    (void)b;
    (void)err;
    (*visits)++;
    return 0;
}

static void a_tree_that_unfolds_without_end_is_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref = nested(fixture, 20, 200); /* 200^20 paths, 20 directories */
    struct nj_workspace_ref empty;
    struct nj_error err = {0};
    size_t visits = 0;

    assert_int_equal(nj_tree_empty(&fixture->sink, &empty, &err), 0);
    assert_int_equal(nj_tree_walk(&fixture->source, &ref.tree, count_visits, &visits, &err),
                     -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "the tree unfolds to more than 2000000 entries"));
    assert_true(visits <= NJ_TREE_VISITS_MAX);
    visits = 0;
    assert_int_equal(nj_tree_diff(&fixture->source, &empty.tree, &fixture->source, &ref.tree,
                                  ignore_difference, &visits, &err),
                     -NJ_E_LIMIT);
    assert_true(visits <= NJ_TREE_VISITS_MAX);
    visits = 0; /* but it is only 20 directories, one file and stamps */
    assert_int_equal(nj_tree_reach(&fixture->source, &ref, ignore_object, &visits, &err), 0);
    assert_int_equal(visits, 22);
}

static void depth_has_a_limit(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref fits = nested(fixture, NJ_TREE_DEPTH_MAX, 1);
    struct nj_workspace_ref deeper = nested(fixture, NJ_TREE_DEPTH_MAX + 1, 1);
    struct nj_error err = {0};
    size_t visits = 0;

    if (nj_tree_walk(&fixture->source, &fits.tree, count_visits, &visits, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(visits, NJ_TREE_DEPTH_MAX);
    assert_int_equal(nj_tree_walk(&fixture->source, &deeper.tree, count_visits, &visits, &err),
                     -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "deeper than 1024 levels"));
    assert_int_equal(nj_tree_reach(&fixture->source, &fits, ignore_object, &visits, &err), 0);
    assert_int_equal(nj_tree_reach(&fixture->source, &deeper, ignore_object, &visits, &err),
                     -NJ_E_LIMIT);
}

static void directories_held_open_have_a_limit(void **state)
{
    struct fixture *fixture = *state;
    nj_auto_free uint8_t *value = calloc(1, NJ_TREE_XATTR_VALUE_MAX_BYTES);
    struct nj_tree_entry entries[4] = {{.name = TEXT("a"), .type = NJ_FILE_DIRECTORY},
                                       {.name = TEXT("b"), .type = NJ_FILE_REGULAR},
                                       {.name = TEXT("c"), .type = NJ_FILE_REGULAR},
                                       {.name = TEXT("d"), .type = NJ_FILE_REGULAR}};
    static char names[NJ_TREE_XATTRS_MAX][16];
    struct nj_xattr xattrs[NJ_TREE_XATTRS_MAX];
    struct nj_workspace_ref ref;
    struct nj_error err = {0};
    size_t visits = 0;

    /* Each level takes 12 MiB of attributes; 22 of them are more than 256 MiB. */
    for (size_t i = 0; i < NJ_TREE_XATTRS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "user.%02zu", i);
        xattrs[i] =
            (struct nj_xattr){nj_span_text(names[i]), {value, NJ_TREE_XATTR_VALUE_MAX_BYTES}};
    }
    for (size_t i = 1; i < 4; i++) {
        entries[i].xattrs = xattrs;
        entries[i].n_xattrs = NJ_TREE_XATTRS_MAX;
    }
    assert_int_equal(nj_tree_empty(&fixture->sink, &ref, &err), 0);
    for (size_t level = 0; level < 22; level++) {
        entries[0].digest = ref.tree;
        ref.tree = put_tree(fixture, entries, 4);
    }
    assert_int_equal(nj_tree_walk(&fixture->source, &ref.tree, count_visits, &visits, &err),
                     -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "hold more than 268435456 bytes"));
}

static void lookups_follow_directories_only(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    static const struct nj_xattr xattr = {TEXT("user.a"), TEXT("value")};
    struct nj_tree_entry entries[] = {
        {.name = TEXT("f"), .type = NJ_FILE_REGULAR, .mode = 0600, .xattrs = &xattr, .n_xattrs = 1},
        {.name = TEXT("link"), .type = NJ_FILE_SYMLINK, .target = TEXT("dir")},
    };
    struct nj_tree_entry dir = {.name = TEXT("dir"), .type = NJ_FILE_DIRECTORY, .mode = 0755};
    struct nj_tree_entry found = {0};
    struct nj_digest root;
    struct nj_error err = {0};

    dir.digest = put_tree(fixture, entries, 2);
    root = put_tree(fixture, &dir, 1);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir/f", &arena, &found, &err), 0);
    assert_int_equal(found.mode, 0600);
    assert_int_equal(found.n_xattrs, 1);
    assert_true(nj_span_is(found.xattrs[0].name, "user.a"));
    assert_true(nj_span_is(found.xattrs[0].value, "value"));
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir", &arena, &found, &err), 0);
    assert_int_equal(found.type, NJ_FILE_DIRECTORY);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir/link", &arena, &found, &err), 0);
    assert_true(nj_span_is(found.target, "dir"));
    assert_true(nj_span_is(found.name, "link"));

    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "no", &arena, &found, &err), 1);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir/no", &arena, &found, &err), 1);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir/f/x", &arena, &found, &err), 1);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir/link/f", &arena, &found, &err),
                     1);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "/dir", &arena, &found, &err),
                     -NJ_E_INPUT);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "", &arena, &found, &err),
                     -NJ_E_INPUT);
    assert_int_equal(nj_tree_lookup(&fixture->source, &root, "dir/../dir", &arena, &found, &err),
                     -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "is not a path in a workspace"));
    assert_int_equal(
        nj_tree_lookup(&fixture->source, &(struct nj_digest){{1}}, "dir", &arena, &found, &err),
        -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "directory of dir: tree 0100"));
}

static int write_difference(void *ctx, const char *path, const struct nj_tree_entry *a,
                            const struct nj_tree_entry *b, struct nj_error *err)
{
    return nj_buf_printf(ctx, err, "%c %s\n", a && b ? 'M' : a ? 'D' : 'A', path);
}

static void differences_are_reported_in_order(void **state)
{
    struct fixture *fixture = *state;
    static const struct nj_xattr xattr = {TEXT("user.a"), TEXT("value")};
    static const struct nj_xattr other_xattr = {TEXT("user.a"), TEXT("other")};
    struct nj_tree_entry one = {.name = TEXT("one"), .type = NJ_FILE_REGULAR};
    struct nj_tree_entry a[] = {
        {.name = TEXT("attrs"), .type = NJ_FILE_REGULAR, .xattrs = &xattr, .n_xattrs = 1},
        {.name = TEXT("bytes"), .type = NJ_FILE_REGULAR, .size = 5, .digest = {{1}}},
        {.name = TEXT("dir"), .type = NJ_FILE_DIRECTORY},
        {.name = TEXT("dir-to-file"), .type = NJ_FILE_DIRECTORY},
        {.name = TEXT("gone"), .type = NJ_FILE_DIRECTORY},
        {.name = TEXT("link"), .type = NJ_FILE_SYMLINK, .target = TEXT("a")},
        {.name = TEXT("mode"), .type = NJ_FILE_DIRECTORY, .mode = 0755},
        {.name = TEXT("pipe"), .type = NJ_FILE_FIFO, .mode = 0600},
        {.name = TEXT("same"), .type = NJ_FILE_REGULAR, .mode = 0644},
    };
    struct nj_tree_entry b[] = {
        {.name = TEXT("attrs"), .type = NJ_FILE_REGULAR, .xattrs = &other_xattr, .n_xattrs = 1},
        {.name = TEXT("bytes"), .type = NJ_FILE_REGULAR, .size = 5, .digest = {{2}}},
        {.name = TEXT("dir"), .type = NJ_FILE_DIRECTORY},
        {.name = TEXT("dir-to-file"), .type = NJ_FILE_REGULAR},
        {.name = TEXT("link"), .type = NJ_FILE_SYMLINK, .target = TEXT("b")},
        {.name = TEXT("mode"), .type = NJ_FILE_DIRECTORY, .mode = 0700},
        {.name = TEXT("new"), .type = NJ_FILE_HARDLINK, .target = TEXT("same")},
        {.name = TEXT("pipe"), .type = NJ_FILE_SOCKET, .mode = 0600},
        {.name = TEXT("same"), .type = NJ_FILE_REGULAR, .mode = 0644},
    };
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_digest empty = put_tree(fixture, NULL, 0);
    struct nj_digest with_one = put_tree(fixture, &one, 1);
    struct nj_digest root_a;
    struct nj_digest root_b;
    struct nj_error err = {0};

    a[2].digest = a[3].digest = a[4].digest = with_one;
    b[2].digest = empty;
    a[6].digest = b[5].digest = with_one;
    root_a = put_tree(fixture, a, 9);
    root_b = put_tree(fixture, b, 9);
    nj_buf_init(&text, 4096);
    if (nj_tree_diff(&fixture->source, &root_a, &fixture->source, &root_b, write_difference, &text,
                     &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(text.data, "M attrs\nM bytes\nD dir/one\nM dir-to-file\nD dir-to-file/one\n"
                                   "D gone\nD gone/one\nM link\nM mode\nA new\nM pipe\n");
    nj_buf_clear(&text);
    assert_int_equal(nj_tree_diff(&fixture->source, &root_b, &fixture->source, &root_a,
                                  write_difference, &text, &err),
                     0);
    assert_string_equal(text.data, "M attrs\nM bytes\nA dir/one\nM dir-to-file\nA dir-to-file/one\n"
                                   "A gone\nA gone/one\nM link\nM mode\nD new\nM pipe\n");
}

static void equal_trees_are_not_even_read(void **state)
{
    struct nj_object_source nowhere = {.get = memory_objects_get,
                                       .ctx = &(struct memory_objects){0}};
    struct nj_digest digest = {{1}};
    struct nj_error err = {0};
    size_t visits = 0;

    (void)state;
    assert_int_equal(
        nj_tree_diff(&nowhere, &digest, &nowhere, &digest, ignore_difference, &visits, &err), 0);
    assert_int_equal(visits, 0);
    assert_int_equal(nj_tree_diff(&nowhere, &digest, &nowhere, &(struct nj_digest){{2}},
                                  ignore_difference, &visits, &err),
                     -NJ_E_CORRUPT);
}

struct seen {
    struct nj_buf text;
    struct memory_objects *store;
    struct memory_objects reported;
};

static int note_object(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                       struct nj_error *err)
{
    struct seen *seen = ctx;
    struct nj_object object = {.kind = kind, .digest = *digest};

    assert_null(memory_objects_find(&seen->reported, digest)); /* each once */
    assert_int_equal(memory_objects_put(&seen->reported, &object, err), 0);
    return nj_buf_printf(&seen->text, err, "%s\n", nj_object_kind_text(kind));
}

static void reaching_reports_every_object_once(void **state)
{
    struct fixture *fixture = *state;
    nj_auto_free uint8_t *large = calloc(1, 2 * NJ_OBJECT_PART_BYTES + 3);
    struct nj_workspace_ref ref;
    struct seen seen = {.store = &fixture->store};
    struct nj_error err = {0};

    assert_non_null(large);
    add(fixture, "a/one", "same bytes");
    add(fixture, "b/two", "same bytes");
    add(fixture, "b/three", "other bytes");
    large[0] = 1; /* so that the two parts differ */
    assert_int_equal(nj_tree_builder_file(fixture->builder, "large", 0600, 0,
                                          (struct nj_span){large, 2 * NJ_OBJECT_PART_BYTES + 3},
                                          &fixture->sink, &err),
                     0);
    ref = finish(fixture);
    nj_buf_init(&seen.text, 4096);
    if (nj_tree_reach(&fixture->source, &ref, note_object, &seen, &err) < 0)
        fail_msg("%s", err.text);
    /* All that the builder put was needed, and nothing else is. */
    assert_int_equal(seen.reported.n_items, fixture->store.n_items);
    assert_string_equal(seen.text.data,
                        "tree\nstamps\ntree\ntree\nparts\nstamps\nstamps\nblob\nblob\n"
                        "blob\nblob\nblob\n");
    nj_buf_done(&seen.text);
    memory_objects_done(&seen.reported);
}

static void a_file_that_holds_a_directorys_bytes_hides_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry inner = {.name = TEXT("inner"), .type = NJ_FILE_REGULAR};
    struct nj_tree_entry root_entries[] = {{.name = TEXT("a-file"), .type = NJ_FILE_REGULAR},
                                           {.name = TEXT("b-dir"), .type = NJ_FILE_DIRECTORY}};
    struct nj_workspace_ref ref;
    struct nj_error err = {0};
    size_t visits = 0;

    assert_int_equal(nj_tree_empty(&fixture->sink, &ref, &err), 0);
    assert_int_equal(nj_parts_put(&fixture->sink, nj_span_text("inner"), &inner, &err), 0);
    root_entries[1].digest = put_tree(fixture, &inner, 1);
    root_entries[0].digest = root_entries[1].digest; /* the file's content is that directory */
    ref.tree = put_tree(fixture, root_entries, 2);
    assert_int_equal(nj_tree_reach(&fixture->source, &ref, ignore_object, &visits, &err), 0);
    assert_int_equal(visits, 4); /* root, stamps, the shared bytes once, and the blob inside */
}

static void reaching_stops_at_damage_and_at_a_failing_visitor(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry lost = {
        .name = TEXT("lost"), .type = NJ_FILE_DIRECTORY, .digest = {{0xab, 0xcd}}};
    struct nj_workspace_ref ref;
    struct nj_error err = {0};
    size_t visits = 0;

    assert_int_equal(nj_tree_empty(&fixture->sink, &ref, &err), 0);
    ref.tree = put_tree(fixture, &lost, 1);
    assert_int_equal(nj_tree_reach(&fixture->source, &ref, ignore_object, &visits, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "tree abcd"));
    ref.stamps = ref.tree; /* a tree is no stamps object */
    ref.tree = put_tree(fixture, NULL, 0);
    assert_int_equal(nj_tree_reach(&fixture->source, &ref, ignore_object, &visits, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "stamps"));
}

static void many_objects_are_remembered(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct seen seen = {.store = &fixture->store};
    struct nj_error err = {0};

    for (int i = 0; i < 3000; i++) {
        char path[64];

        (void)snprintf(path, sizeof(path), "d%02d/f%d", i % 40, i);
        add(fixture, path, path);
    }
    ref = finish(fixture);
    nj_buf_init(&seen.text, 1u << 20);
    assert_int_equal(nj_tree_reach(&fixture->source, &ref, note_object, &seen, &err), 0);
    assert_int_equal(seen.reported.n_items, fixture->store.n_items);
    assert_int_equal(seen.reported.n_items, 3000 + 2 * 41);
    nj_buf_done(&seen.text);
    memory_objects_done(&seen.reported);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(a_walk_meets_everything_in_order),
        WITH_FIXTURE(a_visitor_may_stop_the_walk),
        WITH_FIXTURE(a_missing_directory_is_named_by_its_path),
        WITH_FIXTURE(a_tree_that_unfolds_without_end_is_stopped),
        WITH_FIXTURE(depth_has_a_limit),
        WITH_FIXTURE(directories_held_open_have_a_limit),
        WITH_FIXTURE(lookups_follow_directories_only),
        WITH_FIXTURE(differences_are_reported_in_order),
        WITH_FIXTURE(equal_trees_are_not_even_read),
        WITH_FIXTURE(reaching_reports_every_object_once),
        WITH_FIXTURE(a_file_that_holds_a_directorys_bytes_hides_nothing),
        WITH_FIXTURE(reaching_stops_at_damage_and_at_a_failing_visitor),
        WITH_FIXTURE(many_objects_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
