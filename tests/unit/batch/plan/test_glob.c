/*
 * test_glob.c - patterns: the matching, and the expansion over real folders
 */
#include "tests/lib/scratch.h"

#include <signal.h>
#include <sys/time.h>

#include "batch/plan/glob.h"

static struct scratch scratch;

/* ---- one part ---- */

static void parts_match_names(void **state)
{
    static const struct {
        const char *part;
        const char *name;
        bool matches;
    } cases[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a", "aa", false},
        {"*", "", true},
        {"*", "abc", true},
        {"*.pdf", "a.pdf", true},
        {"*.pdf", ".pdf", false},
        {".*", ".pdf", true},
        {"*", ".a", false},
        {"?", "a", true},
        {"?", "", false},
        {"?", "ab", false},
        {"?", "\xc3\xa4", true},
        {"??", "\xc3\xa4", false},
        {"?", "\xff", true},
        {"?", ".", false},
        {"a*b*c", "axxbyyc", true},
        {"a*b*c", "axxbyy", false},
        {"a*b*c", "abcbc", true},
        {"[abc]", "b", true},
        {"[abc]", "d", false},
        {"[a-c]x", "cx", true},
        {"[!a-c]", "d", true},
        {"[!a-c]", "b", false},
        {"[^a]", "b", true},
        {"[]]", "]", true},
        {"[!]]", "]", false},
        {"[!]]", "a", true},
        {"[a-]", "-", true},
        {"[*]", "*", true},
        {"[*]", "x", false},
        {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa4", true},
        {"[.]a", ".a", false},
        {"a[", "a[", true},
        {"x[ab]*", "xb99", true},
        {"**", "abc", true},
        {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (nj_glob_part_match(cases[i].part, nj_span_text(cases[i].name)) != cases[i].matches)
            fail_msg("%s against %s: expected %d", cases[i].part, cases[i].name, cases[i].matches);
    }
}

/* ---- whole patterns ---- */

static bool whole(const char *pattern, const char *path)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_error err = {0};
    struct nj_glob_state at;
    struct nj_glob glob;

    assert_int_equal(nj_glob_compile(pattern, &arena, &glob, &err), 0);
    nj_glob_start(&glob, &at);
    while (*path) {
        size_t len = strcspn(path, "/");

        nj_glob_step(&glob, &at, (struct nj_span){(const uint8_t *)path, len}, false, &at);
        path += len;
        path += *path == '/';
    }
    return nj_glob_matched(&glob, &at);
}

static void patterns_match_paths(void **state)
{
    static const struct {
        const char *pattern;
        const char *path;
        bool matches;
    } cases[] = {
        {"a/b", "a/b", true},
        {"a/b", "a", false},
        {"a/b", "a/b/c", false},
        {"*/b", "a/b", true},
        {"*/b", "a/a/b", false},
        {"**/b", "b", true},
        {"**/b", "a/b", true},
        {"**/b", "a/a/a/b", true},
        {"**/b", ".a/b", false},
        {"out/**", "out/a", true},
        {"out/**", "out/a/b/c", true},
        {"out/**", "out", false},
        {"out/**", "out/.a", false},
        {"out/**", "out/.d/a", false},
        {"out/**/*.c", "out/x.c", true},
        {"out/**/*.c", "out/a/b/x.c", true},
        {"**", "a/b/c", true},
        {"a/**/b/**/c", "a/b/c", true},
        {"a/**/b/**/c", "a/x/b/y/z/c", true},
        {"a/**/b/**/c", "a/x/c", false},
        {"**/**/a", "a", true},
        {"/workspace//out/*", "workspace/out/a", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (whole(cases[i].pattern, cases[i].path) != cases[i].matches)
            fail_msg("%s against %s: expected %d", cases[i].pattern, cases[i].path,
                     cases[i].matches);
    }
}

static void many_stars_and_a_deep_path_take_no_time(void **state)
{
    static char pattern[2 * 200 * 5 + 8];
    static char path[2 * 1000 + 8];
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 120; i++)
        len += (size_t)snprintf(pattern + len, sizeof(pattern) - len, "**/a/");
    (void)snprintf(pattern + len, sizeof(pattern) - len, "b");
    for (int i = 0; i < 1000; i++)
        memcpy(path + 2 * i, "a/", 2);
    path[2000] = 'c';
    alarm(20); /* a backtracking matcher would need longer than the sun has */
    assert_false(whole(pattern, path));
    path[2000] = 'b';
    assert_true(whole(pattern, path));
    alarm(0);
}

static void too_many_parts_are_refused(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_error err = {0};
    static char pattern[1024];
    struct nj_glob glob;

    (void)state;
    for (size_t i = 0; i < 2 * 254; i++)
        pattern[i] = i % 2 ? '/' : 'a';
    assert_int_equal(nj_glob_compile(pattern, &arena, &glob, &err), 0);
    memcpy(pattern + 2 * 254, "a", 2);
    assert_int_equal(nj_glob_compile(pattern, &arena, &glob, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "more than 254 parts"));
}

/* ---- over folders ---- */

struct expanded {
    struct nj_roots roots;
    struct nj_arena arena;
    struct nj_glob_result result;
    struct nj_error err;
    int outcome;
};

static void expanded_done(struct expanded *expanded)
{
    nj_roots_done(&expanded->roots);
    nj_arena_done(&expanded->arena);
}
NJ_DEFINE_AUTO_VAL(struct expanded, expanded_done);

static void expand(struct expanded *expanded, const char *pattern, const char *const *allow)
{
    expanded_done(expanded);
    memset(expanded, 0, sizeof(*expanded));
    assert_int_equal(nj_roots_open(scratch.fd, allow, &expanded->roots, &expanded->err), 0);
    expanded->outcome = nj_glob_expand(&expanded->roots, pattern, &expanded->arena,
                                       &expanded->result, &expanded->err);
}

/* The matches as one text: "a b c". */
static const char *matches(const struct expanded *expanded)
{
    static char text[4096];
    size_t len = 0;

    if (expanded->outcome < 0)
        return expanded->err.text;
    text[0] = '\0';
    for (size_t i = 0; i < expanded->result.n_matches; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
                                expanded->result.matches[i].path);
    return text;
}

static void files_come_in_the_order_of_bytes(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    scratch_file(&scratch, "in/b.txt", "12345", 0644);
    scratch_file(&scratch, "in/a.txt", "", 0644);
    scratch_file(&scratch, "in/B.txt", "", 0644);
    scratch_file(&scratch, "in/\xc3\xa4.txt", "", 0644);
    scratch_file(&scratch, "in/.hidden.txt", "", 0644);
    scratch_file(&scratch, "in/other.pdf", "", 0644);
    scratch_dir(&scratch, "in/folder.txt");
    expand(&got, "in/*.txt", NULL);
    assert_string_equal(matches(&got), "in/B.txt in/a.txt in/b.txt in/\xc3\xa4.txt");
    assert_int_equal(got.result.matches[2].size, 5);
    expand(&got, "./in//../in/a.*",
           NULL); /* the spelling is made normal: the item's name does not depend on it */
    assert_string_equal(matches(&got), "in/a.txt");
    expand(&got, "in/.*.txt", NULL);
    assert_string_equal(matches(&got), "in/.hidden.txt");
    expand(&got, "nothing/*", NULL);
    assert_int_equal(got.outcome, 0);
    assert_int_equal(got.result.n_matches, 0);
}

static void the_order_is_that_of_whole_paths(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    scratch_file(&scratch, "a/z", "", 0644);
    scratch_file(&scratch, "a-b/y", "", 0644);
    scratch_file(&scratch, "a.b/x", "", 0644);
    expand(&got, "*/*", NULL);
    assert_string_equal(matches(&got), "a-b/y a.b/x a/z");
}

static void double_stars_go_down_but_not_through_links(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    scratch_file(&scratch, "d/one", "", 0644);
    scratch_file(&scratch, "d/e/two", "", 0644);
    scratch_file(&scratch, "d/e/f/three", "", 0644);
    scratch_file(&scratch, "d/.git/four", "", 0644);
    scratch_link(&scratch, "..", "d/e/up"); /* a circle, were it followed */
    scratch_link(&scratch, "e", "d/side");
    scratch_link(&scratch, "one", "d/first"); /* a file by another name is a file */
    expand(&got, "d/**", NULL);
    assert_string_equal(matches(&got), "d/e/f/three d/e/two d/first d/one");
    expand(&got, "**/two", NULL);
    assert_string_equal(matches(&got), "d/e/two");
    expand(&got, "d/*/two", NULL); /* a plain part follows */
    assert_string_equal(matches(&got), "d/e/two d/side/two");
}

static void links_are_followed_only_inside_the_roots(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};
    const char *allow[] = {NULL, NULL};
    struct scratch other;

    (void)state;
    scratch_make(&other);
    scratch_file(&other, "doc/copyright", "x", 0644);
    scratch_file(&scratch, "real/copyright", "xy", 0644);
    scratch_link(&scratch, "real", "relative");
    scratch_link(&scratch, scratch_join(&scratch, "real"), "absolute");
    scratch_link(&scratch, "../../../../../../../../../../../etc", "climbing");
    scratch_link(&scratch, scratch_join(&other, "doc"), "away");
    scratch_link(&scratch, "nowhere", "broken");
    scratch_link(&scratch, "circle", "circle");
    expand(&got, "*/copyright", NULL);
    assert_string_equal(matches(&got), "absolute/copyright real/copyright relative/copyright");
    assert_int_equal(got.result.links_left, 2);
    assert_string_equal(got.result.first_link, "away");
    allow[0] = other.path; /* the target's folder is allowed: now it may be followed */
    expand(&got, "*/copyright", allow);
    assert_string_equal(matches(&got),
                        "absolute/copyright away/copyright real/copyright relative/copyright");
    assert_int_equal(got.result.links_left, 1);
    scratch_remove(&other);
}

