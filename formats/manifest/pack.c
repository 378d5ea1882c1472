/*
 * pack.c - the manifest's part of a session's identity, as canonical msgpack
 *
 * The complication: what is left out matters as much as what is in. Whatever changes what an agent
 * does must change the digest; what only changes where it is paid for or how it is written must
 * not. Keys are emitted in ascending byte order, as pack.h demands.
 */
#include "formats/base/pack.h"
#include "formats/manifest/read.h"

#include "formats/base/banned.h"

static void pack_texts(struct nj_packer *p, const struct nj_manifest_texts *texts)
{
    nj_pack_array(p, texts->count);
    for (size_t i = 0; i < texts->count; i++)
        nj_pack_text(p, texts->items[i].text);
}

static void pack_maybe(struct nj_packer *p, const char *text)
{
    if (text)
        nj_pack_text(p, text);
    else
        nj_pack_nil(p);
}

static void pack_key_text(struct nj_packer *p, const char *key, const char *text)
{
    nj_pack_text(p, key);
    pack_maybe(p, text);
}

static void pack_chain(struct nj_packer *p, const struct nj_manifest_role *role)
{
    nj_pack_array(p, role ? role->n_chain : 0);
    for (size_t i = 0; role && i < role->n_chain; i++) {
        const struct nj_manifest_model *model = &role->chain[i];

        nj_pack_map(p, 10);
        pack_key_text(p, "base_url", model->base_url);
        nj_pack_text(p, "betas");
        pack_texts(p, &model->betas);
        nj_pack_put_uint(p, "context_tokens", model->context_tokens);
        nj_pack_put_uint(p, "max_tokens", model->max_tokens);
        pack_key_text(p, "model", model->model);
        pack_key_text(p, "parameters", model->parameters);
        pack_key_text(p, "provider", nj_manifest_provider_text(model->provider));
        nj_pack_text(p, "refuses");
        pack_texts(p, &model->refuses);
        pack_key_text(p, "script", model->script);
        nj_pack_put_uint(p, "when", model->when);
    }
}

static void pack_mounts(struct nj_packer *p, const struct nj_manifest_sandbox *sandbox)
{
    nj_pack_array(p, sandbox->n_mounts);
    for (size_t i = 0; i < sandbox->n_mounts; i++) {
        nj_pack_map(p, 2);
        pack_key_text(p, "source", sandbox->mounts[i].source);
        pack_key_text(p, "target", sandbox->mounts[i].target);
    }
}

static void pack_rootfs(struct nj_packer *p, const struct nj_manifest_rootfs *rootfs)
{
    if (rootfs->mark.line == 0) {
        nj_pack_nil(p);
        return;
    }
    nj_pack_map(p, 3);
    pack_key_text(p, "digest", rootfs->digest);
    pack_key_text(p, "dir", rootfs->dir);
    pack_key_text(p, "tar", rootfs->tar);
}

static void pack_sandbox(struct nj_packer *p, const struct nj_manifest_sandbox *sandbox)
{
    nj_pack_map(p, 9u + (sandbox->max_cpu_micro > 0));
    nj_pack_text(p, "allowed_domains");
    pack_texts(p, &sandbox->allowed_domains);
    if (sandbox->max_cpu_micro > 0)
        nj_pack_put_uint(p, "max_cpu_micro", sandbox->max_cpu_micro);
    nj_pack_put_uint(p, "max_memory_mb", sandbox->max_memory_mb);
    nj_pack_put_uint(p, "max_processes", sandbox->max_processes);
    nj_pack_put_uint(p, "max_runtime_seconds", sandbox->max_runtime_seconds);
    nj_pack_put_uint(p, "max_size_mb", sandbox->max_size_mb);
    nj_pack_text(p, "mounts");
    pack_mounts(p, sandbox);
    nj_pack_text(p, "read_only_paths");
    pack_texts(p, &sandbox->read_only_paths);
    nj_pack_text(p, "rootfs");
    pack_rootfs(p, &sandbox->rootfs);
    nj_pack_text(p, "writable_paths");
    pack_texts(p, &sandbox->writable_paths);
}

