/*
 * dump.c - the manifest as canonical YAML, every default written out
 *
 * The complication: the dump must read back as the same manifest, so each text is quoted and
 * whatever YAML does not take as it is (DEL, C1 controls, byte order marks) is escaped, inside JSON
 * too.
 */
#include <stdio.h>

#include "formats/manifest/dump.h"
#include "formats/manifest/read.h"

#include "formats/base/banned.h"

static void put_bits(struct nj_dump *dump, const char *before, const struct nj_manifest_word *words,
                     size_t n_words, unsigned bits)
{
    const char *comma = "";

    nj_dump_put(dump, before);
    nj_dump_put(dump, "[");
    for (size_t i = 0; i < n_words; i++) {
        if (!(bits & words[i].bit))
            continue;
        nj_dump_put(dump, comma);
        nj_dump_put(dump, words[i].text);
        comma = ", ";
    }
    nj_dump_put(dump, "]\n");
}

static void put_ref(struct nj_dump *dump, const char *before, const struct nj_manifest *manifest,
                    size_t credential)
{
    if (credential != NJ_MANIFEST_NONE)
        nj_dump_put_text(dump, before, manifest->credentials[credential].name);
}

/* JSON is YAML too, so what is kept as JSON text is written as it is. */
static void put_json(struct nj_dump *dump, const char *before, const char *json)
{
    if (json)
        nj_dump_put_word(dump, before, json);
}

static void put_rate(struct nj_dump *dump, const char *before, uint64_t value)
{
    if (value)
        nj_dump_put_number(dump, before, value);
}

static void dump_asking(struct nj_dump *dump, const struct nj_manifest_model *model)
{
    const struct nj_manifest_rate *rate = &model->rate;

    nj_dump_put_number(dump, "      max_tokens: ", model->max_tokens);
    put_rate(dump, "      context_tokens: ", model->context_tokens);
    if (rate->requests || rate->input_tokens || rate->output_tokens || rate->concurrent) {
        nj_dump_put(dump, "      rate:\n");
        put_rate(dump, "        requests_per_minute: ", rate->requests);
        put_rate(dump, "        input_tokens_per_minute: ", rate->input_tokens);
        put_rate(dump, "        output_tokens_per_minute: ", rate->output_tokens);
        put_rate(dump, "        concurrent: ", rate->concurrent);
    }
    if (model->provider == NJ_PROVIDER_SCRIPT)
        return;
    put_json(dump, "      parameters: ", model->parameters);
    if (model->refuses.count > 0)
        nj_dump_put_texts(dump, "      refuses: ", &model->refuses);
    if (model->betas.count > 0)
        nj_dump_put_texts(dump, "      betas: ", &model->betas);
    nj_dump_put(dump, "      capabilities:\n");
    nj_dump_put_word(
        dump, "        structured_output: ", model->can.structured_output ? "true" : "false");
    nj_dump_put_word(dump, "        count_tokens: ", model->can.count_tokens ? "true" : "false");
    nj_dump_put_word(dump,
                     "        parallel_tools: ", model->can.parallel_tools ? "true" : "false");
    nj_dump_put_word(dump, "        token_parameter: ", model->can.token_parameter);
    if (model->provider == NJ_PROVIDER_ANTHROPIC)
        nj_dump_put_text(dump, "      cache: ", nj_manifest_caches[model->cache]);
    nj_dump_put_word(dump, "      stream: ", model->stream ? "true" : "false");
    nj_dump_put_number(dump, "      timeout_seconds: ", model->timeout_seconds);
}

