/*
 * tree.c - one directory: its entries, without anything that differs between two runs of the same
 * work
 *
 * The complication: which keys an entry has follows from its type, and a key too many is refused
 * like one too few, so that a directory has exactly one encoding.
 */
#include <assert.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

#define ENTRY_KEYS "dlmnpstx"
#define XATTR_NAME_MAX_BYTES 255 /* XATTR_NAME_MAX of linux/limits.h */

enum entry_key {
    KEY_DIGEST = 1u << 0,
    KEY_LINK = 1u << 1,
    KEY_MODE = 1u << 2,
    KEY_NAME = 1u << 3,
    KEY_PARTS = 1u << 4,
    KEY_SIZE = 1u << 5,
    KEY_TYPE = 1u << 6,
    KEY_XATTRS = 1u << 7,
};

/* The keys that a type must have, and those it may have. */
static unsigned keys_required(enum nj_file_type type)
{
    switch (type) {
    case NJ_FILE_REGULAR:
        return KEY_DIGEST | KEY_MODE | KEY_NAME | KEY_SIZE | KEY_TYPE;
    case NJ_FILE_DIRECTORY:
        return KEY_DIGEST | KEY_MODE | KEY_NAME | KEY_TYPE;
    case NJ_FILE_SYMLINK:
    case NJ_FILE_HARDLINK:
        return KEY_LINK | KEY_NAME | KEY_TYPE;
    case NJ_FILE_FIFO:
    case NJ_FILE_SOCKET:
        return KEY_MODE | KEY_NAME | KEY_TYPE;
    }
    return 0;
}

static unsigned keys_allowed(enum nj_file_type type)
{
    unsigned keys = keys_required(type);

    if (type == NJ_FILE_REGULAR)
        keys |= KEY_PARTS | KEY_XATTRS;
    if (type == NJ_FILE_DIRECTORY)
        keys |= KEY_XATTRS;
    return keys;
}

/* The keys of this very entry. */
static unsigned entry_keys(const struct nj_tree_entry *entry)
{
    unsigned keys = keys_allowed(entry->type);

    if (!entry->has_parts)
        keys &= ~(unsigned)KEY_PARTS;
    if (entry->n_xattrs == 0)
        keys &= ~(unsigned)KEY_XATTRS;
    return keys;
}

static int span_compare(struct nj_span a, struct nj_span b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;

    if (order)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static bool span_has_nul(struct nj_span span)
{
    return span.len > 0 && memchr(span.data, 0, span.len);
}

bool nj_tree_name_valid(struct nj_span name)
{
    if (name.len == 0 || name.len > NJ_OBJECT_NAME_MAX_BYTES)
        return false;
    if (nj_span_is(name, ".") || nj_span_is(name, ".."))
        return false;
    return !memchr(name.data, '/', name.len) && !span_has_nul(name);
}

bool nj_tree_path_valid(struct nj_span path)
{
    size_t start = 0;

    if (path.len == 0 || path.len > NJ_OBJECT_TARGET_MAX_BYTES)
        return false;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.data[i] != '/')
            continue;
        if (!nj_tree_name_valid((struct nj_span){path.data + start, i - start}))
            return false;
        start = i + 1;
    }
    return true;
}

/* The rule that the entry breaks, or NULL. The decoder refuses by it, the encoder asserts it. */
static const char *entry_fault(const struct nj_tree_entry *entry)
{
    unsigned keys = entry_keys(entry);

    if (!nj_tree_name_valid(entry->name))
        return "a name is 1 to 255 bytes, without '/' or NUL, not \".\" or \"..\"";
    if ((keys & KEY_MODE) && entry->mode > 07777)
        return "the mode is above 07777";
    if (entry->type == NJ_FILE_REGULAR && entry->has_parts != (entry->size > NJ_OBJECT_PART_BYTES))
        return "a file has parts exactly when it is longer than one part";
    if (entry->type == NJ_FILE_SYMLINK &&
        (entry->target.len == 0 || entry->target.len > NJ_OBJECT_TARGET_MAX_BYTES ||
         span_has_nul(entry->target)))
        return "a symlink's target is 1 to 4095 bytes without NUL";
    if (entry->type == NJ_FILE_HARDLINK && !nj_tree_path_valid(entry->target))
        return "a hard link's target is a path from the workspace root, without \"..\"";
    if (!(keys & KEY_XATTRS))
        return NULL;
    if (entry->n_xattrs > NJ_TREE_XATTRS_MAX)
        return "more than 64 extended attributes";
    for (size_t i = 0; i < entry->n_xattrs; i++) {
        const struct nj_xattr *xattr = &entry->xattrs[i];

        if (xattr->name.len <= 5 || xattr->name.len > XATTR_NAME_MAX_BYTES ||
            memcmp(xattr->name.data, "user.", 5) != 0 || span_has_nul(xattr->name))
            return "an extended attribute's name is \"user.\" and 1 to 250 bytes more without NUL";
        if (xattr->value.len > NJ_TREE_XATTR_VALUE_MAX_BYTES)
            return "an extended attribute's value is longer than 65536 bytes";
        if (i > 0 && span_compare(xattr[-1].name, xattr->name) >= 0)
            return "extended attributes are not in ascending order of unique names";
    }
    return NULL;
}

