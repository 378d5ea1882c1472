/*
 * leaves.c - a large directory in several objects, so that a change of one entry costs one of them
 *
 * The entries are cut by what they are called, in their order, into leaves: TREE or STAMPS objects
 * of their own, which the directory's object lists. The complication is that equal directories must
 * stay equal objects: where a leaf ends follows from the names in it and nothing else. What a
 * directory was stored as before only spares leaves that did not change, and says of the others
 * which one they were.
 */
#include <assert.h>
#include <xxhash.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

/* A leaf ends behind a name whose hash says so: after the least, some 256 entries on, or at the
 * most. */
#define LEAF_LEAST 64
#define LEAF_END_MASK 255u
#define LEAF_MOST 1024

/* What is cut: an array of structures that begin with their name. */
struct cutting {
    enum nj_object_kind kind;
    const uint8_t *entries;
    size_t stride;
    size_t n_entries;
    const struct nj_tree *tree; /* one of the two */
    const struct nj_stamps *stamps;
};

static uint64_t name_hash(const struct cutting *cutting, size_t at)
{
    const struct nj_span *name =
        (const struct nj_span *)(const void *)(cutting->entries + at * cutting->stride);

    return XXH3_64bits(name->data, name->len);
}

/* leaf_length - how many entries the leaf that begins at @first has */
static size_t leaf_length(const struct cutting *cutting, size_t first)
{
    size_t left = cutting->n_entries - first, n = LEAF_LEAST;

    if (left <= LEAF_LEAST)
        return left;
    if (left > LEAF_MOST)
        left = LEAF_MOST;
    while (n < left && (name_hash(cutting, first + n - 1) & LEAF_END_MASK) != 0)
        n++;
    return n;
}

static int encode_leaf(const struct cutting *cutting, size_t first, size_t n, struct nj_buf *out,
                       struct nj_error *err)
{
    if (cutting->tree)
        return nj_tree_encode(&(struct nj_tree){cutting->tree->entries + first, n}, out, err);
    return nj_stamps_encode(
        &(struct nj_stamps){.entries = cutting->stamps->entries + first, .n_entries = n}, out, err);
}

static int encode_list(const struct cutting *cutting, const struct nj_leaf *leaves, size_t n,
                       struct nj_buf *out, struct nj_error *err)
{
    if (cutting->tree)
        return nj_tree_encode_leaves(leaves, n, out, err);
    return nj_stamps_encode_leaves(cutting->stamps, leaves, n, out, err);
}

/* earlier_leaf - what the leaf that begins with @first was: the next of @earlier that began with
 * that name, else the one whose turn it is. NULL: none. */
static const struct nj_leaf *earlier_leaf(const struct nj_dir_stored *earlier, uint64_t first,
                                          size_t *turn)
{
    size_t n = earlier ? earlier->n_leaves : 0;

    for (size_t i = *turn; i < n; i++) {
        if (earlier->leaves[i].first != first)
            continue;
        *turn = i + 1;
        return &earlier->leaves[i];
    }
    return *turn < n ? &earlier->leaves[(*turn)++] : NULL;
}

static int put_leaf(const struct cutting *cutting, const struct nj_object_sink *sink,
                    struct nj_span bytes, const struct nj_leaf *was, struct nj_leaf *leaf,
                    struct nj_error *err)
{
    nj_digest_bytes(bytes.data, bytes.len, &leaf->digest);
    if (was && nj_digest_equal(&was->digest, &leaf->digest))
        return 0;
    return nj_object_put_later(sink, cutting->kind, bytes, was ? &was->digest : NULL, &leaf->digest,
                               err);
}

static int put_leaves(const struct cutting *cutting, const struct nj_object_sink *sink,
                      const struct nj_dir_stored *earlier, struct nj_leaf *leaves, size_t *ret_n,
                      struct nj_buf *buf, struct nj_error *err)
{
    size_t turn = 0, bytes = 0, n = 0;

    for (size_t at = 0, length; at < cutting->n_entries; at += length, n++) {
        int r;

        length = leaf_length(cutting, at);
        leaves[n].first = name_hash(cutting, at);
        nj_buf_clear(buf);
        r = encode_leaf(cutting, at, length, buf, err);
        if (r < 0)
            return r;
        bytes += buf->len;
        if (bytes > NJ_OBJECT_MAX_BYTES)
            return nj_fail(err, NJ_E_LIMIT, "a directory of more than %u bytes",
                           NJ_OBJECT_MAX_BYTES);
        r = put_leaf(cutting, sink, nj_buf_span(buf), earlier_leaf(earlier, leaves[n].first, &turn),
                     &leaves[n], err);
        if (r < 0)
            return r;
    }
    *ret_n = n;
    return 0;
}

