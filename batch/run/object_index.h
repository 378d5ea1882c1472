/*
 * object_index.h - where a session's objects lie in the run's journal
 *
 * One index a session: an object belongs to the session whose frame carried it, and nothing is
 * found across sessions.
 *
 * A worker process that needs an index of ten thousand objects is not sent a copy, which the loop
 * would have to make: with share set, a large table lies in memory that has a descriptor, and
 * whoever is given that looks at the same pages (nj_object_index_map()).
 */
#ifndef NJ_OBJECT_INDEX_H
#define NJ_OBJECT_INDEX_H

#include "formats/journal/journal.h"

struct nj_object_index_slot {
    struct nj_digest digest;
    struct nj_journal_place place; /* bytes 0: the slot is free */
};

/* Slots from which on a table is shared, while half of the descriptors are free: copying fewer is
 * some 0.1 ms, and a descriptor each is too many for thousands of small sessions. */
#define NJ_OBJECT_INDEX_SHARED_SLOTS 4096u

struct nj_object_index {
    struct nj_object_index_slot *slots; /* open addressing, a power of two, at most 3/4 full */
    size_t cap;
    size_t count;
    uint64_t bytes; /* of all its frames */
    bool share;     /* set by its owner, before anything is added */
    bool mapped;    /* slots lie in pages of fd, not in the heap */
    int fd;         /* where mapped; -1: the pages are somebody else's */
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

/* nj_object_index_map - look at the table behind @fd, of an index with @cap slots and @count used
 * ones, in another process. @fd is borrowed. Nothing can be added. */
int nj_object_index_map(int fd, size_t cap, size_t count, struct nj_object_index *ret_index,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_object_index_sorted - a heap array of the @index->count used slots in the order they were
 * written */
struct nj_object_index_slot *nj_object_index_sorted(const struct nj_object_index *index);

#endif