static void pack_tool(struct nj_packer *p, const struct nj_manifest *manifest,
                      const struct nj_manifest_tool *tool)
{
    const char *agent = tool->agent == NJ_MANIFEST_NONE ? NULL : manifest->agents[tool->agent].name;

    nj_pack_map(p, 14);
    pack_key_text(p, "agent", agent);
    nj_pack_text(p, "command");
    pack_texts(p, &tool->command);
    pack_key_text(p, "description", tool->description);
    pack_key_text(p, "effect", nj_manifest_effects[tool->effect]);
    nj_pack_put_bool(p, "idempotent", tool->idempotent);
    pack_key_text(p, "input_schema", tool->input_schema);
    nj_pack_put_uint(p, "languages", tool->languages);
    pack_key_text(p, "name", tool->name);
    pack_key_text(p, "on_uncertain", nj_manifest_uncertains[tool->on_uncertain]);
    nj_pack_put_bool(p, "restartable", tool->restartable);
    pack_key_text(p, "server_url", tool->server_url);
    nj_pack_put_uint(p, "timeout_seconds", tool->timeout_seconds);
    pack_key_text(p, "type", nj_manifest_tool_type_text(tool->type));
    pack_key_text(p, "url", tool->url);
}

static void pack_memory(struct nj_packer *p, const struct nj_manifest_agent *agent)
{
    if (!agent->memory_store) {
        nj_pack_nil(p);
        return;
    }
    nj_pack_map(p, 2);
    pack_key_text(p, "store", agent->memory_store);
    nj_pack_put_bool(p, "writable", agent->memory_writable);
}

static void pack_one_agent(struct nj_packer *p, const struct nj_manifest *manifest,
                           const struct nj_manifest_agent *agent)
{
    nj_pack_map(p, 11);
    nj_pack_text(p, "chain");
    pack_chain(p, agent->role == NJ_MANIFEST_NONE ? NULL : &manifest->roles[agent->role]);
    nj_pack_text(p, "command");
    pack_texts(p, &agent->command);
    pack_key_text(p, "context", nj_manifest_contexts[agent->context]);
    nj_pack_put_uint(p, "context_at_ppm", agent->context_at_ppm);
    pack_key_text(p, "instructions", agent->instructions);
    nj_pack_text(p, "memory");
    pack_memory(p, agent);
    pack_key_text(p, "output_schema", agent->output_schema);
    pack_key_text(p, "reproducible", nj_manifest_levels[agent->reproducible]);
    nj_pack_text(p, "sandbox");
    pack_sandbox(p, &agent->sandbox);
    nj_pack_text(p, "tools");
    nj_pack_array(p, agent->n_tools);
    for (size_t i = 0; i < agent->n_tools; i++)
        pack_tool(p, manifest, &agent->tools[i]);
    nj_pack_put_uint(p, "turns", agent->limits.turns);
}

/* Each agent that can be called from here, once: two ways to one agent must not double the text. */
static void mark_callable(const struct nj_manifest *manifest, size_t from,
                          bool callable[NJ_MANIFEST_AGENTS_MAX])
{
    const struct nj_manifest_agent *agent = &manifest->agents[from];

    for (size_t i = 0; i < agent->n_tools; i++) {
        size_t to = agent->tools[i].agent;

        if (to == NJ_MANIFEST_NONE || callable[to])
            continue;
        callable[to] = true;
        mark_callable(manifest, to, callable);
    }
}

