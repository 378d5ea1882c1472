/*
 * item_json.c - items as JSON
 *
 * The complication: members must come out sorted, but are read in the order of the file. So an
 * object is written as it comes, its members' places are noted, and once it is closed they are put
 * in order; each byte is moved once a level, and levels are few.
 */
#include "batch/plan/item_json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define FIELDS_MAX 4096 /* of one object */
#define SHOWN_FIELDS_MAX 32
#define NUMBER_MAX_BYTES 64

struct scan {
    struct nj_span text;
    size_t at;
    unsigned depth;
    struct nj_buf *out; /* NULL: only pass over */
    struct nj_error *err;
};

/* Where a member stands in the output: its key's text with quotes, up to the end of its value. */
struct member {
    size_t key;
    size_t key_len;
    size_t end;
};

static int refuse(const struct scan *scan, const char *what)
{
    return nj_fail(scan->err, NJ_E_INPUT, "character %zu: %s", scan->at + 1, what);
}

static int put(struct scan *scan, const void *data, size_t len)
{
    return scan->out ? nj_buf_append(scan->out, data, len, scan->err) : 0;
}

static int peek(const struct scan *scan)
{
    return scan->at < scan->text.len ? scan->text.data[scan->at] : -1;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->text.len && strchr(" \t\r\n", scan->text.data[scan->at]) &&
           scan->text.data[scan->at])
        scan->at++;
}

/* ---- texts ---- */

static int read_hex(struct scan *scan, uint32_t *ret)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++, scan->at++) {
        int c = peek(scan);
        int low = c | 0x20;

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c > 0 && low >= 'a' && low <= 'f')
            value = value << 4 | (uint32_t)(low - 'a' + 10);
        else
            return refuse(scan, "\\u takes four hex digits");
    }
    *ret = value;
    return 0;
}

