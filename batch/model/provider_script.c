/*
 * provider_script.c - the provider that answers from a file
 *
 * A try chooses its reply when it begins and delivers it after the reply's delay. Its counters are
 * the uses of each reply, kept only where the file has `times`.
 */
#include "batch/model/provider.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>

#include "batch/model/dialect.h"
#include "batch/model/price.h"
#include "batch/model/script.h"

#include "formats/base/banned.h"

#define NO_REPLY SIZE_MAX
#define LOG_LINE_MAX_BYTES 8192

struct nj_try {
    const struct nj_model *model;
    struct nj_try_request request;
    struct nj_try_callbacks callbacks;
    json_t *item;
    struct nj_script_scene scene;
    size_t reply; /* NO_REPLY: none fits */
    struct event *timer;
};

static const struct nj_script *script_of(const struct nj_model *model)
{
    return model->state;
}

static int script_open(struct nj_model *model, int dir_fd, struct nj_error *err)
{
    struct nj_script *script;

    if (nj_script_load(dir_fd, model->spec->script, &script, err) < 0)
        return -(int)err->code;
    model->state = script;
    model->n_tally = script->counts ? script->n_replies : 0;
    return 0;
}

static void script_close(struct nj_model *model)
{
    nj_script_free(model->state);
}

static bool is_same_script(const struct nj_manifest_model *a, const struct nj_manifest_model *b)
{
    return strcmp(a->script, b->script) == 0;
}

static void digest_script(const struct nj_model *model, struct nj_digest *digest)
{
    nj_digest_chain(digest, "script",
                    (struct nj_span){script_of(model)->digest.bytes, NJ_DIGEST_BYTES});
}

/* The dearest reply of the file, whichever will be chosen. */
static uint64_t script_bound(const struct nj_model *model)
{
    const struct nj_script *script = script_of(model);
    uint64_t most = 0;

    for (size_t i = 0; i < script->n_replies; i++) {
        uint64_t cost = nj_price_cost(&model->spec->price, &script->replies[i].usage);

        most = cost > most ? cost : most;
    }
    return most;
}

/* ---- choosing ---- */

/* *ret_item is NULL where no reply of the script reads it. */
static int read_item(const struct nj_script *script, const struct nj_try_request *request,
                     json_t **ret_item, struct nj_error *err)
{
    json_error_t jerr;
    json_t *item;

    *ret_item = NULL;
    if (!script->reads_item)
        return 0;
    item = json_loads(request->item_json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &jerr);
    if (!json_is_object(item)) {
        json_decref(item);
        return nj_fail(err, NJ_E_INPUT, "item of session %s: not a JSON object",
                       request->session->config->key);
    }
    *ret_item = item;
    return 0;
}

static int read_scene(const struct nj_model *model, const struct nj_try_request *request,
                      json_t **ret_item, struct nj_script_scene *ret_scene, struct nj_error *err)
{
    const struct nj_session *session = request->session;
    const struct nj_session_message *last;
    json_t *item;

    if (read_item(script_of(model), request, &item, err) < 0)
        return -(int)err->code;
    last = request->n_messages ? &session->messages[request->n_messages - 1] : NULL;
    if (nj_script_scene_init(ret_scene, session->config->agent, item, request->turn,
                             last ? (struct nj_span){(const uint8_t *)last->bytes, last->len}
                                  : (struct nj_span){0},
                             err) < 0) {
        json_decref(item);
        return -(int)err->code;
    }
    ret_scene->attempt = request->session_attempt;
    *ret_item = item;
    return 0;
}

/* *ret_reply is NO_REPLY when nothing fits. */
static int choose(const struct nj_model *model, const struct nj_script_scene *scene,
                  const uint32_t *tally, size_t *ret_reply, struct nj_error *err)
{
    size_t reply = NO_REPLY;

    if (nj_script_choose(script_of(model), scene, model->n_tally ? tally : NULL, &reply, err) < 0)
        return -(int)err->code;
    *ret_reply = reply;
    return 0;
}

