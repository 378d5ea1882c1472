/*
 * test_outputs.c - what a session leaves, collected and published
 */
#include "tests/lib/scratch.h"

#include <signal.h>
#include <sys/wait.h>

#include "batch/engine/outputs.h"
#include "formats/base/fault.h"
#include "tests/lib/memory_objects.h"

static struct scratch out;
static struct memory_objects objects;

static int setup(void **state)
{
    (void)state;
    scratch_make(&out);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&out);
    memory_objects_done(&objects);
    return 0;
}

/* ---- making trees by hand: links, hard links and FIFOs too ---- */

static struct nj_digest tree_of(struct nj_tree_entry *entries, size_t n)
{
    struct nj_object_sink sink = memory_objects_sink(&objects);
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_tree tree = {.entries = entries, .n_entries = n};
    struct nj_error err = {0};
    struct nj_digest digest;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    if (nj_tree_encode(&tree, &buf, &err) < 0 ||
        nj_object_put(&sink, NJ_OBJECT_TREE, nj_buf_span(&buf), &digest, &err) < 0)
        fail_msg("%s", err.text);
    return digest;
}

static struct nj_tree_entry file(const char *name, const char *text, unsigned mode)
{
    struct nj_object_sink sink = memory_objects_sink(&objects);
    struct nj_tree_entry entry = {
        .name = nj_span_text(name), .type = NJ_FILE_REGULAR, .mode = mode};
    struct nj_error err = {0};

    if (nj_parts_put(&sink, nj_span_text(text), &entry, &err) < 0)
        fail_msg("%s", err.text);
    return entry;
}

static struct nj_tree_entry dir(const char *name, struct nj_digest tree)
{
    return (struct nj_tree_entry){
        .name = nj_span_text(name), .type = NJ_FILE_DIRECTORY, .mode = 0755, .digest = tree};
}

static struct nj_tree_entry link_to(const char *name, const char *target, enum nj_file_type type)
{
    return (struct nj_tree_entry){
        .name = nj_span_text(name), .type = type, .target = nj_span_text(target)};
}

#define TREE(...)                                                                                  \
    tree_of((struct nj_tree_entry[]){__VA_ARGS__},                                                 \
            sizeof((struct nj_tree_entry[]){__VA_ARGS__}) / sizeof(struct nj_tree_entry))

static struct nj_digest workspace(void)
{
    return TREE(
        dir("tmp", TREE(file("scratch", "no", 0644))),
        dir("workspace",
            TREE(file(".hidden", "h", 0644), dir("empty", tree_of(NULL, 0)),
                 file("in", "input", 0644),
                 dir("out",
                     TREE(file("a.json", "{}", 0640), dir("deep", TREE(file("b.json", "[]", 0600))),
                          (struct nj_tree_entry){
                              .name = nj_span_text("fifo"), .type = NJ_FILE_FIFO, .mode = 0644},
                          link_to("hard", "workspace/in", NJ_FILE_HARDLINK),
                          link_to("soft", "a.json", NJ_FILE_SYMLINK),
                          file("tool.sh", "#!/bin/sh\n", 04755))))));
}

static int describe(void *ctx, const char *path, const struct nj_tree_entry *entry,
                    struct nj_error *err)
{
    return nj_buf_printf(ctx, err, "%s %d %llu\n", path, (int)entry->type,
                         (unsigned long long)entry->size);
}

static struct nj_digest collect(const char *const *globs, size_t n_globs)
{
    struct nj_object_source source = memory_objects_source(&objects);
    struct nj_object_sink sink = memory_objects_sink(&objects);
    struct nj_digest tree = workspace();
    struct nj_error err = {0};
    struct nj_digest outputs;

    if (nj_outputs_collect(&source, &tree, globs, n_globs, &sink, &outputs, &err) < 0)
        fail_msg("%s", err.text);
    return outputs;
}

