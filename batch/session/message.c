/*
 * message.c - conversation items: spelled here once, sliced and read everywhere else
 *
 * The one complication: an assistant's content is kept as it came and is parsed only to learn what
 * it asks for; what goes back on the wire is the slice, never a reprint.
 */
#include "batch/session/message.h"

#include <inttypes.h>
#include <signal.h>

#include "formats/base/banned.h"

#define ASSISTANT_HEAD "{\"role\":\"assistant\",\"content\":"
#define USER_HEAD "{\"role\":\"user\",\"content\":"
#define ITEM_TAIL "}"

void nj_calls_done(struct nj_calls *calls)
{
    for (size_t i = 0; i < calls->count; i++) {
        free(calls->items[i].id);
        free(calls->items[i].name);
        json_decref(calls->items[i].input);
    }
    free(calls->items);
    *calls = (struct nj_calls){0};
}

int nj_message_assistant(struct nj_span content, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_text(out, ASSISTANT_HEAD, err) < 0 ||
        nj_buf_append(out, content.data, content.len, err) < 0 ||
        nj_buf_text(out, ITEM_TAIL, err) < 0)
        return -(int)err->code;
    return 0;
}

int nj_message_user_text(struct nj_span text, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_text(out, USER_HEAD "[{\"type\":\"text\",\"text\":", err) < 0 ||
        nj_buf_json_text(out, text, err) < 0 || nj_buf_text(out, "}]" ITEM_TAIL, err) < 0)
        return -(int)err->code;
    return 0;
}

int nj_message_tool_result(const char *id, struct nj_span text, bool is_error, struct nj_buf *out,
                           struct nj_error *err)
{
    if (nj_buf_text(out, USER_HEAD "[{\"type\":\"tool_result\",\"tool_use_id\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(id), err) < 0 ||
        nj_buf_text(out, ",\"content\":", err) < 0 || nj_buf_json_text(out, text, err) < 0 ||
        nj_buf_text(out, is_error ? ",\"is_error\":true}]" ITEM_TAIL : "}]" ITEM_TAIL, err) < 0)
        return -(int)err->code;
    return 0;
}

static bool strip(struct nj_span item, const char *head, struct nj_span *ret_content)
{
    size_t head_len = strlen(head);

    if (item.len < head_len + 1 + strlen(ITEM_TAIL) || memcmp(item.data, head, head_len) != 0 ||
        item.data[item.len - 1] != '}')
        return false;
    *ret_content = (struct nj_span){item.data + head_len, item.len - head_len - strlen(ITEM_TAIL)};
    return true;
}

int nj_message_content(struct nj_span item, enum nj_role *ret_role, struct nj_span *ret_content,
                       struct nj_error *err)
{
    if (strip(item, ASSISTANT_HEAD, ret_content))
        *ret_role = NJ_ROLE_ASSISTANT;
    else if (strip(item, USER_HEAD, ret_content))
        *ret_role = NJ_ROLE_USER;
    else
        return nj_fail(err, NJ_E_CORRUPT, "message: neither a user's nor an assistant's item");
    return 0;
}

static int parse_blocks(struct nj_span item, json_t **ret_blocks, struct nj_error *err)
{
    struct nj_span content;
    json_error_t jerr;
    enum nj_role role;
    json_t *blocks;
    int r;

    r = nj_message_content(item, &role, &content, err);
    if (r < 0)
        return r;
    blocks = json_loadb((const char *)content.data, content.len,
                        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &jerr);
    if (!json_is_array(blocks)) {
        json_decref(blocks);
        return nj_fail(err, NJ_E_UPSTREAM, "content is no JSON array of blocks: %s",
                       blocks ? "another type" : jerr.text);
    }
    *ret_blocks = blocks;
    return 0;
}

static int append_text(json_t *text, struct nj_buf *out, struct nj_error *err)
{
    if (!json_is_string(text))
        return 0;
    if (out->len && nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    return nj_buf_append(out, json_string_value(text), json_string_length(text), err);
}

int nj_message_text(struct nj_span item, struct nj_buf *out, struct nj_error *err)
{
    json_t *blocks;
    json_t *block;
    size_t i;
    int r;

    r = parse_blocks(item, &blocks, err);
    if (r < 0)
        return r;
    json_array_foreach(blocks, i, block)
    {
        const char *type = json_string_value(json_object_get(block, "type"));

        if (type && strcmp(type, "text") == 0)
            r = append_text(json_object_get(block, "text"), out, err);
        else if (type && strcmp(type, "tool_result") == 0)
            r = append_text(json_object_get(block, "content"), out, err);
        if (r < 0)
            break;
    }
    json_decref(blocks);
    return r < 0 ? r : 0;
}

static int add_call(struct nj_calls *calls, json_t *block, struct nj_error *err)
{
    const char *id = json_string_value(json_object_get(block, "id"));
    const char *name = json_string_value(json_object_get(block, "name"));
    json_t *input = json_object_get(block, "input");
    struct nj_call *call;

    if (!id || !name || !json_is_object(input))
        return nj_fail(err, NJ_E_UPSTREAM, "a tool_use block lacks its id, name or input object");
    if (strlen(id) != json_string_length(json_object_get(block, "id")) ||
        strlen(name) != json_string_length(json_object_get(block, "name")))
        return nj_fail(err, NJ_E_UPSTREAM, "a tool_use block's id or name holds a NUL");
    if (calls->count == NJ_CALLS_MAX)
        return nj_fail(err, NJ_E_UPSTREAM, "more than %d tool calls in one reply", NJ_CALLS_MAX);
    call = &calls->items[calls->count];
    call->id = strdup(id);
    call->name = strdup(name);
    call->input = json_incref(input);
    calls->count++;
    if (!call->id || !call->name)
        return nj_fail_nomem(err);
    return 0;
}

int nj_message_calls(struct nj_span item, struct nj_calls *ret_calls, struct nj_error *err)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    json_t *blocks;
    json_t *block;
    size_t i;
    int r;

    r = parse_blocks(item, &blocks, err);
    if (r < 0)
        return r;
    calls.items = calloc(NJ_CALLS_MAX, sizeof(*calls.items));
    if (!calls.items)
        r = nj_fail_nomem(err);
    json_array_foreach(blocks, i, block)
    {
        const char *type = json_string_value(json_object_get(block, "type"));

        if (r == 0 && type && strcmp(type, "tool_use") == 0)
            r = add_call(&calls, block, err);
    }
    json_decref(blocks);
    if (r < 0)
        return r;
    *ret_calls = calls;
    calls = (struct nj_calls){0};
    return 0;
}

static int append_stream(const struct nj_stream *stream, struct nj_buf *out, struct nj_error *err)
{
    uint64_t left_out = stream->bytes - stream->head.len - stream->tail.len;

    if (nj_buf_append(out, stream->head.data, stream->head.len, err) < 0)
        return -(int)err->code;
    if (left_out > 0 &&
        nj_buf_printf(out, err, "\n[... %" PRIu64 " bytes left out ...]\n", left_out) < 0)
        return -(int)err->code;
    return nj_buf_append(out, stream->tail.data, stream->tail.len, err);
}

/* A section starts on its own line, whatever came before. */
static int append_heading(struct nj_buf *out, const char *heading, struct nj_error *err)
{
    if (out->len && out->data[out->len - 1] != '\n' && nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, heading, err);
}

static int append_limit(const struct nj_call_outcome *outcome, struct nj_buf *out,
                        struct nj_error *err)
{
    uint64_t value = outcome->limit_value;

