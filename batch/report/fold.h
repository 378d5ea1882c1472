/*
 * fold.h - from a session's events to its facts
 *
 * The engine folds each event as it records it; whoever reads a journal folds what it reads. Both
 * come to the same figures, because nothing else goes in:
 *
 *     nj_facts_init() -> nj_fold_event()... -> nj_facts_encode()
 *
 * Times. `down` is suspended time, and time without an engine: it begins with SUSPENDED or, where
 * an engine was killed, with the last event that it left. A box is held from BUILT until EVICTED,
 * LOST or the end. What is neither model, tool, judge nor down was spent waiting: for a slot, a
 * box, a retry.
 */
#ifndef NJ_FOLD_H
#define NJ_FOLD_H

#include "formats/journal/facts.h"

struct nj_fold {
    struct nj_facts facts;
    struct nj_arena arena; /* its texts and tables */
    int64_t last_ns;       /* of the last event; 0 before the first */
    int64_t box_since_ns;  /* 0: no box */
    int64_t down_since_ns;
    uint64_t steps_before; /* of earlier attempts */
    uint64_t cost_before;
};

void nj_fold_done(struct nj_fold *fold);
NJ_DEFINE_AUTO_VAL(struct nj_fold, nj_fold_done);

/* nj_fold_event - OPENED names the session, if nj_facts_init() has not, and begins an attempt;
 * CLOSED ends it. Fails with NJ_E_NOMEM. */
int nj_fold_event(struct nj_fold *fold, const struct nj_event *event,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_fold_continue - begin with facts that were decoded into @fold->arena: a session that was
 * archived and is tried again */
void nj_fold_continue(struct nj_fold *fold, const struct nj_facts *facts);

/* nj_fold_end - the session ended without a CLOSED event, because the engine could not go on with
 * it; it may never have been opened */
int nj_fold_end(struct nj_fold *fold, int64_t time_ns, enum nj_status status, const char *kind,
                const char *text, struct nj_error *err) NJ_MUST_USE;

#endif
