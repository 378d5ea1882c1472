/*
 * walk.h - where a session stands in its role's chain, and the counters that providers keep of it
 *
 * nj_walk_find() gives the place of the try that comes next: as it was left in memory, or found
 * again from the conversation after a crash. The memory lasts from a session's first call to its
 * last; roles whose providers count nothing have none.
 */
#ifndef NJ_MODEL_WALK_H
#define NJ_MODEL_WALK_H

#include "batch/model/inside.h"
#include "batch/model/retry.h"

/* Before the try that comes next. */
struct nj_walk {
    struct nj_retry retry;
    uint64_t turn;
    uint64_t session_attempt;
    uint64_t attempts; /* failed tries of this turn */
    uint32_t *tally;   /* by model and counter, the memory's; NULL when nothing is counted */
};

struct nj_walk_memory;

/* nj_walk_find - @ret_memory is NULL where the role does not count */
int nj_walk_find(struct nj_models *models, size_t role, const struct nj_model_request *request,
                 struct nj_walk_memory **ret_memory, struct nj_walk *ret_walk,
                 struct nj_error *err) NJ_MUST_USE;

/* Both accept NULL for @memory. */
void nj_walk_keep(struct nj_walk_memory *memory, const struct nj_walk *walk);
void nj_walk_forget(struct nj_models *models, struct nj_walk_memory *memory);

const struct nj_model *nj_walk_model(const struct nj_models_role *role, const struct nj_walk *walk);

/* nj_walk_try - the request of the try that comes next, for a turn that sees the first @n_messages
 */
struct nj_try_request nj_walk_try(const struct nj_models_role *role,
                                  const struct nj_model_request *request,
                                  const struct nj_walk *walk, size_t n_messages);

#endif