static void pack_entry(struct nj_packer *packer, const struct nj_tree_entry *entry)
{
    unsigned keys = entry_keys(entry);

    nj_pack_map(packer, (size_t)__builtin_popcount(keys));
    if (keys & KEY_DIGEST)
        nj_pack_put_digest(packer, "d", &entry->digest);
    if (keys & KEY_LINK) {
        nj_pack_put_bin(packer, "l", entry->target);
    }
    if (keys & KEY_MODE)
        nj_pack_put_uint(packer, "m", entry->mode);
    nj_pack_put_bin(packer, "n", entry->name);
    if (keys & KEY_PARTS)
        nj_pack_put_digest(packer, "p", &entry->parts);
    if (keys & KEY_SIZE) {
        nj_pack_put_uint(packer, "s", entry->size);
    }
    nj_pack_put_uint(packer, "t", entry->type);
    if (keys & KEY_XATTRS) {
        nj_pack_text(packer, "x");
        nj_pack_array(packer, entry->n_xattrs);
        for (size_t i = 0; i < entry->n_xattrs; i++) {
            nj_pack_array(packer, 2);
            nj_pack_bin(packer, entry->xattrs[i].name);
            nj_pack_bin(packer, entry->xattrs[i].value);
        }
    }
}

int nj_tree_encode(const struct nj_tree *tree, struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer packer;

    if (tree->n_entries > NJ_TREE_ENTRIES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a directory of %zu entries: at most %d", tree->n_entries,
                       NJ_TREE_ENTRIES_MAX);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 1);
    nj_pack_text(&packer, "e");
    nj_pack_array(&packer, tree->n_entries);
    for (size_t i = 0; i < tree->n_entries; i++) {
        const struct nj_tree_entry *entry = &tree->entries[i];

        assert(keys_required(entry->type) != 0);
        assert(!entry_fault(entry));
        assert(i == 0 || span_compare(entry[-1].name, entry->name) < 0);
        pack_entry(&packer, entry);
    }
    return nj_packer_end(&packer, err);
}

int nj_tree_encode_leaves(const struct nj_leaf *leaves, size_t n, struct nj_buf *out,
                          struct nj_error *err)
{
    struct nj_packer packer;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 1);
    nj_leaves_pack(&packer, leaves, n);
    return nj_packer_end(&packer, err);
}

static int decode_xattrs(const struct nj_pack_at *map, struct nj_arena *arena,
                         struct nj_tree_entry *entry, struct nj_error *err)
{
    struct nj_xattr *xattrs;
    struct nj_pack_at array;
    size_t count;
    int r;

    r = nj_pack_get_array(map, "x", &array, &count, err);
    if (r < 0)
        return r;
    if (count == 0 || count > NJ_TREE_XATTRS_MAX)
        return nj_pack_fail(&array, err, "%zu extended attributes, must be 1 to %d", count,
                            NJ_TREE_XATTRS_MAX);
    xattrs = nj_arena_array(arena, count, sizeof(*xattrs));
    if (!xattrs)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        struct nj_pack_at pair;
        struct nj_pack_at item;
        size_t items;

        r = nj_pack_item(&array, i, &pair, err);
        if (r < 0)
            return r;
        r = nj_pack_as_array(&pair, &items, err);
        if (r < 0)
            return r;
        if (items != 2)
            return nj_pack_fail(&pair, err, "%zu items, must be name and value", items);
        r = nj_pack_item(&pair, 0, &item, err);
        if (r < 0)
            return r;
        r = nj_pack_as_bin(&item, &xattrs[i].name, err);
        if (r < 0)
            return r;
        r = nj_pack_item(&pair, 1, &item, err);
        if (r < 0)
            return r;
        r = nj_pack_as_bin(&item, &xattrs[i].value, err);
        if (r < 0)
            return r;
    }
    entry->xattrs = xattrs;
    entry->n_xattrs = count;
    return 0;
}

static int decode_entry(const struct nj_pack_at *map, struct nj_arena *arena,
                        struct nj_tree_entry *entry, struct nj_error *err)
{
    const char *fault;
    unsigned present;
    unsigned wrong;
    uint64_t number;
    int r;

