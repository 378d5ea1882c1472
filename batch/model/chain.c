/*
 * chain.c - one call: the walk along its role's chain, try by try
 *
 * The one complication: a provider may keep counters over a session's turns (`times` in a script),
 * but a crash leaves only the conversation and the number of failed tries of the turn under way. So
 * the counters are kept in memory while the engine lives, and are rebuilt when a call does not
 * continue what memory holds: every earlier turn is foreseen once more from the item before its
 * reply, failures included, and then the failed tries of this turn. Foreseeing is pure, so the same
 * counters come out. Only roles with counters pay for this. A provider that cannot foresee begins a
 * turn that a crash interrupted at its chain's first model again.
 */
#include "batch/model/inside.h"

#include <assert.h>
#include <event2/event.h>
#include <search.h>
#include <time.h>

#include "batch/model/price.h"
#include "batch/model/request.h"
#include "batch/model/retry.h"
#include "batch/session/context.h"

#include "formats/base/banned.h"

/* Where a session stands: before the try that comes next. */
struct walk {
    struct nj_retry retry;
    uint64_t turn;
    uint64_t session_attempt;
    uint64_t attempts; /* failed tries of this turn */
    uint32_t *tally;   /* by model and counter; NULL when nothing is counted */
};

struct memory {
    size_t role;
    char *key;
    struct walk walk;
};

struct nj_model_call {
    struct nj_models *models;
    const struct nj_models_role *role;
    size_t role_index;
    struct nj_model_request request;
    struct nj_model_callbacks callbacks;
    struct event *timer;        /* between two tries; NULL until the first wait */
    struct nj_try *try;         /* under way, or NULL */
    struct memory *memory;      /* NULL when the role does not count */
    struct walk walk;           /* the tally is the memory's */
    struct nj_gate_place place; /* at the gate of the model that is asked, where it has one */
    struct nj_rate_headers headers;
    struct nj_request_policy policy;
    struct nj_span *noted; /* by item, n_noted of them, in notes; empty: the item as it is */
    size_t n_noted;
    struct nj_arena notes; /* items that stand for what is left out; of the try under way */
    bool begun; /* the try's reply has begun to come: it costs something, whatever follows */
    struct timespec began;
    bool calling; /* inside the attempt callback */
    bool cancelled;
};

/* ---- memories ---- */

static int by_role_and_key(const void *a, const void *b)
{
    const struct memory *left = a, *right = b;

    if (left->role != right->role)
        return left->role < right->role ? -1 : 1;
    return strcmp(left->key, right->key);
}

static void memory_free(void *object)
{
    struct memory *memory = object;

    if (!memory)
        return;
    free(memory->key);
    free(memory->walk.tally);
    free(memory);
}

void nj_chain_forget_all(struct nj_models *models)
{
    tdestroy(models->memories, memory_free);
    models->memories = NULL;
}

/* Finds the memory of a session, or makes an empty one, whose turn 0 no call continues. */
static int remember(struct nj_models *models, size_t role, const char *key,
                    struct memory **ret_memory, struct nj_error *err)
{
    struct memory probe = {.role = role, .key = (char *)(uintptr_t)key};
    struct memory *const *found = tfind(&probe, &models->memories, by_role_and_key);
    struct memory *made;

    if (found) {
        *ret_memory = *found;
        return 0;
    }
    made = calloc(1, sizeof(*made));
    if (!made)
        return nj_fail_nomem(err);
    made->role = role;
    made->key = strdup(key);
    made->walk.tally = calloc(models->n_tally, sizeof(*made->walk.tally));
    if (!made->key || !made->walk.tally || !tsearch(made, &models->memories, by_role_and_key)) {
        memory_free(made);
        return nj_fail_nomem(err);
    }
    *ret_memory = made;
    return 0;
}

static void forget(struct nj_models *models, struct memory *memory)
{
    if (!memory)
        return;
    (void)tdelete(memory, &models->memories, by_role_and_key); /* its parent node: no use */
    memory_free(memory);
}

