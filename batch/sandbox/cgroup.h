/*
 * cgroup.h - a box's memory, processes and processor time held by the kernel: cgroup v2, else v1
 *
 * Controller by controller the first that works: v2, where a subtree is ours to write (systemd's
 * Delegate=yes, or a writable parent), then v1, where its hierarchy is writable (usually as root),
 * then nothing, and limits.h's watchdog does what it can.
 *
 *   <base>/nightjar.run-<run>-<helper pid>/    one a run; the helper holds flock() on it as long as
 *       <box>/                                it lives, so whoever gets that lock may sweep it
 *   <base>/nightjar.engine/                   v2 alone: what had to leave <base>, since a group
 *                                             with controllers for its children holds no process
 *
 * Order: nj_cgroups_find() -> nj_cgroups_begin(), which sweeps and makes the run's group -> for
 * each box nj_cgroup_make(), then, when all its processes are gone, nj_cgroup_remove() ->
 * nj_cgroups_end(). nj_cgroups_find() changes nothing: the printed plan and `doctor` use it, too.
 */
#ifndef NJ_SANDBOX_CGROUP_H
#define NJ_SANDBOX_CGROUP_H

#include "batch/sandbox/sandbox.h"

#define NJ_CGROUP_PATH_MAX_BYTES 512
#define NJ_CGROUP_OVERHEAD_PROCESSES 2 /* init and the reaper of a call */
#define NJ_CGROUP_RUN "nightjar.run-"  /* how the name of a group to be swept begins */
#define NJ_CGROUP_ENGINE "nightjar.engine"

enum nj_cgroup_controller {
    NJ_CGROUP_MEMORY,
    NJ_CGROUP_PIDS,
    NJ_CGROUP_CPU,   /* counting its time; on v2 that needs no controller */
    NJ_CGROUP_QUOTA, /* bounding its share of the processors */
    NJ_CGROUP_CONTROLLERS
};

enum nj_cgroup_kind { NJ_CGROUP_NONE, NJ_CGROUP_V1, NJ_CGROUP_V2 };

/* What bounds the memory of this process, and of boxes beside or below it: its own group or one
 * above it, as a container and a service have. */
struct nj_cgroup_bound {
    enum nj_cgroup_kind kind; /* NONE: nothing but the host */
    char dir[NJ_CGROUP_PATH_MAX_BYTES];
    size_t top_len; /* of the path: there the mounted tree begins */
};

/* Where this process may make cgroups. */
struct nj_cgroups {
    enum nj_cgroup_kind kind[NJ_CGROUP_CONTROLLERS];
    char dir[NJ_CGROUP_CONTROLLERS][NJ_CGROUP_PATH_MAX_BYTES]; /* <base>; all of v2 share one */
    bool move_out;  /* v2: the base holds processes (ours), which go to NJ_CGROUP_ENGINE first */
    char why[320];  /* why it is not v2, for people; empty: it is */
    char name[160]; /* of this run's group; empty before nj_cgroups_begin() */
    struct nj_cgroup_bound bound;
    int lock_fd[NJ_CGROUP_CONTROLLERS]; /* -1: none, or shared with one before */
};

/* nj_cgroups_find - decide, from /proc/self/cgroup and mountinfo */
void nj_cgroups_find(struct nj_cgroups *ret_cgroups);

/* nj_cgroups_find_in - the same from the two files' texts (changed), with @prefix before every
 * path: how a test decides on a tree of its own */
void nj_cgroups_find_in(char *own, char *mounts, const char *prefix,
                        struct nj_cgroups *ret_cgroups);

/* nj_cgroup_bound_left - the least that a group leaves, and its limit, in bytes; cached pages of
 * files count as left. false: no group has a limit. */
bool nj_cgroup_bound_left(const struct nj_cgroup_bound *bound, uint64_t *ret_limit,
                          uint64_t *ret_left);

static inline bool nj_cgroups_has(const struct nj_cgroups *cgroups, enum nj_cgroup_controller which)
{
    return cgroups->kind[which] != NJ_CGROUP_NONE;
}

