/*
 * assemble.c - includes, declared variables, and the order of it all
 *
 * The complication: a value of a variable must not become more than a text. It is put into texts
 * only, after YAML was read, and may hold no brace: nothing of it is ever taken for a placeholder.
 */
#include "formats/manifest/assemble.h"

#include <stdio.h>

#include "formats/manifest/read.h"
#include "formats/manifest/yaml_edit.h"

#include "formats/base/banned.h"

#define INCLUDE_DEPTH_MAX 8
#define INCLUDES_MAX 64 /* files in all */
#define ENV_MAX 256
#define ENV_VALUE_MAX_BYTES 4096
#define TEXT_MAX_BYTES (1u << 20)
#define PLACE_PREFIX "{env."

struct assembling {
    struct nj_yaml_reader *reader;
    const struct nj_yaml_limits *limits;
    const struct nj_manifest_options *options;
    struct nj_error *err;
    const char *trail[INCLUDE_DEPTH_MAX]; /* the files that are being included */
    size_t depth;
    const char *seen[INCLUDES_MAX];
    size_t n_seen;
    const char *names[ENV_MAX];
    const char *values[ENV_MAX];
    size_t n_names;
};

/* ---- include ---- */

static bool both_are(const struct nj_yaml_node *a, const struct nj_yaml_node *b,
                     enum nj_yaml_kind kind)
{
    return a->kind == kind && b->kind == kind;
}

/* What @from has and @to has not goes into @to: at the root whole keys, one level below entries of
 * maps; items of lists are put in front. */
static void join_maps(struct nj_yaml_node *to, const struct nj_yaml_node *from, bool at_root)
{
    const struct nj_yaml_node *next;

    for (const struct nj_yaml_node *child = from->first; child; child = next) {
        struct nj_yaml_node *moved = nj_yaml_mutable(child);
        struct nj_yaml_node *own = nj_yaml_mutable(nj_yaml_get(to, child->key));

        next = child->next;
        if (at_root && (strcmp(child->key, "include") == 0 || strcmp(child->key, "nightjar") == 0))
            continue;
        if (!own) {
            nj_yaml_unlink(moved);
            nj_yaml_append(to, moved, moved->key, moved->key_mark);
        } else if (at_root && both_are(own, child, NJ_YAML_MAP)) {
            join_maps(own, child, false);
        } else if (at_root && both_are(own, child, NJ_YAML_SEQ)) {
            while (own->first) {
                struct nj_yaml_node *item = nj_yaml_mutable(own->first);

                nj_yaml_unlink(item);
                nj_yaml_append(moved, item, NULL, item->mark);
            }
            own->first = moved->first;
            own->count = moved->count;
            for (const struct nj_yaml_node *item = own->first; item; item = item->next)
                nj_yaml_mutable(item)->up = own;
        }
    }
}

static bool fits(struct assembling *in, const struct nj_yaml_node *node, const char *path)
{
    char circle[320] = "";
    struct nj_error err = {0};

    if (nj_manifest_path_ok(path, &err) < 0) {
        nj_yaml_fault(in->reader, node, "%s", err.text);
        return false;
    }
    for (size_t i = 0; i < in->depth; i++) {
        if (strcmp(in->trail[i], path) != 0)
            continue;
        for (size_t k = i; k < in->depth; k++) {
            size_t len = strlen(circle);

            (void)snprintf(circle + len, sizeof(circle) - len, "%.60s, ", in->trail[k]);
        }
        nj_yaml_fault(in->reader, node, "files include each other in a circle: %s%.60s", circle,
                      path);
        return false;
    }
    if (in->depth == INCLUDE_DEPTH_MAX || in->n_seen == INCLUDES_MAX) {
        nj_yaml_fault(in->reader, node, "included too deeply (%d) or too many files (%d)",
                      INCLUDE_DEPTH_MAX, INCLUDES_MAX);
        return false;
    }
    return true;
}

static int include_all(struct assembling *in, struct nj_yaml_node *root);

static int include_one(struct assembling *in, struct nj_yaml_node *root,
                       const struct nj_yaml_node *node)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    const struct nj_yaml_node *tree = NULL;
    unsigned file = in->reader->file;
    const char *path = NULL;
    uint64_t version = 0;
    int r;

    if (!nj_yaml_text(in->reader, node, NJ_MANIFEST_PATH_MAX_BYTES, false, &path) ||
        !fits(in, node, path))
        return 0;
    for (size_t i = 0; i < in->n_seen; i++) {
        if (strcmp(in->seen[i], path) == 0)
            return 0; /* two ways to one file: what it says is there already */
    }
    in->seen[in->n_seen++] = path;
    nj_buf_init(&bytes, in->limits->max_bytes);
    r = in->options->read(in->options->ctx, path, &bytes, in->err);
    if (r < 0 && in->err->code != NJ_E_NOMEM) {
        nj_yaml_fault(in->reader, node, "%s", in->err->text);
        return 0;
    }
    if (r < 0)
        return r;
    in->reader->file = nj_manifest_faults_file(in->reader->faults, path);
    r = nj_yaml_load(nj_buf_span(&bytes), in->limits, in->reader, &tree, in->err);
    if (r == 0 && tree && tree->kind != NJ_YAML_MAP)
        nj_yaml_expected(in->reader, tree, "a map with keys of a manifest");
    if (r == 0 && tree && tree->kind == NJ_YAML_MAP) {
        const struct nj_yaml_node *given = nj_yaml_get(tree, "nightjar");

        if (given && nj_yaml_uint(in->reader, given, 1, 1000, &version) &&
            version != NJ_MANIFEST_VERSION)
            nj_yaml_fault(in->reader, given, "manifest version %llu: this build reads version %d",
                          (unsigned long long)version, NJ_MANIFEST_VERSION);
        in->trail[in->depth++] = path;
        r = include_all(in, nj_yaml_mutable(tree));
        in->depth--;
        join_maps(root, tree, true);
    }
    in->reader->file = file;
    return r;
}

