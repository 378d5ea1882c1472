/*
 * limiter.h - how much one model may be asked at once and per minute, by all sessions together
 *
 * Pure; times are milliseconds of any clock that does not go back. Three token buckets (requests,
 * input tokens, output tokens) fill at the manifest's rates and at what the server's headers say,
 * whichever is less; a window of calls in flight begins small and doubles with every round of
 * successes, as sharp ramps are refused by providers, and is halved when the server says that there
 * were too many. A call takes its expected tokens when it is sent, and what it really used is
 * settled when it ended, so a bucket may be in debt. Tokens of the future are never lent: a call
 * larger than a whole bucket goes when the bucket is full.
 */
#ifndef NJ_MODEL_LIMITER_H
#define NJ_MODEL_LIMITER_H

#include "batch/model/rate.h"
#include "formats/manifest/manifest.h"

#define NJ_LIMITER_WINDOW_FIRST 8
#define NJ_LIMITER_WINDOW_MAX 4096
#define NJ_LIMITER_HALVE_EVERY_MS 1000 /* one burst of refusals is one signal */
#define NJ_LIMITER_PAUSE_MAX_MS                                                                    \
    (6ull * 3600000) /* the most that a retry-after holds all calls up */

enum { NJ_LIMITER_REQUESTS, NJ_LIMITER_INPUT, NJ_LIMITER_OUTPUT, NJ_LIMITER_BUCKETS };

/* Per minute; 0: no limit. */
struct nj_limiter_limits {
    uint64_t per_minute[NJ_LIMITER_BUCKETS];
    uint64_t concurrent;
};

struct nj_limiter_bucket {
    uint64_t manifest; /* per minute, 0: none */
    uint64_t server;   /* the same, by its headers */
    int64_t level;     /* in 1/60000 of a token: a millisecond adds the rate */
    uint64_t at_ms;    /* when level was true */
};

/* What one call takes. */
struct nj_limiter_need {
    uint64_t input_tokens;
    uint64_t output_tokens;
};

struct nj_limiter {
    struct nj_limiter_bucket buckets[NJ_LIMITER_BUCKETS];
    uint64_t concurrent; /* 0: no limit of the manifest */
    uint64_t in_flight;
    uint64_t window;    /* calls that may be in flight */
    uint64_t threshold; /* the window doubles below it, and grows by one a round above */
    uint64_t credit;    /* successes since it last grew, above the threshold */
    uint64_t halved_ms; /* when it was halved, plus 1; 0: never */
    uint64_t paused_ms; /* nothing goes before: a retry-after is for all */
    uint64_t n_limited; /* answers that said "too many", for the report */
};

void nj_limiter_init(struct nj_limiter *limiter, const struct nj_limiter_limits *limits,
                     uint64_t now_ms);

/* nj_limiter_wait_ms - 0 when a call with @need may go now, else how long to wait at least;
 * UINT64_MAX: until one in flight has ended. */
uint64_t nj_limiter_wait_ms(struct nj_limiter *limiter, uint64_t now_ms,
                            const struct nj_limiter_need *need);

/* nj_limiter_take - it goes */
void nj_limiter_take(struct nj_limiter *limiter, uint64_t now_ms,
                     const struct nj_limiter_need *need);

/* How a call ended. */
struct nj_limiter_answer {
    bool succeeded;
    bool limited;                          /* 429 */
    bool cancelled;                        /* nobody knows what the server took */
    struct nj_limiter_need used;           /* of a success */
    const struct nj_rate_headers *headers; /* NULL: none */
};

/* nj_limiter_answer - it ended; @need as given to take() */
void nj_limiter_answer(struct nj_limiter *limiter, uint64_t now_ms,
                       const struct nj_limiter_need *need, const struct nj_limiter_answer *answer);

/* nj_limiter_cool - the service was down: begin slowly again */
void nj_limiter_cool(struct nj_limiter *limiter);

#endif
