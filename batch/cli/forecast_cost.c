/*
 * forecast_cost.c - estimates from what was used, bounds from what may be used
 */
#include "batch/cli/forecast_cost.h"

#include <inttypes.h>

#include "batch/cli/rows.h"

#include "formats/base/banned.h"

#define MILLION 1000000

/* A sum that does not fit is as large as fits: it is shown to nobody as exact. */
static void add(uint64_t *sum, uint64_t more)
{
    if (__builtin_add_overflow(*sum, more, sum) || *sum > INT64_MAX)
        *sum = INT64_MAX;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) || product > INT64_MAX ? INT64_MAX : product;
}

/* ---- estimates ---- */

static void add_estimate(struct nj_forecast_cost *cost, const struct nj_manifest_model *model,
                         const struct nj_reuse_usage *then)
{
    struct nj_usage usage = {.input_tokens = then->input_tokens,
                             .output_tokens = then->output_tokens,
                             .cache_read_tokens = then->cache_read_tokens};
    struct nj_price_ways ways;

    if (model->cache == NJ_CACHE_1H)
        usage.cache_write_1h_tokens = then->cache_write_tokens;
    else
        usage.cache_write_5m_tokens = then->cache_write_tokens;
    nj_price_ways(&model->price, model->cache, &usage, then->calls / then->sessions, &ways);
    cost->estimated++;
    add(&cost->ways.as_it_was, ways.as_it_was / then->sessions);
    add(&cost->ways.live, ways.live / then->sessions);
    add(&cost->ways.cached, ways.cached / then->sessions);
    add(&cost->ways.waves, ways.waves / then->sessions);
    cost->no_waves |= model->provider != NJ_PROVIDER_ANTHROPIC;
}

/* ---- bounds ---- */

/* One call, whichever model of the chain answers it; false where one of them has no bound. */
static bool call_bound(const struct nj_manifest_role *role, uint64_t *ret_micro_usd)
{
    uint64_t most = 0;

    for (size_t i = 0; i < role->n_chain; i++) {
        const struct nj_manifest_model *model = &role->chain[i];
        uint64_t bound = 0;

        if (!model->priced && model->provider == NJ_PROVIDER_SCRIPT)
            continue;
        if (!model->priced || model->context_tokens == 0)
            return false;
        bound = nj_price_bound(&model->price, model->cache,
                               model->context_tokens - model->max_tokens, model->max_tokens);
        most = bound > most ? bound : most;
    }
    *ret_micro_usd = most;
    return true;
}

/* A budget is each attempt's own. */
static void add_bound(struct nj_forecast_cost *cost, const struct nj_plan *plan,
                      const struct nj_plan_session *session)
{
    const struct nj_session_config *config = session->config;
    uint64_t attempts = plan->manifest->groups[session->group].retry.attempts;
    uint64_t bound = 0;
    bool known = session->role != NJ_MANIFEST_NONE &&
                 call_bound(&plan->manifest->roles[session->role], &bound);

    bound = times(bound, config->turns_max);
    if (config->budget_micro_usd >= 0 && (!known || (uint64_t)config->budget_micro_usd < bound)) {
        bound = (uint64_t)config->budget_micro_usd;
        known = true;
    }
    if (known)
        add(&cost->bound_micro_usd, times(bound, attempts));
    else
        cost->unbounded++;
}

void nj_forecast_cost_add(struct nj_forecast_cost *cost, const struct nj_plan *plan,
                          const struct nj_plan_session *session, const struct nj_reuse_usage *usage)
{
    const struct nj_manifest_model *model =
        session->role == NJ_MANIFEST_NONE ? NULL : plan->manifest->roles[session->role].chain;

    cost->run++;
    if (model && model->priced && usage->sessions > 0)
        add_estimate(cost, model, usage);
    add_bound(cost, plan, session);
}

bool nj_forecast_cost_bound(const struct nj_forecast_cost *cost, const struct nj_manifest *manifest,
                            uint64_t *ret_micro_usd)
{
    int64_t budget = manifest->limits.budget_micro_usd;

    if (budget >= 0 && (cost->unbounded > 0 || (uint64_t)budget < cost->bound_micro_usd)) {
        *ret_micro_usd = (uint64_t)budget;
        return true;
    }
    *ret_micro_usd = cost->bound_micro_usd;
    return cost->unbounded == 0;
}

