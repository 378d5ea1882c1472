/*
 * state.h - run.json: where a run stands, for people and scripts
 *
 * Rewritten whole and by rename, at every change of state and at most once a second in between.
 * It is a courtesy: nothing of a run depends on it, the journal is what counts. Whether an engine
 * is at work is told by the lock (holder.h), for a killed one leaves "running" behind.
 *
 * Keys: nightjar_run (0), version, job, manifest_dir, state (running, suspended, finished, failed),
 * stop_reason (null, signal, budget, deadline, fail_over, model: why it stops or has stopped), pid,
 * boot_id, host, created, started (of this process), updated (when state is not running: its end),
 * deadline (null or a time), cost_usd, budget_usd (null: none), retain_seconds (null: none),
 * disk_low, loop_stall_ms (CPU time of the loop's longest piece of work so far), sessions: {total,
 * succeeded, failed, suspended, skipped, running, waiting, retrying, reused}. Waiting have not
 * begun; of these, retrying have failed before. Reused are among the succeeded.
 */
#ifndef NJ_STATE_H
#define NJ_STATE_H

#include <stdint.h>

#include "formats/base/buf.h"

#define NJ_STATE_FILE "run.json"

struct nj_run_state {
    char job[72];
    char state[16];
    char stop_reason[16]; /* "": none */
    char host[72];
    char boot_id[40];
    const char *manifest_dir; /* borrowed when written; owned (nj_run_state_done) when read */
    int pid;
    int64_t created_s;
    int64_t started_s;
    int64_t updated_s;
    int64_t deadline_s; /* 0: none */
    int64_t spent_micro_usd;
    int64_t budget_micro_usd; /* -1: none */
    uint64_t retain_seconds;  /* 0: none */
    bool disk_low;
    uint64_t loop_stall_us; /* written in ms; not read back */
    unsigned loop_late_ms;  /* pulse.h; not read back */
    struct nj_run_counts {
        uint64_t total;
        uint64_t succeeded;
        uint64_t failed;
        uint64_t suspended;
        uint64_t skipped;
        uint64_t running;
        uint64_t waiting;
        uint64_t retrying;
        uint64_t reused;
    } sessions;
};

/* nj_run_state_write - append the file's bytes to @out */
int nj_run_state_write(const struct nj_run_state *state, struct nj_buf *out,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_run_state_read - a run's file; NJ_E_INPUT when there is none, or it is no such file */
int nj_run_state_read(int dir_fd, struct nj_run_state *ret_state, struct nj_error *err) NJ_MUST_USE;
void nj_run_state_done(struct nj_run_state *state);
NJ_DEFINE_AUTO_VAL(struct nj_run_state, nj_run_state_done);

/* ---- keeping it current beside the loop: publishing waits for the disk, so a thread does it ----
 */

struct nj_state_writer;

/* nj_state_writer_new - @dir_fd is borrowed */
int nj_state_writer_new(int dir_fd, struct nj_state_writer **ret_writer,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_state_writer_post - publish these bytes soon; takes @text (malloc'ed). What was posted and is
 * not being written yet is replaced. A failure is passed over: the next one may come through. */
void nj_state_writer_post(struct nj_state_writer *writer, char *text);

/* nj_state_writer_free - drops what is not being written; from then on nobody else writes */
void nj_state_writer_free(struct nj_state_writer *writer);

#endif