static void assert_tree(struct nj_digest tree, const char *expected)
{
    struct nj_object_source source = memory_objects_source(&objects);
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};

    nj_buf_init(&text, 65536);
    if (nj_tree_walk(&source, &tree, describe, &text, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(text.data ? (char *)text.data : "", expected);
}

/* ---- matching and collecting ---- */

static void globs_name_paths_of_the_box(void **state)
{
    const char *globs[] = {"/workspace/out/**", "/tmp/*.log"};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_outputs_match(globs, 2, "workspace/out/a/b", &err), 1);
    assert_int_equal(nj_outputs_match(globs, 2, "tmp/x.log", &err), 1);
    assert_int_equal(nj_outputs_match(globs, 2, "tmp/y/x.log", &err), 0);
    assert_int_equal(nj_outputs_match(globs, 2, "workspace/in", &err), 0);
    assert_int_equal(nj_outputs_match(globs, 0, "workspace/in", &err), 0);
}

static void what_the_globs_name_is_collected(void **state)
{
    const char *all[] = {"/workspace/out/**"};
    const char *some[] = {"/workspace/*.json", "/workspace/**/b.json", "/workspace/i?"};
    const char *none[] = {"/elsewhere/**"};
    const char *hidden[] = {"/workspace/.hidden"};

    (void)state;
    assert_tree(collect(all, 1), "workspace 2 0\n"
                                 "workspace/out 2 0\n"
                                 "workspace/out/a.json 1 2\n"
                                 "workspace/out/deep 2 0\n"
                                 "workspace/out/deep/b.json 1 2\n"
                                 "workspace/out/hard 1 5\n"
                                 "workspace/out/soft 3 0\n"
                                 "workspace/out/tool.sh 1 10\n");
    assert_tree(collect(some, 3), "workspace 2 0\nworkspace/in 1 5\nworkspace/out 2 0\n"
                                  "workspace/out/deep 2 0\nworkspace/out/deep/b.json 1 2\n");
    assert_tree(collect(none, 1), "");
    assert_tree(collect(none, 0), "");
    assert_tree(collect(hidden, 1), "workspace 2 0\nworkspace/.hidden 1 1\n");
}

static void equal_outputs_have_equal_digests(void **state)
{
    const char *a[] = {"/workspace/out/**"};
    const char *b[] = {"/workspace/out/deep/*", "/workspace/out/*"};
    struct nj_digest first = collect(a, 1);
    struct nj_digest second = collect(b, 2);

    (void)state;
    assert_memory_equal(&first, &second, sizeof(first));
}

static void only_trees_are_stored_anew(void **state)
{
    const char *globs[] = {"/workspace/out/**"};
    size_t before;

    (void)state;
    (void)workspace();
    before = objects.n_items;
    (void)collect(globs, 1);
    for (size_t i = before; i < objects.n_items; i++)
        assert_int_equal(objects.items[i].kind, NJ_OBJECT_TREE);
    assert_true(objects.n_items > before);
}

static void a_hard_link_to_nothing_is_damage(void **state)
{
    struct nj_object_source source = memory_objects_source(&objects);
    struct nj_object_sink sink = memory_objects_sink(&objects);
    struct nj_digest tree = TREE(link_to("a", "missing", NJ_FILE_HARDLINK));
    const char *globs[] = {"/*"};
    struct nj_error err = {0};
    struct nj_digest outputs;

    (void)state;
    assert_int_equal(nj_outputs_collect(&source, &tree, globs, 1, &sink, &outputs, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "hard link to missing"));
}

static void a_tree_that_claims_to_be_endless_is_bounded(void **state)
{
    struct nj_object_source source = memory_objects_source(&objects);
    struct nj_object_sink sink = memory_objects_sink(&objects);
    struct nj_digest tree = TREE(file("leaf", "", 0644));
    const char *globs[] = {"/**"};
    struct nj_error err = {0};
    struct nj_digest outputs;

    (void)state;
    for (int i = 0; i < 24; i++) /* 2^24 leaves from 25 objects */
        tree = TREE(dir("a", tree), dir("b", tree));
    assert_int_equal(nj_outputs_collect(&source, &tree, globs, 1, &sink, &outputs, &err),
                     -NJ_E_LIMIT);
    tree = TREE(file("leaf", "", 0644));
    for (int i = 0; i < NJ_TREE_DEPTH_MAX + 1; i++)
        tree = TREE(dir("a", tree));
    assert_int_equal(nj_outputs_collect(&source, &tree, globs, 1, &sink, &outputs, &err),
                     -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "deeper than"));
}

/* ---- publishing ---- */

static int publish(struct nj_digest tree, const char *slug, struct nj_buf *report,
                   struct nj_error *err)
{
    struct nj_object_source source = memory_objects_source(&objects);

