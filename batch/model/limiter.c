/*
 * limiter.c - token buckets fed by headers, and a window of calls in flight
 *
 * The complication: what a server calls "remaining" already counts calls that are still in flight
 * for us, and is rounded. So headers only ever lower a bucket's level; it rises with time alone.
 */
#include "batch/model/limiter.h"

#include "formats/base/banned.h"

#define UNITS_PER_TOKEN 60000
#define LONG_WINDOW_MS 120000 /* a reset further away is not that of a per-minute limit */

static uint64_t rate_of(const struct nj_limiter_bucket *bucket)
{
    if (bucket->manifest && bucket->server)
        return bucket->manifest < bucket->server ? bucket->manifest : bucket->server;
    return bucket->manifest ? bucket->manifest : bucket->server;
}

static int64_t capacity_of(const struct nj_limiter_bucket *bucket)
{
    return (int64_t)(rate_of(bucket) * UNITS_PER_TOKEN); /* at most 6 * 10^16 */
}

static void refill(struct nj_limiter_bucket *bucket, uint64_t now_ms)
{
    int64_t capacity = capacity_of(bucket);
    uint64_t rate = rate_of(bucket);
    uint64_t missing;

    if (now_ms <= bucket->at_ms)
        return;
    missing = bucket->level < capacity ? (uint64_t)(capacity - bucket->level) : 0;
    if (rate && (now_ms - bucket->at_ms) > missing / rate)
        bucket->level = capacity;
    else
        bucket->level += (int64_t)(rate * (now_ms - bucket->at_ms));
    bucket->at_ms = now_ms;
}

void nj_limiter_init(struct nj_limiter *limiter, const struct nj_limiter_limits *limits,
                     uint64_t now_ms)
{
    *limiter = (struct nj_limiter){.concurrent = limits->concurrent,
                                   .window = NJ_LIMITER_WINDOW_FIRST,
                                   .threshold = NJ_LIMITER_WINDOW_MAX};
    for (size_t i = 0; i < NJ_LIMITER_BUCKETS; i++) {
        uint64_t rate = limits->per_minute[i];

        limiter->buckets[i].manifest = rate < NJ_RATE_FIGURE_MAX ? rate : NJ_RATE_FIGURE_MAX;
        limiter->buckets[i].level = capacity_of(&limiter->buckets[i]);
        limiter->buckets[i].at_ms = now_ms;
    }
}

static int64_t units_of(size_t bucket, const struct nj_limiter_need *need)
{
    uint64_t tokens = bucket == NJ_LIMITER_REQUESTS ? 1
                      : bucket == NJ_LIMITER_INPUT  ? need->input_tokens
                                                    : need->output_tokens;

    if (tokens > NJ_RATE_FIGURE_MAX)
        tokens = NJ_RATE_FIGURE_MAX;
    return (int64_t)(tokens * UNITS_PER_TOKEN);
}

static uint64_t bucket_wait_ms(struct nj_limiter_bucket *bucket, uint64_t now_ms, int64_t units)
{
    int64_t capacity = capacity_of(bucket);
    int64_t wanted = units < capacity ? units : capacity;
    uint64_t rate = rate_of(bucket);

    if (rate == 0)
        return 0;
    refill(bucket, now_ms);
    if (bucket->level >= wanted)
        return 0;
    return ((uint64_t)(wanted - bucket->level) + rate - 1) / rate;
}

uint64_t nj_limiter_wait_ms(struct nj_limiter *limiter, uint64_t now_ms,
                            const struct nj_limiter_need *need)
{
    uint64_t wait_ms = limiter->paused_ms > now_ms ? limiter->paused_ms - now_ms : 0;

    if (limiter->in_flight >= limiter->window ||
        (limiter->concurrent && limiter->in_flight >= limiter->concurrent))
        return UINT64_MAX;
    for (size_t i = 0; i < NJ_LIMITER_BUCKETS; i++) {
        uint64_t bucket_ms = bucket_wait_ms(&limiter->buckets[i], now_ms, units_of(i, need));

        if (bucket_ms > wait_ms)
            wait_ms = bucket_ms;
    }
    return wait_ms;
}

/* A bucket's level may fall to minus its capacity and no further: one wrong figure must not stop
 * the night. */
static void draw(struct nj_limiter_bucket *bucket, int64_t units)
{
    int64_t capacity = capacity_of(bucket);

    if (capacity == 0)
        return;
    bucket->level -= units;
    if (bucket->level < -capacity)
        bucket->level = -capacity;
    if (bucket->level > capacity)
        bucket->level = capacity;
}

