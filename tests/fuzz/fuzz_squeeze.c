/*
 * fuzz_squeeze.c - a frame that is taken decodes to what squeezes and unsqueezes to itself
 */
#include <stdlib.h>

#include "formats/base/squeeze.h"

#include "formats/base/banned.h"

#define DECODED_MAX_BYTES ((size_t)256 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* there_and_back - @plain as a frame, and back again */
static void there_and_back(struct nj_span plain)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0}, again = {0};
    struct nj_error err = {0};

    nj_buf_init(&frame, 2 * DECODED_MAX_BYTES);
    nj_buf_init(&again, plain.len);
    must(nj_squeeze(&frame, plain, NJ_SQUEEZE_LEVEL, &err) == 0);
    must(nj_unsqueeze(&again, nj_buf_span(&frame), plain.len, &err) == 0);
    must(nj_span_equal(nj_buf_span(&again), plain));
    if (plain.len > 0)
        must(nj_unsqueeze(&again, nj_buf_span(&frame), plain.len - 1, &err) == -NJ_E_LIMIT);
}

/* onto_its_head - the same with the first half as a base */
static void onto_its_head(struct nj_span plain)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0}, again = {0};
    struct nj_span base = {plain.data, plain.len / 2};
    struct nj_error err = {0};

    nj_buf_init(&frame, 2 * DECODED_MAX_BYTES);
    nj_buf_init(&again, DECODED_MAX_BYTES);
    must(nj_squeeze_onto(&frame, plain, base, NJ_SQUEEZE_LEVEL, &err) == 0);
    must(nj_unsqueeze_onto(&again, nj_buf_span(&frame), base, plain.len, &err) == 0);
    must(nj_span_equal(nj_buf_span(&again), plain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf plain = {0};
    struct nj_error err = {0};
    int r;

    if (size > DECODED_MAX_BYTES)
        return 0;
    there_and_back((struct nj_span){data, size});
    onto_its_head((struct nj_span){data, size});
    nj_buf_init(&plain, DECODED_MAX_BYTES);
    r = nj_unsqueeze(&plain, (struct nj_span){data, size}, DECODED_MAX_BYTES, &err);
    if (r == 0)
        there_and_back(nj_buf_span(&plain));
    else
        must(plain.len == 0 && (r == -NJ_E_CORRUPT || r == -NJ_E_LIMIT));
    return 0;
}
