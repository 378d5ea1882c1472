/*
 * committer.c - the writer thread and the queue of those who wait
 *
 * The one complication: a batch is handed over at the end of a loop round, not at the first
 * request, so that all sessions that finished a step in this round share the sync. Of many who were
 * told of one sync, half share the next: it is written while the other half is at work.
 */
#include "batch/engine/committer.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "batch/engine/pulse.h"

#include "formats/base/banned.h"

#define TOLD_PER_TURN 4
#define SHARED_MAX 64 /* who share a sync need not wait for more to be told */

struct nj_committer {
    struct nj_journal_writer *writer;
    void (*on_failure)(void *ctx, const struct nj_error *err);
    void *ctx;
    struct nj_commit_waiter *first;
    struct nj_commit_waiter **last;
    struct event *round; /* made active by a request: runs when the round's other events are done */
    struct event *rest;  /* more are durable than one turn of the loop tells */
    bool resting;        /* and it will come */
    size_t waiting;      /* all in the queue */
    size_t asked;        /* of them, since a batch was handed over */
    struct event *written;
    int written_fd;
    bool flying; /* a batch is with the thread */
    bool failed;
    uint64_t commits;

    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t handed;
    struct nj_journal_batch *batch;
    bool batch_written;
    int batch_result;
    struct nj_error batch_err;
    bool stop;
};

static void *write_batches(void *arg)
{
    struct nj_committer *committer = arg;

    nj_pulse_hurry();
    pthread_mutex_lock(&committer->lock);
    for (;;) {
        struct nj_journal_batch *batch;
        struct nj_error err = {0};
        uint64_t one = 1;
        int r;

        while (!committer->stop && (!committer->batch || committer->batch_written))
            pthread_cond_wait(&committer->handed, &committer->lock);
        if (!committer->batch || committer->batch_written)
            break;
        batch = committer->batch;
        pthread_mutex_unlock(&committer->lock);

        r = nj_journal_batch_write(batch, &err);

        pthread_mutex_lock(&committer->lock);
        committer->batch_result = r;
        committer->batch_err = err;
        committer->batch_written = true;
        pthread_cond_broadcast(&committer->handed);
        (void)!write(committer->written_fd, &one,
                     sizeof(one)); /* an eventfd at its limit still wakes */
    }
    pthread_mutex_unlock(&committer->lock);
    return NULL;
}

static void fail(struct nj_committer *committer, const struct nj_error *err)
{
    if (committer->failed)
        return;
    committer->failed = true;
    committer->on_failure(committer->ctx, err);
}

static void hand_over(struct nj_committer *committer)
{
    struct nj_journal_batch *batch;
    struct nj_error err = {0};

    if (committer->flying || committer->failed)
        return;
    if (nj_journal_seal(committer->writer, &batch, &err) < 0) {
        fail(committer, &err);
        return;
    }
    committer->asked = 0;
    if (!batch)
        return;
    committer->flying = true;
    pthread_mutex_lock(&committer->lock);
    committer->batch = batch;
    committer->batch_written = false;
    pthread_mutex_unlock(&committer->lock);
    pthread_cond_broadcast(&committer->handed); /* behind the lock, which it would run into */
}

/* Unless more are about to be told: then they ask soon, and share it. */
static void hand_over_shared(struct nj_committer *committer)
{
    if (!committer->resting || committer->asked >= SHARED_MAX ||
        2 * committer->asked >= committer->waiting)
        hand_over(committer);
}

/* Takes a written batch back. Returns its result. */
static int take_back(struct nj_committer *committer, struct nj_error *err)
{
    struct nj_journal_batch *batch;
    int r;

    pthread_mutex_lock(&committer->lock);
    batch = committer->batch;
    r = committer->batch_result;
    *err = committer->batch_err;
    committer->batch = NULL;
    pthread_mutex_unlock(&committer->lock);
    committer->flying = false;
    committer->commits++;
    nj_journal_batch_done(committer->writer, batch, r);
    return r;
}

/* Whoever is told goes on at once, which is work: when hundreds waited for one sync the rest are
 * told in the next turn of the loop. */
static void tell_waiters(struct nj_committer *committer)
{
    uint64_t durable = nj_journal_durable(committer->writer);
    const struct timeval now = {0};
    unsigned told = 0;

    while (committer->first && committer->first->ticket <= durable && !committer->failed) {
        struct nj_commit_waiter *waiter = committer->first;

        if (told++ == TOLD_PER_TURN) { /* without memory for it the next sync tells */
            committer->resting = evtimer_add(committer->rest, &now) == 0;
            return;
        }

        committer->first = waiter->next;
        if (!committer->first)
            committer->last = &committer->first;
        waiter->queued = false;
        committer->waiting--;
        waiter->durable(waiter);
    }
}

