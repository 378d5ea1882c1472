/*
 * anthropic_reply.c - a reply of the Messages API, streamed or whole
 *
 * The one complication: a streamed block is assembled once, from the fragments as they were
 * escaped, and is frozen then. A block begins as the raw object of its start event; each delta's
 * fragment is joined to the member it belongs to; at the block's stop the object is written out
 * again, member by member, with the joined ones in place. So what nobody here knows (new members,
 * new block types) stays as it came. A tool's input comes as pieces of JSON text: they are
 * unescaped, joined, and checked at the stop. Source: WIRE.md 1, 2, 5, 6.
 */
#include "batch/model/dialect_anthropic.h"

#include <inttypes.h>

#include "formats/base/slice.h"

#include "formats/base/banned.h"

/* What deltas add to: the delta's type, its member, and the block's member. */
#define PARTS(X)                                                                                   \
    X(TEXT, "text_delta", "text", "text")                                                          \
    X(INPUT, "input_json_delta", "partial_json", "input")                                          \
    X(THINKING, "thinking_delta", "thinking", "thinking")                                          \
    X(SIGNATURE, "signature_delta", "signature", "signature")                                      \
    X(CITATIONS, "citations_delta", "citation", "citations")

enum part {
#define X(name, delta, from, to) PART_##name,
    PARTS(X)
#undef X
        N_PARTS
};

static const struct {
    const char *delta, *from, *to;
} parts[N_PARTS] = {
#define X(name, delta, from, to) {delta, from, to},
    PARTS(X)
#undef X
};

struct block {
    uint64_t index;
    char *start; /* the raw content_block */
    size_t start_len;
    struct nj_buf joined[N_PARTS];
    unsigned touched; /* bits of parts that had deltas */
    bool closed;
};

struct nj_reader {
    struct block *block; /* the open one */
    uint64_t next_index;
    size_t n_blocks;
    bool started;
    bool cut_call; /* a call's input ended early; only a token limit may do that */
};

int nj_anthropic_reader_new(struct nj_reader **ret_reader, struct nj_error *err)
{
    *ret_reader = calloc(1, sizeof(**ret_reader));
    return *ret_reader ? 0 : nj_fail_nomem(err);
}

static void block_free(struct block *block)
{
    if (!block)
        return;
    for (size_t i = 0; i < N_PARTS; i++)
        nj_buf_done(&block->joined[i]);
    free(block->start);
    free(block);
}
NJ_DEFINE_AUTO_PTR(struct block, block_free);

void nj_anthropic_reader_free(struct nj_reader *reader)
{
    if (!reader)
        return;
    block_free(reader->block);
    free(reader);
}

static int rubbish(struct nj_error *err, const char *where, const char *what)
{
    return nj_fail(err, NJ_E_UPSTREAM, "%s: %s", where, what);
}

/* ---- usage and stop ---- */

static int take_tokens(struct nj_span value, const char *key, uint64_t *tokens,
                       struct nj_error *err)
{
    enum nj_slice_kind kind = nj_slice_kind(value);
    char where[64];

    if (kind == NJ_SLICE_NONE || kind == NJ_SLICE_NULL ||
        nj_slice_uint(value, NJ_REPLY_TOKENS_MAX, key, tokens, err) == 0)
        return 0;
    (void)snprintf(where, sizeof(where), "usage.%s", key); /* written where it is read only */
    (void)!nj_slice_uint(value, NJ_REPLY_TOKENS_MAX, where, tokens, err);
    err->code = NJ_E_UPSTREAM;
    return -(int)err->code;
}

/* What one usage object tells; what it does not mention stays: figures are cumulative.
 * *ret_iterations: its list of them. */
static int read_usage(struct nj_span usage, struct nj_usage *told, struct nj_span *ret_iterations,
                      struct nj_error *err)
{
    enum { INPUT, OUTPUT, READ, WRITTEN, CREATION, ITERATIONS, N_KEYS };
    static const char *const keys[N_KEYS] = {
        [INPUT] = "input_tokens",           [OUTPUT] = "output_tokens",
        [READ] = "cache_read_input_tokens", [WRITTEN] = "cache_creation_input_tokens",
        [CREATION] = "cache_creation",      [ITERATIONS] = "iterations",
    };
    static const char *const parts_written[] = {"ephemeral_5m_input_tokens",
                                                "ephemeral_1h_input_tokens"};
    uint64_t written = told->cache_write_5m_tokens + told->cache_write_1h_tokens;
    struct nj_span values[N_KEYS], by_age[2];