static size_t encode(uint32_t point, uint8_t bytes[4])
{
    if (point < 0x80) {
        bytes[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | point >> 6);
        bytes[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | point >> 12);
        bytes[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    bytes[0] = (uint8_t)(0xf0 | point >> 18);
    bytes[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    bytes[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    bytes[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

static int read_unicode(struct scan *scan, struct nj_buf *text)
{
    uint8_t bytes[4];
    uint32_t point;
    uint32_t low = 0;
    int r;

    r = read_hex(scan, &point);
    if (r < 0)
        return r;
    if (point == 0)
        return refuse(scan, "a text holds a NUL character");
    if (point >= 0xd800 && point < 0xdc00) {
        if (peek(scan) != '\\' || scan->at + 1 >= scan->text.len ||
            scan->text.data[scan->at + 1] != 'u')
            return refuse(scan, "half of a surrogate pair");
        scan->at += 2;
        r = read_hex(scan, &low);
        if (r < 0)
            return r;
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(scan, "half of a surrogate pair");
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point >= 0xdc00 && point < 0xe000) {
        return refuse(scan, "half of a surrogate pair");
    }
    return nj_buf_append(text, bytes, encode(point, bytes), scan->err);
}

static int read_escape(struct scan *scan, struct nj_buf *text)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    int c = peek(scan);
    const char *at;

    if (c == 'u') {
        scan->at++;
        return read_unicode(scan, text);
    }
    at = c > 0 ? strchr(from, c) : NULL;
    if (!at)
        return refuse(scan, "no such escape");
    scan->at++;
    return nj_buf_append(text, &to[at - from], 1, scan->err);
}

/* The decoded bytes of the text whose opening quote is next. */
static int decode_text(struct scan *scan, struct nj_buf *text)
{
    scan->at++;
    for (;;) {
        size_t start = scan->at;
        int r = 0;
        int c;

        while ((c = peek(scan)) >= 0x20 && c < 0x80 && c != '"' && c != '\\')
            scan->at++;
        if (scan->at > start)
            r = nj_buf_append(text, scan->text.data + start, scan->at - start, scan->err);
        if (r < 0)
            return r;
        if (c == '"') {
            scan->at++;
            return 0;
        }
        if (c < 0)
            return refuse(scan, "a text has no closing quote");
        if (c == '\\') {
            scan->at++;
            r = read_escape(scan, text);
        } else if (c < 0x20) {
            return refuse(scan, "a text holds a control character");
        } else {
            struct nj_span rest = {scan->text.data + scan->at, scan->text.len - scan->at};
            uint32_t point;
            size_t len = nj_utf8_next(rest, &point);

            if (len == 0)
                return refuse(scan, "not UTF-8");
            r = nj_buf_append(text, rest.data, len, scan->err);
            scan->at += len;
        }
        if (r < 0)
            return r;
    }
}

static int read_text(struct scan *scan)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r;

    nj_buf_init(&text, scan->text.len + 1);
    r = decode_text(scan, &text);
    if (r < 0 || !scan->out)
        return r;
    return nj_buf_json_text(scan->out, nj_buf_span(&text), scan->err);
}

/* ---- numbers and words ---- */

static size_t digits(struct scan *scan)
{
    size_t start = scan->at;

    while (peek(scan) >= '0' && peek(scan) <= '9')
        scan->at++;
    return scan->at - start;
}

static int read_number(struct scan *scan)
{
    size_t start = scan->at;
    char text[NUMBER_MAX_BYTES + 1];
    size_t count;
    bool zero;

    if (peek(scan) == '-')
        scan->at++;
    zero = peek(scan) == '0';
    count = digits(scan);
    if (count == 0 || (zero && count > 1))
        return refuse(scan, "not a number: no digit, or a zero before others");
    if (peek(scan) == '.') {
        scan->at++;
        if (digits(scan) == 0)
            return refuse(scan, "a digit is missing behind the point");
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-')
            scan->at++;
        if (digits(scan) == 0)
            return refuse(scan, "a digit is missing in the exponent");
    }
    if (scan->at - start > NUMBER_MAX_BYTES)
        return refuse(scan, "a number is longer than 64 bytes");
    memcpy(text, scan->text.data + start, scan->at - start);
    text[scan->at - start] = '\0';
    errno = 0;
    if (!strpbrk(text, ".eE"))
        (void)strtoll(text, NULL, 10);
    else if (!isfinite(strtod(text, NULL)))
        return refuse(scan, "a number beyond what programs can hold");
    if (!strpbrk(text, ".eE") && errno == ERANGE)
        return refuse(scan, "a whole number beyond 64 bits: quotes make it a text");
    return put(scan, scan->text.data + start, scan->at - start);
}

static int read_word(struct scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);

        if (scan->text.len - scan->at >= len &&
            memcmp(scan->text.data + scan->at, words[i], len) == 0) {
            scan->at += len;
            return put(scan, words[i], len);
        }
    }
    return refuse(scan, "expected a JSON value");
}

/* ---- collections ---- */

static int read_value(struct scan *scan);

static int read_list(struct scan *scan)
{
    int r = put(scan, "[", 1);
    bool more = false;

    scan->at++;
    for (;;) {
        skip_space(scan);
        if (r < 0)
            return r;
        if (peek(scan) == ']' && !more) {
            scan->at++;
            return put(scan, "]", 1);
        }
        r = read_value(scan);
        if (r < 0)
            return r;
        skip_space(scan);
        more = peek(scan) == ',';
        if (more) {
            scan->at++;
            r = put(scan, ",", 1);
        } else if (peek(scan) != ']') {
            return refuse(scan, "expected , or ]");
        }
    }
}

static int member_order(const struct nj_buf *out, const struct member *a, const struct member *b)
{
    /* The quotes stand at both ends, so a key that is the beginning of another comes first. */
    size_t len = (a->key_len < b->key_len ? a->key_len : b->key_len) - 1;
    int order = memcmp(out->data + a->key, out->data + b->key, len);

    if (order != 0 || a->key_len == b->key_len)
        return order;
    return a->key_len < b->key_len ? -1 : 1;
}

/* By merging: stable, and no worse for members that come sorted already. */
static void sort_members(const struct nj_buf *out, struct member *members, struct member *room,
                         size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t middle = from + width < n ? from + width : n;
            size_t end = from + 2 * width < n ? from + 2 * width : n;
            size_t i = from;
            size_t k = middle;

            for (size_t to = from; to < end; to++) {
                bool left =
                    k == end || (i < middle && member_order(out, &members[i], &members[k]) <= 0);

                room[to] = left ? members[i++] : members[k++];
            }
        }
        memcpy(members, room, n * sizeof(*members));
    }
}

/* The members written since @start, in their order. */
static int order_members(struct scan *scan, size_t start, struct member *members, size_t n)
{
    nj_auto_free struct member *room = calloc(n + 1, sizeof(*room));
    NJ_AUTO(nj_buf_done) struct nj_buf sorted = {0};
    bool in_order = true;

    for (size_t i = 1; i < n; i++)
        in_order = in_order && member_order(scan->out, &members[i - 1], &members[i]) < 0;
    if (in_order)
        return 0;
    if (!room)
        return nj_fail_nomem(scan->err);
    sort_members(scan->out, members, room, n);
    nj_buf_init(&sorted, SIZE_MAX);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && member_order(scan->out, &members[i - 1], &members[i]) == 0)
            return nj_fail(scan->err, NJ_E_INPUT, "the key %.*s is given twice",
                           (int)(members[i].key_len > 80 ? 80 : members[i].key_len),
                           (const char *)scan->out->data + members[i].key);
        if ((i > 0 && nj_buf_text(&sorted, ",", scan->err) < 0) ||
            nj_buf_append(&sorted, scan->out->data + members[i].key,
                          members[i].end - members[i].key, scan->err) < 0)
            return -(int)scan->err->code;
    }
    memcpy(scan->out->data + start, sorted.data, sorted.len);
    return 0;
}

