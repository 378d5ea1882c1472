/*
 * kernel.c - the kernel's own doors: namespaces, mounts, devices, rings, other architectures,
 * families of sockets
 *
 * Items 1, 2, 4, 6, 7, 12 to 17 and 19 of the list of attacks.
 */
#include "attack.h"

#include <linux/keyctl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <termios.h>

#define NEW_TIME 0x80ul

/* ---- 1: namespaces ---- */

static const struct {
    const char *name;
    unsigned long flag;
} namespaces[] = {
    {"user", CLONE_NEWUSER},     {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},
    {"network", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},  {"uts", CLONE_NEWUTS},
    {"cgroup", CLONE_NEWCGROUP}, {"time", NEW_TIME},
};

static void enter_namespaces(void)
{
    static const char *const links[] = {"user", "mnt", "pid",    "net",
                                        "ipc",  "uts", "cgroup", "time"};
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } hidden = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};

    for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
        char what[64], path[64];
        int fd;

        snprintf(what, sizeof(what), "unshare %s", namespaces[i].name);
        tried(1, what, syscall(SYS_unshare, namespaces[i].flag));
        /* With a stack of the child's own choice, so that one that is let through by mistake
         * crashes alone. */
        snprintf(what, sizeof(what), "clone %s", namespaces[i].name);
        tried(1, what, syscall(SYS_clone, namespaces[i].flag | SIGCHLD, 0, 0, 0, 0));
        snprintf(what, sizeof(what), "setns %s", namespaces[i].name);
        snprintf(path, sizeof(path), "/proc/self/ns/%s", links[i]);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        tried(1, what, syscall(SYS_setns, fd, 0));
        close(fd);
    }
    tried(1, "unshare with bits above the 32 that are read",
          syscall(SYS_unshare, 1ul << 40 | CLONE_NEWUSER));
    tried(1, "clone3, flags behind a pointer", syscall(SYS_clone3, &hidden, sizeof(hidden)));
}

/* ---- 2: mounts ---- */

static void mount_things(void)
{
    tried(2, "mount a tmpfs", mount("none", "/tmp", "tmpfs", 0, NULL));
    tried(2, "mount a second proc", mount("proc", "/tmp", "proc", 0, NULL));
    tried(2, "bind /", mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL));
    tried(2, "remount / writable", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
    tried(2, "umount /proc", umount2("/proc", MNT_DETACH));
    tried(2, "umount a cover of /proc", umount2("/proc/kcore", MNT_DETACH));
    tried(2, "umount /usr", umount2("/usr", MNT_DETACH));
    tried(2, "move_mount", syscall(SYS_move_mount, -1, "", -1, "", 0));
    tried(2, "open_tree", syscall(SYS_open_tree, -100, "/", 1));
    tried(2, "fsopen", syscall(SYS_fsopen, "proc", 0));
    tried(2, "fsconfig", syscall(SYS_fsconfig, -1, 0, NULL, NULL, 0));
    tried(2, "fsmount", syscall(SYS_fsmount, -1, 0, 0));
    tried(2, "fspick", syscall(SYS_fspick, -100, "/", 0));
    tried(2, "mount_setattr", syscall(SYS_mount_setattr, -100, "/", 0, NULL, 0));
    tried(2, "pivot_root", syscall(SYS_pivot_root, ".", "."));
    tried(2, "chroot", chroot("/tmp"));
}

/* ---- 4, 6, 7: devices, dumps, handles ---- */