    nj_slice_pick(usage, keys, N_KEYS, values);
    if (take_tokens(values[INPUT], keys[INPUT], &told->input_tokens, err) < 0 ||
        take_tokens(values[OUTPUT], keys[OUTPUT], &told->output_tokens, err) < 0 ||
        take_tokens(values[READ], keys[READ], &told->cache_read_tokens, err) < 0 ||
        take_tokens(values[WRITTEN], keys[WRITTEN], &written, err) < 0)
        return -(int)err->code;
    nj_slice_pick(values[CREATION], parts_written, 2, by_age);
    if (take_tokens(by_age[0], parts_written[0], &told->cache_write_5m_tokens, err) < 0 ||
        take_tokens(by_age[1], parts_written[1], &told->cache_write_1h_tokens, err) < 0)
        return -(int)err->code;
    /* What the total has beyond the parts was written for five minutes, the default. */
    if (written > told->cache_write_5m_tokens + told->cache_write_1h_tokens)
        told->cache_write_5m_tokens = written - told->cache_write_1h_tokens;
    *ret_iterations = values[ITERATIONS];
    return 0;
}

/* The service may have tried other models within the call: each is paid for, the total names the
 * last one only. */
static int take_usage(struct nj_span value, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_usage sum = {0};
    struct nj_span iterations, one, none;
    size_t n = 0;

    if (nj_slice_kind(value) == NJ_SLICE_NONE || nj_slice_kind(value) == NJ_SLICE_NULL)
        return 0;
    if (nj_slice_kind(value) != NJ_SLICE_OBJECT)
        return rubbish(err, "usage", "it is no object");
    if (read_usage(value, &reply->usage, &iterations, err) < 0)
        return -(int)err->code;
    while (nj_slice_item(iterations, &walk, &one) && n < NJ_REPLY_BLOCKS_MAX) {
        struct nj_usage usage = {0};

        if (read_usage(one, &usage, &none, err) < 0)
            return -(int)err->code;
        nj_usage_add(&sum, &usage);
        n++;
    }
    if (sum.input_tokens + sum.output_tokens >
        reply->usage.input_tokens + reply->usage.output_tokens)
        reply->usage = sum;
    return 0;
}

static int take_stop(struct nj_span reason, struct nj_span details, struct nj_reply *reply,
                     struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf why = {0};
    struct nj_error ignored = {0};

    if (nj_slice_kind(reason) == NJ_SLICE_NULL || nj_slice_kind(reason) == NJ_SLICE_NONE)
        return 0;
    if (nj_slice_is(reason, "stop_sequence"))
        reply->stop = NJ_STOP_END;
#define X(name, value, text) else if (nj_slice_is(reason, text)) reply->stop = NJ_STOP_##name;
    NJ_STOPS(X)
#undef X
    else return nj_fail(err, NJ_E_UPSTREAM, "stop_reason: %.*s is not known to this build",
                        (int)(reason.len < 60 ? reason.len : 60), (const char *)reason.data);
    if (reply->stop == NJ_STOP_CONTEXT_FULL)
        nj_reply_fault(reply, NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL,
                       "the model's context was full before the reply was");
    if (reply->stop != NJ_STOP_REFUSED)
        return 0;
    /* Details are for people, and may be missing. */
    nj_buf_init(&why, NJ_ERROR_TEXT_MAX_BYTES);
    if (nj_slice_text(nj_slice_get(details, "category"), &why, &ignored) == 0)
        (void)!nj_buf_text(&why, ": ", &ignored);
    (void)!nj_slice_text(nj_slice_get(details, "explanation"), &why, &ignored);
    nj_reply_fault(reply, NJ_CAUSE_REFUSAL, NJ_TRY_FINAL, "the model refused%s%s",
                   why.len ? ": " : "", why.len ? (const char *)why.data : "");
    return 0;
}

/* ---- blocks ---- */

