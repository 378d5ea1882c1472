/*
 * parse_model.c - models and credentials: who answers, what it costs, with whose key
 *
 * The complication: what one provider needs another has no use for, and a key in the wrong place
 * must be named as such instead of being passed over.
 */
#include <stdio.h>

#include "formats/manifest/read.h"

#include "formats/base/banned.h"

#define MICRO 1000000
#define PRICE_MAX (1000000LL * MICRO) /* USD per million tokens: a dollar a token */

/* ---- credentials ---- */

static const char *host_fault(const char *host)
{
    if (host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.:")] || !*host)
        return "a host is a lower-case name such as api.example.com, with a port where needed";
    return NULL;
}

static const char *method_fault(const char *method)
{
    if (method[strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] || !*method || strlen(method) > 16)
        return "a method is written in capitals: GET";
    return NULL;
}

static const char *variable_fault(const char *name)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    if (!*name || name[strspn(name, chars)] || (*name >= '0' && *name <= '9'))
        return "a variable's name has letters, digits and \"_\", and does not begin with a digit";
    return NULL;
}

static const char *header_fault(const char *header)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    return !*header || header[strspn(header, chars)]
               ? "a header's name has letters, digits and \"-\""
               : NULL;
}

static const char *format_fault(const char *format)
{
    const char *secret = strstr(format, "{secret}");

    if (!secret || strstr(secret + 1, "{secret}"))
        return "expected {secret} in it, once";
    for (; *format; format++) {
        if ((unsigned char)*format < 0x20 || (unsigned char)*format >= 0x7f)
            return "holds a character that a header cannot";
    }
    return NULL;
}

