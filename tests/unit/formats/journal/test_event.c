/*
 * test_event.c - events: every kind there and back, every rule broken once
 */
#include "tests/lib/golden.h"
#include "tests/lib/sample_events.h"

#include "formats/journal/journal.h"

#include "formats/base/banned.h"

static void must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void encode(const struct nj_event *event, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_done(out); /* of an earlier event */
    nj_buf_init(out, 1u << 20);
    must(nj_event_encode(event, out, &err), &err);
}

static void every_kind_is_what_its_golden_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_KINDS_COUNT; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        struct nj_event event = sample_event(SAMPLE_KINDS[i]);
        char name[64];

        encode(&event, &bytes);
        (void)snprintf(name, sizeof(name), "event/v0/%s.msgpack", nj_event_kind_text(event.kind));
        golden_check(name, nj_buf_span(&bytes));
    }
}

static void decoding_and_encoding_again_gives_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_KINDS_COUNT; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, again = {0};
        struct nj_event event = sample_event(SAMPLE_KINDS[i]), decoded;
        struct nj_error err = {0};

        encode(&event, &bytes);
        must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
        assert_int_equal(decoded.kind, event.kind);
        assert_int_equal(decoded.time_ns, event.time_ns);
        assert_int_equal(decoded.attempt, event.attempt);
        encode(&decoded, &again);
        assert_true(nj_span_equal(nj_buf_span(&bytes), nj_buf_span(&again)));
    }
}

/* Equal bytes prove nothing about fields that both directions mix up, so some are looked at. */
static void fields_arrive_where_they_belong(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_event event = sample_event(NJ_EVENT_TOOL_DONE), decoded;
    struct nj_error err = {0};

    (void)state;
    encode(&event, &bytes);
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_int_equal(decoded.tool_done.call, 1);
    assert_int_equal(decoded.tool_done.turn, 5);
    assert_true(nj_span_is(decoded.tool_done.id, "call_7"));
    assert_int_equal(decoded.tool_done.outcome.exit, NJ_EXIT_SIGNALLED);
    assert_int_equal(decoded.tool_done.outcome.status, 9);
    assert_int_equal(decoded.tool_done.outcome.limit, NJ_LIMIT_MEMORY);
    assert_int_equal(decoded.tool_done.outcome.limit_value, 2147483648u);
    assert_true(nj_span_is(decoded.tool_done.outcome.out.tail, "last\xff"));
    assert_true(nj_span_is(decoded.tool_done.outcome.errors.head, "Killed\n"));
    assert_true(nj_digest_equal(&decoded.tool_done.outcome.tree, &event.tool_done.outcome.tree));
    assert_true(nj_digest_equal(&decoded.tool_done.meta.stamps, &event.tool_done.meta.stamps));
    assert_int_equal(decoded.tool_done.meta.cpu_ms, 1400);
    assert_int_equal(decoded.tool_done.meta.limit_used, 2147483649u);

    nj_buf_done(&bytes);
    event = sample_event(NJ_EVENT_REPLY);
    encode(&event, &bytes);
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_int_equal(decoded.reply.usage.cache_read_tokens, 700);
    assert_int_equal(decoded.reply.usage.cache_write_5m_tokens, 80);
    assert_int_equal(decoded.reply.usage.cache_write_1h_tokens, 20);
    assert_int_equal(decoded.reply.usage.input_tokens, 900);
    assert_int_equal(decoded.reply.cost_micro_usd, 3300);
    assert_int_equal(decoded.reply.stop, NJ_STOP_TOOLS);
    assert_true(nj_digest_equal(&decoded.reply.request, &event.reply.request));
    assert_int_equal(decoded.reply.message_bytes.len, 0);

    nj_buf_done(&bytes);
    event = sample_event(NJ_EVENT_OPENED);
    encode(&event, &bytes);
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_memory_equal(decoded.opened.seed, event.opened.seed, 32);
    assert_true(nj_digest_equal(&decoded.opened.first, &event.opened.first));
    assert_true(nj_digest_equal(&decoded.opened.stamps, &event.opened.stamps));
    assert_true(nj_span_is(decoded.opened.agent, "data-processor"));
}