/* The callable agent whose name comes next after @name in byte order. */
static size_t next_by_name(const struct nj_manifest *manifest,
                           const bool callable[NJ_MANIFEST_AGENTS_MAX], const char *name)
{
    size_t next = NJ_MANIFEST_NONE;

    for (size_t i = 0; i < manifest->n_agents; i++) {
        const char *candidate = manifest->agents[i].name;

        if (callable[i] && strcmp(candidate, name) > 0 &&
            (next == NJ_MANIFEST_NONE || strcmp(candidate, manifest->agents[next].name) < 0))
            next = i;
    }
    return next;
}

int nj_manifest_pack_agent(const struct nj_manifest *manifest, size_t agent, struct nj_buf *out,
                           struct nj_error *err)
{
    bool callable[NJ_MANIFEST_AGENTS_MAX] = {false};
    struct nj_packer p;
    const char *name = "";
    size_t n = 0;

    mark_callable(manifest, agent, callable);
    for (size_t i = 0; i < manifest->n_agents; i++)
        n += callable[i];
    nj_packer_init(&p, out);
    nj_pack_map(&p, 2);
    nj_pack_text(&p, "agent");
    pack_one_agent(&p, manifest, &manifest->agents[agent]);
    nj_pack_text(&p, "callable");
    nj_pack_map(&p, n);
    for (size_t i = 0; i < n; i++) {
        size_t next = next_by_name(manifest, callable, name);

        name = manifest->agents[next].name;
        nj_pack_text(&p, name);
        pack_one_agent(&p, manifest, &manifest->agents[next]);
    }
    return nj_packer_end(&p, err);
}

int nj_manifest_pack_role(const struct nj_manifest *manifest, size_t role, struct nj_buf *out,
                          struct nj_error *err)
{
    struct nj_packer p;

    nj_packer_init(&p, out);
    pack_chain(&p, &manifest->roles[role]);
    return nj_packer_end(&p, err);
}

static void pack_override(struct nj_packer *p, const struct nj_manifest_override *override)
{
    nj_pack_text(p, "override");
    nj_pack_map(p, 5);
    pack_key_text(p, "input", override->input);
    pack_key_text(p, "instructions", override->instructions);
    pack_key_text(p, "model", override->model);
    pack_key_text(p, "session_budget_usd", override->session_budget_usd);
    pack_key_text(p, "turns", override->turns);
}

int nj_manifest_pack_group(const struct nj_manifest *manifest, size_t group, struct nj_buf *out,
                           struct nj_error *err)
{
    const struct nj_manifest_group *g = &manifest->groups[group];
    struct nj_packer p;

    nj_packer_init(&p, out);
    nj_pack_map(&p, 6u + (g->limits.turns > 0) + (g->override.mark.line > 0));
    nj_pack_text(&p, "accept");
    if (g->accept_command.count == 0) {
        nj_pack_nil(&p);
    } else {
        nj_pack_map(&p, 3);
        nj_pack_put_uint(&p, "attempts", g->accept_attempts);
        nj_pack_text(&p, "command");
        pack_texts(&p, &g->accept_command);
        nj_pack_put_uint(&p, "timeout_seconds", g->accept_timeout_seconds);
    }
    nj_pack_text(&p, "after");
    nj_pack_array(&p, g->n_after);
    for (size_t i = 0; i < g->n_after; i++)
        nj_pack_text(&p, manifest->groups[g->after[i]].name);
    nj_pack_text(&p, "files");
    nj_pack_array(&p, g->n_files);
    for (size_t i = 0; i < g->n_files; i++) {
        nj_pack_map(&p, 3);
        pack_key_text(&p, "content", g->files[i].content);
        pack_key_text(&p, "source", g->files[i].source);
        pack_key_text(&p, "target", g->files[i].target);
    }
    pack_key_text(&p, "input", g->input);
    pack_key_text(&p, "name", g->name);
    nj_pack_text(&p, "outputs");
    pack_texts(&p, &g->outputs);
    if (g->override.mark.line > 0)
        pack_override(&p, &g->override);
    if (g->limits.turns > 0)
        nj_pack_put_uint(&p, "turns", g->limits.turns);
    return nj_packer_end(&p, err);
}
