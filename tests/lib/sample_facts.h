/*
 * sample_facts.h - the facts of one session, each field different from every other
 */
#ifndef NJ_TESTS_SAMPLE_FACTS_H
#define NJ_TESTS_SAMPLE_FACTS_H

#include "formats/journal/facts.h"

/* Texts and tables are static: nothing is to be freed. */
static inline struct nj_facts sample_facts(void)
{
    static struct nj_facts_attempt attempts[] = {
        {.start_ns = 1795310400000000000,
         .end_ns = 1795310410500000000,
         .status = NJ_STATUS_FAILED,
         .kind = "accept",
         .text = "totals.json is missing",
         .steps = 4,
         .cost_micro_usd = 1200},
        {.start_ns = 1795310420000000000,
         .end_ns = 1795310461250000000,
         .status = NJ_STATUS_FAILED,
         .kind = "limit",
         .text = "max_memory_mb: 2049 of 2048",
         .steps = 6,
         .cost_micro_usd = 2100},
    };
    static struct nj_facts_model models[] = {
        {.name = "large",
         .calls = 3,
         .duration_ms = 8100,
         .cost_micro_usd = 3000,
         .usage = {900, 40, 700, 80, 20}},
        {.name = "small",
         .calls = 1,
         .duration_ms = 310,
         .cost_micro_usd = 300,
         .usage = {100, 4, 7, 8, 2}},
    };
    static struct nj_facts_cause retries[] = {{"overloaded", 2}, {"rate_limited", 1}};

    return (struct nj_facts){
        .key = "invoice-0041",
        .group = "invoices",
        .agent = "data-processor",
        .bundle = "invoice-0041-01020304.njb",
        .status = NJ_STATUS_FAILED,
        .error_kind = "limit",
        .error_text = "max_memory_mb: 2049 of 2048",
        .opened_ns = 1795310400000000000,
        .attempts = attempts,
        .n_attempts = 2,
        .turns = 4,
        .steps = 10,
        .calls = 6,
        .refused = 1,
        .judged = 2,
        .limits = {1, 0, 3, 0, 2},
        .model_ms = 8410,
        .tool_ms = 21000,
        .judge_ms = 700,
        .cpu_ms = 19000,
        .down_ms = 5000,
        .box_held_ms = 30500,
        .boxes_built = 3,
        .boxes_evicted = 1,
        .boxes_lost = 1,
        .cost_micro_usd = 3300,
        .memory_peak_bytes = 2147483648u,
        .output_bytes = 65537,
        .usage = {1000, 44, 707, 88, 22},
        .models = models,
        .n_models = 2,
        .retries = retries,
        .n_retries = 2,
    };
}

#endif
