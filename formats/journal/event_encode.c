/*
 * event_encode.c - events as canonical maps
 *
 * Each kind has a function for its body here and one in event_decode.c, and where it has more to
 * say than time and attempt, a pair for its meta. Keys are written in ascending order, whatever the
 * kind adds.
 */
#include "formats/journal/event_inside.h"

#include "formats/base/banned.h"

static void put_stream(struct nj_packer *packer, const char *key, const struct nj_stream *stream)
{
    nj_pack_text(packer, key);
    nj_pack_map(packer, 4);
    nj_pack_put_uint(packer, "bytes", stream->bytes);
    nj_pack_put_digest(packer, "digest", &stream->digest);
    nj_pack_put_bin(packer, "head", stream->head);
    nj_pack_put_bin(packer, "tail", stream->tail);
}

static void put_outcome(struct nj_packer *packer, const struct nj_call_outcome *outcome)
{
    nj_pack_text(packer, "outcome");
    nj_pack_map(packer, 8);
    put_stream(packer, "errors", &outcome->errors);
    nj_pack_put_uint(packer, "exit", (uint64_t)outcome->exit);
    nj_pack_put_uint(packer, "limit", (uint64_t)outcome->limit);
    nj_pack_put_uint(packer, "limit_value", outcome->limit_value);
    put_stream(packer, "out", &outcome->out);
    nj_pack_put_uint(packer, "status", (uint64_t)outcome->status);
    nj_pack_put_span(packer, "text", outcome->text);
    nj_pack_put_digest(packer, "tree", &outcome->tree);
}

static void put_opened(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 8);
    nj_pack_put_span(packer, "agent", event->opened.agent);
    nj_pack_put_digest(packer, "config", &event->opened.config);
    nj_pack_put_digest(packer, "first", &event->opened.first);
    nj_pack_put_span(packer, "group", event->opened.group);
    nj_pack_put_digest(packer, "identity", &event->opened.identity);
    nj_pack_put_span(packer, "item", event->opened.item);
    nj_pack_put_span(packer, "key", event->opened.key);
    nj_pack_put_digest(packer, "tree", &event->opened.tree);
}

static void put_reply(struct nj_packer *packer, const struct nj_event *event)
{
    const struct nj_usage *usage = &event->reply.usage;

    nj_pack_map(packer, 7);
    nj_pack_put_uint(packer, "cost_micro_usd", event->reply.cost_micro_usd);
    nj_pack_put_digest(packer, "message", &event->reply.message);
    nj_pack_put_span(packer, "model", event->reply.model);
    nj_pack_put_digest(packer, "request", &event->reply.request);
    nj_pack_put_uint(packer, "stop", (uint64_t)event->reply.stop);
    nj_pack_put_uint(packer, "turn", event->reply.turn);
    nj_pack_text(packer, "usage");
    nj_pack_map(packer, 5);
    nj_pack_put_uint(packer, "cache_read", usage->cache_read_tokens);
    nj_pack_put_uint(packer, "cache_write_1h", usage->cache_write_1h_tokens);
    nj_pack_put_uint(packer, "cache_write_5m", usage->cache_write_5m_tokens);
    nj_pack_put_uint(packer, "input", usage->input_tokens);
    nj_pack_put_uint(packer, "output", usage->output_tokens);
}

static void put_no_reply(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 4);
    nj_pack_put_span(packer, "cause", event->no_reply.cause);
    nj_pack_put_digest(packer, "request", &event->no_reply.request);
    nj_pack_put_span(packer, "text", event->no_reply.text);
    nj_pack_put_uint(packer, "turn", event->no_reply.turn);
}

static void put_tool_done(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 4);
    nj_pack_put_uint(packer, "call", event->tool_done.call);
    nj_pack_put_span(packer, "id", event->tool_done.id);
    put_outcome(packer, &event->tool_done.outcome);
    nj_pack_put_uint(packer, "turn", event->tool_done.turn);
}

static void put_judged(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 3);
    nj_pack_put_bool(packer, "accepted", event->judged.accepted);
    put_outcome(packer, &event->judged.outcome);
    nj_pack_put_uint(packer, "round", event->judged.round);
}

static void put_closed(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, event->closed.has_outputs ? 5 : 4);
    nj_pack_put_span(packer, "error_kind", event->closed.error_kind);
    nj_pack_put_span(packer, "error_text", event->closed.error_text);
    if (event->closed.has_outputs)
        nj_pack_put_digest(packer, "outputs", &event->closed.outputs);
    nj_pack_put_bin(packer, "result", event->closed.result);
    nj_pack_put_uint(packer, "status", (uint64_t)event->closed.status);
}

static void put_attempt(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 4);
    nj_pack_put_span(packer, "cause", event->attempt_failed.cause);
    nj_pack_put_span(packer, "model", event->attempt_failed.model);
    nj_pack_put_span(packer, "text", event->attempt_failed.text);
    nj_pack_put_uint(packer, "turn", event->attempt_failed.turn);
}

static void put_box(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 2);
    nj_pack_put_uint(packer, "change", (uint64_t)event->box.change);
    nj_pack_put_span(packer, "text", event->box.text);
}

static void put_suspended(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 1);
    nj_pack_put_span(packer, "reason", event->suspended.reason);
}

