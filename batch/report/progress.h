/*
 * progress.h - what a run says on standard error while it works
 *
 * On a terminal one line, rewritten; elsewhere a line for every session that ends. Names are
 * escaped: they come from files and agents.
 */
#ifndef NJ_PROGRESS_H
#define NJ_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nj_progress {
    bool quiet;
    bool terminal;
    size_t total;
    size_t succeeded;
    size_t failed;
    size_t running;
    int64_t spent_micro_usd;
    int64_t started_ms; /* CLOCK_MONOTONIC */
    int64_t drawn_ms;
};

void nj_progress_init(struct nj_progress *progress, bool quiet, size_t total);

/* nj_progress_ended - a session ended; @status and @error may hold anything, @error NULL when it
 * succeeded */
void nj_progress_ended(struct nj_progress *progress, const char *key, bool succeeded,
                       const char *error);

/* nj_progress_draw - redraw the terminal's line, at most every 100 ms unless @now */
void nj_progress_draw(struct nj_progress *progress, bool now);

/* nj_progress_done - end the line */
void nj_progress_done(struct nj_progress *progress);

#endif
