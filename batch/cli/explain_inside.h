/*
 * explain_inside.h - the parts of nj_explain_job(), each in a file of its own, and the words they
 * share
 */
#ifndef NJ_CLI_EXPLAIN_INSIDE_H
#define NJ_CLI_EXPLAIN_INSIDE_H

#include "batch/cli/explain.h"
#include "batch/cli/rows.h"

/* nj_explain_part - "a, b, c": what stands before the next part of a row */
static inline void nj_explain_part(struct nj_rows *rows)
{
    nj_rows_put(rows, "%s", rows->value.len > 0 ? ", " : "");
}

/* A bit of a manifest's set, and how it is said. */
struct nj_explain_bit {
    unsigned bit;
    const char *text;
};

/* nj_explain_bits - those of @table that are in @set: "a, b, c" */
static inline void nj_explain_bits(struct nj_rows *rows, unsigned set,
                                   const struct nj_explain_bit *table, size_t n)
{
    const char *between = "";

    for (size_t i = 0; i < n; i++) {
        if (!(set & table[i].bit))
            continue;
        nj_rows_put(rows, "%s%s", between, table[i].text);
        between = ", ";
    }
}

static inline void nj_explain_list(struct nj_rows *rows, const struct nj_manifest_texts *texts,
                                   const char *between)
{
    for (size_t i = 0; i < texts->count; i++) {
        nj_rows_put(rows, "%s", i > 0 ? between : "");
        nj_rows_shown(rows, texts->items[i].text);
    }
}

/* nj_explain_limit - the row of an agent's or a group's own limits, beside those of the run */
void nj_explain_limit(struct nj_rows *rows, const struct nj_manifest_limit *limit);

/* nj_explain_group - the group's sessions, and what holds for them; @at counts in the manifest */
void nj_explain_group(struct nj_rows *rows, const struct nj_plan *plan, size_t at);

/* nj_explain_agent - tools, box and level; @session is any of the agent's */
void nj_explain_agent(struct nj_rows *rows, const struct nj_manifest_agent *agent,
                      const struct nj_plan_session *session);

/* nj_explain_role - the models of a role, in the order in which they are asked */
void nj_explain_role(struct nj_rows *rows, const struct nj_manifest *manifest,
                     const struct nj_manifest_role *role);

void nj_explain_credential(struct nj_rows *rows, const struct nj_manifest_credential *credential);

#endif
