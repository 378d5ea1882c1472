/*
 * facts.c - a session in figures as a canonical map, and the frame that carries it
 */
#include "formats/journal/facts.h"

#include "formats/base/pack.h"

#include "formats/base/banned.h"

int nj_facts_init(struct nj_facts *facts, struct nj_arena *arena, const char *key,
                  const char *group, const char *agent, struct nj_error *err)
{
    struct nj_facts fresh = {.bundle = "", .reused = "", .error_kind = "", .error_text = ""};

    fresh.key = nj_arena_text(arena, key);
    fresh.group = nj_arena_text(arena, group);
    fresh.agent = nj_arena_text(arena, agent);
    if (!fresh.key || !fresh.group || !fresh.agent)
        return nj_fail_nomem(err);
    *facts = fresh;
    return 0;
}

/* ---- writing ---- */

static void put_attempt(struct nj_packer *p, const struct nj_facts_attempt *attempt)
{
    nj_pack_map(p, 7);
    nj_pack_put_uint(p, "cost_micro_usd", attempt->cost_micro_usd);
    nj_pack_put_int(p, "end_ns", attempt->end_ns);
    nj_pack_put_text(p, "kind", attempt->kind);
    nj_pack_put_int(p, "start_ns", attempt->start_ns);
    nj_pack_put_uint(p, "status", attempt->status);
    nj_pack_put_uint(p, "steps", attempt->steps);
    nj_pack_put_text(p, "text", attempt->text);
}

static void put_model(struct nj_packer *p, const struct nj_facts_model *model)
{
    nj_pack_map(p, 9);
    nj_pack_put_uint(p, "cache_read", model->usage.cache_read_tokens);
    nj_pack_put_uint(p, "cache_write_1h", model->usage.cache_write_1h_tokens);
    nj_pack_put_uint(p, "cache_write_5m", model->usage.cache_write_5m_tokens);
    nj_pack_put_uint(p, "calls", model->calls);
    nj_pack_put_uint(p, "cost_micro_usd", model->cost_micro_usd);
    nj_pack_put_uint(p, "duration_ms", model->duration_ms);
    nj_pack_put_uint(p, "input", model->usage.input_tokens);
    nj_pack_put_text(p, "name", model->name);
    nj_pack_put_uint(p, "output", model->usage.output_tokens);
}

int nj_facts_encode(const struct nj_facts *facts, struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer p;

    nj_packer_init(&p, out);
    nj_pack_map(&p, nj_facts_is_reused(facts) ? 30 : 29);
    nj_pack_put_text(&p, "agent", facts->agent);
    nj_pack_text(&p, "attempts");
    nj_pack_array(&p, facts->n_attempts);
    for (size_t i = 0; i < facts->n_attempts; i++)
        put_attempt(&p, &facts->attempts[i]);
    nj_pack_put_uint(&p, "box_held_ms", facts->box_held_ms);
    nj_pack_put_uint(&p, "boxes_built", facts->boxes_built);
    nj_pack_put_uint(&p, "boxes_evicted", facts->boxes_evicted);
    nj_pack_put_uint(&p, "boxes_lost", facts->boxes_lost);
    nj_pack_put_text(&p, "bundle", facts->bundle);
    nj_pack_put_uint(&p, "calls", facts->calls);
    nj_pack_put_uint(&p, "cost_micro_usd", facts->cost_micro_usd);
    nj_pack_put_uint(&p, "cpu_ms", facts->cpu_ms);
    nj_pack_put_uint(&p, "down_ms", facts->down_ms);
    nj_pack_put_text(&p, "error_kind", facts->error_kind);
    nj_pack_put_text(&p, "error_text", facts->error_text);
    nj_pack_put_text(&p, "group", facts->group);
    nj_pack_put_uint(&p, "judge_ms", facts->judge_ms);
    nj_pack_put_uint(&p, "judged", facts->judged);
    nj_pack_put_text(&p, "key", facts->key);
    nj_pack_text(&p, "limits");
    nj_pack_array(&p, NJ_FACTS_LIMITS);
    for (size_t i = 0; i < NJ_FACTS_LIMITS; i++)
        nj_pack_uint(&p, facts->limits[i]);
    nj_pack_put_uint(&p, "memory_peak_bytes", facts->memory_peak_bytes);
    nj_pack_put_uint(&p, "model_ms", facts->model_ms);
    nj_pack_text(&p, "models");
    nj_pack_array(&p, facts->n_models);
    for (size_t i = 0; i < facts->n_models; i++)
        put_model(&p, &facts->models[i]);
    nj_pack_put_int(&p, "opened_ns", facts->opened_ns);
    nj_pack_put_uint(&p, "output_bytes", facts->output_bytes);
    nj_pack_put_uint(&p, "refused", facts->refused);
    nj_pack_text(&p, "retries");
    nj_pack_array(&p, facts->n_retries);
    for (size_t i = 0; i < facts->n_retries; i++) {
        nj_pack_map(&p, 2);
        nj_pack_put_text(&p, "cause", facts->retries[i].name);
        nj_pack_put_uint(&p, "count", facts->retries[i].count);
    }
    if (nj_facts_is_reused(facts))
        nj_pack_put_text(&p, "reused", facts->reused);
    nj_pack_put_uint(&p, "status", facts->status);
    nj_pack_put_uint(&p, "steps", facts->steps);
    nj_pack_put_uint(&p, "tool_ms", facts->tool_ms);
    nj_pack_put_uint(&p, "turns", facts->turns);
    return nj_packer_end(&p, err);
}