    if (append_heading(out, "[limit] ", err) < 0)
        return -(int)err->code;
    switch (outcome->limit) {
    case NJ_LIMIT_NONE:
        return 0;
    case NJ_LIMIT_TIMEOUT:
        return nj_buf_printf(out, err, "the call was ended after its timeout_seconds of %.6g",
                             (double)value / 1000.0);
    case NJ_LIMIT_RUNTIME:
        return nj_buf_printf(out, err, "the session's max_runtime_seconds of %.6g are used up",
                             (double)value / 1000.0);
    case NJ_LIMIT_MEMORY:
        return nj_buf_printf(out, err,
                             "max_memory_mb of %" PRIu64 " was reached and processes were killed",
                             value >> 20);
    case NJ_LIMIT_DISK:
        return nj_buf_printf(out, err, "the writable paths are full: max_size_mb is %" PRIu64,
                             value >> 20);
    case NJ_LIMIT_PROCESSES:
        return nj_buf_printf(out, err, "max_processes of %" PRIu64 " was reached", value);
    }
    return nj_fail(err, NJ_E_CORRUPT, "outcome: unknown limit %d", (int)outcome->limit);
}

int nj_message_outcome(const struct nj_call_outcome *outcome, struct nj_buf *out,
                       bool *ret_is_error, struct nj_error *err)
{
    bool failed = outcome->exit != NJ_EXIT_EXITED || outcome->status != 0;
    int r;

    r = append_stream(&outcome->out, out, err);
    if (r == 0 && outcome->errors.bytes > 0) {
        r = append_heading(out, "[stderr]\n", err);
        if (r == 0)
            r = append_stream(&outcome->errors, out, err);
    }
    if (r == 0 && outcome->limit != NJ_LIMIT_NONE)
        r = append_limit(outcome, out, err);
    if (r == 0 && outcome->exit == NJ_EXIT_REFUSED)
        r = append_heading(out, "", err) < 0
                ? -(int)err->code
                : nj_buf_append(out, outcome->text.data, outcome->text.len, err);
    else if (r == 0 && outcome->exit == NJ_EXIT_SIGNALLED)
        r = append_heading(out, "", err) < 0
                ? -(int)err->code
                : nj_buf_printf(out, err, "[killed by signal %d, SIG%s]", outcome->status,
                                sigabbrev_np(outcome->status) ? sigabbrev_np(outcome->status)
                                                              : "?");
    else if (r == 0 && failed)
        r = append_heading(out, "", err) < 0
                ? -(int)err->code
                : nj_buf_printf(out, err, "[exit status %d]", outcome->status);
    if (r < 0)
        return r;
    *ret_is_error = failed;
    return 0;
}
