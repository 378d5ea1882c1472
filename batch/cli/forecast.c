/*
 * forecast.c - a plan in words or JSON
 *
 * The complication: nobody reads a hundred thousand lines, and nobody wants to miss the one session
 * that changed. So sessions of a group that would run for the same reason are told together, with
 * the first of them by name; JSON has them all.
 */
#include "batch/cli/forecast.h"

#include <inttypes.h>

#include "batch/engine/shown.h"

#include "formats/base/banned.h"

#define REASONS_MAX 20 /* of one group, in words */
#define REASON_MAX_BYTES 300
#define MILLION 1000000

/* ---- money ---- */

struct cost {
    bool known;
    int64_t live_micro_usd;
    int64_t cached_micro_usd;
    int64_t waves_micro_usd; /* -1: a model among them has no batches */
};

static int64_t of_price(uint64_t tokens, int64_t price)
{
    return (int64_t)((long double)tokens * (long double)price / MILLION);
}

/* What one session like those of then would cost at the prices of now. */
static struct cost session_cost(const struct nj_plan *plan, const struct nj_plan_session *session,
                                struct nj_reuse_usage usage)
{
    const struct nj_manifest_model *model =
        session->role == NJ_MANIFEST_NONE ? NULL : plan->manifest->roles[session->role].chain;
    uint64_t input = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    struct cost cost = {0};

    if (!model || !model->priced || usage.sessions == 0)
        return cost;
    cost.known = true;
    cost.live_micro_usd =
        of_price(input, model->price.input) + of_price(usage.output_tokens, model->price.output);
    cost.cached_micro_usd = of_price(usage.input_tokens, model->price.input) +
                            of_price(usage.cache_read_tokens, model->price.cache_read) +
                            of_price(usage.cache_write_tokens, model->price.cache_write_5m) +
                            of_price(usage.output_tokens, model->price.output);
    cost.live_micro_usd /= (int64_t)usage.sessions;
    cost.cached_micro_usd /= (int64_t)usage.sessions;
    cost.waves_micro_usd =
        model->provider == NJ_PROVIDER_ANTHROPIC ? cost.cached_micro_usd / 2 : -1;
    return cost;
}

struct sums {
    size_t run;
    size_t reused;
    size_t unknown; /* would run, at a cost that nobody can tell */
    struct cost cost;
    int64_t bound_micro_usd; /* -1: a session without a budget */
};

static void add_session(struct sums *sums, const struct nj_plan_session *session, struct cost cost)
{
    sums->run++;
    if (session->config->budget_micro_usd < 0)
        sums->bound_micro_usd = -1;
    else if (sums->bound_micro_usd >= 0)
        sums->bound_micro_usd += session->config->budget_micro_usd;
    if (!cost.known) {
        sums->unknown++;
        return;
    }
    sums->cost.known = true;
    sums->cost.live_micro_usd += cost.live_micro_usd;
    sums->cost.cached_micro_usd += cost.cached_micro_usd;
    if (cost.waves_micro_usd < 0)
        sums->cost.waves_micro_usd = -1;
    else if (sums->cost.waves_micro_usd >= 0)
        sums->cost.waves_micro_usd += cost.waves_micro_usd;
}

/* ---- one session ---- */

static const char *const verdicts[] = {"reuse", "new", "changed", "failed"};

struct judged {
    enum nj_reuse_verdict verdict;
    struct nj_buf why;
};

static int judge(const struct nj_plan *plan, struct nj_reuse *reuse,
                 const struct nj_plan_session *session, struct judged *ret, struct nj_error *err)
{
    int r = NJ_REUSE_NEW;

    nj_buf_clear(&ret->why);
    if (reuse)
        r = nj_reuse_judge(reuse, plan, session, &ret->why, err);
    if (r < 0)
        return r;
    ret->verdict = (enum nj_reuse_verdict)r;
    return 0;
}

static const char *why_of(const struct judged *judged)
{
    return judged->why.data ? (const char *)judged->why.data : "";
}

/* ---- words ---- */

struct reason {
    char text[REASON_MAX_BYTES];
    size_t count;
    const char *first;
};

struct telling {
    const struct nj_plan *plan;
    struct nj_reuse *reuse;
    struct nj_buf *out;
    struct judged judged;
    struct sums all;
};

