/*
 * chain.c - one call: the walk along its role's chain, try by try
 *
 * A try waits at its model's gate, is sent, and ends; retry.h says what follows a failure, and
 * walk.h where a call that a crash interrupted goes on. Who is told of a failed try may cancel the
 * call from inside the telling.
 */
#include "batch/model/inside.h"

#include <assert.h>
#include <event2/event.h>
#include <time.h>

#include "batch/model/policy.h"
#include "batch/model/price.h"
#include "batch/model/walk.h"
#include "batch/session/context.h"

#include "formats/base/banned.h"

struct nj_model_call {
    struct nj_models *models;
    const struct nj_models_role *role;
    size_t role_index;
    struct nj_model_request request;
    struct nj_model_callbacks callbacks;
    struct event *timer;           /* between two tries; NULL until the first wait */
    struct nj_try *try;            /* under way, or NULL */
    struct nj_walk_memory *memory; /* NULL when the role does not count */
    struct nj_walk walk;
    struct nj_lead_place ahead;      /* before the gate, behind its group's first call */
    struct nj_gate_place place;      /* at the gate of the model that is asked, where it has one */
    struct nj_rate_headers *headers; /* of the try's answer; NULL: none came, or no memory */
    struct nj_policy policy;         /* of the try under way */
    uint64_t prompt_bytes;           /* of the try under way */
    bool counted;                    /* the service was asked how long the prompt is */
    bool begun; /* the try's reply has begun to come: it costs something, whatever follows */
    struct timespec began;
    bool calling; /* inside the attempt callback */
    bool cancelled;
};

static const struct nj_model *model_of(const struct nj_model_call *call)
{
    return nj_walk_model(call->role, &call->walk);
}

/* ---- endings ---- */

static uint64_t elapsed_ms(const struct timespec *since)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)((now.tv_sec - since->tv_sec) * 1000 +
                      (now.tv_nsec - since->tv_nsec) / 1000000);
}

/* The try ended, or is not wanted any more. */
static void leave_gate(struct nj_model_call *call, enum nj_gate_end end,
                       const struct nj_usage *usage)
{
    struct nj_models_gate *gate = model_of(call)->gate;
    struct nj_limiter_need used = {0};

    if (gate && call->ahead.lead) {
        nj_lead_leave(&call->ahead);
        nj_turnstile_wake(gate);
    }
    if (!gate || !(call->place.waiting || call->place.inside))
        return;
    if (usage) { /* what is read from a cache does not count against rates */
        used.input_tokens =
            usage->input_tokens + usage->cache_write_5m_tokens + usage->cache_write_1h_tokens;
        used.output_tokens = usage->output_tokens;
    }
    nj_gate_answer(&gate->gate, nj_turnstile_now_ms(), &call->place, end, usage ? &used : NULL,
                   call->headers);
    nj_turnstile_wake(gate);
}

static void call_free(struct nj_model_call *call)
{
    if (!call)
        return;
    leave_gate(call, NJ_GATE_CANCELLED, NULL);
    if (call->try)
        model_of(call)->provider->cancel(call->try);
    if (call->timer)
        event_free(call->timer);
    nj_policy_done(&call->policy);
    free(call->headers);
    call->models->n_calls--;
    free(call);
}
NJ_DEFINE_AUTO_PTR(struct nj_model_call, call_free);

static const char *model_name(const struct nj_model_call *call, const char *answered, char *text,
                              size_t room)
{
    const struct nj_manifest_model *model = model_of(call)->spec;

    if (!answered)
        answered = model->script ? model->script : model->model;
    (void)snprintf(text, room, "%s:%s", nj_manifest_provider_text(model->provider), answered);
    return text;
}

/* Ends the call with what @failure says; its texts outlive the call. */
static void end_with(struct nj_model_call *call, const struct nj_model_failure *failure)
{
    struct nj_model_callbacks callbacks = call->callbacks;

    nj_walk_forget(call->models, call->memory);
    call_free(call);
    callbacks.failed(callbacks.ctx, failure);
}

/* The try could not even begin. What is wrong with the job (a credential that is not for this host)
 * or with this process (the vault is gone) is so for every session: the run stops. */
