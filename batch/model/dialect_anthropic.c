/*
 * dialect_anthropic.c - the Messages API: what is asked, and what its errors mean
 *
 * The one complication is what goes back: an assistant's blocks are spliced into the next request
 * exactly as they were frozen, since thinking blocks are signed and a prompt cache compares bytes.
 * Breakpoints of the cache are therefore put on our own blocks only (tools, system, a user's last).
 * Blocks that another provider's reply left for itself are not this service's: they stay out.
 * Source: WIRE.md 1, 3, 4, 5.
 */
#include "batch/model/dialect.h"

#include "batch/model/dialect_anthropic.h"
#include "formats/base/slice.h"

#include "formats/base/banned.h"

/* ---- what is asked ---- */

static int write_cache_control(const struct nj_request *request, struct nj_request_body *body,
                               struct nj_error *err)
{
    return nj_request_printf(body, err,
                             ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"%s\"}",
                             request->policy->cache_ttl);
}

/* An object, with a breakpoint put in before its brace. */
static int write_marked(const struct nj_request *request, struct nj_span object,
                        struct nj_request_body *body, struct nj_error *err)
{
    if (nj_request_span(body, (struct nj_span){object.data, object.len - 1}, err) < 0 ||
        write_cache_control(request, body, err) < 0)
        return -(int)err->code;
    return nj_request_literal(body, "}", err);
}

static int write_system(const struct nj_request *request, struct nj_request_body *body,
                        struct nj_error *err)
{
    const char *instructions = request->session->config->instructions;
    const struct nj_request_policy *policy = request->policy;

    if (!instructions[0])
        return 0;
    if (nj_request_literal(body, ",\"system\":[{\"type\":\"text\",\"text\":", err) < 0 ||
        nj_request_json(body, nj_span_text(instructions), err) < 0 ||
        (policy->cache_ttl && policy->cache_system && write_cache_control(request, body, err) < 0))
        return -(int)err->code;
    return nj_request_literal(body, "}]", err);
}

static int write_tools(const struct nj_request *request, struct nj_request_body *body,
                       struct nj_error *err)
{
    const struct nj_request_policy *policy = request->policy;
    struct nj_span tools = request->tools, last;

    if (tools.len <= 2)
        return 0;
    /* Who gives tool_choice among the model's parameters has said it all. */
    if (!request->model->can.parallel_tools &&
        nj_slice_get(nj_span_text(request->model->parameters), "tool_choice").len == 0 &&
        nj_request_literal(
            body, ",\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true}", err) <
            0)
        return -(int)err->code;
    if (nj_request_literal(body, ",\"tools\":", err) < 0)
        return -(int)err->code;
    if (!policy->cache_ttl || !policy->cache_tools)
        return nj_request_span(body, tools, err);
    last = (struct nj_span){tools.data, tools.len - 1}; /* all of it but the bracket */
    if (write_marked(request, last, body, err) < 0)
        return -(int)err->code;
    return nj_request_literal(body, "]", err);
}

/* The next block that is for this service, or false. */
static bool next_block(struct nj_span content, struct nj_slice_walk *walk,
                       struct nj_span *ret_block)
{
    while (nj_slice_item(content, walk, ret_block)) {
        struct nj_span type = nj_slice_get(*ret_block, "type");

        if (!nj_slice_is(type, NJ_BLOCK_OPENAI) && !nj_slice_is(type, NJ_BLOCK_CUT_CALL))
            return true;
    }
    return false;
}

/* What is left of an item's blocks, the first of which is @block, joined by commas. */
static int write_blocks(const struct nj_request *request, struct nj_span content,
                        struct nj_slice_walk *walk, struct nj_span block, bool marked,
                        struct nj_request_body *body, struct nj_error *err)
{
    struct nj_span next;
    bool more;

    do {
        more = next_block(content, walk, &next);
        if (marked && !more ? write_marked(request, block, body, err) < 0
                            : nj_request_span(body, block, err) < 0)
            return -(int)err->code;
        if (more && nj_request_literal(body, ",", err) < 0)
            return -(int)err->code;
        block = next;
    } while (more);
    return 0;
}

/* Consecutive items of one role are one message; an item without blocks is none. */
static int write_messages(const struct nj_request *request, struct nj_request_body *body,
                          struct nj_error *err)
{
    enum nj_role open = 0, role;