static void add_reason(struct reason *reasons, size_t *n, const struct judged *judged,
                       const char *key)
{
    char text[REASON_MAX_BYTES];
    size_t at = 0;

    if (judged->verdict == NJ_REUSE_NEW)
        (void)snprintf(text, sizeof(text), "new");
    else if (judged->verdict == NJ_REUSE_FAILED)
        (void)snprintf(text, sizeof(text), "%.250s there", why_of(judged));
    else
        (void)snprintf(text, sizeof(text), "changed: %.250s", why_of(judged));
    while (at < *n && strcmp(reasons[at].text, text) != 0)
        at++;
    if (at == REASONS_MAX) { /* the rest together */
        at = REASONS_MAX - 1;
        (void)snprintf(reasons[at].text, sizeof(reasons[at].text), "for other reasons");
    } else if (at == *n) {
        memcpy(reasons[at].text, text, sizeof(text));
        reasons[at].first = key;
        (*n)++;
    }
    reasons[at].count++;
}

static int tell_reason(struct telling *telling, const struct reason *reason, struct nj_error *err)
{
    if (nj_buf_printf(telling->out, err, "    %zu ", reason->count) < 0 ||
        nj_shown_append(telling->out, reason->text, err) < 0 ||
        nj_buf_text(telling->out, reason->count > 1 ? ", first " : ": ", err) < 0 ||
        nj_shown_append(telling->out, reason->first, err) < 0)
        return -(int)err->code;
    return nj_buf_text(telling->out, "\n", err);
}

