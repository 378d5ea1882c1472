/*
 * test_sse.c - the same events wherever the bytes are cut
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/http/sse.h"

#include "formats/base/banned.h"

#define MAX_BYTES 64

/* Feeds @bytes in pieces of @step and writes each event as "name|data;". */
static int read_stream(struct nj_span bytes, size_t cut, size_t step, char *out, size_t room,
                       bool *ret_clean)
{
    NJ_AUTO(nj_sse_done) struct nj_sse sse = {0};
    struct nj_error err = {0};
    size_t at = 0, len = 0;

    nj_sse_init(&sse, MAX_BYTES);
    out[0] = 0;
    while (at < bytes.len) {
        size_t n = at < cut ? cut - at : step;
        struct nj_span piece = {bytes.data + at, n < bytes.len - at ? n : bytes.len - at};
        struct nj_sse_event event;
        int r;

        at += piece.len;
        while ((r = nj_sse_next(&sse, &piece, &event, &err)) == NJ_SSE_EVENT)
            len += (size_t)snprintf(out + len, room - len, "%.*s|%.*s;", (int)event.name.len,
                                    (const char *)event.name.data, (int)event.data.len,
                                    (const char *)event.data.data);
        if (r < 0)
            return r;
        assert_int_equal(piece.len, 0);
    }
    *ret_clean = nj_sse_is_clean(&sse);
    return 0;
}

static void expect(const char *stream, const char *events, bool clean)
{
    struct nj_span bytes = nj_span_text(stream);
    char seen[512];
    bool is_clean;

    for (size_t cut = 0; cut <= bytes.len; cut++) {
        assert_int_equal(read_stream(bytes, cut, bytes.len + 1, seen, sizeof(seen), &is_clean), 0);
        assert_string_equal(seen, events);
        assert_int_equal(is_clean, clean);
    }
    for (size_t step = 1; step < 4; step++) {
        assert_int_equal(read_stream(bytes, 0, step, seen, sizeof(seen), &is_clean), 0);
        assert_string_equal(seen, events);
        assert_int_equal(is_clean, clean);
    }
}

static void lines_may_end_in_any_way(void **state)
{
    (void)state;
    expect("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n", "|a;|b;|c;|d;", true);
    expect("\xef\xbb\xbf"
           "data: a\n\n",
           "|a;", true);
    expect("data: a\n\n\xef\xbb\xbf"
           "data: b\n\ndata: c\n\n",
           "|a;|c;", true);
}

static void fields_are_read_as_the_standard_says(void **state)
{
    (void)state;
    expect("event: ping\ndata: {}\n\nevent:x\ndata:y\n\n", "ping|{};x|y;", true);
    expect("data: a\ndata: b\ndata\n\n", "|a\nb\n;", true);
    expect("data\n\n", "|;", true);
    expect(":comment\nid: 7\nretry: 9\nfoo: bar\ndata:  two blanks\n\n", "| two blanks;", true);
    expect("event: nothing\n\ndata: a\n\n", "|a;", true); /* a name does not last over events */
}

static void what_stands_after_the_last_blank_line_is_no_event(void **state)
{
    (void)state;
    expect("data: a\n\ndata: b\n", "|a;", false);
    expect("data: a\n\ndata: b", "|a;", false);
    expect("data: a\n\n: only a comment\n", "|a;", true);
}

static void long_lines_and_events_are_refused_wherever_they_are_cut(void **state)
{
    static const char *const streams[] = {
        "data: 0123456789012345678901234567890123456789012345678901234567890123456789\n\n",
        "data: 0123456789012345678901234567890\ndata: 0123456789012345678901234567890\ndata: "
        "01\n\n",
    };
    char seen[512];
    bool clean;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct nj_span bytes = nj_span_text(streams[i]);

        for (size_t cut = 0; cut <= bytes.len; cut++)
            assert_int_equal(read_stream(bytes, cut, bytes.len + 1, seen, sizeof(seen), &clean),
                             -NJ_E_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_may_end_in_any_way),
        cmocka_unit_test(fields_are_read_as_the_standard_says),
        cmocka_unit_test(what_stands_after_the_last_blank_line_is_no_event),
        cmocka_unit_test(long_lines_and_events_are_refused_wherever_they_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
