/*
 * plan_config.c - what a session is told at birth, and who it is
 *
 * The complication: an identity covers the identities of the sessions it comes after, so groups are
 * taken in the order of their dependence (the manifest has no circles), whatever their order in the
 * file.
 */
#include "batch/plan/plan_inside.h"

#include <stdarg.h>

#include "batch/sandbox/sandbox.h"
#include "batch/tools/tool.h"

#include "formats/base/banned.h"

#define PACK_MAX_BYTES                                                                             \
    (4 * (size_t)NJ_MANIFEST_MAX_BYTES) /* an agent packs what it can call, too */

/* ---- config ---- */

static const char *const levels[] = {"D0", "D1", "D2", "D3"};

static int take_texts(struct nj_planning *planning, const struct nj_manifest_texts *texts,
                      const char *const **ret_texts, size_t *ret_n, struct nj_error *err)
{
    const char **copy = nj_arena_array(&planning->plan->arena, texts->count + 1, sizeof(*copy));

    if (!copy)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < texts->count; i++)
        copy[i] = texts->items[i].text;
    *ret_texts = copy;
    *ret_n = texts->count;
    return 0;
}

static int take_tools(struct nj_planning *planning, const struct nj_manifest_agent *agent,
                      struct nj_session_config *config, struct nj_error *err)
{
    struct nj_config_tool *tools =
        nj_arena_array(&planning->plan->arena, agent->n_tools + 1, sizeof(*tools));

    if (!tools)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < agent->n_tools; i++) {
        const struct nj_manifest_tool *tool = &agent->tools[i];

        tools[i].type = nj_manifest_tool_type_text(tool->type);
        tools[i].name = tool->name;
        tools[i].languages = tool->languages;
        tools[i].timeout_ms = tool->timeout_seconds * 1000;
    }
    config->tools = tools;
    config->n_tools = agent->n_tools;
    return 0;
}

/* take_mounts - each agent's folders are read once, faults included */
static int take_mounts(struct nj_planning *planning, size_t at, struct nj_session_config *config,
                       struct nj_error *err)
{
    const struct nj_manifest_agent *agent = &planning->manifest->agents[at];
    const struct nj_manifest_sandbox *sandbox = &agent->sandbox;
    struct nj_config_mount *mounts;
    int r;

    config->n_mounts = sandbox->n_mounts;
    config->mounts = planning->mounts[at];
    if (planning->mounts_read[at])
        return 0;
    mounts = nj_arena_array(&planning->plan->arena, sandbox->n_mounts + 1, sizeof(*mounts));
    if (!mounts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < sandbox->n_mounts; i++) {
        mounts[i].target = sandbox->mounts[i].target;
        r = nj_sources_folder(planning->sources, sandbox->mounts[i].source, &mounts[i].input, err);
        if (r < 0)
            r = nj_planning_fault(planning, sandbox->mounts[i].source_mark, err,
                                  "agents.%s.sandbox.mounts[%zu].source", agent->name, i);
        if (r < 0)
            return r;
    }
    planning->mounts_read[at] = true;
    planning->mounts[at] = mounts;
    config->mounts = mounts;
    return 0;
}

static int compare_image(const struct nj_manifest_rootfs *wanted,
                         const struct nj_config_rootfs *image, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(&image->digest, hex);
    if (!wanted->digest || strcmp(wanted->digest, hex) == 0)
        return 0;
    return nj_fail(err, NJ_E_INPUT, "%.200s has the digest sha256:%s, not sha256:%s",
                   wanted->tar ? wanted->tar : wanted->dir, hex, wanted->digest);
}

/* take_image - each agent's image is read once, faults included */
static int take_image(struct nj_planning *planning, size_t at, struct nj_session_config *config,
                      struct nj_error *err)
{
    const struct nj_manifest_agent *agent = &planning->manifest->agents[at];
    const struct nj_manifest_rootfs *wanted = &agent->sandbox.rootfs;
    struct nj_mark mark = wanted->source_mark;
    struct nj_config_rootfs *image;
    int r;

