/*
 * disk_recorder.c - what a program asks of the disk below one folder, in order
 *
 * Preloaded into the engine and all that it forks (LD_PRELOAD). Every call that changes a file or a
 * folder below NJ_RECORD_ROOT is appended to the file NJ_RECORD: a line "OP ARGUMENT... BYTES",
 * then BYTES bytes of data. Files and folders are named by their inode numbers, so an open file
 * keeps its identity through renames; names are written with everything but plain characters as
 * %XX.
 *
 * A change is recorded before it is made and a sync after it returned: whatever the moment of the
 * cut, the record never claims more safety than there was. The complication is that processes close
 * descriptors wholesale: the recorder looks at its own before each use and opens it again.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_FD_MIN 700
#define LINE_MAX_BYTES 8192
#define NAME_BYTES (3 * NAME_MAX + 1)

static bool passive; /* a process of the sandbox: it writes nothing here, and may not ask so much */
static int record_fd = -1;
static dev_t record_dev;
static ino_t record_ino;

/* next - the C library's own function; looked up once, before any thread exists */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *root(void)
{
    return passive ? NULL : getenv("NJ_RECORD_ROOT");
}

/* open_record - the record's descriptor, or -1 where this process cannot reach it */
static int open_record(void)
{
    const char *path = getenv("NJ_RECORD");
    struct stat st;
    int fd;

    if (record_fd >= 0 && fstat(record_fd, &st) == 0 && st.st_dev == record_dev &&
        st.st_ino == record_ino)
        return record_fd;
    record_fd = -1;
    if (!path || !root())
        return -1;
    fd = (int)NEXT(openat)(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return -1;
    record_fd = fcntl(fd, F_DUPFD_CLOEXEC, RECORD_FD_MIN);
    (void)NEXT(close)(fd);
    if (record_fd < 0 || fstat(record_fd, &st) < 0)
        return -1;
    record_dev = st.st_dev;
    record_ino = st.st_ino;
    return record_fd;
}

static void record(const void *data, size_t len, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void record(const void *data, size_t len, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    struct iovec parts[2] = {{line, 0}, {(void *)(uintptr_t)data, len}};
    int saved = errno, fd = open_record(), n;
    va_list args;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line) - 32, fmt, args);
    va_end(args);
    if (fd < 0) {
        errno = saved;
        return;
    }
    if (n < 0 || (size_t)n >= sizeof(line) - 32)
        abort();
    n += snprintf(line + n, 32, " %zu\n", len);
    parts[0].iov_len = (size_t)n;
    /* One call: records of several processes do not mix. */
    if (NEXT(writev)(fd, parts, 2) != (ssize_t)(parts[0].iov_len + len))
        abort(); /* a record with a hole proves nothing */
    errno = saved;
}

static const char *escaped(const char *name, char out[NAME_BYTES])
{
    size_t used = 0;

    for (const unsigned char *c = (const unsigned char *)name; *c && used + 4 < NAME_BYTES; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || *c == '.' || *c == '_' || *c == '-';

        if (plain)
            out[used++] = (char)*c;
        else
            used += (size_t)snprintf(out + used, 4, "%%%02X", *c);
    }
    out[used] = '\0';
    return out;
}

/* below_root - is what @fd is open on below the root? Its kind and inode are told. */
static bool below_root(int fd, struct stat *st)
{
    char link[64], path[PATH_MAX];
    const char *top = root();
    ssize_t n;

    if (!top || fd < 0 || fd == record_fd || fstat(fd, st) < 0 ||
        !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
        return false;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return strncmp(path, top, strlen(top)) == 0 &&
           (path[strlen(top)] == '/' || path[strlen(top)] == '\0');
}

/* A place: a folder below the root, and a name in it. */
struct place {
    ino_t dir;
    char name[NAME_BYTES];
    bool known;
};

static void find_place(int dir_fd, const char *path, struct place *place)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    struct stat st;
    int saved = errno, fd;

    place->known = false;
    if (strlen(path) >= sizeof(folder) || *name == '\0') {
        errno = saved;
        return;
    }
    if (slash)
        (void)snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path),
                       path);
    else
        (void)snprintf(folder, sizeof(folder), ".");
    fd = (int)NEXT(openat)(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        if (below_root(fd, &st)) {
            place->known = true;
            place->dir = st.st_ino;
            (void)escaped(name, place->name);
        }
        (void)NEXT(close)(fd);
    }
    errno = saved;
}

