/*
 * filter.c - the system calls of payloads and supervisors
 *
 * Two complications. libseccomp compares 64-bit arguments while the kernel reads many of them as
 * 32-bit ones, so only exact values are ever allowed, never "all but". And it cannot say
 * "everything else of this call gets that errno" for an argument with several allowed values, so
 * the checks of ioctl commands and socket families are a few instructions of our own in front of
 * the exported program, which stays libseccomp's.
 */
#include "batch/sandbox/filter.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/fiemap.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/timerfd.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h> /* RENAME_WHITEOUT */
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define NAMESPACE_FLAGS                                                                            \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET | 0x80u /* CLONE_NEWTIME */)

struct family {
    const char *name;
    const char *reason;
    const char *calls; /* separated by blanks; names this architecture lacks are skipped */
};

static const struct family allowed[] = {
    {"files", "the workspace and the read-only system",
     "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat "
     "openat2 creat close close_range lseek _llseek dup dup2 dup3 fcntl fcntl64 flock fsync "
     "fdatasync sync syncfs sync_file_range truncate ftruncate truncate64 ftruncate64 fallocate "
     "fadvise64 readahead sendfile sendfile64 splice tee vmsplice copy_file_range umask"},
    {"directories and names", "the same, by name",
     "stat fstat lstat newfstatat fstatat64 statx statfs fstatfs getdents getdents64 access "
     "faccessat faccessat2 mkdir mkdirat rmdir unlink unlinkat rename renameat link linkat "
     "symlink symlinkat readlink readlinkat chmod fchmod fchmodat fchmodat2 chown fchown lchown "
     "fchownat utime utimes utimensat futimesat getcwd chdir fchdir "
     "setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr "
     "removexattr lremovexattr fremovexattr"},
    {"memory", "every allocator and loader",
     "brk mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2 munlock mlockall "
     "munlockall pkey_alloc pkey_free pkey_mprotect get_mempolicy membarrier "
     "map_shadow_stack"},
    {"processes and threads", "shells, compilers and pools; namespaces are refused by flag",
     "fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid "
     "set_tid_address futex futex_waitv set_robust_list get_robust_list rseq arch_prctl prctl "
     "setsid getsid setpgid getpgid getpgrp pidfd_open pidfd_send_signal set_thread_area "
     "get_thread_area restart_syscall"},
    {"signals", "job control and timeouts",
     "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait "
     "rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack sigreturn kill tkill tgkill pause signalfd "
     "signalfd4"},
    {"waiting", "event loops",
     "poll ppoll select pselect6 _newselect epoll_create epoll_create1 epoll_ctl epoll_wait "
     "epoll_pwait epoll_pwait2 eventfd eventfd2 inotify_init inotify_init1 inotify_add_watch "
     "inotify_rm_watch"},
    {"time", "reading clocks and sleeping; setting them is not listed",
     "clock_gettime clock_getres gettimeofday time times nanosleep clock_nanosleep getitimer "
     "setitimer alarm timer_create timer_settime timer_gettime timer_getoverrun timer_delete "
     "timerfd_create timerfd_settime timerfd_gettime"},
    {"pipes and sockets",
     "local servers and pipelines; socket families are checked, and the network namespace is "
     "empty",
     "pipe pipe2 socketpair bind listen accept accept4 connect getsockname getpeername sendto "
     "recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown setsockopt getsockopt"},
    {"identity", "asking who one is; changing it needs capabilities that nobody has here",
     "getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid "
     "setregid setresuid setresgid setfsuid setfsgid setgroups capget capset"},
    {"limits and scheduling", "thread pools ask; raising needs capabilities",
     "getrlimit setrlimit prlimit64 ugetrlimit getrusage getpriority setpriority sched_yield "
     "sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler "
     "sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval "
     "sched_getattr sched_setattr ioprio_get ioprio_set getcpu"},
    {"system facts", "harmless to know", "uname sysinfo getrandom"},
    {"System V IPC and queues", "databases; the ipc namespace lives as long as the call",
     "shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl "
     "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"},
    {"debugging", "gdb and strace on one's own children; the kernel checks the rest",
     "ptrace process_vm_readv process_vm_writev seccomp"},
};

