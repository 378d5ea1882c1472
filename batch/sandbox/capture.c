/*
 * capture.c - walk a tree, read what changed, name the whole
 *
 * Every directory is looked at; a file is read only when its inode, size or times differ from what
 * is remembered. The complication is what no tree can hold (README.md): it is removed, so that the
 * box and its captured state stay one, and the caller tells the agent.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "batch/sandbox/table.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define DIRENT_BYTES (32u << 10)
#define PATH_BYTES (NJ_OBJECT_TARGET_MAX_BYTES + 1)
/* A directory's encoded entries must fit into one object; what an entry needs beside its variable
 * parts. */
#define ENTRY_BYTES 160
#define DIRECTORY_BYTES (NJ_OBJECT_MAX_BYTES - (1u << 20))
#define XATTR_LIST_BYTES 65536

struct walk {
    int root_fd;
    const struct table *old;
    struct table *table;
    unsigned flags;
    struct nj_changes *changes;
    const struct nj_object_sink *sink;
    struct nj_workspace_capture *capture;
    uint64_t dir_ino; /* of the directory whose entries are looked at */
    uint64_t apparent_left;
    uint64_t max_file_bytes;
    uint8_t *buffer; /* one part */
    char path[PATH_BYTES];
    size_t path_len;             /* beyond PATH_BYTES: path holds nothing useful */
    struct table_entry **inodes; /* for the index, heap */
    size_t n_inodes;
    size_t room_inodes;
    struct link *links; /* heap, open addressing by inode */
    size_t n_links;
    size_t room_links;
};

/* The first name of an inode that has several. */
struct link {
    uint64_t ino;        /* 0: free */
    struct nj_span path; /* in the arena */
};

/* ---- small tools ---- */

static int remember_inode(struct walk *w, struct table_entry *entry, struct nj_error *err)
{
    if (w->n_inodes == w->room_inodes) {
        size_t room = w->room_inodes ? 2 * w->room_inodes : 256;
        struct table_entry **inodes = reallocarray(w->inodes, room, sizeof(struct table_entry *));

        if (!inodes)
            return nj_fail_nomem(err);
        w->inodes = inodes;
        w->room_inodes = room;
    }
    w->inodes[w->n_inodes++] = entry;
    return 0;
}

static struct link *find_link(struct walk *w, uint64_t ino)
{
    size_t at = (size_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (w->room_links - 1);

    while (w->links[at].ino != 0 && w->links[at].ino != ino)
        at = (at + 1) & (w->room_links - 1);
    return &w->links[at];
}

/* first_name - of the inode, when it was met before: its path; else note the present path */
static int first_name(struct walk *w, uint64_t ino, struct nj_span *ret_path, struct nj_error *err)
{
    struct link *link;

    if (2 * w->n_links >= w->room_links) {
        size_t old_room = w->room_links, room = old_room ? 2 * old_room : 64;
        struct link *old = w->links;

        w->links = calloc(room, sizeof(*w->links));
        if (!w->links) {
            w->links = old;
            return nj_fail_nomem(err);
        }
        w->room_links = room;
        for (size_t i = 0; i < old_room; i++) {
            if (old[i].ino != 0)
                *find_link(w, old[i].ino) = old[i];
        }
        free(old);
    }
    link = find_link(w, ino);
    if (link->ino == 0) {
        struct nj_span path = {(const uint8_t *)w->path, w->path_len};

        link->path.data = (const uint8_t *)nj_arena_span(&w->table->arena, path);
        if (!link->path.data)
            return nj_fail_nomem(err);
        link->path.len = w->path_len;
        link->ino = ino;
        w->n_links++;
        *ret_path = (struct nj_span){NULL, 0};
        return 0;
    }
    *ret_path = link->path;
    return 0;
}

/* remove_entry - what no tree can hold */
static int remove_entry(struct walk *w, int dir_fd, const char *name, const struct stat *st,
                        struct nj_error *err)
{
    w->capture->removed++;
    if ((uint64_t)st->st_size > w->capture->removed_bytes && S_ISREG(st->st_mode))
        w->capture->removed_bytes = (uint64_t)st->st_size;
    if (S_ISDIR(st->st_mode))
        return nj_fsio_remove_tree(dir_fd, name, err);
    return unlinkat(dir_fd, name, 0) < 0 ? nj_fail_errno(err, errno, "remove a file") : 0;
}

/* ---- extended attributes ---- */

static int compare_xattrs(const void *a, const void *b)
{
    const struct nj_xattr *first = a, *second = b;
    size_t shared = first->name.len < second->name.len ? first->name.len : second->name.len;
    int order = memcmp(first->name.data, second->name.data, shared);

    return order ? order
                 : (first->name.len > second->name.len) - (first->name.len < second->name.len);
}

static int read_xattr(struct walk *w, int fd, const char *name, struct nj_xattr *xattr,
                      struct nj_error *err)
{
    nj_auto_free char *value = malloc(NJ_TREE_XATTR_VALUE_MAX_BYTES);
    ssize_t len;

