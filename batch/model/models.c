/*
 * models.c - roles, their chains, and the calls under way
 *
 * The one complication: `times` in a script counts a session's uses over all its turns, but a crash
 * leaves only the conversation and the number of failed tries of the turn under way. So the counts
 * are kept in memory while the engine lives, and are rebuilt when a call does not continue what
 * memory holds: every earlier turn is chosen once more from the item before its reply, failures
 * included, and then the failed tries of this turn. Choosing is pure, so the same counts come out.
 * Only roles whose scripts use `times` pay for this.
 */
#include "batch/model/model.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <time.h>

#include "batch/model/retry.h"
#include "batch/model/script.h"

#include "formats/base/banned.h"

#define NO_SCRIPT SIZE_MAX
#define NO_REPLY SIZE_MAX
#define LOG_LINE_MAX_BYTES 8192
#define TEST_RETRY_MAX_MS 60000

struct role {
    const struct nj_manifest_role *spec;
    size_t *scripts; /* of each model in the chain: index, or NO_SCRIPT */
    bool counts;     /* one of them has `times` */
};

struct nj_models {
    const struct nj_manifest *manifest;
    struct event_base *base;
    struct nj_script **scripts;
    size_t n_scripts;
    size_t *first_use; /* of each script: where its replies begin in a session's counts */
    size_t n_uses;
    struct role *roles;
    size_t n_roles;
    void *memories; /* tsearch() tree of struct memory */
    int log_fd;     /* -1: no NJ_SCRIPT_LOG */
    uint64_t retry_base_ms;
    size_t n_calls; /* under way */
};

/* Where a session stands: before the try that comes next. */
struct walk {
    struct nj_retry retry;
    uint64_t turn;
    uint64_t attempts; /* failed tries of this turn */
    uint32_t *uses;    /* by script and reply; NULL when nothing is counted */
};

struct memory {
    size_t role;
    char *key;
    struct walk walk;
};

struct nj_model_call {
    struct nj_models *models;
    const struct role *role;
    size_t role_index;
    const struct nj_session *session;
    struct nj_model_callbacks callbacks;
    json_t *item;
    struct nj_script_scene scene;
    struct event *timer;
    struct memory *memory; /* NULL when the role does not count */
    struct walk walk;      /* uses are the memory's */
    size_t reply;          /* chosen for the try under way, or NO_REPLY */
    struct timespec began;
    bool calling; /* inside the attempt callback */
    bool cancelled;
};

/* ---- birth and death ---- */

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
    free(memory->walk.uses);
    free(memory);
}

/* Loads a script once, however many models name it: their uses are then counted together. */
static int load_script(struct nj_models *models, int dir_fd, const char *path, size_t *ret_script,
                       struct nj_error *err)
{
    int r;

    for (size_t i = 0; i < models->n_scripts; i++)
        if (strcmp(models->scripts[i]->name, path) == 0) {
            *ret_script = i;
            return 0;
        }
    r = nj_script_load(dir_fd, path, &models->scripts[models->n_scripts], err);
    if (r < 0)
        return r;
    models->first_use[models->n_scripts] = models->n_uses;
    models->n_uses += models->scripts[models->n_scripts]->n_replies;
    *ret_script = models->n_scripts++;
    return 0;
}

static int load_role(struct nj_models *models, int dir_fd, const struct nj_manifest_role *spec,
                     struct role *role, struct nj_error *err)
{
    role->spec = spec;
    role->scripts = calloc(spec->n_chain, sizeof(*role->scripts));
    if (!role->scripts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < spec->n_chain; i++) {
        int r;

        role->scripts[i] = NO_SCRIPT;
        if (spec->chain[i].provider != NJ_PROVIDER_SCRIPT)
            continue; /* nj_manifest_supported() tells whoever wants to use it */
        r = load_script(models, dir_fd, spec->chain[i].script, &role->scripts[i], err);
        if (r < 0)
            return nj_wrap(err, "models.%s[%zu]", spec->name, i);
        role->counts = role->counts || models->scripts[role->scripts[i]]->counts;
    }
    return 0;
}