/* Programs expect "not permitted" here and go on, or say so; ENOSYS would send some the wrong way.
 */
static const struct family refused[] = {
    {"mounts", "the plan alone decides what is mounted",
     "mount umount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr "
     "pivot_root chroot"},
    {"namespaces", "a box in a box would see the kernel as root does", "unshare setns"},
    {"kernel", "nothing here is for agents",
     "bpf perf_event_open init_module finit_module delete_module kexec_load kexec_file_load "
     "reboot syslog swapon swapoff acct iopl ioperm userfaultfd lookup_dcookie quotactl "
     "quotactl_fd vhangup nfsservctl kcmp fanotify_init fanotify_mark open_by_handle_at "
     "pidfd_getfd process_madvise process_mrelease"},
    {"clocks and names", "the host's",
     "settimeofday clock_settime clock_adjtime adjtimex stime sethostname setdomainname"},
    {"keys", "keyrings are not namespaced", "add_key request_key keyctl"},
    {"memory placement", "as for anyone without CAP_SYS_NICE",
     "mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages"},
};

/* For a supervisor after set-up: its loop, and the workspace below one directory descriptor. */
static const struct family supervisor_allowed[] = {
    {"loop", "messages, pipes, deadlines",
     "read write readv writev pread64 pwrite64 sendmsg recvmsg recvfrom poll ppoll clock_gettime "
     "clock_nanosleep close fcntl lseek pipe2 exit exit_group rt_sigreturn rt_sigprocmask "
     "rt_sigaction restart_syscall"},
    {"workspace", "capture and restore",
     "openat openat2 fstat newfstatat statx getdents64 readlinkat mkdirat unlinkat linkat "
     "symlinkat mknodat renameat renameat2 fchmod fchmodat fchmodat2 utimensat ftruncate "
     "fallocate fstatfs flistxattr fgetxattr fsetxattr fremovexattr memfd_create fchdir "
     "inotify_add_watch inotify_rm_watch"},
    {"memory", "the allocator",
     "brk mmap munmap mremap mprotect madvise futex getrandom membarrier"},
    {"facts", "what the C library asks on its own",
     "getpid gettid getuid geteuid getcpu sched_yield sched_getaffinity sysinfo prlimit64 uname "
     "getrusage"},
    {"virtual time",
     "memory of the box's programs, which notify and stop for it; a look at files "
     "with no more rights than theirs",
     "process_vm_readv process_vm_writev kcmp capget capset sched_setaffinity"},
    {"order", "copies of their descriptors, asked and written to without waiting",
     "pidfd_open pidfd_getfd getsockopt flock pwritev2 timerfd_settime"},
    {"the end", "of init, and one's own", "kill tgkill pidfd_send_signal wait4 waitid sigaltstack"},
};

/* Commands a program may meet without a terminal. Everything else is "no such operation" (ENOTTY).
 */
static const unsigned ioctls[] = {
    FIONREAD,       FIONBIO,      FIOASYNC,        FIOCLEX,       FIONCLEX,          FIOQSIZE,
    FICLONE,        FICLONERANGE, FS_IOC_GETFLAGS, FS_IOC_FIEMAP, FS_IOC_FSGETXATTR, SIOCOUTQ,
    SIOCGIFCONF,    SIOCGIFNAME,  SIOCGIFINDEX,    SIOCGIFFLAGS,  SIOCGIFADDR,       SIOCGIFNETMASK,
    SIOCGIFBRDADDR, SIOCGIFMTU,   SIOCGIFHWADDR,   SIOCGIFTXQLEN,
};

static const unsigned socket_families[] = {AF_UNIX, AF_INET, AF_INET6};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- libseccomp's part ---- */

static int add_names(scmp_filter_ctx ctx, uint32_t action, const struct family *family,
                     struct nj_error *err)
{
    const char *at = family->calls;

