/*
 * show.c - the timeline as text
 */
#include "replay/show.h"

#include <inttypes.h>

#include "batch/report/text.h"
#include "replay/divergence.h"
#include "replay/render.h"
#include "replay/show_inside.h"

#include "formats/base/banned.h"

#define EXCERPT_MAX_BYTES 160
#define COLUMNS_MAX_BYTES 128
#define INDENT "                                      " /* below "what" */
#define INDENT_COLUMNS (sizeof(INDENT) - 1)
#define WRAP_COLUMNS_MIN 60 /* in a narrower terminal a column of words would be left */

void nj_show_done(struct nj_show *show)
{
    nj_calls_done(&show->calls);
    show->calls_turn = 0;
}

void nj_shown_done(struct nj_shown *shown)
{
    nj_buf_done(&shown->buf);
}

/* ---- loading ---- */

/* Rows come in order, so the calls of a turn are mostly at hand; a reply that cannot be read tells
 * when it is shown. */
static void keep_calls(struct nj_show *show, const struct nj_event *event)
{
    struct nj_calls calls = {0};
    struct nj_error ignored = {0};

    if (nj_message_calls(event->reply.message_bytes, &calls, &ignored) < 0)
        return;
    nj_show_done(show);
    show->calls = calls;
    show->calls_turn = event->reply.turn;
}

static int load_call(struct nj_show *show, const struct nj_row *row, struct nj_shown *shown,
                     struct nj_error *err)
{
    if (show->calls_turn != row->turn) {
        struct nj_calls calls = {0};

        if (nj_timeline_calls(show->timeline, row->turn, &calls, err) < 0)
            return -(int)err->code;
        nj_show_done(show);
        show->calls = calls;
        show->calls_turn = row->turn;
    }
    if (row->call >= show->calls.count)
        return nj_fail(err, NJ_E_CORRUPT,
                       "turn %" PRIu64 " asked for %zu calls, not for a call %" PRIu64, row->turn,
                       show->calls.count, row->call + 1);
    shown->call = &show->calls.items[row->call];
    return 0;
}

int nj_shown_load(struct nj_show *show, const struct nj_row *row, struct nj_shown *shown,
                  struct nj_error *err)
{
    bool changes = row->kind == NJ_EVENT_OPENED || row->kind == NJ_EVENT_TOOL_DONE ||
                   row->kind == NJ_EVENT_JUDGED;
    int r;

    nj_buf_init(&shown->buf, NJ_TIMELINE_EVENT_MAX_BYTES);
    r = nj_timeline_event(show->timeline, row, &shown->buf, &shown->event, &shown->first, err);
    if (r < 0)
        return r;
    if (row->kind == NJ_EVENT_REPLY)
        keep_calls(show, &shown->event);
    if (row->kind == NJ_EVENT_TOOL_DONE)
        r = load_call(show, row, shown, err);
    if (r == 0 && changes) {
        r = nj_timeline_changes(show->timeline, row, &shown->changes, err);
        shown->has_changes = r == 0;
    }
    return show->salvage ? 0 : r; /* what is lost is simply not told */
}

const struct nj_call_outcome *nj_shown_outcome(const struct nj_shown *shown)
{
    if (shown->event.kind == NJ_EVENT_TOOL_DONE)
        return &shown->event.tool_done.outcome;
    return shown->event.kind == NJ_EVENT_JUDGED ? &shown->event.judged.outcome : NULL;
}

const struct nj_call_meta *nj_shown_meta(const struct nj_shown *shown)
{
    if (shown->event.kind == NJ_EVENT_TOOL_DONE)
        return &shown->event.tool_done.meta;
    return shown->event.kind == NJ_EVENT_JUDGED ? &shown->event.judged.meta : NULL;
}

bool nj_show_ran(const struct nj_show *show, const struct nj_shown *shown, struct nj_buf *bytes,
                 struct nj_arena *arena, struct nj_ran *ret_ran)
{
    struct nj_object_source source = nj_record_objects(show->timeline->record);
    const struct nj_call_meta *meta = nj_shown_meta(shown);
    struct nj_error ignored = {0};

