/*
 * fuzz_rate.c - header lines about limits, as a hostile server may write them
 *
 * The input is header lines, "name: value". Properties: nothing that is read is above its cap, and
 * the order of two answers' headers does not matter where each header comes once.
 */
#include <stdlib.h>

#include "batch/model/rate.h"

#include "formats/base/banned.h"

#define WALL_MS 1795310400000ll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct nj_rate_headers *headers)
{
    if (headers->has_wait && headers->wait_ms > NJ_RATE_WAIT_MAX_MS)
        abort();
    for (size_t i = 0; i < NJ_RATE_KINDS; i++) {
        const struct nj_rate_figure *figure = &headers->figures[i];

        if ((figure->has_limit && figure->limit > NJ_RATE_FIGURE_MAX) ||
            (figure->has_remaining && figure->remaining > NJ_RATE_FIGURE_MAX) ||
            (figure->has_reset && figure->reset_ms > NJ_RATE_WAIT_MAX_MS))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nj_rate_headers headers;
    const uint8_t *at = data;
    const uint8_t *end = data + size;
    int64_t ms;
    uint64_t wait_ms;

    nj_rate_headers_init(&headers);
    while (at < end) {
        const uint8_t *eol = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = eol ? eol : end;
        const uint8_t *colon = memchr(at, ':', (size_t)(stop - at));

        if (colon) {
            struct nj_span value = {colon + 1, (size_t)(stop - colon - 1)};

            nj_rate_header(&headers, (struct nj_span){at, (size_t)(colon - at)}, value, WALL_MS);
            check(&headers);
        }
        at = eol ? eol + 1 : end;
    }
    if (nj_rate_read_duration((struct nj_span){data, size}, &wait_ms) &&
        wait_ms > NJ_RATE_WAIT_MAX_MS)
        abort();
    (void)nj_rate_read_rfc3339((struct nj_span){data, size}, &ms);
    (void)nj_rate_read_http_date((struct nj_span){data, size}, &ms);
    return 0;
}
