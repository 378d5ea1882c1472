/*
 * items.h - what one entry of for_each offers to templates
 */
#ifndef NJ_ITEMS_H
#define NJ_ITEMS_H

#include "batch/engine/glob.h"

/* A file's fields; "inbox/mai/a.tar.gz": */
struct nj_item {
    const char *path; /* as matched, relative to the manifest unless its glob was absolute */
    const char *name; /* "a.tar.gz" */
    const char *stem; /* "a.tar"; ".profile" keeps its only dot */
    const char *dir;  /* "mai": the last name of the folder it is in; "" at the top */
    uint64_t size;    /* bytes, as seen when the glob was expanded */
};

/* nj_item_of - @path is borrowed, the other texts are in @arena */
int nj_item_of(const struct nj_glob_match *match, struct nj_arena *arena, struct nj_item *ret_item,
               struct nj_error *err) NJ_MUST_USE;

/* nj_item_json - append {"dir","name","path","size","stem"} */
int nj_item_json(const struct nj_item *item, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* What a template may ask for; item NULL without for_each, results NULL where they are not known.
 */
struct nj_item_values {
    const struct nj_item *item;
    const char *results;
};

/* nj_item_expand - append @text with its placeholders filled in. NJ_E_INPUT: a name without a
 * value. */
int nj_item_expand(const char *text, const struct nj_item_values *values, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

#endif
