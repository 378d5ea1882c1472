/*
 * limits.h - how this host keeps a box's memory and processes within bounds
 *
 * Hard, where cgroups are ours to make (cgroup.h): the kernel bounds processes, and memory together
 * with the workspace, whose pages it counts in the same place. What is no workspace is watched by
 * the supervisor, more often the nearer it comes to the limit. Where there are no cgroups the
 * limits are soft: rlimits and a watchdog over what the box's processes hold. Which of both is part
 * of the printed plan.
 */
#ifndef NJ_SANDBOX_LIMITS_H
#define NJ_SANDBOX_LIMITS_H

#include "batch/sandbox/cgroup.h"

/* What the watchdog sees without cgroups: all processes below @root_pid, by /proc (@proc_fd). */
struct nj_watch {
    uint64_t processes;    /* threads count, as in the pids cgroup */
    uint64_t memory_bytes; /* sum of PSS and page tables */
    uint64_t socket_bytes; /* at most this much waits in sockets */
};
void nj_watch_read(int proc_fd, pid_t root_pid, struct nj_watch *ret_watch);

/* nj_limits_place - where no cgroup bounds the share of the processors: begin @pid on as many whole
 * CPUs as hold it. Soft: it is rounded up, and whoever runs there may choose others. */
int nj_limits_place(pid_t pid, uint64_t max_cpu_micro, struct nj_error *err) NJ_MUST_USE;

/* nj_limits_print - a line for each limit of @plan and how this host keeps it */
int nj_limits_print(const struct nj_box_plan *plan, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;

#endif