/* The last of several wins over those before it, so they are joined from the end: what is there
 * already stays. */
static int include_all(struct assembling *in, struct nj_yaml_node *root)
{
    const struct nj_yaml_node *node = nj_yaml_get(root, "include");
    int r = 0;

    if (!node)
        return 0;
    if (!in->options || !in->options->read) {
        nj_yaml_fault_key(in->reader, node, "nothing can be included here");
        return 0;
    }
    if (node->kind != NJ_YAML_SEQ)
        return include_one(in, root, node);
    if (!nj_yaml_list(in->reader, node, 0, INCLUDES_MAX))
        return 0;
    for (size_t i = node->count; r == 0 && i > 0; i--) {
        const struct nj_yaml_node *item = node->first;

        while (item->index + 1 < i)
            item = item->next;
        r = include_one(in, root, item);
    }
    return r;
}

/* ---- env ---- */

static const char *value_fault(const char *value)
{
    if (strlen(value) > ENV_VALUE_MAX_BYTES)
        return "its value is longer than 4096 bytes";
    for (const char *at = value; *at; at++) {
        if (*at == '{' || *at == '}')
            return "its value holds a brace, which a template would take for a placeholder";
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return "its value holds a control character";
    }
    return NULL;
}

/* A variable that a credential takes its secret from must not be written into the run. */
static bool is_secret(const struct nj_yaml_node *root, const char *name)
{
    const struct nj_yaml_node *credentials = nj_yaml_get(root, "credentials");

    if (!credentials || credentials->kind != NJ_YAML_MAP)
        return false;
    for (const struct nj_yaml_node *item = credentials->first; item; item = item->next) {
        const struct nj_yaml_node *env =
            item->kind == NJ_YAML_MAP ? nj_yaml_get(item, "env") : NULL;

        if (env && env->kind == NJ_YAML_SCALAR && nj_span_is(env->text, name))
            return true;
    }
    return false;
}

static void take_variable(struct assembling *in, const struct nj_yaml_node *root,
                          const struct nj_yaml_node *node, const char *name,
                          const struct nj_yaml_node *otherwise)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const char *value = NULL;
    const char *fault;

    if (!*name || name[strspn(name, chars)] || (*name >= '0' && *name <= '9') ||
        strlen(name) > NJ_MANIFEST_NAME_MAX_CHARS) {
        nj_yaml_fault(in->reader, node,
                      "a variable's name has letters, digits and \"_\", and does not begin with a "
                      "digit");
        return;
    }
    in->names[in->n_names++] = name; /* known, whatever becomes of its value */
    if (is_secret(root, name)) {
        nj_yaml_fault(in->reader, node,
                      "%s holds the secret of a credential: what env inserts is written into the "
                      "run and every bundle",
                      name);
        return;
    }
    if (in->options && in->options->env)
        value = in->options->env(in->options->ctx, name);
    if (!value && otherwise && nj_yaml_type(otherwise) != NJ_YAML_NULL) {
        if (!nj_yaml_text(in->reader, otherwise, ENV_VALUE_MAX_BYTES, true, &value))
            return;
    }
    fault = value ? value_fault(value) : NULL;
    if (!value)
        nj_yaml_fault(in->reader, node, "the variable %s is not set", name);
    else if (fault)
        nj_yaml_fault(in->reader, node, "%s: %s", name, fault);
    else
        in->values[in->n_names - 1] = nj_arena_text(in->reader->arena, value);
}

static const char *value_of(const struct assembling *in, const char *name, size_t len,
                            bool *ret_known)
{
    *ret_known = false;
    for (size_t i = 0; i < in->n_names; i++) {
        if (strlen(in->names[i]) == len && memcmp(in->names[i], name, len) == 0) {
            *ret_known = true;
            return in->values[i];
        }
    }
    return NULL;
}