static void dump_model(struct nj_dump *dump, const struct nj_manifest *manifest,
                       const struct nj_manifest_model *model, bool first)
{
    nj_dump_put_word(dump, "    - provider: ", nj_manifest_provider_text(model->provider));
    nj_dump_put_text(dump, "      model: ", model->model);
    nj_dump_put_text(dump, "      script: ", model->script);
    nj_dump_put_text(dump, "      base_url: ", model->base_url);
    put_ref(dump, "      credential: ", manifest, model->credential);
    if (model->provider != NJ_PROVIDER_SCRIPT)
        nj_dump_put_word(dump, "      delivery: ", nj_manifest_deliveries[model->delivery]);
    if (model->priced) {
        nj_dump_put(dump, "      price:\n");
        nj_dump_put_micro(dump, "        input: ", model->price.input);
        nj_dump_put_micro(dump, "        output: ", model->price.output);
        nj_dump_put_micro(dump, "        cache_read: ", model->price.cache_read);
        nj_dump_put_micro(dump, "        cache_write_5m: ", model->price.cache_write_5m);
        nj_dump_put_micro(dump, "        cache_write_1h: ", model->price.cache_write_1h);
    }
    dump_asking(dump, model);
    if (!first)
        put_bits(dump, "      when: ", nj_manifest_causes, NJ_COUNT(nj_manifest_causes),
                 model->when);
}

static void dump_models(struct nj_dump *dump, const struct nj_manifest *manifest)
{
    nj_dump_put(dump, manifest->n_roles > 0 ? "models:\n" : "models: {}\n");
    for (size_t i = 0; i < manifest->n_roles; i++) {
        nj_dump_put(dump, "  ");
        nj_dump_put(dump, manifest->roles[i].name);
        nj_dump_put(dump, ":\n");
        if (manifest->roles[i].return_seconds) {
            nj_dump_put_number(
                dump, "    return:\n      after_seconds: ", manifest->roles[i].return_seconds);
            nj_dump_put(dump, "    chain:\n");
        }
        for (size_t k = 0; k < manifest->roles[i].n_chain; k++)
            dump_model(dump, manifest, &manifest->roles[i].chain[k], k == 0);
    }
}

static void dump_credentials(struct nj_dump *dump, const struct nj_manifest *manifest)
{
    nj_dump_put(dump, manifest->n_credentials > 0 ? "credentials:\n" : "credentials: {}\n");
    for (size_t i = 0; i < manifest->n_credentials; i++) {
        const struct nj_manifest_credential *credential = &manifest->credentials[i];

        nj_dump_put(dump, "  ");
        nj_dump_put(dump, credential->name);
        nj_dump_put(dump, ":\n");
        nj_dump_put_text(dump, "    env: ", credential->env);
        nj_dump_put_text(dump, "    file: ", credential->file);
        if (credential->command.count > 0)
            nj_dump_put_texts(dump, "    command: ", &credential->command);
        nj_dump_put_text(dump, "    systemd: ", credential->systemd);
        if (credential->hosts.count > 0)
            nj_dump_put_texts(dump, "    hosts: ", &credential->hosts);
        if (credential->methods.count > 0)
            nj_dump_put_texts(dump, "    methods: ", &credential->methods);
        nj_dump_put_text(dump, "    header: ", credential->header);
        nj_dump_put_text(dump, "    format: ", credential->format);
    }
}

static void dump_sandbox(struct nj_dump *dump, const struct nj_manifest_sandbox *sandbox)
{
    nj_dump_put(dump, "    sandbox:\n");
    nj_dump_put_texts(dump, "      allowed_domains: ", &sandbox->allowed_domains);
    nj_dump_put(dump, "      filesystem:\n");
    nj_dump_put_number(dump, "        max_size_mb: ", sandbox->max_size_mb);
    nj_dump_put_texts(dump, "        writable_paths: ", &sandbox->writable_paths);
    nj_dump_put_texts(dump, "        read_only_paths: ", &sandbox->read_only_paths);
    nj_dump_put(dump, sandbox->n_mounts > 0 ? "      mounts:\n" : "      mounts: []\n");
    for (size_t i = 0; i < sandbox->n_mounts; i++) {
        nj_dump_put_text(dump, "        - source: ", sandbox->mounts[i].source);
        nj_dump_put_text(dump, "          target: ", sandbox->mounts[i].target);
    }
    nj_dump_put_number(dump, "      max_runtime_seconds: ", sandbox->max_runtime_seconds);
    nj_dump_put_number(dump, "      max_memory_mb: ", sandbox->max_memory_mb);
    nj_dump_put_number(dump, "      max_processes: ", sandbox->max_processes);
    if (sandbox->max_cpu_micro > 0)
        nj_dump_put_micro(dump, "      max_cpus: ", (int64_t)sandbox->max_cpu_micro);
    if (sandbox->rootfs.mark.line > 0) {
        nj_dump_put(dump, "      rootfs:\n");
        nj_dump_put_text(dump, "        tar: ", sandbox->rootfs.tar);
        nj_dump_put_text(dump, "        dir: ", sandbox->rootfs.dir);
        nj_dump_put_text(dump, "        digest: ", sandbox->rootfs.digest);
    }
}

