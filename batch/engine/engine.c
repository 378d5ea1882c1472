/*
 * engine.c - who runs when: one loop from the first session to the last row
 *
 * Sessions start as the queue (queue.h) says. Nothing here waits: a session is started, paused or
 * ended by events, and between two rounds of the loop the engine looks whether there is anything
 * left to wait for.
 */
#include "batch/engine/live.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "batch/engine/recent.h"
#include "batch/engine/start.h"
#include "batch/engine/taker.h"
#include "batch/engine/thinning.h"
#include "batch/engine/views.h"
#include "batch/plan/allowed.h"
#include "formats/base/fault.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

#define STARTS_PER_ROUND 2

void nj_engine_fail(struct nj_engine *engine, const struct nj_error *err)
{
    if (engine->failed)
        return;
    engine->failed = true;
    engine->error = *err;
    if (engine->base)
        (void)event_base_loopbreak(engine->base);
}

void nj_engine_reschedule(struct nj_engine *engine)
{
    if (engine->schedule)
        event_active(engine->schedule, EV_TIMEOUT, 0);
}

/* ---- starting sessions ---- */

static void enlist(struct nj_engine *engine, struct nj_live *live)
{
    TAILQ_INSERT_TAIL(&engine->lives, live, live_link);
}

static void on_resumed_durable(struct nj_commit_waiter *waiter)
{
    struct nj_live *live = (struct nj_live *)((char *)waiter - offsetof(struct nj_live, waiter));

    if (live->engine->stopping)
        nj_seat_pause(&live->seat);
    else
        nj_seat_start(&live->seat);
}

/* What the call that was perhaps under way when the last process died may have cost. */
static uint64_t cost_of_unknown(const struct nj_live *live)
{
    struct nj_action action;

    nj_session_action(live->seat.session, &action);
    if (action.kind != NJ_ACTION_ASK_MODEL || live->at_peace)
        return 0;
    return nj_model_bound(live->engine->models, live->plan->role, live->seat.session);
}

/* Goes on with a recovered session: what its state waits for, or its publication. */
static void go_on(struct nj_engine *engine, struct nj_live *live)
{
    struct nj_event resumed = nj_live_event(live, NJ_EVENT_RESUMED);
    struct nj_error err = {0};

    enlist(engine, live);
    if (live->seat.session->state == NJ_SESSION_DONE) {
        live->seat.over = true;
        if (nj_live_reclose(live, &err) < 0 || nj_live_publish(live, &err) < 0)
            nj_engine_fail(engine, &err);
        return;
    }
    resumed.resumed.cost_micro_usd = cost_of_unknown(live);
    nj_seat_deliver(&live->seat, &resumed, (struct nj_span){0});
    if (resumed.resumed.cost_micro_usd == 0) {
        nj_seat_start(&live->seat);
        return;
    }
    /* A second crash must find this cost in the journal before the call is sent once more. */
    nj_money_spent_before(engine, live->plan, resumed.resumed.cost_micro_usd);
    engine->unknown_micro_usd += resumed.resumed.cost_micro_usd;
    live->waiter.durable = on_resumed_durable;
    nj_committer_wait(engine->committer, &live->waiter);
}

static void start_session(struct nj_engine *engine, size_t index)
{
    struct nj_engine_seat *seat = &engine->seats[index];
    struct nj_live *live = seat->past;
    struct nj_error err = {0};

    seat->past = NULL;
    if (live && live->sequence > 0) {
        go_on(engine, live);
        return;
    }
    if (!live && nj_live_new(engine, &engine->plan->sessions[index], &live, &err) < 0) {
        nj_engine_fail(engine, &err);
        return;
    }
    enlist(engine, live);
    nj_views_started(live);
    if (nj_live_open(live, &err) == 0)
        return;
    if (live->seat.session && (err.code == NJ_E_INPUT || err.code == NJ_E_LIMIT))
        nj_seat_fail(&live->seat,
                     &err); /* what this one is given cannot be: the others can go on */
    else
        nj_engine_fail(engine, &err);
}

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns whether a session was started. A few at a time: what the others wait for goes on between
 * them. */
