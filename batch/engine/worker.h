/*
 * worker.h - work that would stall the loop, in processes of their own
 *
 * The processes are forked without exec when the engine starts and is still small; each does one
 * piece of work after the other. (A fork for each piece would write-protect the engine's whole
 * memory each time: with 64 sessions alive that cost more than the work.) A worker therefore sees
 * the engine's memory as it was at the start, and what came later must be in the order it is sent.
 * It may allocate, compress and write files; it must not touch the loop, the journal's writer or a
 * box, and it has no descriptors but those it was allowed to keep, so that no connection of a box
 * or server lives on in it. What is lent it holds while it works: the run's lock lasts as long as
 * somebody may write into its folder, and no longer. Its failure is one error, told to the loop.
 *
 *     nj_workers_new() -> nj_worker_start() ... -> nj_workers_free()
 */
#ifndef NJ_WORKER_H
#define NJ_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/buf.h"
#include "formats/base/error.h"

#define NJ_WORKERS_KEPT_MAX 64      /* processes that wait for work */
#define NJ_WORKER_DESCRIPTORS_MAX 8 /* that a process may keep, beside the standard ones */

struct event_base;
struct nj_workers;
struct nj_worker;

/* What is sent: bytes, which are copied, and descriptors, which are borrowed; -1: none. */
struct nj_worker_order {
    struct nj_span bytes;
    int fd;    /* to write into */
    int pages; /* memory to look at: what is too long to be copied by the loop */
};
#define NJ_WORKER_ORDER_EMPTY ((struct nj_worker_order){.fd = -1, .pages = -1})

/* In the worker. What is in @order is gone afterwards; its bytes are aligned for any type. Returns
 * 0 or negative. */
typedef int (*nj_worker_main)(void *ctx, const struct nj_worker_order *order, struct nj_error *err);
typedef void (*nj_worker_done)(void *ctx,
                               const struct nj_error *err); /* in the loop; NULL: all well */

struct nj_workers_setup {
    void *ctx;                /* for @begin and every work; as it is when a process is forked */
    void (*begin)(void *ctx); /* in the new process, before its descriptors are closed; or NULL */
    int keep[NJ_WORKER_DESCRIPTORS_MAX];
    size_t n_keep;
    int lent;       /* a descriptor that a process holds while it works; -1: none */
    unsigned ahead; /* processes to fork at once */
    unsigned kept;  /* that wait for work; who ends its work above that is not needed any more */
};

int nj_workers_new(struct event_base *base, const struct nj_workers_setup *setup,
                   struct nj_workers **ret_workers, struct nj_error *err) NJ_MUST_USE;

/* nj_workers_free - ends all processes; work under way must have been cancelled. Accepts NULL. */
void nj_workers_free(struct nj_workers *workers);

/* nj_worker_start - there is no limit on how many work at once: that is the caller's */
int nj_worker_start(struct nj_workers *workers, nj_worker_main work,
                    const struct nj_worker_order *order, nj_worker_done done, void *done_ctx,
                    struct nj_worker **ret_worker, struct nj_error *err) NJ_MUST_USE;

/* nj_worker_cancel - kill and reap its process; @done will not be called; accepts NULL. A worker
 * that has ended is gone by itself. */
void nj_worker_cancel(struct nj_worker *worker);

#endif
