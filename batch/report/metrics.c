/*
 * metrics.c - metrics.prom: the run for Prometheus' textfile collector
 */
#include "batch/report/metrics.h"

#include <inttypes.h>

#include "batch/report/text.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

struct writer {
    struct nj_buf *out;
    const char *job;
    struct nj_error *err; /* the first failure sticks */
};

static void put(struct writer *w, const char *text)
{
    if (w->err->code == 0)
        (void)!nj_buf_text(w->out, text, w->err);
}

static void put_number(struct writer *w, uint64_t value)
{
    if (w->err->code == 0)
        (void)!nj_buf_printf(w->out, w->err, "%" PRIu64 "\n", value);
}

static void put_ms(struct writer *w, uint64_t ms)
{
    if (w->err->code == 0 && nj_text_seconds(w->out, ms, w->err) == 0)
        put(w, "\n");
}

static void put_usd(struct writer *w, uint64_t micro_usd)
{
    if (w->err->code == 0 && nj_text_usd(w->out, micro_usd, w->err) == 0)
        put(w, "\n");
}

/* Label values: backslash, quote and line feed are escaped; what is no UTF-8 becomes '?'. */
static void put_label(struct writer *w, const char *name, const char *value)
{
    nj_auto_free char *copy = strdup(value);

    put(w, name);
    put(w, "=\"");
    if (!copy) {
        if (w->err->code == 0)
            (void)nj_fail_nomem(w->err);
        return;
    }
    nj_utf8_clean(copy);
    for (char piece[3] = {0}, *c = copy; *c; c++) {
        piece[0] = *c == '\\' || *c == '"' || *c == '\n' ? '\\' : *c;
        piece[1] = piece[0] == '\\' ? (char)(*c == '\n' ? 'n' : *c) : '\0';
        put(w, piece);
    }
    put(w, "\"");
}

static void head(struct writer *w, const char *name, const char *help)
{
    if (w->err->code == 0)
        (void)!nj_buf_printf(w->out, w->err,
                             "# HELP nightjar_run_%s %s\n# TYPE nightjar_run_%s gauge\n", name,
                             help, name);
}

/* One series: nightjar_run_NAME{job="...",KEY="VALUE",...}, its value to follow. */
static void series(struct writer *w, const char *name, const char *const *labels)
{
    put(w, "nightjar_run_");
    put(w, name);
    put(w, "{");
    put_label(w, "job", w->job);
    for (; labels && *labels; labels += 2) {
        put(w, ",");
        put_label(w, labels[0], labels[1]);
    }
    put(w, "} ");
}

static void put_sessions(struct writer *w, const struct nj_tally *tally)
{
    head(w, "sessions", "Sessions of the run by group and status.");
    for (size_t i = 0; i < tally->n_groups; i++) {
        const struct nj_tally_sum *sum = &tally->groups[i];
        struct {
            const char *status;
            size_t count;
        } rows[] = {{"succeeded", sum->succeeded},
                    {"failed", sum->failed},
                    {"skipped", sum->skipped},
                    {"suspended", sum->begun},
                    {"waiting", sum->waiting}};

        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
            const char *labels[] = {"group", sum->name, "status", rows[k].status, NULL};

            series(w, "sessions", labels);
            put_number(w, rows[k].count);
        }
    }
}

static void put_models(struct writer *w, const struct nj_tally *tally)
{
    head(w, "model_cost_usd", "Cost of model calls in US dollars, by model.");
    for (size_t i = 0; i < tally->n_models; i++) {
        const char *labels[] = {"model", tally->models[i].name, NULL};

        series(w, "model_cost_usd", labels);
        put_usd(w, tally->models[i].cost_micro_usd);
    }
    head(w, "model_calls", "Complete replies, by model.");
    for (size_t i = 0; i < tally->n_models; i++) {
        const char *labels[] = {"model", tally->models[i].name, NULL};

        series(w, "model_calls", labels);
        put_number(w, tally->models[i].calls);
    }
    head(w, "model_tokens", "Tokens by model and kind.");
    for (size_t i = 0; i < tally->n_models; i++) {
        const struct nj_usage *usage = &tally->models[i].usage;
        struct {
            const char *kind;
            uint64_t count;
        } rows[] = {{"input", usage->input_tokens},
                    {"output", usage->output_tokens},
                    {"cache_read", usage->cache_read_tokens},
                    {"cache_write", usage->cache_write_5m_tokens + usage->cache_write_1h_tokens}};

        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
            const char *labels[] = {"kind", rows[k].kind, "model", tally->models[i].name, NULL};

            series(w, "model_tokens", labels);
            put_number(w, rows[k].count);
        }
    }
}

