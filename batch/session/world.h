/*
 * world.h - the only window of a session: everything uncertain enters through it
 *
 * A seat is a session at work: the core, the world it looks at, and the loop between them
 * (drive.c). The world starts what it is asked for and ends it, at once or later, with
 * nj_seat_deliver() or nj_seat_fail(). record() comes before the core sees an event: the live world
 * journals there, the recorded world compares.
 *
 * world_live (batch/engine) talks to models, boxes and the journal; world_recorded (replay) answers
 * from the record and re-executes the calls.
 */
#ifndef NJ_SESSION_WORLD_H
#define NJ_SESSION_WORLD_H

#include "batch/session/session.h"

struct nj_seat;

struct nj_world {
    /* ask, call, judge, save, close: begin what @action asks for. Negative: the seat fails with
     * @err. */
    int (*ask)(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
               struct nj_error *err);
    int (*call)(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                struct nj_error *err);
    int (*judge)(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                 struct nj_error *err);
    int (*save)(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                struct nj_error *err); /* deliver SNAPSHOTTED once the snapshot is durable */
    int (*close)(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                 struct nj_error *err);

    /* record - take the event down before the core sees it, and number it (seat->session->sequence)
     */
    int (*record)(struct nj_world *world, struct nj_seat *seat, const struct nj_event *event,
                  struct nj_error *err);

    /* ended - the session is DONE, or failed with @err; the seat does nothing any more, but must
     * outlive this call: free it from the loop, later */
    void (*ended)(struct nj_world *world, struct nj_seat *seat, const struct nj_error *err);
};

/* Embedded by whoever runs sessions. */
struct nj_seat {
    struct nj_session *session; /* owned by the embedder */
    struct nj_world *world;
    struct nj_object_sink sink; /* where the core's objects go */
    bool running;               /* inside the loop: a delivery is noted, not nested */
    bool pending;               /* the core moved: look at its action */
    bool busy;                  /* an action was begun and nothing came of it yet */
    bool paused;                /* no new action is begun (suspension, shutdown) */
    bool over;                  /* ended() was called */
};

/* nj_seat_start - look at the action and begin it, unless one is under way already (after a pause);
 * for a fresh session deliver OPENED instead */
void nj_seat_start(struct nj_seat *seat);

/* nj_seat_deliver - record @event, fold it in, begin the next action. @first as in
 * nj_session_step(). */
void nj_seat_deliver(struct nj_seat *seat, const struct nj_event *event, struct nj_span first);

/* nj_seat_fail - the world cannot go on with this seat */
void nj_seat_fail(struct nj_seat *seat, const struct nj_error *err);

/* nj_seat_pause - begin no further action; nj_seat_start() goes on */
void nj_seat_pause(struct nj_seat *seat);

#endif
