/*
 * fsck_run.h - a whole run directory: journal, inputs, run.json, and every session
 *
 * A session that is archived is its bundle, which must be what the journal recorded; every other
 * one is its frames in the journal. A journal that is damaged is read on behind the damage, so that
 * every session that the damage spares is judged (and can be saved) as if nothing had happened.
 */
#ifndef NJ_REPLAY_FSCK_RUN_H
#define NJ_REPLAY_FSCK_RUN_H

#include "replay/fsck.h"

struct nj_fsck_run_result {
    uint64_t faults;
    uint64_t sessions;       /* that have begun */
    uint64_t sessions_whole; /* with all that their frames name */
    uint64_t saved;          /* bundles written */
    uint64_t torn_bytes;     /* 1: the last write was cut off or is under way: no fault */
};

/*
 * nj_fsck_run - hear of every fault of a run
 *
 * @save_dir_fd  a folder where each session that is in no whole bundle is written as far as it is
 *               whole; -1: nothing is written
 *
 * Changes nothing in the run, takes no lock, and reads a live run to its last commit.
 */
int nj_fsck_run(const struct nj_run_dir *dir, int save_dir_fd, const struct nj_fsck_ear *ear,
                struct nj_fsck_run_result *ret_result, struct nj_error *err) NJ_MUST_USE;

#endif