static void dump_tool(struct nj_dump *dump, const struct nj_manifest *manifest,
                      const struct nj_manifest_tool *tool)
{
    nj_dump_put_word(dump, "      - type: ", nj_manifest_tool_type_text(tool->type));
    if (tool->type == NJ_TOOL_MCP || tool->type == NJ_TOOL_CUSTOM || tool->type == NJ_TOOL_AGENT)
        nj_dump_put_text(dump, "        name: ", tool->name);
    if (tool->type == NJ_TOOL_CODE_EXECUTION)
        put_bits(dump, "        languages: ", nj_manifest_languages,
                 NJ_COUNT(nj_manifest_languages), tool->languages);
    if (tool->agent != NJ_MANIFEST_NONE)
        nj_dump_put_text(dump, "        agent: ", manifest->agents[tool->agent].name);
    nj_dump_put_text(dump, "        description: ", tool->description);
    if (tool->timeout_seconds > 0)
        nj_dump_put_number(dump, "        timeout_seconds: ", tool->timeout_seconds);
    if (tool->type != NJ_TOOL_MCP && tool->type != NJ_TOOL_CUSTOM)
        return;
    nj_dump_put_text(dump, "        server_url: ", tool->server_url);
    nj_dump_put_text(dump, "        url: ", tool->url);
    if (tool->command.count > 0)
        nj_dump_put_texts(dump, "        command: ", &tool->command);
    put_ref(dump, "        credential: ", manifest, tool->credential);
    if (tool->type == NJ_TOOL_MCP)
        nj_dump_put_word(dump, "        restartable: ", tool->restartable ? "true" : "false");
    if (tool->input_schema) {
        nj_dump_put(dump, "        input_schema: ");
        nj_dump_put_escaped(dump, tool->input_schema, false);
        nj_dump_put(dump, "\n");
    }
    nj_dump_put_word(dump, "        effect: ", nj_manifest_effects[tool->effect]);
    nj_dump_put_word(dump, "        idempotent: ", tool->idempotent ? "true" : "false");
    nj_dump_put_word(dump, "        on_uncertain: ", nj_manifest_uncertains[tool->on_uncertain]);
}

static void dump_limit(struct nj_dump *dump, const struct nj_manifest_limit *limit)
{
    if (limit->turns == 0 && limit->mark.line == 0)
        return;
    nj_dump_put(dump, "    limits:\n");
    if (limit->sessions > 0)
        nj_dump_put_number(dump, "      sessions: ", limit->sessions);
    if (limit->budget_micro_usd >= 0)
        nj_dump_put_micro(dump, "      budget_usd: ", limit->budget_micro_usd);
    if (limit->session_budget_micro_usd >= 0)
        nj_dump_put_micro(dump, "      session_budget_usd: ", limit->session_budget_micro_usd);
    if (limit->turns > 0)
        nj_dump_put_number(dump, "      turns: ", limit->turns);
}

