/*
 * fuzz_sandbox.c - messages of helper and supervisors: decode, encode, decode, compare
 */
#include <stdlib.h>

#include "batch/sandbox/protocol.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0}, second = {0};
    struct nj_error err = {0};
    struct nj_msg msg, again;

    nj_buf_init(&first, NJ_MSG_MAX_BYTES + 4096);
    nj_buf_init(&second, NJ_MSG_MAX_BYTES + 4096);
    if (nj_msg_decode((struct nj_span){data, size}, &arena, &msg, &err) < 0) {
        if (err.code == 0 || err.text[0] == '\0')
            abort(); /* a refusal always has a story */
        return 0;
    }
    /* What was decoded is shorter or equal when encoded: unknown keys are not kept. */
    if (nj_msg_encode(&msg, &first, &err) < 0 ||
        nj_msg_decode(nj_buf_span(&first), &arena, &again, &err) < 0 ||
        nj_msg_encode(&again, &second, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)))
        abort();
    return 0;
}
