/*
 * show.h - a session's timeline and its steps, as text for a person or one JSON object a line
 *
 * Each call appends to a buffer that the caller prints and clears, so that a long session needs the
 * memory of one row. What cannot be read in a damaged record (nj_show's salvage) is shown as lost,
 * with its reason, and the rest goes on.
 */
#ifndef NJ_REPLAY_SHOW_H
#define NJ_REPLAY_SHOW_H

#include "replay/timeline.h"

struct nj_show {
    const struct nj_timeline *timeline;
    bool json;
    bool salvage;
    size_t columns; /* of the terminal that rows are wrapped for; 0: each is as long as it is */
    /* of the rows shown so far */
    struct nj_calls calls; /* of the turn that is shown */
    uint64_t calls_turn;   /* 0: none yet */
};

void nj_show_done(struct nj_show *show);
NJ_DEFINE_AUTO_VAL(struct nj_show, nj_show_done);

/* nj_show_session - who the session is, how it stands, its digests and damage */
int nj_show_session(struct nj_show *show, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_show_row - one row of the timeline; rows are shown in order */
int nj_show_row(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                struct nj_error *err) NJ_MUST_USE;

/* nj_show_step - one step in full */
int nj_show_step(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                 struct nj_error *err) NJ_MUST_USE;

#endif
