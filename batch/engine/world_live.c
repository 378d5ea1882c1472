/*
 * world_live.c - the live world: models, boxes and the journal behind the core's window
 *
 * Everything that comes back is turned into one event, taken down in the journal's pending batch,
 * and only then folded in; the consequence leaves the process when the snapshot behind it is
 * durable.
 */
#include "batch/engine/live.h"

#include <stddef.h>

#include "formats/base/log.h"

#include "formats/base/banned.h"

/* ---- models ---- */

/* What a service said beside its reply, and what was received of one that was none. */
static int keep_answer(struct nj_live *live, const struct nj_model_failure *failure,
                       struct nj_event *event, struct nj_error *err)
{
    event->answer.request_id = nj_span_text(failure->request_id);
    event->answer.place = failure->place;
    event->answer.began = live->request.begins;
    event->answer.reserved_micro_usd = live->reserved_micro_usd;
    if (failure->raw.len == 0)
        return 0;
    event->answer.has_raw = true;
    return nj_object_put(&live->seat.sink, NJ_OBJECT_BLOB, failure->raw, &event->answer.raw, err);
}

static const struct nj_manifest_role *role_of(const struct nj_live *live)
{
    return &live->engine->manifest->roles[live->plan->role];
}

int nj_live_note_answer(struct nj_live *live, const struct nj_event *event, struct nj_error *err)
{
    uint8_t began = (uint8_t)event->answer.began;

    if (role_of(live)->return_seconds == 0)
        return 0;
    if (event->answer.began >= role_of(live)->n_chain ||
        event->answer.place >= role_of(live)->n_chain)
        return nj_fail(err, NJ_E_CORRUPT, "an answer of a model that the chain has not");
    if (event->kind == NJ_EVENT_ATTEMPT)
        live->request.begins = began;
    if (event->kind != NJ_EVENT_REPLY)
        return 0;
    nj_stay_replied(&live->stay, began, (size_t)event->answer.place, event->time_ns);
    return nj_buf_append(&live->began, &began, sizeof(began), err);
}

static void on_replied(void *ctx, const struct nj_model_reply *reply)
{
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_live *live = ctx;
    struct nj_event event = nj_live_event(live, NJ_EVENT_REPLY);
    struct nj_action action;
    struct nj_error err = {0};

    live->model_call = NULL;
    nj_session_action(live->seat.session, &action);
    event.attempt = live->seat.session->attempts_failed + 1;
    event.answer.reserved_micro_usd = live->reserved_micro_usd;
    nj_money_settle(live, reply->cost_micro_usd);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    /* Its provider has checked that the core can read it (provider.h). */
    if (nj_message_assistant(reply->content, &item, &err) < 0) {
        nj_seat_fail(&live->seat, &err);
        return;
    }
    event.reply.turn = live->request.turn;
    event.reply.model = reply->model;
    event.reply.stop = reply->stop;
    event.reply.usage = reply->usage;
    event.reply.cost_micro_usd = reply->cost_micro_usd;
    event.reply.duration_ms = reply->duration_ms;
    event.reply.message_bytes = nj_buf_span(&item);
    event.reply.request = action.request;
    event.answer.request_id = nj_span_text(reply->request_id);
    event.answer.variants = reply->variants;
    event.answer.place = reply->place;
    event.answer.began = live->request.begins;
    if (nj_object_put(&live->seat.sink, NJ_OBJECT_MESSAGE, nj_buf_span(&item), &event.reply.message,
                      &err) < 0) {
        nj_seat_fail(&live->seat, &err);
        return;
    }
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
}

/* attempt_event - a try that gave no reply and is not its turn's last; what came is kept. False
 * when that failed, and the session with it. */
static bool attempt_event(struct nj_live *live, const struct nj_model_failure *failure,
                          struct nj_event *event)
{
    struct nj_error err = {0};

    *event = nj_live_event(live, NJ_EVENT_ATTEMPT);
    event->attempt = live->seat.session->attempts_failed + 1;
    event->attempt_failed.turn = live->request.turn;
    event->attempt_failed.model = nj_span_text(failure->model);
    event->attempt_failed.cause = nj_span_text(failure->cause);
    event->attempt_failed.text = nj_span_text(failure->text);
    event->attempt_failed.cost_micro_usd = failure->cost_micro_usd;
    if (keep_answer(live, failure, event, &err) < 0) {
        nj_seat_fail(&live->seat, &err);
        return false;
    }
    return true;
}

/* Every other session would fail alike: the run is suspended with the cure, and this session's turn
 * is asked again when the run is gone on with. */