static void dump_retry(struct nj_dump *dump, const char *indent,
                       const struct nj_manifest_retry *retry)
{
    nj_dump_put(dump, indent);
    nj_dump_put(dump, "retry:\n");
    nj_dump_put(dump, indent);
    nj_dump_put_number(dump, "  attempts: ", retry->attempts);
    nj_dump_put(dump, indent);
    put_bits(dump, "  on: ", nj_manifest_retries, NJ_COUNT(nj_manifest_retries), retry->on);
    nj_dump_put(dump, indent);
    nj_dump_put_number(dump, "  backoff_seconds: ", retry->backoff_seconds);
    nj_dump_put(dump, indent);
    nj_dump_put_number(dump, "  backoff_max_seconds: ", retry->backoff_max_seconds);
}

static void dump_agent(struct nj_dump *dump, const struct nj_manifest *manifest,
                       const struct nj_manifest_agent *agent)
{
    nj_dump_put(dump, "  ");
    nj_dump_put(dump, agent->name);
    nj_dump_put(dump, ":\n");
    if (agent->role != NJ_MANIFEST_NONE)
        nj_dump_put_text(dump, "    model: ", manifest->roles[agent->role].name);
    if (agent->command.count > 0)
        nj_dump_put_texts(dump, "    command: ", &agent->command);
    nj_dump_put_text(dump, "    instructions: ", agent->instructions);
    nj_dump_put_word(dump, "    reproducible: ", nj_manifest_levels[agent->reproducible]);
    dump_sandbox(dump, &agent->sandbox);
    if (agent->command.count == 0)
        nj_dump_put(dump, agent->n_tools > 0 ? "    tools:\n" : "    tools: []\n");
    for (size_t i = 0; i < agent->n_tools; i++)
        dump_tool(dump, manifest, &agent->tools[i]);
    if (agent->memory_store) {
        nj_dump_put_text(dump, "    memory:\n      store: ", agent->memory_store);
        nj_dump_put_word(dump,
                         "      access: ", agent->memory_writable ? "read_write" : "read_only");
    }
    nj_dump_put_word(dump, "    context:\n      policy: ", nj_manifest_contexts[agent->context]);
    nj_dump_put_micro(dump, "      at: ", agent->context_at_ppm);
    put_json(dump, "    output:\n      schema: ", agent->output_schema);
    dump_limit(dump, &agent->limits);
}

static void dump_group(struct nj_dump *dump, const struct nj_manifest *manifest,
                       const struct nj_manifest_group *group)
{
    nj_dump_put_text(dump, "  - name: ", group->name);
    nj_dump_put_text(dump, "    agent: ", manifest->agents[group->agent].name);
    nj_dump_items(dump, group);
    nj_dump_put_text(dump, "    key: ", group->key);
    nj_dump_put(dump, group->n_files > 0 ? "    files:\n" : "    files: []\n");
    for (size_t i = 0; i < group->n_files; i++) {
        nj_dump_put_text(dump, "      - target: ", group->files[i].target);
        nj_dump_put_text(dump, "        source: ", group->files[i].source);
        nj_dump_put_text(dump, "        content: ", group->files[i].content);
    }
    nj_dump_put_text(dump, "    input: ", group->input);
    nj_dump_put_texts(dump, "    outputs: ", &group->outputs);
    if (group->accept_command.count > 0) {
        nj_dump_put_texts(dump, "    accept:\n      command: ", &group->accept_command);
        nj_dump_put_number(dump, "      attempts: ", group->accept_attempts);
        nj_dump_put_number(dump, "      timeout_seconds: ", group->accept_timeout_seconds);
    }
    nj_dump_put(dump, "    after: [");
    for (size_t i = 0; i < group->n_after; i++) {
        nj_dump_put(dump, i > 0 ? ", " : "");
        nj_dump_put_quoted(dump, manifest->groups[group->after[i]].name);
    }
    nj_dump_put(dump, "]\n");
    dump_limit(dump, &group->limits);
    if (group->retry.mark.line > 0)
        dump_retry(dump, "    ", &group->retry);
}

