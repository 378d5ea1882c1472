/*
 * inside.h - what the decoders of this folder share; nobody outside includes it
 */
#ifndef NJ_OBJECT_INSIDE_H
#define NJ_OBJECT_INSIDE_H

#include "formats/object/object.h"

/* nj_object_open - cap, canonical walk, decode; the root must be a map. Zeroed @doc; pair with
 * nj_pack_done(). */
int nj_object_open(struct nj_pack_doc *doc, const char *name, struct nj_span bytes,
                   struct nj_pack_at *ret_map, struct nj_error *err) NJ_MUST_USE;

/* nj_object_keys - which of the one-letter keys in @known the map has, bit n for the n-th letter.
 * Another key that begins with an upper-case letter fails with NJ_E_VERSION: FORMAT.md, "Versions".
 */
int nj_object_keys(const struct nj_pack_at *map, const char *known, unsigned *ret_present,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_object_rewind - take back what a failed get appended: the caller's buffer is as before */
void nj_object_rewind(struct nj_buf *buf, size_t len);

/* nj_object_check - are its bytes those of its digest? */
int nj_object_check(const struct nj_object *object, struct nj_error *err) NJ_MUST_USE;

/* The leaves of a large directory, as its object lists them; none: it holds its entries itself. */
struct nj_leaf_list {
    const struct nj_digest *digests;
    size_t n;
};

/* As nj_tree_decode() and nj_stamps_decode(), of what may be a list of leaves: then there are no
 * entries. With NULL for @ret_leaves such a list is refused by its key. */
int nj_tree_decode_stored(struct nj_span bytes, struct nj_arena *arena, struct nj_tree *ret_tree,
                          struct nj_leaf_list *ret_leaves, struct nj_error *err) NJ_MUST_USE;
int nj_stamps_decode_stored(struct nj_span bytes, struct nj_arena *arena,
                            struct nj_stamps *ret_stamps, struct nj_leaf_list *ret_leaves,
                            struct nj_error *err) NJ_MUST_USE;

int nj_tree_encode_leaves(const struct nj_leaf *leaves, size_t n, struct nj_buf *out,
                          struct nj_error *err) NJ_MUST_USE;
/* @stamps' own times; its entries are in the leaves */
int nj_stamps_encode_leaves(const struct nj_stamps *stamps, const struct nj_leaf *leaves, size_t n,
                            struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* The key that both have. */
void nj_leaves_pack(struct nj_packer *packer, const struct nj_leaf *leaves, size_t n);
int nj_leaves_unpack(const struct nj_pack_at *map, struct nj_arena *arena,
                     struct nj_leaf_list *ret_list, struct nj_error *err) NJ_MUST_USE;

/* Are these in ascending order of unique names; are these unique? */
int nj_tree_check_order(const struct nj_tree_entry *entries, size_t n,
                        struct nj_error *err) NJ_MUST_USE;
int nj_stamps_check_unique(const struct nj_stamp *entries, size_t count,
                           struct nj_error *err) NJ_MUST_USE;

#endif
