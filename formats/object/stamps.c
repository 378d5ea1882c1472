/*
 * stamps.c - one directory's times and listing order, kept apart from its TREE
 *
 * The complication: entries stand in creation order, so that names are unique cannot be seen from
 * one neighbour to the next; the decoder sorts a copy.
 */
#include <assert.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

static void pack_entries(struct nj_packer *packer, const struct nj_stamps *stamps)
{
    nj_pack_text(packer, "e");
    nj_pack_array(packer, stamps->n_entries);
    for (size_t i = 0; i < stamps->n_entries; i++) {
        const struct nj_stamp *stamp = &stamps->entries[i];

        assert(nj_tree_name_valid(stamp->name));
        nj_pack_array(packer, stamp->ino > 0 ? 5 : 3);
        nj_pack_bin(packer, stamp->name);
        nj_pack_int(packer, stamp->mtime_ns);
        if (stamp->has_stamps)
            nj_pack_digest(packer, &stamp->stamps);
        else
            nj_pack_nil(packer);
        if (stamp->ino > 0) {
            nj_pack_int(packer, stamp->ctime_ns);
            nj_pack_uint(packer, stamp->ino);
        }
    }
}

/* encode - with its entries, or with the @n leaves that have them */
static int encode(const struct nj_stamps *stamps, const struct nj_leaf *leaves, size_t n,
                  struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer packer;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 2u + stamps->has_ctime + (stamps->next_ino > 0));
    if (leaves)
        nj_leaves_pack(&packer, leaves, n);
    if (stamps->has_ctime)
        nj_pack_put_int(&packer, "c", stamps->ctime_ns);
    if (!leaves)
        pack_entries(&packer, stamps);
    nj_pack_put_int(&packer, "m", stamps->mtime_ns);
    if (stamps->next_ino > 0)
        nj_pack_put_uint(&packer, "n", stamps->next_ino);
    return nj_packer_end(&packer, err);
}

int nj_stamps_encode(const struct nj_stamps *stamps, struct nj_buf *out, struct nj_error *err)
{
    if (stamps->n_entries > NJ_TREE_ENTRIES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a directory of %zu entries: at most %d", stamps->n_entries,
                       NJ_TREE_ENTRIES_MAX);
    return encode(stamps, NULL, 0, out, err);
}

int nj_stamps_encode_leaves(const struct nj_stamps *stamps, const struct nj_leaf *leaves, size_t n,
                            struct nj_buf *out, struct nj_error *err)
{
    return encode(stamps, leaves, n, out, err);
}

/* decode_identity - what only a reproducible session's entries have */
static int decode_identity(const struct nj_pack_at *array, struct nj_stamp *stamp,
                           struct nj_error *err)
{
    struct nj_pack_at item;
    int r;

    r = nj_pack_item(array, 3, &item, err);
    if (r >= 0)
        r = nj_pack_as_int(&item, &stamp->ctime_ns, err);
    if (r >= 0)
        r = nj_pack_item(array, 4, &item, err);
    if (r >= 0)
        r = nj_pack_as_uint(&item, NJ_STAMPS_INO_MAX, &stamp->ino, err);
    if (r < 0)
        return r;
    return stamp->ino > 0 ? 0 : nj_pack_fail(&item, err, "no file has the inode number 0");
}

static int decode_stamp(const struct nj_pack_at *array, struct nj_stamp *stamp,
                        struct nj_error *err)
{
    struct nj_pack_at item;
    size_t items;
    int r;

    r = nj_pack_as_array(array, &items, err);
    if (r < 0)
        return r;
    if (items != 3 && items != 5)
        return nj_pack_fail(
            array, err, "%zu items, must be name, mtime, digest or nil, perhaps ctime and inode",
            items);
    r = nj_pack_item(array, 0, &item, err);
    if (r < 0)
        return r;
    r = nj_pack_as_bin(&item, &stamp->name, err);
    if (r < 0)
        return r;
    if (!nj_tree_name_valid(stamp->name))
        return nj_pack_fail(&item, err,
                            "a name is 1 to 255 bytes, without '/' or NUL, not \".\" or \"..\"");
    r = nj_pack_item(array, 1, &item, err);
    if (r < 0)
        return r;
    r = nj_pack_as_int(&item, &stamp->mtime_ns, err);
    if (r < 0)
        return r;
    r = nj_pack_item(array, 2, &item, err);
    if (r < 0)
        return r;
    if (item.object->type != MSGPACK_OBJECT_NIL) {
        stamp->has_stamps = true;
        r = nj_pack_as_digest(&item, &stamp->stamps, err);
        if (r < 0)
            return r;
    }
    return items == 5 ? decode_identity(array, stamp, err) : 0;
}

