/*
 * others.c - what else is there to reach: /proc, pid 1, descriptors, programs of the box, sockets
 * of the host
 *
 * usage: others HOST-SOCKET    the name of an abstract socket on which somebody outside listens
 *
 * Items 3, 5, 8, 9, 10 and 18 of the list of attacks.
 */
#include "attack.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>

/* ---- 5: what procfs offers to root ---- */

/* covered - a file that a device node lies over, which swallows what is written and holds nothing
 */
static void covered(const char *path)
{
    char what[128];
    struct stat st;

    snprintf(what, sizeof(what), "%s", path);
    if (stat(path, &st) < 0)
        say(5, what, errno == ENOENT ? "covered" : error_name(errno)); /* this kernel has none */
    else
        say(5, what, S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? "covered" : "bare");
}

static void write_proc(void)
{
    static const char *const files[] = {"/proc/sys/kernel/core_pattern",
                                        "/proc/sys/kernel/modprobe",
                                        "/proc/sys/kernel/hostname",
                                        "/proc/sys/vm/drop_caches",
                                        "/proc/sys/fs/binfmt_misc",
                                        "/proc/self/oom_score_adj",
                                        "/proc/self/uid_map",
                                        "/proc/self/setgroups",
                                        "/proc/irq/default_smp_affinity",
                                        "/proc/acpi/wakeup"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int fd = open(files[i], O_WRONLY | O_CLOEXEC);
        char what[128];

        snprintf(what, sizeof(what), "write to %s", files[i]);
        /* Files that this kernel lacks count as refused; which refusal comes first is the kernel's
         * affair. */
        say(5, what, fd < 0 ? "refused" : "done");
        if (fd >= 0)
            close(fd);
    }
    covered("/proc/kcore");
    covered("/proc/kallsyms");
    covered("/proc/sysrq-trigger");
    covered("/proc/timer_list");
    covered("/proc/keys");
    tried_open(5, "/sys/kernel", O_RDONLY);
}

/* ---- 8 and 10: pid 1, which has more rights than we ---- */

static void reach_for_pid_1(void)
{
    static const char *const links[] = {"root", "cwd", "exe", "ns/user", "fd/0"};
    static const char *const files[] = {"mem",   "environ", "maps", "auxv",     "io",
                                        "stack", "syscall", "fd",   "map_files"};
    char byte = 'x', target[64], path[64], what[128];
    struct iovec ours = {&byte, 1}, theirs = {(void *)0x400000, 1};

    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        snprintf(path, sizeof(path), "/proc/1/%s", links[i]);
        snprintf(what, sizeof(what), "readlink %s", path);
        tried(8, what, readlink(path, target, sizeof(target)));
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct stat st;
        int fd;

        snprintf(path, sizeof(path), "/proc/1/%s", files[i]);
        snprintf(what, sizeof(what), "read %s", path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        /* Some of these open for anybody and refuse at the read, some are missing in some kernels.
         */
        if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode) && read(fd, &byte, 1) <= 0) {
            close(fd);
            fd = -1;
        }
        say(8, what, fd < 0 ? "refused" : "done");
        if (fd >= 0)
            close(fd);
    }
    tried(8, "ptrace attach to pid 1", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
    tried(8, "ptrace seize of pid 1", ptrace(PTRACE_SEIZE, 1, NULL, NULL));
    tried(8, "process_vm_readv of pid 1", process_vm_readv(1, &ours, 1, &theirs, 1, 0));
    tried(8, "process_vm_writev of pid 1", process_vm_writev(1, &ours, 1, &theirs, 1, 0));
    tried(8, "prlimit of pid 1", syscall(SYS_prlimit64, 1, 7, &(uint64_t[2]){0, 0}, NULL));
    tried(8, "prlimit of itself", syscall(SYS_prlimit64, 0, 7, NULL, &(uint64_t[2]){0, 0}));
    tried_open(10, "/proc/1/exe", O_RDWR);
    tried_open(10, "/usr/bin/env", O_RDWR);
    tried(10, "replace /usr/bin/env", rename("/usr/bin/env", "/usr/bin/env.old"));
}

/* ---- 8, 20: processes outside ---- */

static void look_for_processes(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int seen = 0, signalled = 0;

    while (dir && (entry = readdir(dir))) {
        if (atoi(entry->d_name) > 0)
            seen++;
    }
    if (dir)
        closedir(dir);
    /* pid 1, the shell that started us, and we */
    say(8, "processes in sight", seen <= 3 ? "only the call's" : "others");
    for (pid_t pid = 2; pid < 33000; pid++) {
        if (pid != getpid() && pid != getppid() && kill(pid, 0) == 0)
            signalled++;
    }
    say(20, "processes to send a signal to", signalled == 0 ? "none" : "some");
    tried(20, "a signal to pid 1",
          kill(1, SIGTERM)); /* accepted and ignored: pid 1 is deaf to those below it */
    tried(20, "SIGKILL to pid 1", kill(1, SIGKILL));
}

/* ---- 9: descriptors ---- */

static void list_descriptors(void)
{
    char text[256] = "", cwd[64] = "?", path[64];
    int entered = 0;

    for (int fd = 0; fd < 4096; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d", fd ? " " : "", fd);
    }
    say(9, "descriptors", text);
    for (int fd = 3; fd < 4096; fd++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d/../../../..", fd);
        if (chdir(path) == 0)
            entered++;
    }
    say(9, "folders behind descriptors", entered ? "some" : "none");
    (void)!getcwd(cwd, sizeof(cwd));
    say(9, "working directory", cwd);
}

/* ---- 18: sockets of the host ---- */

static void connect_abstract(int item, const char *what, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path + 1, name, strlen(name));
    tried(item, what,
          connect(fd, (struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
    close(fd);
}

static void find_sockets(const char *host_socket)
{
    static const char *const paths[] = {"/run/docker.sock",
                                        "/var/run/docker.sock",
                                        "/run/dbus/system_bus_socket",
                                        "/run/containerd/containerd.sock",
                                        "/run/systemd/private",
                                        "/tmp/.X11-unix/X0"};

    connect_abstract(18, "connect to an abstract socket of the host", host_socket);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char what[128];

        snprintf(what, sizeof(what), "find %s", paths[i]);
        tried(18, what, access(paths[i], F_OK));
    }
}

int main(int argc, char **argv)
{
    write_proc();
    reach_for_pid_1();
    look_for_processes();
    list_descriptors();
    find_sockets(argc > 1 ? argv[1] : "nothing");
    return 0;
}
