/*
 * inside.h - an open bundle, for reader.c (its life and its contents) and verify.c (what makes it
 * worth believing) and their kin; private to them
 */
#ifndef NJ_BUNDLE_INSIDE_H
#define NJ_BUNDLE_INSIDE_H

#include "formats/base/arena.h"
#include "formats/bundle/entry.h"
#include "formats/bundle/index.h"
#include "formats/bundle/spool.h"

#define NJ_BUNDLE_EMPTY_STREAM_MAX_BYTES                                                           \
    32 /* a zstd frame without content, with room for its options */
#define NJ_BUNDLE_DAMAGES_MAX 64u

/* Where a frame's payload lies in its stream's spool. */
struct nj_bundle_place {
    uint64_t offset;
    uint32_t len;
    uint32_t sequence;
    enum nj_frame_kind kind;
};

/* Frames of one stream, ascending by sequence. */
struct nj_bundle_places {
    struct nj_bundle_place *items;
    size_t count;
    size_t cap;
};

struct nj_bundle {
    struct nj_arena arena; /* the info's texts */
    struct nj_bundle_info info;
    struct nj_buf manifest;
    struct nj_spool spools[NJ_BUNDLE_MEMBERS_COUNT]; /* decoded streams, JOURNAL to INPUTS */
    struct nj_bundle_places journal;
    struct nj_bundle_places snapshots;
    struct nj_index objects;
    struct nj_index inputs;
    bool damaged;
    struct nj_error damage; /* with NJ_BUNDLE_SALVAGE: what ended the first reading */
    const char *damages[NJ_BUNDLE_DAMAGES_MAX]; /* the places that the second found; in the arena */
    size_t n_damages;
};

/* nj_bundle_empty - as before the first byte was read */
void nj_bundle_empty(struct nj_bundle *bundle);

/* nj_bundle_load - read @fd into the empty @bundle and check everything; with @salvage a damaged
 * one is read too, as far as it is intact */
int nj_bundle_load(struct nj_bundle *bundle, int fd, bool salvage,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_find - the place of frame @sequence; NULL when it was lost */
const struct nj_bundle_place *nj_bundle_find(const struct nj_bundle *bundle, uint64_t sequence);

/* nj_bundle_payload - append the payload at @place to @out */
int nj_bundle_payload(const struct nj_bundle *bundle, const struct nj_bundle_place *place,
                      struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_info_decode - read nightjar.json; texts go to bundle->arena. NJ_E_INPUT: another kind
 * of file */
int nj_bundle_info_decode(struct nj_bundle *bundle, struct nj_span json,
                          struct nj_error *err) NJ_MUST_USE;

#endif
