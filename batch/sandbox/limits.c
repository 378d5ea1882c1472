/*
 * limits.c - readings of /proc where no cgroup bounds a box, and limits in words
 */
#include "batch/sandbox/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>

#include "formats/base/banned.h"

#define WATCH_DEPTH_MAX 64
#define SOCKET_BYTES UINT64_C(212992) /* the kernel's default size of a send buffer */
#define MIB (UINT64_C(1) << 20)

static ssize_t read_proc(int proc_fd, pid_t pid, const char *file, char *text, size_t max)
{
    char name[64];
    nj_auto_close int fd = -1;
    ssize_t n;
    int len;

    len = snprintf(name, sizeof(name), "%d/%s", pid, file);
    if (len < 0 || (size_t)len >= sizeof(name))
        return -1;
    fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, text, max - 1);
    if (n < 0)
        return -1;
    text[n] = '\0';
    return n;
}

static uint64_t number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void watch_one(int proc_fd, pid_t pid, int depth, struct nj_watch *watch);

/* watch_children - of one thread. A list that the buffer cuts off undercounts: hundreds of direct
 * children of one thread are beyond usual limits, and RLIMIT_NPROC holds besides. */
static void watch_children(int proc_fd, pid_t pid, const char *thread, int depth,
                           struct nj_watch *watch)
{
    char text[8192], name[64];
    int len = snprintf(name, sizeof(name), "task/%s/children", thread);

    if (len < 0 || (size_t)len >= sizeof(name) ||
        read_proc(proc_fd, pid, name, text, sizeof(text)) < 0)
        return;
    for (char *at = text; *at;) {
        char *end;
        long child = strtol(at, &end, 10);

        if (end == at)
            break;
        at = end;
        watch_one(proc_fd, (pid_t)child, depth + 1, watch);
    }
}

static void watch_one(int proc_fd, pid_t pid, int depth, struct nj_watch *watch)
{
    char text[8192], name[32];
    struct dirent *entry;
    DIR *dir;
    int fd;

    if (depth > WATCH_DEPTH_MAX || read_proc(proc_fd, pid, "status", text, sizeof(text)) < 0)
        return; /* it ended meanwhile */
    watch->processes += number_after(text, "\nThreads:");
    watch->memory_bytes += number_after(text, "\nVmPTE:") << 10; /* tables are memory, too */
    if (read_proc(proc_fd, pid, "smaps_rollup", text, sizeof(text)) >= 0)
        watch->memory_bytes += number_after(text, "\nPss:") << 10;
    (void)snprintf(name, sizeof(name), "%d/task", pid); /* fits */
    fd = openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        nj_close_auto(&fd);
        return;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            watch_children(proc_fd, pid, entry->d_name, depth, watch);
    }
    (void)closedir(dir);
}

/* socket_memory - what waits in sockets belongs to no process. How much it is nobody says, but the
 * namespace counts its sockets, and each may hold this much: beyond a few hundred, which a small
 * box has no use for, they would be a way round the limit. */
static uint64_t socket_memory(int proc_fd, pid_t pid)
{
    char text[1024];

    if (read_proc(proc_fd, pid, "net/sockstat", text, sizeof(text)) < 0)
        return 0;
    return number_after(text, "sockets: used ") * SOCKET_BYTES;
}

void nj_watch_read(int proc_fd, pid_t root_pid, struct nj_watch *ret_watch)
{
    *ret_watch = (struct nj_watch){.socket_bytes = socket_memory(proc_fd, root_pid)};
    watch_one(proc_fd, root_pid, 0, ret_watch);
}

/* ---- processors ---- */

static uint64_t whole_cpus(uint64_t micro)
{
    return (micro + 999999) / 1000000;
}

int nj_limits_place(pid_t pid, uint64_t max_cpu_micro, struct nj_error *err)
{
    uint64_t wanted = whole_cpus(max_cpu_micro);
    cpu_set_t ours, chosen;
    int n, skip;

    if (sched_getaffinity(0, sizeof(ours), &ours) < 0) {
        if (errno == EINVAL)
            return 0; /* more than 1,024 CPUs: no share of them is kept, as the plan's word allows
                       */
        return nj_fail_errno(err, errno, "box: its CPUs");
    }
    n = CPU_COUNT(&ours);
    if (wanted >= (uint64_t)n)
        return 0;
    CPU_ZERO(&chosen);
    skip = pid % n; /* neighbours begin on different CPUs */
    for (size_t cpu = 0; wanted > 0; cpu = (cpu + 1) % CPU_SETSIZE) {
        if (!CPU_ISSET(cpu, &ours) || skip-- > 0)
            continue;
        CPU_SET(cpu, &chosen);
        wanted--;
    }
    if (sched_setaffinity(pid, sizeof(chosen), &chosen) < 0)
        return nj_fail_errno(err, errno, "box: choose its CPUs");
    return 0;
}

/* ---- in words ---- */

static const char *const kinds[] = {
    [NJ_CGROUP_NONE] = "soft: rlimits and a watchdog",
    [NJ_CGROUP_V1] = "cgroup v1",
    [NJ_CGROUP_V2] = "cgroup v2",
};

static int print_processors(uint64_t micro, enum nj_cgroup_kind kind, struct nj_buf *out,
                            struct nj_error *err)
{
    int r = nj_buf_printf(out, err, "  processors %.6g: ", (double)micro / 1e6);

    if (r < 0 || kind != NJ_CGROUP_NONE)
        return r < 0 ? r : nj_buf_printf(out, err, "%s\n", kinds[kind]);
    return nj_buf_printf(out, err, "soft: begins on %" PRIu64 " of this host's CPUs\n",
                         whole_cpus(micro));
}

int nj_limits_print(const struct nj_box_plan *plan, struct nj_buf *out, struct nj_error *err)
{
    const enum nj_cgroup_kind *kind;
    struct nj_cgroups cgroups;
    int r;

    nj_cgroups_find(&cgroups);
    kind = cgroups.kind;
    r = nj_buf_printf(
        out, err,
        "limits:\n"
        "  workspace %" PRIu64 " MiB, %" PRIu64 " files: size of its tmpfs, then ENOSPC\n"
        "  memory %" PRIu64 " MiB: %s%s\n"
        "  processes %" PRIu64 ": %s\n"
        "  cpu time: %s\n"
        "  one file %" PRIu64 " MiB, no core files, 4096 descriptors: rlimits\n",
        plan->max_size_bytes / MIB, plan->max_files, plan->max_memory_bytes / MIB,
        kinds[kind[NJ_CGROUP_MEMORY]],
        kind[NJ_CGROUP_MEMORY] == NJ_CGROUP_NONE
            ? ""
            : " with the workspace's size on top, and a watchdog over what is no workspace",
        plan->max_processes, kinds[kind[NJ_CGROUP_PIDS]],
        kind[NJ_CGROUP_CPU] == NJ_CGROUP_V2   ? "counted by cgroup v2"
        : kind[NJ_CGROUP_CPU] == NJ_CGROUP_V1 ? "counted by cgroup v1"
                                              : "counted for processes that were waited for",
        plan->max_size_bytes / MIB);
    if (r >= 0 && plan->max_cpu_micro > 0)
        r = print_processors(plan->max_cpu_micro, kind[NJ_CGROUP_QUOTA], out, err);
    if (r < 0 || (kind[NJ_CGROUP_MEMORY] == NJ_CGROUP_V2 && kind[NJ_CGROUP_PIDS] == NJ_CGROUP_V2))
        return r;
    return nj_buf_printf(out, err, "  not by cgroup v2: %s\n", cgroups.why);
}