/* ---- reading ---- */

static int get_text(const struct nj_pack_at *map, const char *key, struct nj_arena *arena,
                    const char **ret, struct nj_error *err)
{
    struct nj_span text;

    if (nj_pack_get_text(map, key, &text, err) < 0)
        return -(int)err->code;
    *ret = nj_arena_span(arena, text);
    return *ret ? 0 : nj_fail_nomem(err);
}

static int get_status(const struct nj_pack_at *map, enum nj_status *ret, struct nj_error *err)
{
    uint64_t value = 0;

    if (nj_pack_get_uint(map, "status", NJ_STATUS_SKIPPED, &value, err) < 0)
        return -(int)err->code;
    *ret = (enum nj_status)value;
    return 0;
}

/* Sums over a run must not overflow: no honest figure comes near. */
#define FIGURE_MAX (UINT64_C(1) << 53)

static int get_uints(const struct nj_pack_at *map, const char *const *keys, uint64_t *const *values,
                     size_t count, struct nj_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (nj_pack_get_uint(map, keys[i], FIGURE_MAX, values[i], err) < 0)
            return -(int)err->code;
    return 0;
}

static int get_attempt(const struct nj_pack_at *map, struct nj_arena *arena,
                       struct nj_facts_attempt *attempt, struct nj_error *err)
{
    if (nj_pack_as_map(map, err) < 0 ||
        nj_pack_get_uint(map, "cost_micro_usd", FIGURE_MAX, &attempt->cost_micro_usd, err) < 0 ||
        nj_pack_get_int(map, "end_ns", &attempt->end_ns, err) < 0 ||
        get_text(map, "kind", arena, &attempt->kind, err) < 0 ||
        nj_pack_get_int(map, "start_ns", &attempt->start_ns, err) < 0 ||
        get_status(map, &attempt->status, err) < 0 ||
        nj_pack_get_uint(map, "steps", FIGURE_MAX, &attempt->steps, err) < 0)
        return -(int)err->code;
    return get_text(map, "text", arena, &attempt->text, err);
}

static int get_model(const struct nj_pack_at *map, struct nj_arena *arena,
                     struct nj_facts_model *model, struct nj_error *err)
{
    static const char *const keys[] = {"cache_read", "cache_write_1h", "cache_write_5m",
                                       "calls",      "cost_micro_usd", "duration_ms",
                                       "input",      "output"};
    uint64_t *const values[] = {&model->usage.cache_read_tokens,
                                &model->usage.cache_write_1h_tokens,
                                &model->usage.cache_write_5m_tokens,
                                &model->calls,
                                &model->cost_micro_usd,
                                &model->duration_ms,
                                &model->usage.input_tokens,
                                &model->usage.output_tokens};

