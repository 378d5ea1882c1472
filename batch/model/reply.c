/*
 * reply.c - what both dialects share of a reply
 */
#include "batch/model/dialect.h"

#include <strings.h>

#include "formats/base/slice.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

void nj_reply_init(struct nj_reply *reply)
{
    *reply = (struct nj_reply){0};
    nj_buf_init(&reply->content, NJ_REPLY_CONTENT_MAX_BYTES);
}

void nj_reply_done(struct nj_reply *reply)
{
    nj_buf_done(&reply->content);
}

void nj_reply_fault(struct nj_reply *reply, enum nj_manifest_cause cause,
                    enum nj_try_verdict verdict, const char *fmt, ...)
{
    va_list args;

    if (reply->fault.is)
        return;
    reply->fault.is = true;
    reply->fault.cause = cause;
    reply->fault.verdict = verdict;
    va_start(args, fmt);
    (void)vsnprintf(reply->fault.text, sizeof(reply->fault.text), fmt, args);
    va_end(args);
    nj_utf8_clean(reply->fault.text);
}

int nj_reply_check(struct nj_span content, struct nj_error *err)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    struct nj_slice_walk walk = {0};
    struct nj_span block;
    size_t n = 0, at;

    if (!nj_slice_is_text(content, &at))
        return nj_fail(err, NJ_E_UPSTREAM, "content: byte %zu: half of a surrogate pair", at);
    while (nj_slice_item(content, &walk, &block)) {
        if (nj_slice_kind(nj_slice_get(block, "type")) != NJ_SLICE_STRING)
            return nj_fail(err, NJ_E_UPSTREAM, "content[%zu]: not a block with a type", n);
        if (++n > NJ_REPLY_BLOCKS_MAX)
            return nj_fail(err, NJ_E_UPSTREAM, "content: more than %d blocks", NJ_REPLY_BLOCKS_MAX);
    }
    if (nj_message_content_calls(content, &calls, err) < 0) {
        err->code = NJ_E_UPSTREAM;
        return -(int)err->code;
    }
    return 0;
}

int nj_reply_cut_call(struct nj_span id, struct nj_span name, struct nj_span partial,
                      struct nj_buf *out, struct nj_error *err)
{
    const struct nj_span null = nj_span_text("null");

    id = id.len ? id : null;
    name = name.len ? name : null;
    if (nj_buf_text(out, "{\"type\":\"" NJ_BLOCK_CUT_CALL "\",\"id\":", err) < 0 ||
        nj_buf_append(out, id.data, id.len, err) < 0 || nj_buf_text(out, ",\"name\":", err) < 0 ||
        nj_buf_append(out, name.data, name.len, err) < 0 ||
        nj_buf_text(out, ",\"partial_json\":", err) < 0 || nj_buf_json_text(out, partial, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

void nj_reply_model(struct nj_reply *reply, struct nj_span name_json)
{
    struct nj_span name = nj_slice_inner(name_json);
    size_t len = name.len < NJ_REPLY_NAME_MAX_BYTES ? name.len : NJ_REPLY_NAME_MAX_BYTES;

    for (size_t i = 0; i < len; i++)
        reply->model[i] = name.data[i] > ' ' && name.data[i] < 0x7f ? (char)name.data[i] : '?';
    reply->model[len] = 0;
}

/* Where a service says in words what its status does not tell apart. */
static bool says(const char *message, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcasestr(message, words[i]))
            return true;
    return false;
}

static void bad_request(const char *message, struct nj_reply *reply)
{
    static const char *const full[] = {"prompt is too long", "context length",
                                       "context window",     "context_length",
                                       "maximum context",    "input is too long"};
    static const char *const money[] = {"credit balance", "spend limit", "usage limit",
                                        "spending limit", "billing"};

    if (says(message, full, sizeof(full) / sizeof(full[0])))
        nj_reply_fault(reply, NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL, "the context is full: %s",
                       message);
    else if (says(message, money, sizeof(money) / sizeof(money[0])))
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_STOP,
                       "the account has reached its limit: %s; raise it, then resume", message);
    else
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_FINAL, "the request was refused (400): %s",
                       message);
}

void nj_dialect_status_fault(int status, const char *message, struct nj_reply *reply)
{
    char words[NJ_ERROR_TEXT_MAX_BYTES];
    const char *colon = *message ? ": " : "";
    size_t len;

    /* A service's sentence goes on with ours. */
    (void)snprintf(words, sizeof(words), "%s", message);
    len = strlen(words);
    if (len > 0 && words[len - 1] == '.')
        words[len - 1] = 0;
    message = words;

    switch (status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_FINAL,
                       "answered with another address (%d), where the key is not sent: is "
                       "base_url right?%s%s",
                       status, *message ? " " : "", message);
        return;
    case 400:
    case 422:
        bad_request(message, reply);
        return;
    case 401:
        nj_reply_fault(
            reply, NJ_CAUSE_ERROR, NJ_TRY_STOP,
            "the key was not accepted (401)%s%s; mend the model's credential, then resume", colon,
            message);
        return;
    case 402:
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_STOP,
                       "the account is empty (402)%s%s; fill it, then resume", colon, message);
        return;
    case 403:
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_STOP,
                       "the key may not do this (403)%s%s; use a credential that may, then resume",
                       colon, message);
        return;
    case 404:
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_STOP,
                       "there is no such model or path (404)%s%s; mend model or base_url", colon,
                       message);
        return;
    case 408:
    case 409:
        nj_reply_fault(reply, NJ_CAUSE_ERROR, NJ_TRY_AGAIN, "answered with %d%s%s", status, colon,
                       message);
        return;
    case 413:
        nj_reply_fault(reply, NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL,
                       "the request is too large (413)%s%s", colon, message);
        return;
    case 429:
        nj_reply_fault(reply, NJ_CAUSE_RATE_LIMITED, NJ_TRY_AGAIN, "rate limited (429)%s%s", colon,
                       message);
        return;
    case 503:
    case 529:
        nj_reply_fault(reply, NJ_CAUSE_OVERLOADED, NJ_TRY_AGAIN, "overloaded (%d)%s%s", status,
                       colon, message);
        return;
    default:
        nj_reply_fault(reply, NJ_CAUSE_ERROR, status >= 500 ? NJ_TRY_AGAIN : NJ_TRY_FINAL,
                       "answered with %d%s%s", status, colon, message);
        return;
    }
}