    nj_buf_init(bytes, NJ_OBJECT_MAX_BYTES);
    return meta && meta->has_ran &&
           nj_object_get(&source, NJ_OBJECT_BLOB, &meta->ran, bytes, &ignored) == 0 &&
           nj_ran_decode(nj_buf_span(bytes), arena, ret_ran, &ignored) == 0;
}

uint64_t nj_shown_offset_ms(const struct nj_show *show, const struct nj_row *row)
{
    int64_t ns;

    if (__builtin_sub_overflow(row->time_ns, show->timeline->rows[0].time_ns, &ns) || ns < 0)
        return 0;
    return (uint64_t)ns / 1000000;
}

void nj_show_count(const struct nj_show *show, struct nj_counts *ret_counts)
{
    struct nj_counts counts = {0};

    for (size_t i = 0; i < show->timeline->n_rows; i++) {
        const struct nj_row *row = &show->timeline->rows[i];

        counts.replies += row->kind == NJ_EVENT_REPLY;
        counts.calls += row->kind == NJ_EVENT_TOOL_DONE;
        counts.checks += row->kind == NJ_EVENT_JUDGED;
        counts.cost_micro_usd += row->cost_micro_usd;
        counts.lost_micro_usd += row->kind == NJ_EVENT_REPLY ? 0 : row->cost_micro_usd;
        counts.time_last_ns = row->time_ns;
    }
    *ret_counts = counts;
}

/* ---- the session ---- */

