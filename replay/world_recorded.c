/*
 * world_recorded.c - answers from the record
 *
 * The one complication is order. The core asks in the order in which the engine journaled, so the
 * record is read with one cursor: what stands between two answers (boxes, failed attempts,
 * suspensions, pieces of output) is folded or passed over on the way, and an answer of another kind
 * than the one that is due is a difference of its own.
 */
#include "replay/world_recorded.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stddef.h>

#include "batch/engine/outputs.h"
#include "replay/recorded_inside.h"
#include "replay/render.h"

#include "formats/base/banned.h"

static struct nj_recorded *recorded_of(struct nj_seat *seat)
{
    return (struct nj_recorded *)((char *)seat - offsetof(struct nj_recorded, seat));
}

/* ---- the end ---- */

static void on_finish(evutil_socket_t fd, short what, void *arg)
{
    struct nj_recorded *recorded = arg;

    (void)fd;
    (void)what;
    recorded->done(recorded->ctx);
}

/* From the loop, later: whoever is told may free everything that is on the stack now. */
static void finish(struct nj_recorded *recorded)
{
    if (recorded->finished)
        return;
    recorded->finished = true;
    nj_seat_pause(&recorded->seat);
    nj_recorded_drop_box(recorded);
    event_active(recorded->finish, EV_TIMEOUT, 0);
}

static void ended(struct nj_world *world, struct nj_seat *seat, const struct nj_error *err)
{
    struct nj_recorded *recorded = recorded_of(seat);

    (void)world;
    if (err) {
        recorded->result.failed = true;
        recorded->result.error = *err;
    }
    finish(recorded);
}

/* ---- the cursor ---- */

static bool is_step(enum nj_event_kind kind)
{
    return kind == NJ_EVENT_REPLY || kind == NJ_EVENT_TOOL_DONE || kind == NJ_EVENT_JUDGED;
}

static int read_event(struct nj_recorded *recorded, const struct nj_frame *frame,
                      struct nj_event *event, struct nj_span *ret_first, struct nj_error *err)
{
    nj_buf_clear(&recorded->messages);
    if (nj_event_decode(frame->payload, event, err) < 0 ||
        nj_record_messages(recorded->record, event, &recorded->messages, ret_first, err) < 0)
        return nj_wrap(err, "frame %" PRIu64, frame->sequence);
    return 0;
}

static int fold_lifecycle(struct nj_recorded *recorded, const struct nj_event *event,
                          uint64_t sequence, struct nj_error *err)
{
    if (event->kind == NJ_EVENT_BOX && event->box.change == NJ_BOX_LOST)
        recorded->boxes_lost++;
    recorded->sequence = sequence;
    nj_seat_deliver(&recorded->seat, event, (struct nj_span){0});
    if (!recorded->seat.over)
        return 0;
    *err = recorded->result.error;
    return nj_wrap(err, "frame %" PRIu64, sequence);
}

/* The next frame that is no mere circumstance: a content event or a snapshot. 1: the record ends
 * here. */
static int advance(struct nj_recorded *recorded, struct nj_frame *frame, struct nj_event *event,
                   struct nj_error *err)
{
    uint64_t frames = nj_record_info(recorded->record)->frames;
    struct nj_span first;
    int r;

    for (; recorded->next <= frames; recorded->next++) {
        nj_buf_clear(&recorded->frame);
        r = nj_record_frame(recorded->record, recorded->next, &recorded->frame, frame, err);
        if (r < 0)
            return nj_wrap(err, "frame %" PRIu64, recorded->next);
        if (frame->kind == NJ_FRAME_SNAPSHOT)
            return 0;
        if (frame->kind != NJ_FRAME_EVENT)
            continue;
        r = read_event(recorded, frame, event, &first, err);
        if (r < 0)
            return r;
        if (nj_event_is_content(event->kind))
            return 0;
        r = fold_lifecycle(recorded, event, frame->sequence, err);
        if (r < 0)
            return r;
    }
    return 1;
}