    return nj_outputs_publish(&source, &tree, out.fd, slug, report, err);
}

static void assert_text(const char *path, const char *expected)
{
    nj_auto_free char *text = scratch_text(&out, path);

    if (!expected) {
        assert_null(text);
        return;
    }
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(fstatat(out.fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

static void outputs_become_a_private_folder(void **state)
{
    const char *globs[] = {"/workspace/out/**"};
    NJ_AUTO(nj_buf_done) struct nj_buf report = {0};
    struct nj_error err = {0};
    mode_t mask;

    (void)state;
    nj_buf_init(&report, NJ_OUTPUTS_REPORT_MAX_BYTES);
    mask = umask(0);
    assert_int_equal(publish(collect(globs, 1), "acme", &report, &err), 0);
    (void)umask(0777); /* it must not matter either way */
    assert_int_equal(publish(collect(globs, 1), "again", &report, &err), 0);
    (void)umask(mask);
    for (int i = 0; i < 2; i++) {
        char path[64];
        const char *slug = i ? "again" : "acme";

        (void)snprintf(path, sizeof(path), "%s/workspace/out/a.json", slug);
        assert_text(path, "{}");
        assert_int_equal(mode_of(path), 0600);
        (void)snprintf(path, sizeof(path), "%s/workspace/out/hard", slug);
        assert_text(path, "input");
        (void)snprintf(path, sizeof(path), "%s/workspace/out/soft", slug);
        assert_text(path, "{}");
        (void)snprintf(path, sizeof(path), "%s/workspace/out/tool.sh", slug);
        assert_int_equal(mode_of(path), 0700); /* setuid never */
        (void)snprintf(path, sizeof(path), "%s/workspace/out/deep", slug);
        assert_int_equal(mode_of(path), 0700);
        assert_int_equal(mode_of(slug), 0700);
    }
    assert_int_equal(report.len, 0);
}

static void publishing_again_replaces_the_whole(void **state)
{
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(
        publish(TREE(file("old", "1", 0644), file("same", "1", 0644)), "s", NULL, &err), 0);
    assert_int_equal(
        publish(TREE(file("new", "2", 0644), file("same", "2", 0644)), "s", NULL, &err), 0);
    assert_text("s/old", NULL);
    assert_text("s/new", "2");
    assert_text("s/same", "2");
    assert_int_equal(
        publish(TREE(file("new", "2", 0644), file("same", "2", 0644)), "s", NULL, &err), 0);
    assert_text("s/new", "2");
    assert_int_equal(faccessat(out.fd, ".tmp-outputs-s", F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

static void a_file_or_link_in_its_place_is_replaced_and_not_followed(void **state)
{
    struct scratch other;
    struct nj_error err = {0};

    (void)state;
    scratch_make(&other);
    scratch_file(&other, "kept", "kept", 0644);
    scratch_link(&out, other.path, "s");
    scratch_link(&out, other.path, ".tmp-outputs-s");
    assert_int_equal(publish(TREE(file("new", "2", 0644)), "s", NULL, &err), 0);
    assert_text("s/new", "2");
    assert_int_equal(faccessat(other.fd, "new", F_OK, 0), -1);
    assert_int_equal(faccessat(other.fd, "kept", F_OK, 0), 0);
    scratch_remove(&other);
}

static void links_that_lead_out_are_left_out_and_told(void **state)
{
    static const struct {
        const char *target;
        bool made;
    } cases[] = {
        {"file", true},     {"./file", true},     {"d/x", true},      {"../file", true},
        {"../d//x", true},  {"/etc", false},      {"../../x", false}, {"..", true},
        {"../..", false},   {"d/../x", false},    {"d/..", false},    {"../d/../../x", false},
        {"../.../x", true}, {".././../x", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf report = {0};
        struct nj_error err = {0};
        struct stat st;

        nj_buf_init(&report, NJ_OUTPUTS_REPORT_MAX_BYTES);
        assert_int_equal(
            publish(TREE(dir("d", TREE(link_to("l", cases[i].target, NJ_FILE_SYMLINK)))), "s",
                    &report, &err),
            0);
        if ((fstatat(out.fd, "s/d/l", &st, AT_SYMLINK_NOFOLLOW) == 0) != cases[i].made)
            fail_msg("%s", cases[i].target);
        assert_int_equal(report.len == 0, cases[i].made);
        if (!cases[i].made)
            assert_non_null(strstr((char *)report.data, "link \"d/l\" points out of the outputs"));
    }
}

static void a_full_report_is_no_failure(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf report = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&report, 80);
    assert_int_equal(
        publish(TREE(link_to("a", "/x", NJ_FILE_SYMLINK), link_to("b", "/x", NJ_FILE_SYMLINK)), "s",
                &report, &err),
        0);
    assert_int_equal(report.data[report.len - 1], '\n');
    assert_null(strstr((char *)report.data, "\"b\""));
}

static void what_is_no_output_is_damage_and_nothing_appears(void **state)
{
    struct nj_digest missing = {{1}};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(
        publish(TREE(dir("d", TREE(link_to("h", "x", NJ_FILE_HARDLINK)))), "s", NULL, &err),
        -NJ_E_CORRUPT);
    assert_string_equal(err.text, "publish outputs s: d/h: neither a file, a folder nor a symlink");
    assert_int_equal(publish(TREE(file("a", "1", 0644), dir("b", missing)), "s", NULL, &err),
                     -NJ_E_CORRUPT);
    assert_int_equal(faccessat(out.fd, "s", F_OK, 0), -1);
    assert_int_equal(faccessat(out.fd, ".tmp-outputs-s", F_OK, 0), -1);
}

static void folders_too_deep_to_publish_are_refused(void **state)
{
    struct nj_digest tree = TREE(file("leaf", "", 0644));
    struct nj_error err = {0};

    (void)state;
    for (int i = 0; i < 400; i++)
        tree = TREE(dir("a", tree));
    assert_int_equal(publish(tree, "s", NULL, &err), -NJ_E_LIMIT);
    assert_int_equal(faccessat(out.fd, ".tmp-outputs-s", F_OK, 0), -1);
}

static void a_kill_at_any_point_leaves_the_old_or_the_new(void **state)
{
    static const char *const points[] = {"write", "fdatasync", "rename"};
    struct nj_digest old, new;
    struct nj_error err = {0};
    int kills = 0;

    (void)state;
    old = TREE(file("a", "old", 0644), file("b", "old", 0644));
    new = TREE(file("a", "new", 0644), file("b", "new", 0644));
    for (size_t i = 0; i < 3; i++) {
        for (int n = 1;; n++) {
            nj_auto_free char *a = NULL;
            nj_auto_free char *b = NULL;
            int status;
            pid_t pid;

            assert_int_equal(publish(old, "s", NULL, &err), 0);
            pid = fork();
            if (pid == 0) {
                char fault[32];

                (void)snprintf(fault, sizeof(fault), "%s#%d:kill", points[i], n);
                (void)setenv("NJ_FAULT", fault, 1);
                nj_fault_init("engine");
                _exit(publish(new, "s", NULL, &err) == 0 ? 0 : 1);
            }
            assert_int_equal(waitpid(pid, &status, 0), pid);
            a = scratch_text(&out, "s/a");
            b = scratch_text(&out, "s/b");
            assert_non_null(a);
            assert_non_null(b);
            assert_string_equal(a, b);
            if (WIFEXITED(status)) {
                assert_int_equal(WEXITSTATUS(status), 0);
                assert_string_equal(a, "new");
                break;
            }
            kills++;
        }
    }
    assert_true(kills >= 6);
    assert_int_equal(publish(new, "s", NULL, &err), 0); /* leftovers are no hindrance */
    assert_text("s/a", "new");
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(globs_name_paths_of_the_box),
        with_folder(what_the_globs_name_is_collected),
        with_folder(equal_outputs_have_equal_digests),
        with_folder(only_trees_are_stored_anew),
        with_folder(a_hard_link_to_nothing_is_damage),
        with_folder(a_tree_that_claims_to_be_endless_is_bounded),
        with_folder(outputs_become_a_private_folder),
        with_folder(publishing_again_replaces_the_whole),
        with_folder(a_file_or_link_in_its_place_is_replaced_and_not_followed),
        with_folder(links_that_lead_out_are_left_out_and_told),
        with_folder(a_full_report_is_no_failure),
        with_folder(what_is_no_output_is_damage_and_nothing_appears),
        with_folder(folders_too_deep_to_publish_are_refused),
        with_folder(a_kill_at_any_point_leaves_the_old_or_the_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
