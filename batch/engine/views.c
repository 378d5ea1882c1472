/*
 * views.c - what a run shows and leaves for people
 */
#include "batch/engine/views.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "batch/report/html.h"
#include "batch/report/joblog.h"
#include "batch/report/junit.h"
#include "batch/report/metrics.h"
#include "batch/report/progress.h"
#include "batch/report/summary.h"
#include "batch/report/text.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

#define LINES_COLUMNS 100 /* of a summary where no terminal says how wide it is */

struct nj_views {
    const struct nj_engine_options *options;
    struct nj_progress *progress;
    struct event *tick;
    struct event *signals[3];
    int joblog_fd; /* -1: it could not be opened, which was told */
};

int nj_views_new(const struct nj_engine_options *options, struct nj_views **ret_views,
                 struct nj_error *err)
{
    NJ_AUTO(nj_views_free) struct nj_views *views = calloc(1, sizeof(*views));
    enum nj_progress_mode mode = options->quiet     ? NJ_PROGRESS_QUIET
                                 : options->verbose ? NJ_PROGRESS_VERBOSE
                                                    : NJ_PROGRESS_NORMAL;

    if (!views)
        return nj_fail_nomem(err);
    views->options = options;
    views->joblog_fd = -1;
    if (nj_progress_new(mode, &views->progress, err) < 0)
        return -(int)err->code;
    *ret_views = nj_steal_ptr(&views);
    return 0;
}

static void stop_events(struct nj_views *views)
{
    for (size_t i = 0; i < sizeof(views->signals) / sizeof(views->signals[0]); i++)
        if (views->signals[i])
            event_free(nj_steal_ptr(&views->signals[i]));
    if (views->tick)
        event_free(nj_steal_ptr(&views->tick));
}

void nj_views_free(struct nj_views *views)
{
    if (!views)
        return;
    stop_events(views);
    nj_progress_free(views->progress);
    nj_close_auto(&views->joblog_fd);
    free(views);
}

/* ---- the run as a ledger ---- */

static int add_live(struct nj_ledger *ledger, const struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};

    nj_buf_init(&packed, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (nj_facts_encode(&live->fold.facts, &packed, err) < 0)
        return -(int)err->code;
    if (live->fold.last_ns > ledger->last_ns)
        ledger->last_ns = live->fold.last_ns;
    return nj_ledger_add(ledger, live->plan->number, nj_buf_span(&packed), err);
}

static int fill_ledger(const struct nj_engine *engine, const char *state, struct nj_ledger *ledger,
                       struct nj_error *err)
{
    const struct nj_live *live;

    nj_ledger_init(ledger);
    ledger->job = engine->manifest->job;
    ledger->run_path = engine->dir.path;
    ledger->state = state;
    ledger->stop_reason = engine->stop_reason;
    ledger->deadline_s = engine->deadline_s;
    ledger->usd_per_hour_micro = (uint64_t)engine->manifest->runtime_micro_usd_per_hour;
    ledger->total = engine->plan->n_sessions;
    ledger->started_ns = engine->first_epoch_ns;
    ledger->last_ns = engine->first_epoch_ns;
    ledger->epochs = engine->epochs;
    ledger->usd_per_hour_micro = (uint64_t)engine->manifest->runtime_micro_usd_per_hour;
    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        const struct nj_engine_seat *seat = &engine->seats[i];
        const struct nj_plan_session *session = &engine->plan->sessions[i];
        int r = 0;

        if (seat->past) /* not alive yet in this process; newer than what an earlier attempt left */
            r = add_live(ledger, seat->past, err);
        else if (seat->facts.len > 0)
            r = nj_ledger_add(ledger, session->number, nj_buf_span(&seat->facts), err);
        if (r < 0 || nj_ledger_add_waiting(ledger, session->number, session->key,
                                           engine->manifest->groups[session->group].name,
                                           session->config->agent, err) < 0)
            return -(int)err->code;
    }
    TAILQ_FOREACH(live, &engine->lives, live_link)
    if (add_live(ledger, live, err) < 0) /* newer than what an earlier attempt left */
        return -(int)err->code;
    return 0;
}

/* ---- while it works ---- */

static int64_t wall_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void take_figures(struct nj_engine *engine)
{
    struct nj_panel *panel = nj_progress_panel(engine->views->progress);
    const struct nj_live *live, *slowest = NULL;
    int64_t since_ns = INT64_MAX;

    panel->running = nj_queue_count(engine->queue, NJ_QUEUE_ALIVE);
    panel->suspended = nj_queue_count(engine->queue, NJ_QUEUE_PARKED);
    panel->stopping = engine->stopping;
    panel->spent_micro_usd = engine->run_budget.spent;
    TAILQ_FOREACH(live, &engine->lives, live_link)
    {
        const struct nj_facts *facts = &live->fold.facts;

        if (facts->n_attempts > 0 && facts->attempts[facts->n_attempts - 1].start_ns < since_ns) {
            since_ns = facts->attempts[facts->n_attempts - 1].start_ns;
            slowest = live;
        }
    }
    panel->slowest = slowest ? slowest->plan->key : NULL;
    panel->slowest_ms = slowest ? (uint64_t)((wall_ns() - since_ns) / 1000000) : 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct nj_engine *engine = arg;

    (void)fd;
    (void)what;
    take_figures(engine);
    nj_progress_tick(engine->views->progress);
}

/* Ctrl-Z: the screen is the shell's from here on. What the default would do is done by hand. */
static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct nj_engine *engine = arg;

    (void)fd;
    (void)what;
    nj_progress_clear(engine->views->progress);
    (void)kill(getpid(), SIGSTOP);
}

