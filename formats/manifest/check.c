/*
 * check.c - what only the whole manifest can tell: circles, doubles, paths in each other's way
 *
 * The complication: it runs even after other faults, so that one round shows all of them. Whatever
 * could not be read is NULL or NJ_MANIFEST_NONE here, and is passed over.
 */
#include <stdio.h>

#include "formats/manifest/read.h"
#include "formats/manifest/template.h"

#include "formats/base/banned.h"

#define CIRCLE_TEXT_MAX_BYTES 256

static const struct nj_yaml_node *nth(const struct nj_yaml_node *node, size_t index)
{
    const struct nj_yaml_node *child = node ? node->first : NULL;

    while (child && child->index < index)
        child = child->next;
    return child;
}

static const struct nj_yaml_node *inner(const struct nj_yaml_node *node, const char *key)
{
    return node && node->kind == NJ_YAML_MAP ? nj_yaml_get(node, key) : NULL;
}

/* ---- circles ---- */

/* A graph of at most NJ_MANIFEST_AGENTS_MAX corners; an edge knows where the file draws it. */
struct graph {
    struct nj_manifest_reading *in;
    const char *what;
    size_t n;
    const char *(*name)(const struct nj_manifest *manifest, size_t from);
    size_t (*n_edges)(const struct nj_manifest *manifest, size_t from);
    size_t (*edge)(const struct nj_manifest *manifest, size_t from,
                   size_t at); /* or NJ_MANIFEST_NONE */
    const struct nj_yaml_node *(*place)(const struct nj_manifest_reading *in, size_t from,
                                        size_t at);
    enum { UNSEEN, OPEN, DONE } state[NJ_MANIFEST_AGENTS_MAX];
    size_t trail[NJ_MANIFEST_AGENTS_MAX];
    size_t n_trail;
};

static void report_circle(struct graph *graph, size_t to, const struct nj_yaml_node *place)
{
    const struct nj_manifest *manifest = graph->in->manifest;
    char text[CIRCLE_TEXT_MAX_BYTES] = "";
    size_t len = 0;
    size_t at = graph->n_trail;

    while (at > 0 && graph->trail[at - 1] != to)
        at--;
    for (at = at > 0 ? at - 1 : 0; at < graph->n_trail && len < sizeof(text); at++) {
        int n = snprintf(text + len, sizeof(text) - len, "%s, ",
                         graph->name(manifest, graph->trail[at]));

        len += n > 0 ? (size_t)n : 0;
    }
    nj_yaml_fault(&graph->in->yaml, place, "%s: %s%s", graph->what, text,
                  graph->name(manifest, to));
}

/* Depth first; recursion goes no deeper than there are corners. */
static void walk(struct graph *graph, size_t from)
{
    const struct nj_manifest *manifest = graph->in->manifest;

    graph->state[from] = OPEN;
    graph->trail[graph->n_trail++] = from;
    for (size_t i = 0; i < graph->n_edges(manifest, from); i++) {
        size_t to = graph->edge(manifest, from, i);

        if (to == NJ_MANIFEST_NONE || to >= graph->n)
            continue;
        if (graph->state[to] == OPEN)
            report_circle(graph, to, graph->place(graph->in, from, i));
        else if (graph->state[to] == UNSEEN)
            walk(graph, to);
    }
    graph->n_trail--;
    graph->state[from] = DONE;
}

static const char *agent_name(const struct nj_manifest *manifest, size_t from)
{
    return manifest->agents[from].name;
}

static size_t agent_edges(const struct nj_manifest *manifest, size_t from)
{
    return manifest->agents[from].n_tools;
}

static size_t agent_edge(const struct nj_manifest *manifest, size_t from, size_t at)
{
    return manifest->agents[from].tools[at].agent;
}

static const struct nj_yaml_node *agent_place(const struct nj_manifest_reading *in, size_t from,
                                              size_t at)
{
    const struct nj_yaml_node *agent = nth(nj_yaml_get(in->root, "agents"), from);

    return inner(nth(inner(agent, "tools"), at), "agent");
}

static const char *group_name(const struct nj_manifest *manifest, size_t from)
{
    return manifest->groups[from].name;
}

static size_t group_edges(const struct nj_manifest *manifest, size_t from)
{
    return manifest->groups[from].n_after;
}

static size_t group_edge(const struct nj_manifest *manifest, size_t from, size_t at)
{
    return manifest->groups[from].after[at];
}

