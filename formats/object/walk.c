/*
 * walk.c - following trees: one path, every entry, the differences of two
 *
 * The complication: a tree is a graph on disk and can unfold to any size, so each walk carries a
 * budget. It pays for a directory's entries when it opens it and for its bytes as long as it is
 * held open; the recursion is as deep as the path, which NJ_TREE_DEPTH_MAX bounds.
 */
#include "formats/object/inside.h"

#include "formats/base/banned.h"

#define PATH_MAX_BYTES (NJ_TREE_DEPTH_MAX * (NJ_OBJECT_NAME_MAX_BYTES + 1))

struct budget {
    size_t entries;
    size_t held_bytes;
};

/* A directory held open. Zeroed is valid and empty. */
struct opened {
    struct nj_arena arena;
    struct nj_tree tree;
    size_t bytes;
};

static void opened_done(struct opened *opened)
{
    nj_arena_done(&opened->arena);
}
NJ_DEFINE_AUTO_VAL(struct opened, opened_done);

static int tree_open(struct opened *opened, const struct nj_object_source *source,
                     const struct nj_digest *digest, struct budget *budget, struct nj_error *err)
{
    int r;

    r = nj_tree_load(source, digest, &opened->arena, &opened->tree, &opened->bytes, err);
    if (r < 0)
        return r;
    budget->entries += opened->tree.n_entries;
    if (budget->entries > NJ_TREE_VISITS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree unfolds to more than %d entries",
                       NJ_TREE_VISITS_MAX);
    budget->held_bytes += opened->bytes;
    if (budget->held_bytes > NJ_TREE_HELD_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "the directories on one path hold more than %u bytes",
                       NJ_TREE_HELD_MAX_BYTES);
    return 0;
}

static int path_push(struct nj_buf *path, struct nj_span name, struct nj_error *err)
{
    int r;

    if (path->len > 0) {
        r = nj_buf_append(path, "/", 1, err);
        if (r < 0)
            return r;
    }
    return nj_buf_append(path, name.data, name.len, err);
}

static void path_pop(struct nj_buf *path, size_t len)
{
    path->len = len;
    path->data[len] = 0;
}

static const char *path_text(const struct nj_buf *path)
{
    return path->len ? (const char *)path->data : ".";
}

