/*
 * show_step.c - one step in full: what was asked, said, run, printed and changed
 */
#include <inttypes.h>

#include "replay/divergence.h"
#include "replay/render.h"
#include "replay/show_inside.h"

#include "formats/base/banned.h"

#define INDENT "    "

static int heading(struct nj_buf *out, const char *text, struct nj_error *err)
{
    return nj_buf_printf(out, err, "\n--- %s\n", text);
}

/* ---- inputs ---- */

static int say_value(const json_t *value, struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *text = NULL;

    if (json_is_string(value)) {
        struct nj_span span = {(const uint8_t *)json_string_value(value),
                               json_string_length(value)};

        if (!span.len || !memchr(span.data, '\n', span.len)) {
            if (nj_buf_text(out, " ", err) < 0 || nj_render_line(out, span, err) < 0)
                return -(int)err->code;
            return nj_buf_text(out, "\n", err);
        }
        if (nj_buf_text(out, "\n", err) < 0)
            return -(int)err->code;
        return nj_render_text(out, span, INDENT, err);
    }
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);
    if (!text)
        return nj_fail_nomem(err);
    if (nj_buf_text(out, " ", err) < 0 || nj_render_line(out, nj_span_text(text), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

/* Code is shown with its own line breaks: it is what the reader came for. */
static int say_input(const struct nj_call *call, struct nj_buf *out, struct nj_error *err)
{
    const char *key;
    json_t *value;

    if (nj_buf_text(out, "\n--- input of ", err) < 0 ||
        nj_render_line(out, nj_span_text(call->name), err) < 0 ||
        nj_buf_text(out, ", id ", err) < 0 ||
        nj_render_line(out, nj_span_text(call->id), err) < 0 || nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    json_object_foreach(call->input, key, value)
    {
        if (nj_render_line(out, nj_span_text(key), err) < 0 || nj_buf_text(out, ":", err) < 0 ||
            say_value(value, out, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* ---- outputs ---- */

static int say_stream(const char *name, const struct nj_stream *stream, struct nj_buf *out,
                      struct nj_error *err)
{
    uint64_t left_out = stream->bytes - stream->head.len - stream->tail.len;

    if (nj_buf_printf(out, err, "\n--- %s (%" PRIu64 " bytes)\n", name, stream->bytes) < 0 ||
        nj_render_text(out, stream->head, INDENT, err) < 0)
        return -(int)err->code;
    if (left_out > 0 &&
        nj_buf_printf(out, err, INDENT "[... %" PRIu64 " bytes left out ...]\n", left_out) < 0)
        return -(int)err->code;
    return nj_render_text(out, stream->tail, INDENT, err);
}

/* How far the reproducible layer reached, and when the call's own clock ended. */
static int say_level(const struct nj_call_meta *meta, struct nj_buf *out, struct nj_error *err)
{
    char names[NJ_FIGURES_TEXT_BYTES];

    if (meta->applied == 0)
        return 0;
    if (nj_buf_printf(out, err, "level D%u", meta->level) < 0)
        return -(int)err->code;
    if (meta->lowered != NJ_LOWERED_NONE &&
        nj_buf_printf(out, err, " of D%u (%s)", meta->applied, nj_lowered_text(meta->lowered)) < 0)
        return -(int)err->code;
    if (meta->clock_ns > 0 && (nj_buf_text(out, ", the box's clock ended at ", err) < 0 ||
                               nj_render_time(out, meta->clock_ns, err) < 0))
        return -(int)err->code;
    nj_figures_text(meta->figures, names);
    if (names[0] &&
        nj_buf_printf(out, err, "\nopened in /proc/PID, where figures are the kernel's: %s",
                      names) < 0)
        return -(int)err->code;
    if (meta->figures & NJ_FIGURE_UNHEARD &&
        nj_buf_text(out, "\nwhat programs opened in /proc/PID was not all heard", err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int say_outcome(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_call_outcome *outcome = nj_shown_outcome(shown);
    const struct nj_call_meta *meta = nj_shown_meta(shown);

    if (nj_buf_text(out, "\n--- ", err) < 0 || nj_describe_exit(outcome, out, err) < 0 ||
        nj_buf_text(out, "\ntook ", err) < 0 ||
        nj_render_duration(out, meta->duration_ms, err) < 0 ||
        nj_buf_text(out, ", cpu ", err) < 0 || nj_render_duration(out, meta->cpu_ms, err) < 0)
        return -(int)err->code;
    if (meta->memory_peak_bytes > 0 &&
        nj_buf_printf(out, err, ", memory peak %" PRIu64 " KiB", meta->memory_peak_bytes >> 10) < 0)
        return -(int)err->code;
    if (outcome->limit != NJ_LIMIT_NONE &&
        nj_buf_printf(out, err, ", limit %s: %" PRIu64 " used of %" PRIu64,
                      nj_limit_key(outcome->limit), meta->limit_used, outcome->limit_value) < 0)
        return -(int)err->code;
    if (nj_buf_text(out, "\n", err) < 0 || say_level(meta, out, err) < 0 ||
        say_stream("standard output", &outcome->out, out, err) < 0)
        return -(int)err->code;
    return say_stream("standard error", &outcome->errors, out, err);
}

/* ---- changes ---- */

struct changing {
    struct nj_buf *out;
    uint64_t count;
};

static int say_size(const struct nj_tree_entry *entry, struct nj_buf *out, struct nj_error *err)
{
    switch (entry->type) {
    case NJ_FILE_REGULAR:
        return nj_buf_printf(out, err, " (%" PRIu64 " bytes, mode %04o)", entry->size, entry->mode);
    case NJ_FILE_DIRECTORY:
        return nj_buf_printf(out, err, "/ (folder, mode %04o)", entry->mode);
    case NJ_FILE_SYMLINK:
    case NJ_FILE_HARDLINK:
        if (nj_buf_text(out, entry->type == NJ_FILE_SYMLINK ? " -> " : " = /", err) < 0)
            return -(int)err->code;
        return nj_render_name(out, entry->target, err);
    case NJ_FILE_FIFO:
        return nj_buf_text(out, " (FIFO)", err);
    case NJ_FILE_SOCKET:
        return nj_buf_text(out, " (socket)", err);
    }
    return 0;
}

static int say_change(void *ctx, const char *path, const struct nj_tree_entry *a,
                      const struct nj_tree_entry *b, struct nj_error *err)
{
    struct changing *changing = ctx;
    struct nj_buf *out = changing->out;

    changing->count++;
    if (nj_buf_printf(out, err, "  %c /",
                      !a   ? '+'
                      : !b ? '-'
                           : '~') < 0 ||
        nj_render_name(out, nj_span_text(path), err) < 0 || say_size(b ? b : a, out, err) < 0)
        return -(int)err->code;
    if (a && b && (nj_buf_text(out, ", was", err) < 0 || say_size(a, out, err) < 0))
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int say_changes(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                       struct nj_error *err)
{
    struct changing changing = {.out = out};

    if (heading(out, "files changed", err) < 0 ||
        nj_timeline_diff(show->timeline, row, say_change, &changing, err) < 0)
        return -(int)err->code;
    return changing.count ? 0 : nj_buf_text(out, "  none\n", err);
}

/* ---- replies ---- */

/* What the model was answering: the state before the reply, from the nearest snapshot. */
static int say_request(struct nj_show *show, const struct nj_row *row, const struct nj_event *event,
                       struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_session_free) struct nj_session *session = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_span last;

    if (nj_timeline_seek(show->timeline, row->sequence - 1, &session, err) < 0)
        return -(int)err->code;
    last = nj_session_last_message(session);
    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (last.len && nj_message_text(last, &text, err) < 0)
        return -(int)err->code;
    if (nj_buf_text(out, "\n--- request ", err) < 0 ||
        nj_render_digest(out, &event->reply.request, err) < 0 ||
        nj_buf_printf(out, err, "\nrole %s, %zu messages; the last:\n", session->config->role,
                      session->n_messages) < 0)
        return -(int)err->code;
    return nj_render_text(out, nj_buf_span(&text), INDENT, err);
}

/* What was received of a failed try; it may be half of anything. */
static int say_raw(struct nj_show *show, const struct nj_event *event, struct nj_buf *out,
                   struct nj_error *err)
{
    struct nj_object_source source = nj_record_objects(show->timeline->record);
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    struct nj_error lost = {0};

    if (!event->answer.has_raw)
        return 0;
    nj_buf_init(&raw, NJ_OBJECT_MAX_BYTES);
    if (source.get(source.ctx, &event->answer.raw, &raw, &lost) < 0)
        return nj_buf_text(out, "what was received of it is lost\n", err);
    if (nj_buf_printf(out, err, "received, %zu bytes:\n", raw.len) < 0)
        return -(int)err->code;
    return nj_render_text(out, nj_buf_span(&raw), INDENT, err);
}

static int say_request_id(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    if (event->answer.request_id.len == 0)
        return 0;
    if (nj_buf_text(out, "request id ", err) < 0 ||
        nj_render_line(out, event->answer.request_id, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

/* What a try cost, beside what budgets held for it. */
static int say_cost(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_text(out, "cost ", err) < 0 || nj_render_money(out, nj_event_cost(event), err) < 0)
        return -(int)err->code;
    if (event->answer.reserved_micro_usd == 0)
        return nj_buf_text(out, "\n", err);
    if (nj_buf_text(out, ", reserved ", err) < 0 ||
        nj_render_money(out, event->answer.reserved_micro_usd, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

/* The tries that failed before the reply. */
static int say_attempts(struct nj_show *show, const struct nj_row *reply, struct nj_buf *out,
                        struct nj_error *err)
{
    for (size_t i = 0; i < show->timeline->n_rows; i++) {
        const struct nj_row *row = &show->timeline->rows[i];
        NJ_AUTO(nj_shown_done) struct nj_shown shown = {0};
        const struct nj_event *event = &shown.event;

        if (row->kind != NJ_EVENT_ATTEMPT || row->turn != reply->turn)
            continue;
        if (nj_shown_load(show, row, &shown, err) < 0 ||
            nj_buf_printf(out, err, "\n--- failed attempt %" PRIu64 " of ", event->attempt) < 0 ||
            nj_render_line(out, event->attempt_failed.model, err) < 0 ||
            nj_show_place(event, out, err) < 0 || nj_buf_text(out, "\n", err) < 0 ||
            nj_render_line(out, event->attempt_failed.cause, err) < 0 ||
            nj_buf_text(out, ": ", err) < 0 ||
            nj_render_line(out, event->attempt_failed.text, err) < 0 ||
            nj_buf_text(out, "\n", err) < 0 || say_cost(event, out, err) < 0 ||
            say_request_id(event, out, err) < 0 || say_raw(show, event, out, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int say_reply(const struct nj_event *event, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const struct nj_usage *usage = &event->reply.usage;

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_text(event->reply.message_bytes, &text, err) < 0 ||
        nj_message_calls(event->reply.message_bytes, &calls, err) < 0 ||
        nj_buf_text(out, "\n--- reply of ", err) < 0 ||
        nj_render_line(out, event->reply.model, err) < 0 || nj_show_place(event, out, err) < 0 ||
        nj_buf_printf(out, err,
                      " (%s)\ntokens: %" PRIu64 " in, %" PRIu64 " out, %" PRIu64
                      " from the cache, %" PRIu64 " into it; ",
                      nj_stop_text(event->reply.stop), usage->input_tokens, usage->output_tokens,
                      usage->cache_read_tokens,
                      usage->cache_write_5m_tokens + usage->cache_write_1h_tokens) < 0 ||
        say_cost(event, out, err) < 0 || say_request_id(event, out, err) < 0 ||
        nj_render_text(out, nj_buf_span(&text), INDENT, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < calls.count; i++)
        if (say_input(&calls.items[i], out, err) < 0)
            return -(int)err->code;
    return 0;
}

/* ---- the rest ---- */

static int say_opened(const struct nj_shown *shown, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_text(shown->first, &text, err) < 0 || nj_buf_text(out, "item ", err) < 0 ||
        nj_render_line(out, shown->event.opened.item, err) < 0 || nj_buf_text(out, "\n", err) < 0 ||
        heading(out, "first message", err) < 0)
        return -(int)err->code;
    return nj_render_text(out, nj_buf_span(&text), INDENT, err);
}

static int say_command(struct nj_show *show, const struct nj_shown *shown, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct nj_session_config *config = show->timeline->config;

    if (nj_buf_printf(out, err, "\n--- accept command, %s\n  ",
                      shown->event.judged.accepted ? "accepted" : "not accepted") < 0)
        return -(int)err->code;
    for (size_t i = 0; i < config->n_accept_command; i++)
        if (nj_buf_text(out, " ", err) < 0 ||
            nj_render_name(out, nj_span_text(config->accept_command[i]), err) < 0)
            return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int title(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                 struct nj_error *err)
{
    const struct nj_bundle_info *info = nj_record_info(show->timeline->record);

    if (nj_buf_printf(out, err, "step %" PRIu32 " of %zu, session ", row->step,
                      show->timeline->n_steps) < 0 ||
        nj_render_line(out, nj_span_text(info->key), err) < 0)
        return -(int)err->code;
    if (row->kind == NJ_EVENT_REPLY &&
        nj_buf_printf(out, err, ": the reply of turn %" PRIu64, row->turn) < 0)
        return -(int)err->code;
    if (row->kind == NJ_EVENT_TOOL_DONE &&
        nj_buf_printf(out, err, ": call %" PRIu64 " of turn %" PRIu64, row->call + 1, row->turn) <
            0)
        return -(int)err->code;
    if (row->kind == NJ_EVENT_JUDGED && nj_buf_printf(out, err, ": check %" PRIu64, row->call) < 0)
        return -(int)err->code;
    if (row->kind == NJ_EVENT_OPENED && nj_buf_text(out, ": the start", err) < 0)
        return -(int)err->code;
    if (nj_buf_text(out, "\nended at ", err) < 0 || nj_render_time(out, row->time_ns, err) < 0 ||
        nj_buf_text(out, " (+", err) < 0 ||
        nj_render_duration(out, nj_shown_offset_ms(show, row), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, ")\n", err);
}

/* What of the host's ran in the call. */
static int say_ran(const struct nj_show *show, const struct nj_shown *shown, struct nj_buf *out,
                   struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_ran ran;

    if (!nj_show_ran(show, shown, &bytes, &arena, &ran))
        return 0;
    if (nj_buf_printf(out, err, "\n--- ran, of the host (%zu files%s)\n", ran.n_files,
                      ran.more ? " and more" : "") < 0)
        return -(int)err->code;
    for (size_t i = 0; i < ran.n_files; i++)
        if (nj_buf_text(out, INDENT, err) < 0 || nj_render_line(out, ran.files[i].path, err) < 0 ||
            nj_buf_text(out, "\n", err) < 0)
            return -(int)err->code;
    return 0;
}

int nj_show_step_text(struct nj_show *show, const struct nj_row *row, struct nj_buf *out,
                      struct nj_error *err)
{
    NJ_AUTO(nj_shown_done) struct nj_shown shown = {0};
    int r;

    if (title(show, row, out, err) < 0 || nj_shown_load(show, row, &shown, err) < 0)
        return -(int)err->code;
    if (row->kind == NJ_EVENT_OPENED)
        r = say_opened(&shown, out, err);
    else if (row->kind == NJ_EVENT_REPLY)
        r = say_request(show, row, &shown.event, out, err) < 0 ||
                    say_attempts(show, row, out, err) < 0
                ? -(int)err->code
                : say_reply(&shown.event, out, err);
    else if (row->kind == NJ_EVENT_JUDGED)
        r = say_command(show, &shown, out, err);
    else if (shown.call)
        r = say_input(shown.call, out, err);
    else
        r = heading(out, "the input is lost", err);
    if (r == 0 && nj_shown_outcome(&shown))
        r = say_outcome(&shown, out, err);
    if (r == 0)
        r = say_ran(show, &shown, out, err);
    if (r == 0 && shown.has_changes)
        r = say_changes(show, row, out, err);
    return r;
}
