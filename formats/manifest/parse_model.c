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
#define TOKENS_MAX 1000000000
#define RATE_MAX 1000000000000
#define CONCURRENT_MAX 100000
#define SECONDS_MAX 86400
#define PARAMETERS_MAX_BYTES (64u << 10)
#define SCHEMA_MAX_BYTES (256u << 10)

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
    static const char *const keys[] = {"env",   "file",    "command", "systemd",
                                       "hosts", "methods", "header",  "format"};
    size_t sources = 0;

    credential->name = node->key;
    credential->mark = node->key_mark;
    if (!nj_manifest_read_key_name(in, node) ||
        !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    for (size_t i = 0; i < 4; i++)
        sources += nj_yaml_get(node, keys[i]) != NULL;
    if (sources != 1)
        nj_yaml_fault(&in->yaml, node,
                      "expected one of env (a variable's name), file (a path), command (a program "
                      "that prints it) and systemd (a credential's name)");
    nj_manifest_read_command(in, node, "command", &credential->command);
    nj_manifest_read_name(in, nj_yaml_get(node, "systemd"), &credential->systemd);
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

        /* What caches cost where the manifest does not say: WIRE.md 4. Twice the largest input
         * price is still far from overflow. */
        *values[i] = i == 2   ? price->input / 10
                     : i == 3 ? price->input / 4 * 5 + price->input % 4 * 5 / 4
                     : i == 4 ? price->input * 2
                              : 0;
        if (value)
            (void)nj_yaml_micro(&in->yaml, value, 0, PRICE_MAX, values[i]);
    }
}

/* What each provider needs and what it has no use for. */
static void check_provider_keys(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                                const struct nj_manifest_model *model)
{
    static const char *const not_script[] = {
        "model",   "base_url", "credential",   "delivery",        "stream", "parameters",
        "refuses", "betas",    "capabilities", "timeout_seconds", "cache"};
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
    if (model->provider != NJ_PROVIDER_ANTHROPIC && nj_yaml_get(node, "betas"))
        nj_yaml_fault_key(&in->yaml, nj_yaml_get(node, "betas"),
                          "only the provider anthropic knows betas");
    if (model->provider != NJ_PROVIDER_ANTHROPIC && model->cache != NJ_CACHE_OFF)
        nj_yaml_fault_key(&in->yaml, nj_yaml_get(node, "cache"),
                          "only the provider anthropic is told what to cache");
    if (model->context_tokens && model->max_tokens >= model->context_tokens)
        nj_yaml_fault(&in->yaml, node, "max_tokens leave no room for a prompt in context_tokens");
    if (model->provider != NJ_PROVIDER_ANTHROPIC && model->delivery == NJ_DELIVERY_BATCH)
        nj_yaml_fault(&in->yaml, nj_yaml_get(node, "delivery"),
                      "only the provider anthropic delivers in batches");
}

/* A map as JSON text, which is what a provider gets. */
static void read_json(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      const char *what, size_t max_bytes, const char **ret)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    struct nj_error err = {0};

    if (!node)
        return;
    if (node->kind != NJ_YAML_MAP) {
        nj_yaml_expected(&in->yaml, node, what);
        return;
    }
    nj_buf_init(&json, max_bytes);
    if (nj_yaml_to_json(node, &json, &err) < 0) {
        if (err.code == NJ_E_NOMEM)
            in->yaml.nomem = true;
        else
            nj_yaml_fault(&in->yaml, node, "%s", err.text);
        return;
    }
    *ret = nj_arena_span(in->yaml.arena, nj_buf_span(&json));
    if (!*ret)
        in->yaml.nomem = true;
}

static const char *field_fault(const char *text)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    return !*text || text[strspn(text, chars)] || strlen(text) > 64
               ? "a request field has letters, digits and \"_\", at most 64"
               : NULL;
}

static const char *beta_fault(const char *text)
{
    static const char *const chars = "abcdefghijklmnopqrstuvwxyz0123456789-";

    return !*text || text[strspn(text, chars)] || strlen(text) > 128
               ? "a beta's name has lower-case letters, digits and \"-\""
               : NULL;
}

