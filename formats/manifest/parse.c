/*
 * parse.c - from the tree to the job: single values, the root and what is small
 *
 * The complication: a fault must not end the reading, for a person wants all of them at once. So
 * each reader takes what is right, adds a fault for what is not, and read.h says what is left
 * behind.
 */
#include <stdio.h>

#include "formats/manifest/assemble.h"
#include "formats/manifest/read.h"
#include "formats/manifest/yaml_edit.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES (1u << 20) /* instructions, input, content: one text */
#define URL_MAX_BYTES 2048

/* ---- readers of single values ---- */

void *nj_manifest_read_alloc(struct nj_manifest_reading *in, size_t count, size_t size)
{
    void *items = nj_arena_array(in->yaml.arena, count > 0 ? count : 1, size);

    if (!items)
        in->yaml.nomem = true;
    return items;
}

/* Names become file names, metric labels and tool names: letters, digits, "_", "." and "-". */
static bool name_ok(const char *name)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

    return name[strspn(name, chars)] == '\0' && *name && *name != '.' && *name != '-' &&
           strlen(name) <= NJ_MANIFEST_NAME_MAX_CHARS;
}

#define NAME_RULE                                                                                  \
    "a name has 1 to 64 letters, digits, \"_\", \".\" or \"-\", and begins with a letter, digit "  \
    "or \"_\""

void nj_manifest_read_name(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                           const char **ret)
{
    const char *name = NULL;

    if (!node || !nj_yaml_text(&in->yaml, node, TEXT_MAX_BYTES, true, &name))
        return;
    if (name_ok(name))
        *ret = name;
    else
        nj_yaml_fault(&in->yaml, node, NAME_RULE);
}

bool nj_manifest_read_key_name(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    if (name_ok(node->key))
        return true;
    nj_yaml_fault_key(&in->yaml, node, NAME_RULE);
    return false;
}

void nj_manifest_read_uint(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           const char *key, uint64_t min, uint64_t max, uint64_t *ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);

    if (node)
        (void)nj_yaml_uint(&in->yaml, node, min, max, ret); /* its fault is in the list */
}

void nj_manifest_read_text(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           const char *key, bool empty_ok, const char **ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);

    if (node)
        (void)nj_yaml_text(&in->yaml, node, TEXT_MAX_BYTES, empty_ok, ret);
}

void nj_manifest_read_bits(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           const char *key, const char *noun, const struct nj_manifest_word *words,
                           size_t n_words, unsigned *ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);
    const char *names[16];
    unsigned bits = 0;

    if (!node || !nj_yaml_list(&in->yaml, node, 1, NJ_MANIFEST_WORDS_MAX))
        return;
    for (size_t i = 0; i < n_words; i++)
        names[i] = words[i].text;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        size_t at = 0;

        if (!nj_yaml_enum(&in->yaml, item, noun, names, n_words, &at))
            continue;
        if (bits & words[at].bit)
            nj_yaml_fault(&in->yaml, item, "given twice");
        bits |= words[at].bit;
    }
    *ret = bits;
}

void nj_manifest_read_path(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                           const char **ret)
{
    const char *path = NULL;
    const char *fault;

    if (!node || !nj_yaml_text(&in->yaml, node, TEXT_MAX_BYTES, false, &path))
        return;
    fault = nj_manifest_host_path_fault(path);
    if (fault)
        nj_yaml_fault(&in->yaml, node, "%s", fault);
    else
        *ret = path;
}

/* http or https, a host, nothing that could carry a secret into a log. */
static const char *url_fault(const char *url)
{
    const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : NULL;

    if (!host)
        return "a URL begins with http:// or https://";
    if (strlen(url) > URL_MAX_BYTES)
        return "a URL is longer than 2048 bytes";
    for (const char *at = url; *at; at++) {
        if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f || strchr("\"<>\\^`{|}", *at))
            return "a URL holds a character that must be written as %XX";
    }
    if (strcspn(host, "/?#:") == 0)
        return "a URL has no host";
    if (memchr(host, '@', strcspn(host, "/?#")))
        return "a URL holds a user or a password: name a credential instead";
    return NULL;
}

void nj_manifest_read_url(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                          const char *key, const char **ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);
    const char *url = NULL;
    const char *fault;

    if (!node || !nj_yaml_text(&in->yaml, node, TEXT_MAX_BYTES, false, &url))
        return;
    fault = url_fault(url);
    if (fault)
        nj_yaml_fault(&in->yaml, node, "%s", fault);
    else
        *ret = url;
}

void nj_manifest_read_checked(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                              const char *key, nj_manifest_text_check check, const char **ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);
    const char *text = NULL;
    const char *fault;

    if (!node || !nj_yaml_text(&in->yaml, node, URL_MAX_BYTES, false, &text))
        return;
    fault = check(text);
    if (fault)
        nj_yaml_fault(&in->yaml, node, "%s", fault);
    else
        *ret = text;
}

