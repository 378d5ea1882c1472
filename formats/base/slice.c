/*
 * slice.c - checking and slicing JSON
 *
 * The one complication: there are two ways over a value. value_end() knows the grammar; it walks
 * without recursion and keeps a kind for each open list or object, and is gone once over each text.
 * past_value() trusts that this was done and only looks for quotes and brackets: slices are cut
 * many times from the same text, and mostly to get past what nobody asked for.
 */
#include "formats/base/slice.h"

#include "formats/base/bytes.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

/* Where and what was wrong, for whoever asked to know. */
struct fault {
    size_t at;
    const char *wanted;
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static size_t skip_blanks(struct nj_span text, size_t at)
{
    while (at < text.len && is_blank(text.data[at]))
        at++;
    return at;
}

static bool is_digit(struct nj_span text, size_t at)
{
    return at < text.len && text.data[at] >= '0' && text.data[at] <= '9';
}

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

/* 0: it is wrong, and *fault says where. */
static size_t wrong(struct fault *fault, size_t at, const char *wanted)
{
    *fault = (struct fault){.at = at, .wanted = wanted};
    return 0;
}

static size_t escape_end(struct nj_span text, size_t at, struct fault *fault)
{
    if (at + 1 >= text.len)
        return wrong(fault, at, "the rest of an escape");
    if (text.data[at + 1] != 'u')
        return strchr("\"\\/bfnrt", text.data[at + 1]) && text.data[at + 1]
                   ? at + 2
                   : wrong(fault, at, "an escape that JSON knows");
    for (size_t i = 0; i < 4; i++)
        if (at + 2 + i >= text.len || hex_value(text.data[at + 2 + i]) < 0)
            return wrong(fault, at, "four hexadecimal digits behind \\u");
    return at + 6;
}

/* Sixteen bytes at a time: most of a reply is plain text. */
typedef int8_t some_bytes __attribute__((vector_size(16)));

static inline some_bytes load_some(struct nj_span text, size_t at)
{
    some_bytes some;

    memcpy(&some, text.data + at, sizeof(some));
    return some;
}

/* Which of @found, the outcome of a comparison, is the first that is true; 16: none. */
static inline size_t first_found(some_bytes found)
{
    uint64_t low = nj_load_u64le((const uint8_t *)&found);
    uint64_t high = nj_load_u64le((const uint8_t *)&found + sizeof(low));

    if (low)
        return (size_t)__builtin_ctzll(low) / 8;
    return high ? 8 + (size_t)__builtin_ctzll(high) / 8 : sizeof(found);
}

/* Where the first byte at or behind @at is that ends a string or has to be looked at: a quote, a
 * backslash, a control character, one beyond ASCII. Behind the last sixteen eight at a time, where
 * borrows only spoil what lies above the first find. */
static size_t plain_end(struct nj_span text, size_t at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);

    while (text.len - at >= sizeof(some_bytes)) {
        some_bytes some = load_some(text, at);
        size_t n = first_found((some == '"') | (some == '\\') |
                               (some < 0x20)); /* beyond ASCII is negative */

        at += n;
        if (n < sizeof(some))
            return at;
    }
    while (text.len - at >= sizeof(uint64_t)) {
        uint64_t word = nj_load_u64le(text.data + at);
        uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
        uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
                         ((word - ones * 0x20) & ~word) | word;

        found &= highs;
        if (found)
            return at + (size_t)__builtin_ctzll(found) / 8;
        at += sizeof(uint64_t);
    }
    return at;
}

/* @at is at the opening quote. */
static size_t string_end(struct nj_span text, size_t at, struct fault *fault)
{
    at++;
    while ((at = plain_end(text, at)) < text.len && text.data[at] != '"') {
        uint8_t byte = text.data[at];

        if (byte == '\\') {
            at = escape_end(text, at, fault);
            if (!at)
                return 0;
        } else if (byte < 0x20) {
            return wrong(fault, at, "no control character in a string");
        } else if (byte < 0x80) {
            at++;
        } else {
            uint32_t code_point;
            size_t len = nj_utf8_next((struct nj_span){text.data + at, text.len - at}, &code_point);

            if (!len)
                return wrong(fault, at, "UTF-8");
            at += len;
        }
    }
    return at < text.len ? at + 1 : wrong(fault, at, "the end of a string");
}

