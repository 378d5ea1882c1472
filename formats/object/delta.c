/*
 * delta.c - objects stored as what differs from an earlier one
 *
 * A step changes one entry of a directory, one item of a list, a few lines of a file: a zstd frame
 * against the version before holds little more than that. The complication is reading: a delta's
 * base may be a delta, so the chain is walked down to a whole object before anything is put
 * together, and whoever wrote it may have made it endless.
 */
#include <string.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

/* A delta must be at most this part of the bytes: what is whole is compressed, too. */
#define PAYS 3
/* Below this many bytes the keys of a delta are more than what it saves. */
#define WORTH_BYTES 128

int nj_object_delta(const struct nj_object *object, const struct nj_digest *digest,
                    struct nj_span base, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf delta = {0};
    struct nj_packer packer;
    int r;

    if (object->bytes.len < WORTH_BYTES || object->bytes.len > NJ_OBJECT_DELTA_MAX_BYTES ||
        base.len == 0 || base.len > NJ_OBJECT_DELTA_MAX_BYTES)
        return 0;
    nj_buf_init(&delta, 2 * NJ_OBJECT_DELTA_MAX_BYTES);
    r = nj_squeeze_onto(&delta, object->bytes, base, NJ_SQUEEZE_LEVEL, err);
    if (r < 0)
        return r;
    if (delta.len > object->bytes.len / PAYS)
        return 0;
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 4);
    nj_pack_put_digest(&packer, "F", digest);
    nj_pack_put_bin(&packer, "b", nj_buf_span(&delta));
    nj_pack_put_digest(&packer, "d", &object->digest);
    nj_pack_put_uint(&packer, "k", object->kind);
    r = nj_packer_end(&packer, err);
    return r < 0 ? r : 1;
}

/* One object of a chain. */
struct link {
    struct nj_buf encoded;
    struct nj_object_stored stored;
};

static void links_done(struct link *links)
{
    for (unsigned i = 0; i <= NJ_OBJECT_CHAIN_MAX; i++)
        nj_buf_done(&links[i].encoded);
}

/* read_chain - down to an object that is whole, which is links[*ret_chain] */
static int read_chain(const struct nj_object_shelf *shelf, const struct nj_digest *digest,
                      struct link *links, unsigned *ret_chain, struct nj_error *err)
{
    const struct nj_digest *next = digest;

    for (unsigned i = 0; i <= NJ_OBJECT_CHAIN_MAX; i++) {
        size_t len;
        int r;

        nj_buf_init(&links[i].encoded, NJ_OBJECT_MAX_BYTES + 4096);
        r = shelf->read(shelf->ctx, next, &links[i].encoded, err);
        if (r >= 0)
            r = nj_object_decode_stored(nj_buf_span(&links[i].encoded), &links[i].stored, &len,
                                        err);
        if (r >= 0 && !nj_digest_equal(&links[i].stored.digest, next))
            r = nj_fail(err, NJ_E_CORRUPT, "another object is in its place");
        if (r < 0)
            return i > 0 ? nj_wrap(err, "what it is a change of") : r;
        if (!links[i].stored.is_delta) {
            *ret_chain = i;
            return 0;
        }
        next = &links[i].stored.base;
    }
    return nj_fail(err, NJ_E_CORRUPT, "more than %d changes behind one another",
                   NJ_OBJECT_CHAIN_MAX);
}

/* put_together - from the whole object up; only the last goes to @out */
static int put_together(struct link *links, unsigned chain, struct nj_buf *out,
                        struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf one = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf two = {0};
    struct nj_span base = links[chain].stored.bytes;

    nj_buf_init(&one, NJ_OBJECT_DELTA_MAX_BYTES);
    nj_buf_init(&two, NJ_OBJECT_DELTA_MAX_BYTES);
    for (unsigned i = chain; i-- > 0;) {
        struct nj_buf *whole = i == 0 ? out : i % 2 ? &one : &two;
        int r;

        if (base.len > NJ_OBJECT_DELTA_MAX_BYTES)
            return nj_fail(err, NJ_E_CORRUPT, "a change of an object of %zu bytes", base.len);
        if (i > 0)
            nj_buf_clear(whole);
        r = nj_unsqueeze_onto(whole, links[i].stored.bytes, base, NJ_OBJECT_DELTA_MAX_BYTES, err);
        if (r < 0)
            return r;
        base = nj_buf_span(whole);
    }
    return 0;
}

int nj_object_load(const struct nj_object_shelf *shelf, const struct nj_digest *digest,
                   struct nj_buf *out, struct nj_object *ret_object, unsigned *ret_chain,
                   struct nj_error *err)
{
    struct link links[NJ_OBJECT_CHAIN_MAX + 1] = {0};
    struct nj_object object = {.digest = *digest};
    size_t start = out->len;
    unsigned chain = 0;
    int r;

    r = read_chain(shelf, digest, links, &chain, err);
    if (r >= 0 && chain == 0)
        r = nj_buf_append(out, links[0].stored.bytes.data, links[0].stored.bytes.len, err);
    else if (r >= 0)
        r = put_together(links, chain, out, err);
    if (r >= 0) {
        object.kind = links[0].stored.kind;
        object.bytes = (struct nj_span){out->data + start, out->len - start};
        r = shelf->is_plain ? 0 : nj_object_check(&object, err);
    }
    links_done(links);
    if (r < 0) {
        nj_object_rewind(out, start);
        return r;
    }
    *ret_object = object;
    if (ret_chain)
        *ret_chain = chain;
    return 0;
}

int nj_object_shelf_get(const struct nj_object_shelf *shelf, const struct nj_digest *digest,
                        struct nj_buf *out, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_object object;

    if (nj_object_load(shelf, digest, out, &object, NULL, err) >= 0)
        return 0;
    nj_digest_hex(digest, hex);
    return nj_wrap(err, "object %s", hex);
}