/* The core and the record went different ways: neither can be followed any further. */
static int stop_apart(struct nj_recorded *recorded, const char *due, const char *found,
                      struct nj_error *err)
{
    nj_buf_clear(&recorded->what);
    if (nj_buf_printf(&recorded->what, err,
                      "%s was due, but the record goes on with %s (frame %" PRIu64 ")", due, found,
                      recorded->next) < 0 ||
        nj_recorded_diverged(recorded, NJ_DIVERGENCE_RECORD, err) < 0)
        return -(int)err->code;
    finish(recorded);
    return 1;
}

/*
 * The content event that is due, taken from the record into recorded->event. Returns 0, or 1 when
 * the replay is over: the record ends, or something else stands there.
 */
static int take_event(struct nj_recorded *recorded, enum nj_event_kind kind,
                      enum nj_event_kind or_kind, const char *due, struct nj_error *err)
{
    struct nj_frame frame;
    struct nj_event event = {0};
    int r;

    r = advance(recorded, &frame, &event, err);
    if (r < 0)
        return r;
    if (r == 1) {
        finish(recorded);
        return 1;
    }
    if (frame.kind == NJ_FRAME_SNAPSHOT)
        return stop_apart(recorded, due, "a snapshot", err);
    if (event.kind != kind && event.kind != or_kind)
        return stop_apart(recorded, due, nj_event_kind_text(event.kind), err);
    recorded->event = event;
    recorded->sequence = frame.sequence;
    recorded->next++;
    if (is_step(event.kind))
        recorded->result.steps++;
    return 0;
}

/* ---- the model ---- */

static int ask(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
               struct nj_error *err)
{
    struct nj_recorded *recorded = recorded_of(seat);
    const struct nj_digest *request;
    int r;

    (void)world;
    r = take_event(recorded, NJ_EVENT_REPLY, NJ_EVENT_NO_REPLY, "the model's reply", err);
    if (r != 0)
        return r < 0 ? r : 0;
    request = recorded->event.kind == NJ_EVENT_REPLY ? &recorded->event.reply.request
                                                     : &recorded->event.no_reply.request;
    if (!nj_digest_equal(request, &action->request)) {
        nj_buf_clear(&recorded->what);
        if (nj_buf_text(&recorded->what,
                        "the model was asked with something else: recorded request ", err) < 0 ||
            nj_render_digest(&recorded->what, request, err) < 0 ||
            nj_buf_text(&recorded->what, ", now ", err) < 0 ||
            nj_render_digest(&recorded->what, &action->request, err) < 0 ||
            nj_recorded_diverged(recorded, NJ_DIVERGENCE_REQUEST, err) < 0)
            return -(int)err->code;
    }
    recorded->result.replies++;
    nj_seat_deliver(seat, &recorded->event, (struct nj_span){0});
    return 0;
}

/* ---- calls ---- */

/* Then it counts, and what the record says is folded in, whatever came out now. */
static void go_on_as_recorded(struct nj_recorded *recorded)
{
    if (recorded->run_again && recorded->judging)
        recorded->result.checks++;
    else if (recorded->run_again)
        recorded->result.calls++;
    recorded->boxes_lost = 0;
    nj_seat_deliver(&recorded->seat, &recorded->event, (struct nj_span){0});
}

void nj_recorded_ran(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                     const struct nj_call_meta *meta)
{
    struct nj_error err = {0};

    if (nj_recorded_judge(recorded, now, meta, &err) < 0) {
        nj_seat_fail(&recorded->seat, &err);
        return;
    }
    nj_recorded_judged(recorded);
    go_on_as_recorded(recorded);
}

