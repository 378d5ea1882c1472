/*
 * probe.c - trying what a box needs, and naming the cure for what is refused
 *
 * Kernels answer alike for very different reasons (EPERM for a sysctl, for AppArmor, for a
 * container runtime's filter), so the text looks at the switches that are known to cause it on this
 * host.
 */
#include "batch/sandbox/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

/* read_switch - a sysctl's number; -1 where this kernel has none */
static long read_switch(const char *path)
{
    nj_auto_close int fd = -1;
    char text[32];
    ssize_t n;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    return strtol(text, NULL, 10);
}

static const char *namespaces_cure(int errnum)
{
    if (errnum == EINVAL)
        return "the kernel was built without user namespaces; use one with CONFIG_USER_NS=y";
    if (read_switch("/proc/sys/user/max_user_namespaces") == 0 || errnum == ENOSPC ||
        errnum == EUSERS)
        return "too few are allowed; as root: sysctl -w user.max_user_namespaces=10000 (and the "
               "other "
               "user.max_*_namespaces)";
    if (read_switch("/proc/sys/kernel/unprivileged_userns_clone") == 0)
        return "switched off for ordinary users; as root: sysctl -w "
               "kernel.unprivileged_userns_clone=1";
    if (read_switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
        return "AppArmor restricts them; as root: sysctl -w "
               "kernel.apparmor_restrict_unprivileged_userns=0, or give nightjar a profile with "
               "\"userns,\"";
    return "a container runtime or security module forbids them; in docker: --security-opt "
           "seccomp=unconfined, and on hosts with AppArmor --security-opt apparmor=unconfined";
}

static const char *cure_of(enum nj_probe_what what, int errnum)
{
    switch (what) {
    case NJ_PROBE_NAMESPACES:
        return namespaces_cure(errnum);
    case NJ_PROBE_PROC:
        return "parts of this /proc are covered, as docker does by default; start the container "
               "with "
               "--security-opt systempaths=unconfined (podman: --security-opt unmask=ALL)";
    case NJ_PROBE_MOUNTS:
        return errnum == ENOSYS
                   ? "Linux 5.12 or newer is needed"
                   : "a container runtime or security module forbids mounting; in docker: "
                     "--security-opt seccomp=unconfined --security-opt apparmor=unconfined";
    case NJ_PROBE_FILTER:
        return "use a kernel with CONFIG_SECCOMP_FILTER=y";
    }
    return "";
}

static const char *name_of(enum nj_probe_what what)
{
    switch (what) {
    case NJ_PROBE_NAMESPACES:
        return "user and other namespaces";
    case NJ_PROBE_PROC:
        return "a /proc of its own";
    case NJ_PROBE_MOUNTS:
        return "mounting in a namespace";
    case NJ_PROBE_FILTER:
        return "seccomp filters";
    }
    return "?";
}

int nj_probe_explain(struct nj_error *err, enum nj_probe_what what, int errnum)
{
    char reason[96];

    (void)nj_fail(err, NJ_E_SYSTEM, "this host refuses boxes %s (%s): %s", name_of(what),
                  strerror_r(errnum, reason, sizeof(reason)), cure_of(what, errnum));
    err->sys_errno = errnum;
    return -(int)err->code;
}

/* What the trying child found, as its exit status: 0, or what + 1; errno by the pipe. */
static int try_mounts(void)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    nj_auto_close int fd = -1;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    fd = open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (fd < 0)
        return -errno;
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return -errno;
    return mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k") < 0 ? -errno : 0;
}

static int try_filter(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return -errno;
    return 0;
}

struct finding {
    int what;
    int errnum;
};

static void report(int fd, int what, int errnum)
{
    struct finding finding = {what, errnum};

    if (write(fd, &finding, sizeof(finding)) != (ssize_t)sizeof(finding))
        _exit(2);
    _exit(1);
}

/* inner - in the new namespaces: unmapped, which is enough to mount */
static void inner(int fd)
{
    int r;

    r = try_mounts();
    if (r < 0)
        report(fd, NJ_PROBE_MOUNTS, -r);
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        report(fd, NJ_PROBE_PROC, errno);
    r = try_filter();
    if (r < 0)
        report(fd, NJ_PROBE_FILTER, -r);
    _exit(0);
}

static void try_all(int fd, uid_t uid)
{
    int status;
    pid_t pid;

    if (uid != (uid_t)-1 &&
        (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        report(fd, NJ_PROBE_NAMESPACES, errno);
    pid = (pid_t)syscall(SYS_clone,
                         CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
                             CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD,
                         NULL, NULL, NULL, NULL);
    if (pid < 0)
        report(fd, NJ_PROBE_NAMESPACES, errno);
    if (pid == 0)
        inner(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(0);
}

int nj_probe_host(uid_t uid, struct nj_error *err)
{
    nj_auto_close int reading = -1, writing = -1;
    struct finding finding;
    int pipe_fds[2], status;
    ssize_t n;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return nj_fail_errno(err, errno, "probe: pipe");
    reading = pipe_fds[0];
    writing = pipe_fds[1];
    pid = fork();
    if (pid < 0)
        return nj_fail_errno(err, errno, "probe: fork");
    if (pid == 0)
        try_all(writing, uid);
    (void)close(nj_steal_fd(&writing));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    do {
        n = read(reading, &finding, sizeof(finding));
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(finding))
        return nj_probe_explain(err, (enum nj_probe_what)finding.what, finding.errnum);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return nj_fail(err, NJ_E_SYSTEM, "probe: the trying process ended with status %d", status);
    return 0;
}
