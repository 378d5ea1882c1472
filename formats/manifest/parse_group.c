/*
 * parse_group.c - groups of sessions: which items, what each session gets, what it must leave
 * behind
 *
 * The complication: templates can be judged only with their neighbours: {item.stem} needs a glob,
 * {results} needs somebody to wait for. So the shape of a group is known before its templates are
 * read.
 */
#include <stdio.h>

#include "formats/manifest/read.h"
#include "formats/manifest/template.h"

#include "formats/base/banned.h"

#define TEMPLATE_MAX_BYTES (1u << 20)
#define ATTEMPTS_MAX 100
#define ACCEPT_SECONDS_MAX 86400

/* The placeholders that fit in one place of one group. */
static void allowed_in(const struct nj_manifest_group *group, bool with_results,
                       const char *allowed[8])
{
    size_t n = 0;

    switch (group->for_each) {
    case NJ_FOR_EACH_NONE:
        break;
    case NJ_FOR_EACH_GLOB:
        allowed[n++] = "item.path";
        allowed[n++] = "item.name";
        allowed[n++] = "item.stem";
        allowed[n++] = "item.dir";
        allowed[n++] = "item.size";
        break;
    case NJ_FOR_EACH_LINES:
    case NJ_FOR_EACH_CSV:
    case NJ_FOR_EACH_VALUES:
    case NJ_FOR_EACH_MATRIX:
        allowed[n++] = "item.";
        break;
    }
    if (with_results && group->n_after > 0)
        allowed[n++] = "results";
    allowed[n] = NULL;
}

/* The template's text, or NULL with the fault added. */
const char *nj_manifest_read_template(struct nj_manifest_reading *in,
                                      const struct nj_yaml_node *node,
                                      const struct nj_manifest_group *group, bool with_results,
                                      bool empty_ok)
{
    struct nj_error err = {0};
    const char *allowed[8];
    const char *text = NULL;

    if (!node || !nj_yaml_text(&in->yaml, node, TEMPLATE_MAX_BYTES, empty_ok, &text))
        return NULL;
    allowed_in(group, with_results, allowed);
    if (nj_template_check(text, allowed, &err) >= 0)
        return text;
    if (group->for_each == NJ_FOR_EACH_NONE && nj_template_uses(text, "item."))
        nj_yaml_fault(&in->yaml, node, "%s; {item.FIELD} needs for_each or matrix", err.text);
    else if (with_results && group->n_after == 0 && nj_template_uses(text, "results"))
        nj_yaml_fault(&in->yaml, node, "%s; {results} needs after", err.text);
    else
        nj_yaml_fault(&in->yaml, node, "%s", err.text);
    return NULL;
}

/* Two items that differ in one axis only must not get one key. */
static void check_axes_in_key(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                              const struct nj_manifest_group *group)
{
    for (size_t i = 0; i < group->n_axes; i++) {
        char whole[NJ_MANIFEST_NAME_MAX_CHARS + 8];
        char below[NJ_MANIFEST_NAME_MAX_CHARS + 8];

        if (!group->axes[i].name)
            continue;
        (void)snprintf(whole, sizeof(whole), "item.%s", group->axes[i].name);
        (void)snprintf(below, sizeof(below), "item.%s.", group->axes[i].name);
        if (!nj_template_uses(group->key, whole) && !nj_template_uses(group->key, below))
            nj_yaml_fault(&in->yaml, node,
                          "items that differ in %s only would get the same key: it needs {%s} or "
                          "{%sFIELD}",
                          group->axes[i].name, whole, below);
    }
}

static void read_group_key(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           struct nj_manifest_group *group)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, "key");

    if (node) {
        group->key_mark = node->mark;
        group->key = nj_manifest_read_template(in, node, group, false, false);
        if (group->key && group->for_each != NJ_FOR_EACH_NONE &&
            !nj_template_uses(group->key, "item."))
            nj_yaml_fault(
                &in->yaml, node,
                "every item would get the same key: it needs a placeholder such as {item.%s}",
                group->for_each == NJ_FOR_EACH_GLOB ? "stem" : "FIELD");
        else if (group->key)
            check_axes_in_key(in, node, group);
        return;
    }
    switch (group->for_each) {
    case NJ_FOR_EACH_NONE:
        group->key = group->name;
        break;
    case NJ_FOR_EACH_GLOB:
        group->key = "{item.stem}";
        break;
    case NJ_FOR_EACH_LINES:
    case NJ_FOR_EACH_CSV:
    case NJ_FOR_EACH_VALUES:
    case NJ_FOR_EACH_MATRIX:
        nj_yaml_fault(&in->yaml, map,
                      "key is missing: name the field that tells items apart, such as "
                      "key: \"{item.id}\"");
        break;
    }
}

