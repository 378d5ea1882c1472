/*
 * timeline.h - the steps of a record, and where the session stood at each
 *
 * A step is a reply, a tool call or a look of the accept command, counted from 1 in the order of
 * the record. Step 0 is the start: the workspace and the message that the session was opened with.
 * Everything else that happened (a failed attempt, a box, a suspension, the end) has a row without
 * a number.
 *
 * A row is always one of the timeline's own array: its neighbours are looked at. Rows are small and
 * made in one pass over the frames; what a row says in full is read again from its frame. Seeking
 * restores the nearest snapshot before a place and folds what comes after it, so it costs the same
 * at the end of a long session as at its beginning.
 */
#ifndef NJ_REPLAY_TIMELINE_H
#define NJ_REPLAY_TIMELINE_H

#include "batch/session/session.h"
#include "replay/record.h"

struct nj_row {
    enum nj_event_kind kind;
    bool is_step;      /* OPENED is step 0 */
    uint32_t step;     /* the step itself; without is_step: the step before */
    uint64_t sequence; /* of its EVENT frame */
    uint64_t turn;     /* REPLY, NO_REPLY, TOOL_DONE: from 1 */
    uint64_t call;     /* TOOL_DONE: in the turn, from 0; JUDGED: the round, from 1 */
    int64_t time_ns;   /* wall clock at its end */
    uint64_t duration_ms;
    uint64_t cost_micro_usd; /* a reply's, or what was spent without one: nj_event_cost() */
};

struct nj_timeline {
    struct nj_record *record; /* borrowed */
    struct nj_arena arena;    /* of the config */
    const struct nj_session_config *config;
    struct nj_row *rows; /* in the order of the record */
    size_t n_rows;
    size_t *steps;  /* row of step 0, 1, ... n_steps */
    size_t n_steps; /* the last step's number */
    char *damage;   /* salvage only: what could not be read behind the last row; NULL: nothing */
};

/* nj_timeline_new - read the frames. With @salvage the rows before a damage stand, and damage tells
 * it; a record whose very first event cannot be read is refused all the same. */
int nj_timeline_new(struct nj_record *record, bool salvage, struct nj_timeline **ret_timeline,
                    struct nj_error *err) NJ_MUST_USE;
void nj_timeline_free(struct nj_timeline *timeline);
NJ_DEFINE_AUTO_PTR(struct nj_timeline, nj_timeline_free);

/* nj_timeline_step - the row of step @wanted: from 0; negative counts from the end, -1 is the last.
 * NJ_E_INPUT says how many there are. */
int nj_timeline_step(const struct nj_timeline *timeline, int64_t wanted,
                     const struct nj_row **ret_row, struct nj_error *err) NJ_MUST_USE;

/* nj_timeline_event - the event of @row, borrowed from @buf (cleared first; its cap is
 * NJ_TIMELINE_EVENT_MAX_BYTES); a REPLY has its message_bytes, @ret_first is an OPENED's first
 * message */
#define NJ_TIMELINE_EVENT_MAX_BYTES (NJ_FRAME_PAYLOAD_MAX_BYTES + NJ_OBJECT_MAX_BYTES)
int nj_timeline_event(const struct nj_timeline *timeline, const struct nj_row *row,
                      struct nj_buf *buf, struct nj_event *ret_event, struct nj_span *ret_first,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_timeline_workspace - what the writable paths held after @row */
int nj_timeline_workspace(const struct nj_timeline *timeline, const struct nj_row *row,
                          struct nj_workspace_ref *ret_ref, struct nj_error *err) NJ_MUST_USE;

/* nj_timeline_calls - the calls that the reply of @turn asked for */
int nj_timeline_calls(const struct nj_timeline *timeline, uint64_t turn, struct nj_calls *ret_calls,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_timeline_seek - the session as it stood when frame @sequence had been folded in; 0: not yet
 * opened. It borrows the timeline's config. */
int nj_timeline_seek(const struct nj_timeline *timeline, uint64_t sequence,
                     struct nj_session **ret_session, struct nj_error *err) NJ_MUST_USE;

/* ---- what changed between two workspaces ---- */

struct nj_changes {
    uint64_t added;
    uint64_t modified;
    uint64_t deleted;
};

/* nj_timeline_changes - count what @row changed against the step before it; OPENED against an empty
 * workspace */
int nj_timeline_changes(const struct nj_timeline *timeline, const struct nj_row *row,
                        struct nj_changes *ret_changes, struct nj_error *err) NJ_MUST_USE;

/* nj_timeline_diff - the same, one callback a difference (nj_tree_diff(), before and after) */
int nj_timeline_diff(const struct nj_timeline *timeline, const struct nj_row *row,
                     nj_tree_differ differ, void *ctx, struct nj_error *err) NJ_MUST_USE;

#endif