static void put_limits(struct writer *w, const struct nj_tally *tally)
{
    head(w, "limits_struck", "How often a limit of a sandbox struck, by limit.");
    for (size_t i = 0; i < NJ_FACTS_LIMITS; i++) {
        const char *labels[] = {"limit", nj_limit_key((enum nj_limit)(i + 1)), NULL};

        series(w, "limits_struck", labels);
        put_number(w, tally->all.limits[i]);
    }
}

int nj_metrics_write(const struct nj_ledger *ledger, const struct nj_tally *tally,
                     struct nj_buf *out, struct nj_error *err)
{
    struct nj_error first = {0};
    struct writer w = {.out = out, .job = ledger->job, .err = &first};
    const struct nj_tally_sum *all = &tally->all;
    struct {
        const char *name;
        const char *help;
        uint64_t ms;
    } times[] = {
        {"start_time_seconds", "When the run began, in seconds since 1970.",
         (uint64_t)(tally->began_ns > 0 ? tally->began_ns / 1000000 : 0)},
        {"last_event_time_seconds", "When its last event was, in seconds since 1970.",
         (uint64_t)(tally->ended_ns > 0 ? tally->ended_ns / 1000000 : 0)},
        {"session_seconds", "Time of all sessions, added up, without what they were suspended.",
         all->busy_ms},
        {"model_seconds", "Time of complete replies, added up.", all->model_ms},
        {"tool_seconds", "Time of tool calls, added up.", all->tool_ms},
        {"judge_seconds", "Time of accept commands, added up.", all->judge_ms},
        {"cpu_seconds", "Processor time of calls, added up.", all->cpu_ms},
        {"box_held_seconds", "Time for which a sandbox was held, added up.", all->box_held_ms},
    };
    struct {
        const char *name;
        const char *help;
        uint64_t count;
    } numbers[] = {
        {"attempts", "Attempts at sessions.", all->attempts},
        {"sessions_reused", "Sessions taken over from an earlier run; they count as succeeded.",
         all->reused},
        {"turns", "Replies that were folded in.", all->turns},
        {"tool_calls", "Tool calls that ended.", all->calls},
        {"model_retries", "Tries of model calls that failed and were repeated.", all->retries},
        {"boxes_lost", "Sandboxes that were lost under a session.", all->boxes_lost},
    };

    put_sessions(&w, tally);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        head(&w, times[i].name, times[i].help);
        series(&w, times[i].name, NULL);
        put_ms(&w, times[i].ms);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        head(&w, numbers[i].name, numbers[i].help);
        series(&w, numbers[i].name, NULL);
        put_number(&w, numbers[i].count);
    }
    head(&w, "cost_usd", "Cost of model calls in US dollars.");
    series(&w, "cost_usd", NULL);
    put_usd(&w, all->cost_micro_usd);
    if (ledger->deadline_s > 0) {
        head(&w, "deadline_time_seconds", "When the run is to stop, in seconds since 1970.");
        series(&w, "deadline_time_seconds", NULL);
        put_number(&w, (uint64_t)ledger->deadline_s);
    }
    put_models(&w, tally);
    put_limits(&w, tally);
    if (first.code != 0) {
        *err = first;
        return nj_wrap(err, "%s", NJ_METRICS_NAME);
    }
    return 0;
}
