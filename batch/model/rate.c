/*
 * rate.c - headers, dates and durations read from a server that may write anything
 *
 * The complication is that three notations of time meet here: RFC 3339 with an offset, the date of
 * HTTP in its one current form, and durations. Each has a reader on a cursor that never looks
 * beyond the span.
 */
#include "batch/model/rate.h"

#include <strings.h>

#include "formats/base/banned.h"

#define MS_PER_DAY 86400000ll
#define YEAR_MIN 1970
#define YEAR_MAX 9999

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static struct cursor cursor_of(struct nj_span text)
{
    return (struct cursor){text.data, text.data + text.len};
}

static bool take(struct cursor *in, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(in->end - in->at) < len || memcmp(in->at, text, len) != 0)
        return false;
    in->at += len;
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Exactly @digits of them. */
static bool take_digits(struct cursor *in, unsigned digits, int64_t *ret)
{
    int64_t value = 0;

    if ((size_t)(in->end - in->at) < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        if (!is_digit(in->at[i]))
            return false;
        value = value * 10 + (in->at[i] - '0');
    }
    in->at += digits;
    *ret = value;
    return true;
}

/* One digit or more, as many as there are, capped at @max. */
static bool take_number(struct cursor *in, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (in->at == in->end || !is_digit(*in->at))
        return false;
    for (; in->at < in->end && is_digit(*in->at); in->at++)
        value = value > max ? value : value * 10 + (uint64_t)(*in->at - '0');
    *ret = value < max ? value : max;
    return true;
}

/* ".5" as thousandths; further digits are passed over. Nothing there: 0. */
static bool take_thousandths(struct cursor *in, uint64_t *ret)
{
    uint64_t scale = 100;

    *ret = 0;
    if (in->at == in->end || *in->at != '.')
        return true;
    in->at++;
    if (in->at == in->end || !is_digit(*in->at))
        return false;
    for (; in->at < in->end && is_digit(*in->at); in->at++, scale /= 10)
        *ret += (uint64_t)(*in->at - '0') * scale;
    return true;
}

/* Days since 1970-01-01 of a day in the Gregorian calendar; years begin in March, so that the leap
 * day is a year's last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted = month > 2 ? month - 3 : month + 9;
    int64_t y = month > 2 ? year : year - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5 + day - 1 - 719468;
}

static bool time_ok(int64_t year, int64_t month, int64_t day, int64_t h, int64_t m, int64_t s)
{
    return year >= YEAR_MIN && year <= YEAR_MAX && month >= 1 && month <= 12 && day >= 1 &&
           day <= 31 && h <= 23 && m <= 59 && s <= 60;
}

static int64_t ms_of(int64_t year, int64_t month, int64_t day, int64_t h, int64_t m, int64_t s)
{
    return days_of(year, month, day) * MS_PER_DAY + ((h * 60 + m) * 60 + s) * 1000;
}

bool nj_rate_read_rfc3339(struct nj_span text, int64_t *ret_ms)
{
    struct cursor in = cursor_of(text);
    int64_t year, month, day, h, m, s, offset_h = 0, offset_m = 0, sign = 0;
    uint64_t thousandths;

    if (!take_digits(&in, 4, &year) || !take(&in, "-") || !take_digits(&in, 2, &month) ||
        !take(&in, "-") || !take_digits(&in, 2, &day))
        return false;
    if (!take(&in, "T") && !take(&in, "t") && !take(&in, " "))
        return false;
    if (!take_digits(&in, 2, &h) || !take(&in, ":") || !take_digits(&in, 2, &m) ||
        !take(&in, ":") || !take_digits(&in, 2, &s) || !take_thousandths(&in, &thousandths))
        return false;
    if (!take(&in, "Z") && !take(&in, "z")) {
        sign = take(&in, "+") ? 1 : take(&in, "-") ? -1 : 0;
        if (sign == 0 || !take_digits(&in, 2, &offset_h) || !take(&in, ":") ||
            !take_digits(&in, 2, &offset_m) || offset_h > 23 || offset_m > 59)
            return false;
    }
    if (in.at != in.end || !time_ok(year, month, day, h, m, s))
        return false;
    *ret_ms = ms_of(year, month, day, h, m, s) + (int64_t)thousandths -
              sign * (offset_h * 60 + offset_m) * 60000;
    return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; the weekday is not checked. */
