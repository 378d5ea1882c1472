/*
 * restore.c - make a tree from objects
 *
 * Entries are created in the recorded creation order, so that listings agree. The complication is
 * hard links: an inode's other names may have to be created before the one that the tree calls the
 * file, so whichever comes first makes the inode, and the content arrives when the file's own turn
 * comes. Trees are hostile: names were checked by the decoder, and no path is ever followed through
 * a link.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>

#include "batch/sandbox/restore_held.h"
#include "batch/sandbox/restore_inodes.h"
#include "batch/sandbox/restore_make.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* ---- our own changes ---- */

/* The kernel looks for each event among those of its queue that it could be joined with: in a full
 * one that is an eighth of a restore's time. */
#define UNHEARD_MAX 256u

void restore_forget_own(struct making *m)
{
    if (!m->changes || ++m->unheard < UNHEARD_MAX)
        return;
    if (m->is_heard)
        nj_changes_drain(m->changes);
    else
        nj_changes_forget_own(m->changes);
    m->unheard = 0;
}

/* ---- hard links ---- */

static struct pending *find_pending(const struct making *m, const char *target)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    size_t at;

    for (const char *c = target; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
    for (at = (size_t)(hash >> 20) & (m->room_pending - 1); m->pending[at].target;
         at = (at + 1) & (m->room_pending - 1)) {
        if (strcmp(m->pending[at].target, target) == 0)
            break;
    }
    return &m->pending[at];
}

static int grow_pending(struct making *m, struct nj_error *err)
{
    size_t old_room = m->room_pending;
    struct pending *old = m->pending;

    if (old_room > 2 * m->n_pending)
        return 0;
    m->room_pending = old_room ? 2 * old_room : 64;
    m->pending = calloc(m->room_pending, sizeof(*m->pending));
    if (!m->pending) {
        m->pending = old;
        m->room_pending = old_room;
        return nj_fail_nomem(err);
    }
    for (size_t i = 0; i < old_room; i++) {
        if (old[i].target)
            *find_pending(m, old[i].target) = old[i];
    }
    free(old);
    return 0;
}

/* link_at - a second name for the file at @path from the root */
static int link_at(struct making *m, const char *path, int dir_fd, const char *name,
                   struct nj_error *err)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    nj_auto_close int parent_fd = -1;
    char parent[NJ_OBJECT_TARGET_MAX_BYTES + 1];
    size_t len = slash ? (size_t)(slash - path) : 0;

    memcpy(parent, slash ? path : ".", slash ? len : 1);
    parent[slash ? len : 1] = '\0';
    parent_fd = table_open_at(m->root_fd, parent, O_PATH | O_DIRECTORY);
    if (parent_fd < 0 || linkat(parent_fd, base, dir_fd, name, 0) < 0)
        return nj_fail_errno(err, errno, "link to %s", path);
    return 0;
}

static const char *own_path(struct making *m, struct nj_error *err)
{
    const char *path = nj_arena_span(&m->made.arena, nj_buf_span(&m->path));

    if (!path)
        (void)nj_fail_nomem(err);
    return path;
}

/* create_file - empty, for writing; -1 with errno */
static int create_file(const struct making *m, int dir_fd, const char *name, uint64_t ino,
                       mode_t mode)
{
    if (!m->is_staged)
        return openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (restore_inode_take(m->root_fd, ino, dir_fd, name) < 0)
        return -1;
    return table_open_at(dir_fd, name, O_WRONLY);
}

