/*
 * reach.c - every object that a workspace needs, each once
 *
 * The complication: the same bytes may stand for two kinds (a file may hold what is also a
 * directory's encoding). Such an object is reported once, under the kind met first, but followed
 * under each.
 */
#include <assert.h>
#include <xxhash.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

#define SEEN_SLOTS_FIRST 1024u

struct seen {
    struct nj_digest digest;
    uint8_t kinds; /* bit per kind; 0: the slot is free */
};

struct pending {
    struct nj_digest digest;
    enum nj_object_kind kind;
    unsigned depth;
    bool is_leaf;
};

struct nj_reach {
    struct nj_object_source source;
    nj_object_visit visit;
    void *ctx;

    struct seen *seen; /* open addressing, at most half full */
    size_t n_slots;
    size_t n_seen;

    struct pending *queue; /* a parent stands before its children */
    size_t n_queue;
    size_t queue_cap;

    size_t entries;
};

int nj_reach_new(const struct nj_object_source *source, nj_object_visit visit, void *ctx,
                 struct nj_reach **ret_reach, struct nj_error *err)
{
    struct nj_reach *reach = calloc(1, sizeof(*reach));

    if (!reach)
        return nj_fail_nomem(err);
    *reach = (struct nj_reach){.source = *source, .visit = visit, .ctx = ctx};
    *ret_reach = reach;
    return 0;
}

void nj_reach_free(struct nj_reach *reach)
{
    if (!reach)
        return;
    free(reach->seen);
    free(reach->queue);
    free(reach);
}

/* Digests in a hostile bundle are whatever it says, so the place in the table depends on an address
 * that its author does not know. */
static struct seen *seen_slot(const struct nj_reach *reach, const struct nj_digest *digest)
{
    uint64_t hash = XXH3_64bits_withSeed(digest, sizeof(*digest), (uintptr_t)reach->seen);
    size_t slot = (size_t)hash & (reach->n_slots - 1);

    while (reach->seen[slot].kinds && !nj_digest_equal(&reach->seen[slot].digest, digest))
        slot = (slot + 1) & (reach->n_slots - 1);
    return &reach->seen[slot];
}

static int seen_grow(struct nj_reach *reach, struct nj_error *err)
{
    struct seen *old = reach->seen;
    size_t n_old = reach->n_slots;
    size_t n_new = n_old ? n_old * 2 : SEEN_SLOTS_FIRST;
    struct seen *larger = calloc(n_new, sizeof(*larger));

    if (!larger)
        return nj_fail_nomem(err);
    reach->seen = larger;
    reach->n_slots = n_new;
    for (size_t i = 0; i < n_old; i++)
        if (old[i].kinds)
            *seen_slot(reach, &old[i].digest) = old[i];
    free(old);
    return 0;
}

static int queue_push(struct nj_reach *reach, const struct pending *item, struct nj_error *err)
{
    if (reach->n_queue == reach->queue_cap) {
        size_t cap = reach->queue_cap ? reach->queue_cap * 2 : 64;
        struct pending *larger = reallocarray(reach->queue, cap, sizeof(*larger));

        if (!larger)
            return nj_fail_nomem(err);
        reach->queue = larger;
        reach->queue_cap = cap;
    }
    reach->queue[reach->n_queue++] = *item;
    return 0;
}

/* Beside a bit for each kind: as a leaf, which a list of leaves cannot be, of either kind. */
#define SEEN_AS_LEAF(kind) ((kind) == NJ_OBJECT_TREE ? 0x80u : 0x40u)
_Static_assert(1u << (NJ_OBJECT_PARTS - NJ_OBJECT_BLOB) < 0x40u, "the bits of kinds lie below");

