/*
 * rootfs.c - unpacking by a process that is given nothing else
 *
 * The complication is names that are not ASCII (Debian's ca-certificates has one): libarchive turns
 * them into the locale's, and refuses what does not fit; C.UTF-8 is part of the C library.
 */
#include "batch/sandbox/rootfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <locale.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "batch/sandbox/plan.h"

#include "formats/base/banned.h"

#define UNPACK_UID 65534 /* as root: no box has it, and to a box it looks like root's */
#define UNPACK_CPU_SECONDS 600
#define READ_BYTES ((size_t)256 << 10)
#define ENTRY_SHOWN_CHARS 200

/* ---- libarchive ---- */

/* It brings a dozen libraries along, which every box would be a copy of: so it is loaded by the
 * process that unpacks, and by no other. */
#define LIBRARY "libarchive.so.13"
#define CALLS(X)                                                                                   \
    X(archive_entry_filetype)                                                                      \
    X(archive_entry_hardlink)                                                                      \
    X(archive_entry_pathname)                                                                      \
    X(archive_entry_perm)                                                                          \
    X(archive_entry_set_perm)                                                                      \
    X(archive_entry_size)                                                                          \
    X(archive_errno)                                                                               \
    X(archive_error_string)                                                                        \
    X(archive_read_extract2)                                                                       \
    X(archive_read_free)                                                                           \
    X(archive_read_new)                                                                            \
    X(archive_read_next_header)                                                                    \
    X(archive_read_open_fd)                                                                        \
    X(archive_read_support_filter_gzip)                                                            \
    X(archive_read_support_filter_xz)                                                              \
    X(archive_read_support_filter_zstd)                                                            \
    X(archive_read_support_format_tar)                                                             \
    X(archive_write_close)                                                                         \
    X(archive_write_disk_new)                                                                      \
    X(archive_write_disk_set_options)                                                              \
    X(archive_write_free)

static struct {
#define X(name) __typeof__(name) *name;
    CALLS(X)
#undef X
} lib;

static int load_library(struct nj_error *err)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool whole = library != NULL;

#define X(name) whole = whole && (lib.name = (__typeof__(name) *)dlsym(library, #name));
    CALLS(X)
#undef X
    return whole ? 0 : nj_fail(err, NJ_E_SYSTEM, "load " LIBRARY ": %s", dlerror());
}

/* ---- in the child ---- */

static int become_nobody(struct nj_error *err)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};

    if (geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(UNPACK_UID, UNPACK_UID, -1u) < 0 ||
         setresgid(-1u, -1u, UNPACK_UID) < 0 || setresuid(UNPACK_UID, UNPACK_UID, UNPACK_UID) < 0))
        return nj_fail_errno(err, errno, "change the user");
    if (syscall(SYS_capset, &header, none) < 0)
        return nj_fail_errno(err, errno, "capset");
    return 0;
}

static int own_root(const char *path, struct nj_error *err)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(path, path, NULL, MS_BIND, NULL) < 0 || chdir(path) < 0 ||
        syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return nj_fail_errno(err, errno, "make a root of its own");
    return 0;
}

/* forbid - what reaches beyond the directory; files are all that is left to reach */
static int forbid(struct nj_error *err)
{
    static const int calls[] = {
        SCMP_SYS(socket),
        SCMP_SYS(socketpair),
        SCMP_SYS(kill),
        SCMP_SYS(tkill),
        SCMP_SYS(tgkill),
        SCMP_SYS(ptrace),
        SCMP_SYS(execve),
        SCMP_SYS(execveat),
        SCMP_SYS(fork),
        SCMP_SYS(vfork),
        SCMP_SYS(clone),
        SCMP_SYS(clone3),
        SCMP_SYS(mount),
        SCMP_SYS(unshare),
        SCMP_SYS(setns),
        SCMP_SYS(bpf),
        SCMP_SYS(keyctl),
        SCMP_SYS(add_key),
        SCMP_SYS(request_key),
        SCMP_SYS(mknod),
        SCMP_SYS(mknodat),
        SCMP_SYS(shmget),
        SCMP_SYS(msgget),
        SCMP_SYS(semget),
        SCMP_SYS(pidfd_open),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
        SCMP_SYS(perf_event_open),
        SCMP_SYS(userfaultfd),
    };
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int r = ctx ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r < 0 ? nj_fail_errno(err, -r, "a filter for unpacking") : 0;
}

/* is_below - the entry's name begins with the directory @dir, written as archives do */
static bool is_below(const char *name, const char *dir)
{
    size_t len = strlen(dir);

    if (name[0] == '.' && name[1] == '/')
        name += 2;
    return strncmp(name, dir, len) == 0 && (name[len] == '/' || name[len] == '\0');
}

static bool left_out(const char *name)
{
    static const char *const dirs[] = {"dev", "proc", "sys", "run"};

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (is_below(name, dirs[i]))
            return true;
    }
    return false;
}

