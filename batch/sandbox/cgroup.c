/*
 * cgroup.c - making, filling, reading and sweeping cgroups, of either version
 *
 * The complication is telling a dead run's groups from a live one's, also when the other lives in
 * another pid namespace or pids have gone round: a helper holds flock() on its run's group, and the
 * kernel lets go of it whatever way the helper ends.
 */
#include "batch/sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define FILE_MAX_BYTES (1u << 20)
#define QUOTA_PERIOD_US 100000u
#define SWEEP_TRIES 50 /* 2 ms each: killed processes leave their group a moment later */
#define V1_UNLIMITED_BYTES (UINT64_C(1) << 62) /* what is above is no limit */
#define MOVE_TRIES 100 /* those that fork meanwhile are found the next time round */
#define BEGIN_TRIES 10 /* somebody else's sweep may get between making and locking a group */

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&pause, NULL);
}

/* is_first - no controller before @which has the same directory: v2's share one */
static bool is_first(const struct nj_cgroups *cgroups, size_t which)
{
    for (size_t i = 0; i < which; i++) {
        if (cgroups->kind[i] != NJ_CGROUP_NONE && strcmp(cgroups->dir[i], cgroups->dir[which]) == 0)
            return false;
    }
    return cgroups->kind[which] != NJ_CGROUP_NONE;
}

static int write_text(int dir_fd, const char *file, const char *text, struct nj_error *err)
{
    nj_auto_close int fd = -1;

    fd = openat(dir_fd, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", file);
    if (write(fd, text, strlen(text)) < 0)
        return nj_fail_errno(err, errno, "cgroup: write \"%s\" to %s", text, file);
    return 0;
}

static int write_number(int dir_fd, const char *file, uint64_t value, struct nj_error *err)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value); /* fits: 20 digits */
    return write_text(dir_fd, file, text, err);
}

static int open_group(int dir_fd, const char *name)
{
    return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- what others left ---- */

/* each_member - @each of the pids in a group; returns how many there were */
static size_t each_member(int dir_fd, void (*each)(int to_fd, pid_t pid), int to_fd)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err;
    char *save = NULL;
    size_t n = 0;

    nj_buf_init(&text, FILE_MAX_BYTES);
    if (nj_fsio_read_file(dir_fd, "cgroup.procs", &text, &err) < 0 || !text.data)
        return 0;
    for (char *line = strtok_r((char *)text.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        long pid = strtol(line, NULL, 10);

        n++;
        if (pid > 1)
            each(to_fd, (pid_t)pid);
    }
    return n;
}

static void kill_one(int to_fd, pid_t pid)
{
    (void)to_fd;
    (void)kill(pid, SIGKILL); /* gone already is fine */
}

/* kill_all - v2 does it at once, however fast they fork */
static void kill_all(int dir_fd)
{
    struct nj_error ignored;

    if (write_text(dir_fd, "cgroup.kill", "1", &ignored) < 0)
        (void)each_member(dir_fd, kill_one, -1);
}

/* clear - remove the group @name and the boxes in it; true when nothing is left */
static bool clear(int base_fd, const char *name, bool kill_members)
{
    nj_auto_close int copy_fd = -1, group_fd = -1;
    struct dirent *entry;
    DIR *dir;

    group_fd = open_group(base_fd, name);
    if (group_fd < 0)
        return errno == ENOENT;
    if (kill_members)
        kill_all(group_fd);
    copy_fd = open_group(group_fd, ".");
    dir = copy_fd < 0 ? NULL : fdopendir(copy_fd);
    if (!dir)
        return false;
    copy_fd = -1; /* the stream's now */
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
            continue;
        if (unlinkat(group_fd, entry->d_name, AT_REMOVEDIR) < 0 && kill_members) {
            nj_auto_close int box_fd = open_group(group_fd, entry->d_name);

            if (box_fd >= 0)
                kill_all(box_fd);
        }
    }
    (void)closedir(dir);
    return unlinkat(base_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

static bool sweep_one(int base_fd, const char *name)
{
    nj_auto_close int lock_fd = -1;

    lock_fd = open_group(base_fd, name);
    if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
        return false; /* gone, or its helper lives */
    for (int i = 0; i < SWEEP_TRIES; i++) {
        if (clear(base_fd, name, true))
            return true;
        pause_ms(2);
    }
    return false; /* not ours to remove, or a process that the kernel cannot end now */
}

size_t nj_cgroups_sweep(const struct nj_cgroups *cgroups)
{
    size_t swept = 0;

    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        DIR *dir = is_first(cgroups, i) ? opendir(cgroups->dir[i]) : NULL;
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
            if (entry->d_type == DT_DIR &&
                strncmp(entry->d_name, NJ_CGROUP_RUN, strlen(NJ_CGROUP_RUN)) == 0)
                swept += sweep_one(dirfd(dir), entry->d_name);
        }
        if (dir)
            (void)closedir(dir);
    }
    return swept;
}

