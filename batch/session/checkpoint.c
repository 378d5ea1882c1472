/*
 * checkpoint.c - the core's state as a snapshot, and back
 *
 * The one complication: a snapshot is taken in SNAPSHOTTING and holds the state that follows it, so
 * a restored session stands where the durable snapshot lets it go on. What a snapshot does not hold
 * is derived: the calls of the turn and the result's text are read from the last assistant item.
 */
#include "batch/session/session.h"

#include <inttypes.h>

#include "formats/base/banned.h"

void nj_session_checkpoint(const struct nj_session *session, struct nj_snapshot *ret_snapshot)
{
    *ret_snapshot = (struct nj_snapshot){
        .sequence = session->sequence,
        .state =
            session->state == NJ_SESSION_SNAPSHOTTING ? session->after_snapshot : session->state,
        .turn = session->turn,
        .steps = session->steps,
        .calls_done = session->calls_done,
        .judge_rounds = session->judge_rounds,
        .attempts_failed = session->attempts_failed,
        .items = session->list ? session->list->count : 0,
        .conversation = session->list_root,
        .workspace = session->workspace,
        .prompt_tokens = session->prompt_tokens,
        .prompt_items = session->prompt_items,
        .compacted = session->compacted,
        .usage = session->usage,
        .cost_micro_usd = session->cost_micro_usd,
        .tool_time_ms = session->tool_time_ms,
        .time_ns = session->time_ns,
        .clock_ns = session->clock_ns,
        .config = session->config_digest,
        .status = session->status,
        .error_kind = nj_span_text(session->error_kind),
        .error_text = nj_span_text(nj_session_error_text(session)),
    };
    memcpy(ret_snapshot->seed, session->seed, sizeof(session->seed));
}

struct load {
    struct nj_session *session;
    const struct nj_object_source *source;
};

static int load_item(void *ctx, uint64_t index, const struct nj_digest *item, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct load *load = ctx;
    struct nj_session *session = load->session;
    struct nj_session_message *message = &session->messages[index];

    nj_buf_init(&bytes, NJ_MESSAGE_MAX_BYTES);
    if (nj_object_get(load->source, NJ_OBJECT_MESSAGE, item, &bytes, err) < 0)
        return nj_wrap(err, "message %" PRIu64, index + 1);
    if (bytes.len > NJ_CONVERSATION_MAX_BYTES - session->messages_bytes)
        return nj_fail(err, NJ_E_LIMIT, "the conversation has more than %u bytes",
                       NJ_CONVERSATION_MAX_BYTES);
    session->messages_bytes += bytes.len;
    message->digest = *item;
    message->len = bytes.len;
    message->bytes = nj_buf_steal(&bytes);
    if (!message->bytes)
        return nj_fail(err, NJ_E_CORRUPT, "message %" PRIu64 " is empty", index + 1);
    session->n_messages = index + 1;
    return 0;
}

static int load_conversation(struct nj_session *session, const struct nj_snapshot *snapshot,
                             const struct nj_object_source *source, struct nj_error *err)
{
    struct load load = {.session = session, .source = source};

    /* Every turn adds at most its reply, its calls and a refusal: a larger count is damage, not
     * work. */
    if (snapshot->items > NJ_LIST_ITEMS_MAX ||
        (snapshot->items > 1 && (snapshot->items - 2) / (NJ_CALLS_MAX + 2) > snapshot->turn))
        return nj_fail(err, NJ_E_CORRUPT, "conversation: %" PRIu64 " items in %" PRIu64 " turns",
                       snapshot->items, snapshot->turn);
    session->messages = calloc(snapshot->items + 1, sizeof(*session->messages));
    if (!session->messages)
        return nj_fail_nomem(err);
    session->cap_messages = snapshot->items + 1;
    if (snapshot->items == 0)
        return 0;
    session->list_root = snapshot->conversation;
    session->list = calloc(1, nj_list_bytes(snapshot->items));
    if (!session->list)
        return nj_fail_nomem(err);
    return nj_list_load(session->list, source, &snapshot->conversation, snapshot->items, load_item,
                        &load, err);
}

