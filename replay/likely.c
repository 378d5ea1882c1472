/*
 * likely.c - telling time, chance, addresses and order by their looks
 */
#include "replay/likely.h"

#include "formats/base/banned.h"

#define ORDER_MAX_BYTES (256u << 10) /* of outputs whose lines are compared as a set */
#define CHANCE_MIN_CHARS 6
#define EPOCH_DIGITS 10 /* seconds since 1970 from 2001 to 2286 */

const char *nj_likely_text(enum nj_likely likely)
{
    switch (likely) {
#define X(name, text)                                                                              \
    case NJ_LIKELY_##name:                                                                         \
        return text;
        NJ_LIKELY(X)
#undef X
    }
    return "?";
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The characters that clock readings and dates are written with. */
static bool is_clock(uint8_t c)
{
    return is_digit(c) || c == ':' || c == '.' || c == '-' || c == 'T' || c == 'Z';
}

/* word_at - the longest piece of @text around @at whose characters @belongs takes */
static struct nj_span word_at(struct nj_span text, size_t at, bool (*belongs)(uint8_t c))
{
    size_t from = at, to = at;

    while (from > 0 && belongs(text.data[from - 1]))
        from--;
    while (to < text.len && belongs(text.data[to]))
        to++;
    return (struct nj_span){text.data + from, to - from};
}

static size_t digits_at_start(struct nj_span word)
{
    size_t n = 0;

    while (n < word.len && is_digit(word.data[n]))
        n++;
    return n;
}

/* 12:30:05, 2026-11-27, 1795787021.56, and the same in milli-, micro- and nanoseconds. */
static bool looks_like_time(struct nj_span word)
{
    size_t digits = digits_at_start(word), colons = 0, dashes = 0;

    for (size_t i = 0; i < word.len; i++) {
        colons += word.data[i] == ':' && i > 0 && is_digit(word.data[i - 1]);
        dashes += word.data[i] == '-' && i > 0 && is_digit(word.data[i - 1]);
    }
    if (colons > 0 || (digits == 4 && dashes >= 2))
        return true;
    return (digits == EPOCH_DIGITS || digits == EPOCH_DIGITS + 3 || digits == EPOCH_DIGITS + 6 ||
            digits == EPOCH_DIGITS + 9) &&
           word.data[0] == '1' && word.data[1] >= '4';
}

static bool is_pointer(struct nj_span word)
{
    return word.len > 4 && word.data[0] == '0' && word.data[1] == 'x';
}

static int compare_lines(const void *a, const void *b)
{
    const struct nj_span *left = a, *right = b;
    size_t shared = left->len < right->len ? left->len : right->len;
    int order = shared ? memcmp(left->data, right->data, shared) : 0;

    return order ? order : (left->len > right->len) - (left->len < right->len);
}

/* sorted_lines - NULL when memory is gone or there are none */
static struct nj_span *sorted_lines(struct nj_span text, size_t *ret_n)
{
    struct nj_span *lines;
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '\n' || i + 1 == text.len;
    lines = n ? reallocarray(NULL, n, sizeof(*lines)) : NULL;
    if (!lines)
        return NULL;
    for (size_t i = 0, at = 0; i < n; i++) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.data) - at : text.len - at;

        lines[i] = (struct nj_span){text.data + at, len};
        at += len + (end != NULL);
    }
    qsort(lines, n, sizeof(*lines), compare_lines);
    *ret_n = n;
    return lines;
}

static bool same_lines(struct nj_span recorded, struct nj_span now)
{
    nj_auto_free struct nj_span *then_lines = NULL;
    nj_auto_free struct nj_span *now_lines = NULL;
    size_t n_then = 0, n_now = 0;

    if (recorded.len != now.len || recorded.len > ORDER_MAX_BYTES)
        return false;
    then_lines = sorted_lines(recorded, &n_then);
    now_lines = sorted_lines(now, &n_now);
    if (!then_lines || !now_lines || n_then != n_now || n_then < 2)
        return false;
    for (size_t i = 0; i < n_then; i++)
        if (compare_lines(&then_lines[i], &now_lines[i]) != 0)
            return false;
    return true;
}

enum nj_likely nj_likely_source(struct nj_span recorded, struct nj_span now)
{
    size_t shorter = recorded.len < now.len ? recorded.len : now.len, at = 0;
    struct nj_span word, other;

    while (at < shorter && recorded.data[at] == now.data[at])
        at++;
    if (at == shorter)
        return NJ_LIKELY_UNKNOWN;
    if (same_lines(recorded, now))
        return NJ_LIKELY_ORDER;
    word = word_at(recorded, at, is_word);
    other = word_at(now, at, is_word);
    if (is_pointer(word) && is_pointer(other))
        return NJ_LIKELY_ADDRESS;
    if (looks_like_time(word_at(recorded, at, is_clock)) &&
        looks_like_time(word_at(now, at, is_clock)))
        return NJ_LIKELY_TIME;
    if (word.len >= CHANCE_MIN_CHARS && other.len >= CHANCE_MIN_CHARS)
        return NJ_LIKELY_RANDOMNESS;
    /* Short numbers of chance ($RANDOM) look like any others. */
    return digits_at_start(word) == word.len && word.len > 2 && other.len > 2 &&
                   digits_at_start(other) == other.len
               ? NJ_LIKELY_RANDOMNESS
               : NJ_LIKELY_UNKNOWN;
}
