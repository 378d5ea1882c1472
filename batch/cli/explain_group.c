/*
 * explain_group.c - a group of sessions in words
 *
 * What holds for its sessions may differ from one to the next, as items have limits of their own:
 * then both ends are told.
 */
#include "batch/cli/explain_inside.h"

#include <inttypes.h>

#include "formats/base/banned.h"

/* The sessions of one group: plans keep them together. */
struct part {
    const struct nj_plan_session *sessions;
    size_t n;
};

static struct part part_of(const struct nj_plan *plan, size_t group)
{
    size_t first = 0;
    size_t end;

    while (first < plan->n_sessions && plan->sessions[first].group != group)
        first++;
    for (end = first; end < plan->n_sessions && plan->sessions[end].group == group;)
        end++;
    return (struct part){plan->sessions + first, end - first};
}

static void explain_items(struct nj_rows *rows, const struct nj_manifest_group *group)
{
    for (size_t i = 0; i < group->n_axes; i++) {
        const struct nj_manifest_axis *axis = &group->axes[i];

        nj_rows_put(rows, "%s", i > 0 ? " and " : "one for each ");
        nj_rows_shown(rows, axis->text ? axis->text : axis->name ? axis->name : "value");
    }
    if (group->n_where > 0)
        nj_rows_put(rows, " that passes where");
    if (group->first > 0)
        nj_rows_put(rows, ", the first %" PRIu64 " only", group->first);
    nj_rows_row(rows, "items");
}

static void explain_key(struct nj_rows *rows, const struct nj_manifest_group *group,
                        const struct nj_plan_session *session)
{
    char label[NJ_ITEM_LABEL_MAX_BYTES];

    nj_rows_shown(rows, session->key);
    nj_item_label(group, session->item_json, session->item_line, label);
    if (group->for_each == NJ_FOR_EACH_NONE)
        return;
    nj_rows_put(rows, " (");
    nj_rows_shown(rows, label);
    nj_rows_put(rows, ")");
}

/* What counts for its sessions, whoever said it: an item, the group, the agent or the run. */
static void explain_session_limits(struct nj_rows *rows, const struct part *part)
{
    const struct nj_session_config *first = part->sessions[0].config;
    uint64_t turns[2] = {first->turns_max, first->turns_max};
    int64_t budget[2] = {first->budget_micro_usd, first->budget_micro_usd};

    for (size_t i = 1; i < part->n; i++) {
        const struct nj_session_config *config = part->sessions[i].config;

        turns[0] = config->turns_max < turns[0] ? config->turns_max : turns[0];
        turns[1] = config->turns_max > turns[1] ? config->turns_max : turns[1];
        budget[0] = config->budget_micro_usd < budget[0] ? config->budget_micro_usd : budget[0];
        budget[1] = config->budget_micro_usd > budget[1] ? config->budget_micro_usd : budget[1];
    }
    if (turns[0] < turns[1])
        nj_rows_put(rows, "%" PRIu64 " to ", turns[0]);
    nj_rows_put(rows, "%" PRIu64 " turn%s", turns[1], nj_plural(turns[1]));
    nj_explain_part(rows);
    if (budget[1] < 0) {
        nj_rows_put(rows, "no budget");
    } else {
        if (budget[0] < 0)
            nj_rows_put(rows, "no budget or ");
        else if (budget[0] < budget[1]) {
            nj_rows_usd(rows, budget[0]);
            nj_rows_put(rows, " to ");
        }
        nj_rows_usd(rows, budget[1]);
    }
    nj_rows_put(rows, ", %" PRIu64 " s of tool time", first->max_runtime_ms / 1000);
    nj_rows_row(rows, "each");
}

static void explain_override(struct nj_rows *rows, const struct nj_manifest_override *override)
{
    const char *const texts[] = {override->model, override->instructions, override->input,
                                 override->turns, override->session_budget_usd};
    static const char *const names[] = {"model", "instructions", "input", "turns",
                                        "session_budget_usd"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!texts[i])
            continue;
        nj_explain_part(rows);
        nj_rows_put(rows, "%s ", names[i]);
        nj_rows_shown(rows, texts[i]);
    }
    nj_rows_row(rows, "override");
}

static void explain_retry(struct nj_rows *rows, const struct nj_manifest_retry *retry)
{
    static const struct nj_explain_bit causes[] = {
#define X(name, bit, text) {bit, text},
        NJ_MANIFEST_RETRY_ON(X)
#undef X
    };

    if (retry->attempts == 1) {
        nj_rows_put(rows, "no second attempt");
        nj_rows_row(rows, "failed");
        return;
    }
    nj_explain_bits(rows, retry->on, causes, sizeof(causes) / sizeof(causes[0]));
    nj_rows_put(rows, ": %" PRIu64 " attempts, ", retry->attempts);
    nj_rows_time(rows, retry->backoff_seconds);
    nj_rows_put(rows, " apart, doubling up to ");
    nj_rows_time(rows, retry->backoff_max_seconds);
    nj_rows_row(rows, "failed by");
}

void nj_explain_group(struct nj_rows *rows, const struct nj_plan *plan, size_t at)
{
    const struct nj_manifest *manifest = plan->manifest;
    const struct nj_manifest_group *group = &manifest->groups[at];
    struct part part = part_of(plan, at);

    nj_rows_put(rows, "group ");
    nj_rows_shown(rows, group->name);
    nj_rows_put(rows, ": %zu session%s of agent ", part.n, nj_plural(part.n));
    nj_rows_shown(rows, manifest->agents[group->agent].name);
    nj_rows_line(rows);
    explain_items(rows, group);
    if (part.n > 0) {
        explain_key(rows, group, &part.sessions[0]);
        if (part.n > 1) {
            nj_rows_put(rows, " to ");
            explain_key(rows, group, &part.sessions[part.n - 1]);
        }
        nj_rows_row(rows, part.n > 1 ? "keys" : "key");
    }
    for (size_t i = 0; i < group->n_after; i++) {
        nj_explain_part(rows);
        nj_rows_shown(rows, manifest->groups[group->after[i]].name);
    }
    nj_rows_row(rows, "after");
    explain_override(rows, &group->override);
    if (part.n > 0)
        explain_session_limits(rows, &part);
    nj_explain_limit(rows, &group->limits);
    if (group->accept_command.count > 0) {
        nj_explain_list(rows, &group->accept_command, " ");
        nj_rows_put(rows, " exits with 0 within ");
        nj_rows_time(rows, group->accept_timeout_seconds);
        nj_rows_put(rows, "; %" PRIu64 " attempt%s", group->accept_attempts,
                    nj_plural(group->accept_attempts));
    }
    nj_rows_row(rows, "accepted");
    nj_explain_list(rows, &group->outputs, ", ");
    nj_rows_row(rows, "outputs");
    explain_retry(rows, &group->retry);
}
