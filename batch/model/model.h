/*
 * model.h - what the live world asks replies of
 *
 * A role of the manifest is a chain of physical models. nj_model_ask() begins one logical call: the
 * chain and its retries are walked inside; @attempt is told of each failed try (to be journaled),
 * and exactly one of the two endings comes, never from inside nj_model_ask() itself but from the
 * loop. What a provider does on the wire is its own business: one provider, one const descriptor
 * (provider.h).
 */
#ifndef NJ_MODEL_H
#define NJ_MODEL_H

#include "batch/http/credential.h"
#include "batch/session/session.h"
#include "formats/manifest/manifest.h"

struct event_base;
struct nj_models;
struct nj_model_call;

/* What one call is asked with. Everything is borrowed until the ending came or the call was
 * cancelled. */
struct nj_model_request {
    const struct nj_session *session; /* conversation and config */
    uint64_t turn;                    /* of the reply, from 1 */
    const char *item_json;            /* the item's fields, a JSON object */
    uint64_t session_attempt;         /* which attempt of the session this is, from 1 */
    uint64_t attempts_failed;         /* failed tries of this turn that the journal already knows */
    size_t begins;                    /* where in the chain this turn begins (stay.h) */
    struct nj_span began; /* where earlier turns did, a byte each; those beyond it at the first */
    struct nj_span tools; /* JSON array of {name, description, input_schema}; empty: none */
    const struct nj_digest *identity; /* the session's: its trace is named after it */
};

struct nj_model_reply {
    struct nj_span content; /* raw JSON array of content blocks, borrowed for the callback */
    struct nj_span
        model; /* what really answered: "script:replies.yaml" or the provider's name for it */
    enum nj_stop stop;
    struct nj_usage usage;
    size_t place; /* in the chain, of what answered */
    uint64_t cost_micro_usd;
    uint64_t duration_ms;
    const char *request_id; /* the provider's own, NULL when it gave none */
    unsigned variants;      /* how a compatible server differed: NJ_VARIANT_ bits (dialect.h) */
};

struct nj_model_failure {
    const char *cause; /* overloaded, rate_limited, refusal, context_full, error */
    const char *text;
    const char *model;
    size_t place;            /* of it, in the chain */
    const char *request_id;  /* NULL: none */
    struct nj_span raw;      /* what was received, under a cap; borrowed for the callback */
    uint64_t cost_micro_usd; /* what the try is taken to have cost; 0 where nothing was begun */
    bool stop_run;           /* nothing that asks this model can succeed until a person acts */
};

struct nj_model_callbacks {
    void (*replied)(void *ctx, const struct nj_model_reply *reply);
    void (*failed)(void *ctx,
                   const struct nj_model_failure *failure); /* for good: the chain is used up */
    void (*attempt)(void *ctx, const struct nj_model_failure *failure); /* will be tried again */
    void *ctx;
};

/* nj_models_new - read what the roles need (script files, through @dir_fd, the manifest's
 * directory). A fault in a script file fails with NJ_E_INPUT, file, line and column. @manifest is
 * borrowed for the life of the result. Opens NJ_SCRIPT_LOG where it is set, so call it before
 * privileges are dropped; nj_models_attach() before the first nj_model_ask(). */
int nj_models_new(const struct nj_manifest *manifest, int dir_fd, struct nj_models **ret_models,
                  struct nj_error *err) NJ_MUST_USE;
void nj_models_free(struct nj_models *models);
NJ_DEFINE_AUTO_PTR(struct nj_models, nj_models_free);

/* nj_models_set_credentials - copied, before attach; without it a model that has a credential
 * cannot be asked */
void nj_models_set_credentials(struct nj_models *models, const struct nj_credentials *credentials);

/* nj_models_on_piece - before attach: as on_piece of struct nj_http_options */
void nj_models_on_piece(struct nj_models *models, void (*on_piece)(void *ctx), void *ctx);
int nj_models_attach(struct nj_models *models, struct event_base *base,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_models_digest - what a role's answers depend on that the manifest does not show: the script
 * files' bytes */
int nj_models_digest(const struct nj_models *models, size_t role, struct nj_digest *ret_digest,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_model_bound - the most, in micro-USD, that one reply in answer to @session's next prompt can
 * cost, whichever model of the chain gives it */
uint64_t nj_model_bound(const struct nj_models *models, size_t role,
                        const struct nj_session *session);

int nj_model_ask(struct nj_models *models, size_t role, const struct nj_model_request *request,
                 const struct nj_model_callbacks *callbacks, struct nj_model_call **ret_call,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_model_is_waiting - nothing is sent at present: the next try waits behind its group's first
 * call, at its model's gate, or for the time that a failed one set. Cancelled now it costs nothing.
 */
bool nj_model_is_waiting(const struct nj_model_call *call);

/* nj_model_cancel - no callback comes after it; accepts NULL. A call that ended is freed by its
 * ending. */
void nj_model_cancel(struct nj_model_call *call);

#endif