static bool inode_at(int dir_fd, const char *path, struct stat *st)
{
    int saved = errno;
    bool there = fstatat(dir_fd, path, st, AT_SYMLINK_NOFOLLOW) == 0;

    errno = saved;
    return there;
}

/* ---- who takes part ---- */

/* The engine and its workers have no names of their own; the processes of the sandbox take one. */
int prctl(int option, ...)
{
    unsigned long values[4];
    va_list args;

    va_start(args, option);
    for (int i = 0; i < 4; i++)
        values[i] = va_arg(args, unsigned long);
    va_end(args);
    if (option == PR_SET_NAME)
        passive = true;
    return NEXT(prctl)(option, values[0], values[1], values[2], values[3]);
}

/* ---- opening ---- */

static int opened(int dir_fd, const char *path, int flags, mode_t mode)
{
    __typeof__(&openat) next = NEXT(openat);
    struct place place = {.known = false};
    struct stat before, after;
    bool was_there, may_change = (flags & O_ACCMODE) != O_RDONLY;
    int fd;

    if ((flags & O_TMPFILE) == O_TMPFILE || !root() || !may_change)
        return next(dir_fd, path, flags, mode);
    find_place(dir_fd, path, &place);
    was_there = inode_at(dir_fd, path, &before);
    fd = next(dir_fd, path, flags, mode);
    if (fd < 0 || !place.known || fstat(fd, &after) < 0 || !S_ISREG(after.st_mode))
        return fd;
    if (!was_there)
        record(NULL, 0, "create %ju %s %ju", (uintmax_t)place.dir, place.name,
               (uintmax_t)after.st_ino);
    else if (flags & O_TRUNC)
        record(NULL, 0, "truncate %ju 0", (uintmax_t)after.st_ino);
    return fd;
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = va_arg(args, mode_t);                                                               \
        va_end(args);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(dir_fd, path, flags, mode);
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(dir_fd, path, flags, mode);
}

/* ---- contents ---- */

static void note_write(int fd, const void *data, size_t len, off_t offset)
{
    struct stat st;
    int saved = errno;

    if (len > 0 && below_root(fd, &st) && S_ISREG(st.st_mode))
        record(data, len, "write %ju %jd", (uintmax_t)st.st_ino, (intmax_t)offset);
    errno = saved;
}

static off_t position(int fd)
{
    int saved = errno, flags = fcntl(fd, F_GETFL);
    struct stat st;
    off_t at = 0;

    if (flags >= 0 && flags & O_APPEND && fstat(fd, &st) == 0)
        at = st.st_size;
    else
        at = lseek(fd, 0, SEEK_CUR);
    errno = saved;
    return at < 0 ? 0 : at;
}

