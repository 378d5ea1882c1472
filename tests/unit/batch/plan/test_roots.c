/*
 * test_roots.c - where a path of the manifest lies, and what may be opened there
 */
#include "tests/lib/scratch.h"

#include "batch/plan/roots.h"

static struct scratch scratch;

static void paths_become_normal(void **state)
{
    static const struct {
        const char *path;
        const char *normal;
    } cases[] = {
        {"a/b", "a/b"},     {"./a//b/", "a/b"}, {"a/../b", "b"},       {"a/b/../../c", "c"},
        {"..", ".."},       {"../a", "../a"},   {"a/../../b", "../b"}, {"../../x/..", "../.."},
        {"/", "/"},         {"/a/../..", "/"},  {"//a/./b/..", "/a"},  {"", ""},
        {".", ""},          {"a/..", ""},       {"/..", "/"},          {"...", "..."},
        {"a/..b", "a/..b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
        struct nj_error err = {0};

        nj_buf_init(&buf, 100);
        assert_int_equal(nj_path_normal(cases[i].path, &buf, &err), 0);
        assert_string_equal(buf.data ? (char *)buf.data : "", cases[i].normal);
    }
}

static int place(const char *path, const char *const *allow, struct nj_place *ret_place,
                 struct nj_arena *arena, struct nj_error *err)
{
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};

    assert_int_equal(nj_roots_open(scratch.fd, allow, &roots, err), 0);
    return nj_roots_place(&roots, path, arena, ret_place, err);
}

static void the_innermost_allowed_root_holds_a_path(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    char outer[PATH_MAX + 16], inner[PATH_MAX + 32], path[PATH_MAX + 64];
    const char *allow[] = {outer, inner, NULL};
    struct nj_error err = {0};
    struct nj_place got;

    (void)state;
    scratch_dir(&scratch, "outer/inner");
    (void)snprintf(outer, sizeof(outer), "%s/outer", scratch.path);
    (void)snprintf(inner, sizeof(inner), "%s/outer//inner/", scratch.path);
    (void)snprintf(path, sizeof(path), "%s/outer/inner/x", scratch.path);
    assert_int_equal(place(path, allow, &got, &arena, &err), 0);
    assert_int_equal(got.root, 2);
    assert_string_equal(got.rest, "x");
    (void)snprintf(path, sizeof(path), "%s/outer/innerx", scratch.path);
    assert_int_equal(place(path, allow, &got, &arena, &err), 0);
    assert_int_equal(got.root, 1);
    assert_string_equal(got.rest, "innerx");
    (void)snprintf(path, sizeof(path), "%s/outer", scratch.path);
    assert_int_equal(place(path, allow, &got, &arena, &err), 0);
    assert_string_equal(got.rest, "");
    assert_int_equal(place("relative/../x", allow, &got, &arena, &err), 0);
    assert_int_equal(got.root, 0);
    assert_string_equal(got.rest, "x");
    assert_string_equal(got.prefix, "");
}

static void a_root_that_is_a_link_answers_to_both_of_its_names(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    char link[PATH_MAX + 16], path[PATH_MAX + 64];
    const char *allow[] = {link, NULL};
    struct nj_error err = {0};
    struct nj_place got;

    (void)state;
    scratch_file(&scratch, "real/x", "", 0644);
    scratch_link(&scratch, "real", "link");
    (void)snprintf(link, sizeof(link), "%s/link", scratch.path);
    (void)snprintf(path, sizeof(path), "%s/link/x", scratch.path);
    assert_int_equal(place(path, allow, &got, &arena, &err), 0);
    assert_string_equal(got.rest, "x");
    (void)snprintf(path, sizeof(path), "%s/real/x", scratch.path);
    assert_int_equal(place(path, allow, &got, &arena, &err), 0);
    assert_string_equal(got.rest, "x");
}

static void an_allowed_directory_that_is_none_is_refused_by_name(void **state)
{
    const char *missing[] = {"/nonexistent-directory", NULL};
    char file[PATH_MAX + 16];
    const char *not_dir[] = {file, NULL};
    struct nj_roots roots = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_roots_open(scratch.fd, missing, &roots, &err), -NJ_E_INPUT);
    assert_string_equal(err.text, "--allow-path /nonexistent-directory: No such file or directory");
    scratch_file(&scratch, "file", "", 0644);
    (void)snprintf(file, sizeof(file), "%s/file", scratch.path);
    assert_int_equal(nj_roots_open(scratch.fd, not_dir, &roots, &err), -NJ_E_INPUT);
    assert_int_equal(roots.count, 0);
}

static void only_regular_files_inside_are_read(void **state)
{
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    static const struct {
        const char *path;
        int outcome;
    } cases[] = {
        {"file", 0},      {"to-file", 0},      {"absolute", 0},   {"folder", EISDIR},
        {"fifo", EINVAL}, {"null", EXDEV},     {"passwd", EXDEV}, {"missing", ENOENT},
        {"loop", ELOOP},  {"file/x", ENOTDIR}, {"folder/up", 0},  {"folder/out", EXDEV},
    };
    struct nj_error err = {0};

    (void)state;
    scratch_file(&scratch, "file", "text", 0644);
    scratch_link(&scratch, "file", "to-file");
    scratch_link(&scratch, scratch_join(&scratch, "file"), "absolute");
    scratch_link(&scratch, "../file", "folder/up");
    scratch_link(&scratch, "../../../../../../../../../../etc/passwd", "folder/out");
    assert_int_equal(mkfifoat(scratch.fd, "fifo", 0600), 0);
    scratch_link(&scratch, "/dev/null", "null");
    scratch_link(&scratch, "/etc/passwd", "passwd");
    scratch_link(&scratch, "loop", "loop");
    assert_int_equal(nj_roots_open(scratch.fd, NULL, &roots, &err), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stat st;
        int fd = -1;
        int r = nj_roots_read(&roots, 0, cases[i].path, &fd, &st);

        if (r != cases[i].outcome)
            fail_msg("%s: %d and not %d", cases[i].path, r, cases[i].outcome);
        if (r == 0) {
            assert_int_equal(st.st_size, 4);
            assert_int_equal(close(fd), 0);
        } else {
            assert_int_equal(fd, -1);
        }
    }
}

static void magic_links_are_not_followed(void **state)
{
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    const char *allow[] = {"/proc", NULL};
    struct nj_error err = {0};
    int fd = -1;

    (void)state;
    assert_int_equal(nj_roots_open(scratch.fd, allow, &roots, &err), 0);
    assert_int_equal(nj_roots_reach(&roots, 1, "self/root/etc/passwd", O_RDONLY, &fd), ELOOP);
    assert_int_equal(fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_become_normal),
        SCRATCH_TEST(the_innermost_allowed_root_holds_a_path, &scratch),
        SCRATCH_TEST(a_root_that_is_a_link_answers_to_both_of_its_names, &scratch),
        SCRATCH_TEST(an_allowed_directory_that_is_none_is_refused_by_name, &scratch),
        SCRATCH_TEST(only_regular_files_inside_are_read, &scratch),
        SCRATCH_TEST(magic_links_are_not_followed, &scratch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
