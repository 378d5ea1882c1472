/*
 * views.h - what a run shows and leaves for people; private to batch/engine
 *
 * Joins the engine's sessions to batch/report: progress on standard error, joblog.tsv as attempts
 * end, and at the end joblog.tsv, junit.xml, metrics.prom, report.html and the summary, all from
 * one ledger. A view that cannot be written is told and stops nothing.
 */
#ifndef NJ_VIEWS_H
#define NJ_VIEWS_H

#include "batch/engine/live.h"

/* nj_views_new - first of all: the terminal may not be this process's to open later */
int nj_views_new(const struct nj_engine_options *options, struct nj_views **ret_views,
                 struct nj_error *err) NJ_MUST_USE;
void nj_views_free(struct nj_views *views);
NJ_DEFINE_AUTO_PTR(struct nj_views, nj_views_free);

/* nj_views_begin - the engine is ready: the loop is there, and earlier epochs are folded */
int nj_views_begin(struct nj_engine *engine, struct nj_error *err) NJ_MUST_USE;

void nj_views_started(const struct nj_live *live);
void nj_views_ended(struct nj_live *live);
/* nj_views_again - an attempt ended that was not the last */
void nj_views_again(struct nj_live *live);

/* nj_views_quiet - the loop is over: the screen is clean from here on */
void nj_views_quiet(struct nj_engine *engine);

/* nj_views_publish - the files of a run that ended or was suspended, and the summary on standard
 * error; @state as in run.json */
void nj_views_publish(struct nj_engine *engine, const char *state);

#endif
