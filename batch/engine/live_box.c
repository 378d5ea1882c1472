/*
 * live_box.c - tool slots, warm boxes, and calls in them
 *
 * A call waits for one of limits.tool_calls slots, then for a box that holds the session's
 * workspace: the warm one, or a new one with the last snapshot restored. The one complication is
 * loss: a box may vanish at any of these moments, and the call is begun anew in a restored
 * workspace, a bounded number of times.
 */
#include "batch/engine/live.h"

#include <assert.h>
#include <stdio.h>

#include "batch/engine/filling.h"
#include "batch/engine/order.h"
#include "batch/engine/thinning.h"

#include "formats/base/banned.h"

#define FIT_AT_ONCE 16 /* boxes let go of in one piece of the loop's work */

static void go_on(struct nj_live *live);

/* ---- what is told ---- */

static void note_box(struct nj_live *live, enum nj_box_change change, const char *text)
{
    struct nj_event event = nj_live_event(live, NJ_EVENT_BOX);

    event.box.change = change;
    event.box.text = nj_span_text(text);
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
}

static void deliver_outcome(struct nj_live *live, const struct nj_call_outcome *outcome,
                            const struct nj_call_meta *meta)
{
    struct nj_event event =
        nj_live_event(live, live->judging ? NJ_EVENT_JUDGED : NJ_EVENT_TOOL_DONE);
    const struct nj_session *session = live->seat.session;

    if (live->judging) {
        event.judged.round = live->call_index;
        event.judged.accepted = outcome->exit == NJ_EXIT_EXITED && outcome->status == 0;
        event.judged.outcome = *outcome;
        event.judged.meta = *meta;
    } else {
        event.tool_done.turn = session->turn;
        event.tool_done.call = live->call_index;
        event.tool_done.id = nj_span_text(session->calls.items[live->call_index].id);
        event.tool_done.outcome = *outcome;
        event.tool_done.meta = *meta;
    }
    event.attempt = live->box_tries + 1;
    live->box_tries = 0;
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
}

/* A call that never ran: the workspace is as it was, and the agent is told why. */
static void deliver_refusal(struct nj_live *live, const char *text)
{
    const struct nj_workspace_ref *workspace = &live->seat.session->workspace;
    struct nj_call_outcome outcome = {
        .exit = NJ_EXIT_REFUSED, .text = nj_span_text(text), .tree = workspace->tree};
    struct nj_call_meta meta = {.stamps = workspace->stamps};

    nj_digest_bytes("", 0, &outcome.out.digest);
    nj_digest_bytes("", 0, &outcome.errors.digest);
    deliver_outcome(live, &outcome, &meta);
}

/* ---- slots ---- */

void nj_live_release_slot_queue(struct nj_live *live)
{
    if (live->slot_queued) {
        TAILQ_REMOVE(&live->engine->slot_queue, live, slot_link);
        live->slot_queued = false;
    }
}

void nj_live_release_slot(struct nj_live *live)
{
    struct nj_engine *engine = live->engine;

    nj_live_release_slot_queue(live);
    if (live->has_slot) {
        live->has_slot = false;
        engine->tool_slots_used--;
        nj_engine_reschedule(
            engine); /* whoever waits for it begins from the loop, not from in here */
    }
}

void nj_live_grant_slots(struct nj_engine *engine)
{
    while (!engine->failed && engine->tool_slots_used < engine->tool_slots &&
           !TAILQ_EMPTY(&engine->slot_queue)) {
        struct nj_live *live = TAILQ_FIRST(&engine->slot_queue);

        TAILQ_REMOVE(&engine->slot_queue, live, slot_link);
        live->slot_queued = false;
        live->has_slot = true;
        engine->tool_slots_used++;
        go_on(live);
    }
}

/* ---- boxes opened ahead ---- */

void nj_live_keep_ahead(struct nj_engine *engine)
{
    const struct nj_queue *queue = engine->queue;
    size_t room = engine->warm < engine->warm_max ? engine->warm_max - engine->warm : 0;
    size_t sessions, without;

    if (!engine->sandbox)
        return;
    sessions = nj_queue_count(queue, NJ_QUEUE_WAITING) + nj_queue_count(queue, NJ_QUEUE_DELAYED) +
               nj_queue_count(queue, NJ_QUEUE_ALIVE);
    without = sessions > engine->warm ? sessions - engine->warm : 0;
    if (engine->stopping || engine->failed || engine->memory_low)
        room = 0;
    nj_sandbox_ahead(engine->sandbox, without < room ? without : room);
}

