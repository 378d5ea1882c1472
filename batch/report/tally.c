/*
 * tally.c - a run counted
 *
 * The one complication is grouping failures: a hundred thousand may have as many texts, so they are
 * sorted by their normal form, and counted as runs of equal ones.
 */
#include "batch/report/tally.h"

#include <ctype.h>

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define NORMAL_MAX_BYTES 200

void nj_tally_done(struct nj_tally *tally)
{
    nj_arena_done(&tally->arena);
    *tally = (struct nj_tally){0};
}

/* ---- causes ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The length of a figure or a digest that begins here: at least eight hex digits that are a word,
 * or digits. A single digit at the end of a word stays: "python3" is a name. */
static size_t figure_len(const char *at, char before)
{
    size_t digits = strspn(at, "0123456789");
    size_t hex = strspn(at, "0123456789abcdefABCDEF");

    if (!is_word(before) && hex >= 8 && !is_word(at[hex]))
        return hex;
    return digits == 1 && isalpha((unsigned char)before) ? 0 : digits;
}

/* A key that is a plain word may stand in a message for itself: only others are taken for the key.
 */
static bool is_telling(const char *key)
{
    return strlen(key) > 2 && strspn(key, "abcdefghijklmnopqrstuvwxyz") < strlen(key);
}

const char *nj_tally_normal(struct nj_arena *arena, const char *text, const char *key)
{
    char out[NORMAL_MAX_BYTES + 8];
    size_t used = 0;
    size_t key_len = is_telling(key) ? strlen(key) : 0;
    char before = ' ';

    for (const char *at = text; *at && used < NORMAL_MAX_BYTES;) {
        size_t figure = figure_len(at, before);

        if (key_len > 0 && strncmp(at, key, key_len) == 0 && !is_word(before) &&
            !is_word(at[key_len])) {
            used += (size_t)snprintf(out + used, sizeof(out) - used, "{key}");
            at += key_len;
            before = '}';
        } else if (figure > 0) {
            out[used++] = '#';
            before = at[figure - 1];
            at += figure;
        } else if (isspace((unsigned char)*at)) {
            if (used > 0 && out[used - 1] != ' ')
                out[used++] = ' ';
            before = ' ';
            at++;
        } else {
            out[used++] = *at;
            before = *at++;
        }
    }
    out[used] = '\0';
    nj_utf8_trim(out); /* where the cut fell within a character */
    return nj_arena_text(arena, out);
}

struct failure {
    const char *kind;
    const char *text;
    size_t index;
};

static int by_cause(const void *left, const void *right)
{
    const struct failure *a = left, *b = right;
    int order = strcmp(a->kind, b->kind);

    if (order == 0)
        order = strcmp(a->text, b->text);
    if (order == 0)
        order = (a->index > b->index) - (a->index < b->index);
    return order;
}

static int by_count(const void *left, const void *right)
{
    const struct nj_tally_cause *a = left, *b = right;
    int order = (a->count < b->count) - (a->count > b->count);

    return order ? order : (a->first > b->first) - (a->first < b->first);
}

static int group_failures(const struct nj_ledger *ledger, struct nj_tally *tally,
                          struct nj_error *err)
{
    nj_auto_free struct failure *failures = calloc(tally->all.failed + 1, sizeof(*failures));
    nj_auto_free size_t *renamed = NULL;
    size_t count = 0;

    tally->causes = nj_arena_array(&tally->arena, tally->all.failed + 1, sizeof(*tally->causes));
    tally->cause_of = nj_arena_array(&tally->arena, ledger->n_entries + 1, sizeof(size_t));
    if (!failures || !tally->causes || !tally->cause_of)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(ledger, i);