/* A call that the tool itself refused ran nowhere, then or now. */
static int refused(struct nj_recorded *recorded, struct nj_error *err)
{
    const struct nj_session *session = recorded->seat.session;
    struct nj_call_outcome now = {.exit = NJ_EXIT_REFUSED,
                                  .text = nj_span_text(recorded->call.refusal),
                                  .tree = session->workspace.tree};

    nj_digest_bytes("", 0, &now.out.digest);
    nj_digest_bytes("", 0, &now.errors.digest);
    if (nj_recorded_compare(recorded, &now, err) < 0)
        return -(int)err->code;
    recorded->result.refusals++;
    go_on_as_recorded(recorded);
    return 0;
}

static int run_call(struct nj_recorded *recorded, struct nj_error *err)
{
    recorded->run_again = false;
    recorded->tries = 0;
    if (recorded->call.refusal)
        return refused(recorded, err);
    if (nj_recorded_outcome(recorded)->exit == NJ_EXIT_REFUSED && recorded->boxes_lost > 0) {
        recorded->result
            .unjudged++; /* its box was lost until the engine gave up: nothing ran to its end */
        go_on_as_recorded(recorded);
        return 0;
    }
    nj_recorded_run(recorded);
    return 0;
}

static int call(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                struct nj_error *err)
{
    struct nj_recorded *recorded = recorded_of(seat);
    int r;

    (void)world;
    r = take_event(recorded, NJ_EVENT_TOOL_DONE, NJ_EVENT_TOOL_DONE, "a tool call", err);
    if (r != 0)
        return r < 0 ? r : 0;
    nj_arena_reset(&recorded->arena);
    recorded->judging = false;
    if (nj_tool_prepare(seat->session->config, action->tool->name, action->tool->input,
                        seat->session->tool_time_ms, &recorded->arena, &recorded->call, err) < 0)
        return -(int)err->code;
    nj_tool_follow(seat->session, &recorded->call);
    return run_call(recorded, err);
}

static int judge(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                 struct nj_error *err)
{
    struct nj_recorded *recorded = recorded_of(seat);
    int r;

    (void)world;
    (void)action;
    r = take_event(recorded, NJ_EVENT_JUDGED, NJ_EVENT_JUDGED, "the accept command", err);
    if (r != 0)
        return r < 0 ? r : 0;
    nj_arena_reset(&recorded->arena);
    recorded->judging = true;
    if (nj_tool_prepare_command(seat->session->config, seat->session->tool_time_ms,
                                &recorded->arena, &recorded->call, err) < 0)
        return nj_wrap(err, "accept command");
    nj_tool_follow(seat->session, &recorded->call);
    return run_call(recorded, err);
}

/* ---- snapshots ---- */

static int compare_snapshot(struct nj_recorded *recorded, struct nj_span packed_then,
                            struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    struct nj_snapshot then, now;

    nj_session_checkpoint(recorded->seat.session, &now);
    nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
    if (nj_snapshot_pack(&now, &packed, err) < 0)
        return -(int)err->code;
    recorded->result.snapshots++;
    if (nj_span_equal(nj_buf_span(&packed), packed_then))
        return 0;
    if (nj_snapshot_unpack(packed_then, &arena, &then, err) < 0)
        return nj_wrap(err, "frame %" PRIu64, recorded->next);
    nj_buf_clear(&recorded->what);
    return nj_recorded_note(recorded, nj_compare_snapshots(&then, &now, &recorded->what, err),
                            NJ_DIVERGENCE_SNAPSHOT, err);
}

static int save(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                struct nj_error *err)
{
    struct nj_recorded *recorded = recorded_of(seat);
    struct nj_event durable = {.kind = NJ_EVENT_SNAPSHOTTED};
    struct nj_event event = {0};
    struct nj_frame frame;
    int r;

    (void)world;
    (void)action;
    r = advance(recorded, &frame, &event, err);
    if (r < 0)
        return r;
    if (r == 1) {
        finish(recorded);
        return 0;
    }
    if (frame.kind != NJ_FRAME_SNAPSHOT) {
        r = stop_apart(recorded, "a snapshot", nj_event_kind_text(event.kind), err);
        return r < 0 ? r : 0;
    }
    r = compare_snapshot(recorded, frame.payload, err);
    if (r < 0)
        return r;
    recorded->next++;
    nj_seat_deliver(seat, &durable, (struct nj_span){0});
    return 0;
}

