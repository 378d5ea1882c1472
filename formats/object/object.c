/*
 * object.c - bytes under their digest: putting, getting, and the one encoding in which they travel
 *
 * The complication: bytes that a source hands out are checked here, once, for every reader, because
 * a bundle's objects claim whatever digest they like.
 */
#include <assert.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

const char *nj_object_kind_text(enum nj_object_kind kind)
{
    switch (kind) {
#define X(name, value, text)                                                                       \
    case NJ_OBJECT_##name:                                                                         \
        return text;
        NJ_OBJECT_KINDS(X)
#undef X
    }
    return "?";
}

int nj_object_put_later(const struct nj_object_sink *sink, enum nj_object_kind kind,
                        struct nj_span bytes, const struct nj_digest *earlier,
                        struct nj_digest *ret_digest, struct nj_error *err)
{
    struct nj_object object = {.kind = kind, .bytes = bytes, .has_earlier = earlier};
    int r;

    if (earlier)
        object.earlier = *earlier;

    if (bytes.len > NJ_OBJECT_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "%s of %zu bytes: an object holds at most %u",
                       nj_object_kind_text(kind), bytes.len, NJ_OBJECT_MAX_BYTES);
    nj_digest_bytes(bytes.data, bytes.len, &object.digest);
    r = sink->put(sink->ctx, &object, err);
    if (r < 0)
        return r;
    *ret_digest = object.digest;
    return 0;
}

int nj_object_put(const struct nj_object_sink *sink, enum nj_object_kind kind, struct nj_span bytes,
                  struct nj_digest *ret_digest, struct nj_error *err)
{
    return nj_object_put_later(sink, kind, bytes, NULL, ret_digest, err);
}

void nj_object_rewind(struct nj_buf *buf, size_t len)
{
    buf->len = len;
    if (buf->data)
        buf->data[len] = 0;
}

/* check - what a source gave for @digest */
static int check(const struct nj_object_source *source, enum nj_object_kind kind,
                 const struct nj_digest *digest, struct nj_span bytes, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_digest found;

    if (bytes.len > NJ_OBJECT_MAX_BYTES) {
        nj_digest_hex(digest, hex);
        return nj_fail(err, NJ_E_CORRUPT, "%s %.16s: %zu bytes, an object holds at most %u",
                       nj_object_kind_text(kind), hex, bytes.len, NJ_OBJECT_MAX_BYTES);
    }
    if (source->is_checked)
        return 0;
    nj_digest_bytes(bytes.data, bytes.len, &found);
    if (nj_digest_equal(&found, digest))
        return 0;
    nj_digest_hex(digest, hex);
    return nj_fail(err, NJ_E_CORRUPT, "%s %.16s: its %zu bytes have another digest",
                   nj_object_kind_text(kind), hex, bytes.len);
}

static int missing(enum nj_object_kind kind, const struct nj_digest *digest, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    return nj_wrap(err, "%s %.16s", nj_object_kind_text(kind), hex);
}

int nj_object_get(const struct nj_object_source *source, enum nj_object_kind kind,
                  const struct nj_digest *digest, struct nj_buf *out, struct nj_error *err)
{
    size_t start = out->len;
    int r;

    r = source->get(source->ctx, digest, out, err);
    if (r < 0) {
        nj_object_rewind(out, start);
        return missing(kind, digest, err);
    }
    r = check(source, kind, digest,
              (struct nj_span){out->data ? out->data + start : NULL, out->len - start}, err);
    if (r < 0)
        nj_object_rewind(out, start);
    return r;
}

int nj_object_view(const struct nj_object_source *source, enum nj_object_kind kind,
                   const struct nj_digest *digest, struct nj_buf *scratch,
                   struct nj_span *ret_bytes, struct nj_error *err)
{
    struct nj_span bytes = {NULL, 0};
    int r;

    nj_buf_clear(scratch);
    if (!source->view) {
        r = nj_object_get(source, kind, digest, scratch, err);
        if (r == 0)
            *ret_bytes = nj_buf_span(scratch);
        return r;
    }
    r = source->view(source->ctx, digest, &bytes, err);
    if (r < 0)
        return missing(kind, digest, err);
    r = check(source, kind, digest, bytes, err);
    if (r == 0)
        *ret_bytes = bytes;
    return r;
}

int nj_object_encode(const struct nj_object *object, struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer packer;

    if (object->bytes.len > NJ_OBJECT_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "object of %zu bytes: at most %u", object->bytes.len,
                       NJ_OBJECT_MAX_BYTES);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 3 + object->has_earlier);
    nj_pack_put_bin(&packer, "b", object->bytes);
    nj_pack_put_digest(&packer, "d", &object->digest);
    if (object->has_earlier)
        nj_pack_put_digest(&packer, "f", &object->earlier);
    nj_pack_put_uint(&packer, "k", object->kind);
    return nj_packer_end(&packer, err);
}

