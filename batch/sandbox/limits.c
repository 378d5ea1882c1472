/*
 * limits.c - cgroup v1 where it is writable, and readings of /proc where it is not
 *
 * The one complication is finding one's own place: a hierarchy may be mounted from below its root
 * (in a container), so the path of /proc/self/cgroup is joined with the root and mount point of
 * mountinfo.
 */
#include "batch/sandbox/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define FILE_MAX_BYTES (1u << 20)
#define WATCH_DEPTH_MAX 64
#define MIB (UINT64_C(1) << 20)

static const char *const controllers[] = {"memory", "pids", "cpuacct"};

/* ---- finding ---- */

/* has_word - @word in the comma-separated @list */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* own_path - this process's path in the hierarchy of @controller */
static bool own_path(char *text, const char *controller, const char **ret_path)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

        if (!path)
            continue;
        *path = '\0';
        if (has_word(list + 1, controller)) {
            *ret_path = path + 1;
            return true;
        }
    }
    return false;
}

/* mount_of - root and mount point of the v1 hierarchy of @controller */
static bool mount_of(char *text, const char *controller, const char **ret_root,
                     const char **ret_point)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *tail = strstr(line, " - cgroup ");
        char *fields[5], *word_save = NULL, *options;
        size_t n = 0;

        if (!tail)
            continue;
        options = strrchr(tail, ' ');
        *tail = '\0';
        for (char *word = strtok_r(line, " ", &word_save); word && n < 5;
             word = strtok_r(NULL, " ", &word_save))
            fields[n++] = word;
        if (n == 5 && has_word(options + 1, controller)) {
            *ret_root = fields[3];
            *ret_point = fields[4];
            return true;
        }
    }
    return false;
}

static bool find(const char *controller, char dir[NJ_CGROUP_PATH_MAX_BYTES])
{
    NJ_AUTO(nj_buf_done) struct nj_buf own = {0}, mounts = {0};
    const char *path, *root, *point;
    struct nj_error err;
    size_t skip;
    int len;

    nj_buf_init(&own, FILE_MAX_BYTES);
    nj_buf_init(&mounts, FILE_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, "/proc/self/cgroup", &own, &err) < 0 ||
        nj_fsio_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, &err) < 0 || !own.data ||
        !mounts.data)
        return false;
    if (!own_path((char *)own.data, controller, &path) ||
        !mount_of((char *)mounts.data, controller, &root, &point))
        return false;
    skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, skip) != 0)
        return false; /* what is mounted does not hold our own place */
    path += skip;
    len =
        snprintf(dir, NJ_CGROUP_PATH_MAX_BYTES, "%s%s", point, strcmp(path, "/") == 0 ? "" : path);
    return len > 0 && len < NJ_CGROUP_PATH_MAX_BYTES && access(dir, W_OK) == 0;
}

void nj_cgroups_find(struct nj_cgroups *ret_cgroups)
{
    *ret_cgroups = (struct nj_cgroups){0};
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        if (!find(controllers[i], ret_cgroups->dir[i]))
            ret_cgroups->dir[i][0] = '\0';
    }
}

/* ---- making and removing ---- */

static int name_of(char name[NJ_CGROUP_PATH_MAX_BYTES], const struct nj_cgroups *cgroups,
                   size_t which, const char *run_name, uint64_t box, const char *file)
{
    int len;

    len = snprintf(name, NJ_CGROUP_PATH_MAX_BYTES, "%s/nightjar-%s-%" PRIu64 "%s%s",
                   cgroups->dir[which], run_name, box, file ? "/" : "", file ? file : "");
    return len > 0 && len < NJ_CGROUP_PATH_MAX_BYTES ? 0 : -1;
}

static int write_number(const struct nj_cgroups *cgroups, size_t which, const char *run_name,
                        uint64_t box, const char *file, uint64_t value, struct nj_error *err)
{
    char name[NJ_CGROUP_PATH_MAX_BYTES], text[32];
    nj_auto_close int fd = -1;
    int len;

    if (name_of(name, cgroups, which, run_name, box, file) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "cgroup: the path of %s is too long", file);
    fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "cgroup: open %s", name);
    len = snprintf(text, sizeof(text), "%" PRIu64, value);
    if (write(fd, text, (size_t)len) < 0)
        return nj_fail_errno(err, errno, "cgroup: write %s to %s", text, name);
    return 0;
}

static int open_file(const struct nj_cgroups *cgroups, size_t which, const char *run_name,
                     uint64_t box, const char *file, int flags)
{
    char name[NJ_CGROUP_PATH_MAX_BYTES];

    if (name_of(name, cgroups, which, run_name, box, file) < 0)
        return -1;
    return open(name, flags | O_CLOEXEC);
}

