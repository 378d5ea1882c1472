/*
 * object_index.h - where a session's objects lie in the run's journal
 *
 * One index a session: an object belongs to the session whose frame carried it, and nothing is
 * found across sessions.
 */
#ifndef NJ_OBJECT_INDEX_H
#define NJ_OBJECT_INDEX_H

#include "formats/journal/journal.h"

struct nj_object_index_slot {
    struct nj_digest digest;
    struct nj_journal_place place; /* bytes 0: the slot is free */
};

struct nj_object_index {
    struct nj_object_index_slot *slots; /* open addressing, a power of two, at most 3/4 full */
    size_t cap;
    size_t count;
};

void nj_object_index_done(struct nj_object_index *index); /* a zeroed index is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_object_index, nj_object_index_done);

const struct nj_journal_place *nj_object_index_find(const struct nj_object_index *index,
                                                    const struct nj_digest *digest);

/* nj_object_index_add - the digest must not be there yet */
int nj_object_index_add(struct nj_object_index *index, const struct nj_digest *digest,
                        const struct nj_journal_place *place, struct nj_error *err) NJ_MUST_USE;

/* nj_object_index_grown - a copy with room for @more objects: adding them then moves nothing. For
 * whoever has the time that the owner of @index has not. */
bool nj_object_index_has_room(const struct nj_object_index *index, size_t more);
int nj_object_index_grown(const struct nj_object_index *index, size_t more,
                          struct nj_object_index *ret_grown, struct nj_error *err) NJ_MUST_USE;

/* nj_object_index_sorted - a heap array of the @index->count used slots in the order they were
 * written */
struct nj_object_index_slot *nj_object_index_sorted(const struct nj_object_index *index);

#endif
