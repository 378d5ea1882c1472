/*
 * inputs_add.c - files and folders of the host as objects
 *
 * The host may change while it is read. A file is read once, to its end, and what was read is what
 * the run uses; a folder that changes meanwhile gives some mixture, but each file in it is whole as
 * read.
 */
#include "batch/plan/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>

#include "batch/plan/shown.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* One folder while it is read. */
struct adding {
    const struct nj_object_sink *sink;
    size_t *entries_left;
    unsigned depth;
    const char *path; /* for messages; "" is the folder that was asked for */
    struct nj_arena arena;
    struct nj_tree_entry *entries;
    struct nj_stamp *stamps;
    size_t count;
};

static int64_t mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static bool runs(const struct stat *st)
{
    return (st->st_mode & 0111) != 0;
}

static int refuse(const struct nj_place *place, int errnum, const char *wanted,
                  struct nj_error *err)
{
    const char *reason = errnum == EXDEV
                             ? "a link leaves the allowed directories; --allow-path DIR allows more"
                         : errnum == EISDIR ? "is a folder"
                         : errnum == EINVAL ? "is neither a file nor a folder"
                                            : strerror(errnum);

    /* What is wrong with the path is for a person to mend, what is wrong with the machine is not.
     */
    if (errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == EIO ||
        errnum == ENOSYS)
        return nj_fail_errno(err, errnum, "open %s%s", nj_shown(place->prefix).text,
                             nj_shown(place->rest).text);
    return nj_fail(err, NJ_E_INPUT, "%s %s%s: %s", wanted, nj_shown(place->prefix).text,
                   nj_shown(place->rest).text, reason);
}

static int read_content(int fd, struct nj_buf *buf, struct nj_error *err)
{
    nj_buf_init(buf, NJ_INPUTS_FILE_MAX_BYTES);
    return nj_fsio_read_all(fd, buf, err);
}

int nj_inputs_add_file(const struct nj_roots *roots, const struct nj_place *place,
                       const struct nj_object_sink *sink, struct nj_buf *out,
                       struct nj_tree_entry *entry, int64_t *ret_mtime_ns, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    nj_auto_close int fd = -1;
    struct stat st;
    int r;

    r = nj_roots_read(roots, place->root, place->rest, &fd, &st);
    if (r != 0)
        return refuse(place, r, "file", err);
    r = read_content(fd, &buf, err);
    if (r == 0)
        r = nj_parts_put(sink, nj_buf_span(&buf), entry, err);
    if (r == 0 && out)
        r = nj_buf_append(out, buf.data, buf.len, err);
    if (r < 0)
        return nj_wrap(err, "file %s%s", nj_shown(place->prefix).text, nj_shown(place->rest).text);
    entry->type = NJ_FILE_REGULAR;
    entry->mode = runs(&st) ? 0755 : 0644;
    *ret_mtime_ns = mtime_ns(&st);
    return 0;
}

/* ---- folders ---- */

static int name_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int read_folder(const struct adding *up, const char *path, int fd, const struct stat *st,
                       struct nj_workspace_ref *ret_ref, struct nj_error *err);

static int read_link(struct adding *adding, int dir_fd, const char *name, const char *path,
                     struct nj_tree_entry *entry, struct nj_error *err)
{
    char target[PATH_MAX];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof(target));

    if (len < 0)
        return nj_fail_errno(err, errno, "read link %s", nj_shown(path).text);
    if (len == 0 || (size_t)len > NJ_OBJECT_TARGET_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT, "the link %s has an unusable target", nj_shown(path).text);
    entry->type = NJ_FILE_SYMLINK;
    entry->target.len = (size_t)len;
    entry->target.data =
        (uint8_t *)nj_arena_span(&adding->arena, (struct nj_span){(uint8_t *)target, (size_t)len});
    return entry->target.data ? 0 : nj_fail_nomem(err);
}

