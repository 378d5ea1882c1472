/*
 * parse_agent.c - agents: what they are, their boxes and their tools
 *
 * The complication: one list holds seven types of tools, each with keys of its own. A table says
 * which key belongs to which type, so that a key in the wrong place is named as such.
 */
#include <stdio.h>

#include "formats/manifest/read.h"

#include "formats/base/banned.h"

#define MB_MAX (1u << 20)         /* a TiB */
#define SECONDS_MAX (7u * 86400u) /* a week */
#define PROCESSES_MAX 65536
#define CPUS_MAX 1024
#define MICRO 1000000
#define TURNS_DEFAULT 100
#define SCHEMA_MAX_BYTES (256u << 10)
#define DOMAIN_MAX_BYTES 253
#define LABEL_MAX_BYTES 63

/* ---- the sandbox ---- */

static bool label_ok(const char *label, size_t len)
{
    if (len == 0 || len > LABEL_MAX_BYTES || label[0] == '-' || label[len - 1] == '-')
        return false;
    return strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") >= len;
}

/* "name", "name:port", "*.name", "*.name:port" */
static const char *domain_fault(const char *text)
{
    static const char *const shape =
        "expected a lower-case name such as api.example.com, \"*.example.com\" or example.com:8443";
    const char *name = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
    size_t name_len = strcspn(name, ":");

    if (name_len > DOMAIN_MAX_BYTES)
        return "a domain is longer than 253 bytes";
    if (name[name_len] == ':') {
        const char *port = name + name_len + 1;
        size_t digits = strspn(port, "0123456789");

        if (digits == 0 || digits > 5 || port[digits] || port[0] == '0' ||
            strtoul(port, NULL, 10) > 65535)
            return "a port is a number from 1 to 65535";
    }
    for (size_t at = 0; at <= name_len;) {
        size_t len = strcspn(name + at, ".:");

        if (!label_ok(name + at, len))
            return shape;
        at += len + 1;
    }
    return NULL;
}

static const char *writable_fault(const char *path)
{
    const char *fault = nj_manifest_box_path_fault(path);

    if (!fault && nj_manifest_system_dir(path))
        return "overlaps a directory that the box brings itself, such as /usr, /etc, /proc or /dev";
    return fault;
}

static void read_box_path(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                          const char **ret)
{
    const char *path = NULL;
    const char *fault;

    nj_manifest_read_path(in, node, &path);
    fault = path ? nj_manifest_box_path_fault(path) : NULL;
    if (fault)
        nj_yaml_fault(&in->yaml, node, "%s", fault);
    else
        *ret = path;
}