    r = nj_pack_as_map(map, err);
    if (r < 0)
        return r;
    r = nj_object_keys(map, ENTRY_KEYS, &present, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "t", UINT32_MAX, &number, err);
    if (r < 0)
        return r;
    if (number < NJ_FILE_REGULAR || number > NJ_FILE_SOCKET)
        return nj_pack_fail(map, err, "type %lu is none of %d to %d", (unsigned long)number,
                            NJ_FILE_REGULAR, NJ_FILE_SOCKET);
    entry->type = (enum nj_file_type)number;

    wrong = keys_required(entry->type) & ~present;
    if (wrong)
        return nj_pack_fail(map, err, "key \"%c\" is missing", ENTRY_KEYS[__builtin_ctz(wrong)]);
    wrong = present & ~keys_allowed(entry->type);
    if (wrong)
        return nj_pack_fail(map, err, "type %d has no key \"%c\"", (int)entry->type,
                            ENTRY_KEYS[__builtin_ctz(wrong)]);

    r = nj_pack_get_bin(map, "n", &entry->name, err);
    if (r < 0)
        return r;
    if (present & KEY_DIGEST) {
        r = nj_pack_get_digest(map, "d", &entry->digest, err);
        if (r < 0)
            return r;
    }
    if (present & KEY_LINK) {
        r = nj_pack_get_bin(map, "l", &entry->target, err);
        if (r < 0)
            return r;
    }
    if (present & KEY_MODE) {
        r = nj_pack_get_uint(map, "m", 07777, &number, err);
        if (r < 0)
            return r;
        entry->mode = (unsigned)number;
    }
    if (present & KEY_PARTS) {
        r = nj_pack_get_digest(map, "p", &entry->parts, err);
        if (r < 0)
            return r;
        entry->has_parts = true;
    }
    if (present & KEY_SIZE) {
        r = nj_pack_get_uint(map, "s", INT64_MAX, &entry->size, err);
        if (r < 0)
            return r;
    }
    if (present & KEY_XATTRS) {
        r = decode_xattrs(map, arena, entry, err);
        if (r < 0)
            return r;
    }
    fault = entry_fault(entry);
    if (fault)
        return nj_pack_fail(map, err, "%s", fault);
    return 0;
}

int nj_tree_check_order(const struct nj_tree_entry *entries, size_t n, struct nj_error *err)
{
    for (size_t i = 1; i < n; i++)
        if (span_compare(entries[i - 1].name, entries[i].name) >= 0)
            return nj_fail(err, NJ_E_CORRUPT, "names are not in ascending order of unique names");
    return 0;
}

static int decode_entries(const struct nj_pack_at *root, struct nj_arena *arena,
                          struct nj_tree *ret_tree, struct nj_error *err)
{
    struct nj_tree_entry *entries;
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
        r = decode_entry(&item, arena, &entries[i], err);
        if (r < 0)
            return r;
        if (i > 0 && span_compare(entries[i - 1].name, entries[i].name) >= 0)
            return nj_pack_fail(&item, err, "names are not in ascending order of unique names");
    }
    ret_tree->entries = entries;
    ret_tree->n_entries = count;
    return 0;
}

int nj_tree_decode_stored(struct nj_span bytes, struct nj_arena *arena, struct nj_tree *ret_tree,
                          struct nj_leaf_list *ret_leaves, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    enum { LEAVES = 1, ENTRIES = 2 };
    struct nj_leaf_list leaves = {0};
    struct nj_pack_at root;
    unsigned present;
    int r;

    r = nj_object_open(&doc, "tree", bytes, &root, err);
    if (r == 0)
        r = nj_object_keys(&root, ret_leaves ? "Ce" : "e", &present, err);
    if (r < 0)
        return r;
    present <<= ret_leaves ? 0 : 1;
    if (present & LEAVES && present & ENTRIES)
        return nj_pack_fail(&root, err, "both entries and leaves");
    if (present & LEAVES)
        r = nj_leaves_unpack(&root, arena, &leaves, err);
    else
        r = decode_entries(&root, arena, ret_tree, err);
    if (r == 0 && ret_leaves)
        *ret_leaves = leaves;
    return r;
}

int nj_tree_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_tree *ret_tree,
                   struct nj_error *err)
{
    return nj_tree_decode_stored(bytes, arena, ret_tree, NULL, err);
}

const struct nj_tree_entry *nj_tree_find(const struct nj_tree *tree, struct nj_span name)
{
    size_t low = 0;
    size_t high = tree->n_entries;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = span_compare(tree->entries[middle].name, name);

        if (order == 0)
            return &tree->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int nj_tree_empty(const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                  struct nj_error *err)
{
    return nj_dir_put(sink, &(struct nj_tree){0}, &(struct nj_stamps){0}, ret_ref, err);
}
