/*
 * recorded_inside.h - one replayed session; private to world_recorded.c and recorded_*.c
 */
#ifndef NJ_REPLAY_RECORDED_INSIDE_H
#define NJ_REPLAY_RECORDED_INSIDE_H

#include "batch/run/object_index.h"
#include "batch/tools/tool.h"
#include "replay/world_recorded.h"

#define NJ_RECORDED_BOX_TRIES_MAX 3

/* Objects that a call left: the memfd of the supervisor, mapped, and where each lies in it. */
struct nj_recorded_objects {
    void *map;
    size_t map_bytes;
    struct nj_object_index index; /* place.offset and place.bytes within the map */
    struct nj_recorded_objects *next;
};

struct nj_recorded {
    struct nj_seat seat;
    struct nj_world world;
    const struct nj_recorded_hall *hall;
    struct nj_record *record;
    void (*done)(void *ctx);
    void *ctx;
    struct event *finish;
    bool finished;
    struct nj_recorded_result result;
    struct nj_environment then;
    struct nj_arena config_arena;

    /* the place in the record */
    uint64_t next;       /* frame to be read next */
    uint64_t sequence;   /* of the frame whose event is being folded */
    uint64_t boxes_lost; /* BOX events that say so, since the last content event */
    struct nj_buf frame;
    struct nj_buf messages;
    struct nj_buf what;
    struct nj_buf where;

    /* the call under way */
    struct nj_event event; /* as recorded; borrows from frame */
    struct nj_arena arena;
    struct nj_tool_call call;
    bool judging;
    bool run_again; /* it really ran in a box */

    /* its box */
    struct nj_box *box;
    bool opening;
    bool lean; /* a restore of what differs was tried: it may fail for that reason */
    unsigned tries;
    unsigned box_level;                /* of reproducibility that it was built for */
    struct nj_workspace_ref box_state; /* what the box holds, when box_known */
    bool box_known;
    struct nj_recorded_objects *kept; /* what calls left in this box and the record does not hold */
    size_t kept_bytes;
    bool newest_known; /* the record holds what the newest of them is needed for behind the call */
};

/* recorded_box.c */

/* nj_recorded_run - recorded->call in a box that holds the session's workspace; ends in
 * nj_recorded_ran() or with the seat's failure */
void nj_recorded_run(struct nj_recorded *recorded);
void nj_recorded_drop_box(struct nj_recorded *recorded);

/* nj_recorded_judged - the call under way was compared: what is not needed any more is forgotten */
void nj_recorded_judged(struct nj_recorded *recorded);

/* nj_recorded_source_now - the objects of the workspace that the last call left; until it is
 * judged, of all that it told */
struct nj_object_source nj_recorded_source_now(struct nj_recorded *recorded);

/* world_recorded.c */

/* nj_recorded_ran - judge the call under way by what came out of the box, and go on */
void nj_recorded_ran(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                     const struct nj_call_meta *meta);

/* recorded_judge.c */

/* nj_recorded_outcome, _meta - what the record says of the call under way, and of how it went */
const struct nj_call_outcome *nj_recorded_outcome(const struct nj_recorded *recorded);
const struct nj_call_meta *nj_recorded_meta(const struct nj_recorded *recorded);

/* nj_recorded_compare - what the call left, with what the record says of it */
int nj_recorded_compare(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_recorded_judge - likewise; besides, how far it could be reproduced, which programs ran, and
 * where its first difference probably comes from */
int nj_recorded_judge(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                      const struct nj_call_meta *meta, struct nj_error *err) NJ_MUST_USE;

/* nj_recorded_diverged - one difference more, at the event under way; recorded->what says it */
int nj_recorded_diverged(struct nj_recorded *recorded, enum nj_divergence_kind kind,
                         struct nj_error *err) NJ_MUST_USE;

/* nj_recorded_note - of a comparison that returned @differs: an error, 0, or 1 with its sentence in
 * recorded->what */
int nj_recorded_note(struct nj_recorded *recorded, int differs, enum nj_divergence_kind kind,
                     struct nj_error *err) NJ_MUST_USE;

#endif