static void read_credential(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                            struct nj_manifest_credential *credential)
{
    static const char *const keys[] = {"env", "file", "hosts", "methods", "header", "format"};

    credential->name = node->key;
    credential->mark = node->key_mark;
    credential->header = "Authorization";
    credential->format = "Bearer {secret}";
    if (!nj_manifest_read_key_name(in, node) ||
        !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    if (!nj_yaml_get(node, "env") == !nj_yaml_get(node, "file"))
        nj_yaml_fault(&in->yaml, node, "expected either env (a variable's name) or file (a path)");
    nj_manifest_read_checked(in, node, "env", variable_fault, &credential->env);
    nj_manifest_read_path(in, nj_yaml_get(node, "file"), &credential->file);
    nj_manifest_read_texts(in, node, "hosts", 1, NJ_MANIFEST_LIST_MAX, host_fault,
                           &credential->hosts);
    nj_manifest_read_texts(in, node, "methods", 1, NJ_MANIFEST_WORDS_MAX, method_fault,
                           &credential->methods);
    nj_manifest_read_checked(in, node, "header", header_fault, &credential->header);
    nj_manifest_read_checked(in, node, "format", format_fault, &credential->format);
}

void nj_manifest_read_credentials(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    struct nj_manifest_credential *credentials;

    if (!node || !nj_yaml_names(&in->yaml, node, 0, NJ_MANIFEST_AGENTS_MAX))
        return;
    credentials = nj_manifest_read_alloc(in, node->count, sizeof(*credentials));
    if (!credentials)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_credential(in, item, &credentials[item->index]);
    in->manifest->credentials = credentials;
    in->manifest->n_credentials = node->count;
}

/* ---- models ---- */

static void read_price(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_model *model)
{
    static const char *const keys[] = {"input", "output", "cache_read", "cache_write_5m",
                                       "cache_write_1h"};
    struct nj_manifest_price *price = &model->price;
    int64_t *const values[] = {&price->input, &price->output, &price->cache_read,
                               &price->cache_write_5m, &price->cache_write_1h};

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    model->priced = true;
    for (size_t i = 0; i < NJ_COUNT(keys); i++) {
        const struct nj_yaml_node *value =
            i < 2 ? nj_yaml_need(&in->yaml, node, keys[i]) : nj_yaml_get(node, keys[i]);

        *values[i] =
            price->input; /* tokens of a kind without a price of their own are input tokens */
        if (value)
            (void)nj_yaml_micro(&in->yaml, value, 0, PRICE_MAX, values[i]);
    }
}

/* What each provider needs and what it has no use for. */
static void check_provider_keys(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                                const struct nj_manifest_model *model)
{
    static const char *const not_script[] = {"model", "base_url", "credential", "delivery"};
    const struct nj_yaml_node *script = nj_yaml_get(node, "script");

    if (model->provider == NJ_PROVIDER_SCRIPT) {
        (void)nj_yaml_need(&in->yaml, node, "script");
        for (size_t i = 0; i < NJ_COUNT(not_script); i++) {
            const struct nj_yaml_node *extra = nj_yaml_get(node, not_script[i]);

            if (extra)
                nj_yaml_fault_key(&in->yaml, extra, "the provider script has no use for this key");
        }
        return;
    }
    (void)nj_yaml_need(&in->yaml, node, "model");
    if (script)
        nj_yaml_fault_key(&in->yaml, script, "only the provider script reads a file");
    if (model->provider != NJ_PROVIDER_ANTHROPIC && model->delivery == NJ_DELIVERY_BATCH)
        nj_yaml_fault(&in->yaml, nj_yaml_get(node, "delivery"),
                      "only the provider anthropic delivers in batches");
}

static void read_model(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_model *model)
{
    static const char *const keys[] = {"provider",   "model",    "script", "base_url",
                                       "credential", "delivery", "price",  "when"};
    const struct nj_yaml_node *child;
    size_t word = 0;

    model->mark = model->provider_mark = model->script_mark = model->delivery_mark = node->mark;
    model->credential = NJ_MANIFEST_NONE;
    model->when = node->index > 0 ? NJ_CAUSE_ALL : 0;
    if (!nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    nj_manifest_read_text(in, node, "model", false, &model->model);
    child = nj_yaml_get(node, "script");
    nj_manifest_read_path(in, child, &model->script);
    if (child)
        model->script_mark = child->mark;
    nj_manifest_read_url(in, node, "base_url", &model->base_url);
    nj_manifest_read_ref(in, nj_yaml_get(node, "credential"), "credential", &in->credentials,
                         &model->credential);
    child = nj_yaml_get(node, "delivery");
    if (child && nj_yaml_enum(&in->yaml, child, "delivery", nj_manifest_deliveries,
                              NJ_COUNT(nj_manifest_deliveries), &word))
        model->delivery = (enum nj_manifest_delivery)word;
    if (child)
        model->delivery_mark = child->mark;
    read_price(in, nj_yaml_get(node, "price"), model);
    child = nj_yaml_get(node, "when");
    if (child && node->index == 0)
        nj_yaml_fault_key(&in->yaml, child, "the first model of a chain is always tried first");
    else
        nj_manifest_read_bits(in, node, "when", "cause", nj_manifest_causes,
                              NJ_COUNT(nj_manifest_causes), &model->when);
    child = nj_yaml_need(&in->yaml, node, "provider");
    if (!child || !nj_yaml_enum(&in->yaml, child, "provider", nj_manifest_providers,
                                NJ_COUNT(nj_manifest_providers), &word))
        return;
    model->provider = (enum nj_manifest_provider)word;
    model->provider_mark = child->mark;
    check_provider_keys(in, node, model);
}

static void read_role(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      struct nj_manifest_role *role)
{
    struct nj_manifest_model *chain;

    role->name = node->key;
    role->mark = node->key_mark;
    if (!nj_manifest_read_key_name(in, node) ||
        !nj_yaml_list(&in->yaml, node, 1, NJ_MANIFEST_CHAIN_MAX))
        return;
    chain = nj_manifest_read_alloc(in, node->count, sizeof(*chain));
    if (!chain)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_model(in, item, &chain[item->index]);
    role->chain = chain;
    role->n_chain = node->count;
}

void nj_manifest_read_roles(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    struct nj_manifest_role *roles;

    if (!node || !nj_yaml_names(&in->yaml, node, 0, NJ_MANIFEST_AGENTS_MAX))
        return;
    roles = nj_manifest_read_alloc(in, node->count, sizeof(*roles));
    if (!roles)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_role(in, item, &roles[item->index]);
    in->manifest->roles = roles;
    in->manifest->n_roles = node->count;
}
