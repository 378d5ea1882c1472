/*
 * gate.c - queue, limiter and breaker as one
 */
#include "batch/model/gate.h"

#include "formats/base/banned.h"

void nj_gate_init(struct nj_gate *gate, const struct nj_limiter_limits *limits, uint64_t base_ms,
                  uint64_t now_ms)
{
    *gate = (struct nj_gate){.n_waiting = 0};
    nj_limiter_init(&gate->limiter, limits, now_ms);
    nj_breaker_init(&gate->breaker, base_ms);
    TAILQ_INIT(&gate->queue);
}

void nj_gate_enter(struct nj_gate *gate, struct nj_gate_place *place)
{
    struct nj_gate_place *before;

    place->waiting = true;
    place->inside = place->probe = false;
    gate->n_waiting++;
    /* Fresh calls have the highest tickets, so the search from the end is mostly no search. */
    TAILQ_FOREACH_REVERSE(before, &gate->queue, nj_gate_queue, link)
    if (before->ticket <= place->ticket)
        break;
    if (before)
        TAILQ_INSERT_AFTER(&gate->queue, before, place, link);
    else
        TAILQ_INSERT_HEAD(&gate->queue, place, link);
}

static void leave(struct nj_gate *gate, struct nj_gate_place *place)
{
    TAILQ_REMOVE(&gate->queue, place, link);
    place->waiting = false;
    gate->n_waiting--;
}

struct nj_gate_place *nj_gate_next(struct nj_gate *gate, uint64_t now_ms, uint64_t *ret_wait_ms)
{
    struct nj_gate_place *place = TAILQ_FIRST(&gate->queue);
    uint64_t limiter_ms, breaker_ms;

    *ret_wait_ms = UINT64_MAX;
    if (!place)
        return NULL;
    /* The queue's first waits for itself: a smaller call behind it does not overtake, or a large
     * one would starve. */
    limiter_ms = nj_limiter_wait_ms(&gate->limiter, now_ms, &place->need);
    breaker_ms = nj_breaker_wait_ms(&gate->breaker, now_ms);
    if (limiter_ms > 0 || breaker_ms > 0) {
        *ret_wait_ms = limiter_ms > breaker_ms ? limiter_ms : breaker_ms;
        return NULL;
    }
    leave(gate, place);
    place->inside = true;
    place->probe = nj_breaker_pass(&gate->breaker, now_ms);
    nj_limiter_take(&gate->limiter, now_ms, &place->need);
    return place;
}

static void note_refusal(struct nj_gate *gate, uint64_t now_ms,
                         const struct nj_rate_headers *headers)
{
    bool names_an_end = headers && (headers->has_wait || headers->any);

    if (names_an_end) {
        gate->refused = 0;
        return;
    }
    if (gate->refused++ == 0)
        gate->refused_since_ms = now_ms;
}

void nj_gate_answer(struct nj_gate *gate, uint64_t now_ms, struct nj_gate_place *place,
                    enum nj_gate_end end, const struct nj_limiter_need *used,
                    const struct nj_rate_headers *headers)
{
    struct nj_limiter_answer answer = {.succeeded = end == NJ_GATE_SUCCEEDED,
                                       .limited = end == NJ_GATE_LIMITED,
                                       .cancelled = end == NJ_GATE_CANCELLED,
                                       .headers = headers};
    bool was_closed = gate->breaker.state == NJ_BREAKER_CLOSED;

    if (place->waiting)
        leave(gate, place);
    if (!place->inside)
        return;
    place->inside = false;
    if (used)
        answer.used = *used;
    else
        answer.used = place->need;
    nj_limiter_answer(&gate->limiter, now_ms, &place->need, &answer);
    switch (end) {
    case NJ_GATE_SUCCEEDED:
        gate->n_succeeded++;
        gate->refused = 0;
        nj_breaker_answer(&gate->breaker, now_ms, false, place->probe);
        break;
    case NJ_GATE_LIMITED:
        note_refusal(gate, now_ms, headers);
        nj_breaker_answer(&gate->breaker, now_ms, false, place->probe);
        break;
    case NJ_GATE_DOWN:
        nj_breaker_answer(&gate->breaker, now_ms, true, place->probe);
        if (was_closed && gate->breaker.state == NJ_BREAKER_OPEN)
            nj_limiter_cool(&gate->limiter);
        break;
    case NJ_GATE_BLAMED:
        nj_breaker_answer(&gate->breaker, now_ms, false, place->probe);
        break;
    case NJ_GATE_CANCELLED:
        if (place->probe)
            nj_breaker_abandon(&gate->breaker, now_ms);
        break;
    }
}

bool nj_gate_is_down(const struct nj_gate *gate, uint64_t now_ms)
{
    return nj_breaker_wait_ms(&gate->breaker, now_ms) > 0;
}

bool nj_gate_is_exhausted(const struct nj_gate *gate, uint64_t now_ms)
{
    return gate->refused >= NJ_GATE_REFUSED_MIN &&
           now_ms - gate->refused_since_ms >= gate->breaker.base_ms * NJ_GATE_REFUSED_FACTOR;
}