    if (nj_pack_as_map(map, err) < 0 ||
        get_uints(map, keys, values, sizeof(keys) / sizeof(keys[0]), err) < 0)
        return -(int)err->code;
    return get_text(map, "name", arena, &model->name, err);
}

/* Tables have room for a power of two, so that a fold can go on with what was read. */
static void *table(struct nj_arena *arena, size_t count, size_t size)
{
    size_t cap = 1;

    while (cap < count)
        cap *= 2;
    return nj_arena_array(arena, cap, size);
}

static int get_attempts(const struct nj_pack_at *map, struct nj_arena *arena,
                        struct nj_facts *facts, struct nj_error *err)
{
    struct nj_pack_at array, item;

    if (nj_pack_get_array(map, "attempts", &array, &facts->n_attempts, err) < 0)
        return -(int)err->code;
    if (facts->n_attempts > NJ_FACTS_ATTEMPTS_MAX)
        return nj_pack_fail(&array, err, "more than %d", NJ_FACTS_ATTEMPTS_MAX);
    facts->attempts = table(arena, facts->n_attempts, sizeof(*facts->attempts));
    if (!facts->attempts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < facts->n_attempts; i++)
        if (nj_pack_item(&array, i, &item, err) < 0 ||
            get_attempt(&item, arena, &facts->attempts[i], err) < 0)
            return -(int)err->code;
    return 0;
}

static int get_models(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_facts *facts,
                      struct nj_error *err)
{
    struct nj_pack_at array, item;

    if (nj_pack_get_array(map, "models", &array, &facts->n_models, err) < 0)
        return -(int)err->code;
    if (facts->n_models > NJ_FACTS_NAMES_MAX)
        return nj_pack_fail(&array, err, "more than %d", NJ_FACTS_NAMES_MAX);
    facts->models = table(arena, facts->n_models, sizeof(*facts->models));
    if (!facts->models)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < facts->n_models; i++) {
        struct nj_facts_model *model = &facts->models[i];

        if (nj_pack_item(&array, i, &item, err) < 0 || get_model(&item, arena, model, err) < 0)
            return -(int)err->code;
        facts->usage.input_tokens += model->usage.input_tokens;
        facts->usage.output_tokens += model->usage.output_tokens;
        facts->usage.cache_read_tokens += model->usage.cache_read_tokens;
        facts->usage.cache_write_5m_tokens += model->usage.cache_write_5m_tokens;
        facts->usage.cache_write_1h_tokens += model->usage.cache_write_1h_tokens;
    }
    return 0;
}

static int get_retries(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_facts *facts,
                       struct nj_error *err)
{
    struct nj_pack_at array, item;

    if (nj_pack_get_array(map, "retries", &array, &facts->n_retries, err) < 0)
        return -(int)err->code;
    if (facts->n_retries > NJ_FACTS_NAMES_MAX)
        return nj_pack_fail(&array, err, "more than %d", NJ_FACTS_NAMES_MAX);
    facts->retries = table(arena, facts->n_retries, sizeof(*facts->retries));
    if (!facts->retries)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < facts->n_retries; i++)
        if (nj_pack_item(&array, i, &item, err) < 0 || nj_pack_as_map(&item, err) < 0 ||
            get_text(&item, "cause", arena, &facts->retries[i].name, err) < 0 ||
            nj_pack_get_uint(&item, "count", FIGURE_MAX, &facts->retries[i].count, err) < 0)
            return -(int)err->code;
    return 0;
}

