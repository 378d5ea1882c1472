/*
 * summary.c - what the owner of a run reads in the morning
 */
#include "batch/report/summary.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>

#include "batch/report/text.h"

#include "formats/base/banned.h"

#define CAUSES_SHOWN_MAX 10
#define CAUSE_COLUMNS_MAX 200 /* what went wrong is told in words, on as many lines as it takes */
#define LABEL_COLUMNS 10
#define MODELS_SHOWN_MAX 4

struct writer {
    const struct nj_ledger *ledger;
    const struct nj_tally *tally;
    const struct nj_summary_style *style;
    struct nj_buf *out;
    struct nj_error *err; /* the first failure sticks */
    size_t line;          /* where the line under way begins in @out */
    size_t indent;        /* of what does not fit into it */
};

static void put(struct writer *w, const char *text)
{
    if (w->err->code == 0)
        (void)!nj_buf_text(w->out, text, w->err);
}

static void put_count(struct writer *w, uint64_t value, const char *word)
{
    if (w->err->code == 0 && nj_text_count(w->out, value, w->err) == 0)
        put(w, word);
}

static void put_duration(struct writer *w, uint64_t ms)
{
    if (w->err->code == 0)
        (void)!nj_text_duration(w->out, ms, w->err);
}

static void put_money(struct writer *w, uint64_t micro_usd)
{
    if (w->err->code == 0)
        (void)!nj_text_money(w->out, micro_usd, w->err);
}

/* Foreign text in what is left of a line of which @used columns are taken. */
static void put_shown(struct writer *w, const char *text, size_t used)
{
    size_t left = w->style->columns > used + 8 ? w->style->columns - used : 8;

    if (w->err->code == 0)
        (void)!nj_text_shown(w->out, text, left, w->style->utf8, w->err);
}

static void style(struct writer *w, const char *code)
{
    if (w->style->color)
        put(w, code);
}

/* Ends a line, which was made for any width. Commands do not come here: they must stay what can be
 * copied. */
static void end_line(struct writer *w)
{
    NJ_AUTO(nj_buf_done) struct nj_buf whole = {0};

    nj_buf_init(&whole, w->out->max);
    if (w->err->code != 0 ||
        nj_buf_append(&whole, w->out->data + w->line, w->out->len - w->line, w->err) < 0)
        return;
    w->out->len = w->line;
    if (nj_text_wrap(w->out, nj_buf_span(&whole), w->style->columns, w->indent, w->err) == 0)
        put(w, "\n");
    w->line = w->out->len;
}

/* The first word of a line; "" continues the one above. */
static void label(struct writer *w, const char *word)
{
    char text[LABEL_COLUMNS + 3];

    (void)snprintf(text, sizeof(text), "  %-*s", LABEL_COLUMNS, word);
    w->indent = LABEL_COLUMNS + 2;
    style(w, NJ_TEXT_DIM);
    put(w, text);
    style(w, NJ_TEXT_PLAIN);
}

static void put_headline(struct writer *w)
{
    const struct nj_tally_sum *all = &w->tally->all;
    size_t open = all->begun + all->waiting;

    style(w, NJ_TEXT_BOLD);
    put_shown(w, w->ledger->job, 40);
    put(w, ": ");
    style(w, all->failed ? NJ_TEXT_RED : open ? NJ_TEXT_YELLOW : NJ_TEXT_GREEN);
    if (all->succeeded == all->total && all->total == 1) {
        put(w, "its session succeeded");
    } else if (all->succeeded == all->total) {
        put(w, "all ");
        put_count(w, all->total, " sessions succeeded");
    } else {
        put_count(w, all->succeeded, " of ");
        put_count(w, all->total, " succeeded");
        if (all->failed > 0) {
            put(w, ", ");
            put_count(w, all->failed, " failed");
        }
        if (all->skipped > 0) {
            put(w, ", ");
            put_count(w, all->skipped, " skipped");
        }
        if (open > 0) {
            put(w, ", ");
            put_count(w, open, " to go on with");
        }
    }
    style(w, NJ_TEXT_PLAIN);
    if (all->reused > 0) {
        put(w, ", of them ");
        put_count(w, all->reused, " reused");
    }
    end_line(w);
    put(w, "\n");
    w->line = w->out->len;
}