static int set_memory(const struct nj_cgroups *cgroups, const char *run_name, uint64_t box,
                      const struct nj_box_plan *plan, struct nj_error *err)
{
    /* Pages of the workspace count here too; a full workspace must end in ENOSPC, not in a kill. */
    uint64_t limit = plan->max_memory_bytes + plan->max_size_bytes;
    struct nj_error ignored;
    int r;

    r = write_number(cgroups, NJ_CGROUP_MEMORY, run_name, box, "memory.limit_in_bytes", limit, err);
    if (r < 0)
        return r;
    /* Missing where swap is not accounted for; then swap, if there is any, is not bounded by it. */
    (void)write_number(cgroups, NJ_CGROUP_MEMORY, run_name, box, "memory.memsw.limit_in_bytes",
                       limit, &ignored);
    return 0;
}

static int make_one(const struct nj_cgroups *cgroups, size_t which, const char *run_name,
                    uint64_t box, const struct nj_box_plan *plan, struct nj_error *err)
{
    char name[NJ_CGROUP_PATH_MAX_BYTES];

    if (name_of(name, cgroups, which, run_name, box, NULL) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "cgroup: the path under %s is too long",
                       cgroups->dir[which]);
    if (mkdir(name, 0755) < 0 && errno != EEXIST)
        return nj_fail_errno(err, errno, "cgroup: make %s", name);
    if (which == NJ_CGROUP_MEMORY)
        return set_memory(cgroups, run_name, box, plan, err);
    if (which == NJ_CGROUP_PIDS)
        return write_number(cgroups, which, run_name, box, "pids.max",
                            plan->max_processes + NJ_CGROUP_OVERHEAD_PROCESSES, err);
    return 0;
}

int nj_cgroup_make(const struct nj_cgroups *cgroups, const char *run_name, uint64_t box,
                   const struct nj_box_plan *plan, struct nj_cgroup *ret_cgroup,
                   struct nj_error *err)
{
    NJ_AUTO(nj_cgroup_close) struct nj_cgroup made = NJ_CGROUP_NONE;

    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        int r;

        if (!nj_cgroups_has(cgroups, (enum nj_cgroup_controller)i))
            continue;
        r = make_one(cgroups, i, run_name, box, plan, err);
        if (r < 0)
            return r;
        made.procs_fd[i] = open_file(cgroups, i, run_name, box, "cgroup.procs", O_WRONLY);
        if (made.procs_fd[i] < 0)
            return nj_fail_errno(err, errno, "cgroup: open cgroup.procs of box %" PRIu64, box);
    }
    if (nj_cgroups_has(cgroups, NJ_CGROUP_MEMORY)) {
        made.memory_peak_fd = open_file(cgroups, NJ_CGROUP_MEMORY, run_name, box,
                                        "memory.max_usage_in_bytes", O_RDWR);
        made.memory_oom_fd =
            open_file(cgroups, NJ_CGROUP_MEMORY, run_name, box, "memory.oom_control", O_RDONLY);
    }
    if (nj_cgroups_has(cgroups, NJ_CGROUP_PIDS))
        made.pids_events_fd =
            open_file(cgroups, NJ_CGROUP_PIDS, run_name, box, "pids.events", O_RDONLY);
    if (nj_cgroups_has(cgroups, NJ_CGROUP_CPU))
        made.cpu_usage_fd =
            open_file(cgroups, NJ_CGROUP_CPU, run_name, box, "cpuacct.usage", O_RDONLY);
    *ret_cgroup = made;
    made = NJ_CGROUP_NONE;
    return 0;
}

void nj_cgroup_close(struct nj_cgroup *cgroup)
{
    int *const fds[] = {&cgroup->procs_fd[0],    &cgroup->procs_fd[1],   &cgroup->procs_fd[2],
                        &cgroup->memory_peak_fd, &cgroup->memory_oom_fd, &cgroup->pids_events_fd,
                        &cgroup->cpu_usage_fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        nj_close_auto(fds[i]);
        *fds[i] = -1;
    }
}

bool nj_cgroup_remove(const struct nj_cgroups *cgroups, const char *run_name, uint64_t box)
{
    bool gone = true;

    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        char name[NJ_CGROUP_PATH_MAX_BYTES];

        if (nj_cgroups_has(cgroups, (enum nj_cgroup_controller)i) &&
            name_of(name, cgroups, i, run_name, box, NULL) == 0 && rmdir(name) < 0 &&
            errno != ENOENT)
            gone = false;
    }
    return gone;
}

static void kill_members(int dir_fd, const char *name)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    char path[NJ_CGROUP_PATH_MAX_BYTES];
    struct nj_error err;
    char *save = NULL;
    int len;

    nj_buf_init(&text, FILE_MAX_BYTES);
    len = snprintf(path, sizeof(path), "%s/cgroup.procs", name);
    if (len < 0 || (size_t)len >= sizeof(path) ||
        nj_fsio_read_file(dir_fd, path, &text, &err) < 0 || !text.data)
        return;
    for (char *line = strtok_r((char *)text.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        long pid = strtol(line, NULL, 10);

        if (pid > 1)
            (void)kill((pid_t)pid, SIGKILL); /* gone already is fine */
    }
}

