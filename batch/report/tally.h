/*
 * tally.h - a run counted: what the summary, status, junit.xml, metrics and the page all show
 *
 * One pass over a ledger. Every figure that a person reads comes from here, so that no two views
 * can disagree. Causes group the failures whose texts differ only in what differs between items:
 * figures, digests, and the session's own key.
 */
#ifndef NJ_TALLY_H
#define NJ_TALLY_H

#include "batch/report/ledger.h"

#define NJ_TALLY_SLOWEST 3

/* Sums over some sessions: a group, an agent, or all. */
struct nj_tally_sum {
    const char *name;
    size_t total;
    size_t succeeded;
    size_t reused; /* of these: taken over from an earlier run; no attempt of theirs counts */
    size_t failed;
    size_t skipped;
    size_t begun; /* and not ended */
    size_t waiting;
    uint64_t attempts;
    uint64_t turns;
    uint64_t steps;
    uint64_t calls;
    uint64_t cost_micro_usd;
    struct nj_usage usage;
    uint64_t busy_ms; /* of sessions, added up */
    uint64_t model_ms;
    uint64_t tool_ms;
    uint64_t judge_ms;
    uint64_t cpu_ms;
    uint64_t box_held_ms; /* boxes that were warm or ran: what runtime is priced by */
    uint64_t retries;
    uint64_t boxes_lost;
    uint64_t limits[NJ_FACTS_LIMITS];
};

struct nj_tally_cause {
    const char *kind;
    const char *text; /* with # for figures and digests; of a single failure its own text */
    size_t count;
    size_t first; /* index in the ledger of the first that failed so */
};

struct nj_tally {
    struct nj_arena arena;
    struct nj_tally_sum all;
    struct nj_tally_sum *groups; /* in order of first appearance */
    size_t n_groups;
    struct nj_tally_sum *agents;
    size_t n_agents;
    struct nj_facts_model *models; /* by cost, falling */
    size_t n_models;
    struct nj_tally_cause *causes; /* by count, falling */
    size_t n_causes;
    size_t *cause_of; /* by ledger index: of a failed session its cause + 1, else 0 */
    size_t slowest[NJ_TALLY_SLOWEST]; /* ledger indexes, slowest first */
    size_t n_slowest;
    int64_t began_ns; /* of the run */
    int64_t ended_ns; /* of its last event */
};

/* nj_tally_new - @now_ns is what those that have not ended are timed to */
int nj_tally_new(const struct nj_ledger *ledger, int64_t now_ns, struct nj_tally *ret_tally,
                 struct nj_error *err) NJ_MUST_USE;
void nj_tally_done(struct nj_tally *tally);
NJ_DEFINE_AUTO_VAL(struct nj_tally, nj_tally_done);

/* nj_tally_normal - what is the same in failures of one cause: digits become #, as do words of at
 * least eight hex digits; @key becomes {key}, unless it is a plain word; white space one space; in
 * the arena */
const char *nj_tally_normal(struct nj_arena *arena, const char *text, const char *key);

#endif
