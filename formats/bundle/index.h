/*
 * index.h - digests to places in a stream: a hash table that hostile digests cannot slow down
 */
#ifndef NJ_BUNDLE_INDEX_H
#define NJ_BUNDLE_INDEX_H

#include <stdint.h>

#include "formats/base/digest.h"

struct nj_index_place {
    struct nj_digest digest;
    uint64_t offset;
    uint32_t len;
    uint8_t kind; /* for whoever keeps objects; no part of the key */
    bool used;
};

struct nj_index { /* zeroed to begin */
    struct nj_index_place *places;
    size_t cap; /* a power of two */
    size_t count;
    uint64_t seed;
};

void nj_index_done(struct nj_index *index);
NJ_DEFINE_AUTO_VAL(struct nj_index, nj_index_done);

/* nj_index_find - NULL when it is not there; valid until the next nj_index_add() */
const struct nj_index_place *nj_index_find(const struct nj_index *index,
                                           const struct nj_digest *digest);

/* nj_index_add - returns 0, or 1 when the digest is there already (which is left as it was) */
int nj_index_add(struct nj_index *index, const struct nj_digest *digest, uint64_t offset,
                 uint32_t len, uint8_t kind, struct nj_error *err) NJ_MUST_USE;

/* nj_index_sorted - a heap array of the index->count places, ascending by offset; NULL: no memory
 */
struct nj_index_place *nj_index_sorted(const struct nj_index *index);

#endif
