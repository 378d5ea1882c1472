/*
 * step.c - the session core's transitions
 *
 * One function an event; each checks that the event fits the state before it changes anything. The
 * one complication is the conversation: an item is put as an object, then its digest is appended to
 * the persistent list, and both happen before the state moves, so that a failed put leaves the
 * state as it was.
 */
#include "batch/session/context.h"

#include <inttypes.h>

#include "batch/session/budget.h"
#include "formats/base/bytes.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

const char *nj_session_state_text(enum nj_session_state state)
{
    switch (state) {
#define X(name, value, text, waits_for)                                                            \
    case NJ_SESSION_##name:                                                                        \
        return text;
        NJ_SESSION_STATES(X)
#undef X
    }
    return "?";
}

int nj_session_new(const struct nj_session_config *config, struct nj_session **ret_session,
                   struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_session_free) struct nj_session *session = calloc(1, sizeof(*session));
    int r;

    if (!session)
        return nj_fail_nomem(err);
    nj_buf_init(&packed, NJ_CONFIG_MAX_BYTES);
    r = nj_config_encode(config, &packed, err);
    if (r < 0)
        return r;
    nj_digest_bytes(packed.data, packed.len, &session->config_digest);
    session->config = config;
    session->state = NJ_SESSION_NEW;
    nj_buf_init(&session->result, NJ_MESSAGE_MAX_BYTES);
    *ret_session = nj_steal_ptr(&session);
    return 0;
}

void nj_session_free(struct nj_session *session)
{
    if (!session)
        return;
    for (size_t i = 0; i < session->n_messages; i++)
        free(session->messages[i].bytes);
    free(session->messages);
    free(session->list);
    nj_calls_done(&session->calls);
    nj_buf_done(&session->result);
    free(session->error_text);
    free(session);
}

const char *nj_session_error_text(const struct nj_session *session)
{
    return session->error_text ? session->error_text : "";
}

static int misfit(const struct nj_session *session, const struct nj_event *event,
                  struct nj_error *err)
{
    return nj_fail(err, NJ_E_CORRUPT, "event %s does not fit state %s at turn %" PRIu64,
                   nj_event_kind_text(event->kind), nj_session_state_text(session->state),
                   session->turn);
}

static void settle(struct nj_session *session, enum nj_session_state next)
{
    session->state = NJ_SESSION_SNAPSHOTTING;
    session->after_snapshot = next;
    if (next == NJ_SESSION_PROMPTING)
        nj_context_compact(session);
}

static void close_with(struct nj_session *session, enum nj_status status, const char *kind,
                       const char *fmt, ...) NJ_PRINTF(4, 5);

static void close_with(struct nj_session *session, enum nj_status status, const char *kind,
                       const char *fmt, ...)
{
    char text[NJ_ERROR_TEXT_MAX_BYTES];
    va_list args;

    session->status = status;
    (void)snprintf(session->error_kind, sizeof(session->error_kind), "%s", kind);
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    nj_utf8_trim(text); /* a cut character could not be recorded */
    free(session->error_text);
    session->error_text = text[0] ? strdup(text) : NULL; /* no memory: nj_session_step() */
    settle(session, NJ_SESSION_CLOSING);
}

/* A waiting session is to be small, so its list has only the levels that it needs. */
static int make_room(struct nj_session *session, struct nj_error *err)
{
    uint64_t count = session->list ? session->list->count : 0;
    size_t have = session->list ? nj_list_bytes(count) : 0, need = nj_list_bytes(count + 1);
    struct nj_list *grown;

    if (have == need)
        return 0;
    grown = realloc(session->list, need);
    if (!grown)
        return nj_fail_nomem(err);
    memset((char *)grown + have, 0, need - have);
    session->list = grown;
    return 0;
}

/* Appends an item whose MESSAGE object is @digest; the session keeps a copy of the bytes for live
 * requests. */
static int append_item(struct nj_session *session, struct nj_span bytes,
                       const struct nj_digest *digest, const struct nj_object_sink *sink,
                       struct nj_error *err)
{
    struct nj_digest root;
    char *copy;
    int r;

