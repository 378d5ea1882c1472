/*
 * test_inputs.c - what a run read, by digest
 */
#include "tests/lib/scratch.h"

#include <signal.h>
#include <sys/wait.h>

#include "batch/plan/inputs.h"
#include "formats/base/fault.h"
#include "tests/lib/memory_objects.h"

static struct scratch scratch; /* the host's files */
static struct scratch store;   /* the inputs folder */

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    scratch_make(&store);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    scratch_remove(&store);
    return 0;
}

static struct nj_digest put_text(struct nj_inputs *inputs, const char *text)
{
    struct nj_object_sink sink = nj_inputs_sink(inputs);
    struct nj_error err = {0};
    struct nj_digest digest;

    if (nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text(text), &digest, &err) < 0)
        fail_msg("%s", err.text);
    return digest;
}

static void an_object_is_a_file_named_by_its_digest(void **state)
{
    NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
    nj_auto_free char *text = NULL;
    char name[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_error err = {0};
    struct nj_digest digest;
    struct stat st;
    mode_t mask;

    (void)state;
    mask = umask(0);
    assert_int_equal(nj_inputs_open(store.fd, &inputs, &err), 0);
    digest = put_text(inputs, "hello");
    (void)put_text(inputs, "hello");
    (void)umask(mask);
    assert_int_equal(nj_inputs_bytes(inputs), 5);
    nj_digest_hex(&digest, name);
    text = scratch_text(&store, name);
    assert_string_equal(text, "hello");
    assert_int_equal(fstatat(store.fd, name, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(nj_inputs_sync(inputs, &err), 0);
    assert_int_equal(nj_inputs_sync(inputs, &err), 0);
}

static int get_text(struct nj_inputs *inputs, const struct nj_digest *digest, struct nj_buf *buf,
                    struct nj_error *err)
{
    struct nj_object_source source = nj_inputs_source(inputs);

    if (buf->max == 0)
        nj_buf_init(buf, NJ_OBJECT_MAX_BYTES);
    return source.get(source.ctx, digest, buf, err);
}

static void reading_appends_and_verifies(void **state)
{
    NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    char name[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_error err = {0};
    struct nj_digest digest, empty;

    (void)state;
    assert_int_equal(nj_inputs_open(store.fd, &inputs, &err), 0);
    digest = put_text(inputs, "hello");
    empty = put_text(inputs, "");
    assert_int_equal(get_text(inputs, &digest, &buf, &err), 0);
    assert_int_equal(get_text(inputs, &empty, &buf, &err), 0);
    assert_string_equal((char *)buf.data, "hello");

    nj_digest_hex(&digest, name);
    scratch_file(&store, name, "hellO", 0600);
    assert_int_equal(get_text(inputs, &digest, &buf, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "other bytes"));
    assert_string_equal((char *)buf.data, "hello"); /* as it was */
    assert_int_equal(unlinkat(store.fd, name, 0), 0);
    assert_int_equal(get_text(inputs, &digest, &buf, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "missing"));
}

static void a_torn_file_of_an_earlier_process_is_replaced(void **state)
{
    static const char *const torn[] = {"", "hel", "xxxxx"};

    (void)state;
    for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
        NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
        nj_auto_free char *text = NULL;
        char name[NJ_DIGEST_HEX_CHARS + 1];
        struct nj_error err = {0};
        struct nj_digest digest;

        nj_digest_bytes("hello", 5, &digest);
        nj_digest_hex(&digest, name);
        scratch_file(&store, name, torn[i], 0600);
        scratch_file(&store, ".tmp-1-in-0", "left over", 0600);
        assert_int_equal(nj_inputs_open(store.fd, &inputs, &err), 0);
        assert_int_equal(faccessat(store.fd, ".tmp-1-in-0", F_OK, 0), -1);
        (void)put_text(inputs, "hello");
        text = scratch_text(&store, name);
        assert_string_equal(text, "hello");
    }
}

/* Runs @work in a child under NJ_FAULT=@fault; returns its wait status. */
static int under_fault(const char *fault, void (*work)(void))
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("NJ_FAULT", fault, 1);
        nj_fault_init("engine");
        work();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void put_two_and_sync(void)
{
    struct nj_object_sink sink;
    struct nj_inputs *inputs = NULL;
    struct nj_error err = {0};
    struct nj_digest digest;

    if (nj_inputs_open(store.fd, &inputs, &err) < 0)
        _exit(10);
    sink = nj_inputs_sink(inputs);
    if (nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text("first"), &digest, &err) < 0 ||
        nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text("second"), &digest, &err) < 0)
        _exit(11);
    if (nj_inputs_sync(inputs, &err) < 0)
        _exit(err.code == NJ_E_SYSTEM ? 12 : 13);
    nj_inputs_free(inputs);
}

static void failures_of_the_disk_are_failures_here(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(under_fault("write#2:enospc", put_two_and_sync)), 11);
    assert_int_equal(WEXITSTATUS(under_fault("rename#1:eio", put_two_and_sync)), 11);
    for (int n = 1; n <= 3; n++) { /* two files, one folder */
        char fault[32];

        (void)snprintf(fault, sizeof(fault), "fdatasync#%d:eio", n);
        assert_int_equal(WEXITSTATUS(under_fault(fault, put_two_and_sync)), 12);
    }
    assert_int_equal(WEXITSTATUS(under_fault("write#1:short", put_two_and_sync)), 0);
}

