/*
 * csv.h - rows of a CSV file, read strictly (RFC 4180)
 *
 * Fields are separated by one character and may stand in double quotes; then they may hold
 * separators, line ends and doubled quotes. Lines end with LF or CRLF. A byte order mark is passed
 * over, empty lines too. What is not CSV ends the reading with the line it began in; how many
 * fields a row has is for the caller to judge.
 *
 *     struct nj_csv csv;
 *     nj_csv_start(&csv, bytes, ',');
 *     while ((r = nj_csv_next(&csv, &row, err)) == 1) ... csv.row_line, row.fields[i], row.count
 *     nj_csv_row_done(&row);
 */
#ifndef NJ_CSV_H
#define NJ_CSV_H

#include "formats/base/buf.h"

#define NJ_CSV_COLUMNS_MAX 1024
#define NJ_CSV_ROW_MAX_BYTES (1u << 20) /* of the fields of one row together */

struct nj_csv {
    struct nj_span rest; /* not yet read; borrowed */
    char delimiter;
    unsigned line;     /* of rest, from 1 */
    unsigned row_line; /* in which the last row began */
};

struct nj_csv_row {
    struct nj_span fields[NJ_CSV_COLUMNS_MAX]; /* in text; valid until the next row is read */
    size_t count;
    struct nj_buf text;
};

void nj_csv_row_done(struct nj_csv_row *row); /* a zeroed one is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_csv_row, nj_csv_row_done);

/* nj_csv_start - NJ_E_INPUT for UTF-16 */
int nj_csv_start(struct nj_csv *csv, struct nj_span bytes, char delimiter,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_csv_next - 1: a row; 0: the end; NJ_E_INPUT: "line 12: what is wrong" */
int nj_csv_next(struct nj_csv *csv, struct nj_csv_row *row, struct nj_error *err) NJ_MUST_USE;

#endif