static int tell_group(struct telling *telling, size_t at, struct nj_error *err)
{
    const struct nj_plan *plan = telling->plan;
    const struct nj_manifest_group *group = &plan->manifest->groups[at];
    struct nj_reuse_usage usage = {0};
    struct reason reasons[REASONS_MAX] = {0};
    size_t reused = 0;
    size_t run = 0;
    size_t n = 0;

    if (telling->reuse)
        usage = nj_reuse_group(telling->reuse, group->name);
    for (size_t i = 0; i < plan->n_sessions; i++) {
        const struct nj_plan_session *session = &plan->sessions[i];

        if (session->group != at)
            continue;
        if (judge(plan, telling->reuse, session, &telling->judged, err) < 0)
            return -(int)err->code;
        if (telling->judged.verdict == NJ_REUSE_SAME) {
            reused++;
            telling->all.reused++;
            continue;
        }
        run++;
        add_session(&telling->all, session, session_cost(plan, session, usage));
        add_reason(reasons, &n, &telling->judged, session->key);
    }
    if (nj_buf_text(telling->out, "  ", err) < 0 ||
        nj_shown_append(telling->out, group->name, err) < 0 ||
        nj_buf_printf(telling->out, err, ": %zu would run", run) < 0 ||
        (telling->reuse && nj_buf_printf(telling->out, err, ", %zu reused", reused) < 0) ||
        nj_buf_text(telling->out, "\n", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; telling->reuse && i < n; i++) {
        if (tell_reason(telling, &reasons[i], err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int tell_usd(struct nj_buf *out, const char *before, int64_t micro_usd, struct nj_error *err)
{
    return nj_buf_printf(out, err, "%s%" PRId64 ".%02" PRId64 " USD", before, micro_usd / MILLION,
                         micro_usd % MILLION / 10000);
}

static int tell_cost(const struct telling *telling, struct nj_error *err)
{
    const struct sums *all = &telling->all;
    struct nj_buf *out = telling->out;

    if (all->run == 0)
        return nj_buf_text(out, "cost: nothing\n", err);
    if (all->cost.known) {
        if (tell_usd(out, "cost, estimated from what those groups used there: ",
                     all->cost.live_micro_usd, err) < 0 ||
            tell_usd(out, " live, ", all->cost.cached_micro_usd, err) < 0 ||
            nj_buf_text(out, " cached as there", err) < 0 ||
            (all->cost.waves_micro_usd >= 0 &&
             (tell_usd(out, ", ", all->cost.waves_micro_usd, err) < 0 ||
              nj_buf_text(out, " in waves", err) < 0)))
            return -(int)err->code;
        return all->unknown > 0
                   ? nj_buf_printf(out, err, "; unknown for %zu sessions\n", all->unknown)
                   : nj_buf_text(out, "\n", err);
    }
    if (all->bound_micro_usd >= 0)
        return tell_usd(out, "cost: at most ", all->bound_micro_usd, err) < 0
                   ? -(int)err->code
                   : nj_buf_text(out, ", the budgets of the sessions together\n", err);
    if (telling->plan->manifest->limits.budget_micro_usd >= 0)
        return tell_usd(out, "cost: at most ", telling->plan->manifest->limits.budget_micro_usd,
                        err) < 0
                   ? -(int)err->code
                   : nj_buf_text(out, ", the budget of the run\n", err);
    return nj_buf_text(
        out, "cost: unknown (no earlier run with --reuse, no prices, or no budget)\n", err);
}

int nj_forecast_text(const struct nj_plan *plan, struct nj_reuse *reuse, struct nj_buf *out,
                     struct nj_error *err)
{
    struct telling telling = {.plan = plan, .reuse = reuse, .out = out};
    int r = 0;

    nj_buf_init(&telling.judged.why, 8192);
    r = nj_buf_printf(out, err, "%zu session%s\n", plan->n_sessions,
                      plan->n_sessions == 1 ? "" : "s");
    for (size_t i = 0; r == 0 && i < plan->manifest->n_groups; i++)
        r = tell_group(&telling, i, err);
    if (r == 0)
        r = tell_cost(&telling, err);
    nj_buf_done(&telling.judged.why);
    return r;
}

/* ---- JSON ---- */

static int json_field(struct nj_buf *out, const char *head, const char *text, struct nj_error *err)
{
    if (nj_buf_text(out, head, err) < 0)
        return -(int)err->code;
    return nj_buf_json_text(out, nj_span_text(text), err);
}

static int json_session(struct telling *telling, const struct nj_plan_session *session,
                        struct nj_error *err)
{
    const char *group = telling->plan->manifest->groups[session->group].name;
    struct nj_buf *out = telling->out;
    struct nj_reuse_usage usage = {0};
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct cost cost;

    if (judge(telling->plan, telling->reuse, session, &telling->judged, err) < 0)
        return -(int)err->code;
    if (telling->reuse)
        usage = nj_reuse_group(telling->reuse, group);
    cost = session_cost(telling->plan, session, usage);
    if (telling->judged.verdict == NJ_REUSE_SAME)
        telling->all.reused++;
    else
        add_session(&telling->all, session, cost);
    nj_digest_hex(&session->identity, hex);
    if (json_field(out, session->number > 1 ? ",\n{\"key\":" : "\n{\"key\":", session->key, err) <
            0 ||
        json_field(out, ",\"group\":", group, err) < 0 ||
        json_field(out, ",\"digest\":", hex, err) < 0 ||
        json_field(out, ",\"verdict\":", telling->reuse ? verdicts[telling->judged.verdict] : "run",
                   err) < 0)
        return -(int)err->code;
    if (telling->judged.why.len > 0 &&
        json_field(out, ",\"why\":", why_of(&telling->judged), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

static int json_usd(struct nj_buf *out, const char *name, int64_t micro_usd, struct nj_error *err)
{
    return nj_buf_printf(out, err, ",\"%s\":%" PRId64 ".%06" PRId64, name, micro_usd / MILLION,
                         micro_usd % MILLION);
}

int nj_forecast_json(const struct nj_plan *plan, struct nj_reuse *reuse, struct nj_buf *out,
                     struct nj_error *err)
{
    struct telling telling = {.plan = plan, .reuse = reuse, .out = out};
    const struct sums *all = &telling.all;
    int r;

    nj_buf_init(&telling.judged.why, 8192);
    r = nj_buf_printf(out, err, "{\"job\":\"%s\",\"sessions\":[", plan->manifest->job);
    for (size_t i = 0; r == 0 && i < plan->n_sessions; i++)
        r = json_session(&telling, &plan->sessions[i], err);
    if (r == 0)
        r = nj_buf_printf(out, err, "\n],\"run\":%zu,\"reused\":%zu,\"cost_unknown\":%zu", all->run,
                          all->reused, all->unknown);
    if (r == 0 && all->cost.known)
        r = json_usd(out, "live_usd", all->cost.live_micro_usd, err);
    if (r == 0 && all->cost.known)
        r = json_usd(out, "cached_usd", all->cost.cached_micro_usd, err);
    if (r == 0 && all->cost.known && all->cost.waves_micro_usd >= 0)
        r = json_usd(out, "waves_usd", all->cost.waves_micro_usd, err);
    if (r == 0 && all->bound_micro_usd >= 0)
        r = json_usd(out, "bound_usd", all->bound_micro_usd, err);
    if (r == 0)
        r = nj_buf_text(out, "}\n", err);
    nj_buf_done(&telling.judged.why);
    return r;
}