    if (bytes.len > NJ_CONVERSATION_MAX_BYTES - session->messages_bytes)
        return nj_fail(err, NJ_E_LIMIT, "the conversation has reached %u bytes",
                       NJ_CONVERSATION_MAX_BYTES);
    if (session->n_messages == session->cap_messages) {
        size_t cap = session->cap_messages ? session->cap_messages * 2 : 4;
        struct nj_session_message *grown =
            reallocarray(session->messages, cap, sizeof(*session->messages));

        if (!grown)
            return nj_fail_nomem(err);
        session->messages = grown;
        session->cap_messages = cap;
    }
    if (make_room(session, err) < 0)
        return -(int)err->code;
    copy = nj_span_dup(bytes);
    if (!copy)
        return nj_fail_nomem(err);
    r = nj_list_append(session->list, digest, sink, &root, err);
    if (r < 0) {
        free(copy);
        return r;
    }
    session->list_root = root;
    session->messages_bytes += bytes.len;
    session->messages[session->n_messages++] =
        (struct nj_session_message){.digest = *digest, .bytes = copy, .len = bytes.len};
    return 0;
}

static int append_user(struct nj_session *session, const struct nj_buf *item,
                       const struct nj_object_sink *sink, struct nj_error *err)
{
    struct nj_digest digest;
    int r;

    r = nj_object_put(sink, NJ_OBJECT_MESSAGE, nj_buf_span(item), &digest, err);
    if (r < 0)
        return r;
    return append_item(session, nj_buf_span(item), &digest, sink, err);
}

/* The item's role is part of what an event means: a record that swaps them is damaged. */
static int check_role(struct nj_span item, enum nj_role expected, struct nj_error *err)
{
    struct nj_span content;
    enum nj_role role;
    int r = nj_message_content(item, &role, &content, err);

    if (r < 0)
        return r;
    if (role != expected)
        return nj_fail(err, NJ_E_CORRUPT, "message: not %s item",
                       expected == NJ_ROLE_USER ? "a user's" : "an assistant's");
    return 0;
}

/* Every time that counts for the next call is in the record, so that call starts at the same time
 * when it is repeated after a crash, and when it is replayed. */
static void advance_clock(struct nj_session *session, int64_t to_ns)
{
    if (session->clock_ns == 0)
        return; /* restored from a snapshot of the first builds: there is no seed to go with it */
    if (to_ns > NJ_CLOCK_MAX_NS)
        to_ns = NJ_CLOCK_MAX_NS; /* a hostile record's */
    if (to_ns > session->clock_ns)
        session->clock_ns = to_ns;
}

static void advance_by_call(struct nj_session *session, const struct nj_call_meta *meta)
{
    if (meta->applied > 0)
        advance_clock(session, meta->clock_ns);
}

static int on_opened(struct nj_session *session, const struct nj_event *event, struct nj_span first,
                     const struct nj_object_sink *sink, struct nj_error *err)
{
    int r;

    if (session->state != NJ_SESSION_NEW)
        return misfit(session, event, err);
    if (!nj_digest_equal(&event->opened.config, &session->config_digest))
        return nj_fail(err, NJ_E_CORRUPT, "opened: the config's digest is another one");
    r = check_role(first, NJ_ROLE_USER, err);
    if (r == 0)
        r = append_item(session, first, &event->opened.first, sink, err);
    if (r < 0)
        return r;
    session->workspace =
        (struct nj_workspace_ref){.tree = event->opened.tree, .stamps = event->opened.stamps};
    memcpy(session->seed, event->opened.seed, sizeof(session->seed));
    session->clock_ns = 1;
    advance_clock(session, event->time_ns);
    settle(session, NJ_SESSION_PROMPTING);
    return 0;
}

static void finish_by_turns(struct nj_session *session)
{
    close_with(session, NJ_STATUS_FAILED, "limit",
               "%" PRIu64 " turns and still not done (limits.turns)", session->turn);
}

/* The next prompt begins with this one and its reply, which were counted together. */
static void measure_prompt(struct nj_session *session, const struct nj_usage *usage)
{
    uint64_t tokens = nj_budget_add(usage->input_tokens, usage->output_tokens);

    tokens = nj_budget_add(tokens, usage->cache_read_tokens);
    tokens = nj_budget_add(tokens, usage->cache_write_5m_tokens);
    tokens = nj_budget_add(tokens, usage->cache_write_1h_tokens);
    session->prompt_tokens = tokens < NJ_SNAPSHOT_PROMPT_MAX ? tokens : NJ_SNAPSHOT_PROMPT_MAX;
    session->prompt_items = session->n_messages;
}