#define HAS_EARLIER (1u << 3) /* the fourth of the keys known */

static int decode(struct nj_span bytes, const char *known, const char *digest_key,
                  struct nj_object *ret_object, size_t *ret_len, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_object object = {0};
    struct nj_pack_at root;
    unsigned present;
    uint64_t kind;
    size_t len;
    int r;

    r = nj_pack_walk_one(bytes, &len, err);
    if (r < 0)
        return nj_wrap(err, "object");
    r = nj_pack_open(&doc, "object", (struct nj_span){bytes.data, len}, err);
    if (r < 0)
        return r;
    r = nj_pack_root(&doc, &root, err);
    if (r < 0)
        return r;
    r = nj_object_keys(&root, known, &present, err);
    if (r < 0)
        return r;
    r = nj_pack_get_bin(&root, "b", &object.bytes, err);
    if (r < 0)
        return r;
    r = nj_pack_get_digest(&root, "d", &object.digest, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(&root, "k", UINT32_MAX, &kind, err);
    if (r < 0)
        return r;
    object.has_earlier = present & HAS_EARLIER;
    if (object.has_earlier) {
        r = nj_pack_get_digest(&root, digest_key, &object.earlier, err);
        if (r < 0)
            return r;
    }
    if (object.bytes.len > NJ_OBJECT_MAX_BYTES)
        return nj_pack_fail(&root, err, "%zu bytes, an object holds at most %u", object.bytes.len,
                            NJ_OBJECT_MAX_BYTES);
    if (kind == 0)
        return nj_pack_fail(&root, err, "kind 0 is none");
    if (kind > NJ_OBJECT_CONFIG)
        return nj_fail(err, NJ_E_VERSION, "object: kind %lu, this build knows up to %d",
                       (unsigned long)kind, NJ_OBJECT_CONFIG);
    object.kind = (enum nj_object_kind)kind;
    *ret_object = object;
    *ret_len = len;
    return 0;
}

int nj_object_check(const struct nj_object *object, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_digest found;

    nj_digest_bytes(object->bytes.data, object->bytes.len, &found);
    if (nj_digest_equal(&found, &object->digest))
        return 0;
    nj_digest_hex(&object->digest, hex);
    return nj_fail(err, NJ_E_CORRUPT, "%s %.16s: its %zu bytes have another digest",
                   nj_object_kind_text(object->kind), hex, object->bytes.len);
}

int nj_object_decode(struct nj_span bytes, bool verify, struct nj_object *ret_object,
                     size_t *ret_len, struct nj_error *err)
{
    struct nj_object object;
    size_t len;
    int r;

    r = decode(bytes, "bdkf", "f", &object, &len, err);
    if (r >= 0 && verify)
        r = nj_object_check(&object, err);
    if (r < 0)
        return r;
    *ret_object = object;
    *ret_len = len;
    return 0;
}

int nj_object_decode_stored(struct nj_span bytes, struct nj_object_stored *ret_stored,
                            size_t *ret_len, struct nj_error *err)
{
    struct nj_object object;
    int r = decode(bytes, "bdkF", "F", &object, ret_len, err);

    if (r >= 0)
        *ret_stored = (struct nj_object_stored){.kind = object.kind,
                                                .digest = object.digest,
                                                .is_delta = object.has_earlier,
                                                .base = object.earlier,
                                                .bytes = object.bytes};
    return r;
}

int nj_object_open(struct nj_pack_doc *doc, const char *name, struct nj_span bytes,
                   struct nj_pack_at *ret_map, struct nj_error *err)
{
    int r;

    if (bytes.len > NJ_OBJECT_MAX_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "%s: %zu bytes, an object holds at most %u", name,
                       bytes.len, NJ_OBJECT_MAX_BYTES);
    r = nj_pack_open(doc, name, bytes, err);
    if (r < 0)
        return r;
    return nj_pack_root(doc, ret_map, err);
}

int nj_object_keys(const struct nj_pack_at *map, const char *known, unsigned *ret_present,
                   struct nj_error *err)
{
    const msgpack_object_map *pairs = &map->object->via.map;
    unsigned present = 0;

    assert(map->object->type == MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < pairs->size; i++) {
        const msgpack_object_str *key = &pairs->ptr[i].key.via.str; /* one: the walk saw it */
        const char *at = key->size == 1 ? strchr(known, key->ptr[0]) : NULL;

        if (at && *at) {
            present |= 1u << (at - known);
        } else if (key->size > 0 && key->ptr[0] >= 'A' && key->ptr[0] <= 'Z') {
            (void)nj_pack_fail(map, err, "key \"%.*s\" needs a newer build", (int)key->size,
                               key->ptr); /* for its path; the code is another */
            err->code = NJ_E_VERSION;
            return -NJ_E_VERSION;
        }
    }
    *ret_present = present;
    return 0;
}