/* Before privileges are dropped: the log may lie where only whoever began the run can write. */
static int read_environment(struct nj_models *models, struct nj_error *err)
{
    const char *log = getenv("NJ_SCRIPT_LOG");
    const char *retry = getenv("NJ_TEST_RETRY_MS");

    if (retry && *retry) {
        char *end;

        errno = 0;
        models->retry_base_ms = strtoull(retry, &end, 10);
        if (*end || errno || retry[0] == '-' || models->retry_base_ms > TEST_RETRY_MAX_MS)
            return nj_fail(err, NJ_E_INPUT,
                           "NJ_TEST_RETRY_MS: expected milliseconds, 0 to %d, found \"%.32s\"",
                           TEST_RETRY_MAX_MS, retry);
    }
    if (log && *log && models->log_fd < 0) {
        models->log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (models->log_fd < 0)
            return nj_fail_errno(err, errno, "NJ_SCRIPT_LOG: open %s", log);
    }
    return 0;
}

int nj_models_new(const struct nj_manifest *manifest, int dir_fd, struct nj_models **ret_models,
                  struct nj_error *err)
{
    NJ_AUTO(nj_models_free) struct nj_models *models = calloc(1, sizeof(*models));
    size_t n_models = 0;

    if (!models)
        return nj_fail_nomem(err);
    models->log_fd = -1;
    models->retry_base_ms = NJ_RETRY_BASE_MS;
    models->manifest = manifest;
    for (size_t i = 0; i < manifest->n_roles; i++)
        n_models += manifest->roles[i].n_chain;
    models->scripts = calloc(n_models + 1, sizeof(struct nj_script *));
    models->first_use = calloc(n_models + 1, sizeof(*models->first_use));
    models->roles = calloc(manifest->n_roles + 1, sizeof(*models->roles));
    if (!models->scripts || !models->first_use || !models->roles)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < manifest->n_roles; i++) {
        int r =
            load_role(models, dir_fd, &manifest->roles[i], &models->roles[models->n_roles++], err);

        if (r < 0)
            return r;
    }
    if (read_environment(models, err) < 0)
        return -(int)err->code;
    *ret_models = nj_steal_ptr(&models);
    return 0;
}

void nj_models_free(struct nj_models *models)
{
    if (!models)
        return;
    assert(models->n_calls == 0); /* they would call back into what is freed here */
    tdestroy(models->memories, memory_free);
    for (size_t i = 0; i < models->n_roles; i++)
        free(models->roles[i].scripts);
    free(models->roles);
    for (size_t i = 0; i < models->n_scripts; i++)
        nj_script_free(models->scripts[i]);
    free(models->scripts);
    free(models->first_use);
    if (models->log_fd >= 0)
        (void)close(models->log_fd); /* a test's counter: each line was written when it was due */
    free(models);
}

int nj_models_attach(struct nj_models *models, struct event_base *base, struct nj_error *err)
{
    (void)err; /* a provider with connections of its own will have something to fail at */
    models->base = base;
    return 0;
}

int nj_models_digest(const struct nj_models *models, size_t role, struct nj_digest *ret_digest,
                     struct nj_error *err)
{
    struct nj_digest digest = {0};

    if (role >= models->n_roles)
        return nj_fail(err, NJ_E_INPUT, "models: there is no role %zu", role);
    for (size_t i = 0; i < models->roles[role].spec->n_chain; i++) {
        size_t script = models->roles[role].scripts[i];

        if (script != NO_SCRIPT)
            nj_digest_chain(
                &digest, "script",
                (struct nj_span){models->scripts[script]->digest.bytes, NJ_DIGEST_BYTES});
    }
    *ret_digest = digest;
    return 0;
}

/* ---- the walk ---- */

static const struct nj_script *script_of(const struct nj_models *models, const struct role *role,
                                         const struct walk *walk)
{
    size_t script = role->scripts[walk->retry.model];

    return script == NO_SCRIPT ? NULL : models->scripts[script];
}