    while (*at) {
        size_t len = strcspn(at, " ");
        char name[64];
        int number, r;

        if (len >= sizeof(name))
            return nj_fail(err, NJ_E_INPUT, "filter: %.64s: too long", at);
        memcpy(name, at, len);
        name[len] = '\0';
        at += len + strspn(at + len, " ");
        number = seccomp_syscall_resolve_name(name);
        if (number < 0)
            continue; /* unknown here: not on this architecture, or newer than the library */
        r = seccomp_rule_add(ctx, action, number, 0);
        if (r < 0)
            return nj_fail_errno(err, -r, "filter: rule for %s", name);
    }
    return 0;
}

static int add_families(scmp_filter_ctx ctx, uint32_t action, const struct family *families,
                        size_t n, struct nj_error *err)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i++)
        r = add_names(ctx, action, &families[i], err);
    return r;
}

/* add_nodes - no device is ever made. The kernel lets anybody make overlayfs's whiteout, a device
 * 0:0, by mknod and by a flag of renameat2; no tree of ours can hold one. */
static int add_nodes(scmp_filter_ctx ctx)
{
    int r = 0;

    for (unsigned type = 0; r >= 0 && type <= S_IFMT; type += S_IFIFO) {
        uint32_t action = type == 0 || type == S_IFREG || type == S_IFIFO || type == S_IFSOCK
                              ? SCMP_ACT_ALLOW
                              : SCMP_ACT_ERRNO(EPERM);

#ifdef SYS_mknod
        r = seccomp_rule_add(ctx, action, SCMP_SYS(mknod), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, type));
        if (r < 0)
            break;
#endif
        r = seccomp_rule_add(ctx, action, SCMP_SYS(mknodat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, type));
    }
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(renameat2), 1,
                             SCMP_A4(SCMP_CMP_MASKED_EQ, RENAME_WHITEOUT, 0));
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(renameat2), 1,
                             SCMP_A4(SCMP_CMP_MASKED_EQ, RENAME_WHITEOUT, RENAME_WHITEOUT));
    return r;
}

/* add_unseen_memory - memory that no process maps, so that no watchdog finds it: files without a
 * name, also such as wait in a socket, and segments of System V. A cgroup counts both; without one
 * the first do not exist, as in an older kernel, and the second are as small as databases' locks.
 */
static int add_unseen_memory(scmp_filter_ctx ctx, bool soft)
{
    int r;

    if (!soft) {
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(memfd_create), 0);
        return r < 0 ? r : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(shmget), 0);
    }
    r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(shmget), 1,
                         SCMP_A1(SCMP_CMP_LE, NJ_FILTER_SEGMENT_MAX_BYTES));
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOMEM), SCMP_SYS(shmget), 1,
                             SCMP_A1(SCMP_CMP_GT, NJ_FILTER_SEGMENT_MAX_BYTES));
    return r;
}

/* add_special - calls whose registers decide. clone3 keeps its flags behind a pointer, where no
 * filter can see them: ENOSYS makes every C library fall back to clone. */
static int add_special(scmp_filter_ctx ctx, bool soft, struct nj_error *err)
{
    static const unsigned long personalities[] = {PER_LINUX, ADDR_NO_RANDOMIZE, 0xffffffff};
    int r;

    r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                         SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACE_FLAGS, 0));
    for (unsigned bit = 0; r >= 0 && bit < 32; bit++) {
        if (NAMESPACE_FLAGS & (1u << bit))
            r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, 1u << bit, 1u << bit));
    }
    for (size_t i = 0; r >= 0 && i < COUNT(personalities); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                             SCMP_A0(SCMP_CMP_EQ, personalities[i]));
    /* ioctl and socket reach libseccomp's part only with values that our prefix let pass. */
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 0);
    if (r >= 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 0);
    if (r >= 0)
        r = add_nodes(ctx);
    if (r >= 0)
        r = add_unseen_memory(ctx, soft);
    if (r < 0)
        return nj_fail_errno(err, -r, "filter: rules for calls whose arguments decide");
    return 0;
}

/* add_virtual - of a supervisor: to serve a payload's listener, and to stop its tasks for a moment
 */