static int begin_block(struct nj_reply *reply, size_t block_bytes, struct nj_error *err)
{
    if (nj_buf_reserve(&reply->content, block_bytes + sizeof("[]"), err) < 0)
        return -(int)err->code;
    return nj_buf_text(&reply->content, reply->content.len ? "," : "[", err);
}

/* Empty texts are left out: the service gives them, and does not take them back. */
static bool is_left_out(struct nj_span block)
{
    static const char *const keys[] = {"type", "text"};
    struct nj_span values[2];

    nj_slice_pick(block, keys, 2, values);
    return nj_slice_is(values[0], "text") && nj_slice_is(values[1], "");
}

static int add_block(struct nj_span block, struct nj_reply *reply, struct nj_error *err)
{
    if (is_left_out(block))
        return 0;
    if (begin_block(reply, block.len, err) < 0)
        return -(int)err->code;
    return nj_buf_append(&reply->content, block.data, block.len, err);
}

static int end_content(struct nj_reply *reply, struct nj_error *err)
{
    if (nj_buf_text(&reply->content, reply->content.len ? "]" : "[]", err) < 0)
        return -(int)err->code;
    return reply->fault.is ? 0 : nj_reply_check(nj_buf_span(&reply->content), err);
}

/* The joined text of one part as the block's member is to be. */
static int write_part(const struct block *block, enum part part, struct nj_span start,
                      struct nj_buf *out, struct nj_error *err)
{
    struct nj_span joined = nj_buf_span(&block->joined[part]);
    struct nj_span before = nj_slice_get(start, parts[part].to);

    if (part == PART_INPUT) /* checked by the caller; nothing at all means no arguments */
        return joined.len > 0 ? nj_buf_append(out, joined.data, joined.len, err)
                              : nj_buf_text(out, "{}", err);
    if (part == PART_CITATIONS) {
        struct nj_slice_walk walk = {0};
        struct nj_span item;

        if (nj_buf_text(out, "[", err) < 0)
            return -(int)err->code;
        while (nj_slice_item(before, &walk, &item))
            if (nj_buf_append(out, item.data, item.len, err) < 0 || nj_buf_text(out, ",", err) < 0)
                return -(int)err->code;
        if (nj_buf_append(out, joined.data, joined.len, err) < 0)
            return -(int)err->code;
        return nj_buf_text(out, "]", err);
    }
    before = nj_slice_inner(before);
    if (nj_buf_text(out, "\"", err) < 0 || nj_buf_append(out, before.data, before.len, err) < 0 ||
        nj_buf_append(out, joined.data, joined.len, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\"", err);
}

static int write_block(const struct block *block, struct nj_buf *out, struct nj_error *err)
{
    struct nj_span start = {(const uint8_t *)block->start, block->start_len}, key, value;
    unsigned left = block->touched;
    struct nj_slice_walk walk = {0};
    const char *between = "{";

    while (nj_slice_member(start, &walk, &key, &value)) {
        size_t part = 0;

        while (part < N_PARTS && !((left & 1u << part) && nj_slice_is(key, parts[part].to)))
            part++;
        if (nj_buf_text(out, between, err) < 0 || nj_buf_append(out, key.data, key.len, err) < 0 ||
            nj_buf_text(out, ":", err) < 0 ||
            (part < N_PARTS ? write_part(block, (enum part)part, start, out, err) < 0
                            : nj_buf_append(out, value.data, value.len, err) < 0))
            return -(int)err->code;
        if (part < N_PARTS)
            left &= ~(1u << part);
        between = ",";
    }
    for (size_t part = 0; part < N_PARTS; part++) {
        if (!(left & 1u << part))
            continue;
        if (nj_buf_printf(out, err, "%s\"%s\":", between, parts[part].to) < 0 ||
            write_part(block, (enum part)part, start, out, err) < 0)
            return -(int)err->code;
        between = ",";
    }
    return nj_buf_text(out, between[0] == '{' ? "{}" : "}", err);
}

/* Writes the block where it is to stand, and takes it away again where it is not to be there. */
static int finish_block(struct nj_reader *reader, struct nj_reply *reply, struct nj_error *err)
{
    NJ_AUTO(block_free) struct block *block = nj_steal_ptr(&reader->block);
    const struct nj_buf *input = &block->joined[PART_INPUT];
    struct nj_span start = {(const uint8_t *)block->start, block->start_len}, value;
    struct nj_buf *content = &reply->content;
    size_t before = content->len, bytes = block->start_len, begin;
    struct nj_error why = {0};
    bool cut = input->len > 0 && nj_slice_check(nj_buf_span(input), &value, &why) < 0;

    for (size_t i = 0; i < N_PARTS; i++)
        bytes += block->joined[i].len;
    reader->cut_call = reader->cut_call || cut;
    if (begin_block(reply, bytes, err) < 0)
        return -(int)err->code;
    begin = content->len;
    if ((cut ? nj_reply_cut_call(nj_slice_get(start, "id"), nj_slice_get(start, "name"),
                                 nj_buf_span(input), content, err)
             : write_block(block, content, err)) < 0)
        return -(int)err->code;
    if (is_left_out((struct nj_span){content->data + begin, content->len - begin}))
        nj_buf_cut(content, before);
    return 0;
}

/* ---- events ---- */

/* What an event may have, of all kinds of them: found in one walk. */
#define EVENT_MEMBERS(X) X(type) X(index) X(delta) X(content_block) X(message) X(usage) X(error)

struct event {
#define X(name) struct nj_span name;
    EVENT_MEMBERS(X)
#undef X
};

static int read_event(struct nj_span data, struct event *event, struct nj_error *err)
{
    static const char *const keys[] = {
#define X(name) #name,
        EVENT_MEMBERS(X)
#undef X
    };
    struct nj_span values[sizeof(keys) / sizeof(keys[0])], whole;
    size_t n = 0;

    if (nj_slice_check_pick(data, keys, sizeof(keys) / sizeof(keys[0]), &whole, values, err) < 0)
        return -(int)err->code;
#define X(name) event->name = values[n++];
    EVENT_MEMBERS(X)
#undef X
    return 0;
}

/* The members of a message, whether it came whole or only begins. */
struct message {
    struct nj_span type, model, content, usage, stop_reason, stop_details;
};

static struct message read_message(struct nj_span bytes)
{
    static const char *const keys[] = {"type",  "model",       "content",
                                       "usage", "stop_reason", "stop_details"};
    struct nj_span values[6];

