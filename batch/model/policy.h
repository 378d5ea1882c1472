/*
 * policy.h - what a request holds beside the conversation: breakpoints, a schema, notes; pure
 *
 * A function of the session's state and the model's capabilities, so that the same state gives the
 * same request.
 */
#ifndef NJ_MODEL_POLICY_H
#define NJ_MODEL_POLICY_H

#include "batch/model/request.h"

struct nj_policy {
    struct nj_request_policy request;
    struct nj_span *noted; /* by item, n_noted of them; empty: the item as it is */
    size_t n_noted;
    struct nj_arena notes; /* items that stand for what is left out */
};

/* nj_policy_decide - fill @policy, which was zeroed or decided before. Its request borrows from it
 * and from the session, so it must not move while a try is under way. */
int nj_policy_decide(struct nj_policy *policy, const struct nj_manifest_model *model,
                     const struct nj_session *session, struct nj_error *err) NJ_MUST_USE;
void nj_policy_done(struct nj_policy *policy);

#endif
