/*
 * list.c - a list of digests as a persistent tree, fan-out 32: how a conversation grows by one leaf
 *
 * The complication: the shape is a function of the count alone, so equal lists have equal roots and
 * a reader knows what every node must look like. The spine, the right-most node of each level, is
 * all that appending needs; spine[k] ends with the digest of the node that spine[k - 1] describes.
 */
#include <assert.h>
#include <stddef.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

#define ROOT_STEP 4u /* the root's items come in such pieces: see nj_list_bytes() */

/* Of a node with so many items, at most: map, two keys, array, level; a bin of 32 bytes each. */
#define NODE_BYTES(n_items) (16u + (n_items) * (NJ_DIGEST_BYTES + 2u))

struct node {
    struct nj_digest items[NJ_LIST_FANOUT];
    unsigned n_items;
};

static int node_encode(const struct nj_digest *items, unsigned n_items, unsigned level,
                       struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer packer;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 2);
    nj_pack_text(&packer, "i");
    nj_pack_array(&packer, n_items);
    for (unsigned i = 0; i < n_items; i++)
        nj_pack_digest(&packer, &items[i]);
    nj_pack_put_uint(&packer, "l", level);
    return nj_packer_end(&packer, err);
}

static int node_decode(struct nj_span bytes, unsigned level, struct node *ret_node,
                       struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at array;
    struct nj_pack_at root;
    unsigned present;
    uint64_t found;
    size_t count;
    int r;

    r = nj_object_open(&doc, "list", bytes, &root, err);
    if (r < 0)
        return r;
    r = nj_object_keys(&root, "il", &present, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(&root, "l", NJ_LIST_LEVELS_MAX - 1, &found, err);
    if (r < 0)
        return r;
    if (found != level)
        return nj_pack_fail(&root, err, "a node of level %u where level %u belongs",
                            (unsigned)found, level);
    r = nj_pack_get_array(&root, "i", &array, &count, err);
    if (r < 0)
        return r;
    if (count == 0 || count > NJ_LIST_FANOUT)
        return nj_pack_fail(&array, err, "%zu items, must be 1 to %d", count, NJ_LIST_FANOUT);
    for (size_t i = 0; i < count; i++) {
        struct nj_pack_at item;

        r = nj_pack_item(&array, i, &item, err);
        if (r < 0)
            return r;
        r = nj_pack_as_digest(&item, &ret_node->items[i], err);
        if (r < 0)
            return r;
    }
    ret_node->n_items = (unsigned)count;
    return 0;
}

static unsigned levels_of(uint64_t count)
{
    unsigned levels = 0;

    for (uint64_t room = 1; count > 0 && (room < count || levels == 0); room *= NJ_LIST_FANOUT)
        levels++;
    return levels;
}

size_t nj_list_bytes(uint64_t count)
{
    const struct nj_list *list = NULL;
    unsigned levels = levels_of(count);
    uint64_t below = 1; /* items of the list below one of the root */
    size_t items;

    if (levels == 0)
        return offsetof(struct nj_list, spine);
    for (unsigned level = 1; level < levels; level++)
        below *= NJ_LIST_FANOUT;
    items = (size_t)((count + below - 1) / below);
    items = (items + ROOT_STEP - 1) / ROOT_STEP * ROOT_STEP;
    return offsetof(struct nj_list, spine) + levels * sizeof(list->spine[0]) -
           (NJ_LIST_FANOUT - items) * sizeof(list->spine[0].items[0]);
}

/* spine_put - the node of @level, which takes the place of what was there before */
static int spine_put(struct nj_list *list, unsigned level, const struct nj_object_sink *sink,
                     struct nj_digest *ret_digest, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_list_node *node = &list->spine[level];
    int r;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_buf_reserve(&buf, NODE_BYTES(node->n_items), err);
    if (r == 0)
        r = node_encode(node->items, node->n_items, level, &buf, err);
    if (r < 0)
        return r;
    if (sink)
        r = nj_object_put_later(sink, NJ_OBJECT_LIST, nj_buf_span(&buf),
                                node->is_named ? &node->digest : NULL, ret_digest, err);
    else
        nj_digest_bytes(buf.data, buf.len, ret_digest);
    if (r < 0)
        return r;
    node->digest = *ret_digest;
    node->is_named = true;
    return 0;
}

static void spine_push(struct nj_list *list, unsigned level, const struct nj_digest *item)
{
    list->spine[level].items[list->spine[level].n_items++] = *item;
}

int nj_list_append(struct nj_list *list, const struct nj_digest *item,
                   const struct nj_object_sink *sink, struct nj_digest *ret_root,
                   struct nj_error *err)
{
    struct nj_list next;
    struct nj_digest digest = *item;
    unsigned open = 0; /* the lowest level with room; all below it begin anew */
    int r;

    if (list->count >= NJ_LIST_ITEMS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a list holds at most %u items", NJ_LIST_ITEMS_MAX);
    memcpy(&next, list, nj_list_bytes(list->count));
    while (open < next.levels && next.spine[open].n_items == NJ_LIST_FANOUT)
        open++;
    if (open == next.levels) {
        /* Full from top to bottom (or empty): a new root stands above the old one. */
        struct nj_digest old_root;

        memset(&next.spine[open], 0, sizeof(next.spine[open]));
        if (open > 0) {
            r = spine_put(&next, open - 1, NULL, &old_root, err); /* put when it became full */
            if (r < 0)
                return r;
            spine_push(&next, open, &old_root);
        }
        next.levels++;
    }
    for (unsigned level = 0; level < next.levels; level++) {
        if (level < open) {
            next.spine[level].n_items = 0;
            next.spine[level].is_named = false;
        } else if (level > open)
            next.spine[level].n_items--; /* its last child is the node just written, as it was */
        spine_push(&next, level, &digest);
        r = spine_put(&next, level, sink, &digest, err);
        if (r < 0)
            return r;
    }
    next.count++;
    memcpy(list, &next, nj_list_bytes(next.count));
    *ret_root = digest;
    return 0;
}

struct loader {
    const struct nj_object_source *source;
    struct nj_list list;
    int (*visit)(void *ctx, uint64_t index, const struct nj_digest *item, struct nj_error *err);
    void *ctx;
    uint64_t visited;
};

/* Reads the node of @level that holds @count items, and those below it. On the spine the node is
 * kept. */
static int load_node(struct loader *loader, const struct nj_digest *digest, unsigned level,
                     uint64_t count, bool on_spine, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    uint64_t below = UINT64_C(1) << (5 * level); /* items under one child that is full */
    uint64_t children = (count - 1) / below + 1;
    struct node node;
    int r;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_object_get(loader->source, NJ_OBJECT_LIST, digest, &buf, err);
    if (r < 0)
        return r;
    r = node_decode(nj_buf_span(&buf), level, &node, err);
    if (r < 0)
        return r;
    if (node.n_items != children)
        return nj_fail(err, NJ_E_CORRUPT,
                       "list: a node of level %u has %u children where the count asks for %lu",
                       level, node.n_items, (unsigned long)children);
    if (on_spine) {
        memcpy(loader->list.spine[level].items, node.items, sizeof(node.items[0]) * node.n_items);
        loader->list.spine[level].n_items = node.n_items;
        loader->list.spine[level].digest = *digest;
        loader->list.spine[level].is_named = true;
    }
    for (unsigned i = 0; i < node.n_items; i++) {
        bool last = i == node.n_items - 1;

        if (level > 0) {
            if (!loader->visit && !last)
                continue;
            r = load_node(loader, &node.items[i], level - 1, last ? count - i * below : below,
                          on_spine && last, err);
        } else {
            if (!loader->visit)
                break;
            r = loader->visit(loader->ctx, loader->visited++, &node.items[i], err);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int nj_list_load(struct nj_list *list, const struct nj_object_source *source,
                 const struct nj_digest *root, uint64_t count,
                 int (*visit)(void *ctx, uint64_t index, const struct nj_digest *item,
                              struct nj_error *err),
                 void *ctx, struct nj_error *err)
{
    struct loader loader = {.source = source, .visit = visit, .ctx = ctx};
    int r;

    if (count > NJ_LIST_ITEMS_MAX)
        return nj_fail(err, NJ_E_CORRUPT, "list: %lu items, at most %u", (unsigned long)count,
                       NJ_LIST_ITEMS_MAX);
    loader.list.count = count;
    loader.list.levels = levels_of(count);
    if (count > 0) {
        assert(root);
        r = load_node(&loader, root, loader.list.levels - 1, count, true, err);
        if (r < 0)
            return r;
    }
    memcpy(list, &loader.list, nj_list_bytes(count));
    return 0;
}