static void absolute_and_climbing_patterns_need_an_allowed_root(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};
    const char *allow[] = {NULL, NULL};
    char pattern[PATH_MAX + 64];
    char expected[2 * PATH_MAX + 64];
    struct scratch other;

    (void)state;
    scratch_make(&other);
    scratch_file(&other, "a/copyright", "x", 0644);
    scratch_file(&other, "b/copyright", "x", 0644);
    scratch_file(&scratch, "own/copyright", "x", 0644);
    (void)snprintf(pattern, sizeof(pattern), "%s/*/copyright", other.path);
    expand(&got, pattern, NULL);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    assert_non_null(strstr(got.err.text, "--allow-path"));
    allow[0] = other.path;
    expand(&got, pattern, allow);
    (void)snprintf(expected, sizeof(expected), "%s/a/copyright %s/b/copyright", other.path,
                   other.path);
    assert_string_equal(matches(&got), expected);

    (void)snprintf(pattern, sizeof(pattern), "..%s/*/copyright", strrchr(other.path, '/'));
    expand(&got, pattern, NULL);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    assert_non_null(strstr(got.err.text, "leaves the manifest's directory"));
    expand(&got, pattern,
           allow); /* kept as it was spelled: the folder above may be called anything */
    (void)snprintf(expected, sizeof(expected), "..%s/a/copyright ..%s/b/copyright",
                   strrchr(other.path, '/'), strrchr(other.path, '/'));
    assert_string_equal(matches(&got), expected);

    (void)snprintf(pattern, sizeof(pattern), "%s/../%s/*/copyright", other.path,
                   strrchr(scratch.path, '/') + 1); /* climbs out of what is allowed */
    expand(&got, pattern, allow);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    (void)snprintf(pattern, sizeof(pattern), "%sx/*",
                   other.path); /* a longer name is another folder */
    expand(&got, pattern, allow);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    scratch_remove(&other);
}