static void the_body_has_no_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_KINDS_COUNT; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, later = {0};
        struct nj_event event = sample_event(SAMPLE_KINDS[i]);

        encode(&event, &bytes);
        event.time_ns = -5;
        event.attempt += 2;
        encode(&event, &later);
        assert_false(nj_span_equal(nj_buf_span(&bytes), nj_buf_span(&later)));
        assert_true(nj_event_body(nj_buf_span(&bytes)).len > 0);
        assert_true(
            nj_span_equal(nj_event_body(nj_buf_span(&bytes)), nj_event_body(nj_buf_span(&later))));
    }
}

static void an_answer_tells_its_place_in_the_chain_and_what_was_reserved(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, again = {0};
    struct nj_event event = sample_event(NJ_EVENT_REPLY), decoded;
    struct nj_error err = {0};

    (void)state;
    event.answer.place = 2;
    event.answer.began = 1;
    event.answer.reserved_micro_usd = 51000;
    encode(&event, &bytes);
    golden_check("event/v0/reply-of-a-later-model.msgpack", nj_buf_span(&bytes));
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_int_equal(decoded.answer.place, 2);
    assert_int_equal(decoded.answer.began, 1);
    assert_int_equal(decoded.answer.reserved_micro_usd, 51000);
    encode(&decoded, &again);
    assert_true(nj_span_equal(nj_buf_span(&bytes), nj_buf_span(&again)));
}

static void what_the_reproducible_layer_reached_is_kept(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, again = {0};
    struct nj_event event = sample_event(NJ_EVENT_TOOL_DONE), decoded;
    char names[NJ_FIGURES_TEXT_BYTES];
    struct nj_error err = {0};

    (void)state;
    event.tool_done.meta.applied = 2;
    event.tool_done.meta.level = 1;
    event.tool_done.meta.clock_ns = 1790000000300000000;
    event.tool_done.meta.lowered = NJ_LOWERED_LOST;
    encode(&event, &bytes);
    golden_check("event/v0/tool-done-lowered.msgpack", nj_buf_span(&bytes));
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_false(decoded.tool_done.meta.has_ran);
    event.tool_done.meta.has_ran = true;
    event.tool_done.meta.ran = sample_digest(0x51);
    encode(&event, &bytes);
    golden_check("event/v0/tool-done-ran.msgpack", nj_buf_span(&bytes));
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_int_equal(decoded.tool_done.meta.applied, 2);
    assert_int_equal(decoded.tool_done.meta.level, 1);
    assert_true(decoded.tool_done.meta.clock_ns == 1790000000300000000);
    assert_int_equal(decoded.tool_done.meta.lowered, NJ_LOWERED_LOST);
    assert_true(decoded.tool_done.meta.has_ran);
    assert_true(nj_digest_equal(&decoded.tool_done.meta.ran, &event.tool_done.meta.ran));
    encode(&decoded, &again);
    assert_true(nj_span_equal(nj_buf_span(&bytes), nj_buf_span(&again)));
    assert_int_equal(decoded.tool_done.meta.figures, 0);
    event.tool_done.meta.figures = NJ_FIGURE_STAT | NJ_FIGURE_MOUNTS | UINT32_C(1) << 31;
    encode(&event, &bytes);
    golden_check("event/v0/tool-done-figures.msgpack", nj_buf_span(&bytes));
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    nj_figures_text(decoded.tool_done.meta.figures, names);
    assert_string_equal(names, "stat, mounts");
    assert_true(decoded.tool_done.meta.figures == event.tool_done.meta.figures);
    nj_figures_text(NJ_FIGURE_UNHEARD, names);
    assert_string_equal(names, "");
    nj_figures_text(NJ_FIGURES_MAX, names);
    assert_non_null(strstr(names, "gid_map, autogroup, fdinfo, maps"));
    event.tool_done.meta.figures = 0;
    assert_false(decoded.tool_done.meta.has_order);
    event.tool_done.meta.applied = event.tool_done.meta.level = NJ_LEVEL_MAX;
    event.tool_done.meta.lowered = NJ_LOWERED_NONE;
    event.tool_done.meta.has_order = true;
    event.tool_done.meta.order = sample_digest(0x61);
    encode(&event, &bytes);
    golden_check("event/v0/tool-done-order.msgpack", nj_buf_span(&bytes));
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_true(decoded.tool_done.meta.has_order);
    assert_true(nj_digest_equal(&decoded.tool_done.meta.order, &event.tool_done.meta.order));
}