static bool start_sessions(struct nj_engine *engine)
{
    size_t started = 0;
    size_t session;

    while (!engine->stopping && !engine->failed && !engine->disk_low && nj_money_allows(engine) &&
           started < STARTS_PER_ROUND && nj_queue_take(engine->queue, wall_ms(), &session)) {
        start_session(engine, session);
        started++;
    }
    if (started == STARTS_PER_ROUND)
        nj_engine_reschedule(engine);
    return started > 0;
}

static void on_schedule(evutil_socket_t fd, short what, void *arg)
{
    struct nj_engine *engine = arg;

    (void)fd;
    (void)what;
    nj_engine_note_piece(engine);
    if (!engine->stopping) {
        nj_live_grant_slots(engine);
        nj_money_grant(engine);
    }
    (void)start_sessions(engine);
}

/* ---- ending sessions ---- */

void nj_engine_ended(struct nj_live *live)
{
    struct nj_engine *engine = live->engine;
    struct nj_engine_seat *seat = &engine->seats[live->plan->number - 1];
    const struct nj_session *session = live->seat.session;

    seat->row = nj_steal_ptr(&live->row);
    seat->status = live->failed ? NJ_STATUS_FAILED : session->status;
    seat->unbundled = live->unbundled;
    nj_queue_end(engine->queue, live->plan->number - 1);
    nj_live_keep_ahead(engine);
    engine->failures += seat->status == NJ_STATUS_FAILED;
    nj_views_ended(live);
    if (nj_engine_too_many_failed(engine))
        nj_engine_suspend(engine, "fail_over");
    TAILQ_REMOVE(&engine->lives, live, live_link);
    nj_live_free(
        live); /* called from the committer only: no frame of the session's is on the stack */
    nj_engine_reschedule(engine);
}

void nj_engine_again(struct nj_live *live)
{
    struct nj_engine *engine = live->engine;
    size_t session = live->plan->number - 1;
    struct nj_error err = {0};

    nj_views_again(live);
    nj_queue_end(engine->queue, session);
    if (nj_queue_again(engine->queue, session, engine->seats[session].due_ms, &err) < 0)
        nj_engine_fail(engine, &err);
    TAILQ_REMOVE(&engine->lives, live, live_link);
    nj_live_free(live);
    nj_engine_reschedule(engine);
}

/* ---- stopping ---- */

static bool is_busy(const struct nj_live *live)
{
    switch (live->phase) {
    case NJ_BOX_OPENING:
    case NJ_BOX_RESTORING:
    case NJ_BOX_CALLING:
    case NJ_BOX_SCANNING:
        return true;
    case NJ_BOX_NONE:
    case NJ_BOX_IDLE:
        break;
    }
    return live->model_call || live->worker || live->waiter.queued || live->publish_queued;
}

static bool is_quiet(const struct nj_engine *engine)
{
    const struct nj_live *live;

    TAILQ_FOREACH(live, &engine->lives, live_link)
    if (is_busy(live))
        return false;
    return true;
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
    struct nj_engine *engine = arg;

    (void)fd;
    (void)what;
    engine->stop_now = true;
    (void)event_base_loopbreak(engine->base);
}

void nj_engine_suspend(struct nj_engine *engine, const char *reason)
{
    struct timeval grace = {.tv_sec = NJ_STOP_GRACE_S};
    struct nj_live *live;

    if (engine->stopping)
        return;
    engine->stopping = true;
    engine->stop_reason = reason;
    nj_live_keep_ahead(engine);
    nj_engine_post_state(engine);
    TAILQ_FOREACH(live, &engine->lives, live_link)
    {
        nj_seat_pause(&live->seat);
        nj_live_release_slot_queue(live); /* a call that has not begun is begun after the resume */
        if (live->model_call && nj_model_is_waiting(live->model_call)) { /* nor sent: likewise */
            nj_live_cancel_model(live);
            nj_money_settle(live, 0);
        }
    }
    (void)event_add(engine->grace, &grace);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct nj_engine *engine = arg;

    (void)what;
    if (engine->stopping) {
        engine->stop_now = true;
        (void)event_base_loopbreak(engine->base);
        return;
    }
    nj_log(NJ_LOG_WARN,
           "SIG%s: suspending; calls under way may end (%d s at most), again to stop at once",
           sigabbrev_np((int)number), NJ_STOP_GRACE_S);
    nj_engine_suspend(engine, "signal");
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    nj_engine_watch(arg);
}

