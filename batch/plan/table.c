/*
 * table.c - open addressing over XXH3
 *
 * Keys come from file names and manifests, which somebody may have chosen to collide: a long chain
 * costs time, never a wrong answer, because every hit is compared byte by byte.
 */
#include "batch/plan/table.h"

#include <assert.h>
#include <xxhash.h>

#include "formats/base/banned.h"

#define CAP_FIRST 64

void nj_table_done(struct nj_table *table)
{
    if (!table)
        return;
    free(table->slots);
    nj_arena_done(&table->arena);
    *table = (struct nj_table){0};
}

/* slot_of - the slot that holds @key, or the free one where it belongs */
static struct nj_table_slot *slot_of(const struct nj_table *table, struct nj_span key,
                                     uint64_t hash)
{
    size_t mask = table->cap - 1;

    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        struct nj_table_slot *slot = &table->slots[at];

        if (!slot->key.data || (slot->hash == hash && nj_span_equal(slot->key, key)))
            return slot;
    }
}

static int grow(struct nj_table *table, struct nj_error *err)
{
    struct nj_table larger = {.cap = table->cap ? table->cap * 2 : CAP_FIRST};

    larger.slots = calloc(larger.cap, sizeof(*larger.slots));
    if (!larger.slots)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < table->cap; i++) {
        const struct nj_table_slot *slot = &table->slots[i];

        if (slot->key.data)
            *slot_of(&larger, slot->key, slot->hash) = *slot;
    }
    free(table->slots);
    table->slots = larger.slots;
    table->cap = larger.cap;
    return 0;
}

bool nj_table_find(const struct nj_table *table, struct nj_span key, size_t *ret_value)
{
    const struct nj_table_slot *slot;

    if (table->count == 0)
        return false;
    slot = slot_of(table, key, XXH3_64bits(key.data, key.len));
    if (!slot->key.data)
        return false;
    *ret_value = slot->value;
    return true;
}

int nj_table_add(struct nj_table *table, struct nj_span key, size_t value, size_t *ret_before,
                 struct nj_error *err)
{
    struct nj_table_slot *slot;
    uint64_t hash = XXH3_64bits(key.data, key.len);
    int r;

    assert(key.len > 0);
    if (table->count + 1 > table->cap / 4 * 3) {
        r = grow(table, err);
        if (r < 0)
            return r;
    }
    slot = slot_of(table, key, hash);
    if (slot->key.data) {
        *ret_before = slot->value;
        return 1;
    }
    slot->key.data = (const uint8_t *)nj_arena_span(&table->arena, key);
    if (!slot->key.data)
        return nj_fail_nomem(err);
    slot->key.len = key.len;
    slot->hash = hash;
    slot->value = value;
    table->count++;
    return 0;
}
