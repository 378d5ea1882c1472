/*
 * thinning.c - which segment is thinned, by whom, and when it is swapped in
 *
 * The one complication is that places of frames are kept in three ways: by sessions that live, by
 * those that a resume has not begun again, and in the orders of workers. The first two are moved at
 * the swap; the third is why it waits until no worker is at work, and no taker, which reads earlier
 * content.
 */
#include "batch/engine/thinning.h"

#include <stddef.h>

#include "batch/engine/taker.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

struct nj_thinning {
    struct nj_worker *worker;
    uint32_t segment; /* 0: none is under way */
    bool ready;       /* the new file is there: swap it in */
    int moves_fd;
    struct seen { /* by segment number */
        uint32_t bytes;
        size_t ended; /* sessions that had ended when it was last tried */
    } * seen;
    size_t n_seen;
    /* When none was worth it: until one more has ended, or a segment is complete, none will be. */
    size_t idle_ended;
    uint32_t idle_durable;
};

/* What a worker is told: the segment, and by session whether its frames live. */
struct order {
    uint32_t segment;
    uint32_t n_sessions;
    bool lives[];
};

/* The head of what it answers with; the moves follow. */
struct answer {
    uint64_t bytes;
    uint64_t n_moves;
};

/* ---- in the worker ---- */

static bool lives(void *ctx, const struct nj_frame *frame)
{
    const struct order *order = ctx;

    switch (frame->kind) {
    case NJ_FRAME_RUN:
    case NJ_FRAME_ARCHIVED: /* rows and figures */
    case NJ_FRAME_REOPENED:
        return true;
    case NJ_FRAME_EVENT:
    case NJ_FRAME_OBJECT:
    case NJ_FRAME_SNAPSHOT:
    case NJ_FRAME_OUTPUT:
        break;
    case NJ_FRAME_COMMIT:
        return false;
    }
    return frame->session == NJ_JOURNAL_SESSION_RUN || frame->session > order->n_sessions ||
           order->lives[frame->session];
}

static int thin(void *ctx, const struct nj_worker_order *sent, struct nj_error *err)
{
    const struct nj_engine *engine = ctx;
    const struct order *order = (const struct order *)sent->bytes.data;
    struct nj_journal_thin how = {.lives = lives, .ctx = (void *)order};
    struct nj_journal_thinned thinned;
    struct answer answer;
    int r;

    r = nj_journal_thin(engine->dir.journal_fd, order->segment, &how, &thinned, err);
    if (r < 0)
        return r;
    answer = (struct answer){.bytes = r == NJ_JOURNAL_THIN_READY ? thinned.bytes_after : 0,
                             .n_moves = thinned.moves ? thinned.n_moves : 0};
    r = nj_fsio_write(sent->fd, &answer, sizeof(answer), err);
    if (r == 0 && answer.n_moves > 0)
        r = nj_fsio_write(sent->fd, thinned.moves, answer.n_moves * sizeof(*thinned.moves), err);
    free(thinned.moves);
    return r;
}

/* ---- which one ---- */

static void on_thinned(void *ctx, const struct nj_error *err);

static void finish(struct nj_engine *engine)
{
    struct nj_thinning *thinning = engine->thinning;

    if (thinning->moves_fd >= 0)
        (void)close(nj_steal_fd(&thinning->moves_fd));
    thinning->segment = 0;
    thinning->ready = false;
}

/* has_ended - and its bundle has what it left */
static bool has_ended(const struct nj_engine_seat *seat)
{
    return seat->row && !seat->unbundled &&
           (seat->status == NJ_STATUS_SUCCEEDED || seat->status == NJ_STATUS_FAILED);
}

static size_t count_ended(const struct nj_engine *engine)
{
    size_t ended = 0;

    for (size_t i = 0; i < engine->plan->n_sessions; i++)
        ended += has_ended(&engine->seats[i]);
    return ended;
}

static void add_live(const struct nj_live *live, uint64_t *bytes, size_t n)
{
    for (size_t i = 0; i < live->n_places; i++)
        if (live->places[i].segment < n)
            bytes[live->places[i].segment] += live->places[i].bytes;
    for (size_t i = 0; i < live->index.cap; i++)
        if (live->index.slots[i].place.bytes != 0 && live->index.slots[i].place.segment < n)
            bytes[live->index.slots[i].place.segment] += live->index.slots[i].place.bytes;
}

/* seen_grow - the size of each segment below @n, looked at once */
static int seen_grow(struct nj_engine *engine, size_t n, struct nj_error *err)
{
    struct nj_thinning *thinning = engine->thinning;
    struct seen *grown = reallocarray(thinning->seen, n, sizeof(*grown));

    if (!grown)
        return nj_fail_nomem(err);
    thinning->seen = grown;
    for (; thinning->n_seen < n; thinning->n_seen++)
        grown[thinning->n_seen] = (struct seen){
            .bytes = nj_journal_segment_bytes(engine->dir.journal_fd, (uint32_t)thinning->n_seen)};
    return 0;
}

