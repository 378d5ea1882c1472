/*
 * fsio_tree.c - files that appear whole, and folders that disappear whole
 *
 * A tree to remove may have been filled by hostile code: links to anywhere, folders without
 * permissions, nesting of any depth. Each folder is opened by its one-component name without
 * following links, and what lies deeper than a fixed number of descriptors allows is moved up
 * first. A mount that a killed run left behind may show the user's own files: no folder of another
 * mount is ever emptied, a bind mount of the same file system included.
 */
#include "formats/base/fsio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

#include "formats/base/banned.h"

#define TEMP_PREFIX ".tmp-"
#define TEMP_PREFIX_LEN (sizeof(TEMP_PREFIX) - 1)
#define TEMP_NAME_MAX_BYTES 64
#define TEMP_TRIES_MAX 1000 /* leftovers of processes that had our pid */
#define TREE_DEPTH_MAX 16   /* folders open at once while a tree is removed */

static atomic_ulong temp_counter;

static void temp_name(char name[TEMP_NAME_MAX_BYTES])
{
    (void)snprintf(name, TEMP_NAME_MAX_BYTES, TEMP_PREFIX "%ld-%lu", (long)getpid(),
                   atomic_fetch_add(&temp_counter, 1));
}

static void closedir_auto(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir); /* it was only read */
}

/* ---- publishing ---- */

static int temp_open(int dir_fd, char name[TEMP_NAME_MAX_BYTES], int *ret_fd, struct nj_error *err)
{
    int fd;

    for (int i = 0; i < TEMP_TRIES_MAX; i++) {
        temp_name(name);
        fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0) {
            *ret_fd = fd;
            return 0;
        }
        if (errno != EEXIST && errno != EINTR)
            break;
    }
    return nj_fail_errno(err, errno, "create %s", name);
}

static int temp_fill(int fd, struct nj_span data, mode_t mode, struct nj_error *err)
{
    int r = nj_fsio_write(fd, data.data, data.len, err);

    if (r < 0)
        return r;
    if (fchmod(fd, mode) < 0) /* here and not in open: whatever the umask, the same mode */
        return nj_fail_errno(err, errno, "chmod");
    return nj_fsio_fdatasync(fd, err);
}

static int publish_in(int dir_fd, const char *name, struct nj_span data, mode_t mode,
                      struct nj_error *err)
{
    char temp[TEMP_NAME_MAX_BYTES];
    nj_auto_close int fd = -1;
    int r;

    r = temp_open(dir_fd, temp, &fd, err);
    if (r < 0)
        return r;
    r = temp_fill(fd, data, mode, err);
    if (r == 0)
        r = nj_fsio_rename(dir_fd, temp, dir_fd, name, err);
    if (r < 0) {
        (void)unlinkat(dir_fd, temp, 0); /* a leftover is swept later */
        return r;
    }
    return nj_fsio_sync_dir(dir_fd, err);
}

int nj_fsio_publish(int dir_fd, const char *name, struct nj_span data, mode_t mode,
                    struct nj_error *err)
{
    const char *slash = strrchr(name, '/');
    nj_auto_free char *parent = NULL;
    nj_auto_close int parent_fd = -1;
    int r;

    if (!slash && dir_fd != AT_FDCWD) {
        r = publish_in(dir_fd, name, data, mode, err);
        return r < 0 ? nj_wrap(err, "publish %s", name) : 0;
    }
    /* The folder to sync is the one the name is in. */
    parent = slash ? strndup(name, slash == name ? 1 : (size_t)(slash - name)) : strdup(".");
    if (!parent)
        return nj_fail_nomem(err);
    parent_fd = openat(dir_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent_fd < 0)
        return nj_fail_errno(err, errno, "publish %s: open folder %s", name, parent);
    r = publish_in(parent_fd, slash ? slash + 1 : name, data, mode, err);
    return r < 0 ? nj_wrap(err, "publish %s", name) : 0;
}

int nj_fsio_sweep(int dir_fd, struct nj_error *err)
{
    __attribute__((cleanup(closedir_auto))) DIR *dir = NULL;
    struct dirent *entry;
    int fd;

    fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
    if (fd < 0)
        return nj_fail_errno(err, errno, "sweep: open folder");
    dir = fdopendir(fd);
    if (!dir) {
        int saved = errno;

        (void)close(fd);
        return nj_fail_errno(err, saved, "sweep: open folder");
    }
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (!entry)
            break;
        if (strncmp(entry->d_name, TEMP_PREFIX, TEMP_PREFIX_LEN) != 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT && errno != EISDIR)
            return nj_fail_errno(err, errno, "sweep: remove %s", entry->d_name);
    }
    return errno == 0 ? 0 : nj_fail_errno(err, errno, "sweep: read folder");
}

/* ---- removing ---- */

/* Which mount a folder is in. The number tells bind mounts apart; before Linux 5.8 it is 0. */
struct mount {
    unsigned int major;
    unsigned int minor;
    uint64_t number;
};

/* The removal of one tree: what every level needs to know. */
struct removal {
    int top_fd;
    struct mount mount;
    bool moved_up; /* something was moved to the top: read the top once more */
};

