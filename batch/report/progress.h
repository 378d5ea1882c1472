/*
 * progress.h - what a run says on standard error while it works
 *
 * On a terminal a panel that is redrawn in place (panel.h), one write a frame, with a line above it
 * for every failure. Elsewhere lines: one for every session in small runs and for every failure in
 * all, and one with figures every ten seconds in large ones. Quiet says nothing; verbose says when
 * sessions begin, and more about how they ended. TERM=dumb gets lines, NO_COLOR no colours, a
 * locale without UTF-8 none.
 *
 *     nj_progress_new()     early, while the terminal may still be opened
 *     nj_progress_start()   the plan is known
 *     nj_progress_begun(), _ended()    from here on
 *     nj_progress_tick()    every NJ_PROGRESS_TICK_MS, and after SIGWINCH and SIGCONT
 *     nj_progress_clear()   before somebody else writes there, and before the process stops
 */
#ifndef NJ_PROGRESS_H
#define NJ_PROGRESS_H

#include "batch/report/panel.h"
#include "formats/journal/facts.h"

#define NJ_PROGRESS_TICK_MS 250

enum nj_progress_mode { NJ_PROGRESS_NORMAL, NJ_PROGRESS_QUIET, NJ_PROGRESS_VERBOSE };

struct nj_progress;

int nj_progress_new(enum nj_progress_mode mode, struct nj_progress **ret_progress,
                    struct nj_error *err) NJ_MUST_USE;
void nj_progress_free(struct nj_progress *progress);
NJ_DEFINE_AUTO_PTR(struct nj_progress, nj_progress_free);

/* Figures that change, for the caller to keep: running, suspended, stopping, spent, slowest. The
 * rest is kept here. */
struct nj_panel *nj_progress_panel(struct nj_progress *progress);

/* nj_progress_start - @succeeded and @failed ended under earlier engines of the run; @job is
 * borrowed */
void nj_progress_start(struct nj_progress *progress, const char *job, size_t total,
                       size_t succeeded, size_t failed);

bool nj_progress_is_terminal(const struct nj_progress *progress);

void nj_progress_begun(struct nj_progress *progress, const char *key);
void nj_progress_ended(struct nj_progress *progress, const struct nj_facts *facts);
void nj_progress_tick(struct nj_progress *progress);
void nj_progress_clear(struct nj_progress *progress);

#endif