static void keep(struct nj_model_call *call)
{
    if (call->memory)
        call->memory->walk = call->walk;
}

/* ---- the walk ---- */

static const struct nj_model *model_of(const struct nj_models_role *role, const struct walk *walk)
{
    return &role->chain[walk->retry.model];
}

/* The request of the try that comes next, for a turn that sees the first @n_messages. */
static struct nj_try_request next_try(const struct nj_model_call *call, const struct walk *walk,
                                      size_t n_messages)
{
    return (struct nj_try_request){
        .session = call->request.session,
        .n_messages = n_messages,
        .turn = walk->turn,
        .attempt = walk->attempts + 1,
        .session_attempt = call->request.session_attempt,
        .item_json = call->request.item_json,
        .tools = call->request.tools,
        .identity = call->request.identity,
        .tally = walk->tally ? walk->tally + model_of(call->role, walk)->tally_first : NULL,
    };
}

/* Walks a turn up to its reply, or up to @attempts failed tries. A script that was edited may lead
 * elsewhere than it did then; the walk ends there, since a turn has one reply whatever led to it.
 */
static int walk_turn(const struct nj_model_call *call, struct walk *walk, uint64_t turn,
                     size_t n_messages, uint64_t attempts, struct nj_error *err)
{
    walk->retry = (struct nj_retry){0};
    walk->turn = turn;
    for (walk->attempts = 0; walk->attempts < attempts; walk->attempts++) {
        struct nj_foreseen seen = {
            .failed = true, .cause = NJ_CAUSE_ERROR, .verdict = NJ_TRY_FINAL};
        const struct nj_model *model = model_of(call->role, walk);
        struct nj_try_request request = next_try(call, walk, n_messages);

        if (model->provider && !model->provider->foresee)
            break;
        if (model->provider && model->provider->foresee(model, &request, &seen, err) < 0)
            return -(int)err->code;
        if (!seen.failed || nj_retry_failed(&walk->retry, call->role->spec, seen.cause,
                                            seen.verdict != NJ_TRY_AGAIN) == NJ_RETRY_OVER)
            break;
    }
    return 0;
}

/* The session's counters as of its turn under way, from its conversation. */
static int rebuild(const struct nj_model_call *call, struct walk *walk, struct nj_error *err)
{
    const struct nj_session *session = call->request.session;
    uint64_t turn = 0;

    if (walk->tally)
        memset(walk->tally, 0, call->models->n_tally * sizeof(*walk->tally));
    for (size_t i = 1; walk->tally && i < session->n_messages; i++) {
        struct nj_span item = {(const uint8_t *)session->messages[i].bytes,
                               session->messages[i].len};
        struct nj_span content;
        enum nj_role speaker;

        if (nj_message_content(item, &speaker, &content, err) < 0)
            return -(int)err->code;
        if (speaker == NJ_ROLE_ASSISTANT && walk_turn(call, walk, ++turn, i, UINT64_MAX, err) < 0)
            return -(int)err->code;
    }
    if (walk_turn(call, walk, call->request.turn, session->n_messages,
                  call->request.attempts_failed, err) < 0)
        return -(int)err->code;
    walk->attempts = call->request.attempts_failed;
    walk->session_attempt = call->request.session_attempt;
    return 0;
}

/* The walk goes on where memory has it, or is rebuilt: after a crash, and for a session that begins
 * anew. */
