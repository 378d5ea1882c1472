/*
 * capture.c - walk a tree, read what changed, name the whole
 *
 * Where every change was told (changes.h says inodes), only directories that lead to one are looked
 * at, and in them only what changed; the rest is shared with the table before. Otherwise every
 * directory is looked at, and a file is read when its inode, size or times differ from what is
 * remembered. The complication is what no tree can hold (README.md): it is removed, so that the
 * box and its captured state stay one, and the caller tells the agent.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "batch/sandbox/walk.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define DIRENT_BYTES (32u << 10)
/* A directory's encoded entries must fit into one object; what an entry needs beside its variable
 * parts. */
#define ENTRY_BYTES 160
#define DIRECTORY_BYTES (NJ_OBJECT_MAX_BYTES - (1u << 20))

/* date - write the times that programs saw into a changed inode; @name NULL: of @fd itself. @st is
 * as after that. */
static int date(const struct walk *w, int fd, const char *name, struct stat *st,
                struct nj_error *err)
{
    int64_t mtime_ns, ctime_ns;
    struct timespec times[2];
    int r;

    if (!w->times || !nj_times_changed(w->times, st->st_ino))
        return 0;
    nj_times_find(w->times, st->st_ino, table_mtime_ns(st), table_atime_ns(st), &mtime_ns,
                  &ctime_ns);
    times[0] = table_time(ctime_ns);
    times[1] = table_time(mtime_ns);
    r = name ? utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW) : futimens(fd, times);
    if (r >= 0)
        r = name ? fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) : fstat(fd, st);
    return r < 0 ? nj_fail_errno(err, errno, "date a file") : 0;
}

/* remove_entry - what no tree can hold */
static int remove_entry(struct walk *w, int dir_fd, const char *name, const struct stat *st,
                        struct nj_error *err)
{
    w->capture->removed++;
    if (w->times) {
        nj_times_note(w->times, w->dir->ino, NJ_TIMES_ENTRIES);
        nj_times_settle(w->times, 0);
    }
    if ((uint64_t)st->st_size > w->capture->removed_bytes && S_ISREG(st->st_mode))
        w->capture->removed_bytes = (uint64_t)st->st_size;
    if (S_ISDIR(st->st_mode))
        return nj_fsio_remove_tree(dir_fd, name, err);
    return unlinkat(dir_fd, name, 0) < 0 ? nj_fail_errno(err, errno, "remove a file") : 0;
}

/* ---- directories ---- */

static int compare_names(const void *a, const void *b)
{
    const struct table_entry *first = a, *second = b;
    size_t shared =
        first->tree.name.len < second->tree.name.len ? first->tree.name.len : second->tree.name.len;
    int order = memcmp(first->tree.name.data, second->tree.name.data, shared);

    if (order)
        return order;
    return (first->tree.name.len > second->tree.name.len) -
           (first->tree.name.len < second->tree.name.len);
}

struct kernel_dirent {
    uint64_t ino;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

/* list - the entries' names and inodes in the order the kernel tells them; n_parts holds that order
 * for the moment */
static int list(struct walk *w, int dir_fd, struct table_entry **ret_entries, size_t *ret_n,
                struct nj_error *err)
{
    nj_auto_free uint8_t *buffer = malloc(DIRENT_BYTES);
    nj_auto_free struct table_entry *entries = NULL;
    size_t n = 0, room = 0;