void nj_limiter_take(struct nj_limiter *limiter, uint64_t now_ms,
                     const struct nj_limiter_need *need)
{
    limiter->in_flight++;
    for (size_t i = 0; i < NJ_LIMITER_BUCKETS; i++) {
        refill(&limiter->buckets[i], now_ms);
        draw(&limiter->buckets[i], units_of(i, need));
    }
}

static void take_figure(struct nj_limiter_bucket *bucket, uint64_t now_ms,
                        const struct nj_rate_figure *figure)
{
    uint64_t rate = figure->limit;
    int64_t remaining;

    if (figure->has_limit && figure->limit > 0) {
        /* A limit per day says how fast it fills by how long it takes to be full again. */
        if (figure->has_reset && figure->reset_ms > LONG_WINDOW_MS && figure->has_remaining &&
            figure->remaining < figure->limit)
            rate = (figure->limit - figure->remaining) * 60000 / figure->reset_ms + 1;
        if (bucket->server == 0 && bucket->manifest == 0)
            bucket->level = (int64_t)(rate * UNITS_PER_TOKEN);
        bucket->server = rate;
        refill(bucket, now_ms);
        if (bucket->level > capacity_of(bucket))
            bucket->level = capacity_of(bucket);
    }
    if (!figure->has_remaining || rate_of(bucket) == 0)
        return;
    remaining = (int64_t)(figure->remaining * UNITS_PER_TOKEN);
    if (bucket->level > remaining)
        bucket->level = remaining;
}

static void take_headers(struct nj_limiter *limiter, uint64_t now_ms,
                         const struct nj_rate_headers *headers)
{
    static const enum nj_rate_kind own[NJ_LIMITER_BUCKETS] = {NJ_RATE_REQUESTS, NJ_RATE_INPUT,
                                                              NJ_RATE_OUTPUT};

    for (size_t i = 0; i < NJ_LIMITER_BUCKETS; i++)
        take_figure(&limiter->buckets[i], now_ms, &headers->figures[own[i]]);
    /* "tokens" without a kind: whichever of both is tighter, or both together. It is held against
     * the input, of which there is more. */
    if (!headers->figures[NJ_RATE_INPUT].has_limit)
        take_figure(&limiter->buckets[NJ_LIMITER_INPUT], now_ms, &headers->figures[NJ_RATE_TOKENS]);
}

static void grow(struct nj_limiter *limiter)
{
    if (limiter->window >= NJ_LIMITER_WINDOW_MAX)
        return;
    if (limiter->window < limiter->threshold) {
        limiter->window++;
        return;
    }
    limiter->credit++;
    if (limiter->credit >= limiter->window) {
        limiter->credit = 0;
        limiter->window++;
    }
}

static void halve(struct nj_limiter *limiter, uint64_t now_ms)
{
    if (limiter->halved_ms && now_ms + 1 - limiter->halved_ms < NJ_LIMITER_HALVE_EVERY_MS)
        return;
    limiter->halved_ms = now_ms + 1;
    limiter->credit = 0;
    limiter->window = limiter->window / 2 > 1 ? limiter->window / 2 : 1;
    limiter->threshold = limiter->window;
}

void nj_limiter_answer(struct nj_limiter *limiter, uint64_t now_ms,
                       const struct nj_limiter_need *need, const struct nj_limiter_answer *answer)
{
    if (limiter->in_flight > 0)
        limiter->in_flight--;
    for (size_t i = 1; i < NJ_LIMITER_BUCKETS; i++) {
        refill(&limiter->buckets[i], now_ms);
        /* What was refused or lost used nothing that we know of; what was cancelled may have. */
        if (!answer->cancelled)
            draw(&limiter->buckets[i],
                 (answer->succeeded ? units_of(i, &answer->used) : 0) - units_of(i, need));
    }
    if (answer->succeeded)
        grow(limiter);
    if (answer->limited) {
        limiter->n_limited++;
        halve(limiter, now_ms);
    }
    if (!answer->headers)
        return;
    take_headers(limiter, now_ms, answer->headers);
    if (answer->limited && answer->headers->has_wait) {
        uint64_t wait_ms = answer->headers->wait_ms < NJ_LIMITER_PAUSE_MAX_MS
                               ? answer->headers->wait_ms
                               : NJ_LIMITER_PAUSE_MAX_MS;

        if (now_ms + wait_ms > limiter->paused_ms)
            limiter->paused_ms = now_ms + wait_ms;
    }
}

void nj_limiter_cool(struct nj_limiter *limiter)
{
    if (limiter->threshold > limiter->window)
        limiter->threshold = limiter->window;
    limiter->window = 1;
    limiter->credit = 0;
}