static void stop_for(struct nj_live *live, const struct nj_model_failure *failure)
{
    struct nj_event event;

    if (!attempt_event(live, failure, &event))
        return;
    nj_money_settle(live, failure->cost_micro_usd);
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
    if (!live->engine->stopping) /* those that were under way fail alike */
        nj_live_blame(live, failure);
    nj_engine_suspend(live->engine, "model");
}

static void on_model_failed(void *ctx, const struct nj_model_failure *failure)
{
    struct nj_live *live = ctx;
    struct nj_event event = nj_live_event(live, NJ_EVENT_NO_REPLY);
    struct nj_action action;
    struct nj_error err = {0};

    live->model_call = NULL;
    if (failure->stop_run) {
        stop_for(live, failure);
        return;
    }
    nj_session_action(live->seat.session, &action);
    event.attempt = live->seat.session->attempts_failed + 1;
    event.no_reply.turn = live->request.turn;
    event.no_reply.cause = nj_span_text(failure->cause);
    event.no_reply.text = nj_span_text(failure->text);
    event.no_reply.request = action.request;
    event.no_reply.cost_micro_usd = failure->cost_micro_usd;
    if (keep_answer(live, failure, &event, &err) < 0) {
        nj_seat_fail(&live->seat, &err);
        return;
    }
    nj_money_settle(live, failure->cost_micro_usd);
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
}

static void on_attempt(void *ctx, const struct nj_model_failure *failure)
{
    struct nj_live *live = ctx;
    struct nj_event event;

    if (!attempt_event(live, failure, &event))
        return;
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
    if (live->seat.over || nj_money_renew(live, failure->cost_micro_usd))
        return;
    nj_live_cancel_model(live); /* the failed try took what the next one would have needed */
    nj_money_ask(live);
}

static int find_schemas(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    struct nj_engine *engine = live->engine;
    struct nj_engine_schemas *schemas;

    nj_buf_init(&json, NJ_TOOLS_SCHEMA_MAX_BYTES);
    if (nj_tool_schemas(live->seat.session->config, &json, err) < 0)
        return -(int)err->code;
    for (schemas = engine->schemas; schemas; schemas = schemas->next)
        if (nj_span_equal(nj_buf_span(&schemas->json), nj_buf_span(&json)))
            break;
    if (!schemas) {
        schemas = calloc(1, sizeof(*schemas));
        if (!schemas)
            return nj_fail_nomem(err);
        *schemas = (struct nj_engine_schemas){.json = json, .next = engine->schemas};
        json = (struct nj_buf){0};
        engine->schemas = schemas;
    }
    live->tools = nj_buf_span(&schemas->json);
    return 0;
}

void nj_world_live_done(struct nj_engine *engine)
{
    while (engine->schemas) {
        struct nj_engine_schemas *next = engine->schemas->next;

        nj_buf_done(&engine->schemas->json);
        free(engine->schemas);
        engine->schemas = next;
    }
}

static int ask(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
               struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);

    (void)world;
    /* It may wait for hours, and what its last call was made of is not needed any more. */
    live->call = (struct nj_tool_call){0};
    nj_arena_done(&live->arena);
    if (!live->tools.data && find_schemas(live, err) < 0)
        return -(int)err->code;
    live->request = (struct nj_model_request){
        .begins = live->request.begins,
        .session = seat->session,
        .turn = action->turn,
        .item_json = live->plan->item_json,
        .session_attempt = nj_live_attempt(live),
        .tools = live->tools,
        .identity = &live->plan->identity,
    };
    nj_money_ask(live);
    return 0;
}

void nj_live_ask_model(struct nj_live *live)
{
    struct nj_model_callbacks callbacks = {
        .replied = on_replied, .failed = on_model_failed, .attempt = on_attempt, .ctx = live};
    struct nj_error err = {0};

    live->request.attempts_failed = live->seat.session->attempts_failed;
    if (live->request.attempts_failed == 0)
        live->request.begins = nj_stay_begins(&live->stay, role_of(live), nj_live_now_ns());
    live->request.began = nj_buf_span(&live->began);
    if (nj_model_ask(live->engine->models, live->plan->role, &live->request, &callbacks,
                     &live->model_call, &err) == 0)
        return;
    nj_money_settle(live, 0);
    nj_seat_fail(&live->seat, &err);
}

void nj_live_cancel_model(struct nj_live *live)
{
    nj_model_cancel(live->model_call);
    live->model_call = NULL;
}

/* ---- tools ---- */

static int call(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);

    (void)world;
    nj_arena_reset(&live->arena);
    live->judging = false;
    live->call_index = action->call;
    if (nj_tool_prepare(seat->session->config, action->tool->name, action->tool->input,
                        seat->session->tool_time_ms, &live->arena, &live->call, err) < 0)
        return nj_wrap(err, "tool %s", action->tool->name);
    nj_tool_follow(seat->session, &live->call);
    return nj_live_call(live, err);
}

