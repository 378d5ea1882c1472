/*
 * fuzz_snapshot.c - a snapshot, as a zstd frame and as a packed map
 *
 * Mutation seldom leaves a zstd frame whole, so an input that is none is taken as the map inside
 * one. Property: what unpacks packs again, to the same bytes, and encodes and decodes to the same.
 */
#include <stdlib.h>

#include "formats/snapshot/snapshot.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repack(const struct nj_snapshot *snapshot, const struct nj_span *packed)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf again = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf third = {0};
    struct nj_snapshot found;
    struct nj_error err = {0};

    nj_buf_init(&again, 2 * (size_t)NJ_SNAPSHOT_MAX_BYTES);
    nj_buf_init(&frame, 2 * (size_t)NJ_SNAPSHOT_MAX_BYTES);
    nj_buf_init(&third, 2 * (size_t)NJ_SNAPSHOT_MAX_BYTES);
    if (nj_snapshot_pack(snapshot, &again, &err) < 0)
        abort();
    if (packed && !nj_span_equal(nj_buf_span(&again), *packed))
        abort();
    if (nj_snapshot_encode(snapshot, &frame, &err) < 0 ||
        nj_snapshot_decode(nj_buf_span(&frame), &arena, &found, &err) < 0 ||
        nj_snapshot_pack(&found, &third, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&again), nj_buf_span(&third)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_span input = {data, size};
    struct nj_snapshot snapshot;
    struct nj_error err = {0};

    if (nj_snapshot_decode(input, &arena, &snapshot, &err) == 0)
        repack(&snapshot, NULL);
    if (nj_snapshot_unpack(input, &arena, &snapshot, &err) == 0)
        repack(&snapshot, &input);
    return 0;
}
