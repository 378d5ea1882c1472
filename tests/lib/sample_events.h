/*
 * sample_events.h - one event of every kind, each field different from every other
 *
 * Header only, because the programs that use it are each linked alone.
 */
#ifndef NJ_TESTS_SAMPLE_EVENTS_H
#define NJ_TESTS_SAMPLE_EVENTS_H

#include "formats/journal/event.h"

static inline struct nj_digest sample_digest(uint8_t first)
{
    struct nj_digest digest;

    for (uint8_t i = 0; i < NJ_DIGEST_BYTES; i++)
        digest.bytes[i] = (uint8_t)(first + i);
    return digest;
}

static inline struct nj_stream sample_stream(const char *head, const char *tail, uint64_t bytes)
{
    return (struct nj_stream){.bytes = bytes,
                              .digest = sample_digest((uint8_t)bytes),
                              .head = nj_span_text(head),
                              .tail = nj_span_text(tail)};
}

static inline struct nj_call_outcome sample_outcome(void)
{
    return (struct nj_call_outcome){.exit = NJ_EXIT_SIGNALLED,
                                    .status = 9,
                                    .limit = NJ_LIMIT_MEMORY,
                                    .limit_value = 2147483648u,
                                    .text = nj_span_text(""),
                                    .out = sample_stream("first lines\n", "last\xff", 100000),
                                    .errors = sample_stream("Killed\n", "", 7),
                                    .tree = sample_digest(0x31)};
}

static inline struct nj_call_meta sample_call_meta(void)
{
    return (struct nj_call_meta){.stamps = sample_digest(0x41),
                                 .duration_ms = 1500,
                                 .cpu_ms = 1400,
                                 .memory_peak_bytes = 2147480000u,
                                 .limit_used = 2147483649u};
}

/* sample_event - the event of @kind; NJ_EVENT_SNAPSHOTTED has none */
static inline struct nj_event sample_event(enum nj_event_kind kind)
{
    struct nj_event event = {
        .kind = kind, .time_ns = 1795310400123456789, .attempt = (uint64_t)kind};

    switch (kind) {
    case NJ_EVENT_OPENED:
        event.opened.key = nj_span_text("invoice-0041");
        event.opened.group = nj_span_text("invoices");
        event.opened.agent = nj_span_text("data-processor");
        event.opened.identity = sample_digest(0x01);
        event.opened.config = sample_digest(0x02);
        event.opened.item = nj_span_text("{\"path\":\"inbox/0041.pdf\"}");
        event.opened.first = sample_digest(0x03);
        event.opened.tree = sample_digest(0x04);
        event.opened.stamps = sample_digest(0x05);
        for (uint8_t i = 0; i < 32; i++)
            event.opened.seed[i] = (uint8_t)(0xa0 + i);
        break;
    case NJ_EVENT_REPLY:
        event.reply.turn = 3;
        event.reply.model = nj_span_text("scripted");
        event.reply.stop = NJ_STOP_TOOLS;
        event.reply.message = sample_digest(0x11);
        event.reply.request = sample_digest(0x12);
        event.reply.usage = (struct nj_usage){.input_tokens = 900,
                                              .output_tokens = 40,
                                              .cache_read_tokens = 700,
                                              .cache_write_5m_tokens = 80,
                                              .cache_write_1h_tokens = 20};
        event.reply.cost_micro_usd = 3300;
        event.reply.duration_ms = 812;
        event.answer.request_id = nj_span_text("req_011");
        event.answer.variants = 5;
        break;
    case NJ_EVENT_NO_REPLY:
        event.no_reply.turn = 4;
        event.no_reply.cause = nj_span_text("refusal");
        event.no_reply.text = nj_span_text("the model refused: \xc3\xa4");
        event.no_reply.request = sample_digest(0x13);
        break;
    case NJ_EVENT_TOOL_DONE:
        event.tool_done.turn = 5;
        event.tool_done.call = 1;
        event.tool_done.id = nj_span_text("call_7");
        event.tool_done.outcome = sample_outcome();
        event.tool_done.meta = sample_call_meta();
        break;
    case NJ_EVENT_JUDGED:
        event.judged.round = 2;
        event.judged.accepted = true;
        event.judged.outcome = sample_outcome();
        event.judged.outcome.exit = NJ_EXIT_EXITED;
        event.judged.outcome.status = 0;
        event.judged.outcome.limit = NJ_LIMIT_NONE;
        event.judged.meta = sample_call_meta();
        break;
    case NJ_EVENT_CLOSED:
        event.closed.status = NJ_STATUS_FAILED;
        event.closed.error_kind = nj_span_text("limit");
        event.closed.error_text = nj_span_text("max_memory_mb: 2049 of 2048");
        event.closed.result = nj_span_text("half\x80");
        event.closed.has_outputs = true;
        event.closed.outputs = sample_digest(0x21);
        break;
    case NJ_EVENT_ATTEMPT:
        event.attempt_failed.turn = 6;
        event.attempt_failed.model = nj_span_text("scripted");
        event.attempt_failed.cause = nj_span_text("overloaded");
        event.attempt_failed.text = nj_span_text("503");
        event.answer.request_id = nj_span_text("req_012");
        event.answer.has_raw = true;
        event.answer.raw = sample_digest(0x14);
        break;
    case NJ_EVENT_BOX:
        event.box.change = NJ_BOX_EVICTED;
        event.box.text = nj_span_text("parked for 30 s");
        break;
    case NJ_EVENT_SUSPENDED:
        event.suspended.reason = nj_span_text("signal");
        break;
    case NJ_EVENT_RESUMED:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return event;
}

/* Every kind that is stored. */
static const enum nj_event_kind SAMPLE_KINDS[] = {
    NJ_EVENT_OPENED, NJ_EVENT_REPLY,   NJ_EVENT_NO_REPLY, NJ_EVENT_TOOL_DONE, NJ_EVENT_JUDGED,
    NJ_EVENT_CLOSED, NJ_EVENT_ATTEMPT, NJ_EVENT_BOX,      NJ_EVENT_SUSPENDED, NJ_EVENT_RESUMED,
};
#define SAMPLE_KINDS_COUNT (sizeof(SAMPLE_KINDS) / sizeof(SAMPLE_KINDS[0]))

#endif