static int read_regular(const struct nj_object_sink *sink, int fd, const struct stat *st,
                        const char *path, struct nj_tree_entry *entry, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    r = read_content(fd, &buf, err);
    if (r == 0)
        r = nj_parts_put(sink, nj_buf_span(&buf), entry, err);
    if (r < 0)
        return nj_wrap(err, "read %s", nj_shown(path).text);
    entry->type = NJ_FILE_REGULAR;
    entry->mode = runs(st) ? 0555 : 0444;
    return 0;
}

/* read_entry - the file, folder or link @name; @entry and @stamp have their name already */
static int read_entry(struct adding *adding, int dir_fd, const char *name, const char *path,
                      struct nj_tree_entry *entry, struct nj_stamp *stamp, struct nj_error *err)
{
    struct nj_workspace_ref inner;
    nj_auto_close int fd = -1;
    struct stat st, opened;
    int r;

    if ((*adding->entries_left)-- == 0)
        return nj_fail(err, NJ_E_LIMIT, "more than %d files", NJ_INPUTS_ENTRIES_MAX);
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return nj_fail_errno(err, errno, "look at %s", nj_shown(path).text);
    stamp->mtime_ns = mtime_ns(&st);
    if (S_ISLNK(st.st_mode))
        return read_link(adding, dir_fd, name, path, entry, err);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "%s is neither a file, a folder nor a link",
                       nj_shown(path).text);
    fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        return nj_fail(err, NJ_E_INPUT, "open %s: %s", nj_shown(path).text, strerror(errno));
    if (fd < 0 || fstat(fd, &opened) < 0)
        return nj_fail_errno(err, errno, "open %s", nj_shown(path).text);
    if (opened.st_ino != st.st_ino || opened.st_dev != st.st_dev)
        return nj_fail(err, NJ_E_INPUT, "%s was replaced while it was read", nj_shown(path).text);
    if (S_ISREG(st.st_mode))
        return read_regular(adding->sink, fd, &opened, path, entry, err);
    r = read_folder(adding, path, fd, &opened, &inner, err);
    if (r < 0)
        return r;
    entry->type = NJ_FILE_DIRECTORY;
    entry->mode = 0555;
    entry->digest = inner.tree;
    stamp->has_stamps = true;
    stamp->stamps = inner.stamps;
    return 0;
}

static int read_names(struct adding *adding, int fd, struct dirent **names, size_t count,
                      struct nj_error *err)
{
    if (count > NJ_TREE_ENTRIES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "folder %s has more than %d entries",
                       nj_shown(*adding->path ? adding->path : ".").text, NJ_TREE_ENTRIES_MAX);
    adding->entries = nj_arena_array(&adding->arena, count + 1, sizeof(*adding->entries));
    adding->stamps = nj_arena_array(&adding->arena, count + 1, sizeof(*adding->stamps));
    if (!adding->entries || !adding->stamps)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        nj_auto_free char *path = NULL;
        int r;

        if (asprintf(&path, "%s%s%s", adding->path, *adding->path ? "/" : "", name) < 0) {
            path = NULL;
            return nj_fail_nomem(err);
        }
        adding->entries[i].name = nj_span_text(nj_arena_text(&adding->arena, name));
        if (!adding->entries[i].name.data)
            return nj_fail_nomem(err);
        adding->stamps[i].name = adding->entries[i].name;
        r = read_entry(adding, fd, name, path, &adding->entries[i], &adding->stamps[i], err);
        if (r < 0)
            return r;
    }
    adding->count = count;
    return 0;
}

static int put_folder(const struct adding *adding, const struct stat *st,
                      struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    struct nj_tree tree = {.entries = adding->entries, .n_entries = adding->count};
    struct nj_stamps stamps = {
        .mtime_ns = mtime_ns(st), .entries = adding->stamps, .n_entries = adding->count};

    return nj_dir_put(adding->sink, &tree, &stamps, ret_ref, err);
}