    if (!buffer)
        return nj_fail_nomem(err);
    for (;;) {
        long got = syscall(SYS_getdents64, dir_fd, buffer, DIRENT_BYTES);

        if (got < 0)
            return nj_fail_errno(err, errno, "list a directory");
        if (got == 0)
            break;
        for (long at = 0; at < got;) {
            struct kernel_dirent *dirent = (struct kernel_dirent *)(void *)(buffer + at);
            const char *name = dirent->name;

            at += dirent->bytes;
            if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                continue;
            if (n == room) {
                struct table_entry *more;

                room = room ? 2 * room : 32;
                more = reallocarray(entries, room, sizeof(*entries));
                if (!more)
                    return nj_fail_nomem(err);
                entries = more;
            }
            entries[n] = (struct table_entry){.ino = dirent->ino, .n_parts = n};
            entries[n].tree.name = nj_span_text(nj_arena_text(&w->dir->arena, name));
            if (!entries[n++].tree.name.data)
                return nj_fail_nomem(err);
        }
    }
    *ret_entries = NULL;
    if (n > 0) {
        *ret_entries = nj_arena_array(&w->dir->arena, n, sizeof(**ret_entries));
        if (!*ret_entries)
            return nj_fail_nomem(err);
        memcpy(*ret_entries, entries, n * sizeof(*entries));
    }
    *ret_n = n;
    return 0;
}

static int capture_dir(struct walk *w, int dir_fd, const struct table_dir *old, unsigned depth,
                       struct table_dir **ret_dir, struct nj_error *err);

static bool is_due(const struct walk *w, const struct table_dir *dir)
{
    return !(w->flags & TABLE_CHANGES) || dir->due == w->number || dir->several;
}

/* note_dir - that the directory looked at has @dir in it */
static void note_dir(struct walk *w, const struct table_dir *dir)
{
    w->dir->several |= dir->several;
    if (w->dir->height <= dir->height)
        w->dir->height = dir->height + 1;
}

/* keep_dir - all of a directory as it is remembered. Returns 0, or 2 when it does not fit in here.
 */
static int keep_dir(struct walk *w, const struct table_entry *old, unsigned depth,
                    struct table_entry *entry, struct nj_error *err)
{
    if (depth + old->dir->height >= NJ_TREE_DEPTH_MAX - 1 ||
        !walk_count(w, old->dir->bytes, old->dir->files))
        return 2;
    entry->dir = table_dir_ref(old->dir);
    entry->tree.digest = old->dir->tree.digest;
    note_dir(w, old->dir);
    return table_remember(w->table, entry, err);
}

static int look_at_dir(struct walk *w, int dir_fd, const char *name, const struct stat *st,
                       unsigned depth, struct table_entry *entry, struct nj_error *err)
{
    const struct table_entry *old = table_find(w->old, st->st_ino);
    nj_auto_close int fd = -1;
    int r;

    if (depth >= NJ_TREE_DEPTH_MAX - 1)
        return 1;
    fd = table_open_at(dir_fd, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open a directory");
    entry->tree.type = NJ_FILE_DIRECTORY;
    entry->tree.mode = st->st_mode & 07777;
    r = walk_read_xattrs(w, fd, &entry->tree, err);
    if (r < 0)
        return r;
    if (old && old->dir && !is_due(w, old->dir))
        return keep_dir(w, old, depth, entry, err);
    r = capture_dir(w, fd, old && old->dir ? old->dir : NULL, depth + 1, &entry->dir, err);
    if (r != 0)
        return r;
    entry->tree.digest = entry->dir->tree.digest;
    w->dir->bytes += entry->dir->bytes;
    w->dir->files += entry->dir->files;
    note_dir(w, entry->dir);
    return table_remember(w->table, entry, err);
}

static int look_at_link(struct walk *w, int dir_fd, const char *name, struct table_entry *entry,
                        struct nj_error *err)
{
    char target[NJ_OBJECT_TARGET_MAX_BYTES + 1];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof(target));

    if (len < 0)
        return nj_fail_errno(err, errno, "read a link");
    if (len == 0 || len > NJ_OBJECT_TARGET_MAX_BYTES)
        return 1;
    entry->tree.type = NJ_FILE_SYMLINK;
    entry->tree.target.data = (const uint8_t *)nj_arena_span(
        &w->dir->arena, (struct nj_span){(const uint8_t *)target, (size_t)len});
    entry->tree.target.len = (size_t)len;
    return entry->tree.target.data ? 0 : nj_fail_nomem(err);
}

/* look_at - one entry. Returns 0, 1 when no tree can hold it, or 2 when all directories must be
 * looked at. */
static int look_at(struct walk *w, int dir_fd, const struct stat *st, unsigned depth,
                   struct table_entry *entry, struct nj_error *err)
{
    const char *name = (const char *)entry->tree.name.data;
    int r = 0;

