/*
 * price.h - what model calls cost, cost at most, and would cost in other ways
 *
 * Pure integers: micro-USD, prices in micro-USD per million tokens. A cost is rounded to the
 * nearest micro-USD, half up; a bound is rounded up. Source of the cache factors: WIRE.md 4.
 */
#ifndef NJ_MODEL_PRICE_H
#define NJ_MODEL_PRICE_H

#include "formats/base/usage.h"
#include "formats/manifest/manifest.h"

/* nj_price_cost - of one call's usage; at most INT64_MAX */
uint64_t nj_price_cost(const struct nj_manifest_price *price, const struct nj_usage *usage);

/* nj_price_bound - the most that a call with at most @input_tokens and @output_tokens can cost,
 * whatever part of its prompt is read from or written to a cache kept as @cache says */
uint64_t nj_price_bound(const struct nj_manifest_price *price, enum nj_manifest_cache cache,
                        uint64_t input_tokens, uint64_t output_tokens);

/* What sessions that used @n_calls calls and @usage in all would cost. The split of their prompts
 * into cached and not is taken anew for each way, from the tokens of all prompts together. */
struct nj_price_ways {
    uint64_t as_it_was; /* with the hits that it had */
    uint64_t live;      /* without a cache */
    uint64_t cached;    /* each call reads all but its new part: see nj_price_ways() */
    uint64_t waves;     /* in batches: half of the cached price */
};

/*
 * nj_price_ways - one usage, priced in each way
 *
 * Cached assumes an agent's conversation: call k sends the prompt of call k - 1 and what was added
 * since. With prompts that grow evenly to p tokens over n calls, the prompts sum up to p (n + 1) /
 * 2 of which p is written once and the rest is read. So the written part is 2 / (n + 1) of the sum.
 * @n_calls is of one session; a session with one call has nothing to read.
 */
void nj_price_ways(const struct nj_manifest_price *price, enum nj_manifest_cache cache,
                   const struct nj_usage *usage, uint64_t n_calls, struct nj_price_ways *ret_ways);

/* nj_price_runtime - boxes held for @ms, at @micro_usd_per_hour */
uint64_t nj_price_runtime(int64_t micro_usd_per_hour, uint64_t ms);

#endif
