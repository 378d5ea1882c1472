/*
 * test_checkout.c - a hostile tree writes beneath its target or not at all
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/lib/record_kit.h"

#include "replay/checkout.h"

#include "formats/base/banned.h"

struct fixture {
    struct memory_objects store;
    struct nj_object_source source;
    struct nj_object_sink sink;
    char folder[40];
    char target[64];
    int folder_fd;
    int target_fd;
    struct nj_checkout checkout;
    struct nj_checkout_report report;
};

static struct nj_error err;

static int set_up(void **state)
{
    static struct fixture fixture;
    bool made = false;

    fixture = (struct fixture){.folder = "/tmp/nj-checkout-XXXXXX"};
    *state = &fixture;
    if (!mkdtemp(fixture.folder))
        return -1;
    (void)snprintf(fixture.target, sizeof(fixture.target), "%s/target", fixture.folder);
    fixture.folder_fd = open(fixture.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    record_kit_must(nj_checkout_target(fixture.target, false, &fixture.target_fd, &made, &err),
                    &err);
    fixture.source = memory_objects_source(&fixture.store);
    fixture.sink = memory_objects_sink(&fixture.store);
    fixture.checkout.source = fixture.source;
    fixture.checkout.target_fd = fixture.target_fd;
    fixture.checkout.max_size_bytes = 512 << 20;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    (void)close(fixture->target_fd);
    (void)close(fixture->folder_fd);
    memory_objects_done(&fixture->store);
    return nj_fsio_remove_tree(AT_FDCWD, fixture->folder, &err);
}

/* ---- trees by hand ---- */

static struct nj_digest put_tree(struct fixture *fixture, const struct nj_tree_entry *entries,
                                 size_t n)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_tree tree = {entries, n};
    struct nj_digest digest;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    record_kit_must(nj_tree_encode(&tree, &bytes, &err), &err);
    record_kit_must(
        nj_object_put(&fixture->sink, NJ_OBJECT_TREE, nj_buf_span(&bytes), &digest, &err), &err);
    return digest;
}

static struct nj_digest put_stamps(struct fixture *fixture, int64_t mtime_ns,
                                   const struct nj_stamp *entries, size_t n)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_stamps stamps = {.mtime_ns = mtime_ns, .entries = entries, .n_entries = n};
    struct nj_digest digest;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    record_kit_must(nj_stamps_encode(&stamps, &bytes, &err), &err);
    record_kit_must(
        nj_object_put(&fixture->sink, NJ_OBJECT_STAMPS, nj_buf_span(&bytes), &digest, &err), &err);
    return digest;
}

static struct nj_tree_entry entry_file(struct fixture *fixture, const char *name, unsigned mode,
                                       const char *content)
{
    struct nj_tree_entry entry = {
        .name = nj_span_text(name), .type = NJ_FILE_REGULAR, .mode = mode};

    record_kit_must(nj_parts_put(&fixture->sink, nj_span_text(content), &entry, &err), &err);
    return entry;
}

static struct nj_tree_entry entry_link(const char *name, enum nj_file_type type, const char *target)
{
    return (struct nj_tree_entry){
        .name = nj_span_text(name), .type = type, .target = nj_span_text(target)};
}

static struct nj_tree_entry entry_folder(const char *name, unsigned mode, struct nj_digest tree)
{
    return (struct nj_tree_entry){
        .name = nj_span_text(name), .type = NJ_FILE_DIRECTORY, .mode = mode, .digest = tree};
}

static void write_all(struct fixture *fixture)
{
    record_kit_must(nj_checkout(&fixture->checkout, &fixture->report, &err), &err);
}

/* Trees without times of their own. */
static void use(struct fixture *fixture, const struct nj_tree_entry *entries, size_t n)
{
    fixture->checkout.workspace.tree = put_tree(fixture, entries, n);
    fixture->checkout.workspace.stamps = put_stamps(fixture, 0, NULL, 0);
}

static bool holds(struct fixture *fixture, const char *name, const char *content)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&bytes, 1000);
    return nj_fsio_read_file(fixture->target_fd, name, &bytes, &ignored) == 0 &&
           nj_span_is(nj_buf_span(&bytes), content);
}

static struct stat status_of(struct fixture *fixture, const char *name)
{
    struct stat st;

