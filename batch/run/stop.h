/*
 * stop.h - `nightjar stop`: ask the engine of a run to suspend it, and wait until it has
 *
 * The engine is found through the run's lock (holder.h) and asked by signal: SIGTERM lets calls
 * under way end for a while, a second signal stops at once. Both leave a run that can be resumed.
 */
#ifndef NJ_STOP_H
#define NJ_STOP_H

#include "batch/run/state.h"

struct nj_stop_options {
    bool now;              /* calls under way are ended at once */
    uint64_t wait_seconds; /* how long the engine may take */
};

enum nj_stop_outcome {
    NJ_STOP_STOPPED = 0, /* an engine was at work and has ended */
    NJ_STOP_NOT_RUNNING, /* none was at work */
    NJ_STOP_DIED,        /* none was, though run.json says so: the engine was killed */
    NJ_STOP_NEVER_RAN,   /* none was, and the run never came to its first session */
};

/*
 * nj_run_stop - stop whoever is at work on the run @path
 *
 * @ret_state  run.json as it is now; not filled in (but to be freed) for NJ_STOP_NEVER_RAN
 *
 * Returns an enum nj_stop_outcome. Fails with NJ_E_INPUT (there is no run; its engine cannot be
 * reached from here or belongs to another user: the text says who it is) or NJ_E_LIMIT (it is still
 * at work after @wait_seconds).
 */
int nj_run_stop(const char *path, const struct nj_stop_options *options,
                struct nj_run_state *ret_state, struct nj_error *err) NJ_MUST_USE;

#endif