static void use(const struct nj_model *model, uint32_t *tally, size_t reply)
{
    if (model->n_tally && tally && tally[reply] < UINT32_MAX)
        tally[reply]++;
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

static int foresee(const struct nj_model *model, const struct nj_try_request *request,
                   struct nj_foreseen *ret_foreseen, struct nj_error *err)
{
    NJ_AUTO(nj_script_scene_done) struct nj_script_scene scene = {0};
    struct nj_foreseen foreseen = {.failed = true, .cause = NJ_CAUSE_ERROR};
    size_t reply = NO_REPLY;
    json_t *item;
    int r;

    if (read_scene(model, request, &item, &scene, err) < 0)
        return -(int)err->code;
    r = choose(model, &scene, request->tally, &reply, err);
    json_decref(item);
    if (r < 0)
        return r;
    if (reply == NO_REPLY) {
        foreseen.verdict = NJ_TRY_FINAL;
    } else {
        foreseen.failed = fails(script_of(model)->replies[reply].fail, &foreseen.cause);
        use(model, request->tally, reply);
    }
    *ret_foreseen = foreseen;
    return 0;
}

/* ---- one try ---- */

static void try_free(struct nj_try *try)
{
    if (!try)
        return;
    if (try->timer)
        event_free(try->timer);
    nj_script_scene_done(&try->scene);
    json_decref(try->item);
    free(try);
}
NJ_DEFINE_AUTO_PTR(struct nj_try, try_free);

static void end_failed(struct nj_try *try, enum nj_manifest_cause cause,
                       enum nj_try_verdict verdict, const char *text)
{
    struct nj_try_failure failure = {.cause = cause, .verdict = verdict, .text = text};
    struct nj_try_callbacks callbacks = try->callbacks;

    try_free(try);
    callbacks.failed(callbacks.ctx, &failure);
}

/* One line, one write, before anybody knows of the reply: it outlives us. */
static int write_log(const struct nj_try *try, const struct nj_script_reply *scripted,
                     struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    int log_fd = try->model->services->script_log_fd;
    const char *fail = nj_script_fail_text(scripted->fail);
    ssize_t n;

    if (log_fd < 0)
        return 0;
    nj_buf_init(&line, LOG_LINE_MAX_BYTES);
    if (nj_buf_text(&line, "{\"session\":", err) < 0 ||
        nj_buf_json_text(&line, nj_span_text(try->request.session->config->key), err) < 0 ||
        nj_buf_printf(&line, err,
                      ",\"turn\":%" PRIu64 ",\"reply\":%zu,\"attempt\":%" PRIu64
                      ",\"fail\":%s%s%s}\n",
                      try->request.turn, try->reply, try->request.attempt, fail ? "\"" : "",
                      fail ? fail : "null", fail ? "\"" : "") < 0)
        return -(int)err->code;
    /* Not through fsio: the tests that make the n-th write fail count the engine's own. */
    n = write(log_fd, line.data, line.len);
    if (n < 0)
        return nj_fail_errno(err, errno, "NJ_SCRIPT_LOG: write");
    if ((size_t)n != line.len)
        return nj_fail(err, NJ_E_SYSTEM, "NJ_SCRIPT_LOG: a line was cut off");
    return 0;
}

static void deliver(struct nj_try *try, const struct nj_script_reply *scripted)
{
    NJ_AUTO(nj_buf_done) struct nj_buf content = {0};
    struct nj_try_callbacks callbacks = try->callbacks;
    struct nj_try_reply reply = {.usage = scripted->usage};
    struct nj_error err = {0};

    nj_buf_init(&content, NJ_REPLY_CONTENT_MAX_BYTES);
    if (nj_script_render(scripted, &try->scene, &content, &err) < 0 ||
        nj_reply_check(nj_buf_span(&content), &err) < 0) {
        end_failed(try, NJ_CAUSE_ERROR, NJ_TRY_OVER, err.text);
        return;
    }
    reply.content = nj_buf_span(&content);
    if (scripted->fail == NJ_SCRIPT_FAIL_TRUNCATED)
        reply.stop = NJ_STOP_TRUNCATED;
    else
        reply.stop = scripted->n_calls ? NJ_STOP_TOOLS : NJ_STOP_END;
    try_free(try);
    callbacks.replied(callbacks.ctx, &reply);
}

static void on_timer(int fd, short what, void *ctx)
{
    struct nj_try *try = ctx;
    const struct nj_script *script = script_of(try->model);
    const struct nj_script_reply *scripted;
    enum nj_manifest_cause cause = NJ_CAUSE_ERROR;
    struct nj_error err = {0};
    char text[NJ_ERROR_TEXT_MAX_BYTES];

    (void)fd;
    (void)what;
    if (try->reply == NO_REPLY) {
        (void)snprintf(text, sizeof(text), "%s: no reply fits turn %" PRIu64 " of session %s",
                       script->name, try->request.turn, try->request.session->config->key);
        end_failed(try, NJ_CAUSE_ERROR, NJ_TRY_FINAL, text);
        return;
    }
    scripted = &script->replies[try->reply];
    if (write_log(try, scripted, &err) < 0) {
        end_failed(try, NJ_CAUSE_ERROR, NJ_TRY_OVER, err.text);
        return;
    }
    use(try->model, try->request.tally, try->reply);
    if (!fails(scripted->fail, &cause)) {
        deliver(try, scripted);
        return;
    }
    (void)snprintf(text, sizeof(text), "reply %zu of %s fails with %s", try->reply, script->name,
                   nj_script_fail_text(scripted->fail));
    end_failed(try, cause, NJ_TRY_AGAIN, text);
}

static int begin(const struct nj_model *model, const struct nj_try_request *request,
                 const struct nj_try_callbacks *callbacks, struct nj_try **ret_try,
                 struct nj_error *err)
{
    NJ_AUTO(try_free) struct nj_try *try = calloc(1, sizeof(*try));
    struct timeval delay = {0};
    uint64_t delay_ms;

    if (!try)
        return nj_fail_nomem(err);
    try->model = model;
    try->request = *request;
    try->callbacks = *callbacks;
    if (read_scene(model, request, &try->item, &try->scene, err) < 0 ||
        choose(model, &try->scene, request->tally, &try->reply, err) < 0)
        return -(int)err->code;
    delay_ms = try->reply == NO_REPLY ? 0 : script_of(model)->replies[try->reply].delay_ms;
    delay = (struct timeval){.tv_sec = (time_t)(delay_ms / 1000),
                             .tv_usec = (suseconds_t)(delay_ms % 1000) * 1000};
    try->timer = evtimer_new(model->services->base, on_timer, try);
    if (!try->timer || evtimer_add(try->timer, &delay) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "model call: cannot set a timer");
    *ret_try = nj_steal_ptr(&try);
    return 0;
}

const struct nj_provider nj_provider_script = {
    .name = "script",
    .open = script_open,
    .close = script_close,
    .is_same = is_same_script,
    .digest = digest_script,
    .begin = begin,
    .cancel = try_free,
    .bound = script_bound,
    .foresee = foresee,
};
