/*
 * fuzz_stream.c - a service's answer may be hostile. The first byte chooses the dialect and how the
 * answer comes (streamed, whole, an error), the second where a stream is cut
 *
 * Properties: cut in two or not, a stream reads alike; what is a reply is content that the session
 * core reads, and a request made of it is JSON; reading twice gives the same.
 */
#include <assert.h>

#include "formats/base/slice.h"
#include "tests/lib/stream_kit.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reply in a conversation, written for both services. */
static void write_requests(const struct nj_reply *reply)
{
    static const struct nj_session_config config = {.instructions = "i"};
    static const struct nj_request_policy policy = {.cache_ttl = "5m", .n_cache_items = 1};
    const struct nj_manifest_model model = {.model = "m", .stream = true};
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf said = {0};
    struct nj_session_message messages[3];
    struct nj_session session = {.config = &config, .messages = messages, .n_messages = 3};
    const struct nj_dialect *const dialects[] = {&nj_dialect_anthropic, &nj_dialect_openai};
    struct nj_request request = {
        .session = &session, .n_messages = 3, .model = &model, .policy = &policy};
    struct nj_error err = {0};

    nj_buf_init(&first, 1000);
    nj_buf_init(&said, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_user_text(nj_span_text("u"), &first, &err) < 0 ||
        nj_message_assistant(nj_buf_span(&reply->content), &said, &err) < 0)
        abort();
    messages[0] = messages[2] =
        (struct nj_session_message){.bytes = (char *)first.data, .len = first.len};
    messages[1] = (struct nj_session_message){.bytes = (char *)said.data, .len = said.len};
    for (size_t i = 0; i < 2; i++) {
        NJ_AUTO(nj_request_body_done) struct nj_request_body body = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf flat = {0};
        struct nj_span value;

        nj_buf_init(&flat, NJ_REQUEST_BODY_MAX_BYTES);
        if (dialects[i]->write(&request, &body, &err) < 0)
            abort();
        for (size_t k = 0; k < body.n_spans; k++)
            if (nj_buf_append(&flat, body.spans[k].data, body.spans[k].len, &err) < 0)
                abort();
        assert(flat.len == body.bytes);
        if (nj_slice_check(nj_buf_span(&flat), &value, &err) < 0)
            abort();
    }
}

static void read_stream(const struct nj_dialect *dialect, struct nj_span stream, size_t cut)
{
    NJ_AUTO(nj_reply_done) struct nj_reply reply;
    NJ_AUTO(nj_buf_done) struct nj_buf whole = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf in_two = {0};
    struct nj_error err = {0};

    stream_dump(dialect, stream, 0, &whole);
    stream_dump(dialect, stream, cut, &in_two);
    assert(nj_span_equal(nj_buf_span(&whole), nj_buf_span(&in_two)));
    nj_reply_init(&reply);
    if (stream_read(dialect, stream, 0, &reply, &err) >= 0 && !reply.fault.is)
        write_requests(&reply);
}

static void read_whole(const struct nj_dialect *dialect, struct nj_span body)
{
    NJ_AUTO(nj_reply_done) struct nj_reply reply;
    struct nj_error err = {0};

    nj_reply_init(&reply);
    if (dialect->whole(body, &reply, &err) == 0 && !reply.fault.is) {
        assert(reply.stop != 0);
        write_requests(&reply);
    }
}

static void read_error(const struct nj_dialect *dialect, int status, struct nj_span body)
{
    NJ_AUTO(nj_reply_done) struct nj_reply reply;

    nj_reply_init(&reply);
    dialect->error(status, body, &reply);
    assert(reply.fault.is && reply.fault.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct nj_dialect *dialect;
    struct nj_span bytes;

    if (size < 3 || size > 65536)
        return 0;
    dialect = data[0] & 1 ? &nj_dialect_openai : &nj_dialect_anthropic;
    bytes = (struct nj_span){data + 2, size - 2};
    switch (data[0] >> 1 & 3) {
    case 0:
    case 1:
        read_stream(dialect, bytes, data[1] * bytes.len / 256);
        break;
    case 2:
        read_whole(dialect, bytes);
        break;
    default:
        read_error(dialect, 400 + data[1], bytes);
        break;
    }
    return 0;
}