/* Limits are counted by number: one that a newer build knows is passed over. */
static int get_limits(const struct nj_pack_at *map, struct nj_facts *facts, struct nj_error *err)
{
    struct nj_pack_at array, item;
    size_t count = 0;

    if (nj_pack_get_array(map, "limits", &array, &count, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < count && i < NJ_FACTS_LIMITS; i++)
        if (nj_pack_item(&array, i, &item, err) < 0 ||
            nj_pack_as_uint(&item, FIGURE_MAX, &facts->limits[i], err) < 0)
            return -(int)err->code;
    return 0;
}

static int get_facts(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_facts *facts,
                     struct nj_error *err)
{
    static const char *const keys[] = {
        "box_held_ms",       "boxes_built", "boxes_evicted", "boxes_lost", "calls",
        "cost_micro_usd",    "cpu_ms",      "down_ms",       "judge_ms",   "judged",
        "memory_peak_bytes", "model_ms",    "output_bytes",  "refused",    "steps",
        "tool_ms",           "turns"};
    uint64_t *const values[] = {&facts->box_held_ms,
                                &facts->boxes_built,
                                &facts->boxes_evicted,
                                &facts->boxes_lost,
                                &facts->calls,
                                &facts->cost_micro_usd,
                                &facts->cpu_ms,
                                &facts->down_ms,
                                &facts->judge_ms,
                                &facts->judged,
                                &facts->memory_peak_bytes,
                                &facts->model_ms,
                                &facts->output_bytes,
                                &facts->refused,
                                &facts->steps,
                                &facts->tool_ms,
                                &facts->turns};

    facts->reused = "";
    if (nj_pack_has(map, "reused") && get_text(map, "reused", arena, &facts->reused, err) < 0)
        return -(int)err->code;
    if (get_uints(map, keys, values, sizeof(keys) / sizeof(keys[0]), err) < 0 ||
        get_text(map, "agent", arena, &facts->agent, err) < 0 ||
        get_text(map, "bundle", arena, &facts->bundle, err) < 0 ||
        get_text(map, "error_kind", arena, &facts->error_kind, err) < 0 ||
        get_text(map, "error_text", arena, &facts->error_text, err) < 0 ||
        get_text(map, "group", arena, &facts->group, err) < 0 ||
        get_text(map, "key", arena, &facts->key, err) < 0 ||
        nj_pack_get_int(map, "opened_ns", &facts->opened_ns, err) < 0 ||
        get_status(map, &facts->status, err) < 0 || get_attempts(map, arena, facts, err) < 0 ||
        get_models(map, arena, facts, err) < 0 || get_retries(map, arena, facts, err) < 0)
        return -(int)err->code;
    return get_limits(map, facts, err);
}

int nj_facts_decode(struct nj_span packed, struct nj_arena *arena, struct nj_facts *ret_facts,
                    struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_facts facts = {0};
    struct nj_pack_at map;

    if (nj_pack_open(&doc, "facts", packed, err) < 0 || nj_pack_root(&doc, &map, err) < 0 ||
        get_facts(&map, arena, &facts, err) < 0)
        return -(int)err->code;
    *ret_facts = facts;
    return 0;
}

/* ---- the frame ---- */

int nj_archived_encode(const struct nj_archived *archived, struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer p;

    nj_packer_init(&p, out);
    nj_pack_map(&p, archived->facts.len > 0 ? 4 : 3);
    nj_pack_put_uint(&p, "cost_micro_usd", archived->cost_micro_usd);
    if (archived->facts.len > 0) {
        nj_pack_text(&p, "facts");
        nj_pack_raw(&p, archived->facts);
    }
    nj_pack_put_span(&p, "row", archived->row);
    nj_pack_put_uint(&p, "status", archived->status);
    return nj_packer_end(&p, err);
}

int nj_archived_decode(struct nj_span payload, struct nj_archived *ret_archived,
                       struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_archived archived = {0};
    struct nj_pack_at map;
    uint64_t status = 0;

    if (nj_pack_open(&doc, "archived", payload, err) < 0 || nj_pack_root(&doc, &map, err) < 0 ||
        nj_pack_get_text(&map, "row", &archived.row, err) < 0 ||
        nj_pack_get_uint(&map, "cost_micro_usd", INT64_MAX, &archived.cost_micro_usd, err) < 0 ||
        nj_pack_get_uint(&map, "status", NJ_STATUS_SKIPPED, &status, err) < 0)
        return -(int)err->code;
    archived.status = (enum nj_status)status;
    (void)nj_pack_raw_at(payload, "facts", &archived.facts); /* absent: empty */
    *ret_archived = archived;
    return 0;
}