static uint32_t *uses_of(const struct nj_models *models, const struct role *role,
                         const struct walk *walk)
{
    return walk->uses ? walk->uses + models->first_use[role->scripts[walk->retry.model]] : NULL;
}

/* *ret_reply is NO_REPLY when nothing fits. */
static int choose(const struct nj_models *models, const struct role *role, const struct walk *walk,
                  const struct nj_script_scene *scene, size_t *ret_reply, struct nj_error *err)
{
    const struct nj_script *script = script_of(models, role, walk);
    int r;

    *ret_reply = NO_REPLY;
    if (!script)
        return 0;
    r = nj_script_choose(script, scene, uses_of(models, role, walk), ret_reply, err);
    return r < 0 ? r : 0;
}

static void use(const struct nj_models *models, const struct role *role, const struct walk *walk,
                size_t reply)
{
    uint32_t *uses = uses_of(models, role, walk);

    if (uses && uses[reply] < UINT32_MAX)
        uses[reply]++;
}

/* Does this failure end the try, and why? False: it is a reply. */
static bool fails(enum nj_script_fail fail, enum nj_manifest_cause *ret_cause)
{
    switch (fail) {
    case NJ_SCRIPT_FAIL_NONE:
    case NJ_SCRIPT_FAIL_TRUNCATED:
        return false;
    case NJ_SCRIPT_FAIL_OVERLOADED:
        *ret_cause = NJ_CAUSE_OVERLOADED;
        return true;
    case NJ_SCRIPT_FAIL_RATE_LIMITED:
        *ret_cause = NJ_CAUSE_RATE_LIMITED;
        return true;
    case NJ_SCRIPT_FAIL_REFUSAL:
        *ret_cause = NJ_CAUSE_REFUSAL;
        return true;
    case NJ_SCRIPT_FAIL_CONTEXT_FULL:
        *ret_cause = NJ_CAUSE_CONTEXT_FULL;
        return true;
    case NJ_SCRIPT_FAIL_CUT:
    case NJ_SCRIPT_FAIL_GARBAGE:
        break;
    }
    *ret_cause = NJ_CAUSE_ERROR;
    return true;
}

/* Walks a turn up to its reply, or up to @attempts failed tries. A script that was edited may lead
 * elsewhere than it did then; the walk ends there, since a turn has one reply whatever led to it.
 */
static int walk_turn(const struct nj_models *models, const struct role *role, struct walk *walk,
                     const struct nj_script_scene *scene, uint64_t attempts, struct nj_error *err)
{
    walk->retry = (struct nj_retry){0};
    walk->turn = scene->turn;
    for (walk->attempts = 0; walk->attempts < attempts; walk->attempts++) {
        enum nj_manifest_cause cause = NJ_CAUSE_ERROR;
        bool failed = true;
        size_t reply;

        if (choose(models, role, walk, scene, &reply, err) < 0)
            return -(int)err->code;
        if (reply != NO_REPLY) {
            failed = fails(script_of(models, role, walk)->replies[reply].fail, &cause);
            use(models, role, walk, reply);
        }
        if (!failed ||
            nj_retry_failed(&walk->retry, role->spec, cause, reply == NO_REPLY) == NJ_RETRY_OVER)
            break;
    }
    return 0;
}

/* The session's counts as of its turn under way, from its conversation. */
static int rebuild(const struct nj_models *models, const struct role *role,
                   const struct nj_model_call *call, uint64_t attempts_failed, struct walk *walk,
                   struct nj_error *err)
{
    const struct nj_session *session = call->session;
    uint64_t turn = 0;

