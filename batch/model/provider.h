/*
 * provider.h - one provider of models: one const descriptor, and what it owes the chain walker
 *
 * chain.c walks a role's chain and decides what follows a failure; a provider makes single tries
 * and knows nothing of chains. For each model of a chain models.c calls open() once. A try is
 * begin(), then from the loop (never from inside begin()) any number of first_byte/headers and
 * exactly one of replied/failed/unasked, after which the try is gone; or cancel(), after which
 * nothing comes.
 *
 *   open -> { begin -> (headers, first_byte) -> replied | failed | cancel() } ... -> close
 *                \-> unasked
 *
 * Nothing half-read is ever a reply: a provider calls replied with the whole reply, checked, or
 * failed with why. What a failure means to the call (again, the next model, the end, the run's end)
 * is the walker's policy; the provider only says what it saw.
 */
#ifndef NJ_MODEL_PROVIDER_H
#define NJ_MODEL_PROVIDER_H

#include "batch/http/header.h"
#include "batch/model/model.h"
#include "batch/session/session.h"
#include "formats/manifest/manifest.h"

#define NJ_TRY_RAW_MAX_BYTES 65536u /* of what is kept of a failed try */

struct event_base;
struct nj_http;
struct nj_model;
struct nj_request_policy; /* request.h */
struct nj_models_gate;
struct nj_try;

/* What the providers share; owned by struct nj_models, valid for the life of every model. */
struct nj_model_services {
    struct event_base *base;           /* NULL until nj_models_attach() */
    struct nj_http *http;              /* NULL until then, and while no model needs it */
    struct nj_credentials credentials; /* ask is NULL: there are none */
    int script_log_fd;                 /* NJ_SCRIPT_LOG, or -1 */
    void (*on_piece)(void *ctx);       /* of the loop's work; or NULL */
    void *piece_ctx;
};

/* One model of a chain, opened. */
struct nj_model {
    const struct nj_provider *provider;
    const struct nj_manifest_model *spec;
    const struct nj_model_services *services;
    void *state;                 /* the provider's own */
    struct nj_models_gate *gate; /* shared by all that ask the same; NULL: none is needed */
    bool shares_state;           /* with an earlier model (is_same): close() is not for this one */
    size_t n_tally;     /* counters that the walker keeps for this model in each session... */
    size_t tally_first; /* ...and where they begin among the session's */
};

/* What one try is asked with. Everything is borrowed until the try ended. */
struct nj_try_request {
    const struct nj_session *session;
    size_t n_messages;        /* the first so many items of the conversation are sent */
    uint64_t turn;            /* of the reply, from 1 */
    uint64_t attempt;         /* of this turn, from 1 */
    uint64_t session_attempt; /* of the session, from 1 */
    const char *item_json;    /* the item's fields, a JSON object */
    uint32_t *tally;          /* n_tally counters, or NULL */
    struct nj_span tools;     /* JSON array of {name, description, input_schema}, or empty */
    const struct nj_digest *identity;       /* the session's, for its trace; NULL: its config's */
    const struct nj_request_policy *policy; /* NULL: the model's own figures, no caching */
};

struct nj_try_reply {
    struct nj_span content; /* raw JSON array of content blocks */
    const char *model;      /* what answered, as the provider names it; NULL: as in the manifest */
    const char *request_id; /* NULL: none */
    enum nj_stop stop;
    struct nj_usage usage;
    unsigned variants; /* NJ_VARIANT_ bits: how a compatible server differed (dialect.h) */
};

/* What the provider itself says about another try. */
enum nj_try_verdict {
    NJ_TRY_AGAIN, /* it may pass: the same request can succeed later */
    NJ_TRY_FINAL, /* this model will answer the same request alike */
    NJ_TRY_STOP,  /* nothing that uses this credential or this model can succeed until a person acts
                   */
    NJ_TRY_OVER   /* our own fault, no model's: the call ends */
};

struct nj_try_failure {
    enum nj_manifest_cause cause;
    enum nj_try_verdict verdict;
    const char *text;       /* what was wrong and where, and the cure where there is one */
    const char *request_id; /* NULL: none */
    int http_status;        /* 0: no answer came */
    struct nj_span raw;     /* what was received, from its beginning, under a cap; may be empty */
    struct nj_usage usage;  /* as far as it is known: what a cut stream had told so far */
};

struct nj_try_callbacks {
    void (*replied)(void *ctx, const struct nj_try_reply *reply);
    void (*failed)(void *ctx, const struct nj_try_failure *failure);
    /* headers - those of the final answer, before its body: rate limits are read from them. May be
     * NULL. */
    void (*headers)(void *ctx, int http_status, const struct nj_http_header *headers,
                    size_t n_headers);
    /* first_byte - the reply begins to come: its prompt is in the provider's cache now. May be
     * NULL. */
    void (*first_byte)(void *ctx);
    /* unasked - what begin() would have failed with, had it known: nothing was sent */
    void (*unasked)(void *ctx, const struct nj_error *why);
    /* counted - the ending of count(), in place of replied */
    void (*counted)(void *ctx, uint64_t input_tokens);
    void *ctx;
};

/* What a try would come to, where that follows from the conversation alone. */
struct nj_foreseen {
    bool failed;
    enum nj_manifest_cause cause;
    enum nj_try_verdict verdict;
};

struct nj_provider {
    const char *name; /* as in the manifest */

    /* open - read what the model needs; services->base is not there yet. Fails with NJ_E_INPUT for
     * what a person must mend. */
    int (*open)(struct nj_model *model, int dir_fd, struct nj_error *err);
    void (*close)(struct nj_model *model);

    /* is_same - may two models share one state? NULL: never */
    bool (*is_same)(const struct nj_manifest_model *a, const struct nj_manifest_model *b);

    /* digest - chain in what answers depend on that the manifest does not show. NULL: nothing */
    void (*digest)(const struct nj_model *model, struct nj_digest *digest);

    int (*begin)(const struct nj_model *model, const struct nj_try_request *request,
                 const struct nj_try_callbacks *callbacks, struct nj_try **ret_try,
                 struct nj_error *err);
    void (*cancel)(struct nj_try *try);

    /* count - ask how many tokens the prompt of begin() would have; a try of its own that ends with
     * counted or failed. NULL: nobody can be asked. Fails with NJ_E_INPUT where the service counts
     * none. */
    int (*count)(const struct nj_model *model, const struct nj_try_request *request,
                 const struct nj_try_callbacks *callbacks, struct nj_try **ret_try,
                 struct nj_error *err);

    /* bound - the most that one try can cost, where the provider knows better than its usage and
     * prices tell. NULL: it does not */
    uint64_t (*bound)(const struct nj_model *model);

    /* foresee - what begin() with @request will come to, with its mark left in the tally: how the
     * counters of earlier turns are rebuilt after a crash. NULL: nobody can know */
    int (*foresee)(const struct nj_model *model, const struct nj_try_request *request,
                   struct nj_foreseen *ret_foreseen, struct nj_error *err);
};

extern const struct nj_provider nj_provider_script;
extern const struct nj_provider nj_provider_anthropic;
extern const struct nj_provider nj_provider_openai;

#endif
