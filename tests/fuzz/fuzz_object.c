/*
 * fuzz_object.c - a stream of encoded objects, as a journal frame or a supervisor's message holds
 * it
 *
 * Property: what decodes encodes again, not longer than it was, and decodes to the same; and what
 * was put can be got, under its own digest only.
 */
#include <stdlib.h>

#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_and_get(const struct nj_object *object)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_digest digest;
    struct nj_error err = {0};

    nj_buf_init(&buf, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    if (nj_object_put(&sink, object->kind, object->bytes, &digest, &err) < 0 ||
        !nj_digest_equal(&digest, &object->digest) ||
        nj_object_get(&source, object->kind, &digest, &buf, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&buf), object->bytes))
        abort();
    digest.bytes[0] ^= 1;
    if (nj_object_get(&source, object->kind, &digest, &buf, &err) != -NJ_E_CORRUPT)
        abort();
    digest.bytes[0] ^= 1;
    if (object->bytes.len > 0) { /* the store goes bad */
        store.items[0].data[0] ^= 1;
        if (nj_object_get(&source, object->kind, &digest, &buf, &err) != -NJ_E_CORRUPT)
            abort();
    }
    if (!nj_span_equal(nj_buf_span(&buf), object->bytes))
        abort();
}

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
        put_and_get(&object);
        if (nj_object_kind_text(object.kind)[0] == '?')
            abort();
        at += len;
    }
    return 0;
}