    if (nj_request_literal(body, ",\"messages\":[", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < request->n_messages; i++) {
        struct nj_slice_walk walk = {0};
        struct nj_span content, block;

        if (nj_request_item(request, i, &role, &content, err) < 0)
            return -(int)err->code;
        if (!next_block(content, &walk, &block))
            continue;
        if (role == open) {
            if (nj_request_literal(body, ",", err) < 0)
                return -(int)err->code;
        } else {
            if ((open && nj_request_literal(body, "]},", err) < 0) ||
                nj_request_literal(body,
                                   role == NJ_ROLE_USER ? "{\"role\":\"user\",\"content\":["
                                                        : "{\"role\":\"assistant\",\"content\":[",
                                   err) < 0)
                return -(int)err->code;
            open = role;
        }
        if (write_blocks(request, content, &walk, block,
                         role == NJ_ROLE_USER && nj_request_cached(request, i), body, err) < 0)
            return -(int)err->code;
    }
    return nj_request_literal(body, open ? "]}]" : "]", err);
}

/* The schema shares a field with the parameter effort. */
static int write_output(const struct nj_request *request, struct nj_request_body *body,
                        struct nj_error *err)
{
    struct nj_span given = nj_slice_get(nj_span_text(request->model->parameters), "output_config");
    struct nj_slice_walk walk = {0};
    struct nj_span key, value;

    if (nj_request_literal(body, ",\"output_config\":{", err) < 0)
        return -(int)err->code;
    while (nj_slice_member(given, &walk, &key, &value)) {
        if (nj_slice_is(key, "format"))
            continue;
        if (nj_request_span(body, key, err) < 0 || nj_request_literal(body, ":", err) < 0 ||
            nj_request_span(body, value, err) < 0 || nj_request_literal(body, ",", err) < 0)
            return -(int)err->code;
    }
    if (nj_request_literal(body, "\"format\":{\"type\":\"json_schema\",\"schema\":", err) < 0 ||
        nj_request_span(body, request->policy->output_schema, err) < 0)
        return -(int)err->code;
    return nj_request_literal(body, "}}", err);
}

static int write_request(const struct nj_request *request, struct nj_request_body *body,
                         struct nj_error *err)
{
    bool has_schema = request->policy->output_schema.len > 0;

    if (nj_request_literal(body, "{\"model\":", err) < 0 ||
        nj_request_json(body, nj_span_text(request->model->model), err) < 0 ||
        (!request->counting &&
         nj_request_printf(body, err, ",\"max_tokens\":%llu%s",
                           (unsigned long long)nj_request_max_tokens(request),
                           request->model->stream ? ",\"stream\":true" : "") < 0) ||
        nj_request_parameters(request, has_schema ? "output_config" : NULL, body, err) < 0 ||
        (has_schema && write_output(request, body, err) < 0) ||
        write_tools(request, body, err) < 0 || write_system(request, body, err) < 0 ||
        write_messages(request, body, err) < 0)
        return -(int)err->code;
    return nj_request_literal(body, "}", err);
}

/* ---- what goes wrong ---- */

void nj_anthropic_error(struct nj_span error, int status, struct nj_reply *reply)
{
    static const struct {
        const char *type;
        int status;
    } types[] = {
        {"invalid_request_error", 400}, {"authentication_error", 401}, {"billing_error", 402},
        {"permission_error", 403},      {"not_found_error", 404},      {"conflict_error", 409},
        {"request_too_large", 413},     {"rate_limit_error", 429},     {"api_error", 500},
        {"timeout_error", 504},         {"overloaded_error", 529},
    };
    NJ_AUTO(nj_buf_done) struct nj_buf message = {0};
    struct nj_span type = nj_slice_get(error, "type");
    struct nj_error err = {0};

    nj_buf_init(&message, NJ_ERROR_TEXT_MAX_BYTES * 6);
    if (nj_slice_text(nj_slice_get(error, "message"), &message, &err) < 0)
        nj_buf_clear(&message);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (nj_slice_is(type, types[i].type))
            status = types[i].status;
    nj_dialect_status_fault(status, message.len ? (const char *)message.data : "", reply);
}

static void read_error(int status, struct nj_span body, struct nj_reply *reply)
{
    struct nj_error err = {0};
    struct nj_span value;

    if (nj_slice_check(body, &value, &err) < 0) /* an edge proxy's page, say */
        nj_dialect_status_fault(status, "", reply);
    else
        nj_anthropic_error(nj_slice_get(value, "error"), status, reply);
}

static const char *const headers[] = {"anthropic-version: 2023-06-01"};

const struct nj_dialect nj_dialect_anthropic = {
    .base_url = "https://api.anthropic.com",
    .path = "/v1/messages",
    .count_path = "/v1/messages/count_tokens",
    .key_header = "x-api-key",
    .key_format = "{secret}",
    .headers = headers,
    .n_headers = sizeof(headers) / sizeof(headers[0]),
    .request_id = "request-id",
    .write = write_request,
    .reader_new = nj_anthropic_reader_new,
    .reader_free = nj_anthropic_reader_free,
    .event = nj_anthropic_event,
    .end = nj_anthropic_end,
    .whole = nj_anthropic_whole,
    .counted = nj_anthropic_counted,
    .error = read_error,
};