static int make_hardlink(struct making *m, int dir_fd, const char *name,
                         const struct nj_tree_entry *entry, uint64_t ino, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct pending *pending;
    const char *target;
    int r;

    r = grow_pending(m, err);
    if (r < 0)
        return r;
    target = nj_arena_span(&m->made.arena, entry->target);
    if (!target)
        return nj_fail_nomem(err);
    pending = find_pending(m, target);
    if (pending->target)
        return link_at(m, pending->holder, dir_fd, name, err);
    *pending = (struct pending){target, target, true};
    m->n_pending++;
    fd = table_open_at(m->root_fd, target, O_PATH);
    if (fd >= 0) /* the file itself is there already */
        return link_at(m, target, dir_fd, name, err);
    pending->arrived = false;
    pending->holder = own_path(m, err);
    if (!pending->holder)
        return -(int)err->code;
    fd = create_file(m, dir_fd, name, ino, 0600);
    return fd < 0 ? nj_fail_errno(err, errno, "create") : 0;
}

/* ---- files ---- */

struct content {
    struct nj_fsio_sparse file;
    int awaited_by;
};

static bool is_gone(int pid_fd)
{
    struct pollfd polled = {pid_fd, POLLIN, 0};

    return pid_fd > 0 && poll(&polled, 1, 0) > 0;
}

static int write_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    struct content *content = ctx;

    if (is_gone(content->awaited_by))
        return nj_fail(err, NJ_E_CANCELLED, "nobody waits for it any more");
    return nj_fsio_sparse_write(&content->file, piece.data, piece.len, err);
}

int restore_count(struct making *m, uint64_t bytes, struct nj_error *err)
{
    if (bytes > m->max_file_bytes)
        return nj_fail(err, NJ_E_LIMIT,
                       "a file of %llu bytes where the workspace has room for %llu (max_size_mb)",
                       (unsigned long long)bytes, (unsigned long long)m->max_file_bytes);
    if (bytes > m->apparent_left)
        return nj_fail(err, NJ_E_LIMIT,
                       "with this file all claim more than %d times the %llu bytes that the "
                       "workspace has room for (max_size_mb)",
                       NJ_WORKSPACE_APPARENT_FACTOR, (unsigned long long)m->max_file_bytes);
    m->apparent_left -= bytes;
    return 0;
}

int restore_write_content(struct making *m, int fd, const struct nj_tree_entry *entry,
                          struct nj_error *err)
{
    struct content content = {.file.fd = fd, .awaited_by = m->awaited_by};
    int r = restore_count(m, entry->size, err);

    if (r >= 0)
        r = nj_parts_each(m->source, entry, write_piece, &content, err);
    return r < 0 ? r : nj_fsio_sparse_end(&content.file, err);
}

static int set_xattrs(int fd, const struct nj_tree_entry *entry, struct nj_error *err)
{
    for (size_t i = 0; i < entry->n_xattrs; i++) {
        const struct nj_xattr *xattr = &entry->xattrs[i];
        char name[NJ_OBJECT_NAME_MAX_BYTES + 1];

        memcpy(name, xattr->name.data, xattr->name.len); /* at most 255, by the decoder */
        name[xattr->name.len] = '\0';
        if (fsetxattr(fd, name, xattr->value.data, xattr->value.len, 0) < 0)
            return nj_fail_errno(err, errno, "set extended attribute %s", name);
    }
    return 0;
}

struct restore_dates restore_dates_of(const struct nj_stamp *stamp)
{
    return (struct restore_dates){stamp->mtime_ns,
                                  stamp->ino > 0 ? stamp->ctime_ns : stamp->mtime_ns};
}

int restore_set_time(const struct making *m, int dir_fd, const char *name,
                     struct restore_dates dates, struct nj_error *err)
{
    struct timespec times[2] = {{0, UTIME_NOW}, table_time(dates.mtime_ns)};
    int r;

    if (m->dates_all)
        times[0] = table_time(dates.ctime_ns);
    /* Without a name the descriptor itself is meant: futimens() would be the same call. */
    r = name ? utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) : futimens(dir_fd, times);
    return r < 0 ? nj_fail_errno(err, errno, "set a time") : 0;
}

static mode_t mode_of(const struct making *m, const struct nj_tree_entry *entry)
{
    if (!m->read_only)
        return (mode_t)entry->mode;
    return entry->type == NJ_FILE_DIRECTORY || entry->mode & 0111 ? 0555 : 0444;
}