/* The segment with the least that lives, 0 when none is worth it. */
static int choose(struct nj_engine *engine, size_t ended, uint32_t *ret_segment,
                  struct nj_error *err)
{
    struct nj_thinning *thinning = engine->thinning;
    uint32_t durable = nj_journal_durable_segment(engine->writer);
    size_t n = durable > 1 ? durable - 1 : 1; /* complete, and not the youngest of those */
    nj_auto_free uint64_t *live_bytes = calloc(n, sizeof(*live_bytes));
    const struct nj_live *live;
    uint64_t most = 0;

    if (!live_bytes)
        return nj_fail_nomem(err);
    if (n > thinning->n_seen && seen_grow(engine, n, err) < 0)
        return -(int)err->code;
    TAILQ_FOREACH(live, &engine->lives, live_link)
    add_live(live, live_bytes, n);
    for (size_t i = 0; i < engine->plan->n_sessions; i++)
        if (engine->seats[i].past)
            add_live(engine->seats[i].past, live_bytes, n);
    *ret_segment = 0;
    for (uint32_t segment = 1; segment < n; segment++) {
        const struct seen *seen = &thinning->seen[segment];

        if (seen->bytes < NJ_THIN_MIN_BYTES || live_bytes[segment] > seen->bytes / 2 ||
            ended < seen->ended + seen->ended / 8 + 1 || seen->bytes - live_bytes[segment] <= most)
            continue;
        most = seen->bytes - live_bytes[segment];
        *ret_segment = segment;
    }
    return 0;
}

static int start(struct nj_engine *engine, uint32_t segment, struct nj_error *err)
{
    struct nj_thinning *thinning = engine->thinning;
    size_t n = engine->plan->n_sessions;
    size_t bytes = sizeof(struct order) + n + 1;
    nj_auto_free struct order *order = calloc(1, bytes);
    struct nj_worker_order sent = NJ_WORKER_ORDER_EMPTY;

    if (!order)
        return nj_fail_nomem(err);
    order->segment = segment;
    order->n_sessions = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        order->lives[i + 1] = !has_ended(&engine->seats[i]);
    if (nj_fsio_memfd("moves", &thinning->moves_fd, err) < 0)
        return -(int)err->code;
    sent.bytes = (struct nj_span){(const uint8_t *)order, bytes};
    sent.fd = thinning->moves_fd;
    if (nj_worker_start(engine->pool, thin, &sent, on_thinned, engine, &thinning->worker, err) < 0)
        return -(int)err->code;
    thinning->segment = segment;
    return 0;
}

static int look(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_thinning *thinning = engine->thinning;
    uint32_t durable = nj_journal_durable_segment(engine->writer);
    size_t ended = count_ended(engine);
    uint32_t segment = 0;

    if (thinning->segment != 0 || ended == 0 ||
        (ended == thinning->idle_ended && durable == thinning->idle_durable))
        return 0;
    if (choose(engine, ended, &segment, err) < 0)
        return -(int)err->code;
    if (segment == 0) {
        thinning->idle_ended = ended;
        thinning->idle_durable = durable;
        return 0;
    }
    thinning->seen[segment].ended = ended;
    return start(engine, segment, err);
}

/* look_on - the next one, without waiting for the next second: a run may fill many in one */
static void look_on(struct nj_engine *engine)
{
    struct nj_error err = {0};

    if (engine->stopping || engine->failed || look(engine, &err) == 0)
        return;
    nj_log(NJ_LOG_WARN, "thin the journal: %s", err.text);
    finish(engine);
}

/* ---- the swap ---- */

static bool is_quiet(const struct nj_engine *engine)
{
    const struct nj_live *live;

    TAILQ_FOREACH(live, &engine->lives, live_link)
    if (live->worker || nj_live_is_taking(live))
        return false;
    return true;
}

/* What moves: of @segment, to where. */
struct moves {
    struct nj_journal_move *items;
    size_t count;
    uint32_t segment;
    bool only_look; /* nothing is moved yet */
};

static bool move_place(const struct moves *moves, struct nj_journal_place *place)
{
    struct nj_journal_place to = *place;

    if (!nj_journal_thin_place(moves->items, moves->count, moves->segment, &to))
        return false;
    if (!moves->only_look)
        *place = to;
    return true;
}

