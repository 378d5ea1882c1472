/*
 * html.h - report.html: a run as one page that needs nothing else
 *
 * Totals, what to type next, failures by cause, a timeline, distributions, costs by model, group
 * and agent, and a table of the sessions. Readable without scripts; with them the table can be
 * searched, filtered and sorted. A policy in the page forbids every request and every script but
 * its own, and foreign text is escaped where it goes. Beyond NJ_HTML_SESSIONS_MAX sessions the
 * table keeps the failed ones first, and says so.
 */
#ifndef NJ_HTML_H
#define NJ_HTML_H

#include "batch/report/tally.h"

#define NJ_HTML_NAME "report.html"
#define NJ_HTML_SESSIONS_MAX 5000

int nj_html_write(const struct nj_ledger *ledger, const struct nj_tally *tally, struct nj_buf *out,
                  struct nj_error *err) NJ_MUST_USE;

#endif