static size_t number_end(struct nj_span text, size_t at, struct fault *fault)
{
    size_t begin = at;

    if (at < text.len && text.data[at] == '-')
        at++;
    if (!is_digit(text, at))
        return wrong(fault, begin, "a value");
    if (text.data[at] == '0')
        at++;
    else
        while (is_digit(text, at))
            at++;
    if (at < text.len && text.data[at] == '.') {
        if (!is_digit(text, ++at))
            return wrong(fault, at, "a digit behind the point");
        while (is_digit(text, at))
            at++;
    }
    if (at < text.len && (text.data[at] | 0x20) == 'e') {
        at++;
        if (at < text.len && (text.data[at] == '+' || text.data[at] == '-'))
            at++;
        if (!is_digit(text, at))
            return wrong(fault, at, "a digit of the exponent");
        while (is_digit(text, at))
            at++;
    }
    return at;
}

static size_t word_end(struct nj_span text, size_t at, const char *word, struct fault *fault)
{
    size_t len = strlen(word);

    if (text.len - at < len || memcmp(text.data + at, word, len) != 0)
        return wrong(fault, at, "a value");
    return at + len;
}

static size_t scalar_end(struct nj_span text, size_t at, struct fault *fault)
{
    switch (text.data[at]) {
    case '"':
        return string_end(text, at, fault);
    case 't':
        return word_end(text, at, "true", fault);
    case 'f':
        return word_end(text, at, "false", fault);
    case 'n':
        return word_end(text, at, "null", fault);
    default:
        return number_end(text, at, fault);
    }
}

/* A key and its colon; the place of its value, or 0. */
static size_t key_end(struct nj_span text, size_t at, struct fault *fault)
{
    at = skip_blanks(text, at);
    if (at >= text.len || text.data[at] != '"')
        return wrong(fault, at, "a key in quotes");
    at = string_end(text, at, fault);
    if (!at)
        return 0;
    at = skip_blanks(text, at);
    return at < text.len && text.data[at] == ':' ? skip_blanks(text, at + 1)
                                                 : wrong(fault, at, "a colon behind the key");
}

/* Members of the outermost object that somebody asked for. */
struct wanted {
    const char *const *keys;
    size_t n;
    struct nj_span *values;
    size_t found; /* the key of the member under way; @n: nobody's */
    size_t begin; /* of its value */
};

/* A member's value begins at @begin, its key's opening quote is at @key. */
static void begin_member(struct wanted *wanted, struct nj_span text, size_t key, size_t begin)
{
    size_t i, room = begin - key - 1;

    for (i = 0; i < wanted->n; i++) {
        const char *name = wanted->keys[i];
        size_t len;

        if (text.data[key + 1] != (uint8_t)name[0])
            continue;
        len = strlen(name);
        if (len < room && text.data[key + 1 + len] == '"' &&
            memcmp(text.data + key + 1, name, len) == 0)
            break;
    }
    wanted->found = i;
    wanted->begin = begin;
}

static void end_member(struct wanted *wanted, struct nj_span text, size_t end)
{
    if (wanted->found < wanted->n)
        wanted->values[wanted->found] =
            (struct nj_span){text.data + wanted->begin, end - wanted->begin};
    wanted->found = wanted->n;
}

