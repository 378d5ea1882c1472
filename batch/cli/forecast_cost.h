/*
 * forecast_cost.h - what a plan would cost: as its like did in an earlier run, and at most
 *
 * An estimate needs an earlier run: what the succeeded sessions of a group used there, priced anew
 * by the first model of each session's chain, in each way (price.h). In waves only where all of
 * them have batches. A bound needs none: turns times the most that one call can cost, where the
 * models have prices and context_tokens, and never more than the session's budget; with all its
 * attempts. The budgets of groups, agents and of the run hold beside the sum.
 */
#ifndef NJ_CLI_FORECAST_COST_H
#define NJ_CLI_FORECAST_COST_H

#include "batch/model/price.h"
#include "batch/plan/reuse.h"

struct nj_forecast_cost {
    size_t run;       /* sessions that would */
    size_t estimated; /* of them */
    size_t unbounded; /* of them: no price, no context_tokens, and no budget */
    bool no_waves;    /* a model among them has no batches */
    struct nj_price_ways ways;
    uint64_t bound_micro_usd; /* of those that have one */
};

/* nj_forecast_cost_add - @usage of its group in the earlier run, zeroes without one */
void nj_forecast_cost_add(struct nj_forecast_cost *cost, const struct nj_plan *plan,
                          const struct nj_plan_session *session,
                          const struct nj_reuse_usage *usage);

/* nj_forecast_cost_bound - what the run costs at most, its own budget counted; false: nobody knows
 */
bool nj_forecast_cost_bound(const struct nj_forecast_cost *cost, const struct nj_manifest *manifest,
                            uint64_t *ret_micro_usd);

int nj_forecast_cost_text(const struct nj_forecast_cost *cost, const struct nj_manifest *manifest,
                          size_t columns, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_forecast_cost_json - ,"live_usd":...,"cached_usd":... without braces */
int nj_forecast_cost_json(const struct nj_forecast_cost *cost, const struct nj_manifest *manifest,
                          struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
