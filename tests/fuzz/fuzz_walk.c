/*
 * fuzz_walk.c - a graph of directories: walked, compared, reached and read
 *
 * The input is a stream of encoded objects, children before parents. Every 32-byte bin in a
 * directory, STAMPS or PARTS object is pointed at an object that came before it, since mutation
 * cannot find digests. The last TREE and the last STAMPS are the workspace. Nothing may crash, loop
 * or read outside; a tree compared with itself is equal, and a walk that ends well meets only
 * entries that lookup finds.
 */
#include <stdlib.h>

#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VISITS_MAX 200 /* of one input: speed matters more than size here */

struct walk {
    struct nj_object_source source;
    struct nj_digest root;
    size_t visits;
};

static int drop_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    (void)ctx;
    (void)piece;
    (void)err;
    return 0;
}

static int check_entry(void *ctx, const char *path, const struct nj_tree_entry *entry,
                       struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct walk *walk = ctx;
    struct nj_tree_entry found;
    struct nj_error ignored = {0};

    if (++walk->visits > VISITS_MAX)
        return nj_fail(err, NJ_E_CANCELLED, "enough");
    if (strlen(path) <= NJ_OBJECT_TARGET_MAX_BYTES &&
        (nj_tree_lookup(&walk->source, &walk->root, path, &arena, &found, &ignored) != 0 ||
         found.type != entry->type || !nj_span_equal(found.name, entry->name)))
        abort();
    if (entry->type == NJ_FILE_REGULAR &&
        nj_parts_each(&walk->source, entry, drop_piece, NULL, &ignored) < 0 && !ignored.text[0])
        abort();
    return 0;
}

static int count_object(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                        struct nj_error *err)
{
    struct walk *walk = ctx;

    (void)kind;
    (void)digest;
    if (++walk->visits > VISITS_MAX)
        return nj_fail(err, NJ_E_CANCELLED, "enough");
    return 0;
}

static int count_difference(void *ctx, const char *path, const struct nj_tree_entry *a,
                            const struct nj_tree_entry *b, struct nj_error *err)
{
    struct walk *walk = ctx;

    if (!path[0] || (!a && !b))
        abort();
    if (++walk->visits > VISITS_MAX)
        return nj_fail(err, NJ_E_CANCELLED, "enough");
    return 0;
}

static void point_at_earlier(struct nj_buf *bytes, const struct memory_objects *store)
{
    for (size_t i = 0; i + 2 + NJ_DIGEST_BYTES <= bytes->len; i++) {
        uint8_t *digest = bytes->data + i + 2;

        if (store->n_items == 0 || bytes->data[i] != 0xc4 || bytes->data[i + 1] != NJ_DIGEST_BYTES)
            continue;
        memcpy(digest, store->items[digest[0] % store->n_items].digest.bytes, NJ_DIGEST_BYTES);
        i += 1 + NJ_DIGEST_BYTES;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_workspace_ref empty;
    struct nj_workspace_ref ref;
    struct nj_digest previous;
    struct nj_stamps stamps;
    struct walk walk = {.source = memory_objects_source(&store)};
    struct nj_error err = {0};
    size_t at = 0;

    if (nj_tree_empty(&sink, &empty, &err) < 0)
        abort();
    ref = empty;
    previous = empty.tree;
    while (at < size) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        struct nj_object object;
        struct nj_digest digest;
        size_t len;

        if (nj_object_decode((struct nj_span){data + at, size - at}, false, &object, &len, &err) <
            0)
            break;
        nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
        if (nj_buf_append(&bytes, object.bytes.data, object.bytes.len, &err) < 0)
            abort();
        if (object.kind != NJ_OBJECT_BLOB)
            point_at_earlier(&bytes, &store);
        if (nj_object_put(&sink, object.kind, nj_buf_span(&bytes), &digest, &err) < 0)
            abort();
        if (object.kind == NJ_OBJECT_TREE) {
            previous = ref.tree;
            ref.tree = digest;
        } else if (object.kind == NJ_OBJECT_STAMPS) {
            ref.stamps = digest;
        }
        at += len;
    }
    walk.root = ref.tree;
    /* How these end is the input's business; that they end, and harmlessly, is what is tried. */
    (void)!nj_tree_walk(&walk.source, &ref.tree, check_entry, &walk, &err);
    (void)!nj_stamps_load(&walk.source, &ref.stamps, &arena, &stamps, &err);
    walk.visits = 0;
    (void)!nj_tree_reach(&walk.source, &ref, count_object, &walk, &err);
    walk.visits = 0;
    (void)!nj_tree_diff(&walk.source, &previous, &walk.source, &ref.tree, count_difference, &walk,
                        &err);
    walk.visits = 0;
    if (nj_tree_diff(&walk.source, &ref.tree, &walk.source, &ref.tree, count_difference, &walk,
                     &err) < 0 ||
        walk.visits != 0)
        abort();
    return 0;
}