bool nj_rate_read_http_date(struct nj_span text, int64_t *ret_ms)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct cursor in = cursor_of(text);
    int64_t year, month = 0, day, h, m, s;

    if (text.len < 5 || text.data[3] != ',')
        return false;
    in.at += 4;
    if (!take(&in, " ") || !take_digits(&in, 2, &day) || !take(&in, " "))
        return false;
    for (int64_t i = 0; i < 12 && month == 0; i++)
        if (take(&in, months[i]))
            month = i + 1;
    if (month == 0 || !take(&in, " ") || !take_digits(&in, 4, &year) || !take(&in, " ") ||
        !take_digits(&in, 2, &h) || !take(&in, ":") || !take_digits(&in, 2, &m) ||
        !take(&in, ":") || !take_digits(&in, 2, &s) || !take(&in, " GMT") || in.at != in.end ||
        !time_ok(year, month, day, h, m, s))
        return false;
    *ret_ms = ms_of(year, month, day, h, m, s);
    return true;
}

/* "1h2m3.5s", "20ms"; a number alone is seconds. */
bool nj_rate_read_duration(struct nj_span text, uint64_t *ret_ms)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"us", 0}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    struct cursor in = cursor_of(text);
    uint64_t sum = 0;

    if (in.at == in.end)
        return false;
    while (in.at < in.end) {
        uint64_t number, thousandths;
        uint64_t unit = UINT64_MAX;

        if (!take_number(&in, NJ_RATE_WAIT_MAX_MS, &number) || !take_thousandths(&in, &thousandths))
            return false;
        if (in.at == in.end && sum == 0)
            unit = 1000;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && unit == UINT64_MAX; i++)
            if (take(&in, units[i].text))
                unit = units[i].ms;
        if (unit == UINT64_MAX)
            return false;
        /* At most 2^32 ms times 10^8: far below 2^64. */
        sum += number * unit + thousandths * unit / 1000;
        if (sum > NJ_RATE_WAIT_MAX_MS)
            sum = NJ_RATE_WAIT_MAX_MS;
    }
    *ret_ms = sum;
    return true;
}

/* ---- headers ---- */

static bool name_is(struct nj_span name, const char *text)
{
    return name.len == strlen(text) && strncasecmp((const char *)name.data, text, name.len) == 0;
}

static struct nj_span trimmed(struct nj_span value)
{
    while (value.len && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value.data++;
        value.len--;
    }
    while (value.len && strchr(" \t\r\n", value.data[value.len - 1]))
        value.len--;
    return value;
}

static uint64_t until(int64_t then_ms, int64_t wall_ms)
{
    uint64_t wait_ms;

    if (then_ms <= wall_ms)
        return 0;
    wait_ms = (uint64_t)then_ms - (uint64_t)wall_ms;
    return wait_ms < NJ_RATE_WAIT_MAX_MS ? wait_ms : NJ_RATE_WAIT_MAX_MS;
}

/* A reset as either style writes it. */
static bool read_reset(struct nj_span value, int64_t wall_ms, uint64_t *ret_ms)
{
    int64_t then_ms;

    if (nj_rate_read_rfc3339(value, &then_ms)) {
        *ret_ms = until(then_ms, wall_ms);
        return true;
    }
    return nj_rate_read_duration(value, ret_ms);
}

static bool read_figure(struct nj_span value, uint64_t *ret)
{
    struct cursor in = cursor_of(value);

    return take_number(&in, NJ_RATE_FIGURE_MAX, ret) && in.at == in.end;
}

static void take_figure(struct nj_rate_headers *headers, enum nj_rate_kind kind, const char *what,
                        struct nj_span value, int64_t wall_ms)
{
    struct nj_rate_figure *figure = &headers->figures[kind];

    if (strcmp(what, "limit") == 0)
        figure->has_limit = read_figure(value, &figure->limit);
    else if (strcmp(what, "remaining") == 0)
        figure->has_remaining = read_figure(value, &figure->remaining);
    else
        figure->has_reset = read_reset(value, wall_ms, &figure->reset_ms);
    headers->any |= figure->has_limit || figure->has_remaining;
}

