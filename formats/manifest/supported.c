/*
 * supported.c - what a manifest may say but this build does not run
 *
 * The format is whole, the program grows into it. A feature that is not built yet is named with its
 * place before anything starts; it is never passed over. Building one means taking its line out
 * here.
 */
#include <stdio.h>

#include "formats/manifest/read.h"

#include "formats/base/banned.h"

#define PLACE_MAX_BYTES 384

struct place {
    char text[PLACE_MAX_BYTES];
};

static struct place NJ_PRINTF(1, 2) place_of(const char *fmt, ...)
{
    struct place place;
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(place.text, sizeof(place.text), fmt, args) < 0)
        place.text[0] = '\0';
    va_end(args);
    return place;
}

static void judge_role(const struct nj_manifest_role *role, struct nj_manifest_faults *faults)
{
    for (size_t i = 0; i < role->n_chain; i++) {
        const struct nj_manifest_model *model = &role->chain[i];
        struct place place = place_of("models.%s[%zu]", role->name, i);

        if (model->delivery != NJ_DELIVERY_LIVE)
            nj_manifest_faults_add(faults, model->delivery_mark, place.text,
                                   "delivery batch: this build runs: live");
    }
}

static void judge_agent(const struct nj_manifest_agent *agent, struct nj_manifest_faults *faults)
{
    for (size_t i = 0; i < agent->n_tools; i++) {
        if (agent->tools[i].type != NJ_TOOL_CODE_EXECUTION)
            nj_manifest_faults_add(faults, agent->tools[i].type_mark,
                                   place_of("agents.%s.tools[%zu]", agent->name, i).text,
                                   "tool %s: this build runs: code_execution",
                                   nj_manifest_tool_type_text(agent->tools[i].type));
    }
    if (agent->command.count > 0)
        nj_manifest_faults_add(faults, agent->command.items[0].mark,
                               place_of("agents.%s.command", agent->name).text,
                               "command agents: this build runs agents with a model");
    if (agent->memory_mark.line > 0)
        nj_manifest_faults_add(faults, agent->memory_mark,
                               place_of("agents.%s.memory", agent->name).text,
                               "memory stores: this build has none");
    if (agent->sandbox.allowed_domains.count > 0)
        nj_manifest_faults_add(faults, agent->sandbox.allowed_domains.items[0].mark,
                               place_of("agents.%s.sandbox.allowed_domains", agent->name).text,
                               "allowed domains: this build's boxes have no network");
}

/* What the sessions use: their agents, the agents those call, and the models of all of them. A
 * second set of models beside the one in use is nobody's fault. */
struct used {
    bool agents[NJ_MANIFEST_AGENTS_MAX];
    bool roles[NJ_MANIFEST_AGENTS_MAX];
};

/* Recursion ends: agents do not call each other in circles, and each is entered once. */
static void use_agent(const struct nj_manifest *manifest, size_t at, struct used *used)
{
    const struct nj_manifest_agent *agent = &manifest->agents[at];

    if (used->agents[at])
        return;
    used->agents[at] = true;
    if (agent->role != NJ_MANIFEST_NONE)
        used->roles[agent->role] = true;
    for (size_t i = 0; i < agent->n_tools; i++) {
        if (agent->tools[i].agent != NJ_MANIFEST_NONE)
            use_agent(manifest, agent->tools[i].agent, used);
    }
}

/* Credentials need no line of their own: whatever could use one is named itself. */
int nj_manifest_supported(const struct nj_manifest *manifest, struct nj_manifest_faults *faults,
                          struct nj_error *err)
{
    struct used used = {0};

    for (size_t i = 0; i < manifest->n_groups; i++) {
        use_agent(manifest, manifest->groups[i].agent, &used);
    }
    for (size_t i = 0; i < manifest->n_agents; i++) {
        if (used.agents[i])
            judge_agent(&manifest->agents[i], faults);
    }
    for (size_t i = 0; i < manifest->n_roles; i++) {
        if (used.roles[i])
            judge_role(&manifest->roles[i], faults);
    }
    for (size_t i = 0; i < manifest->n_alerts; i++)
        nj_manifest_faults_add(faults, manifest->alerts[i].mark, place_of("alerts[%zu]", i).text,
                               "alerts: this build sends none");
    if (manifest->telemetry_otlp)
        nj_manifest_faults_add(faults, manifest->telemetry_mark, "telemetry",
                               "telemetry: this build exports none");
    nj_manifest_faults_sort(faults);
    return nj_manifest_faults_fail(faults, manifest->name, err);
}
