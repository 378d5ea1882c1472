/*
 * pack.h - canonical msgpack, written and read under suspicion
 *
 * The canonical encoding: shortest form of every integer, string, bin, array and map header; map
 * keys are unique UTF-8 strings in ascending byte order; no floats, no ext types; depth at most 24.
 * Same state, same bytes, same digest. Money is integer micro-USD.
 *
 * Reading: nj_pack_walk() checks all of this on the raw bytes, lengths against what is left, before
 * msgpack-c sees them. Then nj_pack_doc holds the decoded tree, and a struct nj_pack_at is a place
 * in it that knows its path, so that errors read "calls[2].timeout_ms: not an integer". Places
 * point at each other: a child must not outlive its parent, and none outlives the document or its
 * bytes.
 */
#ifndef NJ_BASE_PACK_H
#define NJ_BASE_PACK_H

#include <msgpack.h>

#include "formats/base/buf.h"
#include "formats/base/digest.h"

#define NJ_PACK_DEPTH_MAX 24
#define NJ_PACK_NODES_MAX 4000000 /* values in one document: bounds what decoding may allocate */

/* ---- writing: the caller emits keys in ascending order; the first failure sticks ---- */

struct nj_packer {
    struct nj_buf *buf;
    size_t start;        /* where the document begins in buf */
    struct nj_error err; /* code 0 while all is well */
};

void nj_packer_init(struct nj_packer *packer, struct nj_buf *buf);
void nj_pack_map(struct nj_packer *packer, size_t pairs);
void nj_pack_array(struct nj_packer *packer, size_t items);
void nj_pack_text(struct nj_packer *packer, const char *text);
void nj_pack_span(struct nj_packer *packer, struct nj_span text); /* as a string; must be UTF-8 */
void nj_pack_bin(struct nj_packer *packer, struct nj_span bytes);
void nj_pack_digest(struct nj_packer *packer, const struct nj_digest *digest); /* 32-byte bin */
void nj_pack_uint(struct nj_packer *packer, uint64_t value);
void nj_pack_int(struct nj_packer *packer, int64_t value);
void nj_pack_bool(struct nj_packer *packer, bool value);
void nj_pack_nil(struct nj_packer *packer);
void nj_pack_raw(struct nj_packer *packer,
                 struct nj_span canonical); /* one value, already packed */

/* One pair of a map each. */
void nj_pack_put_text(struct nj_packer *packer, const char *key, const char *text);
void nj_pack_put_span(struct nj_packer *packer, const char *key, struct nj_span text);
void nj_pack_put_bin(struct nj_packer *packer, const char *key, struct nj_span bytes);
void nj_pack_put_digest(struct nj_packer *packer, const char *key, const struct nj_digest *digest);
void nj_pack_put_uint(struct nj_packer *packer, const char *key, uint64_t value);
void nj_pack_put_int(struct nj_packer *packer, const char *key, int64_t value);
void nj_pack_put_bool(struct nj_packer *packer, const char *key, bool value);

/* nj_packer_end - the sticky failure, or the canonical walk over what was written (asserts: a
 * caller that emits keys out of order is our own mistake) */
int nj_packer_end(struct nj_packer *packer, struct nj_error *err) NJ_MUST_USE;

/* ---- reading ---- */

/* nj_pack_walk - check that @bytes is exactly one canonical value; NJ_E_CORRUPT names the offset
 * and rule */
int nj_pack_walk(struct nj_span bytes, struct nj_error *err) NJ_MUST_USE;

/* nj_pack_walk_one - the same for the first value in @bytes; its length to *ret_len */
int nj_pack_walk_one(struct nj_span bytes, size_t *ret_len, struct nj_error *err) NJ_MUST_USE;

/* nj_pack_raw_at - the packed bytes of @key's value in the canonical map @map; false when absent.
 * @map must have passed nj_pack_walk(). */
bool nj_pack_raw_at(struct nj_span map, const char *key, struct nj_span *ret_value);

struct nj_pack_doc {
    msgpack_zone zone;
    bool zone_ready;
    msgpack_object root;
    struct nj_span bytes; /* borrowed: must outlive the document */
    const char *name;     /* borrowed: first word of every path, may be "" */
};