static void put_moment(struct writer *w, int64_t time_s)
{
    if (w->err->code == 0)
        (void)!nj_text_time(w->out, time_s * 1000000000, w->err);
}

/* Why it did not come to its end; a run without a word for that was killed, or has come to it. */
static void put_stop(struct writer *w)
{
    static const struct {
        const char *reason;
        const char *text;
    } words[] = {{"signal", "by a signal, or nightjar stop"},
                 {"deadline", "at its deadline, "},
                 {"budget", "its budget is used up"},
                 {"model", "a model's service refuses whatever is asked"},
                 {"fail_over", "more sessions failed than limits.fail_over allows"}};
    const char *reason = w->ledger->stop_reason ? w->ledger->stop_reason : "";
    const char *text = reason;

    if (!reason[0] || w->tally->all.begun + w->tally->all.waiting == 0)
        return;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i].reason, reason) == 0)
            text = words[i].text;
    label(w, "stopped");
    put(w, text);
    if (strcmp(reason, "deadline") == 0)
        put_moment(w, w->ledger->deadline_s);
    end_line(w);
}

static void put_time(struct writer *w)
{
    const struct nj_tally *t = w->tally;
    int64_t ns = t->ended_ns - t->began_ns;

    if (t->began_ns == 0)
        return;
    label(w, "time");
    put_duration(w, ns > 0 ? (uint64_t)ns / 1000000 : 0);
    put(w, ", from ");
    if (w->err->code == 0)
        (void)!nj_text_time(w->out, t->began_ns, w->err);
    if (w->ledger->epochs > 1) {
        put(w, ", in ");
        put_count(w, w->ledger->epochs, " parts");
    }
    end_line(w);
    label(w, "");
    put_count(w, t->all.turns, t->all.turns == 1 ? " model call " : " model calls ");
    put_duration(w, t->all.model_ms);
    put(w, ", ");
    put_count(w, t->all.calls, t->all.calls == 1 ? " tool call " : " tool calls ");
    put_duration(w, t->all.tool_ms);
    end_line(w);
}

static uint64_t tokens_in(const struct nj_usage *usage)
{
    return usage->input_tokens + usage->cache_read_tokens + usage->cache_write_5m_tokens +
           usage->cache_write_1h_tokens;
}

/* Was any prompt written to the provider's cache, or read from it? Then nothing read is told, too:
 * it was paid for. */
static bool is_cached(const struct nj_usage *usage)
{
    return usage->cache_read_tokens > 0 || usage->cache_write_5m_tokens > 0 ||
           usage->cache_write_1h_tokens > 0;
}

/* How much of each group's prompts came from the provider's cache. */
static void put_cached(struct writer *w)
{
    for (size_t i = 0; w->tally->n_groups > 1 && i < w->tally->n_groups && i < 8; i++) {
        const struct nj_usage *usage = &w->tally->groups[i].usage;

        if (!is_cached(usage))
            continue;
        label(w, "");
        put_shown(w, w->tally->groups[i].name, 40);
        put(w, ": ");
        put_count(w, usage->cache_read_tokens * 100 / tokens_in(usage), " % from the cache");
        end_line(w);
    }
}