static void outputs_are_optional(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_event event = sample_event(NJ_EVENT_CLOSED), decoded;
    struct nj_error err = {0};

    (void)state;
    event.closed.has_outputs = false;
    encode(&event, &bytes);
    must(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), &err);
    assert_false(decoded.closed.has_outputs);
}

static void unknown_keys_are_passed_over(void **state)
{
    static const uint8_t bytes[] = {
        0x84, 0xa4, 'b', 'o',  'd',  'y',  0x81, 0xa5, 'l', 'a',
        't',  'e',  'r', 1,    0xa4, 'k',  'i',  'n',  'd', NJ_EVENT_RESUMED,
        0xa4, 'm',  'e', 't',  'a',  0x82, 0xa7, 'a',  't', 't',
        'e',  'm',  'p', 't',  1,    0xa7, 't',  'i',  'm', 'e',
        '_',  'n',  's', 0xff, 0xa4, 'm',  'o',  'r',  'e', 0xc0};
    struct nj_error err = {0};
    struct nj_event event;

    (void)state;
    must(nj_event_decode((struct nj_span){bytes, sizeof(bytes)}, &event, &err), &err);
    assert_int_equal(event.kind, NJ_EVENT_RESUMED);
    assert_int_equal(event.time_ns, -1);
}

/* ---- what must not be written ---- */

static void not_encoded(struct nj_event event, const char *words)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error err = {0};

    nj_buf_init(&bytes, 1u << 20);
    assert_int_equal(nj_event_encode(&event, &bytes, &err), -NJ_E_INPUT);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_int_equal(bytes.len, 0);
}