static int add_virtual(scmp_filter_ctx ctx, struct nj_error *err)
{
    static const unsigned long commands[] = {
        SECCOMP_IOCTL_NOTIF_RECV,  SECCOMP_IOCTL_NOTIF_SEND, SECCOMP_IOCTL_NOTIF_ID_VALID,
        SECCOMP_IOCTL_NOTIF_ADDFD, NJ_NOTIF_SET_FLAGS,       TFD_IOC_SET_TICKS};
    static const int requests[] = {PTRACE_SEIZE,   PTRACE_INTERRUPT, PTRACE_GETEVENTMSG,
                                   PTRACE_GETREGS, PTRACE_SETREGS,   PTRACE_POKETEXT,
                                   PTRACE_CONT,    PTRACE_DETACH};
    int r = 0;

    for (size_t i = 0; r >= 0 && i < COUNT(commands); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_EQ, commands[i]));
    for (size_t i = 0; r >= 0 && i < COUNT(requests); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ptrace), 1,
                             SCMP_A0(SCMP_CMP_EQ, (unsigned long)requests[i]));
    if (r >= 0) /* a copy that is closed must not wait */
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
                             SCMP_A1(SCMP_CMP_EQ, SOL_SOCKET), SCMP_A2(SCMP_CMP_EQ, SO_LINGER));
    if (r < 0)
        return nj_fail_errno(err, -r, "filter: rules for the supervisor's notifications");
    return 0;
}

static int compile(enum nj_filter_kind kind, scmp_filter_ctx ctx, struct nj_error *err)
{
    int r;

    r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r >= 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (r < 0)
        return nj_fail_errno(err, -r, "filter: attributes (libseccomp 2.5 or newer is needed)");
    if (kind == NJ_FILTER_SUPERVISOR) {
        r = add_families(ctx, SCMP_ACT_ALLOW, supervisor_allowed, COUNT(supervisor_allowed), err);
        return r < 0 ? r : add_virtual(ctx, err);
    }
    r = add_families(ctx, SCMP_ACT_ALLOW, allowed, COUNT(allowed), err);
    if (r < 0)
        return r;
    r = add_families(ctx, SCMP_ACT_ERRNO(EPERM), refused, COUNT(refused), err);
    if (r < 0)
        return r;
    return add_special(ctx, kind == NJ_FILTER_PAYLOAD_SOFT, err);
}

static int export(scmp_filter_ctx ctx, struct nj_buf *code, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    int r;

    r = nj_fsio_memfd("nj-filter", &fd, err);
    if (r < 0)
        return r;
    r = seccomp_export_bpf(ctx, fd);
    if (r < 0)
        return nj_fail_errno(err, -r, "filter: export");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return nj_fail_errno(err, errno, "filter: seek");
    return nj_fsio_read_all(fd, code, err);
}

/* ---- our prefix ---- */

#define LOAD(field)                                                                                \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
/* Arguments are 64 bits wide, the low half first on little-endian machines, the only ones built
 * for. */
#define LOAD_LOW(index)                                                                            \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[index]))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the filter's argument offsets are for little-endian machines"
#endif

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "name this machine's AUDIT_ARCH here"
#endif

struct program {
    struct sock_filter code[128];
    size_t n;
};

static void emit(struct program *p, struct sock_filter instruction)
{
    if (p->n < COUNT(p->code))
        p->code[p->n] = instruction;
    p->n++;
}

/* emit_choice - of call @number, argument @index (as the kernel reads it: 32 bits) must be one of
 * @values, else @refusal. Falls through with the call number loaded. */
static void emit_choice(struct program *p, unsigned number, unsigned index, const unsigned *values,
                        size_t n_values, unsigned refusal)
{
    /* number? -> next: load, n compares each jumping over what is left of this block, refuse,
     * reload */
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0,
                                         (unsigned char)(n_values + 3)));
    emit(p, (struct sock_filter)LOAD_LOW(index));
    for (size_t i = 0; i < n_values; i++)
        emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, values[i],
                                             (unsigned char)(n_values - i), 0));
    emit(p, (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | refusal));
    emit(p, (struct sock_filter)LOAD(nr));
}

