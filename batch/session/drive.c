/*
 * drive.c - the loop between core and world
 *
 * The one complication: a world may answer at once, from inside the action it was asked for.
 * Deliveries then only note that the core moved, and the outermost call goes round again, so that
 * ten thousand recorded steps need no stack.
 */
#include "batch/session/world.h"

#include <assert.h>

#include "formats/base/banned.h"

void nj_seat_fail(struct nj_seat *seat, const struct nj_error *err)
{
    if (seat->over)
        return;
    seat->over = true;
    seat->world->ended(seat->world, seat, err);
}

static int begin(struct nj_seat *seat, const struct nj_action *action, struct nj_error *err)
{
    struct nj_world *world = seat->world;

    switch (action->kind) {
    case NJ_ACTION_ASK_MODEL:
        return world->ask(world, seat, action, err);
    case NJ_ACTION_RUN_TOOL:
        return world->call(world, seat, action, err);
    case NJ_ACTION_JUDGE:
        return world->judge(world, seat, action, err);
    case NJ_ACTION_SNAPSHOT:
        return world->save(world, seat, action, err);
    case NJ_ACTION_CLOSE:
        return world->close(world, seat, action, err);
    case NJ_ACTION_NONE:
        break;
    }
    assert(seat->session->state == NJ_SESSION_DONE);
    seat->over = true;
    world->ended(world, seat, NULL);
    return 0;
}

static void run(struct nj_seat *seat)
{
    if (seat->running)
        return;
    seat->running = true;
    while (seat->pending && !seat->over) {
        struct nj_error err = {0};
        struct nj_action action;

        /* A snapshot is never held back: what is done is made durable even when nothing new begins.
         */
        nj_session_action(seat->session, &action);
        if (seat->paused && action.kind != NJ_ACTION_SNAPSHOT && action.kind != NJ_ACTION_NONE)
            break;
        seat->pending = false;
        seat->busy = true;
        if (begin(seat, &action, &err) < 0)
            nj_seat_fail(seat, &err);
    }
    seat->running = false;
}

void nj_seat_start(struct nj_seat *seat)
{
    seat->paused = false;
    if (!seat->busy)
        seat->pending = true;
    run(seat);
}

void nj_seat_pause(struct nj_seat *seat)
{
    seat->paused = true;
}

void nj_seat_deliver(struct nj_seat *seat, const struct nj_event *event, struct nj_span first)
{
    struct nj_error err = {0};

    if (seat->over)
        return;
    if (seat->world->record(seat->world, seat, event, &err) < 0 ||
        nj_session_step(seat->session, event, first, &seat->sink, &err) < 0) {
        nj_seat_fail(seat, &err);
        return;
    }
    if (!nj_event_is_content(event->kind) && event->kind != NJ_EVENT_SNAPSHOTTED)
        return; /* lifecycle: whatever was under way goes on */
    seat->busy = false;
    seat->pending = true;
    run(seat);
}
