/*
 * fuzz_object.c - a stream of encoded objects, as a journal frame or a supervisor's message holds it
 *
 * Property: what decodes and has only known keys encodes to the very bytes it was read from.
 */
#include <stdlib.h>

#include "formats/object/object.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    size_t at = 0;

    nj_buf_init(&buf, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    while (at < size) {
        struct nj_span rest = {data + at, size - at};
        struct nj_object object;
        struct nj_object again;
        size_t len;
        size_t len_again;

        if (nj_object_decode(rest, false, &object, &len, &err) < 0)
            break;
        /* The digest is repaired, so that a mutated object is decoded with verification too. */
        nj_digest_bytes(object.bytes.data, object.bytes.len, &object.digest);
        nj_buf_clear(&buf);
        if (nj_object_encode(&object, &buf, &err) < 0 || buf.len > len)
            abort();
        if (nj_object_decode(nj_buf_span(&buf), true, &again, &len_again, &err) < 0)
            abort();
        if (len_again != buf.len || again.kind != object.kind ||
            !nj_span_equal(again.bytes, object.bytes))
            abort();
        at += len;
    }
    return 0;
}
