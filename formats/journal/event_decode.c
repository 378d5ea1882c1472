/*
 * event_decode.c - events from canonical maps; event_encode.c writes them
 */
#include "formats/journal/event_inside.h"

#include "formats/base/banned.h"

/* A map being read; the first failure sticks, as it does in the packer. */
struct fields {
    const struct nj_pack_at *map;
    struct nj_error *err;
    int r;
};

static void get_text(struct fields *fields, const char *key, struct nj_span *ret)
{
    if (fields->r == 0)
        fields->r = nj_pack_get_text(fields->map, key, ret, fields->err);
}

static void get_bin(struct fields *fields, const char *key, struct nj_span *ret)
{
    if (fields->r == 0)
        fields->r = nj_pack_get_bin(fields->map, key, ret, fields->err);
}

static void get_digest(struct fields *fields, const char *key, struct nj_digest *ret)
{
    if (fields->r == 0)
        fields->r = nj_pack_get_digest(fields->map, key, ret, fields->err);
}

static void get_uint(struct fields *fields, const char *key, uint64_t *ret)
{
    if (fields->r == 0)
        fields->r = nj_pack_get_uint(fields->map, key, UINT64_MAX, ret, fields->err);
}

/* get_small - a number that goes into an enum or int; its rule is checked by nj_event_fault() */
static int get_small(struct fields *fields, const char *key)
{
    uint64_t value = 0;

    if (fields->r == 0)
        fields->r = nj_pack_get_uint(fields->map, key, UINT16_MAX, &value, fields->err);
    return (int)value;
}

/* inner - the map under @key as fields of its own; @place must live as long as they do */
static struct fields inner(struct fields *fields, const char *key, struct nj_pack_at *place)
{
    if (fields->r == 0)
        fields->r = nj_pack_get_map(fields->map, key, place, fields->err);
    return (struct fields){.map = place, .err = fields->err, .r = fields->r};
}

static void get_stream(struct fields *fields, const char *key, struct nj_stream *stream)
{
    struct nj_pack_at place = {0};
    struct fields in = inner(fields, key, &place);

    get_uint(&in, "bytes", &stream->bytes);
    get_digest(&in, "digest", &stream->digest);
    get_bin(&in, "head", &stream->head);
    get_bin(&in, "tail", &stream->tail);
    fields->r = in.r;
}

static void get_outcome(struct fields *fields, struct nj_call_outcome *outcome)
{
    struct nj_pack_at place = {0};
    struct fields in = inner(fields, "outcome", &place);

    get_stream(&in, "errors", &outcome->errors);
    outcome->exit = (enum nj_exit_kind)get_small(&in, "exit");
    outcome->limit = (enum nj_limit)get_small(&in, "limit");
    get_uint(&in, "limit_value", &outcome->limit_value);
    get_stream(&in, "out", &outcome->out);
    outcome->status = get_small(&in, "status");
    get_text(&in, "text", &outcome->text);
    get_digest(&in, "tree", &outcome->tree);
    fields->r = in.r;
}

static void get_call_meta(struct fields *meta, struct nj_call_meta *call)
{
    get_uint(meta, "cpu_ms", &call->cpu_ms);
    get_uint(meta, "duration_ms", &call->duration_ms);
    get_uint(meta, "limit_used", &call->limit_used);
    get_uint(meta, "memory_peak_bytes", &call->memory_peak_bytes);
    get_digest(meta, "stamps", &call->stamps);
    if (!nj_pack_has(meta->map, "applied"))
        return;
    call->applied = (unsigned)get_small(meta, "applied");
    call->level = (unsigned)get_small(meta, "level");
    if (meta->r == 0)
        meta->r = nj_pack_get_int(meta->map, "clock_ns", &call->clock_ns, meta->err);
    if (nj_pack_has(meta->map, "figures") && meta->r == 0) {
        uint64_t figures = 0;

        meta->r = nj_pack_get_uint(meta->map, "figures", NJ_FIGURES_MAX, &figures, meta->err);
        call->figures = (uint32_t)figures;
    }
    if (nj_pack_has(meta->map, "lowered"))
        call->lowered = (enum nj_lowered)get_small(meta, "lowered");
    call->has_order = nj_pack_has(meta->map, "order");
    if (call->has_order)
        get_digest(meta, "order", &call->order);
    call->has_ran = nj_pack_has(meta->map, "ran");
    if (call->has_ran)
        get_digest(meta, "ran", &call->ran);
}

