/*
 * timeline.c - rows, seeking, changes
 */
#include "replay/timeline.h"

#include <inttypes.h>

#include "formats/base/banned.h"

#define STEPS_MAX NJ_BUNDLE_FRAMES_MAX

void nj_timeline_free(struct nj_timeline *timeline)
{
    if (!timeline)
        return;
    nj_arena_done(&timeline->arena);
    free(timeline->rows);
    free(timeline->steps);
    free(timeline->damage);
    free(timeline);
}

/* ---- rows ---- */

struct growth {
    size_t cap_rows;
    size_t cap_steps;
};

static int add_row(struct nj_timeline *timeline, struct growth *growth, const struct nj_row *row,
                   struct nj_error *err)
{
    if (timeline->n_rows == growth->cap_rows) {
        size_t cap = growth->cap_rows ? growth->cap_rows * 2 : 64;
        struct nj_row *grown = reallocarray(timeline->rows, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        timeline->rows = grown;
        growth->cap_rows = cap;
    }
    if (row->is_step && row->step >= growth->cap_steps) {
        size_t cap = growth->cap_steps ? growth->cap_steps * 2 : 64;
        size_t *grown = reallocarray(timeline->steps, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        timeline->steps = grown;
        growth->cap_steps = cap;
    }
    if (row->is_step) {
        timeline->steps[row->step] = timeline->n_rows;
        timeline->n_steps = row->step;
    }
    timeline->rows[timeline->n_rows++] = *row;
    return 0;
}

static struct nj_row row_of(const struct nj_event *event, uint64_t sequence)
{
    struct nj_row row = {.kind = event->kind,
                         .sequence = sequence,
                         .time_ns = event->time_ns,
                         .cost_micro_usd = nj_event_cost(event)};

    switch (event->kind) {
    case NJ_EVENT_OPENED:
        row.is_step = true;
        break;
    case NJ_EVENT_REPLY:
        row.is_step = true;
        row.turn = event->reply.turn;
        row.duration_ms = event->reply.duration_ms;
        break;
    case NJ_EVENT_TOOL_DONE:
        row.is_step = true;
        row.turn = event->tool_done.turn;
        row.call = event->tool_done.call;
        row.duration_ms = event->tool_done.meta.duration_ms;
        break;
    case NJ_EVENT_JUDGED:
        row.is_step = true;
        row.call = event->judged.round;
        row.duration_ms = event->judged.meta.duration_ms;
        break;
    case NJ_EVENT_NO_REPLY:
        row.turn = event->no_reply.turn;
        break;
    case NJ_EVENT_ATTEMPT:
        row.turn = event->attempt_failed.turn;
        break;
    case NJ_EVENT_CLOSED:
    case NJ_EVENT_BOX:
    case NJ_EVENT_SUSPENDED:
    case NJ_EVENT_RESUMED:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return row;
}

static int load_config(struct nj_timeline *timeline, const struct nj_digest *digest,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object_source objects = nj_record_objects(timeline->record);
    struct nj_session_config *config;

    nj_buf_init(&bytes, NJ_CONFIG_MAX_BYTES);
    if (nj_object_get(&objects, NJ_OBJECT_CONFIG, digest, &bytes, err) < 0 ||
        nj_config_decode(nj_buf_span(&bytes), &timeline->arena, &config, err) < 0)
        return nj_wrap(err, "the session's config");
    timeline->config = config;
    return 0;
}

static int read_row(struct nj_timeline *timeline, struct growth *growth, uint64_t sequence,
                    struct nj_buf *buf, struct nj_error *err)
{
    struct nj_frame frame;
    struct nj_event event;
    struct nj_row row;

    nj_buf_clear(buf);
    if (nj_record_frame(timeline->record, sequence, buf, &frame, err) < 0)
        return -(int)err->code;
    if (frame.kind != NJ_FRAME_EVENT)
        return 0;
    if (nj_event_decode(frame.payload, &event, err) < 0)
        return -(int)err->code;
    if ((sequence == 1) != (event.kind == NJ_EVENT_OPENED))
        return nj_fail(err, NJ_E_CORRUPT, "event %s stands where %s",
                       nj_event_kind_text(event.kind),
                       sequence == 1 ? "the session is opened" : "the session is open already");
    if (event.kind == NJ_EVENT_OPENED && load_config(timeline, &event.opened.config, err) < 0)
        return -(int)err->code;
    row = row_of(&event, sequence);
    row.step = (uint32_t)timeline->n_steps + (row.is_step && sequence > 1);
    return add_row(timeline, growth, &row, err);
}

int nj_timeline_new(struct nj_record *record, bool salvage, struct nj_timeline **ret_timeline,
                    struct nj_error *err)
{
    NJ_AUTO(nj_timeline_free) struct nj_timeline *timeline = calloc(1, sizeof(*timeline));
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    uint64_t frames = nj_record_info(record)->frames;
    struct growth growth = {0};

    if (!timeline)
        return nj_fail_nomem(err);
    if (frames > STEPS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "%" PRIu64 " frames, at most %u", frames, STEPS_MAX);
    nj_buf_init(&buf, NJ_FRAME_PAYLOAD_MAX_BYTES);
    timeline->record = record;
    for (uint64_t sequence = 1; sequence <= frames; sequence++) {
        if (read_row(timeline, &growth, sequence, &buf, err) == 0)
            continue;
        (void)nj_wrap(err, "frame %" PRIu64, sequence);
        if (!salvage || timeline->n_rows == 0)
            return -(int)err->code;
        timeline->damage = strdup(err->text);
        if (!timeline->damage)
            return nj_fail_nomem(err);
        break;
    }
    if (timeline->n_rows == 0)
        return nj_fail(err, NJ_E_CORRUPT, "the record holds no event");
    *ret_timeline = nj_steal_ptr(&timeline);
    return 0;
}

int nj_timeline_step(const struct nj_timeline *timeline, int64_t wanted,
                     const struct nj_row **ret_row, struct nj_error *err)
{
    int64_t last = (int64_t)timeline->n_steps;
    int64_t step = wanted >= 0 ? wanted : last + 1 + wanted;

    if (step < 0 || step > last)
        return nj_fail(err, NJ_E_INPUT,
                       "step %" PRId64 ": the session has steps 0 (its start) to %" PRId64, wanted,
                       last);
    *ret_row = &timeline->rows[timeline->steps[step]];
    return 0;
}

int nj_timeline_event(const struct nj_timeline *timeline, const struct nj_row *row,
                      struct nj_buf *buf, struct nj_event *ret_event, struct nj_span *ret_first,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf messages = {0};
    struct nj_frame frame;
    size_t start;

    nj_buf_clear(buf);
    if (nj_record_frame(timeline->record, row->sequence, buf, &frame, err) < 0 ||
        nj_event_decode(frame.payload, ret_event, err) < 0)
        return nj_wrap(err, "frame %" PRIu64, row->sequence);
    /* Appending the message may move the buffer under the event's spans: read it, then decode
     * again. */
    nj_buf_init(&messages, NJ_OBJECT_MAX_BYTES);
    if (nj_record_messages(timeline->record, ret_event, &messages, ret_first, err) < 0)
        return nj_wrap(err, "frame %" PRIu64, row->sequence);
    start = buf->len;
    if (nj_buf_append(buf, messages.data, messages.len, err) < 0 ||
        nj_event_decode((struct nj_span){buf->data, start}, ret_event, err) < 0)
        return -(int)err->code;
    if (row->kind == NJ_EVENT_REPLY)
        ret_event->reply.message_bytes = (struct nj_span){buf->data + start, messages.len};
    if (row->kind == NJ_EVENT_OPENED)
        *ret_first = (struct nj_span){buf->data + start, messages.len};
    return 0;
}

int nj_timeline_workspace(const struct nj_timeline *timeline, const struct nj_row *row,
                          struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_frame frame;
    struct nj_event event;

    nj_buf_init(&buf, NJ_FRAME_PAYLOAD_MAX_BYTES);
    /* Only these three change it, and the first row is OPENED. */
    while (row->kind != NJ_EVENT_OPENED && row->kind != NJ_EVENT_TOOL_DONE &&
           row->kind != NJ_EVENT_JUDGED)
        row--;
    if (nj_record_frame(timeline->record, row->sequence, &buf, &frame, err) < 0 ||
        nj_event_decode(frame.payload, &event, err) < 0)
        return nj_wrap(err, "frame %" PRIu64, row->sequence);
    if (event.kind == NJ_EVENT_OPENED)
        *ret_ref = (struct nj_workspace_ref){event.opened.tree, event.opened.stamps};
    else if (event.kind == NJ_EVENT_TOOL_DONE)
        *ret_ref =
            (struct nj_workspace_ref){event.tool_done.outcome.tree, event.tool_done.meta.stamps};
    else
        *ret_ref = (struct nj_workspace_ref){event.judged.outcome.tree, event.judged.meta.stamps};
    return 0;
}

int nj_timeline_calls(const struct nj_timeline *timeline, uint64_t turn, struct nj_calls *ret_calls,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_span first;
    struct nj_event event;

    nj_buf_init(&buf, NJ_TIMELINE_EVENT_MAX_BYTES);
    for (size_t i = 1; i <= timeline->n_steps; i++) {
        const struct nj_row *row = &timeline->rows[timeline->steps[i]];

        if (row->kind != NJ_EVENT_REPLY || row->turn != turn)
            continue;
        if (nj_timeline_event(timeline, row, &buf, &event, &first, err) < 0)
            return -(int)err->code;
        return nj_message_calls(event.reply.message_bytes, ret_calls, err);
    }
    return nj_fail(err, NJ_E_CORRUPT, "turn %" PRIu64 " has no reply", turn);
}

/* ---- seeking ---- */

/* New objects are the record's own, which it holds already. */
static int drop_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    (void)ctx;
    (void)object;
    (void)err;
    return 0;
}

/* The last snapshot at or before @sequence as a session; without one, a session that is not yet
 * opened. */
static int restore_before(const struct nj_timeline *timeline, uint64_t sequence, struct nj_buf *buf,
                          uint64_t *ret_folded, struct nj_session **ret_session,
                          struct nj_error *err)
{
    struct nj_object_source objects = nj_record_objects(timeline->record);

    for (uint64_t at = sequence; at > 0; at--) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_snapshot snapshot;
        struct nj_frame frame;

        nj_buf_clear(buf);
        if (nj_record_frame(timeline->record, at, buf, &frame, err) < 0)
            return -(int)err->code;
        if (frame.kind != NJ_FRAME_SNAPSHOT)
            continue;
        if (nj_snapshot_unpack(frame.payload, &arena, &snapshot, err) < 0 ||
            nj_session_restore(timeline->config, &snapshot, &objects, ret_session, err) < 0)
            return nj_wrap(err, "frame %" PRIu64, at);
        *ret_folded = at;
        return 0;
    }
    *ret_folded = 0;
    return nj_session_new(timeline->config, ret_session, err);
}

static int fold(const struct nj_timeline *timeline, uint64_t sequence, struct nj_buf *buf,
                struct nj_session *session, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf messages = {0};
    struct nj_object_sink sink = {.put = drop_object};
    struct nj_span first;
    struct nj_frame frame;
    struct nj_event event;

    nj_buf_clear(buf);
    nj_buf_init(&messages, NJ_OBJECT_MAX_BYTES);
    if (nj_record_frame(timeline->record, sequence, buf, &frame, err) < 0)
        return -(int)err->code;
    if (frame.kind != NJ_FRAME_EVENT)
        return 0;
    if (nj_event_decode(frame.payload, &event, err) < 0 ||
        nj_record_messages(timeline->record, &event, &messages, &first, err) < 0)
        return -(int)err->code;
    return nj_session_step(session, &event, first, &sink, err);
}

int nj_timeline_seek(const struct nj_timeline *timeline, uint64_t sequence,
                     struct nj_session **ret_session, struct nj_error *err)
{
    NJ_AUTO(nj_session_free) struct nj_session *session = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    uint64_t folded = 0;

