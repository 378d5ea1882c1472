/*
 * budget.h - money that may be spent: reserved before a call is sent, settled after
 *
 * Pure. A budget is a limit, what was spent under it, and what calls under way may still cost at
 * most. A call reserves its upper bound in all budgets above it at once (session, group, agent,
 * run) or in none, so the sum of what was spent and what may come never passes a limit, whatever
 * the order in which calls end. Amounts are micro-USD.
 */
#ifndef NJ_SESSION_BUDGET_H
#define NJ_SESSION_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NJ_BUDGET_NONE (-1) /* no limit */

struct nj_budget {
    int64_t limit; /* or NJ_BUDGET_NONE */
    uint64_t spent;
    uint64_t reserved;
    bool exhausted; /* a call was refused for good: what begins under it would be too */
};

enum nj_budget_level { NJ_BUDGET_SESSION, NJ_BUDGET_GROUP, NJ_BUDGET_AGENT, NJ_BUDGET_RUN };
#define NJ_BUDGET_LEVELS 4

/* The budgets above one call; NULL where there is none. */
struct nj_budget_path {
    struct nj_budget *levels[NJ_BUDGET_LEVELS];
};

enum nj_budget_answer {
    NJ_BUDGET_GRANTED, /* reserved on all levels */
    NJ_BUDGET_WAIT,    /* it may fit once calls under way have settled below their bounds */
    NJ_BUDGET_OVER     /* it cannot fit any more; *ret_level says where */
};

enum nj_budget_answer nj_budget_reserve(const struct nj_budget_path *path, uint64_t amount,
                                        enum nj_budget_level *ret_level);

/* nj_budget_settle - what was reserved is free again, and @spent was spent */
void nj_budget_settle(const struct nj_budget_path *path, uint64_t reserved, uint64_t spent);

/* nj_budget_add - saturating: a hostile usage must not wrap into riches */
uint64_t nj_budget_add(uint64_t a, uint64_t b);

#endif