/* put - all of a directory's one side. Whole, or its leaves and their list. */
static int put(const struct cutting *cutting, const struct nj_object_sink *sink,
               const struct nj_dir_stored *earlier, struct nj_arena *arena,
               struct nj_dir_stored *ret_stored, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_dir_stored stored = {0};
    struct nj_leaf *leaves;
    int r;

    if (cutting->n_entries > NJ_TREE_ENTRIES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a directory of %zu entries: at most %d",
                       cutting->n_entries, NJ_TREE_ENTRIES_MAX);
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    if (cutting->n_entries <= NJ_LEAVES_ABOVE && cutting->tree) {
        r = nj_tree_encode(cutting->tree, &buf, err);
    } else if (cutting->n_entries <= NJ_LEAVES_ABOVE) {
        r = nj_stamps_encode(cutting->stamps, &buf, err);
    } else {
        leaves = nj_arena_array(arena, cutting->n_entries / LEAF_LEAST + 1, sizeof(*leaves));
        if (!leaves)
            return nj_fail_nomem(err);
        r = put_leaves(cutting, sink, earlier, leaves, &stored.n_leaves, &buf, err);
        nj_buf_clear(&buf);
        stored.leaves = leaves;
        if (r == 0)
            r = encode_list(cutting, leaves, stored.n_leaves, &buf, err);
    }
    if (r == 0)
        r = nj_object_put_later(sink, cutting->kind, nj_buf_span(&buf),
                                earlier ? &earlier->digest : NULL, &stored.digest, err);
    if (r < 0)
        return r;
    *ret_stored = stored;
    return 0;
}

int nj_tree_put(const struct nj_object_sink *sink, const struct nj_tree *tree,
                const struct nj_dir_stored *earlier, struct nj_arena *arena,
                struct nj_dir_stored *ret_stored, struct nj_error *err)
{
    struct cutting cutting = {.kind = NJ_OBJECT_TREE,
                              .entries = (const uint8_t *)tree->entries,
                              .stride = sizeof(*tree->entries),
                              .n_entries = tree->n_entries,
                              .tree = tree};

    return put(&cutting, sink, earlier, arena, ret_stored, err);
}

int nj_stamps_put(const struct nj_object_sink *sink, const struct nj_stamps *stamps,
                  const struct nj_dir_stored *earlier, struct nj_arena *arena,
                  struct nj_dir_stored *ret_stored, struct nj_error *err)
{
    struct cutting cutting = {.kind = NJ_OBJECT_STAMPS,
                              .entries = (const uint8_t *)stamps->entries,
                              .stride = sizeof(*stamps->entries),
                              .n_entries = stamps->n_entries,
                              .stamps = stamps};

    return put(&cutting, sink, earlier, arena, ret_stored, err);
}

int nj_dir_put(const struct nj_object_sink *sink, const struct nj_tree *tree,
               const struct nj_stamps *stamps, struct nj_workspace_ref *ret_ref,
               struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_dir_stored in_tree, in_stamps;
    int r;

    r = nj_tree_put(sink, tree, NULL, &arena, &in_tree, err);
    if (r == 0)
        r = nj_stamps_put(sink, stamps, NULL, &arena, &in_stamps, err);
    if (r < 0)
        return r;
    *ret_ref = (struct nj_workspace_ref){.tree = in_tree.digest, .stamps = in_stamps.digest};
    return 0;
}

/* ---- the list of leaves as bytes ---- */

void nj_leaves_pack(struct nj_packer *packer, const struct nj_leaf *leaves, size_t n)
{
    nj_pack_text(packer, "C");
    nj_pack_array(packer, n);
    for (size_t i = 0; i < n; i++)
        nj_pack_digest(packer, &leaves[i].digest);
}

int nj_leaves_unpack(const struct nj_pack_at *map, struct nj_arena *arena,
                     struct nj_leaf_list *ret_list, struct nj_error *err)
{
    struct nj_digest *digests;
    struct nj_pack_at array;
    size_t n;
    int r;

    r = nj_pack_get_array(map, "C", &array, &n, err);
    if (r < 0)
        return r;
    if (n == 0 || n > NJ_LEAVES_MAX)
        return nj_pack_fail(&array, err, "%zu leaves, must be 1 to %d", n, NJ_LEAVES_MAX);
    digests = nj_arena_array(arena, n, sizeof(*digests));
    if (!digests)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at item;

        r = nj_pack_item(&array, i, &item, err);
        if (r == 0)
            r = nj_pack_as_digest(&item, &digests[i], err);
        if (r < 0)
            return r;
    }
    *ret_list = (struct nj_leaf_list){digests, n};
    return 0;
}

/* ---- loading ---- */

/* get_kept - an object's bytes, in @arena; they count against what one directory may hold */
static int get_kept(const struct nj_object_source *source, enum nj_object_kind kind,
                    const struct nj_digest *digest, struct nj_arena *arena, size_t *bytes,
                    struct nj_span *ret_bytes, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_object_get(source, kind, digest, &buf, err);
    if (r < 0)
        return r;
    *bytes += buf.len;
    if (*bytes > NJ_DIR_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "a directory of more than %u bytes", NJ_DIR_MAX_BYTES);
    ret_bytes->data = (const uint8_t *)nj_arena_span(arena, nj_buf_span(&buf));
    ret_bytes->len = buf.len;
    return ret_bytes->data ? 0 : nj_fail_nomem(err);
}

