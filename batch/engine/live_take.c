/*
 * live_take.c - what a call left, into the journal
 *
 * Little of it is taken at once; more goes through a thread (taker.h) and is appended a piece a
 * turn of the loop, so that no session waits for another's two hundred megabytes. What pends is in
 * memory, and whoever waits for the next sync waits for all of it: so while some of it is written
 * no more than as much again is appended. The one complication is that the call's result must be
 * kept meanwhile; its event comes behind its objects.
 */
#include "batch/engine/live.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "batch/engine/taker.h"
#include "batch/engine/thinning.h"

#include "formats/base/banned.h"

/* About a millisecond: digests, deltas, compression. */
#define AT_ONCE_BYTES (64u << 10)
#define PENDING_BYTES (2u << 20)

struct nj_live_taking {
    struct nj_live *live;
    struct nj_take *take; /* NULL: held until a thinned segment is swapped in */
    int fd;               /* of what is held, or -1 */
    uint64_t bytes;
    struct nj_commit_waiter waiter; /* for PENDING_BYTES of it */
    size_t pending_bytes;           /* appended behind those */
    bool full;                      /* as much again: no piece is being made */
    struct nj_arena arena;          /* of the result's texts */
    struct nj_call_outcome outcome;
    struct nj_call_meta meta;
};

/* A snapshot that named what is in no journal could never be restored. */
static int check_workspace(const struct nj_live *live, const struct nj_call_outcome *outcome,
                           const struct nj_call_meta *meta, struct nj_error *err)
{
    if (!nj_object_index_find(&live->index, &outcome->tree) ||
        !nj_object_index_find(&live->index, &meta->stamps))
        return nj_fail(err, NJ_E_CORRUPT, "a result names a workspace that did not come with it");
    if (meta->has_ran && !nj_object_index_find(&live->index, &meta->ran))
        return nj_fail(err, NJ_E_CORRUPT, "a result names files that ran, but does not tell them");
    return 0;
}

static int put_all(struct nj_live *live, struct nj_span rest, struct nj_error *err)
{
    while (rest.len > 0) {
        struct nj_object object;
        size_t len;
        int r;

        r = nj_object_decode(rest, true, &object, &len, err);
        if (r == 0)
            r = live->seat.sink.put(live->seat.sink.ctx, &object, err);
        if (r < 0)
            return r;
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
    return 0;
}

static int take_at_once(struct nj_live *live, int fd, size_t bytes, struct nj_error *err)
{
    void *map;
    int r;

    if (bytes == 0)
        return 0;
    map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return nj_fail_errno(err, errno, "map what a call left");
    r = put_all(live, (struct nj_span){map, bytes}, err);
    (void)munmap(map, bytes);
    return r;
}

/* ---- with the thread ---- */

void nj_live_cancel_taking(struct nj_live *live)
{
    struct nj_live_taking *taking = live->taking;

    if (!taking)
        return;
    live->taking = NULL;
    nj_take_cancel(taking->take);
    nj_committer_forget(live->engine->committer, &taking->waiter);
    nj_close_auto(&taking->fd);
    nj_arena_done(&taking->arena);
    free(taking);
}

static void over(struct nj_live_taking *taking, const struct nj_error *failed)
{
    struct nj_live *live = taking->live;
    struct nj_call_outcome outcome = taking->outcome;
    struct nj_call_meta meta = taking->meta;
    struct nj_arena arena = taking->arena; /* what the outcome's spans point into */
    struct nj_error err = failed ? *failed : (struct nj_error){0}; /* it may be the take's */

    taking->arena = (struct nj_arena){0};
    nj_live_cancel_taking(live);
    nj_thinning_go_on(live->engine);
    if (!failed && check_workspace(live, &outcome, &meta, &err) < 0)
        failed = &err;
    nj_live_taken(live, &outcome, &meta, failed ? &err : NULL);
    nj_arena_done(&arena);
}

static int append(struct nj_live_taking *taking, const struct nj_taken *taken, struct nj_error *err)
{
    struct nj_live *live = taking->live;
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT, .session = live->plan->number};

    if (nj_journal_append_stored(live->engine->writer, &frame, &taken->stored, &frame.place, err) <
        0) {
        nj_engine_fail(live->engine, err);
        return -(int)err->code;
    }
    taking->pending_bytes += frame.place.bytes;
    return nj_take_note(taking->take, &live->index, &taken->digest, &frame.place, err);
}

