/*
 * show_inside.h - what text and JSON share; private to show*.c
 */
#ifndef NJ_REPLAY_SHOW_INSIDE_H
#define NJ_REPLAY_SHOW_INSIDE_H

#include <jansson.h>

#include "formats/object/ran.h"
#include "replay/show.h"

/* A row with its event read; a zeroed one is valid. */
struct nj_shown {
    struct nj_buf buf;
    struct nj_event event;
    struct nj_span first;       /* OPENED's message */
    const struct nj_call *call; /* TOOL_DONE: what was asked for; NULL: lost */
    struct nj_changes changes;
    bool has_changes; /* the row can change files, and what it changed could be read */
};

void nj_shown_done(struct nj_shown *shown);
NJ_DEFINE_AUTO_VAL(struct nj_shown, nj_shown_done);

int nj_shown_load(struct nj_show *show, const struct nj_row *row, struct nj_shown *shown,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_shown_outcome, nj_shown_meta - of a TOOL_DONE or JUDGED; NULL for all others */
const struct nj_call_outcome *nj_shown_outcome(const struct nj_shown *shown);
const struct nj_call_meta *nj_shown_meta(const struct nj_shown *shown);

/* nj_show_ran - the host's files that ran in a call; false: not known, or lost. Paths are borrowed
 * from @bytes, the rest is of @arena. */
bool nj_show_ran(const struct nj_show *show, const struct nj_shown *shown, struct nj_buf *bytes,
                 struct nj_arena *arena, struct nj_ran *ret_ran);

/* nj_show_place - append which of its chain a model was, unless it was the first, as mostly */
int nj_show_place(const struct nj_event *event, struct nj_buf *out,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_shown_offset_ms - since the session was opened; 0 where a clock went back */
uint64_t nj_shown_offset_ms(const struct nj_show *show, const struct nj_row *row);

struct nj_counts {
    uint64_t replies;
    uint64_t calls;
    uint64_t checks;
    uint64_t cost_micro_usd;
    uint64_t lost_micro_usd; /* of it: spent without a reply, by failed tries and lost calls */
    int64_t time_last_ns;
};
void nj_show_count(const struct nj_show *show, struct nj_counts *ret_counts);

/* show_step.c and show_json.c */
int nj_show_step_text(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                      struct nj_error *err) NJ_MUST_USE;
int nj_show_session_json(struct nj_show *show, struct nj_buf *out,
                         struct nj_error *err) NJ_MUST_USE;
int nj_show_row_json(struct nj_show *show, const struct nj_row *row, bool full, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

#endif