static void impossible_events_are_not_written(void **state)
{
    struct nj_event event = {.kind = NJ_EVENT_SNAPSHOTTED};

    (void)state;
    not_encoded(event, "not a kind of event that is stored");
    event.kind = (enum nj_event_kind)99;
    not_encoded(event, "event ?: not a kind");
    event = sample_event(NJ_EVENT_NO_REPLY);
    event.no_reply.text = nj_span_text("\xff");
    not_encoded(event, "event no-reply: a string is not UTF-8");
    event = sample_event(NJ_EVENT_REPLY);
    event.reply.stop = (enum nj_stop)7;
    not_encoded(event, "no such stop reason");
    event = sample_event(NJ_EVENT_CLOSED);
    event.closed.status = (enum nj_status)5;
    not_encoded(event, "no such status");
    event = sample_event(NJ_EVENT_BOX);
    event.box.change = (enum nj_box_change)0;
    not_encoded(event, "no such change of a box");
    event = sample_event(NJ_EVENT_TOOL_DONE);
    event.tool_done.outcome.limit = (enum nj_limit)6;
    not_encoded(event, "no such limit");
    event = sample_event(NJ_EVENT_TOOL_DONE);
    event.tool_done.outcome.exit = (enum nj_exit_kind)4;
    not_encoded(event, "no such way to end a call");
    event.tool_done.outcome.exit = NJ_EXIT_SIGNALLED;
    event.tool_done.outcome.status = 65;
    not_encoded(event, "a signal is 1 to 64");
    event.tool_done.outcome.exit = NJ_EXIT_EXITED;
    event.tool_done.outcome.status = 256;
    not_encoded(event, "an exit status is 0 to 255");
    event.tool_done.outcome.status = -1;
    not_encoded(event, "an exit status is 0 to 255");
    event.tool_done.outcome.exit = NJ_EXIT_REFUSED;
    event.tool_done.outcome.status = 1;
    not_encoded(event, "a refused call has status 0");
    event = sample_event(NJ_EVENT_TOOL_DONE);
    event.tool_done.meta.has_ran = true;
    not_encoded(event, "what ran is told by the reproducible layer");
    event.tool_done.meta.has_ran = false;
    event.tool_done.meta.figures = NJ_FIGURE_STAT;
    not_encoded(event, "what ran is told by the reproducible layer");
    event.tool_done.meta.figures = 0;
    event.tool_done.meta.has_order = true;
    not_encoded(event, "the order of outputs is told at level 3");
    event.tool_done.meta.has_order = false;
    event.tool_done.meta.applied = 4;
    not_encoded(event, "no such level");
    event.tool_done.meta.applied = 1;
    event.tool_done.meta.level = 2;
    not_encoded(event, "a call reaches at most the level that is applied");
    event.tool_done.meta.level = 1;
    event.tool_done.meta.clock_ns = -1;
    not_encoded(event, "the clock shows no time");
    event.tool_done.meta.clock_ns = NJ_CLOCK_MAX_NS + 1;
    not_encoded(event, "the clock shows no time");
    event.tool_done.meta.clock_ns = 0;
    event.tool_done.meta.lowered = (enum nj_lowered)(NJ_LOWERED_MAX + 1);
    not_encoded(event, "no such reason for a lower level");
    event = sample_event(NJ_EVENT_JUDGED);
    event.judged.outcome.errors.bytes = 6;
    not_encoded(event, "head and tail are longer than the stream");
    event = sample_event(NJ_EVENT_JUDGED);
    event.judged.outcome.out.bytes = 16;
    not_encoded(event, "head and tail are longer than the stream");
}

/* ---- what must not be read ---- */

/* changed - the sample of @kind with the first @from replaced by @to of the same length */
static void changed(enum nj_event_kind kind, const char *golden, const void *from, const void *to,
                    size_t len, const char *words)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_event event = sample_event(kind), decoded = {.kind = NJ_EVENT_BOX};
    struct nj_error err = {0};
    uint8_t *at;

    encode(&event, &bytes);
    at = memmem(bytes.data, bytes.len, from, len);
    assert_non_null(at);
    memcpy(at, to, len);
    if (golden) {
        char name[96];

        (void)snprintf(name, sizeof(name), "event/damaged/%s.msgpack", golden);
        golden_check(name, nj_buf_span(&bytes));
    }
    assert_int_equal(nj_event_decode(nj_buf_span(&bytes), &decoded, &err), -NJ_E_CORRUPT);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_int_equal(decoded.kind, NJ_EVENT_BOX); /* outputs are untouched on failure */
}