/* The end of the value that begins at @at (no blank), or 0. @wanted: its members, or NULL. */
static size_t value_end(struct nj_span text, size_t at, struct wanted *wanted, struct fault *fault)
{
    uint8_t closers[NJ_SLICE_DEPTH_MAX];
    size_t depth = 0;

    for (;;) {
        bool opened = false;

        if (at >= text.len)
            return wrong(fault, at, "a value");
        if (text.data[at] == '{' || text.data[at] == '[') {
            if (depth == NJ_SLICE_DEPTH_MAX)
                return wrong(fault, at, "less depth: 200 lists and objects within each other");
            closers[depth++] = text.data[at] == '{' ? '}' : ']';
            at = skip_blanks(text, at + 1);
            opened = true;
        } else {
            at = scalar_end(text, at, fault);
            if (!at || depth == 0)
                return at;
        }
        /* Close what ends here; an opened one may be empty. */
        for (;;) {
            if (wanted && depth == 1 && !opened)
                end_member(wanted, text, at);
            at = skip_blanks(text, at);
            if (at >= text.len || text.data[at] != closers[depth - 1])
                break;
            at++;
            if (--depth == 0)
                return at;
            opened = false;
        }
        if (!opened) {
            if (at >= text.len || text.data[at] != ',')
                return wrong(fault, at,
                             closers[depth - 1] == '}' ? "a comma or }" : "a comma or ]");
            at = skip_blanks(text, at + 1);
        }
        if (closers[depth - 1] == '}') {
            size_t key = skip_blanks(text, at);

            at = key_end(text, key, fault);
            if (!at)
                return 0;
            if (wanted && depth == 1)
                begin_member(wanted, text, key, at);
        }
    }
}

static int check(struct nj_span text, struct wanted *wanted, struct nj_span *ret_value,
                 struct nj_error *err)
{
    struct fault fault = {0};
    size_t begin = skip_blanks(text, 0), end = value_end(text, begin, wanted, &fault);

    if (end && skip_blanks(text, end) < text.len)
        end = wrong(&fault, skip_blanks(text, end), "nothing behind the value");
    if (!end)
        return nj_fail(err, NJ_E_INPUT, "JSON: byte %zu of %zu: expected %s", fault.at, text.len,
                       fault.wanted);
    *ret_value = (struct nj_span){text.data + begin, end - begin};
    return 0;
}

int nj_slice_check(struct nj_span text, struct nj_span *ret_value, struct nj_error *err)
{
    return check(text, NULL, ret_value, err);
}

int nj_slice_check_pick(struct nj_span text, const char *const *keys, size_t n,
                        struct nj_span *ret_value, struct nj_span *ret_values, struct nj_error *err)
{
    struct wanted wanted = {.keys = keys, .n = n, .values = ret_values, .found = n};

    memset(ret_values, 0, n * sizeof(*ret_values));
    if (check(text, &wanted, ret_value, err) == 0)
        return 0;
    memset(ret_values, 0, n * sizeof(*ret_values));
    return -(int)err->code;
}

enum nj_slice_kind nj_slice_kind(struct nj_span value)
{
    if (value.len == 0)
        return NJ_SLICE_NONE;
    switch (value.data[0]) {
    case '{':
        return NJ_SLICE_OBJECT;
    case '[':
        return NJ_SLICE_ARRAY;
    case '"':
        return NJ_SLICE_STRING;
    case 't':
        return NJ_SLICE_TRUE;
    case 'f':
        return NJ_SLICE_FALSE;
    case 'n':
        return NJ_SLICE_NULL;
    default:
        return NJ_SLICE_NUMBER;
    }
}

/* ---- slicing what was checked ---- */

/* Behind the string whose opening quote is at @at, or 0: its end is a quote that no odd number of
 * backslashes stands before. Most are keys and words, which end among the first bytes. */
static size_t past_string(struct nj_span text, size_t at)
{
    at++;
    if (text.len - at >= sizeof(some_bytes)) {
        some_bytes some = load_some(text, at);
        size_t n = first_found((some == '"') | (some == '\\'));

        if (n < sizeof(some) && text.data[at + n] == '"')
            return at + n + 1;
    }
    while (at < text.len) {
        const uint8_t *quote = memchr(text.data + at, '"', text.len - at);
        size_t end, backslashes = 0;

        if (!quote)
            return 0;
        end = (size_t)(quote - text.data);
        while (end - backslashes > at && text.data[end - backslashes - 1] == '\\')
            backslashes++;
        at = end + 1;
        if (backslashes % 2 == 0)
            return at;
    }
    return 0;
}

