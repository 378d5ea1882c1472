/*
 * probe_cure.c - why this host may refuse something, and what to type about it
 */
#include "batch/sandbox/probe_cure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "batch/sandbox/cgroup.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define CONTAINER                                                                                  \
    "a chroot, a container runtime or a security module forbids it; in docker: --security-opt "    \
    "seccomp=unconfined, and on hosts with AppArmor --security-opt apparmor=unconfined"

long nj_probe_switch(const char *path)
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

static bool is_restricted_by_apparmor(void)
{
    return nj_probe_switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1;
}

#define APPARMOR                                                                                   \
    "AppArmor restricts user namespaces; as root: sysctl -w "                                      \
    "kernel.apparmor_restrict_unprivileged_userns=0, or give nightjar a profile with \"userns,\""

static const char *namespaces_cure(int errnum)
{
    static const char *const limits[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};

    if (errnum == EINVAL)
        return "the kernel was built without user namespaces; use one with CONFIG_USER_NS=y";
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        char path[64];

        (void)snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", limits[i]);
        if (errnum == ENOSPC || errnum == EUSERS || nj_probe_switch(path) == 0)
            return "too few are allowed; as root: for n in user pid mnt net ipc uts cgroup; do "
                   "sysctl -w user.max_${n}_namespaces=10000; done";
    }
    if (nj_probe_switch("/proc/sys/kernel/unprivileged_userns_clone") == 0)
        return "switched off for ordinary users; as root: sysctl -w "
               "kernel.unprivileged_userns_clone=1";
    return is_restricted_by_apparmor() ? APPARMOR : CONTAINER;
}

static void realtime_cure(char *text, size_t size)
{
    const char *rt_file = "cpu.rt_runtime_us";
    struct rlimit limit = {0, 0};

    (void)getrlimit(RLIMIT_RTPRIO, &limit);
    if (nj_probe_switch("/proc/sys/kernel/sched_rt_runtime_us") == 0)
        (void)snprintf(text, size, "as root: sysctl -w kernel.sched_rt_runtime_us=950000");
    else if (geteuid() == 0 || limit.rlim_cur >= 5)
        (void)snprintf(
            text, size,
            "give this cgroup real time (v1: echo 100000 > its %s), or run outside of it", rt_file);
    else
        (void)snprintf(
            text, size,
            "as root: echo \"$USER - rtprio 10\" > /etc/security/limits.d/nightjar.conf, "
            "then log in again (systemd: LimitRTPRIO=10)");
}

static const char *text_of(enum nj_probe_what what, int errnum)
{
    switch (what) {
    case NJ_PROBE_NAMESPACES:
        return namespaces_cure(errnum);
    case NJ_PROBE_MOUNTS:
    case NJ_PROBE_TMPFS:
        if (errnum == ENOSYS || errnum == EINVAL)
            return "Linux 5.12 or newer is needed, or a runtime whose filter knows its calls; in "
                   "docker: --security-opt seccomp=unconfined";
        return is_restricted_by_apparmor() ? APPARMOR : CONTAINER;
    case NJ_PROBE_PROC:
        return "parts of this /proc are covered, as docker does by default; start the container "
               "with --security-opt systempaths=unconfined (podman: --security-opt unmask=ALL)";
    case NJ_PROBE_CALLS:
        return "Linux 5.9 or newer is needed, or a runtime whose filter knows its calls; in "
               "docker: "
               "--security-opt seccomp=unconfined";
    case NJ_PROBE_FILTER:
        return "use a kernel with CONFIG_SECCOMP_FILTER=y";
    case NJ_PROBE_NOTIFY:
        return errnum == EBUSY ? "a filter around us has a listener already; run outside of that "
                                 "container or tracer"
                               : "Linux 5.5 or newer with CONFIG_SECCOMP_FILTER=y is needed";
    case NJ_PROBE_KILLABLE:
        return "Linux 5.19 or newer is needed";
    case NJ_PROBE_PTRACE:
        return nj_probe_switch("/proc/sys/kernel/yama/ptrace_scope") >= 2
                   ? "as root: sysctl -w kernel.yama.ptrace_scope=1"
                   : CONTAINER;
    case NJ_PROBE_FUSE:
        return errnum == ENOENT ? "as root: modprobe fuse; in docker: --device /dev/fuse"
                                : "as root: chmod 666 /dev/fuse";
    case NJ_PROBE_TIME_NS:
        return "use a kernel with CONFIG_TIME_NS=y (Linux 5.6 or newer)";
    case NJ_PROBE_XATTR:
        return "Linux 6.6 or newer is needed (CONFIG_TMPFS_XATTR=y)";
    case NJ_PROBE_FANOTIFY:
        return "Linux 6.13 or newer is needed, or run as root";
    case NJ_PROBE_REALTIME:
    case NJ_PROBES_COUNT:
        break;
    }
    return "";
}

void nj_probe_cure(enum nj_probe_what what, int errnum, char *ret_text, size_t size)
{
    if (what == NJ_PROBE_REALTIME)
        realtime_cure(ret_text, size);
    else
        (void)snprintf(ret_text, size, "%s", text_of(what, errnum));
}
