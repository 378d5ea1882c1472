/*
 * request.c - lists of spans
 */
#include "batch/model/request.h"

#include <assert.h>

#include "formats/base/slice.h"

#include "formats/base/banned.h"

void nj_request_body_done(struct nj_request_body *body)
{
    free(body->spans);
    nj_arena_done(&body->arena);
    *body = (struct nj_request_body){0};
}

int nj_request_span(struct nj_request_body *body, struct nj_span span, struct nj_error *err)
{
    if (span.len == 0)
        return 0;
    if (span.len > NJ_REQUEST_BODY_MAX_BYTES - body->bytes)
        return nj_fail(err, NJ_E_LIMIT, "the request has more than %u bytes",
                       NJ_REQUEST_BODY_MAX_BYTES);
    if (body->n_spans == body->cap_spans) {
        size_t cap = body->cap_spans ? body->cap_spans * 2 : 32;
        struct nj_span *grown = reallocarray(body->spans, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        body->spans = grown;
        body->cap_spans = cap;
    }
    body->spans[body->n_spans++] = span;
    body->bytes += span.len;
    return 0;
}

int nj_request_literal(struct nj_request_body *body, const char *text, struct nj_error *err)
{
    return nj_request_span(body, nj_span_text(text), err);
}

static int keep(struct nj_request_body *body, const struct nj_buf *buf, struct nj_error *err)
{
    const char *copy = nj_arena_span(&body->arena, nj_buf_span(buf));

    if (!copy)
        return nj_fail_nomem(err);
    return nj_request_span(body, (struct nj_span){(const uint8_t *)copy, buf->len}, err);
}

int nj_request_json(struct nj_request_body *body, struct nj_span text, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};

    nj_buf_init(&buf, NJ_REQUEST_BODY_MAX_BYTES);
    if (nj_buf_json_text(&buf, text, err) < 0)
        return -(int)err->code;
    return keep(body, &buf, err);
}

int nj_request_printf(struct nj_request_body *body, struct nj_error *err, const char *fmt, ...)
{
    char text[256];
    const char *copy;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < sizeof(text)); /* for numbers between literals */
    copy = nj_arena_text(&body->arena, text);
    return copy ? nj_request_literal(body, copy, err) : nj_fail_nomem(err);
}

int nj_request_item(const struct nj_request *request, size_t at, enum nj_role *ret_role,
                    struct nj_span *ret_content, struct nj_error *err)
{
    const struct nj_session_message *stored = &request->session->messages[at];
    struct nj_span item = {0};

    if (request->policy->item)
        item = request->policy->item(request->policy->ctx, at);
    if (!item.data)
        item = (struct nj_span){(const uint8_t *)stored->bytes, stored->len};
    return nj_message_content(item, ret_role, ret_content, err);
}

bool nj_request_cached(const struct nj_request *request, size_t at)
{
    const struct nj_request_policy *policy = request->policy;

    for (size_t i = 0; policy->cache_ttl && i < policy->n_cache_items; i++)
        if (policy->cache_items[i] == at)
            return true;
    return false;
}

uint64_t nj_request_max_tokens(const struct nj_request *request)
{
    if (request->policy->max_tokens)
        return request->policy->max_tokens;
    return request->model->max_tokens ? request->model->max_tokens : NJ_REQUEST_MAX_TOKENS;
}

bool nj_request_refuses(const struct nj_request *request, struct nj_span key)
{
    for (size_t i = 0; i < request->model->refuses.count; i++)
        if (nj_span_is(key, request->model->refuses.items[i].text))
            return true;
    return false;
}

/* What a prompt's length can depend on: how a reply is drawn is not among it, and a service that
 * counts need not know such fields. */
static bool is_counted(struct nj_span key)
{
    static const char *const counted[] = {"thinking", "tool_choice", "output_config"};

    for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++)
        if (nj_span_is(key, counted[i]))
            return true;
    return false;
}

int nj_request_parameters(const struct nj_request *request, const char *except,
                          struct nj_request_body *body, struct nj_error *err)
{
    struct nj_span parameters = nj_span_text(request->model->parameters), key, value;
    struct nj_slice_walk walk = {0};

    while (nj_slice_member(parameters, &walk, &key, &value)) {
        struct nj_span name = nj_slice_inner(key);

        if ((request->counting && !is_counted(name)) || nj_request_refuses(request, name) ||
            (except && nj_span_is(name, except)))
            continue;
        if (nj_request_literal(body, ",", err) < 0 || nj_request_span(body, key, err) < 0 ||
            nj_request_literal(body, ":", err) < 0 || nj_request_span(body, value, err) < 0)
            return -(int)err->code;
    }
    return 0;
}
