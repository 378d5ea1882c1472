/*
 * confine.c - Landlock, capabilities and a list of system calls, in this order
 *
 * The one complication is age: the kernel's headers of the build host may know less of Landlock
 * than the kernel that runs, so the interface is spelled out here as the kernel's documentation
 * has it, and each right is asked for only where the running kernel knows it.
 */
#include "batch/engine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/cleanup.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

/* ---- Landlock (https://docs.kernel.org/userspace-api/landlock.html) ---- */

#ifndef SYS_landlock_create_ruleset /* the same number on every architecture */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

enum fs_right {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_ALL_FIRST = (1 << 13) - 1, /* what the first version knows */
    FS_MAKE_CHAR = 1 << 6,
    FS_MAKE_BLOCK = 1 << 11,
    FS_REFER = 1 << 13,     /* 2: a link or a rename from one folder to another */
    FS_TRUNCATE = 1 << 14,  /* 3 */
    FS_IOCTL_DEV = 1 << 15, /* 5 */
};
#define NET_TCP_BIND_CONNECT 3u              /* 4 */
#define SCOPE_ABSTRACT_SOCKETS_AND_SIGNAL 3u /* 6 */
#define VERSION_REFER 2
#define VERSION_TRUNCATE 3
#define VERSION_NET 4
#define VERSION_IOCTL_DEV 5
#define VERSION_SCOPE 6

struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static int allow_below(int ruleset_fd, const int *fds, size_t n, uint64_t rights,
                       struct nj_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct path_beneath rule = {.allowed = rights, .parent_fd = fds[i]};

        if (syscall(SYS_landlock_add_rule, ruleset_fd, RULE_PATH_BENEATH, &rule, 0u) < 0)
            return nj_fail_errno(err, errno, "Landlock: allow what is below a folder");
    }
    return 0;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* The search for leaks at the end lists this process's threads. */
static int allow_sanitizer(int ruleset_fd, struct nj_error *err)
{
    nj_auto_close int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? 0 : allow_below(ruleset_fd, &fd, 1, FS_READ_FILE | FS_READ_DIR, err);
}
#else
static int allow_sanitizer(int ruleset_fd, struct nj_error *err)
{
    (void)ruleset_fd;
    (void)err;
    return 0;
}
#endif

/* Returns 1 where the kernel cannot. */
static int restrict_paths(const struct nj_confinement *confinement, struct nj_error *err)
{
    struct ruleset ruleset = {.fs = FS_ALL_FIRST};
    long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_RULESET_VERSION);
    nj_auto_close int fd = -1;
    uint64_t writing;

    if (version < 1 || (version < VERSION_REFER && confinement->n_write > 0))
        return 1;
    if (version >= VERSION_REFER)
        ruleset.fs |= FS_REFER;
    if (version >= VERSION_TRUNCATE)
        ruleset.fs |= FS_TRUNCATE;
    if (version >= VERSION_NET)
        ruleset.net = NET_TCP_BIND_CONNECT;
    if (version >= VERSION_IOCTL_DEV)
        ruleset.fs |= FS_IOCTL_DEV;
    if (version >= VERSION_SCOPE)
        ruleset.scoped = SCOPE_ABSTRACT_SOCKETS_AND_SIGNAL;
    writing = ruleset.fs & ~(uint64_t)(FS_EXECUTE | FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_IOCTL_DEV);
    /* What an older kernel does not know is zero, so it takes the longer structure. */
    fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0u);
    if (fd < 0)
        return nj_fail_errno(err, errno, "Landlock: make a set of rules");
    if (allow_below(fd, confinement->read_fds, confinement->n_read, FS_READ_FILE | FS_READ_DIR,
                    err) < 0 ||
        allow_below(fd, confinement->write_fds, confinement->n_write, writing, err) < 0 ||
        allow_sanitizer(fd, err) < 0)
        return -(int)err->code;
    if (syscall(SYS_landlock_restrict_self, fd, 0u) < 0)
        return nj_fail_errno(err, errno, "Landlock: keep the rules");
    return 0;
}

/* ---- capabilities ---- */

static int keep_capabilities(uint64_t kept, struct nj_error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* no right to: no exec comes anyway */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &header, data) < 0)
        return nj_fail_errno(err, errno, "read capabilities");
    for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
        data[i].permitted &= (uint32_t)(kept >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return nj_fail_errno(err, errno, "drop capabilities");
    return 0;
}

/* ---- system calls ---- */

static const char reading[] =
    "read write readv writev pread64 pwrite64 preadv pwritev lseek close fstat newfstatat statx "
    "fcntl ftruncate fallocate fadvise64 dup dup3 copy_file_range fsync fdatasync "
    "munmap mremap madvise brk futex membarrier rseq set_robust_list "
    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall exit exit_group "
    "getpid gettid getppid getuid geteuid getgid getegid getrandom uname sysinfo getrusage "
    "getrlimit clock_gettime clock_getres gettimeofday time clock_nanosleep nanosleep poll ppoll "
    "sched_yield sched_getaffinity getcpu";

static const char listing[] = "getdents64 fstatfs readlink readlinkat faccessat faccessat2 flock";