static int mount_of(int fd, struct mount *ret_mount)
{
    struct statx st;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
        return -1;
    ret_mount->major = st.stx_dev_major;
    ret_mount->minor = st.stx_dev_minor;
    ret_mount->number = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
    return 0;
}

static bool mount_equal(const struct mount *a, const struct mount *b)
{
    return a->major == b->major && a->minor == b->minor && a->number == b->number;
}

/* open_folder - open @name without following a link; a folder that shut us out is opened up first
 *
 * Returns 0, or 1 when there is no folder of that name. The handle comes first: nothing is changed
 * in another mount, and what is opened is what was judged. */
static int open_folder(const struct removal *removal, int dir_fd, const char *name, int *ret_fd,
                       struct nj_error *err)
{
    nj_auto_close int handle = -1;
    struct mount mount;
    struct stat st;
    char path[64];
    int fd;

    handle = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (handle < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return 1;
    if (handle < 0 || fstat(handle, &st) < 0 || mount_of(handle, &mount) < 0)
        return nj_fail_errno(err, errno, "remove: look at folder %s", name);
    if (removal && !mount_equal(&mount, &removal->mount))
        return nj_fail(err, NJ_E_INPUT, "remove: %s is a mount; unmount it first", name);
    if ((st.st_mode & 0700) != 0700) {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", handle);
        /* Where it matters, the next line or unlinking says so. Not by chmod(): a confined caller
         * may have fchmodat() alone. */
        (void)!fchmodat(AT_FDCWD, path, 0700, 0);
    }
    fd = openat(handle, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "remove: open folder %s", name);
    *ret_fd = fd;
    return 0;
}

static int empty_folder(struct removal *removal, int fd, unsigned depth, struct nj_error *err);

/* move_up - put a folder that lies too deep into the top one, under a name of ours */
static int move_up(struct removal *removal, int dir_fd, const char *name, struct nj_error *err)
{
    char temp[TEMP_NAME_MAX_BYTES];

    for (int i = 0; i < TEMP_TRIES_MAX; i++) {
        temp_name(temp);
        if (renameat2(dir_fd, name, removal->top_fd, temp, RENAME_NOREPLACE) == 0) {
            removal->moved_up = true;
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    return nj_fail_errno(err, errno, "remove: move %s up", name);
}

/* remove_subdir - empty and remove the folder @name; 1 when it vanished or is no folder any more */
static int remove_subdir(struct removal *removal, int dir_fd, const char *name, unsigned depth,
                         struct nj_error *err)
{
    nj_auto_close int fd = -1;
    int r;

    r = open_folder(removal, dir_fd, name, &fd, err);
    if (r != 0)
        return r;
    if (depth == TREE_DEPTH_MAX)
        return move_up(removal, dir_fd, name, err);
    r = empty_folder(removal, fd, depth, err);
    if (r < 0)
        return r;
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return nj_fail_errno(err, errno, "remove: folder %s", name);
    return 0;
}

static int remove_entry(struct removal *removal, int dir_fd, const struct dirent *entry,
                        unsigned depth, struct nj_error *err)
{
    const char *name = entry->d_name;
    int r;

    if (entry->d_type == DT_DIR) {
        r = remove_subdir(removal, dir_fd, name, depth + 1, err);
        if (r <= 0)
            return r;
    }
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return nj_fail_errno(err, errno, "remove: %s", name);
    r = remove_subdir(removal, dir_fd, name, depth + 1, err); /* the type was not told */
    return r < 0 ? r : 0;
}

/* empty_folder - remove all in @fd, which stays the caller's */
static int empty_folder(struct removal *removal, int fd, unsigned depth, struct nj_error *err)
{
    __attribute__((cleanup(closedir_auto))) DIR *dir = NULL;
    int own_fd, r;

    own_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own_fd < 0)
        return nj_fail_errno(err, errno, "remove: open folder");
    dir = fdopendir(own_fd);
    if (!dir) {
        int saved = errno;

        (void)close(own_fd);
        return nj_fail_errno(err, saved, "remove: open folder");
    }
    for (;;) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry)
            return errno == 0 ? 0 : nj_fail_errno(err, errno, "remove: read folder");
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = remove_entry(removal, fd, entry, depth, err);
        if (r < 0)
            return r;
    }
}

int nj_fsio_remove_tree(int dir_fd, const char *name, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct removal removal = {0};
    int r;

    r = open_folder(NULL, dir_fd, name, &fd, err);
    if (r < 0)
        return r;
    if (r == 1) {
        if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
            return 0;
        return nj_fail_errno(err, errno, "remove %s", name);
    }
    if (mount_of(fd, &removal.mount) < 0)
        return nj_fail_errno(err, errno, "remove %s", name);
    removal.top_fd = fd;
    do {
        removal.moved_up = false;
        r = empty_folder(&removal, fd, 0, err);
        if (r < 0)
            return nj_wrap(err, "remove %s", name);
    } while (removal.moved_up);
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return nj_fail_errno(err, errno, "remove %s", name);
    return 0;
}

int nj_fsio_open_dir(int dir_fd, const char *name, int *ret_fd, struct nj_error *err)
{
    int fd;

    if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
        return nj_fail_errno(err, errno, "make folder %s", name);
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", name);
    *ret_fd = fd;
    return 0;
}