static int refuse(struct nj_error *err, const char *name, const char *why)
{
    return nj_fail(err, NJ_E_INPUT, "%.*s: %s", ENTRY_SHOWN_CHARS, name, why);
}

static int archive_fail(struct nj_error *err, struct archive *archive, const char *name)
{
    const char *why = lib.archive_error_string(archive);

    if (lib.archive_errno(archive) == ENOSPC)
        return nj_fail(err, NJ_E_LIMIT, "%.*s: the image is larger than half of the memory",
                       ENTRY_SHOWN_CHARS, name);
    return refuse(err, name, why ? why : "unreadable");
}

/* is_top - the root itself, which is there already and is not the unpacking user's */
static bool is_top(const char *name)
{
    return strspn(name, "./") == strlen(name) && !strstr(name, "..");
}

/* take_entry - its mode as a box shall see it; 1: not wanted */
static int take_entry(struct archive_entry *entry, const char *name, struct nj_error *err)
{
    mode_t mode = lib.archive_entry_perm(entry) & (mode_t)01777;

    if (is_top(name) || left_out(name))
        return 1;
    if (lib.archive_entry_hardlink(entry))
        return 0;
    switch (lib.archive_entry_filetype(entry)) {
    case AE_IFREG:
        lib.archive_entry_set_perm(entry, mode | 0400);
        return 0;
    case AE_IFDIR:
        lib.archive_entry_set_perm(entry, mode | 0700);
        return 0;
    case AE_IFLNK:
        return 0;
    default:
        return refuse(err, name, "a device, FIFO or socket outside /dev");
    }
}

static int unpack_entries(struct archive *reader, struct archive *writer, struct nj_error *err)
{
    struct archive_entry *entry;
    uint64_t entries = 0, bytes = 0;
    int r;

    while ((r = lib.archive_read_next_header(reader, &entry)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
        const char *name = lib.archive_entry_pathname(entry);
        int64_t size = lib.archive_entry_size(entry);

        if (!name)
            return refuse(err, "an entry", "its name cannot be read");
        bytes += size > 0 ? (uint64_t)size : 0;
        if (++entries > NJ_ROOTFS_MAX_ENTRIES || size > (int64_t)NJ_ROOTFS_MAX_BYTES ||
            bytes > NJ_ROOTFS_MAX_BYTES)
            return nj_fail(err, NJ_E_LIMIT, "%.*s: more than %d entries or %" PRIu64 " bytes",
                           ENTRY_SHOWN_CHARS, name, NJ_ROOTFS_MAX_ENTRIES, NJ_ROOTFS_MAX_BYTES);
        r = take_entry(entry, name, err);
        if (r < 0)
            return r;
        if (r == 1)
            continue;
        if (lib.archive_read_extract2(reader, entry, writer) != ARCHIVE_OK)
            return archive_fail(err, lib.archive_errno(writer) ? writer : reader, name);
    }
    if (r != ARCHIVE_EOF)
        return archive_fail(err, reader, "the archive");
    if (lib.archive_write_close(writer) != ARCHIVE_OK)
        return archive_fail(err, writer, "the archive");
    return 0;
}

static int unpack(int tar_fd, struct nj_error *err)
{
    struct archive *reader = lib.archive_read_new(), *writer = lib.archive_write_disk_new();
    int r;

    if (!reader || !writer)
        r = nj_fail_nomem(err);
    else if (lib.archive_read_support_filter_gzip(reader) != ARCHIVE_OK ||
             lib.archive_read_support_filter_xz(reader) != ARCHIVE_OK ||
             lib.archive_read_support_filter_zstd(reader) != ARCHIVE_OK ||
             lib.archive_read_support_format_tar(reader) != ARCHIVE_OK ||
             lib.archive_write_disk_set_options(
                 writer, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM |
                             ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                             ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS) != ARCHIVE_OK)
        r = nj_fail(err, NJ_E_SYSTEM, "libarchive reads no tar, gzip, xz or zstd");
    else if (lib.archive_read_open_fd(reader, tar_fd, READ_BYTES) != ARCHIVE_OK)
        r = archive_fail(err, reader, "the archive");
    else
        r = unpack_entries(reader, writer, err);
    (void)lib.archive_write_free(writer);
    (void)lib.archive_read_free(reader);
    return r;
}

enum { TAR_FD = 3, REPORT_FD };

/* keep_two - the archive and the report, under numbers of their own; nothing else of the helper's
 */
static int keep_two(int tar_fd, int report_fd)
{
    int tar = fcntl(tar_fd, F_DUPFD, REPORT_FD + 1);
    int report = fcntl(report_fd, F_DUPFD, REPORT_FD + 1);

    if (tar < 0 || report < 0 || dup2(tar, TAR_FD) < 0 || dup2(report, REPORT_FD) < 0)
        return -1;
    return close_range(REPORT_FD + 1, ~0u, 0);
}

static _Noreturn void child(int tar_fd, const char *path, int report_fd, pid_t parent)
{
    struct rlimit cpu = {UNPACK_CPU_SECONDS, UNPACK_CPU_SECONDS};
    struct nj_error err;
    int r = 0;

    (void)prctl(PR_SET_NAME, "nj-unpack", 0, 0, 0);
    if (keep_two(tar_fd, report_fd) < 0 || setrlimit(RLIMIT_CPU, &cpu) < 0)
        _exit(1);
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* else a name that needs it is refused, by name */
    (void)umask(022);
    r = load_library(&err);
    if (r >= 0)
        r = own_root(path, &err);
    if (r >= 0)
        r = become_nobody(&err);
    /* Only now: the kernel forgets it when the user changes. */
    if (r >= 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent))
        _exit(1);
    if (r >= 0)
        r = forbid(&err);
    if (r >= 0)
        r = unpack(TAR_FD, &err);
    if (r < 0)
        (void)!write(REPORT_FD, &err, sizeof(err)); /* or the parent tells how we ended */
    _exit(r < 0);
}