/* The calls of the current turn and, where there are none, the result: both from the last reply. */
static int derive(struct nj_session *session, struct nj_error *err)
{
    for (size_t i = session->n_messages; i > 0; i--) {
        const struct nj_session_message *message = &session->messages[i - 1];
        struct nj_span item = {(const uint8_t *)message->bytes, message->len};
        struct nj_span content;
        enum nj_role role;

        if (nj_message_content(item, &role, &content, err) < 0)
            return -(int)err->code;
        if (role != NJ_ROLE_ASSISTANT)
            continue;
        if (nj_message_calls(item, &session->calls, err) < 0)
            return -(int)err->code;
        if (session->calls.count == 0)
            return nj_message_text(item, &session->result, err);
        return 0;
    }
    return 0;
}

static bool is_consistent(const struct nj_session *session)
{
    switch (session->state) {
    case NJ_SESSION_PROMPTING:
        return session->n_messages > 0;
    case NJ_SESSION_ACTING:
        return session->calls_done < session->calls.count;
    case NJ_SESSION_JUDGING:
        return session->turn > 0 && session->config->n_accept_command > 0;
    case NJ_SESSION_CLOSING:
        return session->status == NJ_STATUS_SUCCEEDED || session->status == NJ_STATUS_FAILED;
    case NJ_SESSION_NEW:
    case NJ_SESSION_SNAPSHOTTING:
    case NJ_SESSION_DONE:
        break;
    }
    return false;
}

int nj_session_restore(const struct nj_session_config *config, const struct nj_snapshot *snapshot,
                       const struct nj_object_source *source, struct nj_session **ret_session,
                       struct nj_error *err)
{
    NJ_AUTO(nj_session_free) struct nj_session *session = NULL;

    if (nj_session_new(config, &session, err) < 0)
        return -(int)err->code;
    if (!nj_digest_equal(&session->config_digest, &snapshot->config))
        return nj_fail(err, NJ_E_CORRUPT, "snapshot: it was taken under another config");
    if (load_conversation(session, snapshot, source, err) < 0)
        return nj_wrap(err, "snapshot");
    session->sequence = snapshot->sequence;
    session->state = (enum nj_session_state)snapshot->state;
    session->turn = snapshot->turn;
    session->steps = snapshot->steps;
    session->calls_done = snapshot->calls_done;
    session->judge_rounds = snapshot->judge_rounds;
    session->attempts_failed = snapshot->attempts_failed;
    session->workspace = snapshot->workspace;
    session->prompt_tokens = snapshot->prompt_tokens;
    session->prompt_items = snapshot->prompt_items;
    session->compacted = snapshot->compacted;
    session->usage = snapshot->usage;
    session->cost_micro_usd = snapshot->cost_micro_usd;
    session->tool_time_ms = snapshot->tool_time_ms;
    session->time_ns = snapshot->time_ns;
    session->clock_ns = snapshot->clock_ns < NJ_CLOCK_MAX_NS ? snapshot->clock_ns : NJ_CLOCK_MAX_NS;
    memcpy(session->seed, snapshot->seed, sizeof(session->seed));
    session->status = (enum nj_status)snapshot->status;
    (void)snprintf(session->error_kind, sizeof(session->error_kind), "%.*s",
                   (int)snapshot->error_kind.len, (const char *)snapshot->error_kind.data);
    if (snapshot->error_text.len > 0) {
        session->error_text = nj_span_dup(snapshot->error_text);
        if (!session->error_text)
            return nj_fail_nomem(err);
    }
    if (derive(session, err) < 0)
        return nj_wrap(err, "snapshot");
    if (snapshot->state >= NJ_SESSION_SNAPSHOTTING || !is_consistent(session))
        return nj_fail(err, NJ_E_CORRUPT, "snapshot: state %" PRIu64 " does not fit what it holds",
                       snapshot->state);
    *ret_session = nj_steal_ptr(&session);
    return 0;
}
