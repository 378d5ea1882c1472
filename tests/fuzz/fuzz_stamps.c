/*
 * fuzz_stamps.c - the bytes of a STAMPS and of a PARTS object
 *
 * Property: what decodes encodes again, and that decodes to an equal encoding.
 */
#include <stdlib.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_stamps(struct nj_span bytes)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_error err = {0};
    struct nj_leaf_list leaves;
    struct nj_stamps stamps;
    struct nj_stamps again;

    if (nj_stamps_decode_stored(bytes, &arena, &stamps, &leaves, &err) < 0 || leaves.n > 0)
        return;
    nj_buf_init(&first, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    nj_buf_init(&second, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    if (nj_stamps_encode(&stamps, &first, &err) < 0 ||
        nj_stamps_decode(nj_buf_span(&first), &arena, &again, &err) < 0 ||
        nj_stamps_encode(&again, &second, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)))
        abort();
}

static void try_parts(struct nj_span bytes)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    const struct nj_digest *parts;
    const struct nj_digest *again;
    struct nj_error err = {0};
    size_t count;
    size_t count_again;

    if (nj_parts_decode(bytes, &arena, &parts, &count, &err) < 0)
        return;
    nj_buf_init(&first, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    if (nj_parts_encode(parts, count, &first, &err) < 0 ||
        nj_parts_decode(nj_buf_span(&first), &arena, &again, &count_again, &err) < 0 ||
        count_again != count || memcmp(parts, again, count * sizeof(*parts)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_stamps((struct nj_span){data, size});
    try_parts((struct nj_span){data, size});
    return 0;
}
