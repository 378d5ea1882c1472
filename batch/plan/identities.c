/*
 * identities.c - what went into each session, by name
 *
 * The complication: the digest of a session is a chain in which no part can be told from another,
 * so the parts are taken once more, each by itself. What a group's sessions share is taken once: a
 * plan of 100,000 sessions has as many lines, but not as many copies of its instructions.
 */
#include "batch/plan/identities.h"

#include "batch/tools/tool.h"
#include "formats/base/fsio.h"
#include "formats/base/pack.h"

#include "formats/base/banned.h"

#define PACK_MAX_BYTES (4 * (size_t)NJ_MANIFEST_MAX_BYTES)

/* The packed maps' keys, and what a person calls them. */
struct part_name {
    const char *key;
    const char *name;
};

static const struct part_name agent_parts[] = {
    {"chain", "model"},
    {"command", "command"},
    {"context", "context"},
    {"context_at_ppm", "context.at"},
    {"instructions", "instructions"},
    {"memory", "memory"},
    {"output_schema", "output schema"},
    {"reproducible", "reproducible"},
    {"tools", "tools"},
    {"turns", "limits.turns"},
};

static const struct part_name sandbox_parts[] = {
    {"allowed_domains", "sandbox.allowed_domains"},
    {"max_cpu_micro", "sandbox.max_cpus"},
    {"max_memory_mb", "sandbox.max_memory_mb"},
    {"max_processes", "sandbox.max_processes"},
    {"max_runtime_seconds", "sandbox.max_runtime_seconds"},
    {"max_size_mb", "sandbox.filesystem.max_size_mb"},
    {"mounts", "sandbox.mounts"},
    {"read_only_paths", "sandbox.filesystem.read_only_paths"},
    {"rootfs", "sandbox.rootfs"},
    {"writable_paths", "sandbox.filesystem.writable_paths"},
};

