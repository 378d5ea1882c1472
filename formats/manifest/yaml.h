/*
 * yaml.h - a YAML file as a tree that knows its places, read under suspicion
 *
 * nj_yaml_load() builds the tree; a struct nj_yaml_reader then takes typed values out of it and
 * collects faults, each with line, column and path. Used for manifests and for the script
 * provider's replies. The dialect is what JSON and careful people write: one document, no tags, no
 * duplicate keys, keys are scalars. An alias is a copy of what its anchor names, a plain key <<
 * brings in what its map (or list of maps) has and the map itself has not. Plain scalars are typed
 * by the core schema of YAML 1.2 (null, true, false, whole numbers, decimal numbers, else text);
 * quoted ones are always text.
 *
 *     struct nj_yaml_reader reader = {.arena = &arena, .faults = &faults};
 *     r = nj_yaml_load(bytes, &limits, &reader, &root, err);      negative only without memory
 *     if (root && nj_yaml_keys(&reader, root, known, n)) {
 *         const struct nj_yaml_node *node = nj_yaml_need(&reader, root, "replies");
 *         if (node && nj_yaml_list(&reader, node, 1, 1000))
 *             for (const struct nj_yaml_node *item = node->first; item; item = item->next) ...
 *     }
 *     r = nj_yaml_end(&reader, "replies.yaml", err);              now all the faults are known
 *
 * Every getter that returns false has added its fault (or stands on a node whose fault is known
 * already), so that the caller just goes on to the next value.
 */
#ifndef NJ_MANIFEST_YAML_H
#define NJ_MANIFEST_YAML_H

#include "formats/base/arena.h"
#include "formats/base/buf.h"
#include "formats/manifest/faults.h"

/* libyaml finds a key on one line within 1024 characters; this many bytes fit there even when each
 * is escaped, so whatever was read can be written and read again. */
#define NJ_YAML_KEY_MAX_BYTES 160

enum nj_yaml_kind {
    NJ_YAML_SCALAR,
    NJ_YAML_SEQ,
    NJ_YAML_MAP,
    NJ_YAML_BROKEN /* an alias or the like: its fault is in the list, getters pass it in silence */
};

struct nj_yaml_node {
    enum nj_yaml_kind kind;
    bool merge;          /* in a map: the key is a plain <<; none is left in a finished tree */
    bool plain;          /* scalar without quotes and not a block: typed by the core schema */
    struct nj_mark mark; /* where the value begins */
    struct nj_span text; /* scalar: its bytes, NUL-terminated, may hold NUL inside */
    const char *key;     /* in a map: the key, else NULL */
    struct nj_mark key_mark;
    size_t index; /* among its siblings, from 0 */
    size_t count; /* of children */
    const struct nj_yaml_node *up;
    const struct nj_yaml_node *next; /* sibling, in the order of the file */
    const struct nj_yaml_node *first;
};

struct nj_yaml_limits {
    size_t max_bytes;
    size_t max_nodes;
    size_t max_depth;
}; /* aliases count as what they stand for, texts included */

struct nj_yaml_reader {
    struct nj_arena *arena;
    struct nj_manifest_faults *faults;
    unsigned file; /* of what is loaded next, for its marks: see nj_manifest_faults_file() */
    bool nomem;    /* an allocation failed: nj_yaml_end() says so */
};

/*
 * nj_yaml_load - the tree of @bytes, in the reader's arena
 *
 * *ret_root is set even where faults were found, as long as a tree could be built, so that its
 * values can be judged in the same round; it is NULL when the syntax or a limit stopped the reading
 * (the fault tells). Fails with NJ_E_NOMEM only.
 */
