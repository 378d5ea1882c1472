/*
 * stat.c - what programs are told of files: the stat family, and setting times
 *
 * Times of the workspace come from times.h, with the changes that were told so far taken in first.
 * Of other files only the mtime counts: what the box itself made has the time at which the call
 * began, and what the system brought its own; atime and ctime say the same. Device numbers of file
 * systems without a device differ from box to box, so there are two: the workspace, and all others.
 * A birth time is not told.
 *
 * The complication is whose eyes look. The supervisor resolves the program's path with rights that
 * the program lacks, so: the path is copied once; a walk never follows a magic link and never
 * leaves the program's root; it is made without the capabilities that open directories; nothing is
 * opened for reading; and whatever fails, or leads through a magic link, is left to the kernel and
 * the program's own rights. (So is /proc/self, which means nobody where the supervisor is; other
 * files of /proc are looked at as any.) A lie about the path can only lead to another file's
 * numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "batch/sandbox/virtual/files.h"
#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define PATH_BYTES 4096
#define PAGE_BYTES 4096
#define KNOWN_FLAGS (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)
#define NS_PER_S INT64_C(1000000000)
/* Some files are our own to answer for (files.h): their attributes must not be asked of us, who
 * wait for them. */
#define CACHED (AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT)

enum {
#define X(enumerator, number, name, target) NODE_##enumerator = number,
    NJ_FILES(X)
#undef X
};

/* ---- sync points ---- */

static void settle(struct nj_virtual *v, pid_t tid)
{
    if (tid != 0)
        nj_times_hear_wishes(v->files.times); /* the listener works */
    nj_changes_drain(v->files.changes);
    nj_times_settle(v->files.times, tid);
}

enum nj_answer nj_stat_open(struct nj_virtual *v, const struct seccomp_notif *notif,
                            struct seccomp_notif_resp *response)
{
    if (!v->files.times)
        return NJ_ANSWER_CONTINUE;
    settle(v, (pid_t)notif->pid);
    if (notif->data.nr != SYS_openat2)
        return NJ_ANSWER_CONTINUE;
    /* Its flags are in memory, so no filter sees whether it is for writing. */
    response->error = -ENOSYS;
    return NJ_ANSWER_VALUE;
}

/* ---- the program's eyes ---- */

/* walk_as_owner - without the capabilities that the program lacks, until the call ends */
static void walk_as_owner(struct nj_virtual *v, bool on)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (v->files.walks_as_owner == on || syscall(SYS_capget, &header, data) < 0)
        return;
    if (on)
        data[0].effective &= ~((1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH));
    else
        data[0].effective = data[0].permitted;
    if (syscall(SYS_capset, &header, data) == 0)
        v->files.walks_as_owner = on;
}

/* read_path - one copy; false: not there, or too long */
static bool read_path(pid_t tid, uint64_t at, char path[PATH_BYTES])
{
    size_t have = 0;

    while (have < PATH_BYTES) {
        size_t more = PAGE_BYTES - (size_t)((at + have) % PAGE_BYTES);

        if (more > PATH_BYTES - have)
            more = PATH_BYTES - have;
        if (!nj_virtual_read(tid, at + have, path + have, more))
            return false;
        if (memchr(path + have, '\0', more))
            return true;
        have += more;
    }
    return false;
}

static int open_how(int dir_fd, const char *path, bool follow, uint64_t resolve)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
        .resolve = resolve | RESOLVE_NO_MAGICLINKS,
    };

    return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
}

