/*
 * fuzz_list.c - the nodes of a conversation list under a claimed count
 *
 * The input is a count (4 bytes, little-endian) and encoded objects, children before parents. Each
 * node's children are pointed at nodes that came before it (digests cannot be guessed by mutation),
 * and the last node is loaded as the root. Property: what loads visits exactly its count, and
 * appending to it works.
 */
#include <stdlib.h>

#include "formats/base/bytes.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_items(void *ctx, uint64_t index, const struct nj_digest *item,
                       struct nj_error *err)
{
    uint64_t *visited = ctx;

    (void)item;
    (void)err;
    if (index != *visited)
        abort();
    (*visited)++;
    return 0;
}

/* Overwrites each 32-byte bin in @bytes with the digest of an earlier object, chosen by its first
 * byte. */
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

static void load(struct memory_objects *store, const struct nj_digest *root, uint64_t count)
{
    struct nj_object_source source = memory_objects_source(store);
    struct nj_object_sink sink = memory_objects_sink(store);
    struct nj_error err = {0};
    struct nj_digest next;
    struct nj_list list;
    uint64_t visited = 0;

    if (nj_list_load(&list, &source, root, count, count_items, &visited, &err) < 0)
        return;
    if (visited != count || list.count != count)
        abort();
    if (count < NJ_LIST_ITEMS_MAX && nj_list_append(&list, root, &sink, &next, &err) < 0)
        abort();
    if (nj_list_load(&list, &source, &next, list.count, NULL, NULL, &err) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_error err = {0};
    struct nj_digest root;
    size_t at = 4;

    if (size < 4)
        return 0;
    while (at < size) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        struct nj_object object;
        size_t len;

        if (nj_object_decode((struct nj_span){data + at, size - at}, false, &object, &len, &err) <
            0)
            break;
        nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
        if (nj_buf_append(&bytes, object.bytes.data, object.bytes.len, &err) < 0)
            abort();
        point_at_earlier(&bytes, &store);
        if (nj_object_put(&sink, object.kind, nj_buf_span(&bytes), &root, &err) < 0)
            abort();
        at += len;
    }
    if (store.n_items > 0)
        load(&store, &root, nj_load_u32le(data) % 4096); /* a short list is enough, and quick */
    return 0;
}