/* A netlink socket may only ask for routes and addresses (getifaddrs does). */
static void emit_netlink(struct program *p)
{
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 6));
    emit(p, (struct sock_filter)LOAD_LOW(0));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3));
    emit(p, (struct sock_filter)LOAD_LOW(2));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_ROUTE, 0, 1));
    emit(p, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
    emit(p, (struct sock_filter)LOAD(nr));
}

static void build_prefix(struct program *p)
{
    size_t check;

    emit(p, (struct sock_filter)LOAD(arch));
    check = p->n;
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 0));
    emit(p, (struct sock_filter)LOAD(nr));
    emit_choice(p, SYS_ioctl, 1, ioctls, COUNT(ioctls), ENOTTY);
    emit_netlink(p);
    emit_choice(p, SYS_socket, 0, socket_families, COUNT(socket_families), EAFNOSUPPORT);
    if (p->n <= COUNT(p->code))
        p->code[check].jf =
            (unsigned char)(p->n - check - 1); /* foreign: libseccomp's part kills */
}

int nj_filter_build(enum nj_filter_kind kind, struct nj_filter *ret_filter, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf code = {0};
    struct program prefix = {.n = 0};
    scmp_filter_ctx ctx;
    size_t n;
    int r;

    nj_buf_init(&code, NJ_FILTER_MAX_INSTRUCTIONS * sizeof(struct sock_filter));
    if (kind != NJ_FILTER_SUPERVISOR) {
        build_prefix(&prefix);
        if (prefix.n > COUNT(prefix.code))
            return nj_fail(err, NJ_E_LIMIT, "filter: prefix of %zu instructions", prefix.n);
        r = nj_buf_append(&code, prefix.code, prefix.n * sizeof(prefix.code[0]), err);
        if (r < 0)
            return r;
    }
    ctx =
        seccomp_init(kind == NJ_FILTER_SUPERVISOR ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS));
    if (!ctx)
        return nj_fail(err, NJ_E_SYSTEM, "filter: libseccomp cannot start");
    r = compile(kind, ctx, err);
    if (r >= 0)
        r = export(ctx, &code, err);
    seccomp_release(ctx);
    if (r < 0)
        return r;
    n = code.len / sizeof(struct sock_filter);
    ret_filter->code = (struct sock_filter *)(void *)nj_buf_steal(&code);
    ret_filter->n = (unsigned short)n;
    return 0;
}

void nj_filter_done(struct nj_filter *filter)
{
    free(filter->code);
    *filter = (struct nj_filter){0};
}

int nj_filter_install(const struct nj_filter *filter)
{
    struct sock_fprog program = {.len = filter->n, .filter = filter->code};

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

static int print_families(const char *verdict, const struct family *families, size_t n,
                          struct nj_buf *out, struct nj_error *err)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i++)
        r = nj_buf_printf(out, err, "  %s %s (%s): %s\n", verdict, families[i].name,
                          families[i].reason, families[i].calls);
    return r;
}

int nj_filter_print(struct nj_buf *out, struct nj_error *err)
{
    int r;

    r = nj_buf_text(out, "system calls:\n", err);
    if (r < 0)
        return r;
    r = print_families("allow", allowed, COUNT(allowed), out, err);
    if (r < 0)
        return r;
    r = nj_buf_text(
        out,
        "  allow by argument: clone without namespace flags (else EPERM); personality default and "
        "ADDR_NO_RANDOMIZE; mknod and mknodat of files, FIFOs and sockets (else EPERM); renameat2 "
        "that leaves no whiteout (else EINVAL); socket of unix, inet, inet6 and netlink route "
        "(else EAFNOSUPPORT); ioctl of plain files, pipes and sockets (else ENOTTY)\n"
        "  allow where a cgroup bounds memory: memfd_create (else ENOSYS); shmget of any size "
        "(else 64 KiB at most, ENOMEM beyond)\n",
        err);
    if (r < 0)
        return r;
    r = print_families("EPERM", refused, COUNT(refused), out, err);
    if (r < 0)
        return r;
    return nj_buf_text(out,
                       "  ENOSYS (not implemented): clone3, io_uring and every other call\n"
                       "  a call of another architecture ends the process\n",
                       err);
}