static int read_member(struct scan *scan, struct member *member)
{
    int r;

    if (peek(scan) != '"')
        return refuse(scan, "expected a key in double quotes");
    member->key = scan->out->len;
    r = read_text(scan);
    member->key_len = scan->out->len - member->key;
    skip_space(scan);
    if (r == 0 && peek(scan) != ':')
        return refuse(scan, "expected : behind a key");
    scan->at++;
    if (r == 0)
        r = put(scan, ":", 1);
    if (r == 0)
        r = read_value(scan);
    member->end = scan->out->len;
    return r;
}

static int read_object(struct scan *scan)
{
    nj_auto_free struct member *members = NULL;
    size_t start;
    size_t n = 0;
    size_t cap = 0;
    int r = put(scan, "{", 1);

    scan->at++;
    start = scan->out->len;
    skip_space(scan);
    while (r == 0 && (n > 0 || peek(scan) != '}')) {
        if (n == cap) {
            struct member *larger;

            cap = cap ? cap * 2 : 16;
            larger = n == FIELDS_MAX ? NULL : reallocarray(members, cap, sizeof(*members));
            if (!larger)
                return n == FIELDS_MAX ? refuse(scan, "more than 4096 keys in one object")
                                       : nj_fail_nomem(scan->err);
            members = larger;
        }
        if (n > 0)
            r = put(scan, ",", 1);
        skip_space(scan);
        if (r == 0)
            r = read_member(scan, &members[n++]);
        if (r < 0)
            return r;
        skip_space(scan);
        if (peek(scan) != ',')
            break;
        scan->at++;
    }
    if (r == 0 && peek(scan) != '}')
        return refuse(scan, "expected , or }");
    scan->at++;
    if (r == 0)
        r = order_members(scan, start, members, n);
    return r < 0 ? r : put(scan, "}", 1);
}

/* Recursion is bounded by NJ_ITEM_DEPTH_MAX. */
static int read_value(struct scan *scan)
{
    int c;
    int r;

    skip_space(scan);
    c = peek(scan);
    if (c == '"')
        return read_text(scan);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(scan);
    if (c != '{' && c != '[')
        return read_word(scan);
    if (scan->depth == NJ_ITEM_DEPTH_MAX)
        return refuse(scan, "nested too deeply");
    scan->depth++;
    r = c == '{' ? read_object(scan) : read_list(scan);
    scan->depth--;
    return r;
}

int nj_item_json_read(struct nj_span text, struct nj_buf *out, struct nj_error *err)
{
    struct scan scan = {.text = text, .out = out, .err = err};
    int r = read_value(&scan);

    if (r < 0)
        return r;
    skip_space(&scan);
    return scan.at == text.len ? 0 : refuse(&scan, "something stands behind the value");
}

/* ---- looking into canonical text ---- */

/* Behind the value at @at; canonical text needs no checks. */
static const char *behind(const char *at)
{
    unsigned depth = 0;

    do {
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++)
                at += *at == '\\' && at[1] ? 1 : 0;
            at += *at == '"';
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else if (depth > 0) {
            at++;
        } else {
            at += strcspn(at, ",}]");
        }
    } while (*at && depth > 0);
    return at;
}

bool nj_item_json_find(const char *json, const char *path, struct nj_span *ret_value)
{
    size_t len = strcspn(path, ".");
    const char *at = json;

    if (*at != '{')
        return false;
    while (*at && *at != '}' && at[1] == '"') {
        const char *key = at + 2;
        const char *colon = behind(at + 1);
        const char *end = behind(colon + 1);

        if ((size_t)(colon - key) == len + 1 && memcmp(key, path, len) == 0) {
            if (path[len] == '.')
                return nj_item_json_find(colon + 1, path + len + 1, ret_value);
            *ret_value = (struct nj_span){(const uint8_t *)colon + 1, (size_t)(end - colon - 1)};
            return true;
        }
        at = end;
    }
    return false;
}

int nj_item_json_value(struct nj_span value, struct nj_buf *out, struct nj_error *err)
{
    struct scan scan = {.text = value, .err = err};

    if (value.len == 0 || value.data[0] != '"')
        return nj_buf_append(out, value.data, value.len, err);
    return decode_text(&scan, out);
}

int nj_item_json_nearest(const char *json, const char *name, struct nj_buf *out,
                         struct nj_error *err)
{
    nj_auto_free char *copy = strdup(json);
    const char *names[SHOWN_FIELDS_MAX] = {NULL};
    const char *nearest;
    size_t n = 0;

    if (!copy)
        return nj_fail_nomem(err);
    for (char *at = *copy == '{' ? copy : copy + strlen(copy);
         *at && *at != '}' && at[1] == '"' && n < SHOWN_FIELDS_MAX;) {
        char *colon = copy + (behind(at + 1) - copy);
        char *end = copy + (behind(colon + 1) - copy);

        names[n++] = at + 2;
        colon[-1] = '\0';
        at = end;
    }
    nearest = nj_yaml_nearest(name, names, n);
    if (nearest)
        return nj_buf_printf(out, err, "; did you mean %.64s?", nearest);
    for (size_t i = 0; i < n; i++) {
        if (nj_buf_printf(out, err, "%s%.64s", i ? ", " : "; it has ", names[i]) < 0)
            return -(int)err->code;
    }
    return 0;
}
