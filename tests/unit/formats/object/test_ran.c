/*
 * test_ran.c - the list of files that ran in a call
 */
#include "formats/object/ran.h"
#include "tests/lib/golden.h"

#include "formats/base/banned.h"

static struct nj_error err;

static struct nj_ran_file file(const char *path, uint64_t bytes, int64_t mtime_ns)
{
    return (struct nj_ran_file){nj_span_text(path), bytes, mtime_ns};
}

static void encode(const struct nj_ran *ran, struct nj_buf *out)
{
    nj_buf_init(out, NJ_OBJECT_MAX_BYTES);
    if (nj_ran_encode(ran, out, &err) < 0)
        fail_msg("%s", err.text);
}

static void a_list_is_sorted_and_comes_back(void **state)
{
    struct nj_ran_file files[] = {file("/usr/bin/python3.11", 6831704, 1700000000000000001),
                                  file("/lib/b", INT64_MAX, -1), file("/lib/a", 0, 0),
                                  file("/lib/b", 7, 7)};
    struct nj_ran ran = {files, 4, true}, again;
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};

    (void)state;
    nj_ran_sort(&ran);
    assert_int_equal(ran.n_files, 3);
    encode(&ran, &bytes);
    golden_check("object/v0/three.ran", nj_buf_span(&bytes));
    assert_int_equal(nj_ran_decode(nj_buf_span(&bytes), &arena, &again, &err), 0);
    assert_int_equal(again.n_files, 3);
    assert_true(again.more);
    assert_true(nj_span_is(again.files[0].path, "/lib/a"));
    assert_true(nj_span_is(again.files[1].path, "/lib/b"));
    assert_true(nj_span_is(again.files[2].path, "/usr/bin/python3.11"));
    assert_true(again.files[2].bytes == 6831704);
    assert_true(again.files[2].mtime_ns == 1700000000000000001);
}

static void the_document_shows_a_list(void **state)
{
    struct nj_ran_file files[] = {file("/usr/bin/true", 35664, 1695000000000000000)};
    struct nj_ran ran = {files, 1, false};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf hex = {0};

    (void)state;
    encode(&ran, &bytes);
    golden_check("object/v0/one.ran", nj_buf_span(&bytes));
    hex_lines(nj_buf_span(&bytes), &hex);
    document_shows("formats/object/FORMAT.md", (const char *)hex.data);
}

static void too_many_files_are_refused_by_the_writer(void **state)
{
    struct nj_ran ran = {.n_files = NJ_RAN_FILES_MAX + 1};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};

    (void)state;
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_ran_encode(&ran, &bytes, &err), -NJ_E_LIMIT);
}

#define PLAIN "\x93\xc4\x02/a\x01\x02"

static void what_is_no_list_is_refused_by_name(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        enum nj_error_code code;
        const char *text;
    } rows[] = {
#define ROW(name, bytes, code, text) {name, bytes, sizeof(bytes) - 1, code, text}
        ROW("is-an-array", "\x90", NJ_E_CORRUPT, "ran: not a map"),
        ROW("without-files", "\x81\xa1m\xc2", NJ_E_CORRUPT, "ran.f: missing"),
        ROW("without-more",
            "\x81\xa1"
            "f\x90",
            NJ_E_CORRUPT, "ran.m: missing"),
        ROW("newer-key",
            "\x83\xa1X\xc0\xa1"
            "f\x90\xa1m\xc2",
            NJ_E_VERSION, "X"),
        ROW("file-of-two",
            "\x82\xa1"
            "f\x91\x92\xc4\x02/a\x01\xa1m\xc2",
            NJ_E_CORRUPT, "2 items"),
        ROW("path-relative",
            "\x82\xa1"
            "f\x91\x93\xc4\x01"
            "a\x01\x02\xa1m\xc2",
            NJ_E_CORRUPT, "not an absolute path"),
        ROW("path-nul",
            "\x82\xa1"
            "f\x91\x93\xc4\x02/\x00\x01\x02\xa1m\xc2",
            NJ_E_CORRUPT, "not an absolute path"),
        ROW("path-is-text",
            "\x82\xa1"
            "f\x91\x93\xa2/a\x01\x02\xa1m\xc2",
            NJ_E_CORRUPT, "ran.f[0]"),
        ROW("size-negative",
            "\x82\xa1"
            "f\x91\x93\xc4\x02/a\xff\x02\xa1m\xc2",
            NJ_E_CORRUPT, "ran.f[0]"),
        ROW("path-twice",
            "\x82\xa1"
            "f\x92" PLAIN PLAIN "\xa1m\xc2",
            NJ_E_CORRUPT, "twice there"),
        ROW("cut",
            "\x82\xa1"
            "f\x92" PLAIN,
            NJ_E_CORRUPT, ""),
#undef ROW
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_span bytes = {(const uint8_t *)rows[i].bytes, rows[i].len};
        struct nj_ran ran = {.n_files = 77};
        char name[96];

        (void)snprintf(name, sizeof(name), "object/damaged/ran-%s", rows[i].name);
        golden_check(name, bytes);
        if (nj_ran_decode(bytes, &arena, &ran, &err) != -(int)rows[i].code ||
            !strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].name, err.text);
        assert_int_equal(ran.n_files, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_sorted_and_comes_back),
        cmocka_unit_test(the_document_shows_a_list),
        cmocka_unit_test(too_many_files_are_refused_by_the_writer),
        cmocka_unit_test(what_is_no_list_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