/* nj_cgroups_sweep - end and remove what runs left behind whose helper is gone, whatever they were
 * called. Returns how many groups of runs were removed. */
size_t nj_cgroups_sweep(const struct nj_cgroups *cgroups);

/* nj_cgroups_begin - sweep, let the base have controllers, make and lock this run's groups
 *
 * @name  of the run, and the helper's pid: "<run>-<pid>"
 *
 * Fails with NJ_E_SYSTEM where what nj_cgroups_find() promised does not hold, never falls back.
 */
int nj_cgroups_begin(struct nj_cgroups *cgroups, const char *name,
                     struct nj_error *err) NJ_MUST_USE;
void nj_cgroups_end(struct nj_cgroups *cgroups); /* what is empty of it goes; the locks go */

/* One box's cgroup as its supervisor holds it: open files, -1 where there is none. */
struct nj_cgroup {
    int procs_fd;                        /* of v2: write a pid to move it in */
    int tasks_fd[NJ_CGROUP_CONTROLLERS]; /* of v1: who writes "0" is in */
    int memory_usage_fd;
    int memory_stat_fd;
    int memory_peak_fd;
    int memory_oom_fd;
    int pids_events_fd;
    int cpu_usage_fd;
    bool cpu_is_v2;   /* cpu.stat, not cpuacct.usage */
    bool cpu_bounded; /* its plan's share of the processors */
};

#define NJ_CGROUP_NOTHING                                                                          \
    ((struct nj_cgroup){-1, {-1, -1, -1, -1}, -1, -1, -1, -1, -1, -1, false, false})
#define NJ_CGROUP_FDS_MAX (NJ_CGROUP_CONTROLLERS + 7)

/* nj_cgroup_fds - all its descriptors, some of them -1 */
void nj_cgroup_fds(const struct nj_cgroup *cgroup, int fds[NJ_CGROUP_FDS_MAX]);

int nj_cgroup_make(const struct nj_cgroups *cgroups, uint64_t box, const struct nj_box_plan *plan,
                   struct nj_cgroup *ret_cgroup, struct nj_error *err) NJ_MUST_USE;
void nj_cgroup_close(struct nj_cgroup *cgroup); /* the descriptors; the cgroup stays */
NJ_DEFINE_AUTO_VAL(struct nj_cgroup, nj_cgroup_close);

/* nj_cgroup_remove - true when nothing of it is left; false: try again in a moment */
bool nj_cgroup_remove(const struct nj_cgroups *cgroups, uint64_t box);

/*
 * nj_cgroup_move, nj_cgroup_join - a process into all of the box's cgroups: @pid, then itself
 *
 * Before the kernel moves another process, or one with threads, it waits until no processor is in
 * the middle of a fork or an exit: 3 to 12 ms, one move at a time on the whole host. A single
 * thread that moves itself it moves at once, which v1 alone allows. So v2's group is entered by
 * nj_cgroup_move(), by whoever may write there, and v1's by nj_cgroup_join(), which the process
 * itself calls, has one thread for, and returns 0 or the negative errno.
 */
int nj_cgroup_move(const struct nj_cgroup *cgroup, pid_t pid, struct nj_error *err) NJ_MUST_USE;
int nj_cgroup_join(const struct nj_cgroup *cgroup) NJ_MUST_USE;

/* nj_cgroup_entered - close what the two write to */
void nj_cgroup_entered(struct nj_cgroup *cgroup);

/* Readings; 0 where the host does not tell. */
uint64_t nj_cgroup_memory_held(const struct nj_cgroup *cgroup); /* less the cached pages of files
                                                                   on disk; tmpfs pages count */
void nj_cgroup_memory_peak_reset(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_memory_peak(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_oom_kills(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_fork_refusals(const struct nj_cgroup *cgroup);
uint64_t nj_cgroup_cpu_ns(const struct nj_cgroup *cgroup);

#endif