static int add_events(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_views *views = engine->views;
    struct timeval every = {.tv_usec = NJ_PROGRESS_TICK_MS * 1000};

    views->tick = event_new(engine->base, -1, EV_PERSIST, on_tick, engine);
    if (!views->tick || event_add(views->tick, &every) < 0)
        return nj_fail_nomem(err);
    if (!nj_progress_is_terminal(views->progress))
        return 0;
    views->signals[0] = evsignal_new(engine->base, SIGWINCH, on_tick, engine);
    views->signals[1] = evsignal_new(engine->base, SIGCONT, on_tick, engine);
    views->signals[2] = evsignal_new(engine->base, SIGTSTP, on_stop, engine);
    for (size_t i = 0; i < sizeof(views->signals) / sizeof(views->signals[0]); i++)
        if (!views->signals[i] || event_add(views->signals[i], NULL) < 0)
            return nj_fail_nomem(err);
    return 0;
}

/* A line that a killed engine wrote by half, or not at all, is made good here. */
static void heal_joblog(struct nj_engine *engine)
{
    NJ_AUTO(nj_ledger_done) struct nj_ledger ledger = {0};
    struct nj_error err = {0};

    if (fill_ledger(engine, "running", &ledger, &err) < 0 ||
        nj_joblog_publish(engine->dir.fd, &ledger, &err) < 0 ||
        nj_joblog_open(engine->dir.fd, &engine->views->joblog_fd, &err) < 0)
        nj_log(NJ_LOG_WARN, "%s; it is written at the end of the run", err.text);
}

int nj_views_begin(struct nj_engine *engine, struct nj_error *err)
{
    size_t succeeded = 0, failed = 0;

    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        succeeded += engine->seats[i].status == NJ_STATUS_SUCCEEDED;
        failed += engine->seats[i].status == NJ_STATUS_FAILED;
    }
    heal_joblog(engine);
    nj_progress_start(engine->views->progress, engine->manifest->job, engine->plan->n_sessions,
                      succeeded, failed);
    return add_events(engine, err);
}

void nj_views_started(const struct nj_live *live)
{
    nj_progress_begun(live->engine->views->progress, live->plan->key);
}

void nj_views_ended(struct nj_live *live)
{
    nj_progress_ended(live->engine->views->progress, &live->fold.facts);
    nj_views_again(live);
}

void nj_views_again(struct nj_live *live)
{
    struct nj_views *views = live->engine->views;
    const struct nj_facts *facts = &live->fold.facts;
    struct nj_error err = {0};

    if (views->joblog_fd < 0 || facts->n_attempts == 0)
        return;
    if (nj_joblog_append(views->joblog_fd, facts, facts->n_attempts - 1, &err) < 0) {
        nj_log(NJ_LOG_WARN, "%s; it is written at the end of the run", err.text);
        nj_close_auto(&views->joblog_fd);
        views->joblog_fd = -1;
    }
}

void nj_views_quiet(struct nj_engine *engine)
{
    stop_events(engine->views);
    nj_progress_clear(engine->views->progress);
}

/* ---- at the end ---- */

static void publish(struct nj_engine *engine, const char *name, const struct nj_ledger *ledger,
                    const struct nj_tally *tally,
                    int (*write_view)(const struct nj_ledger *ledger, const struct nj_tally *tally,
                                      struct nj_buf *out, struct nj_error *err))
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, SIZE_MAX / 2);
    if (write_view(ledger, tally, &out, &err) < 0 ||
        nj_fsio_publish(engine->dir.fd, name, nj_buf_span(&out), 0600, &err) < 0)
        nj_log(NJ_LOG_WARN, "%s is not written: %s", name, err.text);
}

static void say_summary(const struct nj_ledger *ledger, const struct nj_tally *tally)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_summary_style style = {.columns = LINES_COLUMNS, .utf8 = nj_text_locale()};
    struct winsize size = {0};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    struct nj_error err = {0};

    if (isatty(STDERR_FILENO) == 1) {
        style.color = (!no_color || !no_color[0]) && term && strcmp(term, "dumb") != 0;
        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
            style.columns = size.ws_col;
    }
    nj_buf_init(&out, 1u << 20);
    if (nj_summary_write(ledger, tally, &style, &out, &err) < 0 ||
        nj_fsio_write(STDERR_FILENO, out.data, out.len, &err) < 0)
        nj_log(NJ_LOG_WARN, "%s", err.text);
}

void nj_views_publish(struct nj_engine *engine, const char *state)
{
    NJ_AUTO(nj_ledger_done) struct nj_ledger ledger = {0};
    NJ_AUTO(nj_tally_done) struct nj_tally tally = {0};
    struct nj_error err = {0};

    if (fill_ledger(engine, state, &ledger, &err) < 0 ||
        nj_tally_new(&ledger, wall_ns(), &tally, &err) < 0) {
        nj_log(NJ_LOG_WARN, "there is no report: %s", err.text);
        return;
    }
    if (nj_joblog_publish(engine->dir.fd, &ledger, &err) < 0)
        nj_log(NJ_LOG_WARN, "%s is not written: %s", NJ_JOBLOG_NAME, err.text);
    publish(engine, NJ_JUNIT_NAME, &ledger, &tally, nj_junit_write);
    publish(engine, NJ_METRICS_NAME, &ledger, &tally, nj_metrics_write);
    publish(engine, NJ_HTML_NAME, &ledger, &tally, nj_html_write);
    if (!engine->views->options->quiet || tally.all.succeeded < tally.all.total)
        say_summary(&ledger, &tally);
}
