/*
 * context.c - estimates, bounds, and notes in place of old tool results
 *
 * The one complication is that an item's number is the number of its step: the first message is
 * item 0, and each reply, call and refused result adds one item and is one step. So the note can
 * name the place without the session keeping a table.
 */
#include "batch/session/context.h"

#include <inttypes.h>

#include "formats/base/banned.h"

#define RESULT_HEAD "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"

static bool is_left_out(const struct nj_session *session, size_t index)
{
    const struct nj_session_message *message = &session->messages[index];

    return index < session->compacted && message->len >= NJ_CONTEXT_NOTE_MIN_BYTES &&
           memcmp(message->bytes, RESULT_HEAD, strlen(RESULT_HEAD)) == 0;
}

/* Bytes that items @from to @to have in a request; a note counts as its least length. */
static uint64_t range_bytes(const struct nj_session *session, size_t from, size_t to)
{
    uint64_t sum = 0;

    for (size_t i = from; i < to; i++)
        sum += is_left_out(session, i) ? NJ_CONTEXT_NOTE_MIN_BYTES : session->messages[i].len;
    return sum;
}

static uint64_t view_bytes(const struct nj_session *session, size_t from)
{
    return range_bytes(session, from, session->n_messages);
}

static bool is_rate(uint64_t bytes, uint64_t tokens)
{
    return bytes >= NJ_CONTEXT_LEARN_MIN_BYTES && tokens <= bytes && tokens >= bytes / 16;
}

void nj_token_rate_learn(struct nj_token_rate *rate, uint64_t bytes, uint64_t tokens)
{
    if (!is_rate(bytes, tokens) || bytes > NJ_CONTEXT_LEARN_MAX_BYTES)
        return;
    rate->bytes += bytes;
    rate->tokens += tokens;
    if (rate->bytes > NJ_CONTEXT_LEARN_MAX_BYTES) {
        rate->bytes /= 2;
        rate->tokens /= 2;
    }
}

uint64_t nj_token_rate_of(const struct nj_token_rate *rate, uint64_t bytes)
{
    if (!rate || rate->bytes == 0)
        return bytes / NJ_CONTEXT_BYTES_PER_TOKEN;
    return (uint64_t)((double)bytes * (double)rate->tokens / (double)rate->bytes);
}

static uint64_t fixed_tokens(const struct nj_session *session)
{
    return NJ_CONTEXT_OVERHEAD_TOKENS + session->config->n_tools * (uint64_t)NJ_CONTEXT_TOOL_TOKENS;
}

uint64_t nj_context_bytes(const struct nj_session *session)
{
    return view_bytes(session, 0) + strlen(session->config->instructions);
}

uint64_t nj_context_estimate(const struct nj_session *session, const struct nj_token_rate *rate)
{
    /* Schemas are mostly a tenth of what they may be at most. */
    uint64_t fixed = fixed_tokens(session) / 8, measured;
    struct nj_token_rate own = {0};

    if (session->prompt_tokens == 0)
        return nj_token_rate_of(rate, nj_context_bytes(session)) + fixed;
    measured =
        range_bytes(session, 0, session->prompt_items) + strlen(session->config->instructions);
    if (session->prompt_tokens > fixed)
        nj_token_rate_learn(&own, measured, session->prompt_tokens - fixed);
    return session->prompt_tokens +
           nj_token_rate_of(&own, view_bytes(session, session->prompt_items));
}

uint64_t nj_context_bound(const struct nj_session *session, bool same_model)
{
    uint64_t framing = session->n_messages * (uint64_t)NJ_CONTEXT_ITEM_TOKENS;
    uint64_t all = fixed_tokens(session) + strlen(session->config->instructions) +
                   view_bytes(session, 0) + framing;
    uint64_t measured;

    if (session->prompt_tokens == 0)
        return all;
    measured = session->prompt_tokens + view_bytes(session, session->prompt_items) +
               (session->n_messages - session->prompt_items) * (uint64_t)NJ_CONTEXT_ITEM_TOKENS;
    if (!same_model)
        measured += session->prompt_tokens / 2;
    return measured < all ? measured : all;
}

bool nj_context_is_reply(const struct nj_session *session, size_t index)
{
    struct nj_span item = {(const uint8_t *)session->messages[index].bytes,
                           session->messages[index].len};
    struct nj_error ignored = {0}; /* what is no item is no reply */
    struct nj_span content;
    enum nj_role role;

    return nj_message_content(item, &role, &content, &ignored) == 0 && role == NJ_ROLE_ASSISTANT;
}

/* The first item of the turn that is @turns before the last: a reply. */
static size_t turn_begin(const struct nj_session *session, size_t turns)
{
    for (size_t i = session->n_messages; i > 0; i--)
        if (nj_context_is_reply(session, i - 1) && --turns == 0)
            return i - 1;
    return 0;
}

void nj_context_compact(struct nj_session *session)
{
    uint64_t limit = session->config->compact_at_tokens;
    size_t cut;

    if (limit == 0 || nj_context_estimate(session, NULL) < limit)
        return;
    cut = turn_begin(session, NJ_CONTEXT_TURNS_KEPT);
    if (cut <= session->compacted)
        return;
    session->compacted = cut;
    session->prompt_tokens = 0; /* the next prompt is another one: nobody has measured it */
    session->prompt_items = 0;
}

/* The id between the head and the comma, quotes included: it was written by nj_buf_json_text(). */
static struct nj_span id_of(struct nj_span item)
{
    size_t from = strlen(RESULT_HEAD);
    size_t at = from + 1;

    while (at < item.len && item.data[at] != '"')
        at += item.data[at] == '\\' ? 2 : 1;
    return (struct nj_span){item.data + from, at < item.len ? at + 1 - from : 0};
}

int nj_context_item(const struct nj_session *session, size_t index, struct nj_buf *scratch,
                    struct nj_span *ret_item, struct nj_error *err)
{
    const struct nj_session_message *message = &session->messages[index];
    struct nj_span item = {(const uint8_t *)message->bytes, message->len};
    struct nj_span id;

    if (!is_left_out(session, index)) {
        *ret_item = item;
        return 0;
    }
    id = id_of(item);
    nj_buf_clear(scratch);
    if (nj_buf_text(scratch, RESULT_HEAD, err) < 0 ||
        nj_buf_append(scratch, id.data, id.len, err) < 0 ||
        nj_buf_printf(scratch, err,
                      ",\"content\":\"[This result of %zu bytes was left out to make room. It was "
                      "step %zu of the session.]\"}]}",
                      message->len, index) < 0)
        return -(int)err->code;
    *ret_item = nj_buf_span(scratch);
    return 0;
}