static void read_mount(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_mount *mount)
{
    static const char *const keys[] = {"source", "target"};
    const struct nj_yaml_node *source;
    const struct nj_yaml_node *target;

    mount->mark = mount->source_mark = mount->target_mark = node->mark;
    if (!nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    source = nj_yaml_need(&in->yaml, node, "source");
    target = nj_yaml_need(&in->yaml, node, "target");
    if (source) {
        mount->source_mark = source->mark;
        nj_manifest_read_path(in, source, &mount->source);
    }
    if (target) {
        mount->target_mark = target->mark;
        read_box_path(in, target, &mount->target);
    }
}

static void read_mounts(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_sandbox *sandbox)
{
    struct nj_manifest_mount *mounts;

    if (!node || !nj_yaml_list(&in->yaml, node, 0, NJ_MANIFEST_PATHS_MAX))
        return;
    mounts = nj_manifest_read_alloc(in, node->count, sizeof(*mounts));
    if (!mounts)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_mount(in, item, &mounts[item->index]);
    sandbox->mounts = mounts;
    sandbox->n_mounts = node->count;
}

#define DIGEST_PREFIX "sha256:"

/* digest_of - the 64 hex digits of @text, or NULL */
static const char *digest_of(const char *text)
{
    if (strncmp(text, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0)
        text += strlen(DIGEST_PREFIX);
    return strlen(text) == 64 && text[strspn(text, "0123456789abcdef")] == '\0' ? text : NULL;
}

static void read_rootfs(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_rootfs *rootfs)
{
    static const char *const keys[] = {"tar", "dir", "digest"};
    const struct nj_yaml_node *tar, *dir;
    const char *digest = NULL;

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    tar = nj_yaml_get(node, "tar");
    dir = nj_yaml_get(node, "dir");
    rootfs->mark = rootfs->source_mark = rootfs->digest_mark = node->mark;
    if (!tar == !dir)
        nj_yaml_fault(&in->yaml, node, "expected either tar (an archive) or dir (a directory)");
    else
        rootfs->source_mark = tar ? tar->mark : dir->mark;
    nj_manifest_read_path(in, tar, &rootfs->tar);
    nj_manifest_read_path(in, dir, &rootfs->dir);
    nj_manifest_read_text(in, node, "digest", false, &digest);
    if (!digest)
        return;
    rootfs->digest_mark = nj_yaml_get(node, "digest")->mark;
    rootfs->digest = digest_of(digest);
    if (!rootfs->digest)
        nj_yaml_fault(&in->yaml, nj_yaml_get(node, "digest"),
                      "expected a SHA-256 in 64 lower-case hex digits, \"" DIGEST_PREFIX
                      "\" before them or not");
}

static void read_filesystem(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                            struct nj_manifest_sandbox *sandbox)
{
    static const char *const keys[] = {"max_size_mb", "writable_paths", "read_only_paths"};
    const struct nj_yaml_node *size;

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    size = nj_yaml_get(node, "max_size_mb");
    if (size)
        sandbox->max_size_mark = size->mark;
    nj_manifest_read_uint(in, node, "max_size_mb", 1, MB_MAX, &sandbox->max_size_mb);
    nj_manifest_read_texts(in, node, "writable_paths", 1, NJ_MANIFEST_PATHS_MAX, writable_fault,
                           &sandbox->writable_paths);
    nj_manifest_read_texts(in, node, "read_only_paths", 0, NJ_MANIFEST_PATHS_MAX,
                           nj_manifest_box_path_fault, &sandbox->read_only_paths);
}

static void sandbox_defaults(struct nj_manifest_reading *in, struct nj_mark mark,
                             struct nj_manifest_sandbox *sandbox)
{
    struct nj_manifest_text *writable = nj_manifest_read_alloc(in, 2, sizeof(*writable));

    *sandbox = (struct nj_manifest_sandbox){.mark = mark,
                                            .max_size_mb = 512,
                                            .max_size_mark = mark,
                                            .max_runtime_seconds = 3600,
                                            .max_memory_mb = 1024,
                                            .max_memory_mark = mark,
                                            .max_processes = 256};
    if (!writable)
        return;
    writable[0] = (struct nj_manifest_text){"/workspace", mark};
    writable[1] = (struct nj_manifest_text){"/tmp", mark};
    sandbox->writable_paths = (struct nj_manifest_texts){writable, 2};
}

/* A share below a hundredth is less than the kernel hands out at once. */
static void read_cpus(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      struct nj_manifest_sandbox *sandbox)
{
    int64_t micro;

    if (node && nj_yaml_micro(&in->yaml, node, MICRO / 100, INT64_C(1) * CPUS_MAX * MICRO, &micro))
        sandbox->max_cpu_micro = (uint64_t)micro;
}

static void read_sandbox(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                         struct nj_manifest_sandbox *sandbox)
{
    static const char *const keys[] = {
        "allowed_domains", "filesystem",    "mounts",   "max_runtime_seconds",
        "max_memory_mb",   "max_processes", "max_cpus", "rootfs"};
    const struct nj_yaml_node *memory;

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    sandbox->mark = node->mark;
    nj_manifest_read_texts(in, node, "allowed_domains", 0, NJ_MANIFEST_LIST_MAX, domain_fault,
                           &sandbox->allowed_domains);
    read_filesystem(in, nj_yaml_get(node, "filesystem"), sandbox);
    read_mounts(in, nj_yaml_get(node, "mounts"), sandbox);
    nj_manifest_read_uint(in, node, "max_runtime_seconds", 1, SECONDS_MAX,
                          &sandbox->max_runtime_seconds);
    memory = nj_yaml_get(node, "max_memory_mb");
    if (memory)
        sandbox->max_memory_mark = memory->mark;
    nj_manifest_read_uint(in, node, "max_memory_mb", 1, MB_MAX, &sandbox->max_memory_mb);
    nj_manifest_read_uint(in, node, "max_processes", 1, PROCESSES_MAX, &sandbox->max_processes);
    read_cpus(in, nj_yaml_get(node, "max_cpus"), sandbox);
    read_rootfs(in, nj_yaml_get(node, "rootfs"), &sandbox->rootfs);
}

/* ---- tools ---- */

#define TYPE(name) (1u << NJ_TOOL_##name)

/* Which types of tools know which keys. */
static const struct {
    const char *key;
    unsigned types;
} tool_keys[] = {
    {"type", ~0u},
    {"name", TYPE(MCP) | TYPE(CUSTOM) | TYPE(AGENT)},
    {"languages", TYPE(CODE_EXECUTION)},
    {"timeout_seconds", TYPE(CODE_EXECUTION) | TYPE(BASH) | TYPE(MCP) | TYPE(CUSTOM)},
    {"server_url", TYPE(MCP)},
    {"url", TYPE(CUSTOM)},
    {"command", TYPE(MCP) | TYPE(CUSTOM)},
    {"credential", TYPE(MCP) | TYPE(CUSTOM)},
    {"restartable", TYPE(MCP)},
    {"agent", TYPE(AGENT)},
    {"description", TYPE(CUSTOM) | TYPE(AGENT)},
    {"input_schema", TYPE(CUSTOM)},
    {"effect", TYPE(MCP) | TYPE(CUSTOM)},
    {"idempotent", TYPE(MCP) | TYPE(CUSTOM)},
    {"on_uncertain", TYPE(MCP) | TYPE(CUSTOM)},
};

static bool read_tool_type(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                           struct nj_manifest_tool *tool)
{
    const struct nj_yaml_node *type = nj_yaml_need(&in->yaml, node, "type");
    const char *keys[NJ_COUNT(tool_keys)];
    size_t n_keys = 0;
    size_t word = 0;

    if (!type || !nj_yaml_enum(&in->yaml, type, "tool", nj_manifest_tool_types,
                               NJ_COUNT(nj_manifest_tool_types), &word))
        return false;
    tool->type = (enum nj_manifest_tool_type)word;
    tool->type_mark = type->mark;
    for (size_t i = 0; i < NJ_COUNT(tool_keys); i++) {
        if (tool_keys[i].types & 1u << word)
            keys[n_keys++] = tool_keys[i].key;
    }
    return nj_yaml_keys(&in->yaml, node, keys, n_keys);
}

static void read_schema(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_tool *tool)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    struct nj_error err = {0};

    if (node && node->kind != NJ_YAML_MAP) {
        nj_yaml_expected(&in->yaml, node, "a JSON schema: a map");
        return;
    }
    nj_buf_init(&json, SCHEMA_MAX_BYTES);
    if (!node) {
        tool->input_schema = "{\"type\":\"object\"}";
    } else if (nj_yaml_to_json(node, &json, &err) < 0) {
        if (err.code == NJ_E_NOMEM)
            in->yaml.nomem = true;
        else
            nj_yaml_fault(&in->yaml, node, "%s", err.text);
    } else {
        tool->input_schema = nj_arena_span(in->yaml.arena, nj_buf_span(&json));
        if (!tool->input_schema)
            in->yaml.nomem = true;
    }
}

/* What a call may do to the world beyond the box, for tools that cannot be judged by their type. */
static void read_effect(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_tool *tool)
{
    const struct nj_yaml_node *child;
    size_t word = 0;

    child = nj_yaml_get(node, "effect");
    if (child && nj_yaml_enum(&in->yaml, child, "effect", nj_manifest_effects,
                              NJ_COUNT(nj_manifest_effects), &word))
        tool->effect = (enum nj_manifest_effect)word;
    child = nj_yaml_get(node, "idempotent");
    if (child)
        (void)nj_yaml_bool(&in->yaml, child, &tool->idempotent);
    child = nj_yaml_get(node, "on_uncertain");
    if (child && nj_yaml_enum(&in->yaml, child, "choice", nj_manifest_uncertains,
                              NJ_COUNT(nj_manifest_uncertains), &word))
        tool->on_uncertain = (enum nj_manifest_uncertain)word;
}

static void read_remote_tool(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                             struct nj_manifest_tool *tool)
{
    const char *url_key = tool->type == NJ_TOOL_MCP ? "server_url" : "url";
    const struct nj_yaml_node *child;

    if (!nj_yaml_get(node, url_key) == !nj_yaml_get(node, "command"))
        nj_yaml_fault(&in->yaml, node, "expected either %s (over HTTP) or command (in the box)",
                      url_key);
    nj_manifest_read_url(in, node, "server_url", &tool->server_url);
    nj_manifest_read_url(in, node, "url", &tool->url);
    nj_manifest_read_command(in, node, "command", &tool->command);
    nj_manifest_read_ref(in, nj_yaml_get(node, "credential"), "credential", &in->credentials,
                         &tool->credential);
    child = nj_yaml_get(node, "credential");
    if (child && nj_yaml_get(node, "command"))
        nj_yaml_fault_key(&in->yaml, child, "a command runs in the box, where no secret may enter");
    child = nj_yaml_get(node, "restartable");
    if (child)
        (void)nj_yaml_bool(&in->yaml, child, &tool->restartable);
    read_effect(in, node, tool);
    if (tool->type == NJ_TOOL_CUSTOM) {
        (void)nj_yaml_need(&in->yaml, node, "name");
        (void)nj_yaml_need(&in->yaml, node, "description");
        read_schema(in, nj_yaml_get(node, "input_schema"), tool);
    }
}

static void read_tool(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      struct nj_manifest_tool *tool)
{
    const struct nj_yaml_node *child;

    tool->mark = node->mark;
    tool->agent = tool->credential = NJ_MANIFEST_NONE;
    tool->effect = NJ_EFFECT_OUTSIDE;
    if (node->kind != NJ_YAML_MAP) {
        nj_yaml_expected(&in->yaml, node, "a map such as {type: code_execution}");
        return;
    }
    if (!read_tool_type(in, node, tool))
        return;
    tool->name = nj_manifest_tool_types[tool->type];
    if (tool->type == NJ_TOOL_CODE_EXECUTION)
        tool->languages = NJ_LANGUAGE_ALL;
    nj_manifest_read_bits(in, node, "languages", "language", nj_manifest_languages,
                          NJ_COUNT(nj_manifest_languages), &tool->languages);
    if (tool->type == NJ_TOOL_CODE_EXECUTION || tool->type == NJ_TOOL_BASH ||
        tool->type == NJ_TOOL_MCP || tool->type == NJ_TOOL_CUSTOM)
        tool->timeout_seconds = 300;
    nj_manifest_read_uint(in, node, "timeout_seconds", 1, SECONDS_MAX, &tool->timeout_seconds);
    nj_manifest_read_text(in, node, "description", false, &tool->description);
    if (tool->type == NJ_TOOL_MCP || tool->type == NJ_TOOL_CUSTOM) {
        read_remote_tool(in, node, tool);
    } else if (tool->type == NJ_TOOL_AGENT) {
        child = nj_yaml_need(&in->yaml, node, "agent");
        nj_manifest_read_ref(in, child, "agent", &in->agents, &tool->agent);
        if (tool->agent != NJ_MANIFEST_NONE)
            tool->name = (const char *)child->text.data;
    } else {
        tool->effect = tool->type == NJ_TOOL_MEMORY ? NJ_EFFECT_NONE : NJ_EFFECT_WORKSPACE;
    }
    nj_manifest_read_name(in, nj_yaml_get(node, "name"), &tool->name);
    if (strchr(tool->name, '.'))
        nj_yaml_fault(&in->yaml, node,
                      "the tool's name %s holds a dot, which models do not take: name it",
                      tool->name);
}

static void read_tools(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_agent *agent)
{
    struct nj_manifest_tool *tools;

    if (!node || !nj_yaml_list(&in->yaml, node, 0, NJ_MANIFEST_TOOLS_MAX))
        return;
    tools = nj_manifest_read_alloc(in, node->count, sizeof(*tools));
    if (!tools)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_tool(in, item, &tools[item->index]);
    agent->tools = tools;
    agent->n_tools = node->count;
}

/* ---- the agent ---- */

static void read_memory(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_agent *agent)
{
    static const char *const keys[] = {"store", "access"};
    static const char *const accesses[] = {"read_only", "read_write"};
    const struct nj_yaml_node *access;
    size_t word = 0;

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    agent->memory_mark = node->mark;
    nj_manifest_read_name(in, nj_yaml_need(&in->yaml, node, "store"), &agent->memory_store);
    access = nj_yaml_get(node, "access");
    if (access && nj_yaml_enum(&in->yaml, access, "access", accesses, NJ_COUNT(accesses), &word))
        agent->memory_writable = word == 1;
}

static void read_agent(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_agent *agent)
{
    static const char *const keys[] = {"model",   "command", "instructions", "reproducible",
                                       "sandbox", "tools",   "memory",       "limits",
                                       "context", "output"};
    const struct nj_yaml_node *child;
    size_t word = 0;

    agent->name = node->key;
    agent->mark = node->key_mark;
    agent->role = NJ_MANIFEST_NONE;
    agent->instructions = "";
    agent->reproducible = NJ_D2;
    nj_manifest_read_limit(in, NULL, TURNS_DEFAULT, &agent->limits);
    sandbox_defaults(in, node->key_mark, &agent->sandbox);
    if (!nj_manifest_read_key_name(in, node) ||
        !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    child = nj_yaml_get(node, "model");
    nj_manifest_read_ref(in, child, "model", &in->roles, &agent->role);
    if (!child && !nj_yaml_get(node, "command"))
        nj_yaml_fault(&in->yaml, node,
                      "expected model (one of models:) or command (a program in the box)");
    nj_manifest_read_command(in, node, "command", &agent->command);
    nj_manifest_read_text(in, node, "instructions", true, &agent->instructions);
    child = nj_yaml_get(node, "reproducible");
    if (child && nj_yaml_enum(&in->yaml, child, "level", nj_manifest_levels,
                              NJ_COUNT(nj_manifest_levels), &word))
        agent->reproducible = (enum nj_manifest_reproducible)word;
    read_sandbox(in, nj_yaml_get(node, "sandbox"), &agent->sandbox);
    child = nj_yaml_get(node, "tools");
    if (child && nj_yaml_get(node, "command"))
        nj_yaml_fault_key(&in->yaml, child, "a command agent brings its own tools");
    else
        read_tools(in, child, agent);
    read_memory(in, nj_yaml_get(node, "memory"), agent);
    nj_manifest_read_context(in, nj_yaml_get(node, "context"), agent);
    nj_manifest_read_output(in, nj_yaml_get(node, "output"), agent);
    nj_manifest_read_limit(in, nj_yaml_get(node, "limits"), TURNS_DEFAULT, &agent->limits);
}

void nj_manifest_read_agents(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    struct nj_manifest_agent *agents;

    if (!node || !nj_yaml_names(&in->yaml, node, 1, NJ_MANIFEST_AGENTS_MAX))
        return;
    agents = nj_manifest_read_alloc(in, node->count, sizeof(*agents));
    if (!agents)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_agent(in, item, &agents[item->index]);
    in->manifest->agents = agents;
    in->manifest->n_agents = node->count;
}