static int judge(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                 struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);

    (void)world;
    nj_arena_reset(&live->arena);
    live->judging = true;
    live->call_index = action->round;
    if (nj_tool_prepare_command(seat->session->config, seat->session->tool_time_ms, &live->arena,
                                &live->call, err) < 0)
        return nj_wrap(err, "accept command");
    nj_tool_follow(seat->session, &live->call);
    return nj_live_call(live, err);
}

/* ---- journal ---- */

static void on_snapshot_durable(struct nj_commit_waiter *waiter)
{
    struct nj_live *live = (struct nj_live *)((char *)waiter - offsetof(struct nj_live, waiter));
    struct nj_event event = nj_live_event(live, NJ_EVENT_SNAPSHOTTED);

    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
}

static int save(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);
    struct nj_snapshot snapshot;

    (void)world;
    (void)action;
    nj_session_checkpoint(seat->session, &snapshot);
    nj_buf_clear(&live->engine->scratch);
    if (nj_snapshot_pack(&snapshot, &live->engine->scratch, err) < 0 ||
        nj_live_append(live, NJ_FRAME_SNAPSHOT, nj_buf_span(&live->engine->scratch), err) < 0)
        return -(int)err->code;
    live->waiter.durable = on_snapshot_durable;
    nj_committer_wait(live->engine->committer, &live->waiter);
    return 0;
}

static int record(struct nj_world *world, struct nj_seat *seat, const struct nj_event *event,
                  struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);

    (void)world;
    if (event->kind == NJ_EVENT_SNAPSHOTTED)
        return 0; /* the SNAPSHOT frame is its record */
    nj_buf_clear(&live->engine->scratch);
    if (nj_event_encode(event, &live->engine->scratch, err) < 0 ||
        nj_live_append(live, NJ_FRAME_EVENT, nj_buf_span(&live->engine->scratch), err) < 0 ||
        nj_fold_event(&live->fold, event, err) < 0 || nj_live_note_answer(live, event, err) < 0)
        return -(int)err->code;
    seat->session->sequence = live->sequence;
    return 0;
}

/* ---- the end ---- */

static int collect(struct nj_live *live, struct nj_error *err)
{
    const struct nj_session *session = live->seat.session;
    struct nj_object_source source = nj_live_source(live);

    if (live->closed->closed.status != NJ_STATUS_SUCCEEDED || session->config->n_outputs == 0)
        return 0;
    if (nj_outputs_collect(&source, &session->workspace.tree, session->config->outputs,
                           session->config->n_outputs, &live->seat.sink,
                           &live->closed->closed.outputs, err) < 0)
        return nj_wrap(err, "collect outputs");
    live->closed->closed.has_outputs = true;
    return 0;
}

static void finish_close(struct nj_live *live)
{
    struct nj_error err = {0};

    if (collect(live, &err) < 0)
        nj_seat_fail(&live->seat, &err);
    else
        nj_seat_deliver(&live->seat, live->closed, (struct nj_span){0});
}

static int close_session(struct nj_world *world, struct nj_seat *seat,
                         const struct nj_action *action, struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);

    (void)world;
    if (!live->closed)
        live->closed = calloc(1, sizeof(*live->closed));
    if (!live->closed)
        return nj_fail_nomem(err);
    *live->closed = nj_live_event(live, NJ_EVENT_CLOSED);
    live->closed->closed.status = action->status;
    live->closed->closed.error_kind = nj_span_text(action->error_kind);
    live->closed->closed.error_text = nj_span_text(action->error_text);
    live->closed->closed.result = action->result;
    if (live->box && live->phase == NJ_BOX_IDLE && !live->scanned)
        nj_live_scan(live, finish_close);
    else
        finish_close(live);
    return 0;
}

static void ended(struct nj_world *world, struct nj_seat *seat, const struct nj_error *err)
{
    struct nj_live *live = nj_live_of(seat);
    struct nj_error publish_err = {0};

    (void)world;
    if (live->engine->failed)
        return;
    if (err) {
        live->failed = true;
        live->why = strdup(err->text);
    }
    nj_live_drop_box(live, NULL);
    nj_live_release_slot(live);
    if (nj_live_publish(live, &publish_err) < 0)
        nj_engine_fail(live->engine, &publish_err);
}

void nj_world_live_init(struct nj_world *world)
{
    *world = (struct nj_world){
        .ask = ask,
        .call = call,
        .judge = judge,
        .save = save,
        .close = close_session,
        .record = record,
        .ended = ended,
    };
}
