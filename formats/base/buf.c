/*
 * buf.c - growable bytes with a cap
 *
 * One byte more than cap is always allocated, for the NUL that follows the last byte.
 */
#include "formats/base/buf.h"

#include <assert.h>
#include <stdio.h>

#include "formats/base/bytes.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define FIRST_CAP_BYTES 120u /* with the NUL, what malloc rounds to anyway */

void nj_buf_init(struct nj_buf *buf, size_t max_bytes)
{
    *buf = (struct nj_buf){.max = max_bytes};
}

void nj_buf_done(struct nj_buf *buf)
{
    if (!buf)
        return;
    free(buf->data);
    *buf = (struct nj_buf){.max = buf->max};
}

void nj_buf_clear(struct nj_buf *buf)
{
    nj_buf_cut(buf, 0);
}

void nj_buf_cut(struct nj_buf *buf, size_t len)
{
    assert(len <= buf->len);
    buf->len = len;
    if (buf->data)
        buf->data[len] = '\0';
}

int nj_buf_reserve(struct nj_buf *buf, size_t more_bytes, struct nj_error *err)
{
    size_t need, cap;
    uint8_t *data;

    if (nj_add_overflows(buf->len, more_bytes, &need) || need > buf->max || need == SIZE_MAX)
        return nj_fail(err, NJ_E_LIMIT, "%zu bytes and %zu more exceed the limit of %zu bytes",
                       buf->len, more_bytes, buf->max);
    if (need <= buf->cap)
        return 0;
    if (nj_mul_overflows(buf->cap, 2, &cap) || cap > buf->max)
        cap = buf->max;
    if (cap < FIRST_CAP_BYTES)
        cap = buf->max < FIRST_CAP_BYTES ? buf->max : FIRST_CAP_BYTES;
    if (cap < need)
        cap = need;
    if (cap == SIZE_MAX)
        cap--;
    data = realloc(buf->data, cap + 1);
    if (!data)
        return nj_fail_nomem(err);
    if (!buf->data)
        data[0] = '\0';
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int nj_buf_append(struct nj_buf *buf, const void *data, size_t len, struct nj_error *err)
{
    int r;

    if (len == 0)
        return 0;
    r = nj_buf_reserve(buf, len, err);
    if (r < 0)
        return r;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

int nj_buf_text(struct nj_buf *buf, const char *text, struct nj_error *err)
{
    return nj_buf_append(buf, text, strlen(text), err);
}

int nj_buf_printf(struct nj_buf *buf, struct nj_error *err, const char *fmt, ...)
{
    char small[256]; /* most texts; a longer one is formatted a second time, in place */
    va_list args;
    size_t len;
    int r;

    va_start(args, fmt);
    r = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (r < 0)
        return nj_fail(err, NJ_E_LIMIT, "a formatted text is longer than INT_MAX bytes");
    len = (size_t)r;
    if (len < sizeof(small))
        return nj_buf_append(buf, small, len, err);
    r = nj_buf_reserve(buf, len, err);
    if (r < 0)
        return r;
    va_start(args, fmt);
    r = vsnprintf((char *)buf->data + buf->len, len + 1, fmt, args);
    va_end(args);
    assert(r >= 0 && (size_t)r == len);
    buf->len += len;
    return 0;
}

/* json_escape - the escape for one character into @text; 0 when it stands for itself */
static size_t json_escape(uint32_t code_point, char text[8])
{
    static const char hex[] = "0123456789abcdef";
    char letter = '\0';

    switch (code_point) {
    case '"':
    case '\\':
        letter = (char)code_point;
        break;
    case '\b':
        letter = 'b';
        break;
    case '\f':
        letter = 'f';
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    default:
        if (!nj_utf8_is_unsafe(code_point))
            return 0;
        text[0] = '\\';
        text[1] = 'u';
        for (unsigned i = 0; i < 4; i++)
            text[2 + i] = hex[code_point >> (12 - 4 * i) & 0xf];
        return 6;
    }
    text[0] = '\\';
    text[1] = letter;
    return 2;
}

/* json_plain - behind the characters from @at on that stand for themselves, which most do */
static size_t json_plain(struct nj_span text, size_t at)
{
    while (at < text.len && text.data[at] >= 0x20 && text.data[at] < 0x7f && text.data[at] != '"' &&
           text.data[at] != '\\')
        at++;
    return at;
}

static int json_body(struct nj_buf *buf, struct nj_span text, struct nj_error *err)
{
    size_t plain = 0; /* text before it is written already */
    size_t at = 0;
    int r;

    for (at = json_plain(text, at); at < text.len; at = json_plain(text, at)) {
        struct nj_span rest = {text.data + at, text.len - at};
        char escape[8] = "\xef\xbf\xbd"; /* U+FFFD for a byte that is not UTF-8 */
        size_t escape_len = 3;
        uint32_t code_point;
        size_t len = nj_utf8_next(rest, &code_point);

        if (len > 0)
            escape_len = json_escape(code_point, escape);
        else
            len = 1;
        if (escape_len > 0) {
            r = nj_buf_append(buf, text.data + plain, at - plain, err);
            if (r < 0)
                return r;
            r = nj_buf_append(buf, escape, escape_len, err);
            if (r < 0)
                return r;
            plain = at + len;
        }
        at += len;
    }
    return plain < text.len ? nj_buf_append(buf, text.data + plain, text.len - plain, err) : 0;
}

int nj_buf_json_text(struct nj_buf *buf, struct nj_span text, struct nj_error *err)
{
    size_t start = buf->len;
    int r;

    r = nj_buf_append(buf, "\"", 1, err);
    if (r == 0)
        r = json_body(buf, text, err);
    if (r == 0)
        r = nj_buf_append(buf, "\"", 1, err);
    if (r < 0) {
        buf->len = start;
        if (buf->data)
            buf->data[start] = '\0';
    }
    return r;
}

char *nj_buf_steal(struct nj_buf *buf)
{
    char *text = (char *)buf->data;

    *buf = (struct nj_buf){.max = buf->max};
    return text;
}

char *nj_span_dup(struct nj_span span)
{
    char *copy;

    if (span.len == SIZE_MAX)
        return NULL;
    copy = malloc(span.len + 1);
    if (!copy)
        return NULL;
    if (span.len > 0)
        memcpy(copy, span.data, span.len);
    copy[span.len] = '\0';
    return copy;
}

struct nj_span nj_span_line_value(struct nj_span text, const char *key)
{
    size_t key_len = strlen(key);

    for (size_t at = 0; at < text.len;) {
        const uint8_t *line = text.data + at;
        const uint8_t *end = memchr(line, '\n', text.len - at);
        size_t len = end ? (size_t)(end - line) : text.len - at;
        const uint8_t *colon = memchr(line, ':', len);

        if (colon && len > key_len && memcmp(line, key, key_len) == 0 &&
            (line[key_len] == '\t' || line[key_len] == ' ' || line[key_len] == ':')) {
            size_t from = (size_t)(colon - line) + 1;

            from += from < len && line[from] == ' ';
            return (struct nj_span){line + from, len - from};
        }
        at += len + 1;
    }
    return (struct nj_span){NULL, 0};
}
