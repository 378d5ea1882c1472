/*
 * plan_only.c - the sessions that were chosen
 *
 * The complication: what a chosen session waits for is not brought in by itself, for that may be a
 * night's work; but a summary of nothing is no summary either, so it is a fault that says what to
 * add.
 */
#include "batch/plan/plan_inside.h"

#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define COMPARED_KEYS_MAX 100000

/* The key itself counts before the pattern: keys may hold brackets. */
static bool chooses(const char *pattern, const char *key)
{
    return strcmp(pattern, key) == 0 || nj_glob_part_match(pattern, nj_span_text(key));
}

static int no_key(struct nj_planning *planning, const struct nj_manifest_text *text,
                  struct nj_error *err)
{
    const struct nj_plan *plan = planning->plan;
    size_t n = plan->n_sessions < COMPARED_KEYS_MAX ? plan->n_sessions : COMPARED_KEYS_MAX;
    nj_auto_free const char **keys = calloc(n + 1, sizeof(*keys));
    const char *nearest;

    if (!keys)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++)
        keys[i] = plan->sessions[i].key;
    nearest = nj_yaml_nearest(text->text, keys, n);
    nj_manifest_faults_add(
        planning->faults, text->mark, "only", "no session has the key %.100s%s%.100s%s", text->text,
        nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    return 0;
}

static void check_after(struct nj_planning *planning, const size_t *left)
{
    const struct nj_manifest *manifest = planning->manifest;

    for (size_t i = 0; i < manifest->n_groups; i++) {
        const struct nj_manifest_group *group = &manifest->groups[i];

        for (size_t k = 0; left[i] > 0 && k < group->n_after; k++) {
            const struct nj_manifest_group *other = &manifest->groups[group->after[k]];

            if (left[group->after[k]] == 0 && !other->may_be_empty)
                nj_manifest_faults_add(planning->faults, manifest->only.items[0].mark, "only",
                                       "%s comes after %s, of which nothing is chosen", group->name,
                                       other->name);
        }
    }
}

int nj_planning_only(struct nj_planning *planning, struct nj_error *err)
{
    const struct nj_manifest_texts *only = &planning->manifest->only;
    struct nj_plan *plan = planning->plan;
    size_t left[NJ_MANIFEST_AGENTS_MAX] = {0};
    nj_auto_free bool *chosen = calloc(plan->n_sessions + 1, sizeof(*chosen));
    size_t n = 0;

    if (!chosen)
        return nj_fail_nomem(err);
    if (only->count == 0)
        return 0;
    for (size_t i = 0; i < only->count; i++) {
        bool any = false;

        for (size_t k = 0; k < plan->n_sessions; k++) {
            bool match = chooses(only->items[i].text, plan->sessions[k].key);

            any = any || match;
            chosen[k] = chosen[k] || match;
        }
        if (!any && no_key(planning, &only->items[i], err) < 0)
            return -(int)err->code;
    }
    for (size_t k = 0; k < plan->n_sessions; k++) {
        if (!chosen[k])
            continue;
        plan->sessions[n] = plan->sessions[k];
        plan->sessions[n].number = (uint32_t)n + 1;
        left[plan->sessions[n++].group]++;
    }
    plan->n_sessions = n;
    check_after(planning, left);
    return 0;
}