ssize_t write(int fd, const void *data, size_t len)
{
    const char *log = getenv("NJ_SCRIPT_LOG");
    struct stat st, wanted;

    if (root()) {
        int saved = errno;

        /* A delivered reply is a mark in the record: what comes behind it was asked for later. */
        if (log && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && stat(log, &wanted) == 0 &&
            st.st_ino == wanted.st_ino && st.st_dev == wanted.st_dev)
            record(data, len, "delivered");
        errno = saved;
        note_write(fd, data, len, position(fd));
    }
    return NEXT(write)(fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    if (root())
        note_write(fd, data, len, offset);
    return NEXT(pwrite)(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
    return pwrite(fd, data, len, offset);
}

static void note_vector(int fd, const struct iovec *parts, int n, off_t offset)
{
    for (int i = 0; i < n; i++) {
        note_write(fd, parts[i].iov_base, parts[i].iov_len, offset);
        offset += (off_t)parts[i].iov_len;
    }
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    if (root() && fd != record_fd)
        note_vector(fd, parts, n, position(fd));
    return NEXT(writev)(fd, parts, n);
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset)
{
    if (root())
        note_vector(fd, parts, n, offset);
    return NEXT(pwritev)(fd, parts, n, offset);
}

static void note_size(int fd, const char *op, off_t offset, off_t len)
{
    struct stat st;
    int saved = errno;

    if (root() && below_root(fd, &st) && S_ISREG(st.st_mode)) {
        if (*op == 't')
            record(NULL, 0, "truncate %ju %jd", (uintmax_t)st.st_ino, (intmax_t)len);
        else
            record(NULL, 0, "allocate %ju %jd %jd", (uintmax_t)st.st_ino, (intmax_t)offset,
                   (intmax_t)len);
    }
    errno = saved;
}

int ftruncate(int fd, off_t len)
{
    note_size(fd, "truncate", 0, len);
    return NEXT(ftruncate)(fd, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (root() && mode != 0)
        abort(); /* punching holes and the like: this recorder does not know it yet */
    note_size(fd, "allocate", offset, len);
    return NEXT(fallocate)(fd, mode, offset, len);
}

/* ---- syncs ---- */

/* Two records a sync: it makes durable what was there when it began, once it has ended. */
static void note_sync(int fd, const char *op)
{
    struct stat st;
    int saved = errno;

    if (root() && below_root(fd, &st))
        record(NULL, 0, "%s %ju %d", op, (uintmax_t)st.st_ino, (int)gettid());
    errno = saved;
}

int fsync(int fd)
{
    int r;

    note_sync(fd, "syncing");
    r = NEXT(fsync)(fd);
    if (r == 0)
        note_sync(fd, "synced");
    return r;
}

int fdatasync(int fd)
{
    int r;

    note_sync(fd, "syncing");
    r = NEXT(fdatasync)(fd);
    if (r == 0)
        note_sync(fd, "synced");
    return r;
}

/* ---- names ---- */

static void note_rename(int old_fd, const char *old_name, int new_fd, const char *new_name,
                        bool exchange)
{
    struct place from, to;

    if (!root())
        return;
    find_place(old_fd, old_name, &from);
    find_place(new_fd, new_name, &to);
    if (from.known && to.known)
        record(NULL, 0, "%s %ju %s %ju %s", exchange ? "exchange" : "rename", (uintmax_t)from.dir,
               from.name, (uintmax_t)to.dir, to.name);
    else if (from.known || to.known)
        abort(); /* across the root's border: the record could not follow it */
}

int rename(const char *old_name, const char *new_name)
{
    note_rename(AT_FDCWD, old_name, AT_FDCWD, new_name, false);
    return NEXT(rename)(old_name, new_name);
}

int renameat(int old_fd, const char *old_name, int new_fd, const char *new_name)
{
    note_rename(old_fd, old_name, new_fd, new_name, false);
    return NEXT(renameat)(old_fd, old_name, new_fd, new_name);
}

int renameat2(int old_fd, const char *old_name, int new_fd, const char *new_name, unsigned flags)
{
    note_rename(old_fd, old_name, new_fd, new_name, flags & RENAME_EXCHANGE);
    return NEXT(renameat2)(old_fd, old_name, new_fd, new_name, flags);
}

int linkat(int old_fd, const char *old_name, int new_fd, const char *new_name, int flags)
{
    struct place to;
    struct stat st;

    if (root()) {
        find_place(new_fd, new_name, &to);
        if (to.known && inode_at(old_fd, old_name, &st))
            record(NULL, 0, "link %ju %s %ju", (uintmax_t)to.dir, to.name, (uintmax_t)st.st_ino);
    }
    return NEXT(linkat)(old_fd, old_name, new_fd, new_name, flags);
}

static void note_gone(int dir_fd, const char *path)
{
    struct place place;
    struct stat st;

    if (!root())
        return;
    find_place(dir_fd, path, &place);
    if (place.known && inode_at(dir_fd, path, &st))
        record(NULL, 0, "unlink %ju %s", (uintmax_t)place.dir, place.name);
}

int unlink(const char *path)
{
    note_gone(AT_FDCWD, path);
    return NEXT(unlink)(path);
}

int rmdir(const char *path)
{
    note_gone(AT_FDCWD, path);
    return NEXT(rmdir)(path);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    note_gone(dir_fd, path);
    return NEXT(unlinkat)(dir_fd, path, flags);
}

static int made_dir(int dir_fd, const char *path, int r)
{
    struct place place;
    struct stat st;

    if (r == 0 && root()) {
        find_place(dir_fd, path, &place);
        if (place.known && inode_at(dir_fd, path, &st))
            record(NULL, 0, "mkdir %ju %s %ju", (uintmax_t)place.dir, place.name,
                   (uintmax_t)st.st_ino);
    }
    return r;
}

int mkdir(const char *path, mode_t mode)
{
    return made_dir(AT_FDCWD, path, NEXT(mkdir)(path, mode));
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    return made_dir(dir_fd, path, NEXT(mkdirat)(dir_fd, path, mode));
}

int symlinkat(const char *target, int dir_fd, const char *path)
{
    struct place place;

    if (root()) {
        find_place(dir_fd, path, &place);
        if (place.known)
            record(target, strlen(target), "symlink %ju %s", (uintmax_t)place.dir, place.name);
    }
    return NEXT(symlinkat)(target, dir_fd, path);
}