static int move_live(struct nj_live *live, const struct moves *moves, struct nj_error *err)
{
    bool all = true;

    for (size_t i = 0; i < live->n_places; i++)
        all &= move_place(moves, &live->places[i]);
    for (size_t i = 0; i < live->index.cap; i++)
        if (live->index.slots[i].place.bytes != 0)
            all &= move_place(moves, &live->index.slots[i].place);
    return all ? 0
               : nj_fail(err, NJ_E_CORRUPT, "session %s has frames that were taken for dead",
                         live->plan->key);
}

static int move_all(struct nj_engine *engine, const struct moves *moves, struct nj_error *err)
{
    struct nj_live *live;

    TAILQ_FOREACH(live, &engine->lives, live_link)
    if (!live->finished && move_live(live, moves, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < engine->plan->n_sessions; i++)
        if (engine->seats[i].past && move_live(engine->seats[i].past, moves, err) < 0)
            return -(int)err->code;
    return 0;
}

static int swap(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_thinning *thinning = engine->thinning;
    nj_auto_free struct nj_journal_move *items = NULL;
    struct moves moves = {.segment = thinning->segment, .only_look = true};
    struct nj_error why = {0};
    struct answer answer;

    if (nj_fsio_pread(thinning->moves_fd, &answer, sizeof(answer), 0, err) < 0)
        return -(int)err->code;
    items = calloc(answer.n_moves + 1, sizeof(*items));
    if (!items)
        return nj_fail_nomem(err);
    if (nj_fsio_pread(thinning->moves_fd, items, answer.n_moves * sizeof(*items), sizeof(answer),
                      err) < 0)
        return -(int)err->code;
    moves.items = items;
    moves.count = answer.n_moves;
    if (move_all(engine, &moves, &why) < 0) { /* must not be; then the old file is all there is */
        nj_log(NJ_LOG_WARN, "journal segment %06u is not thinned: %s", (unsigned)moves.segment,
               why.text);
        nj_journal_thin_drop(engine->dir.journal_fd, moves.segment);
        return 0;
    }
    if (nj_journal_thin_swap(engine->dir.journal_fd, moves.segment, err) < 0)
        return -(int)err->code;
    nj_journal_forget(engine->reader, moves.segment);
    for (size_t i = 0; i < engine->n_takers; i++)
        nj_taker_forget(engine->takers[i]);
    thinning->seen[moves.segment].bytes = (uint32_t)answer.bytes;
    moves.only_look = false;
    return move_all(engine, &moves, err);
}

bool nj_thinning_holds(const struct nj_engine *engine)
{
    return engine->thinning && engine->thinning->ready;
}

void nj_thinning_go_on(struct nj_engine *engine)
{
    struct nj_error err = {0};

    if (!nj_thinning_holds(engine) || engine->failed || !is_quiet(engine))
        return;
    if (swap(engine, &err) < 0)
        nj_engine_fail(engine, &err); /* where frames lie is not known any more */
    finish(engine);
    if (engine->failed)
        return;
    nj_live_start_held(engine);
    look_on(engine);
}

static void on_thinned(void *ctx, const struct nj_error *err)
{
    struct nj_engine *engine = ctx;
    struct nj_thinning *thinning = engine->thinning;
    struct nj_error read_err = {0};
    struct answer answer = {0};

    thinning->worker = NULL;
    if (err) /* nothing is lost: what is full stays full, and damage is for recovery to tell */
        nj_log(NJ_LOG_WARN, "%s", err->text);
    if (err || nj_fsio_pread(thinning->moves_fd, &answer, sizeof(answer), 0, &read_err) < 0 ||
        answer.bytes == 0) {
        nj_journal_thin_drop(engine->dir.journal_fd,
                             thinning->segment); /* it may have died at it */
        finish(engine);
        if (!err)
            look_on(engine);
        return;
    }
    thinning->ready = true;
    nj_thinning_go_on(engine);
}

void nj_thinning_look(struct nj_engine *engine)
{
    if (engine->thinning)
        nj_thinning_go_on(engine);
    if (engine->stopping || engine->failed || nj_journal_durable_segment(engine->writer) <= 2)
        return;
    if (!engine->thinning) {
        engine->thinning = calloc(1, sizeof(*engine->thinning));
        if (!engine->thinning)
            return; /* it is tried again, and nothing depends on it */
        engine->thinning->moves_fd = -1;
    }
    look_on(engine);
}

void nj_thinning_done(struct nj_engine *engine)
{
    struct nj_thinning *thinning = engine->thinning;

    if (!thinning)
        return;
    nj_worker_cancel(thinning->worker);
    if (thinning->segment != 0)
        nj_journal_thin_drop(engine->dir.journal_fd, thinning->segment);
    finish(engine);
    free(thinning->seen);
    free(thinning);
    engine->thinning = NULL;
}