    entry->ino = st->st_ino;
    entry->mtime_ns = table_mtime_ns(st);
    entry->ctime_ns = table_ctime_ns(st);
    entry->shown_ctime_ns = table_atime_ns(st);
    if (S_ISREG(st->st_mode))
        return walk_file(w, dir_fd, name, st, entry, err);
    if (S_ISDIR(st->st_mode))
        return look_at_dir(w, dir_fd, name, st, depth, entry, err);
    if (!S_ISLNK(st->st_mode) && !S_ISFIFO(st->st_mode) && !S_ISSOCK(st->st_mode))
        return 1;
    /* A change of one with several names is told of one of them: all are looked at. */
    entry->several = st->st_nlink > 1;
    w->dir->several |= entry->several;
    if (S_ISLNK(st->st_mode)) {
        r = look_at_link(w, dir_fd, name, entry, err);
    } else {
        entry->tree.type = S_ISFIFO(st->st_mode) ? NJ_FILE_FIFO : NJ_FILE_SOCKET;
        entry->tree.mode = st->st_mode & 07777;
    }
    return r == 0 ? table_remember(w->table, entry, err) : r;
}

static size_t encoded_bytes(const struct nj_tree_entry *entry)
{
    size_t bytes = ENTRY_BYTES + entry->name.len + entry->target.len;

    for (size_t i = 0; i < entry->n_xattrs; i++)
        bytes += entry->xattrs[i].name.len + entry->xattrs[i].value.len + 8;
    return bytes;
}

/* was - the entry of @old that has this name; both lists are sorted, *at moves along */
static const struct table_entry *was(const struct table_dir *old, size_t *at,
                                     const struct table_entry *entry)
{
    int order = -1;

    while (old && *at < old->n_entries && (order = compare_names(&old->entries[*at], entry)) < 0)
        ++*at;
    return order == 0 ? &old->entries[*at] : NULL;
}

/* is_kept - nothing was told of it, so it is what it was. An inode number is not used twice. */
static bool is_kept(const struct walk *w, const struct table_entry *old, uint64_t ino)
{
    return w->flags & TABLE_CHANGES && old && old->ino == ino && !old->several &&
           !nj_changes_has(w->changes, ino, w->dir->ino, (const char *)old->tree.name.data,
                           false) &&
           (!old->dir || !is_due(w, old->dir));
}

/* keep - an entry as it is remembered, without a look at it */
static int keep(struct walk *w, const struct table_entry *old, unsigned depth,
                struct table_entry *entry, struct nj_error *err)
{
    struct nj_span target = old->tree.target;
    int r;

    entry->ino = old->ino;
    entry->mtime_ns = old->mtime_ns;
    entry->ctime_ns = old->ctime_ns;
    entry->shown_ctime_ns = old->shown_ctime_ns;
    entry->tree.type = old->tree.type;
    entry->tree.mode = old->tree.mode;
    entry->tree.size = old->tree.size;
    if (target.len > 0) {
        entry->tree.target.data = (const uint8_t *)nj_arena_span(&w->dir->arena, target);
        entry->tree.target.len = target.len;
        if (!entry->tree.target.data)
            return nj_fail_nomem(err);
    }
    r = walk_reuse(w, old, entry, err);
    if (r < 0)
        return r;
    if (old->dir)
        return keep_dir(w, old, depth, entry, err);
    if (old->tree.type == NJ_FILE_REGULAR && !walk_count(w, old->tree.size, 1))
        return 2;
    return table_remember(w->table, entry, err);
}

/* look_at_all - the entries in the order of their names; those that cannot be kept are removed,
 * here and in the tree. @listed gets each kept entry's place in the listing. */
static int look_at_all(struct walk *w, int dir_fd, const struct table_dir *old, unsigned depth,
                       size_t n, uint32_t *listed, struct nj_error *err)
{
    size_t path_len = w->path_len, bytes = 0, at = 0;
    struct table_dir *dir = w->dir;

    for (size_t i = 0; i < n; i++) {
        struct table_entry *entry = &dir->entries[dir->n_entries], found = dir->entries[i];
        const char *name = (const char *)found.tree.name.data;
        const struct table_entry *before = was(old, &at, &found);
        struct stat st = {0};
        int r;

        *entry = (struct table_entry){.tree.name = found.tree.name, .in = dir};
        w->before = before;
        w->path_len = path_len + (path_len > 0) + found.tree.name.len;
        if (w->path_len < PATH_BYTES) {
            if (path_len > 0)
                w->path[path_len] = '/';
            memcpy(w->path + w->path_len - found.tree.name.len, name, found.tree.name.len);
        }
        if (is_kept(w, before, found.ino)) {
            r = keep(w, before, depth, entry, err);
        } else if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            r = nj_fail_errno(err, errno, "look at an entry");
        } else {
            /* A directory gets its times behind all that is in it. */
            r = S_ISDIR(st.st_mode) ? 0 : date(w, dir_fd, name, &st, err);
            if (r == 0)
                r = look_at(w, dir_fd, &st, depth, entry, err);
        }
        bytes += encoded_bytes(&entry->tree);
        if (r == 0 && (bytes > DIRECTORY_BYTES || dir->n_entries >= NJ_TREE_ENTRIES_MAX))
            r = w->flags & TABLE_CHANGES ? 2 : 1;
        if (r == 0)
            listed[dir->n_entries++] = (uint32_t)found.n_parts;
        else
            table_dir_unref(nj_steal_ptr(&entry->dir), NULL);
        if (r == 1)
            r = remove_entry(w, dir_fd, name, &st, err);
        if (r != 0)
            return r;
    }
    w->path_len = path_len;
    return 0;
}