/* ---- this run's ---- */

static void move_one(int to_fd, pid_t pid)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%d", pid);
    (void)!write(to_fd, text, strlen(text)); /* it may be gone; who stays is met the next time */
}

/* empty - move all processes of the base to a leaf below it */
static int empty(int base_fd, struct nj_error *err)
{
    nj_auto_close int leaf_fd = -1, procs_fd = -1;

    if (mkdirat(base_fd, NJ_CGROUP_ENGINE, 0755) < 0 && errno != EEXIST)
        return nj_fail_errno(err, errno, "cgroup: make %s", NJ_CGROUP_ENGINE);
    leaf_fd = open_group(base_fd, NJ_CGROUP_ENGINE);
    if (leaf_fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", NJ_CGROUP_ENGINE);
    procs_fd = openat(leaf_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (procs_fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s/cgroup.procs", NJ_CGROUP_ENGINE);
    for (int i = 0; i < MOVE_TRIES; i++) {
        if (each_member(base_fd, move_one, procs_fd) == 0)
            return 0;
        if (i > 10)
            pause_ms(1);
    }
    return nj_fail(err, NJ_E_SYSTEM, "cgroup: processes that cannot be moved to %s are in the way",
                   NJ_CGROUP_ENGINE);
}

/* enable - memory and processes bounded for the children of @dir_fd */
static int enable(const struct nj_cgroups *cgroups, int dir_fd, struct nj_error *err)
{
    int r = 0;

    if (cgroups->kind[NJ_CGROUP_MEMORY] == NJ_CGROUP_V2)
        r = write_text(dir_fd, "cgroup.subtree_control", "+memory", err);
    if (r >= 0 && cgroups->kind[NJ_CGROUP_PIDS] == NJ_CGROUP_V2)
        r = write_text(dir_fd, "cgroup.subtree_control", "+pids", err);
    return r;
}

static int enable_base(const struct nj_cgroups *cgroups, const char *dir, struct nj_error *err)
{
    nj_auto_close int base_fd = -1;
    int r;

    base_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base_fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", dir);
    r = enable(cgroups, base_fd, err);
    if (r >= 0 || !cgroups->move_out)
        return r;
    r = empty(base_fd, err);
    return r < 0 ? r : enable(cgroups, base_fd, err);
}

/* make_locked - the run's group in one hierarchy, and its lock */
static int make_locked(const char *dir, const char *name, int *ret_fd, struct nj_error *err)
{
    nj_auto_close int base_fd = -1;

    base_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base_fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", dir);
    for (int i = 0; i < BEGIN_TRIES; i++) {
        nj_auto_close int fd = -1;

        if (mkdirat(base_fd, name, 0755) < 0 && errno != EEXIST)
            return nj_fail_errno(err, errno, "cgroup: make %s/%s", dir, name);
        fd = open_group(base_fd, name);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
            faccessat(base_fd, name, F_OK, 0) == 0) {
            *ret_fd = nj_steal_fd(&fd);
            return 0;
        }
        pause_ms(5);
    }
    return nj_fail(err, NJ_E_SYSTEM, "cgroup: %s/%s belongs to another run", dir, name);
}

int nj_cgroups_begin(struct nj_cgroups *cgroups, const char *name, struct nj_error *err)
{
    (void)nj_cgroups_sweep(cgroups);
    (void)snprintf(cgroups->name, sizeof(cgroups->name), NJ_CGROUP_RUN "%s", name);
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        int r = 0;

        if (!is_first(cgroups, i))
            continue;
        if (cgroups->kind[i] == NJ_CGROUP_V2)
            r = enable_base(cgroups, cgroups->dir[i], err);
        if (r >= 0)
            r = make_locked(cgroups->dir[i], cgroups->name, &cgroups->lock_fd[i], err);
        if (r >= 0 && cgroups->kind[i] == NJ_CGROUP_V2)
            r = enable(cgroups, cgroups->lock_fd[i], err);
        if (r < 0)
            return nj_wrap(err, "%s", cgroups->dir[i]);
    }
    return 0;
}

void nj_cgroups_end(struct nj_cgroups *cgroups)
{
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        nj_auto_close int base_fd = -1;

        if (cgroups->lock_fd[i] < 0)
            continue;
        base_fd = open(cgroups->dir[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (base_fd >= 0)
            (void)clear(base_fd, cgroups->name, false); /* else the next start sweeps it */
        (void)close(nj_steal_fd(&cgroups->lock_fd[i]));
    }
}

/* ---- one box's ---- */

static int box_name(const struct nj_cgroups *cgroups, size_t which, uint64_t box,
                    char name[NJ_CGROUP_PATH_MAX_BYTES])
{
    int len = snprintf(name, NJ_CGROUP_PATH_MAX_BYTES, "%s/%s/%" PRIu64, cgroups->dir[which],
                       cgroups->name, box);

    return len > 0 && len < NJ_CGROUP_PATH_MAX_BYTES ? 0 : -1;
}

/* set_memory - pages of the workspace count here too, and a full workspace must end in ENOSPC, not
 * in a kill: so the kernel's limit is both, and the supervisor looks at what is no workspace. */
static int set_memory(enum nj_cgroup_kind kind, int fd, const struct nj_box_plan *plan,
                      struct nj_error *err)
{
    uint64_t limit = plan->max_memory_bytes + plan->max_size_bytes;
    struct nj_error ignored;
    int r;

    if (kind == NJ_CGROUP_V1) {
        r = write_number(fd, "memory.limit_in_bytes", limit, err);
        /* Missing where swap is not counted; then swap, if there is any, is not bounded by it. */
        if (r >= 0)
            (void)write_number(fd, "memory.memsw.limit_in_bytes", limit, &ignored);
        return r;
    }
    r = write_number(fd, "memory.max", limit, err);
    if (r < 0)
        return r;
    (void)write_number(fd, "memory.swap.max", 0, &ignored); /* missing on a host without swap */
    /* All or nothing: no pipeline of which half was killed. Init goes too, and with it the box,
     * but the supervisor still holds the workspace and tells the call's end. */
    return write_text(fd, "memory.oom.group", "1", err);
}

/* set_quota - the controller is let in only where a plan asks for it: on v2 it slows every switch
 * of processes a little, and where real-time processes are it cannot be had. Twice is harmless. */
static int set_quota(const struct nj_cgroups *cgroups, int fd, uint64_t max_cpu_micro,
                     struct nj_error *err)
{
    uint64_t quota_us = max_cpu_micro * QUOTA_PERIOD_US / 1000000;
    nj_auto_close int base_fd = -1, run_fd = -1;
    char text[48];
    int r;

    if (cgroups->kind[NJ_CGROUP_QUOTA] == NJ_CGROUP_V1) {
        r = write_number(fd, "cpu.cfs_period_us", QUOTA_PERIOD_US, err);
        return r < 0 ? r : write_number(fd, "cpu.cfs_quota_us", quota_us, err);
    }
    base_fd = open(cgroups->dir[NJ_CGROUP_QUOTA], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    run_fd = base_fd < 0 ? -1 : open_group(base_fd, cgroups->name);
    if (run_fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", cgroups->dir[NJ_CGROUP_QUOTA]);
    r = write_text(base_fd, "cgroup.subtree_control", "+cpu", err);
    if (r >= 0)
        r = write_text(run_fd, "cgroup.subtree_control", "+cpu", err);
    if (r < 0)
        return r;
    (void)snprintf(text, sizeof(text), "%" PRIu64 " %u", quota_us, QUOTA_PERIOD_US); /* fits */
    return write_text(fd, "cpu.max", text, err);
}

/* make_group - one hierarchy's group of a box with its limits; v2's is shared by all controllers */
static int make_group(const struct nj_cgroups *cgroups, size_t which, uint64_t box,
                      const struct nj_box_plan *plan, int *ret_fd, struct nj_error *err)
{
    char name[NJ_CGROUP_PATH_MAX_BYTES];
    nj_auto_close int fd = -1;
    int r = 0;

    if (box_name(cgroups, which, box, name) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "cgroup: the path under %s is too long",
                       cgroups->dir[which]);
    if (mkdir(name, 0755) < 0 && errno != EEXIST)
        return nj_fail_errno(err, errno, "cgroup: make %s", name);
    fd = open_group(AT_FDCWD, name);
    if (fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", name);
    if (which == NJ_CGROUP_MEMORY)
        r = set_memory(cgroups->kind[which], fd, plan, err);
    else if (which == NJ_CGROUP_PIDS)
        r = write_number(fd, "pids.max", plan->max_processes + NJ_CGROUP_OVERHEAD_PROCESSES, err);
    else if (which == NJ_CGROUP_QUOTA && plan->max_cpu_micro > 0)
        r = set_quota(cgroups, fd, plan->max_cpu_micro, err);
    if (r < 0)
        return nj_wrap(err, "%s", name);
    *ret_fd = nj_steal_fd(&fd);
    return 0;
}

static void open_readings(struct nj_cgroup *made, enum nj_cgroup_controller which,
                          enum nj_cgroup_kind kind, int fd)
{
    bool v2 = kind == NJ_CGROUP_V2;
    const int reading = O_RDONLY | O_CLOEXEC;

    switch (which) {
    case NJ_CGROUP_MEMORY:
        made->memory_usage_fd =
            openat(fd, v2 ? "memory.current" : "memory.usage_in_bytes", reading);
        made->memory_stat_fd = openat(fd, "memory.stat", reading);
        made->memory_oom_fd = openat(fd, v2 ? "memory.events" : "memory.oom_control", reading);
        made->memory_peak_fd =
            openat(fd, v2 ? "memory.peak" : "memory.max_usage_in_bytes", O_RDWR | O_CLOEXEC);
        if (made->memory_peak_fd < 0) /* before Linux 6.12 it cannot be set back */
            made->memory_peak_fd = openat(fd, "memory.peak", reading);
        break;
    case NJ_CGROUP_PIDS:
        made->pids_events_fd = openat(fd, "pids.events", reading);
        break;
    case NJ_CGROUP_CPU:
        made->cpu_usage_fd = openat(fd, v2 ? "cpu.stat" : "cpuacct.usage", reading);
        made->cpu_is_v2 = v2;
        break;
    case NJ_CGROUP_QUOTA:
        made->cpu_bounded = true;
        break;
    case NJ_CGROUP_CONTROLLERS:
        break;
    }
}

int nj_cgroup_make(const struct nj_cgroups *cgroups, uint64_t box, const struct nj_box_plan *plan,
                   struct nj_cgroup *ret_cgroup, struct nj_error *err)
{
    NJ_AUTO(nj_cgroup_close) struct nj_cgroup made = NJ_CGROUP_NOTHING;

    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        nj_auto_close int fd = -1;
        int r;

        if (cgroups->kind[i] == NJ_CGROUP_NONE ||
            (i == NJ_CGROUP_QUOTA && plan->max_cpu_micro == 0))
            continue;
        r = make_group(cgroups, i, box, plan, &fd, err);
        if (r < 0)
            return r;
        if (is_first(cgroups, i)) {
            bool v2 = cgroups->kind[i] == NJ_CGROUP_V2;
            const char *file = v2 ? "cgroup.procs" : "tasks";
            int *entry_fd = v2 ? &made.procs_fd : &made.tasks_fd[i];

            *entry_fd = openat(fd, file, O_WRONLY | O_CLOEXEC);
            if (*entry_fd < 0)
                return nj_fail_errno(err, errno, "cgroup: open %s of box %" PRIu64, file, box);
        }
        open_readings(&made, (enum nj_cgroup_controller)i, cgroups->kind[i], fd);
    }
    *ret_cgroup = made;
    made = NJ_CGROUP_NOTHING;
    return 0;
}

void nj_cgroup_fds(const struct nj_cgroup *cgroup, int fds[NJ_CGROUP_FDS_MAX])
{
    size_t n = 0;

    fds[n++] = cgroup->procs_fd;
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++)
        fds[n++] = cgroup->tasks_fd[i];
    fds[n++] = cgroup->memory_usage_fd;
    fds[n++] = cgroup->memory_stat_fd;
    fds[n++] = cgroup->memory_peak_fd;
    fds[n++] = cgroup->memory_oom_fd;
    fds[n++] = cgroup->pids_events_fd;
    fds[n++] = cgroup->cpu_usage_fd;
}

void nj_cgroup_close(struct nj_cgroup *cgroup)
{
    int fds[NJ_CGROUP_FDS_MAX];

    nj_cgroup_fds(cgroup, fds);
    for (size_t i = 0; i < NJ_CGROUP_FDS_MAX; i++)
        nj_close_auto(&fds[i]);
    *cgroup = NJ_CGROUP_NOTHING;
}

bool nj_cgroup_remove(const struct nj_cgroups *cgroups, uint64_t box)
{
    bool gone = true;

    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        char name[NJ_CGROUP_PATH_MAX_BYTES];

        if (is_first(cgroups, i) && box_name(cgroups, i, box, name) == 0 && rmdir(name) < 0 &&
            errno != ENOENT)
            gone = false;
    }
    return gone;
}

int nj_cgroup_move(const struct nj_cgroup *cgroup, pid_t pid, struct nj_error *err)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d", pid);

    if (cgroup->procs_fd >= 0 && write(cgroup->procs_fd, text, (size_t)len) < 0)
        return nj_fail_errno(err, errno, "cgroup: move process %s", text);
    return 0;
}

int nj_cgroup_join(const struct nj_cgroup *cgroup)
{
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        if (cgroup->tasks_fd[i] >= 0 && write(cgroup->tasks_fd[i], "0", 1) < 0)
            return -errno;
    }
    return 0;
}

