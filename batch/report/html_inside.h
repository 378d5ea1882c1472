/*
 * html_inside.h - how report.html is put together; private to html*.c
 */
#ifndef NJ_HTML_INSIDE_H
#define NJ_HTML_INSIDE_H

#include "batch/report/tally.h"

struct nj_page {
    const struct nj_ledger *ledger;
    const struct nj_tally *tally;
    struct nj_buf *out;
    struct nj_error err; /* the first failure sticks, and nothing is written after it */
};

/* Text of our own, foreign text, and figures. */
void nj_page_put(struct nj_page *page, const char *markup);
void nj_page_printf(struct nj_page *page, const char *fmt, ...) NJ_PRINTF(2, 3);
void nj_page_text(struct nj_page *page, const char *foreign);
void nj_page_count(struct nj_page *page, uint64_t value);
void nj_page_short(struct nj_page *page, uint64_t value);
void nj_page_money(struct nj_page *page, uint64_t micro_usd);
void nj_page_duration(struct nj_page *page, uint64_t ms);
void nj_page_time(struct nj_page *page, int64_t time_ns);

/* html_charts.c */
void nj_page_outcome(struct nj_page *page);
void nj_page_timeline(struct nj_page *page);
void nj_page_distributions(struct nj_page *page);

/* html_tables.c */
void nj_page_causes(struct nj_page *page);
void nj_page_costs(struct nj_page *page);
void nj_page_sessions(struct nj_page *page);

#endif
