/*
 * probe.c - one small call to each service, all at once
 */
#include "batch/model/probe.h"

#include <event2/event.h>
#include <time.h>

#include "batch/model/inside.h"
#include "batch/model/price.h"
#include "batch/model/request.h"

#include "formats/base/banned.h"

#define REPLY_TOKENS 16 /* some services want more than one */

struct probe {
    struct probing *probing;
    const struct nj_model *model;
    struct nj_probe_result result;
    struct nj_request_policy policy;
    struct nj_try *try;
    struct timespec began;
    bool ended;
    char text[NJ_ERROR_TEXT_MAX_BYTES];
};

struct probing {
    struct nj_models *models;
    struct event_base *base;
    struct nj_session *session;
    struct probe *probes;
    size_t n_probes;
    size_t n_open;
};

/* ---- a conversation of one word ---- */

static const struct nj_session_config config = {.key = "check",
                                                .group = "check",
                                                .agent = "check",
                                                .role = "check",
                                                .instructions = "",
                                                .reproducible = "D0",
                                                .turns_max = 1,
                                                .budget_micro_usd = -1};

static int put_nowhere(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    (void)ctx;
    (void)object;
    (void)err;
    return 0;
}

static int make_session(struct nj_session **ret_session, struct nj_error *err)
{
    const struct nj_object_sink sink = {.put = put_nowhere};
    NJ_AUTO(nj_session_free) struct nj_session *session = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    struct nj_event opened = {.kind = NJ_EVENT_OPENED};

    nj_buf_init(&first, NJ_MESSAGE_MAX_BYTES);
    if (nj_session_new(&config, &session, err) < 0 ||
        nj_message_user_text(nj_span_text("Hello"), &first, err) < 0)
        return -(int)err->code;
    opened.opened.config = session->config_digest;
    nj_digest_bytes(first.data, first.len, &opened.opened.first);
    if (nj_session_step(session, &opened, nj_buf_span(&first), &sink, err) < 0)
        return -(int)err->code;
    *ret_session = nj_steal_ptr(&session);
    return 0;
}

/* ---- endings ---- */

static void end(struct probe *probe, const char *text)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    probe->result.duration_ms = (uint64_t)((now.tv_sec - probe->began.tv_sec) * 1000 +
                                           (now.tv_nsec - probe->began.tv_nsec) / 1000000);
    (void)snprintf(probe->text, sizeof(probe->text), "%s", text);
    probe->result.text = probe->text;
    probe->result.answered = !*text;
    probe->ended = true;
    probe->try = NULL;
    if (--probe->probing->n_open == 0)
        (void)event_base_loopbreak(probe->probing->base);
}

static void on_replied(void *ctx, const struct nj_try_reply *reply)
{
    struct probe *probe = ctx;

    probe->result.cost_micro_usd = nj_price_cost(&probe->model->spec->price, &reply->usage);
    end(probe, "");
}

static void on_counted(void *ctx, uint64_t input_tokens)
{
    struct probe *probe = ctx;

    (void)input_tokens;
    probe->result.counted = true;
    end(probe, "");
}

static void on_failed(void *ctx, const struct nj_try_failure *failure)
{
    /* A refusal is the model's own word: key, host and model are right. */
    end(ctx, failure->cause == NJ_CAUSE_REFUSAL ? "" : failure->text);
}

static void on_unasked(void *ctx, const struct nj_error *why)
{
    end(ctx, why->text);
}

/* ---- asking ---- */

static int ask(struct probe *probe, struct nj_error *err)
{
    const struct nj_try_callbacks callbacks = {.replied = on_replied,
                                               .failed = on_failed,
                                               .unasked = on_unasked,
                                               .counted = on_counted,
                                               .ctx = probe};
    const struct nj_provider *provider = probe->model->provider;
    const struct nj_try_request request = {.session = probe->probing->session,
                                           .n_messages = probe->probing->session->n_messages,
                                           .turn = 1,
                                           .attempt = 1,
                                           .session_attempt = 1,
                                           .item_json = "{}",
                                           .policy = &probe->policy};

    /* Parameters may ask for more tokens than a few (a budget for thinking): then all are let be.
     */
    if (!probe->model->spec->parameters)
        probe->policy.max_tokens = REPLY_TOKENS;
    if (provider->count && probe->model->spec->can.count_tokens)
        return provider->count(probe->model, &request, &callbacks, &probe->try, err);
    return provider->begin(probe->model, &request, &callbacks, &probe->try, err);
}

static bool is_asked(const struct probing *probing, const struct nj_model *model)
{
    for (size_t i = 0; i < probing->n_probes; i++)
        if (probing->probes[i].model->gate == model->gate)
            return true;
    return false;
}

/* Whoever has a gate is a service; what a script says depends on no network. */
static int collect(struct probing *probing, struct nj_error *err)
{
    const struct nj_models *models = probing->models;
    size_t count = 0;

    for (size_t i = 0; i < models->n_roles; i++)
        count += models->roles[i].n_opened;
    probing->probes = calloc(count + 1, sizeof(*probing->probes));
    if (!probing->probes)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < models->n_roles; i++)
        for (size_t k = 0; k < models->roles[i].n_opened; k++) {
            const struct nj_model *model = &models->roles[i].chain[k];

            if (!model->gate || model->spec->provider == NJ_PROVIDER_SCRIPT ||
                is_asked(probing, model))
                continue;
            probing->probes[probing->n_probes++] =
                (struct probe){.probing = probing,
                               .model = model,
                               .result = {.role = i, .place = k, .model = model->spec}};
        }
    return 0;
}

static void ask_all(struct probing *probing)
{
    probing->n_open = probing->n_probes;
    for (size_t i = 0; i < probing->n_probes; i++) {
        struct probe *probe = &probing->probes[i];
        struct nj_error err = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &probe->began); /* cannot fail for this clock */
        if (ask(probe, &err) < 0)
            end(probe, err.text);
    }
}

static int wait_for_all(struct probing *probing, uint64_t limit_ms, struct nj_error *err)
{
    const struct timeval limit = {.tv_sec = (time_t)(limit_ms / 1000),
                                  .tv_usec = (suseconds_t)(limit_ms % 1000) * 1000};
    char late[80];

    if (probing->n_open == 0)
        return 0;
    if (event_base_loopexit(probing->base, &limit) < 0 || event_base_dispatch(probing->base) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "the event loop failed");
    (void)snprintf(late, sizeof(late), "no answer within %llu s; is base_url right?",
                   (unsigned long long)(limit_ms / 1000));
    for (size_t i = 0; i < probing->n_probes; i++) {
        struct probe *probe = &probing->probes[i];

        if (probe->ended)
            continue;
        probe->model->provider->cancel(probe->try);
        end(probe, late);
    }
    return 0;
}

int nj_models_probe(struct nj_models *models, uint64_t limit_ms,
                    void (*told)(void *ctx, const struct nj_probe_result *result), void *ctx,
                    struct nj_error *err)
{
    struct probing probing = {.models = models};
    int r;

    probing.base = event_base_new();
    if (!probing.base)
        return nj_fail_nomem(err);
    r = make_session(&probing.session, err);
    if (r == 0)
        r = nj_models_attach(models, probing.base, err);
    if (r == 0)
        r = collect(&probing, err);
    if (r == 0) {
        ask_all(&probing);
        r = wait_for_all(&probing, limit_ms, err);
    }
    for (size_t i = 0; r == 0 && i < probing.n_probes; i++)
        told(ctx, &probing.probes[i].result);
    free(probing.probes);
    nj_session_free(probing.session);
    nj_models_detach(models);
    event_base_free(probing.base);
    return r;
}
