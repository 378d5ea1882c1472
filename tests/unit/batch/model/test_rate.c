/*
 * test_rate.c - headers about limits in both styles, dates, durations, and rubbish
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/model/rate.h"

#include "formats/base/banned.h"

#define WALL_MS 1795312800000ll /* 2026-11-22T02:00:00Z */

static void give(struct nj_rate_headers *headers, const char *name, const char *value)
{
    nj_rate_header(headers, nj_span_text(name), nj_span_text(value), WALL_MS);
}

static void dates_are_milliseconds_since_1970(void **state)
{
    int64_t ms = 0;

    (void)state;
    assert_true(nj_rate_read_rfc3339(nj_span_text("2026-11-22T02:00:00Z"), &ms));
    assert_int_equal(ms, WALL_MS);
    assert_true(nj_rate_read_rfc3339(nj_span_text("2026-11-22T03:30:00.250+01:30"), &ms));
    assert_int_equal(ms, WALL_MS + 250);
    assert_true(nj_rate_read_rfc3339(nj_span_text("1970-01-01T00:00:00Z"), &ms));
    assert_int_equal(ms, 0);
    assert_true(nj_rate_read_rfc3339(nj_span_text("2000-02-29T23:59:60Z"), &ms));
    assert_int_equal(ms, 951868800000);
    assert_true(nj_rate_read_http_date(nj_span_text("Sun, 06 Nov 1994 08:49:37 GMT"), &ms));
    assert_int_equal(ms, 784111777000);
}

static void what_is_no_date_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2026-11-22",
        "2026-11-22T02:00:00",
        "2026-13-01T00:00:00Z",
        "tomorrow",
        "2026-11-22T02:00:00Zx",
        "2026-11-22T24:00:00Z",
        "2026-11-22T02:00:00.Z",
        "Sun, 06 N",
        "Sun, 06 Nov 1994 08:49",
        "Sun, 06 Nov 1994 08:49:37",
        "0000-01-01T00:00:00Z",
    };
    int64_t ms = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(nj_rate_read_rfc3339(nj_span_text(bad[i]), &ms));
        assert_false(nj_rate_read_http_date(nj_span_text(bad[i]), &ms));
    }
    assert_int_equal(ms, 7);
}

static void durations_are_added_up_and_capped(void **state)
{
    uint64_t ms = 0;

    (void)state;
    assert_true(nj_rate_read_duration(nj_span_text("6m0s"), &ms));
    assert_int_equal(ms, 360000);
    assert_true(nj_rate_read_duration(nj_span_text("1h2m3.5s"), &ms));
    assert_int_equal(ms, 3723500);
    assert_true(nj_rate_read_duration(nj_span_text("20ms"), &ms));
    assert_int_equal(ms, 20);
    assert_true(nj_rate_read_duration(nj_span_text("1.5"), &ms));
    assert_int_equal(ms, 1500);
    assert_true(nj_rate_read_duration(nj_span_text("99999999999999999999h"), &ms));
    assert_int_equal(ms, NJ_RATE_WAIT_MAX_MS);
    assert_false(nj_rate_read_duration(nj_span_text("5x"), &ms));
    assert_false(nj_rate_read_duration(nj_span_text("s"), &ms));
    assert_false(nj_rate_read_duration(nj_span_text("-1s"), &ms));
}

static void anthropic_headers_are_read(void **state)
{
    struct nj_rate_headers headers;
    const struct nj_rate_figure *input = &headers.figures[NJ_RATE_INPUT];

    (void)state;
    nj_rate_headers_init(&headers);
    give(&headers, "Anthropic-RateLimit-Input-Tokens-Limit", "40000");
    give(&headers, "anthropic-ratelimit-input-tokens-remaining", " 39000\r\n");
    give(&headers, "anthropic-ratelimit-input-tokens-reset", "2026-11-22T02:00:01Z");
    give(&headers, "anthropic-ratelimit-requests-remaining", "0");
    assert_true(headers.any);
    assert_true(input->has_limit && input->has_remaining && input->has_reset);
    assert_int_equal(input->limit, 40000);
    assert_int_equal(input->remaining, 39000);
    assert_int_equal(input->reset_ms, 1000);
    assert_true(headers.figures[NJ_RATE_REQUESTS].has_remaining);
    assert_false(headers.figures[NJ_RATE_OUTPUT].has_limit);
    assert_false(headers.has_wait);
}

static void openai_headers_are_read(void **state)
{
    struct nj_rate_headers headers;

    (void)state;
    nj_rate_headers_init(&headers);
    give(&headers, "x-ratelimit-limit-requests", "60");
    give(&headers, "x-ratelimit-remaining-tokens", "149984");
    give(&headers, "x-ratelimit-reset-tokens", "6m0s");
    assert_int_equal(headers.figures[NJ_RATE_REQUESTS].limit, 60);
    assert_int_equal(headers.figures[NJ_RATE_TOKENS].remaining, 149984);
    assert_int_equal(headers.figures[NJ_RATE_TOKENS].reset_ms, 360000);
}

static void milliseconds_win_over_seconds_whatever_comes_first(void **state)
{
    struct nj_rate_headers headers;

    (void)state;
    for (int first = 0; first < 2; first++) {
        nj_rate_headers_init(&headers);
        if (first)
            give(&headers, "retry-after", "9");
        give(&headers, "retry-after-ms", "1500");
        if (!first)
            give(&headers, "retry-after", "9");
        assert_true(headers.has_wait);
        assert_int_equal(headers.wait_ms, 1500);
    }
}

static void retry_after_is_seconds_or_a_date(void **state)
{
    struct nj_rate_headers headers;

    (void)state;
    nj_rate_headers_init(&headers);
    give(&headers, "Retry-After", "Sun, 22 Nov 2026 02:00:09 GMT");
    assert_int_equal(headers.wait_ms, 9000);
    give(&headers, "Retry-After", "120");
    assert_int_equal(headers.wait_ms, 120000);
    give(&headers, "Retry-After", "Sun, 22 Nov 2020 02:00:09 GMT");
    assert_int_equal(headers.wait_ms, 0); /* it is past: at once */
}

static void rubbish_is_passed_over(void **state)
{
    struct nj_rate_headers headers;

    (void)state;
    nj_rate_headers_init(&headers);
    give(&headers, "retry-after", "-1");
    give(&headers, "retry-after", "soon");
    give(&headers, "retry-after-ms", "1e9");
    give(&headers, "x-should-retry", "maybe");
    give(&headers, "anthropic-ratelimit-tokens-limit", "many");
    give(&headers, "anthropic-ratelimit-tokens-limit", "");
    assert_false(headers.has_wait);
    assert_false(headers.any);
    assert_int_equal(headers.should_retry, NJ_RATE_UNSAID);
    give(&headers, "retry-after", "99999999999999999999999");
    assert_int_equal(headers.wait_ms, NJ_RATE_WAIT_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_milliseconds_since_1970),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(durations_are_added_up_and_capped),
        cmocka_unit_test(anthropic_headers_are_read),
        cmocka_unit_test(openai_headers_are_read),
        cmocka_unit_test(milliseconds_win_over_seconds_whatever_comes_first),
        cmocka_unit_test(retry_after_is_seconds_or_a_date),
        cmocka_unit_test(rubbish_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
