/*
 * limits.h - how this host keeps a box's memory and processes within bounds
 *
 * Hard, where cgroup v1 hierarchies are writable (usually as root): one cgroup a box, named
 * nightjar-<run>-<helper's pid>-<box>, made by the helper; the supervisor gets open descriptors
 * only. Else soft: rlimits and a watchdog over what the box's processes hold. Which of both is part
 * of the printed plan.
 *
 * Order: nj_cgroups_find() once -> nj_cgroups_sweep() once -> per box nj_cgroup_make(), and, when
 * all its processes are gone, nj_cgroup_remove().
 */
#ifndef NJ_SANDBOX_LIMITS_H
#define NJ_SANDBOX_LIMITS_H

#include "batch/sandbox/sandbox.h"

#define NJ_CGROUP_PATH_MAX_BYTES 512
#define NJ_HELPER_COMM "nj-helper" /* how a live helper is told from another process with its pid  \
                                    */
#define NJ_CGROUP_OVERHEAD_PROCESSES 2 /* init and the reaper of a call */

enum nj_cgroup_controller {
    NJ_CGROUP_MEMORY,
    NJ_CGROUP_PIDS,
    NJ_CGROUP_CPU,
    NJ_CGROUP_CONTROLLERS
};

/* Where this process may make cgroups; an empty directory: not there, or not writable. */
struct nj_cgroups {
    char dir[NJ_CGROUP_CONTROLLERS][NJ_CGROUP_PATH_MAX_BYTES];
};

void nj_cgroups_find(struct nj_cgroups *ret_cgroups);

static inline bool nj_cgroups_has(const struct nj_cgroups *cgroups, enum nj_cgroup_controller which)
{
    return cgroups->dir[which][0] != '\0';
}

/* nj_cgroups_sweep - end and remove what helpers of this run name that are gone left behind. The
 * others take the name with the helper's pid: "<run>-<pid>". */
void nj_cgroups_sweep(const struct nj_cgroups *cgroups, const char *run_name);

/* One box's cgroup as its supervisor holds it: open files, -1 where there is none. */
struct nj_cgroup {
    int procs_fd[NJ_CGROUP_CONTROLLERS]; /* write a pid to move it in; closed after init is in */
    int memory_peak_fd;
    int memory_oom_fd;
    int pids_events_fd;
    int cpu_usage_fd;
};

#define NJ_CGROUP_NONE ((struct nj_cgroup){{-1, -1, -1}, -1, -1, -1, -1})

int nj_cgroup_make(const struct nj_cgroups *cgroups, const char *run_name, uint64_t box,
                   const struct nj_box_plan *plan, struct nj_cgroup *ret_cgroup,
                   struct nj_error *err) NJ_MUST_USE;
void nj_cgroup_close(struct nj_cgroup *cgroup); /* the descriptors; the cgroup stays */
NJ_DEFINE_AUTO_VAL(struct nj_cgroup, nj_cgroup_close);

/* nj_cgroup_remove - true when nothing of it is left; false: try again in a moment */
bool nj_cgroup_remove(const struct nj_cgroups *cgroups, const char *run_name, uint64_t box);

/* nj_cgroup_enter - move @pid into all of the box's cgroups */
int nj_cgroup_enter(const struct nj_cgroup *cgroup, pid_t pid, struct nj_error *err) NJ_MUST_USE;

/* Readings; 0 where the host does not tell. */
void nj_cgroup_memory_peak_reset(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_memory_peak(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_oom_kills(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_fork_refusals(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_cpu_ns(const struct nj_cgroup *cgroup);

/* What the watchdog sees: all processes below @root_pid, by /proc (@proc_fd). */
struct nj_watch {
    uint64_t processes;    /* threads count, as in the pids cgroup */
    uint64_t memory_bytes; /* sum of PSS */
};
void nj_watch_read(int proc_fd, pid_t root_pid, struct nj_watch *ret_watch);

/* nj_limits_print - a line for each limit of @plan and how this host keeps it */
int nj_limits_print(const struct nj_box_plan *plan, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;

#endif