    assert_int_equal(fstatat(fixture->target_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static bool exists(int dir_fd, const char *name)
{
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- what is written ---- */

static void files_folders_and_links_are_as_recorded(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry inner[] = {entry_file(fixture, "deep", 0600, "down here\n"),
                                    entry_link("same", NJ_FILE_HARDLINK, "a")};
    struct nj_tree_entry top[] = {
        entry_file(fixture, "a", 0640, "hello\n"),
        entry_folder("d", 0500, put_tree(fixture, inner, 2)),
        entry_link("s", NJ_FILE_SYMLINK, "/etc/passwd"),
    };
    struct nj_stamp inner_stamps[] = {{.name = nj_span_text("deep"), .mtime_ns = 3000000003}};
    struct nj_stamp top_stamps[] = {
        {.name = nj_span_text("s"), .mtime_ns = 5},
        {.name = nj_span_text("d"),
         .has_stamps = true,
         .mtime_ns = 7000000007,
         .stamps = put_stamps(fixture, 7000000007, inner_stamps, 1)},
        {.name = nj_span_text("a"), .mtime_ns = -1},
    };

    fixture->checkout.workspace.tree = put_tree(fixture, top, 3);
    fixture->checkout.workspace.stamps = put_stamps(fixture, 1, top_stamps, 3);
    write_all(fixture);
    assert_true(holds(fixture, "a", "hello\n"));
    assert_int_equal(status_of(fixture, "a").st_mode, S_IFREG | 0640);
    assert_int_equal(status_of(fixture, "a").st_mtim.tv_sec, -1);
    assert_int_equal(status_of(fixture, "a").st_mtim.tv_nsec, 999999999);
    assert_int_equal(status_of(fixture, "a").st_nlink, 2);
    assert_int_equal(status_of(fixture, "d").st_mode, S_IFDIR | 0500);
    assert_int_equal(status_of(fixture, "d").st_mtim.tv_sec, 7);
    assert_int_equal(status_of(fixture, "d").st_mtim.tv_nsec, 7);
    assert_int_equal(status_of(fixture, "d/deep").st_mtim.tv_sec, 3);
    assert_true(S_ISLNK(status_of(fixture, "s").st_mode));
    assert_int_equal(status_of(fixture, "s").st_mtim.tv_nsec, 5);
    assert_int_equal(fixture->report.files, 2);
    assert_int_equal(fixture->report.folders, 1);
    assert_int_equal(fixture->report.links, 2);
    assert_int_equal(fixture->report.bytes, 16);
    assert_int_equal(fchmodat(fixture->target_fd, "d", 0700, 0), 0); /* to be removed again */
}

static void a_wide_umask_or_a_narrow_one_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {entry_file(fixture, "a", 0666, "")};
    mode_t before = umask(0077);

    use(fixture, top, 1);
    write_all(fixture);
    (void)umask(before);
    assert_int_equal(status_of(fixture, "a").st_mode, S_IFREG | 0666);
}

static void rights_special_files_and_attributes_are_left_out_and_counted(void **state)
{
    static const struct nj_xattr xattrs[] = {
        {{(const uint8_t *)"user.x", 6}, {(const uint8_t *)"1", 1}}};
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {
        entry_file(fixture, "a", 06755, "#!/bin/sh\n"),
        {.name = nj_span_text("p"), .type = NJ_FILE_FIFO, .mode = 0600},
        {.name = nj_span_text("s"), .type = NJ_FILE_SOCKET, .mode = 0600},
    };

    top[0].xattrs = xattrs;
    top[0].n_xattrs = 1;
    use(fixture, top, 3);
    write_all(fixture);
    assert_int_equal(status_of(fixture, "a").st_mode, S_IFREG | 0755);
    assert_false(exists(fixture->target_fd, "p"));
    assert_false(exists(fixture->target_fd, "s"));
    assert_int_equal(fixture->report.dropped_rights, 1);
    assert_int_equal(fixture->report.skipped_xattrs, 1);
    assert_int_equal(fixture->report.skipped_special, 2);
}

static void only_what_was_asked_for_is_written(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry inner[] = {entry_file(fixture, "b", 0600, "b"),
                                    entry_link("h", NJ_FILE_HARDLINK, "a")};
    struct nj_tree_entry top[] = {
        entry_file(fixture, "a", 0600, "a"),
        entry_folder("d", 0700, put_tree(fixture, inner, 2)),
        entry_file(fixture, "dd", 0600, "dd"),
    };

    use(fixture, top, 3);
    fixture->checkout.only = "d";
    write_all(fixture);
    assert_true(holds(fixture, "d/b", "b"));
    assert_true(holds(fixture, "d/h", "a")); /* its other name is not here: a file of its own */
    assert_false(exists(fixture->target_fd, "a"));
    assert_false(exists(fixture->target_fd, "dd"));
}

/* ---- what is not ---- */

/* A link first, then the same name as a folder is impossible in a sound tree; but the target may
 * hold such a link. */
static void a_link_in_the_target_is_not_followed(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry inner[] = {entry_file(fixture, "b", 0600, "b")};
    struct nj_tree_entry top[] = {entry_folder("d", 0700, put_tree(fixture, inner, 1))};

    assert_int_equal(mkdirat(fixture->folder_fd, "outside", 0700), 0);
    assert_int_equal(symlinkat("../outside", fixture->target_fd, "d"), 0);
    use(fixture, top, 1);
    fixture->checkout.force = true;
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_SYSTEM);
    assert_false(exists(fixture->folder_fd, "outside/b"));
}

static void force_replaces_a_link_and_not_what_it_points_to(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {entry_file(fixture, "a", 0600, "new")};
    int fd = openat(fixture->folder_fd, "outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;

    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(symlinkat("../outside", fixture->target_fd, "a"), 0);
    use(fixture, top, 1);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_INPUT);
    fixture->checkout.force = true;
    write_all(fixture);
    assert_true(holds(fixture, "a", "new"));
    assert_int_equal(fstatat(fixture->folder_fd, "outside", &st, 0), 0);
    assert_int_equal(st.st_size, 0);
}

/* The hard link's path leads through a link that the same tree planted. */
static void a_hard_link_is_not_made_through_a_planted_link(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {
        entry_link("a", NJ_FILE_SYMLINK, "/etc"),
        entry_link("b", NJ_FILE_HARDLINK, "a/passwd"),
    };

    use(fixture, top, 2);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "hard link to no file"));
    assert_false(exists(fixture->target_fd, "b"));
}