    nj_slice_pick(bytes, keys, 6, values);
    return (struct message){values[0], values[1], values[2], values[3], values[4], values[5]};
}

static int on_message_start(struct nj_reader *reader, struct nj_span bytes, struct nj_reply *reply,
                            struct nj_error *err)
{
    struct message message = read_message(bytes);
    struct nj_slice_walk walk = {0};
    struct nj_span block;

    if (reader->started)
        return rubbish(err, "message_start", "it came twice");
    if (nj_slice_kind(bytes) != NJ_SLICE_OBJECT)
        return rubbish(err, "message_start", "message is no object");
    reader->started = true;
    nj_reply_model(reply, message.model);
    while (nj_slice_item(message.content, &walk, &block))
        if (add_block(block, reply, err) < 0)
            return -(int)err->code;
    if (take_usage(message.usage, reply, err) < 0)
        return -(int)err->code;
    return take_stop(message.stop_reason, message.stop_details, reply, err);
}

static int read_index(const struct event *event, uint64_t *ret_index, struct nj_error *err)
{
    if (nj_slice_uint(event->index, INT32_MAX, "index", ret_index, err) == 0)
        return 0;
    err->code = NJ_E_UPSTREAM;
    return -(int)err->code;
}

static int on_block_start(struct nj_reader *reader, const struct event *event, struct nj_error *err)
{
    struct nj_span start = event->content_block;
    NJ_AUTO(block_free) struct block *block = NULL;
    uint64_t index;

    if (read_index(event, &index, err) < 0)
        return nj_wrap(err, "content_block_start");
    if (reader->block)
        return rubbish(err, "content_block_start", "the block before has not stopped");
    if (index < reader->next_index)
        return rubbish(err, "content_block_start", "an index that was there before");
    if (nj_slice_kind(start) != NJ_SLICE_OBJECT ||
        nj_slice_kind(nj_slice_get(start, "type")) != NJ_SLICE_STRING)
        return rubbish(err, "content_block_start", "content_block is no object with a type");
    if (++reader->n_blocks > NJ_REPLY_BLOCKS_MAX)
        return rubbish(err, "content_block_start", "too many blocks");
    block = calloc(1, sizeof(*block));
    if (!block)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < N_PARTS; i++)
        nj_buf_init(&block->joined[i], NJ_MESSAGE_MAX_BYTES);
    block->index = index;
    block->start = nj_span_dup(start);
    block->start_len = start.len;
    if (!block->start)
        return nj_fail_nomem(err);
    reader->next_index = index + 1;
    reader->block = nj_steal_ptr(&block);
    return 0;
}