static int remember(struct making *m, uint64_t ino, const struct nj_tree_entry *tree,
                    struct nj_error *err)
{
    struct table_entry *entry = nj_arena_alloc(&m->made.arena, sizeof(*entry));

    if (!entry)
        return nj_fail_nomem(err);
    entry->ino = ino;
    entry->trusted = true;
    entry->tree.type = tree->type;
    entry->tree.size = tree->size;
    entry->tree.digest = tree->digest;
    entry->tree.has_parts = tree->has_parts;
    entry->tree.parts = tree->parts;
    if (tree->has_parts) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        int r;

        nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
        r = nj_object_get(m->source, NJ_OBJECT_PARTS, &tree->parts, &bytes, err);
        if (r >= 0)
            r = nj_parts_decode(nj_buf_span(&bytes), &m->made.arena, &entry->parts, &entry->n_parts,
                                err);
        if (r < 0)
            return r;
    }
    if (tree->n_xattrs > 0) {
        struct nj_xattr *xattrs = nj_arena_array(&m->made.arena, tree->n_xattrs, sizeof(*xattrs));

        if (!xattrs)
            return nj_fail_nomem(err);
        for (size_t i = 0; i < tree->n_xattrs; i++) {
            const struct nj_xattr *from = &tree->xattrs[i];

            xattrs[i].name = (struct nj_span){
                (const uint8_t *)nj_arena_span(&m->made.arena, from->name), from->name.len};
            xattrs[i].value = (struct nj_span){
                (const uint8_t *)nj_arena_span(&m->made.arena, from->value), from->value.len};
            if (!xattrs[i].name.data || !xattrs[i].value.data)
                return nj_fail_nomem(err);
        }
        entry->tree.xattrs = xattrs;
        entry->tree.n_xattrs = tree->n_xattrs;
    }
    return table_remember(&m->made, entry, err);
}

static int make_file(struct making *m, int dir_fd, const char *name,
                     const struct nj_tree_entry *entry, const struct nj_stamp *stamp,
                     struct nj_error *err)
{
    struct pending *pending = NULL;
    mode_t mode = mode_of(m, entry);
    nj_auto_close int fd = -1;
    struct stat st;
    int r;

    if (m->n_pending > 0 && m->path.len <= NJ_OBJECT_TARGET_MAX_BYTES)
        pending = find_pending(m, (const char *)m->path.data);
    if (pending && pending->target && !pending->arrived) {
        r = link_at(m, pending->holder, dir_fd, name, err);
        if (r < 0)
            return r;
        pending->arrived = true;
        fd = table_open_at(dir_fd, name, O_WRONLY);
    } else {
        /* Attributes are for whoever may write, by the mode. */
        fd = create_file(m, dir_fd, name, stamp->ino, entry->n_xattrs > 0 ? 0600 : mode & 0777);
    }
    if (fd < 0)
        return nj_fail_errno(err, errno, "create");
    r = restore_write_content(m, fd, entry, err);
    if (r < 0)
        return r;
    if (!m->read_only) {
        r = set_xattrs(fd, entry, err);
        if (r < 0)
            return r;
    }
    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at a restored file");
    if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
        return nj_fail_errno(err, errno, "set a mode");
    r = restore_set_time(m, fd, NULL, restore_dates_of(stamp), err);
    if (r < 0 || m->read_only)
        return r;
    return remember(m, st.st_ino, entry, err);
}

static int make_node(const struct making *m, int dir_fd, const char *name, mode_t type, mode_t mode,
                     const struct nj_stamp *stamp, struct nj_error *err)
{
    int r = m->is_staged ? restore_inode_take(m->root_fd, stamp->ino, dir_fd, name)
                         : mknodat(dir_fd, name, type | mode, 0);

    if (r < 0)
        return nj_fail_errno(err, errno, "create");
    if (fchmodat(dir_fd, name, mode, 0) <
        0) /* just made, no link; the umask may have cut the mode */
        return nj_fail_errno(err, errno, "set a mode");
    return restore_set_time(m, dir_fd, name, restore_dates_of(stamp), err);
}