    if (!value)
        return nj_fail_nomem(err);
    len = fgetxattr(fd, name, value, NJ_TREE_XATTR_VALUE_MAX_BYTES);
    if (len < 0)
        return nj_fail_errno(err, errno, "read an extended attribute");
    xattr->name = nj_span_text(nj_arena_text(&w->table->arena, name));
    xattr->value.data = (const uint8_t *)nj_arena_span(
        &w->table->arena, (struct nj_span){(const uint8_t *)value, (size_t)len});
    xattr->value.len = (size_t)len;
    return xattr->name.data && xattr->value.data ? 0 : nj_fail_nomem(err);
}

/* read_xattrs - "user." ones; beyond what a tree can hold they are removed, later names first */
static int read_xattrs(struct walk *w, int fd, struct nj_tree_entry *entry, struct nj_error *err)
{
    nj_auto_free char *names = NULL;
    struct nj_xattr *xattrs;
    size_t n = 0, count = 0;
    ssize_t len;

    entry->xattrs = NULL;
    entry->n_xattrs = 0;
    len = flistxattr(fd, NULL, 0);
    if (len == 0 || (len < 0 && errno == ENOTSUP))
        return 0;
    names = malloc(XATTR_LIST_BYTES);
    if (!names)
        return nj_fail_nomem(err);
    len = flistxattr(fd, names, XATTR_LIST_BYTES);
    if (len < 0)
        return nj_fail_errno(err, errno, "list extended attributes");
    for (const char *at = names; at < names + len; at += strlen(at) + 1)
        count += strncmp(at, "user.", 5) == 0 && at[5] != '\0';
    if (count == 0)
        return 0;
    xattrs = nj_arena_array(&w->table->arena, count, sizeof(*xattrs));
    if (!xattrs)
        return nj_fail_nomem(err);
    for (const char *at = names; at < names + len; at += strlen(at) + 1) {
        int r;

        if (strncmp(at, "user.", 5) != 0 || at[5] == '\0')
            continue;
        r = read_xattr(w, fd, at, &xattrs[n++], err);
        if (r < 0)
            return r;
    }
    qsort(xattrs, n, sizeof(*xattrs), compare_xattrs);
    for (; n > NJ_TREE_XATTRS_MAX; n--) {
        if (fremovexattr(fd, (const char *)xattrs[n - 1].name.data) < 0)
            return nj_fail_errno(err, errno, "remove an extended attribute");
        w->capture->removed++;
    }
    entry->xattrs = xattrs;
    entry->n_xattrs = n;
    return 0;
}

static bool same_xattrs(const struct nj_tree_entry *a, const struct nj_tree_entry *b)
{
    if (a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++) {
        if (!nj_span_equal(a->xattrs[i].name, b->xattrs[i].name) ||
            !nj_span_equal(a->xattrs[i].value, b->xattrs[i].value))
            return false;
    }
    return true;
}

/* copy_xattrs - from the old table, which goes when the new one is complete */
static int copy_xattrs(struct walk *w, const struct nj_tree_entry *from,
                       struct nj_tree_entry *entry, struct nj_error *err)
{
    struct nj_xattr *xattrs;