    if (walk->uses)
        memset(walk->uses, 0, models->n_uses * sizeof(*walk->uses));
    for (size_t i = 1; walk->uses && i < session->n_messages; i++) {
        NJ_AUTO(nj_script_scene_done) struct nj_script_scene scene = {0};
        const struct nj_session_message *before = &session->messages[i - 1];
        struct nj_span item = {(const uint8_t *)session->messages[i].bytes,
                               session->messages[i].len};
        struct nj_span content;
        enum nj_role speaker;

        if (nj_message_content(item, &speaker, &content, err) < 0)
            return -(int)err->code;
        if (speaker != NJ_ROLE_ASSISTANT)
            continue;
        if (nj_script_scene_init(&scene, session->config->agent, call->item, ++turn,
                                 (struct nj_span){(const uint8_t *)before->bytes, before->len},
                                 err) < 0 ||
            walk_turn(models, role, walk, &scene, UINT64_MAX, err) < 0)
            return -(int)err->code;
    }
    if (walk_turn(models, role, walk, &call->scene, attempts_failed, err) < 0)
        return -(int)err->code;
    walk->attempts = attempts_failed;
    return 0;
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
    made->walk.uses = calloc(models->n_uses, sizeof(*made->walk.uses));
    if (!made->key || !made->walk.uses || !tsearch(made, &models->memories, by_role_and_key)) {
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

/* ---- one call ---- */

static uint64_t elapsed_ms(const struct timespec *since)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)((now.tv_sec - since->tv_sec) * 1000 +
                      (now.tv_nsec - since->tv_nsec) / 1000000);
}

static void call_free(struct nj_model_call *call)
{
    if (!call)
        return;
    if (call->timer)
        event_free(call->timer);
    call->models->n_calls--;
    nj_script_scene_done(&call->scene);
    json_decref(call->item);
    free(call);
}
NJ_DEFINE_AUTO_PTR(struct nj_model_call, call_free);

