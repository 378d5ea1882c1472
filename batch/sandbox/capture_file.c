/*
 * capture_file.c - what a capture keeps of one file
 *
 * A file is read only when it may have changed. The complication is hard links: of an inode's names
 * the first in the order of the walk is the file, the others are links to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include "batch/sandbox/walk.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define XATTR_LIST_BYTES 65536

/* ---- hard links ---- */

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

        link->path.data = (const uint8_t *)nj_arena_span(&w->scratch, path);
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
    xattr->name = nj_span_text(nj_arena_text(&w->dir->arena, name));
    xattr->value.data = (const uint8_t *)nj_arena_span(
        &w->dir->arena, (struct nj_span){(const uint8_t *)value, (size_t)len});
    xattr->value.len = (size_t)len;
    return xattr->name.data && xattr->value.data ? 0 : nj_fail_nomem(err);
}

int walk_read_xattrs(struct walk *w, int fd, struct nj_tree_entry *entry, struct nj_error *err)
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
    xattrs = nj_arena_array(&w->dir->arena, count, sizeof(*xattrs));
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

bool walk_same_xattrs(const struct nj_tree_entry *a, const struct nj_tree_entry *b)
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

int walk_copy_xattrs(struct walk *w, const struct nj_tree_entry *from, struct nj_tree_entry *entry,
                     struct nj_error *err)
{
    struct nj_xattr *xattrs;

    entry->n_xattrs = from->n_xattrs;
    entry->xattrs = NULL;
    if (from->n_xattrs == 0)
        return 0;
    xattrs = nj_arena_array(&w->dir->arena, from->n_xattrs, sizeof(*xattrs));
    if (!xattrs)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < from->n_xattrs; i++) {
        const struct nj_xattr *old = &from->xattrs[i];

        xattrs[i].name.data = (const uint8_t *)nj_arena_span(&w->dir->arena, old->name);
        xattrs[i].name.len = old->name.len;
        xattrs[i].value.data = (const uint8_t *)nj_arena_span(&w->dir->arena, old->value);
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

/* put_new - unless the last capture had the very same there (@known); else it follows that */
static int put_new(struct walk *w, enum nj_object_kind kind, struct nj_span bytes,
                   const struct nj_digest *digest, const struct nj_digest *known,
                   struct nj_error *err)
{
    struct nj_object object = {.kind = kind, .digest = *digest, .bytes = bytes};

    if (known && nj_digest_equal(known, digest))
        return 0;
    if (known) {
        object.has_earlier = true;
        object.earlier = *known;
    }
    return w->sink->put(w->sink->ctx, &object, err);
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct nj_digest));
}

/* The parts of one long file while it is read. */
struct parts {
    struct nj_hasher *hasher; /* of the whole */
    struct nj_digest *items;
    size_t n;
    struct nj_digest *known; /* those of the last capture, ascending: an insertion moves them */
    size_t n_known;
};

static void parts_done(struct parts *parts)
{
    nj_hasher_free(parts->hasher);
    free(parts->items);
    free(parts->known);
}
NJ_DEFINE_AUTO_VAL(struct parts, parts_done);

static int parts_init(struct parts *parts, const struct table_entry *old, size_t room,
                      struct nj_error *err)
{
    parts->n_known = old ? old->n_parts : 0;
    parts->hasher = nj_hasher_new();
    parts->items = calloc(room, sizeof(*parts->items));
    parts->known = calloc(parts->n_known + 1, sizeof(*parts->known));
    if (!parts->hasher || !parts->items || !parts->known)
        return nj_fail_nomem(err);
    if (parts->n_known > 0)
        memcpy(parts->known, old->parts, parts->n_known * sizeof(*parts->known));
    qsort(parts->known, parts->n_known, sizeof(*parts->known), compare_digests);
    return 0;
}

static int put_part(struct walk *w, struct parts *parts, struct nj_span part, struct nj_error *err)
{
    struct nj_digest *digest = &parts->items[parts->n];

    nj_hasher_update(parts->hasher, part.data, part.len);
    nj_digest_bytes(part.data, part.len, digest);
    if (parts->n++ > 0 && nj_digest_equal(digest, digest - 1))
        return 0; /* the zeros of a sparse file, put once */
    return put_new(w, NJ_OBJECT_BLOB, part, digest,
                   bsearch(digest, parts->known, parts->n_known, sizeof(*digest), compare_digests),
                   err);
}

static int cut_file(struct walk *w, int fd, uint64_t size, const struct nj_cut *cut,
                    struct parts *parts, struct nj_error *err)
{
    uint64_t left = size; /* of the file, behind what is in the buffer */
    size_t have = 0, at = 0;

    while (left > 0 || at < have) {
        struct nj_span rest;
        int r;

        if (have - at < cut->max_bytes && left > 0) {
            size_t more = NJ_OBJECT_PART_BYTES - (have - at);

            memmove(w->buffer, w->buffer + at, have - at);
            have -= at;
            at = 0;
            if (left < more)
                more = (size_t)left;
            r = read_part(fd, w->buffer + have, more, err);
            if (r < 0)
                return r;
            have += more;
            left -= more;
        }
        rest = (struct nj_span){w->buffer + at, have - at};
        rest.len = nj_cut_next(cut, rest);
        r = put_part(w, parts, rest, err);
        if (r < 0)
            return r;
        at += rest.len;
    }
    return 0;
}

