/*
 * view.h - a run opened to be looked at: its folder, what run.json tells, and its ledger
 *
 * Works beside a live engine and after it; needs no lock, and writes nothing.
 */
#ifndef NJ_CLI_VIEW_H
#define NJ_CLI_VIEW_H

#include "batch/report/summary.h"
#include "batch/run/holder.h"
#include "batch/run/run_dir.h"
#include "batch/run/state.h"

struct nj_view {
    struct nj_run_dir dir;
    struct nj_run_state state;
    struct nj_journal *journal;
    struct nj_ledger ledger;
    struct nj_holder holder;
    bool working; /* an engine holds the run */
};

/* nj_view_open - read folder and run.json; the ledger is empty still. Before it reads it confines
 * this process (confine.h): from then on the run can be read, and files made below @write_fd (-1:
 * none, and root becomes the run's owner), and that is all. */
int nj_view_open(const char *run_path, int write_fd, struct nj_view *ret_view,
                 struct nj_error *err) NJ_MUST_USE;
void nj_view_done(struct nj_view *view);
NJ_DEFINE_AUTO_VAL(struct nj_view, nj_view_done);

/* Declare with this value: a zeroed one would close descriptor 0. */
#define NJ_VIEW_EMPTY                                                                              \
    {                                                                                              \
        .dir = NJ_RUN_DIR_EMPTY                                                                    \
    }

/* nj_view_refresh - run.json and who holds the run, again */
int nj_view_refresh(struct nj_view *view, struct nj_error *err) NJ_MUST_USE;

/* nj_view_read - fold what the journal has got since; returns whether anything came */
int nj_view_read(struct nj_view *view, struct nj_error *err) NJ_MUST_USE;

/* nj_view_journal_bytes - how much there is to read */
uint64_t nj_view_journal_bytes(const struct nj_view *view);

int64_t nj_view_now_ns(void);

/* nj_view_style - of text on @fd */
struct nj_summary_style nj_view_style(int fd);

#endif
