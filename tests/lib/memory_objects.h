/*
 * memory_objects.h - objects kept in memory: a source and a sink for tests
 *
 * Header only, because the programs that use it are each linked alone. The store remembers the
 * order of the puts, and can be told to fail the n-th one.
 */
#ifndef NJ_TESTS_MEMORY_OBJECTS_H
#define NJ_TESTS_MEMORY_OBJECTS_H

#include <stdlib.h>

#include "formats/object/object.h"

struct memory_object {
    enum nj_object_kind kind;
    struct nj_digest digest;
    uint8_t *data;
    size_t len;
};

struct memory_objects {
    struct memory_object *items; /* in the order of their first put */
    size_t n_items;
    size_t *slots; /* open addressing over items: index + 1, 0 is free */
    size_t n_slots;
    size_t puts;    /* calls, repeated digests too */
    size_t fail_at; /* 1: the next put fails; 0: none */
};

static inline void memory_objects_done(struct memory_objects *store)
{
    for (size_t i = 0; i < store->n_items; i++)
        free(store->items[i].data);
    free(store->items);
    free(store->slots);
    *store = (struct memory_objects){0};
}
NJ_DEFINE_AUTO_VAL(struct memory_objects, memory_objects_done);

static inline size_t *memory_objects_slot(const struct memory_objects *store,
                                          const struct nj_digest *digest)
{
    size_t slot;

    memcpy(&slot, digest->bytes, sizeof(slot));
    for (slot %= store->n_slots;; slot = (slot + 1) % store->n_slots) {
        size_t index = store->slots[slot];

        if (index == 0 || nj_digest_equal(&store->items[index - 1].digest, digest))
            return &store->slots[slot];
    }
}

static inline struct memory_object *memory_objects_find(const struct memory_objects *store,
                                                        const struct nj_digest *digest)
{
    size_t index = store->n_slots ? *memory_objects_slot(store, digest) : 0;

    return index ? &store->items[index - 1] : NULL;
}

static inline int memory_objects_put(void *ctx, const struct nj_object *object,
                                     struct nj_error *err)
{
    struct memory_objects *store = ctx;
    struct memory_object *item;

    store->puts++;
    if (store->fail_at > 0 && --store->fail_at == 0)
        return nj_fail(err, NJ_E_SYSTEM, "this put was told to fail");
    if (memory_objects_find(store, &object->digest))
        return 0;
    if (store->n_items * 2 >= store->n_slots) {
        store->n_slots = store->n_slots ? store->n_slots * 2 : 64;
        free(store->slots);
        store->slots = calloc(store->n_slots, sizeof(*store->slots));
        store->items = realloc(store->items, store->n_slots * sizeof(*store->items));
        if (!store->slots || !store->items)
            abort();
        for (size_t i = 0; i < store->n_items; i++)
            *memory_objects_slot(store, &store->items[i].digest) = i + 1;
    }
    item = &store->items[store->n_items];
    item->kind = object->kind;
    item->digest = object->digest;
    item->len = object->bytes.len;
    item->data = malloc(item->len ? item->len : 1);
    if (!item->data)
        abort();
    if (item->len)
        memcpy(item->data, object->bytes.data, item->len);
    *memory_objects_slot(store, &object->digest) = ++store->n_items;
    return 0;
}

static inline int memory_objects_get(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                                     struct nj_error *err)
{
    const struct memory_object *item = memory_objects_find(ctx, digest);

    if (!item)
        return nj_fail(err, NJ_E_CORRUPT, "no such object");
    return nj_buf_append(out, item->data, item->len, err);
}

static inline struct nj_object_sink memory_objects_sink(struct memory_objects *store)
{
    return (struct nj_object_sink){memory_objects_put, store};
}

static inline struct nj_object_source memory_objects_source(struct memory_objects *store)
{
    return (struct nj_object_source){.get = memory_objects_get, .ctx = store};
}

#endif