        if (!facts || facts->status != NJ_STATUS_FAILED)
            continue;
        failures[count] =
            (struct failure){.kind = facts->error_kind,
                             .text = nj_tally_normal(&tally->arena, facts->error_text, facts->key),
                             .index = i};
        if (!failures[count].text)
            return nj_fail_nomem(err);
        count++;
    }
    if (count == 0)
        return 0;
    qsort(failures, count, sizeof(*failures), by_cause);
    for (size_t i = 0; i < count; i++) {
        struct nj_tally_cause *cause = &tally->causes[tally->n_causes];

        if (i == 0 || strcmp(failures[i].kind, failures[i - 1].kind) != 0 ||
            strcmp(failures[i].text, failures[i - 1].text) != 0) {
            *cause = (struct nj_tally_cause){
                .kind = failures[i].kind, .text = failures[i].text, .first = failures[i].index};
            tally->n_causes++;
        }
        tally->causes[tally->n_causes - 1].count++;
    }
    for (size_t i = 0; i < tally->n_causes; i++)
        if (tally->causes[i].count == 1) /* its own words tell more */
            tally->causes[i].text = nj_ledger_at(ledger, tally->causes[i].first)->error_text;
    qsort(tally->causes, tally->n_causes, sizeof(*tally->causes), by_count);
    /* Sorted again, so each failure finds its cause by its first one. */
    renamed = calloc(ledger->n_entries + 1, sizeof(*renamed));
    if (!renamed)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < tally->n_causes; i++)
        renamed[tally->causes[i].first] = i + 1;
    for (size_t i = 0, first = 0; i < count; i++) {
        if (renamed[failures[i].index])
            first = failures[i].index;
        tally->cause_of[failures[i].index] = renamed[first];
    }
    return 0;
}

/* ---- sums ---- */

static void add(struct nj_tally_sum *sum, const struct nj_facts *facts, uint64_t busy_ms)
{
    sum->total++;
    switch (nj_ledger_status(facts)) {
    case NJ_STATUS_SUCCEEDED:
        sum->succeeded++;
        break;
    case NJ_STATUS_FAILED:
        sum->failed++;
        break;
    case NJ_STATUS_SKIPPED:
        sum->skipped++;
        break;
    case NJ_STATUS_SUSPENDED:
        if (facts->opened_ns)
            sum->begun++;
        else
            sum->waiting++;
        break;
    }
    sum->reused += nj_facts_is_reused(facts);
    sum->attempts += nj_facts_is_reused(facts) ? 0 : facts->n_attempts;
    sum->turns += facts->turns;
    sum->steps += facts->steps;
    sum->calls += facts->calls;
    sum->cost_micro_usd += facts->cost_micro_usd;
    nj_usage_add(&sum->usage, &facts->usage);
    sum->busy_ms += busy_ms;
    sum->model_ms += facts->model_ms;
    sum->tool_ms += facts->tool_ms;
    sum->judge_ms += facts->judge_ms;
    sum->cpu_ms += facts->cpu_ms;
    sum->box_held_ms += facts->box_held_ms;
    sum->boxes_lost += facts->boxes_lost;
    for (size_t i = 0; i < facts->n_retries; i++)
        sum->retries += facts->retries[i].count;
    for (size_t i = 0; i < NJ_FACTS_LIMITS; i++)
        sum->limits[i] += facts->limits[i];
}

/* A manifest has few groups and agents, and sessions of one come together: the last is tried
 * first. */
