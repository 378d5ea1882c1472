/*
 * explain_agent.c - an agent in words: its tools, its box, and what a replay will find as it was
 */
#include "batch/cli/explain_inside.h"

#include <inttypes.h>

#include "formats/base/banned.h"

void nj_explain_limit(struct nj_rows *rows, const struct nj_manifest_limit *limit)
{
    if (limit->sessions > 0)
        nj_rows_put(rows, "%" PRIu64 " session%s alive at once", limit->sessions,
                    nj_plural(limit->sessions));
    if (limit->budget_micro_usd >= 0) {
        nj_explain_part(rows);
        nj_rows_usd(rows, limit->budget_micro_usd);
    }
    nj_rows_row(rows, "together");
}

static void explain_tools(struct nj_rows *rows, const struct nj_session_config *config)
{
    for (size_t i = 0; i < config->n_tools; i++) {
        const struct nj_config_tool *tool = &config->tools[i];
        bool first = true;

        nj_explain_part(rows);
        nj_rows_shown(rows, tool->name);
        nj_rows_put(rows, " (");
        for (unsigned bit = 1; bit <= NJ_LANGUAGE_ALL; bit <<= 1) {
            if (!(tool->languages & bit))
                continue;
            nj_rows_put(rows, "%s%s", first ? "" : " ",
                        nj_manifest_language_text((enum nj_manifest_language)bit));
            first = false;
        }
        nj_rows_put(rows, "%s%" PRIu64 " s a call)", first ? "" : "; ", tool->timeout_ms / 1000);
    }
    if (config->n_tools == 0)
        nj_rows_put(rows, "none");
    nj_rows_row(rows, "tools");
}

static void explain_box(struct nj_rows *rows, const struct nj_session_config *config)
{
    nj_rows_size(rows, config->max_size_bytes);
    for (size_t i = 0; i < config->n_writable_paths; i++) {
        nj_rows_put(rows, "%s", i ? ", " : " for ");
        nj_rows_shown(rows, config->writable_paths[i]);
    }
    for (size_t i = 0; i < config->n_mounts; i++) {
        nj_rows_put(rows, "%s", i ? ", " : "; read-only ");
        nj_rows_shown(rows, config->mounts[i].target);
    }
    if (config->rootfs) {
        char hex[NJ_DIGEST_HEX_CHARS + 1];

        nj_digest_hex(&config->rootfs->digest, hex);
        nj_rows_put(rows, "; system sha256:%.12s", hex);
    }
    nj_rows_put(rows, "; ");
    nj_rows_size(rows, config->max_memory_bytes);
    nj_rows_put(rows, " of memory, %" PRIu64 " processes, ", config->max_processes);
    if (config->max_cpu_micro)
        nj_rows_put(rows, "%.6g CPUs, ", (double)config->max_cpu_micro / 1e6);
    nj_rows_put(rows, "no network");
    nj_rows_row(rows, "box");
}

/* What a replay finds as it was in the run, by the level of `reproducible:`. */
static const char *const level_meanings[NJ_LEVEL_MAX + 1] = {
    "neither time nor randomness are the record's",
    "the record's time and randomness",
    "the record's time, randomness and file times",
    "the record's time, randomness, file times and order of threads",
};

void nj_explain_agent(struct nj_rows *rows, const struct nj_manifest_agent *agent,
                      const struct nj_plan_session *session)
{
    const struct nj_session_config *config = session->config;

    nj_rows_put(rows, "agent ");
    nj_rows_shown(rows, config->agent);
    nj_rows_line(rows);
    nj_rows_shown(rows, config->role);
    nj_rows_row(rows, "model");
    explain_tools(rows, config);
    explain_box(rows, config);
    nj_explain_limit(rows, &agent->limits);
    if (config->compact_at_tokens > 0) {
        nj_rows_put(rows, "cut to below %" PRIu64 " tokens by leaving out old tool results",
                    config->compact_at_tokens);
        nj_rows_row(rows, "prompts");
    }
    if (config->output_schema)
        nj_rows_put(rows, "the last reply fits a schema");
    nj_rows_row(rows, "output");
    nj_rows_put(rows, "level %s: %s", config->reproducible, level_meanings[config->layer]);
    nj_rows_row(rows, "replay");
}
