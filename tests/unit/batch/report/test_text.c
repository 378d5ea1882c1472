/*
 * test_text.c - figures and foreign text
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch/report/text.h"

#include "formats/base/banned.h"

typedef int append_uint(struct nj_buf *out, uint64_t value, struct nj_error *err);
typedef int append_text(struct nj_buf *out, const char *text, struct nj_error *err);

static void uint_is(append_uint *append, uint64_t value, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, 1000);
    assert_int_equal(append(&out, value, &err), 0);
    assert_string_equal((const char *)out.data, expected);
}

static void text_is(append_text *append, const char *text, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, 1000);
    assert_int_equal(append(&out, text, &err), 0);
    assert_string_equal((const char *)out.data, expected);
}

static void shown_is(const char *text, size_t columns, bool utf8, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    int used;

    nj_buf_init(&out, 10000);
    assert_int_equal(nj_buf_text(&out, "", &err), 0);
    used = nj_text_shown(&out, text, columns, utf8, &err);
    assert_in_range(used, 0, columns);
    assert_string_equal(out.data ? (const char *)out.data : "", expected);
}

static void figures_read_as_people_write_them(void **state)
{
    (void)state;
    uint_is(nj_text_count, 0, "0");
    uint_is(nj_text_count, 999, "999");
    uint_is(nj_text_count, 1000, "1,000");
    uint_is(nj_text_count, UINT64_MAX, "18,446,744,073,709,551,615");
    uint_is(nj_text_short_count, 9999, "9,999");
    uint_is(nj_text_short_count, 12345, "12.3 k");
    uint_is(nj_text_short_count, 4560000, "4.5 M");
    uint_is(nj_text_money, 0, "0.00 USD");
    uint_is(nj_text_money, 4200, "0.0042 USD");
    uint_is(nj_text_money, 1234567, "1.23 USD");
    uint_is(nj_text_money, 1999995000, "2,000.00 USD");
    uint_is(nj_text_duration, 812, "812 ms");
    uint_is(nj_text_duration, 4250, "4.2 s");
    uint_is(nj_text_duration, 4000, "4 s");
    uint_is(nj_text_duration, 59999, "59.9 s");
    uint_is(nj_text_duration, 192000, "3 min 12 s");
    uint_is(nj_text_duration, 14700000, "4 h 05 min");
    uint_is(nj_text_duration, 183600000, "2 d 3 h");
    uint_is(nj_text_usd, 3300, "0.003300");
}

static void text_on_a_terminal_is_cut_by_its_width(void **state)
{
    (void)state;
    assert_true(nj_text_locale());
    shown_is("plain", 5, true, "plain");
    shown_is("plain", 4, true, "pla\xe2\x80\xa6");
    shown_is("plain", 4, false, "p...");
    shown_is("plain", 0, true, "");
    shown_is("\xe6\x97\xa5\xe6\x9c\xac", 4, true, "\xe6\x97\xa5\xe6\x9c\xac"); /* two wide ones */
    shown_is("\xe6\x97\xa5\xe6\x9c\xac", 3, true, "\xe6\x97\xa5\xe2\x80\xa6");
    shown_is("\xe6\x97\xa5\xe6\x9c\xac", 2, true, "\xe2\x80\xa6");
    shown_is("e\xcc\x81x", 2, true, "e\xcc\x81x"); /* an accent has no width of its own */
}

static void text_on_a_terminal_drives_nothing(void **state)
{
    (void)state;
    assert_true(nj_text_locale());
    shown_is("a\x1b[31mb", 80, true, "a\\x1b[31mb");
    shown_is("a\nb\rc", 80, true, "a\\x0ab\\x0dc");
    shown_is("a\xff", 80, true, "a\\xff");
    shown_is("a\xe2\x80\xae", 80, true, "a\\xe2\\x80\\xae");
    shown_is("\xc3\xa4", 80, false, "\\xc3\\xa4");
}

static void wrapped_is(const char *line, size_t columns, size_t indent, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, 10000);
    assert_int_equal(nj_text_wrap(&out, nj_span_text(line), columns, indent, &err), 0);
    assert_string_equal(out.data ? (const char *)out.data : "", expected);
}

static void a_line_is_broken_between_words(void **state)
{
    (void)state;
    wrapped_is("", 10, 4, "");
    wrapped_is("one two", 7, 4, "one two");
    wrapped_is("one two three four", 9, 2, "one two\n  three\n  four");
    wrapped_is("  label  one two", 12, 9, "  label  one\n         two");
    wrapped_is("see /a/path/that/is/long and go on", 10, 2,
               "see\n  /a/path/that/is/long\n  and go\n  on");
    wrapped_is("/a/path/that/is/long", 10, 2, "/a/path/that/is/long");
    wrapped_is("\x1b[1mone\x1b[0m two three", 9, 0, "\x1b[1mone\x1b[0m two\nthree");
    if (nj_text_locale()) /* two columns each */
        wrapped_is("\u65e5\u672c \u65e5\u672c", 8, 0, "\u65e5\u672c\n\u65e5\u672c");
}

static void a_word_stays_one_word_of_a_shell(void **state)
{
    (void)state;
    text_is(nj_text_shell, "run/bundles/a-1.njb", "run/bundles/a-1.njb");
    text_is(nj_text_shell, "", "''");
    text_is(nj_text_shell, "two words", "'two words'");
    text_is(nj_text_shell, "it's; rm -rf $HOME", "'it'\\''s; rm -rf $HOME'");
    text_is(nj_text_shell, "tab\tquote'back\\", "$'tab\\x09quote\\'back\\\\'");
}

static void a_field_stays_one_field(void **state)
{
    (void)state;
    text_is(nj_text_tsv, "a\tb\nc\\", "a\\tb\\nc\\\\");
    text_is(nj_text_tsv, "", "-");
    text_is(nj_text_tsv, "-", "\\x2d");
    text_is(nj_text_tsv, "\x1b\xff", "\\x1b\\xff");
}

static void markup_stays_text(void **state)
{
    (void)state;
    text_is(nj_text_xml, "<script>&\"'", "&lt;script&gt;&amp;&quot;&#39;");
    text_is(nj_text_xml, "a\x01\xff\xef\xbf\xbe", "a\\x01\\xff\\xef\\xbf\\xbe");
    text_is(nj_text_xml, "\xc3\xa4", "\xc3\xa4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_read_as_people_write_them),
        cmocka_unit_test(text_on_a_terminal_is_cut_by_its_width),
        cmocka_unit_test(text_on_a_terminal_drives_nothing),
        cmocka_unit_test(a_line_is_broken_between_words),
        cmocka_unit_test(a_word_stays_one_word_of_a_shell),
        cmocka_unit_test(a_field_stays_one_field),
        cmocka_unit_test(markup_stays_text),
    };

    (void)setenv("LC_ALL", "C.UTF-8", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
