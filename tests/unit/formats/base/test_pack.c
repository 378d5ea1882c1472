/*
 * test_pack.c - writing canonical documents and reading them by path
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "formats/base/pack.h"

#include "formats/base/banned.h"

#define ROOM ((size_t)1 << 20)

/* example - {"bin": 3 bytes, "calls": [{"timeout_ms": 5}, -7, "tool"], "digest": 32 bytes, "nil":
 * nil, "ok": true, "size": 2^64-1, "text": "gr\u00fc\u00df"} */
static void write_example(struct nj_buf *buf)
{
    struct nj_digest digest;
    struct nj_error err = {0};
    struct nj_packer packer;

    memset(digest.bytes, 0xdd, sizeof(digest.bytes));
    nj_buf_init(buf, ROOM);
    nj_packer_init(&packer, buf);
    nj_pack_map(&packer, 7);
    nj_pack_put_bin(&packer, "bin", (struct nj_span){(const uint8_t *)"\xff\x00\xfe", 3});
    nj_pack_text(&packer, "calls");
    nj_pack_array(&packer, 3);
    nj_pack_map(&packer, 1);
    nj_pack_put_uint(&packer, "timeout_ms", 5);
    nj_pack_int(&packer, -7);
    nj_pack_span(&packer, nj_span_text("tool"));
    nj_pack_put_digest(&packer, "digest", &digest);
    nj_pack_text(&packer, "nil");
    nj_pack_nil(&packer);
    nj_pack_put_bool(&packer, "ok", true);
    nj_pack_put_uint(&packer, "size", UINT64_MAX);
    nj_pack_put_text(&packer, "text", "gr\xc3\xbc\xc3\x9f");
    assert_int_equal(nj_packer_end(&packer, &err), 0);
}

/* The example, written and opened; the root is a place in it. */
struct fixture {
    struct nj_buf buf;
    struct nj_pack_doc doc;
    struct nj_pack_at root;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct nj_error err = {0};

