/*
 * inside.h - what models.c makes and chain.c and walk.c walk; private to batch/model
 */
#ifndef NJ_MODEL_INSIDE_H
#define NJ_MODEL_INSIDE_H

#include "batch/model/gate.h"
#include "batch/model/lead.h"
#include "batch/model/model.h"
#include "batch/model/provider.h"
#include "batch/session/context.h"

/* A group whose calls share a prefix that the model caches. */
struct nj_models_group {
    struct nj_lead lead;
    char *name;
    struct nj_models_group *next;
};

/* The gate before one (provider, base_url, model), with the loop's clock. */
struct nj_models_gate {
    struct nj_gate gate;
    const struct nj_manifest_model *spec; /* the first that named it */
    const struct nj_model_services *services;
    struct event *timer;            /* when to look who may go */
    struct nj_token_rate rate;      /* what it makes of a prompt's bytes */
    struct nj_models_group *groups; /* of jobs, as they come */
    struct nj_models_gate *next;
};

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
    struct nj_models_gate *gates;
    uint64_t tickets; /* drawn so far */
    void *memories;   /* walk.c: tsearch() tree of where sessions stand */
    uint64_t retry_base_ms;
    size_t n_calls; /* under way */
};

/* nj_models_detach - models.c: nothing of them is on the loop any more */
void nj_models_detach(struct nj_models *models);

/* ---- turnstile.c: gates on the loop ---- */

/* nj_turnstile_open - the gate that @model's calls go through, made where it is the first */
int nj_turnstile_open(struct nj_models *models, struct nj_model *model,
                      struct nj_error *err) NJ_MUST_USE;
int nj_turnstile_attach(struct nj_models *models, struct event_base *base,
                        struct nj_error *err) NJ_MUST_USE;
void nj_turnstile_detach(struct nj_models *models);
void nj_turnstile_free_all(struct nj_models *models);
uint64_t nj_turnstile_now_ms(void);
void nj_turnstile_wake(struct nj_models_gate *gate); /* somebody entered or ended: look again */

/* nj_turnstile_group - the group's lead at this gate, made where it is the first call of it */
int nj_turnstile_group(struct nj_models_gate *gate, const char *name, struct nj_lead **ret_lead,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_chain_admit - chain.c: it is this place's turn */
void nj_chain_admit(struct nj_gate_place *place);
/* nj_chain_follow - chain.c: its group's first call went ahead, or it is that call */
void nj_chain_follow(struct nj_lead_place *place);

/* nj_walk_forget_all - walk.c: frees models->memories */
void nj_walk_forget_all(struct nj_models *models);

#endif