static void impossible_events_are_not_read(void **state)
{
    (void)state;
    changed(NJ_EVENT_RESUMED, "kind-snapshotted", "kind\x13", "kind\x20", 5,
            "event: no kind of event has the number 32");
    changed(NJ_EVENT_RESUMED, "kind-unknown", "kind\x13", "kind\x0f", 5, "has the number 15");
    changed(NJ_EVENT_RESUMED, "kind-missing", "kind", "kinf", 4, "event.kind: missing");
    changed(NJ_EVENT_RESUMED, "body-missing", "body", "aody", 4, "event.body: missing");
    changed(NJ_EVENT_RESUMED, "meta-missing", "meta", "metb", 4, "event.meta: missing");
    changed(NJ_EVENT_RESUMED, NULL, "attempt", "attempu", 7, "event.meta.attempt: missing");
    changed(NJ_EVENT_REPLY, "stop-unknown", "stop\x02", "stop\x07", 5,
            "event.body: reply: no such stop reason");
    changed(NJ_EVENT_REPLY, NULL, "stop\x02", "stop\xc0", 5, "event.body.stop: not an integer");
    changed(NJ_EVENT_REPLY, "usage-without-input", "input", "inpuu", 5,
            "event.body.usage.input: missing");
    changed(NJ_EVENT_REPLY, NULL, "duration_ms", "duration_mt", 11,
            "event.meta.duration_ms: missing");
    changed(NJ_EVENT_CLOSED, "status-unknown", "status\x02", "status\x05", 7, "no such status");
    changed(NJ_EVENT_BOX, "change-unknown", "change\x03", "change\x05", 7, "no such change");
    changed(NJ_EVENT_TOOL_DONE, "exit-unknown", "exit\x02", "exit\x04", 5,
            "no such way to end a call");
    changed(NJ_EVENT_TOOL_DONE, "limit-unknown", "limit\x03", "limit\x06", 6, "no such limit");
    changed(NJ_EVENT_TOOL_DONE, "signal-0", "status\x09", "status\x00", 7, "a signal is 1 to 64");
    changed(NJ_EVENT_TOOL_DONE, "head-longer-than-stream", "bytes\x07", "bytes\x06", 6,
            "head and tail are longer");
    changed(NJ_EVENT_TOOL_DONE, NULL, "digest\xc4\x20", "digesu\xc4\x20", 8,
            "event.body.outcome.errors.digest: missing");
    changed(NJ_EVENT_JUDGED, "accepted-a-number", "accepted\xc3", "accepted\x01", 9,
            "event.body.accepted: not a boolean");
    changed(NJ_EVENT_JUDGED, "keys-out-of-order", "accepted", "saccepte", 8,
            "not unique and ascending");
    changed(NJ_EVENT_OPENED, "text-not-utf8", "invoice-0041", "invoice-004\xff", 12, "not UTF-8");
    changed(NJ_EVENT_OPENED, NULL, "seed", "seee", 4, "event.meta.seed: missing");
}

static void a_seed_has_32_bytes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, shorter = {0};
    struct nj_event event = sample_event(NJ_EVENT_OPENED);
    struct nj_error err = {0};
    size_t at;

    (void)state;
    encode(&event, &bytes);
    at = (size_t)((uint8_t *)memmem(bytes.data, bytes.len, "seed\xc4\x20", 6) - bytes.data) + 6;
    nj_buf_init(&shorter, 1u << 20);
    must(nj_buf_append(&shorter, bytes.data, at, &err), &err);
    shorter.data[at - 1] = 31;
    must(nj_buf_append(&shorter, bytes.data + at + 1, bytes.len - at - 1, &err), &err);
    assert_int_equal(nj_event_decode(nj_buf_span(&shorter), &event, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "event.meta: seed has 31 bytes, not 32"));
}

static void every_cut_of_an_event_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_KINDS_COUNT; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        struct nj_event event = sample_event(SAMPLE_KINDS[i]);
        struct nj_error err = {0};

        encode(&event, &bytes);
        for (size_t cut = 0; cut < bytes.len; cut++)
            assert_int_equal(nj_event_decode((struct nj_span){bytes.data, cut}, &event, &err),
                             -NJ_E_CORRUPT);
    }
}

/* ---- names and digests ---- */

static void every_number_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(nj_event_kind_text(NJ_EVENT_TOOL_DONE), "tool-done");
    assert_string_equal(nj_event_kind_text((enum nj_event_kind)0), "?");
    assert_string_equal(nj_stop_text(NJ_STOP_CONTEXT_FULL), "model_context_window_exceeded");
    assert_string_equal(nj_stop_text((enum nj_stop)0), "?");
    assert_string_equal(nj_limit_key(NJ_LIMIT_DISK), "max_size_mb");
    assert_string_equal(nj_limit_key((enum nj_limit)77), "?");
    assert_string_equal(nj_status_text(NJ_STATUS_SKIPPED), "skipped");
    assert_string_equal(nj_status_text(NJ_STATUS_SUSPENDED), "suspended");
    assert_string_equal(nj_status_text((enum nj_status)0), "?");
    assert_true(nj_event_is_content(NJ_EVENT_CLOSED));
    assert_false(nj_event_is_content(NJ_EVENT_ATTEMPT));
    assert_false(nj_event_is_content((enum nj_event_kind)0));
}

