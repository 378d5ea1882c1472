/*
 * tell.c - what a run tells in its folder: run.json while it works, results.jsonl at its end
 *
 * Before the loop and behind it the files are published here; in between run.json is the writer
 * thread's (state.h), which gets its text from here.
 */
#include "batch/engine/start.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "batch/run/holder.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

/* ---- run.json ---- */

static void count_sessions(const struct nj_engine *engine, bool running,
                           struct nj_run_counts *ret_counts)
{
    uint64_t by_status[NJ_STATUS_SKIPPED + 1] = {0};
    struct nj_run_counts counts = {.total = engine->plan->n_sessions};

    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        by_status[engine->seats[i].status]++;
        counts.reused += engine->seats[i].reused;
    }
    counts.succeeded = by_status[NJ_STATUS_SUCCEEDED];
    counts.failed = by_status[NJ_STATUS_FAILED];
    counts.suspended = by_status[NJ_STATUS_SUSPENDED];
    counts.skipped = by_status[NJ_STATUS_SKIPPED];
    counts.running = running ? nj_queue_count(engine->queue, NJ_QUEUE_ALIVE) : 0;
    counts.retrying = nj_queue_count(engine->queue, NJ_QUEUE_DELAYED);
    counts.waiting = by_status[0] - counts.running; /* who is alive has no status */
    *ret_counts = counts;
}

static int state_text(const struct nj_engine *engine, const char *word, struct nj_buf *out,
                      struct nj_error *err)
{
    struct nj_run_state state = {
        .manifest_dir = engine->manifest_dir,
        .pid = getpid(),
        .created_s = engine->created_s,
        .started_s = engine->started_s,
        .updated_s = time(NULL),
        .deadline_s = engine->deadline_s,
        .spent_micro_usd = (int64_t)engine->run_budget.spent,
        .budget_micro_usd = engine->manifest->limits.budget_micro_usd,
        .retain_seconds = engine->manifest->retain_seconds,
        .disk_low = engine->disk_low,
        .loop_stall_us = engine->stall_us,
        .loop_late_ms = nj_pulse_late_ms(engine->pulse),
    };
    struct nj_holder self;

    nj_holder_read(engine->dir.fd, &self);
    (void)snprintf(state.host, sizeof(state.host), "%s", self.host);
    (void)snprintf(state.boot_id, sizeof(state.boot_id), "%s", self.boot_id);
    (void)snprintf(state.job, sizeof(state.job), "%s", engine->manifest->job);
    (void)snprintf(state.state, sizeof(state.state), "%s", word);
    (void)snprintf(state.stop_reason, sizeof(state.stop_reason), "%s",
                   engine->stop_reason ? engine->stop_reason : "");
    count_sessions(engine, strcmp(word, "running") == 0, &state.sessions);
    return nj_run_state_write(&state, out, err);
}

int nj_engine_publish_state(struct nj_engine *engine, const char *state, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    nj_state_writer_free(nj_steal_ptr(&engine->state_writer));
    nj_buf_init(&text, 1u << 20);
    if (state_text(engine, state, &text, err) < 0)
        return -(int)err->code;
    return nj_fsio_publish(engine->dir.fd, NJ_STATE_FILE, nj_buf_span(&text), 0600, err);
}

void nj_engine_post_state(struct nj_engine *engine)
{
    struct nj_buf text = {0};
    struct nj_error ignored = {0}; /* the next one tells */

    if (!engine->state_writer)
        return;
    nj_buf_init(&text, 1u << 20);
    if (state_text(engine, "running", &text, &ignored) == 0)
        nj_state_writer_post(engine->state_writer, nj_buf_steal(&text));
    nj_buf_done(&text);
}

/* ---- results.jsonl ---- */

/* A session of a suspended run that has not begun, or has failed and waits for its next attempt. */
static int append_waiting(const struct nj_engine *engine, size_t index, struct nj_buf *out,
                          struct nj_error *err)
{
    const struct nj_plan_session *session = &engine->plan->sessions[index];
    const struct nj_engine_seat *seat = &engine->seats[index];
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts facts = {0};

    if (seat->facts.len > 0 && nj_facts_decode(nj_buf_span(&seat->facts), &arena, &facts, err) < 0)
        return -(int)err->code;
    if (nj_buf_text(out, "{\"key\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(session->key), err) < 0 ||
        nj_buf_text(out, ",\"group\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(engine->manifest->groups[session->group].name), err) < 0)
        return -(int)err->code;
    return nj_buf_printf(
        out, err,
        ",\"status\":\"suspended\",\"result\":null,\"error\":null,\"attempts\":%" PRIu64
        ",\"steps\":0,\"cost_usd\":%" PRIu64 ".%06" PRIu64 ",\"tokens\":{\"input\":%" PRIu64
        ",\"output\":%" PRIu64 ",\"cache_read\":%" PRIu64 ",\"cache_write\":%" PRIu64
        "},\"bundle\":null,\"replay\":null}",
        seat->attempts, facts.cost_micro_usd / 1000000, facts.cost_micro_usd % 1000000,
        facts.usage.input_tokens, facts.usage.output_tokens, facts.usage.cache_read_tokens,
        facts.usage.cache_write_5m_tokens + facts.usage.cache_write_1h_tokens);
}

int nj_engine_publish_results(struct nj_engine *engine, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, SIZE_MAX / 2);
    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        int r = engine->seats[i].row ? nj_buf_text(&out, engine->seats[i].row, err)
                                     : append_waiting(engine, i, &out, err);

        if (r < 0 || nj_buf_text(&out, "\n", err) < 0)
            return -(int)err->code;
    }
    return nj_fsio_publish(engine->dir.fd, "results.jsonl", nj_buf_span(&out), 0600, err);
}