static int sum_of(struct nj_arena *arena, struct nj_tally_sum **sums, size_t *count,
                  const char *name, struct nj_tally_sum **ret_sum, struct nj_error *err)
{
    for (size_t i = *count; i > 0; i--)
        if (strcmp((*sums)[i - 1].name, name) == 0) {
            *ret_sum = &(*sums)[i - 1];
            return 0;
        }
    if ((*count & (*count - 1)) == 0) {
        struct nj_tally_sum *grown = nj_arena_array(arena, *count ? 2 * *count : 1, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        if (*count > 0)
            memcpy(grown, *sums, *count * sizeof(*grown));
        *sums = grown;
    }
    *ret_sum = &(*sums)[*count];
    **ret_sum = (struct nj_tally_sum){.name = name};
    (*count)++;
    return 0;
}

static int add_models(struct nj_tally *tally, const struct nj_facts *facts, struct nj_error *err)
{
    for (size_t i = 0; i < facts->n_models; i++) {
        const struct nj_facts_model *from = &facts->models[i];
        struct nj_facts_model *to = NULL;

        for (size_t k = 0; k < tally->n_models && !to; k++)
            if (strcmp(tally->models[k].name, from->name) == 0)
                to = &tally->models[k];
        if (!to && (tally->n_models & (tally->n_models - 1)) == 0) {
            size_t cap = tally->n_models ? 2 * tally->n_models : 1;
            struct nj_facts_model *grown = nj_arena_array(&tally->arena, cap, sizeof(*grown));

            if (!grown)
                return nj_fail_nomem(err);
            if (tally->n_models > 0)
                memcpy(grown, tally->models, tally->n_models * sizeof(*grown));
            tally->models = grown;
        }
        if (!to) {
            to = &tally->models[tally->n_models++];
            *to = (struct nj_facts_model){.name = from->name};
        }
        to->calls += from->calls;
        to->duration_ms += from->duration_ms;
        to->cost_micro_usd += from->cost_micro_usd;
        nj_usage_add(&to->usage, &from->usage);
    }
    return 0;
}

static void note_slow(const struct nj_ledger *ledger, struct nj_tally *tally, size_t index,
                      int64_t now_ns)
{
    uint64_t ms = nj_ledger_busy_ms(nj_ledger_at(ledger, index), now_ns);
    size_t at = tally->n_slowest;

    if (ms == 0)
        return;
    while (at > 0 && nj_ledger_busy_ms(nj_ledger_at(ledger, tally->slowest[at - 1]), now_ns) < ms) {
        if (at < NJ_TALLY_SLOWEST)
            tally->slowest[at] = tally->slowest[at - 1];
        at--;
    }
    if (at < NJ_TALLY_SLOWEST) {
        tally->slowest[at] = index;
        if (tally->n_slowest < NJ_TALLY_SLOWEST)
            tally->n_slowest++;
    }
}

static int by_cost(const void *left, const void *right)
{
    const struct nj_facts_model *a = left, *b = right;
    int order = (a->cost_micro_usd < b->cost_micro_usd) - (a->cost_micro_usd > b->cost_micro_usd);

    return order ? order : strcmp(a->name, b->name);
}

static int count(const struct nj_ledger *ledger, int64_t now_ns, struct nj_tally *tally,
                 struct nj_error *err)
{
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(ledger, i);
        struct nj_tally_sum *sum = NULL;
        uint64_t busy_ms;

        if (!facts)
            continue;
        busy_ms = nj_ledger_busy_ms(facts, now_ns);
        add(&tally->all, facts, busy_ms);
        if (sum_of(&tally->arena, &tally->groups, &tally->n_groups, facts->group, &sum, err) < 0)
            return -(int)err->code;
        add(sum, facts, busy_ms);
        if (sum_of(&tally->arena, &tally->agents, &tally->n_agents, facts->agent, &sum, err) < 0)
            return -(int)err->code;
        add(sum, facts, busy_ms);
        if (add_models(tally, facts, err) < 0)
            return -(int)err->code;
        note_slow(ledger, tally, i, now_ns);
    }
    if (ledger->total > tally->all.total) { /* planned, and nothing is known of them yet */
        tally->all.waiting += ledger->total - tally->all.total;
        tally->all.total = ledger->total;
    }
    if (tally->n_models > 1)
        qsort(tally->models, tally->n_models, sizeof(*tally->models), by_cost);
    return group_failures(ledger, tally, err);
}

int nj_tally_new(const struct nj_ledger *ledger, int64_t now_ns, struct nj_tally *ret_tally,
                 struct nj_error *err)
{
    NJ_AUTO(nj_tally_done)
    struct nj_tally tally = {.began_ns = ledger->started_ns, .ended_ns = ledger->last_ns};

    tally.all.name = "";
    if (count(ledger, now_ns, &tally, err) < 0)
        return nj_wrap(err, "count the run");
    *ret_tally = tally;
    tally = (struct nj_tally){0};
    return 0;
}
