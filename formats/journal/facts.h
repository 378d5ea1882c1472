/*
 * facts.h - one session in figures: what every view of a run is made of
 *
 * Who it was, how it ended, its attempts, and where time, tokens and money went. The figures are a
 * fold over the session's events (batch/report/fold.h); the ARCHIVED frame carries them, so that a
 * report on a finished run reads one frame a session and no events. Unknown keys of a newer build
 * are passed over. Source: formats/journal/FORMAT.md, "Archived".
 *
 * Texts and tables lie in an arena of the caller's; one arena may serve a whole run.
 */
#ifndef NJ_FACTS_H
#define NJ_FACTS_H

#include "formats/base/arena.h"
#include "formats/journal/event.h"

#define NJ_FACTS_ATTEMPTS_MAX 1000 /* of one session; what is more is not kept one by one */
#define NJ_FACTS_NAMES_MAX 32      /* models, causes: what is more is counted as "others" */
#define NJ_FACTS_TEXT_MAX_BYTES 512u
#define NJ_FACTS_LIMITS 5 /* enum nj_limit without NONE */

/* One attempt at the whole session: from its opening to an end. A suspension is no end. */
struct nj_facts_attempt {
    int64_t start_ns;      /* CLOCK_REALTIME */
    int64_t end_ns;        /* 0: under way */
    enum nj_status status; /* 0: under way */
    const char *kind;      /* of its error; "" when there is none */
    const char *text;
    uint64_t steps;
    uint64_t cost_micro_usd;
};

struct nj_facts_model {
    const char *name;
    uint64_t calls; /* complete replies */
    uint64_t duration_ms;
    uint64_t cost_micro_usd;
    struct nj_usage usage;
};

struct nj_facts_cause {
    const char *name; /* why a try of a model call failed: overloaded, rate_limited... */
    uint64_t count;
};

struct nj_facts {
    const char *key;
    const char *group;
    const char *agent;
    const char *reused;     /* the run that it was taken over from; "": it ran in this one */
    const char *bundle;     /* file name in the run's bundles folder; "" when there is none */
    enum nj_status status;  /* 0: it has not ended */
    const char *error_kind; /* "" unless it failed */
    const char *error_text;
    int64_t opened_ns; /* 0: it never began */
    struct nj_facts_attempt *attempts;
    size_t n_attempts;

    uint64_t turns;
    uint64_t steps;
    uint64_t calls;                   /* tool calls that ended */
    uint64_t refused;                 /* of those, not run: bad input, unknown tool, lost boxes */
    uint64_t judged;                  /* runs of the accept command */
    uint64_t limits[NJ_FACTS_LIMITS]; /* how often each struck, by enum nj_limit - 1 */

    uint64_t model_ms; /* of complete replies */
    uint64_t tool_ms;
    uint64_t judge_ms;
    uint64_t cpu_ms;      /* of tool calls and judging */
    uint64_t down_ms;     /* suspended, or without an engine */
    uint64_t box_held_ms; /* a box stood ready or ran */
    uint64_t boxes_built;
    uint64_t boxes_evicted;
    uint64_t boxes_lost;

    uint64_t cost_micro_usd;
    uint64_t memory_peak_bytes; /* 0: not known on this host */
    uint64_t output_bytes;      /* that calls wrote to their two streams */
    struct nj_usage usage;      /* over all models; not stored, the sum of theirs */
    struct nj_facts_model *models;
    size_t n_models;
    struct nj_facts_cause *retries;
    size_t n_retries;
};

static inline bool nj_facts_is_reused(const struct nj_facts *facts)
{
    return facts->reused && facts->reused[0];
}

/* nj_facts_init - of a session that has not begun; the texts are copied */
int nj_facts_init(struct nj_facts *facts, struct nj_arena *arena, const char *key,
                  const char *group, const char *agent, struct nj_error *err) NJ_MUST_USE;

/* nj_facts_encode - append the canonical map */
int nj_facts_encode(const struct nj_facts *facts, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_facts_decode - the other way; @ret_facts keeps nothing of @packed */
int nj_facts_decode(struct nj_span packed, struct nj_arena *arena, struct nj_facts *ret_facts,
                    struct nj_error *err) NJ_MUST_USE;

/* ---- the ARCHIVED frame's payload ---- */

struct nj_archived {
    struct nj_span row;   /* its line in results.jsonl, without the line's end */
    struct nj_span facts; /* packed; empty in journals of the first builds */
    enum nj_status status;
    uint64_t cost_micro_usd;
};

int nj_archived_encode(const struct nj_archived *archived, struct nj_buf *out,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_archived_decode - spans are borrowed from @payload */
int nj_archived_decode(struct nj_span payload, struct nj_archived *ret_archived,
                       struct nj_error *err) NJ_MUST_USE;

#endif
