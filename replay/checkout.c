/*
 * checkout.c - writing a tree beneath a folder and nowhere else
 *
 * The one complication is hard links: the record names the other name by its path from the root,
 * and that path must be walked without following a link that the same tree has just planted there.
 */
#include "replay/checkout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "batch/sandbox/workspace.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define MODE_MASK 01777u   /* sticky, as of /tmp, gives nobody a right */
#define RIGHTS_MASK 06000u /* setuid, setgid */
#define PATH_MAX_BYTES (NJ_TREE_DEPTH_MAX * (NJ_OBJECT_NAME_MAX_BYTES + 1u))

struct writing {
    const struct nj_checkout *checkout;
    struct nj_checkout_report report;
    struct nj_buf path;
    size_t entries;
};

/* One directory of the record, loaded. */
struct folder {
    struct nj_arena arena;
    struct nj_tree tree;
    struct nj_stamps stamps;
    struct nj_stamp *by_name; /* the stamps' entries, sorted */
};

static void folder_done(struct folder *folder)
{
    nj_arena_done(&folder->arena);
}
NJ_DEFINE_AUTO_VAL(struct folder, folder_done);

static int compare_names(const void *a, const void *b)
{
    const struct nj_span x = ((const struct nj_stamp *)a)->name;
    const struct nj_span y = ((const struct nj_stamp *)b)->name;
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);

    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

static int folder_load(struct folder *folder, struct writing *writing, const struct nj_digest *tree,
                       const struct nj_digest *stamps, struct nj_error *err)
{
    const struct nj_object_source *source = &writing->checkout->source;

    if (nj_tree_load(source, tree, &folder->arena, &folder->tree, NULL, err) < 0)
        return nj_wrap(err, "tree /%s", writing->path.len ? (const char *)writing->path.data : "");
    writing->entries += folder->tree.n_entries;
    if (writing->entries > NJ_TREE_VISITS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree unfolds to more than %d entries",
                       NJ_TREE_VISITS_MAX);
    if (!stamps)
        return 0;
    if (nj_stamps_load(source, stamps, &folder->arena, &folder->stamps, err) < 0)
        return nj_wrap(err, "times of /%s",
                       writing->path.len ? (const char *)writing->path.data : "");
    folder->by_name =
        nj_arena_array(&folder->arena, folder->stamps.n_entries + 1, sizeof(*folder->by_name));
    if (!folder->by_name)
        return nj_fail_nomem(err);
    if (folder->stamps.n_entries > 0) {
        memcpy(folder->by_name, folder->stamps.entries,
               folder->stamps.n_entries * sizeof(*folder->by_name));
        qsort(folder->by_name, folder->stamps.n_entries, sizeof(*folder->by_name), compare_names);
    }
    return 0;
}

static const struct nj_stamp *stamp_of(const struct folder *folder, struct nj_span name)
{
    struct nj_stamp wanted = {.name = name};

    if (!folder->by_name)
        return NULL;
    return bsearch(&wanted, folder->by_name, folder->stamps.n_entries, sizeof(wanted),
                   compare_names);
}

/* ---- the host's side ---- */

static int open_beneath(int dir_fd, const char *path, uint64_t flags, uint64_t mode)
{
    struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
                           .mode = mode,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    long fd;

    do {
        fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
    } while (fd < 0 && errno == EAGAIN); /* a rename raced with the walk */
    return (int)fd;
}

static struct timespec time_of(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    if (time.tv_nsec < 0) {
        time.tv_nsec += 1000000000;
        time.tv_sec--;
    }
    return time;
}

static const char *shown_path(const struct writing *writing)
{
    return (const char *)writing->path.data;
}

static int settle(struct writing *writing, int fd, unsigned mode, const int64_t *mtime_ns,
                  struct nj_error *err)
{
    if ((mode & RIGHTS_MASK) != 0)
        writing->report.dropped_rights++;
    if (fchmod(fd, mode & MODE_MASK) < 0)
        return nj_fail_errno(err, errno, "set the mode of %s", shown_path(writing));
    if (mtime_ns) {
        struct timespec times[2] = {time_of(*mtime_ns), time_of(*mtime_ns)};

        if (futimens(fd, times) < 0)
            return nj_fail_errno(err, errno, "set the time of %s", shown_path(writing));
    }
    return 0;
}