static int find_place(struct nj_model_call *call, struct nj_error *err)
{
    if (call->role->counts) {
        if (remember(call->models, call->role_index, call->request.session->config->key,
                     &call->memory, err) < 0)
            return -(int)err->code;
        call->walk = call->memory->walk;
        if (call->walk.turn == call->request.turn &&
            call->walk.session_attempt == call->request.session_attempt &&
            call->walk.attempts == call->request.attempts_failed)
            return 0;
    }
    if (rebuild(call, &call->walk, err) < 0)
        return -(int)err->code;
    keep(call);
    return 0;
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
    struct nj_models_gate *gate = model_of(call->role, &call->walk)->gate;
    struct nj_limiter_need used = {0};

    if (!gate || !(call->place.waiting || call->place.inside))
        return;
    if (usage) { /* what is read from a cache does not count against rates */
        used.input_tokens =
            usage->input_tokens + usage->cache_write_5m_tokens + usage->cache_write_1h_tokens;
        used.output_tokens = usage->output_tokens;
    }
    nj_gate_answer(&gate->gate, nj_turnstile_now_ms(), &call->place, end, usage ? &used : NULL,
                   &call->headers);
    nj_turnstile_wake(gate);
}

static void call_free(struct nj_model_call *call)
{
    if (!call)
        return;
    leave_gate(call, NJ_GATE_CANCELLED, NULL);
    if (call->try)
        model_of(call->role, &call->walk)->provider->cancel(call->try);
    if (call->timer)
        event_free(call->timer);
    nj_arena_done(&call->notes);
    call->models->n_calls--;
    free(call);
}
NJ_DEFINE_AUTO_PTR(struct nj_model_call, call_free);

static const char *model_name(const struct nj_model_call *call, const char *answered, char *text,
                              size_t room)
{
    const struct nj_manifest_model *model = model_of(call->role, &call->walk)->spec;

    if (!answered)
        answered = model->script ? model->script : model->model;
    (void)snprintf(text, room, "%s:%s", nj_manifest_provider_text(model->provider), answered);
    return text;
}

/* Ends the call with what @failure says; its texts outlive the call. */
static void end_with(struct nj_model_call *call, const struct nj_model_failure *failure)
{
    struct nj_model_callbacks callbacks = call->callbacks;

    forget(call->models, call->memory);
    call_free(call);
    callbacks.failed(callbacks.ctx, failure);
}

static void end_failed(struct nj_model_call *call, enum nj_manifest_cause cause, const char *text,
                       const char *model)
{
    const struct nj_model_failure failure = {
        .cause = nj_retry_cause_text(cause), .text = text, .model = model};

    end_with(call, &failure);
}

/* ---- tries ---- */

static int begin_try(struct nj_model_call *call, struct nj_error *err);

