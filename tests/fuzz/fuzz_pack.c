/*
 * fuzz_pack.c - what the walk lets through, msgpack-c decodes, and packing it again gives the same
 * bytes
 */
#include <stdlib.h>

#include "formats/base/pack.h"
#include "formats/base/pack_walk.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* repack - write @object again; recursion is safe behind the walk's limit of depth */
static void repack(struct nj_packer *packer, const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        nj_pack_nil(packer);
        return;
    case MSGPACK_OBJECT_BOOLEAN:
        nj_pack_bool(packer, object->via.boolean);
        return;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        nj_pack_uint(packer, object->via.u64);
        return;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        nj_pack_int(packer, object->via.i64);
        return;
    case MSGPACK_OBJECT_STR:
        nj_pack_span(packer,
                     (struct nj_span){(const uint8_t *)object->via.str.ptr, object->via.str.size});
        return;
    case MSGPACK_OBJECT_BIN:
        nj_pack_bin(packer,
                    (struct nj_span){(const uint8_t *)object->via.bin.ptr, object->via.bin.size});
        return;
    case MSGPACK_OBJECT_ARRAY:
        nj_pack_array(packer, object->via.array.size);
        for (size_t i = 0; i < object->via.array.size; i++)
            repack(packer, &object->via.array.ptr[i]);
        return;
    case MSGPACK_OBJECT_MAP:
        nj_pack_map(packer, object->via.map.size);
        for (size_t i = 0; i < object->via.map.size; i++) {
            repack(packer, &object->via.map.ptr[i].key);
            repack(packer, &object->via.map.ptr[i].val);
        }
        return;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
    case MSGPACK_OBJECT_EXT:
        break;
    }
    abort(); /* the walk must not let these through */
}

/* probe - every getter takes exactly the types it is for; recursion is as deep as the walk allowed
 */
static void probe(const struct nj_pack_at *at)
{
    bool positive = at->object->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    bool text = at->object->type == MSGPACK_OBJECT_STR;
    bool bin = at->object->type == MSGPACK_OBJECT_BIN;
    struct nj_digest digest;
    struct nj_error err = {0};
    struct nj_span span;
    uint64_t natural;
    int64_t integer;
    size_t items;

    must((nj_pack_as_uint(at, UINT64_MAX, &natural, &err) == 0) == positive);
    must((nj_pack_as_uint(at, 100, &natural, &err) == 0) ==
         (positive && at->object->via.u64 <= 100));
    must((nj_pack_as_int(at, &integer, &err) == 0) ==
         ((positive && at->object->via.u64 <= INT64_MAX) ||
          at->object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER));
    must((nj_pack_as_text(at, &span, &err) == 0) == text);
    must((nj_pack_as_bin(at, &span, &err) == 0) == bin);
    must((nj_pack_as_digest(at, &digest, &err) == 0) ==
         (bin && at->object->via.bin.size == NJ_DIGEST_BYTES));
    must((nj_pack_as_map(at, &err) == 0) == (at->object->type == MSGPACK_OBJECT_MAP));
    if (nj_pack_as_array(at, &items, &err) < 0)
        return;
    for (size_t i = 0; i <= items && i < 16; i++) {
        struct nj_pack_at item;

        must((nj_pack_item(at, i, &item, &err) == 0) == (i < items));
        if (i < items)
            probe(&item);
    }
}

/* probe_key - the same through the key of a map, and for a key that is not there */
static void probe_key(const struct nj_pack_at *map, const char *key)
{
    struct nj_pack_at value, inner;
    struct nj_digest digest;
    struct nj_error err = {0};
    struct nj_span span;
    uint64_t natural;
    int64_t integer;
    size_t items;
    bool truth;
    bool there = nj_pack_has(map, key);

    must(there || nj_pack_is_nil(map, key));
    must((nj_pack_get(map, key, &value, &err) == 0) == there);
    must((nj_pack_get_bool(map, key, &truth, &err) == 0) ==
         (there && value.object->type == MSGPACK_OBJECT_BOOLEAN));
    must((nj_pack_get_map(map, key, &inner, &err) == 0) ==
         (there && value.object->type == MSGPACK_OBJECT_MAP));
    must((nj_pack_get_array(map, key, &inner, &items, &err) == 0) ==
         (there && value.object->type == MSGPACK_OBJECT_ARRAY));
    must((nj_pack_get_uint(map, key, UINT64_MAX, &natural, &err) == 0) ==
         (there && value.object->type == MSGPACK_OBJECT_POSITIVE_INTEGER));
    (void)!nj_pack_get_int(map, key, &integer, &err);
    (void)!nj_pack_get_text(map, key, &span, &err);
    (void)!nj_pack_get_bin(map, key, &span, &err);
    (void)!nj_pack_get_digest(map, key, &digest, &err);
    if (there)
        probe(&value);
}

/* check_map - both ways of finding a key's value agree, and the unknown pairs are all of them */
static void check_map(const struct nj_pack_doc *doc)
{
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    struct nj_error err = {0};
    struct nj_pack_at root;
    struct nj_span value;
    size_t pairs = 0;

    if (nj_pack_root(doc, &root, &err) < 0)
        return;
    for (size_t i = 0; i < root.object->via.map.size && i < 64; i++) {
        const msgpack_object_str *key = &root.object->via.map.ptr[i].key.via.str;
        nj_auto_free char *text =
            nj_span_dup((struct nj_span){(const uint8_t *)key->ptr, key->size});
        size_t len = 0;

        must(text != NULL);
        if (strlen(text) != key->size)
            continue; /* a NUL inside: no key of ours */
        must(nj_pack_has(&root, text));
        probe_key(&root, text);
        must(nj_pack_raw_at(doc->bytes, text, &value));
        must(nj_pack_walk_one(value, &len, &err) == 0 && len == value.len);
    }
    probe_key(&root, "no such key, it is longer than any that a corpus holds");
    nj_buf_init(&raw, doc->bytes.len);
    must(nj_pack_unknown(doc->bytes, NULL, 0, &raw, &pairs, &err) == 0);
    must(pairs == root.object->via.map.size);
    must(raw.len < doc->bytes.len &&
         (raw.len == 0 ||
          memcmp(raw.data, doc->bytes.data + doc->bytes.len - raw.len, raw.len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_span bytes = {data, size};
    struct nj_error err = {0};
    struct nj_packer packer;
    size_t end = 0;

    if (nj_pack_walk(bytes, &err) < 0) {
        must(err.code == NJ_E_CORRUPT && nj_pack_open(&doc, "", bytes, &err) < 0);
        (void)nj_pack_raw_at(bytes, "a", &bytes); /* no harm on what was never walked */
        return 0;
    }
    must(nj_pack_skip(bytes, 0, &end) && end == size);
    must(nj_pack_open(&doc, "fuzz", bytes, &err) == 0);
    nj_buf_init(&buf, size);
    nj_packer_init(&packer, &buf);
    repack(&packer, &doc.root);
    must(nj_packer_end(&packer, &err) == 0);
    must(nj_span_equal(nj_buf_span(&buf), bytes));
    check_map(&doc);
    return 0;
}
