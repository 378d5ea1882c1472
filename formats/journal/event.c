/*
 * event.c - what events are called, what they may say, and what they cost
 */
#include <stdio.h>

#include "formats/journal/event_inside.h"

#include "formats/base/banned.h"

#define EXIT_STATUS_MAX 255
#define SIGNAL_MAX 64

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

void nj_figures_text(uint32_t figures, char text[NJ_FIGURES_TEXT_BYTES])
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
#define X(enumerator, bit, name) {UINT32_C(1) << (bit), name},
        NJ_FIGURES(X)
#undef X
    };
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (figures & names[i].bit) /* all of them fit */
            len += (size_t)snprintf(text + len, NJ_FIGURES_TEXT_BYTES - len, "%s%s",
                                    len > 0 ? ", " : "", names[i].name);
    }
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
        return meta->has_ran || meta->figures ? "what ran is told by the reproducible layer" : NULL;
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
const char *nj_event_fault(const struct nj_event *event)
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

/* ---- what it cost ---- */

uint64_t *nj_event_cost_place(struct nj_event *event)
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
    cost = nj_event_cost_place(&copy);
    return cost ? *cost : 0;
}

bool nj_event_has_answer(enum nj_event_kind kind)
{
    return kind == NJ_EVENT_REPLY || kind == NJ_EVENT_NO_REPLY || kind == NJ_EVENT_ATTEMPT;
}