/* creation_order - tmpfs lists the newest first; @listed holds the places of the sorted entries in
 * that list */
static int creation_order(struct walk *w, const uint32_t *listed, size_t kept, size_t n,
                          uint32_t **ret_order, struct nj_error *err)
{
    nj_auto_free uint32_t *by_place = NULL;
    uint32_t *order;
    size_t at = 0;

    *ret_order = NULL;
    if (kept == 0)
        return 0;
    by_place = malloc(n * sizeof(*by_place));
    order = nj_arena_array(&w->dir->arena, kept, sizeof(*order));
    if (!by_place || !order)
        return nj_fail_nomem(err);
    memset(by_place, 0xff, n * sizeof(*by_place));
    for (size_t i = 0; i < kept; i++)
        by_place[listed[i]] = (uint32_t)i;
    for (size_t i = n; i-- > 0;) {
        if (by_place[i] != UINT32_MAX)
            order[at++] = by_place[i];
    }
    *ret_order = order;
    return 0;
}

static bool same_entry(const struct table_entry *a, const struct table_entry *b)
{
    const struct nj_tree_entry *x = &a->tree, *y = &b->tree;

    return nj_span_equal(x->name, y->name) && x->type == y->type && x->mode == y->mode &&
           x->size == y->size && nj_digest_equal(&x->digest, &y->digest) &&
           x->has_parts == y->has_parts && nj_digest_equal(&x->parts, &y->parts) &&
           nj_span_equal(x->target, y->target) && walk_same_xattrs(x, y);
}

static bool same_tree(const struct table_dir *a, const struct table_dir *b)
{
    if (a->n_entries != b->n_entries)
        return false;
    for (size_t i = 0; i < a->n_entries; i++) {
        if (!same_entry(&a->entries[i], &b->entries[i]))
            return false;
    }
    return true;
}

/* same_stamps - of directories that have the same tree */
static bool same_stamps(const struct table_dir *a, const struct table_dir *b)
{
    if (a->mtime_ns != b->mtime_ns || a->identified != b->identified ||
        (b->identified && a->shown_ctime_ns != b->shown_ctime_ns))
        return false;
    for (size_t i = 0; i < a->n_entries; i++) {
        const struct table_entry *x = &a->entries[i], *y = &b->entries[i];

        if (a->order[i] != b->order[i] || x->mtime_ns != y->mtime_ns)
            return false;
        if (b->identified && (x->ino != y->ino || x->shown_ctime_ns != y->shown_ctime_ns))
            return false;
        if (a->entries[i].dir &&
            !nj_digest_equal(&a->entries[i].dir->stamps.digest, &b->entries[i].dir->stamps.digest))
            return false;
    }
    return true;
}

