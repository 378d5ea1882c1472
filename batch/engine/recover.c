/*
 * recover.c - the fold after a crash: every session as it stood at its last durable step
 *
 * One pass over the journal notes, for each session, where its frames and objects lie, its last
 * snapshot, and the events behind it; then each session that is not archived is restored from that
 * snapshot and the few events behind it are folded in (which may write an object that a torn commit
 * took along, so the journal's next epoch is open by then). A session that was archived only gives
 * its row, and begins anew where it was reopened.
 */
#include "batch/engine/live.h"

#include <assert.h>

#include "batch/report/ledger.h"

#include "formats/base/banned.h"

static int check_session(const struct nj_engine *engine, const struct nj_frame *frame,
                         struct nj_error *err)
{
    if (frame->session < 1 || frame->session > engine->plan->n_sessions)
        return nj_fail(err, NJ_E_CORRUPT, "journal: a frame of session %u, but the plan has %zu",
                       frame->session, engine->plan->n_sessions);
    if (engine->seats[frame->session - 1].status != 0 && frame->kind != NJ_FRAME_REOPENED)
        return nj_fail(err, NJ_E_CORRUPT, "journal: session %u goes on behind its end",
                       frame->session);
    return 0;
}

static struct nj_live *live_of_frame(struct nj_engine *engine, const struct nj_frame *frame,
                                     struct nj_error *err)
{
    struct nj_engine_seat *seat = &engine->seats[frame->session - 1];

    if (!seat->past &&
        nj_live_new(engine, &engine->plan->sessions[frame->session - 1], &seat->past, err) < 0)
        return NULL;
    return seat->past;
}

static int on_object(struct nj_live *live, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_object_stored object;
    size_t len;

    if (nj_object_decode_stored(frame->payload, &object, &len, err) < 0)
        return nj_wrap(err, "journal: an object of session %s", live->plan->key);
    if (nj_object_index_find(&live->index, &object.digest))
        return 0;
    return nj_object_index_add(&live->index, &object.digest, &frame->place, err);
}

static int on_event(struct nj_live *live, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_event event;

    if (nj_event_decode(frame->payload, &event, err) < 0 ||
        nj_fold_event(&live->fold, &event, err) < 0 || nj_live_note_answer(live, &event, err) < 0)
        return nj_wrap(err, "journal: session %s, frame %llu", live->plan->key,
                       (unsigned long long)frame->sequence);
    return 0;
}

static int on_run(struct nj_engine *engine, const struct nj_frame *frame, struct nj_error *err)
{
    int64_t time_ns = 0;

    if (nj_ledger_run_time(frame->payload, &time_ns, err) < 0)
        return -(int)err->code;
    if (engine->epochs++ == 0)
        engine->first_epoch_ns = time_ns;
    return 0;
}

/* Of a session that has ended, a thinned journal has what lay in segments that are not thinned yet.
 */
static int note_gap(struct nj_live *live, uint64_t sequence, struct nj_error *err)
{
    live->cut = nj_journal_is_thinned(live->engine->reader);
    return live->cut ? 0
                     : nj_fail(err, NJ_E_CORRUPT,
                               "journal: session %s goes from frame %llu to %llu", live->plan->key,
                               (unsigned long long)live->sequence, (unsigned long long)sequence);
}

static int on_frame(struct nj_engine *engine, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_live *live;

    if (frame->kind == NJ_FRAME_RUN)
        return on_run(engine, frame, err);
    if (frame->session == NJ_JOURNAL_SESSION_RUN)
        return 0;
    if (check_session(engine, frame, err) < 0)
        return -(int)err->code;
    if (frame->kind == NJ_FRAME_ARCHIVED)
        return nj_engine_on_archived(engine, frame, err);
    if (frame->kind == NJ_FRAME_REOPENED)
        return nj_engine_on_reopened(engine, frame, err);
    live = live_of_frame(engine, frame, err);
    if (!live)
        return -(int)err->code;
    switch (frame->kind) {
    case NJ_FRAME_OBJECT:
        return on_object(live, frame, err);
    case NJ_FRAME_SNAPSHOT:
    case NJ_FRAME_EVENT:
    case NJ_FRAME_OUTPUT:
        if (frame->sequence != live->sequence + 1 && !live->cut &&
            note_gap(live, frame->sequence, err) < 0)
            return -(int)err->code;
        if (live->cut)
            return 0;
        live->sequence++;
        if (frame->kind == NJ_FRAME_SNAPSHOT)
            live->last_snapshot = live->n_places + 1;
        if (frame->kind == NJ_FRAME_EVENT && on_event(live, frame, err) < 0)
            return -(int)err->code;
        return nj_live_note_place(live, frame, err);
    case NJ_FRAME_RUN:
    case NJ_FRAME_COMMIT:
    case NJ_FRAME_ARCHIVED:
    case NJ_FRAME_REOPENED:
        break;
    }
    return 0;
}

