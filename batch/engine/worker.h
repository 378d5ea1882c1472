/*
 * worker.h - work that would stall the loop, in a process of its own
 *
 * The child is a fork without exec: it sees the engine's memory as of now, copy on write, and
 * shares nothing that it changes. It may allocate, compress and write files; it must not touch the
 * loop, the journal's writer or a box. Its failure is one error, told to the loop.
 */
#ifndef NJ_WORKER_H
#define NJ_WORKER_H

#include "formats/base/error.h"

struct event_base;
struct nj_worker;

typedef int (*nj_worker_main)(void *ctx, struct nj_error *err); /* in the child; 0 or negative */
typedef void (*nj_worker_done)(void *ctx,
                               const struct nj_error *err); /* in the loop; NULL: all well */

int nj_worker_start(struct event_base *base, nj_worker_main work, nj_worker_done done, void *ctx,
                    struct nj_worker **ret_worker, struct nj_error *err) NJ_MUST_USE;

/* nj_worker_cancel - kill and reap it; @done will not be called; accepts NULL. A worker that ended
 * frees itself. */
void nj_worker_cancel(struct nj_worker *worker);

#endif
