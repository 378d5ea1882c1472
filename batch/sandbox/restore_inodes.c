/*
 * restore_inodes.c - inodes in the order of their numbers
 *
 * The complication: the tree is hostile. Two entries of one number may be two files, numbers may be
 * far apart, and a name in the root may look like ours; each ends in a tree whose numbers cannot be
 * had, not in another tree. Directories may be met again and again: no more is gathered than the
 * workspace can hold.
 */
#include "batch/sandbox/restore_inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define STAGED_PREFIX ".nj-inode-"
#define STAGED_NAME_BYTES 40
#define SHORT_TARGET_BYTES 128 /* what a tmpfs keeps beside the inode, in no block of its own */

struct inode {
    uint64_t ino;
    enum nj_file_type type; /* HARDLINK: of a file that has other names */
    const char *target;     /* of a symlink; in the arena */
};

struct gathering {
    const struct nj_object_source *source;
    struct nj_arena arena;
    struct inode *inodes; /* heap */
    size_t n;
    size_t room;
    uint64_t n_max; /* what the file system can hold */
    uint64_t target_bytes_left;
    uint64_t next_ino;
    bool is_told; /* so far */
    bool is_identified;
    bool is_odd; /* numbers that no file system gave */
};

static void gathering_done(struct gathering *g)
{
    nj_arena_done(&g->arena);
    free(g->inodes);
}
NJ_DEFINE_AUTO_VAL(struct gathering, gathering_done);

static void staged_name(uint64_t ino, char name[STAGED_NAME_BYTES])
{
    (void)snprintf(name, STAGED_NAME_BYTES, STAGED_PREFIX "%" PRIu64, ino); /* fits */
}

/* ---- what the tree tells ---- */

static int add(struct gathering *g, const struct nj_tree_entry *entry, uint64_t ino,
               struct nj_error *err)
{
    if (g->n == g->room) {
        size_t room = g->room ? 2 * g->room : 256;
        struct inode *inodes = reallocarray(g->inodes, room, sizeof(*inodes));

        if (!inodes)
            return nj_fail_nomem(err);
        g->inodes = inodes;
        g->room = room;
    }
    if (g->n >= g->n_max)
        return nj_fail(err, NJ_E_LIMIT,
                       "more than the %" PRIu64 " files that the workspace may have", g->n_max);
    g->inodes[g->n] = (struct inode){ino, entry->type, NULL};
    if (entry->type == NJ_FILE_SYMLINK) {
        if (entry->target.len > g->target_bytes_left)
            return nj_fail(err, NJ_E_LIMIT, "links of more bytes than the workspace may have");
        g->target_bytes_left -= entry->target.len;
        g->inodes[g->n].target = nj_arena_span(&g->arena, entry->target);
        if (!g->inodes[g->n].target)
            return nj_fail_nomem(err);
    }
    g->n++;
    return 0;
}

static int gather(struct gathering *g, const struct nj_digest *tree_digest,
                  const struct nj_digest *stamps_digest, unsigned depth, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_stamps stamps;
    struct nj_tree tree;
    int r;

    if (depth > NJ_TREE_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "the tree is deeper than %d", NJ_TREE_DEPTH_MAX);
    r = nj_stamps_load(g->source, stamps_digest, &arena, &stamps, err);
    if (r < 0)
        return r;
    if (depth == 0) {
        g->next_ino = stamps.next_ino;
        g->is_identified = stamps.has_ctime;
    }
    if (g->next_ino == 0)
        return 0;
    r = nj_tree_load(g->source, tree_digest, &arena, &tree, NULL, err);
    for (size_t i = 0; r >= 0 && i < stamps.n_entries; i++) {
        const struct nj_stamp *stamp = &stamps.entries[i];
        const struct nj_tree_entry *entry = nj_tree_find(&tree, stamp->name);

        if (!entry)
            return nj_fail(err, NJ_E_CORRUPT, "stamps of a file that is not there");
        g->is_told &= stamp->ino > 0;
        g->is_odd |= stamp->ino >= g->next_ino;
        if (depth == 0 && stamp->name.len >= strlen(STAGED_PREFIX) &&
            memcmp(stamp->name.data, STAGED_PREFIX, strlen(STAGED_PREFIX)) == 0)
            g->is_odd = true;
        r = add(g, entry, stamp->ino, err);
        if (r >= 0 && entry->type == NJ_FILE_DIRECTORY && stamp->has_stamps)
            r = gather(g, &entry->digest, &stamp->stamps, depth + 1, err);
    }
    return r;
}

static int compare_inodes(const void *a, const void *b)
{
    const struct inode *first = a, *second = b;

    if (first->ino != second->ino)
        return first->ino > second->ino ? 1 : -1;
    return (first->type == NJ_FILE_HARDLINK) - (second->type == NJ_FILE_HARDLINK);
}

/* unite - one of each number; false when two of one number are not a file and links to it. Such
 * are, of an honest tree, names of one inode that no link can tell: other types', and a file's with
 * a path that is too long (capture_file.c). */