static void names_that_no_text_can_hold_are_faults(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    scratch_file(&scratch, "a/x\ny", "", 0644);
    scratch_file(&scratch, "b/\xff\xfe", "", 0644);
    expand(&got, "a/*", NULL);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    assert_non_null(strstr(got.err.text, "control character"));
    expand(&got, "b/*", NULL);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    assert_non_null(strstr(got.err.text, "the name of b/\\xff\\xfe is not UTF-8"));
    expand(&got, "*/nothing", NULL); /* what does not match does not matter */
    assert_int_equal(got.outcome, 0);
}

static void fifos_and_devices_are_no_matches(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    scratch_file(&scratch, "q/file", "", 0644);
    assert_int_equal(mkfifoat(scratch.fd, "q/fifo", 0644), 0);
    scratch_link(&scratch, "/dev/null", "q/null");
    alarm(20); /* an open for reading would wait for a writer */
    expand(&got, "q/*", NULL);
    alarm(0);
    assert_string_equal(matches(&got), "q/file");
}

/* The rest of the test runs without root's rights. */
static bool as_nobody(void)
{
    return geteuid() != 0 || seteuid(65534) == 0;
}

static void back_to_root(void)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

static void a_folder_that_cannot_be_read_is_said_and_not_skipped(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    scratch_file(&scratch, "shut/a", "", 0644);
    scratch_file(&scratch, "known/sub/a", "", 0644);
    assert_int_equal(fchmodat(scratch.fd, "shut", 0700, 0), 0);
    if (getuid() != 0)
        assert_int_equal(fchmodat(scratch.fd, "shut", 0000, 0), 0);
    assert_int_equal(fchmodat(scratch.fd, "known", 0711, 0), 0);
    assert_true(as_nobody());
    expand(&got, "shut/*", NULL);
    back_to_root();
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    assert_non_null(strstr(got.err.text, "read folder shut: Permission denied"));
    assert_true(as_nobody());
    expand(&got, "known/sub/*", NULL); /* literal parts are entered, not listed */
    back_to_root();
    assert_string_equal(matches(&got), "known/sub/a");
    assert_int_equal(fchmodat(scratch.fd, "shut", 0755, 0), 0);
}

