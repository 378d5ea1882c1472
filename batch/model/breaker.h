/*
 * breaker.h - one judgement for all sessions: does this model answer at all?
 *
 * Pure; times are milliseconds of any clock that does not go back. Closed, everything passes; when
 * most of the last answers said that the service is down (overload, 5xx, no connection), it opens,
 * and nothing passes for a while that doubles each time; then one call is let through as a probe
 * (half-open): its success closes the breaker, its failure opens it again. So an outage costs one
 * call per wait, not one storm per session. Rate limits are not its business (limiter.h), nor are
 * answers that blame the request.
 */
#ifndef NJ_MODEL_BREAKER_H
#define NJ_MODEL_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define NJ_BREAKER_WINDOW 20           /* answers looked at */
#define NJ_BREAKER_ENOUGH 10           /* fewer answers open nothing... */
#define NJ_BREAKER_DOWN_PERCENT 80     /* ...and this share of failures does */
#define NJ_BREAKER_WAIT_FACTOR 4       /* first wait, in units of the retries' base: 2 s */
#define NJ_BREAKER_DOUBLINGS_MAX 6     /* longest wait: 128 s */
#define NJ_BREAKER_PROBE_MAX_MS 900000 /* a probe that never ends is given up */

enum nj_breaker_state { NJ_BREAKER_CLOSED, NJ_BREAKER_OPEN, NJ_BREAKER_HALF_OPEN };

struct nj_breaker {
    enum nj_breaker_state state;
    uint64_t base_ms;
    uint32_t ring;     /* of the last answers: bit 1 for a failure, newest lowest */
    unsigned answers;  /* in it */
    unsigned opened;   /* in a row */
    uint64_t until_ms; /* OPEN: when a probe may go; HALF_OPEN: when it is given up */
    uint64_t n_opened; /* ever, for the report */
};

void nj_breaker_init(struct nj_breaker *breaker, uint64_t base_ms);

/* nj_breaker_wait_ms - 0 when a call may pass now, else how long to wait at least; UINT64_MAX never
 * comes, since a probe is given up after a while */
uint64_t nj_breaker_wait_ms(const struct nj_breaker *breaker, uint64_t now_ms);

/* nj_breaker_pass - a call passes (its wait was 0). True: it is the probe. */
bool nj_breaker_pass(struct nj_breaker *breaker, uint64_t now_ms);

/* nj_breaker_answer - a call ended. @down: the service is not there; @probe as told by pass().
 * Answers of calls that were sent before it opened do not close it. */
void nj_breaker_answer(struct nj_breaker *breaker, uint64_t now_ms, bool down, bool probe);

/* nj_breaker_abandon - the probe was cancelled: another call may be it, at once */
void nj_breaker_abandon(struct nj_breaker *breaker, uint64_t now_ms);

#endif