static int fill_text(struct assembling *in, struct nj_yaml_node *node)
{
    const char *at = (const char *)node->text.data;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    const char *found;

    if (node->plain || memchr(node->text.data, '\0', node->text.len) || !strstr(at, PLACE_PREFIX))
        return 0;
    nj_buf_init(&out, TEXT_MAX_BYTES);
    while ((found = strstr(at, PLACE_PREFIX))) {
        const char *name = found + strlen(PLACE_PREFIX);
        size_t len = strcspn(name, "{}\n");
        bool known = false;
        const char *value = name[len] == '}' ? value_of(in, name, len, &known) : NULL;
        int r;

        if (!known) {
            char wrong[NJ_MANIFEST_NAME_MAX_CHARS + 1];
            const char *nearest;

            (void)snprintf(wrong, sizeof(wrong), "%.*s", (int)(len > 60 ? 60 : len), name);
            nearest = nj_yaml_nearest(wrong, in->names, in->n_names);
            nj_yaml_fault(in->reader, node, "{env.%s} is not declared in env%s%s%s", wrong,
                          nearest ? "; did you mean " : "", nearest ? nearest : "",
                          nearest ? "?" : "");
            return 0;
        }
        r = nj_buf_append(&out, at, (size_t)(found - at), in->err);
        if (r == 0 && value)
            r = nj_buf_text(&out, value, in->err);
        if (r < 0 && in->err->code == NJ_E_NOMEM)
            return r;
        if (r < 0) {
            nj_yaml_fault(in->reader, node, "longer than %u bytes with its variables",
                          TEXT_MAX_BYTES);
            return 0;
        }
        at = name + len + 1;
    }
    if (nj_buf_text(&out, at, in->err) < 0)
        return in->err->code == NJ_E_NOMEM ? -NJ_E_NOMEM : 0;
    node->text.data = (const uint8_t *)nj_arena_span(in->reader->arena, nj_buf_span(&out));
    node->text.len = out.len;
    return node->text.data ? 0 : nj_fail_nomem(in->err);
}

/* Recursion goes no deeper than the tree, which has a limit. */
static int fill_below(struct assembling *in, const struct nj_yaml_node *node)
{
    int r = 0;

    if (node->kind == NJ_YAML_SCALAR)
        return fill_text(in, nj_yaml_mutable(node));
    for (const struct nj_yaml_node *child = node->first; r == 0 && child; child = child->next)
        r = fill_below(in, child);
    return r;
}

static int fill_variables(struct assembling *in, const struct nj_yaml_node *root)
{
    const struct nj_yaml_node *node = nj_yaml_get(root, "env");

    if (!node)
        return 0;
    if (node->kind == NJ_YAML_MAP ? !nj_yaml_names(in->reader, node, 0, ENV_MAX)
                                  : !nj_yaml_list(in->reader, node, 0, ENV_MAX))
        return 0;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        const char *name = item->key;

        if (name || nj_yaml_text(in->reader, item, NJ_MANIFEST_PATH_MAX_BYTES, false, &name))
            take_variable(in, root, item, name, item->key ? item : NULL);
    }
    return fill_below(in, root);
}

/* ---- the whole ---- */

static void drop(const struct nj_yaml_node *root, const char *key)
{
    const struct nj_yaml_node *node = nj_yaml_get(root, key);

    if (node)
        nj_yaml_unlink(nj_yaml_mutable(node));
}

/* --only replaces what the manifest says under `only`. */
static void put_only(struct assembling *in, const struct nj_yaml_node *root)
{
    struct nj_mark mark = {1, 1, nj_manifest_faults_file(in->reader->faults, "--only")};
    struct nj_yaml_node *list = nj_yaml_new(in->reader, NJ_YAML_SEQ, mark);

    drop(root, "only");
    for (size_t i = 0; list && in->options->only[i]; i++) {
        struct nj_yaml_node *item = nj_yaml_new(in->reader, NJ_YAML_SCALAR, mark);

        if (!item)
            return;
        item->text.data = (const uint8_t *)nj_arena_text(in->reader->arena, in->options->only[i]);
        item->text.len = strlen(in->options->only[i]);
        in->reader->nomem = in->reader->nomem || !item->text.data;
        nj_yaml_append(list, item, NULL, mark);
    }
    if (list)
        nj_yaml_append(nj_yaml_mutable(root), list, "only", mark);
}

int nj_manifest_assemble(struct nj_yaml_reader *reader, const struct nj_yaml_limits *limits,
                         const struct nj_yaml_node *root, const struct nj_manifest_options *options,
                         bool *ret_changed, struct nj_error *err)
{
    static const struct nj_manifest_options none = {0};
    struct assembling in = {
        .reader = reader, .limits = limits, .options = options ? options : &none, .err = err};
    bool changed;
    int r;

    if (root->kind != NJ_YAML_MAP)
        return 0;
    changed = nj_yaml_get(root, "include") || nj_yaml_get(root, "env");
    r = include_all(&in, nj_yaml_mutable(root));
    if (r == 0)
        r = fill_variables(&in, root);
    for (size_t i = 0; r == 0 && in.options->sets && in.options->sets[i]; i++) {
        r = nj_manifest_set(reader, limits, root, in.options->sets[i], err);
        changed = true;
    }
    if (r == 0 && in.options->only && in.options->only[0] && !reader->nomem) {
        put_only(&in, root);
        changed = true;
    }
    drop(root, "include");
    drop(root, "env");
    *ret_changed = changed;
    return r;
}