    config->rootfs = planning->images[at];
    if (planning->images_read[at] || wanted->mark.line == 0)
        return 0;
    planning->images_read[at] = true;
    image = nj_arena_alloc(&planning->plan->arena, sizeof(*image));
    if (!image)
        return nj_fail_nomem(err);
    image->is_tar = wanted->tar != NULL;
    if (image->is_tar) {
        r = nj_sources_archive(planning->sources, wanted->tar, NJ_BOX_ROOTFS_TAR, &image->input,
                               &image->digest, err);
    } else {
        r = nj_sources_folder(planning->sources, wanted->dir, &image->input, err);
        image->digest = image->input.tree;
    }
    if (r == 0) {
        r = compare_image(wanted, image, err);
        mark = wanted->digest_mark;
    }
    if (r < 0)
        return nj_planning_fault(planning, mark, err, "agents.%s.sandbox.rootfs", agent->name);
    planning->images[at] = image;
    config->rootfs = image;
    return 0;
}

/* nj_planning_scripts - the bytes that answer for a role become inputs, so that they can be found
 * after the run */
int nj_planning_scripts(struct nj_planning *planning, size_t at, struct nj_error *err)
{
    const struct nj_manifest_role *role = &planning->manifest->roles[at];

    if (planning->scripts_read[at])
        return 0;
    planning->scripts_read[at] = true;
    for (size_t i = 0; i < role->n_chain; i++) {
        const struct nj_source_file *file;
        int r;

        if (!role->chain[i].script)
            continue;
        r = nj_sources_file(planning->sources, role->chain[i].script, &file, err);
        if (r < 0)
            r = nj_planning_fault(planning, role->chain[i].script_mark, err,
                                  "models.%s[%zu].script", role->name, i);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The nearest that was given counts: of the group, of the agent, of the run. */
static int64_t session_budget(const struct nj_manifest *manifest,
                              const struct nj_manifest_agent *agent,
                              const struct nj_manifest_group *group)
{
    if (group->limits.session_budget_micro_usd >= 0)
        return group->limits.session_budget_micro_usd;
    if (agent->limits.session_budget_micro_usd >= 0)
        return agent->limits.session_budget_micro_usd;
    return manifest->limits.session_budget_micro_usd;
}

/* Of the first model's context: a later one of the chain is asked with what the first would get. */
static uint64_t compact_at(const struct nj_manifest *manifest,
                           const struct nj_manifest_agent *agent)
{
    if (agent->context != NJ_CONTEXT_COMPACT || agent->role == NJ_MANIFEST_NONE)
        return 0;
    return manifest->roles[agent->role].chain[0].context_tokens * agent->context_at_ppm / 1000000;
}

/* level_of - what the agent declares, or what a test wants of all */
static unsigned level_of(const struct nj_manifest_agent *agent)
{
    const char *forced = getenv("NJ_TEST_REPRODUCIBLE");

    for (unsigned level = 0; forced && level < sizeof(levels) / sizeof(levels[0]); level++) {
        if (strcmp(forced, levels[level]) == 0)
            return level;
    }
    return agent->reproducible;
}

int nj_planning_config(struct nj_planning *planning, const struct nj_manifest_group *group,
                       struct nj_session_config *ret_config, struct nj_error *err)
{
    const struct nj_manifest_agent *agent = &planning->manifest->agents[group->agent];
    const struct nj_manifest_sandbox *sandbox = &agent->sandbox;
    struct nj_session_config config = {
        .group = group->name,
        .agent = agent->name,
        .role = agent->role == NJ_MANIFEST_NONE ? "" : planning->manifest->roles[agent->role].name,
        .instructions = agent->instructions,
        .reproducible = levels[level_of(agent)],
        /* Told so, as builds before the layer planned: their runs are to be resumed. */
        .layer = getenv("NJ_TEST_NO_LAYER") ? NJ_D0 : level_of(agent),
        .turns_max = group->limits.turns ? group->limits.turns : agent->limits.turns,
        .max_size_bytes = sandbox->max_size_mb << 20,
        .max_memory_bytes = sandbox->max_memory_mb << 20,
        .max_processes = sandbox->max_processes,
        .max_cpu_micro = sandbox->max_cpu_micro,
        .max_runtime_ms = sandbox->max_runtime_seconds * 1000,
        .accept_attempts = group->accept_attempts,
        .accept_timeout_ms = group->accept_timeout_seconds * 1000,
        .budget_micro_usd = session_budget(planning->manifest, agent, group),
        .compact_at_tokens = compact_at(planning->manifest, agent),
        .output_schema = agent->output_schema,
    };

    if (take_texts(planning, &sandbox->writable_paths, &config.writable_paths,
                   &config.n_writable_paths, err) < 0 ||
        take_texts(planning, &sandbox->read_only_paths, &config.read_only_paths,
                   &config.n_read_only_paths, err) < 0 ||
        take_texts(planning, &group->accept_command, &config.accept_command,
                   &config.n_accept_command, err) < 0 ||
        take_texts(planning, &group->outputs, &config.outputs, &config.n_outputs, err) < 0 ||
        take_tools(planning, agent, &config, err) < 0 ||
        take_mounts(planning, group->agent, &config, err) < 0 ||
        take_image(planning, group->agent, &config, err) < 0 ||
        (agent->role != NJ_MANIFEST_NONE && nj_planning_scripts(planning, agent->role, err) < 0))
        return -(int)err->code;
    *ret_config = config;
    return 0;
}

/* ---- identity ---- */

/* chain_named - "LABEL": NAME, a zero byte, MORE */
static int chain_named(struct nj_digest *chain, const char *label, const char *name,
                       struct nj_span more, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};

    nj_buf_init(&buf, SIZE_MAX);
    if (nj_buf_append(&buf, name, strlen(name) + 1, err) < 0 ||
        nj_buf_append(&buf, more.data, more.len, err) < 0)
        return -(int)err->code;
    nj_digest_chain(chain, label, nj_buf_span(&buf));
    return 0;
}

static int chain_file(struct nj_digest *chain, const struct nj_plan_file *file,
                      struct nj_error *err)
{
    uint8_t more[1 + NJ_DIGEST_BYTES];

    if (!file->source)
        return chain_named(chain, "file", file->target, (struct nj_span){0}, err);
    more[0] = (file->source->entry.mode & 0111) != 0;
    memcpy(more + 1, file->source->entry.digest.bytes, NJ_DIGEST_BYTES);
    return chain_named(chain, "file", file->target, (struct nj_span){more, sizeof(more)}, err);
}

static int chain_tools(struct nj_digest *chain, const struct nj_session_config *config,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf schema = {0};
    int r;

    nj_buf_init(&schema, NJ_CONFIG_MAX_BYTES);
    for (size_t i = 0; i < config->n_tools; i++) {
        const struct nj_tool *tool = nj_tool_find(config->tools[i].type);

        if (!tool)
            return nj_fail(err, NJ_E_INPUT, "tool %s: this build has none", config->tools[i].type);
        nj_buf_clear(&schema);
        r = tool->schema(&config->tools[i], &schema, err);
        if (r < 0)
            return nj_wrap(err, "tool %s", config->tools[i].name);
        nj_digest_chain(chain, "tool", nj_buf_span(&schema));
    }
    return 0;
}

/* What all sessions of one group share, each part in its place in the chain. */
struct shared {
    struct nj_digest head; /* "agent", "group" */
    struct nj_digest
        after; /* of every session of every group that this one comes after, in order */
};

static void chain_after(const struct nj_plan *plan, size_t group, struct nj_digest *chain)
{
    for (size_t i = 0; i < plan->n_sessions; i++) {
        if (plan->sessions[i].group == group)
            nj_digest_chain(chain, "session",
                            (struct nj_span){plan->sessions[i].identity.bytes, NJ_DIGEST_BYTES});
    }
}

static int share(struct nj_planning *planning, size_t at, struct shared *shared,
                 struct nj_error *err)
{
    const struct nj_manifest *manifest = planning->manifest;
    size_t agent = manifest->groups[at].agent;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    nj_buf_init(&buf, PACK_MAX_BYTES);
    r = nj_manifest_pack_agent(manifest, agent, &buf, err);
    if (r < 0)
        return r;
    nj_digest_chain(&shared->head, "agent", nj_buf_span(&buf));
    nj_buf_clear(&buf);
    r = nj_manifest_pack_group(manifest, at, &buf, err);
    if (r < 0)
        return r;
    nj_digest_chain(&shared->head, "group", nj_buf_span(&buf));
    return 0;
}

/* chain_models - what answers: the agent's own chain is in "agent" already, one that the item chose
 * is added */
static int chain_models(struct nj_planning *planning, const struct nj_plan_session *session,
                        struct nj_digest *chain, struct nj_error *err)
{
    const struct nj_manifest *manifest = planning->manifest;
    size_t own = manifest->agents[manifest->groups[session->group].agent].role;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_digest models;
    int r;

    if (session->role == NJ_MANIFEST_NONE)
        return 0;
    r = nj_models_digest(planning->models, session->role, &models, err);
    if (r < 0)
        return r;
    nj_digest_chain(chain, "models", (struct nj_span){models.bytes, NJ_DIGEST_BYTES});
    if (session->role == own)
        return 0;
    nj_buf_init(&buf, PACK_MAX_BYTES);
    r = nj_manifest_pack_role(manifest, session->role, &buf, err);
    if (r == 0)
        nj_digest_chain(chain, "role", nj_buf_span(&buf));
    return r;
}

static int identify(struct nj_planning *planning, struct nj_plan_session *session,
                    const struct shared *shared, struct nj_error *err)
{
    const struct nj_session_config *config = session->config;
    struct nj_digest chain = shared->head;

    nj_digest_chain(&chain, "item", nj_span_text(session->item_json));
    for (size_t i = 0; i < session->n_files; i++) {
        if (chain_file(&chain, &session->files[i], err) < 0)
            return -(int)err->code;
    }
    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct nj_config_mount *mount = &config->mounts[i];

        if (chain_named(&chain, "mount", mount->target,
                        (struct nj_span){mount->input.tree.bytes, NJ_DIGEST_BYTES}, err) < 0)
            return -(int)err->code;
    }
    if (config->rootfs)
        nj_digest_chain(&chain, "rootfs",
                        (struct nj_span){config->rootfs->digest.bytes, NJ_DIGEST_BYTES});
    if (chain_tools(&chain, config, err) < 0)
        return -(int)err->code;
    if (chain_models(planning, session, &chain, err) < 0)
        return -(int)err->code;
    if (planning->manifest->groups[session->group].n_after > 0)
        nj_digest_chain(&chain, "after", (struct nj_span){shared->after.bytes, NJ_DIGEST_BYTES});
    session->identity = chain;
    return 0;
}

