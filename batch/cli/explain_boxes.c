/*
 * explain_boxes.c - the boxes of a plan: can they be built, and how
 *
 * The complication: most boxes of a job are nearly alike, and each plan is two pages long. Agents
 * with equal boxes are told together, and the filter of system calls, which all boxes share, is
 * told once.
 */
#include "batch/cli/explain.h"
#include "batch/cli/rows.h"
#include "batch/tools/tool.h"

#include "formats/base/banned.h"

#define BOX_TEXT_MAX_BYTES (1u << 20)
#define FILTER_HEAD "system calls:\n"

/* session_of - a session of the agent, NULL when no group uses it */
static const struct nj_plan_session *session_of(const struct nj_plan *plan, size_t agent)
{
    for (size_t i = 0; i < plan->n_sessions; i++) {
        if (plan->manifest->groups[plan->sessions[i].group].agent == agent)
            return &plan->sessions[i];
    }
    return NULL;
}

int nj_explain_check_boxes(const struct nj_plan *plan, struct nj_manifest_faults *faults,
                           struct nj_error *err)
{
    for (size_t i = 0; i < plan->manifest->n_agents; i++) {
        const struct nj_manifest_agent *agent = &plan->manifest->agents[i];
        const struct nj_plan_session *session = session_of(plan, i);
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_box_plan box;
        int r;

        if (!session)
            continue;
        r = nj_tool_box_plan(session->config, &arena, &box, err);
        if (r == 0)
            r = nj_box_plan_check(&box, err);
        if (r < 0 && err->code != NJ_E_INPUT)
            return r;
        if (r < 0) {
            const char *path = nj_arena_printf(&arena, "agents.%s.sandbox", agent->name);

            nj_manifest_faults_add(faults, agent->sandbox.mark, path, "%s", err->text);
        }
    }
    return nj_manifest_faults_fail(faults, plan->manifest->name, err);
}

/* One agent's plan in words, as the sandbox tells it. */
static int box_text(const struct nj_session_config *config, struct nj_buf *out,
                    struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_box_plan box;

    nj_buf_init(out, BOX_TEXT_MAX_BYTES);
    if (nj_tool_box_plan(config, &arena, &box, err) < 0 || nj_box_plan_print(&box, out, err) < 0)
        return nj_wrap(err, "box of agent %s", config->agent);
    return 0;
}

/* The part before the filter; @ret_filter the rest. */
static struct nj_span before_filter(const struct nj_buf *text, struct nj_span *ret_filter)
{
    const uint8_t *at = memmem(text->data, text->len, FILTER_HEAD, strlen(FILTER_HEAD));
    size_t len = at ? (size_t)(at - text->data) : text->len;

    *ret_filter = (struct nj_span){text->data + len, text->len - len};
    return (struct nj_span){text->data, len};
}

int nj_explain_boxes(const struct nj_plan *plan, size_t columns, struct nj_buf *out,
                     struct nj_error *err)
{
    size_t n_agents = plan->manifest->n_agents;
    struct nj_buf texts[NJ_MANIFEST_AGENTS_MAX] = {0};
    struct nj_rows rows = {.out = out, .columns = columns, .err = err};
    struct nj_span filter = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < n_agents; i++) {
        const struct nj_plan_session *session = session_of(plan, i);

        if (session)
            r = box_text(session->config, &texts[i], err);
    }
    for (size_t i = 0; r == 0 && i < n_agents; i++) {
        bool told = texts[i].len == 0;

        for (size_t k = 0; k < i && !told; k++)
            told = nj_span_equal(nj_buf_span(&texts[k]), nj_buf_span(&texts[i]));
        if (told)
            continue;
        nj_rows_line(&rows);
        nj_rows_put(&rows, "box of agent ");
        nj_rows_shown(&rows, plan->manifest->agents[i].name);
        for (size_t k = i + 1; k < n_agents; k++) {
            if (!nj_span_equal(nj_buf_span(&texts[k]), nj_buf_span(&texts[i])))
                continue;
            nj_rows_put(&rows, ", ");
            nj_rows_shown(&rows, plan->manifest->agents[k].name);
        }
        nj_rows_line(&rows);
        nj_rows_wrap(&rows, before_filter(&texts[i], &filter));
    }
    if (r == 0 && filter.len > 0) {
        nj_rows_line(&rows);
        nj_rows_put(&rows, "every box");
        nj_rows_line(&rows);
        nj_rows_wrap(&rows, filter);
    }
    for (size_t i = 0; i < n_agents; i++)
        nj_buf_done(&texts[i]);
    return nj_rows_done(&rows) < 0 ? rows.r : r;
}
