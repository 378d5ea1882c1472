/*
 * many_sessions.c - a view of a made-up run: for looking at pages of any size
 *
 * many_sessions html|summary|json|junit|metrics COUNT: one in 33 fails, one in 100 for want of
 * time, the last tenth waits when COUNT is odd; one key and one message are hostile. The same COUNT
 * gives the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch/report/html.h"
#include "batch/report/junit.h"
#include "batch/report/metrics.h"
#include "batch/report/summary.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define SECOND INT64_C(1000000000)
#define START (INT64_C(1795310400) * SECOND)

static uint64_t state = 88172645463325252u;

static uint64_t chance(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void set_error(struct nj_facts *facts, size_t i)
{
    static const char *const kinds[] = {"accept", "model", "limit", "accept"};
    static char text[128];

    facts->status = NJ_STATUS_FAILED;
    facts->error_kind = kinds[i % 4];
    if (i % 4 == 0)
        (void)snprintf(text, sizeof(text), "totals.json lacks the key total_%zu", i);
    else if (i % 4 == 1)
        (void)snprintf(text, sizeof(text), "overloaded after 3 tries, request %08zxdeadbeef", i);
    else if (i % 4 == 2)
        (void)snprintf(text, sizeof(text), "max_runtime_seconds: 3600.%zu of 3600", i);
    else
        (void)snprintf(text, sizeof(text), "</script><script>alert(1)</script> & \"quotes\"");
    facts->error_text = text;
}

static int add(struct nj_ledger *ledger, size_t i, size_t count, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    struct nj_facts_attempt attempt = {.kind = "", .text = ""};
    struct nj_facts_model models[2] = {{.name = "claude-large"}, {.name = "qwen-small"}};
    char key[80], bundle[96];
    struct nj_facts facts = {.key = key,
                             .group = i < count * 4 / 5 ? "invoices" : "receipts",
                             .agent = i % 2 ? "data-processor" : "checker",
                             .bundle = bundle,
                             .error_kind = "",
                             .error_text = "",
                             .status = NJ_STATUS_SUCCEEDED,
                             .attempts = &attempt,
                             .n_attempts = 1,
                             .models = models,
                             .n_models = 2};
    uint64_t ms = 2000 + chance(40000) + (chance(20) == 0 ? chance(600000) : 0);

    (void)snprintf(key, sizeof(key), "customer-%03zu/invoice-%05zu", i % 97, i);
    if (i == 3)
        (void)snprintf(key, sizeof(key),
                       "<img src=x onerror=alert(1)>'\"&\xe6\x97\xa5\xe6\x9c\xac");
    (void)snprintf(bundle, sizeof(bundle), "invoice-%05zu-%08llx.njb", i,
                   (unsigned long long)chance(UINT32_MAX));
    if (count % 2 && i >= count * 9 / 10 && count > 10)
        return nj_ledger_add_waiting(ledger, (uint32_t)i + 1, key, facts.group, facts.agent, err);
    if (i % 33 == 7)
        set_error(&facts, i);
    facts.opened_ns = START + (int64_t)(i * 14000 / (count / 100 + 1)) * 1000000;
    attempt.start_ns = facts.opened_ns;
    attempt.end_ns = facts.opened_ns + (int64_t)ms * 1000000;
    attempt.status = facts.status;
    attempt.kind = facts.error_kind;
    attempt.text = facts.error_text;
    facts.turns = 2 + chance(9);
    facts.calls = facts.turns - 1;
    facts.steps = attempt.steps = facts.turns + facts.calls;
    facts.model_ms = ms * 6 / 10;
    facts.tool_ms = ms * 3 / 10;
    facts.box_held_ms = ms * 8 / 10;
    models[0].calls = facts.turns;
    models[0].usage = (struct nj_usage){chance(9000), chance(900), chance(30000), 2000, 0};
    models[0].cost_micro_usd = models[0].usage.input_tokens * 3 +
                               models[0].usage.output_tokens * 15 +
                               models[0].usage.cache_read_tokens * 3 / 10;
    models[1].calls = 1;
    models[1].usage = (struct nj_usage){chance(2000), chance(200), 0, 0, 0};
    models[1].cost_micro_usd = models[1].usage.input_tokens / 2;
    facts.cost_micro_usd = models[0].cost_micro_usd + models[1].cost_micro_usd;
    attempt.cost_micro_usd = facts.cost_micro_usd;
    nj_buf_init(&packed, 1u << 20);
    if (nj_facts_encode(&facts, &packed, err) < 0)
        return -(int)err->code;
    return nj_ledger_add(ledger, (uint32_t)i + 1, nj_buf_span(&packed), err);
}

static int view(const char *name, const struct nj_ledger *ledger, const struct nj_tally *tally,
                struct nj_buf *out, struct nj_error *err)
{
    struct nj_summary_style style = {.columns = 100, .utf8 = true};

    if (strcmp(name, "html") == 0)
        return nj_html_write(ledger, tally, out, err);
    if (strcmp(name, "json") == 0)
        return nj_summary_json(ledger, tally, out, err);
    if (strcmp(name, "junit") == 0)
        return nj_junit_write(ledger, tally, out, err);
    if (strcmp(name, "metrics") == 0)
        return nj_metrics_write(ledger, tally, out, err);
    return nj_summary_write(ledger, tally, &style, out, err);
}

int main(int argc, char **argv)
{
    NJ_AUTO(nj_ledger_done) struct nj_ledger ledger = {0};
    NJ_AUTO(nj_tally_done) struct nj_tally tally = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    size_t count;
    int r = 0;

    if (argc != 3)
        return 2;
    count = strtoul(argv[2], NULL, 10);
    nj_ledger_init(&ledger);
    ledger.job = "nightly-invoices";
    ledger.run_path = "runs/2026-11-22T02-00-00Z-invoices";
    ledger.state = count % 2 && count > 10 ? "suspended" : "finished";
    ledger.total = count;
    ledger.started_ns = START;
    ledger.epochs = 1;
    ledger.usd_per_hour_micro = 80000;
    for (size_t i = 0; i < count && r == 0; i++)
        r = add(&ledger, i, count, &err);
    nj_buf_init(&out, SIZE_MAX / 2);
    if (r < 0 || nj_tally_new(&ledger, ledger.last_ns, &tally, &err) < 0 ||
        view(argv[1], &ledger, &tally, &out, &err) < 0 ||
        nj_fsio_write(STDOUT_FILENO, out.data, out.len, &err) < 0) {
        fprintf(stderr, "many_sessions: %s\n", err.text);
        return 1;
    }
    return 0;
}
