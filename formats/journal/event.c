/*
 * event.c - events as canonical maps, and back
 *
 * Each kind has a pair of functions for its body, and where it has more to say than time and
 * attempt, a pair for its meta. Keys are written in ascending order, whatever the kind adds.
 */
#include "formats/journal/event.h"

#include "formats/base/banned.h"

#define EXIT_STATUS_MAX 255
#define SIGNAL_MAX 64
#define SEED_BYTES ((size_t)NJ_SEED_BYTES)

const char *nj_event_kind_text(enum nj_event_kind kind)
{
    switch (kind) {
#define X(name, value, text, content)                                                              \
    case NJ_EVENT_##name:                                                                          \
        return text;
        NJ_EVENT_KINDS(X)
#undef X
    }
    return "?";
}

bool nj_event_is_content(enum nj_event_kind kind)
{
    switch (kind) {
#define X(name, value, text, content)                                                              \
    case NJ_EVENT_##name:                                                                          \
        return content;
        NJ_EVENT_KINDS(X)
#undef X
    }
    return false;
}

const char *nj_lowered_text(enum nj_lowered lowered)
{
    switch (lowered) {
#define X(name, value, text)                                                                       \
    case NJ_LOWERED_##name:                                                                        \
        return text;
        NJ_LOWERINGS(X)
#undef X
    }
    return "?";
}

const char *nj_limit_key(enum nj_limit limit)
{
    switch (limit) {
#define X(name, value, key, unit)                                                                  \
    case NJ_LIMIT_##name:                                                                          \
        return key;
        NJ_LIMITS(X)
#undef X
    }
    return "?";
}

const char *nj_stop_text(enum nj_stop stop)
{
    switch (stop) {
#define X(name, value, text)                                                                       \
    case NJ_STOP_##name:                                                                           \
        return text;
        NJ_STOPS(X)
#undef X
    }
    return "?";
}

const char *nj_status_text(enum nj_status status)
{
    switch (status) {
    case NJ_STATUS_SUCCEEDED:
        return "succeeded";
    case NJ_STATUS_FAILED:
        return "failed";
    case NJ_STATUS_SUSPENDED:
        return "suspended";
    case NJ_STATUS_SKIPPED:
        return "skipped";
    }
    return "?";
}

/* ---- what an event may say: the same rules for the encoder and the decoder ---- */

static bool limit_known(uint64_t limit)
{
    switch (limit) {
#define X(name, value, key, unit) case value:
        NJ_LIMITS(X)
#undef X
        return true;
    default:
        return false;
    }
}

static bool stop_known(uint64_t stop)
{
    switch (stop) {
#define X(name, value, text) case value:
        NJ_STOPS(X)
#undef X
        return true;
    default:
        return false;
    }
}

static const char *stream_fault(const struct nj_stream *stream)
{
    if (stream->head.len > stream->bytes || stream->tail.len > stream->bytes - stream->head.len)
        return "head and tail are longer than the stream";
    return NULL;
}

/* outcome_fault - what is impossible about @outcome, NULL when nothing is */
static const char *outcome_fault(const struct nj_call_outcome *outcome)
{
    const char *fault;

    switch (outcome->exit) {
    case NJ_EXIT_EXITED:
        if (outcome->status < 0 || outcome->status > EXIT_STATUS_MAX)
            return "an exit status is 0 to 255";
        break;
    case NJ_EXIT_SIGNALLED:
        if (outcome->status < 1 || outcome->status > SIGNAL_MAX)
            return "a signal is 1 to 64";
        break;
    case NJ_EXIT_REFUSED:
        if (outcome->status != 0)
            return "a refused call has status 0";
        break;
    default:
        return "no such way to end a call";
    }
    if (!limit_known((uint64_t)outcome->limit))
        return "no such limit";
    fault = stream_fault(&outcome->out);
    return fault ? fault : stream_fault(&outcome->errors);
}

/* meta_fault - the same for what the reproducible layer says of a call */
static const char *meta_fault(const struct nj_call_meta *meta)
{
    if (meta->has_order && (meta->applied < NJ_LEVEL_MAX || meta->level < NJ_LEVEL_MAX))
        return "the order of outputs is told at level 3";
    if (meta->applied > NJ_LEVEL_MAX)
        return "no such level";
    if (meta->applied == 0)
        return meta->has_ran ? "what ran is told by the reproducible layer" : NULL;
    if (meta->level > meta->applied)
        return "a call reaches at most the level that is applied";
    if (meta->clock_ns < 0 || meta->clock_ns > NJ_CLOCK_MAX_NS)
        return "the clock shows no time";
    return (unsigned)meta->lowered > NJ_LOWERED_MAX ? "no such reason for a lower level" : NULL;
}

