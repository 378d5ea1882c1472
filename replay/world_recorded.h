/*
 * world_recorded.h - the recorded world: a session lived again, from its record and in a real box
 *
 * The same core and the same loop as the engine's (batch/session/world.h) look at this world. The
 * model's answers come from the record; each tool call and each look of the accept command is run
 * again in a box that is built from the CONFIG object of the record, with the workspace that the
 * record says it began with; and what comes out is compared. After a difference the recorded event
 * is folded in all the same, so every step is judged on its own.
 *
 *     nj_recorded_start() -> the loop runs -> done() -> nj_recorded_result() -> nj_recorded_free()
 *
 * The record's manifest plays no part. Mounts are the record's own inputs; nothing of the host is
 * named by it.
 */
#ifndef NJ_REPLAY_WORLD_RECORDED_H
#define NJ_REPLAY_WORLD_RECORDED_H

#include "batch/sandbox/sandbox.h"
#include "batch/session/world.h"
#include "replay/divergence.h"
#include "replay/environment.h"
#include "replay/ran.h"
#include "replay/rootfs_file.h"
#include "replay/record.h"

struct event_base;
struct nj_recorded;

/* What all sessions that are verified in one process share. Everything is borrowed. */
struct nj_recorded_hall {
    struct event_base *base;
    struct nj_sandbox *sandbox;  /* attached to the base */
    struct nj_environment *here; /* gets digests as they are asked for */
    struct nj_digested
        *digested; /* files that ran, as they are here; NULL: they are not compared */
    const struct nj_image *image; /* what boxes have in place of the recorded image; NULL: that */
};

/* One call that was run again: the level of reproducibility its box was built for, and what it
 * reached then and now. */
struct nj_recorded_level {
    uint64_t step;
    uint64_t check; /* the accept command's round, from 1; 0: a tool call */
    unsigned applied;
    unsigned then;
    unsigned now;
    enum nj_lowered lowered_then;
    enum nj_lowered lowered_now;
};

#define NJ_RECORDED_LEVELS_MAX 10000 /* calls that are kept one by one; the lowest counts all */

struct nj_recorded_levels {
    uint64_t count;
    unsigned lowest_applied;
    unsigned lowest_then;
    unsigned lowest_now;
    struct nj_recorded_level *items;
    size_t n_items;
    size_t cap_items;
};

struct nj_recorded_result {
    struct nj_divergences divergences;
    uint64_t replies;   /* answered from the record */
    uint64_t calls;     /* tool calls run again */
    uint64_t checks;    /* looks of the accept command run again */
    uint64_t refusals;  /* calls that were refused then and are refused now, without a box */
    uint64_t snapshots; /* compared */
    uint64_t unjudged;  /* calls whose box was lost when they were recorded: there is nothing to
                           compare */
    uint64_t steps;
    struct nj_recorded_levels levels;
    char likely[512]; /* where the first difference of a call probably comes from; "": there is none
                       */
    bool closed; /* the record reaches the session's end; else it was verified to its last commit */
    struct nj_buf
        environment; /* a line for each program that a step used and that is another one here */
    bool failed;
    struct nj_error error; /* failed: why the replay could not go on */
};

/*
 * nj_recorded_start - begin; nothing is waited for
 *
 * @record  borrowed until nj_recorded_free()
 * @done    called once, from the loop
 *
 * Fails at once with NJ_E_INPUT when the record's box or mounts cannot be had: a plan that is not
 * allowed, or inputs that are not in the bundle (archive: {inputs: reference}).
 */
int nj_recorded_start(const struct nj_recorded_hall *hall, struct nj_record *record,
                      void (*done)(void *ctx), void *ctx, struct nj_recorded **ret_recorded,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_recorded_result - borrowed; complete when done() was called */
const struct nj_recorded_result *nj_recorded_result(const struct nj_recorded *recorded);

/* nj_recorded_level - the level of reproducibility that the agent declares, "D0" to "D3" */
const char *nj_recorded_level(const struct nj_recorded *recorded);

/* nj_recorded_free - accepts NULL; ends its box. A session under way is given up, done() does not
 * come. */
void nj_recorded_free(struct nj_recorded *recorded);
NJ_DEFINE_AUTO_PTR(struct nj_recorded, nj_recorded_free);

#endif
