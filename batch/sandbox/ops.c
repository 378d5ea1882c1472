/*
 * ops.c - mounts, directories and links of a box
 *
 * Binds use the new mount calls: only mount_setattr() makes a *recursive* bind read-only, and a
 * detached tree is never visible with the wrong flags. What lies inside a writable path is resolved
 * beneath the root without following links: an agent may have put one there.
 */
#include "batch/sandbox/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "formats/base/banned.h"

static int do_dir(const struct nj_op *op)
{
    if (mkdir(op->target + 1, (mode_t)op->mode) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

static int do_file(const struct nj_op *op)
{
    size_t len = strlen(op->source);
    nj_auto_close int fd = -1;

    fd = open(op->target + 1, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
              (mode_t)op->mode);
    if (fd < 0)
        return -errno;
    if (len > 0 && write(fd, op->source, len) != (ssize_t)len)
        return errno ? -errno : -EIO;
    return 0;
}

static int do_tmpfs(const struct nj_op *op)
{
    /* Nobody needs the times of reading, and a reproducible box keeps other times in their place
     * (virtual/times.h). What is bound from here has the same flags. */
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOATIME;

    if (op->flags & NJ_OP_NOEXEC)
        flags |= MS_NOEXEC;
    return mount("tmpfs", op->target + 1, "tmpfs", flags, op->source) < 0 ? -errno : 0;
}

static int do_proc(const struct nj_op *op)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    if (op->flags & NJ_OP_READ_ONLY)
        flags |= MS_RDONLY;
    return mount("proc", op->target + 1, "proc", flags, NULL) < 0 ? -errno : 0;
}

static int set_flags(int tree_fd, unsigned flags)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID};

    if (!(flags & NJ_OP_READ_ONLY))
        return 0; /* a writable path: the workspace's own flags came along */
    attr.attr_set |= MOUNT_ATTR_RDONLY;
    if (!(flags & NJ_OP_DEVICES))
        attr.attr_set |= MOUNT_ATTR_NODEV;
    if (flags & NJ_OP_NOEXEC)
        attr.attr_set |= MOUNT_ATTR_NOEXEC;
    return mount_setattr(tree_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0
               ? -errno
               : 0;
}

static int open_inside(const char *target)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, target + 1, &how, sizeof(how));

    return fd < 0 ? -errno : fd;
}

/* attach - put the detached tree at @target, or at @target_fd when that is given */
static int attach(int tree_fd, const char *target, int target_fd)
{
    if (target_fd >= 0)
        return move_mount(tree_fd, "", target_fd, "",
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
                   ? -errno
                   : 0;
    return move_mount(tree_fd, "", AT_FDCWD, target + 1, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int do_bind(const struct nj_op *op)
{
    nj_auto_close int tree_fd = -1, target_fd = -1;
    int r;

    tree_fd = open_tree(AT_FDCWD, op->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree_fd < 0)
        return -errno;
    r = set_flags(tree_fd, op->flags);
    if (r < 0)
        return r;
    if (op->kind == NJ_OP_INSIDE) {
        target_fd = open_inside(op->target);
        if (target_fd < 0)
            return target_fd;
    }
    return attach(tree_fd, op->target, target_fd);
}

static int do_freeze(const struct nj_op *op)
{
    nj_auto_close int tree_fd = -1, target_fd = -1;
    int r;

    target_fd = open_inside(op->target);
    if (target_fd < 0)
        return target_fd;
    tree_fd = open_tree(target_fd, "",
                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
    if (tree_fd < 0)
        return -errno;
    r = set_flags(tree_fd, op->flags);
    if (r < 0)
        return r;
    return attach(tree_fd, op->target, target_fd);
}

static int do_cover(const struct nj_op *op, const char *source)
{
    if (mount(source, op->target, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

static int do_seal(const struct nj_op *op)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    const char *path = op->target[1] == '\0' ? "." : op->target + 1;

    return mount_setattr(AT_FDCWD, path, 0, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

int nj_op_do(const struct nj_op *op)
{
    switch (op->kind) {
    case NJ_OP_DIR:
        return do_dir(op);
    case NJ_OP_FILE:
        return do_file(op);
    case NJ_OP_LINK:
        return symlink(op->source, op->target + 1) < 0 ? -errno : 0;
    case NJ_OP_TMPFS:
        return do_tmpfs(op);
    case NJ_OP_PROC:
        return do_proc(op);
    case NJ_OP_BIND:
    case NJ_OP_INSIDE:
        return do_bind(op);
    case NJ_OP_FREEZE:
        return do_freeze(op);
    case NJ_OP_MASK:
        return do_cover(op, "/dev/null");
    case NJ_OP_COVER:
        return do_cover(op, op->source);
    case NJ_OP_SEAL:
        return do_seal(op);
    case NJ_OP_HIDE:
        return umount2(op->target + 1, MNT_DETACH) < 0 ? -errno : 0;
    }
    return -EINVAL;
}
