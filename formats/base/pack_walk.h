/*
 * pack_walk.h - the canonical rules on raw bytes; private to pack*.c
 */
#ifndef NJ_BASE_PACK_WALK_H
#define NJ_BASE_PACK_WALK_H

#include "formats/base/buf.h"

/* A rule that bytes can break. The last two are limits that honest input can reach. */
#define NJ_PACK_RULES(X)                                                                           \
    X(CUT, "the value is cut off")                                                                 \
    X(TYPE, "floats, ext types and byte c1 are not allowed")                                       \
    X(SHORTEST, "not in its shortest form")                                                        \
    X(KEY, "a map key is not a string")                                                            \
    X(ORDER, "map keys are not unique and ascending")                                              \
    X(UTF8, "a string is not UTF-8")                                                               \
    X(DEPTH, "arrays and maps are nested too deep")                                                \
    X(NODES, "too many values")

enum nj_pack_rule {
    NJ_PACK_RULE_KEPT,
#define X(name, text) NJ_PACK_RULE_##name,
    NJ_PACK_RULES(X)
#undef X
};

const char *nj_pack_rule_text(enum nj_pack_rule rule);

enum nj_pack_kind {
    NJ_PACK_NIL,
    NJ_PACK_BOOL,
    NJ_PACK_UINT,
    NJ_PACK_INT,
    NJ_PACK_TEXT,
    NJ_PACK_BIN,
    NJ_PACK_ARRAY,
    NJ_PACK_MAP
};

/* One value's first bytes, understood. */
struct nj_pack_head {
    enum nj_pack_kind kind;
    size_t head_bytes;
    size_t payload_bytes; /* of a string or bin */
    size_t items;         /* of an array; pairs of a map */
};

/* nj_pack_head_read - the value at @at: in its shortest form, its payload within @bytes, and no
 * more items than bytes are left */
enum nj_pack_rule nj_pack_head_read(struct nj_span bytes, size_t at, struct nj_pack_head *ret_head);

/* nj_pack_rule_first - the first rule that the first value in @bytes breaks; *ret_at is where it is
 * broken, or the value's end when all are kept */
enum nj_pack_rule nj_pack_rule_first(struct nj_span bytes, size_t *ret_at);

/* nj_pack_skip - the end of the value at @at, without judging order and text; false when cut off */
bool nj_pack_skip(struct nj_span bytes, size_t at, size_t *ret_end);

#endif
