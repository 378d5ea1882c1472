/*
 * fuzz_message.c - a conversation item may be hostile; the input is a reply's content, or a whole
 * item
 *
 * Properties: content comes back as the bytes that were put in; reading calls and text twice gives
 * the same; what is read can be told back to the agent as an item that is read again.
 */
#include <assert.h>

#include "batch/session/message.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_item(struct nj_span item)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    NJ_AUTO(nj_calls_done) struct nj_calls again = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf told = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf back = {0};
    struct nj_error err = {0};

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&told, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&back, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_calls(item, &calls, &err) == 0) {
        if (nj_message_calls(item, &again, &err) < 0)
            __builtin_trap();
        assert(calls.count == again.count && calls.count <= NJ_CALLS_MAX);
        for (size_t i = 0; i < calls.count; i++)
            assert(json_is_object(calls.items[i].input) &&
                   strcmp(calls.items[i].id, again.items[i].id) == 0);
    }
    if (nj_message_text(item, &text, &err) < 0)
        return;
    if (nj_message_tool_result("id", nj_buf_span(&text), true, &told, &err) < 0 ||
        nj_message_text(nj_buf_span(&told), &back, &err) < 0)
        __builtin_trap();
    assert(nj_span_equal(nj_buf_span(&text), nj_buf_span(&back)));
}

/* An outcome made of the input: whatever a box returns must become an item that can be read. */
static void tell_outcome(const uint8_t *data, size_t size)
{
    struct nj_call_outcome outcome = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_error err = {0};
    bool is_error = false;
    size_t half;

    if (size < 4)
        return;
    half = (size - 4) / 2;
    outcome.exit = (enum nj_exit_kind)(1 + data[0] % 3);
    outcome.status = data[1];
    outcome.limit = (enum nj_limit)(data[2] % 7);
    outcome.limit_value = (uint64_t)data[3] << 20;
    outcome.out = (struct nj_stream){.bytes = half, .head = {data + 4, half}};
    outcome.errors = (struct nj_stream){.bytes = half + data[1],
                                        .head = {data + 4 + half, half / 2},
                                        .tail = {data + 4, half - half / 2}};
    if (outcome.exit == NJ_EXIT_REFUSED)
        outcome.text = (struct nj_span){data + 4, half};
    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_outcome(&outcome, &text, &is_error, &err) < 0) {
        assert(outcome.limit > NJ_LIMIT_PROCESSES);
        return;
    }
    if (nj_message_tool_result("id", nj_buf_span(&text), is_error, &item, &err) < 0)
        __builtin_trap();
    read_item(nj_buf_span(&item));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_span whole = {data, size};
    struct nj_span content = {0};
    struct nj_error err = {0};
    enum nj_role role;

    if (size == 0 || size > 65536) /* nothing is no content; every byte may become six */
        return 0;
    if (nj_message_content(whole, &role, &content, &err) == 0)
        read_item(whole);
    tell_outcome(data, size);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_assistant(whole, &item, &err) < 0 ||
        nj_message_content(nj_buf_span(&item), &role, &content, &err) < 0)
        __builtin_trap();
    assert(role == NJ_ROLE_ASSISTANT && nj_span_equal(content, whole));
    read_item(nj_buf_span(&item));
    return 0;
}