/* ---- closing ---- */

/* Everything that is put is derived from the record, which has it already; only its digest is of
 * interest. */
static int drop_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    (void)ctx;
    (void)object;
    (void)err;
    return 0;
}

static int compare_outputs(struct nj_recorded *recorded, struct nj_error *err)
{
    const struct nj_session *session = recorded->seat.session;
    const struct nj_event *then = &recorded->event;
    struct nj_object_source source = nj_record_objects(recorded->record);
    struct nj_object_sink sink = {.put = drop_object};
    bool has_now = session->status == NJ_STATUS_SUCCEEDED && session->config->n_outputs > 0;
    struct nj_digest now;

    if (has_now && nj_outputs_collect(&source, &session->workspace.tree, session->config->outputs,
                                      session->config->n_outputs, &sink, &now, err) < 0)
        return nj_wrap(err, "collect outputs");
    if (has_now != then->closed.has_outputs) {
        if (nj_buf_printf(&recorded->what, err, "outputs: recorded %s, now %s",
                          then->closed.has_outputs ? "some" : "none",
                          has_now ? "some" : "none") < 0)
            return -(int)err->code;
        return 1;
    }
    if (!has_now || nj_digest_equal(&now, &then->closed.outputs))
        return 0;
    if (nj_buf_text(&recorded->what, "the outputs are not what the last workspace holds: recorded ",
                    err) < 0 ||
        nj_render_digest(&recorded->what, &then->closed.outputs, err) < 0 ||
        nj_buf_text(&recorded->what, ", now ", err) < 0 ||
        nj_render_digest(&recorded->what, &now, err) < 0)
        return -(int)err->code;
    return 1;
}

static int compare_status(struct nj_recorded *recorded, const struct nj_action *action,
                          struct nj_error *err)
{
    const struct nj_event *then = &recorded->event;

    if (then->closed.status == action->status &&
        nj_span_is(then->closed.error_kind, action->error_kind))
        return 0;
    if (nj_buf_printf(&recorded->what, err, "the status differs: recorded %s ",
                      nj_status_text(then->closed.status)) < 0 ||
        nj_render_quoted(&recorded->what, then->closed.error_kind, err) < 0 ||
        nj_buf_printf(&recorded->what, err, ", now %s ", nj_status_text(action->status)) < 0 ||
        nj_render_quoted(&recorded->what, nj_span_text(action->error_kind), err) < 0)
        return -(int)err->code;
    return 1;
}

static int close_session(struct nj_world *world, struct nj_seat *seat,
                         const struct nj_action *action, struct nj_error *err)
{
    struct nj_recorded *recorded = recorded_of(seat);
    const struct nj_event *then = &recorded->event;
    struct nj_buf *what = &recorded->what;
    int r;

    (void)world;
    r = take_event(recorded, NJ_EVENT_CLOSED, NJ_EVENT_CLOSED, "the end of the session", err);
    if (r != 0)
        return r < 0 ? r : 0;
    nj_buf_clear(what);
    r = nj_recorded_note(recorded, compare_status(recorded, action, err), NJ_DIVERGENCE_CLOSED,
                         err);
    if (r == 0)
        r = nj_recorded_note(recorded,
                             nj_compare_bytes("the error's text", then->closed.error_text,
                                              nj_span_text(action->error_text), what, err),
                             NJ_DIVERGENCE_CLOSED, err);
    if (r == 0)
        r = nj_recorded_note(
            recorded,
            nj_compare_bytes("the result", then->closed.result, action->result, what, err),
            NJ_DIVERGENCE_CLOSED, err);
    if (r == 0)
        r = nj_recorded_note(recorded, compare_outputs(recorded, err), NJ_DIVERGENCE_CLOSED, err);
    if (r < 0)
        return r;
    recorded->result.closed = true;
    nj_seat_deliver(seat, &recorded->event, (struct nj_span){0});
    return 0;
}