static int check_depth(unsigned depth, struct nj_error *err)
{
    if (depth > NJ_TREE_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree is deeper than %d levels", NJ_TREE_DEPTH_MAX);
    return 0;
}

/* ---- one path ---- */

static bool copy_span(struct nj_arena *arena, struct nj_span *span)
{
    char *copy = nj_arena_span(arena, *span);

    span->data = (const uint8_t *)copy;
    return copy != NULL;
}

/* The entry's spans point into a directory that is about to be closed. */
static int copy_entry(struct nj_arena *arena, const struct nj_tree_entry *from,
                      struct nj_tree_entry *ret_entry, struct nj_error *err)
{
    struct nj_tree_entry entry = *from;
    struct nj_xattr *xattrs = NULL;

    if (!copy_span(arena, &entry.name) || !copy_span(arena, &entry.target))
        return nj_fail_nomem(err);
    if (entry.n_xattrs > 0) {
        xattrs = nj_arena_array(arena, entry.n_xattrs, sizeof(*xattrs));
        if (!xattrs)
            return nj_fail_nomem(err);
    }
    for (size_t i = 0; i < entry.n_xattrs; i++) {
        xattrs[i] = from->xattrs[i];
        if (!copy_span(arena, &xattrs[i].name) || !copy_span(arena, &xattrs[i].value))
            return nj_fail_nomem(err);
    }
    entry.xattrs = xattrs;
    *ret_entry = entry;
    return 0;
}

int nj_tree_lookup(const struct nj_object_source *source, const struct nj_digest *root,
                   const char *path, struct nj_arena *arena, struct nj_tree_entry *ret_entry,
                   struct nj_error *err)
{
    struct nj_digest digest = *root;
    const char *rest = path;
    int r;

    if (!nj_tree_path_valid(nj_span_text(path)))
        return nj_fail(
            err, NJ_E_INPUT,
            "\"%.200s\" is not a path in a workspace: names joined by '/', without \"..\"", path);
    for (;;) {
        NJ_AUTO(opened_done) struct opened dir = {0};
        struct budget budget = {0};
        const char *end = strchrnul(rest, '/');
        const struct nj_tree_entry *entry;

        r = tree_open(&dir, source, &digest, &budget, err);
        if (r < 0)
            return nj_wrap(err, "directory of %.200s", path);
        entry =
            nj_tree_find(&dir.tree, (struct nj_span){(const uint8_t *)rest, (size_t)(end - rest)});
        if (!entry)
            return 1;
        if (!*end)
            return copy_entry(arena, entry, ret_entry, err);
        if (entry->type != NJ_FILE_DIRECTORY)
            return 1;
        digest = entry->digest;
        rest = end + 1;
    }
}

/* ---- every entry ---- */

struct walker {
    const struct nj_object_source *source;
    nj_tree_visit visit;
    void *ctx;
    struct nj_buf path;
    struct budget budget;
};

static int walk_dir(struct walker *walker, const struct nj_digest *digest, unsigned depth,
                    struct nj_error *err)
{
    NJ_AUTO(opened_done) struct opened dir = {0};
    size_t path_len = walker->path.len;
    int r;

    r = check_depth(depth, err);
    if (r == 0)
        r = tree_open(&dir, walker->source, digest, &walker->budget, err);
    if (r < 0)
        return nj_wrap(err, "%.200s", path_text(&walker->path));
    for (size_t i = 0; i < dir.tree.n_entries; i++) {
        const struct nj_tree_entry *entry = &dir.tree.entries[i];

        r = path_push(&walker->path, entry->name, err);
        if (r < 0)
            return r;
        r = walker->visit(walker->ctx, (const char *)walker->path.data, entry, err);
        if (r < 0)
            return r;
        if (entry->type == NJ_FILE_DIRECTORY) {
            r = walk_dir(walker, &entry->digest, depth + 1, err);
            if (r < 0)
                return r;
        }
        path_pop(&walker->path, path_len);
    }
    walker->budget.held_bytes -= dir.bytes;
    return 0;
}

int nj_tree_walk(const struct nj_object_source *source, const struct nj_digest *root,
                 nj_tree_visit visit, void *ctx, struct nj_error *err)
{
    struct walker walker = {.source = source, .visit = visit, .ctx = ctx};
    int r;

    nj_buf_init(&walker.path, PATH_MAX_BYTES);
    r = walk_dir(&walker, root, 1, err);
    nj_buf_done(&walker.path);
    return r;
}

/* ---- two trees ---- */

struct differ {
    const struct nj_object_source *source_a;
    const struct nj_object_source *source_b;
    nj_tree_differ report;
    void *ctx;
    struct nj_buf path;
    struct budget budget;
};

static bool xattrs_equal(const struct nj_tree_entry *a, const struct nj_tree_entry *b)
{
    if (a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++)
        if (!nj_span_equal(a->xattrs[i].name, b->xattrs[i].name) ||
            !nj_span_equal(a->xattrs[i].value, b->xattrs[i].value))
            return false;
    return true;
}

static bool entries_equal(const struct nj_tree_entry *a, const struct nj_tree_entry *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case NJ_FILE_REGULAR: /* parts follow from the content and the build that cut it */
        return a->mode == b->mode && a->size == b->size &&
               nj_digest_equal(&a->digest, &b->digest) && xattrs_equal(a, b);
    case NJ_FILE_DIRECTORY:
        return a->mode == b->mode && xattrs_equal(a, b);
    case NJ_FILE_SYMLINK:
    case NJ_FILE_HARDLINK:
        return nj_span_equal(a->target, b->target);
    case NJ_FILE_FIFO:
    case NJ_FILE_SOCKET:
        return a->mode == b->mode;
    }
    return false;
}

