/*
 * fold.c - one event at a time into a session's figures
 *
 * The one complication is a killed engine: it leaves a box without its end and a gap without a
 * SUSPENDED event. Both are closed at the time of the last event that it left.
 */
#include "batch/report/fold.h"

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

void nj_fold_done(struct nj_fold *fold)
{
    nj_arena_done(&fold->arena);
}

static uint64_t ms_between(int64_t from_ns, int64_t to_ns)
{
    return to_ns > from_ns ? (uint64_t)(to_ns - from_ns) / 1000000 : 0; /* clocks can be set back */
}

/* Room for one more item in a table of the arena: it doubles, and what is left behind is freed with
 * the facts. */
static void *grow(struct nj_arena *arena, void *table, size_t count, size_t size)
{
    void *grown;

    if (count > 0 && (count & (count - 1)) != 0)
        return table;
    grown = nj_arena_array(arena, count ? 2 * count : 1, size);
    if (grown && count > 0)
        memcpy(grown, table, count * size);
    return grown;
}

/* A copy that is UTF-8 and not longer than a person reads. */
static const char *keep(struct nj_fold *fold, struct nj_span text)
{
    char *copy;

    if (text.len == 0)
        return "";
    if (text.len > NJ_FACTS_TEXT_MAX_BYTES)
        text.len = NJ_FACTS_TEXT_MAX_BYTES;
    copy = nj_arena_span(&fold->arena, text);
    if (copy && text.len == NJ_FACTS_TEXT_MAX_BYTES)
        nj_utf8_trim(copy);
    else if (copy)
        nj_utf8_clean(copy);
    return copy;
}

static void close_box(struct nj_fold *fold, int64_t time_ns)
{
    if (fold->box_since_ns != 0)
        fold->facts.box_held_ms += ms_between(fold->box_since_ns, time_ns);
    fold->box_since_ns = 0;
}

/* ---- attempts ---- */

static struct nj_facts_attempt *attempt_under_way(struct nj_fold *fold)
{
    struct nj_facts *facts = &fold->facts;
    struct nj_facts_attempt *last =
        facts->n_attempts > 0 ? &facts->attempts[facts->n_attempts - 1] : NULL;

    return last && last->status == 0 ? last : NULL;
}

static int begin_attempt(struct nj_fold *fold, int64_t time_ns, struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;
    struct nj_facts_attempt *grown;

    if (attempt_under_way(fold) || facts->n_attempts == NJ_FACTS_ATTEMPTS_MAX)
        return 0;
    grown = grow(&fold->arena, facts->attempts, facts->n_attempts, sizeof(*grown));
    if (!grown)
        return nj_fail_nomem(err);
    facts->attempts = grown;
    facts->attempts[facts->n_attempts++] =
        (struct nj_facts_attempt){.start_ns = time_ns, .kind = "", .text = ""};
    fold->steps_before = facts->steps;
    fold->cost_before = facts->cost_micro_usd;
    facts->status = 0;
    return 0;
}

int nj_fold_end(struct nj_fold *fold, int64_t time_ns, enum nj_status status, const char *kind,
                const char *text, struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;
    struct nj_facts_attempt *attempt;

    close_box(fold, time_ns);
    if (begin_attempt(fold, time_ns, err) < 0)
        return -(int)err->code;
    facts->status = status;
    facts->error_kind = keep(fold, nj_span_text(kind));
    facts->error_text = keep(fold, nj_span_text(text));
    if (!facts->error_kind || !facts->error_text)
        return nj_fail_nomem(err);
    attempt = attempt_under_way(fold);
    if (!attempt) /* more attempts than are kept one by one */
        return 0;
    attempt->end_ns = time_ns;
    attempt->status = status;
    attempt->kind = facts->error_kind;
    attempt->text = facts->error_text;
    attempt->steps = facts->steps - fold->steps_before;
    attempt->cost_micro_usd = facts->cost_micro_usd - fold->cost_before;
    return 0;
}

void nj_fold_continue(struct nj_fold *fold, const struct nj_facts *facts)
{
    fold->facts = *facts;
    if (facts->n_attempts > 0)
        fold->last_ns = facts->attempts[facts->n_attempts - 1].end_ns;
}

/* ---- events ---- */

static int on_opened(struct nj_fold *fold, const struct nj_event *event, struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;

    if (!facts->key) {
        nj_auto_free char *key = nj_span_dup(event->opened.key);
        nj_auto_free char *group = nj_span_dup(event->opened.group);
        nj_auto_free char *agent = nj_span_dup(event->opened.agent);

        if (!key || !group || !agent)
            return nj_fail_nomem(err);
        if (nj_facts_init(facts, &fold->arena, key, group, agent, err) < 0)
            return -(int)err->code;
    }
    if (facts->opened_ns == 0)
        facts->opened_ns = event->time_ns;
    return begin_attempt(fold, event->time_ns, err);
}

/* Its name, or "others" where the table has no room for one more name beside that. */
static struct nj_facts_model *known_model(struct nj_facts *facts, struct nj_span *name)
{
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < facts->n_models; i++)
            if (nj_span_is(*name, facts->models[i].name))
                return &facts->models[i];
        if (facts->n_models < NJ_FACTS_NAMES_MAX - 1)
            break;
        *name = nj_span_text("others");
    }
    return NULL;
}

static int find_model(struct nj_fold *fold, struct nj_span name, struct nj_facts_model **ret_model,
                      struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;
    struct nj_facts_model *model = known_model(facts, &name);

    if (!model) {
        model = grow(&fold->arena, facts->models, facts->n_models, sizeof(*model));
        if (!model)
            return nj_fail_nomem(err);
        facts->models = model;
        model += facts->n_models;
        *model = (struct nj_facts_model){.name = keep(fold, name)};
        if (!model->name)
            return nj_fail_nomem(err);
        facts->n_models++;
    }
    *ret_model = model;
    return 0;
}