static int read_folder(const struct adding *up, const char *path, int fd, const struct stat *st,
                       struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    struct adding adding = {
        .sink = up->sink, .entries_left = up->entries_left, .depth = up->depth + 1, .path = path};
    struct dirent **names = NULL;
    int n, r;

    if (adding.depth > NJ_INPUTS_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "%s: more than %d folders deep", nj_shown(path).text,
                       NJ_INPUTS_DEPTH_MAX);
    n = scandirat(fd, ".", &names, not_dots, name_order);
    if (n < 0)
        return nj_fail_errno(err, errno, "read folder %s", nj_shown(*path ? path : ".").text);
    r = read_names(&adding, fd, names, (size_t)n, err);
    if (r == 0)
        r = put_folder(&adding, st, ret_ref, err);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    nj_arena_done(&adding.arena);
    return r;
}

int nj_inputs_add_folder(const struct nj_roots *roots, const struct nj_place *place,
                         const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                         struct nj_error *err)
{
    size_t entries_left = NJ_INPUTS_ENTRIES_MAX;
    struct adding up = {.sink = sink, .entries_left = &entries_left};
    nj_auto_close int fd = -1;
    struct stat st;
    int r;

    r = nj_roots_reach(roots, place->root, place->rest, O_RDONLY | O_DIRECTORY, &fd);
    if (r != 0)
        return refuse(place, r, "folder", err);
    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at folder");
    r = read_folder(&up, "", fd, &st, ret_ref, err);
    return r < 0 ? nj_wrap(err, "folder %s%s", nj_shown(place->prefix).text,
                           nj_shown(place->rest).text)
                 : 0;
}

int nj_inputs_single(const struct nj_tree_entry *file, const char *name,
                     const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                     struct nj_error *err)
{
    struct nj_stamp stamp = {.name = nj_span_text(name)};
    struct nj_tree_entry entry = *file;
    struct adding single = {.sink = sink, .entries = &entry, .stamps = &stamp, .count = 1};
    const struct stat st = {0};

    entry.name = stamp.name;
    entry.mode = 0444;
    return put_folder(&single, &st, ret_ref, err);
}

static int add_single(const struct nj_roots *roots, const struct nj_place *place,
                      const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                      struct nj_error *err)
{
    const char *slash = strrchr(place->rest, '/');
    struct adding single = {.sink = sink};
    struct nj_tree_entry entry = {0};
    struct nj_stamp stamp = {0};
    nj_auto_close int fd = -1;
    struct stat st;
    int r;

    r = nj_roots_read(roots, place->root, place->rest, &fd, &st);
    if (r != 0)
        return refuse(place, r, "file", err);
    entry.name = stamp.name = nj_span_text(slash ? slash + 1 : place->rest);
    stamp.mtime_ns = mtime_ns(&st);
    r = read_regular(sink, fd, &st, place->rest, &entry, err);
    if (r < 0)
        return r;
    single.entries = &entry;
    single.stamps = &stamp;
    single.count = 1;
    return put_folder(&single, &st, ret_ref, err); /* the folder is as old as the file */
}

int nj_inputs_add_path(int dir_fd, const char *path, const struct nj_object_sink *sink,
                       struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    nj_auto_close int fd = -1;
    struct nj_place place;
    struct stat st;
    int r;

    r = nj_roots_open(dir_fd, NULL, &roots, err);
    if (r < 0)
        return r;
    r = nj_roots_place(&roots, path, &arena, &place, err);
    if (r < 0)
        return r;
    r = nj_roots_reach(&roots, place.root, place.rest, O_PATH, &fd);
    if (r != 0)
        return refuse(&place, r, "path", err);
    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at %s", nj_shown(path).text);
    return S_ISDIR(st.st_mode) ? nj_inputs_add_folder(&roots, &place, sink, ret_ref, err)
                               : add_single(&roots, &place, sink, ret_ref, err);
}