/* Behind the value that begins at @at, or 0. */
static size_t past_value(struct nj_span text, size_t at)
{
    size_t begin = at, depth = 0;

    for (; at < text.len; at++) {
        switch (text.data[at]) {
        case '"':
            at = past_string(text, at);
            if (!at || depth == 0)
                return at;
            at--;
            continue;
        case '{':
        case '[':
            depth++;
            continue;
        case '}':
        case ']':
            if (depth > 1) {
                depth--;
                continue;
            }
            if (depth == 1)
                return at + 1;
            break;
        default:
            if (depth > 0 || (text.data[at] != ',' && !is_blank(text.data[at])))
                continue;
            break;
        }
        break; /* a number or a word ends where something else begins */
    }
    return depth == 0 && at > begin ? at : 0;
}

/* Moves to the next element; false at the end. */
static bool next(struct nj_span value, uint8_t open, struct nj_slice_walk *walk)
{
    size_t at = walk->at;

    if (value.len == 0 || value.data[0] != open)
        return false;
    at = skip_blanks(value, at == 0 ? 1 : at);
    if (walk->at != 0 && at < value.len && value.data[at] == ',')
        at = skip_blanks(value, at + 1);
    walk->at = at;
    return at < value.len && value.data[at] != ']' && value.data[at] != '}';
}

static bool take_value(struct nj_span value, struct nj_slice_walk *walk, size_t begin,
                       struct nj_span *ret_value)
{
    size_t end = past_value(value, begin);

    if (!end)
        return false;
    walk->at = end;
    *ret_value = (struct nj_span){value.data + begin, end - begin};
    return true;
}

bool nj_slice_member(struct nj_span value, struct nj_slice_walk *walk, struct nj_span *ret_key,
                     struct nj_span *ret_value)
{
    size_t begin, end, at;

    if (!next(value, '{', walk))
        return false;
    begin = walk->at;
    end = value.data[begin] == '"' ? past_string(value, begin) : 0;
    if (!end)
        return false;
    at = skip_blanks(value, end);
    if (at >= value.len || value.data[at] != ':')
        return false;
    *ret_key = (struct nj_span){value.data + begin, end - begin};
    return take_value(value, walk, skip_blanks(value, at + 1), ret_value);
}

bool nj_slice_item(struct nj_span value, struct nj_slice_walk *walk, struct nj_span *ret_value)
{
    return next(value, '[', walk) && take_value(value, walk, walk->at, ret_value);
}

struct nj_span nj_slice_inner(struct nj_span string)
{
    if (string.len < 2 || string.data[0] != '"')
        return (struct nj_span){0};
    return (struct nj_span){string.data + 1, string.len - 2};
}

void nj_slice_pick(struct nj_span object, const char *const *keys, size_t n,
                   struct nj_span *ret_values)
{
    struct nj_slice_walk walk = {0};
    struct nj_span name, value;

    for (size_t i = 0; i < n; i++)
        ret_values[i] = (struct nj_span){0};
    while (nj_slice_member(object, &walk, &name, &value))
        for (size_t i = 0; i < n; i++)
            if (name.data[1] == (uint8_t)keys[i][0] && nj_slice_is(name, keys[i]))
                ret_values[i] = value;
}

struct nj_span nj_slice_get(struct nj_span object, const char *key)
{
    struct nj_span found;

    nj_slice_pick(object, &key, 1, &found);
    return found;
}

static int append_code_point(uint32_t code_point, struct nj_buf *out, struct nj_error *err)
{
    uint8_t bytes[4];
    size_t n = 0;

    if (code_point < 0x80) {
        bytes[n++] = (uint8_t)code_point;
    } else if (code_point < 0x800) {
        bytes[n++] = (uint8_t)(0xc0 | code_point >> 6);
        bytes[n++] = (uint8_t)(0x80 | (code_point & 0x3f));
    } else if (code_point < 0x10000) {
        bytes[n++] = (uint8_t)(0xe0 | code_point >> 12);
        bytes[n++] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code_point & 0x3f));
    } else {
        bytes[n++] = (uint8_t)(0xf0 | code_point >> 18);
        bytes[n++] = (uint8_t)(0x80 | (code_point >> 12 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code_point & 0x3f));
    }
    return nj_buf_append(out, bytes, n, err);
}

