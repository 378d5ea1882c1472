/*
 * fuzz_ran.c - the bytes of a list of files that ran
 *
 * Property: what decodes encodes to the same bytes.
 */
#include <stdlib.h>

#include "formats/object/ran.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf again = {0};
    struct nj_span bytes = {data, size};
    struct nj_error err = {0};
    struct nj_ran ran;

    if (nj_ran_decode(bytes, &arena, &ran, &err) < 0)
        return 0;
    nj_buf_init(&again, NJ_OBJECT_MAX_BYTES);
    /* A key that this build does not know is passed over, so less may come back. */
    if (nj_ran_encode(&ran, &again, &err) < 0 || again.len > size ||
        (again.len == size && !nj_span_equal(nj_buf_span(&again), bytes)))
        abort();
    return 0;
}