static int name_tree(struct walk *w, const struct table_dir *old, struct table_dir *dir,
                     struct nj_error *err)
{
    nj_auto_free struct nj_tree_entry *entries = NULL;
    struct nj_tree tree;

    entries = malloc((dir->n_entries + 1) * sizeof(*entries));
    if (!entries)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < dir->n_entries; i++)
        entries[i] = dir->entries[i].tree;
    tree = (struct nj_tree){entries, dir->n_entries};
    return nj_tree_put(w->sink, &tree, old ? &old->tree : NULL, &dir->arena, &dir->tree, err);
}

static int name_stamps(struct walk *w, const struct table_dir *old, struct table_dir *dir,
                       bool is_root, struct nj_error *err)
{
    nj_auto_free struct nj_stamp *entries = NULL;
    struct nj_stamps stamps;

    entries = calloc(dir->n_entries + 1, sizeof(*entries));
    if (!entries)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < dir->n_entries; i++) {
        const struct table_entry *entry = &dir->entries[dir->order[i]];

        entries[i].name = entry->tree.name;
        entries[i].mtime_ns = entry->mtime_ns;
        if (entry->dir) {
            entries[i].has_stamps = true;
            entries[i].stamps = entry->dir->stamps.digest;
            entries[i].mtime_ns = entry->dir->mtime_ns;
        }
        if (w->identified) {
            entries[i].ino = entry->ino;
            entries[i].ctime_ns = entry->dir ? entry->dir->shown_ctime_ns : entry->shown_ctime_ns;
        }
    }
    stamps = (struct nj_stamps){
        .mtime_ns = dir->mtime_ns, .entries = entries, .n_entries = dir->n_entries};
    if (w->identified) {
        stamps.has_ctime = true;
        stamps.ctime_ns = dir->shown_ctime_ns;
        stamps.next_ino = is_root ? w->next_ino : 0;
    }
    return nj_stamps_put(w->sink, &stamps, old ? &old->stamps : NULL, &dir->arena, &dir->stamps,
                         err);
}

/* fill_dir - all but the names of the new directory */
static int fill_dir(struct walk *w, int dir_fd, const struct table_dir *old, unsigned depth,
                    struct table_dir *dir, struct nj_error *err)
{
    nj_auto_free uint32_t *listed = NULL;
    struct stat st;
    size_t n = 0;
    int r;