    entry->n_xattrs = from->n_xattrs;
    entry->xattrs = NULL;
    if (from->n_xattrs == 0)
        return 0;
    xattrs = nj_arena_array(&w->table->arena, from->n_xattrs, sizeof(*xattrs));
    if (!xattrs)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < from->n_xattrs; i++) {
        const struct nj_xattr *old = &from->xattrs[i];

        xattrs[i].name.data = (const uint8_t *)nj_arena_span(&w->table->arena, old->name);
        xattrs[i].name.len = old->name.len;
        xattrs[i].value.data = (const uint8_t *)nj_arena_span(&w->table->arena, old->value);
        xattrs[i].value.len = old->value.len;
        if (!xattrs[i].name.data || !xattrs[i].value.data)
            return nj_fail_nomem(err);
    }
    entry->xattrs = xattrs;
    return 0;
}

/* ---- contents ---- */

static int read_part(int fd, uint8_t *buffer, size_t len, struct nj_error *err)
{
    int r = nj_fsio_read(fd, buffer, len, err);

    return r < 0 ? nj_wrap(err, "a file changed while it was captured") : 0;
}

/* put_new - unless the last capture had the very same there */
static int put_new(struct walk *w, enum nj_object_kind kind, struct nj_span bytes,
                   const struct nj_digest *digest, const struct nj_digest *known,
                   struct nj_error *err)
{
    struct nj_object object = {kind, *digest, bytes};

    if (known && nj_digest_equal(known, digest))
        return 0;
    return w->sink->put(w->sink->ctx, &object, err);
}

static int read_parts(struct walk *w, int fd, const struct table_entry *old,
                      struct table_entry *entry, struct nj_error *err)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};
    uint64_t size = entry->tree.size;
    size_t n = (size_t)((size + NJ_OBJECT_PART_BYTES - 1) / NJ_OBJECT_PART_BYTES);
    struct nj_digest *parts = nj_arena_array(&w->table->arena, n, sizeof(*parts));
    int r;

    if (!hasher || !parts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        uint64_t left = size - (uint64_t)i * NJ_OBJECT_PART_BYTES;
        size_t len = left < NJ_OBJECT_PART_BYTES ? (size_t)left : NJ_OBJECT_PART_BYTES;
        const struct nj_digest *known = old && i < old->n_parts ? &old->parts[i] : NULL;

        r = read_part(fd, w->buffer, len, err);
        if (r < 0)
            return r;
        nj_hasher_update(hasher, w->buffer, len);
        nj_digest_bytes(w->buffer, len, &parts[i]);
        if (i > 0 && nj_digest_equal(&parts[i], &parts[i - 1]))
            continue; /* the zeros of a sparse file, put once */
        r = put_new(w, NJ_OBJECT_BLOB, (struct nj_span){w->buffer, len}, &parts[i], known, err);
        if (r < 0)
            return r;
    }
    nj_hasher_finish(hasher, &entry->tree.digest);
    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES);
    r = nj_parts_encode(parts, n, &encoded, err);
    if (r < 0)
        return r;
    nj_digest_bytes(encoded.data, encoded.len, &entry->tree.parts);
    entry->tree.has_parts = true;
    entry->parts = parts;
    entry->n_parts = n;
    return put_new(w, NJ_OBJECT_PARTS, nj_buf_span(&encoded), &entry->tree.parts,
                   old && old->tree.has_parts ? &old->tree.parts : NULL, err);
}

