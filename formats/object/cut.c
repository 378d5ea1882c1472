/*
 * cut.c - where a long file is cut
 *
 * A rolling "gear" hash over the last 64 bytes decides, with normalised lengths as FastCDC has
 * them: before the normal length a cut needs two more zero bits than the length calls for, behind
 * it two less, so most parts are near it. The complication is the longest files: a PARTS object
 * names at most NJ_PARTS_MAX parts, so parts grow with the file, and beyond 4 GiB cuts are where
 * they can be few enough: at fixed lengths.
 */
#include <assert.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

#define NORMAL_MIN_BYTES ((size_t)16 << 10)
#define NORMAL_PARTS 16384u /* about so many parts before they grow: a quarter of NJ_PARTS_MAX */
#define NORMAL_MAX_BYTES ((size_t)256 << 10)
#define HASH_BITS 64u

/* gear - the table's number @i: SplitMix64 from 0, so that FORMAT.md can say it in one line */
static uint64_t gear(unsigned i)
{
    uint64_t z = (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static const uint64_t *gears(void)
{
    static _Thread_local uint64_t table[256];

    if (table[0] == 0)
        for (unsigned i = 256; i-- > 0;)
            table[i] = gear(i);
    return table;
}

void nj_cut_init(struct nj_cut *cut, uint64_t file_bytes)
{
    size_t normal = NORMAL_MIN_BYTES;
    unsigned bits = 14;

    /* To the byte: else the parts of a quarter of the normal length could be one too many. */
    while (normal <= NORMAL_MAX_BYTES && file_bytes > (uint64_t)normal * NORMAL_PARTS) {
        normal *= 2;
        bits++;
    }
    if (normal > NORMAL_MAX_BYTES) {
        *cut = (struct nj_cut){.min_bytes = NJ_OBJECT_PART_BYTES,
                               .normal_bytes = NJ_OBJECT_PART_BYTES,
                               .max_bytes = NJ_OBJECT_PART_BYTES};
        return;
    }
    *cut = (struct nj_cut){.min_bytes = normal / 4,
                           .normal_bytes = normal,
                           .max_bytes = normal * 4,
                           .strict = bits + 2,
                           .loose = bits - 2};
}

size_t nj_cut_parts_max(const struct nj_cut *cut, uint64_t file_bytes)
{
    return file_bytes == 0 ? 1 : (size_t)((file_bytes - 1) / cut->min_bytes + 1);
}

size_t nj_cut_next(const struct nj_cut *cut, struct nj_span rest)
{
    size_t end = rest.len < cut->max_bytes ? rest.len : cut->max_bytes;
    size_t normal = end < cut->normal_bytes ? end : cut->normal_bytes;
    const uint64_t *table = gears();
    uint64_t hash = 0;
    size_t at;

    assert(rest.len > 0);
    if (end <= cut->min_bytes)
        return end;
    /* The hash forgets what lies more than 64 bytes back, so nothing before that is looked at. */
    for (at = cut->min_bytes - HASH_BITS; at < cut->min_bytes; at++)
        hash = (hash << 1) + table[rest.data[at]];
    for (; at < normal; at++) {
        if (hash >> (HASH_BITS - cut->strict) == 0)
            return at;
        hash = (hash << 1) + table[rest.data[at]];
    }
    for (; at < end; at++) {
        if (hash >> (HASH_BITS - cut->loose) == 0)
            return at;
        hash = (hash << 1) + table[rest.data[at]];
    }
    return end;
}