static void end_unasked(struct nj_model_call *call, const struct nj_error *err)
{
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    const struct nj_model_failure failure = {.cause = nj_retry_cause_text(NJ_CAUSE_ERROR),
                                             .text = err->text,
                                             .model = model_name(call, NULL, name, sizeof(name)),
                                             .place = call->walk.retry.model,
                                             .stop_run = err->code == NJ_E_INPUT ||
                                                         err->code == NJ_E_SYSTEM};

    end_with(call, &failure);
}

/* ---- tries ---- */

static int begin_try(struct nj_model_call *call, struct nj_error *err);

static void on_wait_over(int fd, short what, void *ctx)
{
    struct nj_model_call *call = ctx;
    struct nj_error err = {0};

    (void)fd;
    (void)what;
    if (begin_try(call, &err) < 0)
        end_unasked(call, &err);
}

/* Begins the next try after @wait_ms; it never ends from inside here. */
static int schedule(struct nj_model_call *call, uint64_t wait_ms, struct nj_error *err)
{
    struct timeval delay = {.tv_sec = (time_t)(wait_ms / 1000),
                            .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};

    if (wait_ms == 0)
        return begin_try(call, err);
    if (!call->timer)
        call->timer = evtimer_new(call->models->services.base, on_wait_over, call);
    if (!call->timer || evtimer_add(call->timer, &delay) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "model call: cannot set a timer");
    return 0;
}

static void learn_rate(const struct nj_model_call *call, const struct nj_usage *usage)
{
    struct nj_models_gate *gate = model_of(call)->gate;

    if (gate)
        nj_token_rate_learn(&gate->rate, call->prompt_bytes,
                            usage->input_tokens + usage->cache_read_tokens +
                                usage->cache_write_5m_tokens + usage->cache_write_1h_tokens);
}

static void on_try_replied(void *ctx, const struct nj_try_reply *tried)
{
    struct nj_model_call *call = ctx;
    struct nj_model_callbacks callbacks = call->callbacks;
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_model_reply reply = {.content = tried->content,
                                   .stop = tried->stop,
                                   .usage = tried->usage,
                                   .request_id = tried->request_id,
                                   .place = call->walk.retry.model,
                                   .variants = tried->variants,
                                   .duration_ms = elapsed_ms(&call->began)};

    call->try = NULL;
    learn_rate(call, &tried->usage);
    leave_gate(call, NJ_GATE_SUCCEEDED, &tried->usage);
    reply.model = nj_span_text(model_name(call, tried->model, name, sizeof(name)));
    reply.cost_micro_usd = nj_price_cost(&model_of(call)->spec->price, &tried->usage);
    call->walk.turn++;
    call->walk.attempts = 0;
    call->walk.retry = nj_retry_begin(0);
    nj_walk_keep(call->memory, &call->walk);
    /* A reply without calls is mostly the last; where it is not, the counters are rebuilt. */
    if (reply.stop != NJ_STOP_TOOLS)
        nj_walk_forget(call->models, call->memory);
    call_free(call);
    callbacks.replied(callbacks.ctx, &reply);
}

static uint64_t bound_of(const struct nj_model *model, const struct nj_session *session, bool alone)
{
    const struct nj_manifest_model *spec = model->spec;

    if (model->provider && model->provider->bound)
        return model->provider->bound(model);
    return nj_price_bound(&spec->price, spec->cache, nj_context_bound(session, alone),
                          spec->max_tokens);
}

/* What a failed try is taken to have cost. A whole answer told its usage; of one that broke off
 * nobody knows how much was written, so it is its bound; where nothing came it is nothing. */
static uint64_t cost_of_failed(const struct nj_model_call *call, const struct nj_try_failure *tried)
{
    const struct nj_model *model = model_of(call);

    if (tried->cause == NJ_CAUSE_REFUSAL || tried->cause == NJ_CAUSE_CONTEXT_FULL)
        return nj_price_cost(&model->spec->price, &tried->usage);
    if (!call->begun)
        return 0;
    return bound_of(model, call->request.session, call->role->n_opened == 1);
}

static enum nj_gate_end gate_end(const struct nj_try_failure *tried)
{
    if (tried->cause == NJ_CAUSE_RATE_LIMITED)
        return NJ_GATE_LIMITED;
    if (tried->cause == NJ_CAUSE_OVERLOADED ||
        (tried->cause == NJ_CAUSE_ERROR && tried->verdict == NJ_TRY_AGAIN))
        return NJ_GATE_DOWN;
    return NJ_GATE_BLAMED;
}