static int on_delta(struct nj_reader *reader, const struct event *event, struct nj_error *err)
{
    const char *keys[N_PARTS + 1]; /* what each kind of delta holds, then their type */
    struct nj_span values[N_PARTS + 1], type, fragment;
    struct nj_buf *joined;
    uint64_t index;
    size_t part = 0;

    for (size_t i = 0; i < N_PARTS; i++)
        keys[i] = parts[i].from;
    keys[N_PARTS] = "type";
    nj_slice_pick(event->delta, keys, N_PARTS + 1, values);
    type = values[N_PARTS];

    if (read_index(event, &index, err) < 0)
        return nj_wrap(err, "content_block_delta");
    if (!reader->block || reader->block->index != index)
        return rubbish(err, "content_block_delta", "no block of this index is open");
    if (nj_slice_kind(type) != NJ_SLICE_STRING)
        return rubbish(err, "content_block_delta", "delta has no type");
    while (part < N_PARTS && !nj_slice_is(type, parts[part].delta))
        part++;
    if (part == N_PARTS) /* dropping it would hand back a block that is not the service's */
        return nj_fail(
            err, NJ_E_UPSTREAM,
            "content_block_delta: %.*s is not known to this build; stream: false may help",
            (int)(type.len < 60 ? type.len : 60), (const char *)type.data);
    joined = &reader->block->joined[part];
    fragment = values[part];
    reader->block->touched |= 1u << part;
    if (part == PART_CITATIONS) {
        if (nj_slice_kind(fragment) != NJ_SLICE_OBJECT)
            return rubbish(err, "content_block_delta", "citation is no object");
        if (joined->len > 0 && nj_buf_text(joined, ",", err) < 0)
            return -(int)err->code;
        return nj_buf_append(joined, fragment.data, fragment.len, err);
    }
    if (nj_slice_kind(fragment) != NJ_SLICE_STRING)
        return nj_fail(err, NJ_E_UPSTREAM, "content_block_delta: %s is no text", parts[part].from);
    if (part == PART_INPUT) {
        if (nj_slice_text(fragment, joined, err) == 0)
            return 0;
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "content_block_delta: partial_json");
    }
    fragment = nj_slice_inner(fragment);
    return nj_buf_append(joined, fragment.data, fragment.len, err);
}

static int on_block_stop(struct nj_reader *reader, const struct event *event,
                         struct nj_reply *reply, struct nj_error *err)
{
    uint64_t index;

    if (read_index(event, &index, err) < 0)
        return nj_wrap(err, "content_block_stop");
    if (!reader->block || reader->block->index != index)
        return rubbish(err, "content_block_stop", "no block of this index is open");
    return finish_block(reader, reply, err);
}

static int on_message_stop(struct nj_reader *reader, struct nj_reply *reply, struct nj_error *err)
{
    if (reader->block)
        return rubbish(err, "message_stop", "the last block has not stopped");
    if (!reply->stop)
        return rubbish(err, "message_stop", "there was no stop_reason");
    if (reader->cut_call && reply->stop != NJ_STOP_TRUNCATED && !reply->fault.is)
        return rubbish(err, "content", "a tool call's input is no JSON");
    return end_content(reply, err);
}

static int on_message_delta(const struct event *event, struct nj_reply *reply, struct nj_error *err)
{
    static const char *const keys[] = {"stop_reason", "stop_details"};
    struct nj_span values[2];

    if (take_usage(event->usage, reply, err) < 0)
        return nj_wrap(err, "message_delta");
    nj_slice_pick(event->delta, keys, 2, values);
    return take_stop(values[0], values[1], reply, err);
}

