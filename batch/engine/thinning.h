/*
 * thinning.h - dead frames leave the journal while the run goes on
 *
 * Once a session's bundle is published and its ARCHIVED frame is durable, its other frames are
 * dead. Looked at once a second: a complete segment that is mostly dead is thinned (journal.h) by a
 * worker, one at a time. The new file is swapped in between two turns of the loop, when no worker
 * or taker holds places of the old one; publications, restores and takings wait for that moment,
 * which is a rename long. So the journal of a run stays near twice what its live sessions have in
 * it, plus a row and figures for each ended session, plus three segments that are too young.
 */
#ifndef NJ_THINNING_H
#define NJ_THINNING_H

#include "batch/engine/live.h"

#define NJ_THIN_MIN_BYTES (256u << 10) /* a smaller segment is not worth it */

/* What there is to do, once a second. */
void nj_thinning_look(struct nj_engine *engine);

/* nj_thinning_holds - no worker or taking may begin now */
bool nj_thinning_holds(const struct nj_engine *engine);

/* nj_thinning_go_on - a worker or a taking has ended */
void nj_thinning_go_on(struct nj_engine *engine);

/* nj_thinning_done - kills the worker and drops what it made; before the workers end */
void nj_thinning_done(struct nj_engine *engine);

#endif