/* What follows a failed try: retry.h's walk, and beyond it what only real servers need. Who waits
 * for capacity and has nobody else to ask is patient: a night is long. */
static enum nj_retry_next what_next(struct nj_model_call *call, const struct nj_try_failure *tried)
{
    bool again = tried->verdict == NJ_TRY_AGAIN;
    enum nj_retry_next next;

    if (tried->verdict == NJ_TRY_OVER)
        return NJ_RETRY_OVER;
    /* The service's own word is before what its status says, but a key it does not take stays. */
    if (tried->verdict != NJ_TRY_STOP && call->headers &&
        call->headers->should_retry != NJ_RATE_UNSAID)
        again = call->headers->should_retry == NJ_RATE_RETRY;
    next = nj_retry_failed(&call->walk.retry, call->role->spec, tried->cause, !again);
    if (next == NJ_RETRY_OVER && again && model_of(call)->gate &&
        (tried->cause == NJ_CAUSE_RATE_LIMITED || tried->cause == NJ_CAUSE_OVERLOADED) &&
        call->walk.retry.tries < NJ_RETRY_PATIENT_MAX)
        return NJ_RETRY_AGAIN;
    return next;
}

/* Our own back-off, or the server's wish where that is longer. */
static uint64_t wait_before(const struct nj_model_call *call)
{
    uint64_t wait_ms =
        nj_retry_delay_ms(&call->walk.retry, call->models->retry_base_ms,
                          call->request.session->config->key, call->walk.turn, call->walk.attempts);

    if (call->walk.retry.tries >= NJ_RETRY_TRIES_MAX)
        wait_ms *= NJ_RETRY_PATIENT_FACTOR;
    if (call->headers && call->headers->has_wait && call->headers->wait_ms > wait_ms)
        wait_ms = call->headers->wait_ms;
    return wait_ms < NJ_LIMITER_PAUSE_MAX_MS ? wait_ms : NJ_LIMITER_PAUSE_MAX_MS;
}

static void on_try_failed(void *ctx, const struct nj_try_failure *tried)
{
    struct nj_model_call *call = ctx;
    const struct nj_models_gate *gate = model_of(call)->gate;
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_model_failure failure = {.cause = nj_retry_cause_text(tried->cause),
                                       .text = tried->text,
                                       .model = model_name(call, NULL, name, sizeof(name)),
                                       .place = call->walk.retry.model,
                                       .request_id = tried->request_id,
                                       .raw = tried->raw,
                                       .cost_micro_usd = cost_of_failed(call, tried),
                                       .stop_run = tried->verdict == NJ_TRY_STOP};
    enum nj_retry_next next;
    struct nj_error err = {0};
    uint64_t wait_ms = 0;

    call->try = NULL;
    leave_gate(call, gate_end(tried), NULL);
    next = what_next(call, tried);
    if (gate && next == NJ_RETRY_AGAIN &&
        nj_gate_is_exhausted(&gate->gate, nj_turnstile_now_ms())) {
        failure.stop_run = true;
        failure.text = "the server refuses every call and names no end (429 without retry-after): "
                       "probably a spend limit of the account; raise it, then resume the run";
        next = NJ_RETRY_OVER;
    }
    if (next == NJ_RETRY_OVER) {
        end_with(call, &failure);
        return;
    }
    call->walk.attempts++;
    nj_walk_keep(call->memory, &call->walk);
    if (next == NJ_RETRY_AGAIN)
        wait_ms = wait_before(call);
    call->calling = true;
    call->callbacks.attempt(call->callbacks.ctx, &failure);
    call->calling = false;
    if (call->cancelled)
        call_free(call);
    else if (schedule(call, wait_ms, &err) < 0)
        end_unasked(call, &err);
}