static void a_kill_at_any_write_leaves_whole_objects_only(void **state)
{
    static const char *const points[] = {"write", "rename", "fdatasync"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (int n = 1; n <= 4; n++) {
            NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
            struct nj_error err = {0};
            struct nj_digest digest;
            char fault[32];
            NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};

            (void)snprintf(fault, sizeof(fault), "%s#%d:kill", points[i], n);
            (void)under_fault(fault, put_two_and_sync);
            assert_int_equal(nj_inputs_open(store.fd, &inputs, &err), 0);
            digest = put_text(inputs, "second"); /* going on puts what is missing */
            assert_int_equal(get_text(inputs, &digest, &buf, &err), 0);
            assert_string_equal((char *)buf.data, "second");
        }
    }
}

/* ---- files and folders of the host ---- */

static int add_file(const char *path, struct memory_objects *objects, struct nj_tree_entry *entry,
                    int64_t *mtime_ns, struct nj_error *err)
{
    struct nj_object_sink sink = memory_objects_sink(objects);
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    struct nj_place place = {.root = 0, .prefix = "", .rest = path};

    assert_int_equal(nj_roots_open(scratch.fd, NULL, &roots, err), 0);
    return nj_inputs_add_file(&roots, &place, &sink, NULL, entry, mtime_ns, err);
}

static void a_file_keeps_content_time_and_whether_it_runs(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects objects = {0};
    struct timespec times[2] = {{1000000000, 5}, {1234567890, 987654321}};
    struct nj_tree_entry entry = {0};
    struct nj_error err = {0};
    struct nj_digest digest;
    int64_t mtime_ns = 0;

    (void)state;
    scratch_file(&scratch, "plain", "text", 0600);
    scratch_file(&scratch, "tool", "#!/bin/sh\n", 0700);
    assert_int_equal(utimensat(scratch.fd, "plain", times, 0), 0);
    assert_int_equal(add_file("plain", &objects, &entry, &mtime_ns, &err), 0);
    nj_digest_bytes("text", 4, &digest);
    assert_true(nj_digest_equal(&entry.digest, &digest));
    assert_int_equal(entry.size, 4);
    assert_int_equal(entry.type, NJ_FILE_REGULAR);
    assert_int_equal(entry.mode, 0644);
    assert_true(mtime_ns == INT64_C(1234567890987654321));
    assert_int_equal(add_file("tool", &objects, &entry, &mtime_ns, &err), 0);
    assert_int_equal(entry.mode, 0755);
}

static void what_is_no_file_is_refused_with_the_reason(void **state)
{
    static const struct {
        const char *path;
        const char *reason;
    } cases[] = {
        {"missing", "file missing: No such file or directory"},
        {"folder", "file folder: is a folder"},
        {"fifo", "file fifo: is neither a file nor a folder"},
        {"out", "file out: a link leaves the allowed directories"},
    };

    (void)state;
    scratch_dir(&scratch, "folder");
    assert_int_equal(mkfifoat(scratch.fd, "fifo", 0600), 0);
    scratch_link(&scratch, "/etc/hostname", "out");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(memory_objects_done) struct memory_objects objects = {0};
        struct nj_tree_entry entry = {0};
        struct nj_error err = {0};
        int64_t mtime_ns;

        assert_int_equal(add_file(cases[i].path, &objects, &entry, &mtime_ns, &err), -NJ_E_INPUT);
        if (!strstr(err.text, cases[i].reason))
            fail_msg("%s", err.text);
        assert_int_equal(objects.n_items, 0);
    }
}

static int describe(void *ctx, const char *path, const struct nj_tree_entry *entry,
                    struct nj_error *err)
{
    return nj_buf_printf(ctx, err, "%s %d %04o %llu\n", path, (int)entry->type, entry->mode,
                         (unsigned long long)entry->size);
}

static void a_folder_becomes_a_read_only_tree(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects objects = {0};
    struct nj_object_source source = memory_objects_source(&objects);
    struct nj_object_sink sink = memory_objects_sink(&objects);
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_workspace_ref ref, again;
    struct nj_error err = {0};

    (void)state;
    scratch_file(&scratch, "config/check.py", "pass\n", 0700);
    scratch_file(&scratch, "config/rules/b", "bb", 0600);
    scratch_file(&scratch, "config/rules/a", "", 0664);
    scratch_file(&scratch, "config/.hidden", "h", 0644);
    scratch_dir(&scratch, "config/empty");
    scratch_link(&scratch, "../anywhere", "config/link");
    assert_int_equal(nj_inputs_add_path(scratch.fd, "config", &sink, &ref, &err), 0);
    nj_buf_init(&text, 4096);
    assert_int_equal(nj_tree_walk(&source, &ref.tree, describe, &text, &err), 0);
    assert_string_equal((char *)text.data, ".hidden 1 0444 1\n"
                                           "check.py 1 0555 5\n"
                                           "empty 2 0555 0\n"
                                           "link 3 0000 0\n"
                                           "rules 2 0555 0\n"
                                           "rules/a 1 0444 0\n"
                                           "rules/b 1 0444 2\n");
    /* Another umask and other times: the same tree, other stamps. */
    assert_int_equal(fchmodat(scratch.fd, "config/rules/b", 0444, 0), 0);
    assert_int_equal(
        utimensat(scratch.fd, "config/rules/b", (struct timespec[2]){{1, 0}, {1, 0}}, 0), 0);
    assert_int_equal(nj_inputs_add_path(scratch.fd, "config", &sink, &again, &err), 0);
    assert_true(nj_digest_equal(&ref.tree, &again.tree));
    assert_false(nj_digest_equal(&ref.stamps, &again.stamps));
}