/* ---- idle boxes ---- */

static void leave_idle(struct nj_live *live)
{
    if (live->idle_queued) {
        TAILQ_REMOVE(&live->engine->idle, live, idle_link);
        live->idle_queued = false;
    }
    if (live->park)
        (void)event_del(live->park);
}

void nj_live_drop_box(struct nj_live *live, const char *why)
{
    if (!live->box && live->phase == NJ_BOX_NONE)
        return;
    leave_idle(live);
    nj_live_cancel_taking(live);
    if (live->phase == NJ_BOX_RESTORING)
        nj_live_cancel_worker(live);
    live->restore_held = false;
    if (live->box) {
        nj_box_close(live->box);
        live->engine->warm--;
        nj_live_keep_ahead(live->engine);
    }
    live->box = NULL;
    live->phase = NJ_BOX_NONE;
    if (why && !live->seat.over)
        note_box(live, NJ_BOX_EVICTED, why);
}

static void on_park(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    nj_live_drop_box(arg, "idle");
}

static void become_idle(struct nj_live *live)
{
    struct nj_engine *engine = live->engine;
    struct timeval after = {.tv_sec = NJ_PARK_AFTER_S};

    live->phase = NJ_BOX_IDLE;
    if (!live->park)
        live->park = event_new(engine->base, -1, 0, on_park, live);
    if (live->park)
        (void)event_add(live->park, &after); /* without the timer the box only stays warm longer */
    TAILQ_INSERT_TAIL(&engine->idle, live, idle_link);
    live->idle_queued = true;
}

/* let_go - of waiting boxes, until no more than @keep are warm */
static void let_go(struct nj_engine *engine, size_t keep, const char *why)
{
    for (int i = 0; i < FIT_AT_ONCE && engine->warm > keep && !TAILQ_EMPTY(&engine->idle); i++)
        nj_live_drop_box(TAILQ_FIRST(&engine->idle), why);
}

static void make_room(struct nj_engine *engine)
{
    let_go(engine, engine->warm_max - 1, "least recently used");
}

void nj_live_fit_warm(struct nj_engine *engine)
{
    /* More may also be warm because more calls ran at once than limits.warm_boxes says. */
    bool is_short = engine->warm_max < engine->warm_most;

    let_go(engine, engine->warm_max, is_short ? "memory is short" : "least recently used");
}

/* ---- loss ---- */

/* Lost under a call. That may be the call's own doing, so in the end the agent is told. */
static void box_lost(struct nj_live *live, const struct nj_error *err)
{
    char text[NJ_ERROR_TEXT_MAX_BYTES + 64];

    nj_live_drop_box(live, NULL);
    note_box(live, NJ_BOX_LOST, err->text);
    if (++live->box_tries < NJ_BOX_TRIES_MAX) {
        go_on(live);
        return;
    }
    (void)snprintf(text, sizeof(text), "the sandbox was lost %d times, last: %s", NJ_BOX_TRIES_MAX,
                   err->text);
    nj_live_release_slot(live);
    deliver_refusal(live, text);
}

/* Lost, refused, or not to be filled, before the call began: that is never the call's doing, so in
 * the end the session fails; at once where trying again cannot help, because the plan or the record
 * is at fault. */
static void box_not_ready(struct nj_live *live, const struct nj_error *err)
{
    struct nj_error final = *err;

    nj_live_drop_box(live, NULL);
    note_box(live, NJ_BOX_LOST, err->text);
    if (err->code != NJ_E_INPUT && err->code != NJ_E_CORRUPT &&
        ++live->box_tries < NJ_BOX_TRIES_MAX) {
        go_on(live);
        return;
    }
    (void)nj_wrap(&final, "the sandbox could not be made ready");
    nj_seat_fail(&live->seat, &final);
}

/* ---- restoring ---- */

static int fill_restore(struct nj_live *live, const struct nj_workspace_ref *workspace, int fd,
                        struct nj_error *err)
{
    const struct nj_filling filling = {.source = nj_live_source(live),
                                       .contents = nj_live_contents(live)};

    return nj_fill(&filling, workspace, fd, err);
}

