/*
 * show_json.c - the same as JSON, one object a line
 *
 * The one complication: recorded bytes need not be text. A stream that is not UTF-8 is given as
 * base64 as well.
 */
#include <inttypes.h>

#include "formats/base/fsio.h"
#include "replay/render.h"
#include "replay/show_inside.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

static json_t *number(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static bool set_span(json_t *object, const char *key, struct nj_span text)
{
    return nj_json_set(object, key, nj_json_text(text));
}

static bool set_text(json_t *object, const char *key, const char *text)
{
    return set_span(object, key, nj_span_text(text));
}

static bool set_number(json_t *object, const char *key, uint64_t value)
{
    return nj_json_set(object, key, number(value));
}

/* ---- the session ---- */

static json_t *session_json(struct nj_show *show)
{
    const struct nj_timeline *timeline = show->timeline;
    const struct nj_bundle_info *info = nj_record_info(timeline->record);
    json_t *object = json_object();
    struct nj_counts counts;
    bool ok;

    nj_show_count(show, &counts);
    ok = set_text(object, "type", "session") && set_text(object, "key", info->key) &&
         set_text(object, "group", info->group) && set_text(object, "agent", info->agent) &&
         set_text(object, "job", info->job) && set_text(object, "run", info->run) &&
         nj_json_set(object, "status",
                     info->status ? json_string(nj_status_text(info->status)) : json_null()) &&
         set_text(object, "reproducible", timeline->config->reproducible) &&
         nj_json_set(object, "identity", nj_json_digest(&info->identity)) &&
         nj_json_set(object, "content_digest", nj_json_digest(&info->digests.content)) &&
         nj_json_set(object, "record_digest", nj_json_digest(&info->digests.record)) &&
         set_number(object, "steps", timeline->n_steps) &&
         set_number(object, "replies", counts.replies) &&
         set_number(object, "calls", counts.calls) && set_number(object, "checks", counts.checks) &&
         set_number(object, "cost_micro_usd", counts.cost_micro_usd) &&
         set_number(object, "lost_micro_usd", counts.lost_micro_usd) &&
         nj_json_set(object, "time_ns", json_integer(timeline->rows[0].time_ns));
    if (ok && nj_record_damage(timeline->record))
        ok = set_text(object, "damage", nj_record_damage(timeline->record));
    if (ok && timeline->damage)
        ok = set_text(object, "lost", timeline->damage);
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

int nj_show_session_json(struct nj_show *show, struct nj_buf *out, struct nj_error *err)
{
    return nj_json_line(out, session_json(show), err);
}

/* ---- outcomes ---- */

static json_t *stream_json(const struct nj_stream *stream)
{
    json_t *object = json_object();
    bool whole = stream->head.len == stream->bytes;
    bool ok;

    ok = set_number(object, "bytes", stream->bytes) &&
         nj_json_set(object, "sha256", nj_json_digest(&stream->digest)) &&
         set_span(object, "head", stream->head);
    if (ok && !nj_fsio_utf8_valid(stream->head))
        ok = nj_json_set(object, "head_base64", nj_json_base64(stream->head));
    if (ok && !whole)
        ok = set_span(object, "tail", stream->tail);
    if (ok && !whole && !nj_fsio_utf8_valid(stream->tail))
        ok = nj_json_set(object, "tail_base64", nj_json_base64(stream->tail));
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static const char *exit_text(enum nj_exit_kind exit)
{
    switch (exit) {
    case NJ_EXIT_EXITED:
        return "exited";
    case NJ_EXIT_SIGNALLED:
        return "signalled";
    case NJ_EXIT_REFUSED:
        return "refused";
    }
    return "?";
}

static bool add_outcome(json_t *object, const struct nj_shown *shown, bool full)
{
    const struct nj_call_outcome *outcome = nj_shown_outcome(shown);
    const struct nj_call_meta *meta = nj_shown_meta(shown);
    bool ok;

    ok = nj_json_set(object, "exit", json_string(exit_text(outcome->exit))) &&
         nj_json_set(object, "status", json_integer(outcome->status)) &&
         nj_json_set(object, "limit",
                     outcome->limit ? json_string(nj_limit_key(outcome->limit)) : json_null());
    if (ok && outcome->limit)
        ok = set_number(object, "limit_value", outcome->limit_value) &&
             set_number(object, "limit_used", meta->limit_used);
    if (ok && outcome->exit == NJ_EXIT_REFUSED)
        ok = set_span(object, "refusal", outcome->text);
    if (ok && meta->applied > 0)
        ok = set_number(object, "level_applied", meta->applied) &&
             set_number(object, "level_reached", meta->level) &&
             nj_json_set(object, "lowered", json_string(nj_lowered_text(meta->lowered))) &&
             nj_json_set(object, "clock_ns", json_integer(meta->clock_ns));
    if (ok && meta->figures) {
        char names[NJ_FIGURES_TEXT_BYTES];

        nj_figures_text(meta->figures, names);
        ok = nj_json_set(object, "kernel_figures", json_string(names)) &&
             nj_json_set(object, "kernel_figures_all_heard",
                         json_boolean(!(meta->figures & NJ_FIGURE_UNHEARD)));
    }
    if (ok && meta->has_order)
        ok = nj_json_set(object, "order", nj_json_digest(&meta->order));
    if (ok && full)
        ok = set_number(object, "cpu_ms", meta->cpu_ms) &&
             set_number(object, "memory_peak_bytes", meta->memory_peak_bytes) &&
             nj_json_set(object, "stdout", stream_json(&outcome->out)) &&
             nj_json_set(object, "stderr", stream_json(&outcome->errors)) &&
             nj_json_set(object, "tree", nj_json_digest(&outcome->tree));
    return ok;
}

/* ---- rows ---- */

static json_t *calls_json(struct nj_span message)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    struct nj_error ignored = {0};
    json_t *array = json_array();

    if (nj_message_calls(message, &calls, &ignored) < 0)
        return array; /* a reply that asks for something unreadable asks for nothing */
    for (size_t i = 0; i < calls.count; i++) {
        json_t *call = json_object();

        if (!set_text(call, "id", calls.items[i].id) ||
            !set_text(call, "tool", calls.items[i].name) ||
            !nj_json_set(call, "input", json_incref(calls.items[i].input)) ||
            json_array_append_new(array, call) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static bool add_reply(json_t *object, const struct nj_event *event, bool full)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const struct nj_usage *usage = &event->reply.usage;
    struct nj_error ignored = {0};
    bool ok;

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_text(event->reply.message_bytes, &text, &ignored) < 0)
        nj_buf_clear(&text);
    ok = set_span(object, "model", event->reply.model) &&
         set_text(object, "stop", nj_stop_text(event->reply.stop)) &&
         set_span(object, "text", nj_buf_span(&text)) &&
         set_number(object, "input_tokens", usage->input_tokens) &&
         set_number(object, "output_tokens", usage->output_tokens) &&
         set_number(object, "cache_read_tokens", usage->cache_read_tokens) &&
         set_number(object, "cache_write_tokens",
                    usage->cache_write_5m_tokens + usage->cache_write_1h_tokens);
    if (ok && full)
        ok = nj_json_set(object, "request", nj_json_digest(&event->reply.request)) &&
             nj_json_set(object, "calls", calls_json(event->reply.message_bytes));
    return ok;
}

static bool add_tool(json_t *object, const struct nj_shown *shown, bool full)
{
    if (!shown->call)
        return true;
    if (!set_text(object, "tool", shown->call->name) || !set_text(object, "id", shown->call->id))
        return false;
    return !full || nj_json_set(object, "input", json_incref(shown->call->input));
}

/* What the service left beside its answer, where it did. */
static bool add_answer(json_t *object, const struct nj_event *event)
{
    const struct nj_event_answer *answer = &event->answer;

    return (event->kind == NJ_EVENT_REPLY ||
            set_number(object, "cost_micro_usd", nj_event_cost(event))) &&
           (answer->request_id.len == 0 || set_span(object, "request_id", answer->request_id)) &&
           (answer->reserved_micro_usd == 0 ||
            set_number(object, "reserved_micro_usd", answer->reserved_micro_usd)) &&
           (answer->place == 0 || set_number(object, "place", answer->place)) &&
           (answer->began == 0 || set_number(object, "began", answer->began)) &&
           (answer->variants == 0 || set_number(object, "variants", answer->variants)) &&
           (!answer->has_raw || nj_json_set(object, "raw", nj_json_digest(&answer->raw)));
}

static bool add_failure(json_t *object, struct nj_span cause, struct nj_span text)
{
    return set_span(object, "cause", cause) && set_span(object, "text", text);
}

static bool add_closed(json_t *object, const struct nj_event *event)
{
    return set_text(object, "session_status", nj_status_text(event->closed.status)) &&
           set_span(object, "error_kind", event->closed.error_kind) &&
           set_span(object, "error_text", event->closed.error_text) &&
           set_span(object, "result", event->closed.result);
}

static bool add_opened(json_t *object, const struct nj_shown *shown)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_text(shown->first, &text, &ignored) < 0)
        nj_buf_clear(&text);
    return set_span(object, "item", shown->event.opened.item) &&
           set_span(object, "text", nj_buf_span(&text));
}

static bool add_details(json_t *object, const struct nj_shown *shown, bool full)
{
    const struct nj_event *event = &shown->event;

    switch (event->kind) {
    case NJ_EVENT_OPENED:
        return add_opened(object, shown);
    case NJ_EVENT_REPLY:
        return add_reply(object, event, full) && add_answer(object, event);
    case NJ_EVENT_TOOL_DONE:
        return add_tool(object, shown, full) && add_outcome(object, shown, full);
    case NJ_EVENT_JUDGED:
        return nj_json_set(object, "accepted", json_boolean(event->judged.accepted)) &&
               add_outcome(object, shown, full);
    case NJ_EVENT_NO_REPLY:
        return add_failure(object, event->no_reply.cause, event->no_reply.text) &&
               add_answer(object, event);
    case NJ_EVENT_ATTEMPT:
        return add_failure(object, event->attempt_failed.cause, event->attempt_failed.text) &&
               set_span(object, "model", event->attempt_failed.model) && add_answer(object, event);
    case NJ_EVENT_CLOSED:
        return add_closed(object, event);
    case NJ_EVENT_BOX:
        return set_number(object, "change", event->box.change) &&
               set_span(object, "text", event->box.text);
    case NJ_EVENT_SUSPENDED:
        return set_span(object, "text", event->suspended.reason);
    case NJ_EVENT_RESUMED:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return true;
}

static bool add_row(json_t *object, const struct nj_show *show, const struct nj_row *row)
{
    bool ok;

    ok = set_text(object, "type", "row") &&
         set_text(object, "kind", nj_event_kind_text(row->kind)) &&
         nj_json_set(object, "step", row->is_step ? number(row->step) : json_null()) &&
         set_number(object, "sequence", row->sequence) &&
         nj_json_set(object, "time_ns", json_integer(row->time_ns)) &&
         set_number(object, "offset_ms", nj_shown_offset_ms(show, row));
    if (ok && row->turn)
        ok = set_number(object, "turn", row->turn);
    if (ok && row->kind == NJ_EVENT_TOOL_DONE)
        ok = set_number(object, "call", row->call + 1);
    if (ok && row->kind == NJ_EVENT_JUDGED)
        ok = set_number(object, "round", row->call);
    if (ok && row->is_step && row->step > 0)
        ok = set_number(object, "duration_ms", row->duration_ms);
    if (ok && row->kind == NJ_EVENT_REPLY)
        ok = set_number(object, "cost_micro_usd", row->cost_micro_usd);
    return ok;
}

/* ---- changes ---- */

static int add_change(void *ctx, const char *path, const struct nj_tree_entry *a,
                      const struct nj_tree_entry *b, struct nj_error *err)
{
    const struct nj_tree_entry *entry = b ? b : a;
    json_t *change = json_object();
    nj_auto_free char *absolute = NULL;

    if (asprintf(&absolute, "/%s", path) < 0) {
        absolute = NULL;
        json_decref(change);
        return nj_fail_nomem(err);
    }
    if (!set_text(change, "path", absolute) ||
        !set_text(change, "change",
                  !a   ? "added"
                  : !b ? "deleted"
                       : "modified") ||
        !set_text(change, "file_type", nj_file_type_text(entry->type)) ||
        (entry->type == NJ_FILE_REGULAR && !set_number(change, "size", entry->size)) ||
        json_array_append_new(ctx, change) < 0)
        return nj_fail_nomem(err);
    return 0;
}

static int add_changes(json_t *object, const struct nj_show *show, const struct nj_row *row,
                       const struct nj_shown *shown, bool full, struct nj_error *err)
{
    json_t *array;

    if (!set_number(object, "files_added", shown->changes.added) ||
        !set_number(object, "files_modified", shown->changes.modified) ||
        !set_number(object, "files_deleted", shown->changes.deleted))
        return nj_fail_nomem(err);
    if (!full)
        return 0;
    array = json_array();
    if (!nj_json_set(object, "changes", array))
        return nj_fail_nomem(err);
    return nj_timeline_diff(show->timeline, row, add_change, array, err);
}

static bool add_ran(json_t *object, const struct nj_show *show, const struct nj_shown *shown)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_ran ran;
    json_t *files;
    bool ok = true;

    if (!nj_show_ran(show, shown, &bytes, &arena, &ran))
        return true;
    files = json_array();
    for (size_t i = 0; ok && i < ran.n_files; i++)
        ok = json_array_append_new(files, nj_json_text(ran.files[i].path)) == 0;
    return nj_json_set(object, "ran", files) && ok &&
           (!ran.more || nj_json_set(object, "ran_more", json_true()));
}

int nj_show_row_json(struct nj_show *show, const struct nj_row *row, bool full, struct nj_buf *out,
                     struct nj_error *err)
{
    NJ_AUTO(nj_shown_done) struct nj_shown shown = {0};
    json_t *object = json_object();
    struct nj_error lost = {0};
    int r;

    r = add_row(object, show, row) ? 0 : nj_fail_nomem(err);
    if (r == 0 && nj_shown_load(show, row, &shown, &lost) < 0) {
        if (show->salvage)
            r = set_text(object, "lost", lost.text) ? 0 : nj_fail_nomem(err);
        else {
            *err = lost;
            r = -(int)err->code;
        }
    } else if (r == 0) {
        r = add_details(object, &shown, full) ? 0 : nj_fail_nomem(err);
        if (r == 0 && full && !add_ran(object, show, &shown))
            r = nj_fail_nomem(err);
        if (r == 0 && shown.has_changes)
            r = add_changes(object, show, row, &shown, full, err);
    }
    if (r < 0) {
        json_decref(object);
        return r;
    }
    return nj_json_line(out, object, err);
}
