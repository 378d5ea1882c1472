/*
 * items.h - the items of a group: read from where the manifest says, crossed, filtered
 *
 * An item is one JSON object in canonical form (item_json.h). Of a glob: dir, name, path, size and
 * stem of a file. Of lines: the line's object, or {"value": X} where a line is no object. Of csv:
 * the fields of a row as texts; the header's names with each run of characters other than letters,
 * digits, "_" and "-" made one "_". Of values: as of lines. Of a matrix: an object with one member
 * an axis, which is the axis' item, or the value itself where that is no object.
 */
#ifndef NJ_ITEMS_H
#define NJ_ITEMS_H

#include "batch/plan/item_json.h"
#include "batch/plan/sources.h"
#include "formats/manifest/manifest.h"

#define NJ_ITEMS_MAX 1000000                 /* of one list, and of one group */
#define NJ_ITEMS_FILE_MAX_BYTES (256u << 20) /* of a JSON-lines or CSV file */

struct nj_item {
    const char *json;
    uint32_t line; /* of the file, where the list is one; else 0 */
};

struct nj_items {
    struct nj_arena arena; /* owns the texts */
    struct nj_item *items;
    size_t count;
    size_t cap;
};

void nj_items_done(struct nj_items *items); /* a zeroed one is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_items, nj_items_done);

/* nj_items_fault - told of each item that cannot be used; a negative result ends the reading */
typedef int (*nj_items_fault)(void *ctx, const struct nj_error *fault);

/*
 * nj_items_read - one axis' items, in the order of the source
 *
 * A row that is wrong in itself (ragged, no JSON) is told to @fault with its line and passed over.
 * Fails with NJ_E_INPUT where the whole list cannot be read.
 */
int nj_items_read(struct nj_sources *sources, const struct nj_manifest_axis *axis,
                  struct nj_items *ret_items, nj_items_fault fault, void *ctx,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_item_label - "items.csv:17", the path of a glob's file, or the item itself, shortened */
#define NJ_ITEM_LABEL_MAX_BYTES 160
void nj_item_label(const struct nj_manifest_group *group, const char *json, uint32_t line,
                   char label[NJ_ITEM_LABEL_MAX_BYTES]);

/* What a template may ask for; item "{}" without for_each, results NULL where they are not known.
 */
struct nj_item_values {
    const char *item;
    const char *results;
};

/* nj_item_expand - append @text with its placeholders filled in. NJ_E_INPUT: a name without a
 * value. */
int nj_item_expand(const char *text, const struct nj_item_values *values, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

/* ---- where ---- */

struct nj_where;

/* nj_where_new - the tests of a group, ready to be asked; @group is borrowed */
int nj_where_new(const struct nj_manifest_group *group, struct nj_where **ret_where,
                 struct nj_error *err) NJ_MUST_USE;
void nj_where_free(struct nj_where *where);
NJ_DEFINE_AUTO_PTR(struct nj_where, nj_where_free);

/* nj_where_holds - 1 when all tests hold, else 0. A field that is missing or null passes `not` and
 * `exists: false` only. */
int nj_where_holds(const struct nj_where *where, const char *json,
                   struct nj_error *err) NJ_MUST_USE;

#endif