/* What a whole reply leads to. Without calls it is the agent's last word, unless somebody has to
 * accept it. */
static void finish_reply(struct nj_session *session)
{
    if (session->calls.count > 0 && session->turn >= session->config->turns_max)
        finish_by_turns(session);
    else if (session->calls.count > 0)
        settle(session, NJ_SESSION_ACTING);
    else if (session->config->n_accept_command > 0)
        settle(session, NJ_SESSION_JUDGING);
    else
        close_with(session, NJ_STATUS_SUCCEEDED, "", "%s", "");
}

/* The service wants to go on by itself: it is asked again with what it said so far. How often in a
 * row follows from the conversation, so nothing has to be counted. */
static void go_on(struct nj_session *session)
{
    size_t in_a_row = 0;

    for (size_t i = session->n_messages; i-- > 0;) {
        const struct nj_session_message *message = &session->messages[i];
        struct nj_error ignored = {0};
        struct nj_span content;
        enum nj_role role;

        if (nj_message_content((struct nj_span){(const uint8_t *)message->bytes, message->len},
                               &role, &content, &ignored) < 0 ||
            role != NJ_ROLE_ASSISTANT)
            break;
        in_a_row++;
    }
    if (in_a_row > NJ_PAUSES_MAX)
        close_with(session, NJ_STATUS_FAILED, "model",
                   "the model paused %d times in a row and was still not done (pause_turn)",
                   NJ_PAUSES_MAX);
    else if (session->turn >= session->config->turns_max)
        finish_by_turns(session);
    else
        settle(session, NJ_SESSION_PROMPTING);
}

/* A reply that did not come to its own end may hold half a call: nothing of it is run. */
static void finish_by_stop(struct nj_session *session, enum nj_stop stop)
{
    switch (stop) {
    case NJ_STOP_TRUNCATED:
        close_with(session, NJ_STATUS_FAILED, "model",
                   "the reply of turn %" PRIu64 " was cut off at its token limit", session->turn);
        return;
    case NJ_STOP_REFUSED:
        close_with(session, NJ_STATUS_FAILED, "model", "the model refused at turn %" PRIu64,
                   session->turn);
        return;
    case NJ_STOP_CONTEXT_FULL:
        close_with(session, NJ_STATUS_FAILED, "model",
                   "the model's context was full at turn %" PRIu64, session->turn);
        return;
    case NJ_STOP_PAUSED:
        if (session->calls.count > 0)
            break;
        go_on(session);
        return;
    case NJ_STOP_END:
    case NJ_STOP_TOOLS:
        break;
    }
    finish_reply(session);
}

static int on_reply(struct nj_session *session, const struct nj_event *event,
                    const struct nj_object_sink *sink, struct nj_error *err)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf result = {0};
    struct nj_span item = event->reply.message_bytes;
    int r;

    if (session->state != NJ_SESSION_PROMPTING || event->reply.turn != session->turn + 1)
        return misfit(session, event, err);
    r = check_role(item, NJ_ROLE_ASSISTANT, err);
    if (r == 0)
        r = nj_message_calls(item, &calls, err);
    nj_buf_init(&result, NJ_MESSAGE_MAX_BYTES);
    if (r == 0 && calls.count == 0)
        r = nj_message_text(item, &result, err);
    if (r < 0)
        return nj_wrap(err, "reply of turn %" PRIu64, event->reply.turn);
    r = append_item(session, item, &event->reply.message, sink, err);
    if (r < 0)
        return r;
    session->turn++;
    session->steps++;
    session->calls_done = 0;
    session->attempts_failed = 0;
    nj_usage_add(&session->usage, &event->reply.usage);
    measure_prompt(session, &event->reply.usage);
    advance_clock(session, event->time_ns);
    session->cost_micro_usd = nj_budget_add(session->cost_micro_usd, nj_event_cost(event));
    nj_calls_done(&session->calls);
    session->calls = calls;
    calls = (struct nj_calls){0};
    nj_buf_done(&session->result);
    session->result = result;
    result = (struct nj_buf){0};
    finish_by_stop(session, event->reply.stop);
    return 0;
}

