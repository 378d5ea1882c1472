/*
 * inside.h - what models.c makes and chain.c walks; private to batch/model
 */
#ifndef NJ_MODEL_INSIDE_H
#define NJ_MODEL_INSIDE_H

#include "batch/model/model.h"
#include "batch/model/provider.h"

struct nj_models_role {
    const struct nj_manifest_role *spec;
    struct nj_model *chain; /* spec->n_chain of them */
    size_t n_opened;
    bool counts; /* one of them has a tally */
};

struct nj_models {
    const struct nj_manifest *manifest;
    struct nj_model_services services;
    struct nj_models_role *roles;
    size_t n_roles;
    size_t n_tally; /* counters of one session */
    void *memories; /* chain.c: tsearch() tree of where sessions stand */
    uint64_t retry_base_ms;
    size_t n_calls; /* under way */
};

/* nj_chain_forget_all - frees models->memories */
void nj_chain_forget_all(struct nj_models *models);

#endif