/* Chooses what the next try will answer, and sets the clock for it. */
static int schedule(struct nj_model_call *call, uint64_t wait_ms, struct nj_error *err)
{
    struct timeval delay;

    if (choose(call->models, call->role, &call->walk, &call->scene, &call->reply, err) < 0)
        return -(int)err->code;
    if (call->reply != NO_REPLY)
        wait_ms += script_of(call->models, call->role, &call->walk)->replies[call->reply].delay_ms;
    delay = (struct timeval){.tv_sec = (time_t)(wait_ms / 1000),
                             .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
    if (evtimer_add(call->timer, &delay) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "model call: cannot set a timer");
    return 0;
}

static void keep(struct nj_model_call *call)
{
    if (call->memory)
        call->memory->walk = call->walk;
}

static const char *model_name(const struct nj_model_call *call, char *text, size_t room)
{
    const struct nj_manifest_model *model = &call->role->spec->chain[call->walk.retry.model];

    (void)snprintf(text, room, "%s:%s", nj_manifest_provider_text(model->provider),
                   model->script ? model->script : model->model);
    return text;
}

static void end_failed(struct nj_model_call *call, enum nj_manifest_cause cause, const char *text,
                       const char *model)
{
    struct nj_model_failure failure = {
        .cause = nj_retry_cause_text(cause), .text = text, .model = model};
    struct nj_model_callbacks callbacks = call->callbacks;

    forget(call->models, call->memory);
    call_free(call);
    callbacks.failed(callbacks.ctx, &failure);
}

static void try_failed(struct nj_model_call *call, enum nj_manifest_cause cause, const char *text,
                       bool final)
{
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_model_failure failure = {.cause = nj_retry_cause_text(cause),
                                       .text = text,
                                       .model = model_name(call, name, sizeof(name))};
    enum nj_retry_next next = nj_retry_failed(&call->walk.retry, call->role->spec, cause, final);
    struct nj_error err = {0};
    uint64_t wait_ms = 0;

    if (next == NJ_RETRY_OVER) {
        end_failed(call, cause, text, name);
        return;
    }
    call->walk.attempts++;
    keep(call);
    if (next == NJ_RETRY_AGAIN)
        wait_ms =
            nj_retry_delay_ms(&call->walk.retry, call->models->retry_base_ms,
                              call->session->config->key, call->walk.turn, call->walk.attempts);
    call->calling = true;
    call->callbacks.attempt(call->callbacks.ctx, &failure);
    call->calling = false;
    if (call->cancelled)
        call_free(call);
    else if (schedule(call, wait_ms, &err) < 0)
        end_failed(call, NJ_CAUSE_ERROR, err.text, name);
}

static uint64_t cost(const struct nj_manifest_price *price, const struct nj_usage *usage)
{
    /* Each product stays below 2^103, so their sum fits; half a micro-USD is rounded up. */
    __extension__ typedef unsigned __int128 wide;
    wide sum = (wide)usage->input_tokens * (uint64_t)price->input +
               (wide)usage->output_tokens * (uint64_t)price->output +
               (wide)usage->cache_read_tokens * (uint64_t)price->cache_read +
               (wide)usage->cache_write_5m_tokens * (uint64_t)price->cache_write_5m +
               (wide)usage->cache_write_1h_tokens * (uint64_t)price->cache_write_1h;

    sum = (sum + 500000) / 1000000;
    return sum > INT64_MAX ? INT64_MAX : (uint64_t)sum;
}

static void reply_came(struct nj_model_call *call, const struct nj_script_reply *scripted)
{
    NJ_AUTO(nj_buf_done) struct nj_buf content = {0};
    const struct nj_manifest_model *model = &call->role->spec->chain[call->walk.retry.model];
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    struct nj_model_callbacks callbacks = call->callbacks;
    struct nj_model_reply reply = {.usage = scripted->usage};
    struct nj_error err = {0};

    (void)model_name(call, name, sizeof(name));
    nj_buf_init(&content, NJ_MESSAGE_MAX_BYTES);
    if (nj_script_render(scripted, &call->scene, &content, &err) < 0) {
        end_failed(call, NJ_CAUSE_ERROR, err.text, name);
        return;
    }
    reply.content = nj_buf_span(&content);
    reply.model = nj_span_text(name);
    reply.cost_micro_usd = cost(&model->price, &scripted->usage);
    reply.duration_ms = elapsed_ms(&call->began);
    if (scripted->fail == NJ_SCRIPT_FAIL_TRUNCATED)
        reply.stop = NJ_STOP_TRUNCATED;
    else
        reply.stop = scripted->n_calls ? NJ_STOP_TOOLS : NJ_STOP_END;
    call->walk.turn++;
    call->walk.attempts = 0;
    call->walk.retry = (struct nj_retry){0};
    keep(call);
    /* A reply without calls is mostly the last; where it is not, the counts are rebuilt. */
    if (reply.stop != NJ_STOP_TOOLS)
        forget(call->models, call->memory);
    call_free(call);
    callbacks.replied(callbacks.ctx, &reply);
}

/* One line, one write, before anybody knows of the reply: it outlives us. */
static int write_log(const struct nj_model_call *call, const struct nj_script_reply *scripted,
                     struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    const char *fail = nj_script_fail_text(scripted->fail);
    ssize_t n;

    if (call->models->log_fd < 0)
        return 0;
    nj_buf_init(&line, LOG_LINE_MAX_BYTES);
    if (nj_buf_text(&line, "{\"session\":", err) < 0 ||
        nj_buf_json_text(&line, nj_span_text(call->session->config->key), err) < 0 ||
        nj_buf_printf(&line, err,
                      ",\"turn\":%" PRIu64 ",\"reply\":%zu,\"attempt\":%" PRIu64
                      ",\"fail\":%s%s%s}\n",
                      call->walk.turn, call->reply, call->walk.attempts + 1, fail ? "\"" : "",
                      fail ? fail : "null", fail ? "\"" : "") < 0)
        return -(int)err->code;
    /* Not through fsio: the tests that make the n-th write fail count the engine's own. */
    n = write(call->models->log_fd, line.data, line.len);
    if (n < 0)
        return nj_fail_errno(err, errno, "NJ_SCRIPT_LOG: write");
    if ((size_t)n != line.len)
        return nj_fail(err, NJ_E_SYSTEM, "NJ_SCRIPT_LOG: a line was cut off");
    return 0;
}

static void nothing_fits(struct nj_model_call *call)
{
    const struct nj_manifest_model *model = &call->role->spec->chain[call->walk.retry.model];
    char text[NJ_ERROR_TEXT_MAX_BYTES];

    if (model->script)
        (void)snprintf(text, sizeof(text), "%s: no reply fits turn %" PRIu64 " of session %s",
                       model->script, call->walk.turn, call->session->config->key);
    else
        (void)snprintf(text, sizeof(text), "this build has no provider %s",
                       nj_manifest_provider_text(model->provider));
    try_failed(call, NJ_CAUSE_ERROR, text, true);
}

static void on_timer(int fd, short what, void *ctx)
{
    struct nj_model_call *call = ctx;
    const struct nj_script_reply *scripted;
    enum nj_manifest_cause cause = NJ_CAUSE_ERROR;
    struct nj_error err = {0};
    char name[NJ_MANIFEST_PATH_MAX_BYTES + 32];
    char text[NJ_ERROR_TEXT_MAX_BYTES];

    (void)fd;
    (void)what;
    if (call->reply == NO_REPLY) {
        nothing_fits(call);
        return;
    }
    scripted = &script_of(call->models, call->role, &call->walk)->replies[call->reply];
    if (write_log(call, scripted, &err) < 0) {
        end_failed(call, NJ_CAUSE_ERROR, err.text, model_name(call, name, sizeof(name)));
        return;
    }
    use(call->models, call->role, &call->walk, call->reply);
    if (!fails(scripted->fail, &cause)) {
        reply_came(call, scripted);
        return;
    }
    (void)snprintf(text, sizeof(text), "reply %zu of %s fails with %s", call->reply,
                   script_of(call->models, call->role, &call->walk)->name,
                   nj_script_fail_text(scripted->fail));
    try_failed(call, cause, text, false);
}

/* The walk goes on where memory has it, or is rebuilt: after a crash, and for a session that begins
 * anew. */
static int find_place(struct nj_model_call *call, const struct nj_model_request *request,
                      struct nj_error *err)
{
    struct nj_models *models = call->models;
    const struct walk *known;

    if (call->role->counts) {
        if (remember(models, call->role_index, call->session->config->key, &call->memory, err) < 0)
            return -(int)err->code;
        known = &call->memory->walk;
        call->walk = *known;
        if (known->turn == request->turn && known->attempts == request->attempts_failed)
            return 0;
    }
    if (rebuild(models, call->role, call, request->attempts_failed, &call->walk, err) < 0)
        return -(int)err->code;
    keep(call);
    return 0;
}

int nj_model_ask(struct nj_models *models, size_t role, const struct nj_model_request *request,
                 const struct nj_model_callbacks *callbacks, struct nj_model_call **ret_call,
                 struct nj_error *err)
{
    NJ_AUTO(call_free) struct nj_model_call *call = NULL;
    json_error_t jerr;

    assert(models->base && role < models->n_roles);
    call = calloc(1, sizeof(*call));
    if (!call)
        return nj_fail_nomem(err);
    call->models = models;
    models->n_calls++;
    call->role = &models->roles[role];
    call->role_index = role;
    call->session = request->session;
    call->callbacks = *callbacks;
    (void)clock_gettime(CLOCK_MONOTONIC, &call->began); /* cannot fail for this clock */
    call->item = json_loads(request->item_json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &jerr);
    if (!json_is_object(call->item))
        return nj_fail(err, NJ_E_INPUT, "item of session %s: not a JSON object",
                       request->session->config->key);
    call->timer = evtimer_new(models->base, on_timer, call);
    if (!call->timer)
        return nj_fail_nomem(err);
    if (nj_script_scene_init(&call->scene, request->session->config->agent, call->item,
                             request->turn, nj_session_last_message(request->session), err) < 0 ||
        find_place(call, request, err) < 0 || schedule(call, 0, err) < 0)
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
