/*
 * fuzz_sources.c - any bytes as inputs/sources.jsonl
 *
 * Property: what was read is written, the writing is read, and its writing is the same bytes.
 */
#include <stdlib.h>

#include "batch/plan/sources.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool held)
{
    if (!held)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_sources_free) struct nj_sources *sources = NULL;
    NJ_AUTO(nj_sources_free) struct nj_sources *again = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    struct nj_error err = {0};
    int r;

    r = nj_sources_recorded((struct nj_span){data, size}, &sources, &err);
    if (r < 0) {
        must(r == -NJ_E_CORRUPT || r == -NJ_E_LIMIT);
        must(!sources && err.text[0]);
        return 0;
    }
    nj_buf_init(&first, NJ_SOURCES_MAX_BYTES);
    nj_buf_init(&second, NJ_SOURCES_MAX_BYTES);
    must(nj_sources_write(sources, &first, &err) == 0);
    must(nj_sources_recorded(nj_buf_span(&first), &again, &err) == 0);
    must(nj_sources_write(again, &second, &err) == 0);
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
    return 0;
}
