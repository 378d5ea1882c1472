/*
 * buf.h - growable bytes with a cap given at birth, and borrowed views of bytes
 *
 * A zeroed struct nj_buf is valid and may hold nothing (max 0): give it a cap with nj_buf_init().
 * data is kept NUL-terminated one byte past len, so text can be read as a C string.
 */
#ifndef NJ_BASE_BUF_H
#define NJ_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "formats/base/cleanup.h"
#include "formats/base/error.h"

/* Borrowed bytes; the documentation of whoever returns one says until when. */
struct nj_span {
    const uint8_t *data;
    size_t len;
};

struct nj_buf {
    uint8_t *data; /* NULL until the first byte */
    size_t len;
    size_t cap;
    size_t max; /* appending beyond fails with NJ_E_LIMIT */
};

void nj_buf_init(struct nj_buf *buf, size_t max_bytes);
void nj_buf_done(struct nj_buf *buf);  /* frees; the cap stays, the buffer can be used again */
void nj_buf_clear(struct nj_buf *buf); /* keeps the memory */
void nj_buf_cut(struct nj_buf *buf, size_t len); /* keeps the memory, and the first @len bytes */
NJ_DEFINE_AUTO_VAL(struct nj_buf, nj_buf_done);

/* All fail with NJ_E_LIMIT (cap) or NJ_E_NOMEM and leave the buffer as it was. */
int nj_buf_reserve(struct nj_buf *buf, size_t more_bytes, struct nj_error *err) NJ_MUST_USE;
int nj_buf_append(struct nj_buf *buf, const void *data, size_t len,
                  struct nj_error *err) NJ_MUST_USE;
int nj_buf_text(struct nj_buf *buf, const char *text, struct nj_error *err) NJ_MUST_USE;
int nj_buf_printf(struct nj_buf *buf, struct nj_error *err, const char *fmt, ...) NJ_MUST_USE
    NJ_PRINTF(3, 4);

/* nj_buf_json_text - append @text as a JSON string with quotes; invalid UTF-8 bytes become U+FFFD
 */
int nj_buf_json_text(struct nj_buf *buf, struct nj_span text, struct nj_error *err) NJ_MUST_USE;

/* nj_buf_steal - the bytes, NUL-terminated, now the caller's to free(); NULL when never written */
char *nj_buf_steal(struct nj_buf *buf);

static inline struct nj_span nj_buf_span(const struct nj_buf *buf)
{
    return (struct nj_span){buf->data, buf->len};
}

static inline struct nj_span nj_span_text(const char *text)
{
    return (struct nj_span){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool nj_span_equal(struct nj_span a, struct nj_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool nj_span_is(struct nj_span a, const char *text)
{
    return nj_span_equal(a, nj_span_text(text));
}

/* nj_span_line_value - the value behind "KEY ... :" of the first line that begins with @key, as
 * dpkg and /proc write them; empty: there is none */
struct nj_span nj_span_line_value(struct nj_span text, const char *key);

/* nj_span_dup - a NUL-terminated heap copy, NULL when memory is gone */
char *nj_span_dup(struct nj_span span);

/* nj_plural - "%zu session%s": what a counted English word ends with */
static inline const char *nj_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

#endif