static int make_symlink(const struct making *m, int dir_fd, const char *name,
                        const struct nj_tree_entry *entry, const struct nj_stamp *stamp,
                        struct nj_error *err)
{
    char target[NJ_OBJECT_TARGET_MAX_BYTES + 1];
    int r;

    memcpy(target, entry->target.data, entry->target.len); /* bounded by the decoder */
    target[entry->target.len] = '\0';
    r = m->is_staged ? restore_inode_take(m->root_fd, stamp->ino, dir_fd, name)
                     : symlinkat(target, dir_fd, name);
    if (r < 0)
        return nj_fail_errno(err, errno, "create a link");
    return restore_set_time(m, dir_fd, name, restore_dates_of(stamp), err);
}

/* ---- directories ---- */

static int make_all(struct making *m, int dir_fd, const struct nj_digest *tree_digest,
                    const struct nj_digest *stamps_digest, unsigned depth, struct nj_error *err);

static int make_dir(struct making *m, int dir_fd, const char *name,
                    const struct nj_tree_entry *entry, const struct nj_stamp *stamp, unsigned depth,
                    struct nj_error *err)
{
    nj_auto_close int fd = -1;
    int r;

    if (!stamp->has_stamps)
        return nj_fail(err, NJ_E_CORRUPT, "a directory without stamps");
    r = m->is_staged ? restore_inode_take(m->root_fd, stamp->ino, dir_fd, name)
                     : mkdirat(dir_fd, name, 0700);
    if (r < 0)
        return nj_fail_errno(err, errno, "create a directory");
    fd = table_open_at(dir_fd, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open a directory");
    if (!m->read_only) {
        r = set_xattrs(fd, entry, err);
        if (r < 0)
            return r;
    }
    r = make_all(m, fd, &entry->digest, &stamp->stamps, depth + 1, err);
    if (r < 0)
        return r;
    return fchmod(fd, mode_of(m, entry)) < 0 ? nj_fail_errno(err, errno, "set a mode") : 0;
}

int restore_path_push(struct making *m, struct nj_span name, struct nj_error *err)
{
    int r = m->path.len > 0 ? nj_buf_text(&m->path, "/", err) : 0;

    return r < 0 ? r : nj_buf_append(&m->path, name.data, name.len, err);
}

void restore_path_cut(struct making *m, size_t len)
{
    m->path.len = len;
    m->path.data[len] = '\0';
}

int restore_make_entry(struct making *m, int dir_fd, const struct nj_tree_entry *entry,
                       const struct nj_stamp *stamp, unsigned depth, struct nj_error *err)
{
    char name[NJ_OBJECT_NAME_MAX_BYTES + 1];

    memcpy(name, entry->name.data, entry->name.len); /* bounded and checked by the decoder */
    name[entry->name.len] = '\0';
    switch (entry->type) {
    case NJ_FILE_REGULAR:
        return make_file(m, dir_fd, name, entry, stamp, err);
    case NJ_FILE_DIRECTORY:
        return make_dir(m, dir_fd, name, entry, stamp, depth, err);
    case NJ_FILE_SYMLINK:
        return make_symlink(m, dir_fd, name, entry, stamp, err);
    case NJ_FILE_HARDLINK:
        return make_hardlink(m, dir_fd, name, entry, stamp->ino, err);
    case NJ_FILE_FIFO:
        return make_node(m, dir_fd, name, S_IFIFO, mode_of(m, entry), stamp, err);
    case NJ_FILE_SOCKET:
        return make_node(m, dir_fd, name, S_IFSOCK, mode_of(m, entry), stamp, err);
    }
    return nj_fail(err, NJ_E_CORRUPT, "an entry of unknown type");
}

int restore_open_dir(const struct making *m, const struct nj_digest *tree_digest,
                     const struct nj_digest *stamps_digest, struct restore_opened *opened,
                     struct nj_error *err)
{
    int r;