static void on_durable(struct nj_commit_waiter *waiter);

/* go_on - with the next piece, now or when more is durable */
static void go_on(struct nj_live_taking *taking)
{
    taking->full = taking->pending_bytes >= PENDING_BYTES && taking->waiter.queued;
    if (taking->full)
        return;
    if (taking->pending_bytes >= PENDING_BYTES) {
        taking->pending_bytes = 0;
        taking->waiter.durable = on_durable;
        nj_committer_wait(taking->live->engine->committer, &taking->waiter);
    }
    nj_take_next(taking->take);
}

static void on_durable(struct nj_commit_waiter *waiter)
{
    struct nj_live_taking *taking =
        (struct nj_live_taking *)((char *)waiter - offsetof(struct nj_live_taking, waiter));

    if (taking->full)
        go_on(taking);
}

static void on_piece(void *ctx, const struct nj_take_piece *piece, const struct nj_error *failed)
{
    struct nj_live_taking *taking = ctx;
    struct nj_engine *engine = taking->live->engine;
    struct nj_error err = {0};

    if (engine->failed)
        return;
    nj_engine_note_piece(engine);
    for (size_t i = 0; piece && i < piece->n_items; i++)
        if (append(taking, &piece->items[i], &err) < 0) {
            if (!engine->failed)
                over(taking, &err);
            return;
        }
    if (!piece || piece->last) {
        over(taking, failed);
        return;
    }
    go_on(taking);
}

static int keep_span(struct nj_arena *arena, struct nj_span *span, struct nj_error *err)
{
    if (span->len == 0)
        return 0;
    span->data = (const uint8_t *)nj_arena_span(arena, *span);
    return span->data ? 0 : nj_fail_nomem(err);
}

static int keep_result(struct nj_live_taking *taking, const struct nj_box_result *result,
                       struct nj_error *err)
{
    struct nj_call_outcome *outcome = &taking->outcome;
    struct nj_span *spans[] = {&outcome->text, &outcome->out.head, &outcome->out.tail,
                               &outcome->errors.head, &outcome->errors.tail};

    *outcome = result->outcome;
    taking->meta = result->meta;
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
        if (keep_span(&taking->arena, spans[i], err) < 0)
            return -(int)err->code;
    return 0;
}

static int start(struct nj_live_taking *taking, struct nj_error *err)
{
    struct nj_live *live = taking->live;
    const struct nj_take_setup setup = {
        .fd = nj_steal_fd(&taking->fd),
        .bytes = taking->bytes,
        .owner = live->owner,
        .index = &live->index,
        .ready = on_piece,
        .ctx = taking,
    };
    struct nj_taker *taker = live->engine->takers[live->owner % live->engine->n_takers];

    return nj_take_start(taker, &setup, &taking->take, err);
}

bool nj_live_is_taking(const struct nj_live *live)
{
    return live->taking && live->taking->take;
}

void nj_live_start_taking(struct nj_live *live)
{
    struct nj_error err = {0};

    if (live->taking && !live->taking->take && start(live->taking, &err) < 0)
        over(live->taking, &err);
}

static int take_piecewise(struct nj_live *live, const struct nj_box_result *result, int fd,
                          struct nj_error *err)
{
    struct nj_live_taking *taking = calloc(1, sizeof(*taking));

    if (!taking) {
        (void)close(fd);
        return nj_fail_nomem(err);
    }
    taking->live = live;
    taking->fd = fd;
    taking->bytes = result->objects_bytes;
    live->taking = taking;
    if (keep_result(taking, result, err) < 0 ||
        (!nj_thinning_holds(live->engine) && start(taking, err) < 0)) {
        nj_live_cancel_taking(live);
        return -(int)err->code;
    }
    return 1;
}

int nj_live_take(struct nj_live *live, const struct nj_box_result *result, struct nj_error *err)
{
    nj_auto_close int fd = result->objects_fd;
    int r;

    if (fd >= 0 && (result->objects_bytes > AT_ONCE_BYTES || live->engine->take_always) &&
        result->objects_bytes > 0)
        return take_piecewise(live, result, nj_steal_fd(&fd), err);
    if (fd >= 0) {
        r = take_at_once(live, fd, result->objects_bytes, err);
        if (r < 0)
            return r;
    }
    return check_workspace(live, &result->outcome, &result->meta, err);
}
