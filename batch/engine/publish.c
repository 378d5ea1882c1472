/*
 * publish.c - a session's end: bundle and outputs appear, then its row
 *
 * A worker at a time for each CPU; the others wait their turn. Order: CLOSED durable -> a worker
 * publishes the outputs and the bundle (each atomic, both idempotent) -> ARCHIVED with the row
 * durable -> the session is ended, or waits for its next attempt. A crash in between begins the
 * publication again. What cannot be published because it is too large or too deep is the session's
 * failure: it is published once more as failed, without outputs, and a record that no bundle can
 * hold stays in the journal.
 */
#include "batch/engine/live.h"

#include <stddef.h>
#include <stdio.h>

#include "batch/engine/archive.h"
#include "batch/engine/order.h"
#include "batch/engine/thinning.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

static enum nj_status status_of(const struct nj_live *live)
{
    return live->failed ? NJ_STATUS_FAILED : live->seat.session->status;
}

static const char *kind_of(const struct nj_live *live)
{
    return live->failed ? "engine" : live->seat.session->error_kind;
}

/* They may have been there before the session's bundle was found too large. */
static int take_back_outputs(const struct nj_live *live, struct nj_error *err)
{
    int fd = live->engine->dir.outputs_fd;

    if (nj_fsio_remove_tree(fd, live->plan->slug, err) < 0)
        return -(int)err->code;
    return nj_fsio_sync_dir(fd, err);
}

static int publish_outputs(struct nj_live *live, const struct nj_order *order, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf report = {0};
    struct nj_object_source source = nj_live_source(live);

    if (!order->has_outputs)
        return 0;
    if (order->failed)
        return take_back_outputs(live, err);
    nj_buf_init(&report, 1u << 20);
    if (nj_outputs_publish(&source, &order->outputs, live->engine->dir.outputs_fd, live->plan->slug,
                           &report, err) < 0)
        return -(int)err->code;
    if (report.len > 0)
        nj_log(NJ_LOG_WARN, "outputs of %s: %s", live->plan->key, (const char *)report.data);
    return 0;
}

/* In the worker, which remembers the files that it read. */
static int what_ran(struct nj_digested **ret_digested, struct nj_error *err)
{
    static struct nj_digested *digested;

    if (!digested && nj_digested_new(&digested, err) < 0)
        return -(int)err->code;
    *ret_digested = digested;
    return 0;
}

static int publish_session(struct nj_live *live, const struct nj_order *order, struct nj_error *err)
{
    const struct nj_engine *engine = live->engine;
    const struct nj_session_config *config = live->plan->config;
    nj_auto_free struct nj_workspace_ref *mounts = calloc(config->n_mounts + 1, sizeof(*mounts));
    struct nj_bundle_info info = {
        .job = engine->manifest->job,
        .run = engine->dir.name,
        .key = live->plan->key,
        .group = config->group,
        .agent = config->agent,
        .identity = live->plan->identity,
        .status = order->status,
        .inputs_embedded = engine->manifest->archive_inputs == NJ_INPUTS_EMBED,
        .reproducible = config->reproducible,
    };
    struct nj_archive archive = {
        .journal = engine->reader,
        .places = live->places,
        .n_places = live->n_places,
        .index = &live->index,
        .mounts = mounts,
        .inputs = nj_inputs_source(engine->inputs),
        .manifest = nj_buf_span(&engine->job),
        .host = engine->environment,
    };

    if (!mounts)
        return nj_fail_nomem(err);
    if (what_ran(&archive.digested, err) < 0)
        return -(int)err->code;
    archive.n_mounts = nj_config_inputs(config, mounts);
    if (publish_outputs(live, order, err) < 0)
        return -(int)err->code;
    return nj_archive_publish(&archive, &info, engine->dir.bundles_fd, order->bundle, err);
}