static bool unite(struct gathering *g)
{
    size_t kept = 0;

    if (g->n > 1)
        qsort(g->inodes, g->n, sizeof(*g->inodes), compare_inodes);
    for (size_t i = 0; i < g->n; i++) {
        const struct inode *before = kept > 0 ? &g->inodes[kept - 1] : NULL;

        if (!before || before->ino != g->inodes[i].ino)
            g->inodes[kept++] = g->inodes[i];
        else if (g->inodes[i].type != NJ_FILE_HARDLINK ||
                 (before->type != NJ_FILE_REGULAR && before->type != NJ_FILE_HARDLINK))
            return false;
    }
    g->n = kept;
    return true;
}

/* ---- making them ---- */

static int make_one(int root_fd, const struct inode *inode, const char *name)
{
    int fd;

    switch (inode->type) {
    case NJ_FILE_DIRECTORY:
        return mkdirat(root_fd, name, 0700);
    case NJ_FILE_SYMLINK:
        return symlinkat(inode->target, root_fd, name);
    case NJ_FILE_FIFO:
        return mknodat(root_fd, name, S_IFIFO | 0600, 0);
    case NJ_FILE_SOCKET:
        return mknodat(root_fd, name, S_IFSOCK | 0600, 0);
    case NJ_FILE_REGULAR:
    case NJ_FILE_HARDLINK:
        break;
    }
    fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : close(fd);
}

/* take_number - of a file that is gone at once; 0 with errno: none was to be had */
static uint64_t take_number(int root_fd)
{
    nj_auto_close int fd = -1;
    struct stat st;

    fd = openat(root_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    return fd < 0 || fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

/* skip_to - until the next number is @next; @last is the one given last. Returns 0, or -errno. */
static int skip_to(int root_fd, uint64_t last, uint64_t next)
{
    while (last + 1 < next) {
        last = take_number(root_fd);
        if (last == 0)
            return -errno;
    }
    return 0;
}

/* stage - Returns 0, 2 when a number cannot be had, or fails */
static int stage(int root_fd, const struct gathering *g, struct nj_error *err)
{
    uint64_t last = 1; /* the root's; what was counted since is seen at the first inode made */

    for (size_t i = 0; i < g->n; i++) {
        const struct inode *inode = &g->inodes[i];
        char name[STAGED_NAME_BYTES];
        struct stat st;
        int r;

        r = i == 0 ? 0 : skip_to(root_fd, last, inode->ino);
        if (r < 0)
            return nj_fail_errno(err, -r, "use up an inode number");
        staged_name(inode->ino, name);
        if (make_one(root_fd, inode, name) < 0 ||
            fstatat(root_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return nj_fail_errno(err, errno, "create");
        last = st.st_ino;
        if (i == 0 && last < inode->ino) { /* files that are gone came before it */
            if (unlinkat(root_fd, name, inode->type == NJ_FILE_DIRECTORY ? AT_REMOVEDIR : 0) < 0)
                return nj_fail_errno(err, errno, "remove");
            r = skip_to(root_fd, last, inode->ino);
            if (r < 0)
                return nj_fail_errno(err, -r, "use up an inode number");
            if (make_one(root_fd, inode, name) < 0 ||
                fstatat(root_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return nj_fail_errno(err, errno, "create");
            last = st.st_ino;
        }
        if (last != inode->ino)
            return 2;
    }
    return 0;
}

static int unstage(int root_fd, const struct gathering *g, struct nj_error *err)
{
    for (size_t i = 0; i < g->n; i++) {
        int flags = g->inodes[i].type == NJ_FILE_DIRECTORY ? AT_REMOVEDIR : 0;
        char name[STAGED_NAME_BYTES];

        staged_name(g->inodes[i].ino, name);
        if (unlinkat(root_fd, name, flags) < 0 && errno != ENOENT)
            return nj_fail_errno(err, errno, "remove");
    }
    return 2;
}

int restore_inodes(int root_fd, const struct nj_object_source *source,
                   const struct nj_workspace_ref *ref, uint64_t *ret_next_ino, struct nj_error *err)
{
    NJ_AUTO(gathering_done) struct gathering g = {.source = source, .is_told = true};
    struct statfs fs;
    int r;

    if (fstatfs(root_fd, &fs) < 0)
        return nj_fail_errno(err, errno, "look at the workspace");
    g.n_max = fs.f_files;
    g.target_bytes_left =
        (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize + (uint64_t)fs.f_files * SHORT_TARGET_BYTES;
    r = gather(&g, &ref->tree, &ref->stamps, 0, err);
    if (r < 0)
        return r;
    *ret_next_ino = g.next_ino;
    if (!g.is_identified)
        return 1;
    if (g.next_ino == 0 || !g.is_told || g.is_odd || !unite(&g) ||
        g.next_ino - g.n > NJ_RESTORE_SKIP_MAX)
        return 2;
    r = stage(root_fd, &g, err);
    return r == 2 ? unstage(root_fd, &g, err) : r;
}

int restore_inode_take(int root_fd, uint64_t ino, int dir_fd, const char *name)
{
    char staged[STAGED_NAME_BYTES];

    staged_name(ino, staged);
    return renameat(root_fd, staged, dir_fd, name);
}

int restore_inodes_skip(int root_fd, uint64_t next_ino, struct nj_error *err)
{
    uint64_t last;

    /* The last number that is not the next file's is one of a file that is gone: the capture's own
     * (workspace.c). */
    do {
        last = take_number(root_fd);
        if (last == 0)
            return nj_fail_errno(err, errno, "use up an inode number");
    } while (last + 1 < next_ino);
    return last + 1 == next_ino ? 0 : 2;
}