static int digest_config(struct nj_plan_session *session, struct nj_buf *buf, struct nj_error *err)
{
    int r;

    nj_buf_clear(buf);
    r = nj_config_encode(session->config, buf, err);
    if (r == 0)
        nj_digest_bytes(buf->data, buf->len, &session->config_digest);
    return r;
}

static int identify_group(struct nj_planning *planning, size_t at, bool *done, struct nj_error *err)
{
    const struct nj_manifest_group *group = &planning->manifest->groups[at];
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct shared shared = {0};
    int r;

    if (done[at])
        return 0;
    done[at] = true;
    for (size_t i = 0; i < group->n_after; i++) {
        r = identify_group(planning, group->after[i], done, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < group->n_after; i++)
        chain_after(planning->plan, group->after[i], &shared.after);
    r = share(planning, at, &shared, err);
    nj_buf_init(&buf, NJ_CONFIG_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < planning->plan->n_sessions; i++) {
        struct nj_plan_session *session = &planning->plan->sessions[i];

        if (session->group != at)
            continue;
        r = identify(planning, session, &shared, err);
        if (r == 0)
            r = digest_config(session, &buf, err);
        if (r < 0)
            return nj_wrap(err, "session %s", session->key);
    }
    return r;
}

int nj_planning_identities(struct nj_planning *planning, struct nj_error *err)
{
    bool done[NJ_MANIFEST_AGENTS_MAX] = {false};
    int r = 0;

    for (size_t i = 0; r == 0 && i < planning->manifest->n_groups; i++)
        r = identify_group(planning, i, done, err);
    return r;
}