    r = nj_tree_load(m->source, tree_digest, &opened->arena, &opened->tree, NULL, err);
    if (r >= 0)
        r = nj_stamps_load(m->source, stamps_digest, &opened->arena, &opened->stamps, err);
    if (r >= 0 && opened->stamps.n_entries != opened->tree.n_entries)
        r = nj_fail(err, NJ_E_CORRUPT, "%zu entries but %zu stamps", opened->tree.n_entries,
                    opened->stamps.n_entries);
    return r;
}

static int make_all(struct making *m, int dir_fd, const struct nj_digest *tree_digest,
                    const struct nj_digest *stamps_digest, unsigned depth, struct nj_error *err)
{
    NJ_AUTO(restore_opened_done) struct restore_opened opened = {0};
    size_t path_len = m->path.len;
    int r;

    if (depth > NJ_TREE_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree is deeper than %d", NJ_TREE_DEPTH_MAX);
    r = restore_open_dir(m, tree_digest, stamps_digest, &opened, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < opened.stamps.n_entries; i++) {
        const struct nj_stamp *stamp = &opened.stamps.entries[i];
        const struct nj_tree_entry *entry = nj_tree_find(&opened.tree, stamp->name);

        if (!entry) /* names are unique on both sides and as many, so each is met once */
            return nj_fail(err, NJ_E_CORRUPT, "stamps of a file that is not there");
        r = restore_path_push(m, entry->name, err);
        if (r >= 0)
            r = restore_make_entry(m, dir_fd, entry, stamp, depth, err);
        if (r < 0)
            return r;
        restore_path_cut(m, path_len);
        restore_forget_own(m);
    }
    return restore_set_time(m, dir_fd, NULL, restore_dates_of_dir(&opened.stamps), err);
}

void restore_making_done(struct making *m)
{
    table_done(&m->made);
    free(m->pending);
    nj_buf_done(&m->path);
}

static int make(struct making *m, const struct nj_workspace_ref *ref, struct nj_error *err)
{
    int r;

    nj_buf_init(&m->path, RESTORE_PATH_MAX_BYTES);
    r = make_all(m, m->root_fd, &ref->tree, &ref->stamps, 0, err);
    if (r < 0) {
        if (m->path.len > 0)
            return nj_wrap(err, "/%.200s", (const char *)m->path.data);
        return r;
    }
    for (size_t i = 0; i < m->room_pending; i++) {
        if (m->pending[i].target && !m->pending[i].arrived)
            return nj_fail(err, NJ_E_CORRUPT, "a hard link to /%.200s, which is not there",
                           m->pending[i].target);
    }
    return 0;
}

int nj_workspace_input(int dir_fd, const struct nj_workspace_ref *ref,
                       const struct nj_objects *objects, int engine_fd, struct nj_error *err)
{
    struct nj_object_source source = {
        .get = nj_objects_get, .ctx = (void *)(uintptr_t)objects, .view = nj_objects_view};
    NJ_AUTO(restore_making_done)
    struct making m = {.root_fd = dir_fd,
                       .read_only = true,
                       .awaited_by = engine_fd,
                       .source = &source,
                       .max_file_bytes = UINT64_MAX, /* no plan bounds what a run reads */
                       .apparent_left = UINT64_MAX};
    int r;

    r = make(&m, ref, err);
    if (r < 0)
        return r;
    return fchmod(dir_fd, 0555) < 0 ? nj_fail_errno(err, errno, "set a mode") : 0;
}

/* ---- a workspace that held something before ---- */

/* Two sources in turn: what came along, and what the box held. */
struct both {
    const struct nj_objects *first;
    struct nj_objects *second;
};

static int view_both(void *ctx, const struct nj_digest *digest, struct nj_span *ret_bytes,
                     struct nj_error *err)
{
    const struct both *both = ctx;

    if (nj_objects_has(both->first, digest))
        return nj_objects_view((void *)(uintptr_t)both->first, digest, ret_bytes, err);
    return nj_objects_view(both->second, digest, ret_bytes, err);
}

static int get_both(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                    struct nj_error *err)
{
    struct nj_span bytes = {NULL, 0};
    int r = view_both(ctx, digest, &bytes, err);

    return r < 0 ? r : nj_buf_append(out, bytes.data, bytes.len, err);
}

static int discard(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    (void)ctx;
    (void)object;
    (void)err;
    return 0;
}

int restore_prove(struct nj_workspace *workspace, const struct table *known, unsigned flags,
                  const struct nj_workspace_ref *ref, struct nj_error *err)
{
    static const struct nj_object_sink nowhere = {discard, NULL};
    NJ_AUTO(table_done) struct table table = {0};
    struct nj_workspace_capture capture;
    int r = table_capture(workspace, known, flags, &nowhere, &table, &capture, err);

    if (r != 0)
        return r;
    /* With other inode numbers the stamps cannot be the same. */
    if (!nj_digest_equal(&capture.ref.tree, &ref->tree) ||
        (!workspace->renumbered && !nj_digest_equal(&capture.ref.stamps, &ref->stamps)))
        return nj_fail(err, NJ_E_CORRUPT, "the restored %s is not what was asked for",
                       nj_digest_equal(&capture.ref.tree, &ref->tree) ? "listing or a time"
                                                                      : "tree");
    return table_replace(&workspace->table, &table, err);
}

int nj_workspace_restore(struct nj_workspace *workspace, const struct nj_workspace_ref *ref,
                         const struct nj_objects *objects, struct nj_error *err)
{
    NJ_AUTO(nj_objects_close) struct nj_objects held = {0};
    struct both both = {objects, &held};
    struct nj_object_source source = {.get = get_both, .ctx = &both, .view = view_both};
    NJ_AUTO(restore_making_done)
    struct making m = {.root_fd = workspace->root_fd,
                       .dates_all = workspace->times,
                       .source = &source,
                       .changes = workspace->changes};
    const struct table_dir *root = workspace->table.root;
    struct nj_error
        changed_err; /* whatever it is: all of it is made, and that says what is wrong */
    uint64_t next_ino = 0;
    bool is_plain = false;
    int r = 0;

    restore_bound(&m, workspace->max_size_bytes);
    if (root && nj_digest_equal(&root->tree.digest, &ref->tree) &&
        nj_digest_equal(&root->stamps.digest, &ref->stamps))
        return 0; /* nothing ran since the capture that named it */
    /* What is made anew need not be read again by a whole restore: where nothing is there, it pays.
     */
    if (root && root->files > 0 && restore_changed(workspace, ref, objects, &changed_err) == 0)
        return 0;
    root = workspace->table.root; /* another one where only memory for the index was lacking */
    if (root && root->files > 0 && !restore_is_complete(objects, ref))
        r = restore_save(workspace, &held, err);
    if (r >= 0)
        r = restore_wipe(workspace, err);
    if (r >= 0 && workspace->times) {
        workspace->next_ino = 0;
        r = restore_inodes(workspace->root_fd, &source, ref, &next_ino, err);
        m.is_staged = r == 0;
        workspace->renumbered = r == 2;
        is_plain = r == 1;
    }
    if (r >= 0)
        r = make(&m, ref, err);
    if (r >= 0 && m.is_staged) {
        r = restore_inodes_skip(workspace->root_fd, next_ino, err);
        workspace->renumbered = r == 2;
        workspace->next_ino = r == 0 ? next_ino : 0;
    }
    if (r >= 0)
        r = table_index(&m.made, err);
    if (r >= 0)
        r = restore_prove(workspace, &m.made, is_plain ? TABLE_PLAIN : 0, ref, err);
    if (r < 0)
        return r;
    nj_changes_drain(workspace->changes); /* our own, all of them known by now */
    nj_changes_done_with(workspace->changes);
    return 0;
}
