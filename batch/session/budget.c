/*
 * budget.c - reservations on several levels at once
 */
#include "batch/session/budget.h"

#include <assert.h>

#include "formats/base/banned.h"

uint64_t nj_budget_add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static enum nj_budget_answer ask(const struct nj_budget *budget, uint64_t amount)
{
    uint64_t worst;

    if (budget->limit < 0)
        return NJ_BUDGET_GRANTED;
    worst = nj_budget_add(budget->spent, amount);
    /* A budget that is used up refuses what costs nothing too: it is where a run stops. */
    if (worst > (uint64_t)budget->limit || budget->spent >= (uint64_t)budget->limit)
        return NJ_BUDGET_OVER;
    if (nj_budget_add(worst, budget->reserved) > (uint64_t)budget->limit)
        return NJ_BUDGET_WAIT;
    return NJ_BUDGET_GRANTED;
}

enum nj_budget_answer nj_budget_reserve(const struct nj_budget_path *path, uint64_t amount,
                                        enum nj_budget_level *ret_level)
{
    enum nj_budget_answer answer = NJ_BUDGET_GRANTED;

    for (size_t i = 0; i < NJ_BUDGET_LEVELS; i++) {
        struct nj_budget *budget = path->levels[i];
        enum nj_budget_answer here = budget ? ask(budget, amount) : NJ_BUDGET_GRANTED;

        if (here == NJ_BUDGET_OVER) {
            budget->exhausted = true;
            *ret_level = (enum nj_budget_level)i;
            return here;
        }
        if (here == NJ_BUDGET_WAIT)
            answer = here;
    }
    for (size_t i = 0; answer == NJ_BUDGET_GRANTED && i < NJ_BUDGET_LEVELS; i++)
        if (path->levels[i])
            path->levels[i]->reserved = nj_budget_add(path->levels[i]->reserved, amount);
    return answer;
}

void nj_budget_settle(const struct nj_budget_path *path, uint64_t reserved, uint64_t spent)
{
    for (size_t i = 0; i < NJ_BUDGET_LEVELS; i++) {
        struct nj_budget *budget = path->levels[i];

        if (!budget)
            continue;
        assert(budget->reserved >= reserved);
        budget->reserved -= reserved;
        budget->spent = nj_budget_add(budget->spent, spent);
    }
}