static int on_no_reply(struct nj_session *session, const struct nj_event *event,
                       struct nj_error *err)
{
    if (session->state != NJ_SESSION_PROMPTING || event->no_reply.turn != session->turn + 1)
        return misfit(session, event, err);
    close_with(session, NJ_STATUS_FAILED, "model", "%.*s: %.*s", (int)event->no_reply.cause.len,
               (const char *)event->no_reply.cause.data, (int)event->no_reply.text.len,
               (const char *)event->no_reply.text.data);
    session->cost_micro_usd = nj_budget_add(session->cost_micro_usd, nj_event_cost(event));
    return 0;
}

static int on_tool_done(struct nj_session *session, const struct nj_event *event,
                        const struct nj_object_sink *sink, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    bool is_error;
    int r;

    if (session->state != NJ_SESSION_ACTING || event->tool_done.turn != session->turn ||
        event->tool_done.call != session->calls_done)
        return misfit(session, event, err);
    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    r = nj_message_outcome(&event->tool_done.outcome, &text, &is_error, err);
    if (r == 0)
        r = nj_message_tool_result(session->calls.items[session->calls_done].id, nj_buf_span(&text),
                                   is_error, &item, err);
    if (r == 0)
        r = append_user(session, &item, sink, err);
    if (r < 0)
        return r;
    session->calls_done++;
    session->steps++;
    session->tool_time_ms += event->tool_done.meta.duration_ms;
    advance_by_call(session, &event->tool_done.meta);
    session->workspace = (struct nj_workspace_ref){.tree = event->tool_done.outcome.tree,
                                                   .stamps = event->tool_done.meta.stamps};
    settle(session,
           session->calls_done < session->calls.count ? NJ_SESSION_ACTING : NJ_SESSION_PROMPTING);
    return 0;
}

/* The reason goes back to the agent in words, so that it can repair its work. */
static int reject(struct nj_session *session, const struct nj_call_outcome *outcome,
                  const struct nj_object_sink *sink, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    bool is_error;
    int r;

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    r = nj_buf_printf(&text, err,
                      "The result was not accepted (attempt %" PRIu64 " of %" PRIu64
                      "). The check said:\n",
                      session->judge_rounds + 1, session->config->accept_attempts);
    if (r == 0)
        r = nj_message_outcome(outcome, &text, &is_error, err);
    if (r == 0)
        r = nj_message_user_text(nj_buf_span(&text), &item, err);
    if (r == 0)
        r = append_user(session, &item, sink, err);
    return r;
}

static int on_judged(struct nj_session *session, const struct nj_event *event,
                     const struct nj_object_sink *sink, struct nj_error *err)
{
    bool last;
    int r;

    if (session->state != NJ_SESSION_JUDGING || event->judged.round != session->judge_rounds + 1)
        return misfit(session, event, err);
    last = event->judged.round >= session->config->accept_attempts;
    if (!event->judged.accepted && !last) {
        r = reject(session, &event->judged.outcome, sink, err);
        if (r < 0)
            return r;
    }
    session->judge_rounds++;
    session->tool_time_ms += event->judged.meta.duration_ms;
    advance_by_call(session, &event->judged.meta);
    session->workspace = (struct nj_workspace_ref){.tree = event->judged.outcome.tree,
                                                   .stamps = event->judged.meta.stamps};
    if (event->judged.accepted)
        close_with(session, NJ_STATUS_SUCCEEDED, "", "%s", "");
    else if (!last)
        settle(session, NJ_SESSION_PROMPTING);
    else
        close_with(session, NJ_STATUS_FAILED, "accept",
                   "the accept command refused the result %" PRIu64 " times",
                   session->judge_rounds);
    return 0;
}