static int read_parts(struct walk *w, int fd, const struct table_entry *old,
                      struct table_entry *entry, struct nj_error *err)
{
    NJ_AUTO(parts_done) struct parts parts = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};
    struct nj_digest *kept;
    struct nj_cut cut;
    size_t room;
    int r;

    nj_cut_init(&cut, entry->tree.size);
    room = nj_cut_parts_max(&cut, entry->tree.size);
    if (room > NJ_PARTS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a file of %llu bytes has too many parts",
                       (unsigned long long)entry->tree.size);
    r = parts_init(&parts, old, room, err);
    if (r == 0)
        r = cut_file(w, fd, entry->tree.size, &cut, &parts, err);
    if (r < 0)
        return r;
    nj_hasher_finish(parts.hasher, &entry->tree.digest);
    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES);
    r = nj_parts_encode(parts.items, parts.n, &encoded, err);
    if (r < 0)
        return r;
    kept = nj_arena_array(&w->dir->arena, parts.n, sizeof(*kept));
    if (!kept)
        return nj_fail_nomem(err);
    memcpy(kept, parts.items, parts.n * sizeof(*kept));
    nj_digest_bytes(encoded.data, encoded.len, &entry->tree.parts);
    entry->tree.has_parts = true;
    entry->parts = kept;
    entry->n_parts = parts.n;
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
    r = walk_read_xattrs(w, fd, &entry->tree, err);
    if (r < 0)
        return r;
    if (entry->tree.size > NJ_OBJECT_PART_BYTES)
        return read_parts(w, fd, old, entry, err);
    len = (size_t)entry->tree.size;
    r = read_part(fd, w->buffer, len, err);
    if (r < 0)
        return r;
    nj_digest_bytes(w->buffer, len, &entry->tree.digest);
    /* Programs that write a new file and rename it leave another inode under the name. */
    if (!old && w->before && w->before->tree.type == NJ_FILE_REGULAR)
        old = w->before;
    return put_new(w, NJ_OBJECT_BLOB, (struct nj_span){w->buffer, len}, &entry->tree.digest,
                   old && !old->tree.has_parts ? &old->tree.digest : NULL, err);
}

int walk_reuse(struct walk *w, const struct table_entry *old, struct table_entry *entry,
               struct nj_error *err)
{
    entry->tree.digest = old->tree.digest;
    entry->tree.has_parts = old->tree.has_parts;
    entry->tree.parts = old->tree.parts;
    if (old->n_parts > 0) {
        struct nj_digest *parts = nj_arena_array(&w->dir->arena, old->n_parts, sizeof(*parts));

        if (!parts)
            return nj_fail_nomem(err);
        memcpy(parts, old->parts, old->n_parts * sizeof(*parts));
        entry->parts = parts;
        entry->n_parts = old->n_parts;
    }
    return walk_copy_xattrs(w, &old->tree, &entry->tree, err);
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
           !nj_changes_has(w->changes, entry->ino, w->dir->ino, (const char *)entry->tree.name.data,
                           st->st_nlink > 1);
}

bool walk_count(struct walk *w, uint64_t bytes, uint64_t files)
{
    if (bytes > w->apparent_left)
        return false;
    w->apparent_left -= bytes;
    w->dir->bytes += bytes;
    w->dir->files += files;
    return true;
}

int walk_file(struct walk *w, int dir_fd, const char *name, const struct stat *st,
              struct table_entry *entry, struct nj_error *err)
{
    const struct table_entry *old = table_find(w->old, st->st_ino);
    struct nj_span first = {NULL, 0};
    int r;

    entry->several = st->st_nlink > 1;
    if (entry->several) {
        /* Which of its names comes first is a question to all directories that have one. */
        if (w->flags & TABLE_CHANGES && old && !old->several)
            return 2;
        w->dir->several = true;
    }
    /* Where the path is longer than a link's target may be, each name is a file of its own. */
    if (entry->several && w->path_len <= NJ_OBJECT_TARGET_MAX_BYTES) {
        r = first_name(w, st->st_ino, &first, err);
        if (r < 0)
            return r;
        if (first.len > 0) {
            entry->tree.type = NJ_FILE_HARDLINK;
            entry->tree.target.data = (const uint8_t *)nj_arena_span(&w->dir->arena, first);
            entry->tree.target.len = first.len;
            return entry->tree.target.data ? 0 : nj_fail_nomem(err);
        }
    }
    entry->tree.type = NJ_FILE_REGULAR;
    entry->tree.size = (uint64_t)st->st_size;
    entry->tree.mode = st->st_mode & 07777;
    if (entry->tree.size > w->max_file_bytes || !walk_count(w, entry->tree.size, 1))
        return 1;
    r = is_unchanged(w, st, old, entry) ? walk_reuse(w, old, entry, err)
                                        : read_content(w, dir_fd, name, st, old, entry, err);
    return r < 0 ? r : table_remember(w->table, entry, err);
}