/* open_from_root - the program's root, which none of a call can change */
static int open_from_root(struct nj_virtual *v, pid_t tid, const char *path, bool follow)
{
    char name[32];

    if (v->files.root_fd < 0) {
        (void)snprintf(name, sizeof(name), "%d/root", tid); /* fits */
        v->files.root_fd = openat(v->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (v->files.root_fd < 0)
            return -1;
    }
    return open_how(v->files.root_fd, path, follow, RESOLVE_IN_ROOT);
}

/* open_from - a relative path. Absolute links on the way would be taken from our root, so with any
 * link the path is put behind the directory's own and walked from the program's root. */
static int open_from(struct nj_virtual *v, pid_t tid, const char *start, const char *path,
                     bool follow)
{
    nj_auto_close int start_fd = -1;
    char whole[2 * PATH_BYTES];
    ssize_t len;
    int fd;

    start_fd = openat(v->proc_fd, start, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (start_fd < 0)
        return -1;
    fd = open_how(start_fd, path, follow, RESOLVE_NO_SYMLINKS);
    if (fd >= 0 || errno != ELOOP)
        return fd;
    len = readlinkat(v->proc_fd, start, whole, PATH_BYTES - 1);
    if (len <= 0 || whole[0] != '/')
        return -1;
    (void)snprintf(whole + len, sizeof(whole) - (size_t)len, "/%s", path); /* fits: both bounded */
    return open_from_root(v, tid, whole, follow);
}

/* look - at what the program names; false: the kernel is to answer */
static bool look(struct nj_virtual *v, pid_t tid, int dir_fd, uint64_t path_at, int flags,
                 struct statx *ret_statx)
{
    bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
    char path[PATH_BYTES] = "", start[48];
    nj_auto_close int fd = -1;

    if (flags & ~KNOWN_FLAGS)
        return false;
    if (path_at != 0 && !read_path(tid, path_at, path))
        return false;
    if (dir_fd == AT_FDCWD)
        (void)snprintf(start, sizeof(start), "%d/cwd", tid); /* fits */
    else
        (void)snprintf(start, sizeof(start), "%d/fd/%d", tid, dir_fd);
    if (path[0] == '\0') {
        if (!(flags & AT_EMPTY_PATH))
            return false;
        return statx(v->proc_fd, start, CACHED, STATX_BASIC_STATS, ret_statx) == 0;
    }
    walk_as_owner(v, true);
    if (!v->files.walks_as_owner)
        return false;
    fd = path[0] == '/' ? open_from_root(v, tid, path, follow)
                        : open_from(v, tid, start, path, follow);
    return fd >= 0 && statx(fd, "", AT_EMPTY_PATH | CACHED, STATX_BASIC_STATS, ret_statx) == 0;
}

/* ---- what is told ---- */

static int64_t ns_of(const struct statx_timestamp *time)
{
    int64_t ns;

    if (__builtin_mul_overflow(time->tv_sec, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, time->tv_nsec, &ns)) /* a program set it */
        return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static struct statx_timestamp time_of(int64_t ns)
{
    struct statx_timestamp time = {.tv_sec = ns / NS_PER_S};

    if (ns % NS_PER_S < 0)
        time.tv_sec--;
    time.tv_nsec = (uint32_t)(ns - time.tv_sec * NS_PER_S);
    return time;
}

static bool is_workspace(const struct nj_virtual *v, const struct statx *x)
{
    return makedev(x->stx_dev_major, x->stx_dev_minor) == v->files.device;
}

/* show_device - files.h's random devices are regular files, of no bytes and from 1970 */
static void show_device(struct statx *x)
{
    bool is_random = x->stx_ino == NODE_RANDOM, is_urandom = x->stx_ino == NODE_URANDOM;

    if (x->stx_dev_major != 0 || x->stx_mode != (S_IFREG | 0666) || x->stx_size != 0 ||
        ns_of(&x->stx_mtime) != 0 || !(is_random || is_urandom))
        return;
    x->stx_mode = S_IFCHR | 0666;
    x->stx_rdev_major = 1;
    x->stx_rdev_minor = is_random ? 8 : 9;
}

static void show(struct nj_virtual *v, struct statx *x)
{
    int64_t mtime_ns = ns_of(&x->stx_mtime), ctime_ns;

    if (is_workspace(v, x)) {
        nj_times_find(v->files.times, x->stx_ino, mtime_ns, ns_of(&x->stx_atime), &mtime_ns,
                      &ctime_ns);
    } else {
        show_device(x);
        if (mtime_ns >= v->files.box_ns || S_ISCHR(x->stx_mode))
            mtime_ns = v->start_ns;
        ctime_ns = mtime_ns;
    }
    x->stx_atime = x->stx_mtime = time_of(mtime_ns);
    x->stx_ctime = time_of(ctime_ns);
    x->stx_btime = (struct statx_timestamp){0};
    x->stx_mask &= STATX_BASIC_STATS;
    memset((char *)x + offsetof(struct statx, stx_mnt_id), 0,
           sizeof(*x) - offsetof(struct statx, stx_mnt_id)); /* numbers of mounts, for one */
    if (x->stx_dev_major == 0)
        x->stx_dev_minor = is_workspace(v, x) ? NJ_DEVICE_OF_WORKSPACE : NJ_DEVICE_OF_OTHERS;
}

static struct timespec timespec_of(const struct statx_timestamp *time)
{
    return (struct timespec){time->tv_sec, time->tv_nsec};
}

static void to_stat(const struct statx *x, struct stat *st)
{
    memset(st, 0, sizeof(*st)); /* goes out as it is, with what lies between the fields */
    st->st_dev = makedev(x->stx_dev_major, x->stx_dev_minor);
    st->st_ino = x->stx_ino;
    st->st_mode = x->stx_mode;
    st->st_nlink = x->stx_nlink;
    st->st_uid = x->stx_uid;
    st->st_gid = x->stx_gid;
    st->st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor);
    st->st_size = (off_t)x->stx_size;
    st->st_blksize = x->stx_blksize;
    st->st_blocks = (blkcnt_t)x->stx_blocks;
    st->st_atim = timespec_of(&x->stx_atime);
    st->st_mtim = timespec_of(&x->stx_mtime);
    st->st_ctim = timespec_of(&x->stx_ctime);
}

/* look_at_changes - a look at a changed inode is a sync point, one at any other is none: the image
 * answers for those without us, and must leave the same times. */
static void look_at_changes(struct nj_virtual *v, pid_t tid, uint64_t ino)
{
    nj_times_hear_wishes(v->files.times);
    if (nj_times_is_due(v->files.times, ino))
        nj_times_settle(v->files.times, tid);
}

/* tell_image - the times alone of an inode that the program looked at itself */
static enum nj_answer tell_image(struct nj_virtual *v, const struct seccomp_notif *notif,
                                 struct seccomp_notif_resp *response)
{
    const uint64_t ino = notif->data.args[1];
    struct nj_told *told = &v->page->told[v->files.n_told % NJ_TOLD_MAX];

    nj_changes_drain(v->files.changes);
    if (!nj_times_knows(v->files.times, ino)) {
        response->error =
            -EAGAIN; /* there may be no such inode, so it gets no place in the table */
        return NJ_ANSWER_VALUE;
    }
    look_at_changes(v, (pid_t)notif->pid, ino);
    response->val = v->files.n_told++ % NJ_TOLD_MAX;
    told->ino = 0; /* whoever reads it meanwhile finds none, or all of the new */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    nj_times_find(v->files.times, ino, (int64_t)notif->data.args[2], 0, &told->mtime_ns,
                  &told->ctime_ns);
    __atomic_store_n(&told->ino, ino, __ATOMIC_RELEASE);
    return NJ_ANSWER_VALUE;
}

enum nj_answer nj_stat_stat(struct nj_virtual *v, const struct seccomp_notif *notif,
                            struct seccomp_notif_resp *response)
{
    const __u64 *args = notif->data.args;
    pid_t tid = (pid_t)notif->pid;
    uint64_t path_at = args[0], out_at = args[1];
    int dir_fd = AT_FDCWD, flags = 0;
    struct statx x;
    struct stat st;
    bool written;

    if (!v->files.times)
        return NJ_ANSWER_CONTINUE;
    if (notif->data.instruction_pointer == NJ_LAYOUT_ASK_CALLED)
        return tell_image(v, notif, response);
    switch (notif->data.nr) {
    case SYS_lstat:
        flags = AT_SYMLINK_NOFOLLOW;
        break;
    case SYS_fstat:
        dir_fd = (int)args[0];
        path_at = 0;
        flags = AT_EMPTY_PATH;
        break;
    case SYS_newfstatat:
        dir_fd = (int)args[0];
        path_at = args[1];
        out_at = args[2];
        flags = (int)args[3];
        break;
    case SYS_statx:
        dir_fd = (int)args[0];
        path_at = args[1];
        flags = (int)args[2];
        out_at = args[4];
        if (args[3] & STATX__RESERVED)
            return NJ_ANSWER_CONTINUE;
        break;
    default: /* stat */
        break;
    }
    nj_patch_site(v, notif);
    nj_changes_drain(v->files.changes);
    if (!look(v, tid, dir_fd, path_at, flags, &x) || !nj_virtual_is_alive(v, notif))
        return NJ_ANSWER_CONTINUE;
    if (is_workspace(v, &x))
        look_at_changes(v, tid, x.stx_ino);
    show(v, &x);
    if (notif->data.nr == SYS_statx) {
        written = nj_virtual_write(tid, out_at, &x, sizeof(x));
    } else {
        to_stat(&x, &st);
        written = nj_virtual_write(tid, out_at, &st, sizeof(st));
    }
    if (!written)
        response->error = -EFAULT;
    return NJ_ANSWER_VALUE;
}

/* ---- times that programs set ---- */

/* read_wish - of the mtime; false: the kernel will say what is wrong */
static bool read_wish(pid_t tid, int number, uint64_t at, struct nj_times_wish *wish)
{
    wish->sets_mtime = true;
    wish->is_now = at == 0;
    if (at == 0)
        return true;
    if (number == SYS_utimensat) {
        struct timespec times[2];

        if (!nj_virtual_read(tid, at, times, sizeof(times)))
            return false;
        wish->sets_mtime = times[1].tv_nsec != UTIME_OMIT;
        wish->is_now = times[1].tv_nsec == UTIME_NOW;
        if (wish->is_now || !wish->sets_mtime)
            return true;
        return !__builtin_mul_overflow(times[1].tv_sec, NS_PER_S, &wish->mtime_ns) &&
               !__builtin_add_overflow(wish->mtime_ns, times[1].tv_nsec, &wish->mtime_ns);
    }
    if (number == SYS_utime) {
        struct utimbuf times;

        return nj_virtual_read(tid, at, &times, sizeof(times)) &&
               !__builtin_mul_overflow(times.modtime, NS_PER_S, &wish->mtime_ns);
    } else {
        struct timeval times[2];
        int64_t part_ns;

        return nj_virtual_read(tid, at, times, sizeof(times)) &&
               !__builtin_mul_overflow(times[1].tv_sec, NS_PER_S, &wish->mtime_ns) &&
               !__builtin_mul_overflow(times[1].tv_usec, INT64_C(1000), &part_ns) &&
               !__builtin_add_overflow(wish->mtime_ns, part_ns, &wish->mtime_ns);
    }
}

enum nj_answer nj_stat_set_times(struct nj_virtual *v, const struct seccomp_notif *notif,
                                 struct seccomp_notif_resp *response)
{
    const __u64 *args = notif->data.args;
    struct nj_times_wish wish = {.tid = (pid_t)notif->pid};
    uint64_t path_at = args[0], times_at = args[1];
    int dir_fd = AT_FDCWD, flags = 0, number = notif->data.nr;
    struct statx x;

    (void)response;
    if (!v->files.times)
        return NJ_ANSWER_CONTINUE;
    settle(v, wish.tid);
    if (number == SYS_utimensat || number == SYS_futimesat) {
        dir_fd = (int)args[0];
        path_at = args[1];
        times_at = args[2];
        flags = number == SYS_utimensat ? (int)args[3] : 0;
        if (path_at == 0)
            flags |= AT_EMPTY_PATH;
    }
    if (read_wish(wish.tid, number, times_at, &wish) &&
        look(v, wish.tid, dir_fd, path_at, flags, &x) && is_workspace(v, &x)) {
        wish.ino = x.stx_ino;
        nj_times_wish(v->files.times, &wish);
    }
    return NJ_ANSWER_CONTINUE;
}

/* ---- a call ---- */

void nj_stat_begin(struct nj_virtual *v, const struct nj_virtual_files *files)
{
    v->files = *files;
    v->files.root_fd = -1;
    /* Inodes are dated by this clock, or by a finer one that is never behind it. */
    v->page->call_ns = nj_virtual_now_ns(CLOCK_REALTIME_COARSE);
    v->files.ahead_ns = v->page->call_ns - nj_virtual_now_ns(CLOCK_MONOTONIC);
    v->page->box_ns = files->box_ns;
    v->page->workspace = (uint64_t)major(files->device) << 32 | minor(files->device);
}

/* was_set_back - the kernel's clock, beyond what keeping it right slews it by: a change since then
 * may look older than the call. The clocks are read in such an order that a pause between them
 * hides nothing but too little. */
static bool was_set_back(const struct nj_virtual *v)
{
    int64_t monotonic_ns = nj_virtual_now_ns(CLOCK_MONOTONIC);
    int64_t ahead_ns = nj_virtual_now_ns(CLOCK_REALTIME) - monotonic_ns;

    return ahead_ns < v->files.ahead_ns - (monotonic_ns - v->started_ns) / 1000;
}

void nj_stat_end(struct nj_virtual *v)
{
    if (!v->files.times)
        return;
    if (was_set_back(v))
        nj_times_lose(v->files.times);
    settle(v, 0);
    walk_as_owner(v, false);
    nj_close_auto(&v->files.root_fd);
    v->files.times = NULL;
}
