/*
 * slice.h - slices of JSON: raw spans of values in bytes that are never printed again
 *
 * A provider's bytes are frozen the moment they arrive, so they are checked once (nj_slice_check)
 * and then cut, not parsed: a value is the span of its bytes. All of it is pure and takes memory
 * only where a string is decoded. The walkers want checked text, of which they look at quotes and
 * brackets only: what they find in any other means nothing, but they end, and never read outside.
 *
 * Checked means: one value with nothing but blanks around it, strict JSON (RFC 8259), strict UTF-8,
 * no more than NJ_SLICE_DEPTH_MAX lists and objects within each other. Numbers are text of any
 * size.
 */
#ifndef NJ_SLICE_H
#define NJ_SLICE_H

#include <string.h>

#include "formats/base/buf.h"

#define NJ_SLICE_DEPTH_MAX 200

enum nj_slice_kind {
    NJ_SLICE_NONE, /* an empty span: there is no such value */
    NJ_SLICE_OBJECT,
    NJ_SLICE_ARRAY,
    NJ_SLICE_STRING,
    NJ_SLICE_NUMBER,
    NJ_SLICE_TRUE,
    NJ_SLICE_FALSE,
    NJ_SLICE_NULL
};

/* nj_slice_check - is @text one value? Fails with NJ_E_INPUT, naming the byte. *ret_value is the
 * value without the blanks around it. */
int nj_slice_check(struct nj_span text, struct nj_span *ret_value,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_slice_kind - by the first byte */
enum nj_slice_kind nj_slice_kind(struct nj_span value);

/* A walk over the members of an object or the items of an array: zeroed to begin. */
struct nj_slice_walk {
    size_t at;
};

/* nj_slice_member, nj_slice_item - the next one; false at the end, or when @value is no object
 * (array). A key is raw, with its quotes. */
bool nj_slice_member(struct nj_span value, struct nj_slice_walk *walk, struct nj_span *ret_key,
                     struct nj_span *ret_value);
bool nj_slice_item(struct nj_span value, struct nj_slice_walk *walk, struct nj_span *ret_value);

/* nj_slice_get - the value of @key in an object, an empty span when there is none. Where a key
 * comes twice the last one counts, as it does for jansson. @key is plain text: a key that was
 * written with escapes in it is not found. */
struct nj_span nj_slice_get(struct nj_span object, const char *key);

/* nj_slice_pick - nj_slice_get() of @n keys in one walk */
void nj_slice_pick(struct nj_span object, const char *const *keys, size_t n,
                   struct nj_span *ret_values);

/* nj_slice_check_pick - nj_slice_check() of @text and, where it is an object, nj_slice_pick() of
 * it, in one walk; *ret_values are empty when it fails */
int nj_slice_check_pick(struct nj_span text, const char *const *keys, size_t n,
                        struct nj_span *ret_value, struct nj_span *ret_values,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_slice_inner - what stands between a string's quotes, still escaped; empty for other kinds */
struct nj_span nj_slice_inner(struct nj_span string);

/* nj_slice_is - is this a string of exactly @text, written without escapes? */
static inline bool nj_slice_is(struct nj_span string, const char *text)
{
    size_t len = strlen(text);

    return string.len == len + 2 && string.data[0] == '"' &&
           memcmp(string.data + 1, text, len) == 0;
}

/* nj_slice_text - append a string's text, escapes undone. Fails with NJ_E_INPUT for a lone
 * surrogate, which no text can hold, or when @string is none. */
int nj_slice_text(struct nj_span string, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_slice_is_text - can every string within @value be decoded? False for half of a surrogate pair,
 * which strict JSON may spell and no text can hold. *ret_at: where it stands. */
bool nj_slice_is_text(struct nj_span value, size_t *ret_at);

/* nj_slice_uint - a number that is a whole one from 0 to @max. Fails with NJ_E_INPUT, called @what.
 */
int nj_slice_uint(struct nj_span value, uint64_t max, const char *what, uint64_t *ret,
                  struct nj_error *err) NJ_MUST_USE;

#endif
