/*
 * chunk.c - the content of a file as one object, or as several under a PARTS object
 *
 * The complication: a reader must not assume where the cuts are (cut.c makes them today).
 */
#include <assert.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

int nj_parts_encode(const struct nj_digest *parts, size_t n_parts, struct nj_buf *out,
                    struct nj_error *err)
{
    struct nj_packer packer;

    assert(n_parts > 0);
    if (n_parts > NJ_PARTS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a file of %zu parts: at most %d", n_parts, NJ_PARTS_MAX);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 1);
    nj_pack_text(&packer, "p");
    nj_pack_array(&packer, n_parts);
    for (size_t i = 0; i < n_parts; i++)
        nj_pack_digest(&packer, &parts[i]);
    return nj_packer_end(&packer, err);
}

int nj_parts_decode(struct nj_span bytes, struct nj_arena *arena,
                    const struct nj_digest **ret_parts, size_t *ret_n_parts, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_digest *parts;
    struct nj_pack_at array;
    struct nj_pack_at root;
    unsigned present;
    size_t count;
    int r;

    r = nj_object_open(&doc, "parts", bytes, &root, err);
    if (r < 0)
        return r;
    r = nj_object_keys(&root, "p", &present, err);
    if (r < 0)
        return r;
    r = nj_pack_get_array(&root, "p", &array, &count, err);
    if (r < 0)
        return r;
    if (count == 0 || count > NJ_PARTS_MAX)
        return nj_pack_fail(&array, err, "%zu parts, must be 1 to %d", count, NJ_PARTS_MAX);
    parts = nj_arena_array(arena, count, sizeof(*parts));
    if (!parts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        struct nj_pack_at item;

        r = nj_pack_item(&array, i, &item, err);
        if (r < 0)
            return r;
        r = nj_pack_as_digest(&item, &parts[i], err);
        if (r < 0)
            return r;
    }
    *ret_parts = parts;
    *ret_n_parts = count;
    return 0;
}

static int put_cut(const struct nj_object_sink *sink, struct nj_span content,
                   struct nj_digest *ret_parts, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    nj_auto_free struct nj_digest *parts = NULL;
    size_t count = 0, room;
    struct nj_cut cut;
    int r;

    nj_cut_init(&cut, content.len);
    room = nj_cut_parts_max(&cut, content.len);
    if (room > NJ_PARTS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a file of %zu bytes: at most %d parts of %zu", content.len,
                       NJ_PARTS_MAX, cut.max_bytes);
    parts = calloc(room, sizeof(*parts));
    if (!parts)
        return nj_fail_nomem(err);
    for (size_t at = 0; at < content.len;) {
        struct nj_span part = {content.data + at, content.len - at};

        part.len = nj_cut_next(&cut, part);
        r = nj_object_put(sink, NJ_OBJECT_BLOB, part, &parts[count++], err);
        if (r < 0)
            return r;
        at += part.len;
    }
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_parts_encode(parts, count, &buf, err);
    if (r < 0)
        return r;
    return nj_object_put(sink, NJ_OBJECT_PARTS, nj_buf_span(&buf), ret_parts, err);
}

int nj_parts_put(const struct nj_object_sink *sink, struct nj_span content,
                 struct nj_tree_entry *entry, struct nj_error *err)
{
    struct nj_digest parts = {0};
    struct nj_digest digest;
    bool cut = content.len > NJ_OBJECT_PART_BYTES;
    int r;

    if (cut) {
        r = put_cut(sink, content, &parts, err);
        nj_digest_bytes(content.data, content.len, &digest);
    } else {
        r = nj_object_put(sink, NJ_OBJECT_BLOB, content, &digest, err);
    }
    if (r < 0)
        return r;
    entry->size = content.len;
    entry->digest = digest;
    entry->has_parts = cut;
    entry->parts = parts;
    return 0;
}

static int each_part(const struct nj_object_source *source, const struct nj_tree_entry *entry,
                     int (*write)(void *ctx, struct nj_span piece, struct nj_error *err), void *ctx,
                     struct nj_error *err)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_source unchecked = *source;
    const struct nj_digest *parts;
    struct nj_digest found;
    struct nj_span part;
    uint64_t done = 0;
    size_t count;
    int r;

    if (!hasher)
        return nj_fail_nomem(err);
    unchecked.is_checked = true; /* the file's digest covers its parts, at half the work */
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_object_get(source, NJ_OBJECT_PARTS, &entry->parts, &buf, err);
    if (r < 0)
        return r;
    r = nj_parts_decode(nj_buf_span(&buf), &arena, &parts, &count, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        r = nj_object_view(&unchecked, NJ_OBJECT_BLOB, &parts[i], &buf, &part, err);
        if (r < 0)
            return nj_wrap(err, "part %zu of %zu", i + 1, count);
        if (part.len > entry->size - done)
            return nj_fail(err, NJ_E_CORRUPT, "part %zu of %zu ends behind the file's %lu bytes",
                           i + 1, count, (unsigned long)entry->size);
        done += part.len;
        nj_hasher_update(hasher, part.data, part.len);
        r = write(ctx, part, err);
        if (r < 0)
            return r;
    }
    if (done != entry->size)
        return nj_fail(err, NJ_E_CORRUPT, "the file's parts hold %lu of its %lu bytes",
                       (unsigned long)done, (unsigned long)entry->size);
    nj_hasher_finish(hasher, &found);
    if (!nj_digest_equal(&found, &entry->digest))
        return nj_fail(err, NJ_E_CORRUPT, "the file's parts make up another digest than its own");
    return 0;
}

int nj_parts_each(const struct nj_object_source *source, const struct nj_tree_entry *entry,
                  int (*write)(void *ctx, struct nj_span piece, struct nj_error *err), void *ctx,
                  struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_span bytes;
    int r;

    assert(entry->type == NJ_FILE_REGULAR);
    if (entry->has_parts)
        return each_part(source, entry, write, ctx, err);
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    r = nj_object_view(source, NJ_OBJECT_BLOB, &entry->digest, &buf, &bytes, err);
    if (r < 0)
        return r;
    if (bytes.len != entry->size)
        return nj_fail(err, NJ_E_CORRUPT, "the file has %zu bytes, its directory says %lu",
                       bytes.len, (unsigned long)entry->size);
    r = write(ctx, bytes, err);
    return r < 0 ? r : 0;
}
