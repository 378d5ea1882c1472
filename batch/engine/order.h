/*
 * order.h - what a worker is told of a session: where its record lies, and what to make of it
 *
 * A worker sees the engine as it was when it started (worker.h); of a session it then knows the
 * plan only. An order carries the rest as the engine's memory has it: both sides are one image of
 * one program, and an order never leaves it.
 */
#ifndef NJ_ORDER_H
#define NJ_ORDER_H

#include "batch/engine/live.h"

struct nj_order {
    size_t session; /* index in the plan */
    size_t n_places;
    size_t n_objects; /* of its index: slots behind the places, or all of its table, shared */
    size_t n_slots;   /* of that table; 0: it is not shared */

    /* to publish it */
    enum nj_status status;
    bool failed; /* the engine gave it up: without outputs */
    bool has_outputs;
    struct nj_digest outputs;
    char bundle[NJ_BUNDLE_NAME_MAX_BYTES];

    /* to restore its box */
    struct nj_workspace_ref workspace;
};

/* nj_order_new - of @live; places only @with_places. @out is new; *ret_order lies in it. */
int nj_order_new(const struct nj_live *live, bool with_places, struct nj_buf *out,
                 struct nj_order **ret_order, struct nj_error *err) NJ_MUST_USE;

/* nj_order_start - send a worker to it. What it is told of the session does not change while it is
 * at work: the session waits for it, and so does thinning. */
int nj_order_start(struct nj_live *live, nj_worker_main work, struct nj_span order, int fd,
                   nj_worker_done done, struct nj_error *err) NJ_MUST_USE;

/* nj_order_read - in the worker: @ret_live has engine, plan, index and places, which are borrowed
 * from @sent as *ret_order is, and nothing else. Pair with nj_order_done(). */
int nj_order_read(struct nj_engine *engine, const struct nj_worker_order *sent,
                  const struct nj_order **ret_order, struct nj_live *ret_live,
                  struct nj_error *err) NJ_MUST_USE;
void nj_order_done(struct nj_live *live); /* a zeroed one is fine */
NJ_DEFINE_AUTO_VAL(struct nj_live, nj_order_done);

#endif