static void a_single_file_is_a_tree_of_one(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects objects = {0};
    struct nj_object_source source = memory_objects_source(&objects);
    struct nj_object_sink sink = memory_objects_sink(&objects);
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_workspace_ref ref;
    struct nj_error err = {0};

    (void)state;
    scratch_file(&scratch, "a/b/data", "12", 0644);
    assert_int_equal(nj_inputs_add_path(scratch.fd, "a/b/data", &sink, &ref, &err), 0);
    nj_buf_init(&text, 4096);
    assert_int_equal(nj_tree_walk(&source, &ref.tree, describe, &text, &err), 0);
    assert_string_equal((char *)text.data, "data 1 0444 2\n");
}

static void a_folder_that_holds_what_no_tree_can_is_refused(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects objects = {0};
    struct nj_object_sink sink = memory_objects_sink(&objects);
    struct nj_workspace_ref ref;
    struct nj_error err = {0};
    char deep[2 * (NJ_INPUTS_DEPTH_MAX + 4)];

    (void)state;
    scratch_file(&scratch, "d/e/file", "", 0644);
    assert_int_equal(mkfifoat(scratch.fd, "d/e/fifo", 0600), 0);
    assert_int_equal(nj_inputs_add_path(scratch.fd, "d", &sink, &ref, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "folder d: e/fifo is neither a file, a folder nor a link"));
    assert_int_equal(nj_inputs_add_path(scratch.fd, "../x", &sink, &ref, &err), -NJ_E_INPUT);
    assert_int_equal(nj_inputs_add_path(scratch.fd, "/etc", &sink, &ref, &err), -NJ_E_INPUT);
    assert_int_equal(nj_inputs_add_path(scratch.fd, "none", &sink, &ref, &err), -NJ_E_INPUT);
    for (size_t i = 0; i < sizeof(deep) - 2; i++)
        deep[i] = i % 2 ? '/' : 'n';
    deep[sizeof(deep) - 2] = 'n';
    deep[sizeof(deep) - 1] = '\0';
    scratch_dir(&scratch, deep);
    assert_int_equal(nj_inputs_add_path(scratch.fd, "n", &sink, &ref, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "more than 128 folders deep"));
}

static void a_long_file_is_kept_in_parts(void **state)
{
    NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
    nj_auto_free char *text = malloc(NJ_OBJECT_PART_BYTES * 2 + 100);
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    struct nj_place place = {.root = 0, .prefix = "", .rest = "long"};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_source source;
    struct nj_tree_entry entry = {0};
    struct nj_error err = {0};
    struct nj_object_sink sink;
    int64_t mtime_ns;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < NJ_OBJECT_PART_BYTES * 2 + 99; i++)
        text[i] = (char)('a' + i % 23);
    text[NJ_OBJECT_PART_BYTES * 2 + 99] = '\0';
    scratch_file(&scratch, "long", text, 0644);
    assert_int_equal(nj_inputs_open(store.fd, &inputs, &err), 0);
    sink = nj_inputs_sink(inputs);
    source = nj_inputs_source(inputs);
    assert_int_equal(nj_roots_open(scratch.fd, NULL, &roots, &err), 0);
    assert_int_equal(nj_inputs_add_file(&roots, &place, &sink, NULL, &entry, &mtime_ns, &err), 0);
    assert_true(entry.has_parts);
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(source.get(source.ctx, &entry.parts, &buf, &err), 0);
    assert_int_equal(nj_inputs_sync(inputs, &err), 0);
}

#define with_folders(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folders(an_object_is_a_file_named_by_its_digest),
        with_folders(reading_appends_and_verifies),
        with_folders(a_torn_file_of_an_earlier_process_is_replaced),
        with_folders(failures_of_the_disk_are_failures_here),
        with_folders(a_kill_at_any_write_leaves_whole_objects_only),
        with_folders(a_file_keeps_content_time_and_whether_it_runs),
        with_folders(what_is_no_file_is_refused_with_the_reason),
        with_folders(a_folder_becomes_a_read_only_tree),
        with_folders(a_single_file_is_a_tree_of_one),
        with_folders(a_folder_that_holds_what_no_tree_can_is_refused),
        with_folders(a_long_file_is_kept_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
