/*
 * builder.c - a workspace made from (path, content) pairs
 *
 * The complication: TREE wants names ascending, STAMPS wants the order of adding; children are kept
 * sorted and each node remembers its number.
 */
#include "formats/object/inside.h"

#include "formats/base/banned.h"

struct node {
    struct nj_tree_entry entry; /* name in the arena; digest of a directory is set by finish */
    int64_t mtime_ns;
    uint64_t order;
    bool implied; /* a directory that nobody has added yet */

    struct node **children; /* ascending by name */
    size_t n_children;
    size_t cap;
    struct node *next; /* all nodes with children, so that freeing needs no walk */
};

struct nj_tree_builder {
    struct nj_arena arena;
    struct node root;
    struct node *parents;
    uint64_t added;
};

int nj_tree_builder_new(struct nj_tree_builder **ret_builder, struct nj_error *err)
{
    struct nj_tree_builder *builder = calloc(1, sizeof(*builder));

    if (!builder)
        return nj_fail_nomem(err);
    builder->root.entry.type = NJ_FILE_DIRECTORY;
    *ret_builder = builder;
    return 0;
}

void nj_tree_builder_free(struct nj_tree_builder *builder)
{
    if (!builder)
        return;
    for (struct node *node = builder->parents; node; node = node->next)
        free(node->children);
    nj_arena_done(&builder->arena);
    free(builder);
}

static int name_order(struct nj_span a, struct nj_span b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.data, b.data, shared);

    if (order)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

