/*
 * joblog.h - joblog.tsv: a line for every attempt at a session that has ended
 *
 * Tab-separated, with a header line; fields are escaped as text.h says, so that `awk -F'\t'` and
 * `cut` can rely on columns. While a run is on, lines are appended as attempts end. That is not
 * synced: nj_joblog_publish() at a resume and at the end writes the file whole, each attempt
 * exactly once, by the time of its end.
 */
#ifndef NJ_JOBLOG_H
#define NJ_JOBLOG_H

#include "batch/report/ledger.h"

#define NJ_JOBLOG_NAME "joblog.tsv"

int nj_joblog_publish(int dir_fd, const struct nj_ledger *ledger, struct nj_error *err) NJ_MUST_USE;

/* nj_joblog_open - to append to; the file must have been published */
int nj_joblog_open(int dir_fd, int *ret_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_joblog_append - the line of attempt @index (from 0) */
int nj_joblog_append(int fd, const struct nj_facts *facts, size_t index,
                     struct nj_error *err) NJ_MUST_USE;

#endif