static void dump_limits(struct nj_dump *dump, const struct nj_manifest *manifest)
{
    const struct nj_manifest_limits *limits = &manifest->limits;

    nj_dump_put(dump, "limits:\n");
    nj_dump_put_number(dump, "  sessions: ", limits->sessions);
    nj_dump_put_number(dump, "  tool_calls: ", limits->tool_calls);
    nj_dump_put_number(dump, "  warm_boxes: ", limits->warm_boxes);
    if (limits->budget_micro_usd >= 0)
        nj_dump_put_micro(dump, "  budget_usd: ", limits->budget_micro_usd);
    if (limits->session_budget_micro_usd >= 0)
        nj_dump_put_micro(dump, "  session_budget_usd: ", limits->session_budget_micro_usd);
    nj_dump_put_text(dump, "  deadline: ", limits->deadline);
    if (limits->fail_over_count != NJ_MANIFEST_NO_COUNT)
        nj_dump_put_number(dump, "  fail_over: ", limits->fail_over_count);
    else
        nj_dump_put_micro(dump, "  fail_over: ", limits->fail_over_ppm);
    nj_dump_put_number(dump, "  disk_free_mb: ", limits->disk_free_mb);
    dump_retry(dump, "", &manifest->retry);
}

static void dump_archive(struct nj_dump *dump, const struct nj_manifest *manifest)
{
    uint64_t seconds = manifest->retain_seconds;
    char text[32];

    nj_dump_put_word(dump,
                     "archive:\n  inputs: ", nj_manifest_input_modes[manifest->archive_inputs]);
    if (seconds == 0)
        return;
    (void)snprintf(text, sizeof(text), "%llu%c",
                   (unsigned long long)(seconds % 86400 == 0 ? seconds / 86400 : seconds / 3600),
                   seconds % 86400 == 0 ? 'd' : 'h');
    nj_dump_put_text(dump, "  retain: ", text);
}

static void dump_alerts(struct nj_dump *dump, const struct nj_manifest *manifest)
{
    nj_dump_put(dump, manifest->n_alerts > 0 ? "alerts:\n" : "alerts: []\n");
    for (size_t i = 0; i < manifest->n_alerts; i++) {
        const struct nj_manifest_alert *alert = &manifest->alerts[i];

        put_bits(dump, "  - when: ", nj_manifest_alert_words, NJ_COUNT(nj_manifest_alert_words),
                 alert->when);
        nj_dump_put_text(dump, "    webhook: ", alert->webhook);
        put_ref(dump, "    credential: ", manifest, alert->credential);
    }
}

int nj_manifest_dump(const struct nj_manifest *manifest, struct nj_buf *out, struct nj_error *err)
{
    struct nj_dump dump = {.out = out, .err = err};

    nj_dump_put_number(&dump, "nightjar: ", NJ_MANIFEST_VERSION);
    nj_dump_put_text(&dump, "job: ", manifest->job);
    dump_models(&dump, manifest);
    dump_credentials(&dump, manifest);
    nj_dump_put(&dump, "agents:\n");
    for (size_t i = 0; i < manifest->n_agents; i++)
        dump_agent(&dump, manifest, &manifest->agents[i]);
    nj_dump_put(&dump, "sessions:\n");
    for (size_t i = 0; i < manifest->n_groups; i++)
        dump_group(&dump, manifest, &manifest->groups[i]);
    dump_limits(&dump, manifest);
    dump_archive(&dump, manifest);
    dump_alerts(&dump, manifest);
    if (manifest->only.count > 0)
        nj_dump_put_texts(&dump, "only: ", &manifest->only);
    nj_dump_put_text(&dump, "telemetry:\n  otlp: ", manifest->telemetry_otlp);
    nj_dump_put_micro(&dump,
                      "report:\n  runtime_usd_per_hour: ", manifest->runtime_micro_usd_per_hour);
    return dump.r;
}