    if (!fixture)
        return -1;
    write_example(&fixture->buf);
    assert_int_equal(nj_pack_open(&fixture->doc, "", nj_buf_span(&fixture->buf), &err), 0);
    assert_int_equal(nj_pack_root(&fixture->doc, &fixture->root, &err), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    nj_pack_done(&fixture->doc);
    nj_buf_done(&fixture->buf);
    free(fixture);
    return 0;
}

static void what_was_written_is_read(void **state)
{
    struct fixture *fixture = *state;
    const struct nj_pack_at *root = &fixture->root;
    struct nj_error err = {0};
    struct nj_pack_at calls, item;
    struct nj_digest digest;
    struct nj_span span;
    size_t items = 0;
    uint64_t number;
    int64_t whole;
    bool flag = false;

    assert_int_equal(nj_pack_get_bin(root, "bin", &span, &err), 0);
    assert_int_equal(span.len, 3);
    assert_memory_equal(span.data, "\xff\x00\xfe", 3);
    assert_int_equal(nj_pack_get_array(root, "calls", &calls, &items, &err), 0);
    assert_int_equal(items, 3);
    assert_int_equal(nj_pack_item(&calls, 0, &item, &err), 0);
    assert_int_equal(nj_pack_get_uint(&item, "timeout_ms", 5, &number, &err), 0);
    assert_true(number == 5);
    assert_int_equal(nj_pack_item(&calls, 1, &item, &err), 0);
    assert_int_equal(nj_pack_as_int(&item, &whole, &err), 0);
    assert_true(whole == -7);
    assert_int_equal(nj_pack_item(&calls, 2, &item, &err), 0);
    assert_int_equal(nj_pack_as_text(&item, &span, &err), 0);
    assert_true(nj_span_is(span, "tool"));
    assert_int_equal(nj_pack_get_digest(root, "digest", &digest, &err), 0);
    assert_int_equal(digest.bytes[31], 0xdd);
    assert_int_equal(nj_pack_get_bool(root, "ok", &flag, &err), 0);
    assert_true(flag);
    assert_int_equal(nj_pack_get_uint(root, "size", UINT64_MAX, &number, &err), 0);
    assert_true(number == UINT64_MAX);
    assert_int_equal(nj_pack_get_text(root, "text", &span, &err), 0);
    assert_true(nj_span_is(span, "gr\xc3\xbc\xc3\x9f"));
}

static void present_absent_and_nil_are_told_apart(void **state)
{
    struct fixture *fixture = *state;
    struct nj_pack_at value;
    struct nj_error err = {0};

    assert_true(nj_pack_has(&fixture->root, "nil"));
    assert_true(nj_pack_is_nil(&fixture->root, "nil"));
    assert_true(nj_pack_has(&fixture->root, "ok"));
    assert_false(nj_pack_is_nil(&fixture->root, "ok"));
    assert_false(nj_pack_has(&fixture->root, "nope"));
    assert_true(nj_pack_is_nil(&fixture->root, "nope"));
    assert_false(nj_pack_has(&fixture->root, "")); /* before, between and behind the keys */
    assert_false(nj_pack_has(&fixture->root, "call"));
    assert_false(nj_pack_has(&fixture->root, "callss"));
    assert_false(nj_pack_has(&fixture->root, "zz"));
    assert_int_equal(nj_pack_get(&fixture->root, "ok", &value, &err), 0);
    assert_false(nj_pack_has(&value, "ok")); /* not a map: has nothing */
    assert_true(nj_pack_is_nil(&value, "ok"));
}

static void every_failure_names_its_path(void **state)
{
    struct fixture *fixture = *state;
    const struct nj_pack_at *root = &fixture->root;
    struct nj_error err = {0};
    struct nj_pack_at calls, first, value;
    struct nj_digest digest;
    struct nj_span span;
    size_t items = 0;
    uint64_t number;
    int64_t whole;
    bool flag;

#define REFUSED(call, words)                                                                       \
    do {                                                                                           \
        assert_int_equal(call, -NJ_E_CORRUPT);                                                     \
        assert_string_equal(err.text, words);                                                      \
    } while (0)

    assert_int_equal(nj_pack_get_array(root, "calls", &calls, &items, &err), 0);
    assert_int_equal(nj_pack_item(&calls, 0, &first, &err), 0);
    REFUSED(nj_pack_get_uint(&first, "timeout_ms", 4, &number, &err),
            "calls[0].timeout_ms: 5 is above 4");
    REFUSED(nj_pack_get_text(&first, "timeout_ms", &span, &err),
            "calls[0].timeout_ms: not a string but an integer");
    REFUSED(nj_pack_get(&first, "name", &value, &err), "calls[0].name: missing");
    REFUSED(nj_pack_item(&calls, 3, &value, &err), "calls: item 3 of 3");
    REFUSED(nj_pack_item(root, 0, &value, &err), "document: not an array but a map");
    REFUSED(nj_pack_get(&calls, "x", &value, &err), "calls: not a map but an array");
    REFUSED(nj_pack_get_map(root, "calls", &value, &err), "calls: not a map but an array");
    REFUSED(nj_pack_get_array(root, "text", &value, &items, &err),
            "text: not an array but a string");
    REFUSED(nj_pack_get_bin(root, "text", &span, &err), "text: not a bin but a string");
    REFUSED(nj_pack_get_text(root, "bin", &span, &err), "bin: not a string but a bin");
    REFUSED(nj_pack_get_digest(root, "bin", &digest, &err), "bin: a digest has 32 bytes, not 3");
    REFUSED(nj_pack_get_digest(root, "ok", &digest, &err), "ok: not a bin but a boolean");
    REFUSED(nj_pack_get_bool(root, "nil", &flag, &err), "nil: not a boolean but nil");
    REFUSED(nj_pack_get_int(root, "size", &whole, &err),
            "size: 18446744073709551615 is above 9223372036854775807");
    REFUSED(nj_pack_get_int(root, "text", &whole, &err), "text: not an integer but a string");
    REFUSED(nj_pack_get_uint(root, "text", 1, &number, &err), "text: not an integer but a string");
    assert_int_equal(nj_pack_item(&calls, 1, &value, &err), 0);
    REFUSED(nj_pack_as_uint(&value, UINT64_MAX, &number, &err), "calls[1]: -7 is negative");
    REFUSED(nj_pack_as_map(&value, &err), "calls[1]: not a map but an integer");
    REFUSED(nj_pack_fail(&value, &err, "%s %d", "no such call", 9), "calls[1]: no such call 9");
    fixture->doc.name = "snapshot";
    REFUSED(nj_pack_get(&first, "name", &value, &err), "snapshot.calls[0].name: missing");
    REFUSED(nj_pack_fail(root, &err, "empty"), "snapshot: empty");
#undef REFUSED
}

static void numbers_survive_at_their_borders(void **state)
{
    static const int64_t numbers[] = {
        0,         1,         -1,         31,         -32,         -33,       127,      128,
        -128,      -129,      255,        256,        -32768,      -32769,    65535,    65536,
        INT32_MIN, INT32_MAX, 4294967295, 4294967296, -2147483649, INT64_MIN, INT64_MAX};
    const size_t n = sizeof(numbers) / sizeof(numbers[0]);
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at root, array, item;
    struct nj_error err = {0};
    struct nj_packer packer;
    size_t items = 0;

    (void)state;
    nj_buf_init(&buf, ROOM);
    nj_packer_init(&packer, &buf);
    nj_pack_map(&packer, 1);
    nj_pack_text(&packer, "n");
    nj_pack_array(&packer, n);
    for (size_t i = 0; i < n; i++)
        nj_pack_int(&packer, numbers[i]);
    assert_int_equal(nj_packer_end(&packer, &err), 0); /* the walk proves shortest forms */
    assert_int_equal(nj_pack_open(&doc, "doc", nj_buf_span(&buf), &err), 0);
    assert_int_equal(nj_pack_root(&doc, &root, &err), 0);
    assert_int_equal(nj_pack_get_array(&root, "n", &array, &items, &err), 0);
    for (size_t i = 0; i < n; i++) {
        int64_t number = 77;

        assert_int_equal(nj_pack_item(&array, i, &item, &err), 0);
        assert_int_equal(nj_pack_as_int(&item, &number, &err), 0);
        assert_true(number == numbers[i]);
    }
}

static void a_document_that_is_no_map_has_no_root(void **state)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at root;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_pack_open(&doc, "snapshot", nj_span_text("\x91\x01"), &err), 0);
    assert_int_equal(nj_pack_root(&doc, &root, &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "snapshot: not a map but an array");
}

