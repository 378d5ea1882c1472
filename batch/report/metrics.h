/*
 * metrics.h - metrics.prom: the run for Prometheus' textfile collector
 *
 * Gauges, because each run begins anew; a series a group, model or limit, never one a session.
 */
#ifndef NJ_METRICS_H
#define NJ_METRICS_H

#include "batch/report/tally.h"

#define NJ_METRICS_NAME "metrics.prom"

int nj_metrics_write(const struct nj_ledger *ledger, const struct nj_tally *tally,
                     struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