static const char *call_fault(const struct nj_call_outcome *outcome,
                              const struct nj_call_meta *meta)
{
    const char *fault = outcome_fault(outcome);

    return fault ? fault : meta_fault(meta);
}

/* event_fault - the same for the whole of @event */
static const char *event_fault(const struct nj_event *event)
{
    switch (event->kind) {
    case NJ_EVENT_REPLY:
        return stop_known((uint64_t)event->reply.stop) ? NULL : "no such stop reason";
    case NJ_EVENT_TOOL_DONE:
        return call_fault(&event->tool_done.outcome, &event->tool_done.meta);
    case NJ_EVENT_JUDGED:
        return call_fault(&event->judged.outcome, &event->judged.meta);
    case NJ_EVENT_CLOSED:
        return event->closed.status >= NJ_STATUS_SUCCEEDED &&
                       event->closed.status <= NJ_STATUS_SKIPPED
                   ? NULL
                   : "no such status";
    case NJ_EVENT_BOX:
        return event->box.change >= NJ_BOX_BUILT && event->box.change <= NJ_BOX_LOST
                   ? NULL
                   : "no such change of a box";
    case NJ_EVENT_OPENED:
    case NJ_EVENT_NO_REPLY:
    case NJ_EVENT_ATTEMPT:
    case NJ_EVENT_SUSPENDED:
    case NJ_EVENT_RESUMED:
        return NULL;
    case NJ_EVENT_SNAPSHOTTED:
    default:
        return "not a kind of event that is stored";
    }
}

/* ---- encoding ---- */

static void put_text(struct nj_packer *packer, const char *key, struct nj_span text)
{
    nj_pack_text(packer, key);
    nj_pack_span(packer, text);
}

static void put_bin(struct nj_packer *packer, const char *key, struct nj_span bytes)
{
    nj_pack_text(packer, key);
    nj_pack_bin(packer, bytes);
}

static void put_digest(struct nj_packer *packer, const char *key, const struct nj_digest *digest)
{
    nj_pack_text(packer, key);
    nj_pack_digest(packer, digest);
}

static void put_uint(struct nj_packer *packer, const char *key, uint64_t value)
{
    nj_pack_text(packer, key);
    nj_pack_uint(packer, value);
}

static void put_stream(struct nj_packer *packer, const char *key, const struct nj_stream *stream)
{
    nj_pack_text(packer, key);
    nj_pack_map(packer, 4);
    put_uint(packer, "bytes", stream->bytes);
    put_digest(packer, "digest", &stream->digest);
    put_bin(packer, "head", stream->head);
    put_bin(packer, "tail", stream->tail);
}

static void put_outcome(struct nj_packer *packer, const struct nj_call_outcome *outcome)
{
    nj_pack_text(packer, "outcome");
    nj_pack_map(packer, 8);
    put_stream(packer, "errors", &outcome->errors);
    put_uint(packer, "exit", (uint64_t)outcome->exit);
    put_uint(packer, "limit", (uint64_t)outcome->limit);
    put_uint(packer, "limit_value", outcome->limit_value);
    put_stream(packer, "out", &outcome->out);
    put_uint(packer, "status", (uint64_t)outcome->status);
    put_text(packer, "text", outcome->text);
    put_digest(packer, "tree", &outcome->tree);
}

static void put_opened(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 8);
    put_text(packer, "agent", event->opened.agent);
    put_digest(packer, "config", &event->opened.config);
    put_digest(packer, "first", &event->opened.first);
    put_text(packer, "group", event->opened.group);
    put_digest(packer, "identity", &event->opened.identity);
    put_text(packer, "item", event->opened.item);
    put_text(packer, "key", event->opened.key);
    put_digest(packer, "tree", &event->opened.tree);
}