void nj_cgroup_entered(struct nj_cgroup *cgroup)
{
    nj_close_auto(&cgroup->procs_fd);
    cgroup->procs_fd = -1;
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        nj_close_auto(&cgroup->tasks_fd[i]);
        cgroup->tasks_fd[i] = -1;
    }
}

/* ---- readings ---- */

static bool read_text(int fd, char *text, size_t size)
{
    ssize_t n = fd < 0 ? -1 : pread(fd, text, size - 1, 0);

    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* number_at - the number behind the line that begins with @key; 0 when there is none */
static uint64_t number_at(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

static uint64_t read_number(int fd, const char *key)
{
    char text[1024];

    if (!read_text(fd, text, sizeof(text)))
        return 0;
    return key ? number_at(text, key) : strtoull(text, NULL, 10);
}

uint64_t nj_cgroup_memory_held(const struct nj_cgroup *cgroup)
{
    uint64_t usage = read_number(cgroup->memory_usage_fd, NULL), files, shared;
    char text[8192];

    if (!read_text(cgroup->memory_stat_fd, text, sizeof(text)))
        return usage;
    files = number_at(text, "file") + number_at(text, "cache"); /* v2, v1: each has one of both */
    shared = number_at(text, "shmem");
    files = files > shared ? files - shared : 0;
    return usage > files ? usage - files : 0;
}

static bool read_file(const char *dir, const char *name, char *text, size_t size)
{
    char path[NJ_CGROUP_PATH_MAX_BYTES + 64];
    nj_auto_close int fd = -1;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return read_text(fd, text, size);
}

/* left_in - what the group at @dir leaves with all that is below it; false: it has no limit */
static bool left_in(const char *dir, enum nj_cgroup_kind kind, uint64_t *ret_limit,
                    uint64_t *ret_left)
{
    bool v1 = kind == NJ_CGROUP_V1;
    uint64_t held, files, shared;
    char text[8192];

    if (!read_file(dir, v1 ? "memory.limit_in_bytes" : "memory.max", text, sizeof(text)) ||
        strncmp(text, "max", 3) == 0)
        return false;
    *ret_limit = strtoull(text, NULL, 10);
    if (*ret_limit >= V1_UNLIMITED_BYTES ||
        !read_file(dir, v1 ? "memory.usage_in_bytes" : "memory.current", text, sizeof(text)))
        return false;
    held = strtoull(text, NULL, 10);
    if (read_file(dir, "memory.stat", text, sizeof(text))) {
        files = number_at(text, v1 ? "total_cache" : "file");
        shared = number_at(text, v1 ? "total_shmem" : "shmem");
        files = files > shared ? files - shared : 0;
        held = held > files ? held - files : 0;
    }
    *ret_left = *ret_limit > held ? *ret_limit - held : 0;
    return true;
}

bool nj_cgroup_bound_left(const struct nj_cgroup_bound *bound, uint64_t *ret_limit,
                          uint64_t *ret_left)
{
    char dir[NJ_CGROUP_PATH_MAX_BYTES];
    uint64_t limit, left;
    bool found = false;

    if (bound->kind == NJ_CGROUP_NONE)
        return false;
    (void)snprintf(dir, sizeof(dir), "%s", bound->dir);
    for (;;) {
        if (left_in(dir, bound->kind, &limit, &left) && (!found || left < *ret_left)) {
            *ret_limit = limit;
            *ret_left = left;
            found = true;
        }
        if (strlen(dir) <= bound->top_len)
            return found;
        *strrchr(dir, '/') = '\0';
    }
}

void nj_cgroup_memory_peak_reset(const struct nj_cgroup *cgroup)
{
    if (cgroup->memory_peak_fd >= 0)
        (void)!pwrite(cgroup->memory_peak_fd, "0", 1, 0); /* else the peak is of the box's life */
}

uint64_t nj_cgroup_memory_peak(const struct nj_cgroup *cgroup)
{
    return read_number(cgroup->memory_peak_fd, NULL);
}

uint64_t nj_cgroup_oom_kills(const struct nj_cgroup *cgroup)
{
    return read_number(cgroup->memory_oom_fd, "oom_kill");
}

uint64_t nj_cgroup_fork_refusals(const struct nj_cgroup *cgroup)
{
    return read_number(cgroup->pids_events_fd, "max");
}

uint64_t nj_cgroup_cpu_ns(const struct nj_cgroup *cgroup)
{
    return cgroup->cpu_is_v2 ? 1000 * read_number(cgroup->cpu_usage_fd, "usage_usec")
                             : read_number(cgroup->cpu_usage_fd, NULL);
}
