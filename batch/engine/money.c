/*
 * money.c - what calls may cost, reserved before they are sent
 *
 * A call reserves its bound (model.h) in the budgets of its session, group, agent and run, and
 * settles when it ended. What does not fit now but may once others settle waits in a queue; what
 * cannot fit any more parks its session, and nothing new begins once the run's budget refused
 * somebody, while calls under way end as they would.
 *
 * The one complication is a crash. No reservation is journaled, because that would be one more sync
 * before each call: a bound is a function of the session's state, so after a crash it is reckoned
 * again for every session that was waiting for a reply, and counts as spent, in its RESUMED event,
 * which is durable before the call is sent again.
 */
#include "batch/engine/live.h"

#include "formats/base/log.h"

#include "formats/base/banned.h"

int nj_money_init(struct nj_engine *engine, struct nj_error *err)
{
    const struct nj_manifest *manifest = engine->manifest;

    engine->run_budget = (struct nj_budget){.limit = manifest->limits.budget_micro_usd};
    engine->group_budgets = calloc(manifest->n_groups + 1, sizeof(*engine->group_budgets));
    engine->agent_budgets = calloc(manifest->n_agents + 1, sizeof(*engine->agent_budgets));
    if (!engine->group_budgets || !engine->agent_budgets)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < manifest->n_groups; i++)
        engine->group_budgets[i].limit = manifest->groups[i].limits.budget_micro_usd;
    for (size_t i = 0; i < manifest->n_agents; i++)
        engine->agent_budgets[i].limit = manifest->agents[i].limits.budget_micro_usd;
    return 0;
}

void nj_money_done(struct nj_engine *engine)
{
    free(engine->group_budgets);
    free(engine->agent_budgets);
}

static struct nj_budget_path path_of(struct nj_engine *engine, const struct nj_plan_session *plan,
                                     struct nj_budget *session)
{
    size_t agent = engine->manifest->groups[plan->group].agent;

    return (struct nj_budget_path){{[NJ_BUDGET_SESSION] = session,
                                    [NJ_BUDGET_GROUP] = &engine->group_budgets[plan->group],
                                    [NJ_BUDGET_AGENT] = &engine->agent_budgets[agent],
                                    [NJ_BUDGET_RUN] = &engine->run_budget}};
}

void nj_money_spent_before(struct nj_engine *engine, const struct nj_plan_session *plan,
                           uint64_t micro_usd)
{
    const struct nj_budget_path path = path_of(engine, plan, NULL);

    nj_budget_settle(&path, 0, micro_usd);
}

bool nj_money_allows(const struct nj_engine *engine)
{
    return !engine->run_budget.exhausted;
}

static enum nj_budget_answer reserve(struct nj_live *live)
{
    const struct nj_budget_path path = path_of(live->engine, live->plan, &live->budget);
    uint64_t bound = nj_model_bound(live->engine->models, live->plan->role, live->seat.session);
    enum nj_budget_level level = NJ_BUDGET_RUN;
    enum nj_budget_answer answer;

    /* The core's count holds what its replies and failures cost; it is the session's own budget. */
    live->budget.limit = live->seat.session->config->budget_micro_usd;
    live->budget.spent = live->seat.session->cost_micro_usd;
    answer = nj_budget_reserve(&path, bound, &level);
    if (answer == NJ_BUDGET_GRANTED) {
        live->reserved_micro_usd = bound;
        live->has_reserved = true;
    } else if (answer == NJ_BUDGET_OVER && level == NJ_BUDGET_RUN && !live->engine->stop_reason) {
        live->engine->stop_reason = "budget"; /* nothing new begins: this is how it will end */
        nj_log(NJ_LOG_WARN,
               "limits.budget_usd: %.6f of %.6f USD are spent, and the next call of session %s may "
               "cost %.6f: suspending what cannot go on",
               (double)live->engine->run_budget.spent / 1e6,
               (double)live->engine->run_budget.limit / 1e6, live->plan->key, (double)bound / 1e6);
    }
    return answer;
}

void nj_money_forget(struct nj_live *live)
{
    if (!live->money_queued)
        return;
    TAILQ_REMOVE(&live->engine->money_queue, live, money_link);
    live->money_queued = false;
}

static void go_on(struct nj_live *live, enum nj_budget_answer answer)
{
    switch (answer) {
    case NJ_BUDGET_GRANTED:
        nj_live_ask_model(live);
        break;
    case NJ_BUDGET_WAIT:
        if (!live->money_queued)
            TAILQ_INSERT_TAIL(&live->engine->money_queue, live, money_link);
        live->money_queued = true;
        break;
    case NJ_BUDGET_OVER:
        nj_engine_park(live, "budget");
        break;
    }
}

void nj_money_ask(struct nj_live *live)
{
    go_on(live, reserve(live));
}

/* In the order of asking; one that must go on waiting does not hold up those behind it, whose
 * budgets may be others. From the loop, as a settlement stands on many stacks. */
void nj_money_grant(struct nj_engine *engine)
{
    struct nj_live *live = TAILQ_FIRST(&engine->money_queue);

    while (live && !engine->stopping) {
        struct nj_live *next = TAILQ_NEXT(live, money_link);
        enum nj_budget_answer answer = reserve(live);

        if (answer != NJ_BUDGET_WAIT) {
            nj_money_forget(live);
            go_on(live, answer);
        }
        live = next;
    }
}

static void settle(struct nj_live *live, uint64_t spent_micro_usd)
{
    const struct nj_budget_path path = path_of(live->engine, live->plan, &live->budget);

    if (!live->has_reserved)
        return;
    nj_budget_settle(&path, live->reserved_micro_usd, spent_micro_usd);
    live->has_reserved = false;
    live->reserved_micro_usd = 0;
}

void nj_money_settle(struct nj_live *live, uint64_t spent_micro_usd)
{
    settle(live, spent_micro_usd);
    if (!TAILQ_EMPTY(&live->engine->money_queue))
        nj_engine_reschedule(live->engine);
}

bool nj_money_renew(struct nj_live *live, uint64_t spent_micro_usd)
{
    if (spent_micro_usd == 0)
        return true;
    settle(live, spent_micro_usd);
    return reserve(live) == NJ_BUDGET_GRANTED;
}
