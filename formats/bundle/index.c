/*
 * index.c - open addressing over seeded hashes of digests
 *
 * Whoever makes a bundle picks its objects, and could pick many whose digests share their first
 * bits; the seed is drawn when the table is first used, so he cannot pick their hashes.
 */
#include "formats/bundle/index.h"

#include <errno.h>
#include <sys/random.h>

#include <xxhash.h>

#include "formats/base/bytes.h"

#include "formats/base/banned.h"

#define FIRST_CAP 64u

void nj_index_done(struct nj_index *index)
{
    if (!index)
        return;
    free(index->places);
    *index = (struct nj_index){0};
}

/* slot_of - where @digest is, or the free place where it belongs; the table is never full */
static size_t slot_of(const struct nj_index *index, const struct nj_digest *digest)
{
    size_t mask = index->cap - 1;
    size_t slot = (size_t)XXH3_64bits_withSeed(digest->bytes, NJ_DIGEST_BYTES, index->seed) & mask;

    while (index->places[slot].used && !nj_digest_equal(&index->places[slot].digest, digest))
        slot = (slot + 1) & mask;
    return slot;
}

const struct nj_index_place *nj_index_find(const struct nj_index *index,
                                           const struct nj_digest *digest)
{
    size_t slot;

    if (index->count == 0)
        return NULL;
    slot = slot_of(index, digest);
    return index->places[slot].used ? &index->places[slot] : NULL;
}

static int grow(struct nj_index *index, struct nj_error *err)
{
    struct nj_index larger = {.cap = index->cap ? index->cap * 2 : FIRST_CAP, .seed = index->seed};

    if (index->cap == 0 &&
        getrandom(&larger.seed, sizeof(larger.seed), 0) != (ssize_t)sizeof(larger.seed))
        return nj_fail_errno(err, errno, "getrandom");
    if (larger.cap > SIZE_MAX / 4)
        return nj_fail_nomem(err);
    larger.places = calloc(larger.cap, sizeof(*larger.places));
    if (!larger.places)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < index->cap; i++) {
        if (index->places[i].used)
            larger.places[slot_of(&larger, &index->places[i].digest)] = index->places[i];
    }
    larger.count = index->count;
    free(index->places);
    *index = larger;
    return 0;
}

int nj_index_add(struct nj_index *index, const struct nj_digest *digest, uint64_t offset,
                 uint32_t len, uint8_t kind, struct nj_error *err)
{
    size_t slot;
    int r;

    if (index->count + index->count / 2 >= index->cap) {
        r = grow(index, err);
        if (r < 0)
            return r;
    }
    slot = slot_of(index, digest);
    if (index->places[slot].used)
        return 1;
    index->places[slot] = (struct nj_index_place){
        .digest = *digest, .offset = offset, .len = len, .kind = kind, .used = true};
    index->count++;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct nj_index_place *left = a, *right = b;

    return (left->offset > right->offset) - (left->offset < right->offset);
}

struct nj_index_place *nj_index_sorted(const struct nj_index *index)
{
    struct nj_index_place *sorted = malloc((index->count + 1) * sizeof(*sorted));
    size_t n = 0;

    if (!sorted)
        return NULL;
    for (size_t i = 0; i < index->cap; i++)
        if (index->places[i].used)
            sorted[n++] = index->places[i];
    qsort(sorted, n, sizeof(*sorted), by_offset);
    return sorted;
}