/* What each model's replies cost; what is left brought none: tries that failed, calls lost. */
static void put_models(struct writer *w)
{
    const struct nj_tally *tally = w->tally;
    uint64_t left = tally->all.cost_micro_usd;

    for (size_t i = 0; i < tally->n_models; i++) {
        const struct nj_facts_model *model = &tally->models[i];

        left -= model->cost_micro_usd < left ? model->cost_micro_usd : left;
        if (tally->n_models == 1 || i >= MODELS_SHOWN_MAX)
            continue;
        label(w, "");
        put_money(w, model->cost_micro_usd);
        put(w, "  ");
        put_shown(w, model->name, 40);
        put(w, ", ");
        put_count(w, model->calls, model->calls == 1 ? " call" : " calls");
        end_line(w);
    }
    if (left == 0)
        return;
    label(w, "");
    put_money(w, left);
    put(w, "  without a reply: failed tries, lost calls");
    end_line(w);
}

static void put_cost(struct writer *w)
{
    const struct nj_tally_sum *all = &w->tally->all;
    const struct nj_usage *usage = &all->usage;
    uint64_t in = tokens_in(usage);

    label(w, "cost");
    put_money(w, all->cost_micro_usd);
    if (w->err->code == 0)
        put(w, ", tokens ");
    if (w->err->code == 0 && nj_text_short_count(w->out, in, w->err) == 0)
        put(w, " in");
    if (is_cached(usage) && w->err->code == 0)
        (void)!nj_buf_printf(w->out, w->err, " (%" PRIu64 " %% from the cache)",
                             usage->cache_read_tokens * 100 / in);
    put(w, ", ");
    if (w->err->code == 0 && nj_text_short_count(w->out, usage->output_tokens, w->err) == 0)
        put(w, " out");
    end_line(w);
    put_cached(w);
    put_models(w);
    if (all->box_held_ms > 0) {
        label(w, "runtime");
        put_duration(w, all->box_held_ms);
        put(w, " of sandboxes held");
        if (all->busy_ms > all->box_held_ms) {
            put(w, ", ");
            put_duration(w, all->busy_ms - all->box_held_ms);
            put(w, " of sessions without one");
        }
        if (w->ledger->usd_per_hour_micro > 0) {
            put(w, ": ");
            put_money(w, nj_ledger_runtime_cost(w->ledger, all->box_held_ms));
        }
        end_line(w);
    }
}

static void put_troubles(struct writer *w)
{
    const struct nj_tally_sum *all = &w->tally->all;
    bool any = false;

    for (size_t i = 0; i < NJ_FACTS_LIMITS; i++) {
        if (all->limits[i] == 0)
            continue;
        if (!any)
            label(w, "limits");
        put(w, any ? ", " : "");
        put(w, nj_limit_key((enum nj_limit)(i + 1)));
        put(w, " ");
        put_count(w, all->limits[i], "");
        any = true;
    }
    if (any)
        end_line(w);
    if (all->retries + all->boxes_lost == 0)
        return;
    label(w, "again");
    put_count(w, all->retries, all->retries == 1 ? " model call" : " model calls");
    if (all->boxes_lost > 0) {
        put(w, ", ");
        put_count(w, all->boxes_lost, all->boxes_lost == 1 ? " lost sandbox" : " lost sandboxes");
    }
    end_line(w);
}

static void put_slowest(struct writer *w)
{
    for (size_t i = 0; w->tally->all.total > 1 && i < w->tally->n_slowest; i++) {
        const struct nj_facts *facts = nj_ledger_at(w->ledger, w->tally->slowest[i]);
        size_t start;

        label(w, i == 0 ? "slowest" : "");
        start = w->out->len;
        put_duration(w, nj_ledger_busy_ms(facts, w->tally->ended_ns));
        for (size_t at = w->out->len - start; at < 12; at++)
            put(w, " ");
        put_shown(w, facts->key, LABEL_COLUMNS + 14);
        end_line(w);
    }
}

static void put_command(struct writer *w, const struct nj_facts *facts)
{
    int r;

    if (w->err->code != 0)
        return;
    label(w, "");
    put(w, "      ");
    r = nj_ledger_command(w->ledger, facts, w->out, w->err);
    if (r == 1)
        put(w, "(it failed before anything was recorded)");
    put(w, "\n");
    w->line = w->out->len;
}

