/*
 * table.h - what was met before: a set of byte strings, each with one number
 *
 * For keys that must be unique, for files that are read once, for objects that are put once.
 */
#ifndef NJ_TABLE_H
#define NJ_TABLE_H

#include "formats/base/arena.h"

struct nj_table_slot {
    struct nj_span key; /* data NULL: the slot is free */
    uint64_t hash;
    size_t value;
};

struct nj_table {
    struct nj_arena arena; /* copies of the keys */
    struct nj_table_slot *slots;
    size_t cap; /* a power of two, at most 3/4 full */
    size_t count;
};

void nj_table_done(struct nj_table *table); /* a zeroed table is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_table, nj_table_done);

/* nj_table_find - true and the number when @key is there */
bool nj_table_find(const struct nj_table *table, struct nj_span key, size_t *ret_value);

/* nj_table_add - @key (copied, not empty) with its number
 *
 * Returns 0 when it is new; 1 when it was there: *ret_before is the number it had, and keeps. */
int nj_table_add(struct nj_table *table, struct nj_span key, size_t value, size_t *ret_before,
                 struct nj_error *err) NJ_MUST_USE;

#endif