/* Reads the frame at @index of the live's places. */
static int read_frame(struct nj_live *live, size_t index, struct nj_buf *payload,
                      struct nj_frame *frame, struct nj_error *err)
{
    nj_buf_clear(payload);
    return nj_journal_read_frame(live->engine->reader, &live->places[index], payload, frame, err);
}

static int fold_event(struct nj_live *live, struct nj_span payload, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object_source source = nj_live_source(live);
    const struct nj_digest *wanted = NULL;
    struct nj_span first = {0};
    struct nj_event event;

    if (nj_event_decode(payload, &event, err) < 0)
        return -(int)err->code;
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (event.kind == NJ_EVENT_OPENED)
        wanted = &event.opened.first;
    else if (event.kind == NJ_EVENT_REPLY)
        wanted = &event.reply.message;
    if (wanted && source.get(source.ctx, wanted, &bytes, err) < 0)
        return -(int)err->code;
    if (event.kind == NJ_EVENT_OPENED)
        first = nj_buf_span(&bytes);
    else if (event.kind == NJ_EVENT_REPLY)
        event.reply.message_bytes = nj_buf_span(&bytes);
    live->at_peace = event.kind == NJ_EVENT_SUSPENDED;
    return nj_session_step(live->seat.session, &event, first, &live->seat.sink, err);
}

/* The config that the session was opened with. Builds before the reproducible layer recorded none,
 * and the first ones with it only where the manifest says a level: such a session goes on as it
 * began, without. */
static int recorded_config(struct nj_live *live, const struct nj_session_config **ret_config,
                           struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    const struct nj_session_config *planned = live->plan->config;
    struct nj_session_config *without;
    struct nj_event event;
    struct nj_frame frame;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    *ret_config = planned;
    if (planned->layer == 0)
        return 0;
    if (read_frame(live, 0, &payload, &frame, err) < 0 ||
        nj_event_decode(frame.payload, &event, err) < 0)
        return -(int)err->code;
    if (event.kind != NJ_EVENT_OPENED ||
        nj_digest_equal(&event.opened.config, &live->plan->config_digest))
        return 0;
    without = nj_arena_alloc(&live->config_arena, sizeof(*without));
    if (!without)
        return nj_fail_nomem(err);
    *without = *planned;
    without->layer = 0;
    *ret_config = without;
    return 0;
}

static int restore_snapshot(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_object_source source = nj_live_source(live);
    const struct nj_session_config *config;
    struct nj_snapshot snapshot;
    struct nj_frame frame;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (recorded_config(live, &config, err) < 0)
        return nj_wrap(err, "config");
    if (live->last_snapshot == 0)
        return nj_session_new(config, &live->seat.session, err);
    if (read_frame(live, live->last_snapshot - 1, &payload, &frame, err) < 0 ||
        nj_snapshot_unpack(frame.payload, &arena, &snapshot, err) < 0)
        return nj_wrap(err, "snapshot");
    return nj_session_restore(config, &snapshot, &source, &live->seat.session, err);
}

static int restore_live(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_action action;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (restore_snapshot(live, err) < 0)
        return nj_wrap(err, "session %s", live->plan->key);
    for (size_t i = live->last_snapshot; i < live->n_places; i++) {
        struct nj_frame frame;

        if (read_frame(live, i, &payload, &frame, err) < 0 ||
            (frame.kind == NJ_FRAME_EVENT && fold_event(live, frame.payload, err) < 0))
            return nj_wrap(err, "session %s, frame %zu", live->plan->key, i + 1);
    }
    live->seat.session->sequence = live->sequence;
    nj_money_spent_before(live->engine, live->plan, live->seat.session->cost_micro_usd);
    nj_session_action(live->seat.session, &action);
    if (action.kind == NJ_ACTION_ASK_MODEL && !live->at_peace)
        live->engine->repeated_asks++;
    return 0;
}

int nj_engine_scan(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_frame frame;
    int r;

    while ((r = nj_journal_next(engine->reader, &frame, err)) == NJ_JOURNAL_FRAME) {
        r = on_frame(engine, &frame, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; r >= 0 && i < engine->plan->n_sessions; i++)
        if (engine->seats[i].past && engine->seats[i].past->cut)
            return nj_fail(
                err, NJ_E_CORRUPT,
                "journal: session %s lacks what follows frame %llu, and it has not ended",
                engine->plan->sessions[i].key, (unsigned long long)engine->seats[i].past->sequence);
    return r < 0 ? r : 0;
}

int nj_engine_restore(struct nj_engine *engine, struct nj_error *err)
{
    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        struct nj_engine_seat *seat = &engine->seats[i];

        /* Objects only: its OPENED was never durable. */
        if (seat->past && seat->past->sequence > 0 && restore_live(seat->past, err) < 0)
            return -(int)err->code;
    }
    return nj_engine_settle_attempts(engine, err);
}
