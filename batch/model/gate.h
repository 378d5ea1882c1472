/*
 * gate.h - the one way to a model, shared by all sessions that ask it
 *
 * A gate stands before each (provider, base_url, model): limiter and breaker, and a queue in the
 * order of tickets. A logical call draws its ticket once and keeps it over its retries, so what has
 * waited longest goes first, and since a session has one call under way, nobody gets two turns
 * while another has none. Pure: the caller has the clock and the timer.
 *
 *   nj_gate_enter() puts a call into the queue; nj_gate_next() says who goes now, or when to look
 *   again; nj_gate_answer() tells how a call that went has ended, after which next() is asked
 * again.
 */
#ifndef NJ_MODEL_GATE_H
#define NJ_MODEL_GATE_H

#include <sys/queue.h>

#include "batch/model/breaker.h"
#include "batch/model/limiter.h"

/* Embedded by a call. */
struct nj_gate_place {
    TAILQ_ENTRY(nj_gate_place) link;
    uint64_t ticket;
    struct nj_limiter_need need;
    bool waiting; /* in the queue */
    bool inside;  /* went, and has not ended */
    bool probe;
};

TAILQ_HEAD(nj_gate_queue, nj_gate_place);

struct nj_gate {
    struct nj_limiter limiter;
    struct nj_breaker breaker;
    struct nj_gate_queue queue;
    uint64_t n_waiting;
    uint64_t n_succeeded;
    /* Refusals that name no end, in a row over all calls: see nj_gate_is_exhausted(). */
    uint64_t refused;
    uint64_t refused_since_ms;
};

#define NJ_GATE_REFUSED_MIN 5     /* this many, ... */
#define NJ_GATE_REFUSED_FACTOR 60 /* ...over this many units of the retries' base: 30 s */

void nj_gate_init(struct nj_gate *gate, const struct nj_limiter_limits *limits, uint64_t base_ms,
                  uint64_t now_ms);

void nj_gate_enter(struct nj_gate *gate, struct nj_gate_place *place);

/* nj_gate_next - whose turn it is: a place that left the queue and is inside; or NULL, and
 * *ret_wait_ms says when to look again (UINT64_MAX: after the next answer, or when somebody
 * entered) */
struct nj_gate_place *nj_gate_next(struct nj_gate *gate, uint64_t now_ms, uint64_t *ret_wait_ms);

enum nj_gate_end {
    NJ_GATE_SUCCEEDED,
    NJ_GATE_LIMITED, /* too many: 429 */
    NJ_GATE_DOWN,    /* overloaded, 5xx, no connection, nothing whole came back */
    NJ_GATE_BLAMED,  /* the request or the key is at fault; the service is there */
    NJ_GATE_CANCELLED
};

/* nj_gate_answer - a call ended, or is not wanted any more: waiting, inside or neither. @used and
 * @headers may be NULL. */
void nj_gate_answer(struct nj_gate *gate, uint64_t now_ms, struct nj_gate_place *place,
                    enum nj_gate_end end, const struct nj_limiter_need *used,
                    const struct nj_rate_headers *headers);

/* nj_gate_is_down - the breaker is open: a call that has another model to go to should */
bool nj_gate_is_down(const struct nj_gate *gate, uint64_t now_ms);

/* nj_gate_is_exhausted - the server keeps refusing and names no time: a spend limit of the account,
 * which no waiting cures. Source: WIRE.md 3. */
bool nj_gate_is_exhausted(const struct nj_gate *gate, uint64_t now_ms);

#endif