static int suspend_one(struct nj_live *live, const char *reason, struct nj_error *err)
{
    struct nj_engine_seat *seat = &live->engine->seats[live->plan->number - 1];
    struct nj_event event = nj_live_event(live, NJ_EVENT_SUSPENDED);

    event.suspended.reason = nj_span_text(reason);
    nj_live_cancel_taking(live); /* the call is repeated */
    if (live->model_call) {
        if (!nj_model_is_waiting(live->model_call)) /* nobody will know what it cost */
            event.suspended.cost_micro_usd = live->reserved_micro_usd;
        nj_live_cancel_model(live);
        nj_money_settle(live, event.suspended.cost_micro_usd);
    }
    nj_money_forget(live);
    nj_seat_deliver(&live->seat, &event, (struct nj_span){0});
    if (nj_live_row(live, NJ_STATUS_SUSPENDED, "", "", err) < 0 ||
        nj_live_keep_facts(live, err) < 0)
        return -(int)err->code;
    free(seat->row);
    seat->row = nj_steal_ptr(&live->row);
    seat->status = NJ_STATUS_SUSPENDED;
    return 0;
}

static void on_parked_durable(struct nj_commit_waiter *waiter)
{
    struct nj_live *live = (struct nj_live *)((char *)waiter - offsetof(struct nj_live, waiter));
    struct nj_engine *engine = live->engine;

    nj_queue_park(engine->queue, live->plan->number - 1);
    TAILQ_REMOVE(&engine->lives, live, live_link);
    nj_live_free(live);
    nj_engine_reschedule(engine);
}

void nj_engine_park(struct nj_live *live, const char *reason)
{
    struct nj_error err = {0};

    nj_seat_pause(&live->seat);
    nj_live_drop_box(live, reason);
    if (suspend_one(live, reason, &err) < 0) {
        nj_engine_fail(live->engine, &err);
        return;
    }
    live->waiter.durable = on_parked_durable;
    nj_committer_wait(live->engine->committer, &live->waiter);
}

