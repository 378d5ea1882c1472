/*
 * breaker.c - closed, open, half-open
 */
#include "batch/model/breaker.h"

#include "formats/base/banned.h"

void nj_breaker_init(struct nj_breaker *breaker, uint64_t base_ms)
{
    *breaker = (struct nj_breaker){.base_ms = base_ms};
}

uint64_t nj_breaker_wait_ms(const struct nj_breaker *breaker, uint64_t now_ms)
{
    if (breaker->state == NJ_BREAKER_CLOSED || now_ms >= breaker->until_ms)
        return 0;
    return breaker->until_ms - now_ms;
}

bool nj_breaker_pass(struct nj_breaker *breaker, uint64_t now_ms)
{
    if (breaker->state == NJ_BREAKER_CLOSED)
        return false;
    breaker->state = NJ_BREAKER_HALF_OPEN;
    breaker->until_ms = now_ms + NJ_BREAKER_PROBE_MAX_MS;
    return true;
}

static void open_breaker(struct nj_breaker *breaker, uint64_t now_ms)
{
    unsigned doublings =
        breaker->opened < NJ_BREAKER_DOUBLINGS_MAX ? breaker->opened : NJ_BREAKER_DOUBLINGS_MAX;

    breaker->state = NJ_BREAKER_OPEN;
    breaker->until_ms = now_ms + (breaker->base_ms * NJ_BREAKER_WAIT_FACTOR << doublings);
    breaker->opened++;
    breaker->n_opened++;
    breaker->ring = 0;
    breaker->answers = 0;
}

static bool is_down(const struct nj_breaker *breaker)
{
    unsigned failures = (unsigned)__builtin_popcount(breaker->ring);

    return breaker->answers >= NJ_BREAKER_ENOUGH &&
           failures * 100 >= breaker->answers * NJ_BREAKER_DOWN_PERCENT;
}

void nj_breaker_answer(struct nj_breaker *breaker, uint64_t now_ms, bool down, bool probe)
{
    if (probe && down) {
        open_breaker(breaker, now_ms);
        return;
    }
    if (probe) {
        *breaker = (struct nj_breaker){.base_ms = breaker->base_ms, .n_opened = breaker->n_opened};
        return;
    }
    if (breaker->state != NJ_BREAKER_CLOSED)
        return;
    breaker->ring = (breaker->ring << 1 | (down ? 1u : 0u)) & ((1u << NJ_BREAKER_WINDOW) - 1);
    if (breaker->answers < NJ_BREAKER_WINDOW)
        breaker->answers++;
    if (!down)
        breaker->opened = 0;
    if (is_down(breaker))
        open_breaker(breaker, now_ms);
}

void nj_breaker_abandon(struct nj_breaker *breaker, uint64_t now_ms)
{
    if (breaker->state != NJ_BREAKER_HALF_OPEN)
        return;
    breaker->state = NJ_BREAKER_OPEN;
    breaker->until_ms = now_ms;
}