static void get_opened(struct fields *body, struct fields *meta, struct nj_event *event)
{
    struct nj_span seed = {NULL, 0};

    get_text(body, "agent", &event->opened.agent);
    get_digest(body, "config", &event->opened.config);
    get_digest(body, "first", &event->opened.first);
    get_text(body, "group", &event->opened.group);
    get_digest(body, "identity", &event->opened.identity);
    get_text(body, "item", &event->opened.item);
    get_text(body, "key", &event->opened.key);
    get_digest(body, "tree", &event->opened.tree);
    get_bin(meta, "seed", &seed);
    get_digest(meta, "stamps", &event->opened.stamps);
    if (meta->r == 0 && seed.len != SEED_BYTES)
        meta->r =
            nj_pack_fail(meta->map, meta->err, "seed has %zu bytes, not %zu", seed.len, SEED_BYTES);
    else if (meta->r == 0)
        memcpy(event->opened.seed, seed.data, SEED_BYTES);
}

static void get_reply(struct fields *body, struct fields *meta, struct nj_event *event)
{
    struct nj_usage *usage = &event->reply.usage;
    struct nj_pack_at place = {0};
    struct fields in;

    get_uint(body, "cost_micro_usd", &event->reply.cost_micro_usd);
    get_digest(body, "message", &event->reply.message);
    get_text(body, "model", &event->reply.model);
    get_digest(body, "request", &event->reply.request);
    event->reply.stop = (enum nj_stop)get_small(body, "stop");
    get_uint(body, "turn", &event->reply.turn);
    in = inner(body, "usage", &place);
    get_uint(&in, "cache_read", &usage->cache_read_tokens);
    get_uint(&in, "cache_write_1h", &usage->cache_write_1h_tokens);
    get_uint(&in, "cache_write_5m", &usage->cache_write_5m_tokens);
    get_uint(&in, "input", &usage->input_tokens);
    get_uint(&in, "output", &usage->output_tokens);
    body->r = in.r;
    get_uint(meta, "duration_ms", &event->reply.duration_ms);
}

static void get_answer(struct fields *meta, struct nj_event *event)
{
    if (!nj_event_has_answer(event->kind))
        return;
    event->answer.has_raw = nj_pack_has(meta->map, "raw");
    if (event->answer.has_raw)
        get_digest(meta, "raw", &event->answer.raw);
    if (nj_pack_has(meta->map, "request_id"))
        get_text(meta, "request_id", &event->answer.request_id);
    if (nj_pack_has(meta->map, "reserved_micro_usd"))
        get_uint(meta, "reserved_micro_usd", &event->answer.reserved_micro_usd);
    if (nj_pack_has(meta->map, "place"))
        get_uint(meta, "place", &event->answer.place);
    if (nj_pack_has(meta->map, "began"))
        get_uint(meta, "began", &event->answer.began);
    if (nj_pack_has(meta->map, "variants"))
        get_uint(meta, "variants", &event->answer.variants);
}

static void get_closed(struct fields *body, struct nj_event *event)
{
    get_text(body, "error_kind", &event->closed.error_kind);
    get_text(body, "error_text", &event->closed.error_text);
    event->closed.has_outputs = nj_pack_has(body->map, "outputs");
    if (event->closed.has_outputs)
        get_digest(body, "outputs", &event->closed.outputs);
    get_bin(body, "result", &event->closed.result);
    event->closed.status = (enum nj_status)get_small(body, "status");
}

