/*
 * dialect_openai.c - chat completions of compatible servers: what is asked, and what errors mean
 *
 * The one complication: the conversation is kept in blocks, as the core reads them. A reply of such
 * a server begins with a block that holds its message as it was written, and that message goes
 * back, byte for byte; what another provider said is told in this one's words. Source: WIRE.md 9.
 */
#include "batch/model/dialect_openai.h"

#include "formats/base/slice.h"

#include "formats/base/banned.h"

/* ---- what is asked ---- */

/* The text of a string, or of a list of text blocks with newlines between, as a JSON string. */
static int write_text(struct nj_span value, struct nj_request_body *body, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    const char *between = "\"";
    struct nj_span block;

    if (nj_slice_kind(value) == NJ_SLICE_STRING)
        return nj_request_span(body, value, err);
    while (nj_slice_item(value, &walk, &block)) {
        struct nj_span text = nj_slice_get(block, "text");

        if (!nj_slice_is(nj_slice_get(block, "type"), "text"))
            continue;
        if (nj_request_literal(body, between, err) < 0 ||
            nj_request_span(body, nj_slice_inner(text), err) < 0)
            return -(int)err->code;
        between = "\\n";
    }
    return nj_request_literal(body, between[0] == '"' ? "\"\"" : "\"", err);
}

static int write_user(struct nj_span content, struct nj_request_body *body, struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span block;

    while (nj_slice_item(content, &walk, &block)) {
        struct nj_span type = nj_slice_get(block, "type");

        if (nj_slice_is(type, "tool_result")) {
            if (nj_request_literal(body, ",{\"role\":\"tool\",\"tool_call_id\":", err) < 0 ||
                nj_request_span(body, nj_slice_get(block, "tool_use_id"), err) < 0 ||
                nj_request_literal(body, ",\"content\":", err) < 0 ||
                write_text(nj_slice_get(block, "content"), body, err) < 0 ||
                nj_request_literal(body, "}", err) < 0)
                return -(int)err->code;
        } else if (nj_slice_is(type, "text")) {
            if (nj_request_literal(body, ",{\"role\":\"user\",\"content\":", err) < 0 ||
                nj_request_span(body, nj_slice_get(block, "text"), err) < 0 ||
                nj_request_literal(body, "}", err) < 0)
                return -(int)err->code;
        }
    }
    return 0;
}

/* What another provider's model said: its texts and its calls; its thinking is its own. */
static int write_foreign(struct nj_span content, struct nj_request_body *body, struct nj_error *err)
{
    const char *between = ",\"tool_calls\":[";
    struct nj_slice_walk walk = {0};
    struct nj_span block;

    if (nj_request_literal(body, ",{\"role\":\"assistant\",\"content\":", err) < 0 ||
        write_text(content, body, err) < 0)
        return -(int)err->code;
    while (nj_slice_item(content, &walk, &block)) {
        if (!nj_slice_is(nj_slice_get(block, "type"), "tool_use"))
            continue;
        if (nj_request_literal(body, between, err) < 0 ||
            nj_request_literal(body, "{\"id\":", err) < 0 ||
            nj_request_span(body, nj_slice_get(block, "id"), err) < 0 ||
            nj_request_literal(body, ",\"type\":\"function\",\"function\":{\"name\":", err) < 0 ||
            nj_request_span(body, nj_slice_get(block, "name"), err) < 0 ||
            nj_request_literal(body, ",\"arguments\":", err) < 0 ||
            nj_request_json(body, nj_slice_get(block, "input"), err) < 0 ||
            nj_request_literal(body, "}}", err) < 0)
            return -(int)err->code;
        between = ",";
    }
    return nj_request_literal(body, between[1] ? "}" : "]}", err);
}

static int write_assistant(struct nj_span content, struct nj_request_body *body,
                           struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span block;

    if (!nj_slice_item(content, &walk, &block))
        return 0; /* it said nothing */
    if (!nj_slice_is(nj_slice_get(block, "type"), NJ_BLOCK_OPENAI))
        return write_foreign(content, body, err);
    if (nj_request_literal(body, ",", err) < 0)
        return -(int)err->code;
    return nj_request_span(body, nj_slice_get(block, "message"), err);
}

static int write_messages(const struct nj_request *request, struct nj_request_body *body,
                          struct nj_error *err)
{
    /* Instructions come first even when they are empty, so that each further message has a comma.
     */
    if (nj_request_literal(body, ",\"messages\":[{\"role\":\"system\",\"content\":", err) < 0 ||
        nj_request_json(body, nj_span_text(request->session->config->instructions), err) < 0 ||
        nj_request_literal(body, "}", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < request->n_messages; i++) {
        struct nj_span content;
        enum nj_role role;

        if (nj_request_item(request, i, &role, &content, err) < 0 ||
            (role == NJ_ROLE_USER ? write_user(content, body, err)
                                  : write_assistant(content, body, err)) < 0)
            return -(int)err->code;
    }
    return nj_request_literal(body, "]", err);
}

static int write_tools(const struct nj_request *request, struct nj_request_body *body,
                       struct nj_error *err)
{
    const char *between = ",\"tools\":[";
    struct nj_slice_walk walk = {0};
    struct nj_span tool;