/* add - fold @event in as frame @sequence */
static void add(struct nj_record_digests *digests, struct nj_event event, uint64_t sequence)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_frame frame = {.kind = NJ_FRAME_EVENT, .session = 1, .sequence = sequence};
    struct nj_error err = {0};

    encode(&event, &bytes);
    frame.payload = nj_buf_span(&bytes);
    must(nj_record_digests_add(digests, &frame, &err), &err);
}

static void a_killed_and_resumed_run_has_the_same_content_digest(void **state)
{
    struct nj_record_digests straight = {0}, resumed = {0}, other = {0};
    struct nj_event opened = sample_event(NJ_EVENT_OPENED);
    struct nj_event done = sample_event(NJ_EVENT_TOOL_DONE);

    (void)state;
    add(&straight, opened, 1);
    add(&straight, done, 2);

    add(&resumed, opened, 1);
    add(&resumed, sample_event(NJ_EVENT_BOX), 2);
    add(&resumed, sample_event(NJ_EVENT_RESUMED), 3);
    done.time_ns++;
    done.attempt = 2;
    done.tool_done.meta.duration_ms = 1;
    add(&resumed, done, 4);
    assert_true(nj_digest_equal(&straight.content, &resumed.content));
    assert_false(nj_digest_equal(&straight.record, &resumed.record));

    add(&other, opened, 1);
    done.tool_done.outcome.out.bytes++;
    add(&other, done, 2);
    assert_false(nj_digest_equal(&straight.content, &other.content));
}

static void only_sequenced_frames_are_digested(void **state)
{
    struct nj_record_digests digests = {0}, before;
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT, .session = 1, .payload = nj_span_text("x")};
    struct nj_error err = {0};
    struct nj_digest expected = {0};

    (void)state;
    must(nj_record_digests_add(&digests, &frame, &err), &err);
    assert_memory_equal(&digests, &(struct nj_record_digests){0}, sizeof(digests));
    frame =
        (struct nj_frame){.kind = NJ_FRAME_SNAPSHOT, .sequence = 7, .payload = nj_span_text("x")};
    must(nj_record_digests_add(&digests, &frame, &err), &err);
    nj_digest_chain(&expected, "snapshot:7", nj_span_text("x"));
    assert_true(nj_digest_equal(&digests.record, &expected));
    before = digests;
    frame.kind = NJ_FRAME_EVENT;
    assert_int_equal(nj_record_digests_add(&digests, &frame, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "frame 7: event"));
    assert_memory_equal(&digests, &before, sizeof(digests));
}

static void the_document_shows_an_event(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, hex = {0};
    struct nj_event event = sample_event(NJ_EVENT_SUSPENDED);

    (void)state;
    encode(&event, &bytes);
    hex_lines(nj_buf_span(&bytes), &hex);
    document_shows("formats/journal/FORMAT.md", (char *)hex.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_what_its_golden_says),
        cmocka_unit_test(decoding_and_encoding_again_gives_the_same_bytes),
        cmocka_unit_test(fields_arrive_where_they_belong),
        cmocka_unit_test(the_body_has_no_times),
        cmocka_unit_test(an_answer_tells_its_place_in_the_chain_and_what_was_reserved),
        cmocka_unit_test(what_the_reproducible_layer_reached_is_kept),
        cmocka_unit_test(outputs_are_optional),
        cmocka_unit_test(unknown_keys_are_passed_over),
        cmocka_unit_test(impossible_events_are_not_written),
        cmocka_unit_test(impossible_events_are_not_read),
        cmocka_unit_test(a_seed_has_32_bytes),
        cmocka_unit_test(every_cut_of_an_event_is_refused),
        cmocka_unit_test(every_number_has_its_name),
        cmocka_unit_test(a_killed_and_resumed_run_has_the_same_content_digest),
        cmocka_unit_test(only_sequenced_frames_are_digested),
        cmocka_unit_test(the_document_shows_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
