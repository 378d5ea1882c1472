/*
 * forecast.h - a plan in words or JSON: what would run, what would be reused, what it would cost
 *
 * An estimate takes what the succeeded sessions of the same group used on average in an earlier
 * run, at the prices of the first model of each session's chain now: "live" with every token at its
 * full price, "cached" with the caching of then, "waves" at half of cached where a provider has
 * batches. Without an earlier run there is a bound: the sessions' budgets, where all have one.
 */
#ifndef NJ_CLI_FORECAST_H
#define NJ_CLI_FORECAST_H

#include "batch/plan/reuse.h"

/* @reuse is NULL without an earlier run; lines of text are broken to fit @columns. */
int nj_forecast_text(const struct nj_plan *plan, struct nj_reuse *reuse, size_t columns,
                     struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;
int nj_forecast_json(const struct nj_plan *plan, struct nj_reuse *reuse, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

#endif