static void read_file(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      const struct nj_manifest_group *group, struct nj_manifest_file *file)
{
    static const char *const keys[] = {"source", "content", "target"};
    const struct nj_yaml_node *source;
    const struct nj_yaml_node *content;
    const struct nj_yaml_node *target;

    file->mark = file->source_mark = file->target_mark = node->mark;
    if (!nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    source = nj_yaml_get(node, "source");
    content = nj_yaml_get(node, "content");
    if (!source == !content)
        nj_yaml_fault(&in->yaml, node, "expected either source (a path) or content (a text)");
    if (source || content)
        file->source_mark = source ? source->mark : content->mark;
    file->source = nj_manifest_read_template(in, source, group, false, false);
    if (file->source && nj_manifest_host_path_fault(file->source))
        nj_yaml_fault(&in->yaml, source, "%s", nj_manifest_host_path_fault(file->source));
    file->content = nj_manifest_read_template(in, content, group, true, true);
    target = nj_yaml_need(&in->yaml, node, "target");
    if (target)
        file->target_mark = target->mark;
    file->target = nj_manifest_read_template(in, target, group, false, false);
}

static void read_files(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_group *group)
{
    struct nj_manifest_file *files;

    if (!node || !nj_yaml_list(&in->yaml, node, 0, NJ_MANIFEST_FILES_MAX))
        return;
    files = nj_manifest_read_alloc(in, node->count, sizeof(*files));
    if (!files)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_file(in, item, group, &files[item->index]);
    group->files = files;
    group->n_files = node->count;
}

static void read_accept(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_group *group)
{
    static const char *const keys[] = {"command", "attempts", "timeout_seconds"};

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    group->accept_mark = node->mark;
    (void)nj_yaml_need(&in->yaml, node, "command");
    nj_manifest_read_command(in, node, "command", &group->accept_command);
    nj_manifest_read_uint(in, node, "attempts", 1, ATTEMPTS_MAX, &group->accept_attempts);
    nj_manifest_read_uint(in, node, "timeout_seconds", 1, ACCEPT_SECONDS_MAX,
                          &group->accept_timeout_seconds);
}

static void read_after(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_group *group)
{
    size_t *after;

    if (!node || !nj_yaml_list(&in->yaml, node, 0, NJ_MANIFEST_AGENTS_MAX))
        return;
    after = nj_manifest_read_alloc(in, node->count, sizeof(*after));
    if (!after)
        return;
    group->after = after;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        size_t at = NJ_MANIFEST_NONE;

        nj_manifest_read_ref(in, item, "group", &in->groups, &at);
        for (size_t i = 0; i < group->n_after; i++) {
            if (at != NJ_MANIFEST_NONE && after[i] == at)
                nj_yaml_fault(&in->yaml, item, "given twice");
        }
        after[group->n_after++] = at; /* kept even where unknown: {results} is right all the same */
    }
}

static void read_group(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_group *group)
{
    static const char *const keys[] = {
        "name",  "agent",  "for_each", "key",    "files", "input", "outputs",      "accept",
        "after", "limits", "retry",    "matrix", "where", "first", "may_be_empty", "override"};
    const struct nj_yaml_node *child;
    const char *input;

    group->name = "";
    group->input = "";
    group->mark = group->agent_mark = group->for_each_mark = node->mark;
    group->key_mark = group->input_mark = group->accept_mark = node->mark;
    group->agent = NJ_MANIFEST_NONE;
    group->accept_attempts = 3;
    group->accept_timeout_seconds = 60;
    nj_manifest_read_limit(in, NULL, 0, &group->limits);
    nj_manifest_read_retry(in, NULL, &in->manifest->retry, &group->retry);
    if (!nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    nj_manifest_read_name(in, nj_yaml_need(&in->yaml, node, "name"), &group->name);
    child = nj_yaml_need(&in->yaml, node, "agent");
    if (child)
        group->agent_mark = child->mark;
    nj_manifest_read_ref(in, child, "agent", &in->agents, &group->agent);
    nj_manifest_read_items(in, node, group);
    read_after(in, nj_yaml_get(node, "after"), group);
    read_group_key(in, node, group);
    read_files(in, nj_yaml_get(node, "files"), group);
    child = nj_yaml_need(&in->yaml, node, "input");
    if (child)
        group->input_mark = child->mark;
    input = nj_manifest_read_template(in, child, group, true, false);
    if (input)
        group->input = input;
    nj_manifest_read_texts(in, node, "outputs", 0, NJ_MANIFEST_FILES_MAX,
                           nj_manifest_box_glob_fault, &group->outputs);
    nj_manifest_read_override(in, nj_yaml_get(node, "override"), group);
    read_accept(in, nj_yaml_get(node, "accept"), group);
    nj_manifest_read_limit(in, nj_yaml_get(node, "limits"), 0, &group->limits);
    nj_manifest_read_retry(in, nj_yaml_get(node, "retry"), &in->manifest->retry, &group->retry);
}

void nj_manifest_read_groups(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    struct nj_manifest_group *groups;

    if (!node || !nj_yaml_list(&in->yaml, node, 1, NJ_MANIFEST_AGENTS_MAX))
        return;
    groups = nj_manifest_read_alloc(in, node->count, sizeof(*groups));
    if (!groups)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_group(in, item, &groups[item->index]);
    in->manifest->groups = groups;
    in->manifest->n_groups = node->count;
}