int nj_yaml_load(struct nj_span bytes, const struct nj_yaml_limits *limits,
                 struct nj_yaml_reader *reader, const struct nj_yaml_node **ret_root,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_yaml_end - sort the faults; 0 without any, else NJ_E_INPUT (the first and how many more) or
 * NJ_E_NOMEM */
int nj_yaml_end(struct nj_yaml_reader *reader, const char *name, struct nj_error *err) NJ_MUST_USE;

/* ---- what a node is ---- */

enum nj_yaml_type {
    NJ_YAML_NULL,
    NJ_YAML_BOOL,
    NJ_YAML_INT,   /* [-+]?[0-9]+, 0o17, 0x1f */
    NJ_YAML_FLOAT, /* 1.5, .5, 1e3, .inf, .nan */
    NJ_YAML_TEXT,
    NJ_YAML_LIST,
    NJ_YAML_TREE, /* a map */
    NJ_YAML_NONE  /* broken */
};

enum nj_yaml_type nj_yaml_type(const struct nj_yaml_node *node);

#define NJ_YAML_PATH_MAX_BYTES 384

/* nj_yaml_path - "agents.worker.tools[2].type" into @out ("" for the root); deep paths lose their
 * head */
void nj_yaml_path(const struct nj_yaml_node *node, char out[NJ_YAML_PATH_MAX_BYTES]);

/* ---- faults ---- */

/* nj_yaml_fault - a fault of this node's value; nj_yaml_fault_key - of the key itself */
void nj_yaml_fault(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, const char *fmt,
                   ...) NJ_PRINTF(3, 4);
void nj_yaml_fault_key(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       const char *fmt, ...) NJ_PRINTF(3, 4);

/* nj_yaml_expected - "expected WHAT, found ..." with a short look at what stands there */
void nj_yaml_expected(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                      const char *what);

/* nj_yaml_nearest - the name that @word was probably meant to be, or NULL */
const char *nj_yaml_nearest(const char *word, const char *const *names, size_t n_names);

/* nj_yaml_unknown - "unknown NOUN "x"; did you mean y?" or "...; known here: a, b, c" */
void nj_yaml_unknown(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                     const char *noun, const char *const *names, size_t n_names);

/* ---- values: false, with the fault added, when the node is not that; *ret written on true ---- */

/* nj_yaml_keys - @node is a map; each key that is not in @known is a fault of its own, which does
 * not make the map useless: true */
bool nj_yaml_keys(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                  const char *const *known, size_t n_known);

/* nj_yaml_names - @node is a map with any keys, between @min and @max of them */
bool nj_yaml_names(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, size_t min,
                   size_t max);

/* nj_yaml_get - the value of a key (the first of duplicates) or NULL; no fault */
const struct nj_yaml_node *nj_yaml_get(const struct nj_yaml_node *map, const char *key);

/* nj_yaml_need - the same, and a missing key is a fault of the map */
const struct nj_yaml_node *nj_yaml_need(struct nj_yaml_reader *reader,
                                        const struct nj_yaml_node *map, const char *key);

bool nj_yaml_list(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, size_t min,
                  size_t max);

/* nj_yaml_text - text without NUL, at most @max_bytes; "" is accepted only with @empty_ok. *ret
 * lives in the arena. A plain number, true, false or null is refused: quotes make it a text. */
bool nj_yaml_text(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, size_t max_bytes,
                  bool empty_ok, const char **ret);

bool nj_yaml_bool(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, bool *ret);
bool nj_yaml_uint(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, uint64_t min,
                  uint64_t max, uint64_t *ret);

/* nj_yaml_micro - a decimal number with at most six decimals, times 1000000, exactly ("0.50" is
 * 500000); between @min and @max millionths */
bool nj_yaml_micro(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, int64_t min,
                   int64_t max, int64_t *ret);

/* nj_yaml_enum - a text out of @names; *ret is its index. @noun for the fault: "provider" */
bool nj_yaml_enum(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, const char *noun,
                  const char *const *names, size_t n_names, size_t *ret);

/*
 * nj_yaml_to_json - append the node as JSON text
 *
 * One form for one meaning: no spaces, keys in ascending byte order, whole numbers in decimal,
 * decimal numbers as written but with a digit on both sides of the point. Fails with NJ_E_INPUT
 * (place and reason) for what JSON cannot say: .inf, .nan, whole numbers beyond 64 bits, broken
 * nodes.
 */
int nj_yaml_to_json(const struct nj_yaml_node *node, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;

#endif