static int reach_add_as(struct nj_reach *reach, const struct pending *item, struct nj_error *err)
{
    uint8_t bit =
        (uint8_t)(item->is_leaf ? SEEN_AS_LEAF(item->kind) : 1u << (item->kind - NJ_OBJECT_BLOB));
    const struct nj_digest *digest = &item->digest;
    struct seen *slot;
    int r;

    if (reach->n_seen * 2 >= reach->n_slots) {
        r = seen_grow(reach, err);
        if (r < 0)
            return r;
    }
    slot = seen_slot(reach, digest);
    if (slot->kinds & bit)
        return 0;
    if (item->depth > NJ_TREE_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree is deeper than %d levels", NJ_TREE_DEPTH_MAX);
    if (!slot->kinds) {
        if (reach->n_seen >= NJ_TREE_VISITS_MAX)
            return nj_fail(err, NJ_E_LIMIT, "a workspace of more than %d objects",
                           NJ_TREE_VISITS_MAX);
        reach->n_seen++;
        slot->digest = *digest;
        r = reach->visit(reach->ctx, item->kind, digest, err);
        if (r < 0)
            return r;
    }
    slot->kinds |= bit;
    return item->kind == NJ_OBJECT_BLOB ? 0 : queue_push(reach, item, err);
}

static int reach_add(struct nj_reach *reach, enum nj_object_kind kind,
                     const struct nj_digest *digest, unsigned depth, struct nj_error *err)
{
    return reach_add_as(reach, &(struct pending){*digest, kind, depth, false}, err);
}

static int count_entries(struct nj_reach *reach, size_t count, struct nj_error *err)
{
    reach->entries += count;
    if (reach->entries > NJ_TREE_VISITS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the workspace's objects list more than %d entries",
                       NJ_TREE_VISITS_MAX);
    return 0;
}

/* follow_leaves - each is an object of the directory's own kind, and no level deeper */
static int follow_leaves(struct nj_reach *reach, const struct nj_leaf_list *leaves,
                         enum nj_object_kind kind, unsigned depth, struct nj_error *err)
{
    int r;

    r = count_entries(reach, leaves->n, err);
    for (size_t i = 0; r == 0 && i < leaves->n; i++)
        r = reach_add_as(reach, &(struct pending){leaves->digests[i], kind, depth, true}, err);
    return r;
}

static int follow_tree(struct nj_reach *reach, struct nj_span bytes, struct nj_arena *arena,
                       const struct pending *item, struct nj_error *err)
{
    struct nj_leaf_list leaves = {0};
    unsigned depth = item->depth;
    struct nj_tree tree;
    int r;

    r = nj_tree_decode_stored(bytes, arena, &tree, item->is_leaf ? NULL : &leaves, err);
    if (r == 0 && leaves.n > 0)
        return follow_leaves(reach, &leaves, NJ_OBJECT_TREE, depth, err);
    if (r == 0)
        r = count_entries(reach, tree.n_entries, err);
    for (size_t i = 0; r == 0 && i < tree.n_entries; i++) {
        const struct nj_tree_entry *entry = &tree.entries[i];

        if (entry->type == NJ_FILE_DIRECTORY)
            r = reach_add(reach, NJ_OBJECT_TREE, &entry->digest, depth + 1, err);
        else if (entry->type == NJ_FILE_REGULAR && entry->has_parts)
            r = reach_add(reach, NJ_OBJECT_PARTS, &entry->parts, depth, err);
        else if (entry->type == NJ_FILE_REGULAR)
            r = reach_add(reach, NJ_OBJECT_BLOB, &entry->digest, depth, err);
    }
    return r;
}

static int follow_stamps(struct nj_reach *reach, struct nj_span bytes, struct nj_arena *arena,
                         const struct pending *item, struct nj_error *err)
{
    struct nj_leaf_list leaves = {0};
    unsigned depth = item->depth;
    struct nj_stamps stamps;
    int r;

    r = nj_stamps_decode_stored(bytes, arena, &stamps, item->is_leaf ? NULL : &leaves, err);
    if (r == 0 && leaves.n > 0)
        return follow_leaves(reach, &leaves, NJ_OBJECT_STAMPS, depth, err);
    if (r == 0)
        r = count_entries(reach, stamps.n_entries, err);
    for (size_t i = 0; r == 0 && i < stamps.n_entries; i++)
        if (stamps.entries[i].has_stamps)
            r = reach_add(reach, NJ_OBJECT_STAMPS, &stamps.entries[i].stamps, depth + 1, err);
    return r;
}

static int follow_parts(struct nj_reach *reach, struct nj_span bytes, struct nj_arena *arena,
                        unsigned depth, struct nj_error *err)
{
    const struct nj_digest *parts;
    size_t count;
    int r;

    r = nj_parts_decode(bytes, arena, &parts, &count, err);
    if (r == 0)
        r = count_entries(reach, count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = reach_add(reach, NJ_OBJECT_BLOB, &parts[i], depth, err);
    return r;
}

static int follow(struct nj_reach *reach, const struct pending *item, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_object_get(&reach->source, item->kind, &item->digest, &buf, err);
    if (r < 0)
        return r;
    if (item->kind == NJ_OBJECT_TREE)
        return follow_tree(reach, nj_buf_span(&buf), &arena, item, err);
    if (item->kind == NJ_OBJECT_STAMPS)
        return follow_stamps(reach, nj_buf_span(&buf), &arena, item, err);
    assert(item->kind == NJ_OBJECT_PARTS);
    return follow_parts(reach, nj_buf_span(&buf), &arena, item->depth, err);
}

/* reach_queued - follow what was added since the queue was emptied */
static int reach_queued(struct nj_reach *reach, struct nj_error *err)
{
    int r = 0;

    for (size_t next = 0; r == 0 && next < reach->n_queue; next++) {
        struct pending item = reach->queue[next]; /* a copy: the queue may move */

        r = follow(reach, &item, err);
    }
    return r < 0 ? r : 0;
}

static void reach_begin(struct nj_reach *reach)
{
    reach->n_queue = 0;
    reach->entries = 0;
}

int nj_reach_tree(struct nj_reach *reach, const struct nj_digest *tree, struct nj_error *err)
{
    int r;

    reach_begin(reach);
    r = reach_add(reach, NJ_OBJECT_TREE, tree, 1, err);
    return r < 0 ? r : reach_queued(reach, err);
}

int nj_reach_workspace(struct nj_reach *reach, const struct nj_workspace_ref *ref,
                       struct nj_error *err)
{
    int r;

    reach_begin(reach);
    r = reach_add(reach, NJ_OBJECT_TREE, &ref->tree, 1, err);
    if (r == 0)
        r = reach_add(reach, NJ_OBJECT_STAMPS, &ref->stamps, 1, err);
    return r < 0 ? r : reach_queued(reach, err);
}

int nj_tree_reach(const struct nj_object_source *source, const struct nj_workspace_ref *ref,
                  nj_object_visit visit, void *ctx, struct nj_error *err)
{
    NJ_AUTO(nj_reach_free) struct nj_reach *reach = NULL;
    int r;

    r = nj_reach_new(source, visit, ctx, &reach, err);
    return r < 0 ? r : nj_reach_workspace(reach, ref, err);
}
