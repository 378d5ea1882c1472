/*
 * fuzz_facts.c - the payload of an ARCHIVED frame and the facts in it
 *
 * Property: facts that decode can be encoded, and those bytes decode and encode to themselves.
 */
#include <stdlib.h>

#include "formats/journal/facts.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct nj_span packed)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0}, second = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts facts, again;
    struct nj_error err = {0};

    if (nj_facts_decode(packed, &arena, &facts, &err) < 0)
        return;
    nj_buf_init(&first, 2 * packed.len + 4096);
    nj_buf_init(&second, 2 * packed.len + 4096);
    if (nj_facts_encode(&facts, &first, &err) < 0 ||
        nj_facts_decode(nj_buf_span(&first), &arena, &again, &err) < 0 ||
        nj_facts_encode(&again, &second, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nj_span input = {data, size};
    struct nj_archived archived;
    struct nj_error err = {0};

    check(input);
    if (nj_archived_decode(input, &archived, &err) == 0)
        check(archived.facts);
    return 0;
}