/* is_leftover - the rest of a name behind "nightjar-<run>-" is "<pid of its helper>-<box>", and
 * that helper is gone. Another run may have our name, in another folder, and be alive. */
static bool is_leftover(const char *rest)
{
    size_t pid_digits = strspn(rest, "0123456789");
    const char *box = rest + pid_digits + 1;
    char path[64], comm[32];
    nj_auto_close int fd = -1;
    ssize_t n;

    if (pid_digits == 0 || pid_digits > 10 || rest[pid_digits] != '-' || *box == '\0' ||
        box[strspn(box, "0123456789")] != '\0')
        return false;
    (void)snprintf(path, sizeof(path), "/proc/%.*s/comm", (int)pid_digits, rest); /* fits */
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    n = read(fd, comm, sizeof(comm));
    return n <= 0 || strncmp(comm, NJ_HELPER_COMM "\n", (size_t)n) != 0;
}

void nj_cgroups_sweep(const struct nj_cgroups *cgroups, const char *run_name)
{
    char prefix[NJ_CGROUP_PATH_MAX_BYTES];
    int len = snprintf(prefix, sizeof(prefix), "nightjar-%s-", run_name);

    for (size_t i = 0; len > 0 && i < NJ_CGROUP_CONTROLLERS; i++) {
        DIR *dir =
            nj_cgroups_has(cgroups, (enum nj_cgroup_controller)i) ? opendir(cgroups->dir[i]) : NULL;
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
            if (strncmp(entry->d_name, prefix, (size_t)len) != 0 ||
                !is_leftover(entry->d_name + len))
                continue;
            for (int tries = 0; tries < 50; tries++) {
                if (unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0 || errno != EBUSY)
                    break;
                kill_members(dirfd(dir), entry->d_name);
                (void)usleep(2000);
            }
        }
        if (dir)
            (void)closedir(dir);
    }
}

int nj_cgroup_enter(const struct nj_cgroup *cgroup, pid_t pid, struct nj_error *err)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d", pid);

    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        if (cgroup->procs_fd[i] >= 0 && write(cgroup->procs_fd[i], text, (size_t)len) < 0)
            return nj_fail_errno(err, errno, "cgroup: move process %s into the %s group", text,
                                 controllers[i]);
    }
    return 0;
}

/* ---- readings ---- */

/* read_number - the number behind @key (or the first one, key NULL) */
static uint64_t read_number(int fd, const char *key)
{
    char text[512];
    const char *at = text;
    ssize_t n;

    if (fd < 0)
        return 0;
    n = pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (key) {
        at = strstr(text, key);
        if (!at)
            return 0;
        at += strlen(key);
    }
    return strtoull(at, NULL, 10);
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
    return read_number(cgroup->memory_oom_fd, "oom_kill ");
}

uint64_t nj_cgroup_fork_refusals(const struct nj_cgroup *cgroup)
{
    return read_number(cgroup->pids_events_fd, "max ");
}

uint64_t nj_cgroup_cpu_ns(const struct nj_cgroup *cgroup)
{
    return read_number(cgroup->cpu_usage_fd, NULL);
}

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

void nj_watch_read(int proc_fd, pid_t root_pid, struct nj_watch *ret_watch)
{
    *ret_watch = (struct nj_watch){0};
    watch_one(proc_fd, root_pid, 0, ret_watch);
}

int nj_limits_print(const struct nj_box_plan *plan, struct nj_buf *out, struct nj_error *err)
{
    struct nj_cgroups cgroups;

    nj_cgroups_find(&cgroups);
    return nj_buf_printf(
        out, err,
        "limits:\n"
        "  workspace %" PRIu64 " MiB, %" PRIu64 " files: size of its tmpfs, then ENOSPC\n"
        "  memory %" PRIu64 " MiB: %s\n"
        "  processes %" PRIu64 ": %s\n"
        "  cpu time: %s\n"
        "  one file %" PRIu64 " MiB, no core files, 4096 descriptors: rlimits\n",
        plan->max_size_bytes / MIB, plan->max_files, plan->max_memory_bytes / MIB,
        nj_cgroups_has(&cgroups, NJ_CGROUP_MEMORY) ? "cgroup v1"
                                                   : "soft: rlimits and watchdog (no writable "
                                                     "memory cgroup)",
        plan->max_processes,
        nj_cgroups_has(&cgroups, NJ_CGROUP_PIDS) ? "cgroup v1"
                                                 : "soft: rlimits and watchdog (no writable pids "
                                                   "cgroup)",
        nj_cgroups_has(&cgroups, NJ_CGROUP_CPU) ? "counted by cgroup v1"
                                                : "counted for processes that were waited for",
        plan->max_size_bytes / MIB);
}
