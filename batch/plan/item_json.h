/*
 * item_json.h - items as JSON: one form for one meaning, and values found by name
 *
 * An item is kept as its canonical text: no spaces, keys ascending by byte, numbers as they were
 * written (no number passes through a double: 1.10 stays 1.10). That text is what the identity
 * covers, what templates look values up in, and what a script's `when: {item: ...}` sees.
 */
#ifndef NJ_ITEM_JSON_H
#define NJ_ITEM_JSON_H

#include "formats/base/buf.h"

#define NJ_ITEM_MAX_BYTES (1u << 20) /* of one item, as JSON */
#define NJ_ITEM_DEPTH_MAX 16

/*
 * nj_item_json_read - append the canonical form of the one JSON value that @text is
 *
 * Strict: RFC 8259, UTF-8, no key twice, no NUL inside a text. Fails with NJ_E_INPUT, which says at
 * which character and what; @out may then hold a part.
 */
int nj_item_json_read(struct nj_span text, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_item_json_find - the value at @path ("customer.country") in a canonical object; borrowed.
 * false: there is none. */
bool nj_item_json_find(const char *json, const char *path, struct nj_span *ret_value);

/* nj_item_json_value - append a value as text: a text without its quotes and escapes, anything else
 * as it stands */
int nj_item_json_value(struct nj_span value, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_item_json_nearest - append the top-level field that @name was probably meant to be, or all of
 * them: "; did you mean x?" or "; it has a, b" */
int nj_item_json_nearest(const char *json, const char *name, struct nj_buf *out,
                         struct nj_error *err) NJ_MUST_USE;

#endif
