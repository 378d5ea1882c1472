/*
 * test_render.c - nothing that a session left can drive or deceive a terminal
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/base/utf8.h"
#include "replay/render.h"

#include "formats/base/banned.h"

static struct nj_buf out;
static struct nj_error err;

static int set_up(void **state)
{
    (void)state;
    nj_buf_done(&out);
    nj_buf_init(&out, 1u << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nj_buf_done(&out);
    return 0;
}

static struct nj_span span(const void *data, size_t len)
{
    return (struct nj_span){data, len};
}

static const char *text(void)
{
    return out.data ? (const char *)out.data : "";
}

static void a_line_escapes_what_drives_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(nj_render_line(&out, span("a\033[2J\nb\tc\r\0d\x7f", 13), &err), 0);
    assert_string_equal(text(), "a\\x1b[2J\\nb\\tc\\r\\x00d\\x7f");
}

static void bytes_that_are_no_text_are_shown_as_bytes(void **state)
{
    (void)state;
    assert_int_equal(nj_render_line(&out, span("x\xff\xc3(\xed\xa0\x80y\xc3\xa9", 10), &err), 0);
    assert_string_equal(text(), "x\\xff\\xc3(\\xed\\xa0\\x80y\xc3\xa9");
}

static void controls_that_reorder_a_line_are_named(void **state)
{
    (void)state;
    /* U+0085 (a C1 control), U+202E, U+2066, U+2028 */
    assert_int_equal(
        nj_render_line(&out, nj_span_text("\xc2\x85\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa8"), &err),
        0);
    assert_string_equal(text(), "\\u{0085}\\u{202e}\\u{2066}\\u{2028}");
}

static void quoted_text_can_be_read_back(void **state)
{
    (void)state;
    assert_int_equal(nj_render_quoted(&out, nj_span_text("say \"\\x1b\"\n"), &err), 0);
    assert_string_equal(text(), "\"say \\\"\\\\x1b\\\"\\n\"");
}

static void text_keeps_its_lines_and_is_indented(void **state)
{
    (void)state;
    assert_int_equal(nj_render_text(&out, nj_span_text("one\n\ttwo\033\n\nend"), "  ", &err), 0);
    assert_string_equal(text(), "  one\n  \ttwo\\x1b\n  \n  end\n");
    nj_buf_clear(&out);
    assert_int_equal(nj_render_text(&out, nj_span_text("one\n"), "  ", &err), 0);
    assert_string_equal(text(), "  one\n");
    nj_buf_clear(&out);
    assert_int_equal(nj_render_text(&out, nj_span_text(""), "  ", &err), 0);
    assert_int_equal(out.len, 0);
}

static void a_plain_name_stays_and_another_is_quoted(void **state)
{
    (void)state;
    assert_int_equal(nj_render_name(&out, nj_span_text("a b.\xc3\xa9"), &err), 0);
    assert_string_equal(text(), "a b.\xc3\xa9");
    nj_buf_clear(&out);
    assert_int_equal(nj_render_name(&out, nj_span_text("a\nb"), &err), 0);
    assert_string_equal(text(), "\"a\\nb\"");
}

/* Whatever the bytes, what comes out has no unsafe character but the line's own break. */
static void no_bytes_at_all_leave_something_unsafe(void **state)
{
    uint32_t seed = 12345;

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t bytes[40];

        for (size_t i = 0; i < sizeof(bytes); i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(seed >> 24);
            if (round % 2) /* mostly pieces of long characters */
                bytes[i] = (uint8_t)(bytes[i] | 0x80);
        }
        nj_buf_clear(&out);
        assert_int_equal(nj_render_line(&out, span(bytes, sizeof(bytes)), &err), 0);
        for (size_t at = 0; at < out.len;) {
            uint32_t code_point = 0;
            size_t len = nj_utf8_next(span(out.data + at, out.len - at), &code_point);

            assert_true(len > 0);
            assert_false(nj_utf8_is_unsafe(code_point));
            at += len;
        }
    }
}

static void figures_are_for_people(void **state)
{
    (void)state;
    assert_int_equal(nj_render_money(&out, 1234567, &err), 0);
    assert_int_equal(nj_buf_text(&out, " ", &err), 0);
    assert_int_equal(nj_render_duration(&out, 999, &err), 0);
    assert_int_equal(nj_buf_text(&out, " ", &err), 0);
    assert_int_equal(nj_render_duration(&out, 59999, &err), 0);
    assert_int_equal(nj_buf_text(&out, " ", &err), 0);
    assert_int_equal(nj_render_duration(&out, 61000, &err), 0);
    assert_int_equal(nj_buf_text(&out, " ", &err), 0);
    assert_int_equal(nj_render_duration(&out, 7260000, &err), 0);
    assert_string_equal(text(), "$1.234567 999ms 59.9s 1m01s 2h01m");
}

static void times_are_utc_and_a_time_without_a_date_is_a_number(void **state)
{
    (void)state;
    assert_int_equal(nj_render_time(&out, 1790000000123456789, &err), 0);
    assert_string_equal(text(), "2026-09-21T14:13:20.123Z");
    nj_buf_clear(&out);
    assert_int_equal(nj_render_time(&out, -1, &err), 0);
    assert_string_equal(text(), "1969-12-31T23:59:59.999Z");
    nj_buf_clear(&out);
    assert_int_equal(nj_render_time(&out, INT64_MIN, &err), 0);
    assert_true(out.len > 0);
}

static void json_is_ascii_and_holds_any_bytes(void **state)
{
    json_t *object = json_object();

    (void)state;
    assert_true(nj_json_set(object, "b", nj_json_text(span("x\xff\x7f\xe2\x80\xae\0y", 8))));
    assert_true(nj_json_set(object, "a", nj_json_base64(span("\0\xff", 2))));
    assert_int_equal(nj_json_line(&out, object, &err), 0);
    assert_string_equal(text(), "{\"a\":\"AP8=\",\"b\":\"x\\uFFFD\\u007f\\u202E\\u0000y\"}\n");
}

static void json_without_memory_is_an_error(void **state)
{
    (void)state;
    assert_false(nj_json_set(NULL, "a", json_true()));
    assert_int_equal(nj_json_line(&out, NULL, &err), -NJ_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_escapes_what_drives_a_terminal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_are_no_text_are_shown_as_bytes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(controls_that_reorder_a_line_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quoted_text_can_be_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_keeps_its_lines_and_is_indented, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plain_name_stays_and_another_is_quoted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_bytes_at_all_leave_something_unsafe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(figures_are_for_people, set_up, tear_down),
        cmocka_unit_test_setup_teardown(times_are_utc_and_a_time_without_a_date_is_a_number, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(json_is_ascii_and_holds_any_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_without_memory_is_an_error, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