static void make_devices(void)
{
    static const char *const nodes[] = {
        "/dev/mem",  "/dev/kmem", "/dev/kvm",          "/dev/fuse",    "/dev/kmsg",
        "/dev/port", "/dev/ptmx", "/dev/loop-control", "/dev/net/tun", "/dev/console"};

    tried(4, "mknod of a character device", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
    tried(4, "mknod of a block device", mknod("/tmp/disk", S_IFBLK | 0666, makedev(8, 0)));
    tried(17, "mknod of a whiteout", mknod("/tmp/whiteout", S_IFCHR, makedev(0, 0)));
    close(open("/tmp/moved", O_CREAT | O_WRONLY, 0600));
    tried(17, "renameat2 that leaves a whiteout",
          syscall(SYS_renameat2, -100, "/tmp/moved", -100, "/tmp/to", 4));
    tried(17, "renameat2 that leaves none",
          syscall(SYS_renameat2, -100, "/tmp/moved", -100, "/tmp/to", 1));
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        tried_open(4, nodes[i], O_RDWR);
    tried_open(12, "/dev/tty", O_RDWR);
}

static int crash(void)
{
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

    (void)chdir("/tmp");
    (void)setrlimit(RLIMIT_CORE, &unlimited);
    abort();
}

static void dump_core(void)
{
    struct rlimit limit, unlimited = {RLIM_INFINITY, RLIM_INFINITY};

    tried(6, "raise RLIMIT_CORE", setrlimit(RLIMIT_CORE, &unlimited));
    /* 1 and not 0: a handler behind a pipe runs for every other value. */
    getrlimit(RLIMIT_CORE, &limit);
    say(6, "RLIMIT_CORE", limit.rlim_max == 1 ? "1 byte" : "more");
    in_child(6, "crash", crash);
    say(6, "a dump of it", access("/tmp/core", F_OK) == 0 ? "there" : "none");
}

static void open_handles(void)
{
    struct {
        unsigned bytes;
        int type;
        unsigned char handle[8];
    } root = {
        8,
        1,
        {2, 0, 0, 0, 0, 0, 0, 0}}; /* inode 2: the root of the host's disk, as "shocker" did it */

    tried(7, "open_by_handle_at", syscall(SYS_open_by_handle_at, 0, &root, O_RDONLY));
    tried(7, "name_to_handle_at", syscall(SYS_name_to_handle_at, -100, "/", &root, NULL, 0));
}

/* ---- 12: terminals ---- */

static void push_into_terminals(void)
{
    char byte = 'x';

    tried(12, "TIOCSTI", ioctl(0, TIOCSTI, &byte));
    tried(12, "TIOCSTI with bits above the 32 that are read",
          syscall(SYS_ioctl, 0, 0x100000000ul | TIOCSTI, &byte));
    tried(12, "TIOCLINUX", ioctl(0, TIOCLINUX, &byte));
    tried(12, "TIOCSCTTY", ioctl(0, TIOCSCTTY, 1));
    tried(12, "TIOCSETD", ioctl(0, TIOCSETD, &byte));
}

/* ---- 13: other architectures ---- */

#if defined(__x86_64__)
static int call_int80(void)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory"); /* i386's getpid */
    return 0;
}

static int call_x32(void)
{
    (void)syscall(0x40000000 | SYS_getpid);
    return 0;
}
#endif

#if defined(__x86_64__)
static bool ends_by_signal(int (*attempt)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(attempt());
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status);
}
#endif

static void call_foreign(void)
{
#if defined(__x86_64__)
    /* By the filter, or by a kernel that was built without such calls. */
    say(13, "int 0x80", ends_by_signal(call_int80) ? "killed" : "done");
    say(13, "an x32 call", ends_by_signal(call_x32) ? "killed" : "done");
#else
    say(13, "int 0x80", "killed"); /* no such thing on this machine */
    say(13, "an x32 call", "killed");
#endif
}

/* ---- 14, 15: rings, and what only a host may do ---- */