static const struct {
    const char *name;
    enum nj_rate_kind kind;
    const char *what;
} figure_headers[] = {
    {"anthropic-ratelimit-requests-limit", NJ_RATE_REQUESTS, "limit"},
    {"anthropic-ratelimit-requests-remaining", NJ_RATE_REQUESTS, "remaining"},
    {"anthropic-ratelimit-requests-reset", NJ_RATE_REQUESTS, "reset"},
    {"anthropic-ratelimit-input-tokens-limit", NJ_RATE_INPUT, "limit"},
    {"anthropic-ratelimit-input-tokens-remaining", NJ_RATE_INPUT, "remaining"},
    {"anthropic-ratelimit-input-tokens-reset", NJ_RATE_INPUT, "reset"},
    {"anthropic-ratelimit-output-tokens-limit", NJ_RATE_OUTPUT, "limit"},
    {"anthropic-ratelimit-output-tokens-remaining", NJ_RATE_OUTPUT, "remaining"},
    {"anthropic-ratelimit-output-tokens-reset", NJ_RATE_OUTPUT, "reset"},
    {"anthropic-ratelimit-tokens-limit", NJ_RATE_TOKENS, "limit"},
    {"anthropic-ratelimit-tokens-remaining", NJ_RATE_TOKENS, "remaining"},
    {"anthropic-ratelimit-tokens-reset", NJ_RATE_TOKENS, "reset"},
    {"x-ratelimit-limit-requests", NJ_RATE_REQUESTS, "limit"},
    {"x-ratelimit-remaining-requests", NJ_RATE_REQUESTS, "remaining"},
    {"x-ratelimit-reset-requests", NJ_RATE_REQUESTS, "reset"},
    {"x-ratelimit-limit-tokens", NJ_RATE_TOKENS, "limit"},
    {"x-ratelimit-remaining-tokens", NJ_RATE_TOKENS, "remaining"},
    {"x-ratelimit-reset-tokens", NJ_RATE_TOKENS, "reset"},
};

static void take_retry_after(struct nj_rate_headers *headers, struct nj_span value, int64_t wall_ms)
{
    struct cursor in = cursor_of(value);
    uint64_t seconds, thousandths;
    int64_t then_ms;

    if (headers->wait_is_ms)
        return;
    if (take_number(&in, NJ_RATE_WAIT_MAX_MS, &seconds) && take_thousandths(&in, &thousandths) &&
        in.at == in.end) {
        seconds = seconds * 1000 + thousandths;
        headers->wait_ms = seconds < NJ_RATE_WAIT_MAX_MS ? seconds : NJ_RATE_WAIT_MAX_MS;
        headers->has_wait = true;
    } else if (nj_rate_read_http_date(value, &then_ms)) {
        headers->wait_ms = until(then_ms, wall_ms);
        headers->has_wait = true;
    }
}

void nj_rate_headers_init(struct nj_rate_headers *headers)
{
    *headers = (struct nj_rate_headers){0};
}

void nj_rate_header(struct nj_rate_headers *headers, struct nj_span name, struct nj_span value,
                    int64_t wall_ms)
{
    struct cursor in;
    uint64_t wait_ms, thousandths;

    value = trimmed(value);
    if (value.len == 0 || value.len > NJ_RATE_VALUE_MAX_BYTES)
        return;
    in = cursor_of(value);
    if (name_is(name, "retry-after-ms")) {
        if (take_number(&in, NJ_RATE_WAIT_MAX_MS, &wait_ms) &&
            take_thousandths(&in, &thousandths) && in.at == in.end) {
            headers->wait_ms = wait_ms;
            headers->has_wait = headers->wait_is_ms = true;
        }
        return;
    }
    if (name_is(name, "retry-after")) {
        take_retry_after(headers, value, wall_ms);
        return;
    }
    if (name_is(name, "x-should-retry")) {
        headers->should_retry = nj_span_is(value, "true")    ? NJ_RATE_RETRY
                                : nj_span_is(value, "false") ? NJ_RATE_DO_NOT
                                                             : NJ_RATE_UNSAID;
        return;
    }
    for (size_t i = 0; i < sizeof(figure_headers) / sizeof(figure_headers[0]); i++)
        if (name_is(name, figure_headers[i].name))
            take_figure(headers, figure_headers[i].kind, figure_headers[i].what, value, wall_ms);
}