struct nj_pack_at {
    const struct nj_pack_at *up;
    const struct nj_pack_doc *doc;
    const char *key; /* NULL: this place is an array item */
    size_t index;
    const msgpack_object *object;
};

/* nj_pack_open - walk, then decode. Zeroed doc; pair with nj_pack_done(). */
int nj_pack_open(struct nj_pack_doc *doc, const char *name, struct nj_span bytes,
                 struct nj_error *err) NJ_MUST_USE;
void nj_pack_done(struct nj_pack_doc *doc);
NJ_DEFINE_AUTO_VAL(struct nj_pack_doc, nj_pack_done);

/* Places. All getters fail with NJ_E_CORRUPT and the path. */
int nj_pack_root(const struct nj_pack_doc *doc, struct nj_pack_at *ret_map,
                 struct nj_error *err) NJ_MUST_USE; /* must be a map */
bool nj_pack_has(const struct nj_pack_at *map,
                 const char *key); /* present (nil counts as present) */
bool nj_pack_is_nil(const struct nj_pack_at *map, const char *key); /* absent or nil */
int nj_pack_get(const struct nj_pack_at *map, const char *key, struct nj_pack_at *ret_value,
                struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_map(const struct nj_pack_at *map, const char *key, struct nj_pack_at *ret_map,
                    struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_array(const struct nj_pack_at *map, const char *key, struct nj_pack_at *ret_array,
                      size_t *ret_items, struct nj_error *err) NJ_MUST_USE;
int nj_pack_item(const struct nj_pack_at *array, size_t index, struct nj_pack_at *ret_item,
                 struct nj_error *err) NJ_MUST_USE;

/* Values under a key of a map... */
int nj_pack_get_uint(const struct nj_pack_at *map, const char *key, uint64_t max, uint64_t *ret,
                     struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_int(const struct nj_pack_at *map, const char *key, int64_t *ret,
                    struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_bool(const struct nj_pack_at *map, const char *key, bool *ret,
                     struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_text(const struct nj_pack_at *map, const char *key, struct nj_span *ret,
                     struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_bin(const struct nj_pack_at *map, const char *key, struct nj_span *ret,
                    struct nj_error *err) NJ_MUST_USE;
int nj_pack_get_digest(const struct nj_pack_at *map, const char *key, struct nj_digest *ret,
                       struct nj_error *err) NJ_MUST_USE;

/* ... and of a place itself (array items) */
int nj_pack_as_uint(const struct nj_pack_at *at, uint64_t max, uint64_t *ret,
                    struct nj_error *err) NJ_MUST_USE;
int nj_pack_as_int(const struct nj_pack_at *at, int64_t *ret, struct nj_error *err) NJ_MUST_USE;
int nj_pack_as_text(const struct nj_pack_at *at, struct nj_span *ret,
                    struct nj_error *err) NJ_MUST_USE;
int nj_pack_as_bin(const struct nj_pack_at *at, struct nj_span *ret,
                   struct nj_error *err) NJ_MUST_USE;
int nj_pack_as_digest(const struct nj_pack_at *at, struct nj_digest *ret,
                      struct nj_error *err) NJ_MUST_USE;
int nj_pack_as_map(const struct nj_pack_at *at, struct nj_error *err) NJ_MUST_USE;
int nj_pack_as_array(const struct nj_pack_at *at, size_t *ret_items,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_pack_fail - NJ_E_CORRUPT with the path of @at in front */
int nj_pack_fail(const struct nj_pack_at *at, struct nj_error *err, const char *fmt, ...)
    NJ_PRINTF(3, 4);

/* nj_pack_unknown - append, to @ret_raw, the packed pairs (key, value) of @map whose keys are not
 * in
 * @known (ascending order kept); *ret_pairs counts them. Lets a rewrite keep what it does not know.
 */
int nj_pack_unknown(struct nj_span map, const char *const *known, size_t n_known,
                    struct nj_buf *ret_raw, size_t *ret_pairs, struct nj_error *err) NJ_MUST_USE;

#endif
