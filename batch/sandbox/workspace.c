/*
 * workspace.c - a workspace's life around capture.c and restore.c
 */
#include "batch/sandbox/workspace.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "batch/sandbox/table.h"

#include "formats/base/banned.h"

#define PASSES_MAX 8

int nj_workspace_new(int root_fd, uint64_t max_size_bytes, struct nj_changes *changes,
                     struct nj_workspace **ret_workspace, struct nj_error *err)
{
    struct nj_workspace *workspace = calloc(1, sizeof(*workspace));

    if (!workspace) {
        nj_changes_free(changes);
        (void)close(root_fd);
        return nj_fail_nomem(err);
    }
    workspace->root_fd = root_fd;
    workspace->changes = changes;
    workspace->max_size_bytes = max_size_bytes;
    *ret_workspace = workspace;
    return 0;
}

void nj_workspace_free(struct nj_workspace *workspace)
{
    if (!workspace)
        return;
    table_done(&workspace->table);
    nj_times_free(workspace->times);
    nj_changes_free(workspace->changes);
    (void)close(workspace->root_fd);
    free(workspace);
}

/* ---- places ---- */

/* make_place - @path component by component. Returns 0, or 1 when something is in the way. */
static int make_place(int root_fd, const struct nj_op_place *place, struct nj_error *err)
{
    nj_auto_close int dir_fd = -1;
    const char *at = place->path;

    dir_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
    if (dir_fd < 0)
        return nj_fail_errno(err, errno, "workspace: dup");
    while (*at) {
        size_t len = strcspn(at, "/");
        bool last = at[len] == '\0';
        char name[NJ_OBJECT_NAME_MAX_BYTES + 1];
        struct stat st;
        int fd;

        memcpy(name, at, len); /* the plan was checked: 1 to 255 bytes */
        name[len] = '\0';
        at += len + !last;
        if (mkdirat(dir_fd, name, last ? (mode_t)place->mode : 0755) < 0) {
            if (errno != EEXIST)
                return nj_fail_errno(err, errno, "workspace: make /%s", place->path);
            if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return nj_fail_errno(err, errno, "workspace: look at /%s", place->path);
            if (last && S_ISREG(st.st_mode))
                return 0;
            if (!S_ISDIR(st.st_mode))
                return 1;
        }
        if (last)
            return 0;
        fd = table_open_at(dir_fd, name, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
            return nj_fail_errno(err, errno, "workspace: open /%s", place->path);
        (void)close(dir_fd);
        dir_fd = fd;
    }
    return 0;
}

int nj_workspace_place(struct nj_workspace *workspace, const struct nj_op_place *places,
                       size_t n_places, size_t *ret_index, struct nj_error *err)
{
    for (size_t i = 0; i < n_places; i++) {
        int r = make_place(workspace->root_fd, &places[i], err);

        if (r > 0)
            *ret_index = i;
        if (r != 0)
            return r;
    }
    return 0;
}

/* ---- reproducible times ---- */

int nj_workspace_reproduce(struct nj_workspace *workspace, struct nj_error *err)
{
    int r = nj_times_new(&workspace->times, err);

    if (r >= 0)
        nj_changes_tell(workspace->changes, workspace->times);
    return r;
}

/* learn_next_ino - by taking a number, which every run of the session does at the same places */
static void learn_next_ino(struct nj_workspace *workspace)
{
    nj_auto_close int fd = -1;
    struct stat st;

    workspace->next_ino = 0; /* where no inode is left */
    fd = openat(workspace->root_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0 && fstat(fd, &st) == 0)
        workspace->next_ino = st.st_ino + 1;
}

void nj_workspace_begin(struct nj_workspace *workspace, const struct nj_times_clock *clock)
{
    if (!workspace->times)
        return;
    if (workspace->next_ino == 0)
        learn_next_ino(workspace);
    nj_times_begin(workspace->times, clock, workspace->next_ino);
    if (nj_changes_way(workspace->changes) != NJ_CHANGES_FANOTIFY)
        nj_times_lose(workspace->times); /* nobody tells the order */
    if (workspace->next_ino == 0)
        nj_times_lose(workspace->times); /* nor which inodes are new */
}

dev_t nj_workspace_device(const struct nj_workspace *workspace)
{
    struct stat st;

    return fstat(workspace->root_fd, &st) < 0 ? 0 : st.st_dev;
}

struct nj_times *nj_workspace_times(struct nj_workspace *workspace)
{
    return workspace->times;
}

/* ---- capture, scan, usage ---- */

static void mark_due(void *ctx, uint64_t ino)
{
    struct nj_workspace *workspace = ctx;

    table_due(&workspace->table, ino, workspace->captures);
}

unsigned table_look(struct nj_workspace *workspace)
{
    unsigned flags = nj_changes_are_known(workspace->changes) ? 0 : TABLE_READ_ALL;
    const struct table_dir *root = workspace->table.root;

    workspace->captures++;
    if (workspace->times && root) /* whose stamps tell the next number */
        mark_due(workspace, root->ino);
    if (root && (!workspace->times || root->identified) &&
        nj_changes_each(workspace->changes, mark_due, workspace))
        flags |= TABLE_CHANGES;
    return flags;
}

int nj_workspace_capture(struct nj_workspace *workspace, const struct nj_object_sink *sink,
                         struct nj_workspace_capture *ret_capture, struct nj_error *err)
{
    NJ_AUTO(table_done) struct table table = {0};
    struct nj_workspace_capture capture = {0}, total = {0};
    unsigned flags = table_look(workspace);
    int r = 0;

    if (workspace->times) {
        nj_times_settle(workspace->times, 0);
        learn_next_ino(workspace);
        flags |= TABLE_DATE;
    }
    /* Where something had to be removed, other entries may have pointed at it: look again, at all.
     */
    for (unsigned pass = 0; pass == 0 || r == 1 || capture.removed > 0; pass++) {
        if (pass == PASSES_MAX)
            return nj_fail(err, NJ_E_LIMIT, "capture: the tree cannot be made to fit");
        table_done(&table);
        r = table_capture(workspace, &workspace->table, flags, sink, &table, &capture, err);
        if (r < 0)
            return nj_wrap(err, "capture");
        flags &= ~(unsigned)TABLE_CHANGES;
        total.files_hashed += capture.files_hashed;
        total.removed += capture.removed;
        if (capture.removed_bytes > total.removed_bytes)
            total.removed_bytes = capture.removed_bytes;
    }
    r = table_replace(&workspace->table, &table, err);
    if (r < 0)
        return nj_wrap(err, "capture");
    nj_changes_done_with(workspace->changes);
    if (workspace->times) {
        capture.times_lost = nj_times_lost(workspace->times) || workspace->renumbered;
        nj_times_end(workspace->times);
        nj_changes_forget_own(workspace->changes);
    }
    capture.files_hashed = total.files_hashed;
    capture.removed = total.removed;
    capture.removed_bytes = total.removed_bytes;
    *ret_capture = capture;
    return 0;
}

static int discard(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    (void)ctx;
    (void)object;
    (void)err;
    return 0;
}

int nj_workspace_scan(struct nj_workspace *workspace, uint64_t *ret_files, uint64_t *ret_misses,
                      struct nj_error *err)
{
    static const struct nj_object_sink nowhere = {discard, NULL};
    NJ_AUTO(table_done) struct table table = {0};
    struct nj_workspace_capture capture;
    uint64_t misses = 0;
    int r;

    r = table_capture(workspace, &workspace->table, TABLE_READ_ALL | table_plain(workspace),
                      &nowhere, &table, &capture, err);
    if (r < 0)
        return nj_wrap(err, "scan");
    misses = capture.removed; /* what the last capture should have removed */
    for (size_t i = 0; i < table.by_ino_size; i++) {
        const struct table_entry *now = table.by_ino[i], *before;

        if (!now || now->tree.type != NJ_FILE_REGULAR)
            continue;
        before = table_find(&workspace->table, now->ino);
        misses += !before || !nj_digest_equal(&before->tree.digest, &now->tree.digest);
    }
    /* A name, a mode, an attribute, a time or the order of a listing. */
    if (misses == 0 && workspace->table.root &&
        !(nj_digest_equal(&capture.ref.tree, &workspace->table.root->tree.digest) &&
          nj_digest_equal(&capture.ref.stamps, &workspace->table.root->stamps.digest)))
        misses = 1;
    *ret_files = capture.files;
    *ret_misses = misses;
    return 0;
}

void nj_workspace_usage(struct nj_workspace *workspace, uint64_t *ret_bytes, bool *ret_full)
{
    struct statfs fs;

    if (fstatfs(workspace->root_fd, &fs) < 0 || fs.f_blocks == 0)
        return; /* not a bounded file system: nothing to say */
    *ret_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
    *ret_full = fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_ffree == 0);
}

uint64_t nj_workspace_memory(struct nj_workspace *workspace)
{
    struct statfs fs;

    if (fstatfs(workspace->root_fd, &fs) < 0)
        return 0;
    return (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize +
           (uint64_t)(fs.f_files - fs.f_ffree) * 1024;
}