/* In the worker. */
static int publish(void *ctx, const struct nj_worker_order *sent, struct nj_error *err)
{
    NJ_AUTO(nj_order_done) struct nj_live live = {0};
    const struct nj_order *order;

    if (nj_order_read(ctx, sent, &order, &live, err) < 0)
        return -(int)err->code;
    return publish_session(&live, order, err);
}

static void on_archived_durable(struct nj_commit_waiter *waiter)
{
    struct nj_live *live = (struct nj_live *)((char *)waiter - offsetof(struct nj_live, waiter));

    live->finished = true;
    if (live->again)
        nj_engine_again(live);
    else
        nj_engine_ended(live);
}

static const char *why_of(const struct nj_live *live)
{
    return live->why ? live->why : "out of memory";
}

/* The figures of a session whose attempt has ended; its bundle is named where there is one. */
static int finish_facts(struct nj_live *live, struct nj_error *err)
{
    struct nj_fold *fold = &live->fold;
    char name[NJ_BUNDLE_NAME_MAX_BYTES];

    if (live->failed && nj_fold_end(fold, nj_live_event(live, NJ_EVENT_CLOSED).time_ns,
                                    NJ_STATUS_FAILED, "engine", why_of(live), err) < 0)
        return -(int)err->code;
    if (live->sequence == 0 || live->unbundled)
        return nj_live_keep_facts(live, err);
    nj_live_own_bundle_name(live, name, sizeof(name));
    fold->facts.bundle = nj_arena_text(&fold->arena, name);
    return fold->facts.bundle ? nj_live_keep_facts(live, err) : nj_fail_nomem(err);
}

/* The row and the figures into the journal, and that another attempt follows; once they are durable
 * this one has ended. */
static int append_archived(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_engine_seat *seat = &live->engine->seats[live->plan->number - 1];
    struct nj_frame frame = {.kind = NJ_FRAME_ARCHIVED, .session = live->plan->number};
    struct nj_archived archived = {.row = nj_span_text(live->row),
                                   .status = status_of(live),
                                   .cost_micro_usd = live->seat.session->cost_micro_usd};

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (finish_facts(live, err) < 0)
        return -(int)err->code;
    archived.facts = nj_buf_span(&seat->facts);
    if (nj_archived_encode(&archived, &payload, err) < 0)
        return -(int)err->code;
    frame.payload = nj_buf_span(&payload);
    if (nj_journal_append(live->engine->writer, &frame, NULL, err) < 0)
        return -(int)err->code;
    seat->attempts++;
    if (live->again &&
        nj_engine_reopen(live->engine, live->plan->number - 1, kind_of(live), err) < 0)
        return -(int)err->code;
    live->waiter.durable = on_archived_durable;
    nj_committer_wait(live->engine->committer, &live->waiter);
    return 0;
}

static bool has_outputs(const struct nj_live *live)
{
    return live->closed && live->closed->closed.has_outputs;
}

static void queue(struct nj_live *live)
{
    TAILQ_INSERT_TAIL(&live->engine->publish_queue, live, publish_link);
    live->publish_queued = true;
}

/* fail_published - outputs or a record beyond a limit are the session's failure: at the next resume
 * they would be again, and the run never come to its end */
static int fail_published(struct nj_live *live, const struct nj_error *why, struct nj_error *err)
{
    bool with_outputs = has_outputs(live) && !live->failed;

    live->failed = true;
    live->unbundled = !with_outputs;
    free(live->why);
    if (asprintf(&live->why, "%s%s",
                 with_outputs ? "" : "no bundle can hold its record, which stays in the journal: ",
                 why->text) < 0)
        live->why = NULL;
    live->again = nj_live_wants_again(live, kind_of(live));
    if (nj_live_row(live, NJ_STATUS_FAILED, kind_of(live), why_of(live), err) < 0)
        return -(int)err->code;
    if (!with_outputs)
        return append_archived(live, err);
    queue(live);
    return 0;
}

