/*
 * reused.h - sessions taken over from an earlier run instead of being run (`run --reuse RUN`)
 *
 * The choice is made once, with the plan, and kept in inputs/reused.jsonl before job.yaml is
 * published, so a run that is killed and gone on with reuses the same. Each chosen session is then
 * taken over before the loop begins: its bundle is checked whole and gets a second name in this
 * run's folder, its outputs are published from the bundle, and an ARCHIVED frame carries its row.
 * What cannot be taken over after all (the earlier run is gone, the bundle is damaged) is run, and
 * so is what comes after it: groups stand in the file behind those that they come after.
 *
 *     {"run":"/srv/runs/last-night"}
 *     {"key":"a-17","row":{...its line of results.jsonl there...}}
 *     {"end":1}
 */
#ifndef NJ_REUSED_H
#define NJ_REUSED_H

#include "batch/engine/live.h"

#define NJ_REUSED_NAME "reused.jsonl"

/* nj_reused_choose - judge every session of the plan against @run_path and publish the choice,
 * durable. @run_path NULL: none is reused, and what a start that was given up had chosen goes. */
int nj_reused_choose(const struct nj_plan *plan, const char *run_path, int inputs_fd,
                     struct nj_error *err) NJ_MUST_USE;

struct nj_reused;

/* nj_reused_open - the run of the choice, opened with the rights of whoever starts or resumes this
 * one: the user who goes on may have none on the folders above it. Without a choice *@ret_reused
 * stays. */
int nj_reused_open(struct nj_engine *engine, struct nj_reused **ret_reused,
                   struct nj_error *err) NJ_MUST_USE;
void nj_reused_free(struct nj_reused *reused);
NJ_DEFINE_AUTO_PTR(struct nj_reused, nj_reused_free);

/* nj_reused_take_over - those of the choice that have not begun; before the loop, as the user who
 * owns the run. Fails only where this run itself cannot be written; a resume takes over what is
 * left. */
int nj_reused_take_over(struct nj_reused *reused, struct nj_error *err) NJ_MUST_USE;

#endif
