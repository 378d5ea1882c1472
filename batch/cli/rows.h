/*
 * rows.h - what a command tells in rows: a label, and a value that is wrapped beside it
 *
 *     struct nj_rows rows = {.out = &out, .columns = nj_rows_columns(), .err = err};
 *     nj_rows_put(&rows, "agent ");
 *     nj_rows_shown(&rows, agent->name);      from a person's file: escaped
 *     nj_rows_line(&rows);
 *     nj_rows_put(&rows, "%zu at once", n);   the value is put together ...
 *     nj_rows_row(&rows, "limits");           ... and told; without a value there is no row
 *     return nj_rows_done(&rows);
 *
 * The first failure stays: what is put after it is passed over, and nj_rows_done() returns it.
 */
#ifndef NJ_CLI_ROWS_H
#define NJ_CLI_ROWS_H

#include "formats/base/buf.h"

#define NJ_ROWS_COLUMNS 79 /* where no terminal has less */

struct nj_rows {
    struct nj_buf *out;   /* borrowed */
    size_t columns;       /* lines are broken between words to fit */
    struct nj_buf value;  /* of the row that is being put together */
    struct nj_error *err; /* borrowed */
    int r;
};

/* nj_rows_columns - for what goes to standard output */
size_t nj_rows_columns(void);

void nj_rows_put(struct nj_rows *rows, const char *fmt, ...) NJ_PRINTF(2, 3);
void nj_rows_shown(struct nj_rows *rows, const char *text); /* escaped */
void nj_rows_size(struct nj_rows *rows, uint64_t bytes);    /* "512 MiB" */
void nj_rows_usd(struct nj_rows *rows, int64_t micro_usd);  /* "0.50 USD" */
void nj_rows_time(struct nj_rows *rows, uint64_t seconds);  /* "90 s", "1 h 30 min", "2 d" */

/* nj_rows_row - two blanks, the label, and the value beside it; empty values have no row */
void nj_rows_row(struct nj_rows *rows, const char *label);

/* nj_rows_line - the value alone, from the first column on; its rest is set in by four more */
void nj_rows_line(struct nj_rows *rows);

/* nj_rows_wrap - lines of other makers, each wrapped and its rest set in by four more */
void nj_rows_wrap(struct nj_rows *rows, struct nj_span text);

/* nj_rows_done - frees what the rows holds; the first failure, or 0 */
int nj_rows_done(struct nj_rows *rows) NJ_MUST_USE;

#endif