static void a_document_that_is_not_canonical_is_not_decoded(void **state)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_pack_open(&doc, "snapshot", nj_span_text("\x91\xcc\x01"), &err),
                     -NJ_E_CORRUPT);
    assert_string_equal(err.text, "snapshot: msgpack byte 1: not in its shortest form");
    assert_false(doc.zone_ready);
    assert_int_equal(nj_pack_open(&doc, "", nj_span_text("\x91"), &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "msgpack byte 0: the value is cut off");
    nj_pack_done(&doc); /* of a document that was never opened */
    nj_pack_done(NULL);
}

static void documents_follow_each_other_in_one_buffer(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    struct nj_packer packer;

    (void)state;
    nj_buf_init(&buf, 100);
    for (uint64_t i = 1; i < 4; i++) {
        nj_packer_init(&packer, &buf);
        nj_pack_uint(&packer, i);
        assert_int_equal(nj_packer_end(&packer, &err), 0);
    }
    assert_string_equal((char *)buf.data, "\x01\x02\x03");
}

static void raw_values_are_spliced_in(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    struct nj_packer packer;
    struct nj_span inner = {NULL, 0};

    nj_buf_init(&buf, ROOM);
    nj_packer_init(&packer, &buf);
    nj_pack_map(&packer, 1);
    nj_pack_text(&packer, "inner");
    nj_pack_raw(&packer, nj_buf_span(&fixture->buf));
    assert_int_equal(nj_packer_end(&packer, &err), 0);
    assert_true(nj_pack_raw_at(nj_buf_span(&buf), "inner", &inner));
    assert_true(nj_span_equal(inner, nj_buf_span(&fixture->buf)));
}

static void a_rewrite_keeps_what_it_does_not_know(void **state)
{
    static const char *const known[] = {"calls", "ok"};
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0}, buf = {0};
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_error err = {0};
    struct nj_packer packer;
    size_t pairs = 0;

    nj_buf_init(&raw, ROOM);
    nj_buf_init(&buf, ROOM);
    assert_int_equal(nj_pack_unknown(nj_buf_span(&fixture->buf), known, 2, &raw, &pairs, &err), 0);
    assert_int_equal(pairs, 5);
    nj_packer_init(&packer, &buf);
    nj_pack_map(&packer, pairs + 1);
    nj_pack_text(&packer, "a");
    nj_pack_nil(&packer);
    nj_pack_raw(&packer, nj_buf_span(&raw));
    assert_int_equal(nj_packer_end(&packer, &err), 0);
    assert_int_equal(nj_pack_open(&doc, "", nj_buf_span(&buf), &err), 0);
}