static void on_published(void *ctx, const struct nj_error *err)
{
    struct nj_live *live = ctx;
    struct nj_engine *engine = live->engine;
    struct nj_error append_err = {0};
    int r;

    live->worker = NULL;
    engine->workers--;
    if (engine->failed)
        return;
    nj_thinning_go_on(engine);
    if (err && err->code != NJ_E_LIMIT) {
        /* a full disk, most likely: what is in the journal is safe, the run can be resumed */
        nj_engine_fail(engine, err);
        return;
    }
    r = err ? fail_published(live, err, &append_err) : append_archived(live, &append_err);
    if (r < 0)
        nj_engine_fail(engine, &append_err);
    else
        nj_live_start_publishing(engine);
}

static int start_worker(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_order *order;

    if (nj_order_new(live, true, &bytes, &order, err) < 0)
        return -(int)err->code;
    order->status = status_of(live);
    order->failed = live->failed;
    order->has_outputs = has_outputs(live);
    if (order->has_outputs)
        order->outputs = live->closed->closed.outputs;
    nj_live_own_bundle_name(live, order->bundle, sizeof(order->bundle));
    return nj_order_start(live, publish, nj_buf_span(&bytes), -1, on_published, err);
}

void nj_live_start_publishing(struct nj_engine *engine)
{
    while (!engine->failed && !nj_thinning_holds(engine) && engine->workers < engine->workers_max &&
           !TAILQ_EMPTY(&engine->publish_queue)) {
        struct nj_live *live = TAILQ_FIRST(&engine->publish_queue);
        struct nj_error err = {0};

        TAILQ_REMOVE(&engine->publish_queue, live, publish_link);
        live->publish_queued = false;
        engine->workers++;
        if (start_worker(live, &err) < 0) {
            engine->workers--;
            nj_engine_fail(engine, &err);
        }
    }
}

static void on_closed_durable(struct nj_commit_waiter *waiter)
{
    struct nj_live *live = (struct nj_live *)((char *)waiter - offsetof(struct nj_live, waiter));

    queue(live);
    nj_live_start_publishing(live->engine);
}

/* The payload of the session's last CLOSED event; spans of live->closed point into it. */
int nj_live_reclose(struct nj_live *live, struct nj_error *err)
{
    struct nj_frame frame;

    nj_buf_init(&live->closed_bytes, NJ_FRAME_PAYLOAD_MAX_BYTES);
    live->closed = calloc(1, sizeof(*live->closed));
    if (!live->closed)
        return nj_fail_nomem(err);
    for (size_t i = live->n_places; i > 0; i--) {
        nj_buf_clear(&live->closed_bytes);
        if (nj_journal_read_frame(live->engine->reader, &live->places[i - 1], &live->closed_bytes,
                                  &frame, err) < 0)
            return -(int)err->code;
        if (frame.kind != NJ_FRAME_EVENT)
            continue;
        if (nj_event_decode(frame.payload, live->closed, err) < 0)
            return -(int)err->code;
        if (live->closed->kind == NJ_EVENT_CLOSED)
            return 0;
    }
    return nj_fail(err, NJ_E_CORRUPT, "session %s is done, but its end is not in the journal",
                   live->plan->key);
}

int nj_live_publish(struct nj_live *live, struct nj_error *err)
{
    const struct nj_session *session = live->seat.session;
    int r;

    live->again = status_of(live) == NJ_STATUS_FAILED && nj_live_wants_again(live, kind_of(live));
    if (live->failed)
        r = nj_live_row(live, NJ_STATUS_FAILED, "engine", why_of(live), err);
    else
        r = nj_live_row(live, session->status, session->error_kind, nj_session_error_text(session),
                        err);
    if (r < 0)
        return r;
    if (live->sequence == 0) /* it failed before it was opened: no record, so no bundle */
        return append_archived(live, err);
    nj_committer_forget(live->engine->committer,
                        &live->waiter); /* a snapshot's, when the seat failed under it */
    live->waiter.durable = on_closed_durable;
    nj_committer_wait(live->engine->committer, &live->waiter);
    return 0;
}
