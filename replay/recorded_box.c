/*
 * recorded_box.c - a box for the calls that are run again
 *
 * Before every call the box is made to hold exactly what the record says the call began with, times
 * included. The one complication is what that costs: below D2 mostly only times differ, so
 * contents that the box still has are not sent.
 */
#include "replay/recorded_inside.h"

#include <errno.h>
#include <sys/mman.h>

#include "batch/engine/filling.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define KEPT_MAX_BYTES (256u << 20) /* of objects that differ; beyond, the box is built anew */

static void go_on(struct nj_recorded *recorded);

/* ---- what calls left ---- */

static void objects_free(struct nj_recorded_objects *objects)
{
    if (!objects)
        return;
    if (objects->map)
        (void)munmap(objects->map, objects->map_bytes);
    nj_object_index_done(&objects->index);
    free(objects);
}

static int index_objects(struct nj_recorded_objects *objects, struct nj_error *err)
{
    struct nj_span rest = {objects->map, objects->map_bytes};
    int r = 0;

    while (r == 0 && rest.len > 0) {
        struct nj_journal_place place = {.segment = 1, .offset = objects->map_bytes - rest.len};
        struct nj_object object;
        size_t len;

        r = nj_object_decode(rest, false, &object, &len, err);
        if (r < 0)
            break;
        place.bytes = (uint32_t)len;
        if (!nj_object_index_find(&objects->index, &object.digest))
            r = nj_object_index_add(&objects->index, &object.digest, &place, err);
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
    return r;
}

/* Takes result->objects_fd. */
static int take_objects(struct nj_recorded *recorded, const struct nj_box_result *result,
                        struct nj_error *err)
{
    nj_auto_close int fd = result->objects_fd;
    struct nj_recorded_objects *objects;
    void *map;

    if (fd < 0 || result->objects_bytes == 0)
        return 0;
    map = mmap(NULL, result->objects_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return nj_fail_errno(err, errno, "map what a call left");
    objects = calloc(1, sizeof(*objects));
    if (!objects) {
        (void)munmap(map, result->objects_bytes);
        return nj_fail_nomem(err);
    }
    objects->map = map;
    objects->map_bytes = result->objects_bytes;
    if (index_objects(objects, err) < 0) {
        objects_free(objects);
        return -(int)err->code;
    }
    objects->next = recorded->kept;
    recorded->kept = objects;
    recorded->kept_bytes += objects->map_bytes;
    return 0;
}

static void forget_newest(struct nj_recorded *recorded)
{
    struct nj_recorded_objects *newest = recorded->kept;

    recorded->kept = newest->next;
    recorded->kept_bytes -= newest->map_bytes;
    objects_free(newest);
}

static int get_now(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                   struct nj_error *err)
{
    struct nj_recorded *recorded = ctx;
    struct nj_object_source record = nj_record_objects(recorded->record);

    for (const struct nj_recorded_objects *at = recorded->kept; at; at = at->next) {
        const struct nj_journal_place *place = nj_object_index_find(&at->index, digest);
        struct nj_object object;
        size_t len;

        if (!place)
            continue;
        if (nj_object_decode(
                (struct nj_span){(const uint8_t *)at->map + place->offset, place->bytes}, false,
                &object, &len, err) < 0)
            return -(int)err->code;
        return nj_buf_append(out, object.bytes.data, object.bytes.len, err);
    }
    return record.get(record.ctx, digest, out, err);
}

void nj_recorded_judged(struct nj_recorded *recorded)
{
    if (recorded->newest_known)
        forget_newest(recorded);
    recorded->newest_known = false;
}

struct nj_object_source nj_recorded_source_now(struct nj_recorded *recorded)
{
    return (struct nj_object_source){.get = get_now, .ctx = recorded};
}

void nj_recorded_drop_box(struct nj_recorded *recorded)
{
    nj_box_close(recorded->box);
    recorded->box = NULL;
    recorded->box_known = false;
    recorded->newest_known = false;
    while (recorded->kept)
        forget_newest(recorded);
}

static void box_lost(struct nj_recorded *recorded, const struct nj_error *why)
{
    struct nj_error err = *why;

    nj_recorded_drop_box(recorded);
    if (++recorded->tries < NJ_RECORDED_BOX_TRIES_MAX) {
        go_on(recorded);
        return;
    }
    (void)nj_wrap(&err, "the sandbox was lost %d times", NJ_RECORDED_BOX_TRIES_MAX);
    nj_seat_fail(&recorded->seat, &err);
}

/* ---- restoring ---- */

static void on_restored(void *ctx, const struct nj_error *err)
{
    struct nj_recorded *recorded = ctx;

    if (err &&
        recorded->lean) { /* build it whole: the box did not have what it was thought to have */
        nj_recorded_drop_box(recorded);
        go_on(recorded);
        return;
    }
    if (err) {
        box_lost(recorded, err);
        return;
    }
    recorded->box_state = recorded->seat.session->workspace;
    recorded->box_known = true;
    go_on(recorded);
}

static void restore(struct nj_recorded *recorded)
{
    const struct nj_workspace_ref *wanted = &recorded->seat.session->workspace;
    struct nj_filling filling = {.source = nj_record_objects(recorded->record),
                                 .held = recorded->box_known ? &recorded->box_state.tree : NULL};
    nj_auto_close int fd = -1;
    struct nj_error err = {0};

    filling.contents = filling.source;
    recorded->lean = recorded->box_known;
    recorded->box_known = false;
    if (nj_fsio_memfd("restore", &fd, &err) < 0 || nj_fill(&filling, wanted, fd, &err) < 0) {
        (void)nj_wrap(&err, "the recorded workspace");
        nj_seat_fail(&recorded->seat, &err);
        return;
    }
    if (nj_box_restore(recorded->box, wanted, nj_steal_fd(&fd), on_restored, recorded, &err) < 0)
        box_lost(recorded, &err);
}

/* ---- opening and calling ---- */

static void on_opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct nj_recorded *recorded = ctx;

    recorded->opening = false;
    if (!box) {
        box_lost(recorded, err);
        return;
    }
    recorded->box = box;
    restore(recorded);
}

static void open_box(struct nj_recorded *recorded)
{
    struct nj_box_plan plan;
    struct nj_error err = {0};

    if (nj_tool_box_plan(recorded->seat.session->config, &recorded->arena, &plan, &err) < 0) {
        nj_seat_fail(&recorded->seat, &err);
        return;
    }
    /* As it was run, whatever the config says and this host's default is. */
    plan.level = nj_recorded_meta(recorded)->applied;
    recorded->box_level = plan.level;
    if (plan.rootfs && recorded->hall->image)
        plan.rootfs = &recorded->hall->image->input;
    recorded->opening = true;
    if (nj_box_open(recorded->hall->sandbox, &plan, on_opened, recorded, &err) < 0)
        on_opened(recorded, NULL, &err);
}

static void on_called(void *ctx, const struct nj_box_result *result, const struct nj_error *err)
{
    struct nj_recorded *recorded = ctx;
    const struct nj_recorded_objects *before = recorded->kept;
    struct nj_digest expected;
    struct nj_call_meta meta;
    struct nj_error take_err = {0};

    if (!result) {
        box_lost(recorded, err);
        return;
    }
    if (take_objects(recorded, result, &take_err) < 0) {
        box_lost(recorded, &take_err); /* what a supervisor sends is hostile until checked */
        return;
    }
    recorded->box_state =
        (struct nj_workspace_ref){.tree = result->outcome.tree, .stamps = result->meta.stamps};
    recorded->box_known = true;
    recorded->tries = 0;
    recorded->run_again = true;
    expected = recorded->judging ? recorded->event.judged.outcome.tree
                                 : recorded->event.tool_done.outcome.tree;
    /* After an equal step the record holds all that the call left, but its times, which nobody asks
     * for, and the list of what ran, which is asked for in a moment. */
    recorded->newest_known =
        recorded->kept != before && nj_digest_equal(&expected, &result->outcome.tree);
    meta = result->meta;
    nj_tool_note_level(&meta, recorded->box_level);
    nj_recorded_ran(recorded, &result->outcome, &meta);
}

static bool holds_workspace(const struct nj_recorded *recorded)
{
    const struct nj_workspace_ref *wanted = &recorded->seat.session->workspace;

    return recorded->box_known && nj_digest_equal(&recorded->box_state.tree, &wanted->tree) &&
           nj_digest_equal(&recorded->box_state.stamps, &wanted->stamps);
}

/* The next thing on the way to a running call; every callback on this way comes back here. */
static void go_on(struct nj_recorded *recorded)
{
    struct nj_error err = {0};

    if (recorded->seat.over || recorded->opening)
        return;
    if (!recorded->box) {
        open_box(recorded);
        return;
    }
    if (!holds_workspace(recorded)) {
        /* Inode numbers are part of D2, and a box that ran a call has given some out already. */
        if (recorded->box_level >= 2 && recorded->box_known) {
            nj_recorded_drop_box(recorded);
            open_box(recorded);
            return;
        }
        restore(recorded);
        return;
    }
    if (nj_box_call(recorded->box, &recorded->call.box, NULL, on_called, recorded, &err) < 0)
        box_lost(recorded, &err);
}

void nj_recorded_run(struct nj_recorded *recorded)
{
    if (recorded->kept_bytes > KEPT_MAX_BYTES ||
        recorded->box_level != nj_recorded_meta(recorded)->applied)
        nj_recorded_drop_box(recorded);
    go_on(recorded);
}