/* The recorded event is the one that is folded: the core gets the number it had. */
static int record(struct nj_world *world, struct nj_seat *seat, const struct nj_event *event,
                  struct nj_error *err)
{
    (void)world;
    (void)err;
    if (event->kind != NJ_EVENT_SNAPSHOTTED)
        seat->session->sequence = recorded_of(seat)->sequence;
    return 0;
}

/* ---- beginning ---- */

static int read_config(struct nj_recorded *recorded, const struct nj_digest *digest,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object_source objects = nj_record_objects(recorded->record);
    struct nj_session_config *config;

    nj_buf_init(&bytes, NJ_CONFIG_MAX_BYTES);
    if (nj_object_get(&objects, NJ_OBJECT_CONFIG, digest, &bytes, err) < 0 ||
        nj_config_decode(nj_buf_span(&bytes), &recorded->config_arena, &config, err) < 0)
        return nj_wrap(err, "the session's config");
    return nj_session_new(config, &recorded->seat.session, err);
}

static int visit_input(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                       struct nj_error *err)
{
    (void)ctx;
    (void)kind;
    (void)digest;
    (void)err;
    return 0;
}

/* The helper places mounts into boxes; all that it will need must be there before the first call.
 */
static int give_mounts(struct nj_recorded *recorded, struct nj_error *err)
{
    const struct nj_session_config *config = recorded->seat.session->config;
    struct nj_object_source inputs = nj_record_inputs(recorded->record);

    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct nj_config_mount *mount = &config->mounts[i];
        int r;

        r = nj_tree_reach(&inputs, &mount->input, visit_input, NULL, err);
        if (r < 0 && !nj_record_info(recorded->record)->inputs_embedded &&
            nj_record_is_bundle(recorded->record))
            return nj_fail(
                err, NJ_E_INPUT,
                "mount %s: the bundle keeps its inputs by reference only; verify the session in "
                "its run, as RUN:KEY, or bundle it with `archive: {inputs: embed}`",
                mount->target);
        if (r == 0)
            r = nj_sandbox_add_input(recorded->hall->sandbox, &mount->input, &inputs, err);
        if (r < 0)
            return nj_wrap(err, "mount %s", mount->target);
    }
    return 0;
}

/* An image that was given counts, whether the record holds its own or not. Another one than the
 * recorded is a different environment: what differs then is no verdict on the code. */
static int give_image(struct nj_recorded *recorded, struct nj_error *err)
{
    const struct nj_config_rootfs *recorded_image = recorded->seat.session->config->rootfs;
    const struct nj_image *image = recorded->hall->image;
    struct nj_object_source inputs = nj_record_inputs(recorded->record);
    int r;

    if (!recorded_image)
        return 0;
    if (image) {
        r = nj_image_compare(image, &recorded_image->digest, &recorded->result.environment, err);
        return r < 0 ? r
                     : nj_sandbox_add_rootfs(recorded->hall->sandbox, &image->input, true,
                                             &image->source, err);
    }
    r = nj_tree_reach(&inputs, &recorded_image->input, visit_input, NULL, err);
    if (r < 0 && !nj_record_info(recorded->record)->inputs_embedded &&
        nj_record_is_bundle(recorded->record))
        return nj_image_wanted(&recorded_image->digest, recorded_image->is_tar, err);
    return r < 0 ? nj_wrap(err, "rootfs")
                 : nj_sandbox_add_rootfs(recorded->hall->sandbox, &recorded_image->input,
                                         recorded_image->is_tar, &inputs, err);
}

static int check_plan(struct nj_recorded *recorded, struct nj_error *err)
{
    struct nj_box_plan plan;

    if (nj_tool_box_plan(recorded->seat.session->config, &recorded->arena, &plan, err) < 0 ||
        nj_box_plan_check(&plan, err) < 0)
        return nj_wrap(err, "the recorded sandbox");
    return 0;
}

