/*
 * fuzz_sse.c - an event stream may be hostile; the first byte says where the rest is cut
 *
 * Property: cut in two, and fed byte by byte, the same events come out as in one piece.
 */
#include <assert.h>

#include "batch/http/header.h"
#include "batch/http/sse.h"

#include "formats/base/banned.h"

#define MAX_BYTES 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_all(struct nj_span bytes, size_t first, size_t step, struct nj_buf *out)
{
    NJ_AUTO(nj_sse_done) struct nj_sse sse = {0};
    struct nj_error err = {0};
    size_t at = 0;

    nj_sse_init(&sse, MAX_BYTES);
    while (at < bytes.len) {
        size_t n = at == 0 && first ? first : step;
        struct nj_span piece = {bytes.data + at, n < bytes.len - at ? n : bytes.len - at};
        struct nj_sse_event event;
        int r;

        at += piece.len;
        while ((r = nj_sse_next(&sse, &piece, &event, &err)) == NJ_SSE_EVENT) {
            assert(event.data.len <= MAX_BYTES && event.name.len <= NJ_SSE_NAME_MAX_BYTES);
            if (nj_buf_append(out, event.name.data, event.name.len, &err) < 0 ||
                nj_buf_append(out, "|", 1, &err) < 0 ||
                nj_buf_append(out, event.data.data, event.data.len, &err) < 0 ||
                nj_buf_append(out, ";", 1, &err) < 0)
                __builtin_trap();
        }
        if (r < 0)
            return r;
    }
    return nj_sse_is_clean(&sse);
}

/* Headers come over the same wire. */
static void read_headers(struct nj_span block)
{
    struct nj_http_header headers[16];
    size_t n = nj_http_headers_read(block, headers, 16);

    for (size_t i = 0; i < n; i++)
        assert(headers[i].name.len > 0 && headers[i].name.data >= block.data &&
               headers[i].value.data + headers[i].value.len <= block.data + block.len);
    (void)nj_http_header_find(headers, n, "retry-after");
    assert(nj_http_status_read(block) <= 999);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf whole = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf cut = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytewise = {0};
    struct nj_span bytes;
    int r;

    if (size < 2 || size > 65536)
        return 0;
    bytes = (struct nj_span){data + 1, size - 1};
    nj_buf_init(&whole, 4 * size + 16);
    nj_buf_init(&cut, 4 * size + 16);
    nj_buf_init(&bytewise, 4 * size + 16);
    r = read_all(bytes, 0, bytes.len, &whole);
    if (read_all(bytes, 1 + data[0] % bytes.len, bytes.len, &cut) != r ||
        read_all(bytes, 0, 1, &bytewise) != r)
        __builtin_trap();
    assert(nj_span_equal(nj_buf_span(&whole), nj_buf_span(&cut)));
    assert(nj_span_equal(nj_buf_span(&whole), nj_buf_span(&bytewise)));
    read_headers(bytes);
    return 0;
}