/* In a worker. */
static int fill_ordered(void *ctx, const struct nj_worker_order *sent, struct nj_error *err)
{
    NJ_AUTO(nj_order_done) struct nj_live live = {0};
    const struct nj_order *order;

    if (nj_order_read(ctx, sent, &order, &live, err) < 0)
        return -(int)err->code;
    return fill_restore(&live, &order->workspace, sent->fd, err);
}

static void on_restored(void *ctx, const struct nj_error *err)
{
    struct nj_live *live = ctx;

    if (err) {
        box_not_ready(live, err);
        return;
    }
    live->box_state = live->seat.session->workspace;
    live->phase = NJ_BOX_IDLE;
    note_box(live, NJ_BOX_RESTORED, "");
    go_on(live);
}

static void on_filled(void *ctx, const struct nj_error *err)
{
    struct nj_live *live = ctx;
    struct nj_error restore_err = {0};

    live->worker = NULL;
    nj_thinning_go_on(live->engine);
    if (err) {
        box_not_ready(live, err);
        return;
    }
    if (nj_box_restore(live->box, &live->seat.session->workspace, nj_steal_fd(&live->restore_fd),
                       on_restored, live, &restore_err) < 0)
        box_not_ready(live, &restore_err);
}

static int start_filling(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_order *order;

    if (nj_order_new(live, false, &bytes, &order, err) < 0)
        return -(int)err->code;
    order->workspace = live->seat.session->workspace;
    return nj_order_start(live, fill_ordered, nj_buf_span(&bytes), live->restore_fd, on_filled,
                          err);
}

static void restore(struct nj_live *live)
{
    struct nj_error err = {0};

    live->phase = NJ_BOX_RESTORING;
    if (live->restore_fd >= 0)
        (void)close(nj_steal_fd(&live->restore_fd));
    if (nj_fsio_memfd("restore", &live->restore_fd, &err) < 0) {
        box_not_ready(live, &err);
        return;
    }
    if (live->index.bytes > NJ_RESTORE_INLINE_BYTES) {
        live->restore_held = nj_thinning_holds(live->engine);
        if (!live->restore_held && start_filling(live, &err) < 0)
            box_not_ready(live, &err);
        return;
    }
    if (fill_restore(live, &live->seat.session->workspace, live->restore_fd, &err) < 0)
        on_filled(live, &err);
    else
        on_filled(live, NULL);
}

void nj_live_start_held(struct nj_engine *engine)
{
    struct nj_live *live, *next;

    for (live = TAILQ_FIRST(&engine->lives); live && !engine->failed; live = next) {
        struct nj_error err = {0};

        next = TAILQ_NEXT(live, live_link);
        nj_live_start_taking(live);
        if (!live->restore_held)
            continue;
        live->restore_held = false;
        if (start_filling(live, &err) < 0)
            box_not_ready(live, &err);
    }
    nj_live_start_publishing(engine);
}

static void on_opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct nj_live *live = ctx;

    if (!box) {
        live->phase = NJ_BOX_NONE;
        live->engine->warm--;
        box_not_ready(live, err);
        return;
    }
    live->box = box;
    note_box(live, NJ_BOX_BUILT, "");
    restore(live);
}

static void open_box(struct nj_live *live)
{
    struct nj_box_plan plan;
    struct nj_error err = {0};

    make_room(live->engine);
    live->phase = NJ_BOX_OPENING;
    live->engine->warm++;
    if (nj_tool_box_plan(live->seat.session->config, &live->arena, &plan, &err) == 0) {
        if (plan.level > live->engine->level_max)
            plan.level = live->engine->level_max;
        live->box_level = plan.level;
        if (nj_box_open(live->engine->sandbox, &plan, on_opened, live, &err) == 0) {
            nj_live_keep_ahead(live->engine); /* not before: the last one may be this session's */
            return;
        }
    }
    live->engine->warm--;
    live->phase = NJ_BOX_NONE;
    if (err.code == NJ_E_INPUT || err.code == NJ_E_LIMIT)
        nj_seat_fail(&live->seat, &err);
    else
        nj_engine_fail(live->engine, &err); /* the helper is gone: no session gets a box any more */
}

/* ---- calling ---- */