/* What a stopped run leaves: every session that lives is suspended, and everything is durable. */
static int suspend_all(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_live *live;

    TAILQ_FOREACH(live, &engine->lives, live_link)
    {
        if (live->seat.over || !live->seat.session)
            continue; /* closed already: only its publication is left, and it is repeated */
        if (suspend_one(live, engine->stop_reason ? engine->stop_reason : "waiting", err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* ---- the loop ---- */

static int add_events(struct nj_engine *engine, struct nj_error *err)
{
    struct timeval second = {.tv_sec = 1};

    engine->sigint = evsignal_new(engine->base, SIGINT, on_signal, engine);
    engine->sigterm = evsignal_new(engine->base, SIGTERM, on_signal, engine);
    engine->schedule = event_new(engine->base, -1, 0, on_schedule, engine);
    engine->grace = event_new(engine->base, -1, 0, on_grace, engine);
    engine->tick = event_new(engine->base, -1, EV_PERSIST, on_tick, engine);
    if (!engine->sigint || !engine->sigterm || !engine->schedule || !engine->grace ||
        !engine->tick || event_add(engine->sigint, NULL) < 0 ||
        event_add(engine->sigterm, NULL) < 0 || event_add(engine->tick, &second) < 0)
        return nj_fail_nomem(err);
    return nj_state_writer_new(engine->dir.fd, &engine->state_writer, err);
}

static size_t count(const struct nj_engine *engine, enum nj_queue_place place)
{
    return nj_queue_count(engine->queue, place);
}

static bool all_have_ended(const struct nj_engine *engine)
{
    return count(engine, NJ_QUEUE_ENDED) == engine->plan->n_sessions;
}

/* What is left waits for sessions that are suspended, and so do those that would be tried again. */
static bool is_stuck(struct nj_engine *engine)
{
    return count(engine, NJ_QUEUE_PARKED) > 0 && count(engine, NJ_QUEUE_ALIVE) == 0 &&
           !start_sessions(engine) &&
           (!nj_money_allows(engine) ||
            nj_queue_next_due_ms(engine->queue, wall_ms()) == INT64_MAX);
}

/* CPU time of this thread: waiting for events takes none, whatever work between two waits does. */
static uint64_t worked_us(void)
{
    struct timespec worked;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &worked); /* cannot fail for this clock */
    return (uint64_t)worked.tv_sec * 1000000 + (uint64_t)worked.tv_nsec / 1000;
}

/* What held up all sessions: the loop does its work piece by piece and looks at what has come after
 * a millisecond of them (start.c), so a turn has no more than that and one piece. Exchanges tell
 * where they begin one; whatever does not counts to the piece before it. */
void nj_engine_note_piece(void *ctx)
{
    struct nj_engine *engine = ctx;
    uint64_t now_us = worked_us(), us = now_us - engine->worked_us;

    engine->worked_us = now_us;
    if (us > engine->stall_us)
        engine->stall_us = us;
}

static int turn_loop(struct nj_engine *engine)
{
    int r;

    engine->worked_us = worked_us();
    engine->fetches_left = NJ_LIVE_FETCHES_A_TURN;
    r = event_base_loop(engine->base, EVLOOP_ONCE);
    nj_engine_note_piece(engine);
    return r;
}

static int run_loop(struct nj_engine *engine, struct nj_error *err)
{
    nj_engine_watch(engine);
    while (!engine->failed && !engine->stop_now && !all_have_ended(engine)) {
        if ((engine->stopping && is_quiet(engine)) || is_stuck(engine))
            break;
        if (turn_loop(engine) < 0)
            return nj_fail(err, NJ_E_SYSTEM, "the event loop failed");
    }
    if (engine->failed) {
        *err = engine->error;
        return -(int)err->code;
    }
    if (!all_have_ended(engine) && suspend_all(engine, err) < 0)
        return -(int)err->code;
    if (engine->failed) { /* while they were being suspended */
        *err = engine->error;
        return -(int)err->code;
    }
    return nj_committer_finish(engine->committer, err);
}

static int outcome_of(const struct nj_engine *engine)
{
    if (!all_have_ended(engine))
        return NJ_RUN_SUSPENDED;
    for (size_t i = 0; i < engine->plan->n_sessions; i++)
        if (engine->seats[i].status != NJ_STATUS_SUCCEEDED)
            return NJ_RUN_SOME_FAILED;
    return NJ_RUN_SUCCEEDED;
}

static void say_how_it_ended(const struct nj_engine *engine)
{
    if (engine->unknown_micro_usd > 0)
        nj_log(NJ_LOG_WARN,
               "calls whose outcome a crash left unknown count as spent: %.6f USD at most",
               (double)engine->unknown_micro_usd / 1e6);
    if (engine->scan_misses > 0)
        nj_log(NJ_LOG_ERROR,
               "%llu files differed from their last capture: their steps' snapshots are stale",
               (unsigned long long)engine->scan_misses);
}

/* Everything that may call back ends before what it would call. Workers come first. */
static void engine_done(struct nj_engine *engine)
{
    struct nj_live *live;

    TAILQ_FOREACH(live, &engine->lives, live_link)
    {
        nj_live_cancel_worker(live);
        nj_live_drop_box(live, NULL);
    }
    nj_thinning_done(engine);
    nj_workers_free(engine->pool);
    nj_sandbox_free(engine->sandbox);
    engine->sandbox = NULL;
    while ((live = TAILQ_FIRST(&engine->lives))) {
        TAILQ_REMOVE(&engine->lives, live, live_link);
        nj_live_free(live);
    }
    for (size_t i = 0; engine->plan && engine->seats && i < engine->plan->n_sessions; i++) {
        nj_live_free(engine->seats[i].past);
        free(engine->seats[i].row);
        nj_buf_done(&engine->seats[i].facts);
    }
    free(engine->seats);
    free(engine->group_first);
    nj_queue_free(engine->queue);
    nj_money_done(engine);
    nj_state_writer_free(engine->state_writer);
    nj_views_free(engine->views);
    for (size_t i = 0; i < engine->n_takers; i++)
        nj_taker_free(engine->takers[i]);
    nj_committer_free(engine->committer);
    nj_journal_writer_close(engine->writer);
    nj_journal_free(engine->reader);
    nj_models_free(engine->models);
    nj_vault_free(engine->vault);
    struct event *events[] = {engine->sigint, engine->sigterm, engine->schedule, engine->grace,
                              engine->tick};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    nj_pulse_free(engine->pulse);
    if (engine->base)
        event_base_free(engine->base);
    nj_plan_free(engine->plan);
    nj_inputs_free(engine->inputs);
    nj_manifest_free(engine->manifest);
    nj_buf_done(&engine->scratch);
    nj_recent_free(engine->recent);
    nj_world_live_done(engine);
    nj_buf_done(&engine->job);
    free(engine->environment);
    free(engine->manifest_dir);
    nj_allowed_free(engine->allowed);
    nj_close_auto(&engine->files_fd);
    nj_run_dir_done(&engine->dir);
}

NJ_DEFINE_AUTO_VAL(struct nj_engine, engine_done);

/* What was appended before the failure is worth a last commit: replies among it are paid for. A
 * full disk leaves room for that (journal.h); after a failed write or sync the committer refuses.
 */
static void save_what_can_be(struct nj_engine *engine)
{
    struct nj_error ignored = {0}; /* told beside the first error, which is the cause */

    (void)!nj_committer_finish(engine->committer, &ignored);
    if (nj_engine_publish_state(engine, "failed", &ignored) < 0)
        nj_log(NJ_LOG_WARN, "%s", ignored.text);
}

/* Whoever asks a run to stop while it is starting is heard once it can be suspended: until then
 * there would be nothing to go on with. What is forked in between sets its own mask. */
static void hold_signals(int how)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(how, &set, NULL);
}

static int run_once(const struct nj_engine_options *options, struct nj_manifest_faults *faults,
                    struct nj_error *err)
{
    NJ_AUTO(engine_done)
    struct nj_engine engine = {.dir = NJ_RUN_DIR_EMPTY, .options = options, .files_fd = -1};
    const char *state;
    int outcome;

    TAILQ_INIT(&engine.lives);
    TAILQ_INIT(&engine.slot_queue);
    TAILQ_INIT(&engine.idle);
    TAILQ_INIT(&engine.money_queue);
    TAILQ_INIT(&engine.publish_queue);
    nj_buf_init(&engine.scratch, NJ_LIVE_SCRATCH_MAX_BYTES);
    nj_world_live_init(&engine.world);
    hold_signals(SIG_BLOCK);
    if (nj_recent_new(NJ_RECENT_MAX_BYTES, &engine.recent, err) < 0 ||
        nj_views_new(options, &engine.views, err) < 0 || nj_engine_start(&engine, faults, err) < 0)
        return -(int)err->code;
    if (add_events(&engine, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < engine.plan->n_sessions; i++) /* what earlier processes ended */
        engine.failures += engine.seats[i].status == NJ_STATUS_FAILED;
    if (engine.was_fail_over)
        engine.forgiven = engine.failures;
    if (nj_views_begin(&engine, err) < 0)
        return -(int)err->code;
    hold_signals(SIG_UNBLOCK);
    if (run_loop(&engine, err) < 0) {
        nj_views_quiet(&engine);
        save_what_can_be(&engine);
        return nj_wrap(err,
                       "run %s stopped; what is durable is kept, go on with `nightjar resume %s`",
                       engine.dir.path, engine.dir.path);
    }
    nj_views_quiet(&engine);
    outcome = outcome_of(&engine);
    state = outcome == NJ_RUN_SUSPENDED ? "suspended" : "finished";
    if (nj_engine_publish_results(&engine, err) < 0 ||
        nj_engine_publish_state(&engine, state, err) < 0)
        return nj_wrap(err, "run %s", engine.dir.path);
    nj_views_publish(&engine, state);
    say_how_it_ended(&engine);
    return outcome;
}

int nj_engine_run(const struct nj_engine_options *options, struct nj_manifest_faults *faults,
                  struct nj_error *err)
{
    int r;

    nj_fault_init("engine");
    r = run_once(options, faults, err);
    nj_fault_done(); /* helper and boxes have ended by now: their counts are whole */
    return r;
}
