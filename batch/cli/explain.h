/*
 * explain.h - a planned job in words: what would run, in which boxes, and whether this host can
 * bear it
 *
 * Texts that come from a manifest or from file names are escaped: what a terminal is shown cannot
 * drive it.
 */
#ifndef NJ_CLI_EXPLAIN_H
#define NJ_CLI_EXPLAIN_H

#include "batch/plan/plan.h"
#include "batch/plan/table.h"

/* What the host has, as of now. */
struct nj_explain_host {
    uint64_t memory_bytes; /* available without swapping */
    uint64_t disk_bytes;   /* free where runs are written */
    uint64_t cpus;
    uint64_t boxes_bearable; /* nj_sandbox_boxes_bearable() */
};

/* nj_explain_host - @dir_fd is on the file system that would hold the run */
int nj_explain_host(int dir_fd, struct nj_explain_host *ret_host, struct nj_error *err) NJ_MUST_USE;

/* A sink that keeps nothing but the sum: a plan for `check` reads its inputs and stores none. */
struct nj_explain_inputs {
    struct nj_table known;
    uint64_t objects;
    uint64_t bytes;
};

void nj_explain_inputs_done(struct nj_explain_inputs *inputs); /* a zeroed one is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_explain_inputs, nj_explain_inputs_done);
struct nj_object_sink nj_explain_inputs_sink(struct nj_explain_inputs *inputs);

/* nj_explain_job - append the job: groups, agents, inputs, limits, and the sums beside the host's;
 * lines are broken to fit @columns */
int nj_explain_job(const struct nj_plan *plan, const struct nj_explain_inputs *inputs,
                   const struct nj_explain_host *host, size_t columns, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_explain_check_boxes - a box that cannot be built becomes a fault of its agent; only agents in
 * use */
int nj_explain_check_boxes(const struct nj_plan *plan, struct nj_manifest_faults *faults,
                           struct nj_error *err) NJ_MUST_USE;

/* nj_explain_boxes - append the sandbox plan of each agent in use */
int nj_explain_boxes(const struct nj_plan *plan, size_t columns, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

#endif
