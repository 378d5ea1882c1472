/*
 * test_buf.c - growth up to the cap, failures that change nothing, JSON text
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/buf.h"
#include "formats/base/bytes.h"

#include "formats/base/banned.h"

static void assert_text(const struct nj_buf *buf, const char *text)
{
    assert_non_null(buf->data);
    assert_string_equal((const char *)buf->data, text); /* also proves the NUL behind the text */
    assert_int_equal(buf->len, strlen(text));
}

static void a_zeroed_buffer_holds_nothing(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_buf_append(&buf, "", 0, &err), 0);
    assert_int_equal(nj_buf_append(&buf, "x", 1, &err), -NJ_E_LIMIT);
    assert_null(buf.data);
}

static void text_grows_and_stays_terminated(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 10000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(nj_buf_printf(&buf, &err, "%03d,", i), 0);
        assert_int_equal(buf.data[buf.len], '\0');
    }
    assert_int_equal(buf.len, 4000);
    assert_memory_equal(buf.data + 3996, "999,", 4);
    nj_buf_cut(&buf, 7);
    assert_text(&buf, "000,001");
    nj_buf_clear(&buf);
    assert_text(&buf, "");
    assert_int_equal(nj_buf_text(&buf, "again", &err), 0);
    assert_text(&buf, "again");
}

static void the_cap_is_exact_and_a_refusal_changes_nothing(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 5);
    assert_int_equal(nj_buf_text(&buf, "12345", &err), 0);
    assert_int_equal(nj_buf_text(&buf, "6", &err), -NJ_E_LIMIT);
    assert_int_equal(nj_buf_printf(&buf, &err, "%d", 6), -NJ_E_LIMIT);
    assert_text(&buf, "12345");
    assert_int_equal(nj_buf_reserve(&buf, SIZE_MAX, &err), -NJ_E_LIMIT); /* the sum would wrap */
    assert_text(&buf, "12345");
}

static void a_cap_of_everything_still_leaves_room_for_the_nul(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, SIZE_MAX);
    assert_int_equal(nj_buf_reserve(&buf, SIZE_MAX, &err), -NJ_E_LIMIT);
    assert_int_equal(nj_buf_text(&buf, "fine", &err), 0);
    assert_text(&buf, "fine");
}

static void a_long_format_is_written_whole(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    char word[600];

    (void)state;
    memset(word, 'w', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    nj_buf_init(&buf, 4096);
    assert_int_equal(nj_buf_printf(&buf, &err, "<%s>", word), 0);
    assert_int_equal(buf.len, 601);
    assert_int_equal(buf.data[600], '>');
    nj_buf_done(&buf);
    assert_int_equal(buf.max, 4096); /* done keeps the cap */
    nj_buf_init(&buf, 600);
    assert_int_equal(nj_buf_printf(&buf, &err, "<%s>", word), -NJ_E_LIMIT);
    assert_int_equal(buf.len, 0);
}

static void json_text_escapes_what_could_end_a_string_or_drive_a_terminal(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""},
        {"\x1b[31m\x7f", "\"\\u001b[31m\\u007f\""},
        {"\xc2\x85", "\"\\u0085\""},
        {"\xe2\x80\xae", "\"\\u202e\""},
        {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
        {"\xf0\x9f\x8c\x99", "\"\xf0\x9f\x8c\x99\""},
        {"cut \xe2\x82", "\"cut \xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xff!", "\"\xef\xbf\xbd!\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
        struct nj_error err = {0};

        nj_buf_init(&buf, 100);
        assert_int_equal(nj_buf_json_text(&buf, nj_span_text(cases[i].text), &err), 0);
        assert_text(&buf, cases[i].json);
    }
}

static void json_text_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    for (size_t max = 1; max < 9; max++) {
        NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
        struct nj_error err = {0};

        nj_buf_init(&buf, max);
        assert_int_equal(nj_buf_text(&buf, "k", &err), 0);
        assert_int_equal(nj_buf_json_text(&buf, nj_span_text("ab\ncd"), &err), -NJ_E_LIMIT);
        assert_text(&buf, "k");
    }
}

static void stolen_bytes_are_the_callers_and_the_buffer_starts_anew(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    nj_auto_free char *text = NULL;

    (void)state;
    nj_buf_init(&buf, 100);
    assert_null(nj_buf_steal(&buf));
    assert_int_equal(nj_buf_text(&buf, "mine", &err), 0);
    text = nj_buf_steal(&buf);
    assert_string_equal(text, "mine");
    assert_int_equal(buf.len, 0);
    assert_int_equal(nj_buf_text(&buf, "new", &err), 0);
    assert_text(&buf, "new");
}

static void spans_compare_by_bytes_and_copy_with_a_nul(void **state)
{
    struct nj_span empty = {NULL, 0}, ab = nj_span_text("ab");
    nj_auto_free char *copy = nj_span_dup(ab), *nothing = nj_span_dup(empty);

    (void)state;
    assert_true(nj_span_is(ab, "ab"));
    assert_false(nj_span_is(ab, "abc"));
    assert_false(nj_span_is(ab, "ax"));
    assert_true(nj_span_equal(empty, nj_span_text("")));
    assert_string_equal(copy, "ab");
    assert_string_equal(nothing, "");
    assert_null(nj_span_dup((struct nj_span){NULL, SIZE_MAX}));
}

static void numbers_are_little_endian_and_sums_do_not_wrap(void **state)
{
    uint8_t bytes[8];
    size_t sum;

    (void)state;
    nj_store_u64le(bytes, UINT64_C(0x0102030405060708));
    assert_int_equal(bytes[0], 8);
    assert_int_equal(bytes[7], 1);
    assert_true(nj_load_u64le(bytes) == UINT64_C(0x0102030405060708));
    assert_int_equal(nj_load_u32le(bytes), 0x05060708);
    assert_int_equal(nj_load_u16le(bytes), 0x0708);
    nj_store_u32le(bytes, 0xa1b2c3d4);
    assert_int_equal(bytes[0], 0xd4);
    nj_store_u16le(bytes, 0xe5f6);
    assert_int_equal(bytes[1], 0xe5);
    assert_false(nj_add_overflows(SIZE_MAX - 1, 1, &sum));
    assert_true(nj_add_overflows(SIZE_MAX, 1, &sum));
    assert_true(nj_mul_overflows(SIZE_MAX / 2, 3, &sum));
    assert_false(nj_mul_overflows(SIZE_MAX / 2, 2, &sum));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_buffer_holds_nothing),
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(the_cap_is_exact_and_a_refusal_changes_nothing),
        cmocka_unit_test(a_cap_of_everything_still_leaves_room_for_the_nul),
        cmocka_unit_test(a_long_format_is_written_whole),
        cmocka_unit_test(json_text_escapes_what_could_end_a_string_or_drive_a_terminal),
        cmocka_unit_test(json_text_that_does_not_fit_leaves_the_buffer_as_it_was),
        cmocka_unit_test(stolen_bytes_are_the_callers_and_the_buffer_starts_anew),
        cmocka_unit_test(spans_compare_by_bytes_and_copy_with_a_nul),
        cmocka_unit_test(numbers_are_little_endian_and_sums_do_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