static void on_try_headers(void *ctx, int http_status, const struct nj_http_header *headers,
                           size_t n_headers)
{
    struct nj_model_call *call = ctx;
    struct timespec now;

    (void)http_status;
    if (!call->headers) { /* made as they come: thousands of calls wait for theirs */
        call->headers = calloc(1, sizeof(*call->headers));
        if (!call->headers)
            return;
        nj_rate_headers_init(call->headers);
    }
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    for (size_t i = 0; i < n_headers; i++)
        nj_rate_header(call->headers, headers[i].name, headers[i].value,
                       (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static void on_try_first_byte(void *ctx)
{
    struct nj_model_call *call = ctx;

    call->begun = true;
    if (call->ahead.lead) {
        nj_lead_first_byte(call->ahead.lead, nj_turnstile_now_ms());
        nj_turnstile_wake(model_of(call)->gate);
    }
}

static void on_unasked(void *ctx, const struct nj_error *why)
{
    struct nj_model_call *call = ctx;

    call->try = NULL;
    end_unasked(call, why);
}

/* Sends the try. */
static int send_try(struct nj_model_call *call, struct nj_error *err)
{
    const struct nj_try_callbacks callbacks = {.replied = on_try_replied,
                                               .failed = on_try_failed,
                                               .unasked = on_unasked,
                                               .headers = on_try_headers,
                                               .first_byte = on_try_first_byte,
                                               .ctx = call};
    const struct nj_model *model = model_of(call);
    struct nj_try_request request =
        nj_walk_try(call->role, &call->request, &call->walk, call->request.session->n_messages);

    if (nj_policy_decide(&call->policy, model->spec, call->request.session, err) < 0)
        return -(int)err->code;
    request.policy = &call->policy.request;
    call->prompt_bytes = nj_context_bytes(call->request.session) + call->request.tools.len;
    return model->provider->begin(model, &request, &callbacks, &call->try, err);
}

static uint64_t estimate_of(const struct nj_model_call *call)
{
    const struct nj_models_gate *gate = model_of(call)->gate;

    return nj_context_estimate(call->request.session, gate ? &gate->rate : NULL);
}

static bool is_context_full(const struct nj_model_call *call, uint64_t tokens)
{
    const struct nj_manifest_model *spec = model_of(call)->spec;

    return spec->context_tokens && tokens + spec->max_tokens > spec->context_tokens;
}

static void fail_full(struct nj_model_call *call)
{
    const struct nj_try_failure full = {
        .cause = NJ_CAUSE_CONTEXT_FULL,
        .verdict = NJ_TRY_FINAL,
        .text = "the prompt and max_tokens exceed the model's context_tokens; the agent's "
                "context policy may be compact"};

    on_try_failed(call, &full);
}

static void on_counted(void *ctx, uint64_t input_tokens)
{
    struct nj_model_call *call = ctx;
    struct nj_error err = {0};

    call->try = NULL;
    if (is_context_full(call, input_tokens))
        fail_full(call);
    else if (send_try(call, &err) < 0)
        end_unasked(call, &err);
}

/* It was only to be sure; the service says so itself when the prompt is too long. */
static void on_count_failed(void *ctx, const struct nj_try_failure *tried)
{
    struct nj_model_call *call = ctx;
    struct nj_error err = {0};

    (void)tried;
    call->try = NULL;
    if (send_try(call, &err) < 0)
        end_unasked(call, &err);
}

/* Before a session is told that its context is full, the service is asked, where it counts for
 * nothing: an estimate may be a third too high. One that is twice the limit is not. */
static bool can_count(const struct nj_model_call *call)
{
    const struct nj_model *model = model_of(call);

    return !call->counted && model->spec->can.count_tokens && model->provider->count &&
           estimate_of(call) / 2 < model->spec->context_tokens;
}

static int count_try(struct nj_model_call *call, struct nj_error *err)
{
    const struct nj_try_callbacks callbacks = {
        .counted = on_counted, .failed = on_count_failed, .unasked = on_unasked, .ctx = call};
    const struct nj_model *model = model_of(call);
    struct nj_try_request request =
        nj_walk_try(call->role, &call->request, &call->walk, call->request.session->n_messages);

    call->counted = true;
    if (nj_policy_decide(&call->policy, model->spec, call->request.session, err) < 0)
        return -(int)err->code;
    request.policy = &call->policy.request;
    return model->provider->count(model, &request, &callbacks, &call->try, err);
}

void nj_chain_admit(struct nj_gate_place *place)
{
    struct nj_model_call *call =
        (struct nj_model_call *)((char *)place - offsetof(struct nj_model_call, place));
    struct nj_error err = {0};

    if (is_context_full(call, estimate_of(call))) {
        if (!can_count(call))
            fail_full(call);
        else if (count_try(call, &err) < 0)
            end_unasked(call, &err);
        return;
    }
    if (send_try(call, &err) < 0)
        end_unasked(call, &err);
}

/* While a model's breaker is open, a call that may go to a later one goes there. */
static void pass_by_what_is_down(struct nj_model_call *call)
{
    const struct nj_models_gate *gate;

    while ((gate = model_of(call)->gate) && nj_gate_is_down(&gate->gate, nj_turnstile_now_ms())) {
        struct nj_retry after = call->walk.retry;

        if (nj_retry_failed(&after, call->role->spec, NJ_CAUSE_OVERLOADED, true) != NJ_RETRY_NEXT)
            return;
        call->walk.retry = after;
    }
}

void nj_chain_follow(struct nj_lead_place *place)
{
    struct nj_model_call *call =
        (struct nj_model_call *)((char *)place - offsetof(struct nj_model_call, ahead));

    nj_gate_enter(&model_of(call)->gate->gate, &call->place);
}

/* Is what the group's prompts begin with large enough to be worth a wait? */
static bool is_prefix_cached(const struct nj_model_call *call)
{
    return model_of(call)->spec->cache != NJ_CACHE_OFF &&
           call->request.tools.len + strlen(call->request.session->config->instructions) >=
               NJ_LEAD_PREFIX_MIN_BYTES;
}

static int begin_try(struct nj_model_call *call, struct nj_error *err)
{
    const struct nj_model *model;

    pass_by_what_is_down(call);
    model = model_of(call);
    free(call->headers);
    call->headers = NULL;
    call->begun = false;
    call->counted = false;
    if (!model->provider)
        return nj_fail(err, NJ_E_INPUT, "this build has no provider %s",
                       nj_manifest_provider_text(model->spec->provider));
    if (!model->gate)
        return send_try(call, err);
    if (call->place.ticket == 0)
        call->place.ticket = ++call->models->tickets;
    call->place.need = (struct nj_limiter_need){.input_tokens = estimate_of(call),
                                                .output_tokens = model->spec->max_tokens};
    if (!is_prefix_cached(call)) {
        nj_gate_enter(&model->gate->gate, &call->place);
    } else {
        struct nj_lead *lead;

        if (nj_turnstile_group(model->gate, call->request.session->config->group, &lead, err) < 0)
            return -(int)err->code;
        nj_lead_enter(lead, &call->ahead);
    }
    nj_turnstile_wake(model->gate);
    return 0;
}

/* ---- calls ---- */

uint64_t nj_model_bound(const struct nj_models *models, size_t role,
                        const struct nj_session *session)
{
    const struct nj_models_role *chain = &models->roles[role];
    uint64_t most = 0;

    for (size_t i = 0; i < chain->n_opened; i++) {
        uint64_t bound = bound_of(&chain->chain[i], session, chain->n_opened == 1);

        most = bound > most ? bound : most;
    }
    return most;
}

int nj_model_ask(struct nj_models *models, size_t role, const struct nj_model_request *request,
                 const struct nj_model_callbacks *callbacks, struct nj_model_call **ret_call,
                 struct nj_error *err)
{
    NJ_AUTO(call_free) struct nj_model_call *call = NULL;

    assert(models->services.base && role < models->n_roles);
    call = calloc(1, sizeof(*call));
    if (!call)
        return nj_fail_nomem(err);
    call->models = models;
    models->n_calls++;
    call->role = &models->roles[role];
    call->role_index = role;
    call->request = *request;
    call->callbacks = *callbacks;
    (void)clock_gettime(CLOCK_MONOTONIC, &call->began); /* cannot fail for this clock */
    if (nj_walk_find(models, role, &call->request, &call->memory, &call->walk, err) < 0 ||
        begin_try(call, err) < 0)
        return -(int)err->code;
    *ret_call = nj_steal_ptr(&call);
    return 0;
}

bool nj_model_is_waiting(const struct nj_model_call *call)
{
    return !call->try && !call->calling;
}

void nj_model_cancel(struct nj_model_call *call)
{
    if (!call)
        return;
    if (call->calling)
        call->cancelled = true; /* the attempt callback is on the stack: freed when it returns */
    else
        call_free(call);
}