void nj_live_taken(struct nj_live *live, const struct nj_call_outcome *outcome,
                   const struct nj_call_meta *meta, const struct nj_error *err)
{
    struct nj_call_meta told = *meta;

    if (live->engine->failed)
        return;
    if (err) {
        box_lost(live, err); /* what a supervisor sends is hostile until checked */
        return;
    }
    live->box_state = (struct nj_workspace_ref){.tree = outcome->tree, .stamps = meta->stamps};
    live->scanned = false;
    become_idle(live);
    if (live->engine->evict_always)
        nj_live_drop_box(live, "NJ_TEST_EVICT_ALWAYS");
    nj_live_release_slot(live);
    nj_tool_note_level(&told, live->box_level);
    deliver_outcome(live, outcome, &told);
}

static void on_called(void *ctx, const struct nj_box_result *result, const struct nj_error *err)
{
    struct nj_live *live = ctx;
    struct nj_error take_err = {0};
    int r;

    if (!result) {
        box_lost(live, err);
        return;
    }
    r = nj_live_take(live, result, &take_err);
    if (r != 1) /* else: later */
        nj_live_taken(live, &result->outcome, &result->meta, r < 0 ? &take_err : NULL);
}

/* A long call's output is taken down as it comes: after a crash it shows how far the call had got.
 */
static void on_output(void *ctx, int stream, struct nj_span piece)
{
    struct nj_live *live = ctx;
    struct nj_buf *scratch = &live->engine->scratch;
    struct nj_packer packer;
    struct nj_error err = {0};

    if (live->judging)
        return;
    nj_buf_clear(scratch);
    nj_packer_init(&packer, scratch);
    nj_pack_map(&packer, 4);
    nj_pack_put_uint(&packer, "call", live->call_index);
    nj_pack_put_bin(&packer, "data", piece);
    nj_pack_put_uint(&packer, "stream", (uint64_t)stream);
    nj_pack_put_uint(&packer, "turn", live->seat.session->turn);
    if (nj_packer_end(&packer, &err) < 0 ||
        nj_live_append(live, NJ_FRAME_OUTPUT, nj_buf_span(scratch), &err) < 0)
        nj_engine_fail(live->engine, &err);
}

static void begin_call(struct nj_live *live)
{
    struct nj_error err = {0};

    leave_idle(live);
    live->phase = NJ_BOX_CALLING;
    if (nj_box_call(live->box, &live->call.box, on_output, on_called, live, &err) < 0)
        box_lost(live, &err);
}

static bool holds_workspace(const struct nj_live *live)
{
    const struct nj_workspace_ref *now = &live->seat.session->workspace;

    return nj_digest_equal(&live->box_state.tree, &now->tree) &&
           nj_digest_equal(&live->box_state.stamps, &now->stamps);
}

/* The next thing on the way to a running call; every callback on this way comes back here. */
static void go_on(struct nj_live *live)
{
    if (live->seat.over || live->engine->failed)
        return;
    if (!live->box) {
        if (live->phase == NJ_BOX_NONE)
            open_box(live);
        return;
    }
    if (!holds_workspace(live)) {
        leave_idle(live);
        restore(live);
        return;
    }
    begin_call(live);
}

int nj_live_call(struct nj_live *live, struct nj_error *err)
{
    (void)err;
    if (live->call.refusal) {
        deliver_refusal(live, live->call.refusal);
        return 0;
    }
    leave_idle(live); /* about to be used: not to be evicted while it waits for a slot */
    TAILQ_INSERT_TAIL(&live->engine->slot_queue, live, slot_link);
    live->slot_queued = true;
    nj_live_grant_slots(live->engine);
    return 0;
}

/* ---- the walk before archiving ---- */

static void on_scanned(void *ctx, uint64_t files, uint64_t misses, const struct nj_error *err)
{
    struct nj_live *live = ctx;

    (void)files;
    live->scanned = true;
    live->phase = NJ_BOX_IDLE;
    if (!err)
        live->engine->scan_misses += misses;
    live->after_scan(live);
}

void nj_live_scan(struct nj_live *live, void (*then)(struct nj_live *live))
{
    struct nj_error err = {0};

    live->after_scan = then;
    leave_idle(live);
    live->phase = NJ_BOX_SCANNING;
    if (nj_box_scan(live->box, on_scanned, live, &err) < 0)
        on_scanned(live, 0, 0, &err); /* the box is gone: what was captured stands */
}
