/*
 * plan_override.c - what an item says in place of its group
 *
 * The complication: an item that says nothing must leave what stands. A field that is missing, null
 * or empty says nothing; a value that cannot be taken is a fault of that item, told with its place.
 */
#include "batch/plan/plan_inside.h"

#include "formats/manifest/template.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define TURNS_MAX 10000
#define BUDGET_MAX_MICRO_USD (INT64_C(1000000000) * 1000000)

struct looking {
    const char *item;
    bool missing;
};

static int lookup(void *ctx, const char *name, struct nj_buf *out, struct nj_error *err)
{
    struct looking *looking = ctx;
    struct nj_span value;

    if (strncmp(name, "item.", 5) != 0 || !nj_item_json_find(looking->item, name + 5, &value) ||
        nj_span_is(value, "null")) {
        looking->missing = true;
        return 0;
    }
    return nj_item_json_value(value, out, err);
}

/* The text that the item gives for @text, in the plan's arena; NULL when it says nothing. */
static int said(struct nj_planning *planning, const struct nj_plan_session *session,
                const char *text, const char **ret, struct nj_error *err)
{
    struct looking looking = {.item = session->item_json};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    int r;

    *ret = NULL;
    if (!text)
        return 0;
    nj_buf_init(&out, NJ_ITEM_MAX_BYTES);
    r = nj_template_expand(text, lookup, &looking, &out, err);
    if (r < 0 || looking.missing || out.len == 0)
        return r;
    *ret = nj_arena_span(&planning->plan->arena, nj_buf_span(&out));
    return *ret ? 0 : nj_fail_nomem(err);
}

static int override_model(struct nj_planning *planning, struct nj_plan_session *session,
                          struct nj_session_config *config, const char *name, struct nj_error *err)
{
    const struct nj_manifest *manifest = planning->manifest;
    const char *names[NJ_MANIFEST_AGENTS_MAX];
    const char *nearest;

    for (size_t i = 0; i < manifest->n_roles; i++) {
        names[i] = manifest->roles[i].name;
        if (strcmp(names[i], name) != 0)
            continue;
        session->role = i;
        config->role = names[i];
        return nj_planning_scripts(planning, i, err);
    }
    nearest = nj_yaml_nearest(name, names, manifest->n_roles);
    return nj_fail(err, NJ_E_INPUT, "unknown model \"%.64s\"%s%s%s", name,
                   nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* A number that an item gives is read by the rules of the manifest. */
static int override_number(const char *text, bool money, int64_t *ret, struct nj_error *err)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_yaml_reader reader = {.arena = &arena, .faults = &faults};
    struct nj_yaml_node node = {.kind = NJ_YAML_SCALAR, .plain = true, .text = nj_span_text(text)};
    uint64_t whole = 0;

    if (money ? nj_yaml_micro(&reader, &node, 1, BUDGET_MAX_MICRO_USD, ret)
              : nj_yaml_uint(&reader, &node, 1, TURNS_MAX, &whole)) {
        if (!money)
            *ret = (int64_t)whole;
        return 0;
    }
    return nj_fail(err, NJ_E_INPUT, "%s", faults.count > 0 ? faults.items[0].text : "no number");
}

static int apply(struct nj_planning *planning, struct nj_plan_session *session,
                 struct nj_session_config *config, const char **ret_part, struct nj_error *err)
{
    const struct nj_manifest_override *override =
        &planning->manifest->groups[session->group].override;
    const char *text = NULL;
    int64_t number = 0;
    int r;

    *ret_part = "override.instructions";
    r = said(planning, session, override->instructions, &text, err);
    if (r == 0 && text)
        config->instructions = text;
    if (r == 0) {
        *ret_part = "override.input";
        r = said(planning, session, override->input, &session->input, err);
    }
    if (r == 0) {
        *ret_part = "override.model";
        r = said(planning, session, override->model, &text, err);
        if (r == 0 && text)
            r = override_model(planning, session, config, text, err);
    }
    if (r == 0) {
        *ret_part = "override.limits.turns";
        r = said(planning, session, override->turns, &text, err);
        if (r == 0 && text)
            r = override_number(text, false, &number, err);
        if (r == 0 && text)
            config->turns_max = (uint64_t)number;
    }
    if (r == 0) {
        *ret_part = "override.limits.session_budget_usd";
        r = said(planning, session, override->session_budget_usd, &text, err);
        if (r == 0 && text)
            r = override_number(text, true, &config->budget_micro_usd, err);
    }
    return r;
}

int nj_planning_override(struct nj_planning *planning, struct nj_plan_session *session,
                         struct nj_session_config *config, struct nj_error *err)
{
    const struct nj_manifest_override *override =
        &planning->manifest->groups[session->group].override;
    const char *part = NULL;
    int r;

    if (override->mark.line == 0)
        return 0;
    r = apply(planning, session, config, &part, err);
    return r < 0 ? nj_planning_item_fault(planning, session, override->mark, err, part) : 0;
}