static void on_written(evutil_socket_t fd, short what, void *arg)
{
    struct nj_committer *committer = arg;
    struct nj_error err = {0};
    uint64_t count;

    (void)what;
    (void)!read(fd, &count, sizeof(count)); /* only a wake-up; the state is under the lock */
    if (!committer->flying)
        return;
    if (take_back(committer, &err) < 0) {
        fail(committer, &err);
        return;
    }
    tell_waiters(committer);
    if (committer->first)
        hand_over_shared(committer);
}

static void on_rest(evutil_socket_t fd, short what, void *arg)
{
    struct nj_committer *committer = arg;

    (void)fd;
    (void)what;
    committer->resting = false;
    tell_waiters(committer);
    if (committer->first) /* who was told last may ask nothing */
        hand_over_shared(committer);
}

static void on_round(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    hand_over_shared(arg);
    tell_waiters(arg); /* those whose ticket was durable when they asked */
}

int nj_committer_new(struct event_base *base, struct nj_journal_writer *writer,
                     void (*on_failure)(void *ctx, const struct nj_error *err), void *ctx,
                     struct nj_committer **ret_committer, struct nj_error *err)
{
    NJ_AUTO(nj_committer_free) struct nj_committer *committer = calloc(1, sizeof(*committer));
    sigset_t all;
    sigset_t before;
    int r;

    if (!committer)
        return nj_fail_nomem(err);
    committer->writer = writer;
    committer->on_failure = on_failure;
    committer->ctx = ctx;
    committer->last = &committer->first;
    committer->written_fd = -1;
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->handed, NULL);
    committer->written_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (committer->written_fd < 0)
        return nj_fail_errno(err, errno, "eventfd");
    committer->written =
        event_new(base, committer->written_fd, EV_READ | EV_PERSIST, on_written, committer);
    committer->round = event_new(base, -1, 0, on_round, committer);
    committer->rest = evtimer_new(base, on_rest, committer);
    if (!committer->written || !committer->round || !committer->rest ||
        event_add(committer->written, NULL) < 0)
        return nj_fail_nomem(err);
    event_priority_set(committer->round, 1);

    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&committer->thread, NULL, write_batches, committer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return nj_fail_errno(err, r, "start the journal's writer thread");
    committer->thread_runs = true;
    *ret_committer = nj_steal_ptr(&committer);
    return 0;
}

static void wait_written(struct nj_committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    while (committer->batch && !committer->batch_written)
        pthread_cond_wait(&committer->handed, &committer->lock);
    pthread_mutex_unlock(&committer->lock);
}

void nj_committer_free(struct nj_committer *committer)
{
    struct nj_error ignored = {0};

    if (!committer)
        return;
    if (committer->thread_runs) {
        wait_written(committer);
        pthread_mutex_lock(&committer->lock);
        committer->stop = true;
        pthread_cond_broadcast(&committer->handed);
        pthread_mutex_unlock(&committer->lock);
        pthread_join(committer->thread, NULL);
        if (committer->flying)
            (void)take_back(committer, &ignored); /* whoever needed it durable called _finish */
    }
    if (committer->written)
        event_free(committer->written);
    if (committer->round)
        event_free(committer->round);
    if (committer->rest)
        event_free(committer->rest);
    if (committer->written_fd >= 0)
        (void)close(committer->written_fd);
    pthread_mutex_destroy(&committer->lock);
    pthread_cond_destroy(&committer->handed);
    free(committer);
}

void nj_committer_wait(struct nj_committer *committer, struct nj_commit_waiter *waiter)
{
    assert(!waiter->queued);
    waiter->ticket = nj_journal_ticket(committer->writer);
    waiter->next = NULL;
    waiter->queued = true;
    committer->waiting++;
    committer->asked++;
    *committer->last = waiter;
    committer->last = &waiter->next;
    event_active(committer->round, EV_TIMEOUT, 0);
}

void nj_committer_forget(struct nj_committer *committer, struct nj_commit_waiter *waiter)
{
    struct nj_commit_waiter **link = &committer->first;

    if (!waiter->queued)
        return;
    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
    if (committer->last == &waiter->next)
        committer->last = link;
    waiter->queued = false;
    committer->waiting--;
}

int nj_committer_finish(struct nj_committer *committer, struct nj_error *err)
{
    int r = 0;

    if (committer->failed)
        return nj_fail(err, NJ_E_SYSTEM, "the journal failed before");
    if (committer->flying) {
        wait_written(committer);
        r = take_back(committer, err);
    }
    if (r == 0)
        r = nj_journal_commit(committer->writer, err);
    if (r < 0)
        committer->failed = true; /* the caller knows: it has the error */
    return r;
}

uint64_t nj_committer_commits(const struct nj_committer *committer)
{
    return committer->commits;
}
