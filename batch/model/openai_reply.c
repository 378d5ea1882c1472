/*
 * openai_reply.c - a reply of chat completions, streamed or whole
 *
 * The one complication is that servers differ: no [DONE], no usage, whole calls in one chunk, calls
 * without index or id. Each is coped with and noted in `variants`. A streamed message is put
 * together from its fragments as they were escaped, members that nobody here knows (reasoning)
 * among them; then it is read like one that came whole: the message as written first, and behind it
 * the blocks that the core reads. Source: WIRE.md 9.
 */
#include "batch/model/dialect_openai.h"

#include "formats/base/slice.h"

#include "formats/base/banned.h"

#define EXTRAS_MAX 16 /* members of a message beside content and tool_calls */

/* One member of the message, joined over the deltas. */
struct extra {
    char *key; /* raw, with its quotes */
    size_t key_len;
    struct nj_buf value; /* what stands between the quotes, or the last raw value */
    bool is_text;
};

struct call {
    bool has_index;
    uint64_t index;
    struct nj_buf id, name, arguments; /* what stands between the quotes */
    unsigned chunks;
};

struct nj_reader {
    struct extra extras[EXTRAS_MAX];
    size_t n_extras;
    struct nj_buf text;
    bool has_text;
    struct call *calls;
    size_t n_calls;
    bool has_usage;
    bool begun;
};

int nj_openai_reader_new(struct nj_reader **ret_reader, struct nj_error *err)
{
    *ret_reader = calloc(1, sizeof(**ret_reader));
    if (!*ret_reader)
        return nj_fail_nomem(err);
    nj_buf_init(&(*ret_reader)->text, NJ_MESSAGE_MAX_BYTES);
    return 0;
}

void nj_openai_reader_free(struct nj_reader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < reader->n_extras; i++) {
        free(reader->extras[i].key);
        nj_buf_done(&reader->extras[i].value);
    }
    for (size_t i = 0; i < reader->n_calls; i++) {
        nj_buf_done(&reader->calls[i].id);
        nj_buf_done(&reader->calls[i].name);
        nj_buf_done(&reader->calls[i].arguments);
    }
    free(reader->calls);
    nj_buf_done(&reader->text);
    free(reader);
}

static int rubbish(struct nj_error *err, const char *where, const char *what)
{
    return nj_fail(err, NJ_E_UPSTREAM, "%s: %s", where, what);
}

static bool is_given(struct nj_span value)
{
    return value.len > 0 && nj_slice_kind(value) != NJ_SLICE_NULL;
}

/* ---- usage and stop ---- */

static int take_tokens(struct nj_span usage, const char *key, uint64_t *tokens,
                       struct nj_error *err)
{
    struct nj_span value = nj_slice_get(usage, key);
    char where[64];

    if (!is_given(value))
        return 0;
    (void)snprintf(where, sizeof(where), "usage.%s", key);
    if (nj_slice_uint(value, NJ_REPLY_TOKENS_MAX, where, tokens, err) == 0)
        return 0;
    err->code = NJ_E_UPSTREAM;
    return -(int)err->code;
}

/* Prompt tokens count the cached ones too. */
static int take_usage(struct nj_span usage, struct nj_reply *reply, struct nj_error *err)
{
    uint64_t prompt = 0, cached = 0;

    if (is_given(usage) && nj_slice_kind(usage) != NJ_SLICE_OBJECT)
        return rubbish(err, "usage", "it is no object");
    if (take_tokens(usage, "prompt_tokens", &prompt, err) < 0 ||
        take_tokens(usage, "completion_tokens", &reply->usage.output_tokens, err) < 0 ||
        take_tokens(nj_slice_get(usage, "prompt_tokens_details"), "cached_tokens", &cached, err) <
            0)
        return -(int)err->code;
    reply->usage.cache_read_tokens = cached < prompt ? cached : prompt;
    reply->usage.input_tokens = prompt - reply->usage.cache_read_tokens;
    return 0;
}

