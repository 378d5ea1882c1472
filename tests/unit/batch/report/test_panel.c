/*
 * test_panel.c - one frame at every width: what a terminal of that width would show
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <wchar.h>

#include <cmocka.h>

#include "batch/report/panel.h"
#include "batch/report/text.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

static struct nj_panel sample(void)
{
    return (struct nj_panel){.job = "nightly-invoices",
                             .total = 2000,
                             .succeeded = 1180,
                             .failed = 24,
                             .running = 62,
                             .elapsed_ms = 847000,
                             .spent_micro_usd = 3420000,
                             .per_hour = 5160,
                             .left_ms = 551000,
                             .slowest =
                                 "acme/\xe6\x97\xa5\xe6\x9c\xac-0042-with-a-rather-long-name",
                             .slowest_ms = 252000,
                             .failed_key = "acme/0097\x1b[31m",
                             .failed_why = "accept: totals.json is missing, and more of the kind"};
}

/* The columns of the widest line of a frame: escape sequences have none. */
static size_t widest(struct nj_span frame, size_t *ret_lines)
{
    size_t most = 0, columns = 0, lines = 1;

    while (frame.len > 0) {
        uint32_t c = 0;
        size_t len = nj_utf8_next(frame, &c);

        assert_true(len > 0);
        if (c == 0x1b) {
            assert_int_equal(frame.data[1], '[');
            for (len = 2; frame.data[len] < 0x40; len++)
                ;
            len++;
        } else if (c == '\n') {
            lines++;
        } else if (c == '\r') {
            columns = 0;
        } else {
            int width = wcwidth((wchar_t)c);

            assert_true(width >= 0);
            columns += (size_t)width;
        }
        if (columns > most)
            most = columns;
        frame = (struct nj_span){frame.data + len, frame.len - len};
    }
    *ret_lines = lines;
    return most;
}

static void no_line_is_as_wide_as_the_terminal(void **state)
{
    (void)state;
    for (size_t columns = 28; columns <= 240; columns++)
        for (int plain = 0; plain < 2; plain++) {
            NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
            struct nj_panel panel = sample();
            struct nj_panel_style style = {
                .columns = columns, .rows = 24, .utf8 = !plain, .color = !plain};
            struct nj_error err = {0};
            size_t lines;

            nj_buf_init(&out, 1u << 16);
            assert_int_equal(nj_panel_draw(&panel, &style, &out, &err), 0);
            assert_true(widest(nj_buf_span(&out), &lines) < columns);
            assert_in_range(lines, 4, 8);
        }
}

static void a_low_terminal_gets_fewer_lines(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_panel panel = sample();
    struct nj_panel_style style = {.columns = 40, .rows = 4, .utf8 = true};
    struct nj_error err = {0};
    size_t lines;

    (void)state;
    nj_buf_init(&out, 1u << 16);
    assert_int_equal(nj_panel_draw(&panel, &style, &out, &err), 0);
    (void)widest(nj_buf_span(&out), &lines);
    assert_int_equal(lines, 3);
}

static void without_utf8_it_is_ascii_and_without_color_it_has_none(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_panel panel = sample();
    struct nj_panel_style style = {.columns = 80, .rows = 24};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&out, 1u << 16);
    assert_int_equal(nj_panel_draw(&panel, &style, &out, &err), 0);
    for (size_t i = 0; i < out.len; i++)
        assert_true(out.data[i] < 0x80);
    assert_null(strstr((const char *)out.data, "\x1b[0m"));
}

static void the_figures_are_there_at_any_width(void **state)
{
    (void)state;
    for (size_t columns = 40; columns <= 200; columns += 20) {
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_panel panel = sample();
        struct nj_panel_style style = {.columns = columns, .rows = 24, .utf8 = true};
        static const char *const words[] = {"60 %",      "1,204/2,000",     "1,180 ok",
                                            "24 failed", "62 running",      "734 waiting",
                                            "86/min",    "9 min 11 s left", "3.42 USD"};
        struct nj_error err = {0};

        nj_buf_init(&out, 1u << 16);
        assert_int_equal(nj_panel_draw(&panel, &style, &out, &err), 0);
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            if (!strstr((const char *)out.data, words[i]))
                fail_msg("%zu columns lack %s:\n%s", columns, words[i], (const char *)out.data);
    }
}

static void figures_are_one_plain_line_elsewhere(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_panel panel = sample();
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&out, 1000);
    assert_int_equal(nj_panel_line(&panel, &out, &err), 0);
    assert_string_equal((const char *)out.data, "1204/2000 done, 24 failed, 62 running, 86 a "
                                                "minute, 9 min 11 s left, 3.42 USD\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_line_is_as_wide_as_the_terminal),
        cmocka_unit_test(a_low_terminal_gets_fewer_lines),
        cmocka_unit_test(without_utf8_it_is_ascii_and_without_color_it_has_none),
        cmocka_unit_test(the_figures_are_there_at_any_width),
        cmocka_unit_test(figures_are_one_plain_line_elsewhere),
    };

    (void)setenv("LC_ALL", "C.UTF-8", 1);
    (void)nj_text_locale();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