static void use_the_kernel(void)
{
    tried(14, "io_uring_setup", syscall(425, 8, NULL));
    tried(14, "io_uring_enter", syscall(426, -1, 0, 0, 0, NULL, 0));
    tried(14, "io_uring_register", syscall(427, -1, 0, NULL, 0));
    tried(14, "io_setup", syscall(SYS_io_setup, 8, NULL));
    tried(15, "bpf", syscall(SYS_bpf, 0, NULL, 0));
    tried(15, "perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    tried(15, "userfaultfd", syscall(SYS_userfaultfd, 0));
    tried(15, "keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
    tried(15, "add_key", syscall(SYS_add_key, "user", "nj", "x", 1, KEY_SPEC_SESSION_KEYRING));
    tried(15, "request_key", syscall(SYS_request_key, "user", "nj", NULL, 0));
    tried(15, "kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    tried(15, "init_module", syscall(SYS_init_module, NULL, 0, ""));
    tried(15, "finit_module", syscall(SYS_finit_module, 0, "", 0));
    tried(15, "delete_module", syscall(SYS_delete_module, "nothing", 0));
    tried(15, "fanotify_init", syscall(SYS_fanotify_init, 0, 0));
    tried(15, "reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    tried(15, "swapon", syscall(SYS_swapon, "/tmp", 0));
    tried(15, "syslog", syscall(SYS_syslog, 3, NULL, 0));
    tried(15, "acct", syscall(SYS_acct, NULL));
    tried(15, "sethostname", sethostname("evil", 4));
    tried(15, "settimeofday", syscall(SYS_settimeofday, NULL, NULL));
    tried(15, "clock_settime", syscall(SYS_clock_settime, 0, NULL));
    tried(15, "kcmp", syscall(SYS_kcmp, 1, 1, 0, 0, 0));
    tried(15, "pidfd_getfd", syscall(SYS_pidfd_getfd, -1, 0, 0));
    tried(15, "process_madvise", syscall(SYS_process_madvise, -1, NULL, 0, 0, 0));
    tried(15, "a call nobody has", syscall(100000));
}

/* ---- 16: privileges by exec ---- */

static void gain_by_exec(void)
{
    char line[1024];
    FILE *mounts = fopen("/proc/self/mounts", "re");
    bool all = mounts != NULL;

    while (mounts && fgets(line, sizeof(line), mounts)) {
        if (!strstr(line, "nosuid"))
            all = false;
    }
    if (mounts)
        fclose(mounts);
    say(16, "every mount is nosuid", all ? "yes" : "no");
    say(16, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? "set" : "unset");
    tried(16, "setuid(0)", setuid(0));
    tried(16, "setgid(0)", setgid(0));
    tried(16, "chown to root", chown("/tmp", 0, 0));
    tried(16, "ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
}

/* ---- 19: families of sockets ---- */

static void make_sockets(void)
{
    static const struct {
        const char *what;
        int family, type, protocol;
    } sockets[] = {
        {"vsock", 40, SOCK_STREAM, 0},         {"packet", 17, SOCK_RAW, 0},
        {"bluetooth", 31, SOCK_RAW, 0},        {"AF_ALG", 38, SOCK_SEQPACKET, 0},
        {"AF_KEY", 15, SOCK_RAW, 2},           {"can", 29, SOCK_RAW, 1},
        {"tipc", 30, SOCK_SEQPACKET, 0},       {"xdp", 44, SOCK_RAW, 0},
        {"rds", 21, SOCK_SEQPACKET, 0},        {"netlink audit", 16, SOCK_RAW, 9},
        {"netlink uevent", 16, SOCK_RAW, 15},  {"netlink netfilter", 16, SOCK_RAW, 12},
        {"netlink generic", 16, SOCK_RAW, 16}, {"netlink sock_diag", 16, SOCK_RAW, 4},
        {"inet raw", 2, SOCK_RAW, 1},          {"inet6 raw", 10, SOCK_RAW, 58},
    };

    for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++) {
        char what[64];

        snprintf(what, sizeof(what), "socket %s", sockets[i].what);
        tried(19, what,
              socket(sockets[i].family, sockets[i].type | SOCK_CLOEXEC, sockets[i].protocol));
    }
}

int main(void)
{
    enter_namespaces();
    mount_things();
    make_devices();
    dump_core();
    open_handles();
    push_into_terminals();
    call_foreign();
    use_the_kernel();
    gain_by_exec();
    make_sockets();
    return 0;
}
