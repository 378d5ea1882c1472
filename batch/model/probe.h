/*
 * probe.h - does each model of a manifest answer, with its credential, at its host?
 *
 * The cheapest call there is: where the service counts tokens, a prompt of one word is counted,
 * which costs nothing; else a reply of a few tokens is asked for. Each service is asked once,
 * however many chains name it, and no try is repeated: whoever asks wants to know how it stands.
 */
#ifndef NJ_MODEL_PROBE_H
#define NJ_MODEL_PROBE_H

#include "batch/model/model.h"

struct nj_probe_result {
    size_t role, place; /* the first that names it */
    const struct nj_manifest_model *model;
    bool answered;
    bool counted;     /* it cost nothing */
    const char *text; /* why not, with the cure; "" when it answered */
    uint64_t duration_ms;
    uint64_t cost_micro_usd;
};

/* nj_models_probe - ask all and wait, at most @limit_ms for the whole; @told in the order of the
 * manifest. @models is attached to no loop, and is used for nothing else afterwards. */
int nj_models_probe(struct nj_models *models, uint64_t limit_ms,
                    void (*told)(void *ctx, const struct nj_probe_result *result), void *ctx,
                    struct nj_error *err) NJ_MUST_USE;

#endif