static void put_reply(struct nj_packer *packer, const struct nj_event *event)
{
    const struct nj_usage *usage = &event->reply.usage;

    nj_pack_map(packer, 7);
    put_uint(packer, "cost_micro_usd", event->reply.cost_micro_usd);
    put_digest(packer, "message", &event->reply.message);
    put_text(packer, "model", event->reply.model);
    put_digest(packer, "request", &event->reply.request);
    put_uint(packer, "stop", (uint64_t)event->reply.stop);
    put_uint(packer, "turn", event->reply.turn);
    nj_pack_text(packer, "usage");
    nj_pack_map(packer, 5);
    put_uint(packer, "cache_read", usage->cache_read_tokens);
    put_uint(packer, "cache_write_1h", usage->cache_write_1h_tokens);
    put_uint(packer, "cache_write_5m", usage->cache_write_5m_tokens);
    put_uint(packer, "input", usage->input_tokens);
    put_uint(packer, "output", usage->output_tokens);
}

static void put_no_reply(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 4);
    put_text(packer, "cause", event->no_reply.cause);
    put_digest(packer, "request", &event->no_reply.request);
    put_text(packer, "text", event->no_reply.text);
    put_uint(packer, "turn", event->no_reply.turn);
}

static void put_tool_done(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 4);
    put_uint(packer, "call", event->tool_done.call);
    put_text(packer, "id", event->tool_done.id);
    put_outcome(packer, &event->tool_done.outcome);
    put_uint(packer, "turn", event->tool_done.turn);
}

static void put_judged(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 3);
    nj_pack_text(packer, "accepted");
    nj_pack_bool(packer, event->judged.accepted);
    put_outcome(packer, &event->judged.outcome);
    put_uint(packer, "round", event->judged.round);
}

static void put_closed(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, event->closed.has_outputs ? 5 : 4);
    put_text(packer, "error_kind", event->closed.error_kind);
    put_text(packer, "error_text", event->closed.error_text);
    if (event->closed.has_outputs)
        put_digest(packer, "outputs", &event->closed.outputs);
    put_bin(packer, "result", event->closed.result);
    put_uint(packer, "status", (uint64_t)event->closed.status);
}

static void put_attempt(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 4);
    put_text(packer, "cause", event->attempt_failed.cause);
    put_text(packer, "model", event->attempt_failed.model);
    put_text(packer, "text", event->attempt_failed.text);
    put_uint(packer, "turn", event->attempt_failed.turn);
}

static void put_box(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 2);
    put_uint(packer, "change", (uint64_t)event->box.change);
    put_text(packer, "text", event->box.text);
}

static void put_suspended(struct nj_packer *packer, const struct nj_event *event)
{
    nj_pack_map(packer, 1);
    put_text(packer, "reason", event->suspended.reason);
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
    case NJ_EVENT_SNAPSHOTTED: /* event_fault() refused it */
        break;
    }
}