/* The events of a message, in the order in which they come. */
#define EVENTS(X)                                                                                  \
    X(MESSAGE_START, "message_start")                                                              \
    X(BLOCK_START, "content_block_start")                                                          \
    X(DELTA, "content_block_delta")                                                                \
    X(BLOCK_STOP, "content_block_stop")                                                            \
    X(MESSAGE_DELTA, "message_delta")                                                              \
    X(MESSAGE_STOP, "message_stop")                                                                \
    X(ERROR, "error")

enum event_kind {
    EVENT_OTHER, /* ping, and what this build has never heard of */
#define X(name, type) EVENT_##name,
    EVENTS(X)
#undef X
};

static enum event_kind kind_of(struct nj_span type)
{
#define X(name, text)                                                                              \
    if (nj_slice_is(type, text))                                                                   \
        return EVENT_##name;
    EVENTS(X)
#undef X
    return EVENT_OTHER;
}

static int on_event(struct nj_reader *reader, const struct event *event, struct nj_reply *reply,
                    struct nj_error *err)
{
    enum event_kind kind = kind_of(event->type);

    if (!reader->started && kind >= EVENT_BLOCK_START && kind <= EVENT_MESSAGE_STOP)
        return rubbish(err, "event", "it came before message_start");
    switch (kind) {
    case EVENT_OTHER:
        return 0;
    case EVENT_MESSAGE_START:
        return on_message_start(reader, event->message, reply, err);
    case EVENT_BLOCK_START:
        return on_block_start(reader, event, err);
    case EVENT_DELTA:
        return on_delta(reader, event, err);
    case EVENT_BLOCK_STOP:
        return on_block_stop(reader, event, reply, err);
    case EVENT_MESSAGE_DELTA:
        return on_message_delta(event, reply, err);
    case EVENT_MESSAGE_STOP:
        return on_message_stop(reader, reply, err) < 0 ? -(int)err->code : NJ_READ_DONE;
    case EVENT_ERROR:
        nj_anthropic_error(event->error, 500, reply);
        return NJ_READ_DONE;
    }
    return 0;
}

int nj_anthropic_event(struct nj_reader *reader, const struct nj_sse_event *received,
                       struct nj_reply *reply, struct nj_error *err)
{
    struct event event;
    int r;

    if (read_event(received->data, &event, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "event%s%.*s", received->name.len ? " " : "", (int)received->name.len,
                       (const char *)received->name.data);
    }
    if (nj_slice_kind(event.type) != NJ_SLICE_STRING)
        return rubbish(err, "event", "it has no type");
    r = on_event(reader, &event, reply, err);
    return r < 0 || r == NJ_READ_DONE ? r : NJ_READ_MORE;
}

int nj_anthropic_end(struct nj_reader *reader, struct nj_reply *reply, struct nj_error *err)
{
    (void)reply;
    return rubbish(err, "event stream",
                   reader->started ? "it ended before message_stop" : "it ended before it began");
}

int nj_anthropic_whole(struct nj_span body, struct nj_reply *reply, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span value, block;
    struct message message;

    if (nj_slice_check(body, &value, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "answer");
    }
    message = read_message(value);
    if (nj_slice_is(message.type, "error")) {
        nj_anthropic_error(nj_slice_get(value, "error"), 500, reply);
        return 0;
    }
    if (!nj_slice_is(message.type, "message") || nj_slice_kind(message.content) != NJ_SLICE_ARRAY)
        return rubbish(err, "answer", "it is no message with content");
    nj_reply_model(reply, message.model);
    if (take_usage(message.usage, reply, err) < 0 ||
        take_stop(message.stop_reason, message.stop_details, reply, err) < 0)
        return -(int)err->code;
    if (!reply->stop)
        return rubbish(err, "answer", "there is no stop_reason");
    while (nj_slice_item(message.content, &walk, &block))
        if (add_block(block, reply, err) < 0)
            return -(int)err->code;
    return end_content(reply, err);
}

int nj_anthropic_counted(struct nj_span body, uint64_t *ret_tokens, struct nj_error *err)
{
    struct nj_span value;

    if (nj_slice_check(body, &value, err) < 0 ||
        nj_slice_uint(nj_slice_get(value, "input_tokens"), NJ_REPLY_TOKENS_MAX, "input_tokens",
                      ret_tokens, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return nj_wrap(err, "answer");
    }
    return 0;
}