static const char writing[] =
    "openat openat2 getdents64 fstatfs readlinkat mkdirat unlinkat renameat renameat2 linkat "
    "symlinkat fchmod fchmodat fchmodat2 utimensat faccessat faccessat2 umask";

static const char looping[] =
    "epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2 timerfd_create "
    "timerfd_settime timerfd_gettime pipe2 socketpair sendmsg recvmsg sendto recvfrom shutdown "
    "getsockopt setsockopt memfd_create wait4 waitid kill pidfd_open pidfd_send_signal select "
    "pselect6";

/* Nobody who parses asks for these by mistake. */
static const char fatal[] =
    "execve execveat fork vfork socket connect bind listen accept accept4 ptrace "
    "process_vm_readv process_vm_writev kcmp pidfd_getfd mount umount2 move_mount open_tree fsopen "
    "fsmount pivot_root chroot setns unshare bpf perf_event_open userfaultfd io_uring_setup "
    "io_uring_enter io_uring_register keyctl add_key request_key init_module finit_module "
    "delete_module kexec_load kexec_file_load open_by_handle_at setuid setgid setreuid setregid "
    "setresuid setresgid setgroups capset personality shmget shmat";

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* The search for leaks at the end is done by a thread that stops and reads this process. */
#define SANITIZER                                                                                  \
    "clone clone3 ptrace openat open readlink readlinkat wait4 kill tgkill arch_prctl prctl "      \
    "sched_getparam getdents "
#else
#define SANITIZER ""
#endif

static int add_calls(scmp_filter_ctx ctx, uint32_t action, const char *calls)
{
    const char *at = calls;
    int r = 0;

    while (r >= 0 && *at) {
        size_t len = strcspn(at, " ");
        char name[32];
        int number;

        if (len >= sizeof(name))
            return -EINVAL;
        memcpy(name, at, len);
        name[len] = '\0';
        at += len + strspn(at + len, " ");
        number = seccomp_syscall_resolve_name(name);
        /* Not on this architecture, or newer than the library: refused like all that is not named.
         * The rule of a call that is listed twice is there already. */
        if (number >= 0)
            r = seccomp_rule_add(ctx, action, number, 0);
        if (r == -EEXIST)
            r = 0;
    }
    return r;
}

/* Calls that are harmless in one form. libseccomp compares all 64 bits of an argument of which the
 * kernel may read 32, so each rule allows by a mask over bits that must be clear. */
static int add_forms(scmp_filter_ctx ctx, const struct nj_confinement *confinement)
{
    const uint64_t change = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
    int r;

    r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* asking for a limit, not setting one */
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
    /* an assert that failed, or the C library, ends this process */
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                             SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid()));
    for (size_t i = 0; r >= 0 && i < 2; i++) /* isatty(), and a terminal's width */
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_EQ, i == 0 ? 0x5401 : 0x5413));
    if (r >= 0 && confinement->n_read > 0 && confinement->n_write == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, change, 0));
    return r;
}

static int restrict_calls(const struct nj_confinement *confinement, struct nj_error *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r;

    if (!ctx)
        return nj_fail_nomem(err);
    r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r >= 0)
        r = add_calls(ctx, SCMP_ACT_ALLOW, SANITIZER);
    if (r >= 0)
        r = add_calls(ctx, SCMP_ACT_ALLOW, reading);
    if (r >= 0 && confinement->n_read > 0)
        r = add_calls(ctx, SCMP_ACT_ALLOW, listing);
    if (r >= 0 && confinement->n_write > 0)
        r = add_calls(ctx, SCMP_ACT_ALLOW, writing);
    if (r >= 0 && confinement->loop)
        r = add_calls(ctx, SCMP_ACT_ALLOW, looping);
    if (r >= 0)
        r = add_calls(ctx, SCMP_ACT_KILL_PROCESS, fatal);
    if (r >= 0)
        r = add_forms(ctx, confinement);
    if (r >= 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r < 0 ? nj_fail_errno(err, -r, "install a list of system calls") : 0;
}

int nj_confine(const struct nj_confinement *confinement, struct nj_error *err)
{
    int paths;

    tzset(); /* the last file that the C library opens on its own */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return nj_fail_errno(err, errno, "give up privileges");
    paths = restrict_paths(confinement, err);
    if (paths < 0 || keep_capabilities(confinement->capabilities, err) < 0 ||
        restrict_calls(confinement, err) < 0)
        return nj_wrap(err, "confine this process");
    return paths;
}

static bool is_ours(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_uid == geteuid();
}

int nj_confine_reader(const int *read_fds, size_t n_read, int write_fd, bool loop,
                      struct nj_error *err)
{
    struct nj_confinement confinement = {.read_fds = read_fds,
                                         .n_read = n_read,
                                         .write_fds = &write_fd,
                                         .n_write = write_fd >= 0,
                                         .loop = loop};
    int r;

    for (size_t i = 0; i < n_read; i++)
        if (!is_ours(read_fds[i]))
            confinement.capabilities |= 1u << CAP_DAC_READ_SEARCH;
    if (write_fd >= 0 && !is_ours(write_fd))
        confinement.capabilities |= 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER;
    r = nj_confine(&confinement, err);
    if (r == 1)
        nj_log(NJ_LOG_INFO, "reading without Landlock: this kernel has none that fits");
    return r < 0 ? r : 0;
}
