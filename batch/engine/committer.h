/*
 * committer.h - group commit: one write and one fdatasync for all sessions that wait
 *
 * The loop appends frames to the journal's pending batch and asks to be told when what is appended
 * so far is durable. While one batch is being written by the writer thread, the next one fills;
 * whoever asks in between shares it. Callbacks come from the loop, in the order of asking.
 *
 * After a failed write or sync nothing is tried again: on_failure is called once, no waiter is ever
 * told that it is durable, and the engine stops.
 */
#ifndef NJ_COMMITTER_H
#define NJ_COMMITTER_H

#include "formats/journal/journal.h"

struct event_base;
struct nj_committer;

/* A place in the queue; embedded by whoever waits, for one thing at a time. */
struct nj_commit_waiter {
    void (*durable)(struct nj_commit_waiter *waiter);
    uint64_t ticket;
    struct nj_commit_waiter *next;
    bool queued;
};

/* nj_committer_new - starts the writer thread. @writer is borrowed and must not be committed by
 * others. */
int nj_committer_new(struct event_base *base, struct nj_journal_writer *writer,
                     void (*on_failure)(void *ctx, const struct nj_error *err), void *ctx,
                     struct nj_committer **ret_committer, struct nj_error *err) NJ_MUST_USE;

/* nj_committer_free - waits for a batch in flight, commits nothing more; waiters are not called */
void nj_committer_free(struct nj_committer *committer);
NJ_DEFINE_AUTO_PTR(struct nj_committer, nj_committer_free);

/* nj_committer_wait - call @waiter->durable when all that is appended now is durable */
void nj_committer_wait(struct nj_committer *committer, struct nj_commit_waiter *waiter);

/* nj_committer_forget - take a waiter out of the queue; it may be queued or not */
void nj_committer_forget(struct nj_committer *committer, struct nj_commit_waiter *waiter);

/* nj_committer_finish - commit everything pending now, blocking; for the end of a run */
int nj_committer_finish(struct nj_committer *committer, struct nj_error *err) NJ_MUST_USE;

uint64_t nj_committer_commits(const struct nj_committer *committer);

#endif
