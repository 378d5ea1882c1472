/*
 * start.h - what stands between the command line and the first round of the loop; private to
 * batch/engine
 */
#ifndef NJ_ENGINE_START_H
#define NJ_ENGINE_START_H

#include "batch/engine/live.h"

/* ---- start.c ---- */

/*
 * nj_engine_start - everything up to a ready engine
 *
 * A new run: read the manifest, make the folder, plan, keep copies of what was read; a folder that
 * this call made is removed when it fails before anything was journaled. A resume: read all of that
 * back and fold the journal. Then, in this order: the sandbox's helper (while still privileged and
 * without threads), the unprivileged user, the journal's next epoch, the loop.
 */
int nj_engine_start(struct nj_engine *engine, struct nj_manifest_faults *faults,
                    struct nj_error *err) NJ_MUST_USE;

/* ---- tell.c ---- */

/* nj_engine_publish_state - run.json, durable; @state is running, suspended, finished or failed.
 * Ends the thread that kept it current, if there was one. */
int nj_engine_publish_state(struct nj_engine *engine, const char *state,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_engine_post_state - run.json as the running engine stands now, soon; never blocks */
void nj_engine_post_state(struct nj_engine *engine);

/* nj_engine_publish_results - results.jsonl, a row a session in plan order */
int nj_engine_publish_results(struct nj_engine *engine, struct nj_error *err) NJ_MUST_USE;

#endif