static int field(struct nj_buf *out, const char *name, const char *value, struct nj_error *err)
{
    if (!value || !value[0])
        return 0;
    if (nj_buf_printf(out, err, "%-10s", name) < 0 ||
        nj_render_line(out, nj_span_text(value), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

/* What the agent declares, and whether its boxes were built for it (at D0 there is nothing to
 * build); what was reached, verify tells. */
static int field_level(struct nj_buf *out, const struct nj_session_config *config,
                       struct nj_error *err)
{
    bool as_declared = config->layer > 0 || strcmp(config->reproducible, "D0") == 0;

    if (nj_buf_text(out, "level     ", err) < 0 ||
        nj_render_line(out, nj_span_text(config->reproducible), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, as_declared ? ", as declared\n" : ", declared, not applied\n", err);
}

static int field_digest(struct nj_buf *out, const char *name, const struct nj_digest *digest,
                        struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    return field(out, name, hex, err);
}

static int put_cost(const struct nj_counts *counts, struct nj_buf *out, struct nj_error *err)
{
    if (nj_render_money(out, counts->cost_micro_usd, err) < 0)
        return -(int)err->code;
    if (counts->lost_micro_usd == 0)
        return 0;
    if (nj_buf_text(out, ", of it ", err) < 0 ||
        nj_render_money(out, counts->lost_micro_usd, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, " without a reply", err);
}

static int field_totals(struct nj_show *show, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_row *first = &show->timeline->rows[0];
    struct nj_counts counts;
    struct nj_row last = *first;

    nj_show_count(show, &counts);
    last.time_ns = counts.time_last_ns;
    if (nj_buf_printf(
            out, err,
            "steps     %zu: %" PRIu64 " %s, %" PRIu64 " call%s, %" PRIu64 " check%s\ncost      ",
            show->timeline->n_steps, counts.replies, counts.replies == 1 ? "reply" : "replies",
            counts.calls, nj_plural(counts.calls), counts.checks, nj_plural(counts.checks)) < 0 ||
        put_cost(&counts, out, err) < 0 || nj_buf_text(out, "\nbegan     ", err) < 0 ||
        nj_render_time(out, first->time_ns, err) < 0 || nj_buf_text(out, ", took ", err) < 0 ||
        nj_render_duration(out, nj_shown_offset_ms(show, &last), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int header(struct nj_show *show, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_timeline *timeline = show->timeline;
    const struct nj_bundle_info *info = nj_record_info(timeline->record);

    if (field(out, "session", info->key, err) < 0 || field(out, "group", info->group, err) < 0 ||
        field(out, "agent", info->agent, err) < 0 || field(out, "job", info->job, err) < 0 ||
        field(out, "run", info->run, err) < 0 ||
        field(out, "status", info->status ? nj_status_text(info->status) : "not ended", err) < 0 ||
        field_level(out, timeline->config, err) < 0 || field_totals(show, out, err) < 0 ||
        field_digest(out, "identity", &info->identity, err) < 0 ||
        field_digest(out, "content", &info->digests.content, err) < 0 ||
        field_digest(out, "record", &info->digests.record, err) < 0 ||
        field(out, "damage", nj_record_damage(timeline->record), err) < 0 ||
        field(out, "lost", timeline->damage, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n step       at     took       cost  what\n", err);
}

int nj_show_session(struct nj_show *show, struct nj_buf *out, struct nj_error *err)
{
    return show->json ? nj_show_session_json(show, out, err) : header(show, out, err);
}

/* ---- rows ---- */

/* The beginning of @text on one line; whole characters only. */
static int excerpt(struct nj_buf *out, struct nj_span text, struct nj_error *err)
{
    struct nj_span shown = text;

    while (shown.len > 0 && (shown.data[shown.len - 1] == '\n' || shown.data[shown.len - 1] == ' '))
        shown.len--;
    if (shown.len > EXCERPT_MAX_BYTES) {
        shown.len = EXCERPT_MAX_BYTES;
        while (shown.len > 0 && (shown.data[shown.len] & 0xc0) == 0x80)
            shown.len--;
        if (nj_render_line(out, shown, err) < 0)
            return -(int)err->code;
        return nj_buf_text(out, " ...", err);
    }
    return nj_render_line(out, shown, err);
}

static int excerpt_message(struct nj_buf *out, struct nj_span item, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (item.len && nj_message_text(item, &text, err) < 0)
        return -(int)err->code;
    return excerpt(out, nj_buf_span(&text), err);
}

static int say_opened(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_printf(out, err,
                      "opened with %" PRIu64 " files and folders: ", shown->changes.added) < 0)
        return -(int)err->code;
    return excerpt_message(out, shown->first, err);
}

/* Which of its chain a model was, where that was not the first one, as it is mostly. */
int nj_show_place(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_event_answer *answer = &event->answer;

    if (answer->place == 0 && answer->began == 0)
        return 0;
    if (nj_buf_printf(out, err, ", model %" PRIu64 " of its chain", answer->place + 1) < 0)
        return -(int)err->code;
    if (answer->began == 0)
        return 0;
    return nj_buf_printf(out, err, ", the turn began at %" PRIu64 ", where the session stayed",
                         answer->began + 1);
}

static int say_reply(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    const struct nj_event *event = &shown->event;
    size_t said;

    if (nj_buf_printf(out, err, "reply of turn %" PRIu64 " (", event->reply.turn) < 0 ||
        nj_render_line(out, event->reply.model, err) < 0 || nj_show_place(event, out, err) < 0 ||
        nj_buf_printf(out, err, ", %s): ", nj_stop_text(event->reply.stop)) < 0)
        return -(int)err->code;
    said = out->len;
    if (excerpt_message(out, event->reply.message_bytes, err) < 0 ||
        nj_message_calls(event->reply.message_bytes, &calls, err) < 0)
        return -(int)err->code;
    if (calls.count > 0)
        return nj_buf_printf(out, err, "%s[%zu call%s]", out->len > said ? " " : "", calls.count,
                             calls.count == 1 ? "" : "s");
    return 0;
}

static int say_stream(const char *name, const struct nj_stream *stream, struct nj_buf *out,
                      struct nj_error *err)
{
    if (stream->bytes == 0)
        return 0;
    if (nj_buf_printf(out, err, "\n%s  %s: ", INDENT, name) < 0 ||
        excerpt(out, stream->head, err) < 0)
        return -(int)err->code;
    return 0;
}

static int say_outcome(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_call_outcome *outcome = nj_shown_outcome(shown);
    const struct nj_changes *changes = &shown->changes;

    if (nj_buf_printf(out, err, "\n%s  ", INDENT) < 0 || nj_describe_exit(outcome, out, err) < 0)
        return -(int)err->code;
    if (changes->added + changes->modified + changes->deleted > 0 &&
        nj_buf_printf(out, err,
                      "; files: %" PRIu64 " added, %" PRIu64 " modified, %" PRIu64 " deleted",
                      changes->added, changes->modified, changes->deleted) < 0)
        return -(int)err->code;
    if (say_stream("out", &outcome->out, out, err) < 0)
        return -(int)err->code;
    return say_stream("err", &outcome->errors, out, err);
}

static int say_call(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *input = NULL;
    const char *code;

    if (nj_buf_printf(out, err, "call %" PRIu64 " of turn %" PRIu64 ", ",
                      shown->event.tool_done.call + 1, shown->event.tool_done.turn) < 0)
        return -(int)err->code;
    if (!shown->call)
        return nj_buf_text(out, "(its input is lost)", err);
    if (nj_render_line(out, nj_span_text(shown->call->name), err) < 0 ||
        nj_buf_text(out, ": ", err) < 0)
        return -(int)err->code;
    code = json_string_value(json_object_get(shown->call->input, "code"));
    if (!code) {
        input = json_dumps(shown->call->input, JSON_COMPACT | JSON_SORT_KEYS);
        if (!input)
            return nj_fail_nomem(err);
    }
    return excerpt(out, nj_span_text(code ? code : input), err);
}

static int say_closed(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_printf(out, err, "closed: %s: ", nj_status_text(event->closed.status)) < 0)
        return -(int)err->code;
    if (event->closed.status == NJ_STATUS_SUCCEEDED)
        return excerpt(out, event->closed.result, err);
    if (nj_render_line(out, event->closed.error_kind, err) < 0 || nj_buf_text(out, ": ", err) < 0)
        return -(int)err->code;
    return excerpt(out, event->closed.error_text, err);
}

static const char *box_text(enum nj_box_change change)
{
    switch (change) {
    case NJ_BOX_BUILT:
        return "built";
    case NJ_BOX_RESTORED:
        return "restored";
    case NJ_BOX_EVICTED:
        return "evicted";
    case NJ_BOX_LOST:
        return "lost";
    }
    return "?";
}

static int say_failed(const char *what, uint64_t turn, struct nj_span cause, struct nj_span text,
                      struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_printf(out, err, "%s in turn %" PRIu64 ": ", what, turn) < 0 ||
        nj_render_line(out, cause, err) < 0 || nj_buf_text(out, ": ", err) < 0)
        return -(int)err->code;
    return excerpt(out, text, err);
}

/* What a try cost that gave no reply. */
static int say_lost(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    if (nj_event_cost(event) == 0)
        return 0;
    if (nj_buf_text(out, " (cost ", err) < 0 || nj_render_money(out, nj_event_cost(event), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, ")", err);
}

static int say(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_event *event = &shown->event;

    switch (event->kind) {
    case NJ_EVENT_OPENED:
        return say_opened(shown, out, err);
    case NJ_EVENT_REPLY:
        return say_reply(shown, out, err);
    case NJ_EVENT_TOOL_DONE:
        if (say_call(shown, out, err) < 0)
            return -(int)err->code;
        return say_outcome(shown, out, err);
    case NJ_EVENT_JUDGED:
        if (nj_buf_printf(out, err, "check %" PRIu64 ": %s", event->judged.round,
                          event->judged.accepted ? "accepted" : "not accepted") < 0)
            return -(int)err->code;
        return say_outcome(shown, out, err);
    case NJ_EVENT_NO_REPLY:
        if (say_failed("no reply", event->no_reply.turn, event->no_reply.cause,
                       event->no_reply.text, out, err) < 0)
            return -(int)err->code;
        return say_lost(event, out, err);
    case NJ_EVENT_ATTEMPT:
        if (nj_render_line(out, event->attempt_failed.model, err) < 0 ||
            nj_buf_text(out, ": ", err) < 0)
            return -(int)err->code;
        if (say_failed("a failed attempt", event->attempt_failed.turn, event->attempt_failed.cause,
                       event->attempt_failed.text, out, err) < 0)
            return -(int)err->code;
        return say_lost(event, out, err);
    case NJ_EVENT_CLOSED:
        return say_closed(event, out, err);
    case NJ_EVENT_BOX:
        if (nj_buf_printf(out, err, "box %s%s", box_text(event->box.change),
                          event->box.text.len ? ": " : "") < 0)
            return -(int)err->code;
        return excerpt(out, event->box.text, err);
    case NJ_EVENT_SUSPENDED:
        if (nj_buf_text(out, "suspended: ", err) < 0)
            return -(int)err->code;
        return excerpt(out, event->suspended.reason, err);
    case NJ_EVENT_RESUMED:
        return nj_buf_text(out, "resumed", err);
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return 0;
}

static int columns(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                   struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf at = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf took = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf cost = {0};
    char step[24] = "";

    nj_buf_init(&at, COLUMNS_MAX_BYTES);
    nj_buf_init(&took, COLUMNS_MAX_BYTES);
    nj_buf_init(&cost, COLUMNS_MAX_BYTES);
    if (row->is_step)
        (void)snprintf(step, sizeof(step), "%" PRIu32, row->step);
    if (nj_buf_text(&at, "+", err) < 0 ||
        nj_render_duration(&at, nj_shown_offset_ms(show, row), err) < 0 ||
        nj_buf_text(&took, "", err) < 0 || nj_buf_text(&cost, "", err) < 0 ||
        (row->is_step && row->step > 0 && nj_render_duration(&took, row->duration_ms, err) < 0) ||
        (row->kind == NJ_EVENT_REPLY && nj_render_money(&cost, row->cost_micro_usd, err) < 0))
        return -(int)err->code;
    return nj_buf_printf(out, err, "%5s %8s %8s %10s  ", step, (const char *)at.data,
                         took.len ? (const char *)took.data : "",
                         cost.len ? (const char *)cost.data : "");
}

/* wrap - each line of @text, the rest of one below "what", or below what begins there */
static int wrap(struct nj_span text, size_t columns, struct nj_buf *out, struct nj_error *err)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        struct nj_span line = {text.data, end ? (size_t)(end - text.data) : text.len};
        size_t indent = 0;

        while (indent < line.len && line.data[indent] == ' ')
            indent++;
        indent = indent < INDENT_COLUMNS ? INDENT_COLUMNS : indent + 2;
        if (nj_text_wrap(out, line, columns, indent, err) < 0 || nj_buf_text(out, "\n", err) < 0)
            return -(int)err->code;
        text.data += line.len + (end ? 1 : 0);
        text.len -= line.len + (end ? 1 : 0);
    }
    return 0;
}

static int row_text(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                    struct nj_error *err)
{
    NJ_AUTO(nj_shown_done) struct nj_shown shown = {0};
    struct nj_error lost = {0};
    size_t start;

    if (columns(show, row, out, err) < 0)
        return -(int)err->code;
    start = out->len;
    if (nj_shown_load(show, row, &shown, &lost) < 0 || say(&shown, out, &lost) < 0) {
        if (!show->salvage) {
            *err = lost;
            return -(int)err->code;
        }
        out->len = start;
        if (nj_buf_printf(out, err, "%s (lost: ", nj_event_kind_text(row->kind)) < 0 ||
            nj_render_line(out, nj_span_text(lost.text), err) < 0 || nj_buf_text(out, ")", err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, "\n", err);
}

int nj_show_row(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r;

    nj_buf_init(&text, NJ_RENDER_MAX_BYTES);
    if (show->json)
        r = nj_show_row_json(show, row, false, out, err);
    else if (show->columns < WRAP_COLUMNS_MIN)
        r = row_text(show, row, out, err);
    else if ((r = row_text(show, row, &text, err)) == 0)
        r = wrap(nj_buf_span(&text), show->columns, out, err);
    return r < 0 ? nj_wrap(err, "frame %" PRIu64, row->sequence) : 0;
}

int nj_show_step(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                 struct nj_error *err)
{
    int r;

    if (show->json)
        r = nj_show_row_json(show, row, true, out, err);
    else
        r = nj_show_step_text(show, row, out, err);
    return r < 0 ? nj_wrap(err, "step %" PRIu32, row->step) : 0;
}