static int name_order(const struct nj_tree_entry *a, const struct nj_tree_entry *b)
{
    size_t shared;
    int order;

    if (!a || !b)
        return a ? -1 : 1;
    shared = a->name.len < b->name.len ? a->name.len : b->name.len;
    order = memcmp(a->name.data, b->name.data, shared);
    if (order)
        return order;
    return a->name.len < b->name.len ? -1 : a->name.len > b->name.len;
}

static int diff_dir(struct differ *differ, const struct nj_digest *a, const struct nj_digest *b,
                    unsigned depth, struct nj_error *err);

static int diff_entry(struct differ *differ, const struct nj_tree_entry *a,
                      const struct nj_tree_entry *b, unsigned depth, struct nj_error *err)
{
    const struct nj_digest *in_a = a && a->type == NJ_FILE_DIRECTORY ? &a->digest : NULL;
    const struct nj_digest *in_b = b && b->type == NJ_FILE_DIRECTORY ? &b->digest : NULL;
    size_t path_len = differ->path.len;
    int r;

    r = path_push(&differ->path, a ? a->name : b->name, err);
    if (r < 0)
        return r;
    if (!a || !b || !entries_equal(a, b)) {
        r = differ->report(differ->ctx, (const char *)differ->path.data, a, b, err);
        if (r < 0)
            return r;
    }
    if (in_a || in_b) {
        r = diff_dir(differ, in_a, in_b, depth, err);
        if (r < 0)
            return r;
    }
    path_pop(&differ->path, path_len);
    return 0;
}

/* One of @a and @b may be NULL: all of the other is reported. */
static int diff_dir(struct differ *differ, const struct nj_digest *a, const struct nj_digest *b,
                    unsigned depth, struct nj_error *err)
{
    NJ_AUTO(opened_done) struct opened dir_a = {0};
    NJ_AUTO(opened_done) struct opened dir_b = {0};
    size_t i = 0;
    size_t j = 0;
    int r;

    if (a && b && nj_digest_equal(a, b))
        return 0;
    r = check_depth(depth, err);
    if (r == 0 && a)
        r = tree_open(&dir_a, differ->source_a, a, &differ->budget, err);
    if (r == 0 && b)
        r = tree_open(&dir_b, differ->source_b, b, &differ->budget, err);
    if (r < 0)
        return nj_wrap(err, "%.200s", path_text(&differ->path));
    while (i < dir_a.tree.n_entries || j < dir_b.tree.n_entries) {
        const struct nj_tree_entry *left = i < dir_a.tree.n_entries ? &dir_a.tree.entries[i] : NULL;
        const struct nj_tree_entry *right =
            j < dir_b.tree.n_entries ? &dir_b.tree.entries[j] : NULL;
        int order = name_order(left, right);

        r = diff_entry(differ, order <= 0 ? left : NULL, order >= 0 ? right : NULL, depth + 1, err);
        if (r < 0)
            return r;
        i += order <= 0;
        j += order >= 0;
    }
    differ->budget.held_bytes -= dir_a.bytes + dir_b.bytes;
    return 0;
}

int nj_tree_diff(const struct nj_object_source *source_a, const struct nj_digest *a,
                 const struct nj_object_source *source_b, const struct nj_digest *b,
                 nj_tree_differ differ, void *ctx, struct nj_error *err)
{
    struct differ walk = {.source_a = source_a, .source_b = source_b, .report = differ, .ctx = ctx};
    int r;

    nj_buf_init(&walk.path, PATH_MAX_BYTES);
    r = diff_dir(&walk, a, b, 1, err);
    nj_buf_done(&walk.path);
    return r;
}