/* get_event - read what the kind has; false when there is no such kind */
static bool get_event(struct fields *body, struct fields *meta, struct nj_event *event)
{
    switch (event->kind) {
    case NJ_EVENT_OPENED:
        get_opened(body, meta, event);
        return true;
    case NJ_EVENT_REPLY:
        get_reply(body, meta, event);
        return true;
    case NJ_EVENT_NO_REPLY:
        get_text(body, "cause", &event->no_reply.cause);
        get_digest(body, "request", &event->no_reply.request);
        get_text(body, "text", &event->no_reply.text);
        get_uint(body, "turn", &event->no_reply.turn);
        return true;
    case NJ_EVENT_TOOL_DONE:
        get_uint(body, "call", &event->tool_done.call);
        get_text(body, "id", &event->tool_done.id);
        get_outcome(body, &event->tool_done.outcome);
        get_uint(body, "turn", &event->tool_done.turn);
        get_call_meta(meta, &event->tool_done.meta);
        return true;
    case NJ_EVENT_JUDGED:
        if (body->r == 0)
            body->r = nj_pack_get_bool(body->map, "accepted", &event->judged.accepted, body->err);
        get_outcome(body, &event->judged.outcome);
        get_uint(body, "round", &event->judged.round);
        get_call_meta(meta, &event->judged.meta);
        return true;
    case NJ_EVENT_CLOSED:
        get_closed(body, event);
        return true;
    case NJ_EVENT_ATTEMPT:
        get_text(body, "cause", &event->attempt_failed.cause);
        get_text(body, "model", &event->attempt_failed.model);
        get_text(body, "text", &event->attempt_failed.text);
        get_uint(body, "turn", &event->attempt_failed.turn);
        return true;
    case NJ_EVENT_BOX:
        event->box.change = (enum nj_box_change)get_small(body, "change");
        get_text(body, "text", &event->box.text);
        return true;
    case NJ_EVENT_SUSPENDED:
        get_text(body, "reason", &event->suspended.reason);
        return true;
    case NJ_EVENT_RESUMED:
        return true;
    case NJ_EVENT_SNAPSHOTTED: /* never stored */
    default:
        return false;
    }
}

int nj_event_decode(struct nj_span payload, struct nj_event *ret_event, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at root, body_place = {0}, meta_place = {0};
    struct fields top, body, meta;
    struct nj_event event = {0};
    const char *fault;
    int r;

    r = nj_pack_open(&doc, "event", payload, err);
    if (r < 0)
        return r;
    r = nj_pack_root(&doc, &root, err);
    if (r < 0)
        return r;
    top = (struct fields){.map = &root, .err = err};
    event.kind = (enum nj_event_kind)get_small(&top, "kind");
    body = inner(&top, "body", &body_place);
    meta = inner(&top, "meta", &meta_place);
    if (top.r < 0)
        return top.r;

    get_uint(&meta, "attempt", &event.attempt);
    if (meta.r == 0)
        meta.r = nj_pack_get_int(&meta_place, "time_ns", &event.time_ns, err);
    if (meta.r < 0)
        return meta.r;
    get_answer(&meta, &event);
    if (nj_event_cost_place(&event) && nj_pack_has(&meta_place, "cost_micro_usd"))
        get_uint(&meta, "cost_micro_usd", nj_event_cost_place(&event));
    if (!get_event(&body, &meta, &event))
        return nj_pack_fail(&root, err, "no kind of event has the number %u", (unsigned)event.kind);
    if (body.r < 0 || meta.r < 0)
        return -(int)err->code; /* both failed perhaps: the later story is as true */
    fault = nj_event_fault(&event);
    if (fault)
        return nj_pack_fail(&body_place, err, "%s: %s", nj_event_kind_text(event.kind), fault);
    *ret_event = event;
    return 0;
}

struct nj_span nj_event_body(struct nj_span payload)
{
    struct nj_span body = {NULL, 0};

    (void)nj_pack_raw_at(payload, "body", &body); /* absent only before nj_event_decode() */
    return body;
}