static int write_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    return nj_fsio_sparse_write(ctx, piece.data, piece.len, err);
}

/* With --force what is in the way goes first, unless it is a folder; a link goes itself, not what
 * it points to. */
static int make_way(struct writing *writing, int dir_fd, const char *name, struct nj_error *err)
{
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : nj_fail_errno(err, errno, "look at %s", shown_path(writing));
    if (!writing->checkout->force || S_ISDIR(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "%s is in the way", shown_path(writing));
    if (unlinkat(dir_fd, name, 0) < 0)
        return nj_fail_errno(err, errno, "replace %s", shown_path(writing));
    return 0;
}

static int write_file(struct writing *writing, int dir_fd, const char *name,
                      const struct nj_tree_entry *entry, const struct nj_stamp *stamp,
                      struct nj_error *err)
{
    struct nj_fsio_sparse file = {0};
    nj_auto_close int fd = -1;

    fd = open_beneath(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 && errno == EEXIST) {
        if (make_way(writing, dir_fd, name, err) < 0)
            return -(int)err->code;
        fd = open_beneath(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    }
    if (fd < 0)
        return nj_fail_errno(err, errno, "create %s", shown_path(writing));
    file.fd = fd;
    if (nj_parts_each(&writing->checkout->source, entry, write_piece, &file, err) < 0 ||
        nj_fsio_sparse_end(&file, err) < 0) {
        (void)unlinkat(dir_fd, name, 0); /* half a file would be taken for a whole one */
        return nj_wrap(err, "%s", shown_path(writing));
    }
    writing->report.files++;
    writing->report.bytes += entry->size;
    return settle(writing, fd, entry->mode, stamp ? &stamp->mtime_ns : NULL, err);
}

static int write_symlink(struct writing *writing, int dir_fd, const char *name,
                         const struct nj_tree_entry *entry, const struct nj_stamp *stamp,
                         struct nj_error *err)
{
    nj_auto_free char *target = nj_span_dup(entry->target);

    if (!target)
        return nj_fail_nomem(err);
    if (make_way(writing, dir_fd, name, err) < 0)
        return -(int)err->code;
    if (symlinkat(target, dir_fd, name) < 0)
        return nj_fail_errno(err, errno, "create link %s", shown_path(writing));
    writing->report.links++;
    if (stamp) {
        struct timespec times[2] = {time_of(stamp->mtime_ns), time_of(stamp->mtime_ns)};

        if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
            return nj_fail_errno(err, errno, "set the time of %s", shown_path(writing));
    }
    return 0;
}

/* Links @name to the file that was written as @target. 1: there is none that can be linked to. */
static int link_to(struct writing *writing, int dir_fd, const char *name, const char *target,
                   struct nj_error *err)
{
    const char *slash = strrchr(target, '/');
    nj_auto_close int parent_fd = -1;
    nj_auto_free char *parent = NULL;
    struct stat st;

    if (strlen(target) >= PATH_MAX)
        return 1;
    parent = slash ? strndup(target, (size_t)(slash - target)) : strdup(".");
    if (!parent)
        return nj_fail_nomem(err);
    parent_fd = open_beneath(writing->checkout->target_fd, parent, O_PATH | O_DIRECTORY, 0);
    if (parent_fd < 0)
        return 1;
    if (fstatat(parent_fd, slash ? slash + 1 : target, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return 1;
    if (make_way(writing, dir_fd, name, err) < 0)
        return -(int)err->code;
    if (linkat(parent_fd, slash ? slash + 1 : target, dir_fd, name, 0) < 0)
        return nj_fail_errno(err, errno, "link %s", shown_path(writing));
    writing->report.links++;
    return 0;
}

static bool is_within(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* A hard link whose other name is not written here becomes a file of its own. */
static int write_hardlink(struct writing *writing, int dir_fd, const char *name,
                          const struct nj_tree_entry *entry, const struct nj_stamp *stamp,
                          struct nj_error *err)
{
    const struct nj_checkout *checkout = writing->checkout;
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    nj_auto_free char *target = nj_span_dup(entry->target);
    struct nj_tree_entry file;
    int r = 1;

    if (!target)
        return nj_fail_nomem(err);
    /* What stood in the folder before (--force) is no name of ours, so only files of the tree are
     * linked to. */
    if (nj_tree_lookup(&checkout->source, &checkout->workspace.tree, target, &arena, &file, err) !=
            0 ||
        file.type != NJ_FILE_REGULAR)
        return nj_fail(err, NJ_E_CORRUPT, "%s is a hard link to no file", shown_path(writing));
    if (!checkout->only || is_within(target, checkout->only))
        r = link_to(writing, dir_fd, name, target, err);
    if (r == 1)
        r = write_file(writing, dir_fd, name, &file, stamp, err);
    return r;
}

static int write_folder(struct writing *writing, int dir_fd, const struct nj_digest *tree,
                        const struct nj_digest *stamps, int64_t *ret_mtime_ns, unsigned depth,
                        struct nj_error *err);

static int write_subfolder(struct writing *writing, int dir_fd, const char *name,
                           const struct nj_tree_entry *entry, const struct nj_stamp *stamp,
                           unsigned depth, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    int64_t mtime_ns;
    bool has_stamps = stamp && stamp->has_stamps;

    if (mkdirat(dir_fd, name, 0700) < 0 && (errno != EEXIST || !writing->checkout->force))
        return nj_fail_errno(err, errno, "create folder %s", shown_path(writing));
    fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", shown_path(writing));
    if (write_folder(writing, fd, &entry->digest, has_stamps ? &stamp->stamps : NULL, &mtime_ns,
                     depth, err) < 0)
        return -(int)err->code;
    writing->report.folders++;
    /* Only now: a folder may be one that nobody may write in, and writing in it changes its time.
     */
    return settle(writing, fd, entry->mode, has_stamps ? &mtime_ns : NULL, err);
}

static int write_entry(struct writing *writing, int dir_fd, const struct folder *folder,
                       const struct nj_tree_entry *entry, unsigned depth, struct nj_error *err)
{
    const struct nj_stamp *stamp = stamp_of(folder, entry->name);
    nj_auto_free char *name = nj_span_dup(entry->name);

    if (!name)
        return nj_fail_nomem(err);
    if (entry->n_xattrs > 0)
        writing->report.skipped_xattrs++;
    switch (entry->type) {
    case NJ_FILE_REGULAR:
        return write_file(writing, dir_fd, name, entry, stamp, err);
    case NJ_FILE_DIRECTORY:
        return write_subfolder(writing, dir_fd, name, entry, stamp, depth, err);
    case NJ_FILE_SYMLINK:
        return write_symlink(writing, dir_fd, name, entry, stamp, err);
    case NJ_FILE_HARDLINK:
        return write_hardlink(writing, dir_fd, name, entry, stamp, err);
    case NJ_FILE_FIFO:
    case NJ_FILE_SOCKET:
        break;
    }
    writing->report.skipped_special++;
    return 0;
}

/* Is the path at hand wanted, or on the way to what is wanted? */
static bool is_wanted(const struct writing *writing, const struct nj_tree_entry *entry)
{
    const char *only = writing->checkout->only;
    const char *path = shown_path(writing);

    return !only || is_within(path, only) ||
           (entry->type == NJ_FILE_DIRECTORY && is_within(only, path));
}

static int push(struct nj_buf *path, struct nj_span name, struct nj_error *err)
{
    if (path->len > 0 && nj_buf_text(path, "/", err) < 0)
        return -(int)err->code;
    return nj_buf_append(path, name.data, name.len, err);
}

static int write_folder(struct writing *writing, int dir_fd, const struct nj_digest *tree,
                        const struct nj_digest *stamps, int64_t *ret_mtime_ns, unsigned depth,
                        struct nj_error *err)
{
    NJ_AUTO(folder_done) struct folder folder = {0};

    if (depth > NJ_TREE_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree is deeper than %d folders", NJ_TREE_DEPTH_MAX);
    if (folder_load(&folder, writing, tree, stamps, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < folder.tree.n_entries; i++) {
        const struct nj_tree_entry *entry = &folder.tree.entries[i];
        size_t len = writing->path.len;

        if (push(&writing->path, entry->name, err) < 0 ||
            (is_wanted(writing, entry) &&
             write_entry(writing, dir_fd, &folder, entry, depth + 1, err) < 0))
            return -(int)err->code;
        writing->path.len = len;
        writing->path.data[len] = '\0';
    }
    *ret_mtime_ns = folder.stamps.mtime_ns;
    return 0;
}

/* ---- before and around ---- */

struct sum {
    const char *only;
    uint64_t bytes;
    bool overflow;
};

static int add_size(void *ctx, const char *path, const struct nj_tree_entry *entry,
                    struct nj_error *err)
{
    struct sum *sum = ctx;

    (void)err;
    if (entry->type == NJ_FILE_REGULAR && (!sum->only || is_within(path, sum->only)))
        sum->overflow |= __builtin_add_overflow(sum->bytes, entry->size, &sum->bytes);
    return 0;
}

/* A small record can unfold to any size: what does not fit is refused before the disk is full, and
 * what no box kept before it is hashed for hours. */
static int check_room(const struct nj_checkout *checkout, struct nj_error *err)
{
    struct sum sum = {.only = checkout->only};
    struct statvfs fs;
    uint64_t room;

    if (nj_tree_walk(&checkout->source, &checkout->workspace.tree, add_size, &sum, err) < 0)
        return nj_wrap(err, "tree");
    if (sum.overflow || sum.bytes / NJ_WORKSPACE_APPARENT_FACTOR > checkout->max_size_bytes)
        return nj_fail(err, NJ_E_LIMIT,
                       "the files claim %s%llu bytes, in a workspace for %llu (max_size_mb) that "
                       "keeps %d times as much at most: no run wrote this. PATH names what is "
                       "wanted of it",
                       sum.overflow ? "more than " : "", (unsigned long long)sum.bytes,
                       (unsigned long long)checkout->max_size_bytes, NJ_WORKSPACE_APPARENT_FACTOR);
    if (fstatvfs(checkout->target_fd, &fs) < 0)
        return nj_fail_errno(err, errno, "look at the target's file system");
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &room))
        room = UINT64_MAX;
    if (sum.bytes > room)
        return nj_fail(err, NJ_E_LIMIT,
                       "the workspace has %llu bytes, the target has room for %llu: name a folder "
                       "elsewhere, or a PATH",
                       (unsigned long long)sum.bytes, (unsigned long long)room);
    return 0;
}

/* One descriptor a level is held while writing. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* without it only very deep trees fail, by name */
    }
}

int nj_checkout(const struct nj_checkout *checkout, struct nj_checkout_report *ret_report,
                struct nj_error *err)
{
    struct writing writing = {.checkout = checkout};
    int64_t mtime_ns;
    int r;

    if (check_room(checkout, err) < 0)
        return -(int)err->code;
    raise_descriptors();
    nj_buf_init(&writing.path, PATH_MAX_BYTES);
    r = nj_buf_text(&writing.path, "", err);
    if (r == 0)
        r = write_folder(&writing, checkout->target_fd, &checkout->workspace.tree,
                         &checkout->workspace.stamps, &mtime_ns, 1, err);
    nj_buf_done(&writing.path);
    if (r < 0)
        return r;
    *ret_report = writing.report;
    return 0;
}

static int is_empty(int fd, bool *ret_empty, const char *path, struct nj_error *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    const struct dirent *entry;
    bool empty = true;
    DIR *stream;

    if (copy < 0)
        return nj_fail_errno(err, errno, "read %s", path);
    stream = fdopendir(copy);
    if (!stream) {
        (void)close(copy);
        return nj_fail_nomem(err);
    }
    while ((entry = readdir(stream)))
        empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(stream);
    *ret_empty = empty;
    return 0;
}

int nj_checkout_target(const char *path, bool force, int *ret_fd, bool *ret_made,
                       struct nj_error *err)
{
    nj_auto_close int fd = -1;
    bool empty = false;

    *ret_made = mkdir(path, 0755) == 0;
    if (!*ret_made && errno != EEXIST)
        return nj_fail_errno(err, errno, "make folder %s", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", path);
    if (is_empty(fd, &empty, path, err) < 0)
        return -(int)err->code;
    if (!empty && !force)
        return nj_fail(
            err, NJ_E_INPUT,
            "%s is not empty: name another folder, or replace what is in the way with --force",
            path);
    *ret_fd = nj_steal_fd(&fd);
    return 0;
}