static int read_content(struct walk *w, int dir_fd, const char *name, const struct stat *st,
                        const struct table_entry *old, struct table_entry *entry,
                        struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct stat now;
    size_t len;
    int r;

    w->capture->files_hashed++;
    fd = table_open_at(dir_fd, name, O_RDONLY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open a file");
    if (fstat(fd, &now) < 0 || now.st_ino != st->st_ino || now.st_size != st->st_size ||
        !S_ISREG(now.st_mode))
        return nj_fail(err, NJ_E_CORRUPT, "a file changed while it was captured");
    r = read_xattrs(w, fd, &entry->tree, err);
    if (r < 0)
        return r;
    if (entry->tree.size > NJ_OBJECT_PART_BYTES)
        return read_parts(w, fd, old, entry, err);
    len = (size_t)entry->tree.size;
    r = read_part(fd, w->buffer, len, err);
    if (r < 0)
        return r;
    nj_digest_bytes(w->buffer, len, &entry->tree.digest);
    return put_new(w, NJ_OBJECT_BLOB, (struct nj_span){w->buffer, len}, &entry->tree.digest,
                   old && !old->tree.has_parts ? &old->tree.digest : NULL, err);
}

/* reuse - the content as it is remembered */
static int reuse(struct walk *w, const struct table_entry *old, struct table_entry *entry,
                 struct nj_error *err)
{
    entry->tree.digest = old->tree.digest;
    entry->tree.has_parts = old->tree.has_parts;
    entry->tree.parts = old->tree.parts;
    if (old->n_parts > 0) {
        struct nj_digest *parts = nj_arena_array(&w->table->arena, old->n_parts, sizeof(*parts));

        if (!parts)
            return nj_fail_nomem(err);
        memcpy(parts, old->parts, old->n_parts * sizeof(*parts));
        entry->parts = parts;
        entry->n_parts = old->n_parts;
    }
    return copy_xattrs(w, &old->tree, &entry->tree, err);
}

static bool is_unchanged(const struct walk *w, const struct stat *st, const struct table_entry *old,
                         const struct table_entry *entry)
{
    if (!old || old->tree.type != NJ_FILE_REGULAR || old->tree.size != entry->tree.size)
        return false;
    if (old->trusted)
        return true;
    return !(w->flags & TABLE_READ_ALL) && old->mtime_ns == entry->mtime_ns &&
           old->ctime_ns == entry->ctime_ns &&
           !nj_changes_has(w->changes, entry->ino, w->dir_ino, (const char *)entry->tree.name.data,
                           st->st_nlink > 1);
}

/* look_at_file - returns 1 when it cannot be kept */
static int look_at_file(struct walk *w, int dir_fd, const char *name, const struct stat *st,
                        struct table_entry *entry, struct nj_error *err)
{
    const struct table_entry *old;
    struct nj_span first = {NULL, 0};
    int r;

    /* Where the path is longer than a link's target may be, each name is a file of its own. */
    if (st->st_nlink > 1 && w->path_len <= NJ_OBJECT_TARGET_MAX_BYTES) {
        r = first_name(w, st->st_ino, &first, err);
        if (r < 0)
            return r;
        if (first.len > 0) {
            entry->tree.type = NJ_FILE_HARDLINK;
            entry->tree.target = first;
            return 0;
        }
    }
    entry->tree.type = NJ_FILE_REGULAR;
    entry->tree.size = (uint64_t)st->st_size;
    entry->tree.mode = st->st_mode & 07777;
    if (entry->tree.size > w->max_file_bytes || entry->tree.size > w->apparent_left)
        return 1;
    w->apparent_left -= entry->tree.size;
    w->table->bytes += entry->tree.size;
    w->capture->files++;
    old = table_find(w->old, st->st_ino);
    r = is_unchanged(w, st, old, entry) ? reuse(w, old, entry, err)
                                        : read_content(w, dir_fd, name, st, old, entry, err);
    return r < 0 ? r : remember_inode(w, entry, err);
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

/* list - the entries' names in the order the kernel tells them; ino holds that order for the moment
 */
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
            entries[n] = (struct table_entry){.ino = n};
            entries[n].tree.name = nj_span_text(nj_arena_text(&w->table->arena, name));
            if (!entries[n++].tree.name.data)
                return nj_fail_nomem(err);
        }
    }
    *ret_entries = NULL;
    if (n > 0) {
        *ret_entries = nj_arena_array(&w->table->arena, n, sizeof(**ret_entries));
        if (!*ret_entries)
            return nj_fail_nomem(err);
        memcpy(*ret_entries, entries, n * sizeof(*entries));
    }
    *ret_n = n;
    return 0;
}

