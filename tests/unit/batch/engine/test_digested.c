/*
 * test_digested.c - what is found out about the files that ran
 */
#include "batch/engine/digested.h"

#include <sys/stat.h>
#include <unistd.h>

#include "batch/sandbox/instructions.h"
#include "tests/lib/golden.h"
#include "tests/lib/scratch.h"

#include "formats/base/banned.h"

static struct nj_error err;
static struct scratch scratch;

static void must(int r)
{
    if (r < 0)
        fail_msg("%s", err.text);
}

/* of - @path as it is on this host now */
static struct nj_ran_file of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (struct nj_ran_file){nj_span_text(path), (uint64_t)st.st_size,
                                st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec};
}

static void a_program_is_told_by_digest_package_and_loader(void **state)
{
    struct nj_ran_file files[] = {of("/usr/bin/true")};
    const struct nj_ran ran = {files, 1, false};
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, text = {0};
    const struct nj_digested_file *file;
    char expected[128], hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_digest digest;

    (void)state;
    nj_buf_init(&bytes, 1u << 24);
    nj_buf_init(&text, 1u << 20);
    must(nj_digested_new(&digested, &err));
    must(nj_digested_add(digested, &ran, &err));
    file = nj_digested_find(digested, nj_span_text("/usr/bin/true"));
    assert_non_null(file);
    assert_true(file->is_there);
    must(nj_fsio_read_file(AT_FDCWD, "/usr/bin/true", &bytes, &err));
    nj_digest_bytes(bytes.data, bytes.len, &digest);
    assert_true(nj_digest_equal(&file->digest, &digest));
    assert_non_null(file->loader);
    assert_non_null(nj_digested_find(digested, nj_span_text(file->loader)));
    must(nj_digested_write(digested, &ran, &text, &err));
    nj_digest_hex(&digest, hex);
    (void)snprintf(expected, sizeof(expected), "\"sha256\":\"%s\"}", hex);
    assert_non_null(strstr((const char *)text.data, expected));
    assert_non_null(strstr((const char *)text.data, file->loader));
    if (access("/var/lib/dpkg/info/coreutils.list", R_OK) == 0)
        assert_non_null(strstr((const char *)text.data, "\"package\":\"coreutils "));
}

static void only_the_file_that_ran_is_read(void **state)
{
    char *path = NULL;
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const struct nj_digested_file *file;
    struct nj_ran_file ran_file;
    const struct nj_ran ran = {&ran_file, 1, false};

    (void)state;
    assert_true(asprintf(&path, "%s/program", scratch.path) > 0);
    scratch_file(&scratch, "program", "one", 0755);
    ran_file = of(path);
    must(nj_digested_new(&digested, &err));
    scratch_file(&scratch, "program", "another",
                 0755); /* an upgrade between the call and the bundle */
    must(nj_digested_add(digested, &ran, &err));
    file = nj_digested_find(digested, nj_span_text(path));
    assert_non_null(file);
    assert_false(file->is_there);
    nj_buf_init(&text, 1u << 20);
    must(nj_digested_write(digested, &ran, &text, &err));
    assert_non_null(strstr((const char *)text.data, "/program\":{\"sha256\":null}}"));
    ran_file = of(path); /* then the new one runs */
    must(nj_digested_add(digested, &ran, &err));
    assert_true(nj_digested_find(digested, nj_span_text(path))->is_there);
    free(path);
}

/* A file that changed and kept its time is forged, and shows here whether it was read again. */
static void what_a_program_holds_is_looked_for_without_another_digest(void **state)
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
    const struct nj_digested_file *file;
    struct nj_ran_file ran_file;
    const struct nj_ran ran = {&ran_file, 1, false};
    struct nj_digest first;
    char *path = NULL;

    (void)state;
    assert_true(asprintf(&path, "%s/program", scratch.path) > 0);
    scratch_file(&scratch, "program", "one", 0755);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    must(nj_digested_new(&digested, &err));
    must(nj_digested_add_program(digested, path, &err));
    first = nj_digested_find(digested, nj_span_text(path))->digest;
    scratch_file(&scratch, "program", "two", 0755);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    ran_file = of(path);
    must(nj_digested_add(digested, &ran, &err));
    file = nj_digested_find(digested, nj_span_text(path));
    assert_true(file->is_there && file->closely);
    assert_true(nj_digest_equal(&file->digest, &first));
    free(path);
}

static void what_is_no_file_is_not_opened_for_long(void **state)
{
    struct nj_ran_file files[] = {{nj_span_text("/dev/zero"), 0, 0},
                                  {nj_span_text("/nowhere/at/all"), 1, 1},
                                  {nj_span_text("/usr"), 4096, 0}};
    const struct nj_ran ran = {files, 3, false};
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;

    (void)state;
    must(nj_digested_new(&digested, &err));
    must(nj_digested_add(digested, &ran, &err));
    for (size_t i = 0; i < 3; i++)
        assert_false(nj_digested_find(digested, files[i].path)->is_there);
}

static void of_no_list_nothing_is_written(void **state)
{
    const struct nj_ran ran = {.n_files = 0};
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    (void)state;
    nj_buf_init(&text, 1u << 20);
    must(nj_digested_new(&digested, &err));
    must(nj_digested_add(digested, &ran, &err));
    must(nj_digested_write(digested, &ran, &text, &err));
    assert_int_equal(text.len, 0);
}

/* A call may run what it likes, and its bundle must be made all the same. */
static void a_path_that_is_no_text_is_left_out(void **state)
{
    struct nj_ran_file files[] = {{nj_span_text("/tmp/\xc3\xbc"), 1, 1},
                                  {nj_span_text("/tmp/\xfe"), 1, 1},
                                  {nj_span_text("/tmp/\xff"), 1, 1}};
    const struct nj_ran ran = {files, 3, false};
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    (void)state;
    nj_buf_init(&text, 1u << 20);
    must(nj_digested_new(&digested, &err));
    must(nj_digested_add(digested, &ran, &err));
    must(nj_digested_write(digested, &ran, &text, &err));
    assert_string_equal(text.data, ",\"ran\":{\"/tmp/\xc3\xbc\":{\"sha256\":null}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_told_by_digest_package_and_loader),
        SCRATCH_TEST(only_the_file_that_ran_is_read, &scratch),
        SCRATCH_TEST(what_a_program_holds_is_looked_for_without_another_digest, &scratch),
        cmocka_unit_test(what_is_no_file_is_not_opened_for_long),
        cmocka_unit_test(of_no_list_nothing_is_written),
        cmocka_unit_test(a_path_that_is_no_text_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