/* ---- words ---- */

static void tell_way(struct nj_rows *rows, const char *label, uint64_t micro_usd, const char *how)
{
    nj_rows_usd(rows, (int64_t)micro_usd);
    nj_rows_put(rows, "%s", how);
    nj_rows_row(rows, label);
}

static void tell_estimate(struct nj_rows *rows, const struct nj_forecast_cost *cost)
{
    bool was_cached = cost->ways.as_it_was != cost->ways.live;

    tell_way(rows, "live", cost->ways.live, " without a cache, from what these groups used there");
    if (was_cached)
        tell_way(rows, "as there", cost->ways.as_it_was, " with the cache hits of then");
    if (cost->ways.cached != cost->ways.live)
        tell_way(rows, "cached", cost->ways.cached, " where each call reads all but its new part");
    if (!cost->no_waves)
        tell_way(rows, "waves", cost->ways.waves, " in batches");
    if (cost->estimated < cost->run) {
        nj_rows_put(rows, "%zu session%s: no price, or no like of it succeeded there",
                    cost->run - cost->estimated, cost->run - cost->estimated == 1 ? "" : "s");
        nj_rows_row(rows, "unknown");
    }
}

int nj_forecast_cost_text(const struct nj_forecast_cost *cost, const struct nj_manifest *manifest,
                          size_t columns, struct nj_buf *out, struct nj_error *err)
{
    struct nj_rows rows = {.out = out, .columns = columns, .err = err};
    uint64_t bound = 0;

    nj_rows_put(&rows, "cost%s", cost->run == 0 ? ": nothing" : "");
    nj_rows_line(&rows);
    if (cost->run > 0 && cost->estimated > 0)
        tell_estimate(&rows, cost);
    if (cost->run > 0 && nj_forecast_cost_bound(cost, manifest, &bound)) {
        nj_rows_usd(&rows, (int64_t)bound);
        if (cost->unbounded > 0 || bound < cost->bound_micro_usd)
            nj_rows_put(&rows, ", the budget of the run");
        else if (bound == 0)
            nj_rows_put(&rows, ": nothing here has a price");
        else
            nj_rows_put(&rows, ", all turns and attempts within their budgets");
        nj_rows_row(&rows, "at most");
    } else if (cost->run > 0) {
        nj_rows_put(&rows,
                    "unknown for %zu session%s: give prices and context_tokens to the models, or "
                    "a budget",
                    cost->unbounded, cost->unbounded == 1 ? "" : "s");
        nj_rows_row(&rows, "at most");
    }
    return nj_rows_done(&rows);
}

/* ---- JSON ---- */

static int json_usd(struct nj_buf *out, const char *name, uint64_t micro_usd, struct nj_error *err)
{
    return nj_buf_printf(out, err, ",\"%s\":%" PRIu64 ".%06" PRIu64, name, micro_usd / MILLION,
                         micro_usd % MILLION);
}

int nj_forecast_cost_json(const struct nj_forecast_cost *cost, const struct nj_manifest *manifest,
                          struct nj_buf *out, struct nj_error *err)
{
    uint64_t bound = 0;
    int r = nj_buf_printf(out, err, ",\"cost_unknown\":%zu,\"unbounded\":%zu",
                          cost->run - cost->estimated, cost->unbounded);

    if (r == 0 && cost->estimated > 0) {
        r = json_usd(out, "live_usd", cost->ways.live, err);
        if (r == 0)
            r = json_usd(out, "as_there_usd", cost->ways.as_it_was, err);
        if (r == 0)
            r = json_usd(out, "cached_usd", cost->ways.cached, err);
        if (r == 0 && !cost->no_waves)
            r = json_usd(out, "waves_usd", cost->ways.waves, err);
    }
    if (r == 0 && nj_forecast_cost_bound(cost, manifest, &bound))
        r = json_usd(out, "bound_usd", bound, err);
    return r;
}
