/*
 * identities.h - the ingredients of a session, one by one; shared by identities.c and reuse.c
 */
#ifndef NJ_IDENTITIES_H
#define NJ_IDENTITIES_H

#include "batch/plan/reuse.h"

#define NJ_PART_HEX_CHARS 16 /* of a digest: enough to see that two are different */

struct nj_part_sink {
    int (*put)(void *ctx, const char *name, const struct nj_digest *digest, struct nj_error *err);
    void *ctx;
};

/* nj_identity_shared - what all sessions of its group share; nj_identity_own - the rest. The order
 * is that of importance: the first that is different is the one to name. */
int nj_identity_shared(const struct nj_plan *plan, const struct nj_plan_session *session,
                       const struct nj_part_sink *sink, struct nj_error *err) NJ_MUST_USE;
int nj_identity_own(const struct nj_plan *plan, const struct nj_plan_session *session,
                    const struct nj_part_sink *sink, struct nj_error *err) NJ_MUST_USE;

#endif