/* event_cost - where a kind keeps what it cost beside a reply; NULL: it has none */
static uint64_t *event_cost(struct nj_event *event)
{
    switch (event->kind) {
    case NJ_EVENT_NO_REPLY:
        return &event->no_reply.cost_micro_usd;
    case NJ_EVENT_ATTEMPT:
        return &event->attempt_failed.cost_micro_usd;
    case NJ_EVENT_SUSPENDED:
        return &event->suspended.cost_micro_usd;
    case NJ_EVENT_RESUMED:
        return &event->resumed.cost_micro_usd;
    case NJ_EVENT_OPENED:
    case NJ_EVENT_REPLY:
    case NJ_EVENT_TOOL_DONE:
    case NJ_EVENT_JUDGED:
    case NJ_EVENT_CLOSED:
    case NJ_EVENT_BOX:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return NULL;
}

uint64_t nj_event_cost(const struct nj_event *event)
{
    struct nj_event copy;
    const uint64_t *cost;

    if (event->kind == NJ_EVENT_REPLY)
        return event->reply.cost_micro_usd;
    copy = *event;
    cost = event_cost(&copy);
    return cost ? *cost : 0;
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
        return 5 + ((*ret_call)->applied > 0 ? 3u + ((*ret_call)->lowered > 0) +
                                                   (*ret_call)->has_ran + (*ret_call)->has_order
                                             : 0);
    if (event->kind == NJ_EVENT_OPENED)
        return 2;
    return event->kind == NJ_EVENT_REPLY || nj_event_cost(event) > 0 ? 1 : 0;
}

/* Kinds whose meta may hold an answer's traces. */
static bool has_answer(enum nj_event_kind kind)
{
    return kind == NJ_EVENT_REPLY || kind == NJ_EVENT_NO_REPLY || kind == NJ_EVENT_ATTEMPT;
}

static size_t count_answer(const struct nj_event *event)
{
    const struct nj_event_answer *answer = &event->answer;

    return has_answer(event->kind)
               ? (size_t)answer->has_raw + (answer->request_id.len > 0) + (answer->variants > 0) +
                     (answer->place > 0) + (answer->began > 0) + (answer->reserved_micro_usd > 0)
               : 0;
}

static void put_call_meta(struct nj_packer *packer, const struct nj_call_meta *call)
{
    if (call->applied > 0) {
        nj_pack_text(packer, "clock_ns");
        nj_pack_int(packer, call->clock_ns);
    }
    put_uint(packer, "cpu_ms", call->cpu_ms);
    put_uint(packer, "duration_ms", call->duration_ms);
    if (call->applied > 0)
        put_uint(packer, "level", call->level);
    put_uint(packer, "limit_used", call->limit_used);
    if (call->applied > 0 && call->lowered > 0)
        put_uint(packer, "lowered", (uint64_t)call->lowered);
    put_uint(packer, "memory_peak_bytes", call->memory_peak_bytes);
    if (call->applied > 0 && call->has_order)
        put_digest(packer, "order", &call->order);
    if (call->applied > 0 && call->has_ran)
        put_digest(packer, "ran", &call->ran);
    put_digest(packer, "stamps", &call->stamps);
}

static void put_meta(struct nj_packer *packer, const struct nj_event *event)
{
    const struct nj_call_meta *call;
    size_t extra = meta_extra(event, &call) + count_answer(event);

    nj_pack_map(packer, 2 + extra);
    if (call && call->applied > 0)
        put_uint(packer, "applied", call->applied);
    put_uint(packer, "attempt", event->attempt);
    if (has_answer(event->kind) && event->answer.began > 0)
        put_uint(packer, "began", event->answer.began);
    if (call) {
        put_call_meta(packer, call);
    } else if (event->kind == NJ_EVENT_OPENED) {
        put_bin(packer, "seed", (struct nj_span){event->opened.seed, SEED_BYTES});
        put_digest(packer, "stamps", &event->opened.stamps);
    } else if (event->kind == NJ_EVENT_REPLY) {
        put_uint(packer, "duration_ms", event->reply.duration_ms);
    } else if (nj_event_cost(event) > 0) {
        put_uint(packer, "cost_micro_usd", nj_event_cost(event));
    }
    if (has_answer(event->kind) && event->answer.place > 0)
        put_uint(packer, "place", event->answer.place);
    if (has_answer(event->kind) && event->answer.has_raw)
        put_digest(packer, "raw", &event->answer.raw);
    if (has_answer(event->kind) && event->answer.request_id.len > 0)
        put_text(packer, "request_id", event->answer.request_id);
    if (has_answer(event->kind) && event->answer.reserved_micro_usd > 0)
        put_uint(packer, "reserved_micro_usd", event->answer.reserved_micro_usd);
    nj_pack_text(packer, "time_ns");
    nj_pack_int(packer, event->time_ns);
    if (has_answer(event->kind) && event->answer.variants > 0)
        put_uint(packer, "variants", event->answer.variants);
}

int nj_event_encode(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    const char *fault = event_fault(event);
    struct nj_packer packer;
    int r;

    if (fault)
        return nj_fail(err, NJ_E_INPUT, "event %s: %s", nj_event_kind_text(event->kind), fault);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 3);
    nj_pack_text(&packer, "body");
    put_body(&packer, event);
    put_uint(&packer, "kind", (uint64_t)event->kind);
    nj_pack_text(&packer, "meta");
    put_meta(&packer, event);
    r = nj_packer_end(&packer, err);
    return r < 0 ? nj_wrap(err, "event %s", nj_event_kind_text(event->kind)) : 0;
}

/* ---- decoding ---- */

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

/* get_small - a number that goes into an enum or int; its rule is checked by event_fault() */
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
    if (!has_answer(event->kind))
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
    if (event_cost(&event) && nj_pack_has(&meta_place, "cost_micro_usd"))
        get_uint(&meta, "cost_micro_usd", event_cost(&event));
    if (!get_event(&body, &meta, &event))
        return nj_pack_fail(&root, err, "no kind of event has the number %u", (unsigned)event.kind);
    if (body.r < 0 || meta.r < 0)
        return -(int)err->code; /* both failed perhaps: the later story is as true */
    fault = event_fault(&event);
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