static void a_hard_link_to_a_link_is_damage(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {
        entry_link("a", NJ_FILE_SYMLINK, "/etc/passwd"),
        entry_link("b", NJ_FILE_HARDLINK, "a"),
    };

    use(fixture, top, 2);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_CORRUPT);
}

static void half_a_file_is_not_left_behind(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {entry_file(fixture, "a", 0600, "content")};

    top[0].size = 8; /* what it holds does not add up */
    use(fixture, top, 1);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_CORRUPT);
    assert_false(exists(fixture->target_fd, "a"));
}

static void what_cannot_fit_is_refused_before_anything_is_written(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {entry_file(fixture, "a", 0600, "content"),
                                  entry_file(fixture, "b", 0600, "content")};

    top[1].size = UINT64_C(1) << 60;
    top[1].has_parts = true;
    fixture->checkout.max_size_bytes = INT64_MAX;
    use(fixture, top, 2);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_LIMIT);
    assert_false(exists(fixture->target_fd, "a"));
}

/* One object makes up as many bytes as it is named often. */
static void what_no_workspace_kept_is_refused_before_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct nj_tree_entry top[] = {entry_file(fixture, "a", 0600, "content"),
                                  entry_file(fixture, "b", 0600, "content")};

    fixture->checkout.max_size_bytes = 3;
    use(fixture, top, 2);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), 0); /* 14 of 15 */
    fixture->checkout.max_size_bytes = 2;
    fixture->checkout.force = true;
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "claim 14 bytes, in a workspace for 2 (max_size_mb)"));
    fixture->checkout.only = "a";
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), 0);
}

/* Eleven small objects that unfold to more entries than any host has patience for. */
static void a_tree_that_unfolds_without_end_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct nj_digest tree = put_tree(fixture, NULL, 0);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

    for (unsigned level = 0; level < 10; level++) {
        struct nj_tree_entry entries[8];

        for (size_t i = 0; i < 8; i++)
            entries[i] = entry_folder(names[i], 0700, tree);
        tree = put_tree(fixture, entries, 8);
    }
    fixture->checkout.workspace.tree = tree;
    fixture->checkout.workspace.stamps = put_stamps(fixture, 0, NULL, 0);
    assert_int_equal(nj_checkout(&fixture->checkout, &fixture->report, &err), -NJ_E_LIMIT);
    assert_false(exists(fixture->target_fd, "a"));
}

static void a_target_that_is_not_empty_needs_force(void **state)
{
    struct fixture *fixture = *state;
    bool made = true;
    int fd = -1;

    assert_int_equal(mkdirat(fixture->target_fd, "mine", 0700), 0);
    assert_int_equal(nj_checkout_target(fixture->target, false, &fd, &made, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "--force"));
    assert_int_equal(fd, -1);
    assert_false(made);
    record_kit_must(nj_checkout_target(fixture->target, true, &fd, &made, &err), &err);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(files_folders_and_links_are_as_recorded),
        TEST(a_wide_umask_or_a_narrow_one_changes_nothing),
        TEST(rights_special_files_and_attributes_are_left_out_and_counted),
        TEST(only_what_was_asked_for_is_written),
        TEST(a_link_in_the_target_is_not_followed),
        TEST(force_replaces_a_link_and_not_what_it_points_to),
        TEST(a_hard_link_is_not_made_through_a_planted_link),
        TEST(a_hard_link_to_a_link_is_damage),
        TEST(half_a_file_is_not_left_behind),
        TEST(what_cannot_fit_is_refused_before_anything_is_written),
        TEST(what_no_workspace_kept_is_refused_before_it_is_read),
        TEST(a_tree_that_unfolds_without_end_is_refused),
        TEST(a_target_that_is_not_empty_needs_force),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
