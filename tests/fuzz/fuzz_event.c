/*
 * fuzz_event.c - the payload of an event
 *
 * Property: what decodes can be encoded, and that decodes and encodes to the same bytes. The body
 * that the content digest chains is the one that was decoded.
 */
#include <stdlib.h>

#include "formats/journal/journal.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0}, second = {0};
    struct nj_record_digests digests = {0};
    struct nj_frame frame = {
        .kind = NJ_FRAME_EVENT, .session = 1, .sequence = 1, .payload = {data, size}};
    struct nj_event event;
    struct nj_error err = {0};
    bool decodes = nj_event_decode(frame.payload, &event, &err) == 0;

    if ((nj_record_digests_add(&digests, &frame, &err) == 0) != decodes)
        abort();
    if (!decodes)
        return 0;
    if (nj_event_body(frame.payload).len == 0)
        abort();
    (void)nj_event_kind_text(event.kind);
    nj_buf_init(&first, 2 * size + 64);
    nj_buf_init(&second, 2 * size + 64);
    if (nj_event_encode(&event, &first, &err) < 0 ||
        nj_event_decode(nj_buf_span(&first), &event, &err) < 0 ||
        nj_event_encode(&event, &second, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)))
        abort();
    return 0;
}