static void the_first_failure_sticks_and_takes_the_document_back(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    struct nj_packer packer;

    (void)state;
    nj_buf_init(&buf, 8);
    assert_int_equal(nj_buf_text(&buf, "kept", &err), 0);
    nj_packer_init(&packer, &buf);
    nj_pack_array(&packer, 2);
    nj_pack_text(&packer, "too long for it");
    nj_pack_nil(&packer); /* would fit, but comes after the failure */
    assert_int_equal(nj_packer_end(&packer, &err), -NJ_E_LIMIT);
    assert_string_equal((char *)buf.data, "kept");

    nj_packer_init(&packer, &buf);
    nj_pack_span(&packer, (struct nj_span){(const uint8_t *)"\xff", 1});
    nj_pack_bin(&packer, (struct nj_span){NULL, (size_t)UINT32_MAX + 1});
    assert_int_equal(nj_packer_end(&packer, &err), -NJ_E_INPUT);
    assert_string_equal(err.text, "a string is not UTF-8");

    nj_packer_init(&packer, &buf);
    nj_pack_bin(&packer, (struct nj_span){NULL, (size_t)UINT32_MAX + 1});
    assert_int_equal(nj_packer_end(&packer, &err), -NJ_E_LIMIT);
    nj_packer_init(&packer, &buf);
    nj_pack_span(&packer, (struct nj_span){NULL, (size_t)UINT32_MAX + 1});
    assert_int_equal(nj_packer_end(&packer, &err), -NJ_E_LIMIT);
    assert_string_equal((char *)buf.data, "kept");
}

static void input_that_nests_too_deep_is_an_error_and_no_crash(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    struct nj_packer packer;

    (void)state;
    nj_buf_init(&buf, 100);
    nj_packer_init(&packer, &buf);
    for (int i = 0; i < NJ_PACK_DEPTH_MAX + 1; i++)
        nj_pack_array(&packer, 1);
    nj_pack_nil(&packer);
    assert_int_equal(nj_packer_end(&packer, &err), -NJ_E_LIMIT);
    assert_int_equal(buf.len, 0);
}

static void unordered_keys(struct nj_packer *packer)
{
    nj_pack_map(packer, 2);
    nj_pack_text(packer, "b");
    nj_pack_nil(packer);
    nj_pack_text(packer, "a");
    nj_pack_nil(packer);
}

static void missing_items(struct nj_packer *packer)
{
    nj_pack_array(packer, 3);
    nj_pack_nil(packer);
}

static void items_too_many(struct nj_packer *packer)
{
    nj_pack_array(packer, 1);
    nj_pack_nil(packer);
    nj_pack_nil(packer);
}

static void nothing_at_all(struct nj_packer *packer)
{
    (void)packer;
}

static void a_callers_mistake_aborts(void **state)
{
    static void (*const mistakes[])(struct nj_packer *) = {unordered_keys, missing_items,
                                                           items_too_many, nothing_at_all};

    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        int status = -1;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            struct nj_buf buf = {.max = 100};
            struct nj_error err = {0};
            struct nj_packer packer;
            int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

            (void)dup2(null, STDERR_FILENO);
            nj_packer_init(&packer, &buf);
            mistakes[i](&packer);
            (void)!nj_packer_end(&packer, &err);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_was_written_is_read),
        CASE(present_absent_and_nil_are_told_apart),
        CASE(every_failure_names_its_path),
        cmocka_unit_test(numbers_survive_at_their_borders),
        cmocka_unit_test(a_document_that_is_no_map_has_no_root),
        cmocka_unit_test(a_document_that_is_not_canonical_is_not_decoded),
        cmocka_unit_test(documents_follow_each_other_in_one_buffer),
        CASE(raw_values_are_spliced_in),
        CASE(a_rewrite_keeps_what_it_does_not_know),
        cmocka_unit_test(the_first_failure_sticks_and_takes_the_document_back),
        cmocka_unit_test(input_that_nests_too_deep_is_an_error_and_no_crash),
        cmocka_unit_test(a_callers_mistake_aborts),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
