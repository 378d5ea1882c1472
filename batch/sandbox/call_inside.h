/*
 * call_inside.h - a call while it runs; private to call*.c
 */
#ifndef NJ_SANDBOX_CALL_INSIDE_H
#define NJ_SANDBOX_CALL_INSIDE_H

#include "batch/sandbox/output.h"
#include "batch/sandbox/supervisor.h"

#define NJ_NS_PER_MS 1000000

struct nj_running {
    struct nj_supervisor *supervisor;
    const struct nj_box_call *request;
    struct nj_output streams[2];
    int64_t started_ns; /* CLOCK_MONOTONIC */
    int64_t deadline_ns;
    int64_t killed_ns; /* 0: not killed by us */
    int64_t next_watch_ns;
    int64_t next_drain_ns; /* of what the workspace's changes are told by */
    int64_t ended_ns;
    bool over;
    bool cancelled;
    enum nj_limit limit; /* why we killed it */
    uint64_t limit_used;
    uint64_t watched_memory; /* the most the watchdog saw */
    uint64_t watched_processes;
    uint64_t oom_kills_before;
    uint64_t refusals_before;
    uint64_t cpu_ns_before;
};

/* nj_running_fill - arguments, environment and names into the page shared with init */
int nj_running_fill(struct nj_running *call, struct nj_error *err) NJ_MUST_USE;

/* nj_running_finish - judge how it ended, capture what it left, and send that */
int nj_running_finish(struct nj_running *call, struct nj_error *err) NJ_MUST_USE;

/* nj_running_refuse - @place of the plan is obstructed: nothing ran, and the agent is told so */
int nj_running_refuse(struct nj_running *call, const char *place, struct nj_error *err) NJ_MUST_USE;

#endif