void nj_manifest_read_texts(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                            const char *key, size_t min, size_t max, nj_manifest_text_check check,
                            struct nj_manifest_texts *ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);
    struct nj_manifest_text *items;
    size_t n = 0;

    if (!node || !nj_yaml_list(&in->yaml, node, min, max))
        return;
    items = nj_manifest_read_alloc(in, node->count, sizeof(*items));
    if (!items)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        const char *text = NULL;
        const char *fault;

        if (!nj_yaml_text(&in->yaml, item, TEXT_MAX_BYTES, true, &text))
            continue;
        fault = check ? check(text) : NULL;
        if (fault)
            nj_yaml_fault(&in->yaml, item, "%s", fault);
        else
            items[n++] = (struct nj_manifest_text){text, item->mark};
    }
    *ret = (struct nj_manifest_texts){items, n};
}

void nj_manifest_read_command(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                              const char *key, struct nj_manifest_texts *ret)
{
    nj_manifest_read_texts(in, map, key, 1, NJ_MANIFEST_LIST_MAX, NULL, ret);
    if (ret->count > 0 && !*ret->items[0].text)
        nj_yaml_fault(&in->yaml, nj_yaml_get(map, key), "the program's name is empty");
}

void nj_manifest_read_ref(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                          const char *noun, const struct nj_manifest_names *names, size_t *ret)
{
    size_t at = 0;

    if (node && nj_yaml_enum(&in->yaml, node, noun, names->names, names->count, &at))
        *ret = names->index[at];
}

/* ---- names first, so that a reference may stand before what it names ---- */

static void collect_names(struct nj_manifest_reading *in, const char *key,
                          struct nj_manifest_names *names)
{
    const struct nj_yaml_node *node = nj_yaml_get(in->root, key);

    if (!node || (node->kind != NJ_YAML_MAP && node->kind != NJ_YAML_SEQ))
        return; /* its reader will say so */
    names->names = nj_manifest_read_alloc(in, node->count, sizeof(*names->names));
    names->index = nj_manifest_read_alloc(in, node->count, sizeof(*names->index));
    if (!names->names || !names->index)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        const char *name = item->key;

        if (!name && item->kind == NJ_YAML_MAP) { /* a group: its name is inside */
            const struct nj_yaml_node *inner = nj_yaml_get(item, "name");

            if (inner && nj_yaml_type(inner) == NJ_YAML_TEXT)
                name = (const char *)inner->text.data;
        }
        if (!name || !name_ok(name))
            continue;
        names->names[names->count] = name;
        names->index[names->count++] = item->index;
    }
}

/* ---- alerts, telemetry ---- */