/* ---- in the helper ---- */

/* engine_ends - wait for the report or its end; whether the engine's came first */
static bool engine_ends(int report_fd, int engine_fd)
{
    struct pollfd polled[] = {{report_fd, POLLIN, 0}, {engine_fd, POLLIN, 0}};

    while (poll(polled, 2, -1) < 0 && errno == EINTR)
        continue;
    return !polled[0].revents && polled[1].revents;
}

static int await(pid_t pid, int report_fd, int engine_fd, struct nj_error *err)
{
    struct nj_error report;
    bool engine_gone = engine_ends(report_fd, engine_fd);
    ssize_t len;
    int status;

    if (engine_gone)
        (void)kill(pid, SIGKILL);
    do
        len = read(report_fd, &report, sizeof(report));
    while (len < 0 && errno == EINTR);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return nj_fail_errno(err, errno, "wait for the unpacking process");
    }
    if (engine_gone)
        return nj_fail(err, NJ_E_UPSTREAM, "the engine ended while an image was unpacked");
    if (len == sizeof(report)) {
        /* The process had read hostile bytes: its word is checked like theirs. */
        report.text[sizeof(report.text) - 1] = '\0';
        return nj_fail(
            err, report.code == NJ_E_INPUT || report.code == NJ_E_LIMIT ? report.code : NJ_E_SYSTEM,
            "%s", report.text);
    }
    if (WIFSIGNALED(status))
        return nj_fail(err, NJ_E_INPUT, "unpacking ended by signal %d", WTERMSIG(status));
    if (status != 0)
        return nj_fail(err, NJ_E_SYSTEM, "unpacking could not begin");
    return 0;
}

int nj_rootfs_unpack(int tar_fd, const char *path, int dir_fd, int engine_fd, struct nj_error *err)
{
    nj_auto_close int reading = -1, writing = -1;
    pid_t self = getpid(), pid;
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return nj_fail_errno(err, errno, "pipe");
    reading = fds[0];
    writing = fds[1];
    if (fchmod(dir_fd, 0777) < 0)
        return nj_fail_errno(err, errno, "set a mode");
    pid = fork();
    if (pid < 0)
        return nj_fail_errno(err, errno, "fork");
    if (pid == 0)
        child(tar_fd, path, writing, self);
    (void)close(nj_steal_fd(&writing));
    r = await(pid, reading, engine_fd, err);
    if (r < 0)
        return r;
    return fchmod(dir_fd, 0755) < 0 ? nj_fail_errno(err, errno, "set a mode") : 0;
}

static int plain_file(int etc_fd, const char *name, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct stat st;

    if (fstatat(etc_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISREG(st.st_mode))
            return 0;
        if (unlinkat(etc_fd, name, 0) < 0)
            return nj_fail(err, NJ_E_INPUT, "/etc/%s is neither a file nor a link", name);
    }
    fd = openat(etc_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd < 0 ? nj_fail_errno(err, errno, "create /etc/%s", name) : 0;
}

int nj_rootfs_dress(int dir_fd, struct nj_error *err)
{
#define X(name) name,
    static const char *const files[] = {NJ_PLAN_OWN_ETC(X)};
#undef X
    nj_auto_close int etc_fd = -1;
    struct stat st;

    if (fstatat(dir_fd, "usr", &st, AT_SYMLINK_NOFOLLOW) < 0 &&
        fstatat(dir_fd, "bin", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return nj_fail(err, NJ_E_INPUT,
                       "it has neither /usr nor /bin: pack the system's root, not a folder around "
                       "it");
    if (mkdirat(dir_fd, "etc", 0755) < 0 && errno != EEXIST)
        return nj_fail_errno(err, errno, "make /etc");
    etc_fd = openat(dir_fd, "etc", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (etc_fd < 0)
        return nj_fail(err, NJ_E_INPUT, "/etc is no directory");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int r = plain_file(etc_fd, files[i], err);

        if (r < 0)
            return r;
    }
    return 0;
}