/* What the wire itself needs cannot be given as a parameter, or two would contradict each other. */
static void check_parameters(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    static const char *const ours[] = {"model",
                                       "messages",
                                       "system",
                                       "tools",
                                       "max_tokens",
                                       "stream",
                                       "max_completion_tokens",
                                       "stream_options"};

    for (const struct nj_yaml_node *item = node ? node->first : NULL; item; item = item->next)
        for (size_t i = 0; item->key && i < NJ_COUNT(ours); i++)
            if (strcmp(item->key, ours[i]) == 0)
                nj_yaml_fault_key(&in->yaml, item, "this field is written by nightjar itself");
}

static void read_capabilities(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                              struct nj_manifest_capabilities *can)
{
    static const char *const keys[] = {"structured_output", "count_tokens", "parallel_tools",
                                       "token_parameter"};
    bool *const flags[] = {&can->structured_output, &can->count_tokens, &can->parallel_tools};
    const struct nj_yaml_node *child;
    size_t word = 0;

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    for (size_t i = 0; i < NJ_COUNT(flags); i++) {
        child = nj_yaml_get(node, keys[i]);
        if (child)
            (void)nj_yaml_bool(&in->yaml, child, flags[i]);
    }
    child = nj_yaml_get(node, "token_parameter");
    if (child && nj_yaml_enum(&in->yaml, child, "parameter", nj_manifest_token_parameters,
                              NJ_COUNT(nj_manifest_token_parameters), &word))
        can->token_parameter = nj_manifest_token_parameters[word];
}

static void read_rate(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      struct nj_manifest_rate *rate)
{
    static const char *const keys[] = {"requests_per_minute", "input_tokens_per_minute",
                                       "output_tokens_per_minute", "concurrent"};

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    nj_manifest_read_uint(in, node, keys[0], 1, RATE_MAX, &rate->requests);
    nj_manifest_read_uint(in, node, keys[1], 1, RATE_MAX, &rate->input_tokens);
    nj_manifest_read_uint(in, node, keys[2], 1, RATE_MAX, &rate->output_tokens);
    nj_manifest_read_uint(in, node, keys[3], 1, CONCURRENT_MAX, &rate->concurrent);
}

/* How much is asked for, and how. What providers differ in is known by now. */
static void read_asking(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_model *model)
{
    const struct nj_yaml_node *child;
    size_t word = 0;

    model->max_tokens = 8192;
    nj_manifest_read_uint(in, node, "max_tokens", 1, TOKENS_MAX, &model->max_tokens);
    nj_manifest_read_uint(in, node, "context_tokens", 1, TOKENS_MAX, &model->context_tokens);
    child = nj_yaml_get(node, "parameters");
    read_json(in, child, "a map of request fields", PARAMETERS_MAX_BYTES, &model->parameters);
    check_parameters(in, child);
    nj_manifest_read_texts(in, node, "refuses", 0, NJ_MANIFEST_LIST_MAX, field_fault,
                           &model->refuses);
    nj_manifest_read_texts(in, node, "betas", 0, NJ_MANIFEST_WORDS_MAX, beta_fault, &model->betas);
    read_rate(in, nj_yaml_get(node, "rate"), &model->rate);
    child = nj_yaml_get(node, "cache");
    if (child && nj_yaml_enum(&in->yaml, child, "cache", nj_manifest_caches,
                              NJ_COUNT(nj_manifest_caches), &word))
        model->cache = (enum nj_manifest_cache)word;
    child = nj_yaml_get(node, "stream");
    if (child)
        (void)nj_yaml_bool(&in->yaml, child, &model->stream);
    nj_manifest_read_uint(in, node, "timeout_seconds", 1, SECONDS_MAX, &model->timeout_seconds);
    read_capabilities(in, nj_yaml_get(node, "capabilities"), &model->can);
}

static void provider_defaults(struct nj_manifest_model *model)
{
    bool at_home = !model->base_url;

    model->timeout_seconds = 600;
    model->stream = model->provider != NJ_PROVIDER_SCRIPT;
    model->cache = model->provider == NJ_PROVIDER_ANTHROPIC ? NJ_CACHE_5M : NJ_CACHE_OFF;
    model->can = (struct nj_manifest_capabilities){
        .count_tokens = model->provider == NJ_PROVIDER_ANTHROPIC && at_home,
        .parallel_tools = true,
        /* The older name is what compatible servers know; the service itself has the newer. */
        .token_parameter =
            nj_manifest_token_parameters[model->provider == NJ_PROVIDER_OPENAI && at_home]};
}

