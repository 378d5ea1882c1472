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

#endif