static int on_reply(struct nj_fold *fold, const struct nj_event *event, struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;
    struct nj_facts_model *model = NULL;

    if (find_model(fold, event->reply.model, &model, err) < 0)
        return -(int)err->code;
    model->calls++;
    model->duration_ms += event->reply.duration_ms;
    model->cost_micro_usd += event->reply.cost_micro_usd;
    nj_usage_add(&model->usage, &event->reply.usage);
    nj_usage_add(&facts->usage, &event->reply.usage);
    facts->model_ms += event->reply.duration_ms;
    facts->cost_micro_usd += event->reply.cost_micro_usd;
    facts->turns++;
    facts->steps++;
    return 0;
}

static struct nj_facts_cause *known_cause(struct nj_facts *facts, struct nj_span *name)
{
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < facts->n_retries; i++)
            if (nj_span_is(*name, facts->retries[i].name))
                return &facts->retries[i];
        if (facts->n_retries < NJ_FACTS_NAMES_MAX - 1)
            break;
        *name = nj_span_text("others");
    }
    return NULL;
}

static int on_attempt(struct nj_fold *fold, struct nj_span name, struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;
    struct nj_facts_cause *cause = known_cause(facts, &name);

    if (!cause) {
        cause = grow(&fold->arena, facts->retries, facts->n_retries, sizeof(*cause));
        if (!cause)
            return nj_fail_nomem(err);
        facts->retries = cause;
        cause += facts->n_retries;
        *cause = (struct nj_facts_cause){.name = keep(fold, name)};
        if (!cause->name)
            return nj_fail_nomem(err);
        facts->n_retries++;
    }
    cause->count++;
    return 0;
}

static void add_call(struct nj_facts *facts, const struct nj_call_outcome *outcome,
                     const struct nj_call_meta *meta)
{
    facts->cpu_ms += meta->cpu_ms;
    facts->output_bytes += outcome->out.bytes + outcome->errors.bytes;
    if (meta->memory_peak_bytes > facts->memory_peak_bytes)
        facts->memory_peak_bytes = meta->memory_peak_bytes;
    if (outcome->exit == NJ_EXIT_REFUSED)
        facts->refused++;
    if (outcome->limit != NJ_LIMIT_NONE && (size_t)outcome->limit <= NJ_FACTS_LIMITS)
        facts->limits[outcome->limit - 1]++;
}

static void on_box(struct nj_fold *fold, const struct nj_event *event)
{
    struct nj_facts *facts = &fold->facts;

    switch (event->box.change) {
    case NJ_BOX_BUILT:
        close_box(fold, event->time_ns);
        fold->box_since_ns = event->time_ns;
        facts->boxes_built++;
        break;
    case NJ_BOX_RESTORED:
        break;
    case NJ_BOX_EVICTED:
        close_box(fold, event->time_ns);
        facts->boxes_evicted++;
        break;
    case NJ_BOX_LOST:
        close_box(fold, event->time_ns);
        facts->boxes_lost++;
        break;
    }
}

static void on_resumed(struct nj_fold *fold, int64_t time_ns)
{
    int64_t since_ns = fold->down_since_ns ? fold->down_since_ns : fold->last_ns;

    if (since_ns == 0)
        return;
    close_box(fold, since_ns);
    fold->facts.down_ms += ms_between(since_ns, time_ns);
    fold->down_since_ns = 0;
}

static int on_closed(struct nj_fold *fold, const struct nj_event *event, struct nj_error *err)
{
    nj_auto_free char *kind = nj_span_dup(event->closed.error_kind);
    nj_auto_free char *text = nj_span_dup(event->closed.error_text);

    if (!kind || !text)
        return nj_fail_nomem(err);
    return nj_fold_end(fold, event->time_ns, event->closed.status, kind, text, err);
}

int nj_fold_event(struct nj_fold *fold, const struct nj_event *event, struct nj_error *err)
{
    struct nj_facts *facts = &fold->facts;
    int r = 0;

    switch (event->kind) {
    case NJ_EVENT_OPENED:
        r = on_opened(fold, event, err);
        break;
    case NJ_EVENT_REPLY:
        r = on_reply(fold, event, err);
        break;
    case NJ_EVENT_TOOL_DONE:
        facts->calls++;
        facts->steps++;
        facts->tool_ms += event->tool_done.meta.duration_ms;
        add_call(facts, &event->tool_done.outcome, &event->tool_done.meta);
        break;
    case NJ_EVENT_JUDGED:
        facts->judged++;
        facts->judge_ms += event->judged.meta.duration_ms;
        add_call(facts, &event->judged.outcome, &event->judged.meta);
        break;
    case NJ_EVENT_ATTEMPT:
        r = on_attempt(fold, event->attempt_failed.cause, err);
        break;
    case NJ_EVENT_BOX:
        on_box(fold, event);
        break;
    case NJ_EVENT_SUSPENDED:
        close_box(fold, event->time_ns);
        fold->down_since_ns = event->time_ns;
        break;
    case NJ_EVENT_RESUMED:
        on_resumed(fold, event->time_ns);
        break;
    case NJ_EVENT_CLOSED:
        r = on_closed(fold, event, err);
        break;
    case NJ_EVENT_NO_REPLY:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    if (r < 0)
        return r;
    if (event->kind != NJ_EVENT_REPLY) /* what failed, was given up or lost: no model's reply */
        facts->cost_micro_usd += nj_event_cost(event);
    if (event->kind != NJ_EVENT_SNAPSHOTTED)
        fold->last_ns = event->time_ns;
    return 0;
}