static void read_model(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_model *model)
{
    static const char *const keys[] = {
        "provider",   "model",   "script", "base_url",     "credential",     "delivery",
        "price",      "when",    "rate",   "cache",        "stream",         "max_tokens",
        "parameters", "refuses", "betas",  "capabilities", "context_tokens", "timeout_seconds"};
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
    provider_defaults(model);
    read_asking(in, node, model);
    check_provider_keys(in, node, model);
}

/* "next_turn", or {after_seconds: 300}. */
static void read_return(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_role *role)
{
    static const char *const keys[] = {"after_seconds"};
    static const char *const words[] = {"next_turn"};
    size_t word = 0;

    if (!node)
        return;
    if (node->kind != NJ_YAML_MAP)
        (void)nj_yaml_enum(&in->yaml, node, "policy", words, NJ_COUNT(words), &word);
    else if (nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)) &&
             nj_yaml_need(&in->yaml, node, keys[0]))
        nj_manifest_read_uint(in, node, keys[0], 1, SECONDS_MAX, &role->return_seconds);
}

/* A chain with its policy is a map; a chain alone is a list. */
static const struct nj_yaml_node *chain_of(struct nj_manifest_reading *in,
                                           const struct nj_yaml_node *node,
                                           struct nj_manifest_role *role)
{
    static const char *const keys[] = {"chain", "return"};

    if (node->kind != NJ_YAML_MAP)
        return node;
    if (!nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return NULL;
    read_return(in, nj_yaml_get(node, "return"), role);
    return nj_yaml_need(&in->yaml, node, "chain");
}

static void read_role(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      struct nj_manifest_role *role)
{
    struct nj_manifest_model *chain;
    const struct nj_yaml_node *list;

    role->name = node->key;
    role->mark = node->key_mark;
    if (!nj_manifest_read_key_name(in, node))
        return;
    list = chain_of(in, node, role);
    if (!list || !nj_yaml_list(&in->yaml, list, 1, NJ_MANIFEST_CHAIN_MAX))
        return;
    chain = nj_manifest_read_alloc(in, list->count, sizeof(*chain));
    if (!chain)
        return;
    for (const struct nj_yaml_node *item = list->first; item; item = item->next)
        read_model(in, item, &chain[item->index]);
    role->chain = chain;
    role->n_chain = list->count;
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

/* ---- what an agent asks of its models ---- */

void nj_manifest_read_context(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                              struct nj_manifest_agent *agent)
{
    static const char *const keys[] = {"policy", "at"};
    const struct nj_yaml_node *child;
    int64_t share = MICRO / 5 * 4;
    size_t word = 0;

    agent->context_at_ppm = (uint32_t)share;
    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    child = nj_yaml_get(node, "policy");
    if (child && nj_yaml_enum(&in->yaml, child, "policy", nj_manifest_contexts,
                              NJ_COUNT(nj_manifest_contexts), &word))
        agent->context = (enum nj_manifest_context)word;
    child = nj_yaml_get(node, "at");
    if (child && nj_yaml_micro(&in->yaml, child, MICRO / 10, MICRO, &share))
        agent->context_at_ppm = (uint32_t)share;
    if (agent->context == NJ_CONTEXT_COMPACT && agent->role < in->manifest->n_roles &&
        in->manifest->roles[agent->role].n_chain > 0 &&
        in->manifest->roles[agent->role].chain[0].context_tokens == 0)
        nj_yaml_fault(&in->yaml, node,
                      "compact needs the size of the context: give context_tokens to the first "
                      "model of %s",
                      in->manifest->roles[agent->role].name);
}

void nj_manifest_read_output(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                             struct nj_manifest_agent *agent)
{
    static const char *const keys[] = {"schema"};

    if (node && nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        read_json(in, nj_yaml_need(&in->yaml, node, "schema"), "a JSON schema: a map",
                  SCHEMA_MAX_BYTES, &agent->output_schema);
}

void nj_manifest_read_report(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    static const char *const keys[] = {"runtime_usd_per_hour"};
    const struct nj_yaml_node *child;

    in->manifest->runtime_micro_usd_per_hour = MICRO / 100 * 8;
    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    child = nj_yaml_get(node, keys[0]);
    if (child)
        (void)nj_yaml_micro(&in->yaml, child, 0, PRICE_MAX,
                            &in->manifest->runtime_micro_usd_per_hour);
}