/* Where @name is, or would be, among the children of @parent. */
static size_t child_place(const struct node *parent, struct nj_span name, bool *ret_found)
{
    size_t low = 0;
    size_t high = parent->n_children;

    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = name_order(parent->children[middle]->entry.name, name);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int child_insert(struct nj_tree_builder *builder, struct node *parent, size_t place,
                        struct nj_span name, struct node **ret_child, struct nj_error *err)
{
    struct node *child;

    if (parent->n_children >= NJ_TREE_ENTRIES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a directory of more than %d entries", NJ_TREE_ENTRIES_MAX);
    if (parent->n_children == parent->cap) {
        size_t cap = parent->cap ? parent->cap * 2 : 8;
        struct node **larger = reallocarray(parent->children, cap, sizeof(struct node *));

        if (!larger)
            return nj_fail_nomem(err);
        if (!parent->children) {
            parent->next = builder->parents;
            builder->parents = parent;
        }
        parent->children = larger;
        parent->cap = cap;
    }
    child = nj_arena_alloc(&builder->arena, sizeof(*child));
    if (!child)
        return nj_fail_nomem(err);
    child->entry.name.data = (const uint8_t *)nj_arena_span(&builder->arena, name);
    child->entry.name.len = name.len;
    if (!child->entry.name.data)
        return nj_fail_nomem(err);
    child->order = builder->added++;
    memmove(&parent->children[place + 1], &parent->children[place],
            (parent->n_children - place) * sizeof(struct node *));
    parent->children[place] = child;
    parent->n_children++;
    *ret_child = child;
    return 0;
}

static void make_dir(struct node *node, unsigned mode, int64_t mtime_ns, bool implied)
{
    node->entry.type = NJ_FILE_DIRECTORY;
    node->entry.mode = mode;
    node->mtime_ns = mtime_ns;
    node->implied = implied;
}

/* Finds @path's node, or adds it as a directory that nobody has added. *ret_found tells which. */
static int path_node(struct nj_tree_builder *builder, const char *path, struct node **ret_node,
                     bool *ret_found, struct nj_error *err)
{
    struct node *node = &builder->root;
    const char *rest = path;
    unsigned names = 0;
    int r;

    for (;;) {
        const char *end = strchrnul(rest, '/');
        struct nj_span name = {(const uint8_t *)rest, (size_t)(end - rest)};
        size_t place;

        if (node->entry.type != NJ_FILE_DIRECTORY)
            return nj_fail(err, NJ_E_INPUT, "%.*s is a file, so nothing can be under it",
                           (int)(rest - path - 1), path);
        if (++names >= NJ_TREE_DEPTH_MAX) /* a directory here is one level below its name's */
            return nj_fail(err, NJ_E_LIMIT, "%.100s...: deeper than %d levels", path,
                           NJ_TREE_DEPTH_MAX);
        place = child_place(node, name, ret_found);
        if (*ret_found) {
            node = node->children[place];
        } else {
            r = child_insert(builder, node, place, name, &node, err);
            if (r < 0)
                return r;
            make_dir(node, 0755, 0, true);
        }
        if (!*end)
            break;
        rest = end + 1;
    }
    *ret_node = node;
    return 0;
}

static int check_input(const char *path, unsigned mode, struct nj_error *err)
{
    if (!nj_tree_path_valid(nj_span_text(path)))
        return nj_fail(
            err, NJ_E_INPUT,
            "\"%.200s\" is not a path in a workspace: names joined by '/', without \"..\"", path);
    if (mode > 07777)
        return nj_fail(err, NJ_E_INPUT, "%.200s: mode %o is above 07777", path, mode);
    return 0;
}

int nj_tree_builder_dir(struct nj_tree_builder *builder, const char *path, unsigned mode,
                        int64_t mtime_ns, struct nj_error *err)
{
    struct node *node;
    bool found;
    int r;

    r = check_input(path, mode, err);
    if (r < 0)
        return r;
    r = path_node(builder, path, &node, &found, err);
    if (r < 0)
        return r;
    if (found && !node->implied)
        return nj_fail(err, NJ_E_INPUT, "%.200s: added twice", path);
    make_dir(node, mode, mtime_ns, false);
    return 0;
}

int nj_tree_builder_file(struct nj_tree_builder *builder, const char *path, unsigned mode,
                         int64_t mtime_ns, struct nj_span content,
                         const struct nj_object_sink *sink, struct nj_error *err)
{
    struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR, .mode = mode};
    struct node *node;
    bool found;
    int r;

    r = check_input(path, mode, err);
    if (r < 0)
        return r;
    /* Content first: a put that fails must not leave a node without it. */
    r = nj_parts_put(sink, content, &entry, err);
    if (r < 0)
        return nj_wrap(err, "%.200s", path);
    r = path_node(builder, path, &node, &found, err);
    if (r < 0)
        return r;
    if (found)
        return nj_fail(err, NJ_E_INPUT, "%.200s: added twice", path);
    entry.name = node->entry.name;
    node->entry = entry;
    node->mtime_ns = mtime_ns;
    node->implied = false;
    return 0;
}

static int compare_order(const void *left, const void *right)
{
    const struct node *a = *(struct node *const *)left;
    const struct node *b = *(struct node *const *)right;

    return a->order < b->order ? -1 : a->order > b->order;
}

static int finish_dir(struct node *dir, const struct nj_object_sink *sink,
                      struct nj_workspace_ref *ret_ref, struct nj_error *err);

/* The arrays of one directory, filled from its children, which are finished on the way. */
static int finish_children(struct node *dir, const struct nj_object_sink *sink,
                           struct nj_tree_entry *entries, struct nj_stamp *stamps,
                           struct nj_error *err)
{
    nj_auto_free struct node **by_order = calloc(dir->n_children + 1, sizeof(struct node *));
    int r;

    if (!by_order)
        return nj_fail_nomem(err);
    if (dir->n_children)
        memcpy(by_order, dir->children, dir->n_children * sizeof(struct node *));
    qsort(by_order, dir->n_children, sizeof(struct node *), compare_order);
    for (size_t i = 0; i < dir->n_children; i++) {
        struct node *child = by_order[i];

        stamps[i].name = child->entry.name;
        stamps[i].mtime_ns = child->mtime_ns;
        if (child->entry.type == NJ_FILE_DIRECTORY) {
            struct nj_workspace_ref ref;

            r = finish_dir(child, sink, &ref, err);
            if (r < 0)
                return r;
            child->entry.digest = ref.tree;
            stamps[i].has_stamps = true;
            stamps[i].stamps = ref.stamps;
        }
    }
    for (size_t i = 0; i < dir->n_children; i++)
        entries[i] = dir->children[i]->entry;
    return 0;
}

static int finish_dir(struct node *dir, const struct nj_object_sink *sink,
                      struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    nj_auto_free struct nj_tree_entry *entries = calloc(dir->n_children + 1, sizeof(*entries));
    nj_auto_free struct nj_stamp *stamps = calloc(dir->n_children + 1, sizeof(*stamps));
    int r;

    if (!entries || !stamps)
        return nj_fail_nomem(err);
    r = finish_children(dir, sink, entries, stamps, err);
    if (r < 0)
        return r;
    return nj_dir_put(sink, &(struct nj_tree){entries, dir->n_children},
                      &(struct nj_stamps){.mtime_ns = dir->mtime_ns,
                                          .entries = stamps,
                                          .n_entries = dir->n_children},
                      ret_ref, err);
}

int nj_tree_builder_finish(struct nj_tree_builder *builder, const struct nj_object_sink *sink,
                           struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    return finish_dir(&builder->root, sink, ret_ref, err);
}