static void on_wait_over(int fd, short what, void *ctx)
{
    struct nj_model_call *call = ctx;
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_error err = {0};

    (void)fd;
    (void)what;
    if (begin_try(call, &err) < 0)
        end_failed(call, NJ_CAUSE_ERROR, err.text, model_name(call, NULL, name, sizeof(name)));
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

static void on_try_replied(void *ctx, const struct nj_try_reply *tried)
{
    struct nj_model_call *call = ctx;
    struct nj_model_callbacks callbacks = call->callbacks;
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_model_reply reply = {.content = tried->content,
                                   .stop = tried->stop,
                                   .usage = tried->usage,
                                   .request_id = tried->request_id,
                                   .variants = tried->variants,
                                   .duration_ms = elapsed_ms(&call->began)};

    call->try = NULL;
    leave_gate(call, NJ_GATE_SUCCEEDED, &tried->usage);
    reply.model = nj_span_text(model_name(call, tried->model, name, sizeof(name)));
    reply.cost_micro_usd =
        nj_price_cost(&model_of(call->role, &call->walk)->spec->price, &tried->usage);
    call->walk.turn++;
    call->walk.attempts = 0;
    call->walk.retry = (struct nj_retry){0};
    keep(call);
    /* A reply without calls is mostly the last; where it is not, the counters are rebuilt. */
    if (reply.stop != NJ_STOP_TOOLS)
        forget(call->models, call->memory);
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
    const struct nj_model *model = model_of(call->role, &call->walk);

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
    if (again && call->headers.should_retry == NJ_RATE_DO_NOT)
        again = false;
    next = nj_retry_failed(&call->walk.retry, call->role->spec, tried->cause, !again);
    if (next == NJ_RETRY_OVER && again && model_of(call->role, &call->walk)->gate &&
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
    if (call->headers.has_wait && call->headers.wait_ms > wait_ms)
        wait_ms = call->headers.wait_ms;
    return wait_ms < NJ_LIMITER_PAUSE_MAX_MS ? wait_ms : NJ_LIMITER_PAUSE_MAX_MS;
}

static void on_try_failed(void *ctx, const struct nj_try_failure *tried)
{
    struct nj_model_call *call = ctx;
    const struct nj_models_gate *gate = model_of(call->role, &call->walk)->gate;
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_model_failure failure = {.cause = nj_retry_cause_text(tried->cause),
                                       .text = tried->text,
                                       .model = model_name(call, NULL, name, sizeof(name)),
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
    keep(call);
    if (next == NJ_RETRY_AGAIN)
        wait_ms = wait_before(call);
    call->calling = true;
    call->callbacks.attempt(call->callbacks.ctx, &failure);
    call->calling = false;
    if (call->cancelled)
        call_free(call);
    else if (schedule(call, wait_ms, &err) < 0)
        end_failed(call, NJ_CAUSE_ERROR, err.text, name);
}

static void on_try_headers(void *ctx, int http_status, const struct nj_http_header *headers,
                           size_t n_headers)
{
    struct nj_model_call *call = ctx;
    struct timespec now;

    (void)http_status;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    for (size_t i = 0; i < n_headers; i++)
        nj_rate_header(&call->headers, headers[i].name, headers[i].value,
                       (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static void on_try_first_byte(void *ctx)
{
    struct nj_model_call *call = ctx;

    call->begun = true;
}

/* ---- what a request holds beside the conversation ---- */

/* The notes that stand for what is left out, made before the request is: they are borrowed by it
 * until the try ended. */
static struct nj_span note_of(void *ctx, size_t at)
{
    const struct nj_model_call *call = ctx;

    return at < call->n_noted ? call->noted[at] : (struct nj_span){0};
}

static int make_notes(struct nj_model_call *call, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf scratch = {0};
    const struct nj_session *session = call->request.session;

    nj_arena_reset(&call->notes);
    call->n_noted = 0;
    if (session->compacted == 0)
        return 0;
    nj_buf_init(&scratch, NJ_MESSAGE_MAX_BYTES);
    call->noted = nj_arena_array(&call->notes, session->compacted, sizeof(*call->noted));
    if (!call->noted)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < session->compacted; i++) {
        struct nj_span item;

        if (nj_context_item(session, i, &scratch, &item, err) < 0)
            return -(int)err->code;
        if (item.data == (const uint8_t *)session->messages[i].bytes)
            continue; /* as it is: an empty span says so */
        call->noted[i].data = (const uint8_t *)nj_arena_span(&call->notes, item);
        call->noted[i].len = item.len;
        if (!call->noted[i].data)
            return nj_fail_nomem(err);
    }
    call->n_noted = session->compacted;
    return 0;
}

/* Behind the newest user's item, which the next turn's prompt will begin with; and behind the one
 * before the last reply, where this prompt's own cache ends: a breakpoint is found again up to 20
 * blocks back only (WIRE.md 4), and a turn may have more calls than that. */
static void place_breakpoints(const struct nj_session *session, struct nj_request_policy *policy)
{
    size_t last = session->n_messages;
    size_t before = last > 0 ? last - 1 : 0;

    while (before > 0 && !nj_context_is_reply(session, before))
        before--; /* the last reply */
    while (before > 0 && nj_context_is_reply(session, before))
        before--; /* the item it answered */
    if (last == 0)
        return;
    if (before + 1 < last)
        policy->cache_items[policy->n_cache_items++] = before;
    policy->cache_items[policy->n_cache_items++] = last - 1;
}

static int decide(struct nj_model_call *call, struct nj_error *err)
{
    const struct nj_manifest_model *spec = model_of(call->role, &call->walk)->spec;
    const struct nj_session *session = call->request.session;

    call->policy = (struct nj_request_policy){.item = note_of, .ctx = call};
    if (session->config->output_schema && spec->can.structured_output)
        call->policy.output_schema = nj_span_text(session->config->output_schema);
    if (spec->cache != NJ_CACHE_OFF) {
        call->policy.cache_ttl = spec->cache == NJ_CACHE_1H ? "1h" : "5m";
        call->policy.cache_tools = session->config->n_tools > 0;
        call->policy.cache_system = *session->config->instructions;
        place_breakpoints(session, &call->policy);
    }
    return make_notes(call, err);
}

/* Sends the try. */
static int send_try(struct nj_model_call *call, struct nj_error *err)
{
    const struct nj_try_callbacks callbacks = {.replied = on_try_replied,
                                               .failed = on_try_failed,
                                               .headers = on_try_headers,
                                               .first_byte = on_try_first_byte,
                                               .ctx = call};
    const struct nj_model *model = model_of(call->role, &call->walk);
    struct nj_try_request request = next_try(call, &call->walk, call->request.session->n_messages);

    if (decide(call, err) < 0)
        return -(int)err->code;
    request.policy = &call->policy;
    return model->provider->begin(model, &request, &callbacks, &call->try, err);
}

static bool is_context_full(const struct nj_model_call *call)
{
    const struct nj_manifest_model *spec = model_of(call->role, &call->walk)->spec;

    return spec->context_tokens &&
           nj_context_estimate(call->request.session) + spec->max_tokens > spec->context_tokens;
}

void nj_chain_admit(struct nj_gate_place *place)
{
    struct nj_model_call *call =
        (struct nj_model_call *)((char *)place - offsetof(struct nj_model_call, place));
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_error err = {0};

    if (is_context_full(call)) {
        const struct nj_try_failure full = {
            .cause = NJ_CAUSE_CONTEXT_FULL,
            .verdict = NJ_TRY_FINAL,
            .text = "the prompt and max_tokens exceed the model's context_tokens; the agent's "
                    "context policy may be compact"};

        on_try_failed(call, &full);
        return;
    }
    if (send_try(call, &err) < 0)
        end_failed(call, NJ_CAUSE_ERROR, err.text, model_name(call, NULL, name, sizeof(name)));
}

/* While a model's breaker is open, a call that may go to a later one goes there. */
static void pass_by_what_is_down(struct nj_model_call *call)
{
    const struct nj_models_gate *gate;

    while ((gate = model_of(call->role, &call->walk)->gate) &&
           nj_gate_is_down(&gate->gate, nj_turnstile_now_ms())) {
        struct nj_retry after = call->walk.retry;

        if (nj_retry_failed(&after, call->role->spec, NJ_CAUSE_OVERLOADED, true) != NJ_RETRY_NEXT)
            return;
        call->walk.retry = after;
    }
}

static int begin_try(struct nj_model_call *call, struct nj_error *err)
{
    const struct nj_model *model;

    pass_by_what_is_down(call);
    model = model_of(call->role, &call->walk);
    nj_rate_headers_init(&call->headers);
    call->begun = false;
    if (!model->provider)
        return nj_fail(err, NJ_E_INPUT, "this build has no provider %s",
                       nj_manifest_provider_text(model->spec->provider));
    if (!model->gate)
        return send_try(call, err);
    if (call->place.ticket == 0)
        call->place.ticket = ++call->models->tickets;
    call->place.need =
        (struct nj_limiter_need){.input_tokens = nj_context_estimate(call->request.session),
                                 .output_tokens = model->spec->max_tokens};
    nj_gate_enter(&model->gate->gate, &call->place);
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
    if (find_place(call, err) < 0 || begin_try(call, err) < 0)
        return -(int)err->code;
    *ret_call = nj_steal_ptr(&call);
    return 0;
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
