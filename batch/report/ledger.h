/*
 * ledger.h - all sessions of a run in figures
 *
 * Filled by the engine from what it packed, or by anybody from the run's journal: archived sessions
 * give their facts, the others are folded from their events up to the last commit. Reading on later
 * folds only what came since.
 *
 *     nj_ledger_init() -> nj_ledger_read() or nj_ledger_add()... -> nj_ledger_at() ->
 * nj_ledger_done()
 */
#ifndef NJ_LEDGER_H
#define NJ_LEDGER_H

#include "batch/report/fold.h"
#include "formats/journal/journal.h"

#define NJ_LEDGER_SESSIONS_MAX 1000000

struct nj_ledger_entry {
    struct nj_facts facts; /* valid when there is no fold */
    struct nj_fold *fold;  /* not archived: its figures so far */
    bool known;            /* there is anything about it */
};

struct nj_ledger {
    /* what the caller knows of the run; borrowed texts */
    const char *job;
    const char *run_path;        /* as a person would type it */
    const char *state;           /* of run.json */
    const char *stop_reason;     /* likewise; NULL or "": it did not stop early */
    int64_t deadline_s;          /* likewise; 0: none */
    size_t total;                /* sessions planned; at least those in the journal */
    uint64_t usd_per_hour_micro; /* report.runtime_usd_per_hour; 0: runtime has no price */

    int64_t started_ns;              /* the first RUN frame; 0: none yet */
    int64_t last_ns;                 /* the last event seen */
    uint64_t epochs;                 /* engines that have worked on it */
    struct nj_ledger_entry *entries; /* by session number - 1 */
    size_t n_entries;
    size_t cap_entries;
    struct nj_arena arena; /* texts of the archived */
};

void nj_ledger_init(struct nj_ledger *ledger);
void nj_ledger_done(struct nj_ledger *ledger);
NJ_DEFINE_AUTO_VAL(struct nj_ledger, nj_ledger_done);

/* nj_ledger_add - packed facts of session @number (from 1); what was known of it is replaced */
int nj_ledger_add(struct nj_ledger *ledger, uint32_t number, struct nj_span packed,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_ledger_add_waiting - session @number is planned and has not begun */
int nj_ledger_add_waiting(struct nj_ledger *ledger, uint32_t number, const char *key,
                          const char *group, const char *agent, struct nj_error *err) NJ_MUST_USE;

/* nj_ledger_read - fold all that @journal has to its last commit; call it again for what came
 * since. Returns whether anything came. Fails as nj_journal_next() does. */
int nj_ledger_read(struct nj_ledger *ledger, struct nj_journal *journal,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_ledger_run_time - when the epoch of a RUN frame began */
int nj_ledger_run_time(struct nj_span payload, int64_t *ret_ns, struct nj_error *err) NJ_MUST_USE;

/* nj_ledger_at - by index from 0; NULL when nothing is known of that session */
const struct nj_facts *nj_ledger_at(const struct nj_ledger *ledger, size_t index);

/* nj_ledger_status - succeeded, failed, skipped; suspended when it has not ended, because this is
 * asked of runs that stand still */
enum nj_status nj_ledger_status(const struct nj_facts *facts);

/* nj_ledger_ended_ns - when its last attempt ended, 0 when it has not */
int64_t nj_ledger_ended_ns(const struct nj_facts *facts);

/* nj_ledger_busy_ms - from its opening to its end, or to @now_ns, without the time it was down */
uint64_t nj_ledger_busy_ms(const struct nj_facts *facts, int64_t now_ns);

/* nj_ledger_runtime_cost - what held boxes are reckoned at, in micro-USD */
uint64_t nj_ledger_runtime_cost(const struct nj_ledger *ledger, uint64_t box_held_ms);

/* nj_ledger_command - append the command that replays (or shows) this session; returns 1 when there
 * is nothing to be shown */
int nj_ledger_command(const struct nj_ledger *ledger, const struct nj_facts *facts,
                      struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