    nj_buf_init(&buf, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (restore_before(timeline, sequence, &buf, &folded, &session, err) < 0)
        return -(int)err->code;
    while (folded < sequence) {
        folded++;
        if (fold(timeline, folded, &buf, session, err) < 0)
            return nj_wrap(err, "frame %" PRIu64, folded);
    }
    session->sequence = sequence;
    *ret_session = nj_steal_ptr(&session);
    return 0;
}

/* ---- changes ---- */

struct nothing {
    struct nj_object_source objects;
    struct nj_digest digest;
    struct nj_buf bytes;
};

/* The empty directory, whether or not the record happens to hold it. */
static int get_or_nothing(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                          struct nj_error *err)
{
    struct nothing *nothing = ctx;

    if (nj_digest_equal(digest, &nothing->digest))
        return nj_buf_append(out, nothing->bytes.data, nothing->bytes.len, err);
    return nothing->objects.get(nothing->objects.ctx, digest, out, err);
}

int nj_timeline_diff(const struct nj_timeline *timeline, const struct nj_row *row,
                     nj_tree_differ differ, void *ctx, struct nj_error *err)
{
    struct nothing nothing = {.objects = nj_record_objects(timeline->record)};
    struct nj_object_source source = {.get = get_or_nothing, .ctx = &nothing};
    struct nj_workspace_ref before, after;
    int r;

    if (nj_timeline_workspace(timeline, row, &after, err) < 0)
        return -(int)err->code;
    nj_buf_init(&nothing.bytes, NJ_OBJECT_MAX_BYTES);
    r = nj_tree_encode(&(struct nj_tree){0}, &nothing.bytes, err);
    if (r == 0) {
        nj_digest_bytes(nothing.bytes.data, nothing.bytes.len, &nothing.digest);
        before.tree = nothing.digest;
        if (row->kind != NJ_EVENT_OPENED)
            r = nj_timeline_workspace(timeline, row - 1, &before, err);
    }
    if (r == 0)
        r = nj_tree_diff(&source, &before.tree, &source, &after.tree, differ, ctx, err);
    nj_buf_done(&nothing.bytes);
    return r < 0 ? r : 0;
}

static int count_change(void *ctx, const char *path, const struct nj_tree_entry *a,
                        const struct nj_tree_entry *b, struct nj_error *err)
{
    struct nj_changes *changes = ctx;

    (void)path;
    (void)err;
    if (!a)
        changes->added++;
    else if (!b)
        changes->deleted++;
    else
        changes->modified++;
    return 0;
}

int nj_timeline_changes(const struct nj_timeline *timeline, const struct nj_row *row,
                        struct nj_changes *ret_changes, struct nj_error *err)
{
    struct nj_changes changes = {0};

    if (nj_timeline_diff(timeline, row, count_change, &changes, err) < 0)
        return -(int)err->code;
    *ret_changes = changes;
    return 0;
}