static int take_stop(struct nj_span choice, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_span reason = nj_slice_get(choice, "finish_reason");

    if (!is_given(reason))
        return 0;
    if (nj_slice_is(reason, "stop") || nj_slice_is(reason, "eos"))
        reply->stop = NJ_STOP_END;
    else if (nj_slice_is(reason, "length"))
        reply->stop = NJ_STOP_TRUNCATED;
    else if (nj_slice_is(reason, "tool_calls") || nj_slice_is(reason, "function_call"))
        reply->stop = NJ_STOP_TOOLS;
    else if (nj_slice_is(reason, "content_filter"))
        reply->stop = NJ_STOP_REFUSED;
    else
        return nj_fail(err, NJ_E_UPSTREAM, "finish_reason: %.*s is not known to this build",
                       (int)(reason.len < 60 ? reason.len : 60), (const char *)reason.data);
    return 0;
}

/* ---- from a whole message to blocks ---- */

/* Arguments are a text that should be a JSON object. What is none goes to the tools as a call that
 * they will refuse, so that the model learns of it. */
static int add_input(struct nj_span arguments, bool *ret_bad, struct nj_buf *out,
                     struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error why = {0};
    struct nj_span value;

    if (nj_slice_kind(arguments) == NJ_SLICE_OBJECT) /* some servers leave out the text */
        return nj_buf_append(out, arguments.data, arguments.len, err);
    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (is_given(arguments) && nj_slice_text(arguments, &text, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "tool_calls: arguments");
    }
    if (text.len == 0)
        return nj_buf_text(out, "{}", err);
    if (nj_slice_check(nj_buf_span(&text), &value, &why) == 0) {
        if (nj_slice_kind(value) == NJ_SLICE_OBJECT)
            return nj_buf_append(out, value.data, value.len, err);
        (void)snprintf(why.text, sizeof(why.text), "another type");
    }
    *ret_bad = true;
    if (nj_buf_text(out, "{\"" NJ_CALL_BAD_INPUT_KEY "\":", err) < 0 ||
        nj_buf_json_text(out, nj_buf_span(&text), err) < 0 ||
        nj_buf_text(out, ",\"" NJ_CALL_BAD_INPUT_WHY_KEY "\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(why.text), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

static int add_call(struct nj_span call, size_t n, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_span function = nj_slice_get(call, "function"), id = nj_slice_get(call, "id");
    struct nj_span name = nj_slice_get(function, "name");
    struct nj_span arguments = nj_slice_get(function, "arguments");
    NJ_AUTO(nj_buf_done) struct nj_buf input = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf partial = {0};
    bool is_bad = false;
    char made[32];

    if (nj_slice_kind(name) != NJ_SLICE_STRING || name.len == 2)
        return rubbish(err, "tool_calls", "a call has no function name");
    if (nj_slice_kind(id) != NJ_SLICE_STRING || id.len == 2) {
        (void)snprintf(made, sizeof(made), "\"call_%zu\"", n);
        id = nj_span_text(made);
        reply->variants |= NJ_VARIANT_NO_CALL_ID;
    }
    nj_buf_init(&input, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&partial, NJ_MESSAGE_MAX_BYTES);
    if (add_input(arguments, &is_bad, &input, err) < 0 ||
        nj_buf_text(&reply->content, ",", err) < 0)
        return -(int)err->code;
    if (is_bad && reply->stop == NJ_STOP_TRUNCATED) { /* it was cut, not wrong */
        if (nj_slice_text(arguments, &partial, err) < 0)
            return -(int)err->code;
        return nj_reply_cut_call(id, name, nj_buf_span(&partial), &reply->content, err);
    }
    if (is_bad)
        reply->variants |= NJ_VARIANT_BAD_ARGUMENTS;
    if (nj_buf_text(&reply->content, "{\"type\":\"tool_use\",\"id\":", err) < 0 ||
        nj_buf_append(&reply->content, id.data, id.len, err) < 0 ||
        nj_buf_text(&reply->content, ",\"name\":", err) < 0 ||
        nj_buf_append(&reply->content, name.data, name.len, err) < 0 ||
        nj_buf_text(&reply->content, ",\"input\":", err) < 0 ||
        nj_buf_append(&reply->content, input.data, input.len, err) < 0)
        return -(int)err->code;
    return nj_buf_text(&reply->content, "}", err);
}

static int add_text(struct nj_span text, struct nj_reply *reply, struct nj_error *err)
{
    if (nj_slice_kind(text) != NJ_SLICE_STRING || text.len == 2)
        return 0;
    if (nj_buf_text(&reply->content, ",{\"type\":\"text\",\"text\":", err) < 0 ||
        nj_buf_append(&reply->content, text.data, text.len, err) < 0)
        return -(int)err->code;
    return nj_buf_text(&reply->content, "}", err);
}

/* The message as its server wrote it; one without a role gets it, since it has to go back. */
static int add_message(struct nj_span message, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_span rest = message;

    if (nj_buf_text(&reply->content, "[{\"type\":\"" NJ_BLOCK_OPENAI "\",\"message\":", err) < 0)
        return -(int)err->code;
    if (nj_slice_kind(nj_slice_get(message, "role")) != NJ_SLICE_STRING) {
        struct nj_slice_walk walk = {0};
        struct nj_span key, value;
        bool any = nj_slice_member(message, &walk, &key, &value);

        if (nj_buf_text(&reply->content,
                        any ? "{\"role\":\"assistant\"," : "{\"role\":\"assistant\"", err) < 0)
            return -(int)err->code;
        rest = (struct nj_span){message.data + 1, message.len - 1};
    }
    if (nj_buf_append(&reply->content, rest.data, rest.len, err) < 0)
        return -(int)err->code;
    return nj_buf_text(&reply->content, "}", err);
}

static int refuse(struct nj_span refusal, struct nj_reply *reply)
{
    NJ_AUTO(nj_buf_done) struct nj_buf why = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&why, NJ_ERROR_TEXT_MAX_BYTES * 6);
    (void)!nj_slice_text(refusal, &why, &ignored); /* words for a person, where there are any */
    reply->stop = NJ_STOP_REFUSED;
    nj_reply_fault(reply, NJ_CAUSE_REFUSAL, NJ_TRY_FINAL, "the model refused%s%s",
                   why.len ? ": " : "", why.len ? (const char *)why.data : "");
    return 0;
}

static int read_message(struct nj_span message, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_span content = nj_slice_get(message, "content"), item;
    struct nj_span calls = nj_slice_get(message, "tool_calls");
    struct nj_span refusal = nj_slice_get(message, "refusal");
    struct nj_slice_walk walk = {0};
    size_t n_calls = 0;

    if (nj_slice_kind(message) != NJ_SLICE_OBJECT)
        return rubbish(err, "message", "it is no object");
    if (!reply->stop)
        return rubbish(err, "answer", "there is no finish_reason");
    if ((nj_slice_kind(refusal) == NJ_SLICE_STRING && refusal.len > 2) ||
        reply->stop == NJ_STOP_REFUSED)
        return refuse(refusal, reply);
    if (is_given(content) && nj_slice_kind(content) != NJ_SLICE_STRING &&
        nj_slice_kind(content) != NJ_SLICE_ARRAY)
        return rubbish(err, "message.content", "neither a text nor a list");
    if (is_given(calls) && nj_slice_kind(calls) != NJ_SLICE_ARRAY)
        return rubbish(err, "message.tool_calls", "no list");
    if (add_message(message, reply, err) < 0 || add_text(content, reply, err) < 0)
        return -(int)err->code;
    while (nj_slice_item(content, &walk, &item))
        if (nj_slice_is(nj_slice_get(item, "type"), "text") &&
            add_text(nj_slice_get(item, "text"), reply, err) < 0)
            return -(int)err->code;
    walk = (struct nj_slice_walk){0};
    while (nj_slice_item(calls, &walk, &item)) {
        if (n_calls == NJ_CALLS_MAX)
            return rubbish(err, "message.tool_calls", "too many");
        if (add_call(item, n_calls++, reply, err) < 0)
            return -(int)err->code;
    }
    if (n_calls > 0 && reply->stop == NJ_STOP_END)
        reply->stop = NJ_STOP_TOOLS; /* some servers always say stop */
    if (n_calls == 0 && reply->stop == NJ_STOP_TOOLS)
        return rubbish(err, "answer", "finish_reason is tool_calls, and there are none");
    if (nj_buf_text(&reply->content, "]", err) < 0)
        return -(int)err->code;
    return nj_reply_check(nj_buf_span(&reply->content), err);
}

int nj_openai_whole(struct nj_span body, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span answer, choice;

    if (nj_slice_check(body, &answer, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "answer");
    }
    if (is_given(nj_slice_get(answer, "error"))) {
        nj_openai_error(nj_slice_get(answer, "error"), 500, reply);
        return 0;
    }
    if (!nj_slice_item(nj_slice_get(answer, "choices"), &walk, &choice))
        return rubbish(err, "answer", "there is no choices[0]");
    nj_reply_model(reply, nj_slice_get(answer, "model"));
    if (!is_given(nj_slice_get(answer, "usage")))
        reply->variants |= NJ_VARIANT_NO_USAGE;
    if (take_usage(nj_slice_get(answer, "usage"), reply, err) < 0 ||
        take_stop(choice, reply, err) < 0)
        return -(int)err->code;
    return read_message(nj_slice_get(choice, "message"), reply, err);
}

/* ---- chunks ---- */

static int join(struct nj_buf *joined, struct nj_span fragment, struct nj_error *err)
{
    fragment = nj_slice_inner(fragment);
    return nj_buf_append(joined, fragment.data, fragment.len, err);
}

static int take_extra(struct nj_reader *reader, struct nj_span key, struct nj_span value,
                      struct nj_error *err)
{
    struct extra *extra = NULL;

    if (!is_given(value))
        return 0;
    for (size_t i = 0; i < reader->n_extras && !extra; i++)
        if (nj_span_equal(key, (struct nj_span){(const uint8_t *)reader->extras[i].key,
                                                reader->extras[i].key_len}))
            extra = &reader->extras[i];
    if (!extra) {
        if (reader->n_extras == EXTRAS_MAX)
            return rubbish(err, "delta", "too many different members");
        extra = &reader->extras[reader->n_extras];
        extra->key = nj_span_dup(key);
        if (!extra->key)
            return nj_fail_nomem(err);
        extra->key_len = key.len;
        extra->is_text = nj_slice_kind(value) == NJ_SLICE_STRING;
        nj_buf_init(&extra->value, NJ_MESSAGE_MAX_BYTES);
        reader->n_extras++;
    }
    if (extra->is_text && nj_slice_kind(value) == NJ_SLICE_STRING)
        return join(&extra->value, value, err);
    if (extra->is_text)
        return rubbish(err, "delta", "a text goes on as something else");
    nj_buf_clear(&extra->value);
    return nj_buf_append(&extra->value, value.data, value.len, err);
}

/* The call a piece belongs to: by index; without one, a new id begins a new call. An index that
 * comes again with another id is another call too: some servers count nothing. */
static int find_call(struct nj_reader *reader, struct nj_span piece, struct call **ret_call,
                     struct nj_error *err)
{
    struct nj_span index_json = nj_slice_get(piece, "index"), id = nj_slice_get(piece, "id");
    bool has_index = is_given(index_json), has_id = nj_slice_inner(id).len > 0;
    struct call *grown;
    uint64_t index = 0;

    if (has_index &&
        nj_slice_uint(index_json, NJ_CALLS_MAX * 16, "tool_calls: index", &index, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return -(int)err->code;
    }
    for (size_t i = reader->n_calls; i-- > 0;) {
        struct call *call = &reader->calls[i];
        bool same_id = !has_id || call->id.len == 0 ||
                       nj_span_equal(nj_slice_inner(id), nj_buf_span(&call->id));

        if (has_index ? call->has_index && call->index == index && same_id : same_id) {
            *ret_call = call;
            return 0;
        }
        if (!has_index && !has_id)
            break;
    }
    if (reader->n_calls == NJ_CALLS_MAX)
        return rubbish(err, "tool_calls", "too many");
    grown = reallocarray(reader->calls, reader->n_calls + 1, sizeof(*grown));
    if (!grown)
        return nj_fail_nomem(err);
    reader->calls = grown;
    grown[reader->n_calls] = (struct call){.has_index = has_index, .index = index};
    nj_buf_init(&grown[reader->n_calls].id, 1024);
    nj_buf_init(&grown[reader->n_calls].name, 1024);
    nj_buf_init(&grown[reader->n_calls].arguments, NJ_MESSAGE_MAX_BYTES);
    *ret_call = &grown[reader->n_calls++];
    return 0;
}

static int take_call(struct nj_reader *reader, struct nj_span piece, struct nj_error *err)
{
    struct nj_span function = nj_slice_get(piece, "function");
    struct nj_span arguments = nj_slice_get(function, "arguments");
    struct call *call = NULL;

    if (nj_slice_kind(piece) != NJ_SLICE_OBJECT)
        return rubbish(err, "delta.tool_calls", "not a list of objects");
    if (is_given(arguments) && nj_slice_kind(arguments) != NJ_SLICE_STRING &&
        nj_slice_kind(arguments) != NJ_SLICE_OBJECT)
        return rubbish(err, "delta.tool_calls", "arguments are neither a text nor an object");
    if (find_call(reader, piece, &call, err) < 0)
        return -(int)err->code;
    call->chunks++;
    if (call->id.len == 0 && join(&call->id, nj_slice_get(piece, "id"), err) < 0)
        return -(int)err->code;
    if (call->name.len == 0 && join(&call->name, nj_slice_get(function, "name"), err) < 0)
        return -(int)err->code;
    if (nj_slice_kind(arguments) == NJ_SLICE_OBJECT) { /* not a text as it should be */
        NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

        nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
        if (nj_buf_json_text(&text, arguments, err) < 0)
            return -(int)err->code;
        return join(&call->arguments, nj_buf_span(&text), err);
    }
    return join(&call->arguments, arguments, err);
}

static int take_delta(struct nj_reader *reader, struct nj_span delta, struct nj_error *err)
{
    struct nj_slice_walk walk = {0}, calls;
    struct nj_span key, value, piece;

    while (nj_slice_member(delta, &walk, &key, &value)) {
        if (nj_slice_is(key, "role"))
            continue;
        if (nj_slice_is(key, "content")) {
            if (is_given(value) && nj_slice_kind(value) != NJ_SLICE_STRING)
                return rubbish(err, "delta.content", "no text");
            reader->has_text = reader->has_text || is_given(value);
            if (join(&reader->text, value, err) < 0)
                return -(int)err->code;
        } else if (nj_slice_is(key, "tool_calls")) {
            if (is_given(value) && nj_slice_kind(value) != NJ_SLICE_ARRAY)
                return rubbish(err, "delta.tool_calls", "no list");
            calls = (struct nj_slice_walk){0};
            while (nj_slice_item(value, &calls, &piece))
                if (take_call(reader, piece, err) < 0)
                    return -(int)err->code;
        } else if (take_extra(reader, key, value, err) < 0) {
            return -(int)err->code;
        }
    }
    return 0;
}

static int put_text(struct nj_buf *out, const char *before, const struct nj_buf *inner,
                    const char *after, struct nj_error *err)
{
    if (nj_buf_text(out, before, err) < 0 || nj_buf_append(out, inner->data, inner->len, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, after, err);
}

/* The message as it would have come whole. */
static int write_message(const struct nj_reader *reader, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_text(out, "{\"role\":\"assistant\",\"content\":", err) < 0 ||
        (reader->has_text ? put_text(out, "\"", &reader->text, "\"", err)
                          : nj_buf_text(out, "null", err)) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < reader->n_extras; i++) {
        const struct extra *extra = &reader->extras[i];
        const char *quote = extra->is_text ? "\"" : "";

        if (nj_buf_printf(out, err, ",%s:", extra->key) < 0 ||
            put_text(out, quote, &extra->value, quote, err) < 0)
            return -(int)err->code;
    }
    for (size_t i = 0; i < reader->n_calls; i++) {
        const struct call *call = &reader->calls[i];

        if (nj_buf_text(out, i ? "," : ",\"tool_calls\":[", err) < 0)
            return -(int)err->code;
        if ((call->id.len ? put_text(out, "{\"id\":\"", &call->id, "\"", err)
                          : nj_buf_printf(out, err, "{\"id\":\"call_%zu\"", i)) < 0 ||
            put_text(out, ",\"type\":\"function\",\"function\":{\"name\":\"", &call->name, "\"",
                     err) < 0 ||
            put_text(out, ",\"arguments\":\"", &call->arguments, "\"}}", err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, reader->n_calls ? "]}" : "}", err);
}

static int finish(struct nj_reader *reader, struct nj_reply *reply, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf message = {0};
    struct nj_span checked;

    for (size_t i = 0; i < reader->n_calls; i++) {
        if (reader->calls[i].chunks == 1 && reader->calls[i].arguments.len > 0)
            reply->variants |= NJ_VARIANT_WHOLE_CALL;
        if (reader->calls[i].id.len == 0)
            reply->variants |= NJ_VARIANT_NO_CALL_ID;
    }
    if (!reader->has_usage)
        reply->variants |= NJ_VARIANT_NO_USAGE;
    nj_buf_init(&message, NJ_MESSAGE_MAX_BYTES);
    if (write_message(reader, &message, err) < 0)
        return -(int)err->code;
    if (nj_slice_check(nj_buf_span(&message), &checked, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "message");
    }
    return read_message(checked, reply, err);
}

static int take_choice(struct nj_reader *reader, struct nj_span choice, struct nj_reply *reply,
                       struct nj_error *err)
{
    struct nj_span index = nj_slice_get(choice, "index"), delta = nj_slice_get(choice, "delta");

    if (nj_slice_kind(choice) != NJ_SLICE_OBJECT)
        return rubbish(err, "chunk.choices", "not a list of objects");
    if (is_given(index) && !nj_span_is(index, "0"))
        return 0; /* one was asked for */
    if (is_given(delta) && nj_slice_kind(delta) != NJ_SLICE_OBJECT)
        return rubbish(err, "chunk.choices[0].delta", "it is no object");
    if (take_delta(reader, delta, err) < 0)
        return -(int)err->code;
    return take_stop(choice, reply, err);
}

int nj_openai_event(struct nj_reader *reader, const struct nj_sse_event *event,
                    struct nj_reply *reply, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span chunk, choices, choice;
    int r;

    if (nj_span_is(event->data, "[DONE]")) {
        r = reader->begun ? finish(reader, reply, err)
                          : rubbish(err, "event stream", "it ended before it began");
        return r < 0 ? r : NJ_READ_DONE;
    }
    if (nj_slice_check(event->data, &chunk, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "chunk");
    }
    if (nj_slice_kind(chunk) != NJ_SLICE_OBJECT)
        return rubbish(err, "chunk", "it is no object");
    if (is_given(nj_slice_get(chunk, "error"))) {
        nj_openai_error(nj_slice_get(chunk, "error"), 500, reply);
        return NJ_READ_DONE;
    }
    reader->begun = true;
    if (!reply->model[0])
        nj_reply_model(reply, nj_slice_get(chunk, "model"));
    if (is_given(nj_slice_get(chunk, "usage"))) {
        reader->has_usage = true;
        if (take_usage(nj_slice_get(chunk, "usage"), reply, err) < 0)
            return -(int)err->code;
    }
    choices = nj_slice_get(chunk, "choices");
    if (is_given(choices) && nj_slice_kind(choices) != NJ_SLICE_ARRAY)
        return rubbish(err, "chunk.choices", "no list");
    while (nj_slice_item(choices, &walk, &choice))
        if (take_choice(reader, choice, reply, err) < 0)
            return -(int)err->code;
    return NJ_READ_MORE;
}

int nj_openai_end(struct nj_reader *reader, struct nj_reply *reply, struct nj_error *err)
{
    if (!reply->stop)
        return rubbish(err, "event stream",
                       reader->begun ? "it ended before a finish_reason"
                                     : "it ended before it began");
    reply->variants |= NJ_VARIANT_NO_DONE;
    return finish(reader, reply, err);
}