static int compare_names(const void *left, const void *right)
{
    const struct nj_span *a = left;
    const struct nj_span *b = right;

    /* Any total order will do to bring equals together; by length first is the cheapest. */
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->data, b->data, a->len);
}

int nj_stamps_check_unique(const struct nj_stamp *entries, size_t count, struct nj_error *err)
{
    nj_auto_free struct nj_span *names = NULL;

    if (count < 2)
        return 0;
    names = calloc(count, sizeof(*names));
    if (!names)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < count; i++)
        names[i] = entries[i].name;
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 1; i < count; i++)
        if (compare_names(&names[i - 1], &names[i]) == 0)
            return nj_fail(err, NJ_E_CORRUPT, "a name stands here twice");
    return 0;
}

/* decode_own - what is told of the directory itself */
static int decode_own(const struct nj_pack_at *root, bool has_ctime, bool has_next,
                      struct nj_stamps *stamps, struct nj_error *err)
{
    int r;

    if (has_ctime) {
        stamps->has_ctime = true;
        r = nj_pack_get_int(root, "c", &stamps->ctime_ns, err);
        if (r < 0)
            return r;
    }
    if (has_next) {
        r = nj_pack_get_uint(root, "n", NJ_STAMPS_INO_MAX, &stamps->next_ino, err);
        if (r < 0)
            return r;
        if (stamps->next_ino == 0)
            return nj_pack_fail(root, err, "no file has the inode number 0");
    }
    return nj_pack_get_int(root, "m", &stamps->mtime_ns, err);
}

static int decode_entries(const struct nj_pack_at *root, struct nj_arena *arena,
                          struct nj_stamps *stamps, struct nj_error *err)
{
    struct nj_stamp *entries;
    struct nj_pack_at array;
    size_t count;
    int r;

    r = nj_pack_get_array(root, "e", &array, &count, err);
    if (r < 0)
        return r;
    if (count > NJ_TREE_ENTRIES_MAX)
        return nj_pack_fail(&array, err, "%zu entries, a directory has at most %d", count,
                            NJ_TREE_ENTRIES_MAX);
    entries = nj_arena_array(arena, count ? count : 1, sizeof(*entries));
    if (!entries)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        struct nj_pack_at item;

        r = nj_pack_item(&array, i, &item, err);
        if (r < 0)
            return r;
        r = decode_stamp(&item, &entries[i], err);
        if (r < 0)
            return r;
    }
    r = nj_stamps_check_unique(entries, count, err);
    if (r < 0)
        return nj_wrap(err, "stamps.e");
    stamps->entries = entries;
    stamps->n_entries = count;
    return 0;
}

int nj_stamps_decode_stored(struct nj_span bytes, struct nj_arena *arena,
                            struct nj_stamps *ret_stamps, struct nj_leaf_list *ret_leaves,
                            struct nj_error *err)
{
    enum { LEAVES = 1, CTIME = 2, ENTRIES = 4, NEXT = 16 };
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_leaf_list leaves = {0};
    struct nj_stamps stamps = {0};
    struct nj_pack_at root;
    unsigned present;
    int r;

    r = nj_object_open(&doc, "stamps", bytes, &root, err);
    if (r == 0)
        r = nj_object_keys(&root, ret_leaves ? "Ccemn" : "cemn", &present, err);
    if (r < 0)
        return r;
    present <<= ret_leaves ? 0 : 1;
    r = decode_own(&root, present & CTIME, present & NEXT, &stamps, err);
    if (r < 0)
        return r;
    if (present & LEAVES && present & ENTRIES)
        return nj_pack_fail(&root, err, "both entries and leaves");
    if (present & LEAVES)
        r = nj_leaves_unpack(&root, arena, &leaves, err);
    else
        r = decode_entries(&root, arena, &stamps, err);
    if (r < 0)
        return r;
    *ret_stamps = stamps;
    if (ret_leaves)
        *ret_leaves = leaves;
    return 0;
}

int nj_stamps_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_stamps *ret_stamps,
                     struct nj_error *err)
{
    return nj_stamps_decode_stored(bytes, arena, ret_stamps, NULL, err);
}