static const struct nj_yaml_node *group_place(const struct nj_manifest_reading *in, size_t from,
                                              size_t at)
{
    return nth(inner(nth(nj_yaml_get(in->root, "sessions"), from), "after"), at);
}

static void check_circles(struct nj_manifest_reading *in)
{
    struct graph agents = {.in = in,
                           .what = "agents call each other in a circle",
                           .n = in->manifest->n_agents,
                           .name = agent_name,
                           .n_edges = agent_edges,
                           .edge = agent_edge,
                           .place = agent_place};
    struct graph groups = {.in = in,
                           .what = "groups wait for each other in a circle",
                           .n = in->manifest->n_groups,
                           .name = group_name,
                           .n_edges = group_edges,
                           .edge = group_edge,
                           .place = group_place};

    for (size_t i = 0; i < agents.n; i++) {
        if (agents.state[i] == UNSEEN)
            walk(&agents, i);
    }
    for (size_t i = 0; i < groups.n; i++) {
        if (groups.state[i] == UNSEEN)
            walk(&groups, i);
    }
}

/* ---- sandboxes ---- */

static bool overlap(const char *a, const char *b)
{
    return nj_manifest_path_under(a, b) || nj_manifest_path_under(b, a);
}

static const char *overlapping(const struct nj_manifest_texts *texts, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        if (overlap(texts->items[i].text, path))
            return texts->items[i].text;
    }
    return NULL;
}

/* A fault of a list's text: the list's path, the text's own mark. */
static void fault_at(struct nj_manifest_reading *in, const struct nj_yaml_node *list,
                     const struct nj_manifest_text *text, const char *what, const char *other)
{
    char path[NJ_YAML_PATH_MAX_BYTES] = "";

    if (list)
        nj_yaml_path(list, path);
    nj_manifest_faults_add(in->yaml.faults, text->mark, path, "%.128s %s %.128s", text->text, what,
                           other);
}

static void check_paths(struct nj_manifest_reading *in, const struct nj_yaml_node *agent_node,
                        const struct nj_manifest_sandbox *sandbox)
{
    const struct nj_yaml_node *files = inner(inner(agent_node, "sandbox"), "filesystem");
    const struct nj_manifest_texts *writable = &sandbox->writable_paths;

    for (size_t i = 0; i < writable->count; i++) {
        const char *other = overlapping(writable, i, writable->items[i].text);

        if (other)
            fault_at(in, inner(files, "writable_paths"), &writable->items[i],
                     "overlaps another writable path:", other);
    }
    for (size_t i = 0; i < sandbox->read_only_paths.count; i++) {
        const struct nj_manifest_text *text = &sandbox->read_only_paths.items[i];
        const char *other = overlapping(writable, writable->count, text->text);

        if (other)
            fault_at(in, inner(files, "read_only_paths"), text,
                     "is read-only and overlaps the writable path", other);
    }
}

static void check_mounts(struct nj_manifest_reading *in, const struct nj_yaml_node *agent_node,
                         const struct nj_manifest_sandbox *sandbox)
{
    const struct nj_yaml_node *mounts = inner(inner(agent_node, "sandbox"), "mounts");

    for (size_t i = 0; i < sandbox->n_mounts; i++) {
        const char *target = sandbox->mounts[i].target;
        const struct nj_yaml_node *node = inner(nth(mounts, i), "target");
        const char *other = NULL;

        if (!target || !node)
            continue;
        if (nj_manifest_system_dir(target))
            nj_yaml_fault(&in->yaml, node, "overlaps %s, which the box brings itself",
                          nj_manifest_system_dir(target));
        other = overlapping(&sandbox->writable_paths, sandbox->writable_paths.count, target);
        if (other)
            nj_yaml_fault(&in->yaml, node,
                          "overlaps the writable path %s: what is mounted is read-only", other);
        for (size_t k = 0; k < i; k++) {
            if (sandbox->mounts[k].target && overlap(sandbox->mounts[k].target, target))
                nj_yaml_fault(&in->yaml, node, "overlaps the mount at %s",
                              sandbox->mounts[k].target);
        }
    }
}

/* ---- agents ---- */