static int capture_dir(struct walk *w, int dir_fd, const struct table_dir *old, unsigned depth,
                       struct table_dir **ret_dir, struct nj_error *err);

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
    r = capture_dir(w, fd, old && old->dir ? old->dir : NULL, depth + 1, &entry->dir, err);
    if (r < 0)
        return r;
    entry->tree.digest = entry->dir->tree;
    r = read_xattrs(w, fd, &entry->tree, err);
    return r < 0 ? r : remember_inode(w, entry, err);
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
        &w->table->arena, (struct nj_span){(const uint8_t *)target, (size_t)len});
    entry->tree.target.len = (size_t)len;
    return entry->tree.target.data ? 0 : nj_fail_nomem(err);
}

/* look_at - one entry. Returns 0, or 1 when no tree can hold it. */
static int look_at(struct walk *w, int dir_fd, const struct stat *st, unsigned depth,
                   struct table_entry *entry, struct nj_error *err)
{
    const char *name = (const char *)entry->tree.name.data;

    entry->ino = st->st_ino;
    entry->mtime_ns = table_mtime_ns(st);
    entry->ctime_ns = table_ctime_ns(st);
    if (S_ISREG(st->st_mode))
        return look_at_file(w, dir_fd, name, st, entry, err);
    if (S_ISDIR(st->st_mode))
        return look_at_dir(w, dir_fd, name, st, depth, entry, err);
    if (S_ISLNK(st->st_mode))
        return look_at_link(w, dir_fd, name, entry, err);
    if (!S_ISFIFO(st->st_mode) && !S_ISSOCK(st->st_mode))
        return 1;
    entry->tree.type = S_ISFIFO(st->st_mode) ? NJ_FILE_FIFO : NJ_FILE_SOCKET;
    entry->tree.mode = st->st_mode & 07777;
    return 0;
}

static size_t encoded_bytes(const struct nj_tree_entry *entry)
{
    size_t bytes = ENTRY_BYTES + entry->name.len + entry->target.len;

    for (size_t i = 0; i < entry->n_xattrs; i++)
        bytes += entry->xattrs[i].name.len + entry->xattrs[i].value.len + 8;
    return bytes;
}

/* look_at_all - the entries in the order of their names; those that cannot be kept are removed,
 * here and in the tree. @listed gets each kept entry's place in the listing. */
static int look_at_all(struct walk *w, int dir_fd, unsigned depth, struct table_entry *entries,
                       size_t n, uint32_t *listed, size_t *ret_kept, struct nj_error *err)
{
    size_t path_len = w->path_len, kept = 0, bytes = 0;
    uint64_t dir_ino = w->dir_ino;

    for (size_t i = 0; i < n; i++) {
        struct table_entry *entry = &entries[kept];
        struct nj_span name = entries[i].tree.name;
        uint32_t place = (uint32_t)entries[i].ino;
        struct stat st;
        int r;

        *entry = (struct table_entry){.tree.name = name};
        if (fstatat(dir_fd, (const char *)name.data, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return nj_fail_errno(err, errno, "look at an entry");
        w->path_len = path_len + (path_len > 0) + name.len;
        if (w->path_len < PATH_BYTES) {
            if (path_len > 0)
                w->path[path_len] = '/';
            memcpy(w->path + w->path_len - name.len, name.data, name.len);
        }
        r = look_at(w, dir_fd, &st, depth, entry, err);
        w->dir_ino = dir_ino;
        bytes += encoded_bytes(&entry->tree);
        if (r == 0 && (bytes > DIRECTORY_BYTES || kept >= NJ_TREE_ENTRIES_MAX))
            r = 1;
        if (r == 1)
            r = remove_entry(w, dir_fd, (const char *)name.data, &st, err);
        else if (r == 0)
            listed[kept++] = place;
        if (r < 0)
            return r;
    }
    w->path_len = path_len;
    *ret_kept = kept;
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
    order = nj_arena_array(&w->table->arena, kept, sizeof(*order));
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
           nj_span_equal(x->target, y->target) && same_xattrs(x, y);
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
    if (a->mtime_ns != b->mtime_ns)
        return false;
    for (size_t i = 0; i < a->n_entries; i++) {
        if (a->order[i] != b->order[i] || a->entries[i].mtime_ns != b->entries[i].mtime_ns)
            return false;
        if (a->entries[i].dir &&
            !nj_digest_equal(&a->entries[i].dir->stamps, &b->entries[i].dir->stamps))
            return false;
    }
    return true;
}

static int name_tree(struct walk *w, struct table_dir *dir, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};
    nj_auto_free struct nj_tree_entry *entries = NULL;
    struct nj_tree tree;
    int r;

    entries = malloc((dir->n_entries + 1) * sizeof(*entries));
    if (!entries)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < dir->n_entries; i++)
        entries[i] = dir->entries[i].tree;
    tree = (struct nj_tree){entries, dir->n_entries};
    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES);
    r = nj_tree_encode(&tree, &encoded, err);
    if (r < 0)
        return r;
    return nj_object_put(w->sink, NJ_OBJECT_TREE, nj_buf_span(&encoded), &dir->tree, err);
}

