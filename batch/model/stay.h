/*
 * stay.h - when a session that went down its chain comes back to the chain's first model; pure
 *
 * By default each turn begins at the first model. With `return: {after_seconds: N}` the session
 * stays with the model that answered in its place: turns begin there until N seconds have passed,
 * so that a long outage costs one failed try now and then and not one a turn, and the other model's
 * cache is used. A stay ends early when its model fails and no later one may take over. Folded from
 * replies alone, with the times they were recorded at: after a crash the record gives the same.
 */
#ifndef NJ_MODEL_STAY_H
#define NJ_MODEL_STAY_H

#include "formats/manifest/manifest.h"

/* Zeroed: with the first model. */
struct nj_stay {
    size_t place;     /* in the chain, of the model that answered last */
    int64_t since_ns; /* when the session came there; wall clock */
};

/* nj_stay_begins - where in the chain the next turn begins */
size_t nj_stay_begins(const struct nj_stay *stay, const struct nj_manifest_role *role,
                      int64_t now_ns);

/* nj_stay_replied - a turn that began at @began was answered by the model at @place */
void nj_stay_replied(struct nj_stay *stay, size_t began, size_t place, int64_t time_ns);

#endif
