/*
 * fuzz_config.c - a session's config may be hostile: refused, or read, written and read the same
 */
#include <assert.h>

#include "batch/session/config.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct nj_session_config *config, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, 2 * NJ_CONFIG_MAX_BYTES);
    if (nj_config_encode(config, out, &err) < 0)
        __builtin_trap(); /* all that was read can be written */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf once = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf twice = {0};
    struct nj_session_config *config = NULL;
    struct nj_session_config *again = NULL;
    struct nj_error err = {0};

    if (nj_config_decode((struct nj_span){data, size}, &arena, &config, &err) < 0) {
        assert(!config && err.code != 0);
        return 0;
    }
    encode(config, &once);
    if (nj_config_decode(nj_buf_span(&once), &arena, &again, &err) < 0)
        __builtin_trap();
    encode(again, &twice);
    assert(nj_span_equal(nj_buf_span(&once), nj_buf_span(&twice)));
    return 0;
}