static int name_stamps(struct walk *w, struct table_dir *dir, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};
    nj_auto_free struct nj_stamp *entries = NULL;
    struct nj_stamps stamps;
    int r;

    entries = calloc(dir->n_entries + 1, sizeof(*entries));
    if (!entries)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < dir->n_entries; i++) {
        const struct table_entry *entry = &dir->entries[dir->order[i]];

        entries[i].name = entry->tree.name;
        entries[i].mtime_ns = entry->mtime_ns;
        if (entry->dir) {
            entries[i].has_stamps = true;
            entries[i].stamps = entry->dir->stamps;
            entries[i].mtime_ns = entry->dir->mtime_ns;
        }
    }
    stamps = (struct nj_stamps){dir->mtime_ns, entries, dir->n_entries};
    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES);
    r = nj_stamps_encode(&stamps, &encoded, err);
    if (r < 0)
        return r;
    return nj_object_put(w->sink, NJ_OBJECT_STAMPS, nj_buf_span(&encoded), &dir->stamps, err);
}

static int capture_dir(struct walk *w, int dir_fd, const struct table_dir *old, unsigned depth,
                       struct table_dir **ret_dir, struct nj_error *err)
{
    struct table_dir *dir = nj_arena_alloc(&w->table->arena, sizeof(*dir));
    nj_auto_free uint32_t *listed = NULL;
    struct stat st;
    size_t n = 0;
    int r;

    if (!dir)
        return nj_fail_nomem(err);
    if (fstat(dir_fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at a directory");
    w->dir_ino = st.st_ino;
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
    r = look_at_all(w, dir_fd, depth, dir->entries, n, listed, &dir->n_entries, err);
    if (r >= 0)
        r = creation_order(w, listed, dir->n_entries, n, &dir->order, err);
    if (r < 0)
        return r;
    if (fstat(dir_fd, &st) < 0) /* after removals, which change it */
        return nj_fail_errno(err, errno, "look at a directory");
    dir->mtime_ns = table_mtime_ns(&st);
    if (old && same_tree(old, dir)) {
        dir->tree = old->tree;
        dir->stamps = old->stamps;
        r = same_stamps(old, dir) ? 0 : name_stamps(w, dir, err);
    } else {
        r = name_tree(w, dir, err);
        if (r >= 0)
            r = name_stamps(w, dir, err);
    }
    if (r < 0)
        return r;
    *ret_dir = dir;
    return 0;
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
        .changes = workspace->changes,
        .sink = sink,
        .capture = ret_capture,
        .apparent_left = workspace->max_size_bytes * NJ_WORKSPACE_APPARENT_FACTOR,
        .max_file_bytes = workspace->max_size_bytes,
        .buffer = buffer,
    };
    if (w->max_file_bytes > (uint64_t)NJ_PARTS_MAX * NJ_OBJECT_PART_BYTES)
        w->max_file_bytes = (uint64_t)NJ_PARTS_MAX * NJ_OBJECT_PART_BYTES;
    r = capture_dir(w, root_fd, old->root, 0, &ret_table->root, err);
    if (r >= 0)
        r = table_index(ret_table, w->inodes, w->n_inodes, err);
    free(w->inodes);
    free(w->links);
    if (r < 0)
        return r;
    ret_table->files = ret_capture->files;
    ret_capture->ref.tree = ret_table->root->tree;
    ret_capture->ref.stamps = ret_table->root->stamps;
    return 0;
}
