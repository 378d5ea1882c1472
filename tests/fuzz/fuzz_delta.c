/*
 * fuzz_delta.c - encoded objects as a journal holds them, some as deltas against others
 *
 * Property: what is loaded has the bytes of its digest, by a chain that is not too long; whatever
 * refuses takes back what it had appended.
 */
#include <stdlib.h>

#include "formats/object/object.h"

#include "formats/base/banned.h"

#define OBJECTS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stored {
    struct nj_digest digest;
    struct nj_span encoded;
};

struct shelf {
    struct stored items[OBJECTS_MAX];
    size_t n;
};

static int read_shelf(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    const struct shelf *shelf = ctx;

    for (size_t i = 0; i < shelf->n; i++)
        if (nj_digest_equal(&shelf->items[i].digest, digest))
            return nj_buf_append(out, shelf->items[i].encoded.data, shelf->items[i].encoded.len,
                                 err);
    return nj_fail(err, NJ_E_CORRUPT, "it is not there");
}

static void load(struct shelf *shelf, const struct nj_digest *digest)
{
    const struct nj_object_shelf from = {.read = read_shelf, .ctx = shelf};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object object;
    struct nj_digest found;
    struct nj_error err = {0};
    unsigned chain;

    nj_buf_init(&out, NJ_OBJECT_MAX_BYTES);
    if (nj_object_load(&from, digest, &out, &object, &chain, &err) < 0) {
        if (out.len != 0)
            abort();
        return;
    }
    nj_digest_bytes(object.bytes.data, object.bytes.len, &found);
    if (!nj_digest_equal(&found, digest) || chain > NJ_OBJECT_CHAIN_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shelf shelf = {0};
    size_t at = 0;

    while (at < size && shelf.n < OBJECTS_MAX) {
        struct nj_object_stored stored;
        struct nj_error err = {0};
        size_t len;

        if (nj_object_decode_stored((struct nj_span){data + at, size - at}, &stored, &len, &err) <
            0)
            break;
        shelf.items[shelf.n++] = (struct stored){stored.digest, {data + at, len}};
        at += len;
    }
    for (size_t i = 0; i < shelf.n; i++)
        load(&shelf, &shelf.items[i].digest);
    return 0;
}
