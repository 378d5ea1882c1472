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
        must(nj_pack_raw_at(doc->bytes, text, &value));
        must(nj_pack_walk_one(value, &len, &err) == 0 && len == value.len);
    }
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
