/*
 * divergence.h - where a replay differs from its record, and how to say it
 *
 * A difference has a place (a step, the end of the session), a subject (exit, standard output, a
 * path of the workspace...) and one sentence that names both sides. The comparisons here are pure;
 * what they say is escaped and can be shown as it is.
 */
#ifndef NJ_REPLAY_DIVERGENCE_H
#define NJ_REPLAY_DIVERGENCE_H

#include "formats/journal/event.h"
#include "formats/snapshot/snapshot.h"

#define NJ_DIVERGENCES_KEPT_MAX 1000 /* the rest is counted */
#define NJ_DIVERGENCE_TEXT_MAX_BYTES 4096

/* What differs: enumerator, name for machines. */
#define NJ_DIVERGENCE_KINDS(X)                                                                     \
    X(REQUEST, "request") /* what the model was asked with */                                      \
    X(EXIT, "exit")       /* how a call ended */                                                   \
    X(STDOUT, "stdout")                                                                            \
    X(STDERR, "stderr")                                                                            \
    X(ORDER, "order")         /* of standard output and error, at D3 */                            \
    X(WORKSPACE, "workspace") /* the tree afterwards */                                            \
    X(SNAPSHOT, "snapshot")   /* the state that the core folded */                                 \
    X(CLOSED, "closed")       /* status, result, outputs */                                        \
    X(RECORD, "record")       /* the order of events, or an event that the core refuses */

enum nj_divergence_kind {
#define X(name, text) NJ_DIVERGENCE_##name,
    NJ_DIVERGENCE_KINDS(X)
#undef X
};

const char *nj_divergence_kind_text(enum nj_divergence_kind kind);

struct nj_divergence {
    uint64_t step; /* 0: the start */
    enum nj_divergence_kind kind;
    char *where; /* "step 3 (call 1 of turn 2)", "the end of the session" */
    char *what;  /* "standard output differs at byte 17: recorded "...", now "..."" */
};

struct nj_divergences {
    struct nj_divergence *items;
    size_t n_items;
    size_t cap_items;
    uint64_t count;      /* of differences, kept or not */
    uint64_t steps;      /* of places that differ */
    uint64_t last_place; /* of the newest difference; whoever adds does so in order */
};

void nj_divergences_done(struct nj_divergences *list);
NJ_DEFINE_AUTO_VAL(struct nj_divergences, nj_divergences_done);

/*
 * nj_divergence_add - one difference more
 *
 * @place  grows along the session; differences of one place count as one step that differs
 * @where, @what  copied
 */
int nj_divergence_add(struct nj_divergences *list, uint64_t place, uint64_t step,
                      enum nj_divergence_kind kind, const char *where, const char *what,
                      struct nj_error *err) NJ_MUST_USE;

/* Each returns 0 when both sides are equal, or 1 with a sentence appended to @what. */

/* nj_compare_bytes - two whole byte strings, @name in front of the sentence */
int nj_compare_bytes(const char *name, struct nj_span recorded, struct nj_span now,
                     struct nj_buf *what, struct nj_error *err) NJ_MUST_USE;

/* nj_compare_stream - head, tail, length and digest of the whole; where only the left-out middle
 * differs, it says between which bytes */
int nj_compare_stream(const char *name, const struct nj_stream *recorded,
                      const struct nj_stream *now, struct nj_buf *what,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_compare_exit - kind, status and limit; a refusal by its text */
int nj_compare_exit(const struct nj_call_outcome *recorded, const struct nj_call_outcome *now,
                    struct nj_buf *what, struct nj_error *err) NJ_MUST_USE;

/* nj_compare_trees - the first path that differs (in the order of a walk), what differs about it,
 * and how many more */
int nj_compare_trees(const struct nj_object_source *recorded_source,
                     const struct nj_digest *recorded, const struct nj_object_source *now_source,
                     const struct nj_digest *now, struct nj_buf *what,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_compare_snapshots - names the fields */
int nj_compare_snapshots(const struct nj_snapshot *recorded, const struct nj_snapshot *now,
                         struct nj_buf *what, struct nj_error *err) NJ_MUST_USE;

/* nj_describe_exit - append "exit status 3", "killed by signal 9 (KILL)", "refused: ...", and the
 * limit that was met */
int nj_describe_exit(const struct nj_call_outcome *outcome, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

#endif