/* The unit behind "\u" at @at, or UINT32_MAX when there is none. */
static uint32_t unit_at(struct nj_span text, size_t at)
{
    uint32_t unit = 0;

    if (text.len < 6 || at > text.len - 6 || text.data[at] != '\\' || text.data[at + 1] != 'u')
        return UINT32_MAX;
    for (size_t i = 2; i < 6; i++) {
        int digit = hex_value(text.data[at + i]);

        if (digit < 0)
            return UINT32_MAX;
        unit = unit << 4 | (uint32_t)digit;
    }
    return unit;
}

/* Undoes the escape at *at, and moves behind it. */
static int unescape(struct nj_span text, size_t *at, struct nj_buf *out, struct nj_error *err)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    uint32_t unit = unit_at(text, *at), low;
    const char *name;

    if (unit == UINT32_MAX) {
        name = *at + 1 < text.len && text.data[*at + 1] ? strchr(names, text.data[*at + 1]) : NULL;
        if (!name)
            return nj_fail(err, NJ_E_INPUT, "JSON string: byte %zu: an unknown escape", *at);
        *at += 2;
        return nj_buf_append(out, &values[name - names], 1, err);
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        *at += 6;
        return append_code_point(unit, out, err);
    }
    low = unit < 0xdc00 ? unit_at(text, *at + 6) : UINT32_MAX;
    if (low < 0xdc00 || low > 0xdfff)
        return nj_fail(err, NJ_E_INPUT, "JSON string: byte %zu: half of a surrogate pair", *at);
    *at += 12;
    return append_code_point(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out, err);
}

int nj_slice_text(struct nj_span string, struct nj_buf *out, struct nj_error *err)
{
    struct nj_span text = nj_slice_inner(string);
    size_t at = 0;

    if (nj_slice_kind(string) != NJ_SLICE_STRING)
        return nj_fail(err, NJ_E_INPUT, "JSON: expected a string");
    while (at < text.len) {
        const uint8_t *escape = memchr(text.data + at, '\\', text.len - at);
        size_t len = escape ? (size_t)(escape - text.data) - at : text.len - at;

        if (nj_buf_append(out, text.data + at, len, err) < 0)
            return -(int)err->code;
        at += len;
        if (escape && unescape(text, &at, out, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* Backslashes stand in strings only, so the grammar around them does not matter. */
bool nj_slice_is_text(struct nj_span value, size_t *ret_at)
{
    size_t at = 0;

    for (;;) {
        const uint8_t *escape =
            at < value.len ? memchr(value.data + at, '\\', value.len - at) : NULL;
        uint32_t unit, low;

        if (!escape)
            return true;
        at = (size_t)(escape - value.data);
        unit = unit_at(value, at);
        if (unit == UINT32_MAX || unit < 0xd800 || unit > 0xdfff) {
            at += 2;
            continue;
        }
        low = unit < 0xdc00 ? unit_at(value, at + 6) : UINT32_MAX;
        if (low < 0xdc00 || low > 0xdfff) {
            *ret_at = at;
            return false;
        }
        at += 12;
    }
}

int nj_slice_uint(struct nj_span value, uint64_t max, const char *what, uint64_t *ret,
                  struct nj_error *err)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value, i))
            return nj_fail(err, NJ_E_INPUT, "%s: expected a whole number, found %.*s", what,
                           (int)(value.len < 40 ? value.len : 40), (const char *)value.data);
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(value.data[i] - '0'), &sum) || sum > max)
            return nj_fail(err, NJ_E_INPUT, "%s: larger than %llu: %.*s", what,
                           (unsigned long long)max, (int)(value.len < 40 ? value.len : 40),
                           (const char *)value.data);
    }
    if (value.len == 0)
        return nj_fail(err, NJ_E_INPUT, "%s: missing", what);
    *ret = sum;
    return 0;
}