static void check_tools(struct nj_manifest_reading *in, const struct nj_yaml_node *agent_node,
                        const struct nj_manifest_agent *agent)
{
    const struct nj_yaml_node *tools = inner(agent_node, "tools");

    for (size_t i = 0; i < agent->n_tools; i++) {
        const struct nj_manifest_tool *tool = &agent->tools[i];
        bool twice = false;

        if (!tool->name)
            continue;
        for (size_t k = 0; k < i && !twice; k++)
            twice = agent->tools[k].name && strcmp(agent->tools[k].name, tool->name) == 0;
        if (twice)
            nj_yaml_fault(&in->yaml, nth(tools, i),
                          "a second tool with the name %s: one of them needs a name of its own",
                          tool->name);
        if (tool->type == NJ_TOOL_MEMORY && !inner(agent_node, "memory"))
            nj_yaml_fault(&in->yaml, nth(tools, i),
                          "the tool memory needs the agent's memory: {store: NAME}");
    }
}

static void check_agents(struct nj_manifest_reading *in)
{
    const struct nj_yaml_node *agents = nj_yaml_get(in->root, "agents");

    for (size_t i = 0; i < in->manifest->n_agents; i++) {
        const struct nj_manifest_agent *agent = &in->manifest->agents[i];
        const struct nj_yaml_node *node = nth(agents, i);

        check_tools(in, node, agent);
        check_paths(in, node, &agent->sandbox);
        check_mounts(in, node, &agent->sandbox);
    }
}

/* ---- groups ---- */

/* Any value without a slash: whether the real one fits, the engine asks again. */
static int put_x(void *ctx, const char *name, struct nj_buf *out, struct nj_error *err)
{
    (void)ctx;
    (void)name;
    return nj_buf_text(out, "x", err);
}

static void check_target(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                         const struct nj_manifest_agent *agent, const char *target)
{
    NJ_AUTO(nj_buf_done) struct nj_buf path = {0};
    struct nj_error err = {0};

    nj_buf_init(&path, NJ_MANIFEST_PATH_MAX_BYTES);
    if (nj_template_expand(target, put_x, NULL, &path, &err) == 0 &&
        nj_manifest_target_ok(agent, (const char *)path.data, &err) == 0)
        return;
    if (err.code == NJ_E_NOMEM)
        in->yaml.nomem = true;
    else
        nj_yaml_fault(&in->yaml, node, "%s", err.text);
}

static void check_files(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        const struct nj_manifest_group *group)
{
    const struct nj_manifest_agent *agent = &in->manifest->agents[group->agent];

    for (size_t i = 0; i < group->n_files; i++) {
        const char *target = group->files[i].target;
        const struct nj_yaml_node *place = inner(nth(inner(node, "files"), i), "target");
        bool twice = false;

        if (!target)
            continue;
        check_target(in, place, agent, target);
        for (size_t k = 0; k < i && !twice; k++)
            twice = group->files[k].target && strcmp(group->files[k].target, target) == 0;
        if (twice)
            nj_yaml_fault(&in->yaml, place, "a second file with this target");
    }
}

static void check_outputs(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                          const struct nj_manifest_group *group)
{
    const struct nj_manifest_texts *writable =
        &in->manifest->agents[group->agent].sandbox.writable_paths;

    for (size_t i = 0; i < group->outputs.count; i++) {
        const struct nj_manifest_text *output = &group->outputs.items[i];
        bool inside = false;

        for (size_t k = 0; k < writable->count; k++)
            inside |= nj_manifest_path_under(output->text, writable->items[k].text);
        if (!inside)
            fault_at(in, inner(node, "outputs"), output,
                     "is in none of the writable paths of agent",
                     agent_name(in->manifest, group->agent));
    }
}

static void check_groups(struct nj_manifest_reading *in)
{
    const struct nj_yaml_node *groups = nj_yaml_get(in->root, "sessions");

    for (size_t i = 0; i < in->manifest->n_groups; i++) {
        const struct nj_manifest_group *group = &in->manifest->groups[i];
        const struct nj_yaml_node *node = nth(groups, i);
        size_t first = nj_manifest_find_group(in->manifest, group->name);

        if (*group->name && first < i)
            nj_yaml_fault(&in->yaml, inner(node, "name"),
                          "a second group with the name %s: the first is in line %u", group->name,
                          in->manifest->groups[first].mark.line);
        if (group->agent >= in->manifest->n_agents)
            continue;
        check_files(in, node, group);
        check_outputs(in, node, group);
    }
}

void nj_manifest_check(struct nj_manifest_reading *in)
{
    check_circles(in);
    check_agents(in);
    check_groups(in);
}