/* count_leaf - one of @entries more: told before the next is decoded, which takes many times its
 * bytes. None is empty, so that what a directory costs its reader is counted by its entries. */
static int count_leaf(size_t entries, size_t *n, struct nj_error *err)
{
    if (entries == 0)
        return nj_fail(err, NJ_E_CORRUPT, "a leaf without entries");
    *n += entries;
    if (*n > NJ_TREE_ENTRIES_MAX)
        return nj_fail(err, NJ_E_CORRUPT, "%zu entries, a directory has at most %d", *n,
                       NJ_TREE_ENTRIES_MAX);
    return 0;
}

/* gather - room for what the leaves hold together */
static int gather(struct nj_arena *arena, size_t n, size_t size, void **ret_entries,
                  struct nj_error *err)
{
    *ret_entries = nj_arena_array(arena, n + 1, size);
    return *ret_entries ? 0 : nj_fail_nomem(err);
}

static int load_tree_leaves(const struct nj_object_source *source, const struct nj_leaf_list *list,
                            struct nj_arena *arena, size_t *bytes, struct nj_tree *ret_tree,
                            struct nj_error *err)
{
    struct nj_tree *leaves = nj_arena_array(arena, list->n, sizeof(*leaves));
    struct nj_tree_entry *entries = NULL;
    size_t n = 0, at = 0;
    struct nj_span span;
    int r = leaves ? 0 : nj_fail_nomem(err);

    for (size_t i = 0; r == 0 && i < list->n; i++) {
        r = get_kept(source, NJ_OBJECT_TREE, &list->digests[i], arena, bytes, &span, err);
        if (r == 0)
            r = nj_tree_decode(span, arena, &leaves[i], err);
        if (r == 0)
            r = count_leaf(leaves[i].n_entries, &n, err);
    }
    if (r == 0)
        r = gather(arena, n, sizeof(*entries), (void **)&entries, err);
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        memcpy(entries + at, leaves[i].entries, leaves[i].n_entries * sizeof(*entries));
        at += leaves[i].n_entries;
    }
    if (r == 0)
        r = nj_tree_check_order(entries, n, err);
    if (r == 0)
        *ret_tree = (struct nj_tree){entries, n};
    return r;
}

int nj_tree_load(const struct nj_object_source *source, const struct nj_digest *digest,
                 struct nj_arena *arena, struct nj_tree *ret_tree, size_t *ret_bytes,
                 struct nj_error *err)
{
    struct nj_leaf_list list;
    struct nj_span span;
    size_t bytes = 0;
    int r;

    r = get_kept(source, NJ_OBJECT_TREE, digest, arena, &bytes, &span, err);
    if (r == 0)
        r = nj_tree_decode_stored(span, arena, ret_tree, &list, err);
    if (r == 0 && list.n > 0)
        r = load_tree_leaves(source, &list, arena, &bytes, ret_tree, err);
    if (r == 0 && ret_bytes)
        *ret_bytes = bytes;
    return r;
}

static int load_stamps_leaves(const struct nj_object_source *source,
                              const struct nj_leaf_list *list, struct nj_arena *arena,
                              size_t *bytes, struct nj_stamps *stamps, struct nj_error *err)
{
    struct nj_stamps *leaves = nj_arena_array(arena, list->n, sizeof(*leaves));
    struct nj_stamp *entries = NULL;
    size_t n = 0, at = 0;
    struct nj_span span;
    int r = leaves ? 0 : nj_fail_nomem(err);

    for (size_t i = 0; r == 0 && i < list->n; i++) {
        r = get_kept(source, NJ_OBJECT_STAMPS, &list->digests[i], arena, bytes, &span, err);
        if (r == 0)
            r = nj_stamps_decode(span, arena, &leaves[i], err);
        if (r == 0)
            r = count_leaf(leaves[i].n_entries, &n, err);
    }
    if (r == 0)
        r = gather(arena, n, sizeof(*entries), (void **)&entries, err);
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        memcpy(entries + at, leaves[i].entries, leaves[i].n_entries * sizeof(*entries));
        at += leaves[i].n_entries;
    }
    if (r == 0)
        r = nj_stamps_check_unique(entries, n, err);
    if (r == 0) {
        stamps->entries = entries;
        stamps->n_entries = n;
    }
    return r;
}

int nj_stamps_load(const struct nj_object_source *source, const struct nj_digest *digest,
                   struct nj_arena *arena, struct nj_stamps *ret_stamps, struct nj_error *err)
{
    struct nj_leaf_list list;
    struct nj_stamps stamps;
    struct nj_span span;
    size_t bytes = 0;
    int r;

    r = get_kept(source, NJ_OBJECT_STAMPS, digest, arena, &bytes, &span, err);
    if (r == 0)
        r = nj_stamps_decode_stored(span, arena, &stamps, &list, err);
    if (r == 0 && list.n > 0)
        r = load_stamps_leaves(source, &list, arena, &bytes, &stamps, err);
    if (r == 0)
        *ret_stamps = stamps;
    return r;
}