    if (fstat(dir_fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at a directory");
    dir->ino = st.st_ino;
    if (!old)
        nj_changes_watch(w->changes, dir_fd, st.st_ino);
    r = list(w, dir_fd, &dir->entries, &n, err);
    if (r < 0)
        return r;
    if (n > 1)
        qsort(dir->entries, n, sizeof(*dir->entries), compare_names);
    listed = malloc((n + 1) * sizeof(*listed));
    if (!listed)
        return nj_fail_nomem(err);
    r = look_at_all(w, dir_fd, old, depth, n, listed, err);
    if (r == 0)
        r = creation_order(w, listed, dir->n_entries, n, &dir->order, err);
    if (r != 0)
        return r;
    if (fstat(dir_fd, &st) < 0) /* after removals, which change it */
        return nj_fail_errno(err, errno, "look at a directory");
    r = date(w, dir_fd, NULL, &st, err);
    if (r < 0)
        return r;
    dir->mtime_ns = table_mtime_ns(&st);
    dir->shown_ctime_ns = table_atime_ns(&st);
    dir->identified = w->identified;
    for (size_t i = 0; i < dir->n_entries; i++) {
        if (dir->entries[i].dir)
            dir->entries[i].dir->parent = dir;
    }
    return 0;
}

/* keep_stored - one side of the directory is stored as it was; @dir outlives the one before */
static int keep_stored(struct table_dir *dir, const struct nj_dir_stored *from,
                       struct nj_dir_stored *ret_to, struct nj_error *err)
{
    struct nj_leaf *leaves = NULL;

    if (from->n_leaves > 0) {
        leaves = nj_arena_array(&dir->arena, from->n_leaves, sizeof(*leaves));
        if (!leaves)
            return nj_fail_nomem(err);
        memcpy(leaves, from->leaves, from->n_leaves * sizeof(*leaves));
    }
    *ret_to = (struct nj_dir_stored){from->digest, leaves, from->n_leaves};
    return 0;
}

static int name_dir(struct walk *w, const struct table_dir *old, bool is_root,
                    struct table_dir *dir, struct nj_error *err)
{
    int r;

    if (!old || !same_tree(old, dir)) {
        r = name_tree(w, old, dir, err);
        return r < 0 ? r : name_stamps(w, old, dir, is_root, err);
    }
    r = keep_stored(dir, &old->tree, &dir->tree, err);
    if (r < 0)
        return r;
    /* The root's also tell the next inode number. */
    if (same_stamps(old, dir) && !(is_root && w->identified))
        return keep_stored(dir, &old->stamps, &dir->stamps, err);
    return name_stamps(w, old, dir, is_root, err);
}

/* capture_dir - what is in the directory. Returns 0, or 2 when all directories must be looked at.
 */
static int capture_dir(struct walk *w, int dir_fd, const struct table_dir *old, unsigned depth,
                       struct table_dir **ret_dir, struct nj_error *err)
{
    struct table_dir *dir = table_dir_new(), *around = w->dir;
    int r;

    if (!dir)
        return nj_fail_nomem(err);
    w->dir = dir;
    r = fill_dir(w, dir_fd, old, depth, dir, err);
    if (r == 0)
        r = name_dir(w, old, !around, dir, err);
    w->dir = around;
    if (r == 0)
        *ret_dir = dir;
    else
        table_dir_unref(dir, NULL);
    return r;
}

static int walk(struct walk *w, struct nj_error *err)
{
    struct table_dir *old = w->old->root;
    int r;

    if (old && !is_due(w, old)) {
        w->table->root = table_dir_ref(old);
        return 0;
    }
    r = capture_dir(w, w->root_fd, old, 0, &w->table->root, err);
    /* Where something was removed, its entry may be remembered still: the caller looks again. */
    if (r == 0 && !(w->flags & TABLE_CHANGES) && w->capture->removed == 0)
        r = table_index(w->table, err);
    return r == 2 ? 1 : r;
}

int table_capture(struct nj_workspace *workspace, const struct table *old, unsigned flags,
                  const struct nj_object_sink *sink, struct table *ret_table,
                  struct nj_workspace_capture *ret_capture, struct nj_error *err)
{
    nj_auto_free struct walk *w = calloc(1, sizeof(*w));
    nj_auto_free uint8_t *buffer = malloc(NJ_OBJECT_PART_BYTES);
    nj_auto_close int root_fd = -1;
    int r;

    if (!w || !buffer)
        return nj_fail_nomem(err);
    *ret_capture = (struct nj_workspace_capture){0};
    root_fd = openat(workspace->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0) /* a description of its own: listing moves a position */
        return nj_fail_errno(err, errno, "open the workspace");
    *w = (struct walk){
        .root_fd = root_fd,
        .old = old,
        .table = ret_table,
        .flags = flags,
        .number = workspace->captures,
        .changes = workspace->changes,
        .times = flags & TABLE_DATE ? workspace->times : NULL,
        .identified = workspace->times && !(flags & TABLE_PLAIN),
        .next_ino = workspace->next_ino,
        .sink = sink,
        .capture = ret_capture,
        .apparent_left = workspace->max_size_bytes * NJ_WORKSPACE_APPARENT_FACTOR,
        .max_file_bytes = workspace->max_size_bytes,
        .buffer = buffer,
    };
    if (w->max_file_bytes > (uint64_t)NJ_PARTS_MAX * NJ_OBJECT_PART_BYTES)
        w->max_file_bytes = (uint64_t)NJ_PARTS_MAX * NJ_OBJECT_PART_BYTES;
    r = walk(w, err);
    free(w->links);
    nj_arena_done(&w->scratch);
    if (r != 0)
        return r;
    ret_capture->files = ret_table->root->files;
    ret_capture->ref.tree = ret_table->root->tree.digest;
    ret_capture->ref.stamps = ret_table->root->stamps.digest;
    return 0;
}