static const struct part_name group_parts[] = {
    {"accept", "accept"},   {"after", "after"},
    {"files", "files"},     {"input", "input"},
    {"outputs", "outputs"}, {"override", "override"},
    {"name", "group"},      {"turns", "limits.turns of the group"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int tell_bytes(const struct nj_part_sink *sink, const char *name, struct nj_span bytes,
                      struct nj_error *err)
{
    struct nj_digest digest;

    nj_digest_bytes(bytes.data, bytes.len, &digest);
    return sink->put(sink->ctx, name, &digest, err);
}

static int tell_map(const struct nj_part_sink *sink, struct nj_span map,
                    const struct part_name *names, size_t n_names, struct nj_error *err)
{
    for (size_t i = 0; i < n_names; i++) {
        struct nj_span value;

        if (nj_pack_raw_at(map, names[i].key, &value) &&
            tell_bytes(sink, names[i].name, value, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int tell_agent(const struct nj_plan *plan, size_t agent, const struct nj_part_sink *sink,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_span map;
    struct nj_span sandbox;
    struct nj_span callable;

    nj_buf_init(&buf, PACK_MAX_BYTES);
    if (nj_manifest_pack_agent(plan->manifest, agent, &buf, err) < 0)
        return -(int)err->code;
    if (!nj_pack_raw_at(nj_buf_span(&buf), "agent", &map) ||
        !nj_pack_raw_at(nj_buf_span(&buf), "callable", &callable))
        return tell_bytes(sink, "agent", nj_buf_span(&buf), err);
    if (tell_map(sink, map, agent_parts, COUNT(agent_parts), err) < 0 ||
        (nj_pack_raw_at(map, "sandbox", &sandbox) &&
         tell_map(sink, sandbox, sandbox_parts, COUNT(sandbox_parts), err) < 0) ||
        tell_bytes(sink, "agents it calls", callable, err) < 0)
        return -(int)err->code;
    return tell_bytes(sink, "agent", map, err); /* last: whatever the others do not name */
}

static int tell_tools(const struct nj_session_config *config, const struct nj_part_sink *sink,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf schema = {0};
    char name[128];

    nj_buf_init(&schema, NJ_CONFIG_MAX_BYTES);
    for (size_t i = 0; i < config->n_tools; i++) {
        const struct nj_tool *tool = nj_tool_find(config->tools[i].type);

        nj_buf_clear(&schema);
        (void)snprintf(name, sizeof(name), "tool schema %.64s", config->tools[i].name);
        if (tool && (tool->schema(&config->tools[i], &schema, err) < 0 ||
                     tell_bytes(sink, name, nj_buf_span(&schema), err) < 0))
            return -(int)err->code;
    }
    return 0;
}

int nj_identity_shared(const struct nj_plan *plan, const struct nj_plan_session *session,
                       const struct nj_part_sink *sink, struct nj_error *err)
{
    const struct nj_manifest_group *group = &plan->manifest->groups[session->group];
    const struct nj_session_config *config = session->config;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};

    nj_buf_init(&buf, PACK_MAX_BYTES);
    if (nj_manifest_pack_group(plan->manifest, session->group, &buf, err) < 0 ||
        tell_map(sink, nj_buf_span(&buf), group_parts, COUNT(group_parts), err) < 0 ||
        tell_tools(config, sink, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < config->n_mounts; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf name = {0};

        nj_buf_init(&name, 8192);
        if (nj_buf_printf(&name, err, "mount %s", config->mounts[i].target) < 0 ||
            sink->put(sink->ctx, (const char *)name.data, &config->mounts[i].input.tree, err) < 0)
            return -(int)err->code;
    }
    if (config->rootfs && sink->put(sink->ctx, "rootfs", &config->rootfs->digest, err) < 0)
        return -(int)err->code;
    return tell_agent(plan, group->agent, sink, err);
}

int nj_identity_own(const struct nj_plan *plan, const struct nj_plan_session *session,
                    const struct nj_part_sink *sink, struct nj_error *err)
{
    struct nj_digest models;

    for (size_t i = 0; i < session->n_files; i++) {
        const struct nj_plan_file *file = &session->files[i];
        NJ_AUTO(nj_buf_done) struct nj_buf name = {0};

        if (!file->source)
            continue;
        nj_buf_init(&name, 8192);
        if (nj_buf_printf(&name, err, "file %s", file->target) < 0 ||
            sink->put(sink->ctx, (const char *)name.data, &file->source->entry.digest, err) < 0)
            return -(int)err->code;
    }
    /* Behind the files: a file's size is in its item, but the file is what changed. */
    if (tell_bytes(sink, "item", nj_span_text(session->item_json), err) < 0)
        return -(int)err->code;
    if (session->role == NJ_MANIFEST_NONE)
        return 0;
    if (nj_models_digest(plan->models, session->role, &models, err) < 0)
        return -(int)err->code;
    return sink->put(sink->ctx, "script", &models, err);
}

/* ---- saving ---- */

struct line {
    struct nj_buf *out;
    bool first;
};

static int put_part(void *ctx, const char *name, const struct nj_digest *digest,
                    struct nj_error *err)
{
    struct line *line = ctx;
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    if (nj_buf_text(line->out, line->first ? "" : ",", err) < 0 ||
        nj_buf_json_text(line->out, nj_span_text(name), err) < 0)
        return -(int)err->code;
    line->first = false;
    return nj_buf_printf(line->out, err, ":\"%.*s\"", NJ_PART_HEX_CHARS, hex);
}

static int put_group(const struct nj_plan *plan, const struct nj_plan_session *session,
                     struct nj_buf *out, struct nj_error *err)
{
    struct line line = {.out = out, .first = true};
    struct nj_part_sink sink = {put_part, &line};

    if (nj_buf_printf(out, err, "{\"group\":\"%s\",\"parts\":{",
                      plan->manifest->groups[session->group].name) < 0 ||
        nj_identity_shared(plan, session, &sink, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}}\n", err);
}

static int put_session(const struct nj_plan *plan, const struct nj_plan_session *session,
                       struct nj_buf *out, struct nj_error *err)
{
    struct line line = {.out = out, .first = true};
    struct nj_part_sink sink = {put_part, &line};
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(&session->identity, hex);
    if (nj_buf_text(out, "{\"key\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(session->key), err) < 0 ||
        nj_buf_printf(out, err, ",\"group\":\"%s\",\"digest\":\"%s\",\"parts\":{",
                      plan->manifest->groups[session->group].name, hex) < 0 ||
        nj_identity_own(plan, session, &sink, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}}\n", err);
}

int nj_identities_save(const struct nj_plan *plan, int inputs_dir_fd, struct nj_error *err)
{
    bool told[NJ_MANIFEST_AGENTS_MAX] = {false};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    size_t lines = plan->n_sessions;
    int r = 0;

    nj_buf_init(&out, NJ_IDENTITIES_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < plan->n_sessions; i++) {
        const struct nj_plan_session *session = &plan->sessions[i];

        if (!told[session->group]) {
            told[session->group] = true;
            lines++;
            r = put_group(plan, session, &out, err);
        }
        if (r == 0)
            r = put_session(plan, session, &out, err);
    }
    if (r == 0)
        r = nj_buf_printf(&out, err, "{\"end\":%zu}\n", lines);
    if (r == 0)
        r = nj_fsio_publish(inputs_dir_fd, NJ_IDENTITIES_NAME, nj_buf_span(&out), 0600, err);
    return r < 0 ? nj_wrap(err, "save the sessions' identities") : 0;
}
