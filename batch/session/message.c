/*
 * message.c - conversation items: spelled here once, sliced and read everywhere else
 *
 * The one complication: an assistant's content is kept as it came. It is checked, and walked to
 * learn what it asks for; only the input of a call is parsed, since tools read it, and what goes
 * back on the wire is the slice, never a reprint.
 */
#include "batch/session/message.h"

#include <inttypes.h>
#include <signal.h>

#include "formats/base/slice.h"

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
    if (nj_buf_reserve(out, strlen(ASSISTANT_HEAD ITEM_TAIL) + content.len, err) < 0 ||
        nj_buf_text(out, ASSISTANT_HEAD, err) < 0 ||
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

/* What is read of a block. Each key comes once, or nobody could say which one counts. */
struct block {
    struct nj_span type, text, content, id, name, input;
};

static struct nj_span *member_of(struct block *block, struct nj_span key)
{
    const struct {
        const char *key;
        struct nj_span *value;
    } members[] = {{"type", &block->type}, {"text", &block->text}, {"content", &block->content},
                   {"id", &block->id},     {"name", &block->name}, {"input", &block->input}};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (nj_slice_is(key, members[i].key))
            return members[i].value;
    return NULL;
}

static int read_block(struct nj_span bytes, struct block *block, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span key, value;

    *block = (struct block){0};
    while (nj_slice_member(bytes, &walk, &key, &value)) {
        struct nj_span *member = member_of(block, key);

        if (member && member->len > 0)
            return nj_fail(err, NJ_E_UPSTREAM, "a block has the key %.*s twice", (int)key.len,
                           (const char *)key.data);
        if (member)
            *member = value;
    }
    return 0;
}

static int check_blocks(struct nj_span content, struct nj_span *ret_blocks, struct nj_error *err)
{
    if (nj_slice_check(content, ret_blocks, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "content is no JSON array of blocks");
    }
    if (nj_slice_kind(*ret_blocks) != NJ_SLICE_ARRAY)
        return nj_fail(err, NJ_E_UPSTREAM, "content is no JSON array of blocks: another type");
    return 0;
}

static int append_text(struct nj_span string, struct nj_buf *out, struct nj_error *err)
{
    if (nj_slice_kind(string) != NJ_SLICE_STRING)
        return 0;
    if (out->len && nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    if (nj_slice_text(string, out, err) == 0)
        return 0;
    if (err->code == NJ_E_INPUT)
        err->code = NJ_E_UPSTREAM;
    return -(int)err->code;
}

int nj_message_text(struct nj_span item, struct nj_buf *out, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span content, blocks, bytes;
    struct block block;
    enum nj_role role;
    int r;

    r = nj_message_content(item, &role, &content, err);
    if (r == 0)
        r = check_blocks(content, &blocks, err);
    while (r == 0 && nj_slice_item(blocks, &walk, &bytes)) {
        r = read_block(bytes, &block, err);
        if (r == 0 && nj_slice_is(block.type, "text"))
            r = append_text(block.text, out, err);
        else if (r == 0 && nj_slice_is(block.type, "tool_result"))
            r = append_text(block.content, out, err);
    }
    return r;
}

/* A name or id: text without a NUL. */
static int take_word(struct nj_span string, const char *what, char **ret_word, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf word = {0};

    nj_buf_init(&word, NJ_MESSAGE_MAX_BYTES);
    if (nj_buf_reserve(&word, string.len, err) < 0)
        return -(int)err->code;
    if (nj_slice_text(string, &word, err) < 0) {
        if (err->code == NJ_E_INPUT)
            err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "a tool_use block's %s", what);
    }
    if (memchr(word.data, 0, word.len))
        return nj_fail(err, NJ_E_UPSTREAM, "a tool_use block's id or name holds a NUL");
    *ret_word = nj_span_dup(nj_buf_span(&word)); /* as large as it is long: a session keeps it */
    return *ret_word ? 0 : nj_fail_nomem(err);
}

static int take_input(struct nj_span object, json_t **ret_input, struct nj_error *err)
{
    json_error_t jerr;

    *ret_input = json_loadb((const char *)object.data, object.len,
                            JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &jerr);
    if (*ret_input)
        return 0;
    return nj_fail(err, NJ_E_UPSTREAM, "a tool_use block's input: %s", jerr.text);
}

static int add_call(struct nj_calls *calls, const struct block *block, struct nj_error *err)
{
    struct nj_call *call;

    if (nj_slice_kind(block->id) != NJ_SLICE_STRING ||
        nj_slice_kind(block->name) != NJ_SLICE_STRING ||
        nj_slice_kind(block->input) != NJ_SLICE_OBJECT)
        return nj_fail(err, NJ_E_UPSTREAM, "a tool_use block lacks its id, name or input object");
    if (calls->count == NJ_CALLS_MAX)
        return nj_fail(err, NJ_E_UPSTREAM, "more than %d tool calls in one reply", NJ_CALLS_MAX);
    call = reallocarray(calls->items, calls->count + 1, sizeof(*call));
    if (!call)
        return nj_fail_nomem(err);
    calls->items = call;
    call += calls->count++;
    *call = (struct nj_call){0};
    if (take_word(block->id, "id", &call->id, err) < 0 ||
        take_word(block->name, "name", &call->name, err) < 0 ||
        take_input(block->input, &call->input, err) < 0)
        return -(int)err->code;
    return 0;
}

int nj_message_content_calls(struct nj_span content, struct nj_calls *ret_calls,
                             struct nj_error *err)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    struct nj_slice_walk walk = {0};
    struct nj_span blocks, bytes;
    struct block block;
    int r;

    r = check_blocks(content, &blocks, err);
    while (r == 0 && nj_slice_item(blocks, &walk, &bytes)) {
        r = read_block(bytes, &block, err);
        if (r == 0 && nj_slice_is(block.type, "tool_use"))
            r = add_call(&calls, &block, err);
    }
    if (r < 0)
        return r;
    *ret_calls = calls;
    calls = (struct nj_calls){0};
    return 0;
}

int nj_message_calls(struct nj_span item, struct nj_calls *ret_calls, struct nj_error *err)
{
    struct nj_span content;
    enum nj_role role;
    int r;

    r = nj_message_content(item, &role, &content, err);
    return r < 0 ? r : nj_message_content_calls(content, ret_calls, err);
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