static void put_failures(struct writer *w)
{
    const struct nj_tally *t = w->tally;
    size_t shown = t->n_causes < CAUSES_SHOWN_MAX ? t->n_causes : CAUSES_SHOWN_MAX;
    size_t rest = 0;

    for (size_t i = 0; i < shown; i++) {
        const struct nj_tally_cause *cause = &t->causes[i];
        char count[24];

        label(w, i == 0 ? "failed" : "");
        (void)snprintf(count, sizeof(count), "%4zu  ", cause->count);
        style(w, NJ_TEXT_RED);
        put(w, count);
        put_shown(w, cause->kind, 60);
        style(w, NJ_TEXT_PLAIN);
        put(w, ": ");
        if (w->err->code == 0)
            (void)!nj_text_shown(w->out, cause->text, CAUSE_COLUMNS_MAX, w->style->utf8, w->err);
        w->indent = LABEL_COLUMNS + 2 + strlen(count);
        end_line(w);
        put_command(w, nj_ledger_at(w->ledger, cause->first));
    }
    for (size_t i = shown; i < t->n_causes; i++)
        rest += t->causes[i].count;
    if (rest == 0)
        return;
    label(w, "");
    put_count(w, rest, " more, of ");
    put_count(w, t->n_causes - shown, " other causes: see report.html");
    end_line(w);
}

int nj_summary_next(const struct nj_ledger *ledger, const struct nj_tally *tally,
                    struct nj_buf *out, struct nj_error *err)
{
    const struct nj_tally_sum *all = &tally->all;
    bool open = all->begun + all->waiting > 0;

    if (!open && all->failed == 0)
        return 1;
    if (nj_buf_text(out, "nightjar resume ", err) < 0 ||
        nj_text_shell(out, ledger->run_path, err) < 0)
        return -(int)err->code;
    return !open ? nj_buf_text(out, " --retry-failed", err) : 0;
}

static void put_next(struct writer *w)
{
    int r;

    put(w, "\n");
    label(w, "results");
    if (w->err->code == 0)
        (void)!nj_text_shell(w->out, w->ledger->run_path, w->err);
    put(w, "/results.jsonl, report.html\n");
    if (w->tally->all.failed + w->tally->all.begun + w->tally->all.waiting == 0)
        return;
    label(w, "next");
    if (w->err->code != 0)
        return;
    r = nj_summary_next(w->ledger, w->tally, w->out, w->err);
    if (r == 0)
        put(w, "\n");
}

int nj_summary_write(const struct nj_ledger *ledger, const struct nj_tally *tally,
                     const struct nj_summary_style *summary_style, struct nj_buf *out,
                     struct nj_error *err)
{
    struct nj_error first = {0};
    struct writer w = {ledger, tally, summary_style, out, &first, out->len, 2};

    put_headline(&w);
    put_stop(&w);
    put_time(&w);
    put_cost(&w);
    put_troubles(&w);
    put_slowest(&w);
    put_failures(&w);
    put_next(&w);
    if (first.code != 0) {
        *err = first;
        return nj_wrap(err, "summary");
    }
    return 0;
}

/* ---- for scripts ---- */

static json_t *sum_json(const struct nj_ledger *ledger, const struct nj_tally_sum *sum)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
                     "s:I, s:I, s:I, s:I}",
                     "total", (json_int_t)sum->total, "succeeded", (json_int_t)sum->succeeded,
                     "reused", (json_int_t)sum->reused, "failed", (json_int_t)sum->failed,
                     "skipped", (json_int_t)sum->skipped, "running", (json_int_t)sum->begun,
                     "waiting", (json_int_t)sum->waiting, "attempts", (json_int_t)sum->attempts,
                     "cost_micro_usd", (json_int_t)sum->cost_micro_usd, "turns",
                     (json_int_t)sum->turns, "steps", (json_int_t)sum->steps, "tool_calls",
                     (json_int_t)sum->calls, "model_ms", (json_int_t)sum->model_ms, "tool_ms",
                     (json_int_t)sum->tool_ms, "box_held_ms", (json_int_t)sum->box_held_ms,
                     "busy_ms", (json_int_t)sum->busy_ms, "model_retries", (json_int_t)sum->retries,
                     "boxes_lost", (json_int_t)sum->boxes_lost, "runtime_micro_usd",
                     (json_int_t)nj_ledger_runtime_cost(ledger, sum->box_held_ms));
}