static void read_alert(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_alert *alert)
{
    static const char *const keys[] = {"when", "webhook", "credential"};

    alert->mark = node->mark;
    alert->credential = NJ_MANIFEST_NONE;
    if (!nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    (void)nj_yaml_need(&in->yaml, node, "when");
    (void)nj_yaml_need(&in->yaml, node, "webhook");
    nj_manifest_read_bits(in, node, "when", "event", nj_manifest_alert_words,
                          NJ_COUNT(nj_manifest_alert_words), &alert->when);
    nj_manifest_read_url(in, node, "webhook", &alert->webhook);
    nj_manifest_read_ref(in, nj_yaml_get(node, "credential"), "credential", &in->credentials,
                         &alert->credential);
}

static void read_alerts(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    struct nj_manifest_alert *alerts;

    if (!node || !nj_yaml_list(&in->yaml, node, 0, NJ_MANIFEST_AGENTS_MAX))
        return;
    alerts = nj_manifest_read_alloc(in, node->count, sizeof(*alerts));
    if (!alerts)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_alert(in, item, &alerts[item->index]);
    in->manifest->alerts = alerts;
    in->manifest->n_alerts = node->count;
}

static void read_telemetry(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    static const char *const keys[] = {"otlp"};

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    in->manifest->telemetry_mark = node->mark;
    nj_manifest_read_url(in, node, "otlp", &in->manifest->telemetry_otlp);
}

/* ---- the root ---- */

static void read_version(struct nj_manifest_reading *in)
{
    const struct nj_yaml_node *node = nj_yaml_need(&in->yaml, in->root, "nightjar");
    uint64_t version = 0;

    if (node && nj_yaml_uint(&in->yaml, node, 1, 1000, &version) && version != NJ_MANIFEST_VERSION)
        nj_yaml_fault(&in->yaml, node, "manifest version %llu: this build reads version %d",
                      (unsigned long long)version, NJ_MANIFEST_VERSION);
}

/* Keys that begin with x- are a place for anchors and notes. */
static void drop_extensions(const struct nj_yaml_node *root)
{
    const struct nj_yaml_node *next;

    for (const struct nj_yaml_node *child = root->first; child; child = next) {
        next = child->next;
        if (child->key && strncmp(child->key, "x-", 2) == 0)
            nj_yaml_unlink(nj_yaml_mutable(child));
    }
}

static const char *only_fault(const char *text)
{
    return *text ? NULL : "a pattern of keys is empty";
}

static void read_root(struct nj_manifest_reading *in)
{
    static const char *const keys[] = {"nightjar",  "job",    "models", "credentials", "agents",
                                       "sessions",  "limits", "retry",  "archive",     "alerts",
                                       "telemetry", "report", "only",   "include",     "env"};
    const struct nj_yaml_node *root = in->root;

    drop_extensions(root);
    if (!nj_yaml_keys(&in->yaml, root, keys, NJ_COUNT(keys)))
        return;
    read_version(in);
    nj_manifest_read_name(in, nj_yaml_get(root, "job"), &in->manifest->job);
    collect_names(in, "models", &in->roles);
    collect_names(in, "credentials", &in->credentials);
    collect_names(in, "agents", &in->agents);
    collect_names(in, "sessions", &in->groups);
    nj_manifest_read_credentials(in, nj_yaml_get(root, "credentials"));
    nj_manifest_read_roles(in, nj_yaml_get(root, "models"));
    nj_manifest_read_agents(in, nj_yaml_need(&in->yaml, root, "agents"));
    nj_manifest_read_run_limits(in, nj_yaml_get(root, "limits"));
    nj_manifest_read_retry(in, nj_yaml_get(root, "retry"), NULL, &in->manifest->retry);
    nj_manifest_read_groups(in, nj_yaml_need(&in->yaml, root, "sessions"));
    nj_manifest_read_archive(in, nj_yaml_get(root, "archive"));
    read_alerts(in, nj_yaml_get(root, "alerts"));
    read_telemetry(in, nj_yaml_get(root, "telemetry"));
    nj_manifest_read_report(in, nj_yaml_get(root, "report"));
    nj_manifest_read_texts(in, root, "only", 1, NJ_MANIFEST_LIST_MAX, only_fault,
                           &in->manifest->only);
    nj_manifest_check(in);
}

void nj_manifest_free(struct nj_manifest *manifest)
{
    if (!manifest)
        return;
    nj_arena_done(&manifest->arena);
    free(manifest);
}

int nj_manifest_parse(struct nj_span bytes, const char *name, struct nj_manifest **ret_manifest,
                      struct nj_manifest_faults *faults, struct nj_error *err)
{
    return nj_manifest_parse_job(bytes, name, NULL, ret_manifest, faults, err);
}

int nj_manifest_parse_job(struct nj_span bytes, const char *name,
                          const struct nj_manifest_options *options,
                          struct nj_manifest **ret_manifest, struct nj_manifest_faults *faults,
                          struct nj_error *err)
{
    static const struct nj_yaml_limits limits = {.max_bytes = NJ_MANIFEST_MAX_BYTES,
                                                 .max_nodes = NJ_MANIFEST_NODES_MAX,
                                                 .max_depth = NJ_MANIFEST_DEPTH_MAX};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = calloc(1, sizeof(*manifest));
    struct nj_manifest_reading in = {.manifest = manifest};
    int r;

    if (!manifest)
        return nj_fail_nomem(err);
    in.yaml = (struct nj_yaml_reader){.arena = &manifest->arena, .faults = faults};
    manifest->job = "job";
    manifest->name = nj_arena_text(&manifest->arena, name);
    if (!manifest->name)
        return nj_fail_nomem(err);
    r = nj_yaml_load(bytes, &limits, &in.yaml, &in.root, err);
    if (r < 0)
        return r;
    if (in.root)
        r = nj_manifest_assemble(&in.yaml, &limits, in.root, options, &manifest->assembled, err);
    if (r < 0)
        return r;
    if (in.root)
        read_root(&in);
    r = nj_yaml_end(&in.yaml, name, err);
    if (r < 0)
        return r;
    *ret_manifest = nj_steal_ptr(&manifest);
    return 0;
}

size_t nj_manifest_find_agent(const struct nj_manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->n_agents; i++) {
        if (strcmp(manifest->agents[i].name, name) == 0)
            return i;
    }
    return NJ_MANIFEST_NONE;
}

size_t nj_manifest_find_group(const struct nj_manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->n_groups; i++) {
        if (strcmp(manifest->groups[i].name, name) == 0)
            return i;
    }
    return NJ_MANIFEST_NONE;
}