static void put_body(struct nj_packer *packer, const struct nj_event *event)
{
    switch (event->kind) {
    case NJ_EVENT_OPENED:
        put_opened(packer, event);
        break;
    case NJ_EVENT_REPLY:
        put_reply(packer, event);
        break;
    case NJ_EVENT_NO_REPLY:
        put_no_reply(packer, event);
        break;
    case NJ_EVENT_TOOL_DONE:
        put_tool_done(packer, event);
        break;
    case NJ_EVENT_JUDGED:
        put_judged(packer, event);
        break;
    case NJ_EVENT_CLOSED:
        put_closed(packer, event);
        break;
    case NJ_EVENT_ATTEMPT:
        put_attempt(packer, event);
        break;
    case NJ_EVENT_BOX:
        put_box(packer, event);
        break;
    case NJ_EVENT_SUSPENDED:
        put_suspended(packer, event);
        break;
    case NJ_EVENT_RESUMED:
        nj_pack_map(packer, 0);
        break;
    case NJ_EVENT_SNAPSHOTTED: /* nj_event_fault() refused it */
        break;
    }
}

/* meta_extra - how many keys the kind adds to its meta; fills @ret_call for those with a call's */
static size_t meta_extra(const struct nj_event *event, const struct nj_call_meta **ret_call)
{
    *ret_call = NULL;
    if (event->kind == NJ_EVENT_TOOL_DONE)
        *ret_call = &event->tool_done.meta;
    if (event->kind == NJ_EVENT_JUDGED)
        *ret_call = &event->judged.meta;
    if (*ret_call)
        return 5 + ((*ret_call)->applied > 0
                        ? 3u + ((*ret_call)->figures > 0) + ((*ret_call)->lowered > 0) +
                              (*ret_call)->has_ran + (*ret_call)->has_order
                        : 0);
    if (event->kind == NJ_EVENT_OPENED)
        return 2;
    return event->kind == NJ_EVENT_REPLY || nj_event_cost(event) > 0 ? 1 : 0;
}

static size_t count_answer(const struct nj_event *event)
{
    const struct nj_event_answer *answer = &event->answer;

    return nj_event_has_answer(event->kind)
               ? (size_t)answer->has_raw + (answer->request_id.len > 0) + (answer->variants > 0) +
                     (answer->place > 0) + (answer->began > 0) + (answer->reserved_micro_usd > 0)
               : 0;
}

static void put_call_meta(struct nj_packer *packer, const struct nj_call_meta *call)
{
    if (call->applied > 0)
        nj_pack_put_int(packer, "clock_ns", call->clock_ns);
    nj_pack_put_uint(packer, "cpu_ms", call->cpu_ms);
    nj_pack_put_uint(packer, "duration_ms", call->duration_ms);
    if (call->applied > 0 && call->figures > 0)
        nj_pack_put_uint(packer, "figures", call->figures);
    if (call->applied > 0)
        nj_pack_put_uint(packer, "level", call->level);
    nj_pack_put_uint(packer, "limit_used", call->limit_used);
    if (call->applied > 0 && call->lowered > 0)
        nj_pack_put_uint(packer, "lowered", (uint64_t)call->lowered);
    nj_pack_put_uint(packer, "memory_peak_bytes", call->memory_peak_bytes);
    if (call->applied > 0 && call->has_order)
        nj_pack_put_digest(packer, "order", &call->order);
    if (call->applied > 0 && call->has_ran)
        nj_pack_put_digest(packer, "ran", &call->ran);
    nj_pack_put_digest(packer, "stamps", &call->stamps);
}

static void put_meta(struct nj_packer *packer, const struct nj_event *event)
{
    const struct nj_call_meta *call;
    size_t extra = meta_extra(event, &call) + count_answer(event);

    nj_pack_map(packer, 2 + extra);
    if (call && call->applied > 0)
        nj_pack_put_uint(packer, "applied", call->applied);
    nj_pack_put_uint(packer, "attempt", event->attempt);
    if (nj_event_has_answer(event->kind) && event->answer.began > 0)
        nj_pack_put_uint(packer, "began", event->answer.began);
    if (call) {
        put_call_meta(packer, call);
    } else if (event->kind == NJ_EVENT_OPENED) {
        nj_pack_put_bin(packer, "seed", (struct nj_span){event->opened.seed, SEED_BYTES});
        nj_pack_put_digest(packer, "stamps", &event->opened.stamps);
    } else if (event->kind == NJ_EVENT_REPLY) {
        nj_pack_put_uint(packer, "duration_ms", event->reply.duration_ms);
    } else if (nj_event_cost(event) > 0) {
        nj_pack_put_uint(packer, "cost_micro_usd", nj_event_cost(event));
    }
    if (nj_event_has_answer(event->kind) && event->answer.place > 0)
        nj_pack_put_uint(packer, "place", event->answer.place);
    if (nj_event_has_answer(event->kind) && event->answer.has_raw)
        nj_pack_put_digest(packer, "raw", &event->answer.raw);
    if (nj_event_has_answer(event->kind) && event->answer.request_id.len > 0)
        nj_pack_put_span(packer, "request_id", event->answer.request_id);
    if (nj_event_has_answer(event->kind) && event->answer.reserved_micro_usd > 0)
        nj_pack_put_uint(packer, "reserved_micro_usd", event->answer.reserved_micro_usd);
    nj_pack_put_int(packer, "time_ns", event->time_ns);
    if (nj_event_has_answer(event->kind) && event->answer.variants > 0)
        nj_pack_put_uint(packer, "variants", event->answer.variants);
}

int nj_event_encode(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    const char *fault = nj_event_fault(event);
    struct nj_packer packer;
    int r;

    if (fault)
        return nj_fail(err, NJ_E_INPUT, "event %s: %s", nj_event_kind_text(event->kind), fault);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 3);
    nj_pack_text(&packer, "body");
    put_body(&packer, event);
    nj_pack_put_uint(&packer, "kind", (uint64_t)event->kind);
    nj_pack_text(&packer, "meta");
    put_meta(&packer, event);
    r = nj_packer_end(&packer, err);
    return r < 0 ? nj_wrap(err, "event %s", nj_event_kind_text(event->kind)) : 0;
}