static void documentation_of_this_machine_expands_without_being_allowed(void **state)
{
    NJ_AUTO(expanded_done) struct expanded got = {0};

    (void)state;
    expand(&got, NJ_ROOTS_PUBLIC "/../../etc/*", NULL);
    assert_int_equal(got.outcome, -NJ_E_INPUT);
    expand(&got, NJ_ROOTS_PUBLIC "/doc/*/copyright", NULL);
    assert_int_equal(got.outcome, 0);
    if (got.result.n_matches == 0)
        skip();
    for (size_t i = 0; i < got.result.n_matches; i++) {
        assert_int_equal(strncmp(got.result.matches[i].path, "/usr/share/doc/", 15), 0);
        if (i > 0)
            assert_true(strcmp(got.result.matches[i - 1].path, got.result.matches[i].path) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_match_names),
        cmocka_unit_test(patterns_match_paths),
        cmocka_unit_test(many_stars_and_a_deep_path_take_no_time),
        cmocka_unit_test(too_many_parts_are_refused),
        SCRATCH_TEST(files_come_in_the_order_of_bytes, &scratch),
        SCRATCH_TEST(the_order_is_that_of_whole_paths, &scratch),
        SCRATCH_TEST(double_stars_go_down_but_not_through_links, &scratch),
        SCRATCH_TEST(links_are_followed_only_inside_the_roots, &scratch),
        SCRATCH_TEST(absolute_and_climbing_patterns_need_an_allowed_root, &scratch),
        SCRATCH_TEST(names_that_no_text_can_hold_are_faults, &scratch),
        SCRATCH_TEST(fifos_and_devices_are_no_matches, &scratch),
        SCRATCH_TEST(a_folder_that_cannot_be_read_is_said_and_not_skipped, &scratch),
        SCRATCH_TEST(documentation_of_this_machine_expands_without_being_allowed, &scratch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