static json_t *usage_json(const struct nj_usage *usage)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "input", (json_int_t)usage->input_tokens, "output",
                     (json_int_t)usage->output_tokens, "cache_read",
                     (json_int_t)usage->cache_read_tokens, "cache_write",
                     (json_int_t)(usage->cache_write_5m_tokens + usage->cache_write_1h_tokens));
}

static json_t *named_json(const struct nj_ledger *ledger, const struct nj_tally_sum *sums,
                          size_t count)
{
    json_t *object = json_object();

    for (size_t i = 0; object && i < count; i++) {
        json_t *sum = sum_json(ledger, &sums[i]);

        if (sum)
            (void)json_object_set_new(sum, "tokens", usage_json(&sums[i].usage));
        (void)json_object_set_new(object, sums[i].name, sum);
    }
    return object;
}

static json_t *command_json(const struct nj_ledger *ledger, const struct nj_facts *facts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf command = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&command, 1u << 16);
    if (nj_ledger_command(ledger, facts, &command, &ignored) != 0)
        return json_null();
    return json_string((const char *)command.data);
}

static json_t *causes_json(const struct nj_ledger *ledger, const struct nj_tally *tally)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < tally->n_causes; i++) {
        const struct nj_tally_cause *cause = &tally->causes[i];
        const struct nj_facts *facts = nj_ledger_at(ledger, cause->first);

        (void)json_array_append_new(array, json_pack("{s:s, s:s, s:I, s:s, s:o}", "kind",
                                                     cause->kind, "message", cause->text, "count",
                                                     (json_int_t)cause->count, "first", facts->key,
                                                     "replay", command_json(ledger, facts)));
    }
    return array;
}

static json_t *slowest_json(const struct nj_ledger *ledger, const struct nj_tally *tally)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < tally->n_slowest; i++) {
        const struct nj_facts *facts = nj_ledger_at(ledger, tally->slowest[i]);

        (void)json_array_append_new(
            array, json_pack("{s:s, s:I}", "key", facts->key, "busy_ms",
                             (json_int_t)nj_ledger_busy_ms(facts, tally->ended_ns)));
    }
    return array;
}

static json_t *time_json(int64_t time_ns)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&text, 64);
    if (time_ns == 0 || nj_text_stamp(&text, time_ns, &ignored) < 0)
        return json_null();
    return json_string((const char *)text.data);
}

static json_t *next_json(const struct nj_ledger *ledger, const struct nj_tally *tally)
{
    NJ_AUTO(nj_buf_done) struct nj_buf command = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&command, 1u << 16);
    if (nj_summary_next(ledger, tally, &command, &ignored) != 0)
        return json_null();
    return json_string((const char *)command.data);
}

int nj_summary_json(const struct nj_ledger *ledger, const struct nj_tally *tally,
                    struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *text = NULL;
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "job", ledger->job,
        "run", ledger->run_path, "state", ledger->state, "engines", (json_int_t)ledger->epochs,
        "began", time_json(tally->began_ns), "last_event", time_json(tally->ended_ns), "sessions",
        sum_json(ledger, &tally->all), "tokens", usage_json(&tally->all.usage), "groups",
        named_json(ledger, tally->groups, tally->n_groups), "agents",
        named_json(ledger, tally->agents, tally->n_agents), "slowest", slowest_json(ledger, tally),
        "failures", causes_json(ledger, tally), "next", next_json(ledger, tally));

    text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(json);
    if (!text)
        return nj_fail_nomem(err);
    return nj_buf_printf(out, err, "%s\n", text);
}