static int open_session(struct nj_recorded *recorded, struct nj_error *err)
{
    struct nj_frame frame;
    struct nj_span first;

    recorded->next = 1;
    if (nj_record_frame(recorded->record, 1, &recorded->frame, &frame, err) < 0)
        return nj_wrap(err, "frame 1");
    if (frame.kind != NJ_FRAME_EVENT)
        return nj_fail(err, NJ_E_CORRUPT, "frame 1 is no event");
    if (read_event(recorded, &frame, &recorded->event, &first, err) < 0)
        return -(int)err->code;
    if (recorded->event.kind != NJ_EVENT_OPENED)
        return nj_fail(err, NJ_E_CORRUPT, "frame 1 does not open the session");
    if (read_config(recorded, &recorded->event.opened.config, err) < 0 ||
        check_plan(recorded, err) < 0 || give_mounts(recorded, err) < 0 ||
        give_image(recorded, err) < 0)
        return -(int)err->code;
    recorded->sequence = 1;
    recorded->next = 2;
    nj_seat_deliver(&recorded->seat, &recorded->event, first);
    return 0;
}

int nj_recorded_start(const struct nj_recorded_hall *hall, struct nj_record *record_read,
                      void (*done)(void *ctx), void *ctx, struct nj_recorded **ret_recorded,
                      struct nj_error *err)
{
    NJ_AUTO(nj_recorded_free) struct nj_recorded *recorded = calloc(1, sizeof(*recorded));

    if (!recorded)
        return nj_fail_nomem(err);
    recorded->hall = hall;
    recorded->record = record_read;
    recorded->done = done;
    recorded->ctx = ctx;
    recorded->world = (struct nj_world){
        .ask = ask,
        .call = call,
        .judge = judge,
        .save = save,
        .close = close_session,
        .record = record,
        .ended = ended,
    };
    recorded->seat.world = &recorded->world;
    recorded->seat.sink = (struct nj_object_sink){.put = drop_object};
    nj_buf_init(&recorded->frame, NJ_FRAME_PAYLOAD_MAX_BYTES);
    nj_buf_init(&recorded->messages, NJ_OBJECT_MAX_BYTES);
    nj_buf_init(&recorded->what, NJ_RENDER_MAX_BYTES);
    nj_buf_init(&recorded->where, NJ_DIVERGENCE_TEXT_MAX_BYTES);
    nj_buf_init(&recorded->result.environment, 1u << 20);
    recorded->finish = event_new(hall->base, -1, 0, on_finish, recorded);
    if (!recorded->finish)
        return nj_fail_nomem(err);
    if (nj_environment_parse(nj_record_info(record_read)->environment, &recorded->then, err) < 0 ||
        open_session(recorded, err) < 0)
        return -(int)err->code;
    *ret_recorded = nj_steal_ptr(&recorded);
    return 0;
}

const struct nj_recorded_result *nj_recorded_result(const struct nj_recorded *recorded)
{
    return &recorded->result;
}

const char *nj_recorded_level(const struct nj_recorded *recorded)
{
    return recorded->seat.session->config->reproducible;
}

void nj_recorded_free(struct nj_recorded *recorded)
{
    if (!recorded)
        return;
    recorded->seat.over = true;
    nj_recorded_drop_box(recorded);
    if (recorded->finish)
        event_free(recorded->finish);
    nj_session_free(recorded->seat.session);
    nj_divergences_done(&recorded->result.divergences);
    nj_buf_done(&recorded->result.environment);
    free(recorded->result.levels.items);
    nj_environment_done(&recorded->then);
    nj_arena_done(&recorded->arena);
    nj_arena_done(&recorded->config_arena);
    nj_buf_done(&recorded->frame);
    nj_buf_done(&recorded->messages);
    nj_buf_done(&recorded->what);
    nj_buf_done(&recorded->where);
    free(recorded);
}