int nj_session_step(struct nj_session *session, const struct nj_event *event, struct nj_span first,
                    const struct nj_object_sink *sink, struct nj_error *err)
{
    int r = 0;

    switch (event->kind) {
    case NJ_EVENT_OPENED:
        r = on_opened(session, event, first, sink, err);
        break;
    case NJ_EVENT_REPLY:
        r = on_reply(session, event, sink, err);
        break;
    case NJ_EVENT_NO_REPLY:
        r = on_no_reply(session, event, err);
        break;
    case NJ_EVENT_TOOL_DONE:
        r = on_tool_done(session, event, sink, err);
        break;
    case NJ_EVENT_JUDGED:
        r = on_judged(session, event, sink, err);
        break;
    case NJ_EVENT_CLOSED:
        if (session->state != NJ_SESSION_CLOSING)
            return misfit(session, event, err);
        session->state = NJ_SESSION_DONE;
        break;
    case NJ_EVENT_SNAPSHOTTED:
        if (session->state != NJ_SESSION_SNAPSHOTTING)
            return misfit(session, event, err);
        session->state = session->after_snapshot;
        return 0; /* it is not in the journal, so its time may not stay: a fold would not know it */
    case NJ_EVENT_ATTEMPT:
        if (session->state != NJ_SESSION_PROMPTING)
            return misfit(session, event, err);
        session->attempts_failed++;
        session->cost_micro_usd = nj_budget_add(session->cost_micro_usd, nj_event_cost(event));
        break;
    case NJ_EVENT_SUSPENDED:
    case NJ_EVENT_RESUMED:
        session->cost_micro_usd = nj_budget_add(session->cost_micro_usd, nj_event_cost(event));
        break;
    case NJ_EVENT_BOX:
        break;
    }
    if (r == 0 && event->time_ns > session->time_ns)
        session->time_ns = event->time_ns;
    /* It failed, and there was no memory for why: the record would say something else. */
    if (r == 0 && session->state == NJ_SESSION_SNAPSHOTTING &&
        session->after_snapshot == NJ_SESSION_CLOSING && session->error_kind[0] &&
        !session->error_text)
        return nj_fail_nomem(err);
    return r;
}

/* What a model is asked with: the config (role, instructions, tools) and the conversation so far.
 */
static void request_digest(const struct nj_session *session, struct nj_digest *ret_digest)
{
    *ret_digest = (struct nj_digest){0};
    nj_digest_chain(ret_digest, "config",
                    (struct nj_span){session->config_digest.bytes, NJ_DIGEST_BYTES});
    nj_digest_chain(ret_digest, "conversation",
                    (struct nj_span){session->list_root.bytes, NJ_DIGEST_BYTES});
    if (session->compacted) {
        uint8_t cut[8];

        nj_store_u64le(cut, session->compacted);
        nj_digest_chain(ret_digest, "compacted", (struct nj_span){cut, sizeof(cut)});
    }
}

void nj_session_action(const struct nj_session *session, struct nj_action *ret_action)
{
    struct nj_action action = {.kind = NJ_ACTION_NONE, .turn = session->turn};

    switch (session->state) {
    case NJ_SESSION_NEW:
    case NJ_SESSION_DONE:
        break;
    case NJ_SESSION_SNAPSHOTTING:
        action.kind = NJ_ACTION_SNAPSHOT;
        break;
    case NJ_SESSION_PROMPTING:
        action.kind = NJ_ACTION_ASK_MODEL;
        action.turn = session->turn + 1;
        request_digest(session, &action.request);
        break;
    case NJ_SESSION_ACTING:
        action.kind = NJ_ACTION_RUN_TOOL;
        action.call = session->calls_done;
        action.tool = &session->calls.items[session->calls_done];
        break;
    case NJ_SESSION_JUDGING:
        action.kind = NJ_ACTION_JUDGE;
        action.round = session->judge_rounds + 1;
        break;
    case NJ_SESSION_CLOSING:
        action.kind = NJ_ACTION_CLOSE;
        action.status = session->status;
        action.error_kind = session->error_kind;
        action.error_text = nj_session_error_text(session);
        action.result = nj_buf_span(&session->result);
        break;
    }
    *ret_action = action;
}

struct nj_span nj_session_last_message(const struct nj_session *session)
{
    const struct nj_session_message *last;

    if (session->n_messages == 0)
        return (struct nj_span){0};
    last = &session->messages[session->n_messages - 1];
    return (struct nj_span){(const uint8_t *)last->bytes, last->len};
}