    while (nj_slice_item(request->tools, &walk, &tool)) {
        if (nj_request_literal(body, between, err) < 0 ||
            nj_request_literal(body, "{\"type\":\"function\",\"function\":{\"name\":", err) < 0 ||
            nj_request_span(body, nj_slice_get(tool, "name"), err) < 0 ||
            nj_request_literal(body, ",\"description\":", err) < 0 ||
            nj_request_span(body, nj_slice_get(tool, "description"), err) < 0 ||
            nj_request_literal(body, ",\"parameters\":", err) < 0 ||
            nj_request_span(body, nj_slice_get(tool, "input_schema"), err) < 0 ||
            nj_request_literal(body, "}}", err) < 0)
            return -(int)err->code;
        between = ",";
    }
    if (between[1])
        return 0;
    return nj_request_literal(
        body, request->model->can.parallel_tools ? "]" : "],\"parallel_tool_calls\":false", err);
}

static int write_output(const struct nj_request *request, struct nj_request_body *body,
                        struct nj_error *err)
{
    if (request->policy->output_schema.len == 0)
        return 0;
    if (nj_request_literal(body,
                           ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                           "{\"name\":\"answer\",\"strict\":true,\"schema\":",
                           err) < 0 ||
        nj_request_span(body, request->policy->output_schema, err) < 0)
        return -(int)err->code;
    return nj_request_literal(body, "}}", err);
}

static int write_stream(const struct nj_request *request, struct nj_request_body *body,
                        struct nj_error *err)
{
    if (!request->model->stream)
        return 0;
    return nj_request_literal(body,
                              nj_request_refuses(request, nj_span_text("stream_options"))
                                  ? ",\"stream\":true"
                                  : ",\"stream\":true,\"stream_options\":{\"include_usage\":true}",
                              err);
}

static int write_request(const struct nj_request *request, struct nj_request_body *body,
                         struct nj_error *err)
{
    const char *tokens = request->model->can.token_parameter;

    if (nj_request_literal(body, "{\"model\":", err) < 0 ||
        nj_request_json(body, nj_span_text(request->model->model), err) < 0 ||
        nj_request_printf(body, err, ",\"%.40s\":%llu", tokens ? tokens : "max_completion_tokens",
                          (unsigned long long)nj_request_max_tokens(request)) < 0 ||
        write_stream(request, body, err) < 0 ||
        nj_request_parameters(request,
                              request->policy->output_schema.len ? "response_format" : NULL, body,
                              err) < 0 ||
        write_output(request, body, err) < 0 || write_tools(request, body, err) < 0 ||
        write_messages(request, body, err) < 0)
        return -(int)err->code;
    return nj_request_literal(body, "}", err);
}

/* ---- what goes wrong ---- */

void nj_openai_error(struct nj_span error, int status, struct nj_reply *reply)
{
    NJ_AUTO(nj_buf_done) struct nj_buf message = {0};
    struct nj_span text = nj_slice_get(error, "message");
    struct nj_error err = {0};
    const char *words;

    nj_buf_init(&message, NJ_ERROR_TEXT_MAX_BYTES * 6);
    if (nj_slice_kind(text) != NJ_SLICE_STRING)
        text = error; /* some servers say it in a bare string */
    if (nj_slice_text(text, &message, &err) < 0)
        nj_buf_clear(&message);
    words = message.len ? (const char *)message.data : "";
    if (nj_slice_is(nj_slice_get(error, "type"), "insufficient_quota") ||
        nj_slice_is(nj_slice_get(error, "code"), "insufficient_quota"))
        status = 402; /* it comes as a 429, and waiting does not help */
    nj_dialect_status_fault(status, words, reply);
}

static void read_error(int status, struct nj_span body, struct nj_reply *reply)
{
    struct nj_error err = {0};
    struct nj_span value;

    if (nj_slice_check(body, &value, &err) < 0)
        nj_dialect_status_fault(status, "", reply);
    else if (nj_slice_kind(nj_slice_get(value, "error")) != NJ_SLICE_NONE)
        nj_openai_error(nj_slice_get(value, "error"), status, reply);
    else
        nj_openai_error(value, status, reply); /* an old vLLM puts it at the top */
}

const struct nj_dialect nj_dialect_openai = {
    .base_url = "https://api.openai.com/v1",
    .path = "/chat/completions",
    .key_header = "Authorization",
    .key_format = "Bearer {secret}",
    .request_id = "x-request-id",
    .write = write_request,
    .reader_new = nj_openai_reader_new,
    .reader_free = nj_openai_reader_free,
    .event = nj_openai_event,
    .end = nj_openai_end,
    .whole = nj_openai_whole,
    .error = read_error,
};
