/*
 * summary.h - what the owner of a run reads in the morning
 *
 * Counts, time, money, the slowest, failures grouped by cause with a command each, and what to type
 * next: at the end of `run` and `resume`, and by `report`.
 */
#ifndef NJ_SUMMARY_H
#define NJ_SUMMARY_H

#include "batch/report/tally.h"

struct nj_summary_style {
    size_t columns; /* lines are broken to fit; commands are not */
    bool utf8;
    bool color;
};

/* nj_summary_write - text that ends in a line break */
int nj_summary_write(const struct nj_ledger *ledger, const struct nj_tally *tally,
                     const struct nj_summary_style *style, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_summary_json - the same figures as one JSON object, in one line */
int nj_summary_json(const struct nj_ledger *ledger, const struct nj_tally *tally,
                    struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_summary_next - the command that goes on with the run; returns 1 when there is nothing to go on
 * with */
int nj_summary_next(const struct nj_ledger *ledger, const struct nj_tally *tally,
                    struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
